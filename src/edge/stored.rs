//! What is stored of a target, for an operator who asks.

use std::sync::Arc;

use super::shared::{Node, Site};
use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::hls::Kind;
use crate::path::CanonicalPath;
use crate::zone::Asked;

/// What is stored.
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
    let asked = Asked {
        https,
        host: Some(host),
        ..Asked::plainly()
    };
    let kind = node.kind_of(zone, path);
    let (_, key) = zone.place(path, query, kind, &asked);
    let variation = store.variation(&key);
    let key = variation.map_or_else(|| key.clone(), |it| it.key(&key, &[]));
    Stored {
        kind,
        object: store.get(&key),
        key,
    }
}
