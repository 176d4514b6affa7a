//! Pure: what a player's buffer does. Media flows in as segments arrive and out
//! with the clock; where it runs dry the player stalls until more arrives.

use std::time::{Duration, Instant};

/// A player begins once it holds this much, or a whole segment: hls.js begins
/// with its first segment.
const START_WITH: Duration = Duration::from_secs(2);

/// One player's buffer.
#[derive(Debug, Clone)]
pub struct Playback {
    opened: Instant,
    state: State,
    received: Duration,
    stalled: Duration,
    stalls: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Filling,
    /// The buffer runs dry at this instant, unless more comes.
    Playing {
        dry_at: Instant,
    },
}

/// What a viewer saw, up to some instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    pub played: Duration,
    pub stalled: Duration,
    pub stalls: u64,
}

impl Playback {
    pub fn new(now: Instant) -> Self {
        Self {
            opened: now,
            state: State::Filling,
            received: Duration::ZERO,
            stalled: Duration::ZERO,
            stalls: 0,
        }
    }

    /// Takes a segment; returns the startup time where it begins to play now.
    pub fn receive(&mut self, media: Duration, now: Instant) -> Option<Duration> {
        self.received += media;
        match self.state {
            State::Filling if self.received >= START_WITH.min(media) => {
                self.state = State::Playing {
                    dry_at: now + self.received,
                };
                Some(now.saturating_duration_since(self.opened))
            }
            State::Filling => None,
            State::Playing { dry_at } => {
                let late = now.saturating_duration_since(dry_at);
                if !late.is_zero() {
                    self.stalls += 1;
                    self.stalled += late;
                }
                self.state = State::Playing {
                    dry_at: dry_at.max(now) + media,
                };
                None
            }
        }
    }

    /// Media that is not played yet.
    pub fn ahead(&self, now: Instant) -> Duration {
        match self.state {
            State::Filling => self.received,
            State::Playing { dry_at } => dry_at.saturating_duration_since(now),
        }
    }

    /// What was seen until `now`; a buffer that is dry then counts as a stall
    /// unless the stream is over.
    pub fn seen(&self, now: Instant, over: bool) -> Seen {
        let State::Playing { dry_at } = self.state else {
            return Seen::default();
        };
        let dry = now.saturating_duration_since(dry_at);
        let stalls_now = !over && !dry.is_zero();
        Seen {
            played: self.received.saturating_sub(self.ahead(now)),
            stalled: self.stalled + if stalls_now { dry } else { Duration::ZERO },
            stalls: self.stalls + u64::from(stalls_now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn start() -> Instant {
        crate::clock::Clock::default().monotonic()
    }

    #[test]
    fn a_late_segment_is_a_stall_of_its_lateness() {
        let t = start();
        let mut playback = Playback::new(t);
        assert_eq!(playback.receive(secs(4), t + secs(1)), Some(secs(1)));
        assert_eq!(playback.ahead(t + secs(2)), secs(3));
        assert_eq!(playback.receive(secs(4), t + secs(7)), None, "dry since 5");
        let seen = playback.seen(t + secs(9), false);
        assert_eq!(
            (seen.stalls, seen.stalled, seen.played),
            (1, secs(2), secs(6))
        );
        let dry = playback.seen(t + secs(13), false);
        assert_eq!((dry.stalls, dry.stalled, dry.played), (2, secs(4), secs(8)));
        assert_eq!(
            playback.seen(t + secs(13), true).stalls,
            1,
            "the end is no stall"
        );
    }

    #[test]
    fn who_never_began_has_seen_nothing() {
        assert_eq!(Playback::new(start()).seen(start(), false), Seen::default());
    }

    proptest! {
        /// Every second since the start of playing is played or stalled.
        #[test]
        fn time_is_played_or_stalled(gaps in prop::collection::vec((0u64..9_000, 500u64..6_000), 1..20)) {
            let t = start();
            let (mut now, mut playback, mut began) = (t, Playback::new(t), None);
            for (gap, media) in gaps {
                now += Duration::from_millis(gap);
                if playback.receive(Duration::from_millis(media), now).is_some() {
                    began = Some(now);
                }
            }
            if let Some(began) = began {
                let seen = playback.seen(now, false);
                prop_assert_eq!(seen.played + seen.stalled, now - began);
            }
        }
    }
}
