//! The second part: what the cache has, and whether the origin must be asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CACHE_CONTROL, HeaderName, PRAGMA, RANGE};

use super::forward::{forwarded, is_sent};
use super::headers::Detail;
use super::range::{Answer, ends_behind, first_of_one};
use super::refused::Refused;
use super::represent::wanted;
use super::request::Request;
use super::verify::Admitted;
use super::visit::Visit;
use crate::cache::demand::Demand;
use crate::cache::key::Key;
use crate::cache::lifetime::{Bypass, State};
use crate::cache::live::Named;
use crate::cache::object::Object;
use crate::cache::purge::Epoch;
use crate::cache::slices::Slice;
use crate::hls::Kind;
use crate::origin::{self, Failure, Interims};
use crate::per_address::Guest;
use crate::pull::{Job, Joined, News, Place, Reading, Rider};
use crate::telemetry::CacheStatus;
use crate::zone::{Asked, CachePolicy, Selected, Zone, plain_host};

/// The usual target duration, before a playlist has told its own.
const UNKNOWN_TARGET: Duration = Duration::from_secs(6);

/// What the origin has confirmed no longer ago has not grown since: ranges beyond
/// it are no way to keep the origin busy.
const GROWS_WITHIN: Duration = Duration::from_millis(250);

/// How a request is going to be answered.
pub enum Found {
    /// From memory.
    Hit(Hit),
    /// By riding a pull; `stale` is what may be served where it fails.
    Riding {
        rider: Rider,
        stale: Option<Arc<Object>>,
    },
    /// By a request of its own to the origin; `stale` as above.
    Pass {
        reason: Bypass,
        stale: Option<Arc<Object>>,
    },
    /// Not at all, or by what is stale: the key has failed a moment ago.
    Failed {
        failure: Failure,
        stale: Option<Arc<Object>>,
    },
    /// By the slices that a range lies in, the first of which has this byte.
    Sliced(u64),
    /// Not now: too many wait already.
    Refused(Refused),
}

/// A request's place in the cache.
pub struct Query<'a> {
    visit: Visit<'a>,
    /// Before anything that answers vary by.
    base: Key,
    key: Key,
    pub kind: Kind,
    selected: Selected<'a>,
    demand: Demand,
    /// A slice of it, for the sake of this byte.
    slice: Option<(Slice, u64)>,
}

/// Where a request belongs in the cache.
pub struct Known {
    base: Key,
    key: Key,
    kind: Kind,
}

/// What memory has for a request, good enough to be served.
pub struct Hit {
    pub object: Arc<Object>,
    pub status: CacheStatus,
    pub failure: Option<Failure>,
}

impl Hit {
    /// What Cache-Status says of it to a request that came then: what is left of
    /// its lifetime.
    pub fn detail(&self, came: Instant) -> Detail<'_> {
        let freshness = &self.object.freshness;
        let age = freshness.age(came).as_secs();
        let fresh = freshness.lifetime.fresh.as_secs();
        let ttl = i64::try_from(fresh).unwrap_or(i64::MAX) - i64::try_from(age).unwrap_or(i64::MAX);
        Detail::hit(ttl, &self.object.fingerprint, self.status, self.failure)
    }
}

impl<'a> Query<'a> {
    pub fn of(visit: Visit<'a>) -> Self {
        let Admitted { zone, target, .. } = visit.admitted;
        let store = &visit.node.pulls.store;
        let asked = Asked {
            https: visit.visitor.https,
            host: Some(&visit.visitor.host),
            lines: |name: &HeaderName| match is_sent(visit.request, zone, name) {
                true => visit.request.values(name).collect(),
                false => Vec::new(),
            },
        };
        let kind = visit.node.kind_of(zone, &target.path);
        let (selected, base) = zone.place(&target.path, target.query, kind, &asked);
        let variation = match zone.cache.policy {
            CachePolicy::Hls => None,
            CachePolicy::Origin => store.variation(&base),
        };
        let key = variation.map(|it| it.key(&base, &forwarded(visit.node, visit.request, zone)));
        Self {
            visit,
            key: key.unwrap_or_else(|| base.clone()),
            base,
            kind,
            selected,
            demand: demand(visit.request, zone),
            slice: None,
        }
    }

    /// The query of a request that has been looked for.
    pub fn known(visit: Visit<'a>, known: Known) -> Self {
        let Admitted { zone, target, .. } = visit.admitted;
        let Known { base, key, kind } = known;
        Self {
            visit,
            base,
            key,
            kind,
            selected: zone.select(target.query, kind),
            demand: demand(visit.request, zone),
            slice: None,
        }
    }

