//! The first part of the road: which zone, which path, and whether the request
//! is let in. Nothing is looked up before this has said yes.

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use http::header::{HOST, HeaderName, REFERER};
use pingora::http::{Method, RequestHeader};

use super::Node;
use crate::origin::Origin;
use crate::path::BadPath;
use crate::token::{Country, Evidence, Refusal, Target};
use crate::zone::{AccessRefusal, Methods, Zone, client_ip};

/// A request that has been through this many edges goes in a circle.
const MAX_LOOPS: u32 = 4;
pub const CDN_LOOP_COUNT: HeaderName = HeaderName::from_static("cdn-loopcount");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Why a request is turned away before anything is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No zone has this host name.
    UnknownHost,
    /// Host is missing, doubled or unreadable.
    BadHost,
    /// The target is longer than the node allows.
    TargetTooLong,
    /// The zone takes no such method.
    Method,
    /// The request has been through this node already.
    Loop,
    Access(AccessRefusal),
    Token(Refusal),
}

impl Refused {
    /// The log field, the metric label and the row of `docs/tokens.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Refused::UnknownHost => "unknown_host",
            Refused::BadHost => "bad_host",
            Refused::TargetTooLong => "target_too_long",
            Refused::Method => "method_not_allowed",
            Refused::Loop => "loop",
            Refused::Access(refusal) => refusal.name(),
            Refused::Token(refusal) => refusal.name(),
        }
    }

    pub const fn status(self) -> u16 {
        match self {
            Refused::UnknownHost => 404,
            Refused::BadHost | Refused::Token(Refusal::BadPath(_)) => 400,
            Refused::TargetTooLong => 414,
            Refused::Method => 405,
            Refused::Loop => 508,
            Refused::Access(_) | Refused::Token(_) => 403,
        }
    }
}

impl From<BadPath> for Refused {
    fn from(bad: BadPath) -> Self {
        Refused::Token(Refusal::BadPath(bad))
    }
}

/// What is known of a request whether or not it is let in.
pub struct Visitor {
    pub host: String,
    /// The target in origin form, as it came over the wire.
    pub target: String,
    pub client_ip: IpAddr,
    pub country: Option<Country>,
    pub zone: Option<Arc<Zone>>,
}

/// What a request that is let in brings along.
pub struct Admitted<'v> {
    pub zone: &'v Arc<Zone>,
    pub origin: Arc<Origin>,
    pub target: Target<'v>,
    /// Bytes per second, by the token.
    pub limit: Option<NonZeroU64>,
    /// Name and scheme of the key that made the token.
    pub token: Option<(String, &'static str)>,
    pub loop_count: u32,
    /// A CORS preflight: answered without a token.
    pub preflight: bool,
}

impl Visitor {
    /// `wire` is the head as it came over HTTP/1.1: the parsed target has lost
    /// what stands behind a `#`, and two readings of one target are refused.
    pub fn of(node: &Node, request: &RequestHeader, wire: Option<&[u8]>, peer: IpAddr) -> Self {
        let raw = wire.and_then(wire_target).unwrap_or(request.raw_path());
        let raw = String::from_utf8_lossy(raw);
        let target = origin_form(&raw).to_owned();
        let host = host(request).unwrap_or_default().to_owned();
        let zone = node.zones.find(&host).cloned();
        let forwarded: Vec<&str> = request
            .headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let trusted = zone
            .as_ref()
            .map(|zone| zone.trusted_proxies.as_slice())
            .unwrap_or_default();
        let client_ip = client_ip(peer, &forwarded, trusted);
        let country = node
            .countries
            .as_ref()
            .and_then(|countries| countries.of(client_ip));
        Self {
            host,
            target,
            client_ip,
            country,
            zone,
        }
    }

    /// Decides, in the order of `docs/tokens.md`: target and path, zone rules,
    /// token.
    pub fn admit(&self, node: &Node, request: &RequestHeader) -> Result<Admitted<'_>, Refused> {
        if self.target.len() > node.listen.max_target {
            return Err(Refused::TargetTooLong);
        }
        let target = Target::parse(&self.target)?;
        if host(request).is_none() {
            return Err(Refused::BadHost);
        }
        let zone = self.zone.as_ref().ok_or(Refused::UnknownHost)?;
        let origin = node
            .origins
            .get(&zone.id)
            .cloned()
            .ok_or(Refused::UnknownHost)?;
        let loop_count = loop_count(request);
        if loop_count >= MAX_LOOPS {
            return Err(Refused::Loop);
        }
        let preflight = request.method == Method::OPTIONS && zone.cors;
        let reads = request.method == Method::GET || request.method == Method::HEAD;
        if !reads && !preflight && zone.cache.methods == Methods::Read {
            return Err(Refused::Method);
        }
        let mut admitted = Admitted {
            zone,
            origin,
            target,
            limit: None,
            token: None,
            loop_count,
            preflight,
        };
        if preflight {
            return Ok(admitted);
        }
        let referer = request
            .headers
            .get(REFERER)
            .and_then(|value| value.to_str().ok());
        zone.access
            .check(self.client_ip, referer)
            .map_err(Refused::Access)?;
        if let Some(policy) = &zone.token {
            let evidence = Evidence {
                now: node.clock.unix_seconds(),
                client_ip: self.client_ip,
                country: self.country,
            };
            let grant = policy
                .verify(&admitted.target, &evidence)
                .map_err(Refused::Token)?;
            admitted.limit = grant.limit;
            admitted.token = Some((grant.key.to_owned(), grant.scheme.name()));
        }
        Ok(admitted)
    }
}

/// The target of a request line.
fn wire_target(head: &[u8]) -> Option<&[u8]> {
    head.split(|byte| *byte == b'\r')
        .next()?
        .split(|byte| *byte == b' ')
        .nth(1)
}

/// An absolute form is taken without its scheme and authority, which the
/// codec has held against Host already (RFC 9112 §3.2.2).
fn origin_form(raw: &str) -> &str {
    let Some((scheme, rest)) = raw.split_once("://") else {
        return raw;
    };
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    match rest.find('/') {
        Some(slash) if known => &rest[slash..],
        _ => raw,
    }
}

/// The one Host, or the authority of HTTP/2.
fn host(request: &RequestHeader) -> Option<&str> {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().filter(|host| !host.is_empty()),
        (None, _) => request.uri.authority().map(|authority| authority.as_str()),
        _ => None,
    }
}

fn loop_count(request: &RequestHeader) -> u32 {
    let value = request
        .headers
        .get(CDN_LOOP_COUNT)
        .and_then(|value| value.to_str().ok());
    value.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::origin_form;

    #[test]
    fn an_absolute_form_loses_scheme_and_authority() {
        assert_eq!(origin_form("http://cdn.example/a?b"), "/a?b");
        assert_eq!(origin_form("/a://b/c"), "/a://b/c");
        assert_eq!(origin_form("http://cdn.example"), "http://cdn.example");
    }
}
