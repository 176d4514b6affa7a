//! A request's head as the road reads it, whichever way it came in.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::http::{RequestHeader, Version};

use crate::clock::Clock;

/// Bytes of a request's head. Heads of players are below 2 KiB; a signed URL
/// may bring 8 KiB of target.
pub const MAX_HEAD_BYTES: usize = 32 << 10;
/// Header lines of a request.
pub const MAX_HEADER_LINES: usize = 100;
/// Of the methods that IANA lists the longest has 17 (UPDATEREDIRECTREF).
const MOST_METHOD: usize = 20;

/// A request's head and where it came from.
pub struct Request<'r> {
    pub method: Method,
    /// The target of the request line, as it came over the wire.
    pub target: Cow<'r, str>,
    pub version: Version,
    /// `:authority`, where there is one.
    authority: Option<&'r str>,
    headers: Headers<'r>,
    pub entry: Entry,
}

/// Where and when a request came in.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The socket's other end.
    pub peer: SocketAddr,
    /// It came over TLS.
    pub https: bool,
    /// The socket that its answer goes out by, where it is one of ours.
    pub socket: Option<i32>,
    /// When its head was whole, by both clocks.
    pub came: Instant,
    pub came_at: SystemTime,
}

impl Entry {
    pub fn now(clock: &Clock, peer: SocketAddr, https: bool) -> Self {
        Self {
            peer,
            https,
            socket: None,
            came: clock.monotonic(),
            came_at: clock.wall(),
        }
    }
}

/// The header lines, in either form that they come in.
#[derive(Clone, Copy)]
enum Headers<'r> {
    Map(&'r HeaderMap),
    Lines(&'r [httparse::Header<'r>]),
}

impl<'r> Request<'r> {
    /// `wire` is the head as it came over HTTP/1.1: the parsed target has lost
    /// what stands behind a `#`, and two readings of one target are refused.
    pub fn of_header(header: &'r RequestHeader, wire: Option<&[u8]>, entry: Entry) -> Self {
        let target = match wire.and_then(wire_target) {
            Some(target) => String::from_utf8_lossy(target).into_owned().into(),
            None => String::from_utf8_lossy(header.raw_path()),
        };
        Self {
            method: header.method.clone(),
            target,
            version: header.version,
            authority: header.uri.authority().map(|authority| authority.as_str()),
            headers: Headers::Map(&header.headers),
            entry,
        }
    }

    /// A head of HTTP/1.1 that names its host in a Host line.
    pub fn of_lines(
        method: Method,
        target: &'r str,
        lines: &'r [httparse::Header<'r>],
        entry: Entry,
    ) -> Self {
        Self {
            method,
            target: target.into(),
            version: Version::HTTP_11,
            authority: None,
            headers: Headers::Lines(lines),
            entry,
        }
    }

    /// GET or HEAD: what the cache answers.
    pub fn reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// As logs and traces have it: what is no method's name may be a piece of a
    /// signed URL, from a request that begins in the middle of another.
    pub fn method_name(&self) -> &str {
        let name = self.method.as_str();
        let of_one = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
        let is_one = name.len() <= MOST_METHOD && name.bytes().all(of_one);
        if is_one { name } else { "-" }
    }

    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether the head announces a body.
    pub fn has_body(&self) -> bool {
        self.first(&CONTENT_LENGTH)
            .is_some_and(|value| value != b"0")
            || self.contains(&TRANSFER_ENCODING)
    }

    /// Whether any of its Connection lines says `close`.
    pub fn asks_to_close(&self) -> bool {
        let mut options = self.texts(&CONNECTION).flat_map(|line| line.split(','));
        options.any(|option| option.trim().eq_ignore_ascii_case("close"))
    }

    /// The one Host, or the authority of HTTP/2.
    pub fn host(&self) -> Option<&str> {
        let mut hosts = self.values(&HOST);
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => std::str::from_utf8(host)
                .ok()
                .filter(|host| !host.is_empty()),
            (None, _) => self.authority,
            _ => None,
        }
    }

    /// How many header lines it has.
    pub fn lines(&self) -> usize {
        match self.headers {
            Headers::Map(map) => map.len(),
            Headers::Lines(lines) => lines.len(),
        }
    }

    pub fn contains(&self, name: &HeaderName) -> bool {
        match self.headers {
            Headers::Map(map) => map.contains_key(name),
            Headers::Lines(lines) => lines.iter().any(|line| is(line, name)),
        }
    }

    /// The first value of a header, where it is visible ASCII.
    pub fn text(&self, name: &HeaderName) -> Option<&'r str> {
        self.first(name).and_then(visible)
    }

    /// Every value of a header that is visible ASCII.
    pub fn texts<'n>(&self, name: &'n HeaderName) -> impl Iterator<Item = &'r str> + use<'r, 'n> {
        self.values(name).filter_map(visible)
    }

    fn first(&self, name: &HeaderName) -> Option<&'r [u8]> {
        match self.headers {
            Headers::Map(map) => map.get(name).map(HeaderValue::as_bytes),
            Headers::Lines(lines) => {
                let line = lines.iter().find(|line| is(line, name))?;
                Some(line.value)
            }
        }
    }

    /// Every value of a header, whatever its bytes are.
    pub fn values<'n>(&self, name: &'n HeaderName) -> impl Iterator<Item = &'r [u8]> + use<'r, 'n> {
        let (map, lines) = match self.headers {
            Headers::Map(map) => (Some(map.get_all(name)), &[][..]),
            Headers::Lines(lines) => (None, lines),
        };
        let of_map = map.into_iter().flatten().map(HeaderValue::as_bytes);
        let of_lines = lines
            .iter()
            .filter(|line| is(line, name))
            .map(|line| line.value);
        of_map.chain(of_lines)
    }

    /// Every header, as the origin would be sent it.
    pub fn entries(&self) -> Vec<(HeaderName, HeaderValue)> {
        match self.headers {
            Headers::Map(map) => map
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            Headers::Lines(lines) => lines
                .iter()
                .filter_map(|line| {
                    let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
                    Some((name, HeaderValue::from_bytes(line.value).ok()?))
                })
                .collect(),
        }
    }
}

