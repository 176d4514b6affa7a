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
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use warren::cache::body::BodyWriter;
use warren::cache::budget::Budget;
use warren::cache::cache_control::CacheControl;
use warren::cache::head::{HeadFacts, HeadLines, Said, render};
use warren::cache::key::{Key as CacheKey, NO_HEADERS};
use warren::cache::lifetime::{Freshness, Lifetime};
use warren::cache::object::{Name, Object};
use warren::cache::purge::{Mode, Purge};
use warren::cache::store::Store;
use warren::clock::Clock;
use warren::hls::{Kind, Playlist};
use warren::origin::Validators;
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
        revoked: None,
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
        b.iter(|| CacheKey::new(7, false, black_box(&path), [], NO_HEADERS))
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

/// The head of a stored segment, from what an object store answers.
fn head(c: &mut Criterion) {
    let (origin, path) = (origin_headers(), segment_path());
    let said = Said::default();
    let facts = facts(&origin, &path, &said);
    c.bench_function("head of an object", |b| {
        b.iter(|| HeadLines::of(&render(black_box(&facts))))
    });
}

/// A look in memory among 1,000 objects.
fn store(c: &mut Criterion) {
    let store = Store::new(Budget::new(64 << 20));
    let keys: Vec<_> = (0..1000).map(segment_key).collect();
    for key in &keys {
        store.insert(key, &object(&store));
    }
    let mut bench = |name| {
        let mut turn = 0;
        c.bench_function(name, |b| {
            b.iter(|| {
                turn = (turn + 1) % keys.len();
                store
                    .get(black_box(&keys[turn]))
                    .map(|object| object.status)
            })
        });
    };
    bench("store, 1,000 objects");
    for at in 0..10_000 {
        let prefix = Purge::Prefix(format!("/other/{at}/"));
        store.purges.add(7, &prefix, Mode::Hard);
        store
            .purges
            .add(7, &Purge::Tag(format!("tag-{at}")), Mode::Hard);
    }
    bench("store, behind purges of 10,000 prefixes and 10,000 tags");
    assert!(store.get(&keys[0]).is_some(), "a hit");
}

fn segment_path() -> CanonicalPath {
    CanonicalPath::parse("/v/s1/seg_00001.ts").unwrap()
}

fn segment_key(number: usize) -> CacheKey {
    let path = CanonicalPath::parse(&format!("/v/s1/seg_{number:05}.ts")).unwrap();
    CacheKey::new(7, false, &path, [], NO_HEADERS)
}

fn origin_headers() -> HeaderMap {
    let lines = [
        ("content-type", "video/mp2t"),
        ("etag", "\"9b2cf535f27731c974343645a3985328\""),
        ("last-modified", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("cache-control", "public, max-age=86400"),
    ];
    let parsed = |(name, value): (&'static str, &str)| {
        let name = http::HeaderName::from_static(name);
        (name, value.parse().unwrap())
    };
    lines.into_iter().map(parsed).collect()
}

fn facts<'a>(origin: &'a HeaderMap, path: &'a CanonicalPath, said: &'a Said) -> HeadFacts<'a> {
    HeadFacts {
        live_media: None,
        status: 200,
        origin,
        shared: true,
        kind: Kind::Segment,
        path,
        lifetime: Some(Lifetime::default()),
        as_it_came: false,
        zone_id: 7,
        said,
        pulled_at: SystemTime::UNIX_EPOCH,
    }
}

fn object(store: &Store) -> Arc<Object> {
    let (origin, path) = (origin_headers(), segment_path());
    let said = Said::default();
    let head = render(&facts(&origin, &path, &said));
    let body = BodyWriter::with_length(&store.budget, 0).ok().unwrap();
    Arc::new(Object {
        status: 200,
        lines: HeadLines::of(&head),
        head,
        body: body.finish(),
        part: None,
        decoded: None,
        kind: Kind::Segment,
        pace: None,
        freshness: Freshness {
            stored_at: Clock::default().monotonic(),
            age_on_arrival: Duration::ZERO,
            lifetime: Lifetime::default(),
        },
        validators: Validators::default(),
        control: CacheControl::default(),
        fingerprint: "".into(),
        bypass: None,
        permit: None,
        name: Name::new(7, path, Vec::new(), 0),
        hits: Default::default(),
        stored: std::sync::atomic::AtomicBool::new(false),
    })
}

criterion_group!(benches, verify, key, playlist, head, store);
criterion_main!(benches);
