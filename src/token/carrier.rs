//! Pure: the one list of what carries a token, and texts without it. What a
//! viewer writes is written down, and told to an origin, through this file.

use std::borrow::Cow;
use std::ops::Range;

use crate::path::decode_escape;

/// Parameters that carry the token itself and are never signed.
pub fn is_carrier(name: &str) -> bool {
    matches!(name, "token" | "bcdn_token" | "expires")
}

/// Parameters that belong to the token scheme, as a viewer may write them: in
/// any case, encoded or not. Never in the cache key, never sent to the origin.
pub fn is_token_parameter(name: &str) -> bool {
    const PREFIX: &[u8] = b"token_";
    let reading = Reading::of(name);
    let name = reading.bytes.to_ascii_lowercase();
    let exact: [&[u8]; 4] = [b"token", b"bcdn_token", b"expires", b"limit"];
    exact.contains(&name.as_slice()) || name.starts_with(PREFIX)
}

/// Whether a segment of a path is a token's block, as it may be misspelled.
pub fn is_block(segment: &str) -> bool {
    const NAME: &[u8] = b"bcdn_token=";
    let name = segment.as_bytes().get(..NAME.len());
    name.is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

/// Whether a text holds what looks like a token.
pub fn carries(text: &str) -> bool {
    may_carry(text) && Reading::of(text).tokens().next().is_some()
}

/// A text with what looks like a token in it replaced: whatever stands behind
/// `token=` or `bcdn_token=`; `HS256-` and what follows; a parameter's value
/// that has the length of a digest. In any case, encoded however often.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !may_carry(text) {
        return text.into();
    }
    let (mut out, mut copied) = (String::new(), 0);
    for Range { start, end } in Reading::of(text).tokens() {
        out.reserve(text.len());
        out.push_str(text.get(copied..start).unwrap_or_default());
        out.push_str("redacted");
        copied = end;
    }
    if copied == 0 {
        return text.into();
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out.into()
}

/// Of a Referer its origin and path, without a token.
pub fn redact_referer(referer: &str) -> Cow<'_, str> {
    let end = referer.find(['?', '#']).unwrap_or(referer.len());
    let page = &referer[..end];
    match authority_of(page) {
        Some(authority) if page[authority.clone()].contains('@') => {
            redact(&without_user(page, authority)).into_owned().into()
        }
        _ => redact(page),
    }
}

/// A viewer's Referer as an origin may have it: of a page of the edge's own the
/// scheme and host alone, of any other what holds no token.
pub fn referer_for_origin(referer: &str, is_own: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let Some(authority) = authority_of(referer) else {
        return redact(referer);
    };
    let host = &referer[authority.clone()];
    let host = host.rsplit('@').next().unwrap_or_default();
    match is_own(host) {
        true => format!("{}{host}/", &referer[..authority.start]).into(),
        false => redact(referer),
    }
}

/// Where a URL's authority stands.
fn authority_of(url: &str) -> Option<Range<usize>> {
    let start = match url.starts_with("//") {
        true => 2,
        false => url.find("://")? + 3,
    };
    let length = url[start..].find(['/', '?', '#', '\\']);
    Some(start..length.map_or(url.len(), |length| start + length))
}

fn without_user(page: &str, authority: Range<usize>) -> String {
    let host = page[authority.clone()].rsplit('@').next();
    let (scheme, path) = (&page[..authority.start], &page[authority.end..]);
    format!("{scheme}{}{path}", host.unwrap_or_default())
}

/// A digest's characters, and the fewest behind `HS256-` that are worth hiding.
const DIGESTS: [usize; 2] = [43, 22];
const SHORTEST: usize = 16;
const HMAC: &[u8] = b"hs256-";

/// What ends a value: of a query, a JSON text, a header, markup.
const ENDS: &[u8] = b"&;?#\"'<>\\";

/// A cheap look before the thorough one: most texts hold neither.
fn may_carry(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2(b'%', b'=', bytes).is_some()
        || memchr::memchr_iter(b'-', bytes).any(|at| ends_with(&bytes[..=at], HMAC))
}

/// A text with its escapes read.
struct Reading<'t> {
    bytes: Cow<'t, [u8]>,
    /// Where each byte stands in the text, and where that ends; empty where
    /// the bytes are the text's own.
    starts: Vec<usize>,
}

impl<'t> Reading<'t> {
    fn of(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut escapes = memchr::memchr_iter(b'%', bytes);
        let is_dull = |at: usize| {
            let byte = decode_escape(bytes.get(at + 1).copied(), bytes.get(at + 2).copied());
            byte.is_some_and(|byte| !is_digit(byte) && !b"=%&;?#".contains(&byte))
        };
        // An encoded slash is what path-form tokens are full of.
        match escapes.all(is_dull) {
            true => Self {
                bytes: bytes.into(),
                starts: Vec::new(),
            },
            false => Self::decode(bytes),
        }
    }

