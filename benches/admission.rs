//! TinyLFU against LRU for the cache of large objects, on two traces.
//!
//! `cargo bench --bench admission` prints the hit ratios of both policies; the
//! figures and the choice are in `docs/caching.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or a tool fails by panicking"
)]

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Objects that the cache holds.
const CAPACITY: u64 = 400;

/// Picks 0..n with weight 1/(rank+1).
fn zipf(rng: &mut StdRng, n: u32) -> u32 {
    let harmonic: f64 = (1..=n).map(|rank| 1.0 / f64::from(rank)).sum();
    let mut at = rng.random::<f64>() * harmonic;
    for rank in 1..=n {
        at -= 1.0 / f64::from(rank);
        if at <= 0.0 {
            return rank - 1;
        }
    }
    n - 1
}

/// 60 live channels, five segments each in the window; every tick one segment
/// of each channel is new, and 600 viewers ask for one near the edge.
fn live(rng: &mut StdRng) -> Vec<u64> {
    let mut trace = Vec::new();
    for tick in 0..400u64 {
        for _ in 0..600 {
            let channel = u64::from(zipf(rng, 60));
            let behind = rng.random_range(0..3u64);
            trace.push(channel << 32 | (tick + 5 - behind));
        }
    }
    trace
}

/// A popular catalogue of 300 objects while a crawler reads 100,000 others once.
fn crawl(rng: &mut StdRng) -> Vec<u64> {
    (0..200_000u64)
        .map(|i| {
            if i % 2 == 0 {
                u64::from(zipf(rng, 300))
            } else {
                1 << 40 | i
            }
        })
        .collect()
}

/// Hit ratio of a trace, and of its part that is asked for more than once.
fn hit_ratio(policy: EvictionPolicy, trace: &[u64]) -> (f64, f64) {
    let cache: Cache<u64, ()> = Cache::builder()
        .max_capacity(CAPACITY)
        .eviction_policy(policy)
        .build();
    let (mut hits, mut popular, mut popular_hits) = (0u32, 0u32, 0u32);
    for key in trace {
        let hit = cache.get(key).is_some();
        hits += u32::from(hit);
        if *key < 1 << 40 {
            popular += 1;
            popular_hits += u32::from(hit);
        }
        if !hit {
            cache.insert(*key, ());
            cache.run_pending_tasks();
        }
    }
    (
        f64::from(hits) / trace.len() as f64,
        f64::from(popular_hits) / f64::from(popular),
    )
}

fn main() {
    println!("hit ratio (of what is asked for more than once), {CAPACITY} objects cached");
    for seed in 1..=3 {
        for (name, trace) in [
            ("live", live as fn(&mut StdRng) -> Vec<u64>),
            ("crawl", crawl),
        ] {
            let trace = trace(&mut StdRng::seed_from_u64(seed));
            let (tiny, tiny_popular) = hit_ratio(EvictionPolicy::tiny_lfu(), &trace);
            let (lru, lru_popular) = hit_ratio(EvictionPolicy::lru(), &trace);
            println!(
                "seed {seed} {name:<6} TinyLFU {tiny:.3} ({tiny_popular:.3})  LRU {lru:.3} ({lru_popular:.3})"
            );
        }
    }
}
