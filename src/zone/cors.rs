//! Pure: what browsers' players of other sites may read (Fetch standard, CORS).

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName, HeaderValue, ORIGIN, VARY,
};

/// What every player may send, and read of an answer.
const SENT: &str = "Range, If-Range, If-None-Match, If-Modified-Since, Content-Type, \
                    CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session";
const READ: &str = "Content-Length, Content-Range, Age, CDN-Cache, CDN-RequestId, Date";
/// How long a browser may remember a preflight; more than two hours is Firefox's
/// alone.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(86_400);

/// Whom a zone's answers are for, besides its own site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Nobody: what the origin says of it is dropped.
    Off,
    /// Everybody, without credentials; or those of a list.
    Ours(Rules),
    /// Whom the origin says: its answers are kept apart by `Origin`.
    Origins,
}

impl Default for Cors {
    fn default() -> Self {
        Self::Ours(Rules::everybody())
    }
}

impl Cors {
    /// The lines of an answer that is for everybody.
    pub fn fixed(&self) -> impl Iterator<Item = Line> {
        let rules = match self {
            Cors::Ours(rules) => Some(rules),
            Cors::Off | Cors::Origins => None,
        };
        rules.into_iter().flat_map(Rules::fixed)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Empty: everybody.
    pub origins: Vec<OriginPattern>,
    pub credentials: bool,
    /// As the lines have them.
    sent: HeaderValue,
    read: HeaderValue,
    pub max_age: Duration,
}

/// `https://app.example`, or `https://*.example` for every name below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: String,
    /// With the port, where it has one; lower case.
    host: String,
    below: bool,
}

impl OriginPattern {
    /// `None`: no origin by RFC 6454 §6.2. `null` is none, because any page can
    /// be that.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        let (below, host) = match host.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, host),
        };
        let sound = matches!(scheme, "http" | "https") && !host.is_empty();
        (sound && host.bytes().all(word)).then(|| Self {
            scheme: scheme.to_owned(),
            host: host.to_ascii_lowercase(),
            below,
        })
    }

    /// Browsers write scheme and host in lower case, and no port that is the
    /// scheme's.
    fn covers(&self, origin: &str) -> bool {
        let Some((scheme, host)) = origin.split_once("://") else {
            return false;
        };
        let is_host = match self.below {
            true => host.strip_suffix(self.host.as_str()).is_some_and(|label| {
                label.len() > 1 && label.ends_with('.') && label.bytes().all(word)
            }),
            false => host == self.host,
        };
        scheme == self.scheme && is_host
    }
}

impl std::fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let below = if self.below { "*." } else { "" };
        write!(f, "{}://{below}{}", self.scheme, self.host)
    }
}

/// A byte of a host, and of its port.
fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte)
}

/// A header line of CORS.
pub type Line = (HeaderName, HeaderValue);

impl Rules {
    pub fn everybody() -> Self {
        Self {
            origins: Vec::new(),
            credentials: false,
            sent: HeaderValue::from_static(SENT),
            read: HeaderValue::from_static(READ),
            max_age: DEFAULT_MAX_AGE,
        }
    }

    /// The same, where players may send and read more headers.
    pub fn with_headers(mut self, sent: &[HeaderName], read: &[HeaderName]) -> Self {
        for (list, more) in [(&mut self.sent, sent), (&mut self.read, read)] {
            let mut text = list.to_str().unwrap_or_default().to_owned();
            for name in more {
                text.push_str(", ");
                text.push_str(name.as_str());
            }
            if let Ok(longer) = text.parse() {
                *list = longer;
            }
        }
        self
    }

    /// Whether all answers say the same, whoever asks.
    fn is_for_everybody(&self) -> bool {
        self.origins.is_empty()
    }

    fn fixed(&self) -> Vec<Line> {
        if !self.is_for_everybody() {
            return Vec::new();
        }
        vec![
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (ACCESS_CONTROL_EXPOSE_HEADERS, self.read.clone()),
        ]
    }

    /// Of an answer to one viewer, where they differ; `origin`: his site.
    pub fn of_viewer(&self, origin: Option<&str>) -> Vec<Line> {
        if self.is_for_everybody() {
            return Vec::new();
        }
        // Without a site, too: another cache may keep it for one that has one.
        let mut lines = vec![(VARY, HeaderValue::from_static(ORIGIN.as_str()))];
        let listed = |origin: &&str| self.origins.iter().any(|it| it.covers(origin));
        let listed = origin.filter(listed).and_then(|it| it.parse().ok());
        if let Some(origin) = listed {
            lines.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin));
            lines.push((ACCESS_CONTROL_EXPOSE_HEADERS, self.read.clone()));
            if self.credentials {
                let yes = HeaderValue::from_static("true");
                lines.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, yes));
            }
        }
        lines
    }

    /// What the answer to a preflight says besides.
    pub fn of_preflight(&self) -> [Line; 2] {
        [
            (ACCESS_CONTROL_ALLOW_HEADERS, self.sent.clone()),
            (
                ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from(self.max_age.as_secs()),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(origins: &[&str]) -> Rules {
        let origins = origins.iter().map(|it| OriginPattern::parse(it).unwrap());
        Rules {
            origins: origins.collect(),
            credentials: true,
            ..Rules::everybody()
        }
    }

    #[test]
    fn a_listed_site_is_named_and_no_other() {
        let rules = rules(&[
            "https://App.example",
            "https://*.cdn.example",
            "http://a:8080",
        ]);
        let table = [
            ("listed", Some("https://app.example"), true),
            ("below", Some("https://one.two.cdn.example"), true),
            ("not itself", Some("https://cdn.example"), false),
            ("no label", Some("https://.cdn.example"), false),
            ("no host", Some("https://evil.test#.cdn.example"), false),
            ("ends alike", Some("https://evilcdn.example"), false),
            ("another scheme", Some("http://app.example"), false),
            ("another port", Some("https://app.example:8443"), false),
            ("its port", Some("http://a:8080"), true),
            ("nobody", Some("null"), false),
            ("no site", None, false),
        ];
        for (name, origin, is_named) in table {
            let lines = rules.of_viewer(origin);
            let value = |name| {
                let line = lines.iter().find(|(it, _)| *it == name);
                line.and_then(|(_, value)| value.to_str().ok())
            };
            assert_eq!(value(VARY), Some("origin"), "{name}");
            let named = origin.filter(|_| is_named);
            assert_eq!(value(ACCESS_CONTROL_ALLOW_ORIGIN), named, "{name}");
            let credentials = named.map(|_| "true");
            assert_eq!(
                value(ACCESS_CONTROL_ALLOW_CREDENTIALS),
                credentials,
                "{name}"
            );
        }
        assert_eq!(Cors::Ours(rules).fixed().count(), 0);
    }

    #[test]
    fn what_is_no_origin_is_no_pattern() {
        for text in [
            "*",
            "null",
            "app.example",
            "https://",
            "https://*.",
            "ftp://a",
            "https://a/b",
        ] {
            assert_eq!(OriginPattern::parse(text), None, "{text}");
        }
        let text = "https://*.a.example:8443";
        assert_eq!(OriginPattern::parse(text).unwrap().to_string(), text);
    }
}
