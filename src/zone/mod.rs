//! Pull zones: which host names they serve, whom they let in, and what they
//! keep apart in the cache.

mod access;
mod cache_rules;
mod client_ip;
mod cors;
mod country;
mod path_rules;
mod place;

pub use access::{Access, AccessRefusal, Referrer};
pub use cache_rules::{CacheRules, Methods, Policy as CachePolicy, QueryRule, Selected};
pub use client_ip::{X_FORWARDED_FOR, client_ip};
pub use cors::{Cors, DEFAULT_MAX_AGE, Line as CorsLine, OriginPattern, Rules as CorsRules};
pub use country::{Countries, check_country_database};
pub use path_rules::{PathPattern, PathRule};
pub use place::{Asked, plain_host};

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::cache::head::Said;
use crate::cache::ignore::Ignored;
use crate::cache::key::{RealmId, realm};
use crate::path::EmptySegments;
use crate::{origin, token};

/// One pull zone, as configured.
#[derive(Debug)]
pub struct Zone {
    /// The number in headers, logs and the purge API.
    pub id: u32,
    /// In cache keys: see [`Zone::holdings`].
    pub realm: RealmId,
    pub name: String,
    /// Lower case, without port. `*` is the default zone.
    pub hostnames: Vec<String>,
    /// `None`: no token is asked for.
    pub token: Option<token::Policy>,
    /// It has keys, whether or not a token is asked for: none goes to the origin.
    pub strips_tokens: bool,
    pub access: Access,
    pub trusted_proxies: Vec<IpNet>,
    /// Where a trusted proxy says whom it speaks for.
    pub client_ip_header: HeaderName,
    pub https: Https,
    /// Viewers at these addresses are told why they are refused.
    pub explain_to: Vec<IpNet>,
    pub cors: Cors,
    /// What holds for some paths alone.
    pub paths: Vec<PathRule>,
    /// Whether its paths may hold `//`.
    pub empty_segments: EmptySegments,
    /// Count what players say of themselves.
    pub cmcd: bool,
    pub cache: CacheRules,
    pub origin: origin::Settings,
}

/// Whether viewers have to come over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Https {
    /// Who does not is sent there.
    pub force: bool,
    /// Strict-Transport-Security (RFC 6797), for who does.
    pub hsts: Option<HeaderValue>,
}

impl Zone {
    /// The policy for a path; `None`: no token is asked for.
    pub fn token_of(&self, path: &str) -> Option<&token::Policy> {
        let is_public = |path| self.rule_of(path).is_some_and(|rule| !rule.token);
        self.token.as_ref().filter(|_| !is_public(path))
    }

    /// What holds for a path besides.
    pub fn rule_of(&self, path: &str) -> Option<&PathRule> {
        path_rules::rule_of(&self.paths, path)
    }

    /// How long the operator says that a path is fresh.
    pub fn ttl_of(&self, path: &str) -> Option<Duration> {
        self.rule_of(path).and_then(|rule| rule.ttl)
    }

    /// What the answers for a path say, whatever the origin does.
    pub fn said_of(&self, path: &str) -> Said {
        let rule = self.rule_of(path);
        let good_lines = rule.map(|rule| rule.headers.clone());
        Said {
            lines: self.cors.fixed().collect(),
            good_lines: good_lines.unwrap_or_default(),
            keeps_cors: self.cors == Cors::Origins,
            ttl: self.ttl_of(path),
        }
    }

    /// What the origin says of a path's lifetime and is not regarded.
    pub fn ignored_of(&self, path: &str) -> Vec<Ignored> {
        let mut ignored = self.cache.ignore_origin.clone();
        if self.ttl_of(path).is_some() {
            ignored.extend([Ignored::NoCache, Ignored::MaxAge, Ignored::Expires]);
        }
        ignored
    }

    /// Whether the origin's error pages stay here: an object store's name its
    /// buckets and keys, and players make nothing of any.
    pub fn hides_errors(&self) -> bool {
        self.origin.is_s3() || self.cache.policy == CachePolicy::Hls
    }

    /// Whether the origin is told how each viewer came (`X-Forwarded-Proto`), so
    /// that its answers are kept apart by it. Under `hls`, and of an object
    /// store, media are one for all: there it is told what the node serves over.
    pub fn tells_scheme(&self) -> bool {
        !self.origin.is_s3() && self.cache.policy == CachePolicy::Origin
    }

    /// Where its stored objects belong: to the zone, as their heads name it, and to
    /// the place that they come from, as far as another would mean other objects;
    /// endpoints may move. The same in every process, and never another zone's.
    pub fn holdings(&self) -> RealmId {
        let place = match &self.origin.kind {
            origin::Kind::S3 { bucket, .. } => bucket,
            origin::Kind::Http { host } => host.as_deref().unwrap_or_default(),
        };
        let (id, prefix) = (self.id.to_string(), self.origin.prefix.as_str());
        realm([&id, &self.name, place, prefix])
    }

    pub fn explains_to(&self, viewer: IpAddr) -> bool {
        contains(&self.explain_to, viewer)
    }
}

/// Whether an address lies in one of the networks.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// What belongs to each zone, by the zone's host names.
#[derive(Debug)]
pub struct ByHost<T> {
    /// In the order of the zones.
    all: Vec<Arc<T>>,
    by_host: HashMap<String, Arc<T>>,
    /// Of the zone that has `*`.
    default: Option<Arc<T>>,
}

impl<T> ByHost<T> {
    pub fn new<Z: Deref<Target = Zone>>(zones: impl IntoIterator<Item = (Z, T)>) -> Self {
        let (mut all, mut by_host) = (Vec::new(), HashMap::new());
        for (zone, belongs) in zones {
            let belongs = Arc::new(belongs);
            all.push(Arc::clone(&belongs));
            for host in &zone.hostnames {
                by_host.insert(host.clone(), Arc::clone(&belongs));
            }
        }
        Self {
            all,
            default: by_host.remove("*"),
            by_host,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.all().map(|belongs| &**belongs)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.all.iter()
    }

    /// Whether a zone has this name of its own: `*` names nobody.
    pub fn names(&self, authority: &str) -> bool {
        let host = host_of(authority).to_ascii_lowercase();
        self.by_host.contains_key(&host)
    }

    /// What belongs to the zone of a `Host` or `:authority` value, port and
    /// case set aside.
    pub fn find(&self, authority: &str) -> Option<&Arc<T>> {
        let host = host_of(authority);
        let found = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            _ if self.by_host.is_empty() => None,
            true => self.by_host.get(&host.to_ascii_lowercase()),
            false => self.by_host.get(host),
        };
        found.or(self.default.as_ref())
    }
}

/// The host of an authority, without port and trailing dot.
pub fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn an_authority_is_read_without_port_and_trailing_dot() {
        let table = [
            ("cdn.example.net", "cdn.example.net"),
            ("cdn.example.net:8080", "cdn.example.net"),
            ("cdn.example.net.", "cdn.example.net"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
        ];
        for (authority, host) in table {
            assert_eq!(host_of(authority), host);
        }
    }
}
