//! The second part: what the cache has, and whether the origin must be asked.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

use super::forward::forwarded;
use super::request::Request;
use super::trace::TRACEPARENT;
use super::verify::{Admitted, Refused, Visitor};
use super::{Node, Site};
use crate::cache::demand::Demand;
use crate::cache::key::Key;
use crate::cache::lifetime::{Bypass, State};
use crate::cache::object::Object;
use crate::cache::store::{Named, Store};
use crate::hls::Kind;
use crate::origin::{self, Failure};
use crate::path::CanonicalPath;
use crate::per_address::Guest;
use crate::pull::{Job, Joined, Place, Rider};
use crate::telemetry::CacheStatus;
use crate::zone::{CachePolicy, Selected, Zone};

/// The usual target duration, before a playlist has told its own.
const UNKNOWN_TARGET: Duration = Duration::from_secs(6);

/// How a request is going to be answered.
pub enum Found {
    /// From memory.
    Hit(Hit),
    /// By riding a pull; `stale` is what may be served where it fails.
    Riding {
        rider: Rider,
        stale: Option<Arc<Object>>,
    },
    /// By a request of its own to the origin.
    Pass(Bypass),
    /// Not now: too many wait already.
    Refused(Refused),
}

/// A request that was let in, with everything that answering it needs.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    pub node: &'a Node,
    pub request: &'a Request<'a>,
    pub visitor: &'a Visitor<'a>,
    pub admitted: &'a Admitted<'a>,
    pub request_id: &'a str,
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
}

/// What memory has for a request, good enough to be served.
pub struct Hit {
    pub object: Arc<Object>,
    pub status: CacheStatus,
    pub failure: Option<Failure>,
}

