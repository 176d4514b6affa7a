//! Pure: the header lines that change with each response.

use std::ops::Range;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

use super::verify::Visitor;
use crate::cache::head::insert;
use crate::origin::Failure;
use crate::telemetry::CacheStatus;
use crate::token::Country;
use crate::zone::Zone;

/// What a response is stamped with.
pub struct Stamp<'a> {
    pub zone: Option<&'a Zone>,
    pub cache: CacheStatus,
    pub request_id: &'a str,
    pub country: Option<Country>,
    pub age: Option<Duration>,
    pub detail: Detail<'a>,
    /// What the zone says to this viewer besides.
    pub said: &'a [(HeaderName, HeaderValue)],
    /// What the token sets on an object's head.
    pub answer: &'a [(HeaderName, HeaderValue)],
}

impl<'a> Stamp<'a> {
    /// For a response that the cache has no part in.
    pub fn bare(visitor: &'a Visitor<'_>, request_id: &'a str) -> Self {
        Self {
            zone: visitor.zone(),
            cache: CacheStatus::None,
            request_id,
            country: visitor.country,
            age: None,
            detail: Detail::None,
            said: &visitor.said,
            answer: &[],
        }
    }
}

/// What Cache-Status tells behind the node's name (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail<'a> {
    None,
    /// Served from memory, with the seconds of its lifetime that are left
    /// (negative when stale) and why it is served stale.
    Hit {
        ttl: i64,
        key: &'a str,
        why: Option<&'static str>,
    },
    /// The origin was asked.
    Forward {
        reason: &'static str,
        /// By the request of another viewer.
        collapsed: bool,
        why: Option<&'static str>,
    },
}

impl<'a> Detail<'a> {
    pub fn hit(ttl: i64, key: &'a str, status: CacheStatus, failure: Option<Failure>) -> Self {
        let updating = (status == CacheStatus::Updating).then_some("updating");
        let why = failure.map(Failure::name).or(updating);
        Detail::Hit { ttl, key, why }
    }

    pub fn forward(status: CacheStatus, starter: bool, why: Option<&'static str>) -> Self {
        let reason = match status {
            CacheStatus::Expired | CacheStatus::Revalidated => "stale",
            CacheStatus::Bypass => "bypass",
            _ => "uri-miss",
        };
        Detail::Forward {
            reason,
            collapsed: !starter,
            why,
        }
    }
}

/// The value of a header line, not yet text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Number(u64),
    /// The bytes of a part, and of the whole.
    Part {
        first: u64,
        last: u64,
        whole: u64,
    },
    Detail(Detail<'a>),
}

impl Value<'_> {
    pub fn push(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Number(number) => push_number(out, number),
            Value::Part { first, last, whole } => {
                out.extend_from_slice(b"bytes ");
                push_number(out, first);
                out.push(b'-');
                push_number(out, last);
                out.push(b'/');
                push_number(out, whole);
            }
            Value::Detail(detail) => push_detail(out, &detail),
        }
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_detail(out: &mut Vec<u8>, detail: &Detail<'_>) {
    out.extend_from_slice(b"warren");
    let why = match *detail {
        Detail::None => None,
        Detail::Hit { ttl, key, why } => {
            out.extend_from_slice(b"; hit; ttl=");
            out.extend_from_slice(itoa::Buffer::new().format(ttl).as_bytes());
            out.extend_from_slice(b"; key=");
            out.extend_from_slice(key.as_bytes());
            why
        }
        Detail::Forward {
            reason,
            collapsed,
            why,
        } => {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(reason.as_bytes());
            if collapsed {
                out.extend_from_slice(b"; collapsed");
            }
            why
        }
    };
    if let Some(why) = why {
        out.extend_from_slice(b"; detail=");
        out.extend_from_slice(why.as_bytes());
    }
}

/// A header line of one response.
pub type Line<'a> = (&'static str, Value<'a>);