    /// Reads escapes, and those that they make, in one pass: what is complete
    /// at the end of what has been read becomes a byte, which may complete
    /// another.
    fn decode(text: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(text.len());
        let mut starts = Vec::with_capacity(text.len() + 1);
        for (at, byte) in text.iter().enumerate() {
            bytes.push(*byte);
            starts.push(at);
            while let [.., b'%', high, low] = bytes[..]
                && let Some(byte) = decode_escape(Some(high), Some(low))
            {
                let escape = bytes.len() - 3;
                bytes.truncate(escape);
                bytes.push(byte);
                starts.truncate(escape + 1);
            }
        }
        starts.push(text.len());
        Self {
            bytes: bytes.into(),
            starts,
        }
    }

    fn start(&self, at: usize) -> usize {
        self.starts.get(at).copied().unwrap_or(at)
    }

    /// Where tokens stand in the text.
    fn tokens(&self) -> impl Iterator<Item = Range<usize>> {
        let (mut at, mut in_query) = (0, false);
        std::iter::from_fn(move || {
            while at < self.bytes.len() {
                let end = self.run_end(at);
                let behind = self.bytes.get(end).copied();
                let token = self.token_at(at..end, behind, in_query);
                in_query |= behind == Some(b'?');
                // An escape that was not read ends behind its digits.
                let unread = self.starts.is_empty() && behind == Some(b'%');
                at = match &token {
                    Some(token) => token.end,
                    None => end + if unread { 3 } else { 1 },
                };
                if let Some(Range { start, end }) = token.filter(|token| !token.is_empty()) {
                    return Some(self.start(start)..self.start(end));
                }
            }
            None
        })
    }

    /// The token in a run of digits, or behind it.
    fn token_at(
        &self,
        run: Range<usize>,
        behind: Option<u8>,
        in_query: bool,
    ) -> Option<Range<usize>> {
        let digits = &self.bytes[run.clone()];
        if let Some(from) = token_in(digits, || self.is_value(run.start, behind)) {
            return Some(run.start + from..run.end);
        }
        let named = behind == Some(b'=') && ends_with(digits, b"token");
        let value = run.end + 1;
        named.then(|| value..self.value_end(value, in_query))
    }

    /// The end of the digits that begin here.
    fn run_end(&self, from: usize) -> usize {
        let run = self.bytes[from..].iter();
        from + run.take_while(|byte| is_digit(**byte)).count()
    }

    fn is_value(&self, at: usize, behind: Option<u8>) -> bool {
        let before = at.checked_sub(1).and_then(|at| self.bytes.get(at));
        before == Some(&b'=') || matches!(behind, Some(b'&' | b';'))
    }

    /// A raw slash ends the value of a path; in a query plain base64 has some.
    fn value_end(&self, from: usize, in_query: bool) -> usize {
        let mut at = from;
        loop {
            at = self.run_end(at);
            let Some(byte) = self.bytes.get(at) else {
                return self.bytes.len();
            };
            let raw = self.start(at + 1) == self.start(at) + 1;
            let of_path = *byte == b'/' && raw && !in_query;
            if of_path || *byte <= b' ' || ENDS.contains(byte) {
                return at;
            }
            at += 1;
        }
    }
}

/// Where the token begins in a run of its digits.
fn token_in(run: &[u8], is_value: impl Fn() -> bool) -> Option<usize> {
    let last = run.len().checked_sub(HMAC.len() + SHORTEST)?;
    let begins = |at: &usize| run[*at..*at + HMAC.len()].eq_ignore_ascii_case(HMAC);
    let hmac = (0..=last).find(begins);
    // Words have one case; of 22 random digits one in 10^5 has.
    let mixed = || run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase);
    hmac.or_else(|| (DIGESTS.contains(&run.len()) && is_value() && mixed()).then_some(0))
}

