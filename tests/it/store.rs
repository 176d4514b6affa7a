//! The store under threads: weights, eviction, and memory that always comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use warren::cache::body::BodyWriter;
use warren::cache::budget::{Budget, CHUNK_BYTES};
use warren::cache::cache_control::CacheControl;
use warren::cache::head::{HeadLines, empty};
use warren::cache::key::{Key, NO_HEADERS};
use warren::cache::lifetime::{Freshness, Lifetime};
use warren::cache::object::{Name, Object};
use warren::cache::store::Store;
use warren::clock::Clock;
use warren::hls::Kind;
use warren::origin::Validators;
use warren::path::CanonicalPath;

const BUDGET: usize = 32 << 20;

fn key(name: &str) -> Key {
    let path = CanonicalPath::parse(name).expect("a path");
    Key::new(1, false, &path, [], NO_HEADERS)
}

/// An object whose every byte is `fill`; `None` where the budget has no room.
fn object(store: &Store, len: u64, fill: u8) -> Option<Arc<Object>> {
    let mut writer = BodyWriter::with_length(&store.budget, len).ok()?;
    let mut left = usize::try_from(len).expect("small");
    while left > 0 {
        let spare = writer.spare().expect("taken ahead");
        let count = spare.len().min(left);
        spare[..count].fill(fill);
        writer.advance(count);
        left -= count;
    }
    let freshness = Freshness {
        stored_at: Clock::default().monotonic(),
        age_on_arrival: Duration::ZERO,
        lifetime: Lifetime {
            fresh: Duration::from_secs(60),
            ..Lifetime::default()
        },
    };
    Some(Arc::new(Object {
        status: 200,
        lines: HeadLines::of(&empty(200)),
        head: empty(200),
        body: writer.finish(),
        part: None,
        decoded: None,
        kind: Kind::Segment,
        pace: None,
        freshness,
        validators: Validators::default(),
        control: CacheControl::default(),
        fingerprint: "".into(),
        bypass: None,
        permit: store.budget.take(1024),
        name: Name::new(1, CanonicalPath::parse("/").expect("a path"), Vec::new(), 0),
        hits: Default::default(),
        stored: std::sync::atomic::AtomicBool::new(false),
    }))
}

fn put(store: &Store, name: &str, len: u64, fill: u8) -> bool {
    // As a pull does: what was evicted is given back when no thread looks any more.
    let again = (0..50).find_map(|_| {
        let made = object(store, len, fill);
        if made.is_none() {
            store.make_room();
            std::thread::sleep(Duration::from_millis(10));
        }
        made
    });
    let Some(object) = again else { return false };
    store.insert(&key(name), &object);
    true
}

#[test]
fn a_full_store_turns_over_and_never_exceeds_its_budget() {
    let store = Store::new(Budget::new(BUDGET));
    let mut refused = 0;
    for i in 0..600u32 {
        // Asked for before it is stored, as every pulled object is.
        store.get(&key(&format!("/s{i}.ts")));
        refused += u32::from(!put(&store, &format!("/s{i}.ts"), 1 << 20, i as u8));
        assert!(store.budget.used() <= BUDGET);
    }
    assert_eq!(refused, 0, "there is always room for one more pull");
    let stored = (0..600u32)
        .filter(|i| store.get(&key(&format!("/s{i}.ts"))).is_some())
        .count();
    assert!((15..=32).contains(&stored), "{stored} of 600 are stored");
    assert!(store.evictions().size.load(Relaxed) > 500);
}

#[test]
fn a_million_insertions_of_one_key_leave_one_object_and_eviction_alive() {
    let store = Store::new(Budget::new(BUDGET));
    for i in 0..1_000_000u32 {
        assert!(
            put(&store, "/live/index.m3u8", 2048, i as u8),
            "insertion {i} finds room"
        );
    }
    store.make_room();
    let (objects, bytes) = store.totals();
    assert_eq!(objects, 1);
    assert!(bytes < 8192, "{bytes} bytes for one playlist");
    assert!(
        store.budget.used() < 1 << 20,
        "{} bytes are taken",
        store.budget.used()
    );
    for i in 0..200u32 {
        assert!(
            put(&store, &format!("/s{i}.ts"), 1 << 20, 0),
            "segment {i} finds room"
        );
    }
    assert!(store.budget.used() <= BUDGET);
    assert!(
        store.get(&key("/live/index.m3u8")).is_some(),
        "segments do not push out a playlist"
    );
}

