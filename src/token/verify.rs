//! Pure: whether a request is let in, and if not, by which name.

use std::net::IpAddr;
use std::num::NonZeroU64;

use http::header::{HeaderName, HeaderValue};

use super::claim::Claim;
use super::message::Token;
use super::players::LeftOut;
use super::{Parameters, Policy, Refusal, Revoked, Scheme, Target};
use crate::path::escapes_nothing_unreserved;

/// ISO 3166 alpha-2, upper case.
pub type Country = [u8; 2];

/// A country by its two letters, in either case.
pub fn parse_country(text: &str) -> Option<Country> {
    let upper = text.to_ascii_uppercase();
    let letters = upper.bytes().all(|byte| byte.is_ascii_uppercase());
    upper.as_bytes().try_into().ok().filter(|_| letters)
}

/// What the edge knows besides a request's target.
#[derive(Clone, Copy)]
pub struct Evidence<'e> {
    /// Unix seconds, by the wall clock.
    pub now: u64,
    pub client_ip: IpAddr,
    /// `None`: unknown, which fails an allow list.
    pub country: Option<Country>,
    pub revoked: Option<&'e Revoked>,
}

/// What a good token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant<'p> {
    pub key: &'p str,
    /// The key's place in the policy's list.
    pub key_index: usize,
    pub token: Token,
    /// Bytes per second for this response, where the token limits it.
    pub limit: Option<NonZeroU64>,
    /// What players have added, and the token has not signed.
    pub left_out: LeftOut,
    /// Header lines that it sets on an answer that a store of S3's gives.
    pub answer: Vec<(HeaderName, HeaderValue)>,
}

impl Policy {
    /// Decides on one request. The order of the checks is part of the contract.
    pub fn verify(
        &self,
        target: &Target<'_>,
        evidence: &Evidence<'_>,
    ) -> Result<Grant<'_>, Refusal> {
        let parameters = Parameters::parse(target).map_err(Refusal::Malformed)?;
        let claim = Claim::read(self, &parameters)?;
        if evidence.now > claim.expires {
            return Err(Refusal::Expired);
        }
        if claim.expires > evidence.now.saturating_add(self.max_lifetime.as_secs()) {
            return Err(Refusal::ExpiresTooFar);
        }
        let (reading, (key_index, key)) = claim
            .try_messages(self, target, evidence, |message| {
                let mut keys = self.keys.iter().enumerate();
                keys.find(|(_, key)| claim.token.matches(key, message))
            })
            .ok_or(Refusal::BadSignature)?;
        // The vendor's edge compares the decoded path alone. Its signers take
        // `token_path` as the caller has it, and a backend has it out of a URL.
        let covers = |prefix: &str| {
            let encoded = || self.encoded(target);
            // Of an encoded one whole segments alone: it could end in an escape.
            covers(prefix, target.path.as_str(), self.raw_prefix)
                || encoded().is_some_and(|path| covers(prefix, path, false))
        };
        if !claim.token_path(reading).is_none_or(covers) {
            return Err(Refusal::WrongPath);
        }
        let revoked = |revoked: &Revoked| {
            revoked.covers(&claim.token, &key.name, target.path.as_str(), claim.expires)
        };
        if evidence.revoked.is_some_and(revoked) {
            return Err(Refusal::Revoked);
        }
        if self.validate_ip && claim.token.scheme == Scheme::Hs256 && !claim.token.ip_flag {
            return Err(Refusal::WrongIp);
        }
        if !claim.lets_in(evidence.country, reading) {
            return Err(Refusal::CountryBlocked);
        }
        Ok(Grant {
            key: &key.name,
            key_index,
            token: claim.token,
            limit: claim.limit,
            left_out: claim.left_out(reading),
            answer: claim.answer(reading),
        })
    }

    /// The path as it is encoded, where a token may have signed that: five of
    /// the vendor's seven signers do.
    pub(super) fn encoded<'t>(&self, target: &Target<'t>) -> Option<&'t str> {
        let raw = Some(target.raw_path).filter(|raw| *raw != target.path.as_str());
        raw.filter(|raw| self.encoded_path && escapes_nothing_unreserved(raw))
    }
}

/// `raw`: a name that only begins so counts, too.
fn covers(prefix: &str, path: &str, raw: bool) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else {
        return false;
    };
    raw || prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::sign::{Options, sign};
    use crate::token::{Key, Scheme};

    use proptest::prelude::*;

    proptest! {
        /// Whatever is signed is let in; with one character changed it is not.
        #[test]
        fn a_signed_url_is_let_in_and_a_changed_one_is_not(
            path in "/[a-z0-9]{1,8}/[a-z0-9]{1,8}\\.ts",
            scheme in prop::sample::select(vec![Scheme::Hs256, Scheme::Sha256]),
            ttl in 1u64..100_000,
            at in any::<prop::sample::Index>(),
            other in "[a-zA-Z0-9/=&._-]",
        ) {
            const NOW: u64 = 1_800_000_000;
            let key = Key::new("k", b"0123456789abcdef").expect("not empty");
            let url = sign(&path, &key, scheme, NOW + ttl, &Options::default()).expect("signs");
            let policy = Policy::new(vec![key]);
            let evidence = Evidence { now: NOW, client_ip: [192, 0, 2, 1].into(), country: None, revoked: None };
            let let_in = |url: &str| {
                Target::parse(url).is_ok_and(|target| policy.verify(&target, &evidence).is_ok())
            };
            prop_assert!(let_in(&url), "{}", url);
            let at = at.index(url.len());
            let mut changed = url.clone();
            changed.replace_range(at..=at, &other);
            // A trailing base64 digit has bits that no decoder may ignore.
            prop_assert_eq!(let_in(&changed), changed == url, "{} from {}", changed, url);
        }
    }
}
