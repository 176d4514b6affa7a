//! The only reader of the clock. Everything else takes `now` as an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time for lifetimes, wall time for tokens and dates. A clone can
/// be moved forward, which moves both: how tests reach the end of a lifetime.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
    /// What the wall clock alone is ahead, or behind.
    jumped_ms: Arc<AtomicI64>,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one home of the monotonic clock"
    )]
    pub fn monotonic(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    pub fn wall(&self) -> SystemTime {
        let now = SystemTime::now() + self.ahead();
        let jumped = self.jumped_ms.load(Relaxed);
        let by = Duration::from_millis(jumped.unsigned_abs());
        match jumped {
            0 => now,
            1.. => now + by,
            _ => now.checked_sub(by).unwrap_or(UNIX_EPOCH),
        }
    }

    /// Seconds since 1970 by the wall clock; 0 before that.
    pub fn unix_seconds(&self) -> u64 {
        unix_seconds(self.wall())
    }

    /// Moves every clone of this clock forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.fetch_add(by, Relaxed);
    }

    /// Sets the wall clock of every clone, as somebody sets the machine's.
    pub fn set_wall_ahead(&self, milliseconds: i64) {
        self.jumped_ms.store(milliseconds, Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_ms.load(Relaxed))
    }
}

/// The instant that timers of the runtime are set by; no test moves it.
pub fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

pub fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
