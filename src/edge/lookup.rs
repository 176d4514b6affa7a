//! The second part: what the cache has, and whether the origin must be asked.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, RANGE};

use super::Node;
use super::request::Request;
use super::verify::{Admitted, Visitor};
use crate::cache::head::is_hop_by_hop;
use crate::cache::key::Key;
use crate::cache::lifetime::{Bypass, State};
use crate::cache::object::Object;
use crate::hls::Kind;
use crate::origin::{self, Failure};
use crate::path::CanonicalPath;
use crate::pull::{Job, Joined, Rider};
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
    key: Key,
    pub kind: Kind,
    selected: Selected<'a>,
}

/// What memory has for a request, good enough to be served.
pub struct Hit {
    pub object: Arc<Object>,
    pub status: CacheStatus,
    pub failure: Option<Failure>,
}

impl<'a> Query<'a> {
    pub fn of(visit: Visit<'a>) -> Self {
        let Admitted {
            zone,
            origin,
            target,
            ..
        } = visit.admitted;
        let mut kind = Kind::of(&target.path);
        if kind == Kind::Other && visit.node.pulls.store.is_named_key(zone.id, &target.path) {
            kind = Kind::Key;
        }
        let packager = !origin.settings().is_s3();
        let selected = zone
            .cache
            .select(target.query, kind, packager, zone.token.is_some());
        let varied = zone.cache.vary.iter().map(|name| {
            let value = visit.request.text(name);
            (name.as_str(), value.unwrap_or_default())
        });
        let key = Key::new(zone.id, &target.path, selected.iter().chain(varied));
        Self {
            visit,
            key,
            kind,
            selected,
        }
    }

    /// Looks in memory, then joins or starts the pull.
    pub fn find(&self) -> Found {
        if self.is_personal() {
            return Found::Pass(Bypass::Authorization);
        }
        match self.look() {
            Looked::Good(hit) => Found::Hit(hit),
            Looked::Bad(stale) => self.pull(stale),
        }
    }

    /// Looks in memory alone.
    pub fn hit(&self) -> Option<Hit> {
        if self.is_personal() {
            return None;
        }
        match self.look() {
            Looked::Good(hit) => Some(hit),
            Looked::Bad(_) => None,
        }
    }

    /// Under `origin`, an answer to credentials is not for others.
    fn is_personal(&self) -> bool {
        self.visit.admitted.zone.cache.policy == CachePolicy::Origin
            && self.visit.request.contains(&AUTHORIZATION)
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
        match object.freshness.state(self.visit.request.entry.came) {
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
        }
    }

    fn join(&self, stale: Option<Arc<Object>>) -> Joined {
        let Visit { node, admitted, .. } = self.visit;
        node.pulls.join(&self.key, self.kind, || Job {
            key: self.key.clone(),
            kind: self.kind,
            zone: Arc::clone(admitted.zone),
            origin: Arc::clone(admitted.origin),
            request: self.request(),
            blocking_reload: self.selected.is_blocking_reload(),
            stale,
        })
    }

    /// What the origin is asked for.
    pub fn request(&self) -> origin::Request {
        let Visit {
            node,
            request,
            visitor,
            admitted,
            request_id,
        } = self.visit;
        let (zone, path) = (admitted.zone, &admitted.target.path);
        let blocking = self.selected.is_blocking_reload();
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
            forwarded: forwarded(request, zone),
            viewer: origin::Viewer {
                ip: visitor.client_ip,
                https: request.entry.https,
                request_id: request_id.to_owned(),
                zone_id: zone.id,
                loop_count: admitted.loop_count,
            },
            hold: blocking.then(|| hold(node, zone, path)),
        }
    }
}

enum Looked {
    Good(Hit),
    /// Nothing, or an object that may be confirmed or served in an emergency.
    Bad(Option<Arc<Object>>),
}

/// A packager holds a blocking reload for up to three target durations.
fn hold(node: &Node, zone: &Zone, path: &CanonicalPath) -> Duration {
    let target = node.pulls.store.live_folder(zone.id, path);
    target.unwrap_or(UNKNOWN_TARGET) * 3 + Duration::from_secs(2)
}

/// Under `hls` only what the zone keys by; under `origin` every end-to-end
/// header but those that the edge answers or sets itself.
fn forwarded(request: &Request<'_>, zone: &Zone) -> Vec<(HeaderName, HeaderValue)> {
    let vary = &zone.cache.vary;
    // An object store reads our credentials, never a viewer's.
    let secret =
        |name: &HeaderName| zone.origin.is_s3() && (*name == AUTHORIZATION || *name == COOKIE);
    let passes = |name: &HeaderName| match zone.cache.policy {
        _ if secret(name) => false,
        CachePolicy::Hls => vary.contains(name),
        CachePolicy::Origin => !is_hop_by_hop(name) && !is_ours(name),
    };
    let mut entries = request.entries();
    entries.retain(|(name, _)| passes(name));
    entries
}

fn is_ours(name: &HeaderName) -> bool {
    let text = name.as_str();
    *name == RANGE
        || text.starts_with("if-")
        || text.starts_with("cdn-")
        || text.starts_with("x-amz-")
        || matches!(
            text,
            "host"
                | "accept-encoding"
                | "via"
                | "content-length"
                | "expect"
                | "x-forwarded-for"
                | "x-forwarded-proto"
        )
}
