//! What the memory for bodies is best kept for: hit ratios of ways to admit and
//! to evict, on traces of requests with their bodies' sizes.
//!
//! `cargo bench --bench admission` prints them; the figures and the choice are in
//! `docs/reference/caching.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or a tool fails by panicking"
)]

use std::collections::HashMap;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Bytes that may be stored.
const CAPACITY: u64 = 512 << 20;
const SMALL_BYTES: u32 = 64 << 10;
/// What a refused object is reachable for, in requests of the trace.
const LINGER: usize = 300;
/// What is asked for once.
const ONCE: u64 = 1 << 40;

const MOST_REFUSED: u32 = 16;

const KB: u32 = 1 << 10;
const MB: u32 = 1 << 20;

/// One request: an object and its bytes.
type Ask = (u64, u32);

/// Picks 0..n with weight 1/(rank+1).
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(n: u32) -> Self {
        let mut sum = 0.0;
        let weights = (1..=n).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self(weights.collect())
    }

    fn pick(&self, rng: &mut StdRng) -> u64 {
        let at = rng.random::<f64>() * self.0.last().unwrap();
        self.0.partition_point(|sum| *sum < at) as u64
    }
}

/// 60 live channels: at each tick a segment of each is new, and 600 viewers ask
/// for the playlist and a segment near the edge.
fn live(rng: &mut StdRng, bytes: u32) -> Vec<Ask> {
    let (mut trace, channels) = (Vec::new(), Zipf::new(60));
    for tick in 0..400u64 {
        for _ in 0..600 {
            let channel = channels.pick(rng);
            let behind = rng.random_range(0..3u64);
            trace.push((channel << 32 | 0xffff_ffff, 2 * KB));
            trace.push((channel << 32 | (tick + 5 - behind), bytes));
        }
    }
    trace
}

/// A catalogue from which viewers take titles by rank and watch a run of each.
fn catalogue(rng: &mut StdRng, titles: u32, parts: u64, bytes: u32) -> Vec<Ask> {
    let (mut trace, by_rank) = (Vec::new(), Zipf::new(titles));
    let mut viewers: Vec<(u64, u64)> = vec![(0, parts); 200];
    while trace.len() < 400_000 {
        let at = rng.random_range(0..viewers.len());
        let (title, part) = &mut viewers[at];
        if *part >= parts {
            (*title, *part) = (by_rank.pick(rng), 0);
            trace.push((*title << 32 | 0xffff_ffff, 2 * KB));
        }
        trace.push((*title << 32 | *part, bytes));
        *part += if rng.random_bool(0.02) { parts } else { 1 };
    }
    trace
}

/// What many ask for while a crawler reads everything else once.
fn crawled(rng: &mut StdRng, popular: Vec<Ask>, sizes: &[u32]) -> Vec<Ask> {
    let with_others = popular.into_iter().enumerate().flat_map(|(at, ask)| {
        [
            ask,
            (ONCE | at as u64, sizes[rng.random_range(0..sizes.len())]),
        ]
    });
    with_others.collect()
}

/// What many ask for once memory is full of small bodies that were asked for once.
fn after(popular: Vec<Ask>) -> Vec<Ask> {
    let others = (0..CAPACITY / u64::from(2 * KB) * 2).map(|at| (ONCE | at, 2 * KB));
    others.chain(popular).collect()
}

/// Bodies of a crawl.
const ALL: [u32; 3] = [2 * KB, 48 * KB, 2 * MB];

/// Where objects are kept.
trait Store {
    fn get(&self, ask: Ask) -> bool;
    /// False: it is refused.
    fn put(&mut self, ask: Ask) -> bool;
    fn used(&self) -> u64;
}

fn cache(capacity: u64, policy: EvictionPolicy) -> Cache<u64, u32> {
    Cache::builder()
        .max_capacity(capacity / 64)
        .weigher(|_, bytes: &u32| bytes.div_ceil(64))
        .eviction_policy(policy)
        .build()
}

fn put(cache: &Cache<u64, u32>, (key, bytes): Ask) -> bool {
    cache.insert(key, bytes);
    cache.run_pending_tasks();
    cache.contains_key(&key)
}

/// One cache.
struct One(Cache<u64, u32>);

impl Store for One {
    fn get(&self, ask: Ask) -> bool {
        self.0.get(&ask.0).is_some()
    }
    fn put(&mut self, ask: Ask) -> bool {
        put(&self.0, ask)
    }
    fn used(&self) -> u64 {
        self.0.weighted_size() * 64
    }
}

/// As in `cache/store.rs`: TinyLFU, but what was refused so often is let in.
struct Fair {
    stored: Cache<u64, (u32, bool)>,
    refused: Cache<u64, u32>,
}