impl<'a> Query<'a> {
    pub fn of(visit: Visit<'a>) -> Self {
        let Admitted { zone, target, .. } = visit.admitted;
        let store = &visit.node.pulls.store;
        let value = |name: &HeaderName| visit.request.text(name).unwrap_or_default();
        let (kind, selected, base) = place(store, zone, &target.path, target.query, value);
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
        }
    }

    /// Looks in memory, then joins or starts the pull.
    pub fn find(&self) -> Found {
        match self.look() {
            Looked::Good(hit) => Found::Hit(hit),
            Looked::Bad(stale) => self.pull(stale),
        }
    }

    /// Looks in memory alone.
    pub fn hit(&self) -> Option<Hit> {
        match self.look() {
            Looked::Good(hit) => Some(hit),
            Looked::Bad(_) => None,
        }
    }

    fn look(&self) -> Looked {
        let pulls = &self.visit.node.pulls;
        let Some(object) = pulls.store.get(&self.key, self.kind) else {
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
        let state = match self.demand.refuses(&object.freshness, now) {
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

    fn pull(&self, stale: Option<Arc<Object>>) -> Found {
        if self.demand.only_if_cached {
            return Found::Refused(Refused::OnlyIfCached);
        }
        if self.demand.no_store {
            return Found::Pass(Bypass::RequestNoStore);
        }
        if let Some(reason) = self.visit.node.pulls.store.passes(&self.key) {
            return Found::Pass(reason);
        }
        if self.visit.request.is_head() {
            // A HEAD never pulls a body that nobody asked for.
            return Found::Pass(Bypass::Head);
        }
        match self.join(stale.clone()) {
            Joined::Stored(object) => Found::Hit(Hit {
                object,
                status: CacheStatus::Hit,
                failure: None,
            }),
            Joined::Riding(rider) => Found::Riding { rider, stale },
            Joined::Crowded => Found::Refused(Refused::TooManyRiders),
            Joined::Alone => Found::Refused(Refused::TooManyHeld),
        }
    }

    fn join(&self, stale: Option<Arc<Object>>) -> Joined {
        let Visit { node, admitted, .. } = self.visit;
        let job = self.place().map(|place| {
            |born| Job {
                key: self.key.clone(),
                base: self.base.clone(),
                kind: self.kind,
                zone: Arc::clone(admitted.zone),
                origin: Arc::clone(admitted.origin),
                request: self.request(),
                blocking_reload: self.selected.is_blocking_reload(),
                stale,
                place,
                born,
                traces: node.traces.clone(),
            }
        });
        let place = Place {
            key: &self.key,
            base: &self.base,
            kind: self.kind,
            demand: self.demand,
            realm: admitted.zone.realm,
            path: &admitted.target.path,
        };
        node.pulls.join(&place, job)
    }

    /// A place for one more request to the origin; `None`: the viewer has begun
    /// as many as may be held back.
    pub fn place(&self) -> Option<Guest> {
        match self.hold() {
            None => Some(Guest::uncounted()),
            Some(_) => self.visit.node.limits.hold(self.visit.visitor.client_ip),
        }
    }

    /// How long the origin may hold its answer: a packager waits for what a
    /// blocking reload or a hinted part asks for, up to three target durations.
    fn hold(&self) -> Option<Duration> {
        let Visit { node, admitted, .. } = self.visit;
        let (zone, path) = (admitted.zone, &admitted.target.path);
        let store = &node.pulls.store;
        let held = !zone.origin.is_s3()
            && (self.selected.is_blocking_reload()
                || store.is_named(zone.realm, path, Named::HintedPart));
        held.then(|| {
            let target = store.live_folder(zone.realm, path);
            target.unwrap_or(UNKNOWN_TARGET) * 3 + Duration::from_secs(2)
        })
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
        let trace = self.visit.trace().map(|span| span.child());
        let mut forwarded = forwarded(node, request, zone);
        if trace.is_some() {
            forwarded.retain(|(name, _)| *name != TRACEPARENT);
        }
        origin::Request {
            method: if request.is_head() {
                origin::Method::Head
            } else {
                origin::Method::Get
            },
            path: path.clone(),
            query: self.selected.to_query(),
            validators: None,
            range: None,
            if_range: None,
            forwarded,
            viewer: origin::Viewer {
                ip: visitor.client_ip,
                https: request.entry.https,
                request_id: request_id.to_owned(),
                trace,
                zone_id: zone.id,
                loop_count: admitted.loop_count,
            },
            hold: self.hold(),
        }
    }
}

/// What a target is, what of its query counts, and its key before anything that
/// its answers vary by. `value`: of a header that the zone keeps apart.
pub fn place<'q, 'v>(
    store: &Store,
    zone: &'v Zone,
    path: &CanonicalPath,
    query: Option<&'q str>,
    value: impl Fn(&HeaderName) -> &'v str,
) -> (Kind, Selected<'q>, Key) {
    let mut kind = Kind::of(path);
    if kind == Kind::Other && store.is_named(zone.realm, path, Named::Key) {
        kind = Kind::Key;
    }
    let packager = !zone.origin.is_s3();
    let rules = &zone.cache;
    let selected = rules.select(query, kind, packager, zone.token.is_some());
    let kept = rules.vary.iter().map(|name| (name.as_str(), value(name)));
    let base = Key::new(zone.realm, path, selected.iter().chain(kept));
    (kind, selected, base)
}

/// What is stored of a target, for an operator who asks.
pub struct Stored {
    pub kind: Kind,
    pub key: Key,
    pub object: Option<Arc<Object>>,
}

/// Looks as a request without headers would, and pulls nothing.
pub fn stored(node: &Node, site: &Site, path: &CanonicalPath, query: Option<&str>) -> Stored {
    let store = &node.pulls.store;
    let (kind, _, key) = place(store, &site.zone, path, query, |_| "");
    let variation = store.variation(&key);
    let key = variation.map_or_else(|| key.clone(), |it| it.key(&key, &[]));
    Stored {
        kind,
        object: store.get(&key, kind),
        key,
    }
}

enum Looked {
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