/// Of base64url.
fn is_digit(byte: u8) -> bool {
    const DIGITS: [bool; 256] = {
        let mut digits = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let is = (byte as u8).is_ascii_alphanumeric();
            digits[byte] = is || byte == b'-' as usize || byte == b'_' as usize;
            byte += 1;
        }
        digits
    };
    DIGITS[usize::from(byte)]
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    let last = text.len().checked_sub(end.len()).map(|from| &text[from..]);
    last.is_some_and(|last| last.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "HS256-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";
    const D: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

    #[test]
    fn a_text_loses_its_tokens_and_keeps_the_rest() {
        let table = [
            ("/v/a.ts", "/v/a.ts"),
            ("/v/a.ts?x=1&expires=5", "/v/a.ts?x=1&expires=5"),
            ("/a?token=T&expires=1", "/a?token=redacted&expires=1"),
            ("/a?Token=x", "/a?Token=redacted"),
            ("/a?%74oken=x&b=1", "/a?%74oken=redacted&b=1"),
            ("/a?%2574%6Fken%3dx&b=1", "/a?%2574%6Fken%3dredacted&b=1"),
            ("/a?t%6F%2%36Bken=x", "/a?t%6F%2%36Bken=x"),
            ("/a?token=ab/cd+ef==&b=1", "/a?token=redacted&b=1"),
            ("/a?token=", "/a?token="),
            (
                "/bcdn_token=T&expires=1&token_path=%2Fv%2F/v/a.ts?c=1",
                "/bcdn_token=redacted&expires=1&token_path=%2Fv%2F/v/a.ts?c=1",
            ),
            ("//bcdn_token=T/v/a.ts", "//bcdn_token=redacted/v/a.ts"),
            ("/v/BCDN_TOKEN=T/a.ts", "/v/BCDN_TOKEN=redacted/a.ts"),
            ("/v/a.ts;token=T;b", "/v/a.ts;token=redacted;b"),
            ("/v/a.ts#token=T", "/v/a.ts#token=redacted"),
            (
                "/v/%62cdn_token%3DT%26e/a",
                "/v/%62cdn_token%3Dredacted%26e/a",
            ),
            ("/v/token/a=1", "/v/token/a=1"),
        ];
        for (text, want) in table {
            assert_eq!(redact(text), want, "{text}");
            let shaped = redact(text) != text;
            assert_eq!(carries(text), shaped, "{text}");
        }
    }

    #[test]
    fn a_token_is_told_by_its_shape_where_no_name_tells_it() {
        let table = [
            (format!("/v/{T}/a.ts"), "/v/redacted/a.ts"),
            (format!("player {T}"), "player redacted"),
            (format!("/v/{}", T.to_lowercase()), "/v/redacted"),
            (format!("/v/%2F%48{}", &T[1..]), "/v/%2Fredacted"),
            (format!("/v?t={D}&e=1"), "/v?t=redacted&e=1"),
            (format!("/v?t={}", &D[..22]), "/v?t=redacted"),
            (format!("/{D}&expires=1/v"), "/redacted&expires=1/v"),
        ];
        for (text, want) in table {
            assert_eq!(redact(&text), want, "{text}");
        }
        // Content that is named by its digest keeps its name.
        let named = format!("/v/{D}/{D}.ts?x=1");
        assert_eq!(redact(&named), named);
    }

    #[test]
    fn a_referer_is_its_origin_and_path() {
        let table = [
            ("https://play.example/", "https://play.example/"),
            ("https://a:b@play.example/x?y#z", "https://play.example/x"),
            (
                "http://edge/bcdn_token=T/v/i.m3u8",
                "http://edge/bcdn_token=redacted/v/i.m3u8",
            ),
            (
                "http://edge/v%3Ftoken%3DT",
                "http://edge/v%3Ftoken%3Dredacted",
            ),
            ("android-app://com.example", "android-app://com.example"),
            ("/v/a?token=T", "/v/a"),
        ];
        for (referer, want) in table {
            assert_eq!(redact_referer(referer), want, "{referer}");
        }
    }

    #[test]
    fn an_origin_learns_of_our_own_pages_the_host_alone() {
        let table = [
            ("http://edge:80/bcdn_token=T/v/i.m3u8", "http://edge:80/"),
            ("HTTP://x@edge:80/v/i.m3u8", "HTTP://edge:80/"),
            ("//edge:80?token=T", "//edge:80/"),
            (
                "https://play.example/p?film=7",
                "https://play.example/p?film=7",
            ),
            (
                "https://play.example/p?u=http://edge/a%3Ftoken=T&b",
                "https://play.example/p?u=http://edge/a%3Ftoken=redacted&b",
            ),
        ];
        for (referer, want) in table {
            assert_eq!(referer_for_origin(referer, |host| host == "edge:80"), want);
        }
    }

    #[test]
    fn a_parameter_is_of_the_token_in_any_spelling() {
        for name in [
            "token",
            "TOKEN",
            "%74oken",
            "token_path",
            "Token_X",
            "limit",
            "Expires",
        ] {
            assert!(is_token_parameter(name), "{name}");
        }
        for name in ["", "tokens", "x", "CMCD", "xtoken"] {
            assert!(!is_token_parameter(name), "{name}");
        }
    }
}
