//! The pure functions that every request runs through.
//!
//! `cargo bench --bench hot` prints a time for each; compare only within one run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or a tool fails by panicking"
)]

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use warren::cache::key::Key as CacheKey;
use warren::hls::Playlist;
use warren::path::CanonicalPath;
use warren::token::sign::{Options, sign};
use warren::token::{Evidence, Key, Policy, Scheme, Target};

const EXPIRES: u64 = 1_893_456_000;

fn verify(c: &mut Criterion) {
    let key = Key::new("k", b"benchkey-0123456789").unwrap();
    let policy = Policy::new(vec![key.clone()]);
    let evidence = Evidence {
        now: EXPIRES - 60,
        client_ip: IpAddr::from([192, 0, 2, 1]),
        country: None,
    };
    for scheme in [Scheme::Hs256, Scheme::Sha256] {
        let target = sign(
            "/v/s1/seg_00001.ts",
            &key,
            scheme,
            EXPIRES,
            &Options::default(),
        )
        .unwrap();
        c.bench_function(&format!("verify {}", scheme.name()), |b| {
            b.iter(|| {
                let target = Target::parse(black_box(&target)).unwrap();
                policy.verify(&target, &evidence).is_ok()
            });
        });
    }
}

fn key(c: &mut Criterion) {
    let path = CanonicalPath::parse("/v/s1/seg_00001.ts").unwrap();
    c.bench_function("cache key", |b| {
        b.iter(|| CacheKey::new(7, black_box(&path), []))
    });
}

fn playlist(c: &mut Criterion) {
    let mut body = String::from("#EXTM3U\n#EXT-X-TARGETDURATION:6\n");
    for i in 0..100 {
        body.push_str(&format!("#EXTINF:6.0,\nseg_{i:05}.ts\n"));
    }
    c.bench_function("playlist scan, 100 segments", |b| {
        b.iter(|| Playlist::scan(black_box(body.as_bytes())))
    });
}

criterion_group!(benches, verify, key, playlist);
criterion_main!(benches);
