//! Pure: where an origin's redirect leads, and whether the zone lets it.

use http::Uri;

use super::Endpoint;
use crate::path::remove_dot_segments;

/// Redirects of one request that are followed.
pub const MOST: usize = 5;

/// A host that redirects may lead to: one name, or with `*.` all below it; at any
/// port, or at the one that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectHost {
    host: String,
    below: bool,
    port: Option<u16>,
}

impl RedirectHost {
    pub fn parse(text: &str) -> Option<Self> {
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let endpoint = Endpoint::parse(&format!("http://{rest}"))?;
        let is_named = rest.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let sound = !rest.contains(['/', '*']);
        sound.then(|| Self {
            host: endpoint.host.to_ascii_lowercase(),
            below,
            port: is_named.then_some(endpoint.port),
        })
    }

    fn covers(&self, endpoint: &Endpoint) -> bool {
        let host = endpoint.host.to_ascii_lowercase();
        let is_host = match self.below {
            true => host
                .strip_suffix(self.host.as_str())
                .is_some_and(|label| label.len() > 1 && label.ends_with('.')),
            false => host == self.host,
        };
        is_host && self.port.is_none_or(|port| port == endpoint.port)
    }
}

impl std::fmt::Display for RedirectHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let below = if self.below { "*." } else { "" };
        write!(f, "{below}{}", self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// A URL that a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub endpoint: Endpoint,
    /// Path and query, as they are sent.
    pub target: String,
}

impl Place {
    /// Where its answer leads; `Err`: why nowhere, for the operator.
    /// `host`: the Host that it was asked with, another name of the same place.
    pub fn follow(
        &self,
        location: Option<&str>,
        named: &[RedirectHost],
        host: &str,
    ) -> Result<Self, String> {
        let location = location.ok_or("a redirect without a Location")?;
        let mut next = self
            .join(location)
            .ok_or("a redirect to what is no http(s) URL")?;
        if next.endpoint.authority().eq_ignore_ascii_case(host)
            && next.endpoint.tls == self.endpoint.tls
        {
            next.endpoint = self.endpoint.clone();
        }
        let (from, to) = (&self.endpoint, &next.endpoint);
        if from.tls && !to.tls {
            return Err(format!(
                "a redirect from https to http://{}",
                to.authority()
            ));
        }
        match from.is_same_host(to) || named.iter().any(|host| host.covers(to)) {
            true => Ok(next),
            false => Err(format!(
                "a redirect to {}, which `redirects` does not name",
                to.authority()
            )),
        }
    }

    /// `None`: no http(s) URL.
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: Uri = url.split('#').next()?.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let target = uri.path_and_query().map_or("/", |it| it.as_str());
        Some(Self {
            endpoint: Endpoint::parse(&format!("{scheme}://{authority}"))?,
            target: target.to_owned(),
        })
    }

    pub fn to_url(&self) -> String {
        let scheme = if self.endpoint.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.endpoint.authority(), self.target)
    }

    /// RFC 3986 §5.2, as far as Location has it.
    fn join(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.endpoint.tls { "https" } else { "http" };
        let begins = location.find([':', '/', '?']).map(|at| &location[at..]);
        let absolute = match location {
            "" => return None,
            _ if begins.is_some_and(|rest| rest.starts_with(':')) => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ => {
                let own = self.target.split('?').next().unwrap_or_default();
                let folder = &own[..own.rfind('/').map_or(0, |at| at + 1)];
                let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
                let path = match path {
                    "" => own.to_owned(),
                    _ if path.starts_with('/') => path.to_owned(),
                    _ => format!("{folder}{path}"),
                };
                let path = remove_dot_segments(&path);
                format!("{scheme}://{}{path}{query}", self.endpoint.authority())
            }
        };
        Self::of_url(&absolute)
    }
}

/// Whether a status names another place for the same request.
pub const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_to_its_own_host_and_to_named_ones() {
        let named = ["store.example", "*.cdn.example", "10.0.0.9:9000"];
        let named = named.map(|text| RedirectHost::parse(text).unwrap());
        let from = Place {
            endpoint: Endpoint::parse("http://origin:8080").unwrap(),
            target: "/v/a.ts?x=1".into(),
        };
        let table = [
            ("/w/b.ts?y=2", Some("http://origin:8080 /w/b.ts?y=2")),
            ("b.ts", Some("http://origin:8080 /v/b.ts")),
            (
                "../b.ts?u=http://x/",
                Some("http://origin:8080 /b.ts?u=http://x/"),
            ),
            (
                "/w/./b?n=http://x/y",
                Some("http://origin:8080 /w/b?n=http://x/y"),
            ),
            ("?y=2", Some("http://origin:8080 /v/a.ts?y=2")),
            ("http://packager.internal/b", Some("http://origin:8080 /b")),
            ("https://packager.internal/b", None),
            ("//store.example/b", Some("http://store.example /b")),
            ("https://STORE.example", Some("https://STORE.example /")),
            (
                "https://store.example:444/b#c",
                Some("https://store.example:444 /b"),
            ),
            (
                "http://a.b.cdn.example/b",
                Some("http://a.b.cdn.example /b"),
            ),
            ("http://10.0.0.9:9000/b", Some("http://10.0.0.9:9000 /b")),
            ("http://10.0.0.9/b", None),
            ("http://cdn.example/b", None),
            ("http://evilcdn.example/b", None),
            ("http://store.example@evil.example/b", None),
            ("http://origin/b", None),
            ("https://origin:8080/b", None),
            ("ftp://store.example/b", None),
            ("http://169.254.169.254/", None),
            ("", None),
        ];
        for (location, want) in table {
            let next = from
                .follow(Some(location), &named, "packager.internal")
                .ok()
                .map(|next| {
                    let scheme = if next.endpoint.tls { "https" } else { "http" };
                    format!("{scheme}://{} {}", next.endpoint.authority(), next.target)
                });
            assert_eq!(next.as_deref(), want, "{location}");
        }
        let tls = Place {
            endpoint: Endpoint::parse("https://origin").unwrap(),
            target: "/".into(),
        };
        assert!(
            tls.follow(Some("http://store.example/"), &named, "")
                .is_err()
        );
        assert!(tls.follow(None, &named, "").is_err());
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in ["", "*", "http://a", "a/b", "*.*.a", "a@b"] {
            assert_eq!(RedirectHost::parse(text), None, "{text}");
        }
    }
}
