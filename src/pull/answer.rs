//! Pure: what to make of an origin's answer, once by its head and once by its
//! body.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, CONTENT_RANGE, DATE, HeaderValue, SET_COOKIE};

use pingora::http::ResponseHeader;

use super::reading::Reading;
use crate::cache::cache_control::{CacheControl, date};
use crate::cache::head::{HeadFacts, render};
use crate::cache::lifetime::{self, Answer, Bypass, Lifetime};
use crate::clock::unix_seconds;
use crate::hls::{Kind, Manifest, Mark, Pace, Playlist, Window};
use crate::origin::{Failure, Framing, Head};
use crate::path::CanonicalPath;
use crate::zone::{CachePolicy, CacheRules, Zone};

/// The longest Age believed (RFC 9111 §1.2.2), longer than any lifetime: what
/// is that old is stale.
const MAX_AGE: u64 = 1 << 31;

/// What the head alone decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The stored object is confirmed.
    Confirmed,
    /// Share it while it arrives.
    Share,
    /// Each viewer pulls for himself.
    Private(Bypass),
    Fail(Failure),
}

/// What was asked, as far as the answer is judged by it.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// With validators of what is stored.
    pub to_confirm: bool,
    /// Something is stored that may be served where the origin fails.
    pub has_stale: bool,
    /// The origin's error pages are not for viewers.
    pub hides_errors: bool,
    /// The origin saw the Authorization of one viewer.
    pub with_credentials: bool,
}

/// Decides by the head.
pub fn course(head: &Head, rules: &CacheRules, asked: Asked, max_object: u64) -> Course {
    let hls = rules.policy == CachePolicy::Hls;
    match head.status {
        500.. if asked.hides_errors || asked.has_stale => {
            return Course::Fail(Failure::ServerError);
        }
        304 if asked.to_confirm => return Course::Confirmed,
        // Nobody asked for less than the whole.
        304 | 206 => return Course::Fail(Failure::UnexpectedRange),
        300..=399 if hls => return Course::Fail(Failure::Redirect),
        _ if head.headers.contains_key(CONTENT_RANGE) && head.status == 200 => {
            return Course::Fail(Failure::UnexpectedRange);
        }
        _ => {}
    }
    let control = CacheControl::of(&head.headers);
    if let Err(reason) = lifetime::refused_by_origin(&control) {
        return Course::Private(reason);
    }
    if head.headers.contains_key(SET_COOKIE) && !rules.store_set_cookie {
        return Course::Private(Bypass::SetCookie);
    }
    if !hls && asked.with_credentials && !control.despite_authorization {
        return Course::Private(Bypass::Authorization);
    }
    match head.length() {
        Some(length) if length > max_object => Course::Private(Bypass::TooLarge),
        _ => Course::Share,
    }
}

/// How old the answer was on arrival. Of several values `Age` has the first, and
/// one that is no whole number says nothing (RFC 9111 §5.1).
pub fn age_on_arrival(headers: &HeaderMap, policy: CachePolicy, now: SystemTime) -> Duration {
    let said = headers.get(AGE).and_then(delta_seconds);
    let said = Duration::from_secs(said.unwrap_or_default());
    if policy == CachePolicy::Hls {
        return said;
    }
    // RFC 9111 §4.2.3: the greater of what Age says and what Date implies.
    let apparent =
        date(headers, DATE).map(|date| unix_seconds(now).saturating_sub(unix_seconds(date)));
    said.max(Duration::from_secs(
        apparent.unwrap_or_default().min(MAX_AGE),
    ))
}

fn delta_seconds(value: &HeaderValue) -> Option<u64> {
    let first = value.to_str().ok()?.split([',', ';']).next()?.trim();
    let digits = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| first.parse().unwrap_or(MAX_AGE).min(MAX_AGE))
}

/// What a playlist's or manifest's body tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub pace: Option<Pace>,
    /// How long live media are what they are at least.
    pub target: Option<Duration>,
    /// URIs of keys, and of parts that are not there yet.
    pub keys: Vec<String>,
    pub hints: Vec<String>,
    /// URIs of initialisation sections.
    pub maps: Vec<String>,
    /// Of a media playlist: where it stands, and its newest names.
    pub window: Option<Window>,
    pub newest: Vec<String>,
}

