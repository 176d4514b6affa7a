//! Pure: where tokens stand in a text, its escapes read.

use std::borrow::Cow;
use std::ops::Range;

use crate::path::decode_escape;

/// A digest's characters, and the fewest behind `HS256-` that are worth hiding.
pub(super) const SHA256: usize = 43;
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
pub(super) fn may_carry(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr(b'%', bytes).is_some() || may_hold_value(bytes) || names_token(bytes)
}

pub(super) fn may_hold_value(bytes: &[u8]) -> bool {
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
pub(super) struct Reading<'t> {
    pub(super) bytes: Cow<'t, [u8]>,
    /// Where each byte stands in the text, and where that ends; empty where
    /// the bytes are the text's own.
    starts: Vec<usize>,
}

impl<'t> Reading<'t> {
    pub(super) fn of(text: &'t str) -> Self {
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
    pub(super) fn tokens(&self, bare: bool) -> impl Iterator<Item = Range<usize>> {
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
pub(super) fn token_in(run: &[u8], is_value: impl Fn() -> bool) -> Option<usize> {
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

pub(super) fn ends_with(text: &[u8], end: &[u8]) -> bool {
    let last = text.len().checked_sub(end.len()).map(|from| &text[from..]);
    last.is_some_and(|last| last.eq_ignore_ascii_case(end))
}
