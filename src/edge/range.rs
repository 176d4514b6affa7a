//! Pure: the Range header (RFC 9110 §14).

use std::ops::Range;

/// How a GET or HEAD for a 200 of known length is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Whole,
    NotModified,
    Part(Range<u64>),
    /// At least two, in order and apart.
    Parts(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

/// Ranges of one request; with more it gets the whole.
pub const MAX_PARTS: usize = 16;

/// Reads the header's value for a body of `length` bytes. Ranges that overlap
/// or go backwards get the whole: they would cost more than it (§14.2).
pub fn wanted(value: &str, length: u64) -> Answer {
    let Some(set) = strip_unit(value) else {
        return Answer::Whole;
    };
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut count = 0;
    let specs = set.split(',').map(str::trim);
    for spec in specs.filter(|spec| !spec.is_empty()) {
        count += 1;
        match one(spec, length) {
            _ if count > MAX_PARTS => return Answer::Whole,
            One::Malformed => return Answer::Whole,
            One::Beyond => {}
            One::Part(part) if parts.last().is_some_and(|last| part.start < last.end) => {
                return Answer::Whole;
            }
            One::Part(part) => parts.push(part),
        }
    }
    match parts.len() {
        0 if count == 0 => Answer::Whole,
        0 => Answer::Unsatisfiable,
        1 => Answer::Part(parts.swap_remove(0)),
        _ => Answer::Parts(parts),
    }
}

/// Whether a value asks for one range of bytes: what may be passed on to an
/// origin, which several would make send more than the object.
pub fn is_one(value: &str) -> bool {
    let spec = strip_unit(value).map(str::trim);
    spec.is_some_and(|spec| !spec.contains(',') && !matches!(one(spec, u64::MAX), One::Malformed))
}

/// The first byte of a value that asks for one range; of the last so many only
/// where the length of the whole is known.
pub fn first_of_one(value: &str, whole: Option<u64>) -> Option<u64> {
    let spec = strip_unit(value)
        .map(str::trim)
        .filter(|it| !it.contains(','))?;
    if spec.starts_with('-') && whole.is_none() {
        return None;
    }
    match one(spec, whole.unwrap_or(u64::MAX)) {
        One::Part(range) => Some(range.start),
        One::Beyond | One::Malformed => None,
    }
}

/// Whether a value that asks for one range says a last byte that a body of this
/// length has not.
pub fn ends_behind(value: &str, length: u64) -> bool {
    let spec = strip_unit(value).map(str::trim);
    let ends = spec.and_then(|spec| spec.split_once('-'));
    let ends = ends.filter(|(first, _)| matches!(parse(first), Number::Is(_)));
    ends.is_some_and(|(_, last)| matches!(parse(last), Number::Is(last) if last >= length))
}

enum One {
    Malformed,
    /// No byte of the body is in it.
    Beyond,
    Part(Range<u64>),
}

fn one(spec: &str, length: u64) -> One {
    let Some((first, last)) = spec.split_once('-') else {
        return One::Malformed;
    };
    match (parse(first), parse(last)) {
        // The last N bytes; none of an empty body, and zero of any is nothing.
        (Number::Absent, Number::Is(0)) => One::Beyond,
        (Number::Absent, Number::Is(_)) if length == 0 => One::Beyond,
        (Number::Absent, Number::Is(suffix)) => One::Part(length.saturating_sub(suffix)..length),
        (Number::Is(first), Number::Is(last)) if last < first => One::Malformed,
        (Number::Is(first), Number::Is(_) | Number::Absent) if first >= length => One::Beyond,
        (Number::Is(first), Number::Is(last)) => {
            One::Part(first..length.min(last.saturating_add(1)))
        }
        (Number::Is(first), Number::Absent) => One::Part(first..length),
        _ => One::Malformed,
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
            ("bytes=0-4", Answer::Part(0..5)),
            ("bytes=0-0", Answer::Part(0..1)),
            ("bytes=5-", Answer::Part(5..10)),
            ("bytes=5-99", Answer::Part(5..10)),
            ("bytes=9-9", Answer::Part(9..10)),
            ("bytes=-3", Answer::Part(7..10)),
            ("bytes=-99", Answer::Part(0..10)),
            ("Bytes = 1-2", Answer::Part(1..3)),
            ("bytes=10-", Answer::Unsatisfiable),
            ("bytes=99999999999999999999-", Answer::Unsatisfiable),
            ("bytes=-0", Answer::Unsatisfiable),
            ("bytes=4-2", Answer::Whole),
            ("bytes=", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("bytes=0-1,3-4", Answer::Parts(vec![0..2, 3..5])),
            ("bytes=0-1, 2-3 ,-2", Answer::Parts(vec![0..2, 2..4, 8..10])),
            ("bytes=0-1,99-", Answer::Part(0..2)),
            ("bytes=10-,99-", Answer::Unsatisfiable),
            ("bytes=0-4,2-6", Answer::Whole),
            ("bytes=5-6,0-1", Answer::Whole),
            ("bytes=0-1,x", Answer::Whole),
            ("bytes=0-1,4-2", Answer::Whole),
            ("bytes=,0-1", Answer::Part(0..2)),
            ("lines=0-1", Answer::Whole),
            ("0-1", Answer::Whole),
        ];
        for (value, want) in table {
            assert_eq!(wanted(value, 10), want, "{value}");
        }
        let first = [
            ("bytes=5-9", None, Some(5)),
            ("bytes=5-", None, Some(5)),
            ("bytes=-3", None, None),
            ("bytes=-3", Some(10), Some(7)),
            ("bytes=10-", Some(10), None),
            ("bytes=0-1,3-4", Some(10), None),
            ("bytes=a-b", None, None),
        ];
        for (value, whole, want) in first {
            assert_eq!(first_of_one(value, whole), want, "{value}");
        }
        let many = |count: u64| {
            let specs: Vec<_> = (0..count).map(|at| format!("{at}-{at}")).collect();
            wanted(&format!("bytes={}", specs.join(",")), 100)
        };
        assert!(matches!(many(16), Answer::Parts(parts) if parts.len() == MAX_PARTS));
        assert_eq!(many(17), Answer::Whole);
        assert_eq!(wanted("bytes=0-", 0), Answer::Unsatisfiable);
        assert_eq!(wanted("bytes=-5", 0), Answer::Unsatisfiable);
    }

    #[test]
    fn one_range_is_passed_on_and_nothing_else() {
        for one in [
            "bytes=0-1",
            "bytes=5-",
            "bytes=-5",
            "Bytes = 1-2",
            "bytes=0-",
        ] {
            assert!(is_one(one), "{one}");
        }
        for other in [
            "bytes=0-1,3-4",
            "bytes=9-0",
            "bytes=",
            "bytes=x",
            "lines=1-2",
            "0-1",
        ] {
            assert!(!is_one(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn parts_together_are_never_more_than_the_whole(value in "bytes=([0-9]{0,3}-[0-9]{0,3},){0,20}", length in 0u64..2000) {
            if let Answer::Parts(parts) = wanted(&value, length) {
                prop_assert!((2..=MAX_PARTS).contains(&parts.len()));
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                prop_assert!(parts.windows(2).all(|two| two[0].end <= two[1].start));
            }
        }

        #[test]
        fn a_part_is_never_empty_and_never_beyond_the_end(value in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0u64..2000) {
            if let Answer::Part(range) = wanted(&value, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
