//! Pure: the attributes of a DASH manifest that decide its lifetime and that of
//! its media.

use std::time::Duration;

use super::{MAX_TARGET, Mark, Pace};

/// Where a dynamic manifest names no update period.
const UNKNOWN_PERIOD: Duration = Duration::from_secs(2);

/// A longer segment is not believed.
const MAX_SEGMENT: Duration = Duration::from_secs(10);

/// The facts of one MPD body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    pub pace: Pace,
    /// How long its media are what they are at least: a segment's longest duration,
    /// where that is told. The period in which it is updated says nothing of them.
    pub target: Duration,
    /// Of `availabilityStartTime`: another broadcast has another.
    pub start: Option<Mark>,
}

impl Manifest {
    /// Whether a body begins as a manifest: an XML declaration at the most stands
    /// before its element.
    pub fn begins(start: &[u8]) -> bool {
        let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
        let start = start.trim_ascii_start();
        let behind = match start.strip_prefix(b"<?xml") {
            Some(rest) => match memchr::memchr(b'>', rest) {
                Some(end) => rest[end + 1..].trim_ascii_start(),
                None => return false,
            },
            None => start,
        };
        behind.starts_with(b"<MPD")
    }

    /// `None` where the body has no `MPD` element.
    pub fn scan(body: &[u8]) -> Option<Self> {
        let start = memchr::memmem::find(body, b"<MPD")?;
        let element = &body[start..];
        let end = memchr::memchr(b'>', element)?;
        let element = std::str::from_utf8(&element[..end]).ok()?;
        if attribute(element, "type") != Some("dynamic") {
            return Some(Self {
                pace: Pace::Ended,
                target: MAX_SEGMENT,
                start: None,
            });
        }
        let duration = |name| attribute(element, name).and_then(parse_duration);
        let period = duration("minimumUpdatePeriod").unwrap_or(UNKNOWN_PERIOD);
        let segment = duration("maxSegmentDuration").unwrap_or(MAX_SEGMENT);
        Some(Self {
            pace: Pace::Live {
                target: period.min(MAX_TARGET),
            },
            target: period.min(segment).min(MAX_SEGMENT),
            start: attribute(element, "availabilityStartTime").map(Mark::of_start),
        })
    }
}

/// What a manifest names its media by: templates, base addresses, and the
/// addresses of lists.
pub(super) fn references(body: &[u8]) -> impl Iterator<Item = &str> {
    const BEGINNINGS: [&str; 5] = [
        "media=\"",
        "initialization=\"",
        "sourceURL=\"",
        "media='",
        "<BaseURL>",
    ];
    let text = std::str::from_utf8(body).unwrap_or_default();
    BEGINNINGS.into_iter().flat_map(move |beginning| {
        let found = text.split(beginning).skip(1);
        found.filter_map(|rest| rest.split(['"', '\'', '<']).next())
    })
}

/// Files that a manifest names whole, and not by a template.
pub fn files(body: &[u8]) -> impl Iterator<Item = &str> {
    references(body).filter(|name| !name.contains('$') && !name.ends_with('/'))
}

fn attribute<'e>(element: &'e str, name: &str) -> Option<&'e str> {
    let mut rest = element;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        rest = after;
        if !before.ends_with(|c: char| c.is_ascii_whitespace()) {
            continue;
        }
        let value = after.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        return value[1..].split(quote).next();
    }
    None
}

/// `PT1H2M3.5S`, the part of ISO 8601 durations that update periods use.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix("PT")?;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let value: f64 = rest[..unit].parse().ok()?;
        seconds += match &rest[unit..=unit] {
            "H" => value * 3600.0,
            "M" => value * 60.0,
            "S" => value,
            _ => return None,
        };
        rest = &rest[unit + 1..];
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|period| !period.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_static_manifest_has_ended_and_a_dynamic_one_has_a_period() {
        let live = |millis| {
            Some(Pace::Live {
                target: Duration::from_millis(millis),
            })
        };
        let table = [
            ("<?xml?><MPD type=\"static\" x=\"1\">", Some(Pace::Ended)),
            ("<MPD profiles=\"a\">", Some(Pace::Ended)),
            (
                "<MPD type='dynamic' minimumUpdatePeriod='PT2.5S'>",
                live(2500),
            ),
            (
                "<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT1M2S\">",
                live(62_000),
            ),
            ("<MPD mytype=\"dynamic\" type=\"dynamic\">", live(2000)),
            (
                "<MPD type=\"dynamic\" minimumUpdatePeriod=\"P1D\">",
                live(2000),
            ),
            ("<html>", None),
            ("<MPD type=\"dynamic\"", None),
        ];
        for (body, want) in table {
            assert_eq!(
                Manifest::scan(body.as_bytes()).map(|m| m.pace),
                want,
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), attributes in "[ -~]{0,60}") {
            let _ = Manifest::scan(&body);
            let _ = Manifest::scan(format!("<MPD {attributes}>").as_bytes());
        }
    }
}
