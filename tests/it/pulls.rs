//! Pulls over real sockets: one for each cold key, ridden by many, and never a
//! body that only looks whole.

use std::time::Duration;

use crate::edge::{Connection, Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions, Fault, Object, generated_byte_block};

const SEED: u64 = 7;

async fn origin() -> DevOrigin {
    DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts")
}

fn generated(len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    generated_byte_block(SEED, 0, &mut body);
    body
}

/// A connection that has asked and not yet read.
async fn asking(edge: &TestEdge, path: &str, headers: &[(&str, &str)]) -> Connection {
    let mut connection = Connection::open(edge.http()).await;
    connection
        .send("GET", &signed(&edge.clock, path), headers)
        .await;
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_viewers_of_a_cold_segment_make_one_origin_request() {
    const VIEWERS: usize = 1000;
    let origin = origin().await;
    origin.put_generated("/media/cold.ts", 2 << 20, SEED);
    let gate = origin.hold("/cold.ts", None);
    let edge = Setup::s3(origin.addr()).start().await;
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        viewers.push(asking(&edge, "/cold.ts", &[]).await);
    }
    edge.riding(VIEWERS as u64 - 1).await;
    gate.release();
    let want = generated(2 << 20);
    let reads = viewers
        .into_iter()
        .map(|mut viewer| tokio::spawn(async move { viewer.reply("GET").await }));
    for read in reads.collect::<Vec<_>>() {
        let reply = read.await.expect("read");
        assert!(
            reply.status == 200 && reply.whole && reply.body == want && reply.cache() == "MISS"
        );
    }
    assert_eq!(origin.count("cold.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_viewer_may_leave_and_a_slow_one_slows_nobody() {
    let origin = origin().await;
    origin.put_generated("/media/a.ts", 3_000_000, SEED);
    let gate = origin.hold("/a.ts", None);
    let edge = Setup::s3(origin.addr()).start().await;
    let first = asking(&edge, "/a.ts", &[]).await;
    gate.arrived(1).await;
    let _never_reads = asking(&edge, "/a.ts", &[]).await;
    let mut third = asking(&edge, "/a.ts", &[]).await;
    edge.riding(2).await;
    drop(first);
    gate.release();
    let reply = third.reply("GET").await;
    assert!(reply.whole && reply.body == generated(3_000_000));
    assert_eq!(edge.get("/a.ts").await.cache(), "HIT");
    assert_eq!(origin.count("a.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_and_ranges_are_served_before_the_origin_has_finished() {
    let origin = origin().await;
    origin.put_generated("/media/a.ts", 1_000_000, SEED);
    let gate = origin.hold("/a.ts", Some(600_000));
    let edge = Setup::s3(origin.addr()).start().await;
    let want = generated(1_000_000);
    let mut whole = asking(&edge, "/a.ts", &[]).await;
    gate.arrived(1).await;
    assert_eq!(whole.head().await.0, 200);
    assert_eq!(
        whole.exactly(600_000).await,
        (want[..600_000].to_vec(), true)
    );
    let part = edge
        .get_with("/a.ts", &[("Range", "bytes=100-599999")])
        .await;
    assert!(part.status == 206 && part.body == want[100..600_000]);
    gate.release();
    assert_eq!(
        whole.exactly(400_000).await,
        (want[600_000..].to_vec(), true)
    );
    assert_eq!(origin.count("a.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_bytes_of_a_body_wait_for_no_others() {
    let origin = origin().await;
    origin.put_generated("/media/a.ts", 1_000, SEED);
    let gate = origin.hold("/a.ts", Some(10));
    let edge = Setup::s3(origin.addr()).start().await;
    let mut viewer = asking(&edge, "/a.ts", &[]).await;
    gate.arrived(1).await;
    assert_eq!(viewer.head().await.0, 200);
    assert_eq!(viewer.exactly(10).await, (generated(10), true));
    gate.release();
    assert!(viewer.exactly(990).await.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_its_length_is_never_stored_and_never_ends_cleanly() {
    let faults = [
        ("closed", Fault::CloseAfter { bytes: 300_000 }),
        ("reset", Fault::ResetAfter { bytes: 300_000 }),
        ("promised more", Fault::ContentLengthLarger { by: 10 }),
        ("sent more", Fault::BodyLonger { by: 10 }),
        ("promised less", Fault::ContentLengthSmaller { by: 10 }),
        ("chunks cut", Fault::ChunkedCut),
    ];
    for (name, fault) in faults {
        let origin = origin().await;
        // With a weak ETag nothing tells that a rest belongs to the same whole.
        let object = Object::new(generated(500_000), "video/mp2t").with_etag("W/\"1\"");
        origin.put_object("/media/a.ts", object);
        origin.fault_times("/a.ts", 1, fault);
        let edge = Setup::s3(origin.addr()).start().await;
        let bad = edge.get("/a.ts").await;
        assert!(
            !bad.whole || bad.status >= 502,
            "{name}: {} whole={} {}",
            bad.status,
            bad.whole,
            bad.body.len()
        );
        let good = edge.get("/a.ts").await;
        assert!(
            good.whole && good.cache() == "MISS" && good.body == generated(500_000),
            "{name}: {}",
            good.cache()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_body_goes_on_where_it_ended() {
    let want = generated(900_000);
    for (name, fault) in [
        ("closed", Fault::CloseAfter { bytes: 300_000 }),
        ("reset", Fault::ResetAfter { bytes: 300_000 }),
    ] {
        let origin = origin().await;
        origin.put_generated("/media/a.ts", 900_000, SEED);
        // The rest is cut as well, and its rest.
        origin.fault_times("/a.ts", 2, fault);
        let edge = Setup::s3(origin.addr()).start().await;
        for cache in ["MISS", "HIT"] {
            let reply = edge.get("/a.ts").await;
            assert!(reply.whole && reply.body == want, "{name}");
            assert_eq!(reply.cache(), cache, "{name}");
        }
        let ranges: Vec<_> = origin
            .requests()
            .iter()
            .map(|seen| {
                (
                    seen.header("range").map(str::to_owned),
                    seen.header("if-range").is_some(),
                )
            })
            .collect();
        let rest = |range: &str| (Some(range.to_owned()), true);
        let asked = [
            (None, false),
            rest("bytes=300000-899999"),
            rest("bytes=600000-899999"),
        ];
        assert_eq!(ranges, asked, "{name}");
        let resumed = edge.metric("warren_pulls_total{event=\"resumed\"}").await;
        assert!((resumed - 2.0).abs() < 0.1, "{name}: {resumed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_origin_does_not_break_a_segment_being_watched() {
    let mut origin = origin().await;
    origin.put_generated("/media/a.ts", 900_000, SEED);
    let _held = origin.hold("/a.ts", Some(300_000));
    let edge = Setup::s3(origin.addr()).start().await;
    let mut viewer = asking(&edge, "/a.ts", &[]).await;
    let (status, _) = viewer.head().await;
    let (begin, _) = viewer.exactly(300_000).await;
    let port = origin.addr().port();
    origin.stop().await;
    _held.release();
    // Until the edge has asked in vain there is nobody who answers.
    let mute = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
    let mute = mute.expect("the same port");
    let away = tokio::spawn(async move {
        mute.accept().await.expect("the edge asks");
        drop(mute);
        origin.start_on(port).await.expect("the same port");
        origin
    });
    let (rest, whole) = viewer.exactly(600_000).await;
    let want = generated(900_000);
    assert!(status == 200 && whole && begin == want[..300_000] && rest == want[300_000..]);
    let origin = away.await.expect("the origin is back");
    assert_eq!(origin.count("a.ts"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_another_object_is_never_joined_to_a_cut_body() {
    let origin = origin().await;
    origin.put_generated("/media/a.ts", 500_000, SEED);
    let gate = origin.hold("/a.ts", Some(300_000));
    origin.fault_times("/a.ts", 1, Fault::CloseAfter { bytes: 300_000 });
    let edge = Setup::s3(origin.addr()).start().await;
    let mut viewer = asking(&edge, "/a.ts", &[]).await;
    // Who has no byte yet is told of the failure instead.
    let (status, _) = viewer.head().await;
    let (begin, _) = viewer.exactly(300_000).await;
    assert!(status == 200 && begin == generated(500_000)[..300_000]);
    // The same length, other bytes.
    origin.put_generated("/media/a.ts", 500_000, SEED + 1);
    gate.release();
    let (rest, whole) = viewer.exactly(200_000).await;
    assert!(!whole && rest.is_empty());
    let mut new = vec![0; 500_000];
    generated_byte_block(SEED + 1, 0, &mut new);
    let good = edge.get("/a.ts").await;
    assert!(good.whole && good.body == new && good.cache() == "MISS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_unknown_length_arrive_whole() {
    // A body that ends with its connection may be a cut one: it is not kept.
    for (name, fault, pulls) in [
        ("chunked", Fault::Chunked, 1),
        ("by close", Fault::NoContentLength, 2),
    ] {
        let origin = origin().await;
        origin.put_generated("/media/a.ts", 700_000, SEED);
        origin.fault("/a.ts", fault);
        let edge = Setup::s3(origin.addr()).start().await;
        for _ in 0..2 {
            let reply = edge.get("/a.ts").await;
            assert!(reply.whole && reply.body == generated(700_000), "{name}");
        }
        assert_eq!(origin.count("a.ts"), pulls, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn riders_of_a_private_answer_pull_for_themselves() {
    let origin = origin().await;
    origin.put_object(
        "/media/me.ts",
        Object::new("mine", "video/mp2t").with_header("Set-Cookie", "a=b"),
    );
    let gate = origin.hold("/me.ts", None);
    let edge = Setup::s3(origin.addr()).start().await;
    let mut viewers = Vec::new();
    for _ in 0..5 {
        viewers.push(asking(&edge, "/me.ts", &[]).await);
    }
    edge.riding(4).await;
    gate.release();
    for viewer in &mut viewers {
        let reply = viewer.reply("GET").await;
        assert_eq!(
            (reply.status, reply.cache(), &reply.body[..]),
            (200, "BYPASS", &b"mine"[..])
        );
    }
    assert_eq!(
        origin.count("me.ts"),
        5,
        "the open answer serves one of them"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_passes_through_and_a_range_of_it_is_a_slice_at_most() {
    let origin = origin().await;
    origin.put_generated("/media/movie.mp4", 6_000_000, SEED);
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "16MiB";
    let edge = setup.start().await;
    let whole = edge.get("/movie.mp4").await;
    assert!(whole.whole && whole.cache() == "BYPASS" && whole.body == generated(6_000_000));
    let part = edge
        .get_with("/movie.mp4", &[("Range", "bytes=5000000-5000099")])
        .await;
    assert_eq!((part.status, part.body.len()), (206, 100));
    assert_eq!(part.body, generated(5_000_100)[5_000_000..]);
    let range = origin.requests().last().and_then(|seen| {
        let range = seen.header("range");
        range.map(str::to_owned)
    });
    assert_eq!(range.as_deref(), Some("bytes=4194304-5242879"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_of_cold_large_objects_leaves_places_for_pulls() {
    const BYTES: u64 = 48 << 20;
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "16MiB";
    setup.origin += "max_pulls = 4\n";
    let edge = setup.start().await;
    let mut idle = Vec::new();
    for n in 0..8 {
        let path = format!("/film-{n}.mp4");
        origin.put_generated(&format!("/media{path}"), BYTES, SEED);
        idle.push(asking(&edge, &path, &[]).await);
    }
    for viewer in idle.iter_mut().take(3) {
        assert_eq!(viewer.head().await.0, 200);
    }
    origin.put("/media/cold.ts", &b"cold"[..], "video/mp2t");
    // Before one of them is cut for standing still, which takes three seconds.
    let cold = tokio::time::timeout(Duration::from_secs(2), edge.get("/cold.ts"));
    assert_eq!(cold.await.expect("a place at once").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_beyond_the_memory_never_fails_and_never_exceeds_it() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.memory = "16MiB";
    let edge = setup.start().await;
    let budget = &edge.running.node.pulls.store.budget;
    for i in 0..60u64 {
        origin.put_generated(&format!("/media/s{i}.ts"), 1_000_000, SEED);
        let path = format!("/s{i}.ts");
        let reply = edge.get(&path).await;
        assert!(
            reply.status == 200 && reply.whole && reply.body.len() == 1_000_000,
            "{path}: {}",
            reply.status
        );
        assert!(budget.used() <= budget.limit());
        // Landed or just about to: either way the second asks no origin.
        assert_eq!(edge.get(&path).await.status, 200);
        assert_eq!(
            origin.count(&format!("/s{i}.ts")),
            1,
            "{path}: a full cache still turns over"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_before_the_head_has_a_name_and_a_status() {
    let table = [
        ("reset", Fault::ResetBeforeHead, 503, "reset"),
        ("closed", Fault::CloseBeforeHead, 503, "reset"),
        ("silence", Fault::Silence, 503, "first_byte_timeout"),
        (
            "5xx",
            Fault::Status {
                status: 500,
                code: None,
            },
            503,
            "server_error",
        ),
        ("garbage", Fault::Garbage, 502, "bad_response"),
        (
            "redirect",
            Fault::Redirect {
                location: "/x".into(),
                status: 302,
            },
            502,
            "redirect",
        ),
        (
            "200 with Content-Range",
            Fault::ContentRangeOn200,
            502,
            "unexpected_range",
        ),
        (
            "a part",
            Fault::UnaskedPartial { bytes: Some(10) },
            502,
            "unexpected_range",
        ),
        (
            "credential",
            Fault::Status {
                status: 403,
                code: Some("InvalidAccessKeyId".into()),
            },
            502,
            "credential",
        ),
    ];
    for (name, fault, status, reason) in table {
        let origin = origin().await;
        origin.put("/media/a.ts", "segment", "video/mp2t");
        origin.fault("/a.ts", fault);
        let mut setup = Setup::s3(origin.addr());
        setup.origin.push_str("first_byte_timeout = \"200ms\"\n");
        let edge = setup.start().await;
        let reply = edge.get("/a.ts").await;
        assert_eq!(reply.status, status, "{name}");
        assert!(
            !reply.body.windows(5).any(|w| w == b"<Erro"),
            "{name}: the origin's words reach no viewer"
        );
        let series = format!("warren_pull_failures_total{{reason=\"{reason}\",zone=\"test\"}}");
        assert_eq!(edge.metric(&series).await, 1.0, "{name}: {series}");
        assert!(origin.count("a.ts") <= 2, "{name}: at most two tries");
        origin.clear_faults();
        // The failure is, for a second.
        let mut again = edge.get("/a.ts").await;
        while again.status == status {
            again = edge.get("/a.ts").await;
        }
        assert_eq!(again.cache(), "MISS", "{name}: nothing of it is stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_differs_is_learned_from_the_origin() {
    let origin = origin().await;
    origin.put("/media/a.ts", "segment", "video/mp2t");
    origin.set_clock_offset(3600);
    let edge = Setup::s3(origin.addr()).start().await;
    assert_eq!(edge.get("/a.ts").await.status, 200);
    assert_eq!(
        origin.requests().len(),
        2,
        "one refused for its time, one signed with the origin's"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_breaks_its_connection_is_not_sent_over_every_kept_one() {
    const KEPT: usize = 20;
    let origin = origin().await;
    let gate = origin.hold("seg.ts", None);
    let edge = Setup::s3(origin.addr()).start().await;
    let mut viewers = Vec::new();
    for i in 0..KEPT {
        origin.put(&format!("/media/{i}/seg.ts"), "segment", "video/mp2t");
        viewers.push(asking(&edge, &format!("/{i}/seg.ts"), &[]).await);
    }
    gate.arrived(KEPT).await;
    gate.release();
    for viewer in &mut viewers {
        assert_eq!(viewer.reply("GET").await.status, 200);
    }
    origin.fault("poison.ts", Fault::CloseBeforeHead);
    assert_eq!(edge.get("/poison.ts").await.status, 503);
    let sent = origin.count("poison.ts");
    assert!(sent <= 3, "sent {sent} times: one kept, and two tries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_segment_of_a_watched_live_stream_is_pulled_before_anybody_asks() {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let playlist = |first: u32| {
        let media = |n| format!("#EXTINF:2,\n{n}.ts\n");
        let head = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        head + &media(first) + &media(first + 1)
    };
    let publish = |folder: &str, first: u32| {
        let path = format!("/media/{folder}/live.m3u8");
        origin.put(&path, playlist(first), "application/vnd.apple.mpegurl");
        let path = format!("/media/{folder}/{}.ts", first + 1);
        origin.put(&path, &b"segment"[..], "video/mp2t");
    };
    let edge = Setup::s3(origin.addr()).start().await;
    for folder in ["watched", "polled"] {
        publish(folder, 0);
        publish(folder, 1);
        edge.get(&format!("/{folder}/live.m3u8")).await;
    }
    edge.get("/watched/2.ts").await;
    let gate = origin.hold("/media/watched/3.ts", None);
    for folder in ["polled", "watched"] {
        publish(folder, 2);
    }
    edge.clock.advance(Duration::from_secs(60));
    for folder in ["polled", "watched"] {
        edge.get(&format!("/{folder}/live.m3u8")).await;
    }
    gate.arrived(1).await;
    gate.release();
    let reply = edge.get("/watched/3.ts").await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"segment"[..]));
    assert_eq!(origin.count("watched/3.ts"), 1);
    assert_eq!(origin.count("polled/3.ts"), 0, "nobody watches it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_playlist_is_asked_for_once_more_when_its_target_duration_is_over() {
    let origin = origin().await;
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.ts\n";
    let edge = Setup::s3(origin.addr()).start().await;
    for folder in ["a", "b"] {
        let path = format!("/media/{folder}/live.m3u8");
        origin.put(&path, playlist, "application/vnd.apple.mpegurl");
        edge.get(&format!("/{folder}/live.m3u8")).await;
        let gate = origin.hold(&path, None);
        edge.clock.advance(Duration::from_secs(60));
        gate.arrived(1).await;
        gate.release();
    }
    // The one for `b` came later than a second one for `a` would have.
    assert_eq!(
        origin.count("a/live.m3u8"),
        2,
        "its viewer has not asked again"
    );
}