    /// What of it outlives the request's head.
    pub fn into_known(self) -> Known {
        Known {
            base: self.base,
            key: self.key,
            kind: self.kind,
        }
    }

    /// Looks in memory, then joins or starts the pull.
    pub fn find(&self) -> Found {
        self.go_on(self.look())
    }

    /// What memory has told, or else a pull.
    pub fn go_on(&self, looked: Looked) -> Found {
        match looked {
            Looked::Good(hit) => Found::Hit(hit),
            Looked::Bad(stale) => self.pull(stale),
        }
    }

    /// Looks in memory. What is served stale while it is confirmed is pulled from
    /// here on.
    pub fn look(&self) -> Looked {
        let pulls = &self.visit.node.pulls;
        let Some(object) = pulls.store.get(&self.key) else {
            return Looked::Bad(None);
        };
        let hit = |object, status, failure| {
            Looked::Good(Hit {
                object,
                status,
                failure,
            })
        };
        let now = self.visit.request.entry.came;
        let demand = self.demand_of(&object);
        let state = match demand.refuses(&object.freshness, now) {
            true => State::Expired,
            false => object.state(now),
        };
        match state {
            State::Fresh => hit(object, CacheStatus::Hit, None),
            State::StaleWhileRevalidate => {
                let failure = pulls.store.recent_failure(&self.key);
                if failure.is_none() {
                    // The rider leaves at once; the pull goes on.
                    self.join(Some(Arc::clone(&object)));
                }
                hit(object, CacheStatus::Updating, failure)
            }
            State::StaleIfError => match pulls.store.recent_failure(&self.key) {
                Some(failure) => hit(object, CacheStatus::Stale, Some(failure)),
                None => Looked::Bad(Some(object)),
            },
            State::Expired => Looked::Bad(Some(object)),
        }
    }

    /// A file that a live playlist adds to grows under its name: before a viewer
    /// is told that there is no such range, the origin is asked.
    fn demand_of(&self, object: &Object) -> Demand {
        let mut demand = self.demand;
        let grown = self.is_beyond(object) || self.ends_behind(object);
        demand.confirmed_within = grown.then_some(GROWS_WITHIN);
        demand
    }

    /// Whether the range that is asked for lies behind the end of an object.
    pub fn is_beyond(&self, object: &Object) -> bool {
        if let Some((_, byte)) = self.slice {
            let part = object.part.as_ref();
            return part.is_some_and(|part| !part.range.contains(&byte));
        }
        self.visit.request.contains(&RANGE)
            && wanted(self.visit.request, object) == Answer::Unsatisfiable
    }

    /// Whether the range ends behind the end of what is live: there alone files
    /// grow, and elsewhere players ask for round numbers.
    fn ends_behind(&self, object: &Object) -> bool {
        let Admitted { zone, target, .. } = self.visit.admitted;
        let live = &self.visit.node.pulls.store.live;
        let range = self.visit.request.text(&RANGE);
        range.is_some_and(|range| ends_behind(range, object.body.len()))
            && live.beside(zone.realm, &target.path).is_some()
    }

    fn pull(&self, stale: Option<Arc<Object>>) -> Found {
        if self.demand.only_if_cached {
            return Found::Refused(Refused::OnlyIfCached);
        }
        if self.demand.no_store {
            return Found::Pass {
                reason: Bypass::RequestNoStore,
                stale: None,
            };
        }
        if let Some(first) = self.first_of_slices() {
            return Found::Sliced(first);
        }
        if let Some(reason) = self.visit.node.pulls.store.passes(&self.key) {
            return Found::Pass { reason, stale };
        }
        if self.visit.request.is_head() {
            // A HEAD never pulls a body that nobody asked for.
            let reason = Bypass::Head;
            return Found::Pass { reason, stale };
        }
        if let Some(failure) = self.recent_failure() {
            return Found::Failed { failure, stale };
        }
        if self.visit.node.pulls.store.is_unshared(&self.key) {
            return self.alone(stale);
        }
        match self.join(stale.clone()) {
            Joined::Stored(object) => Found::Hit(Hit {
                object,
                status: CacheStatus::Hit,
                failure: None,
            }),
            Joined::Riding(rider) => Found::Riding { rider, stale },
            Joined::Crowded => self.refused(Refused::TooManyRiders, stale),
            Joined::Alone => {
                let refused = self.place().err().unwrap_or(Refused::TooManyPulls);
                self.refused(refused, stale)
            }
        }
    }

