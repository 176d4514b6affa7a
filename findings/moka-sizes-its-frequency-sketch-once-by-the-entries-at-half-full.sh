#!/usr/bin/env bash
# moka 0.12.16 (Rust), a cache with a weigher and its default policy (TinyLFU).
#
# One would guess that what a cache held at its beginning does not matter once it is
# gone. Seen: the sketch that counts how often keys are asked for is sized once, when
# the cache is half full, by the number of entries that there are then. A cache whose
# first half was filled by 2 heavy entries keeps popular light ones worse for ever:
# on one trace (5,000 keys that are asked for again, as many that are asked for once)
# 0.89 of the former are hits in the second half, and 0.999 in a cache that was
# filled with light entries.
#
# Prints both ratios; fails where they are closer than 0.05. Needs cargo.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "sketch"
version = "0.0.0"
edition = "2021"
[dependencies]
moka = { version = "=0.12.16", features = ["sync"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use moka::sync::Cache;

fn put(cache: &Cache<u64, u32>, key: u64, weight: u32) {
    cache.insert(key, weight);
    cache.run_pending_tasks();
}

/// Hits of popular keys, of a cache that was filled by entries of this weight.
fn hit_ratio(first: u32) -> f64 {
    let builder = Cache::builder().max_capacity(100_000);
    let cache = builder.weigher(|_: &u64, weight: &u32| *weight).build();
    for key in 0..u64::from(60_000 / first) {
        put(&cache, 1 << 40 | key, first);
    }
    let (mut asks, mut hits, mut state) = (0, 0, 12_345u64);
    for turn in 0..400_000u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let is_popular = turn % 2 == 0;
        let key = if is_popular { (state >> 33) % 5_000 } else { 1 << 50 | turn };
        let hit = cache.get(&key).is_some();
        if is_popular && turn > 200_000 {
            asks += 1;
            hits += u32::from(hit);
        }
        if !hit {
            put(&cache, key, 10);
        }
    }
    f64::from(hits) / f64::from(asks)
}

fn main() {
    let (light, heavy) = (hit_ratio(10), hit_ratio(30_000));
    println!("first filled by 6000 light entries: {light:.3}; by 2 heavy ones: {heavy:.3}");
    std::process::exit(i32::from(light - heavy < 0.05));
}
RUST
cargo run --quiet --release --manifest-path "$folder/Cargo.toml"
