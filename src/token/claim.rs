//! Pure: what a token says of itself, and the messages that it may have signed.

use std::num::NonZeroU64;
use std::ops::ControlFlow;

use http::header::{HeaderName, HeaderValue};

use super::carrier::is_carrier;
use super::message::{Message, Token, signable_ips};
use super::parameters::{Carrier, Parameter};
use super::players::{LeftOut, may_be_left_out};
use super::{Country, Evidence, Malformed, Parameters, Policy, Refusal, Scheme, Target, answer};

/// A token and what it says of itself, before anybody believes it.
pub(super) struct Claim<'a> {
    pub token: Token,
    pub expires: u64,
    pub limit: Option<NonZeroU64>,
    expires_text: &'a str,
    parameters: &'a Parameters<'a>,
    /// Sorted by name, in byte order.
    signed: Vec<&'a Parameter<'a>>,
    /// The token says that it signs no parameters but its own.
    ignore: bool,
    /// Carries something that an MD5 token could not have signed.
    beyond_md5: bool,
    /// A value that need not be signed holds an `&`, which a signed one may not.
    only_without_players: bool,
}

/// One way to read what is signed. What is honoured is read the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Without what players add.
    without_players: bool,
    /// Names in the order of [`collated`].
    collated: bool,
    /// A raw `+` is a space.
    spaced: bool,
}

impl Reading {
    /// In the order in which they are tried. A URL that holds nothing that
    /// players add has 4 at the most, any other 6.
    fn all() -> impl Iterator<Item = Self> {
        (0u8..8).map(|number| Self {
            without_players: number & 4 != 0,
            collated: number & 2 != 0,
            // As a space first, then as a plus.
            spaced: number & 1 == 0,
        })
    }
}

impl<'a> Claim<'a> {
    pub fn read(policy: &Policy, parameters: &'a Parameters<'a>) -> Result<Self, Refusal> {
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
        let checked = !policy.allow_ampersand && token.scheme != Scheme::Md5;
        let folds = |p: &&&Parameter<'_>| checked && p.value.contains('&');
        let must_be_signed = |p: &&&Parameter<'_>| !may_be_left_out(&p.name, &p.value);
        if signed.iter().filter(must_be_signed).any(|p| folds(&p)) {
            return Err(Malformed::Ampersand);
        }
        let restricts = |name: &str| honoured(name).is_some();
        let beyond_md5 = parameters.carrier == Carrier::Path
            || ignore
            || token_path.is_some()
            || restricts("token_countries")
            || restricts("token_countries_blocked")
            || limit.is_some();
        Ok(Self {
            token,
            expires,
            limit,
            expires_text,
            parameters,
            only_without_players: signed.iter().any(|p| folds(&p)),
            signed,
            ignore,
            beyond_md5,
        })
    }

