//! Feeds the reading of Range: no answer reaches beyond the body, and parts
//! together are never more than the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warren::edge::range::{Answer, MAX_PARTS, wanted};

// A body's length, and on the next line the header's value.
fuzz_target!(|text: &str| {
    let (length, value) = text.split_once('\n').unwrap_or(("1000", text));
    let length: u64 = length.parse().unwrap_or(1000);
    for value in [value.to_owned(), format!("bytes={value}")] {
        match wanted(&value, length) {
            Answer::Part(part) => assert!(part.start < part.end && part.end <= length),
            Answer::Parts(parts) => {
                assert!((2..=MAX_PARTS).contains(&parts.len()));
                assert!(parts.iter().all(|part| part.start < part.end));
                assert!(parts.windows(2).all(|two| two[0].end <= two[1].start));
                assert!(parts.last().is_some_and(|last| last.end <= length));
            }
            Answer::Whole | Answer::Unsatisfiable => {}
            Answer::NotModified => unreachable!("a range is no condition"),
        }
    }
});
