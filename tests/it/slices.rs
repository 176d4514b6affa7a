//! Ranges of what is too large to be kept whole: the same bytes are one pull,
//! and no answer is put together from two states of an object.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::client::Reply;
use crate::edge::{Connection, KEY, Setup, TestEdge, signed};
use crate::origin::{
    DevOrigin, DevOriginOptions, Fault, Object, Reply as Answer, SeenRequest, generated_byte_block,
};

const SEED: u64 = 5;
const MIB: u64 = 1 << 20;
/// More than a quarter of the edge's 16 MiB, so too large to be kept whole.
const LENGTH: u64 = 6 * MIB + 1000;

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put_generated("/media/film.mp4", LENGTH, SEED);
    origin
}

async fn edge(origin: &DevOrigin) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "16MiB";
    setup.access_keys = "[{ name = \"ops\", env = \"KEY\", rights = \"purge\" }]".into();
    setup.start().await
}

fn bytes(seed: u64, range: Range<u64>) -> Vec<u8> {
    let mut body = vec![0; (range.end - range.start) as usize];
    generated_byte_block(seed, range.start, &mut body);
    body
}

async fn part(edge: &TestEdge, range: &str) -> Reply {
    edge.get_with("/film.mp4", &[("Range", range)]).await
}

/// By its URL, which is that of all its slices.
async fn purge(edge: &TestEdge) {
    let body = "{\"urls\":[\"/film.mp4\"],\"zone\":\"test\"}";
    let reply = edge.call("POST", "/v1/purge", KEY, body).await;
    assert_eq!(reply.status, 200);
}

/// How often the origin was asked for each range; "" is the whole.
fn asked(origin: &DevOrigin) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for seen in origin.requests() {
        let range = seen.header("range").unwrap_or_default().to_owned();
        *asked.entry(range).or_default() += 1;
    }
    asked
}

