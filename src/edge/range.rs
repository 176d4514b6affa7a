//! Pure: the Range header (RFC 9110 §14), single ranges.

use std::ops::Range;

/// What a Range header asks of a body of a known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// No usable range: the whole (RFC 9110 §14.2 lets a server ignore it).
    Whole,
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// Reads the header's value for a body of `length` bytes. Several ranges are
/// answered with the whole: a server may, and no HLS player asks for them.
pub fn wanted(value: &str, length: u64) -> Wanted {
    let Some(set) = strip_unit(value) else {
        return Wanted::Whole;
    };
    let mut specs = set
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty());
    let (Some(spec), None) = (specs.next(), specs.next()) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Wanted::Whole;
    };
    match (parse(first), parse(last)) {
        // The last N bytes; none of an empty body, and zero of any is nothing.
        (Number::Absent, Number::Is(0)) => Wanted::Unsatisfiable,
        (Number::Absent, Number::Is(_)) if length == 0 => Wanted::Unsatisfiable,
        (Number::Absent, Number::Is(suffix)) => Wanted::Part(length.saturating_sub(suffix)..length),
        (Number::Is(first), Number::Is(last)) if last < first => Wanted::Whole,
        (Number::Is(first), Number::Is(_) | Number::Absent) if first >= length => {
            Wanted::Unsatisfiable
        }
        (Number::Is(first), Number::Is(last)) => {
            Wanted::Part(first..length.min(last.saturating_add(1)))
        }
        (Number::Is(first), Number::Absent) => Wanted::Part(first..length),
        _ => Wanted::Whole,
    }
}

fn strip_unit(value: &str) -> Option<&str> {
    let (unit, set) = value.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(set)
}

enum Number {
    Absent,
    Is(u64),
    Malformed,
}

fn parse(text: &str) -> Number {
    match text {
        "" => Number::Absent,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            // Beyond u64 is beyond every body.
            Number::Is(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Number::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let table = [
            ("bytes=0-4", Wanted::Part(0..5)),
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=5-", Wanted::Part(5..10)),
            ("bytes=5-99", Wanted::Part(5..10)),
            ("bytes=9-9", Wanted::Part(9..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("Bytes = 1-2", Wanted::Part(1..3)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=4-2", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("0-1", Wanted::Whole),
        ];
        for (value, want) in table {
            assert_eq!(wanted(value, 10), want, "{value}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(wanted("bytes=-5", 0), Wanted::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_beyond_the_end(value in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0u64..2000) {
            if let Wanted::Part(range) = wanted(&value, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
