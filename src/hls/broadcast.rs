//! Pure: where a live playlist stands, and whether it is of another broadcast
//! under the names of the one before.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::playlist::trimmed;

/// Encoders that tell the time of a segment anew may differ by less, in seconds.
const SAME_TIME: i64 = 60;

/// The segments of a playlist, by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// EXT-X-MEDIA-SEQUENCE.
    pub first: u64,
    /// Behind the last one.
    pub next: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity: u64,
    /// Of the last segment; of a manifest, whose segments have no numbers here, of
    /// its start.
    pub last: Option<Mark>,
}

/// What a segment is of one broadcast, and of another is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    name: u64,
    /// EXT-X-PROGRAM-DATE-TIME, or a manifest's start, in seconds of a day long ago.
    at: Option<i64>,
}

impl Window {
    /// Whether it stands before where it stood (RFC 8216 §6.2.2 forbids it).
    pub fn is_behind(&self, before: &Self) -> bool {
        self.first < before.first
            || self.next < before.next
            || self.discontinuity < before.discontinuity
    }

    /// Whether what was the last segment is another one now, as far as it can be
    /// told: `mark` is that of the segment of a number.
    pub fn contradicts(&self, before: &Self, mark: impl Fn(u64) -> Option<Mark>) -> Option<bool> {
        let last = before.next.checked_sub(1).and_then(mark);
        let differ = |(now, then): (Mark, Mark)| !now.is_of_same(then);
        last.zip(before.last).map(differ)
    }
}

impl Mark {
    /// Of a manifest that starts then.
    pub fn of_start(time: &str) -> Self {
        match seconds(time) {
            Some(at) => Self {
                name: 0,
                at: Some(at),
            },
            None => Self::of_name(time),
        }
    }

    fn of_name(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self {
            name: hasher.finish(),
            at: None,
        }
    }

    /// Of the segment of this number in a playlist that begins with `first`. What
    /// stands before a name's last slash or behind its `?` may be a token.
    pub fn of_segment(body: &[u8], first: u64, number: u64) -> Option<Self> {
        let wanted = number.checked_sub(first)?;
        let (mut at, mut index) = (None, 0);
        for line in trimmed(body) {
            if let Some(time) = line.strip_prefix(b"#EXT-X-PROGRAM-DATE-TIME:") {
                at = std::str::from_utf8(time).ok().and_then(seconds);
            } else if line.starts_with(b"#EXT-X-SKIP:") {
                // What is skipped has a number and no line.
                return None;
            } else if !line.starts_with(b"#") {
                if index == wanted {
                    let uri = std::str::from_utf8(line).ok()?;
                    let path = uri.split(['?', '#', ';']).next()?;
                    let name = path.rsplit('/').next()?;
                    return Some(Self {
                        at,
                        ..Self::of_name(name)
                    });
                }
                (at, index) = (None, index + 1);
            }
        }
        None
    }

    fn is_of_same(self, other: Self) -> bool {
        let near = |(one, other): (i64, i64)| (one - other).abs() <= SAME_TIME;
        self.name == other.name && self.at.zip(other.at).is_none_or(near)
    }
}

/// Seconds that a zone is ahead: `.000Z`, `+01:00`, `-0230`, or nothing.
fn offset(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let (sign, text) = match text.as_bytes().first() {
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        _ => return Some(0),
    };
    let digits = text.replace(':', "");
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i64>().ok();
    Some(sign * (number(0..2)? * 60 + number(2..4)?) * 60)
}

/// Seconds of `2026-11-30T10:00:00+01:00`.
fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // Months count from March, so that a leap day is a year's last.
    let (year, month) = match month {
        1..=2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leaps = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leaps + (month * 153 + 2) / 5 + day;
    let local = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(local - offset(text.get(19..)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_long_after_another_as_the_calendar_has_it() {
        let at = |text| seconds(text).expect("a time");
        let table = [
            ("2026-11-30T10:00:00.000Z", "2026-11-30T10:01:05Z", 65),
            ("2026-12-31T23:59:59+01:00", "2027-01-01T00:00:00+01:00", 1),
            ("2028-02-28T00:00:00Z", "2028-03-01T00:00:00Z", 2 * 86_400),
            ("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z", 86_400),
            ("2026-11-30T12:00:00Z", "2026-11-30T13:00:00.000+01:00", 0),
            ("2026-11-30T12:00:00", "2026-11-30T09:30:01-0230", 1),
        ];
        for (one, other, want) in table {
            assert_eq!(at(other) - at(one), want, "{one} {other}");
        }
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn a_segment_of_another_name_or_time_is_of_another_broadcast() {
        let list = |time: &str, names: &[&str]| {
            let lines = names
                .iter()
                .map(|name| format!("#EXT-X-PROGRAM-DATE-TIME:{time}\n#EXTINF:2,\n{name}\n"));
            format!(
                "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:5\n{}",
                lines.collect::<String>()
            )
        };
        let noon = "2026-11-30T12:00:00Z";
        let before = list(noon, &["a/5.ts?t=1", "a/6.ts?t=1"]);
        let window = |body: &str, next| Window {
            first: 5,
            next,
            discontinuity: 0,
            last: Mark::of_segment(body.as_bytes(), 5, next - 1),
        };
        let before = window(&before, 7);
        let table = [
            (list(noon, &["b/5.ts?t=2", "b/6.ts?t=2", "b/7.ts"]), false),
            (
                list("2026-11-30T12:00:59Z", &["5.ts", "6.ts", "7.ts"]),
                false,
            ),
            (
                list("2026-11-30T12:02:00Z", &["5.ts", "6.ts", "7.ts"]),
                true,
            ),
            (list(noon, &["5.ts", "x.ts", "7.ts"]), true),
            (list(noon, &["5.ts;s=1", "6.ts;s=2/x?y", "7.ts"]), false),
            (list("never", &["x.ts", "6.ts", "7.ts"]), false),
            (list(noon, &["5.ts"]), false),
            (
                "#EXTM3U\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n5.ts\nx.ts\n".into(),
                false,
            ),
        ];
        for (body, want) in table {
            let mark = |number| Mark::of_segment(body.as_bytes(), 5, number);
            let found = window(&body, 8).contradicts(&before, mark);
            assert_eq!(found.unwrap_or_default(), want, "{body}");
        }
    }
}
