//! The texts of a scenario: placeholders, and characters as bytes.

use warren::clock::Clock;

use crate::edge::signed;

/// Replaces what stands in braces:
///
/// - `{signed:/v/a.ts}`: the target, signed for an hour,
/// - `{query:/v/a.ts}`: the token and expiry of that target alone,
/// - `{9000*a}`: a text so many times,
/// - `{each}` and `{n}`: of the step.
pub fn fill(text: &str, clock: &Clock, each: &str, n: usize) -> String {
    let text = text.replace("{each}", each).replace("{n}", &n.to_string());
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (inner, behind) = after.split_once('}').expect("a brace is closed");
        out.push_str(before);
        out.push_str(&placeholder(inner, clock));
        rest = behind;
    }
    out + rest
}

fn placeholder(inner: &str, clock: &Clock) -> String {
    if let Some(path) = inner.strip_prefix("signed:") {
        return signed(clock, path);
    }
    if let Some(path) = inner.strip_prefix("query:") {
        let target = signed(clock, path);
        let (_, query) = target.split_once('?').expect("a token in the query");
        return query.to_owned();
    }
    let (count, text) = inner.split_once('*').expect("a known placeholder");
    text.repeat(count.parse().expect("a number"))
}

/// Each character as one byte.
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).expect("a character is one byte"))
        .collect()
}
