//! Pure: every "no" to a viewer, with its name and its status.

use crate::path::BadPath;
use crate::token::Refusal;
use crate::zone::AccessRefusal;

/// Why a request is turned away: before anything is looked up, or because there
/// is no place for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No zone has this host name.
    UnknownHost,
    /// Host is missing, doubled or unreadable.
    BadHost,
    /// The target is longer than the node allows.
    TargetTooLong,
    /// The zone takes no such method.
    Method,
    /// The request has been through this node already.
    Loop,
    Access(AccessRefusal),
    Token(Refusal),
    /// It is no request.
    Head(BadHead),
    /// As many wait for this object as may.
    TooManyRiders,
    /// The viewer's address has begun as many pulls that are held back as it may.
    TooManyHeld,
    /// The viewer's address has begun as many answers that are not stored as it may.
    TooManyPasses,
    /// The viewer's address has half of an origin's places.
    TooManyPulls,
    /// The node's streams wait for their viewers or for the origin, as many as may.
    TooManyStreams,
    /// The same of one address.
    TooManyStreamsPerIp,
    /// The viewer wants it from memory or not at all.
    OnlyIfCached,
    /// The operator has taken it down.
    TakenDown,
    /// The path names the bucket, or what else its store does.
    NotAnObject,
    /// The zone wants its viewers to come over TLS.
    NotHttps,
}

impl Refused {
    /// The log field, the metric label and the row of `docs/reference/tokens.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Refused::UnknownHost => "unknown_host",
            Refused::BadHost => "bad_host",
            Refused::TargetTooLong => "target_too_long",
            Refused::Method => "method_not_allowed",
            Refused::Loop => "loop",
            Refused::Access(refusal) => refusal.name(),
            Refused::Token(refusal) => refusal.name(),
            Refused::Head(bad) => bad.name(),
            Refused::TooManyRiders => "max_riders",
            Refused::TooManyHeld => "max_held_per_ip",
            Refused::TooManyPasses => "max_passes_per_ip",
            Refused::TooManyPulls => "max_pulls_per_ip",
            Refused::TooManyStreams => "max_streams",
            Refused::TooManyStreamsPerIp => "max_streams_per_ip",
            Refused::OnlyIfCached => "only_if_cached",
            Refused::TakenDown => "taken_down",
            Refused::NotAnObject => "not_an_object",
            Refused::NotHttps => "not_https",
        }
    }

    /// Whether time mends it: it is 503 then, and says when to ask again.
    pub const fn heals(self) -> bool {
        match self {
            Refused::TooManyRiders
            | Refused::TooManyHeld
            | Refused::TooManyPasses
            | Refused::TooManyPulls
            | Refused::TooManyStreams
            | Refused::TooManyStreamsPerIp => true,
            Refused::Head(bad) => bad.heals(),
            Refused::UnknownHost
            | Refused::BadHost
            | Refused::TargetTooLong
            | Refused::Method
            | Refused::Loop
            | Refused::Access(_)
            | Refused::Token(_)
            | Refused::OnlyIfCached
            | Refused::TakenDown
            | Refused::NotAnObject
            | Refused::NotHttps => false,
        }
    }

    pub const fn status(self) -> u16 {
        match self {
            Refused::UnknownHost | Refused::NotAnObject => 404,
            Refused::BadHost | Refused::Token(Refusal::BadPath(_)) => 400,
            Refused::TargetTooLong => 414,
            Refused::Method => 405,
            Refused::Loop => 508,
            Refused::Access(_) | Refused::Token(_) => 403,
            Refused::Head(bad) => bad.status(),
            Refused::TooManyRiders
            | Refused::TooManyHeld
            | Refused::TooManyPasses
            | Refused::TooManyPulls
            | Refused::TooManyStreams
            | Refused::TooManyStreamsPerIp => 503,
            Refused::OnlyIfCached => 504,
            Refused::TakenDown => 451,
            Refused::NotHttps => 301,
        }
    }
}

impl From<BadPath> for Refused {
    fn from(bad: BadPath) -> Self {
        Refused::Token(Refusal::BadPath(bad))
    }
}

/// Why a head is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHead {
    /// A line that ends with LF alone (RFC 9112 §2.2 lets a server refuse it).
    BareLf,
    /// No request line, no header line, or a byte that has no place in one.
    Malformed,
    /// More than one Host, one that is none, or another than the target names.
    BadHost,
    /// Both Content-Length and Transfer-Encoding, or several lengths.
    TwoLengths,
    /// A length that is no number, or a coding other than `chunked`.
    BadLength,
    /// A tunnel is asked for.
    Connect,
    /// More bytes or lines than a head may have.
    TooLarge,
    /// It did not come to its end in time.
    TooSlow,
    /// It did not come in one piece, and too many others do not either.
    TooMany,
}

impl BadHead {
    pub const ALL: [BadHead; 9] = [
        BadHead::BareLf,
        BadHead::Malformed,
        BadHead::BadHost,
        BadHead::TwoLengths,
        BadHead::BadLength,
        BadHead::Connect,
        BadHead::TooLarge,
        BadHead::TooSlow,
        BadHead::TooMany,
    ];

    /// Whether the same head may be taken in a moment.
    pub const fn heals(self) -> bool {
        matches!(self, BadHead::TooMany)
    }

    pub const fn name(self) -> &'static str {
        match self {
            BadHead::BareLf => "bare_lf",
            BadHead::Malformed => "malformed_head",
            BadHead::BadHost => "bad_host",
            BadHead::TwoLengths => "two_lengths",
            BadHead::BadLength => "bad_length",
            BadHead::Connect => "method_not_allowed",
            BadHead::TooLarge => "head_too_large",
            BadHead::TooSlow => "head_too_slow",
            BadHead::TooMany => "max_heads",
        }
    }

    pub const fn status(self) -> u16 {
        match self {
            BadHead::BareLf
            | BadHead::Malformed
            | BadHead::BadHost
            | BadHead::TwoLengths
            | BadHead::BadLength => 400,
            BadHead::Connect => 405,
            BadHead::TooLarge => 431,
            BadHead::TooSlow => 408,
            BadHead::TooMany => 503,
        }
    }
}
