#!/usr/bin/env bash
# moka 0.12.16 (Rust), a cache with a weigher and its default policy (TinyLFU).
#
# One would guess that an entry which is asked for again and again is stored sooner
# or later. Seen: in a full cache of entries of weight 10, each read once, an entry
# of weight 1,000 is not stored after 20,000 reads and inserts, because it has to be
# asked for more often than all entries together that it would push out, and its
# count ends at 15. Stored at once is it where the key is there already: inserted
# with weight 0, which is admitted, and then updated to 1,000.
#
# Prints both; fails where either changes. Needs cargo.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "heavy"
version = "0.0.0"
edition = "2021"
[dependencies]
moka = { version = "=0.12.16", features = ["sync"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use moka::sync::Cache;

const HEAVY: u64 = 1 << 40;

fn put(cache: &Cache<u64, u32>, key: u64, weight: u32) -> bool {
    cache.insert(key, weight);
    cache.run_pending_tasks();
    cache.contains_key(&key)
}

/// Full of light entries, each read once.
fn full() -> Cache<u64, u32> {
    let builder = Cache::builder().max_capacity(100_000);
    let cache = builder.weigher(|_: &u64, weight: &u32| *weight).build();
    for key in 0..10_000 {
        put(&cache, key, 10);
    }
    for key in 0..10_000 {
        cache.get(&key);
    }
    cache
}

fn main() {
    let cache = full();
    let asked = (1..=20_000).find(|_| {
        cache.get(&HEAVY);
        put(&cache, HEAVY, 1_000)
    });
    println!("inserted: stored after {asked:?} of 20000");
    let cache = full();
    let updated = put(&cache, HEAVY, 0) && put(&cache, HEAVY, 1_000);
    println!("inserted with weight 0 and updated: stored {updated}");
    let changed = asked.is_some() || !updated;
    std::process::exit(i32::from(changed));
}
RUST
cargo run --quiet --release --manifest-path "$folder/Cargo.toml"
