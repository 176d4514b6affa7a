//! How long an endpoint takes to its answers' heads.

use std::array::from_fn;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Steps, in seconds; one more has what is beyond the last.
pub const WAIT_STEPS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0,
];
const COUNTS: usize = WAIT_STEPS.len() + 1;

/// Counted as answers come.
#[derive(Default)]
pub struct Waits {
    counts: [AtomicU64; COUNTS],
    total_us: AtomicU64,
}

/// As counted at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waited {
    /// For each step, those that took longer than the one before it.
    pub counts: [u64; COUNTS],
    pub total: Duration,
}

impl Waits {
    pub fn add(&self, wait: Duration) {
        let seconds = wait.as_secs_f64();
        let step = WAIT_STEPS.iter().position(|step| seconds <= *step);
        self.counts[step.unwrap_or(COUNTS - 1)].fetch_add(1, Relaxed);
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(us, Relaxed);
    }

    pub fn go_on_from(&self, before: &Self) {
        for (new, old) in self.counts.iter().zip(&before.counts) {
            new.store(old.load(Relaxed), Relaxed);
        }
        self.total_us.store(before.total_us.load(Relaxed), Relaxed);
    }

    pub fn read(&self) -> Waited {
        Waited {
            counts: from_fn(|step| self.counts[step].load(Relaxed)),
            total: Duration::from_micros(self.total_us.load(Relaxed)),
        }
    }
}

impl Waited {
    pub fn answers(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_in_the_first_step_that_holds_it() {
        let waits = Waits::default();
        for ms in [0, 1, 2, 3, 10_000, 10_001, 60_000] {
            waits.add(Duration::from_millis(ms));
        }
        let waited = waits.read();
        assert_eq!(waited.counts[..4], [2, 1, 1, 0]);
        assert_eq!(waited.counts[15..], [1, 2]);
        assert_eq!(waited.answers(), 7);
        assert_eq!(waited.total, Duration::from_millis(80_007));
        let next = Waits::default();
        next.go_on_from(&waits);
        assert_eq!(next.read(), waited);
    }
}
