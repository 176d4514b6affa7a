//! The origin's endpoints: which of them is asked, and the origin's clock.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::addresses::Addresses;
use super::failure::Trouble;
use super::health::{self, Ask, Change, Health};
use super::waits::{Waited, Waits};
use super::{Endpoint, Failure, Head};
use crate::clock::{Clock, unix_seconds};

/// A clock that differs by less is not the reason of a refusal: S3 tolerates 15
/// minutes, other servers five.
const SKEW_TOLERATED_S: i64 = 300;
/// A difference that was learned is learned anew from so much on.
const SKEW_STEP_S: i64 = 60;

/// The endpoints of one origin.
pub struct Endpoints {
    /// As logs name it.
    zone: String,
    list: Vec<Known>,
    health: Mutex<Vec<Health>>,
    /// Health checks look after them.
    checked: bool,
    /// Seconds that the origin's clock is ahead of ours.
    skew: AtomicI64,
}

struct Known {
    endpoint: Endpoint,
    addresses: Addresses,
    /// Somebody tries to connect beside the requests.
    probed: AtomicBool,
    opened: AtomicU64,
    waits: Waits,
    /// What it failed with last.
    failed: Mutex<Option<(Failure, Instant)>>,
}

/// Where one try goes.
#[derive(Clone, Copy)]
pub struct Target<'e> {
    pub endpoint: &'e Endpoint,
    pub address: SocketAddr,
}

/// How an endpoint does.
pub struct EndpointState {
    pub authority: String,
    pub up: bool,
    /// How often its circuit was opened.
    pub opened: u64,
    /// What it failed with last, and how long ago.
    pub failed: Option<(Failure, Duration)>,
    /// Answers to pulls, by what they took from the request to the head.
    pub waited: Waited,
}

impl Endpoints {
    pub fn new(zone: &str, endpoints: &[Endpoint], checked: bool) -> Self {
        let known = |endpoint: &Endpoint| Known {
            endpoint: endpoint.clone(),
            addresses: Addresses::default(),
            probed: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            waits: Waits::default(),
            failed: Mutex::default(),
        };
        Self {
            zone: zone.to_owned(),
            list: endpoints.iter().map(known).collect(),
            health: Mutex::new(vec![Health::default(); endpoints.len()]),
            checked,
            skew: AtomicI64::new(0),
        }
    }

