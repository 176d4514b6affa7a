//! Origins with several endpoints, and origins in trouble: which endpoint is
//! asked, and how long a viewer waits at the most.

use std::time::Duration;

use crate::edge::{Connection, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Fault, Object, Reply as Answer};

async fn plain() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts");
    for at in 0..40 {
        origin.put(&format!("/{at}.ts"), "segment", "video/mp2t");
    }
    origin
}

fn both(first: &DevOrigin, second: &DevOrigin, more: &str) -> Setup {
    let mut setup = Setup::http(first.addr());
    setup.origin = format!(
        "kind = \"http\"\nendpoints = [\"http://{}\", \"http://{}\"]\n{more}\n",
        first.addr(),
        second.addr()
    );
    setup
}

async fn get(edge: &TestEdge, path: &str) -> (u16, String) {
    let reply = edge.send("GET", path, &[]).await;
    (reply.status, reply.text())
}

async fn up(edge: &TestEdge, origin: &DevOrigin) -> bool {
    let endpoint = origin.addr();
    let series = format!("warren_origin_endpoint_up{{endpoint=\"{endpoint}\",zone=\"test\"}}");
    edge.metric(&series).await > 0.5
}

fn series(name: &str) -> String {
    format!("warren_pull_failures_total{{reason=\"{name}\",zone=\"test\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_in_doubt_gets_one_request_a_second_and_no_viewer_sees_it() {
    for (name, fault) in [
        ("reset", Fault::ResetBeforeHead),
        (
            "5xx",
            Fault::Status {
                status: 503,
                code: None,
            },
        ),
    ] {
        let (first, second) = (plain().await, plain().await);
        first.fault("*", fault);
        let edge = both(&first, &second, "health_interval = \"0s\"")
            .start()
            .await;
        for at in 0..24 {
            assert_eq!(get(&edge, &format!("/{at}.ts")).await.0, 200, "{name}");
            edge.clock.advance(Duration::from_millis(250));
        }
        // Until three keys have failed and a second is over; then each second.
        let asked = first.requests().len();
        assert!((8..=11).contains(&asked), "{name}: {asked} of 24");
        assert!(
            !up(&edge, &first).await && up(&edge, &second).await,
            "{name}"
        );
        first.clear_faults();
        edge.clock.advance(Duration::from_secs(1));
        assert_eq!(get(&edge, "/30.ts").await.0, 200);
        assert!(up(&edge, &first).await, "{name}: one request found out");
        let before = second.requests().len();
        assert_eq!(get(&edge, "/31.ts").await.0, 200);
        assert_eq!(second.requests().len(), before, "the first goes first");
    }
}

fn no_http() -> Fault {
    Fault::Verbatim {
        text: "SSH-2.0-foo\r\n\r\n".into(),
        stays_open: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_speaks_no_http_is_asked_for_no_viewer_while_another_does() {
    let (first, second) = (plain().await, plain().await);
    first.fault("*", no_http());
    let edge = both(&first, &second, "health_interval = \"0s\"")
        .start()
        .await;
    for at in 0..12 {
        assert_eq!(get(&edge, &format!("/{at}.ts")).await.0, 200, "{at}");
        edge.clock.advance(Duration::from_millis(400));
    }
    assert!(!up(&edge, &first).await && up(&edge, &second).await);
    // Alone, it is asked all the same, and once.
    let edge = Setup::http(first.addr()).start().await;
    let before = first.requests().len();
    for at in 0..6 {
        assert_eq!(get(&edge, &format!("/{at}.ts")).await.0, 502);
        edge.clock.advance(Duration::from_millis(400));
    }
    assert_eq!(first.requests().len() - before, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_whose_bodies_break_off_is_doubted_though_its_heads_come() {
    let stalls = Fault::DelayBody {
        bytes: 3,
        ms: 60_000,
    };
    for (name, fault) in [("cut", Fault::CloseAfter { bytes: 3 }), ("stalls", stalls)] {
        let (first, second) = (plain().await, plain().await);
        for origin in [&first, &second] {
            for at in 0..12 {
                let object = Object::new("segment", "video/mp2t").with_etag("W/\"1\"");
                origin.put_object(&format!("/weak/{at}.ts"), object);
            }
        }
        first.fault("*", fault);
        let more = "health_interval = \"0s\"\nbetween_bytes_timeout = \"100ms\"";
        let edge = both(&first, &second, more).start().await;
        let mut statuses = Vec::new();
        for at in 0..12 {
            let path = format!("/weak/{at}.ts");
            let reply = edge.send("GET", &path, &[]).await;
            statuses.push(reply.status == 200 && reply.whole);
            edge.clock.advance(Duration::from_millis(400));
        }
        assert!(!up(&edge, &first).await, "{name}");
        // Three keys and a second, and then one in a second.
        let cut = statuses.iter().filter(|whole| !**whole).count();
        assert!((3..=7).contains(&cut), "{name}: {statuses:?}");
        first.clear_faults();
        edge.clock.advance(Duration::from_secs(1));
        assert_eq!(get(&edge, "/30.ts").await.0, 200);
        assert!(up(&edge, &first).await, "{name}: one whole body found out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_goes_on_at_another_endpoint_than_the_one_that_cut_it() {
    // The entity-tag of the second, and whether the first goes on itself.
    for (tag, first_goes_on) in [("\"1\"", false), ("\"2\"", true)] {
        let (first, second) = (plain().await, plain().await);
        let object = |tag| Object::new("0123456789", "video/mp2t").with_etag(tag);
        first.put_object("/cut.ts", object("\"1\""));
        second.put_object("/cut.ts", object(tag));
        match first_goes_on {
            true => first.fault_times("/cut.ts", 1, Fault::CloseAfter { bytes: 4 }),
            false => first.fault("/cut.ts", Fault::CloseAfter { bytes: 4 }),
        };
        let edge = both(&first, &second, "").start().await;
        let whole = (200, "0123456789".to_owned());
        assert_eq!(get(&edge, "/cut.ts").await, whole, "{tag}");
        let asked = first.count("/cut.ts");
        assert_eq!(asked, 1 + usize::from(first_goes_on), "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_hangs_delays_viewers_and_fails_none() {
    let (first, second) = (plain().await, plain().await);
    first.fault("*", Fault::Silence);
    let more = "health_interval = \"0s\"\nfirst_byte_timeout = \"500ms\"";
    let edge = both(&first, &second, more).start().await;
    for at in 0..8 {
        assert_eq!(get(&edge, &format!("/{at}.ts")).await.0, 200);
        edge.clock.advance(Duration::from_millis(400));
    }
    assert!(!up(&edge, &first).await && up(&edge, &second).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_bring_an_endpoint_back_without_a_viewer_s_help() {
    let (mut first, second) = (plain().await, plain().await);
    let live = std::sync::Arc::new(|_: &_| Answer::new(200, ""));
    first.on("/live", live.clone());
    second.on("/live", live);
    let checks = "health_path = \"/live\"\nhealth_interval = \"20ms\"\n";
    let edge = both(&first, &second, checks).start().await;
    first.until(|origin| origin.count("/live") > 1).await;
    let port = first.addr().port();
    first.stop().await;
    while up(&edge, &first).await {
        tokio::task::yield_now().await;
    }
    for at in 0..10 {
        assert_eq!(get(&edge, &format!("/{at}.ts")).await.0, 200);
    }
    first.start_on(port).await.expect("the same port");
    while !up(&edge, &first).await {
        tokio::task::yield_now().await;
    }
    let before = second.count(".ts");
    assert_eq!(get(&edge, "/30.ts").await.0, 200);
    assert_eq!(second.count(".ts"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_takes_no_connection_is_not_asked_for_each_viewer() {
    let mut origin = plain().await;
    let port = origin.addr().port();
    let edge = Setup::http(origin.addr()).start().await;
    origin.stop().await;
    // Two tries each, until five have failed and a second is over.
    for at in 0..3 {
        assert_eq!(get(&edge, &format!("/{at}.ts")).await.0, 503);
        edge.clock.advance(Duration::from_millis(600));
    }
    assert_eq!(edge.metric(&series("connect_refused")).await, 3.0);
    let refused = edge.send("GET", "/11.ts", &[]).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(edge.metric(&series("circuit_open")).await, 1.0);
    origin.start_on(port).await.expect("the same port");
    while !up(&edge, &origin).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&edge, "/12.ts").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_waits_for_his_first_byte_no_longer_than_the_answer_timeout() {
    // (what holds it up, how)
    let table = [
        ("no answer", Fault::Silence),
        ("a slow head", Fault::DelayHead { ms: 5_000 }),
        (
            "a head and no body",
            Fault::DelayBody {
                bytes: 0,
                ms: 5_000,
            },
        ),
    ];
    for (name, fault) in table {
        let origin = plain().await;
        origin.fault("/1.ts", fault);
        let mut setup = Setup::http(origin.addr());
        setup.origin.push_str("answer_timeout = \"300ms\"\n");
        let edge = setup.start().await;
        for path in ["/1.ts", "/1.ts"] {
            let begun = warren::clock::timer_now();
            let (status, body) = get(&edge, path).await;
            assert_eq!(
                (status, body.as_str()),
                (503, "503 Service Unavailable\n"),
                "{name}"
            );
            let waited = begun.elapsed();
            assert!(waited < Duration::from_secs(3), "{name}: {waited:?}");
        }
        assert_eq!(edge.metric(&series("answer_timeout")).await, 2.0, "{name}");
        assert_eq!(origin.requests().len(), 1, "{name}: the pull goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_answer_without_a_body_is_given_up_as_soon() {
    let origin = plain().await;
    let object = Object::new("mine", "video/mp2t").with_cache_control("no-store");
    origin.put_object("/mine.ts", object);
    origin.fault(
        "/mine.ts",
        Fault::DelayBody {
            bytes: 0,
            ms: 5_000,
        },
    );
    let mut setup = Setup::http(origin.addr());
    setup.origin.push_str("answer_timeout = \"300ms\"\n");
    let edge = setup.start().await;
    // The one who began the pull, and one who asks for himself.
    for _ in 0..2 {
        let begun = warren::clock::timer_now();
        assert_eq!(get(&edge, "/mine.ts").await.0, 503);
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_an_address_is_said_so() {
    let origin = plain().await;
    let mut setup = Setup::http(origin.addr());
    setup.origin = "kind = \"http\"\nendpoints = [\"http://origin.invalid:1\"]\n".into();
    let edge = setup.start().await;
    assert_eq!(get(&edge, "/1.ts").await.0, 503);
    assert_eq!(edge.metric(&series("dns")).await, 1.0);
}

const LOW_LATENCY: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PART-INF:PART-TARGET=0.3\n\
     #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"next.m4s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_packager_holds_back_may_take_three_target_durations() {
    let origin = plain().await;
    origin.put("/live/i.m3u8", LOW_LATENCY, "application/vnd.apple.mpegurl");
    origin.put("/live/next.m4s", "part", "video/mp4");
    origin.put("/live/other.m4s", "part", "video/mp4");
    let mut setup = Setup::http(origin.addr());
    let short = "first_byte_timeout = \"50ms\"\nanswer_timeout = \"50ms\"\n";
    setup.origin.push_str(short);
    let edge = setup.start().await;
    assert_eq!(get(&edge, "/live/i.m3u8").await.0, 200);
    origin.fault("*", Fault::DelayHead { ms: 400 });
    assert_eq!(get(&edge, "/live/i.m3u8?_HLS_msn=7").await.0, 200);
    assert_eq!(get(&edge, "/live/next.m4s").await.0, 200);
    assert_eq!(get(&edge, "/live/other.m4s").await.0, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_begins_only_so_many_pulls_that_are_held_back() {
    let origin = plain().await;
    origin.put("/live/i.m3u8", LOW_LATENCY, "application/vnd.apple.mpegurl");
    let gate = origin.hold("i.m3u8", None);
    let mut setup = Setup::http(origin.addr());
    setup.listen.push_str("max_held_per_ip = 2\n");
    // Loopback is not counted; a viewer behind it is.
    setup.zone.push_str("trusted_proxies = [\"127.0.0.1\"]\n");
    let edge = setup.start().await;
    let ask = |msn: u32, viewer: &'static str| {
        let edge = &edge;
        async move {
            let mut connection = Connection::open(edge.http()).await;
            let target = format!("/live/i.m3u8?_HLS_msn={msn}");
            connection
                .send("GET", &target, &[("X-Forwarded-For", viewer)])
                .await;
            connection
        }
    };
    let mut held = vec![ask(1, "192.0.2.1").await, ask(2, "192.0.2.1").await];
    gate.arrived(2).await;
    let third = ask(3, "192.0.2.1").await.reply("GET").await;
    assert_eq!(
        (third.status, third.header("retry-after")),
        (503, Some("1"))
    );
    let refusals = "warren_refusals_total{reason=\"max_held_per_ip\",zone=\"test\"}";
    edge.settled_but(2).await;
    assert_eq!(edge.metric(refusals).await, 1.0);
    // Who rides costs the origin nothing, and another address has its own.
    held.push(ask(2, "192.0.2.1").await);
    edge.riding(1).await;
    held.push(ask(4, "192.0.2.2").await);
    gate.arrived(3).await;
    gate.release();
    for viewer in &mut held {
        assert_eq!(viewer.reply("GET").await.status, 200);
    }
    let later = ask(5, "192.0.2.1").await.reply("GET").await;
    assert_eq!(later.status, 200, "the places have come back");
}
