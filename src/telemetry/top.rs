//! Who has asked for what in the last minutes: those who ask most, in bounded
//! memory (the Space-Saving sketch of Metwally, Agrawal and El Abbadi, 2005).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names that are counted in one list of one minute. One that has asked more
/// than all others divided by this is among them.
const COUNTED: usize = 256;
/// Minutes that are kept, the one that runs among them.
const MINUTES: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// Requests of a minute that are counted each; then one of [`SAMPLE`] counts for
/// so many.
const COUNTED_EACH: u64 = 6_000;
const SAMPLE: u32 = 64;
/// The longest name, so that memory is bounded: 5 × 5 × 256 × 200 bytes.
const LONGEST: usize = 160;

/// What requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Clients,
    Tokens,
    Titles,
    Agents,
    Answers,
}

impl List {
    pub const ALL: [List; 5] = [
        List::Clients,
        List::Tokens,
        List::Titles,
        List::Agents,
        List::Answers,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            List::Clients => "clients",
            List::Tokens => "tokens",
            List::Titles => "titles",
            List::Agents => "agents",
            List::Answers => "answers",
        }
    }
}

/// What requests came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub requests: u64,
    pub bytes: u64,
    /// Answers of 400 and more.
    pub errors: u64,
}

impl Sum {
    pub fn add(&mut self, more: Sum) {
        self.requests += more.requests;
        self.bytes += more.bytes;
        self.errors += more.errors;
    }

    const fn times(self, weight: u64) -> Self {
        Self {
            requests: self.requests * weight,
            bytes: self.bytes * weight,
            errors: self.errors * weight,
        }
    }
}

/// A name in a zone, by its number.
pub type Name = (u32, Box<str>);

/// The counters of one list in one minute.
#[derive(Default)]
struct Sketch(HashMap<Name, Sum>);

impl Sketch {
    fn count(&mut self, zone: u32, name: &str, sum: Sum) {
        let name: Box<str> = match name.char_indices().nth(LONGEST) {
            Some((end, _)) => name[..end].into(),
            None => name.into(),
        };
        let name = (zone, name);
        if let Some(known) = self.0.get_mut(&name) {
            return known.add(sum);
        }
        let mut first = Sum::default();
        if self.0.len() >= COUNTED {
            // Who comes new may have been here before: no more often than this.
            let least = self.0.iter().min_by_key(|(_, sum)| sum.requests);
            if let Some((least, counted)) = least.map(|(name, sum)| (name.clone(), *sum)) {
                self.0.remove(&least);
                first.requests = counted.requests;
            }
        }
        first.add(sum);
        self.0.insert(name, first);
    }
}

#[derive(Default)]
struct Minute {
    lists: [Sketch; List::ALL.len()],
    all: Sum,
}

struct Minutes {
    /// The one that runs first.
    kept: Vec<Minute>,
    began: Option<Instant>,
}

/// What is known of the last minutes.
pub struct Top {
    minutes: Mutex<Minutes>,
    /// So many come that not each is counted.
    busy: AtomicBool,
}

impl Default for Top {
    fn default() -> Self {
        Self {
            minutes: Mutex::new(Minutes {
                kept: vec![Minute::default()],
                began: None,
            }),
            busy: AtomicBool::new(false),
        }
    }
}

impl Top {
    /// For how many a request is counted; `None`: it is not. `drawn`: at random.
    pub fn weight(&self, drawn: impl FnOnce() -> u32) -> Option<u64> {
        match self.busy.load(Relaxed) {
            false => Some(1),
            true => drawn().is_multiple_of(SAMPLE).then_some(u64::from(SAMPLE)),
        }
    }

    /// Counts a request in a zone under these names.
    pub fn count(&self, zone: u32, names: &[(List, &str)], sum: Sum, weight: u64, now: Instant) {
        let sum = sum.times(weight);
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        minutes.turn(now);
        let Some(minute) = minutes.kept.first_mut() else {
            return;
        };
        for (list, name) in names {
            minute.lists[*list as usize].count(zone, name, sum);
        }
        minute.all.add(sum);
        self.busy
            .store(minute.all.requests >= COUNTED_EACH, Relaxed);
    }