    /// Goes on counting where other settings of the same endpoints have ended.
    pub fn go_on_from(&self, before: &Self) {
        for known in &self.list {
            let mut all = before.list.iter();
            if let Some(old) = all.find(|old| old.endpoint == known.endpoint) {
                known.opened.store(old.opened.load(Relaxed), Relaxed);
                known.waits.go_on_from(&old.waits);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The endpoint for a try; a second one goes to another than was tried,
    /// where there is one.
    pub fn choose(&self, ask: Ask, now: Instant) -> Result<usize, Failure> {
        health::choose(&mut self.health(), ask, self.checked, now)
    }

    pub fn endpoint(&self, index: usize) -> Option<&Endpoint> {
        self.list.get(index).map(|known| &known.endpoint)
    }

    /// Looks up an endpoint's address: the first one, for a `second` try of the
    /// same endpoint the next.
    pub async fn target(
        &self,
        index: usize,
        second: bool,
        wait: Duration,
        clock: &Clock,
    ) -> Result<Target<'_>, Trouble> {
        let known = self.list.get(index).ok_or(Failure::Dns)?;
        let now = clock.monotonic();
        let addresses = known.addresses.of(&known.endpoint, wait, now).await?;
        let address = addresses
            .get(usize::from(second) % addresses.len().max(1))
            .ok_or(Failure::Dns)?;
        Ok(Target {
            endpoint: &known.endpoint,
            address: *address,
        })
    }

    /// An endpoint has answered some key.
    pub fn answered(&self, index: usize) {
        if self.change(index, Health::answer) {
            self.tell_back(index);
        }
    }

    /// An endpoint takes connections.
    pub fn connected(&self, index: usize, now: Instant) {
        let checked = self.checked;
        if self.change(index, |health| health.connect(checked, now)) {
            self.tell_back(index);
        }
    }

    /// An endpoint has not answered a key (or a health check), or with an
    /// error. True where it is shut from now on.
    pub fn failed(&self, index: usize, key: Option<u64>, why: Failure, now: Instant) -> bool {
        let change = self.change(index, |health| health.fail(key, why, now));
        self.note_failure(index, why, now);
        self.tell(index, why, change);
        change == Some(Change::Shut)
    }

    /// A body of an endpoint has come whole, or broke off.
    pub fn body(&self, index: usize, key: u64, came: Result<(), Failure>, now: Instant) {
        match came {
            Ok(()) if self.change(index, Health::whole) => self.tell_back(index),
            Ok(()) => {}
            Err(why) => self.tell(index, why, self.change(index, |it| it.cut(key, now))),
        }
    }

    /// It has failed, whether or not that tells of the endpoint.
    pub fn note_failure(&self, index: usize, why: Failure, now: Instant) {
        if let Some(known) = self.list.get(index) {
            let mut failed = known.failed.lock().unwrap_or_else(PoisonError::into_inner);
            *failed = Some((why, now));
        }
    }

    /// Endpoints that have failed, and with what last.
    pub fn failures(&self) -> impl Iterator<Item = (String, Failure)> + '_ {
        self.list.iter().filter_map(|known| {
            let failed = known.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.map(|(why, _)| (known.endpoint.authority(), why))
        })
    }

    fn tell(&self, index: usize, why: Failure, change: Option<Change>) {
        let Some((known, change)) = self.list.get(index).zip(change) else {
            return;
        };
        known.opened.fetch_add(1, Relaxed);
        let (endpoint, reason) = (known.endpoint.authority(), why.name());
        let zone = &self.zone;
        match change {
            Change::Doubted => {
                tracing::warn!(
                    zone,
                    endpoint,
                    reason,
                    "an endpoint of the origin fails one key after another"
                );
            }
            Change::Shut => {
                tracing::warn!(
                    zone,
                    endpoint,
                    reason,
                    "an endpoint of the origin takes no connection, and is left alone"
                );
            }
        }
    }

    /// True for one probe at a time.
    pub fn begin_probe(&self, index: usize) -> bool {
        let known = self.list.get(index);
        known.is_some_and(|known| !known.probed.swap(true, Relaxed))
    }

    pub fn end_probe(&self, index: usize) {
        if let Some(known) = self.list.get(index) {
            known.probed.store(false, Relaxed);
        }
    }

    fn change<T: Default>(&self, index: usize, to: impl FnOnce(&mut Health) -> T) -> T {
        self.health().get_mut(index).map(to).unwrap_or_default()
    }

    fn tell_back(&self, index: usize) {
        let (zone, endpoint) = (&self.zone, self.authority(index));
        tracing::info!(zone, endpoint, "an endpoint of the origin is back");
    }

    /// As logs name it.
    pub fn authority(&self, index: usize) -> String {
        let known = self.list.get(index);
        known.map_or_else(String::new, |known| known.endpoint.authority())
    }

    /// An answer's head came after so long.
    pub fn waited(&self, index: usize, waited: Duration) {
        if let Some(known) = self.list.get(index) {
            known.waits.add(waited);
        }
    }

    pub fn is_up(&self, index: usize) -> bool {
        self.health().get(index).is_some_and(Health::is_up)
    }

    pub fn is_shut(&self, index: usize) -> bool {
        self.health().get(index).is_some_and(Health::is_shut)
    }

    /// How each of them does, in their order.
    pub fn states(&self, now: Instant) -> Vec<EndpointState> {
        let mut health = self.health();
        health.iter_mut().for_each(|health| health.settle(now));
        let state = |(known, health): (&Known, &Health)| {
            let failed = known.failed.lock().unwrap_or_else(PoisonError::into_inner);
            EndpointState {
                authority: known.endpoint.authority(),
                up: health.is_up(),
                opened: known.opened.load(Relaxed),
                failed: failed.map(|(why, at)| (why, now.saturating_duration_since(at))),
                waited: known.waits.read(),
            }
        };
        self.list.iter().zip(health.iter()).map(state).collect()
    }

    fn health(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our wall time as the origin's clock shows it.
    pub fn server_time(&self, now: SystemTime) -> SystemTime {
        let skew = self.skew.load(Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 { now - by } else { now + by }
    }

    /// Seconds that the origin's clock, by an answer's Date, is ahead of the
    /// time that requests are signed with, where that may be why it refuses.
    pub fn skew(&self, head: &Head, clock: &Clock) -> Option<i64> {
        if head.headers.contains_key(http::header::AGE) {
            // An answer of a cache, and its time the answer's.
            return None;
        }
        let ahead = difference(date(head)?, self.server_time(clock.wall()));
        (ahead.abs() > SKEW_TOLERATED_S).then_some(ahead)
    }

    /// Takes the origin's time from an answer's Date; false where it has none,
    /// or none that is new.
    pub fn learn_skew(&self, head: &Head, clock: &Clock) -> bool {
        let Some(date) = date(head) else {
            return false;
        };
        let skew = difference(date, clock.wall());
        if (skew - self.skew.load(Relaxed)).abs() < SKEW_STEP_S {
            return false;
        }
        tracing::warn!(
            zone = self.zone,
            seconds = skew,
            "the origin's clock differs from ours; signing with its time"
        );
        self.skew.store(skew, Relaxed);
        true
    }
}

fn date(head: &Head) -> Option<SystemTime> {
    httpdate::parse_http_date(head.text(http::header::DATE)?).ok()
}

/// Seconds.
fn difference(theirs: SystemTime, ours: SystemTime) -> i64 {
    let seconds = |at| i64::try_from(unix_seconds(at)).unwrap_or_default();
    seconds(theirs) - seconds(ours)
}
