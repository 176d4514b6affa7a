//! Pure: whether an endpoint is asked: a circuit breaker that counts endpoints
//! and not objects.
//!
//! An endpoint is shut only where no connection comes about. One that fails
//! several keys, and answers no other meanwhile, is doubted: others are asked
//! before it, but where there is no other it is asked all the same.

use std::time::{Duration, Instant};

use super::Failure;

/// Connections in a row that did not come about, and how long before the last
/// of them the first was tried, before an endpoint is shut: a moment's trouble
/// shuts nobody.
const CONNECTIONS_TO_SHUT: u32 = 5;
const SILENCE_TO_SHUT: Duration = Duration::from_secs(1);
/// Different keys that failed while no other was answered: one or two broken
/// objects tell nothing of the endpoint.
const KEYS_TO_DOUBT: usize = 3;
/// Keys that are remembered as failed, so that none of them gets the trial.
const MAX_BROKEN_KEYS: usize = 16;
/// Between two requests that are risked on an endpoint in doubt.
const TRIAL_EVERY: Duration = Duration::from_secs(1);
/// A doubt that no failure has fed for so long is over: nobody asks, and so
/// nobody would find out.
const DOUBT_LASTS: Duration = Duration::from_secs(30);

/// What is known of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    state: State,
    /// Connections in a row that did not come about.
    unconnected: u32,
    /// Since one was answered.
    heads: Tally,
    /// Whose body broke off, since one came whole: a head tells nothing of it.
    bodies: Tally,
}

/// Keys that failed in a row; a health check has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    broken: Vec<Option<u64>>,
    /// The first of them, or the first connection that did not come about.
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    /// Asked where no other is up, and else by one request at a time.
    Doubted { trial: Instant, fed: Instant },
    /// Not asked until a connection comes about.
    Shut { why: Failure },
}

/// What an answer, or none, has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Doubted,
    Shut,
}

/// For what an endpoint is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// A number that tells objects apart.
    pub key: u64,
    /// Something stale covers for a failure: it can wait for better times.
    pub covered: bool,
    /// The endpoint of the first try, or that which cut what is asked for:
    /// others go before it.
    pub tried: Option<usize>,
}

impl Health {
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up)
    }

    pub const fn is_shut(&self) -> bool {
        matches!(self.state, State::Shut { .. })
    }

    /// Some key was answered, by a head. True where the endpoint was not well
    /// and is so again.
    pub fn answer(&mut self) -> bool {
        let was_up = self.is_up();
        (self.unconnected, self.heads) = (0, Tally::default());
        if !self.bodies.is_enough() {
            self.state = State::Up;
        }
        !was_up && self.is_up()
    }

    /// A body has come whole. True where the endpoint was not well.
    pub fn whole(&mut self) -> bool {
        let was_up = self.is_up();
        *self = Health::default();
        !was_up
    }

    /// A connection came about, though nobody has been answered yet: with
    /// health checks it is theirs to say that all is well. True where the
    /// endpoint was shut.
    pub fn connect(&mut self, checked: bool, now: Instant) -> bool {
        let was_shut = self.is_shut();
        if was_shut {
            *self = Health::default();
        }
        if was_shut && checked {
            self.state = State::Doubted {
                trial: now,
                fed: now,
            };
        }
        was_shut
    }

    /// Ends a doubt of long ago.
    pub fn settle(&mut self, now: Instant) {
        if let State::Doubted { fed, .. } = self.state
            && now.saturating_duration_since(fed) >= DOUBT_LASTS
        {
            *self = Health::default();
        }
    }

    /// It has failed a key, or a health check.
    pub fn fail(&mut self, key: Option<u64>, why: Failure, now: Instant) -> Option<Change> {
        self.heads.since.get_or_insert(now);
        if why.is_unconnected() {
            self.unconnected += 1;
        } else {
            self.unconnected = 0;
            self.heads.note(key, now);
        }
        // Of requests that were under way.
        if self.is_shut() {
            return None;
        }
        if self.heads.lasts(now) && self.unconnected >= CONNECTIONS_TO_SHUT {
            self.state = State::Shut { why };
            return Some(Change::Shut);
        }
        self.doubt(self.heads.tells(now), now)
    }

    /// A key's body broke off: it was cut, stood still, or is none.
    pub fn cut(&mut self, key: u64, now: Instant) -> Option<Change> {
        self.bodies.note(Some(key), now);
        self.doubt(self.bodies.tells(now), now)
    }

    /// Goes on with a doubt, or begins one where there is `enough`.
    fn doubt(&mut self, enough: bool, now: Instant) -> Option<Change> {
        match &mut self.state {
            State::Up if enough => {
                let trial = now + TRIAL_EVERY;
                self.state = State::Doubted { trial, fed: now };
                Some(Change::Doubted)
            }
            State::Doubted { fed, .. } => {
                *fed = now;
                None
            }
            State::Up | State::Shut { .. } => None,
        }
    }

    /// Whether this request is the one that is risked now. Not one for a key
    /// that failed itself: it would fail again, and tell nothing.
    fn tries(&mut self, key: u64, now: Instant) -> bool {
        let failed = self.heads.has(key) || self.bodies.has(key);
        match &mut self.state {
            State::Doubted { trial, .. } if now >= *trial && !failed => {
                *trial = now + TRIAL_EVERY;
                true
            }
            State::Up | State::Doubted { .. } | State::Shut { .. } => false,
        }
    }
}

