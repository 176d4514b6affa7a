//! The second part: what the cache has, and whether the origin must be asked.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, RANGE};
use pingora::http::{Method, RequestHeader};

use super::Node;
use super::verify::{Admitted, Visitor};
use crate::cache::head::is_hop_by_hop;
use crate::cache::key::Key;
use crate::cache::lifetime::{Bypass, State};
use crate::cache::object::Object;
use crate::hls::Kind;
use crate::origin::{self, Failure, Request};
use crate::path::CanonicalPath;
use crate::pull::{Job, Joined, Rider};
use crate::telemetry::CacheStatus;
use crate::zone::{CachePolicy, Zone};

/// The usual target duration, before a playlist has told its own.
const UNKNOWN_TARGET: Duration = Duration::from_secs(6);

/// How a request is going to be answered.
pub enum Found {
    /// From memory.
    Object {
        object: Arc<Object>,
        status: CacheStatus,
        failure: Option<Failure>,
    },
    /// By riding a pull; `stale` is what may be served where it fails.
    Riding {
        rider: Rider,
        starter: bool,
        stale: Option<Arc<Object>>,
    },
    /// By a request of its own to the origin.
    Pass(Bypass),
}

/// A request's place in the cache.
pub struct Query {
    pub key: Key,
    pub kind: Kind,
    pub request: Request,
    pub blocking_reload: bool,
}

impl Query {
    pub fn of(
        node: &Node,
        visitor: &Visitor,
        admitted: &Admitted<'_>,
        head: &RequestHeader,
        request_id: &str,
        https: bool,
    ) -> Self {
        let (zone, path) = (admitted.zone, &admitted.target.path);
        let mut kind = Kind::of(path);
        if kind == Kind::Other && node.pulls.store.is_named_key(zone.id, path) {
            kind = Kind::Key;
        }
        let packager = matches!(admitted.origin.settings().kind, origin::Kind::Http { .. });
        let selected =
            zone.cache
                .select(admitted.target.query, kind, packager, zone.token.is_some());
        let varied = zone.cache.vary.iter().map(|name| {
            let value = head
                .headers
                .get(name.as_str())
                .and_then(|value| value.to_str().ok());
            (name.as_str(), value.unwrap_or_default())
        });
        let key = Key::new(zone.id, path, selected.iter().chain(varied));
        let method = if head.method == Method::HEAD {
            origin::Method::Head
        } else {
            origin::Method::Get
        };
        let request = Request {
            method,
            path: path.clone(),
            query: selected.to_query(),
            validators: None,
            range: None,
            forwarded: forwarded(head, zone),
            viewer: origin::Viewer {
                ip: visitor.client_ip,
                https,
                request_id: request_id.to_owned(),
                zone_id: zone.id,
                loop_count: admitted.loop_count,
            },
            hold: selected
                .is_blocking_reload()
                .then(|| hold(node, zone, path)),
        };
        Self {
            key,
            kind,
            request,
            blocking_reload: selected.is_blocking_reload(),
        }
    }

    /// Looks in memory, then joins or starts the pull.
    pub fn find(&self, node: &Node, admitted: &Admitted<'_>, head: &RequestHeader) -> Found {
        let store = &node.pulls.store;
        let plain = admitted.zone.cache.policy == CachePolicy::Origin;
        if plain && head.headers.contains_key(AUTHORIZATION) {
            return Found::Pass(Bypass::Authorization);
        }
        let now = node.clock.monotonic();
        let stored = store.get(&self.key, self.kind);
        let state = stored.as_ref().map(|object| object.freshness.state(now));
        let failure = store.recent_failure(&self.key);
        match (stored, state) {
            (Some(object), Some(State::Fresh)) => Found::Object {
                object,
                status: CacheStatus::Hit,
                failure: None,
            },
            (Some(object), Some(State::StaleWhileRevalidate)) => {
                if failure.is_none() {
                    // The rider leaves at once; the pull goes on.
                    self.join(node, admitted, Some(Arc::clone(&object)));
                }
                Found::Object {
                    object,
                    status: CacheStatus::Updating,
                    failure,
                }
            }
            (Some(object), Some(State::StaleIfError)) if failure.is_some() => Found::Object {
                object,
                status: CacheStatus::Stale,
                failure,
            },
            (stale, _) => self.pull(node, admitted, head, stale),
        }
    }

    fn pull(
        &self,
        node: &Node,
        admitted: &Admitted<'_>,
        head: &RequestHeader,
        stale: Option<Arc<Object>>,
    ) -> Found {
        if let Some(reason) = node.pulls.store.passes(&self.key) {
            return Found::Pass(reason);
        }
        if head.method == Method::HEAD {
            // A HEAD never pulls a body that nobody asked for.
            return Found::Pass(Bypass::Head);
        }
        match self.join(node, admitted, stale.clone()) {
            Joined::Stored(object) => Found::Object {
                object,
                status: CacheStatus::Hit,
                failure: None,
            },
            Joined::Riding { rider, starter } => Found::Riding {
                rider,
                starter,
                stale,
            },
        }
    }

    fn join(&self, node: &Node, admitted: &Admitted<'_>, stale: Option<Arc<Object>>) -> Joined {
        node.pulls.join(&self.key, self.kind, || Job {
            key: self.key.clone(),
            kind: self.kind,
            zone: Arc::clone(admitted.zone),
            origin: Arc::clone(&admitted.origin),
            request: self.request.clone(),
            blocking_reload: self.blocking_reload,
            stale,
        })
    }
}

/// A packager holds a blocking reload for up to three target durations.
fn hold(node: &Node, zone: &Zone, path: &CanonicalPath) -> Duration {
    let target = node.pulls.store.live_folder(zone.id, path);
    target.unwrap_or(UNKNOWN_TARGET) * 3 + Duration::from_secs(2)
}

/// Under `hls` only what the zone keys by; under `origin` every end-to-end
/// header but those that the edge answers or sets itself.
fn forwarded(head: &RequestHeader, zone: &Zone) -> Vec<(HeaderName, HeaderValue)> {
    let vary = &zone.cache.vary;
    // An object store reads our credentials, never a viewer's.
    let secret =
        |name: &HeaderName| zone.origin.is_s3() && (*name == AUTHORIZATION || *name == COOKIE);
    let passes = |name: &HeaderName| match zone.cache.policy {
        _ if secret(name) => false,
        CachePolicy::Hls => vary.iter().any(|listed| listed == name.as_str()),
        CachePolicy::Origin => !is_hop_by_hop(name) && !is_ours(name),
    };
    head.headers
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
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
