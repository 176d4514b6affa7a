//! What a target is to the cache: its kind, what of its query counts, and its
//! key: of a request, and of what an operator names.

use std::sync::Arc;

use http::header::HeaderName;

use super::shared::{Node, Site};
use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::cache::store::Store;
use crate::hls::Kind;
use crate::path::CanonicalPath;
use crate::zone::{Selected, Zone, host_of};

/// What of a request, besides its target, the origin is told and its answers are
/// kept apart by.
pub struct Wire<'h, F> {
    /// The origin learns that the viewer came over TLS.
    pub told_https: bool,
    /// The host that he asked at, where the origin learns it.
    pub told_host: Option<&'h str>,
    /// The lines of a header that the zone keeps apart, as they are sent on.
    pub lines: F,
}

/// What a target is, what of its query counts, and its key before anything that
/// its answers vary by.
pub fn place<'q, 'v>(
    store: &Store,
    zone: &'v Zone,
    path: &CanonicalPath,
    query: Option<&'q str>,
    wire: &Wire<'v, impl Fn(&'v HeaderName) -> Vec<&'v [u8]>>,
) -> (Kind, Selected<'q>, Key) {
    let kind = match Kind::of(path) {
        Kind::Other => store.live.kind(zone.realm, path).unwrap_or(Kind::Other),
        kind => kind,
    };
    let packager = !zone.origin.is_s3();
    let rules = &zone.cache;
    let selected = rules.select(query, kind, packager, zone.strips_tokens);
    let kept = rules
        .vary
        .iter()
        .map(|name| (name.as_str(), (wire.lines)(name)));
    // No header has such a name.
    let told = wire.told_host.map(|host| (":host", vec![host.as_bytes()]));
    let kept = kept.chain(told);
    let base = Key::new(zone.realm, wire.told_https, path, selected.iter(), kept);
    (kind, selected, base)
}

/// What is stored of a target, for an operator who asks.
pub struct Stored {
    pub kind: Kind,
    pub key: Key,
    pub object: Option<Arc<Object>>,
}

/// Looks as a request without headers would, and pulls nothing.
pub fn stored(
    node: &Node,
    site: &Site,
    path: &CanonicalPath,
    query: Option<&str>,
    host: &str,
    https: bool,
) -> Stored {
    let (store, zone) = (&node.pulls.store, &site.zone);
    let host = plain_host(host);
    let wire = Wire {
        told_https: https && zone.tells_scheme(),
        told_host: zone.origin.told_host(&host),
        lines: |_| Vec::new(),
    };
    let (kind, _, key) = place(store, zone, path, query, &wire);
    let variation = store.variation(&key);
    let key = variation.map_or_else(|| key.clone(), |it| it.key(&key, &[]));
    Stored {
        kind,
        object: store.get(&key),
        key,
    }
}

/// As a viewer's host is told: without what says the same.
pub fn plain_host(host: &str) -> String {
    host_of(host).to_ascii_lowercase()
}
