//! Riding a pull: waits for what it brings and sends it, as it arrives or whole.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, RANGE};
use tokio::time::timeout;

use super::conditional::{answer, is_not_modified};
use super::headers::Detail;
use super::lookup::{Hit, Query};
use super::range::Answer;
use super::record::Record;
use super::respond;
use super::sender::Sender;
use super::serve::{Cut, Server, finish_head};
use super::waits::Source;
use crate::cache::lifetime::Bypass;
use crate::cache::object::Object;
use crate::hls::Pace;
use crate::origin::Failure;
use crate::pull::{Arrival, LiveHead, Rider};
use crate::telemetry::CacheStatus;

/// Looks in the cache for one request, each behind a pull that others began.
const MAX_LOOKS: u8 = 4;
/// A range that begins so long behind what has arrived is asked for by itself: a
/// seek to the end of a film does not wait for the film.
const SEEK_PATIENCE: Duration = Duration::from_secs(1);
/// How long an origin's answer is waited for where an old playlist would do.
const LEAST_BESIDE_STALE: Duration = Duration::from_millis(500);
const MOST_BESIDE_STALE: Duration = Duration::from_secs(2);

impl Server<'_> {
    /// Waits for the answer's head, and for the first byte that goes with it:
    /// nothing is promised to the viewer before there is one.
    pub(super) async fn arrival(&self, rider: &mut Rider) -> Arrival {
        let ranged = self.visit.request.contains(&RANGE);
        let arrival = rider.arrival(ranged).await;
        if !matches!(arrival, Arrival::Streaming(_)) {
            return arrival;
        }
        match rider.next(0, u64::MAX).await {
            Ok(_) => arrival,
            Err(failure) => Arrival::Failed(failure),
        }
    }

    /// Answers with what a pull brings.
    pub(super) async fn ride(
        &self,
        mut rider: Rider,
        stale: Option<Arc<Object>>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let patience = self
            .query
            .patience()
            .min(self.patience_beside(stale.as_deref()));
        let interims = rider.interims();
        let arrival = timeout(patience, self.arrival(&mut rider));
        let arrival = sender
            .telling(interims, arrival)
            .await?
            .unwrap_or_else(|_| {
                self.visit.admitted.origin.count(Failure::AnswerTimeout);
                Arrival::Failed(Failure::AnswerTimeout)
            });
        match arrival {
            Arrival::Streaming(live) => self.stream(&live, rider, stale, sender, record).await,
            Arrival::Landed(landing) => {
                let status = match (landing.object.bypass, landing.revalidated, landing.replaced) {
                    (Some(_), _, _) => CacheStatus::Bypass,
                    (None, true, _) => CacheStatus::Revalidated,
                    (None, false, true) => CacheStatus::Expired,
                    (None, false, false) => CacheStatus::Miss,
                };
                record.bypass = landing.object.bypass;
                record.reason = landing.object.bypass.map(Bypass::name);
                let detail = Detail::forward(status, rider.starter, record.reason);
                self.object(&landing.object, status, detail, sender, record)
                    .await
            }
            Arrival::Parted => self.again(sender, record).await,
            // The starter's credentials made it private; without any it may not be.
            Arrival::Handed(Bypass::Authorization, None)
                if !self.visit.request.contains(&AUTHORIZATION) =>
            {
                self.again(sender, record).await
            }
            Arrival::Handed(Bypass::Cookie, None) if !self.visit.request.contains(&COOKIE) => {
                self.again(sender, record).await
            }
            // By now it is known that it comes in slices.
            Arrival::Handed(Bypass::TooLarge, open) if self.query.first_of_slices().is_some() => {
                // Its place at the origin is the slice's.
                drop(open);
                self.again(sender, record).await
            }
            Arrival::Handed(reason, exchange) => {
                Box::pin(self.pass(reason, exchange, None, sender, record)).await
            }
            Arrival::Failed(failure) => self.failed(failure, stale, sender, record).await,
        }
    }

    /// How long an answer is waited for where an old playlist would do: a player
    /// that waits longer for the next one runs out of media.
    pub(super) fn patience_beside(&self, stale: Option<&Object>) -> Duration {
        let now = self.visit.node.clock.monotonic();
        let usable = stale.filter(|object| object.freshness.covers_errors(now));
        match usable.and_then(|object| object.pace) {
            Some(Pace::Live { target } | Pace::LowLatency { target }) => {
                (target / 2).clamp(LEAST_BESIDE_STALE, MOST_BESIDE_STALE)
            }
            Some(Pace::Ended | Pace::Multivariant) => MOST_BESIDE_STALE,
            None => Duration::MAX,
        }
    }

    /// Looks anew, because the pull that was ridden brought nothing for this
    /// request; in the end it asks for itself.
    async fn again(&self, sender: &mut Sender<'_>, record: &mut Record) -> Result<(), Cut> {
        if self.looks == MAX_LOOKS {
            return Box::pin(self.pass(Bypass::Vary, None, None, sender, record)).await;
        }
        let query = Query::of(self.visit);
        let server = Server {
            visit: self.visit,
            query: &query,
            looks: self.looks + 1,
        };
        let found = query.find();
        Box::pin(server.serve(found, sender, record)).await
    }

    /// Answers a pull that failed before its first byte.
    pub(super) async fn failed(
        &self,
        failure: Failure,
        stale: Option<Arc<Object>>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        record.reason = Some(failure.name());
        let usable = self.covering(failure, stale);
        let usable = usable.filter(|object| !self.query.is_beyond(object));
        let Some(object) = usable else {
            record.cache = CacheStatus::Miss;
            let stamp = self.visit.stamp(CacheStatus::Miss, None, Detail::None);
            let wait = self.visit.admitted.origin.retry_after(failure);
            let response = respond::failed_for(failure, wait, &stamp);
            return self.short(response, sender, record).await;
        };
        let hit = Hit {
            object,
            status: CacheStatus::Stale,
            failure: Some(failure),
        };
        let detail = hit.detail(self.visit.request.entry.came);
        self.object(&hit.object, hit.status, detail, sender, record)
            .await
    }

    /// What is stale, where it may serve for a failure.
    pub(super) fn covering(
        &self,
        failure: Failure,
        stale: Option<Arc<Object>>,
    ) -> Option<Arc<Object>> {
        let now = self.visit.node.clock.monotonic();
        stale.filter(|object| match failure.is_silence() {
            true => object.freshness.covers_silence(now),
            false => object.freshness.covers_errors(now),
        })
    }

    /// Sends a body while it arrives.
    async fn stream(
        &self,
        live: &Arc<LiveHead>,
        mut rider: Rider,
        stale: Option<Arc<Object>>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let status = if live.replaced {
            CacheStatus::Expired
        } else {
            CacheStatus::Miss
        };
        record.cache = status;
        record.fingerprint = Some(live.fingerprint.clone());
        let detail = Detail::forward(status, rider.starter, None);
        let stamp = self.visit.stamp(status, Some(live.age_on_arrival), detail);
        let whole = live.head.status.as_u16();
        let wanted = match live.length {
            // As of what is stored: only a 200 has parts.
            _ if whole != 200 => Answer::Whole,
            Some(length) => answer(self.visit.request, &live.validators, length),
            None if is_not_modified(self.visit.request, &live.validators) => Answer::NotModified,
            None => Answer::Whole,
        };
        let (code, range) = match (wanted, live.length) {
            // Several parts of a body that still arrives: the whole serves as well.
            (Answer::Whole | Answer::Parts(_), length) => (whole, 0..length.unwrap_or(u64::MAX)),
            (Answer::NotModified, _) => (304, 0..0),
            (Answer::Part(range), _) => (206, range),
            (Answer::Unsatisfiable, length) => {
                return self
                    .short(respond::unsatisfiable(length, &stamp), sender, record)
                    .await;
            }
        };
        // A part may lie beyond the place of a cut: its head waits for its
        // first byte, as that of the whole does.
        let mut next = match range.is_empty() {
            true => None,
            false => {
                let before = rider.available();
                let soon = timeout(SEEK_PATIENCE, rider.next(range.start, range.end));
                let first = match sender.waiting(soon).await? {
                    Ok(first) => first,
                    Err(_) if is_far(range.start, before, rider.available()) => {
                        drop(rider);
                        return Box::pin(self.pass(Bypass::FarAhead, None, None, sender, record))
                            .await;
                    }
                    Err(_) => {
                        let first = rider.next(range.start, range.end);
                        self.patiently(first, sender).await?
                    }
                };
                match first {
                    Ok(bytes) => bytes,
                    Err(failure) => return self.failed(failure, stale, sender, record).await,
                }
            }
        };
        let sized = live.length.map(|length| (&range, length));
        let head = finish_head(live.head.clone(), code, &stamp, sized);
        record.status = code;
        sender.reads(Source::Ride(Arc::new(rider.pins())));
        sender
            .head(head, live.length.is_some() || code == 304)
            .await?;
        let mut at = range.start;
        while let Some(bytes) = next.take() {
            at += bytes.len() as u64;
            sender.body(bytes, at == range.end).await?;
            if at < range.end {
                let more = sender.waiting(rider.next(at, range.end)).await?;
                next = more.map_err(Cut::Pull)?;
            }
        }
        if at < range.end || range.is_empty() {
            sender.end().await?;
        }
        Ok(())
    }
}

/// Whether a place in a body that arrives is not reached within [`SEEK_PATIENCE`]:
/// so many bytes had arrived before the last one, and now.
const fn is_far(at: u64, before: u64, now: u64) -> bool {
    at.saturating_sub(now) > now.saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_far_where_the_pull_would_take_longer_to_it_than_was_waited() {
        let table = [
            (40 << 20, 0, 2 << 20, true),
            (4 << 20, 0, 2 << 20, false),
            (4 << 20, 1 << 20, 2 << 20, true),
            (3 << 20, 3 << 20, 3 << 20, false),
            (3 << 20, 2 << 20, 2 << 20, true),
        ];
        for (at, before, now, want) in table {
            assert_eq!(is_far(at, before, now), want, "{at} {before} {now}");
        }
    }
}
