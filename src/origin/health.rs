//! Pure: whether an endpoint is asked: a circuit breaker with half-open tries.

use std::time::{Duration, Instant};

/// Failures in a row after which an endpoint is left alone, and how long it
/// must have answered nobody: an origin that some objects make fail goes on
/// answering for others meanwhile.
const FAILURES_TO_OPEN: u32 = 5;
const SILENCE_TO_OPEN: Duration = Duration::from_secs(1);
/// How long it is left alone, doubled behind each try in vain.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is known of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is asked; so many of its last answers in a row were failures, the
    /// first of them at that time.
    Up {
        failures: u32,
        since: Option<Instant>,
    },
    /// It is left alone until then, when one request may try it.
    Down { until: Instant, pause: Duration },
}

impl Default for Health {
    fn default() -> Self {
        Health::Up {
            failures: 0,
            since: None,
        }
    }
}

impl Health {
    pub const fn is_up(self) -> bool {
        matches!(self, Health::Up { .. })
    }

    /// Whether an endpoint that is down may be tried by one request now. The
    /// next may after twice the pause, whatever becomes of this one: it might
    /// never tell.
    pub fn tries(&mut self, now: Instant) -> bool {
        match self {
            Health::Up { .. } => true,
            Health::Down { until, .. } if now < *until => false,
            Health::Down { until, pause } => {
                *pause = (*pause * 2).min(LONGEST_PAUSE);
                *until = now + *pause;
                true
            }
        }
    }

    /// It has answered. True where it was down.
    pub fn succeed(&mut self) -> bool {
        let was_down = !self.is_up();
        *self = Health::default();
        was_down
    }

    /// It has not. True where it is left alone from now on.
    pub fn fail(&mut self, now: Instant) -> bool {
        let Health::Up { failures, since } = self else {
            // Of requests that were under way, or of its one try.
            return false;
        };
        *failures += 1;
        let silent = now.saturating_duration_since(*since.get_or_insert(now));
        let opens = *failures >= FAILURES_TO_OPEN && silent >= SILENCE_TO_OPEN;
        if opens {
            *self = Health::Down {
                until: now + FIRST_PAUSE,
                pause: FIRST_PAUSE,
            };
        }
        opens
    }
}

/// Which endpoint the next try goes to: in their order the first that is up
/// and was not `tried`; else one that is down and whose time for a try has
/// come; else, where only the tried one is left, that one again. With `checked`
/// endpoints that are down are found out by health checks, and no request is
/// risked for them while another is up. `None`: all are left alone.
pub fn choose(
    endpoints: &mut [Health],
    tried: Option<usize>,
    checked: bool,
    now: Instant,
) -> Option<usize> {
    let other = |at: &usize| Some(*at) != tried;
    let up = (0..endpoints.len())
        .filter(other)
        .find(|at| endpoints[*at].is_up());
    let better = match up {
        Some(up) if checked => return Some(up),
        // Those before it are down, and only a request finds out for how long.
        Some(up) => 0..up,
        None => 0..endpoints.len(),
    };
    let due = better.filter(other).find(|at| endpoints[*at].tries(now));
    due.or(up)
        .or_else(|| tried.filter(|at| endpoints[*at].is_up()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn down(now: Instant) -> Health {
        let mut health = Health::default();
        let at = |quarter| now - S + S / 4 * quarter;
        let opened: Vec<bool> = (0..=4).map(|quarter| health.fail(at(quarter))).collect();
        assert_eq!(opened, [false, false, false, false, true]);
        health
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_closes_it() {
        let now = start();
        let mut health = Health::default();
        for second in 0..20 {
            let at = now + S * second / 2;
            assert!(!health.fail(at) && !health.fail(at) && !health.fail(at));
            assert!(!health.succeed(), "it was never down");
        }
        for _ in 0..50 {
            assert!(!health.fail(now), "it may answer others");
        }
        let mut health = down(now);
        assert!(!health.is_up());
        assert!(health.succeed());
        assert_eq!(health, Health::default());
    }

    #[test]
    fn one_request_at_a_time_tries_an_endpoint_that_is_down_ever_more_seldom() {
        let now = start();
        let mut health = down(now);
        let mut tried = Vec::new();
        for tenth in 0..400 {
            let at = now + S * tenth / 10;
            if health.tries(at) {
                tried.push(tenth / 10);
                // What comes of it late does no more harm.
                assert!(!health.fail(at));
            }
        }
        assert_eq!(tried, [1, 3, 7, 15, 25, 35]);
    }

    #[test]
    fn a_try_goes_to_the_first_endpoint_that_is_likely_to_answer() {
        let now = start();
        let up = Health::default();
        let table = [
            ("all up", vec![up, up], None, false, 0, Some(0)),
            ("second try", vec![up, up], Some(0), false, 0, Some(1)),
            ("first down", vec![down(now), up], None, false, 0, Some(1)),
            ("first due", vec![down(now), up], None, false, 1, Some(0)),
            ("checked", vec![down(now), up], None, true, 1, Some(1)),
            (
                "tried is up",
                vec![down(now), up],
                Some(1),
                true,
                0,
                Some(1),
            ),
            ("all down", vec![down(now), down(now)], None, true, 0, None),
            (
                "due again",
                vec![down(now), down(now)],
                None,
                true,
                1,
                Some(0),
            ),
            (
                "other due",
                vec![down(now), down(now)],
                Some(0),
                true,
                1,
                Some(1),
            ),
            ("alone, up", vec![up], Some(0), false, 0, Some(0)),
            ("alone, down", vec![down(now)], None, false, 0, None),
            ("alone, tried", vec![down(now)], Some(0), false, 1, None),
        ];
        for (name, mut endpoints, tried, checked, after, want) in table {
            let chosen = choose(&mut endpoints, tried, checked, now + S * after);
            assert_eq!(chosen, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn somebody_is_asked_while_anybody_is_up(ups in prop::collection::vec(any::<bool>(), 1..5), checked: bool, tried in prop::option::of(0usize..5)) {
            let now = start();
            let mut endpoints: Vec<Health> = ups.iter().map(|up| if *up { Health::default() } else { down(now) }).collect();
            let tried = tried.filter(|at| *at < endpoints.len());
            match choose(&mut endpoints, tried, checked, now) {
                Some(at) => prop_assert!(ups[at]),
                None => prop_assert!(!ups.contains(&true)),
            }
        }
    }
}