impl Fair {
    fn new() -> Self {
        let weigh = |_: &u64, (bytes, light): &(u32, bool)| match light {
            true => 0,
            false => bytes.div_ceil(64),
        };
        let builder = Cache::builder().max_capacity(CAPACITY / 64).weigher(weigh);
        Self {
            stored: builder.build(),
            refused: Cache::new(CAPACITY / (64 << 10)),
        }
    }

    fn insert(&self, (key, bytes): Ask, light: bool) -> bool {
        self.stored.insert(key, (bytes, light));
        self.stored.run_pending_tasks();
        self.stored.contains_key(&key)
    }
}

impl Store for Fair {
    fn get(&self, ask: Ask) -> bool {
        self.stored.get(&ask.0).is_some()
    }
    fn put(&mut self, ask: Ask) -> bool {
        if self.insert(ask, false) {
            return true;
        }
        let before = self.refused.get(&ask.0).unwrap_or_default();
        if before + 1 < MOST_REFUSED {
            self.refused.insert(ask.0, before + 1);
            return false;
        }
        self.refused.invalidate(&ask.0);
        // What is there is updated, whatever it weighs.
        self.insert(ask, true) && self.insert(ask, false)
    }
    fn used(&self) -> u64 {
        self.stored.weighted_size() * 64
    }
}

/// Small and large ones apart, 15 and 85 %.
struct Two(Cache<u64, u32>, Cache<u64, u32>);

impl Two {
    fn new() -> Self {
        let part = |percent| cache(CAPACITY * percent / 100, EvictionPolicy::tiny_lfu());
        Self(part(15), part(85))
    }

    fn of(&self, bytes: u32) -> &Cache<u64, u32> {
        if bytes <= SMALL_BYTES {
            &self.0
        } else {
            &self.1
        }
    }
}

impl Store for Two {
    fn get(&self, ask: Ask) -> bool {
        self.of(ask.1).get(&ask.0).is_some()
    }
    fn put(&mut self, ask: Ask) -> bool {
        put(self.of(ask.1), ask)
    }
    fn used(&self) -> u64 {
        (self.0.weighted_size() + self.1.weighted_size()) * 64
    }
}

/// Of what is asked for more than once: hits, and the bytes that were hits; and
/// the part of the memory that is used in the end.
fn run(store: &mut dyn Store, trace: &[Ask]) -> (f64, f64, f64) {
    let mut lingering: HashMap<u64, usize> = HashMap::new();
    let (mut asks, mut hits, mut bytes, mut bytes_hit) = (0u64, 0u64, 0u64, 0u64);
    for (at, ask) in trace.iter().enumerate() {
        let lingers = lingering.get(&ask.0).is_some_and(|until| at < *until);
        let stored = store.get(*ask);
        let hit = stored || lingers;
        if ask.0 < ONCE {
            (asks, bytes) = (asks + 1, bytes + u64::from(ask.1));
            hits += u64::from(hit);
            bytes_hit += if hit { u64::from(ask.1) } else { 0 };
        }
        if !stored && !store.put(*ask) && !lingers {
            lingering.insert(ask.0, at + LINGER);
        }
    }
    let used = store.used() as f64 / CAPACITY as f64;
    (
        hits as f64 / asks as f64,
        bytes_hit as f64 / bytes as f64,
        used,
    )
}

fn main() {
    println!("hits / hits by bytes (memory used), of what is asked for more than once");
    for seed in 1..=3 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let film = catalogue(rng, 300, 60, 2 * MB);
        let music = catalogue(rng, 3_000, 50, 48 * KB);
        let mixed = film
            .iter()
            .zip(&music)
            .flat_map(|(a, b)| [*a, (b.0 | 1 << 39, b.1)]);
        let traces = [
            ("live, 2 MB", live(rng, 2 * MB)),
            ("live, audio", live(rng, 48 * KB)),
            ("live, parts", live(rng, 30 * KB)),
            ("films", film.clone()),
            ("music", music.clone()),
            ("both", mixed.collect()),
            ("films, crawled", crawled(rng, film.clone(), &ALL)),
            ("films, posters", crawled(rng, film.clone(), &[2 * KB])),
            ("films, at last", after(film.clone())),
            ("music, crawled", crawled(rng, music.clone(), &ALL)),
        ];
        for (name, trace) in traces {
            let tiny = EvictionPolicy::tiny_lfu;
            let ways: [(&str, Box<dyn Store>); 4] = [
                ("by size", Box::new(Two::new())),
                ("TinyLFU", Box::new(One(cache(CAPACITY, tiny())))),
                ("LRU", Box::new(One(cache(CAPACITY, EvictionPolicy::lru())))),
                ("Warren", Box::new(Fair::new())),
            ];
            print!("{seed} {name:<20}");
            for (way, mut store) in ways {
                let (hits, bytes, used) = run(&mut *store, &trace);
                print!("  {way} {hits:.3}/{bytes:.3} ({used:.2})");
            }
            println!();
        }
    }
}
