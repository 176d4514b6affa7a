//! Pure: the head of an HTTP/1.1 request. What two readers could read in two
//! ways is refused here, before either road sees it.

use std::mem::MaybeUninit;

use http::Method;

use crate::edge::authority::{is_host, of_target};
use crate::edge::refused::BadHead;
use crate::edge::request::{MAX_HEAD_BYTES, MAX_HEADER_LINES};

/// Where the head ends in the bytes that have come so far; `None`: not yet.
/// `seen` is how many of them an earlier call has looked at.
pub fn end_of_head(bytes: &[u8], seen: usize) -> Result<Option<usize>, BadHead> {
    // The two bytes before a line's end may have come earlier.
    let from = seen.saturating_sub(3);
    for at in memchr::memchr_iter(b'\n', &bytes[from..]) {
        let at = from + at;
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(BadHead::BareLf);
        }
        // However much of it the last read has brought.
        if at >= MAX_HEAD_BYTES {
            return Err(BadHead::TooLarge);
        }
        if bytes[..=at].ends_with(b"\r\n\r\n") {
            return Ok(Some(at + 1));
        }
    }
    match bytes.len() {
        0..=MAX_HEAD_BYTES => Ok(None),
        _ => Err(BadHead::TooLarge),
    }
}

/// Empty lines in front of a request are skipped (RFC 9112 §2.2).
pub fn empty_lines(bytes: &[u8]) -> usize {
    bytes
        .chunks_exact(2)
        .take_while(|pair| pair == b"\r\n")
        .count()
        * 2
}

pub type Line<'b> = httparse::Header<'b>;
/// Room for the lines of one head.
pub type Lines<'b> = [MaybeUninit<Line<'b>>; MAX_HEADER_LINES];

/// A head that reads in one way only.
pub struct Head<'h, 'b> {
    pub target: &'b str,
    pub lines: &'h [Line<'b>],
    /// The viewer asks for the connection to end.
    pub close: bool,
}

/// What a header line means for the way that its request takes.
#[derive(Default)]
struct Seen<'b> {
    hosts: u32,
    host: Option<&'b [u8]>,
    lengths: u32,
    body: Body,
    bad_length: bool,
    /// A body, an upgrade, an expectation: more than the lane reads.
    beyond: bool,
    close: bool,
}

impl<'h, 'b> Head<'h, 'b> {
    /// Reads a whole head, from its request line to its empty line.
    pub fn parse(bytes: &'b [u8], room: &'h mut Lines<'b>) -> Result<(Self, Way), BadHead> {
        let mut request = httparse::Request::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(
            &mut request,
            bytes,
            room,
        );
        match parsed {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLarge),
            Ok(httparse::Status::Partial) | Err(_) => return Err(BadHead::Malformed),
        }
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(BadHead::Malformed);
        };
        let lines: &'h [Line<'b>] = request.headers;
        let mut seen = Seen::default();
        for line in lines {
            seen.note(line);
        }
        seen.refuse(method, target, version)?;
        let head = Head {
            target,
            lines,
            close: seen.close,
        };
        let plain = version == 1 && !seen.beyond && target.starts_with('/');
        let way = match method {
            "GET" if plain => Way::Lane(Method::GET),
            "HEAD" if plain => Way::Lane(Method::HEAD),
            _ => Way::Proxy(seen.body),
        };
        Ok((head, way))
    }
}

/// Where the parts of a head stand in its bytes, for who has read it and looks
/// at it again.
pub struct Spans {
    target: Span,
    lines: Vec<(Span, Span)>,
}

/// From and to; no head is longer than these hold.
type Span = (u16, u16);

impl Spans {
    /// Of a head that was read in these bytes.
    pub fn of(bytes: &[u8], head: &Head<'_, '_>) -> Self {
        let span = |part: &[u8]| {
            let at = part.as_ptr() as usize - bytes.as_ptr() as usize;
            (at as u16, (at + part.len()) as u16)
        };
        let line = |line: &Line<'_>| (span(line.name.as_bytes()), span(line.value));
        Self {
            target: span(head.target.as_bytes()),
            lines: head.lines.iter().map(line).collect(),
        }
    }

    pub fn target<'b>(&self, bytes: &'b [u8]) -> &'b str {
        text(bytes, self.target)
    }

    pub fn lines<'b>(&self, bytes: &'b [u8]) -> Vec<Line<'b>> {
        let line = |(name, value): &(Span, Span)| Line {
            name: text(bytes, *name),
            value: part(bytes, *value),
        };
        self.lines.iter().map(line).collect()
    }
}

fn part(bytes: &[u8], (from, to): Span) -> &[u8] {
    let range = usize::from(from)..usize::from(to);
    bytes.get(range).unwrap_or_default()
}