    /// How long it is looked back, and the sum of a list's names; those of a zone
    /// or of all.
    pub fn read(
        &self,
        list: List,
        zone: Option<u32>,
        now: Instant,
    ) -> (Duration, HashMap<Name, Sum>) {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        minutes.turn(now);
        let began = minutes
            .began
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let before = u32::try_from(minutes.kept.len() - 1).unwrap_or_default();
        let mut all: HashMap<Name, Sum> = HashMap::new();
        for minute in &minutes.kept {
            for (name, sum) in &minute.lists[list as usize].0 {
                if zone.is_none_or(|zone| zone == name.0) {
                    all.entry(name.clone()).or_default().add(*sum);
                }
            }
        }
        (began + MINUTE * before, all)
    }
}

impl Minutes {
    /// Begins the minute that `now` is in.
    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let over = now.saturating_duration_since(began).as_secs() / MINUTE.as_secs();
        if over == 0 {
            return;
        }
        for _ in 0..over.min(MINUTES as u64) {
            self.kept.insert(0, Minute::default());
        }
        self.kept.truncate(MINUTES);
        let over = u32::try_from(over).unwrap_or(u32::MAX);
        self.began = Some(began + MINUTE * over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn some_time() -> Instant {
        Instant::now()
    }

    const ONE: Sum = Sum {
        requests: 1,
        bytes: 10,
        errors: 0,
    };

    fn count(top: &Top, name: &str, now: Instant) {
        top.count(7, &[(List::Clients, name)], ONE, 1, now);
    }

    #[test]
    fn who_asks_most_is_told_whoever_else_asks() {
        let (top, now) = (Top::default(), some_time());
        for number in 0..5_000 {
            count(&top, &format!("crowd {number}"), now);
            if number % 10 == 0 {
                count(&top, "greedy", now);
            }
        }
        let (_, all) = top.read(List::Clients, Some(7), now);
        assert_eq!(all.len(), COUNTED);
        let most = all.iter().max_by_key(|(_, sum)| sum.requests);
        let (name, sum) = most.expect("somebody");
        assert_eq!(&*name.1, "greedy");
        assert!((500..=500 + 5_500 / COUNTED as u64).contains(&sum.requests));
        assert!(top.read(List::Clients, Some(8), now).1.is_empty());
        assert!(top.read(List::Titles, None, now).1.is_empty());
    }

    #[test]
    fn a_minute_is_forgotten_after_five_and_long_names_are_cut() {
        let (top, begin) = (Top::default(), some_time());
        let long = "é".repeat(1_000);
        count(&top, &long, begin);
        let requests = |seconds| {
            let now = begin + Duration::from_secs(seconds);
            let (_, all) = top.read(List::Clients, None, now);
            assert!(all.keys().all(|(_, name)| name.chars().count() == LONGEST));
            all.values().map(|sum| sum.requests).sum::<u64>()
        };
        assert_eq!(requests(59), 1);
        count(&top, &long, begin + Duration::from_secs(61));
        assert_eq!(requests(299), 2);
        assert_eq!(requests(301), 1);
        assert_eq!(requests(361), 0);
    }

    #[test]
    fn in_a_busy_minute_one_request_counts_for_many() {
        let (top, now) = (Top::default(), some_time());
        assert_eq!(top.weight(|| 1), Some(1));
        for _ in 0..COUNTED_EACH {
            count(&top, "a", now);
        }
        assert_eq!(top.weight(|| 1), None);
        assert_eq!(top.weight(|| 64), Some(64));
        top.count(7, &[(List::Clients, "a")], ONE, 64, now);
        let (_, all) = top.read(List::Clients, None, now);
        let sum = all.values().next().copied().expect("one");
        assert_eq!((sum.requests, sum.bytes), (6_064, 60_640));
        count(&top, "a", now + MINUTE);
        assert_eq!(top.weight(|| 1), Some(1));
    }
}
