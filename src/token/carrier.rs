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
    may_carry(text) && Reading::of(text).tokens(false).next().is_some()
}

/// Whether a path holds a token of its own: what no signer puts there, and an
/// origin would be sent. A name that only looks like one is none.
pub fn is_in_path(path: &str) -> bool {
    let is_one = |Range { start, end }: Range<usize>| {
        let (before, token) = (&path.as_bytes()[..start], &path.as_bytes()[start..end]);
        let named = ends_with(before, b"=") || ends_with(before, b"%3d");
        token_in(token, || named).is_some()
    };
    let bytes = path.as_bytes();
    let may = memchr::memchr(b'%', bytes).is_some() || may_hold_value(bytes);
    may && Reading::of(path).tokens(false).any(is_one)
}

/// A text with what looks like a token in it replaced: whatever stands behind
/// `token=` or `bcdn_token=`; `HS256-` and what follows; a parameter's value
/// that has the length of a digest; 43 digits by themselves in a text that
/// names a token. In any case, encoded however often.
pub fn redact(text: &str) -> Cow<'_, str> {
    match may_carry(text) {
        true => without_tokens(text, false),
        false => text.into(),
    }
}

/// The same of another's page, where 43 digits by themselves name nothing of
/// ours.
fn redact_page(page: &str) -> Cow<'_, str> {
    match may_carry(page) || page.len() >= SHA256 {
        true => without_tokens(page, true),
        false => page.into(),
    }
}

fn without_tokens(text: &str, bare: bool) -> Cow<'_, str> {
    let (mut out, mut copied) = (String::new(), 0);
    for Range { start, end } in Reading::of(text).tokens(bare) {
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
            redact_page(&without_user(page, authority))
                .into_owned()
                .into()
        }
        _ => redact_page(page),
    }
}