impl Tally {
    fn note(&mut self, key: Option<u64>, now: Instant) {
        self.since.get_or_insert(now);
        if key.is_some() && self.broken.contains(&key) {
            return;
        }
        if self.broken.len() == MAX_BROKEN_KEYS {
            self.broken.remove(0);
        }
        self.broken.push(key);
    }

    fn has(&self, key: u64) -> bool {
        self.broken.contains(&Some(key))
    }

    fn is_enough(&self) -> bool {
        self.broken.len() >= KEYS_TO_DOUBT
    }

    /// More than a moment's trouble.
    fn lasts(&self, now: Instant) -> bool {
        let since = self.since.map(|at| now.saturating_duration_since(at));
        since.is_some_and(|since| since >= SILENCE_TO_SHUT)
    }

    /// Whether it tells of the endpoint.
    fn tells(&self, now: Instant) -> bool {
        self.is_enough() && self.lasts(now)
    }
}

/// Which endpoint the next try goes to: in their order the first that is up
/// and was not tried; before it, one in doubt whose trial is due. With `checked`
/// endpoints in doubt are found out by health checks, and no request is risked
/// for them while another is up. Where none is up those in doubt are asked, but
/// by requests that something stale covers for only as a trial. An error where
/// none can be asked.
pub fn choose(
    endpoints: &mut [Health],
    ask: Ask,
    checked: bool,
    now: Instant,
) -> Result<usize, Failure> {
    endpoints.iter_mut().for_each(|health| health.settle(now));
    let other = |at: &usize| Some(*at) != ask.tried;
    let up = (0..endpoints.len())
        .filter(other)
        .find(|at| endpoints[*at].is_up());
    let better = match up {
        Some(up) if checked => return Ok(up),
        // Those before it are not up, and only a request finds out for how long.
        Some(up) => 0..up,
        None => 0..endpoints.len(),
    };
    let trial = better
        .filter(other)
        .find(|at| endpoints[*at].tries(ask.key, now));
    let again = || ask.tried.filter(|at| endpoints[*at].is_up());
    trial
        .or(up)
        .or_else(again)
        .or_else(|| last_resort(endpoints, ask))
        .ok_or_else(|| why(endpoints))
}

/// One in doubt, another than was tried before.
fn last_resort(endpoints: &[Health], ask: Ask) -> Option<usize> {
    let asked = |at: &usize| !ask.covered && !endpoints[*at].is_shut();
    let other = (0..endpoints.len()).filter(|at| Some(*at) != ask.tried);
    other.chain(ask.tried).find(asked)
}