/// Who answered, and from where.
pub fn stamp_lines<'a>(status: u16, stamp: &'a Stamp<'_>) -> impl Iterator<Item = Line<'a>> {
    let age = stamp.age.map(|age| ("age", Value::Number(age.as_secs())));
    let country = stamp.country.as_ref();
    let detail =
        (stamp.detail != Detail::None).then_some(("cache-status", Value::Detail(stamp.detail)));
    [
        Some(("cdn-cache", Value::Text(stamp.cache.name()))),
        Some(("cdn-status", Value::Number(u64::from(status)))),
        Some(("cdn-requestid", Value::Text(stamp.request_id))),
        age,
        country.map(|code| ("cdn-requestcountrycode", Value::Bytes(code))),
        detail,
    ]
    .into_iter()
    .flatten()
}

/// How much is sent: the range of a whole of this length.
pub fn size_lines<'a>(
    status: u16,
    range: &Range<u64>,
    whole: u64,
) -> impl Iterator<Item = Line<'a>> + use<'a> {
    let (length, part) = match status {
        // RFC 9110 §8.6: with 204 there is none.
        204 | 304 => (None, None),
        206 => {
            let part = Value::Part {
                first: range.start,
                last: range.end.saturating_sub(1),
                whole,
            };
            (Some(range.end - range.start), Some(part))
        }
        _ => (Some(whole), None),
    };
    [
        length.map(|length| ("content-length", Value::Number(length))),
        part.map(|part| ("content-range", part)),
    ]
    .into_iter()
    .flatten()
}

/// Sets these lines on a head.
pub fn set<'a>(head: &mut ResponseHeader, lines: impl Iterator<Item = Line<'a>>) {
    let mut text = Vec::new();
    for (name, value) in lines {
        text.clear();
        value.push(&mut text);
        if let Ok(mut value) = HeaderValue::from_bytes(&text) {
            value.set_sensitive(name == "cdn-requestid");
            insert(head, HeaderName::from_static(name), value);
        }
    }
}

/// Stamps a head.
pub fn stamp(head: &mut ResponseHeader, status: u16, stamp: &Stamp<'_>) {
    set(head, stamp_lines(status, stamp));
    for (name, value) in stamp.said {
        // Vary may stand there already.
        let _ = head.append_header(name.clone(), value.clone());
    }
    for (name, value) in stamp.answer {
        let is_of_object = match status {
            200 | 206 => true,
            304 => *name != CONTENT_TYPE,
            _ => false,
        };
        if is_of_object {
            insert(head, name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Value<'_>) -> String {
        let mut out = Vec::new();
        value.push(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn cache_status_tells_hits_and_forwards_apart() {
        let stale = Detail::hit(-3, "ab", CacheStatus::Stale, Some(Failure::Reset));
        let updating = Detail::hit(-3, "ab", CacheStatus::Updating, None);
        let table = [
            (
                Detail::hit(60, "ab", CacheStatus::Hit, None),
                "warren; hit; ttl=60; key=ab",
            ),
            (stale, "warren; hit; ttl=-3; key=ab; detail=reset"),
            (updating, "warren; hit; ttl=-3; key=ab; detail=updating"),
            (
                Detail::forward(CacheStatus::Miss, true, None),
                "warren; fwd=uri-miss",
            ),
            (
                Detail::forward(CacheStatus::Revalidated, false, None),
                "warren; fwd=stale; collapsed",
            ),
            (
                Detail::forward(CacheStatus::Bypass, true, Some("no_store")),
                "warren; fwd=bypass; detail=no_store",
            ),
        ];
        for (detail, want) in table {
            assert_eq!(text(Value::Detail(detail)), want);
        }
    }

    #[test]
    fn a_part_says_its_own_length_and_what_has_no_body_none() {
        let lines = |status, range| -> Vec<String> {
            size_lines(status, &range, 10)
                .map(|(name, value)| format!("{name}: {}", text(value)))
                .collect()
        };
        assert_eq!(
            lines(206, 2..5),
            ["content-length: 3", "content-range: bytes 2-4/10"]
        );
        assert_eq!(lines(200, 0..10), ["content-length: 10"]);
        for status in [204, 304] {
            assert!(lines(status, 0..0).is_empty());
        }
    }
}
