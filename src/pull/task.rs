//! The detached task of a pull: open, decide by the head, stream while filling,
//! check the end. What it brings becomes an object in `landing`.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, COOKIE, HeaderName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::answer::{self, Asked, Course};
use super::flight::Flight;
use super::resume::Steady;
use super::{Job, Pulls};
use crate::cache::body::{Body, BodyWriter};
use crate::cache::budget::CHUNK_BYTES;
use crate::cache::cache_control::CacheControl;
use crate::cache::ignore::forget;
use crate::cache::lifetime::Bypass;
use crate::cache::slices::Part;
use crate::cache::vary;
use crate::hls::Kind;
use crate::origin::{Exchange, Failure, is_own_body};
use crate::traces::{Span, SpanKind, Value};
use crate::zone::CachePolicy;

/// A pull under way. Dropping it before its end (a panic) fails the flight, so
/// no rider waits for ever.
pub(super) struct Pull {
    pub(super) pulls: Arc<Pulls>,
    pub(super) flight: Arc<Flight>,
    pub(super) job: Job,
    /// What was not admitted to the cache stays reachable for a little.
    pub(super) linger: bool,
    /// What had been forgotten when it began.
    pub(super) invalidations: u64,
    /// It is on no map: for nobody but its starter.
    pub(super) alone: bool,
    /// Why it is not kept, whatever its head says.
    pub(super) unkept: Option<Bypass>,
    /// Where what it brings lies in the whole.
    pub(super) slice_of: Option<Part>,
    /// The origin has told the operator of its failure.
    told: bool,
}