    /// Where a range begins that is answered in slices: one of an object that is
    /// known to be too large to be kept whole.
    pub fn first_of_slices(&self) -> Option<u64> {
        let Visit { node, request, .. } = self.visit;
        let (pulls, rules) = (&node.pulls, &self.visit.admitted.zone.cache);
        let may = self.slice.is_none()
            && rules.policy == CachePolicy::Hls
            && !self.kind.is_list()
            && !request.is_head();
        let range = request.text(&RANGE).filter(|_| may)?;
        let whole = pulls.store.versions.whole(&self.key);
        // It may have grown: only the last so many bytes are counted from its end.
        let first = first_of_one(range, None).or_else(|| first_of_one(range, whole));
        let is_large = whole.is_some_and(|whole| whole > pulls.max_object)
            || pulls.store.passes(&self.key) == Some(Bypass::TooLarge);
        first.filter(|_| is_large)
    }

    /// The length of it, as a slice has told.
    pub fn known_length(&self) -> Option<u64> {
        let versions = &self.visit.node.pulls.store.versions;
        versions.whole(&self.key)
    }

    /// The slice that a byte lies in.
    pub fn slice(&self, byte: u64) -> Self {
        let pulls = &self.visit.node.pulls;
        let version = pulls.store.versions.of(&self.key);
        let slice = Slice::at(byte, pulls.max_object, version);
        Self {
            visit: self.visit,
            base: self.base.clone(),
            key: slice.key(&self.key),
            kind: self.kind,
            selected: self.selected.clone(),
            demand: self.demand,
            slice: Some((slice, byte)),
        }
    }

    /// Not now, where nothing stale may serve meanwhile.
    pub fn refused(&self, refused: Refused, stale: Option<Arc<Object>>) -> Found {
        let now = self.visit.request.entry.came;
        let usable = stale.filter(|object| object.freshness.covers_errors(now));
        match usable {
            None => Found::Refused(refused),
            stale => Found::Failed {
                failure: Failure::QueueTimeout,
                stale,
            },
        }
    }

    /// Why the key is not pulled again yet.
    fn recent_failure(&self) -> Option<Failure> {
        self.recent_failure_under(&self.key)
    }

    /// Under `policy = "origin"` a viewer's own headers may be the reason, which
    /// is nobody else's.
    fn recent_failure_under(&self, key: &Key) -> Option<Failure> {
        let Visit { node, admitted, .. } = self.visit;
        let shared = admitted.zone.cache.policy == CachePolicy::Hls;
        let failure = node.pulls.store.failure_of(key);
        failure.filter(|_| shared)
    }

    /// The same for a request of its own to the origin.
    pub fn recent_failure_of(&self, request: &origin::Request) -> Option<Failure> {
        let own = self.recent_failure_under(&self.key_of(request));
        own.or_else(|| self.recent_failure())
    }

    /// Remembers that such a request has failed.
    pub fn note_failure_of(&self, request: &origin::Request, failure: Failure) {
        let store = &self.visit.node.pulls.store;
        store.note_failure(&self.key_of(request), failure);
    }

    /// What a failure is remembered under: an origin that knows no HEAD may have
    /// the object, and one part of it may be well where another is not. No
    /// header has such a name.
    fn key_of(&self, request: &origin::Request) -> Key {
        let range = |range: &str| self.key.variant(0, [(":range", [range.as_bytes()])]);
        match (request.method, &request.range) {
            (origin::Method::Head, _) => self.key.variant(0, [(":head", [])]),
            (origin::Method::Get, Some(wanted)) => range(wanted),
            (origin::Method::Get, None) => self.key.clone(),
        }
    }

    /// A pull of its own, where what it brings is for no other.
    fn alone(&self, stale: Option<Arc<Object>>) -> Found {
        let place = match self.place() {
            Ok(place) => place,
            Err(refused) => return self.refused(refused, stale),
        };
        let job = |born| self.job(stale.clone(), place, born);
        let rider = self.visit.node.pulls.alone(job);
        Found::Riding { rider, stale }
    }

    fn job(&self, stale: Option<Arc<Object>>, place: [Guest; 2], born: Epoch) -> Job {
        let Visit { node, admitted, .. } = self.visit;
        Job {
            key: self.key.clone(),
            base: self.base.clone(),
            kind: self.kind,
            zone: Arc::clone(admitted.zone),
            origin: Arc::clone(admitted.origin),
            request: self.request(),
            blocking_reload: self.selected.is_blocking_reload(),
            slice: self.slice.map(|(slice, _)| slice),
            stale,
            place,
            born,
            traces: node.traces.clone(),
            ahead: false,
        }
    }

