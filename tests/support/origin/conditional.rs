//! Pure: preconditions (RFC 9110 §13) and single byte ranges (§14).

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::record::SeenRequest;

/// What a request gets of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    Whole,
    Part(Range<u64>),
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

/// What conditions are compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    pub etag: &'a str,
    pub last_modified: SystemTime,
}

/// Decides in the order of RFC 9110 §13.2.2. Several ranges at once and malformed ones get the
/// whole, as S3 does.
pub(super) fn select(request: &SeenRequest, validators: Validators, len: u64) -> Selection {
    if fails_match(request, validators) {
        return Selection::PreconditionFailed;
    }
    if is_not_modified(request, validators) {
        return Selection::NotModified;
    }
    let Some(range) = request
        .header("range")
        .filter(|_| if_range_holds(request, validators))
    else {
        return Selection::Whole;
    };
    match Asked::parse(range) {
        Some(asked) => asked
            .within(len)
            .map_or(Selection::Unsatisfiable, Selection::Part),
        None => Selection::Whole,
    }
}

fn fails_match(request: &SeenRequest, validators: Validators) -> bool {
    if let Some(list) = request.header_list("if-match") {
        return !lists(&list, |tag| {
            tag == "*" || is_strong_match(tag, validators.etag)
        });
    }
    date(request, "if-unmodified-since").is_some_and(|at| seconds(validators.last_modified) > at)
}

fn is_not_modified(request: &SeenRequest, validators: Validators) -> bool {
    if let Some(list) = request.header_list("if-none-match") {
        return lists(&list, |tag| {
            tag == "*" || opaque(tag) == opaque(validators.etag)
        });
    }
    date(request, "if-modified-since").is_some_and(|at| seconds(validators.last_modified) <= at)
}

fn if_range_holds(request: &SeenRequest, validators: Validators) -> bool {
    match request.header("if-range") {
        None => true,
        Some(tag) if tag.contains('"') => is_strong_match(tag.trim(), validators.etag),
        Some(_) => date(request, "if-range") == Some(seconds(validators.last_modified)),
    }
}

/// No ETag served here holds a comma, so the list splits at commas.
fn lists(list: &str, matches: impl Fn(&str) -> bool) -> bool {
    list.split(',').any(|tag| matches(tag.trim()))
}

/// Strong comparison: a weak tag never matches.
fn is_strong_match(sent: &str, stored: &str) -> bool {
    sent == stored && !sent.starts_with("W/")
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn date(request: &SeenRequest, name: &str) -> Option<Duration> {
    httpdate::parse_http_date(request.header(name)?)
        .ok()
        .map(seconds)
}

/// HTTP dates have whole seconds.
fn seconds(at: SystemTime) -> Duration {
    Duration::from_secs(
        at.duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    )
}

/// One range specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

impl Asked {
    fn parse(header: &str) -> Option<Self> {
        let (unit, spec) = header.split_once('=')?;
        let (first, last) = spec.trim().split_once('-')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        match (first, last) {
            ("", suffix) => number(suffix).map(Self::Last),
            (first, "") => Some(Self::From {
                first: number(first)?,
                last: None,
            }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From {
                    first,
                    last: Some(last),
                })
            }
        }
    }

    /// The bytes it names in a body of `len`; `None` when it names none.
    fn within(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From { first, last } => {
                first..last.map_or(len, |last| last.saturating_add(1).min(len))
            }
            Self::Last(count) => len.saturating_sub(count)..len,
        };
        (range.start < range.end).then_some(range)
    }
}

fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
