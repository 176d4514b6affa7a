//! What a request with an unsafe method makes stale (RFC 9111 §4.4).

use http::Method;
use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, LOCATION};

use super::shared::Node;
use super::visit::Visit;
use crate::path::CanonicalPath;
use crate::zone::{Asked, Zone};

/// The target of such a request, and how its zone keeps answers apart.
pub struct Changing {
    host: String,
    path: CanonicalPath,
    query: Option<String>,
    /// The headers of the request that the zone keys by.
    varied: Vec<(HeaderName, Vec<Vec<u8>>)>,
}

impl Changing {
    /// `None` where the method changes nothing.
    pub fn of(visit: &Visit<'_>) -> Option<Self> {
        let (request, admitted) = (visit.request, visit.admitted);
        if matches!(request.method, Method::OPTIONS | Method::TRACE) || request.reads() {
            return None;
        }
        let lines = |name: &HeaderName| request.values(name).map(<[u8]>::to_vec).collect();
        let vary = &admitted.zone.cache.vary;
        Some(Self {
            host: request.host().unwrap_or_default().to_owned(),
            path: admitted.target.path.clone(),
            query: admitted.target.query.map(str::to_owned),
            varied: vary
                .iter()
                .map(|name| (name.clone(), lines(name)))
                .collect(),
        })
    }

    /// The origin has done it: forgets the target, and what the answer names
    /// as its places on the same host.
    pub fn done(&self, node: &Node, zone: &Zone, answer: &HeaderMap) {
        self.forget(node, zone, &self.path, self.query.as_deref());
        for name in [LOCATION, CONTENT_LOCATION] {
            let reference = answer.get(name).and_then(|value| value.to_str().ok());
            let Some(reference) = reference.and_then(|text| on_host(text, &self.host)) else {
                continue;
            };
            if let Some(path) = self.path.join(reference) {
                let query = reference.split('#').next().unwrap_or_default();
                let query = query.split_once('?').map(|(_, query)| query);
                self.forget(node, zone, &path, query);
            }
        }
    }

    fn forget(&self, node: &Node, zone: &Zone, path: &CanonicalPath, query: Option<&str>) {
        let kind = node.kind_of(zone, path);
        // Whoever changed it, and how he came: it is another for everybody.
        for https in [false, true] {
            let lines = |name: &HeaderName| {
                let kept = self.varied.iter().find(|(other, _)| other == name);
                let lines = kept.map(|(_, lines)| lines.iter().map(Vec::as_slice).collect());
                lines.unwrap_or_default()
            };
            let host = Some(self.host.as_str());
            let asked = Asked { https, host, lines };
            let (_, base) = zone.place(path, query, kind, &asked);
            node.pulls.invalidate(&base);
        }
    }
}

/// A URI reference without scheme and host; `None` where it names another host.
fn on_host<'r>(reference: &'r str, host: &str) -> Option<&'r str> {
    let scheme = |name: &str| {
        let (front, rest) = reference.split_at_checked(name.len())?;
        front.eq_ignore_ascii_case(name).then_some(rest)
    };
    let Some(rest) = scheme("http://").or_else(|| scheme("https://")) else {
        return Some(reference);
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    authority
        .eq_ignore_ascii_case(host)
        .then_some(if path.is_empty() { "/" } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_to_the_same_host_are_followed() {
        let table = [
            ("/a?b=1", Some("/a?b=1")),
            ("a", Some("a")),
            ("http://edge:81/a?b", Some("/a?b")),
            ("HTTPS://EDGE:81/a", Some("/a")),
            ("http://edge:81", Some("/")),
            ("http://other/a", None),
            ("http://edge/a", None),
        ];
        for (reference, want) in table {
            assert_eq!(on_host(reference, "edge:81"), want, "{reference}");
        }
    }
}