    fn join(&self, stale: Option<Arc<Object>>) -> Joined {
        let Visit { node, admitted, .. } = self.visit;
        let demand = stale.as_deref().map(|object| self.demand_of(object));
        let job = self
            .place()
            .ok()
            .map(|place| |born| self.job(stale, place, born));
        let place = Place {
            key: &self.key,
            base: &self.base,
            kind: self.kind,
            demand: demand.unwrap_or(self.demand),
            realm: admitted.zone.realm,
            path: &admitted.target.path,
        };
        node.pulls.join(&place, job)
    }

    /// Places for one more request to the origin: among those that may be held
    /// back, where it may be, and among all of the viewer's.
    pub fn place(&self) -> Result<[Guest; 2], Refused> {
        let Visit {
            node,
            visitor,
            admitted,
            ..
        } = self.visit;
        let held = match self.hold() {
            None => Some(Guest::uncounted()),
            Some(_) => node.limits.hold(visitor.client_ip),
        };
        let pull = node.limits.pull(visitor.client_ip, admitted.origin);
        let held = held.ok_or(Refused::TooManyHeld)?;
        Ok([held, pull.ok_or(Refused::TooManyPulls)?])
    }

    /// How long the origin may hold its answer: a packager waits for what a
    /// blocking reload or a hinted part asks for, up to three target durations.
    fn hold(&self) -> Option<Duration> {
        let Visit { node, admitted, .. } = self.visit;
        let (zone, path) = (admitted.zone, &admitted.target.path);
        let store = &node.pulls.store;
        let held = !zone.origin.is_s3()
            && (self.selected.is_blocking_reload()
                || store.live.is_named(zone.realm, path, Named::HintedPart));
        held.then(|| {
            let target = store.live.folder(zone.realm, path);
            target.unwrap_or(UNKNOWN_TARGET) * 3 + Duration::from_secs(2)
        })
    }

    /// A playlist has passed by.
    pub fn passed(&self, body: &Reading) {
        let asked_at = self.visit.request.entry.came;
        let Visit { node, admitted, .. } = self.visit;
        let news = News {
            pulls: &node.pulls,
            zone: admitted.zone,
            path: &admitted.target.path,
            key: &self.key,
            kind: self.kind,
        };
        news.passed(body, asked_at);
    }

    /// Media of a live stream: how long they are what they are.
    pub fn live_media(&self) -> Option<Duration> {
        let Visit { node, admitted, .. } = self.visit;
        let path = &admitted.target.path;
        node.pulls.live_media(self.kind, admitted.zone, path)
    }

    /// How much longer this request may wait for its first byte.
    pub fn patience(&self) -> Duration {
        let Visit { node, request, .. } = self.visit;
        let answer = self.visit.admitted.origin.settings().deadlines.answer;
        let whole = answer.max(self.hold().unwrap_or_default());
        let waited = node.clock.monotonic() - request.entry.came;
        whole.saturating_sub(waited)
    }

    /// What the origin is asked for.
    pub fn request(&self) -> origin::Request {
        let Visit {
            node,
            request,
            visitor,
            admitted,
            request_id,
            ..
        } = self.visit;
        let (zone, path) = (admitted.zone, &admitted.target.path);
        let told = self.visit.told_trace();
        let mut forwarded = forwarded(node, request, zone);
        forwarded.retain(|(name, _)| !told.drops(name));
        origin::Request {
            method: if request.is_head() {
                origin::Method::Head
            } else {
                origin::Method::Get
            },
            path: path.clone(),
            query: self.selected.to_query(),
            validators: None,
            range: self.slice.map(|(slice, _)| slice.to_header()),
            if_range: None,
            forwarded,
            viewer: origin::Viewer {
                ip: visitor.client_ip,
                https: match zone.tells_scheme() {
                    true => visitor.https,
                    false => !node.listen.https.is_empty(),
                },
                host: zone.origin.told_host(&visitor.host).map(plain_host),
                request_id: request_id.to_owned(),
                trace: told.ours(),
                zone_id: zone.id,
                loop_count: admitted.granted.loop_count,
            },
            hold: self.hold(),
            covered: false,
            shows_errors: !zone.hides_errors(),
            interims: (zone.cache.policy == CachePolicy::Origin).then(Interims::default),
        }
    }
}

/// What memory has.
pub enum Looked {
    Good(Hit),
    /// Nothing, or an object that may be confirmed or served in an emergency.
    Bad(Option<Arc<Object>>),
}

fn demand(request: &Request<'_>, zone: &Zone) -> Demand {
    match zone.cache.request_directives {
        true => Demand::parse(request.texts(&CACHE_CONTROL), request.text(&PRAGMA)),
        false => Demand::default(),
    }
}
