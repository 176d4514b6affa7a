//! Whether a viewer takes what waits for him, as his connection tells.

use std::time::{Duration, Instant};

use super::choose::STILL;

/// Bytes per second of each answer beyond which a viewer moves: who plays even
/// the smallest stream is not far below.
const MOVES: u64 = 32 << 10;

/// How much the other end of a connection has taken so far, and who tells.
#[derive(Clone, Copy)]
pub struct Taken {
    pub socket: i32,
    pub read: fn(socket: i32) -> u64,
}

/// A connection since something of it began to wait, or was last seen to move.
pub struct Progress {
    connection: Option<Taken>,
    since: Instant,
    before: u64,
    has_moved: bool,
}

impl Progress {
    pub fn new(connection: Option<Taken>, now: Instant) -> Self {
        Self {
            connection,
            since: now,
            before: taken_of(connection),
            has_moved: false,
        }
    }

    pub fn begin_anew(&mut self, now: Instant) {
        *self = Self::new(self.connection, now);
    }

    pub fn socket(&self) -> Option<i32> {
        self.connection.map(|connection| connection.socket)
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether it moves, fast enough for so many that wait on it. It counts from
    /// when it was last seen to: what it took before, a receive window at once
    /// (126 KiB and more measured of who reads nothing), excuses no later rest.
    pub fn moves(&mut self, waits: usize, now: Instant) -> bool {
        let taken = taken_of(self.connection);
        let since = now.saturating_duration_since(self.since);
        if is_enough(taken.saturating_sub(self.before), waits, since) {
            (self.since, self.before, self.has_moved) = (now, taken, true);
        }
        self.has_moved && now.saturating_duration_since(self.since) < STILL
    }
}

/// Of what nothing is known, nothing is taken.
fn taken_of(connection: Option<Taken>) -> u64 {
    connection.map_or(0, |taken| (taken.read)(taken.socket))
}

/// Whether so many bytes in so long are enough for all that wait.
fn is_enough(taken: u64, waits: usize, since: Duration) -> bool {
    let least = MOVES as f64 * waits.max(1) as f64 * since.as_secs_f64();
    taken > 0 && taken as f64 >= least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timer_now;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn who_takes_enough_for_all_that_wait_moves() {
        let second = Duration::from_secs(1);
        for (case, taken, waits, want) in [
            ("nothing", 0, 1, false),
            ("too little", 1 << 10, 1, false),
            ("enough", 32 << 10, 1, true),
            ("not for two", 32 << 10, 2, false),
        ] {
            assert_eq!(is_enough(taken, waits, second), want, "{case}");
        }
    }

    #[test]
    fn who_took_much_at_once_stands_still_two_seconds_after_he_was_seen_to() {
        static TAKEN: AtomicU64 = AtomicU64::new(0);
        let connection = Taken {
            socket: -1,
            read: |_| TAKEN.load(Relaxed),
        };
        let began = timer_now().into_std();
        let mut progress = Progress::new(Some(connection), began);
        let mut at = |ms: u64, taken: u64| {
            TAKEN.store(taken, Relaxed);
            let now = began + Duration::from_millis(ms);
            (progress.moves(1, now), now - progress.since())
        };
        let (none, rest) = (Duration::ZERO, Duration::from_millis);
        assert_eq!(at(100, 0), (false, rest(100)), "it never did");
        assert_eq!(at(1000, 9 << 20), (true, none), "it did");
        assert_eq!(at(2999, 9 << 20), (true, rest(1999)), "it rests");
        assert_eq!(at(3000, 9 << 20), (false, rest(2000)), "for too long");
        assert_eq!(at(3100, 10 << 20), (true, none), "it does again");
        assert_eq!(at(5200, (10 << 20) + 1), (false, rest(2100)), "too little");
    }
}
