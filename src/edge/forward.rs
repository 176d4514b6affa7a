//! Which headers of a viewer go to the origin.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, HeaderValue};

use super::referrer;
use super::request::Request;
use super::shared::Node;
use crate::cache::head::is_hop_by_hop;
use crate::origin::{connection_options, is_said_by_us};
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
    let is_s3 = zone.origin.is_s3();
    let secret = |name: &HeaderName| is_s3 && (*name == AUTHORIZATION || *name == COOKIE);
    let options: Vec<&str> = connection_options(request.texts(&CONNECTION)).collect();
    let listed = |name: &HeaderName| is_among(name, options.iter().copied());
    let passes = |name: &HeaderName| match zone.cache.policy {
        _ if secret(name) || is_said_by(zone, name) => false,
        // Another spelling of a name may be that name to the origin, and is no
        // part of any key.
        CachePolicy::Origin if name.as_str().contains('_') && !vary.contains(name) => false,
        CachePolicy::Origin if !is_s3 => !is_hop_by_hop(name) && !is_ours(name) && !listed(name),
        // What an object store reads of a request beyond that is its own API.
        _ => vary.contains(name) && !is_of_an_edge(name) && *name != HOST,
    };
    let mut entries = request.entries();
    entries.retain(|(name, _)| passes(name));
    referrer::without_tokens(node, request, &mut entries);
    entries
}

/// Whether a viewer's Connection says that a header is for the edge alone.
fn is_among<'o>(name: &HeaderName, mut options: impl Iterator<Item = &'o str>) -> bool {
    options.any(|option| option.eq_ignore_ascii_case(name.as_str()))
}

/// Whether a header that the zone keeps apart is sent on at all: only then is it
/// part of a key.
pub fn is_sent(request: &Request<'_>, zone: &Zone, name: &HeaderName) -> bool {
    let drops = zone.cache.policy == CachePolicy::Origin && !zone.origin.is_s3();
    let options = || connection_options(request.texts(&CONNECTION));
    !(drops && is_among(name, options()))
}

/// Whether the zone says this header itself (`origin.headers`), or hears it of
/// its proxies alone (`client_ip_header`).
pub fn is_said_by(zone: &Zone, name: &HeaderName) -> bool {
    let own = zone.origin.headers.iter().map(|(own, _)| own);
    let mut own = own.chain([&zone.client_ip_header]);
    own.any(|own| own == name || plain(own) == plain(name))
}

/// What the edge answers itself, or says anew of each request.
fn is_ours(name: &HeaderName) -> bool {
    let text = &*plain(name);
    is_of_an_edge(name) || text == "host" || is_said_by_us(text)
}

/// What is no viewer's to say: what edges tell origins of viewers, and what makes
/// an origin answer for another path, method, host or client than the one that
/// was verified.
pub fn is_of_an_edge(name: &HeaderName) -> bool {
    let text = &*plain(name);
    EDGE_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || EDGE_PARTS.iter().any(|part| text.contains(part))
        || ["-ip", "-ipv4", "-ipv6"]
            .iter()
            .any(|end| text.ends_with(end))
        || EDGE_NAMES.contains(&text)
}

/// To CGI and its kin `X_Real_IP` is `X-Real-IP` (RFC 3875 §4.1.18).
fn plain(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    match name.contains('_') {
        true => name.replace('_', "-").into(),
        false => name.into(),
    }
}

/// `x-minio-` and `x-goog-` are what `x-amz-` is to other stores.
const EDGE_PREFIXES: &[&str] = &[
    "cdn-",
    "cloudfront-",
    "x-accel-",
    "x-amz-",
    "x-appengine-",
    "x-bz-",
    "x-container-",
    "x-cos-",
    "x-envoy-",
    "x-goog-",
    "x-middleware-",
    "x-minio-",
    "x-ms-",
    "x-obs-",
    "x-oss-",
    "x-original-",
    "x-override-",
    "x-rewrite-",
    "x-rgw-",
    "x-vercel-",
    "x-wsgi-",
];

/// Every vendor has a name of its own for who is behind a proxy: these stand in
/// most of them, and others end with `-ip`.
const EDGE_PARTS: &[&str] = &["client-ip", "clientip", "forwarded", "ip-authorization"];

/// Whole names, in the order of what they say: how the request came here, its
/// path and host, its method, its client.
const EDGE_NAMES: &[&str] = &[
    "via",
    "front-end-https",
    "x-proto",
    "x-scheme",
    "x-ssl",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "ssl-client-cert",
    "ssl-client-verify",
    "x-url-scheme",
    "x-arr-ssl",
    "proxy",
    "proxy-host",
    "proxy-url",
    "destination",
    "base-url",
    "http-url",
    "request-uri",
    "uri",
    "url",
    "script-name",
    "x-backend-host",
    "x-base-url",
    "x-dest-url",
    "x-host",
    "x-http-host",
    "x-invoke-path",
    "x-invoke-query",
    "x-matched-path",
    "x-ms-original-url",
    "x-now-route-matches",
    "x-object-manifest",
    "x-sendfile-type",
    "x-waws-unencoded-url",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-path-override",
    "x-host-override",
    "x-path",
    "x-path-info",
    "x-proxy-url",
    "x-request-uri",
    "x-requested-uri",
    "x-script-name",
    "x-uri",
    "x-url",
    "x-http-method",
    "x-http-method-override",
    "x-method",
    "x-method-override",
    "x-azure-socketip",
    "x-forward-for",
    "x-remote-addr",
    "x-coming-from",
    "remote-addr",
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    "x-arr-clientcert",
    "x-origin-path",
    "x-script-path",
    "x-real-host",
    "x-requested-host",
    "x-server-name",
    "x-sendfile",
];