    /// Hands over each message that the token may have signed, most likely
    /// first, until one is taken.
    pub fn try_messages<T>(
        &self,
        policy: &Policy,
        target: &Target<'_>,
        evidence: &Evidence<'_>,
        mut fits: impl FnMut(Message<'_>) -> Option<T>,
    ) -> Option<(Reading, T)> {
        if self.token.scheme == Scheme::Md5 && self.beyond_md5 {
            return None;
        }
        for reading in self.readings() {
            let params = self.params(reading);
            let tried = self.paths(reading, policy, target).try_for_each(|path| {
                let message = |ip| Message {
                    path,
                    expires: self.expires_text,
                    ip,
                    params: &params,
                };
                let mut ips = self.ips(policy, evidence);
                match ips.find_map(|ip| fits(message(ip))) {
                    Some(taken) => ControlFlow::Break(taken),
                    None => ControlFlow::Continue(()),
                }
            });
            if let ControlFlow::Break(taken) = tried {
                return Some((reading, taken));
            }
        }
        None
    }

    /// Those that differ for this URL.
    fn readings(&self) -> impl Iterator<Item = Reading> {
        let params = match self.token.scheme {
            Scheme::Md5 => &[][..],
            Scheme::Hs256 | Scheme::Sha256 => &self.signed,
        };
        let is_players = |p: &&&'a Parameter<'a>| may_be_left_out(&p.name, &p.value);
        let order = |p: &&'a Parameter<'a>| p.name.bytes().map(collated);
        let rest = params.iter().filter(|p| !is_players(p));
        let orders = !rest.is_sorted_by(|a, b| order(a).le(order(b)));
        let spaces = params.iter().any(|p| p.with_spaces.is_some());
        let players = params.iter().any(|p| is_players(&p));
        let only_without = self.only_without_players;
        Reading::all().filter(move |reading| {
            // No signer in the field sorts so what players add.
            let both = players && reading.collated;
            let fits = match reading.without_players {
                true => players,
                false => !(only_without || both),
            };
            fits && (orders || !reading.collated) && (spaces || !reading.spaced)
        })
    }

    /// SIGPATH of the message, in each spelling.
    fn paths<'p>(
        &'p self,
        reading: Reading,
        policy: &Policy,
        target: &'p Target<'_>,
    ) -> impl Iterator<Item = &'p str> {
        let decoded = target.path.as_str();
        let raw = policy.encoded(target);
        let paths = match self.token_path(reading) {
            Some(token_path) => [Some(token_path), None],
            None => [Some(decoded), raw],
        };
        paths.into_iter().flatten()
    }

    /// The addresses that the message may hold. Most tokens match without one:
    /// none is rendered before that.
    fn ips(
        &self,
        policy: &Policy,
        evidence: &Evidence<'_>,
    ) -> impl Iterator<Item = Option<std::net::IpAddr>> {
        // The `1-` flag stands outside the MAC: the zone decides whether an
        // address is demanded, the flag only says which message to try.
        let flags = (self.token.scheme, self.token.ip_flag, policy.validate_ip);
        let (without, with) = match flags {
            (Scheme::Hs256, true, _) => (false, true),
            (Scheme::Hs256, false, _) => (true, false),
            (_, _, true) => (false, true),
            (_, _, false) => (true, true),
        };
        let client_ip = evidence.client_ip;
        let signable = std::iter::once_with(move || signable_ips(client_ip));
        let with = signable.take(usize::from(with)).flatten().map(Some);
        without.then_some(None).into_iter().chain(with)
    }

    /// PARAMS of the message.
    fn params(&self, reading: Reading) -> String {
        let stays =
            |p: &&&Parameter<'_>| !reading.without_players || !may_be_left_out(&p.name, &p.value);
        let pair = |p: &&'a Parameter<'a>| (&*p.name, p.read(reading.spaced));
        let signed = self.signed.iter().filter(stays);
        if !reading.collated {
            return join_parameters(signed.map(pair));
        }
        let mut signed: Vec<_> = signed.collect();
        signed.sort_by(|a, b| {
            a.name
                .bytes()
                .map(collated)
                .cmp(b.name.bytes().map(collated))
        });
        join_parameters(signed.into_iter().map(pair))
    }

    /// What a reading leaves out.
    pub fn left_out(&self, reading: Reading) -> LeftOut {
        let all = self.signed.iter().filter(|_| reading.without_players);
        all.fold(LeftOut::NONE, |left, p| left.with(&p.name, &p.value))
    }

    /// What it sets on the answer; an MD5 token has signed no such thing.
    pub fn answer(&self, reading: Reading) -> Vec<(HeaderName, HeaderValue)> {
        let asks = |p: &&Parameter<'_>| p.name.starts_with(answer::PREFIX);
        let signed = self.signed.iter().copied().filter(asks);
        let signed = signed.filter(|_| self.token.scheme != Scheme::Md5);
        signed
            .filter_map(|p| answer::line(&p.name, p.read(reading.spaced)))
            .collect()
    }

    pub fn token_path(&self, reading: Reading) -> Option<&str> {
        self.value("token_path", reading)
    }

    /// Whether the token lets viewers of a country in.
    pub fn lets_in(&self, country: Option<Country>, reading: Reading) -> bool {
        let value = |name| self.value(name, reading).filter(|_| !self.ignore);
        let listed = |list: &str| {
            let listed = |code: Country| {
                list.split(',')
                    .any(|entry| entry.trim().as_bytes().eq_ignore_ascii_case(&code))
            };
            country.is_some_and(listed)
        };
        !value("token_countries_blocked").is_some_and(listed)
            && value("token_countries").is_none_or(listed)
    }

    fn value(&self, name: &str, reading: Reading) -> Option<&str> {
        let found = self.parameters.iter().find(|p| p.name == name);
        found.map(|p| p.read(reading.spaced))
    }
}

