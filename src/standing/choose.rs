//! Pure: whose wait is ended where something runs short.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::{Bounds, Holder, Needed};

/// Who takes nothing for so long stands still. Writes are 64 KiB at the most to
/// a viewer who is not quick: who is faster than 32 KiB/s never does.
pub const STILL: Duration = Duration::from_secs(2);
/// Who has taken nothing for so long may be about to stand still: it is worth
/// while to wait and see.
const DOUBTFUL: Duration = Duration::from_millis(500);
/// The same of who was seen to move: how long he pauses tells sooner.
const PAUSED: Duration = Duration::from_millis(250);
/// Who pins more than his share is ended when he has taken nothing for so long.
const LARGE: Duration = Duration::from_millis(500);
/// How far it is looked for a wait that stands still.
const LOOKED_AT: usize = 16;

/// Of the memory: what the waits of one holder may pin while others need it.
const SHARE: usize = 16;

/// The waits that count against [`Bounds`], by holder, the longest first.
pub type Extra = HashMap<Holder, BTreeSet<(Instant, u64)>>;

/// What becomes of one more wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Free,
    /// It takes the place of this one.
    End(u64, Needed),
    Refused(Needed),
}

/// Room for one more wait of a holder: the longest of whoever has most makes
/// way for him who has less, and one that stands still for anybody.
pub fn way(
    extra: &Extra,
    holder: Holder,
    bounds: Bounds,
    now: Instant,
    mut moves: impl FnMut(u64) -> bool,
) -> Way {
    let still = |since: Instant| now.saturating_duration_since(since) >= STILL;
    let mut longest = |waits: &BTreeSet<(Instant, u64)>| {
        let mut first = waits.iter().take(LOOKED_AT).copied();
        first.find(|(_, id)| !moves(*id))
    };
    let own = extra.get(&holder);
    let count = own.map_or(0, BTreeSet::len);
    // Who has a port is one connection, and its streams are bounded by HTTP/2.
    if holder.port() == 0 && count >= bounds.of_one {
        return match own.and_then(&mut longest) {
            Some((since, id)) if still(since) => Way::End(id, Needed::StreamsPerIp),
            _ => Way::Refused(Needed::StreamsPerIp),
        };
    }
    if extra.values().map(BTreeSet::len).sum::<usize>() < bounds.of_all {
        return Way::Free;
    }
    let most = extra
        .values()
        .max_by_key(|waits| (waits.len(), waits.first().map(|(since, _)| now - *since)));
    match most.and_then(|waits| Some((waits.len(), longest(waits)?))) {
        Some((most, (since, id))) if most > count + 1 || still(since) => {
            Way::End(id, Needed::Streams)
        }
        _ => Way::Refused(Needed::Streams),
    }
}

/// A wait that pins memory.
#[derive(Debug, Clone, Copy)]
pub struct Pinned {
    pub id: u64,
    pub holder: Holder,
    /// When it began, or was last seen to move.
    pub since: Instant,
    /// Its viewer moves: it is not ended.
    pub moves: bool,
    pub bytes: usize,
}

/// What is to be done for memory that is needed.
#[derive(Debug, PartialEq, Eq)]
pub struct Relief {
    pub end: Vec<u64>,
    /// Some may be ended in a moment.
    pub later: bool,
}

