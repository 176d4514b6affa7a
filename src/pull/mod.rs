//! Pulls: exactly one for each cold key, however many viewers wait for it.
//!
//! A pull is a detached task. Viewers ride it through a [`Rider`]; the first
//! may leave, a slow one slows nobody, and a failure is a state, not an end.

mod ahead;
mod answer;
mod endless;
mod flight;
mod landing;
mod news;
mod reading;
mod reference;
mod resume;
mod task;

pub use answer::{Good, viewer_head};
pub use flight::{Arrival, Landing, LiveHead, Rider};
pub use news::News;
pub use reading::Reading;
pub use resume::Steady;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::cache::demand::Demand;
use crate::cache::key::{Key, RealmId};
use crate::cache::lifetime::State;
use crate::cache::object::Object;
use crate::cache::purge::Epoch;
use crate::cache::slices::Slice;
use crate::cache::store::Store;
use crate::cache::vary::Variation;
use crate::clock::{Clock, timer_now};
use crate::hls::Kind;
use crate::origin::{Origin, Request};
use crate::path::CanonicalPath;
use crate::per_address::Guest;
use crate::standing::Standing;
use crate::traces::Traces;
use crate::zone::Zone;
use flight::Flight;

/// Locks of the flight map; viewers of different keys seldom meet.
const SHARDS: usize = 16;
/// An object that the cache did not admit stays reachable for this long, so
/// that a refused live segment is not pulled again by each viewer.
const LINGER: Duration = Duration::from_secs(3);
/// And for this, whoever needs memory: the next who asks finds it.
const LINGER_LEAST: Duration = Duration::from_millis(500);

/// Between two tries to get memory.
const ROOM_AGAIN: Duration = Duration::from_millis(10);
/// For so long they go on in any case: what other pulls bring may push
/// something out, and who was ended is gone in a moment.
const ROOM_LEAST: Duration = Duration::from_millis(500);
/// And no longer than this: who has just begun to stand still is known to by then.
const ROOM_MOST: Duration = Duration::from_millis(2500);

/// What to pull, and what is known of it.
pub struct Job {
    pub key: Key,
    /// The key before anything that answers vary by.
    pub base: Key,
    pub kind: Kind,
    pub zone: Arc<Zone>,
    pub origin: Arc<Origin>,
    pub request: Request,
    pub blocking_reload: bool,
    /// Not the whole of it.
    pub slice: Option<Slice>,
    /// What is stored under the key, no longer fresh.
    pub stale: Option<Arc<Object>>,
    /// The viewer's places: for a pull that the origin may hold back, and for one at
    /// all.
    pub place: [Guest; 2],
    /// The last purge before it was begun.
    pub born: Epoch,
    /// Who is told of a pull that is traced.
    pub traces: Option<Traces>,
    /// No viewer has asked for it: that it is not there is nobody's news.
    pub ahead: bool,
}

/// What a request looks for.
pub struct Place<'k> {
    pub key: &'k Key,
    pub base: &'k Key,
    pub kind: Kind,
    pub demand: Demand,
    pub realm: RealmId,
    pub path: &'k CanonicalPath,
}

/// How a request for a key is answered.
pub enum Joined {
    /// It was stored meanwhile.
    Stored(Arc<Object>),
    /// A pull brings it.
    Riding(Rider),
    /// As many ride this pull as may.
    Crowded,
    /// Nothing brings it, and the request may not begin a pull.
    Alone,
}

/// All pulls of the node.
pub struct Pulls {
    shards: Vec<Mutex<HashMap<Key, Seat>>>,
    hasher: RandomState,
    pub store: Arc<Store>,
    pub clock: Clock,
    pub max_object: u64,
    /// Viewers who wait for one pull at a time.
    pub max_riders: usize,
    pub counts: Counts,
    /// How often anything was forgotten.
    invalidations: AtomicU64,
    /// Who waits for a viewer, and is ended where memory runs short.
    pub standing: Arc<Standing>,
    /// The first in the line for memory.
    room: tokio::sync::Mutex<()>,
}

struct Seat {
    flight: Arc<Flight>,
    base: Key,
    born: Epoch,
    /// Set once it has landed without being admitted: until then reachable.
    until: Option<Instant>,
}

/// What happened to pulls since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub in_flight: AtomicUsize,
    pub started: AtomicU64,
    pub collapsed: AtomicU64,
    pub over_budget: AtomicU64,
    /// Bodies that were cut and went on.
    pub resumed: AtomicU64,
    /// Live playlists that turned out to be of another broadcast.
    pub live_restarts: AtomicU64,
}