fn text(bytes: &[u8], span: Span) -> &str {
    std::str::from_utf8(part(bytes, span)).unwrap_or_default()
}

/// Which way a request takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// GET or HEAD without a body: answered here.
    Lane(Method),
    /// Anything else: by Pingora.
    Proxy(Body),
}

/// What follows a head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    None,
    Length(usize),
    /// Only its own bytes tell its end.
    Unknown,
}

impl Body {
    /// How many of the bytes that have come belong to a request whose head
    /// ends at `head`.
    pub fn bytes_of_request(self, head: usize, come: usize) -> usize {
        match self {
            Body::None => head,
            Body::Length(length) => head.saturating_add(length).min(come),
            Body::Unknown => come,
        }
    }
}

impl<'b> Seen<'b> {
    /// What no two readers may be left to disagree on.
    fn refuse(&self, method: &str, target: &str, version: u8) -> Result<(), BadHead> {
        if method == "CONNECT" {
            return Err(BadHead::Connect);
        }
        if self.hosts > 1 || self.host.is_some_and(|host| !is_host(host)) {
            return Err(BadHead::BadHost);
        }
        // RFC 9112 §3.2.2 lets the target win; that the two differ is no
        // accident of a player.
        let named = of_target(target).map(str::as_bytes);
        if named.is_some_and(|named| !self.host.is_some_and(|it| it.eq_ignore_ascii_case(named))) {
            return Err(BadHead::BadHost);
        }
        if self.lengths > 1 {
            return Err(BadHead::TwoLengths);
        }
        // HTTP/1.0 knows no coding (RFC 9112 §6.1).
        if self.bad_length || (version == 0 && self.body == Body::Unknown) {
            return Err(BadHead::BadLength);
        }
        Ok(())
    }

    fn note(&mut self, line: &Line<'b>) {
        // By length first: few names get past it.
        match line.name.len() {
            4 if is(line, "host") => {
                self.hosts += 1;
                self.host = Some(line.value.trim_ascii());
            }
            6 if is(line, "expect") => self.beyond = true,
            7 if is(line, "upgrade") => self.beyond = true,
            10 if is(line, "connection") => match line.value.trim_ascii() {
                value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                value if value.eq_ignore_ascii_case(b"close") => self.close = true,
                _ => self.beyond = true,
            },
            14 if is(line, "content-length") => {
                self.lengths += 1;
                self.length(line.value);
            }
            17 if is(line, "transfer-encoding") => {
                self.lengths += 1;
                self.body = Body::Unknown;
                self.beyond = true;
                self.bad_length |= !line.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            _ => {}
        }
    }

    fn length(&mut self, value: &[u8]) {
        let digits = value.trim_ascii();
        let sound = digits.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| sound);
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(0) => {}
            Some(length) => {
                self.body = Body::Length(length);
                self.beyond = true;
            }
            None => self.bad_length = true,
        }
    }
}

