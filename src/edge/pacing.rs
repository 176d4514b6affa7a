//! Pure: how fast a viewer is sent to, and how slow he may be.

use std::num::NonZeroU64;
use std::time::Duration;

/// One write to a viewer; also the longest a write deadline speaks of.
pub const SLICE_BYTES: usize = 256 << 10;
/// Slices of a limited response last about this long, so that it flows evenly.
const SLICE_TIME: Duration = Duration::from_millis(250);
/// Every write gets at least this, however small.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);

/// The pace of one response.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    limit: Option<NonZeroU64>,
    /// Bytes per second below which the viewer is given up.
    least: u64,
}

impl Pace {
    /// A token's limit goes before the node's least rate: a viewer who may not
    /// be faster is not given up for being slow.
    pub fn new(limit: Option<NonZeroU64>, least: u64) -> Self {
        let least = limit
            .map_or(least, |limit| least.min(limit.get() / 2))
            .max(1);
        Self { limit, least }
    }

    /// Bytes of the next write.
    pub fn slice(&self) -> usize {
        let Some(limit) = self.limit else {
            return SLICE_BYTES;
        };
        let bytes = limit.get().saturating_mul(SLICE_TIME.as_millis() as u64) / 1000;
        usize::try_from(bytes)
            .unwrap_or(SLICE_BYTES)
            .clamp(1, SLICE_BYTES)
    }

    /// How long to wait before the next write, `sent` bytes and `elapsed` time
    /// into the response.
    pub fn pause(&self, sent: u64, elapsed: Duration) -> Duration {
        let Some(limit) = self.limit else {
            return Duration::ZERO;
        };
        let due = Duration::from_secs_f64(sent as f64 / limit.get() as f64);
        due.saturating_sub(elapsed)
    }

    /// How long a write of this many bytes may take.
    pub fn patience(&self, bytes: usize) -> Duration {
        Duration::from_secs(bytes as u64 / self.least).max(LEAST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_limited_response_flows_at_its_limit() {
        let pace = Pace::new(NonZeroU64::new(500_000), 2048);
        assert_eq!(pace.slice(), 125_000);
        assert_eq!(
            pace.pause(125_000, Duration::ZERO),
            Duration::from_millis(250)
        );
        assert_eq!(pace.pause(125_000, Duration::from_secs(1)), Duration::ZERO);
        let free = Pace::new(None, 2048);
        assert_eq!(
            (free.slice(), free.pause(1 << 30, Duration::ZERO)),
            (SLICE_BYTES, Duration::ZERO)
        );
    }

    #[test]
    fn the_least_rate_stays_below_every_limit() {
        let slowest = Pace::new(NonZeroU64::new(1_000), 2048);
        assert_eq!(slowest.patience(1_000_000), Duration::from_secs(2_000));
        assert_eq!(
            Pace::new(None, 2048).patience(SLICE_BYTES),
            Duration::from_secs(128)
        );
        assert_eq!(Pace::new(None, 2048).patience(10), LEAST_PATIENCE);
    }

    proptest! {
        #[test]
        fn no_response_runs_ahead_of_its_limit(limit in 1u64..10_000_000, slices in 1usize..50) {
            let pace = Pace::new(NonZeroU64::new(limit), 2048);
            let (mut sent, mut elapsed) = (0, Duration::ZERO);
            for _ in 0..slices {
                sent += pace.slice() as u64;
                elapsed += pace.pause(sent, elapsed);
            }
            let allowed = limit as f64 * elapsed.as_secs_f64() + 1.0;
            prop_assert!(sent as f64 <= allowed, "{} in {:?}", sent, elapsed);
        }
    }
}