/// Which waits are ended for so many bytes of a memory of `limit`: of whoever
/// pins most the longest first; only such as stand still, and where a holder
/// pins more than his share, hardly.
pub fn relief(mut pinned: Vec<Pinned>, needed: usize, limit: usize, now: Instant) -> Relief {
    pinned.sort_by_key(|wait| std::cmp::Reverse(wait.since));
    let mut holders: HashMap<Holder, (usize, Vec<Pinned>)> = HashMap::new();
    let (moving, standing): (Vec<_>, Vec<_>) = pinned.into_iter().partition(|wait| wait.moves);
    for wait in standing {
        let (bytes, waits) = holders.entry(wait.holder).or_default();
        *bytes += wait.bytes;
        waits.push(wait);
    }
    let stood = |wait: &Pinned| now.saturating_duration_since(wait.since);
    let (mut end, mut freed) = (Vec::new(), 0);
    while freed < needed {
        let may_end = holders.values_mut().filter(|(bytes, waits)| {
            let longest = waits.last();
            let large = *bytes > limit / SHARE;
            longest.is_some_and(|wait| stood(wait) >= if large { LARGE } else { STILL })
        });
        let Some((bytes, waits)) = may_end.max_by_key(|(bytes, _)| *bytes) else {
            break;
        };
        if let Some(wait) = waits.pop() {
            *bytes -= wait.bytes;
            freed += wait.bytes;
            end.push(wait.id);
        }
    }
    let mut left = holders.values().flat_map(|(_, waits)| waits.last());
    let may_stand =
        left.any(|wait| stood(wait) >= DOUBTFUL) || moving.iter().any(|wait| stood(wait) >= PAUSED);
    Relief {
        later: freed < needed && may_stand,
        end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn holder(text: &str) -> Holder {
        text.parse().expect("an address")
    }

    /// Waits of one holder, by how long they have stood, in milliseconds.
    fn waits(now: Instant, first: u64, stood: &[u64]) -> BTreeSet<(Instant, u64)> {
        let since = |ms: &u64| now - Duration::from_millis(*ms);
        stood.iter().map(since).zip(first..).collect()
    }

    #[test]
    fn one_more_wait_takes_the_place_of_whoever_has_most() {
        let now = Clock::default().monotonic() + Duration::from_secs(60);
        let (one, two, connection) = ("192.0.2.1:0", "192.0.2.2:0", "127.0.0.1:9");
        for (case, of_one, of_all, who, want) in [
            ("there is room", 9, 9, one, Way::Free),
            (
                "the longest of who has most",
                9,
                5,
                two,
                Way::End(2, Needed::Streams),
            ),
            (
                "a stranger too",
                9,
                5,
                connection,
                Way::End(2, Needed::Streams),
            ),
            (
                "who has most waits himself",
                9,
                5,
                one,
                Way::Refused(Needed::Streams),
            ),
            (
                "an address has its share",
                3,
                9,
                one,
                Way::Refused(Needed::StreamsPerIp),
            ),
            ("one connection has none", 0, 9, connection, Way::Free),
        ] {
            let extra = Extra::from([
                (holder(one), waits(now, 1, &[10, 1900, 20, 30])),
                (holder(two), waits(now, 8, &[1950])),
            ]);
            let bounds = Bounds {
                of_one,
                of_all,
                for_viewer: true,
            };
            assert_eq!(
                way(&extra, holder(who), bounds, now, |_| false),
                want,
                "{case}"
            );
        }
    }

    #[test]
    fn who_moves_is_ended_for_nobody() {
        let now = Clock::default().monotonic() + Duration::from_secs(60);
        let (one, two) = (holder("192.0.2.1:0"), holder("192.0.2.2:0"));
        let extra = Extra::from([(one, waits(now, 1, &[9000, 3000, 10]))]);
        let bounds = Bounds {
            of_one: 9,
            of_all: 3,
            for_viewer: true,
        };
        let ways = |moving: &[u64]| way(&extra, two, bounds, now, |id| moving.contains(&id));
        assert_eq!(ways(&[1]), Way::End(2, Needed::Streams));
        assert_eq!(ways(&[1, 2, 3]), Way::Refused(Needed::Streams));
    }

    #[test]
    fn who_stands_still_makes_way_for_anybody() {
        let now = Clock::default().monotonic() + Duration::from_secs(60);
        let one = holder("192.0.2.1:0");
        let extra = Extra::from([(one, waits(now, 1, &[10, 2000, 3000]))]);
        for (case, of_one, of_all, needed) in [
            ("of an address", 3, 9, Needed::StreamsPerIp),
            ("of the node", 9, 3, Needed::Streams),
        ] {
            let bounds = Bounds {
                of_one,
                of_all,
                for_viewer: true,
            };
            assert_eq!(
                way(&extra, one, bounds, now, |_| false),
                Way::End(3, needed),
                "{case}"
            );
        }
    }

    #[test]
    fn memory_comes_from_whoever_pins_most_and_from_who_stands_still() {
        let now = Clock::default().monotonic() + Duration::from_secs(60);
        let pinned = |id, holder: &str, ms, bytes| Pinned {
            id,
            holder: holder.parse().expect("an address"),
            since: now - Duration::from_millis(ms),
            moves: false,
            bytes,
        };
        let (a, b) = ("192.0.2.1:0", "127.0.0.1:9");
        let moving = || {
            vec![
                pinned(1, a, 100, 40),
                pinned(2, a, 590, 40),
                pinned(3, b, 599, 70),
            ]
        };
        let quick = || vec![pinned(1, a, 499, 90)];
        let takes = |ms| {
            let moves = |wait| Pinned {
                moves: true,
                ..wait
            };
            vec![moves(pinned(1, a, ms, 90))]
        };
        let quiet = || vec![pinned(1, a, 600, 4), pinned(2, b, 10, 4)];
        let still = || {
            vec![
                pinned(1, a, 2500, 4),
                pinned(2, b, 2000, 5),
                pinned(3, b, 90, 1),
            ]
        };
        for (case, waits, needed, end, later) in [
            (
                "more than a share: the longest of the largest",
                moving(),
                10,
                vec![2],
                false,
            ),
            ("then of the next", moving(), 100, vec![2, 3], false),
            ("all that pin too much", moving(), 500, vec![2, 3], false),
            (
                "within their shares nobody is ended",
                quiet(),
                10,
                vec![],
                true,
            ),
            ("unless he stands still", still(), 6, vec![2, 1], false),
            ("nor who takes something", quick(), 10, vec![], false),
            ("nor who pauses", takes(1999), 10, vec![], true),
            ("nor who goes on", takes(249), 10, vec![], false),
            ("nobody is there", vec![], 6, vec![], false),
        ] {
            let limit = 50 * SHARE;
            assert_eq!(
                relief(waits, needed, limit, now),
                Relief { end, later },
                "{case}"
            );
        }
    }
}
