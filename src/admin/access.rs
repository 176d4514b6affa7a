//! Who may do what: access keys with names and rights, compared in constant
//! time, and how often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{AccessKey, Rights};

/// Calls of one key, and wrong keys of everybody together, within [`WINDOW`].
const MAX_CALLS: u32 = 200;
const MAX_WRONG: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Why a call is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No key, or none that there is.
    Unknown,
    /// The key's rights do not go so far.
    Rights,
    /// Too many calls; seconds to wait.
    Rate(u64),
}

/// Counts calls in windows.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<String, (Instant, u32)>>);

impl Rates {
    /// One more call; the seconds to wait where it is one too many.
    fn count(&self, who: &str, most: u32, now: Instant) -> Result<(), Denied> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(who.to_owned()).or_insert((now, 0));
        let begun = now.saturating_duration_since(window.0);
        if begun >= WINDOW {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
        let wait = WINDOW.saturating_sub(now.saturating_duration_since(window.0));
        match window.1 > most {
            true => Err(Denied::Rate(wait.as_secs().max(1))),
            false => Ok(()),
        }
    }
}

/// The name of the key that a call brings, where its rights are enough.
pub fn check(
    keys: &[AccessKey],
    headers: &HeaderMap,
    least: Rights,
    rates: &Rates,
    now: Instant,
) -> Result<String, Denied> {
    let Some(key) = brought(headers).and_then(|brought| find(keys, brought)) else {
        // Not a name of a key: those are not empty.
        rates.count("", MAX_WRONG, now)?;
        return Err(Denied::Unknown);
    };
    rates.count(&key.name, MAX_CALLS, now)?;
    match key.rights >= least {
        true => Ok(key.name.clone()),
        false => Err(Denied::Rights),
    }
}

/// The vendor's header, or a bearer token.
fn brought(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || {
        let (scheme, key) = text(header::AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    };
    text("accesskey").or_else(bearer)
}

/// Every key is compared, and its digest, so that neither place, length nor
/// beginning of one shows in the time.
fn find<'k>(keys: &'k [AccessKey], brought: &str) -> Option<&'k AccessKey> {
    let brought = Sha256::digest(brought);
    let mut found = None;
    for key in keys {
        if bool::from(Sha256::digest(key.secret.as_bytes()).ct_eq(&brought)) {
            found = Some(key);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_key_opens_what_its_rights_say_and_not_endlessly() {
        let key = |name: &str, secret: &str, rights| AccessKey {
            name: name.into(),
            secret: Zeroizing::new(secret.into()),
            rights,
        };
        let keys = [
            key("reader", "r-secret", Rights::Read),
            key("purger", "p-secret", Rights::Purge),
            key("ops", "o-secret", Rights::Admin),
        ];
        let now = Instant::now();
        let ask = |name: &'static str, value: &str, least| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            check(&keys, &headers, least, &Rates::default(), now)
        };
        let table = [
            ("accesskey", "p-secret", Rights::Purge, Ok("purger")),
            ("accesskey", "o-secret", Rights::Purge, Ok("ops")),
            (
                "authorization",
                "Bearer r-secret",
                Rights::Read,
                Ok("reader"),
            ),
            (
                "authorization",
                "bearer r-secret",
                Rights::Read,
                Ok("reader"),
            ),
            ("accesskey", "r-secret", Rights::Purge, Err(Denied::Rights)),
            ("accesskey", "p-secre", Rights::Read, Err(Denied::Unknown)),
            ("accesskey", "", Rights::Read, Err(Denied::Unknown)),
            (
                "authorization",
                "r-secret",
                Rights::Read,
                Err(Denied::Unknown),
            ),
            ("x-other", "o-secret", Rights::Read, Err(Denied::Unknown)),
        ];
        for (name, value, least, want) in table {
            let got = ask(name, value, least);
            assert_eq!(
                got.as_deref(),
                want.as_ref().map(|it| *it),
                "{name}: {value}"
            );
        }
        let rates = Rates::default();
        let mut headers = HeaderMap::new();
        headers.insert("accesskey", "guess".parse().expect("a value"));
        let later = |seconds| now + Duration::from_secs(seconds);
        let guess = |at| check(&keys, &headers, Rights::Read, &rates, later(at));
        for _ in 0..MAX_WRONG {
            assert_eq!(guess(0), Err(Denied::Unknown));
        }
        assert_eq!(guess(4), Err(Denied::Rate(6)));
        assert_eq!(guess(10), Err(Denied::Unknown));
    }
}