#[test]
fn threads_that_store_read_and_replace_see_only_whole_objects() {
    let store = Arc::new(Store::new(Budget::new(BUDGET)));
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                for round in 0..400u32 {
                    let name = format!("/s{}.ts", (round + u32::from(thread) * 7) % 60);
                    let sizes = [3_000, 300_000, 900_000];
                    put(&store, &name, sizes[round as usize % 3], thread);
                    if let Some(object) = store.get(&key(&name)) {
                        let mut bytes = object.body.slices(0..object.body.len()).flatten();
                        let first = bytes.next();
                        assert!(
                            bytes.all(|byte| Some(byte) == first),
                            "an object is all of one piece"
                        );
                    }
                    assert!(store.budget.used() <= BUDGET);
                }
            });
        }
    });
}

#[test]
fn a_reader_keeps_its_object_through_eviction_and_gives_the_memory_back() {
    let store = Store::new(Budget::new(BUDGET));
    assert!(put(&store, "/old.ts", 1 << 20, 7));
    let held = store.get(&key("/old.ts")).expect("stored");
    let slices: Vec<_> = held.body.slices(0..held.body.len()).collect();
    drop(held);
    for i in 0..100u32 {
        put(&store, &format!("/s{i}.ts"), 1 << 20, 0);
    }
    assert!(
        slices
            .iter()
            .all(|slice| slice.iter().all(|byte| *byte == 7))
    );
    drop(slices);
    drop(store.budget.chunk());
    assert!(store.budget.used() <= BUDGET + CHUNK_BYTES);
}

#[test]
fn small_bodies_may_have_all_of_the_memory() {
    let store = Store::new(Budget::new(BUDGET));
    for i in 0..20_000 {
        put(&store, &format!("/{i}.aac"), 2 << 10, 1);
    }
    let (_, bytes) = store.totals();
    assert!(store.evictions().size.load(Relaxed) > 0);
    assert!(
        bytes * 100 >= BUDGET as u64 * 75 * 95 / 100,
        "{bytes} bytes are used"
    );
}

#[test]
fn small_bodies_that_were_asked_for_once_keep_no_film_out() {
    let store = Store::new(Budget::new(BUDGET));
    for i in 0..20_000 {
        put(&store, &format!("/{i}.jpg"), 2 << 10, 1);
    }
    let asked = (1..=100).find(|_| {
        store.get(&key("/film.mp4"));
        put(&store, "/film.mp4", 2 << 20, 2);
        store.get(&key("/film.mp4")).is_some()
    });
    assert!(
        asked.is_some_and(|times| times <= 20),
        "stored after {asked:?}"
    );
    let film = store.get(&key("/film.mp4")).expect("stored");
    assert_eq!(film.pinned(), 0, "its bytes are the cache's");
    assert!(store.totals().1 <= BUDGET as u64 * 75 / 100);
}

#[test]
fn what_is_asked_for_again_stays_though_films_filled_the_memory_first() {
    let store = Store::new(Budget::new(BUDGET));
    for i in 0..40 {
        put(&store, &format!("/{i}.mp4"), 2 << 20, 1);
    }
    let (mut hits, mut asks, mut state) = (0, 0, 12_345u64);
    for turn in 0..60_000u64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let is_song = turn % 2 == 0;
        let name = match is_song {
            true => format!("/song/{}.aac", (state >> 33) % 400),
            false => format!("/once/{turn}.aac"),
        };
        let hit = store.get(&key(&name)).is_some();
        if is_song && turn > 30_000 {
            (asks, hits) = (asks + 1, hits + u32::from(hit));
        }
        if !hit {
            put(&store, &name, 40 << 10, 2);
        }
    }
    // 400 of 42 KB are 16 of 24 MB.
    assert!(hits * 100 >= asks * 97, "{hits} of {asks}");
}
