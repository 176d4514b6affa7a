//! Pure: what a zone says of its origin.

use super::redirect::RedirectHost;
use crate::path::{CanonicalPath, encode};
use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

/// An origin, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub kind: Kind,
    pub endpoints: Vec<Endpoint>,
    /// What stands before each object's path: empty, or `/folder`.
    pub prefix: String,
    /// Headers that go with every request to the origin.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Statuses that mean "there is no such object".
    pub missing_as: Vec<u16>,
    pub deadlines: Deadlines,
    /// Requests to the origin at a time; more of them queue.
    pub max_pulls: usize,
    /// PEM file of the authorities that sign the origin's certificate; `None`:
    /// the system's.
    pub ca_file: Option<String>,
    /// The name that an origin's certificate is for, where it is not the
    /// endpoint's.
    pub tls_name: Option<String>,
    /// The origin is told the host that the viewer asked for, and its answers are
    /// kept apart by it.
    pub forward_host: bool,
    /// Hosts that its redirects may lead to; empty: they are not followed.
    pub redirects: Vec<RedirectHost>,
    pub health: HealthCheck,
}

impl Settings {
    /// An object store: its error pages and its credentials are not for viewers.
    pub fn is_s3(&self) -> bool {
        matches!(self.kind, Kind::S3 { .. })
    }

    /// Where an object is at the origin, encoded; a bucket stands before it.
    pub fn path_of(&self, path: &CanonicalPath) -> String {
        encode(&format!("{}{}", self.prefix, path.as_str()))
    }

    /// The host that a viewer asked at, where the origin is told.
    pub fn told_host<'h>(&self, asked: &'h str) -> Option<&'h str> {
        Some(asked).filter(|_| self.forward_host)
    }

    /// It is sent a Host that stands in the configuration.
    pub fn has_own_host(&self) -> bool {
        matches!(self.kind, Kind::Http { host: Some(_) })
    }

    /// The Host of requests to an endpoint, but for those to a bucket that has
    /// a host of its own.
    pub fn host(&self, endpoint: &Endpoint) -> String {
        match &self.kind {
            Kind::Http { host: Some(host) } => host.clone(),
            Kind::Http { host: None } | Kind::S3 { .. } => endpoint.authority(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    S3 {
        bucket: String,
        region: String,
        /// `https://bucket.host/key` instead of `https://host/bucket/key`.
        virtual_host: bool,
        /// `None`: the bucket is open to everybody.
        credentials: Option<Credentials>,
    },
    Http {
        /// The Host to send, where it is not the endpoint's.
        host: Option<String>,
    },
}

impl Kind {
    pub const fn name(&self) -> &'static str {
        match self {
            Kind::S3 { .. } => "s3",
            Kind::Http { .. } => "http",
        }
    }
}

/// Never printed: only [`Credentials::shown_id`] is public.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: Zeroizing<String>,
    pub session_token: Option<Zeroizing<String>>,
}

impl Credentials {
    /// The key's id, as it may be told: whole where it has the form of an id (AWS,
    /// MinIO: capitals and digits; R2: 32 hexadecimal digits). Of anything else,
    /// which may be the secret in the wrong place, the beginning.
    pub fn shown_id(&self) -> String {
        let id = &self.access_key;
        let all = |is: fn(&u8) -> bool| id.bytes().all(|byte| is(&byte));
        let capitals = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let has_form = (16..=32).contains(&id.len()) && all(capitals)
            || id.len() == 32 && all(u8::is_ascii_hexdigit);
        match has_form {
            true => id.clone(),
            false => {
                let begin: String = id.chars().take(4.min(id.len() / 2)).collect();
                format!("{begin}…")
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(masked)")
    }
}

/// `http://host:port` or `https://host:port`, and maybe a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Stands before everything, encoded: empty, or `/base`.
    pub path: String,
}

impl Endpoint {
    /// `None` where it is not an absolute http(s) URL, or has a query.
    pub fn parse(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let path = uri.path().trim_end_matches('/');
        let path = match path {
            "" => String::new(),
            _ => encode(CanonicalPath::parse(path).ok()?.as_str()),
        };
        let bare = uri.query().is_none();
        let authority = uri
            .authority()
            .filter(|a| bare && !a.as_str().contains('@'))?;
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self {
            tls,
            host: host.to_owned(),
            port,
            path,
        })
    }

