//! Pure: the bytes that are hashed, and the text of a token.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::{Key, Malformed, Scheme};

/// The fields of a message, in the order of the HMAC scheme.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `token_path` where there is one, else the path.
    pub path: &'a str,
    pub expires: &'a str,
    pub ip: Option<IpAddr>,
    /// `k=v&k=v`, sorted by key, values raw.
    pub params: &'a str,
}

/// A token read from a URL: its scheme, whether it says that it signs an
/// address, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub scheme: Scheme,
    pub ip_flag: bool,
    digest: Digest32,
}

/// Up to 32 bytes of digest; MD5 uses the first 16 and leaves the rest zero.
type Digest32 = [u8; 32];

const HMAC_PREFIX: &str = "HS256-";

impl Token {
    /// Tells the scheme by the token's length, never by its prefix alone: one
    /// digest in 4096 begins with `1-` without being flagged.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = text.trim_end_matches('=');
        let hmac = text.strip_prefix(HMAC_PREFIX);
        let (scheme, ip_flag, encoded) = match (text.len(), hmac) {
            (49, Some(digest)) => (Scheme::Hs256, false, digest),
            (51, Some(flagged)) if flagged.starts_with("1-") => {
                (Scheme::Hs256, true, &flagged[2..])
            }
            (43, _) => (Scheme::Sha256, false, text),
            (22, _) => (Scheme::Md5, false, text),
            _ => return Err(Malformed::TokenShape),
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| Malformed::TokenEncoding)?;
        let mut digest = Digest32::default();
        digest
            .get_mut(..bytes.len())
            .ok_or(Malformed::TokenShape)?
            .copy_from_slice(&bytes);
        Ok(Self {
            scheme,
            ip_flag,
            digest,
        })
    }

    /// The token that `key` makes for `message`.
    pub fn make(scheme: Scheme, key: &Key, message: Message<'_>) -> Self {
        let digest = match scheme {
            Scheme::Hs256 => hs256(key, message),
            Scheme::Sha256 => sha256(key, message, IpPlace::BeforeParams),
            Scheme::Md5 => md5(key, message),
        };
        Self {
            scheme,
            ip_flag: scheme == Scheme::Hs256 && message.ip.is_some(),
            digest,
        }
    }

    /// Whether `key` makes this token for `message`. Constant time in the digest.
    pub fn matches(&self, key: &Key, message: Message<'_>) -> bool {
        let same = |digest: Digest32| {
            bool::from(subtle::ConstantTimeEq::ct_eq(&self.digest[..], &digest[..]))
        };
        match self.scheme {
            Scheme::Hs256 => same(hs256(key, message)),
            Scheme::Md5 => same(md5(key, message)),
            Scheme::Sha256 => {
                same(sha256(key, message, IpPlace::BeforeParams))
                    // Two old signers put the address behind the parameters.
                    || (message.ip.is_some()
                        && !message.params.is_empty()
                        && same(sha256(key, message, IpPlace::AfterParams)))
            }
        }
    }

    /// The token as it stands in a URL.
    pub fn text(&self) -> String {
        match (self.scheme, self.ip_flag) {
            (Scheme::Hs256, true) => {
                format!("{HMAC_PREFIX}1-{}", URL_SAFE_NO_PAD.encode(self.digest))
            }
            (Scheme::Hs256, false) => {
                format!("{HMAC_PREFIX}{}", URL_SAFE_NO_PAD.encode(self.digest))
            }
            (Scheme::Sha256, _) => URL_SAFE_NO_PAD.encode(self.digest),
            (Scheme::Md5, _) => URL_SAFE_NO_PAD.encode(&self.digest[..16]),
        }
    }
}

fn hs256(key: &Key, message: Message<'_>) -> Digest32 {
    let mut mac = key.mac();
    mac.update(message.path.as_bytes());
    mac.update(message.expires.as_bytes());
    match message.ip.map(canonical_ip) {
        Some(IpAddr::V4(v4)) => mac.update(&v4.octets()),
        Some(IpAddr::V6(v6)) => {
            // The last 64 bits are zero: a host keeps its token when its
            // privacy address changes.
            let mut octets = v6.octets();
            octets[8..].fill(0);
            mac.update(&octets);
        }
        None => {}
    }
    mac.update(message.params.as_bytes());
    mac.finalize().into_bytes().into()
}

#[derive(Clone, Copy)]
enum IpPlace {
    BeforeParams,
    AfterParams,
}

fn sha256(key: &Key, message: Message<'_>, place: IpPlace) -> Digest32 {
    let ip = message.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let (third, fourth) = match place {
        IpPlace::BeforeParams => (ip.as_str(), message.params),
        IpPlace::AfterParams => (message.params, ip.as_str()),
    };
    let mut hash = Sha256::new();
    hash.update(key.secret());
    hash.update(message.path);
    hash.update(message.expires);
    hash.update(third);
    hash.update(fourth);
    hash.finalize().into()
}

fn md5(key: &Key, message: Message<'_>) -> Digest32 {
    let mut hash = Md5::new();
    hash.update(key.secret());
    hash.update(message.path);
    hash.update(message.expires);
    if let Some(ip) = message.ip {
        hash.update(ip.to_string());
    }
    let mut digest = Digest32::default();
    digest[..16].copy_from_slice(&hash.finalize());
    digest
}

/// An IPv4-mapped IPv6 address counts as IPv4.
pub fn canonical_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The addresses that a token for this client may sign: its own; for IPv4 also
/// the `.0` of its /24, and the IPv4-mapped form in which some signers see it.
pub fn signable_ips(client: IpAddr) -> Vec<IpAddr> {
    let client = canonical_ip(client);
    let mapped = match client {
        IpAddr::V4(v4) => Some(IpAddr::V6(v4.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    let network = network_24(client).filter(|network| *network != client);
    [Some(client), network, mapped]
        .into_iter()
        .flatten()
        .collect()
}

/// The `.0` of an IPv4 address's /24, which a token may sign instead.
fn network_24(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, 0)))
        }
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::policy::Scheme;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_matches_its_own_message_and_survives_its_text(
            path in "/[a-z/]{0,12}",
            expires in "[0-9]{1,10}",
            params in "[a-z=&]{0,12}",
            scheme in prop::sample::select(Scheme::ALL.to_vec()),
        ) {
            let key = Key::new("k", b"0123456789abcdef").expect("not empty");
            let message = Message { path: &path, expires: &expires, ip: None, params: &params };
            let token = Token::make(scheme, &key, message);
            prop_assert!(token.matches(&key, message));
            let read = Token::parse(&token.text());
            prop_assert!(read.is_ok_and(|read| read.matches(&key, message)));
            let longer = [path.as_str(), "x"].concat();
            let other = Message { path: &longer, ..message };
            prop_assert!(!token.matches(&key, other));
        }
    }
}
