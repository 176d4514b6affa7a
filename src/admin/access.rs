//! Who may do what: access keys with names and rights, compared in constant
//! time, and how often.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::settings::{AccessKey, Rights};
use crate::per_address::customer;

/// Calls of one key within [`WINDOW`].
const MAX_CALLS: u32 = 200;
/// Wrong keys from one address within [`WINDOW`]; then none that comes from it
/// is compared, the right one neither.
const MAX_WRONG: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// Addresses whose wrong keys are counted at a time, about 100 bytes each; for
/// one more the one that was counted first is forgotten.
const MAX_ADDRESSES: usize = 4_096;

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

/// Counts calls by the key's name, and wrong keys by the address.
#[derive(Default)]
pub struct Rates {
    calls: Mutex<Windows<String>>,
    wrong: Mutex<Windows<IpAddr>>,
}

/// When a window began, and what was counted in it.
struct Windows<K>(HashMap<K, (Instant, u32)>);

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Windows<K> {
    /// The seconds to wait where so many were counted.
    fn full(&self, who: &K, most: u32, now: Instant) -> Option<u64> {
        let (begun, count) = self.0.get(who)?;
        let wait = WINDOW.checked_sub(now.saturating_duration_since(*begun))?;
        (*count >= most && !wait.is_zero()).then_some(wait.as_secs().max(1))
    }

    fn count(&mut self, who: &K, now: Instant) {
        let window = self.0.entry(who.clone()).or_insert((now, 0));
        if now.saturating_duration_since(window.0) >= WINDOW {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
    }

    /// Room for one more.
    fn make_room(&mut self, most: usize, now: Instant) {
        if self.0.len() < most {
            return;
        }
        let over = |begun: &Instant| now.saturating_duration_since(*begun) >= WINDOW;
        self.0.retain(|_, (begun, _)| !over(begun));
        if self.0.len() >= most {
            let first = self.0.iter().min_by_key(|(_, (begun, _))| *begun);
            if let Some(first) = first.map(|(who, _)| who.clone()) {
                self.0.remove(&first);
            }
        }
    }
}

impl Rates {
    /// One more call of a key.
    fn call(&self, name: &str, now: Instant) -> Result<(), Denied> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.to_owned();
        let full = calls.full(&name, MAX_CALLS, now);
        calls.count(&name, now);
        full.map_or(Ok(()), |wait| Err(Denied::Rate(wait)))
    }

    /// One more look for a key, unless too many from there found none.
    fn look<T>(
        &self,
        from: IpAddr,
        now: Instant,
        look: impl FnOnce() -> Option<T>,
    ) -> Result<T, Denied> {
        let from = customer(from.to_canonical());
        // Held while it is compared: who asks in parallel guesses no more often.
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = wrong.full(&from, MAX_WRONG, now) {
            return Err(Denied::Rate(wait));
        }
        look().ok_or_else(|| {
            wrong.make_room(MAX_ADDRESSES, now);
            wrong.count(&from, now);
            Denied::Unknown
        })
    }
}

/// The name of the key that a call brings from an address, and its rights, where
/// they are enough.
pub fn check(
    keys: &[AccessKey],
    headers: &HeaderMap,
    from: IpAddr,
    least: Rights,
    rates: &Rates,
    now: Instant,
) -> Result<(String, Rights), Denied> {
    let brought = brought(headers).ok_or(Denied::Unknown)?;
    let key = rates.look(from, now, || find(keys, brought))?;
    rates.call(&key.name, now)?;
    match key.rights >= least {
        true => Ok((key.name.clone(), key.rights)),
        false => Err(Denied::Rights),
    }
}

