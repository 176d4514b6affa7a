//! URL tokens: what a signed URL looks like, what it signs, and whether the
//! edge lets it in.
//!
//! [`Target::parse`] takes a request target apart, [`Policy::verify`] decides,
//! [`sign::sign`] makes a URL. Nothing here knows of sockets, zones or caches.

mod answer;
pub mod carrier;
mod claim;
pub mod message;
pub mod parameters;
pub mod players;
pub mod policy;
mod reading;
mod revoked;
pub mod sign;
pub mod target;
mod verify;

pub use claim::{parse_expires, signed_parameters};
pub use message::Token;
pub use parameters::Parameters;
pub use players::LeftOut;
pub use policy::{Key, Policy, Scheme};
pub use revoked::{Fingerprint, Revoked};
pub use target::Target;
pub use verify::{Country, Evidence, Grant, parse_country};

use crate::path::BadPath;

/// Why a request is not let in. Each name is a log field, a metric label, the
/// `reason` of `warren explain` and a row of `docs/reference/tokens.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The target has no canonical path.
    BadPath(BadPath),
    /// The zone demands a token and there is none.
    Missing,
    /// The token or its parameters are not well-formed.
    Malformed(Malformed),
    /// The token's shape belongs to a scheme that the zone does not allow.
    SchemeNotAllowed,
    /// `expires` lies in the past.
    Expired,
    /// `expires` lies beyond the zone's cap.
    ExpiresTooFar,
    /// No key of the zone makes this token for this request.
    BadSignature,
    /// The path lies outside `token_path`.
    WrongPath,
    /// The operator has revoked it, its key, or tokens for this path.
    Revoked,
    /// The zone demands a signed address and the token signs none.
    WrongIp,
    /// The viewer's country is blocked, not allowed, or unknown to an allow list.
    CountryBlocked,
}

impl Refusal {
    /// Every name, for docs and metric initialisation.
    pub const NAMES: [&'static str; 11] = [
        "bad_path",
        "missing",
        "malformed",
        "scheme_not_allowed",
        "expired",
        "expires_too_far",
        "bad_signature",
        "wrong_path",
        "revoked",
        "wrong_ip",
        "country_blocked",
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Refusal::BadPath(_) => Self::NAMES[0],
            Refusal::Missing => Self::NAMES[1],
            Refusal::Malformed(_) => Self::NAMES[2],
            Refusal::SchemeNotAllowed => Self::NAMES[3],
            Refusal::Expired => Self::NAMES[4],
            Refusal::ExpiresTooFar => Self::NAMES[5],
            Refusal::BadSignature => Self::NAMES[6],
            Refusal::WrongPath => Self::NAMES[7],
            Refusal::Revoked => Self::NAMES[8],
            Refusal::WrongIp => Self::NAMES[9],
            Refusal::CountryBlocked => Self::NAMES[10],
        }
    }

    /// One sentence for the person who asks why, with the finer reason.
    pub fn detail(self) -> String {
        match self {
            Refusal::BadPath(why) => why.to_string(),
            Refusal::Malformed(why) => why.to_string(),
            Refusal::Missing => "the zone demands a token and the URL has none".into(),
            Refusal::SchemeNotAllowed => {
                "the token's scheme is not among the zone's `schemes`".into()
            }
            Refusal::Expired => "`expires` lies in the past".into(),
            Refusal::ExpiresTooFar => "`expires` lies beyond the zone's `max_lifetime`".into(),
            Refusal::BadSignature => {
                "no live key makes this token for this path, expiry, address and parameters".into()
            }
            Refusal::WrongPath => "the path lies outside `token_path`".into(),
            Refusal::Revoked => {
                "this token, its key, or tokens for this path have been revoked".into()
            }
            Refusal::WrongIp => {
                "the zone demands a signed client address and the token has none".into()
            }
            Refusal::CountryBlocked => "the viewer's country is not let in by this token".into(),
        }
    }
}

/// What exactly is not well-formed; shown by `explain`, never to a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("more than one token carrier stands in the URL")]
    TwoCarriers,
    #[error("the token has none of the known shapes")]
    TokenShape,
    #[error("the token is not canonical base64url")]
    TokenEncoding,
    #[error("`expires` is missing")]
    NoExpires,
    #[error("`expires` is not ten digits of Unix seconds without a leading zero")]
    ExpiresForm,
    #[error("a parameter stands twice")]
    Duplicate,
    #[error("a parameter has no \"=\" or a name outside [A-Za-z_][A-Za-z0-9_.-]*")]
    ParameterName,
    #[error("a parameter holds a bad escape, a control byte or invalid UTF-8")]
    ParameterValue,
    #[error("a signed value holds an encoded \"&\"")]
    Ampersand,
    #[error("`token_path` does not begin with \"/\", or cannot be told from the path")]
    TokenPath,
    #[error("`limit` is not a positive whole number")]
    Limit,
}