impl Pull {
    pub fn new(pulls: Arc<Pulls>, flight: Arc<Flight>, job: Job) -> Self {
        let invalidations = pulls.invalidations.load(Relaxed);
        Self {
            pulls,
            flight,
            job,
            linger: false,
            invalidations,
            alone: false,
            unkept: None,
            slice_of: None,
            told: false,
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        if !self.flight.is_over() {
            self.flight.fail(Failure::Reset);
        }
        self.pulls.leave(&self.job.key, &self.flight, self.linger);
        self.pulls.counts.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Runs a pull to its end.
pub(super) async fn run(mut pull: Pull) {
    let (clock, total) = (
        pull.pulls.clock.clone(),
        pull.job.origin.settings().deadlines.total,
    );
    let (began, came) = (clock.wall(), clock.monotonic());
    let flight = Arc::clone(&pull.flight);
    let over = async {
        sleep(total).await;
        if flight.endless.load(Relaxed) {
            pending::<()>().await;
        }
    };
    let result = tokio::select! {
        biased;
        result = pull.fly() => result,
        () = over => Err(Failure::TotalTimeout),
    };
    if let Err(failure) = result {
        pull.report(failure);
        pull.flight.fail(failure);
    }
    let took = clock.monotonic().saturating_duration_since(came);
    pull.trace(began, took, result.err());
}

impl Pull {
    /// Tells of it, where it is traced.
    fn trace(&self, start: SystemTime, took: Duration, failed: Option<Failure>) {
        let request = &self.job.request;
        let (Some(traces), Some(context)) = (&self.job.traces, request.viewer.trace) else {
            return;
        };
        traces.end(Span {
            context,
            kind: SpanKind::Client,
            name: "pull",
            start,
            took,
            attributes: vec![
                ("warren.zone", Value::Text(self.job.zone.name.clone())),
                ("url.path", Value::Text(request.path.as_str().to_owned())),
            ],
            error: failed.map(Failure::name),
        });
    }

    async fn fly(&mut self) -> Result<(), Failure> {
        let mut request = self.job.request.clone();
        request.validators = self
            .job
            .stale
            .as_ref()
            .filter(|stale| !stale.is_negative())
            .map(|s| s.validators.clone());
        request.covered = self.is_covered();
        let confirm = request
            .validators
            .as_ref()
            .is_some_and(|validators| !validators.is_none());
        let Some(place) = self.place().await? else {
            return Ok(());
        };
        let opened = self.job.origin.open_at(place, &request).await;
        self.told = opened.is_err();
        let mut exchange = opened?;
        let ignored = self.job.zone.ignored_of(request.path.as_str());
        forget(&mut exchange.head.headers, &ignored);
        if exchange.head.status == 200 {
            self.learn(exchange.head.text(CONTENT_TYPE).and_then(Kind::of_type));
        }
        let mut course = match self.take_slice(&mut exchange) {
            Ok(()) => self.course(&exchange, confirm),
            Err(reason) => Course::Private(reason),
        };
        let parted = match course {
            Course::Share | Course::Confirmed => self.part(&exchange.head.headers),
            Course::Private(_) | Course::Fail(_) => Ok(()),
        };
        match parted {
            Err(reason) if course == Course::Share => course = Course::Private(reason),
            // What is stored was for everybody; from now on it is for nobody else.
            Err(reason) => self.unkept = Some(reason),
            Ok(()) => {}
        }
        if self.job.zone.cache.policy == CachePolicy::Origin && !self.hides(&exchange) {
            course = self.whose(course, &exchange);
        }
        match course {
            Course::Fail(failure) => {
                let path = self.job.request.path.as_str();
                let origin = &self.job.origin;
                origin.complain_of_answer(failure, path, &exchange);
                self.told = true;
                Err(failure)
            }
            Course::Confirmed => {
                self.confirm(&exchange.head.headers);
                Ok(())
            }
            Course::Private(reason) => {
                match exchange.head.status {
                    // An error may be gone with the next request.
                    500.. => self.job.origin.count(Failure::ServerError),
                    400.. => {}
                    // Another request may carry none.
                    _ if matches!(reason, Bypass::Authorization | Bypass::Cookie) => {}
                    _ => self.pulls.store.pass(&self.job.key, reason),
                }
                // Before anybody wakes: who looks again begins anew.
                self.pulls.leave(&self.job.key, &self.flight, false);
                self.flight.hand_over(reason, exchange);
                Ok(())
            }
            Course::Share => self.share(exchange).await,
        }
    }

    /// What neither its name nor a playlist tells of an object, its type or its
    /// first bytes may.
    fn learn(&mut self, kind: Option<Kind>) {
        if self.job.kind == Kind::Other {
            self.job.kind = kind.unwrap_or(Kind::Other);
        }
    }

    /// What is asked for as a slice becomes a whole of its own, found under the
    /// slice's key alone. Where it is no slice of a state that parts are told by,
    /// each viewer asks for what he wants.
    fn take_slice(&mut self, exchange: &mut Exchange) -> Result<(), Bypass> {
        let Some(slice) = self.job.slice else {
            return Ok(());
        };
        let head = &mut exchange.head;
        match head.status {
            206 => {}
            200 | 416 => return Err(Bypass::TooLarge),
            _ => return Ok(()),
        }
        let validators = self.validators(&head.headers);
        let part = slice.part(&head.headers, head.length());
        let part = part.filter(|_| validators.is_strong());
        let part = part.ok_or(Bypass::TooLarge)?;
        let (store, max_object) = (&self.pulls.store, self.pulls.max_object);
        if part.whole <= max_object {
            store.no_longer_passes(&self.job.base);
        }
        if store.versions.note(&self.job.base, &validators, part.whole) != slice.version {
            // For those who ride it; who comes next looks under the new state.
            self.flight.invalid.store(true, Relaxed);
        }
        head.status = 200;
        head.headers.remove(CONTENT_RANGE);
        self.slice_of = Some(part);
        Ok(())
    }

    /// A place at the origin; `None`: nobody waits for this pull any more.
    async fn place(&self) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let mut place = pin!(self.job.origin.place());
        loop {
            tokio::select! {
                biased;
                place = &mut place => return place.map(Some),
                // What is stored is confirmed whoever waits.
                () = self.flight.deserted(), if self.job.stale.is_none() => {
                    if self.pulls.abandon(&self.job.key, &self.flight) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Keeps apart whom the answer is for, where it varies by more than the key
    /// does so far.
    fn part(&mut self, headers: &HeaderMap) -> Result<(), Bypass> {
        let cache = &self.job.zone.cache;
        if cache.policy == CachePolicy::Hls {
            return Ok(());
        }
        let names = vary::names(headers, &cache.vary).ok_or(Bypass::Vary)?;
        if names.is_empty() {
            return Ok(());
        }
        let (store, job) = (&self.pulls.store, &mut self.job);
        let variation = store.vary(&job.base, &names).ok_or(Bypass::Vary)?;
        if job.key != variation.key(&job.base, &job.request.forwarded) {
            Arc::clone(&self.pulls).part(job, variation, &self.flight);
        }
        Ok(())
    }

    /// Under `origin` the head tells whether others may have it at all, and
    /// whether without asking: what is not fresh on arrival is its asker's
    /// alone (RFC 9111 §4.3, §5.2.2.4), and with a Cookie in the request not
    /// even kept, unless it is said to be for everybody.
    fn whose(&mut self, course: Course, exchange: &Exchange) -> Course {
        let headers = &exchange.head.headers;
        let kept = match course {
            Course::Share => self.keep(exchange, None),
            Course::Confirmed => self.confirmed(headers),
            Course::Private(_) | Course::Fail(_) => return course,
        };
        match kept {
            Err(reason) if course == Course::Share => return Course::Private(reason),
            Ok(lifetime) if lifetime.fresh > self.age(headers) => return course,
            Ok(_) | Err(_) => {}
        }
        let is_public = CacheControl::of(headers).public;
        if course == Course::Share && self.sends(&COOKIE) && !is_public {
            return Course::Private(Bypass::Cookie);
        }
        self.alone = true;
        self.pulls.seclude(&self.job.key, &self.flight);
        course
    }

    /// Whether the origin sees this header of the viewer.
    fn sends(&self, header: &HeaderName) -> bool {
        let mut forwarded = self.job.request.forwarded.iter();
        forwarded.any(|(name, _)| name == header)
    }

    fn course(&self, exchange: &Exchange, to_confirm: bool) -> Course {
        let rules = &self.job.zone.cache;
        let asked = Asked {
            to_confirm,
            has_stale: self.is_covered(),
            hides_errors: self.job.zone.hides_errors(),
            with_credentials: self.sends(&AUTHORIZATION),
        };
        answer::course(&exchange.head, rules, asked, self.pulls.max_object)
    }

    /// Whether something stale may be served where the origin fails.
    pub(super) fn is_covered(&self) -> bool {
        let now = self.pulls.clock.monotonic();
        let stale = self.job.stale.as_ref();
        stale.is_some_and(|stale| stale.freshness.covers_errors(now))
    }

    /// Whether a viewer learns of this answer no more than its status.
    fn hides(&self, exchange: &Exchange) -> bool {
        let hls = self.job.zone.cache.policy == CachePolicy::Hls;
        let status = exchange.head.status;
        (hls && status != 200) || (self.job.zone.hides_errors() && status >= 400)
    }

    /// Streams the body to the riders and stores it.
    async fn share(&mut self, mut exchange: Exchange) -> Result<(), Failure> {
        if exchange.head.status >= 500 {
            // It may be stored, and is the origin's failure all the same.
            self.job.origin.count(Failure::ServerError);
        }
        if self.hides(&exchange) {
            // It is read so that the connection can be used again.
            exchange.drain().await;
            exchange.give_back();
            return self.land(&exchange, Body::default()).await;
        }
        let Some(mut writer) = self.writer(exchange.head.length()).await else {
            self.pulls.counts.over_budget.fetch_add(1, Relaxed);
            self.flight.hand_over(Bypass::Budget, exchange);
            return Ok(());
        };
        let (framing, came) = (exchange.head.framing, self.pulls.clock.monotonic());
        let pulls = Arc::clone(&self.pulls);
        let mut steady = Steady::new(&pulls.counts);
        loop {
            if writer.spare().is_err() {
                let room = self
                    .pulls
                    .room(CHUNK_BYTES, || writer.spare().ok().map(drop));
                room.await;
            }
            let is_first = writer.written() == 0;
            let Ok(spare) = writer.spare() else {
                match self.at_the_end(&mut exchange).await? {
                    true => break,
                    false => return Err(self.outgrown()),
                }
            };
            let asked = || self.job.request.clone();
            let count = steady.read(&mut exchange, &mut *spare, asked).await?;
            if count == 0 {
                break;
            }
            if is_first && self.is_the_stores_own(&exchange, &spare[..count]) {
                return Err(Failure::NotAnObject);
            }
            if is_first && self.slice_of.is_none() {
                self.learn(Kind::of_body(&spare[..count]));
            }
            // The lifetime of a playlist, and so its head, is known at its end.
            let live = !self.job.kind.is_list();
            if live && is_first {
                self.flight.stream(self.live_head(&exchange));
            }
            writer.advance(count);
            if self.is_left_alone(framing, came, &mut writer) {
                return Ok(());
            }
            if writer.written() > self.pulls.max_object && self.unkept.is_none() {
                return Err(self.outgrown());
            }
            // The last bytes are seen when the object is stored: who has got
            // all of it and asks again finds it.
            if exchange.is_done() {
                break;
            }
            if live {
                let (sealed, tip) = writer.pieces();
                self.flight.publish(sealed, tip, writer.written());
            }
        }
        // Whoever is woken and asks for the next finds it there.
        exchange.give_back();
        self.land(&exchange, writer.finish()).await
    }

    /// A listing, or an error, that says success and no type of its own.
    fn is_the_stores_own(&self, exchange: &Exchange, begins: &[u8]) -> bool {
        self.job.zone.origin.is_s3() && is_own_body(&exchange.head.headers, begins)
    }

    async fn writer(&self, length: Option<u64>) -> Option<BodyWriter> {
        let budget = &self.pulls.store.budget;
        let Some(length) = length else {
            return Some(BodyWriter::without_length(budget));
        };
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        let take = || BodyWriter::with_length(budget, length).ok();
        self.pulls.room(bytes, take).await
    }

    /// No memory is left: is there any more to come?
    async fn at_the_end(&self, exchange: &mut Exchange) -> Result<bool, Failure> {
        let mut one = [0; 1];
        Ok(exchange.read(&mut one).await? == 0)
    }

    /// A body of unknown length that cannot be held: those who ride it lose it,
    /// those who come pass through.
    fn outgrown(&self) -> Failure {
        self.pulls.store.pass(&self.job.key, Bypass::TooLarge);
        Failure::TooLarge
    }

    fn report(&self, failure: Failure) {
        self.job.origin.count(failure);
        self.pulls.store.note_failure(&self.job.key, failure);
        if !self.told {
            let path = self.job.request.path.as_str();
            self.job.origin.complain_of(failure, path);
        }
    }
}