fn slice(number: u64) -> String {
    format!("bytes={}-{}", number * MIB, (number + 1) * MIB - 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_and_overlapping_ranges_of_what_is_too_large_are_one_pull_for_each_slice() {
    let (origin, ranges) = (
        origin().await,
        ["bytes=1048000-2000000", "bytes=1048100-2000000"],
    );
    let edge = edge(&origin).await;
    let gate = origin.hold("/film.mp4", None);
    let mut viewers = Vec::new();
    for number in 0..40 {
        let mut viewer = Connection::open(edge.http()).await;
        let target = signed(&edge.clock, "/film.mp4");
        viewer
            .send("GET", &target, &[("Range", ranges[number % 2])])
            .await;
        viewers.push((number, viewer));
    }
    edge.riding(39).await;
    gate.release();
    for (number, viewer) in &mut viewers {
        let first = [1_048_000, 1_048_100][*number % 2];
        let reply = viewer.reply("GET").await;
        assert_eq!(reply.status, 206);
        let told = format!("bytes {first}-2000000/{LENGTH}");
        assert_eq!(reply.header("content-range"), Some(told.as_str()));
        assert!(reply.whole && reply.body == bytes(SEED, first..2_000_001));
    }
    let want = [(String::new(), 1), (slice(0), 1), (slice(1), 1)];
    assert_eq!(asked(&origin), BTreeMap::from(want));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_are_stored_and_any_range_is_made_of_them() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    let whole = part(&edge, "bytes=0-").await;
    assert_eq!((whole.status, whole.cache()), (206, "MISS"));
    assert!(whole.whole && whole.body == bytes(SEED, 0..LENGTH));
    let before = origin.requests().len();
    let table = [
        ("bytes=0-0", 0..1),
        ("bytes=5-1048575", 5..MIB),
        ("bytes=5-1048576", 5..MIB + 1),
        ("bytes=1048576-", MIB..LENGTH),
        ("bytes=-500", LENGTH - 500..LENGTH),
        ("bytes=6291456-99999999", 6 * MIB..LENGTH),
        ("bytes=-99999999", 0..LENGTH),
    ];
    for (range, want) in table {
        let reply = part(&edge, range).await;
        assert_eq!((reply.status, reply.cache()), (206, "HIT"), "{range}");
        let told = format!("bytes {}-{}/{LENGTH}", want.start, want.end - 1);
        assert_eq!(reply.header("content-range"), Some(told.as_str()));
        assert!(reply.whole && reply.body == bytes(SEED, want), "{range}");
    }
    assert_eq!(origin.requests().len(), before);
    // No byte of it is in this one: the origin has the word.
    let beyond = part(&edge, "bytes=99999999-").await;
    assert_eq!(beyond.status, 416);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_hold_for_what_comes_in_slices() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    part(&edge, &slice(0)).await;
    let tag = format!("\"gen-{SEED}-{LENGTH}\"");
    let with = |name, value| [("Range", "bytes=0-1"), (name, value)];
    let known = edge
        .get_with("/film.mp4", &with("If-None-Match", &tag))
        .await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let same = edge.get_with("/film.mp4", &with("If-Range", &tag)).await;
    assert_eq!((same.status, same.cache()), (206, "HIT"));
    let other = edge
        .get_with("/film.mp4", &with("If-Range", "\"old\""))
        .await;
    assert!(other.status == 200 && other.body == bytes(SEED, 0..LENGTH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_of_two_states_are_never_one_answer() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    part(&edge, "bytes=0-1").await;
    origin.put_generated("/media/film.mp4", LENGTH, SEED + 1);
    // The first slice is stored, of the old state; the second is of the new one.
    let mixed = part(&edge, "bytes=0-2000000").await;
    assert!(!mixed.whole && mixed.body == bytes(SEED, 0..MIB));
    for _ in 0..2 {
        let next = part(&edge, "bytes=0-2000000").await;
        assert!(next.whole && next.body == bytes(SEED + 1, 0..2_000_001));
    }
    // It is small by now, and kept whole.
    origin.put_generated("/media/film.mp4", MIB, SEED);
    purge(&edge).await;
    let small = part(&edge, "bytes=5-9").await;
    assert_eq!((small.status, small.body), (206, bytes(SEED, 5..10)));
    for cache in ["MISS", "HIT"] {
        let whole = edge.get("/film.mp4").await;
        assert_eq!((whole.cache(), whole.body.len()), (cache, MIB as usize));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slice_that_is_cut_is_asked_for_once_more() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    part(&edge, "bytes=0-1").await;
    for fault in [
        Fault::CloseAfter { bytes: 300_000 },
        Fault::Status {
            status: 503,
            code: None,
        },
    ] {
        purge(&edge).await;
        part(&edge, "bytes=0-1").await;
        origin.fault_times("/film.mp4", 1, fault);
        let reply = part(&edge, "bytes=0-2000000").await;
        assert!(reply.whole && reply.body == bytes(SEED, 0..2_000_001));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_slices_or_no_strong_validator_passes() {
    let cases: [(&str, Object, Option<Fault>); 2] = [
        (
            "weak",
            Object::new(bytes(SEED, 0..LENGTH), "video/mp4").with_etag("W/\"a\""),
            None,
        ),
        (
            "without ranges",
            Object::new(bytes(SEED, 0..LENGTH), "video/mp4"),
            Some(Fault::IgnoreRange),
        ),
    ];
    for (name, object, fault) in cases {
        let origin = origin().await;
        origin.put_object("/media/film.mp4", object);
        let edge = edge(&origin).await;
        // It is seen to be too large.
        edge.get("/film.mp4").await;
        if let Some(fault) = fault {
            origin.fault("/film.mp4", fault);
        }
        for _ in 0..2 {
            let reply = part(&edge, "bytes=1048570-1048579").await;
            assert_eq!(reply.cache(), "BYPASS", "{name}");
            match name {
                "weak" => assert_eq!(reply.body, bytes(SEED, 1_048_570..1_048_580)),
                "without ranges" => {
                    assert!(reply.status == 200 && reply.body.len() as u64 == LENGTH)
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_missing_slice_is_a_missing_object() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    part(&edge, "bytes=0-1").await;
    let gone = |_: &SeenRequest| Answer::new(404, "<Error><Code>NoSuchKey</Code></Error>");
    origin.on("/media/film.mp4", Arc::new(gone));
    let reply = part(&edge, "bytes=2000000-2000001").await;
    assert_eq!(reply.status, 404);
}

/// The same, with two places at the origin, of which one address has one.
async fn crowded(origin: &DevOrigin) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "16MiB";
    setup.zone = "hostnames = [\"*\"]\ntrusted_proxies = [\"127.0.0.1\"]\n".into();
    setup.origin.push_str("max_pulls = 2\n");
    setup.start().await
}

const FROM: (&str, &str) = ("X-Forwarded-For", "203.0.113.7");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_place_for_more_slices_the_rest_passes() {
    let origin = origin().await;
    origin.put("/media/other.ts", "segment", "video/mp2t");
    let edge = crowded(&origin).await;
    fn range(value: &str) -> [(&str, &str); 2] {
        [("Range", value), FROM]
    }
    edge.get_with("/film.mp4", &range(&slice(0))).await;
    let gate = origin.hold("/other.ts", None);
    let mut waiting = Connection::open(edge.http()).await;
    let target = signed(&edge.clock, "/other.ts");
    waiting.send("GET", &target, &[FROM]).await;
    gate.arrived(1).await;
    let reply = edge.get_with("/film.mp4", &range("bytes=5-2000000")).await;
    assert_eq!((reply.status, reply.cache()), (206, "HIT"));
    assert!(reply.whole && reply.body == bytes(SEED, 5..2_000_001));
    let asked = origin.requests();
    let rest = asked
        .iter()
        .find(|seen| seen.header("range") == Some("bytes=1048576-2000000"));
    assert!(
        rest.is_some_and(|seen| seen.header("if-range").is_some()),
        "{asked:?}"
    );
    gate.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_serves_who_has_no_place_at_the_origin() {
    let origin = origin().await;
    origin.put("/media/other.ts", "segment", "video/mp2t");
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n";
    origin.put("/media/live.m3u8", list, "application/vnd.apple.mpegurl");
    let edge = crowded(&origin).await;
    assert_eq!(edge.get_with("/live.m3u8", &[FROM]).await.status, 200);
    let gate = origin.hold("/other.ts", None);
    let mut waiting = Connection::open(edge.http()).await;
    let target = signed(&edge.clock, "/other.ts");
    waiting.send("GET", &target, &[FROM]).await;
    gate.arrived(1).await;
    edge.clock.advance(std::time::Duration::from_secs(5));
    let stale = edge.get_with("/live.m3u8", &[FROM]).await;
    assert_eq!((stale.status, stale.cache()), (200, "STALE"));
    gate.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_grows_is_one_pull_for_each_slice_behind_its_old_end() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    part(&edge, "bytes=-5").await;
    part(&edge, "bytes=6291456-").await;
    origin.put_generated("/media/film.mp4", LENGTH + 5000, SEED);
    // What was confirmed a moment ago has not grown since.
    edge.clock.advance(std::time::Duration::from_secs(1));
    origin.clear();
    let gate = origin.hold("/film.mp4", None);
    let mut viewers = Vec::new();
    for _ in 0..20 {
        let mut viewer = Connection::open(edge.http()).await;
        let target = signed(&edge.clock, "/film.mp4");
        viewer
            .send("GET", &target, &[("Range", "bytes=6293000-6294000")])
            .await;
        viewers.push(viewer);
    }
    gate.arrived(1).await;
    gate.release();
    for viewer in &mut viewers {
        let reply = viewer.reply("GET").await;
        assert_eq!(reply.status, 206);
        assert_eq!(reply.body, bytes(SEED, 6_293_000..6_294_001));
    }
    assert!(origin.requests().len() <= 2, "{:?}", asked(&origin));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_with_one_tag_and_dates_of_their_own_are_one_state() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for hour in 0..3 {
        let modified = now + std::time::Duration::from_secs(3_600 * hour);
        let object = Object::new(bytes(SEED, 0..LENGTH), "video/mp4").with_etag("\"a\"");
        origin.put_object("/media/film.mp4", object.with_last_modified(modified));
        let range = format!("bytes=0-{}", (hour + 1) * MIB + 5);
        let reply = part(&edge, &range).await;
        assert!(
            reply.whole && reply.body == bytes(SEED, 0..(hour + 1) * MIB + 6),
            "{hour}"
        );
    }
    assert_eq!(asked(&origin).values().max(), Some(&1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_look_at_a_large_file_keeps_no_place_from_its_slices() {
    let origin = origin().await;
    for number in 0..8 {
        let key = format!("/media/film{number}.mp4");
        origin.put_generated(&key, LENGTH, SEED);
    }
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "16MiB";
    setup.origin += "max_pulls = 2\nqueue_timeout = \"60s\"\n";
    let edge = setup.start().await;
    let viewers = (0..8).map(async |number| {
        let range = [("Range", "bytes=0-99")];
        edge.get_with(&format!("/film{number}.mp4"), &range).await
    });
    let all = futures_util::future::join_all(viewers);
    let soon = tokio::time::timeout(std::time::Duration::from_secs(20), all);
    for reply in soon
        .await
        .expect("nobody waits for a place that stands idle")
    {
        assert_eq!((reply.status, reply.body), (206, bytes(SEED, 0..100)));
    }
}
