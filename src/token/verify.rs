//! Pure: whether a request is let in, and if not, by which name.

use std::net::IpAddr;
use std::num::NonZeroU64;

use super::carrier::is_carrier;
use super::message::{Message, Token, signable_ips};
use super::parameters::{Carrier, Parameter};
use super::{Key, Malformed, Parameters, Policy, Refusal, Revoked, Scheme, Target};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant<'p> {
    pub key: &'p str,
    /// The key's place in the policy's list.
    pub key_index: usize,
    pub token: Token,
    /// Bytes per second for this response, where the token limits it.
    pub limit: Option<NonZeroU64>,
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
        let (key_index, key) = self
            .matching_key(&claim, target, evidence)
            .ok_or(Refusal::BadSignature)?;
        if !self.covers(&claim, target.path.as_str()) {
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
        if !claim.lets_in(evidence.country) {
            return Err(Refusal::CountryBlocked);
        }
        Ok(Grant {
            key: &key.name,
            key_index,
            token: claim.token,
            limit: claim.limit,
        })
    }

    fn matching_key(
        &self,
        claim: &Claim<'_>,
        target: &Target<'_>,
        evidence: &Evidence<'_>,
    ) -> Option<(usize, &Key)> {
        if claim.token.scheme == Scheme::Md5 && claim.beyond_md5 {
            return None;
        }
        // The `1-` flag stands outside the MAC: the zone decides whether an
        // address is demanded, the flag only says which message to try.
        let (without, with) = match (claim.token.scheme, claim.token.ip_flag, self.validate_ip) {
            (Scheme::Hs256, true, _) => (false, true),
            (Scheme::Hs256, false, _) => (true, false),
            (_, _, true) => (false, true),
            (_, _, false) => (true, true),
        };
        // Most tokens match without an address: none is rendered before that.
        let ips = || {
            let signable = || signable_ips(evidence.client_ip);
            let with = std::iter::once_with(signable).take(usize::from(with));
            without
                .then_some(None)
                .into_iter()
                .chain(with.flatten().map(Some))
        };
        let decoded = target.path.as_str();
        // Five of the vendor's seven signers hash the path as it is encoded.
        let raw = Some(target.raw_path).filter(|raw| *raw != decoded);
        let paths = match claim.token_path {
            Some(token_path) => [Some(token_path), None],
            None => [Some(decoded), raw],
        };
        for params in &claim.params {
            for path in paths.into_iter().flatten() {
                for ip in ips() {
                    let message = Message {
                        path,
                        expires: claim.expires_text,
                        ip,
                        params,
                    };
                    let mut keys = self.keys.iter().enumerate();
                    let found = keys.find(|(_, key)| claim.token.matches(key, message));
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    fn covers(&self, claim: &Claim<'_>, path: &str) -> bool {
        let Some(prefix) = claim.token_path else {
            return true;
        };
        let Some(rest) = path.strip_prefix(prefix) else {
            return false;
        };
        self.raw_prefix || prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')
    }
}

/// A token and what it says of itself, before anybody believes it.
struct Claim<'a> {
    token: Token,
    expires: u64,
    expires_text: &'a str,
    token_path: Option<&'a str>,
    /// The readings of PARAMS to try: `+` as space first, then as plus.
    params: Vec<String>,
    limit: Option<NonZeroU64>,
    countries: Option<&'a str>,
    countries_blocked: Option<&'a str>,
    /// Carries something that an MD5 token could not have signed.
    beyond_md5: bool,
}

impl<'a> Claim<'a> {
    fn read(policy: &Policy, parameters: &'a Parameters<'a>) -> Result<Self, Refusal> {
        let text = parameters.token().ok_or(Refusal::Missing)?;
        let token = Token::parse(text).map_err(Refusal::Malformed)?;
        if !policy.schemes.contains(&token.scheme) {
            return Err(Refusal::SchemeNotAllowed);
        }
        Self::read_parameters(policy, token, parameters).map_err(Refusal::Malformed)
    }

    fn read_parameters(
        policy: &Policy,
        token: Token,
        parameters: &'a Parameters<'a>,
    ) -> Result<Self, Malformed> {
        let expires_text = parameters.get("expires").ok_or(Malformed::NoExpires)?;
        let expires = parse_expires(expires_text).ok_or(Malformed::ExpiresForm)?;
        let token_path = parameters.get("token_path");
        if token_path.is_some_and(|path| !path.starts_with('/')) {
            return Err(Malformed::TokenPath);
        }
        let ignore = parameters.get("token_ignore_params") == Some("true");
        let honoured = |name: &str| parameters.get(name).filter(|_| !ignore);
        let limit = match honoured("limit") {
            Some(text) => Some(parse_limit(text).ok_or(Malformed::Limit)?),
            None => None,
        };
        let signed = signed(parameters, ignore);
        // MD5 never signs parameters, so a folded `&` could not change its message.
        if !policy.allow_ampersand
            && token.scheme != Scheme::Md5
            && signed.iter().any(|p| p.value.contains('&'))
        {
            return Err(Malformed::Ampersand);
        }
        let countries = honoured("token_countries");
        let countries_blocked = honoured("token_countries_blocked");
        let beyond_md5 = parameters.carrier == Carrier::Path
            || ignore
            || token_path.or(countries).or(countries_blocked).is_some()
            || limit.is_some();
        Ok(Self {
            token,
            expires,
            expires_text,
            token_path,
            params: readings(&signed),
            limit,
            countries,
            countries_blocked,
            beyond_md5,
        })
    }

    fn lets_in(&self, country: Option<Country>) -> bool {
        let listed = |list: &str| {
            let listed = |code: Country| {
                list.split(',')
                    .any(|entry| entry.trim().as_bytes().eq_ignore_ascii_case(&code))
            };
            country.is_some_and(listed)
        };
        !self.countries_blocked.is_some_and(listed) && self.countries.is_none_or(listed)
    }
}

/// Exactly ten digits without a leading zero: no other split of the hashed
/// digits can then be read as path and expiry.
pub fn parse_expires(text: &str) -> Option<u64> {
    let well_formed =
        text.len() == 10 && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    if well_formed { text.parse().ok() } else { None }
}

/// `limit` counts 1,000 bytes per second.
fn parse_limit(text: &str) -> Option<NonZeroU64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousands: u64 = text.parse().ok()?;
    NonZeroU64::new(thousands.checked_mul(1_000)?)
}

fn signed<'s, 'a>(parameters: &'s Parameters<'a>, ignore: bool) -> Vec<&'s Parameter<'a>> {
    let signs = |p: &&Parameter<'a>| {
        if ignore {
            matches!(p.name.as_ref(), "token_ignore_params" | "token_path")
        } else {
            !is_carrier(&p.name)
        }
    };
    let mut signed: Vec<&Parameter<'a>> = parameters.iter().filter(signs).collect();
    signed.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    signed
}

/// PARAMS of the message that these parameters ask for; a `+` stays a plus.
pub fn signed_parameters(parameters: &Parameters<'_>) -> String {
    let ignore = parameters.get("token_ignore_params") == Some("true");
    let signed = signed(parameters, ignore);
    join_parameters(signed.iter().map(|p| (p.name.as_ref(), p.value.as_ref())))
}

fn readings(signed: &[&Parameter<'_>]) -> Vec<String> {
    let plain = join_parameters(signed.iter().map(|p| (p.name.as_ref(), p.value.as_ref())));
    if signed.iter().all(|p| p.with_spaces.is_none()) {
        return vec![plain];
    }
    let spaced =
        |p: &'_ &&Parameter<'_>| p.with_spaces.clone().unwrap_or_else(|| p.value.to_string());
    let spaced: Vec<String> = signed.iter().map(|p| spaced(&p)).collect();
    let spaced = signed
        .iter()
        .zip(&spaced)
        .map(|(p, value)| (p.name.as_ref(), value.as_str()));
    vec![join_parameters(spaced), plain]
}

/// PARAMS of the message: `k=v&k=v`, values raw.
pub(super) fn join_parameters<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::sign::{Options, sign};

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