    /// Whatever their paths.
    pub fn is_same_host(&self, other: &Self) -> bool {
        self.tls == other.tls && self.port == other.port && self.host == other.host
    }

    /// The value of Host: the port stands there unless it is the scheme's.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            _ => format!("{host}:{}", self.port),
        }
    }
}

/// How endpoints are asked whether they live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// `None`: `/`, where any answer below 500 is a sign of life.
    pub path: Option<String>,
    /// Zero: they are not asked.
    pub interval: Duration,
}

impl HealthCheck {
    pub fn is_on(&self) -> bool {
        !self.interval.is_zero()
    }

    /// Whether this status is a sign of life.
    pub fn is_alive(&self, status: u16) -> bool {
        match self.path {
            Some(_) => (200..400).contains(&status),
            None => status < 500,
        }
    }
}

/// How long each part of a pull may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP and TLS.
    pub connect: Duration,
    /// From the request to the end of the response head.
    pub first_byte: Duration,
    /// Between two reads of the body.
    pub between_bytes: Duration,
    /// The whole pull.
    pub total: Duration,
    /// Waiting for a place among `max_pulls`.
    pub queue: Duration,
    /// From a viewer's request to the first byte for him, whatever of the
    /// above it takes.
    pub answer: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(5),
            between_bytes: Duration::from_secs(10),
            total: Duration::from_secs(300),
            queue: Duration::from_secs(5),
            answer: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_endpoint_is_a_url_without_a_query() {
        let authority = |url| Endpoint::parse(url).map(|e| e.authority());
        assert_eq!(
            authority("http://minio:9000").as_deref(),
            Some("minio:9000")
        );
        assert_eq!(authority("http://minio:80/").as_deref(), Some("minio"));
        assert_eq!(
            authority("https://s3.example").as_deref(),
            Some("s3.example")
        );
        assert_eq!(
            authority("https://[::1]:9000").as_deref(),
            Some("[::1]:9000")
        );
        let path = |url| Endpoint::parse(url).map(|endpoint| endpoint.path);
        for (url, want) in [("http://x/", ""), ("http://x/a b", "")] {
            assert_eq!(path(url).unwrap_or_default(), want, "{url}");
        }
        assert_eq!(path("http://x/base/v%201/").as_deref(), Some("/base/v%201"));
        for bad in [
            "minio:9000",
            "ftp://x",
            "http://x/path?query",
            "http://x/a/../b",
            "http://u:p@x",
            "",
            "http://",
        ] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_in_the_place_of_an_id_is_not_told() {
        let table = [
            ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
            (
                "0123456789abcdef0123456789abcdef",
                "0123456789abcdef0123456789abcdef",
            ),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJal…"),
            ("warren-reader", "warr…"),
            ("minio123", "mini…"),
            ("AK", "A…"),
            ("", "…"),
        ];
        for (access_key, want) in table {
            let credentials = Credentials {
                access_key: access_key.into(),
                secret_key: Zeroizing::default(),
                session_token: None,
            };
            assert_eq!(credentials.shown_id(), want);
        }
    }

    proptest! {
        #[test]
        fn an_endpoint_is_read_back_from_its_authority(host in "[a-z][a-z0-9-]{0,10}", port in 1u16..) {
            let endpoint = Endpoint::parse(&format!("http://{host}:{port}")).expect("an endpoint");
            let again = Endpoint::parse(&format!("http://{}", endpoint.authority()));
            prop_assert_eq!(again, Some(endpoint));
        }
    }
}
