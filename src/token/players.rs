//! Pure: parameters that players add to a signed URL by themselves. They
//! authorise nothing, so a token need not have signed them.

use percent_encoding::percent_decode_str;

/// Of Low-Latency HLS (RFC 8216bis §6.2.5.2), of content steering (§7.2) and of
/// CTA-5004.
pub const NAMES: [&str; 6] = [
    "_HLS_msn",
    "_HLS_part",
    "_HLS_skip",
    "_HLS_pathway",
    "_HLS_throughput",
    "CMCD",
];

/// Which of [`NAMES`] a message was tried without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut(u8);

impl LeftOut {
    pub const NONE: Self = Self(0);

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let has = move |(at, _): &(usize, &&str)| self.0 & (1 << at) != 0;
        NAMES.iter().enumerate().filter(has).map(|(_, name)| *name)
    }

    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Leaves a parameter out, where it may be.
    pub fn with(self, name: &str, value: &str) -> Self {
        let place = NAMES.iter().position(|it| *it == name);
        match place.filter(|_| may_be_left_out(name, value)) {
            Some(place) => Self(self.0 | 1 << place),
            None => self,
        }
    }
}

/// Which of [`NAMES`] a name is, as it stands in a query: read once, as
/// [`super::Parameters`] reads it.
pub fn known(raw: &str) -> Option<&'static str> {
    let is = |name: &&&str| match raw.contains('%') {
        true => percent_decode_str(raw).eq(name.bytes()),
        false => raw == **name,
    };
    NAMES.iter().find(is).copied()
}

/// By its exact name, decoded.
pub fn may_be_left_out(name: &str, value: &str) -> bool {
    match is_delivery_directive(name) {
        true => is_valid_directive(name, value),
        false => NAMES.contains(&name),
    }
}

/// What a packager answers by.
pub fn is_delivery_directive(name: &str) -> bool {
    matches!(name, "_HLS_msn" | "_HLS_part" | "_HLS_skip")
}

pub fn is_valid_directive(name: &str, value: &str) -> bool {
    match name {
        "_HLS_skip" => matches!(value, "YES" | "v2"),
        _ => (1..=10).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()),
    }
}
