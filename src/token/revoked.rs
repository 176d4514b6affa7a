//! Pure: what was signed and is let in no more, of one zone.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::message::Token;
use crate::path_index::PathIndex;

/// What tells a token and does not let anybody in: the first 16 bytes of the
/// SHA-256 of its text without `=`, as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint(u128);

impl Fingerprint {
    pub fn of(token: &Token) -> Self {
        let digest = Sha256::digest(token.text());
        let first = digest.iter().take(16);
        Self(first.fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fine = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| fine);
        number
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a token's fingerprint: 32 hexadecimal digits"))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Tokens by themselves, by the path that they are used for, and by their key.
/// Of the latter two those that expire before a time; `u64::MAX`: all.
#[derive(Default)]
pub struct Revoked {
    tokens: HashSet<Fingerprint>,
    prefixes: PathIndex<u64>,
    keys: HashMap<String, u64>,
}

impl Revoked {
    pub fn token(&mut self, fingerprint: Fingerprint) {
        self.tokens.insert(fingerprint);
    }

    pub fn prefix(&mut self, prefix: &str, expires_before: u64) {
        *self.prefixes.prefix(prefix) = expires_before;
    }

    pub fn key(&mut self, name: &str, expires_before: u64) {
        self.keys.insert(name.to_owned(), expires_before);
    }

    /// Whether a token of this key, used for this path, is revoked.
    pub fn covers(&self, token: &Token, key: &str, path: &str, expires: u64) -> bool {
        let by_key = self.keys.get(key).is_some_and(|before| expires < *before);
        by_key
            || self.prefixes.any(path, |before| expires < *before)
            || (!self.tokens.is_empty() && self.tokens.contains(&Fingerprint::of(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_what_sha256sum_says_of_the_token() {
        let text = "HS256-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let token = Token::parse(text).expect("a token");
        let padded = Token::parse(&format!("{text}=")).expect("a token");
        let fingerprint = Fingerprint::of(&token);
        // printf %s "$TOKEN" | sha256sum | cut -c1-32
        assert_eq!(fingerprint.to_string(), "a39bdb18082ee9952ceb8bbf42260687");
        assert_eq!(fingerprint, Fingerprint::of(&padded));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for bad in ["", "1", "+1111111111111111111111111111111", &"1".repeat(33)] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