/// Whether the key that was let in is still one: of a call that goes on.
pub fn still_opens(keys: &[AccessKey], headers: &HeaderMap, least: Rights) -> bool {
    let key = brought(headers).and_then(|brought| find(keys, brought));
    key.is_some_and(|key| key.rights >= least)
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

    fn keys() -> [AccessKey; 3] {
        let key = |name: &str, secret: &str, rights| AccessKey {
            name: name.into(),
            secret: Zeroizing::new(secret.into()),
            rights,
        };
        [
            key("reader", "r-secret", Rights::Read),
            key("purger", "p-secret", Rights::Purge),
            key("ops", "o-secret", Rights::Admin),
        ]
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        headers
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn some_time() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_key_opens_what_its_rights_say() {
        let ask = |headers: &HeaderMap, least| {
            let (from, rates) = (address("192.0.2.1"), Rates::default());
            let asked = check(&keys(), headers, from, least, &rates, some_time());
            asked.map(|(name, _)| name)
        };
        let bearer = "authorization";
        let table = [
            ("accesskey", "p-secret", Rights::Purge, Ok("purger")),
            ("accesskey", "o-secret", Rights::Purge, Ok("ops")),
            (bearer, "Bearer r-secret", Rights::Read, Ok("reader")),
            (bearer, "bearer r-secret", Rights::Read, Ok("reader")),
            ("accesskey", "r-secret", Rights::Purge, Err(Denied::Rights)),
            ("accesskey", "p-secre", Rights::Read, Err(Denied::Unknown)),
            ("accesskey", "", Rights::Read, Err(Denied::Unknown)),
            (bearer, "r-secret", Rights::Read, Err(Denied::Unknown)),
            ("x-other", "o-secret", Rights::Read, Err(Denied::Unknown)),
        ];
        for (name, value, least, want) in table {
            let headers = with(name, value);
            let got = ask(&headers, least);
            let want = want.map(str::to_owned);
            assert_eq!(got, want, "{name}: {value}");
            let opens = still_opens(&keys(), &headers, least);
            assert_eq!(opens, want.is_ok(), "{name}: {value}");
        }
    }

    #[test]
    fn an_address_that_guessed_too_often_is_compared_with_nothing_and_others_are() {
        let (keys, rates, now) = (keys(), Rates::default(), some_time());
        let ask = |from: &str, secret: &str, seconds| {
            let now = now + Duration::from_secs(seconds);
            let headers = with("accesskey", secret);
            let asked = check(&keys, &headers, address(from), Rights::Read, &rates, now);
            asked.map(|(name, _)| name)
        };
        for _ in 0..MAX_WRONG {
            assert_eq!(ask("192.0.2.1", "guess", 0), Err(Denied::Unknown));
        }
        let table = [
            ("192.0.2.1", "guess", 4, Err(Denied::Rate(6))),
            ("192.0.2.1", "o-secret", 4, Err(Denied::Rate(6))),
            ("::ffff:192.0.2.1", "o-secret", 9, Err(Denied::Rate(1))),
            ("192.0.2.2", "o-secret", 4, Ok("ops".to_owned())),
            ("192.0.2.2", "guess", 4, Err(Denied::Unknown)),
            ("192.0.2.1", "o-secret", 10, Ok("ops".to_owned())),
            ("192.0.2.1", "guess", 10, Err(Denied::Unknown)),
        ];
        for (from, secret, seconds, want) in table {
            assert_eq!(
                ask(from, secret, seconds),
                want,
                "{from} {secret} {seconds}"
            );
        }
        // A customer's /64 is one address.
        for host in 0..MAX_WRONG {
            let from = format!("2001:db8::{host:x}");
            assert_eq!(ask(&from, "guess", 0), Err(Denied::Unknown));
        }
        assert_eq!(ask("2001:db8::9:9", "o-secret", 1), Err(Denied::Rate(9)));
        assert_eq!(ask("2001:db8:0:1::1", "o-secret", 1), Ok("ops".to_owned()));
        let none = HeaderMap::new();
        let from = address("192.0.2.9");
        for _ in 0..=MAX_WRONG {
            let asked = check(&keys, &none, from, Rights::Read, &rates, now);
            assert_eq!(asked, Err(Denied::Unknown), "no key is no guess");
        }
    }

    #[test]
    fn the_addresses_that_are_counted_have_a_bound() {
        let (keys, rates, now) = (keys(), Rates::default(), some_time());
        for number in 0..MAX_ADDRESSES as u32 + 10 {
            let from = IpAddr::V4((0x0a00_0000 + number).into());
            let now = now + Duration::from_millis(u64::from(number));
            let asked = check(
                &keys,
                &with("accesskey", "x"),
                from,
                Rights::Read,
                &rates,
                now,
            );
            assert_eq!(asked, Err(Denied::Unknown));
        }
        let counted = |rates: &Rates| rates.wrong.lock().map_or(0, |it| it.0.len());
        assert_eq!(counted(&rates), MAX_ADDRESSES);
        let later = now + Duration::from_secs(60);
        let from = address("192.0.2.1");
        let _ = check(
            &keys,
            &with("accesskey", "x"),
            from,
            Rights::Read,
            &rates,
            later,
        );
        assert_eq!(counted(&rates), 1, "windows that are over are forgotten");
    }

    #[test]
    fn a_key_may_call_so_often() {
        let (keys, rates, now) = (keys(), Rates::default(), some_time());
        let ask = |seconds| {
            let now = now + Duration::from_secs(seconds);
            let headers = with("accesskey", "r-secret");
            let from = address("192.0.2.1");
            let asked = check(&keys, &headers, from, Rights::Read, &rates, now);
            asked.map(|(name, rights)| (name, rights == Rights::Read))
        };
        let reader = || Ok(("reader".to_owned(), true));
        for _ in 0..MAX_CALLS {
            assert_eq!(ask(0), reader());
        }
        assert_eq!(ask(3), Err(Denied::Rate(7)));
        assert_eq!(ask(10), reader());
    }
}
