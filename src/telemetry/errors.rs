//! What viewers were answered with 400 and more: of each zone, status and reason
//! how often, when last, and for which paths.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Paths that are told of each.
const PATHS: usize = 5;
/// Paths that are taken in one second.
const IN_A_SECOND: u32 = 10;
/// Characters of a path.
const LONGEST: usize = 200;
/// Zones × statuses × reasons are some hundreds. Beyond, those that are not known
/// yet are not counted.
const MOST: usize = 4_096;

/// Answers of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// A zone's number, 0 for none.
    pub zone: u32,
    pub status: u16,
    pub reason: Option<&'static str>,
}

/// What is known of them; times in Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub count: u64,
    pub first: u64,
    pub last: u64,
    /// The last one first.
    pub paths: VecDeque<(u64, String)>,
    /// Paths that were taken in the second of the last one.
    taken: u32,
}

/// Since the start.
#[derive(Default)]
pub struct Errors(Mutex<HashMap<Kind, Seen>>);

impl Errors {
    /// Counts one. In a second few paths are asked for: a flood pays for no more
    /// than a count.
    pub fn count(&self, kind: Kind, now: u64, path: impl FnOnce() -> Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&kind) {
            return;
        }
        let seen = all.entry(kind).or_default();
        if seen.count == 0 {
            seen.first = now;
        }
        if seen.last != now {
            seen.taken = 0;
        }
        seen.count += 1;
        seen.last = now;
        seen.taken += 1;
        if seen.taken > IN_A_SECOND {
            return;
        }
        let Some(path) = path() else { return };
        let path: String = path.chars().take(LONGEST).collect();
        seen.paths.retain(|(_, other)| *other != path);
        seen.paths.push_front((now, path));
        seen.paths.truncate(PATHS);
    }

    /// All of them, the latest first.
    pub fn read(&self) -> Vec<(Kind, Seen)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all
            .iter()
            .map(|(kind, seen)| (*kind, seen.clone()))
            .collect();
        all.sort_by_key(|(kind, seen)| {
            let latest = std::cmp::Reverse((seen.last, seen.count));
            (latest, kind.zone, kind.status, kind.reason)
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: Kind = Kind {
        zone: 1,
        status: 404,
        reason: None,
    };

    #[test]
    fn each_kind_has_its_last_paths_and_a_flood_asks_for_few_of_them() {
        let errors = Errors::default();
        for number in 0..4_000_u64 {
            let path = || match number % 1_000 {
                0..10 => Some(format!("/{}", number % 7)),
                later => panic!("path {later} in one second"),
            };
            errors.count(MISSING, 100 + number / 1_000, path);
        }
        let refused = Kind {
            status: 403,
            reason: Some("expired"),
            ..MISSING
        };
        errors.count(refused, 102, || Some("é".repeat(1_000)));
        let all = errors.read();
        let [(first, missing), (second, other)] = all.as_slice() else {
            panic!("two kinds: {all:?}");
        };
        assert_eq!((*first, *second), (MISSING, refused));
        assert_eq!(
            (missing.count, missing.first, missing.last),
            (4_000, 100, 103)
        );
        let paths: Vec<_> = missing
            .paths
            .iter()
            .map(|(_, path)| path.as_str())
            .collect();
        assert_eq!(paths, ["/6", "/5", "/4", "/3", "/2"]);
        assert_eq!(other.paths[0].1.chars().count(), LONGEST);
    }

    #[test]
    fn there_are_only_so_many_kinds() {
        let errors = Errors::default();
        for zone in 0..5_000 {
            errors.count(Kind { zone, ..MISSING }, 1, || None);
        }
        assert_eq!(errors.read().len(), MOST);
    }
}
