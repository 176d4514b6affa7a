//! The detached task of a pull: open, decide by the head, stream while filling,
//! check the end. What it brings becomes an object in `landing`.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::answer::{self, Asked, Course};
use super::flight::Flight;
use super::resume::Steady;
use super::{Job, Pulls};
use crate::cache::body::{Body, BodyWriter};
use crate::cache::budget::CHUNK_BYTES;
use crate::cache::lifetime::Bypass;
use crate::cache::vary;
use crate::hls::Kind;
use crate::origin::{Exchange, Failure};
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
    let (clock, total) = (
        pull.pulls.clock.clone(),
        pull.job.origin.settings().deadlines.total,
    );
    let (began, came) = (clock.wall(), clock.monotonic());
    let result = timeout(total, pull.fly())
        .await
        .unwrap_or(Err(Failure::TotalTimeout));
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
        let confirm = request
            .validators
            .as_ref()
            .is_some_and(|v| v.etag.is_some() || v.last_modified.is_some());
        let Some(place) = self.place().await? else {
            return Ok(());
        };
        let exchange = self.job.origin.open_at(place, &request).await?;
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
        let Some(mut writer) = self.writer(exchange.head.length()).await else {
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
            if writer.spare().is_err() {
                let room = self
                    .pulls
                    .room(CHUNK_BYTES, || writer.spare().ok().map(drop));
                room.await;
            }
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