impl Pulls {
    pub fn new(store: Arc<Store>, clock: Clock, max_object: u64, max_riders: usize) -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let counts = Counts::default();
        Arc::new(Self {
            shards,
            hasher: RandomState::new(),
            store,
            clock,
            max_object,
            max_riders,
            counts,
            invalidations: AtomicU64::new(0),
            standing: Arc::default(),
            room: tokio::sync::Mutex::default(),
        })
    }

    /// Rides the pull of a key, and where there is none starts `job`.
    pub fn join(
        self: &Arc<Self>,
        place: &Place<'_>,
        job: Option<impl FnOnce(Epoch) -> Job>,
    ) -> Joined {
        let (key, now) = (place.key, self.clock.monotonic());
        let good = |object: &Object| {
            !place.demand.refuses(&object.freshness, now)
                && object.state(now) == State::Fresh
                && !self.store.is_contradicted(object)
        };
        let mut seats = self.shard(key);
        if let Some(seat) = seats.get(key) {
            let reachable =
                seat.until.is_none_or(|until| now < until) && !self.is_overtaken(seat.born, place);
            if reachable && seat.flight.may_board(now, good) {
                if seat.flight.riders() >= self.max_riders {
                    return Joined::Crowded;
                }
                // Asked for once more, it may be wanted more than what is stored.
                let landed = seat.flight.landed().map(|landing| landing.object);
                let lingers =
                    |object: &Arc<Object>| seat.until.is_some() && object.bypass.is_none();
                if let Some(object) = landed.filter(lingers) {
                    self.store.insert(key, &object);
                }
                self.counts.collapsed.fetch_add(1, Relaxed);
                return Joined::Riding(seat.flight.board(false));
            }
            seats.remove(key);
        }
        // A pull stores its object before it leaves the map: whoever finds
        // neither a flight here nor an object there is the first.
        if let Some(object) = self.store.get(key)
            && good(&object)
        {
            return Joined::Stored(object);
        }
        let Some(job) = job else {
            return Joined::Alone;
        };
        let (flight, born) = (Flight::new(), self.store.purges.latest());
        let rider = flight.board(true);
        seats.insert(
            key.clone(),
            Seat {
                flight: Arc::clone(&flight),
                base: place.base.clone(),
                born,
                until: None,
            },
        );
        drop(seats);
        self.start(flight, job(born), false);
        Joined::Riding(rider)
    }

    /// A pull for one request and no other: its answer must be confirmed for
    /// each. It is on no map, so nobody boards it.
    pub fn alone(self: &Arc<Self>, job: impl FnOnce(Epoch) -> Job) -> Rider {
        let flight = Flight::new();
        let rider = flight.board(true);
        self.start(flight, job(self.store.purges.latest()), true);
        rider
    }

    fn start(self: &Arc<Self>, flight: Arc<Flight>, job: Job, alone: bool) {
        self.counts.started.fetch_add(1, Relaxed);
        self.counts.in_flight.fetch_add(1, Relaxed);
        flight.tells(job.request.interims.clone());
        let mut pull = task::Pull::new(Arc::clone(self), flight, job);
        pull.alone = alone;
        tokio::spawn(task::run(pull));
    }

    /// Whether what a pull brings was purged while it was under way.
    fn is_overtaken(&self, born: Epoch, place: &Place<'_>) -> bool {
        let purges = &self.store.purges;
        let since = || purges.since_begun(born, place.realm, place.path.as_str(), place.kind);
        born < purges.latest() && since().is_some()
    }

    /// Takes a finished flight off the map; one that was not admitted to the
    /// cache lingers a little.
    fn leave(&self, key: &Key, flight: &Arc<Flight>, linger: bool) {
        let now = self.clock.monotonic();
        let mut seats = self.shard(key);
        seats.retain(|_, seat| seat.until.is_none_or(|until| now < until));
        if let Some(seat) = seats
            .get_mut(key)
            .filter(|seat| Arc::ptr_eq(&seat.flight, flight))
        {
            if linger {
                seat.until = Some(now + LINGER);
            } else {
                seats.remove(key);
            }
        }
    }

    /// Takes a flight off the map that nobody rides; false: somebody does again.
    fn abandon(&self, key: &Key, flight: &Arc<Flight>) -> bool {
        let mut seats = self.shard(key);
        let deserted = flight.riders() == 0;
        let is_its = |seat: &Seat| Arc::ptr_eq(&seat.flight, flight);
        if deserted && seats.get(key).is_some_and(is_its) {
            seats.remove(key);
        }
        deserted
    }

    /// A flight's answer is for requests with some headers only: from here on
    /// it is found under their key, and who boarded under another looks again.
    fn part(&self, job: &mut Job, variation: Variation, flight: &Arc<Flight>) {
        let key = variation.key(&job.base, &job.request.forwarded);
        let seat = Seat {
            flight: Arc::clone(flight),
            base: job.base.clone(),
            born: job.born,
            until: None,
        };
        // In this order a like request finds the flight at each instant.
        self.shard(&key).entry(key.clone()).or_insert(seat);
        self.store.note_variation(&job.base, variation);
        self.leave(&job.key, flight, false);
        flight.part();
        job.key = key;
    }

    /// An answer is for the request that began its pull and must be confirmed
    /// for any other: who boarded looks again, who comes does not board.
    fn seclude(&self, key: &Key, flight: &Arc<Flight>) {
        // In this order nobody who looks again boards the like of it.
        self.store.note_unshared(key);
        self.leave(key, flight, false);
        flight.part();
    }

    /// Forgets what is stored under a key, and what is on its way there.
    pub fn invalidate(&self, base: &Key) {
        // Of those that are on no map it is not known which are under the key.
        self.invalidations.fetch_add(1, Relaxed);
        for shard in &self.shards {
            lock(shard).retain(|_, seat| {
                let stays = seat.base != *base;
                if !stays {
                    seat.flight.invalid.store(true, Relaxed);
                }
                stays
            });
        }
        self.store.remove(base);
    }

    /// Lets go of what only lingers, and has for so long, so that its memory
    /// comes back.
    fn drop_lingering(&self, least: Duration) {
        let latest = self.clock.monotonic() + LINGER - least;
        let stays = |seat: &Seat| seat.until.is_none_or(|until| until > latest);
        for shard in &self.shards {
            lock(shard).retain(|_, seat| stays(seat));
        }
    }

    /// Takes memory for `bytes`. Where there is none, what is due is evicted, and
    /// viewers are ended who take nothing of bodies that nobody else has. Who
    /// wants some waits in line: those who come in between would take it.
    pub(super) async fn room<T>(
        &self,
        bytes: usize,
        mut take: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if let Some(taken) = take() {
            return Some(taken);
        }
        let began = timer_now();
        let in_line = async {
            let _first = self.room.lock().await;
            loop {
                self.store.make_room();
                self.drop_lingering(LINGER_LEAST);
                if let Some(taken) = take() {
                    return Some(taken);
                }
                if !self.relieve(bytes) && began.elapsed() >= ROOM_LEAST {
                    self.drop_lingering(Duration::ZERO);
                    return take();
                }
                sleep(ROOM_AGAIN).await;
            }
        };
        timeout(ROOM_MOST, in_line).await.unwrap_or_default()
    }

    fn relieve(&self, bytes: usize) -> bool {
        let (limit, now) = (self.store.budget.limit(), timer_now().into_std());
        self.standing.relieve(bytes, limit, now)
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Seat>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

fn lock(shard: &Mutex<HashMap<Key, Seat>>) -> MutexGuard<'_, HashMap<Key, Seat>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::budget::Budget;
    use crate::cache::key::NO_HEADERS;
    use crate::config::{Config, Environment};
    use crate::origin::Failure;
    use std::path::Path;

    const ZONE: &str = "[listen]\nhttp = [\"127.0.0.1:0\"]\n[[zone]]\nname = \"a\"\nhostnames = [\"*\"]\n\
         [zone.token]\nrequired = false\n[zone.origin]\nkind = \"http\"\nendpoints = [\"http://127.0.0.1:1\"]\n";

    fn job(key: &Key, clock: &Clock) -> Job {
        let config = Config::parse("test", ZONE, Path::new("."), &Environment::from([]));
        let zone = config.expect("a configuration").zones.remove(0);
        let viewer = crate::origin::Viewer {
            ip: [192, 0, 2, 1].into(),
            https: false,
            host: None,
            request_id: String::new(),
            trace: None,
            zone_id: 1,
            loop_count: 0,
        };
        Job {
            key: key.clone(),
            base: key.clone(),
            kind: Kind::Segment,
            origin: Arc::new(Origin::new("a", zone.origin.clone(), clock.clone())),
            zone: Arc::new(zone),
            request: Request {
                method: crate::origin::Method::Get,
                path: CanonicalPath::parse("/a.ts").expect("a path"),
                query: String::new(),
                validators: None,
                range: None,
                if_range: None,
                forwarded: Vec::new(),
                viewer,
                hold: None,
                covered: false,
                shows_errors: false,
                interims: None,
            },
            blocking_reload: false,
            slice: None,
            stale: None,
            place: Guest::nobodys(),
            born: 0,
            traces: None,
            ahead: false,
        }
    }

    #[tokio::test]
    async fn a_pull_that_panics_fails_its_riders_and_leaves_nothing_behind() {
        let clock = Clock::default();
        let store = Arc::new(Store::new(Budget::new(16 << 20)));
        let pulls = Pulls::new(store, clock.clone(), 1 << 20, 10);
        let path = CanonicalPath::parse("/a.ts").expect("a path");
        let key = Key::new(1, false, &path, [], NO_HEADERS);
        let flight = Flight::new();
        let mut riders = [flight.board(true), flight.board(false)];
        let seat = Seat {
            flight: Arc::clone(&flight),
            base: key.clone(),
            born: 0,
            until: None,
        };
        pulls.shard(&key).insert(key.clone(), seat);
        pulls.counts.in_flight.fetch_add(1, Relaxed);
        let pull = task::Pull::new(Arc::clone(&pulls), flight, job(&key, &clock));
        let task = tokio::spawn(async move {
            let _pull = pull;
            std::panic::resume_unwind(Box::new("a fault of ours"));
        });
        assert!(task.await.is_err_and(|error| error.is_panic()));
        for rider in &mut riders {
            let arrival = rider.arrival(false).await;
            assert!(matches!(arrival, Arrival::Failed(Failure::Reset)));
        }
        assert!(pulls.shard(&key).is_empty());
        assert_eq!(pulls.counts.in_flight.load(Relaxed), 0);
    }
}