/// HTTP/2 splits Cookie for its compression; before key and origin it is one
/// line again (RFC 9113 §8.2.3).
pub fn join_crumbs(header: &mut RequestHeader) {
    let crumbs = header.headers.get_all(COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = crumbs.iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        let _ = header.insert_header(COOKIE, joined);
    }
}

fn is(line: &httparse::Header<'_>, name: &HeaderName) -> bool {
    line.name.eq_ignore_ascii_case(name.as_str())
}

/// As [`HeaderValue::to_str`]: a tab and visible ASCII.
fn visible(value: &[u8]) -> Option<&str> {
    let fine = |byte: &u8| *byte == b'\t' || (0x20..=0x7e).contains(byte);
    match value.iter().all(fine) {
        true => std::str::from_utf8(value).ok(),
        false => None,
    }
}

/// The target of a request line.
fn wire_target(head: &[u8]) -> Option<&[u8]> {
    head.split(|byte| *byte == b'\r')
        .next()?
        .split(|byte| *byte == b' ')
        .nth(1)
}

#[cfg(test)]
impl<'r> Request<'r> {
    /// A GET over HTTP/1.1 with these headers.
    pub fn with_headers(headers: &'r HeaderMap) -> Self {
        Self {
            method: Method::GET,
            target: "/".into(),
            version: Version::HTTP_11,
            authority: None,
            headers: Headers::Map(headers),
            entry: Entry::now(&Clock::default(), ([127, 0, 0, 1], 1).into(), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{RANGE, USER_AGENT};

    /// The same head in both forms.
    fn both(lines: &[(&'static str, &'static [u8])], check: impl Fn(&Request<'_>)) {
        let parsed: Vec<httparse::Header<'_>> = lines
            .iter()
            .map(|(name, value)| httparse::Header { name, value })
            .collect();
        let entry = Entry::now(&Clock::default(), ([192, 0, 2, 1], 1).into(), false);
        check(&Request::of_lines(Method::GET, "/a", &parsed, entry));
        let mut header = RequestHeader::build("GET", b"/a", None).expect("a head");
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value).expect("a value");
            header.append_header(*name, value).expect("appended");
        }
        check(&Request::of_header(&header, None, entry));
    }

    #[test]
    fn a_cookie_in_crumbs_is_one_line_again() {
        let mut header = RequestHeader::build("GET", b"/a", None).expect("a head");
        for crumb in ["a=1", "b=2", "c=3"] {
            header.append_header("cookie", crumb).expect("appended");
        }
        join_crumbs(&mut header);
        let lines: Vec<_> = header.headers.get_all(COOKIE).iter().collect();
        assert_eq!(lines, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn both_forms_of_a_head_read_alike() {
        let lines: &[(&str, &[u8])] = &[
            ("HOST", b"cdn.test"),
            ("Range", b"bytes=0-1"),
            ("range", b"bytes=2-3"),
            ("User-Agent", b"pl\xe4yer"),
            ("Content-Length", b"0"),
        ];
        both(lines, |request| {
            assert_eq!(request.host(), Some("cdn.test"));
            assert_eq!(request.text(&RANGE), Some("bytes=0-1"));
            assert_eq!(request.texts(&RANGE).count(), 2);
            assert!(request.contains(&USER_AGENT));
            assert_eq!(request.text(&USER_AGENT), None, "not visible ASCII");
            assert!(!request.has_body());
            assert_eq!(request.entries().len(), 5);
        });
        both(&[("host", b"a"), ("host", b"b")], |request| {
            assert_eq!(request.host(), None, "two hosts are none");
        });
        both(&[("host", b"a"), ("Content-Length", b"5")], |request| {
            assert!(request.has_body());
        });
    }
}