/// Reads a playlist's or manifest's body; other kinds tell nothing.
pub fn told(kind: Kind, body: &Reading) -> Told {
    let text = &body.text;
    match kind {
        Kind::Playlist => Playlist::scan(text).map_or_else(Told::default, |playlist| Told {
            pace: Some(playlist.pace),
            target: None,
            // Of a part of it the segments cannot be counted.
            window: (playlist.pace != Pace::Multivariant && !body.cut)
                .then(|| window(&playlist, text)),
            keys: playlist.key_uris,
            hints: playlist.hint_uris,
            maps: playlist.map_uris,
            newest: playlist.newest,
        }),
        Kind::Manifest => Manifest::scan(text).map_or_else(Told::default, |manifest| Told {
            pace: Some(manifest.pace),
            target: Some(manifest.target),
            window: manifest.start.map(|start| Window {
                next: 1,
                last: Some(start),
                ..Window::default()
            }),
            ..Told::default()
        }),
        _ => Told::default(),
    }
}

fn window(playlist: &Playlist, text: &[u8]) -> Window {
    let first = playlist.sequence;
    let next = first.saturating_add(playlist.segments);
    let last = next.checked_sub(1);
    Window {
        first,
        next,
        discontinuity: playlist.discontinuity,
        last: last.and_then(|last| Mark::of_segment(text, first, last)),
    }
}

/// Decides how long the whole answer may be kept.
pub fn keep(answer: &Answer, framing: Framing, rules: &CacheRules) -> Result<Lifetime, Bypass> {
    let lifetime = match rules.policy {
        CachePolicy::Hls => lifetime::hls(answer, &rules.ttl)?,
        CachePolicy::Origin => lifetime::origin(answer, rules.stale_when_unreachable)?,
    };
    match framing {
        // A cut body looks like a whole one here.
        Framing::Close if answer.status == 200 => Err(Bypass::NoLength),
        _ => Ok(lifetime),
    }
}

/// What viewers are told of how long an answer is good.
#[derive(Debug, Clone, Copy, Default)]
pub struct Good {
    /// `None`: it is not stored.
    pub lifetime: Option<Lifetime>,
    /// Media of a live stream: how long they are what they are.
    pub live_media: Option<Duration>,
    /// Others may have it, too.
    pub shared: bool,
}