/// Why nobody can be asked: what has to be mended keeps its name.
fn why(endpoints: &[Health]) -> Failure {
    let shut = endpoints.iter().map(|health| match health.state {
        State::Shut { why } if !why.heals() => why,
        State::Up | State::Doubted { .. } | State::Shut { .. } => Failure::CircuitOpen,
    });
    shut.reduce(|first, next| {
        if first == next {
            first
        } else {
            Failure::CircuitOpen
        }
    })
    .unwrap_or(Failure::CircuitOpen)
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

    fn shut(now: Instant) -> Health {
        let mut health = Health::default();
        for quarter in 0..5 {
            let at = now - S + S / 4 * quarter;
            health.fail(Some(1), Failure::ConnectRefused, at);
        }
        assert!(health.is_shut());
        health
    }

    fn doubted(now: Instant) -> Health {
        let mut health = Health::default();
        health.fail(Some(1), Failure::ServerError, now - S);
        health.fail(Some(2), Failure::Reset, now);
        let change = health.fail(Some(3), Failure::FirstByteTimeout, now);
        assert_eq!(change, Some(Change::Doubted));
        health
    }

    fn ask(key: u64) -> Ask {
        Ask {
            key,
            covered: false,
            tried: None,
        }
    }

    #[test]
    fn one_or_two_broken_objects_tell_nothing_of_the_endpoint() {
        let now = start();
        let mut health = Health::default();
        for tenth in 0..600 {
            for key in [1, 2] {
                let change = health.fail(Some(key), Failure::ServerError, now + S * tenth / 10);
                assert_eq!(change, None);
            }
        }
        assert!(health.is_up());
    }

    #[test]
    fn bodies_that_break_off_are_a_doubt_that_only_a_whole_one_or_time_ends() {
        let now = start();
        let sick = || {
            let mut health = Health::default();
            for (key, at) in [(1, now - S), (2, now), (3, now)] {
                assert!(health.is_up() && !health.answer());
                let change = health.cut(key, at);
                assert_eq!(change.is_some(), key == 3);
            }
            health
        };
        let mut health = sick();
        assert!(!health.answer() && !health.is_up() && !health.is_shut());
        assert!(health.whole() && health.is_up());
        let mut health = sick();
        health.settle(now + DOUBT_LASTS);
        assert!(health.is_up());
        let mut health = Health::default();
        for second in 0..60 {
            health.cut(u64::from(second) % 2, now + S * second);
            assert!(health.is_up(), "two objects tell nothing");
        }
    }

    #[test]
    fn many_broken_objects_tell_nothing_while_another_is_answered() {
        let now = start();
        let mut health = Health::default();
        for tenth in 0..600 {
            let at = now + S * tenth / 10;
            health.fail(Some(u64::from(tenth % 20)), Failure::Reset, at);
            if tenth % 9 == 0 {
                health.answer();
            }
            assert!(health.is_up(), "{tenth}");
        }
    }

    #[test]
    fn no_connection_shuts_it_and_one_connection_opens_it() {
        let now = start();
        let mut health = Health::default();
        for _ in 0..50 {
            let change = health.fail(Some(1), Failure::ConnectTimeout, now);
            assert_eq!(change, None, "a moment's trouble");
        }
        let change = health.fail(Some(1), Failure::ConnectTimeout, now + S);
        assert_eq!(change, Some(Change::Shut));
        assert!(health.connect(false, now) && health.is_up());
        let mut checked = shut(now);
        assert!(checked.connect(true, now) && !checked.is_up() && !checked.is_shut());
        assert!(checked.answer() && checked.is_up());
    }

    #[test]
    fn a_doubt_that_nothing_feeds_ends() {
        let now = start();
        let mut health = doubted(now);
        health.settle(now + S * 29);
        assert!(!health.is_up());
        health.settle(now + S * 30);
        assert!(health.is_up());
    }

    #[test]
    fn a_trial_comes_each_second_and_not_to_a_key_that_failed() {
        let now = start();
        let mut endpoints = [doubted(now), Health::default()];
        let mut tried = Vec::new();
        for tenth in 0..50 {
            let at = now + S * tenth / 10;
            for key in [1, 2, 3, 4] {
                if choose(&mut endpoints, ask(key), false, at) == Ok(0) {
                    assert_eq!(key, 4);
                    tried.push(tenth);
                    endpoints[0].fail(Some(key + u64::from(tenth)), Failure::Reset, at);
                }
            }
        }
        assert_eq!(tried, [10, 20, 30, 40]);
    }

    #[test]
    fn a_try_goes_to_the_first_endpoint_that_is_likely_to_answer() {
        let (now, up) = (start(), Health::default());
        let down = || shut(now);
        let wavers = || doubted(now);
        let open = Err(Failure::CircuitOpen);
        let second = |tried| Ask {
            tried: Some(tried),
            ..ask(9)
        };
        let covered = Ask {
            covered: true,
            ..ask(9)
        };
        let table = [
            (
                "all up",
                vec![up.clone(), up.clone()],
                ask(9),
                false,
                0,
                Ok(0),
            ),
            (
                "second try",
                vec![up.clone(), up.clone()],
                second(0),
                false,
                0,
                Ok(1),
            ),
            (
                "first in doubt",
                vec![wavers(), up.clone()],
                ask(9),
                false,
                0,
                Ok(1),
            ),
            (
                "trial is due",
                vec![wavers(), up.clone()],
                ask(9),
                false,
                1,
                Ok(0),
            ),
            (
                "due, the key failed",
                vec![wavers(), up.clone()],
                ask(1),
                false,
                1,
                Ok(1),
            ),
            (
                "checked",
                vec![wavers(), up.clone()],
                ask(9),
                true,
                1,
                Ok(1),
            ),
            (
                "tried is up",
                vec![down(), up.clone()],
                second(1),
                false,
                9,
                Ok(1),
            ),
            (
                "shut is not tried",
                vec![down(), up.clone()],
                ask(9),
                false,
                9,
                Ok(1),
            ),
            ("all shut", vec![down(), down()], ask(9), false, 9, open),
            ("alone, in doubt", vec![wavers()], ask(9), false, 0, Ok(0)),
            (
                "alone, the key failed",
                vec![wavers()],
                ask(1),
                false,
                0,
                Ok(0),
            ),
            ("alone, covered", vec![wavers()], covered, false, 0, open),
            (
                "alone, covered, due",
                vec![wavers()],
                covered,
                false,
                1,
                Ok(0),
            ),
            (
                "alone, second try",
                vec![wavers()],
                second(0),
                false,
                0,
                Ok(0),
            ),
            (
                "both in doubt",
                vec![wavers(), wavers()],
                second(0),
                false,
                0,
                Ok(1),
            ),
            ("alone, up", vec![up], second(0), false, 0, Ok(0)),
            ("alone, shut", vec![down()], ask(9), false, 9, open),
        ];
        for (name, mut endpoints, ask, checked, after, want) in table {
            let chosen = choose(&mut endpoints, ask, checked, now + S * after);
            assert_eq!(chosen, want, "{name}");
        }
    }

    #[test]
    fn what_has_to_be_mended_keeps_its_name_while_the_endpoint_is_shut() {
        let now = start();
        let mut distrusted = Health::default();
        for second in 0..5 {
            distrusted.fail(None, Failure::Certificate, now + S * second);
        }
        let chosen = |mut endpoints: Vec<Health>| choose(&mut endpoints, ask(9), false, now);
        assert_eq!(chosen(vec![distrusted.clone()]), Err(Failure::Certificate));
        assert_eq!(
            chosen(vec![distrusted, shut(now)]),
            Err(Failure::CircuitOpen)
        );
    }

    proptest! {
        #[test]
        fn a_cold_object_is_asked_for_wherever_a_connection_comes_about(kinds in prop::collection::vec(0u8..3, 1..5), checked: bool, key in 1u64..9, after in 0u32..3, tried in prop::option::of(0usize..5)) {
            let now = start();
            let mut endpoints: Vec<Health> = kinds.iter().map(|kind| match kind {
                0 => Health::default(),
                1 => doubted(now),
                _ => shut(now),
            }).collect();
            let tried = tried.filter(|at| *at < endpoints.len());
            let asked = Ask { tried, ..ask(key) };
            match choose(&mut endpoints, asked, checked, now + S * after) {
                Ok(at) => prop_assert!(kinds[at] != 2),
                Err(_) => prop_assert!(kinds.iter().all(|kind| *kind == 2)),
            }
        }
    }
}