/// A viewer's Referer as an origin may have it: of a page of the edge's own the
/// scheme and host alone, of any other what holds no token.
pub fn referer_for_origin(referer: &str, is_own: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let Some(authority) = authority_of(referer) else {
        return redact_page(referer);
    };
    let host = &referer[authority.clone()];
    let host = host.rsplit('@').next().unwrap_or_default();
    match is_own(host) {
        true => format!("{}{host}/", &referer[..authority.start]).into(),
        false => redact_page(referer),
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
const SHA256: usize = 43;
const DIGESTS: [usize; 2] = [SHA256, 22];
const SHORTEST: usize = 16;
const HMAC: &[u8] = b"hs256-";
const NAME: &[u8] = b"token";

/// What ends a value: of a query, a JSON text, a header, markup.
const ENDS: &[u8] = b"&;?#\"'<>\\";
/// What a value may begin with, where somebody quotes it.
const QUOTES: &[u8] = b"\"'<\\ ";
/// The most between the name and a value that is told by its length alone.
const FAR: usize = 3;

/// A cheap look before the thorough one: most texts hold neither.
fn may_carry(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr(b'%', bytes).is_some() || may_hold_value(bytes) || names_token(bytes)
}

fn may_hold_value(bytes: &[u8]) -> bool {
    memchr::memchr(b'=', bytes).is_some()
        || memchr::memchr_iter(b'-', bytes).any(|at| ends_with(&bytes[..=at], HMAC))
}

/// Whether there is both the name and room for a digest. A `k` is the rarest of
/// its letters.
fn names_token(bytes: &[u8]) -> bool {
    bytes.len() > NAME.len() + DIGESTS[1]
        && memchr::memchr2_iter(b'k', b'K', bytes).any(|at| {
            let last = bytes.get(at + 1..at + 3);
            ends_with(&bytes[..=at], b"tok")
                && last.is_some_and(|it| it.eq_ignore_ascii_case(b"en"))
        })
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

    /// Where tokens stand in the text. `bare`: the digits of a SHA-256 by
    /// themselves are one, whatever the text names.
    fn tokens(&self, bare: bool) -> impl Iterator<Item = Range<usize>> {
        let mut around = Around {
            bare: bare || names_token(&self.bytes),
            ..Around::default()
        };
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < self.bytes.len() {
                let end = self.run_end(at);
                let token = self.token_at(at..end, &around);
                around.in_query |= self.bytes.get(end) == Some(&b'?');
                if ends_with(&self.bytes[at..end], NAME) {
                    around.name_end = Some(end);
                }
                at = match &token {
                    Some(token) => token.end,
                    None => end + self.step_behind(end),
                };
                if let Some(Range { start, end }) = token.filter(|token| !token.is_empty()) {
                    return Some(self.start(start)..self.start(end));
                }
            }
            None
        })
    }

    /// An escape that was not read ends behind its digits.
    fn step_behind(&self, end: usize) -> usize {
        let escape = self.bytes.get(end..end + 3).filter(|it| it[0] == b'%');
        let unread = escape.filter(|_| self.starts.is_empty());
        let is_one = |it: &[u8]| decode_escape(Some(it[1]), Some(it[2])).is_some();
        if unread.is_some_and(is_one) { 3 } else { 1 }
    }

    /// The token in a run of digits, or behind it.
    fn token_at(&self, run: Range<usize>, around: &Around) -> Option<Range<usize>> {
        let digits = &self.bytes[run.clone()];
        let behind = self.bytes.get(run.end).copied();
        let alone = || {
            let named = around.name_end.is_some_and(|end| run.start - end <= FAR);
            named || (around.bare && digits.len() == SHA256) || self.is_value(run.start, behind)
        };
        if let Some(from) = token_in(digits, alone).or_else(|| glued(digits)) {
            return Some(run.start + from..run.end);
        }
        if behind != Some(b'=') || !ends_with(digits, NAME) {
            return None;
        }
        let quotes = self.bytes[run.end + 1..].iter();
        let quotes = quotes.take_while(|byte| QUOTES.contains(byte)).count();
        let value = run.end + 1 + quotes;
        Some(value..self.value_end(value, around.in_query))
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

/// What stands before a run of digits, and about it.
#[derive(Default)]
struct Around {
    in_query: bool,
    /// The digits of a SHA-256 need nobody to name them.
    bare: bool,
    /// Where the name of a token has ended last.
    name_end: Option<usize>,
}

/// Where a digest begins that hangs at its name, as in `token-…`.
fn glued(run: &[u8]) -> Option<usize> {
    let hangs = |length: &usize| {
        let from = run.len().checked_sub(*length)?;
        let name = run[..from].strip_suffix(b"-").unwrap_or(&run[..from]);
        let name = name.strip_suffix(b"_").unwrap_or(name);
        (ends_with(name, NAME) && is_mixed(&run[from..])).then_some(from)
    };
    DIGESTS.iter().find_map(hangs)
}

/// Words have one case; of 22 random digits one in 10^5 has.
fn is_mixed(run: &[u8]) -> bool {
    run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase)
}

/// Where the token begins in a run of its digits.
fn token_in(run: &[u8], is_value: impl Fn() -> bool) -> Option<usize> {
    let last = run.len().checked_sub(HMAC.len() + SHORTEST)?;
    let begins = |at: &usize| run[*at..*at + HMAC.len()].eq_ignore_ascii_case(HMAC);
    let hmac = (0..=last).find(begins);
    hmac.or_else(|| (DIGESTS.contains(&run.len()) && is_value() && is_mixed(run)).then_some(0))
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
        let bare = [
            "/v?token=\"{}\"",
            "/v?token=';{}",
            "/v?token=;{}",
            "/v?token=&{}",
            "/v?token=&{}&expires=1",
            "/v?token:{}",
            "/v?token%3A{}",
            "/v?token={}",
            "/bcdn_token-{}&expires=1/v",
            "/bcdn_token_{}/v",
            "/bcdn_token{}/v",
            "/bcdn_token/{}/v/a.ts",
            "/token:{}/",
            "/%74oken:{}/",
            "{\"token\":\"{}\"}",
            "{\\\"token\\\":\\\"{}\\\"}",
            "Token {}",
        ];
        for place in bare {
            for digest in [D, &D[..22]] {
                // What `token=` ends at once names no 22 digits.
                let far = place.contains("=;") || place.contains("';") || place.contains("=&");
                let far = far || place.contains("\\\"");
                if far && digest.len() < D.len() {
                    continue;
                }
                let text = place.replace("{}", digest);
                assert_eq!(redact(&text), place.replace("{}", "redacted"));
                assert!(carries(&text), "{text}");
            }
        }
        for text in [format!("/x/{D}/v?token="), format!("/{D}/token/v")] {
            assert_eq!(redact(&text), text.replace(D, "redacted"));
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
            (
                "http://p/x/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE/y",
                "http://p/x/redacted/y",
            ),
            (
                "https://play.example/watch/the-film-of-all-films-in-forty-three-letters/s1",
                "https://play.example/watch/the-film-of-all-films-in-forty-three-letters/s1",
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
    fn a_path_holds_a_token_where_it_has_the_shape_of_one() {
        let held = [
            format!("/v/a.ts?token={T}"),
            format!("/v/a.ts?token={D}&expires=1"),
            format!("/v/a.ts?token={}", &D[..22]),
            format!("/v/a.ts%3Ftoken%3D{D}"),
            format!("/v/{T}/a.ts"),
        ];
        for path in held {
            assert!(is_in_path(&path), "{path}");
        }
        let names = [
            format!("/v/{D}/{D}.ts"),
            format!("/token/{D}/a=1.ts"),
            "/v/token=1/a.ts".into(),
            "/v/a.ts?token=".into(),
            "/tokens/a-b=c.ts".into(),
        ];
        for path in names {
            assert!(!is_in_path(&path), "{path}");
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