/// What a viewer sees of an answer's head.
pub fn viewer_head(
    zone: &Zone,
    kind: Kind,
    path: &CanonicalPath,
    head: &Head,
    good: Good,
    now: SystemTime,
) -> ResponseHeader {
    render(&HeadFacts {
        status: head.status,
        origin: &head.headers,
        shared: good.shared,
        kind,
        path,
        lifetime: good.lifetime,
        live_media: good.live_media,
        as_it_came: zone.cache.policy == CachePolicy::Origin,
        zone_id: zone.id,
        said: &zone.said_of(path.as_str()),
        pulled_at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::cache_control::expires_in;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes(), false)
            .expect("a head")
            .expect("a whole head")
            .0
    }

    #[test]
    fn the_head_decides_who_may_share() {
        let hls = CacheRules::default();
        let plain = CacheRules {
            policy: CachePolicy::Origin,
            ..CacheRules::default()
        };
        let cookies = CacheRules {
            store_set_cookie: true,
            ..CacheRules::default()
        };
        let private = |reason| Course::Private(reason);
        let table: &[(&str, &str, &CacheRules, Course)] = &[
            ("whole", "200 OK\r\nContent-Length: 5", &hls, Course::Share),
            ("confirmed", "304 Not Modified", &hls, Course::Confirmed),
            (
                "part",
                "206 Partial\r\nContent-Length: 5",
                &hls,
                Course::Fail(Failure::UnexpectedRange),
            ),
            (
                "200 with Content-Range",
                "200 OK\r\nContent-Length: 5\r\nContent-Range: bytes 0-4/9",
                &hls,
                Course::Fail(Failure::UnexpectedRange),
            ),
            (
                "redirect",
                "302 Found\r\nLocation: /x\r\nContent-Length: 0",
                &hls,
                Course::Fail(Failure::Redirect),
            ),
            (
                "redirect, plain",
                "302 Found\r\nLocation: /x\r\nContent-Length: 0",
                &plain,
                Course::Share,
            ),
            (
                "no-store",
                "200 OK\r\nCache-Control: no-store\r\nContent-Length: 5",
                &hls,
                private(Bypass::NoStore),
            ),
            (
                "private",
                "200 OK\r\nCache-Control: private\r\nContent-Length: 5",
                &hls,
                private(Bypass::Private),
            ),
            (
                "cookie",
                "200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 5",
                &hls,
                private(Bypass::SetCookie),
            ),
            (
                "cookie, stored",
                "200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 5",
                &cookies,
                Course::Share,
            ),
            (
                "MinIO's Vary",
                "200 OK\r\nVary: Origin, Accept-Encoding\r\nContent-Length: 5",
                &hls,
                Course::Share,
            ),
            (
                "authorized",
                "200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5",
                &plain,
                private(Bypass::Authorization),
            ),
            (
                "authorized, public",
                "200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 5",
                &plain,
                Course::Share,
            ),
            (
                "too large",
                "200 OK\r\nContent-Length: 101",
                &hls,
                private(Bypass::TooLarge),
            ),
            (
                "503",
                "503 Service Unavailable\r\nContent-Length: 5",
                &hls,
                Course::Fail(Failure::ServerError),
            ),
            (
                "503, plain",
                "503 Service Unavailable\r\nContent-Length: 5",
                &plain,
                Course::Share,
            ),
            (
                "503, plain, stale",
                "503 Service Unavailable\r\nContent-Length: 5",
                &plain,
                Course::Fail(Failure::ServerError),
            ),
            (
                "404",
                "404 Not Found\r\nContent-Length: 5",
                &hls,
                Course::Share,
            ),
        ];
        for (name, text, rules, want) in table {
            let head = head(&format!("HTTP/1.1 {text}\r\n\r\n"));
            let asked = Asked {
                to_confirm: *name == "confirmed",
                has_stale: name.contains("stale"),
                hides_errors: rules.policy == CachePolicy::Hls,
                with_credentials: name.contains("authorized"),
            };
            assert_eq!(course(&head, rules, asked, 100), *want, "{name}");
        }
    }

    #[test]
    fn age_and_expiry_follow_the_policy() {
        let now = httpdate::parse_http_date("Tue, 01 Jan 2030 00:01:00 GMT").expect("a date");
        let parsed = head(
            "HTTP/1.1 200 OK\r\nAge: 5\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\nExpires: Tue, 01 Jan 2030 00:00:09 GMT\r\nContent-Length: 0\r\n\r\n",
        );
        assert_eq!(
            age_on_arrival(&parsed.headers, CachePolicy::Hls, now),
            Duration::from_secs(5)
        );
        assert_eq!(
            age_on_arrival(&parsed.headers, CachePolicy::Origin, now),
            Duration::from_secs(60)
        );
        assert_eq!(
            expires_in(&parsed.headers, now),
            Some(Duration::from_secs(9))
        );
        let never = head("HTTP/1.1 200 OK\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(expires_in(&never.headers, now), Some(Duration::ZERO));
    }

    #[test]
    fn an_age_that_cannot_be_read_says_nothing() {
        let secs = |lines: &str, policy| {
            let parsed = head(&format!(
                "HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"
            ));
            age_on_arrival(&parsed.headers, policy, SystemTime::UNIX_EPOCH).as_secs()
        };
        let table = [
            ("", 0),
            ("Age: 7\r\n", 7),
            ("Age: 99999999999999999999\r\n", MAX_AGE),
            ("Age: -7\r\n", 0),
            ("Age: +7\r\n", 0),
            ("Age: 7.0\r\n", 0),
            ("Age: 7, 0\r\n", 7),
            ("Age: 0, 7\r\n", 0),
            ("Age: 7;a=b\r\n", 7),
            ("Age: 7\r\nAge: 0\r\n", 7),
            ("Age: a\r\nAge: 7\r\n", 0),
        ];
        for (lines, want) in table {
            assert_eq!(secs(lines, CachePolicy::Origin), want, "{lines:?}");
        }
        assert_eq!(secs("Age: -7\r\n", CachePolicy::Hls), 0);
    }

    #[test]
    fn a_body_without_an_end_of_its_own_is_not_kept() {
        let answer = Answer {
            status: 200,
            kind: Kind::Segment,
            pace: None,
            cache_control: CacheControl::default(),
            expires_in: None,
            age: Duration::ZERO,
            has_validator: false,
            blocking_reload: false,
            live: None,
            names_return: true,
            path_ttl: None,
        };
        let rules = CacheRules::default();
        assert_eq!(keep(&answer, Framing::Close, &rules), Err(Bypass::NoLength));
        assert!(keep(&answer, Framing::Chunked, &rules).is_ok());
    }
}
