//! Which headers of a viewer go to the origin.

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HeaderName, HeaderValue, RANGE};

use super::request::Request;
use super::{Node, referrer};
use crate::cache::head::is_hop_by_hop;
use crate::zone::{CachePolicy, Zone};

/// Under `hls` only what the zone keys by; under `origin` every end-to-end
/// header but those that the edge answers or sets itself.
pub fn forwarded(
    node: &Node,
    request: &Request<'_>,
    zone: &Zone,
) -> Vec<(HeaderName, HeaderValue)> {
    let vary = &zone.cache.vary;
    // An object store reads our credentials, never a viewer's.
    let secret =
        |name: &HeaderName| zone.origin.is_s3() && (*name == AUTHORIZATION || *name == COOKIE);
    // RFC 9110 §7.6.1.
    let options: Vec<&str> = request
        .texts(&CONNECTION)
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    let listed = |name: &HeaderName| {
        options
            .iter()
            .any(|it| it.eq_ignore_ascii_case(name.as_str()))
    };
    let passes = |name: &HeaderName| match zone.cache.policy {
        _ if secret(name) => false,
        CachePolicy::Hls => vary.contains(name),
        CachePolicy::Origin => !is_hop_by_hop(name) && !is_ours(name) && !listed(name),
    };
    let mut entries = request.entries();
    entries.retain(|(name, _)| passes(name));
    referrer::without_tokens(node, request, &mut entries);
    entries
}

/// What the edge answers itself, or says anew of each request.
fn is_ours(name: &HeaderName) -> bool {
    let text = name.as_str();
    is_of_an_edge(name)
        || *name == RANGE
        || text.starts_with("if-")
        || matches!(
            text,
            "host" | "accept-encoding" | "content-length" | "expect"
        )
}

/// What edges tell origins of viewers: no viewer's to say.
pub fn is_of_an_edge(name: &HeaderName) -> bool {
    let text = name.as_str();
    let prefixes = ["cdn-", "x-amz-", "x-forwarded-"];
    prefixes.iter().any(|prefix| text.starts_with(prefix)) || matches!(text, "forwarded" | "via")
}
