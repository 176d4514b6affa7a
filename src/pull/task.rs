//! The detached task of a pull: open, decide by the head, stream while filling,
//! check the end, store.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use pingora::http::ResponseHeader;
use tokio::time::timeout;

use super::answer::{self, Asked, Course, Told};
use super::flight::{Flight, Landing, LiveHead};
use super::resume::Steady;
use super::{Job, Pulls};
use crate::cache::body::{Body, BodyWriter};
use crate::cache::cache_control::CacheControl;
use crate::cache::head::{HeadFacts, HeadLines, update};
use crate::cache::lifetime::{Answer, Bypass, Freshness, Lifetime};
use crate::cache::object::{ENTRY_OVERHEAD, Object};
use crate::cache::store::Named;
use crate::cache::vary;
use crate::hls::{Kind, Pace};
use crate::origin::{Exchange, Failure, Framing, Validators};
use crate::zone::CachePolicy;

/// A pull under way. Dropping it before its end (a panic) fails the flight, so
/// no rider waits for ever.
pub(super) struct Pull {
    pulls: Arc<Pulls>,
    flight: Arc<Flight>,
    job: Job,
    linger: bool,
}

impl Pull {
    pub fn new(pulls: Arc<Pulls>, flight: Arc<Flight>, job: Job) -> Self {
        Self {
            pulls,
            flight,
            job,
            linger: false,
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
    let total = pull.job.origin.settings().deadlines.total;
    let result = timeout(total, pull.fly())
        .await
        .unwrap_or(Err(Failure::TotalTimeout));
    if let Err(failure) = result {
        pull.report(failure);
        pull.flight.fail(failure);
    }
}

impl Pull {
    async fn fly(&mut self) -> Result<(), Failure> {
        let mut request = self.job.request.clone();
        request.validators = self
            .job
            .stale
            .as_ref()
            .filter(|stale| !stale.is_negative())
            .map(|s| s.validators.clone());
        let confirm = request
            .validators
            .as_ref()
            .is_some_and(|v| v.etag.is_some() || v.last_modified.is_some());
        let exchange = self.job.origin.open(&request).await?;
        let mut course = self.course(&exchange, confirm);
        if course == Course::Share
            && let Err(reason) = self.part(&exchange.head.headers)
        {
            course = Course::Private(reason);
        }
        match course {
            Course::Fail(failure) => Err(failure),
            Course::Confirmed => {
                self.confirm(&exchange.head.headers);
                Ok(())
            }
            Course::Private(reason) => {
                match exchange.head.status {
                    // An error may be gone with the next request.
                    500.. => self.pulls.counts.fail(Failure::ServerError),
                    400.. => {}
                    // Another request may carry none.
                    _ if reason == Bypass::Authorization => {}
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

    fn course(&self, exchange: &Exchange, to_confirm: bool) -> Course {
        let rules = &self.job.zone.cache;
        let now = self.pulls.clock.monotonic();
        let stale = self.job.stale.as_ref();
        let asked = Asked {
            kind: self.job.kind,
            to_confirm,
            has_stale: stale.is_some_and(|stale| stale.freshness.covers_errors(now)),
            hides_errors: self.job.zone.hides_errors(),
            with_credentials: self
                .job
                .request
                .forwarded
                .iter()
                .any(|(name, _)| *name == AUTHORIZATION),
        };
        match answer::course(&exchange.head, rules, asked, self.pulls.max_object) {
            // Under `origin` the head tells whether others may have it at all.
            Course::Share if rules.policy == CachePolicy::Origin && !self.hides(exchange) => self
                .keep(exchange, None)
                .map_or_else(Course::Private, |_| Course::Share),
            course => course,
        }
    }

    /// Whether a viewer learns of this answer no more than its status.
    fn hides(&self, exchange: &Exchange) -> bool {
        let hls = self.job.zone.cache.policy == CachePolicy::Hls;
        let status = exchange.head.status;
        (hls && status != 200) || (self.job.zone.hides_errors() && status >= 400)
    }

    /// Streams the body to the riders and stores it.
    async fn share(&mut self, mut exchange: Exchange) -> Result<(), Failure> {
        if self.hides(&exchange) {
            // It is read so that the connection can be used again.
            exchange.drain().await;
            self.land(&exchange, Body::default());
            return Ok(());
        }
        let Some(mut writer) = self.writer(exchange.head.length()) else {
            self.pulls.counts.over_budget.fetch_add(1, Relaxed);
            self.flight.hand_over(Bypass::Budget, exchange);
            return Ok(());
        };
        // The lifetime of a playlist, and so its head, is known at its end.
        let live = !matches!(self.job.kind, Kind::Playlist | Kind::Manifest);
        if live {
            self.flight.stream(self.live_head(&exchange));
        }
        let pulls = Arc::clone(&self.pulls);
        let mut steady = Steady::new(&pulls.counts);
        loop {
            let Ok(spare) = writer.spare() else {
                match self.at_the_end(&mut exchange).await? {
                    true => break,
                    false => return Err(self.outgrown()),
                }
            };
            let asked = || self.job.request.clone();
            let count = steady.read(&mut exchange, spare, asked).await?;
            if count == 0 {
                break;
            }
            writer.advance(count);
            if writer.written() > self.pulls.max_object {
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
        self.land(&exchange, writer.finish());
        Ok(())
    }

    fn writer(&self, length: Option<u64>) -> Option<BodyWriter> {
        let budget = &self.pulls.store.budget;
        let Some(length) = length else {
            return Some(BodyWriter::without_length(budget));
        };
        BodyWriter::with_length(budget, length).ok().or_else(|| {
            self.pulls.store.make_room();
            self.pulls.drop_lingering();
            BodyWriter::with_length(budget, length).ok()
        })
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

    fn live_head(&self, exchange: &Exchange) -> LiveHead {
        let headers = &exchange.head.headers;
        let lifetime = self.keep(exchange, None).ok();
        LiveHead {
            head: self.viewer_head(exchange, lifetime),
            length: exchange.head.length(),
            validators: answer::validators(headers),
            age_on_arrival: self.age(headers),
            fingerprint: self.job.key.fingerprint(),
            replaced: self.job.stale.is_some(),
        }
    }

    fn land(&mut self, exchange: &Exchange, body: Body) {
        let headers = &exchange.head.headers;
        let told = match (self.job.kind, exchange.head.status) {
            (Kind::Playlist | Kind::Manifest, 200) => {
                let whole: Vec<u8> = body.slices(0..body.len()).flatten().collect();
                answer::told(self.job.kind, headers, &whole)
            }
            _ => Told::default(),
        };
        let kept = self.keep(exchange, told.pace);
        if kept.is_ok() {
            self.remember(&told);
        }
        let head = self.viewer_head(exchange, kept.ok());
        let object = Object {
            body,
            pace: told.pace,
            ..self.object(headers, head, kept)
        };
        self.store(object, false);
    }

    /// An object without a body, as far as an answer's head makes it.
    fn object(
        &self,
        headers: &HeaderMap,
        head: ResponseHeader,
        kept: Result<Lifetime, Bypass>,
    ) -> Object {
        Object {
            status: head.status.as_u16(),
            lines: HeadLines::of(&head),
            head,
            body: Body::default(),
            kind: self.job.kind,
            pace: None,
            freshness: Freshness {
                stored_at: self.pulls.clock.monotonic(),
                age_on_arrival: self.age(headers),
                lifetime: kept.unwrap_or_default(),
            },
            validators: answer::validators(headers),
            control: CacheControl::of(headers),
            fingerprint: self.job.key.fingerprint(),
            bypass: kept.err(),
            permit: self.pulls.store.budget.take(ENTRY_OVERHEAD),
        }
    }

    /// The origin said 304: the stored body lives on with a new lifetime.
    fn confirm(&mut self, headers: &HeaderMap) {
        let Some(stale) = self.job.stale.clone() else {
            return;
        };
        let control = match CacheControl::is_said(headers) {
            true => CacheControl::of(headers),
            false => stale.control,
        };
        let now = self.pulls.clock.wall();
        let validators = answer::merge(answer::validators(headers), &stale.validators);
        let facts = self.facts(stale.status, stale.pace, control, headers, &validators);
        let kept = answer::keep(&facts, Framing::Length(0), &self.job.zone.cache);
        if kept.is_ok() {
            self.remember(&Told {
                pace: stale.pace,
                ..Told::default()
            });
        }
        let for_viewer = HeadFacts {
            status: stale.status,
            origin: headers,
            shared: true,
            kind: stale.kind,
            path: &self.job.request.path,
            lifetime: kept.ok(),
            as_it_came: self.job.zone.cache.policy == CachePolicy::Origin,
            zone_id: self.job.zone.id,
            cors: self.job.zone.cors,
            pulled_at: now,
        };
        let mut head = stale.head.clone();
        update(&mut head, &for_viewer);
        let object = Object {
            body: stale.body.clone(),
            pace: stale.pace,
            validators,
            control,
            ..self.object(headers, head, kept)
        };
        self.store(object, true);
    }

    /// Stores, then lands, then (on drop) leaves the map: in that order there
    /// is no instant with neither an object nor a flight.
    fn store(&mut self, object: Object, revalidated: bool) {
        let object = Arc::new(object);
        if object.bypass.is_none() && !self.flight.invalid.load(Relaxed) {
            self.pulls.store.insert(&self.job.key, Arc::clone(&object));
            self.linger = !self
                .pulls
                .store
                .holds(&self.job.key, self.job.kind, &object);
        }
        self.flight.land(Landing {
            object,
            revalidated,
            replaced: self.job.stale.is_some(),
        });
    }

    /// What later requests of this folder need to know of a playlist.
    fn remember(&self, told: &Told) {
        let (zone, path) = (self.job.zone.realm, &self.job.request.path);
        match told.pace {
            Some(Pace::Live { target } | Pace::LowLatency { target }) => {
                self.pulls.store.note_folder(zone, path, Some(target));
            }
            Some(Pace::Ended) => self.pulls.store.note_folder(zone, path, None),
            Some(Pace::Multivariant) | None => {}
        }
        let keys = told.keys.iter().map(|uri| (uri, Named::Key));
        let hints = told.hints.iter().map(|uri| (uri, Named::HintedPart));
        for (uri, named) in keys.chain(hints) {
            if let Some(path) = path.join(uri) {
                self.pulls.store.note_name(zone, path, named);
            }
        }
    }

    fn keep(&self, exchange: &Exchange, pace: Option<Pace>) -> Result<Lifetime, Bypass> {
        let headers = &exchange.head.headers;
        let validators = answer::validators(headers);
        let facts = self.facts(
            exchange.head.status,
            pace,
            CacheControl::of(headers),
            headers,
            &validators,
        );
        answer::keep(&facts, exchange.head.framing, &self.job.zone.cache)
    }

    fn facts(
        &self,
        status: u16,
        pace: Option<Pace>,
        cache_control: CacheControl,
        headers: &HeaderMap,
        validators: &Validators,
    ) -> Answer {
        Answer {
            status,
            kind: self.job.kind,
            pace,
            cache_control,
            expires_in: answer::expires_in(headers, self.pulls.clock.wall())
                .filter(|_| !cache_control.targeted),
            age: self.age(headers),
            has_validator: validators.etag.is_some() || validators.last_modified.is_some(),
            blocking_reload: self.job.blocking_reload,
            live_folder: self
                .pulls
                .store
                .live_folder(self.job.zone.realm, &self.job.request.path),
        }
    }

    fn age(&self, headers: &HeaderMap) -> std::time::Duration {
        answer::age_on_arrival(headers, self.job.zone.cache.policy, self.pulls.clock.wall())
    }

    fn viewer_head(&self, exchange: &Exchange, lifetime: Option<Lifetime>) -> ResponseHeader {
        let now = self.pulls.clock.wall();
        answer::viewer_head(
            &self.job.zone,
            self.job.kind,
            &self.job.request.path,
            &exchange.head,
            lifetime,
            true,
            now,
        )
    }

    fn report(&self, failure: Failure) {
        self.pulls.counts.fail(failure);
        self.pulls.store.note_failure(&self.job.key, failure);
        let (zone, reason) = (self.job.zone.name.as_str(), failure.name());
        if failure == Failure::Credential {
            tracing::error!(
                zone,
                reason,
                "the origin refuses our credentials: no object can be pulled"
            );
        } else {
            tracing::warn!(
                zone,
                reason,
                path = self.job.request.path.as_str(),
                "pull failed"
            );
        }
    }
}