fn is(line: &Line<'_>, name: &str) -> bool {
    line.name.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(head: &str) -> Result<Way, BadHead> {
        let bytes = head.as_bytes();
        match end_of_head(bytes, 0)? {
            Some(end) => {
                let mut room = [MaybeUninit::uninit(); MAX_HEADER_LINES];
                Head::parse(&bytes[..end], &mut room).map(|(_, way)| way)
            }
            None => Err(BadHead::TooSlow),
        }
    }

    #[test]
    fn a_plain_read_takes_the_lane_and_a_doubtful_one_does_not() {
        let get = |more: &str| format!("GET /a HTTP/1.1\r\nHost: x\r\n{more}\r\n");
        let many = "a: b\r\n".repeat(MAX_HEADER_LINES);
        let lane = |method| Ok(Way::Lane(method));
        let proxy = |body| Ok(Way::Proxy(body));
        let table = [
            (get(""), lane(Method::GET)),
            (get("Connection: Keep-Alive\r\n"), lane(Method::GET)),
            (get("Range: bytes=0-1\r\n"), lane(Method::GET)),
            (
                "HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n".into(),
                lane(Method::HEAD),
            ),
            // No Host at all is for verify to refuse by its name.
            ("GET /a HTTP/1.1\r\n\r\n".into(), lane(Method::GET)),
            (get("Content-Length: 0\r\n"), lane(Method::GET)),
            (get("Content-Length: 3\r\n"), proxy(Body::Length(3))),
            (get("Content-Length: +3\r\n"), Err(BadHead::BadLength)),
            (get("Content-Length: 3,3\r\n"), Err(BadHead::BadLength)),
            (get("Content-Length:\r\n"), Err(BadHead::BadLength)),
            (
                get("Content-Length: 99999999999999999999999\r\n"),
                Err(BadHead::BadLength),
            ),
            (get("Transfer-Encoding: gzip\r\n"), Err(BadHead::BadLength)),
            (
                get("Transfer-Encoding: chunked, chunked\r\n"),
                Err(BadHead::BadLength),
            ),
            (
                "GET /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
                Err(BadHead::BadLength),
            ),
            (get("Transfer-Encoding: chunked\r\n"), proxy(Body::Unknown)),
            (get("Expect: 100-continue\r\n"), proxy(Body::None)),
            (get("Upgrade: h2c\r\n"), proxy(Body::None)),
            (get("Connection: x, close\r\n"), proxy(Body::None)),
            (
                "POST /a HTTP/1.1\r\nHost: x\r\n\r\n".into(),
                proxy(Body::None),
            ),
            (
                "GET /a HTTP/1.0\r\nHost: x\r\n\r\n".into(),
                proxy(Body::None),
            ),
            (
                "GET http://x/a HTTP/1.1\r\nHost: X\r\n\r\n".into(),
                proxy(Body::None),
            ),
            (
                "GET http://y/a HTTP/1.1\r\nHost: x\r\n\r\n".into(),
                Err(BadHead::BadHost),
            ),
            (
                "GET http://x HTTP/1.1\r\n\r\n".into(),
                Err(BadHead::BadHost),
            ),
            (
                "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n".into(),
                Err(BadHead::Connect),
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".into(),
                proxy(Body::None),
            ),
            (get("Host: y\r\n"), Err(BadHead::BadHost)),
            (
                get("Content-Length: 1\r\nContent-Length: 1\r\n"),
                Err(BadHead::TwoLengths),
            ),
            (
                get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
                Err(BadHead::TwoLengths),
            ),
            (get("Range: a\n"), Err(BadHead::BareLf)),
            ("GET /a HTTP/1.1\nHost: x\n\n".into(), Err(BadHead::BareLf)),
            (get(" folded: x\r\n"), Err(BadHead::Malformed)),
            (get("a: b\r\n c\r\n"), Err(BadHead::Malformed)),
            (get("a\u{0}: b\r\n"), Err(BadHead::Malformed)),
            (get("a: \u{1}\r\n"), Err(BadHead::Malformed)),
            (get("a : b\r\n"), Err(BadHead::Malformed)),
            ("GET  /a HTTP/1.1\r\n\r\n".into(), Err(BadHead::Malformed)),
            ("GET /a b HTTP/1.1\r\n\r\n".into(), Err(BadHead::Malformed)),
            ("GET /a HTTP/2.0\r\n\r\n".into(), Err(BadHead::Malformed)),
            ("\u{16}\u{3}\u{1}\r\n\r\n".into(), Err(BadHead::Malformed)),
            (get(&many), Err(BadHead::TooLarge)),
            ("a".repeat(MAX_HEAD_BYTES + 1), Err(BadHead::TooLarge)),
        ];
        for (head, want) in table {
            assert_eq!(read(&head), want, "{head:?}");
        }
    }

    #[test]
    fn a_head_is_too_large_however_its_bytes_came() {
        let filled = |length: usize| [vec![b'a'; length - 4], b"\r\n\r\n".to_vec()].concat();
        let most = filled(MAX_HEAD_BYTES);
        assert_eq!(end_of_head(&most, 0), Ok(Some(MAX_HEAD_BYTES)));
        let more = filled(MAX_HEAD_BYTES + 1);
        assert_eq!(end_of_head(&more, 0), Err(BadHead::TooLarge));
        assert_eq!(end_of_head(&more, MAX_HEAD_BYTES), Err(BadHead::TooLarge));
    }

    #[test]
    fn empty_lines_in_front_are_skipped() {
        assert_eq!(empty_lines(b"\r\n\r\nGET"), 4);
        assert_eq!(empty_lines(b"\r"), 0);
        assert_eq!(empty_lines(b"GET"), 0);
    }

    proptest! {
        /// However the bytes are cut on their way, the head ends at one place.
        #[test]
        fn the_end_is_the_same_wherever_the_bytes_are_cut(
            head in "[A-Za-z /.:\r\n]{0,80}(\r\n){0,2}",
            rest in "[\r\na-z]{0,12}",
        ) {
            let bytes = [head.as_bytes(), rest.as_bytes()].concat();
            let whole = end_of_head(&bytes, 0);
            for cut in 0..=bytes.len() {
                let early = end_of_head(&bytes[..cut], 0);
                let both = match early {
                    Ok(None) => end_of_head(&bytes, cut),
                    other => other,
                };
                prop_assert_eq!(both, whole, "cut at {}", cut);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(end)) = end_of_head(&bytes, 0) {
                let mut room = [MaybeUninit::uninit(); MAX_HEADER_LINES];
                let _ = Head::parse(&bytes[..end], &mut room);
            }
        }
    }
}
