//! The clock objects are dated by and signatures are judged by.

use std::time::{Duration, SystemTime};

/// The machine's clock.
#[allow(
    clippy::disallowed_methods,
    reason = "the one reader of the clock here"
)]
pub(super) fn machine_clock() -> SystemTime {
    SystemTime::now()
}

/// The machine's clock `offset` seconds ahead, behind when negative; unmoved where that
/// leaves the range of time.
pub(super) fn moved_clock(offset: i64) -> SystemTime {
    let distance = Duration::from_secs(offset.unsigned_abs());
    let now = machine_clock();
    let moved = if offset < 0 {
        now.checked_sub(distance)
    } else {
        now.checked_add(distance)
    };
    moved.unwrap_or(now)
}