/// A byte's place in the root order of Unicode's collation (CLDR), by which
/// Node's `localeCompare` and so the vendor's Node signer sorts names: marks,
/// digits, and letters in either case.
fn collated(byte: u8) -> u8 {
    match byte {
        b'_' => 0,
        b'-' => 1,
        b'.' => 2,
        other => other.to_ascii_lowercase(),
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
    let signs = |p: &&Parameter<'a>| match ignore {
        true => matches!(p.name.as_ref(), "token_ignore_params" | "token_path"),
        false => !is_carrier(&p.name),
    };
    let mut signed: Vec<&Parameter<'a>> = parameters.iter().filter(signs).collect();
    signed.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    signed
}

/// PARAMS of the message that these parameters ask for, but for what was left
/// out; a `+` stays a plus.
pub fn signed_parameters(parameters: &Parameters<'_>, left_out: LeftOut) -> String {
    let ignore = parameters.get("token_ignore_params") == Some("true");
    let mut signed = signed(parameters, ignore);
    let stays = |p: &&Parameter<'_>| left_out.is_empty() || !may_be_left_out(&p.name, &p.value);
    signed.retain(stays);
    join_parameters(signed.iter().map(|p| (p.name.as_ref(), p.value.as_ref())))
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
    use crate::token::Key;

    const NOW: u64 = 1_800_000_000;
    const QUERY: &str = "expires=1800003600&token_path=%2Fv%2F";

    fn policy() -> Policy {
        Policy::new(vec![Key::new("k", b"0123456789abcdef").expect("not empty")])
    }

    /// A token over these parameters, for everything below `/v/`.
    fn token(scheme: Scheme, params: &str) -> String {
        let message = Message {
            path: "/v/",
            expires: "1800003600",
            ip: None,
            params,
        };
        Token::make(scheme, &policy().keys[0], message).text()
    }

    fn verdict(target: &str) -> Result<Vec<&'static str>, &'static str> {
        let evidence = Evidence {
            now: NOW,
            client_ip: [192, 0, 2, 1].into(),
            country: Some(*b"FR"),
            revoked: None,
        };
        let target = Target::parse(target).expect("a target");
        let policy = policy();
        let decided = policy.verify(&target, &evidence);
        let names = |grant: crate::token::Grant<'_>| grant.left_out.names().collect();
        decided.map(names).map_err(Refusal::name)
    }

    #[test]
    fn what_players_add_need_not_be_signed_and_nothing_else_may_be_added() {
        let bad = Err("bad_signature");
        let table: &[(&str, Result<&[&str], &str>)] = &[
            ("", Ok(&[])),
            ("&_HLS_msn=7&_HLS_part=0", Ok(&["_HLS_msn", "_HLS_part"])),
            ("&_HLS_skip=v2", Ok(&["_HLS_skip"])),
            (
                "&_HLS_skip=YES&CMCD=sid%3D%22a%26b%22",
                Ok(&["_HLS_skip", "CMCD"]),
            ),
            (
                "&_HLS_pathway=a&_HLS_throughput=5",
                Ok(&["_HLS_pathway", "_HLS_throughput"]),
            ),
            ("&%5FHLS_msn=7", Ok(&["_HLS_msn"])),
            ("&CMCD=", Ok(&["CMCD"])),
            ("&_HLS_msn=-1", bad),
            ("&_HLS_msn=", bad),
            ("&_HLS_skip=NO", bad),
            ("&_hls_msn=7", bad),
            ("&cmcd=x", bad),
            ("&_HLS_primary_id=x", bad),
            ("&CMCD=x&limit=9", bad),
            ("&CMCD=x&y=1", bad),
            ("&CMCD=x&CMCD=y", Err("malformed")),
            ("&CMCD=x&cmcd=y", Err("malformed")),
            ("&x=a%26b", Err("malformed")),
        ];
        for scheme in [Scheme::Hs256, Scheme::Sha256] {
            let token = token(scheme, "token_path=/v/");
            for (added, want) in table {
                let query = format!("/v/i.m3u8?token={token}&{QUERY}{added}");
                let want = want.map(<[&str]>::to_vec);
                assert_eq!(verdict(&query), want, "{query}");
                let path = format!(
                    "/bcdn_token={token}&{QUERY}/v/i.m3u8?{}",
                    added.trim_start_matches('&')
                );
                assert_eq!(verdict(&path), want, "{path}");
            }
        }
    }

    #[test]
    fn what_players_add_counts_where_it_was_signed() {
        let token = token(Scheme::Hs256, "CMCD=x&_HLS_msn=7&token_path=/v/");
        let of = |added: &str| verdict(&format!("/v/i.m3u8?token={token}&{QUERY}{added}"));
        assert_eq!(of("&_HLS_msn=7&CMCD=x"), Ok(vec![]));
        for added in ["", "&CMCD=x", "&_HLS_msn=8&CMCD=x", "&_HLS_msn=7&CMCD=y"] {
            assert_eq!(of(added), Err("bad_signature"), "{added}");
        }
        // An `&` within a value stands for none between two.
        let token = self::token(Scheme::Hs256, "CMCD=x&limit=5&token_path=/v/");
        let folded = format!("/v/a.ts?token={token}&{QUERY}&CMCD=x%26limit%3D5");
        assert_eq!(verdict(&folded), Err("bad_signature"));
    }

    #[test]
    fn names_are_read_in_the_order_of_collation_too() {
        let token = token(Scheme::Hs256, "a=1&B=2&token_path=/v/");
        let of = |added: &str| verdict(&format!("/v/a.ts?token={token}&{QUERY}{added}"));
        assert_eq!(of("&B=2&a=1"), Ok(vec![]));
        assert_eq!(of("&B=2&a=1&_HLS_msn=1"), Ok(vec!["_HLS_msn"]));
        assert_eq!(of("&B=1&a=2"), Err("bad_signature"));
        // As Node 20 sorts them: bytes have the underscore behind the digits.
        let token = self::token(Scheme::Hs256, "a_b=1&a-b=2&a.b=3&a1=4&a2=5&token_path=/v/");
        let target = format!("/v/a.ts?token={token}&{QUERY}&a1=4&a2=5&a-b=2&a.b=3&a_b=1");
        assert_eq!(verdict(&target), Ok(vec![]));
    }

    #[test]
    fn what_is_honoured_is_what_was_signed() {
        let params = "token_countries_blocked=CH, FR&token_path=/v/";
        let token = token(Scheme::Hs256, params);
        for blocked in ["CH,%20FR", "CH,+FR"] {
            let target = format!("/v/a.ts?token={token}&{QUERY}&token_countries_blocked={blocked}");
            assert_eq!(verdict(&target), Err("country_blocked"), "{target}");
        }
    }

    #[test]
    fn a_refusal_tries_twice_as_many_messages_for_what_players_add_and_no_more() {
        let tried = |added: &str| {
            let token = format!("HS256-{}", "A".repeat(43));
            let text = format!("/v/%C3%A9.ts?token={token}&expires=1800003600{added}");
            let target = Target::parse(&text).expect("a target");
            let parameters = Parameters::parse(&target).expect("sound");
            let policy = policy();
            let claim = Claim::read(&policy, &parameters);
            let claim = claim.unwrap_or_else(|refusal| panic!("{refusal:?}"));
            let evidence = Evidence {
                now: NOW,
                client_ip: [192, 0, 2, 1].into(),
                country: None,
                revoked: None,
            };
            let mut count = 0;
            let none = claim.try_messages(&policy, &target, &evidence, |_| {
                count += 1;
                None::<()>
            });
            assert!(none.is_none());
            count
        };
        assert_eq!((tried(""), tried("&CMCD=x&_HLS_msn=1")), (2, 4));
        assert_eq!((tried("&a=1&B=b+c"), tried("&a=1&B=b+c&CMCD=x+y")), (8, 12));
    }

    #[test]
    fn a_folder_of_an_encoded_path_ends_with_a_segment() {
        let mut policy = policy();
        policy.raw_prefix = true;
        let of = |folder: &str, path: &str| {
            let message = Message {
                path: folder,
                expires: "1800003600",
                ip: None,
                params: &format!("token_path={folder}"),
            };
            let token = Token::make(Scheme::Hs256, &policy.keys[0], message).text();
            let folder = crate::path::encode_component(folder);
            let target = format!("{path}?token={token}&expires=1800003600&token_path={folder}");
            let target = Target::parse(&target).expect("a target");
            let evidence = Evidence {
                now: NOW,
                client_ip: [192, 0, 2, 1].into(),
                country: None,
                revoked: None,
            };
            policy.verify(&target, &evidence).is_ok()
        };
        assert!(of("/a b/", "/a%20b/x") && of("/a%20b/", "/a%20b/x") && of("/a%20b", "/a%20b/x"));
        assert!(of("/a", "/ab/x"), "as raw_prefix says");
        for folder in ["/a%", "/a%2", "/a%20"] {
            assert!(!of(folder, "/a%20b/x"), "{folder}");
        }
        assert!(!of("/%C3", "/%C3%A9/x"));
    }
}
