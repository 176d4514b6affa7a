//! The circuit breaker counts endpoints and not objects: whatever is broken,
//! everything else is served; and an origin that comes back is asked at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::interval;
use warren::clock::timer_now;

use crate::edge::{Connection, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Fault, Object};

/// Viewers at so many broken objects, and how often somebody asks for another.
struct Case {
    name: &'static str,
    fault: Fault,
    viewers: usize,
    broken: usize,
    endpoints: usize,
    pause: Duration,
}

/// Good objects that are asked for, one after another.
const GOOD: usize = 10;
/// A viewer at a broken object asks again after this.
const IMPATIENCE: Duration = Duration::from_millis(25);

fn status(status: u16) -> Fault {
    Fault::Status { status, code: None }
}

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    for at in 0..GOOD {
        origin.put(&format!("/media/good/{at}.ts"), "segment", "video/mp2t");
    }
    origin
}

/// The edge in front of several origins with the same objects.
fn before(origins: &[DevOrigin], more: &str) -> Setup {
    let urls: Vec<String> = origins
        .iter()
        .map(|it| format!("\"{}\"", it.url()))
        .collect();
    let mut setup = Setup::s3(origins[0].addr());
    let one = format!("[\"{}\"]", origins[0].url());
    setup.origin = setup
        .origin
        .replace(&one, &format!("[{}]", urls.join(", ")));
    setup.origin.push_str(more);
    setup
}

async fn status_of(edge: &TestEdge, path: &str) -> u16 {
    edge.get(path).await.status
}

/// Statuses of the good objects, and requests for one broken object in a second.
async fn play(case: &Case) -> (Vec<u16>, f64) {
    let mut origins = Vec::new();
    for _ in 0..case.endpoints {
        let origin = origin().await;
        origin.fault("broken.ts", case.fault.clone());
        origins.push(origin);
    }
    let more = "first_byte_timeout = \"1s\"\nhealth_interval = \"0s\"\n";
    let edge = before(&origins, more).start().await;
    let over = AtomicBool::new(false);
    let began = timer_now();
    let viewers = (0..case.viewers).map(|viewer| {
        let (edge, over) = (&edge, &over);
        async move {
            let mut tick = interval(IMPATIENCE);
            for turn in viewer.. {
                if over.load(Relaxed) {
                    return;
                }
                let path = format!("/{}/broken.ts", turn % case.broken);
                let status = status_of(edge, &path).await;
                assert!(status == 503 || status == 502, "{}: {status}", case.name);
                tick.tick().await;
            }
        }
    });
    let good = async {
        let mut tick = interval(case.pause);
        tick.tick().await;
        let mut statuses = Vec::new();
        for at in 0..GOOD.min(6_000 / case.pause.as_millis() as usize) {
            tick.tick().await;
            statuses.push(status_of(&edge, &format!("/good/{at}.ts")).await);
        }
        over.store(true, Relaxed);
        statuses
    };
    let (statuses, _) = tokio::join!(good, join_all(viewers));
    let asked: usize = origins.iter().map(|it| it.count("/0/broken.ts")).sum();
    (statuses, asked as f64 / began.elapsed().as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_broken_every_other_object_is_served() {
    let (often, seldom) = (Duration::from_millis(300), Duration::from_secs(2));
    let reset = Fault::ResetBeforeHead;
    let rows = [
        ("503, one viewer", status(503), 1, 1, 1, often),
        ("503, two, seldom", status(503), 2, 5, 1, seldom),
        ("500, twenty", status(500), 20, 5, 1, often),
        ("500, twenty, seldom", status(500), 20, 5, 2, seldom),
        ("reset, one viewer", reset.clone(), 1, 1, 1, often),
        ("reset, twenty, seldom", reset.clone(), 20, 5, 1, seldom),
        ("reset, two endpoints", reset, 20, 5, 2, often),
        ("silence, two", Fault::Silence, 2, 1, 1, often),
        ("silence, twenty, seldom", Fault::Silence, 20, 5, 1, seldom),
        ("silence, two endpoints", Fault::Silence, 20, 5, 2, seldom),
        ("no HTTP, twenty", Fault::Garbage, 20, 5, 1, often),
        ("403, two", status(403), 2, 1, 1, often),
        ("403, twenty", status(403), 20, 5, 2, seldom),
    ];
    let cases = rows.map(|(name, fault, viewers, broken, endpoints, pause)| Case {
        name,
        fault,
        viewers,
        broken,
        endpoints,
        pause,
    });
    for (case, (statuses, asked)) in cases.iter().zip(join_all(cases.iter().map(play)).await) {
        let name = case.name;
        assert!(statuses.iter().all(|it| *it == 200), "{name}: {statuses:?}");
        // Two tries a second, and what the beginning adds.
        assert!(asked <= 3.0, "{name}: {asked:.1} requests a second");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_comes_back_is_asked_within_two_seconds_though_nobody_asked_meanwhile() {
    for endpoints in [1, 2] {
        let mut origins = Vec::new();
        for _ in 0..endpoints {
            origins.push(origin().await);
        }
        let ports: Vec<u16> = origins.iter().map(|it| it.addr().port()).collect();
        let edge = before(&origins, "").start().await;
        for origin in &mut origins {
            origin.stop().await;
        }
        let shut = "warren_pull_failures_total{reason=\"circuit_open\",zone=\"test\"}";
        for at in 0.. {
            assert_eq!(status_of(&edge, &format!("/{at}.ts")).await, 503);
            if edge.metric(shut).await > 0.0 {
                break;
            }
        }
        for (origin, port) in origins.iter_mut().zip(ports) {
            origin.start_on(port).await.expect("the same port");
        }
        let back = timer_now();
        let mut up = interval(Duration::from_millis(20));
        while status_of(&edge, "/good/1.ts").await != 200 {
            up.tick().await;
            let away = back.elapsed();
            assert!(away < Duration::from_secs(2), "{endpoints}: still away");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_failed_is_answered_for_a_second_without_a_pull() {
    let origin = origin().await;
    origin.fault("broken.ts", status(503));
    let origins = [origin];
    let edge = before(&origins, "").start().await;
    let asked = || origins[0].requests().len();
    for (method, what) in [("GET", "a pull is two tries"), ("HEAD", "so is a HEAD")] {
        let (begun, came) = (asked(), timer_now());
        let path = format!("/{method}/broken.ts");
        for _ in 0..5 {
            let target = crate::edge::signed(&edge.clock, &path);
            let reply = edge.send(method, &target, &[]).await;
            assert_eq!(reply.status, 503, "{method}");
            assert_eq!(reply.header("retry-after"), Some("1"), "{method}");
        }
        let seconds = came.elapsed().as_secs() as usize;
        assert!(asked() - begun <= 2 + 2 * seconds, "{what}");
    }
    // Who knows no HEAD may have the object.
    let begun = asked();
    assert_eq!(status_of(&edge, "/HEAD/broken.ts").await, 503);
    assert_eq!(asked() - begun, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_passes_through_is_remembered_for_its_range_alone() {
    let origins = [origin().await];
    let object = Object::new("0123456789", "video/mp2t");
    let object = object.with_cache_control("no-store");
    origins[0].put_object("/media/mine.ts", object);
    let edge = before(&origins, "").start().await;
    assert_eq!(status_of(&edge, "/mine.ts").await, 200);
    let part = async |range: &str| {
        let reply = edge.get_with("/mine.ts", &[("Range", range)]).await;
        reply.status
    };
    origins[0].fault_times("mine.ts", 2, status(500));
    let begun = origins[0].requests().len();
    for _ in 0..2 {
        assert_eq!(part("bytes=0-3").await, 503);
    }
    assert_eq!(origins[0].requests().len() - begun, 2);
    assert_eq!(part("bytes=4-7").await, 206);
    assert_eq!(status_of(&edge, "/mine.ts").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_cut_each_time_is_not_pulled_for_each_viewer() {
    let origins = [origin().await];
    let object = Object::new("0123456789", "video/mp2t");
    origins[0].put_object("/media/cut.ts", object.with_etag("W/\"1\""));
    let cut = Fault::CloseAfter { bytes: 4 };
    origins[0].fault("cut.ts", cut);
    let edge = before(&origins, "").start().await;
    for _ in 0..20 {
        // Who was being sent it already is cut off.
        let reply = edge.get("/cut.ts").await;
        assert!(reply.status == 503 || !reply.whole, "{reply:?}");
    }
    let asked = origins[0].count("cut.ts");
    assert!((3..=6).contains(&asked), "once more may go well: {asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_of_an_http_origin_is_shared_for_half_a_second() {
    let origin = DevOrigin::start(DevOriginOptions::plain()).await;
    let origin = origin.expect("the origin starts");
    let edge = Setup::http(origin.addr()).start().await;
    for denied in [400, 401, 403, 405, 409, 451] {
        let path = format!("/{denied}.ts");
        origin.fault(&path, status(denied));
        for _ in 0..20 {
            assert_eq!(edge.send("GET", &path, &[]).await.status, denied);
        }
        assert!(
            origin.count(&path) <= 3,
            "{denied}: {}",
            origin.count(&path)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_answers_nobody_makes_nobody_wait_for_what_is_stored() {
    const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:30\n#EXTINF:30,\na.ts\n";
    let origins = [origin().await];
    for at in 0..20 {
        let path = format!("/media/{at}.m3u8");
        origins[0].put(&path, LIVE, "application/vnd.apple.mpegurl");
    }
    let edge = before(&origins, "first_byte_timeout = \"500ms\"\n")
        .start()
        .await;
    for at in 0..20 {
        assert_eq!(status_of(&edge, &format!("/{at}.m3u8")).await, 200);
    }
    origins[0].fault("*", Fault::Silence);
    // Beyond fresh and stale-while-revalidate, within stale-if-error.
    edge.clock.advance(Duration::from_secs(20));
    let stale = AtomicUsize::new(0);
    for at in 0..20 {
        let reply = edge.get(&format!("/{at}.m3u8")).await;
        assert_eq!((reply.status, reply.cache()), (200, "STALE"));
        stale.fetch_add(1, Relaxed);
        edge.clock.advance(Duration::from_millis(300));
    }
    // Four before it is doubted (more than a second), then one in a second.
    let asked = origins[0].requests().len() - 20;
    assert!(asked <= 10, "{asked} of 20 waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_half_of_an_origins_places_whatever_it_asks_for() {
    let silent = |path: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("X-Forwarded-For".to_owned(), "203.0.113.7".to_owned())];
        let more = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        all.extend(more);
        (path.to_owned(), all)
    };
    let ways: [(&str, &str, &str); 4] = [
        ("many keys of one object", "GET", "query = \"all\"\n"),
        ("what is confirmed for each", "GET", "policy = \"origin\"\n"),
        ("heads", "HEAD", ""),
        ("uploads", "POST", "methods = \"any\"\n"),
    ];
    for (name, method, cache) in ways {
        let origin = DevOrigin::start(DevOriginOptions::plain()).await;
        let origin = origin.expect("the origin starts");
        for at in 0..GOOD {
            origin.put(&format!("/good/{at}.ts"), "segment", "video/mp2t");
        }
        let tagged = Object::new("page", "text/plain").with_etag("\"1\"");
        origin.put_object("/silent.ts", tagged);
        let mut setup = Setup::http(origin.addr());
        setup.zone = "hostnames = [\"*\"]\ntrusted_proxies = [\"127.0.0.1\"]\n".into();
        setup
            .origin
            .push_str("max_pulls = 8\nqueue_timeout = \"1s\"\n");
        setup.cache = cache.into();
        let edge = setup.start().await;
        // From the second on each request has a pull of its own.
        for _ in 0..2 * usize::from(cache.contains("origin")) {
            edge.get("/silent.ts").await;
        }
        let gate = origin.hold("/silent.ts", None);
        let mut viewers = Vec::new();
        for number in 0..20 {
            let mut viewer = Connection::open(edge.http()).await;
            let (path, headers) = silent(
                &format!("/silent.ts?x={number}"),
                &[("Content-Length", "0")],
            );
            let headers: Vec<_> = headers
                .iter()
                .map(|(a, b)| (a.as_str(), b.as_str()))
                .collect();
            let headers = if method == "POST" {
                &headers[..]
            } else {
                &headers[..1]
            };
            viewer.send(method, &path, headers).await;
            viewers.push(viewer);
        }
        gate.arrived(4).await;
        for at in 0..GOOD {
            let began = timer_now();
            let headers = [("X-Forwarded-For", "203.0.113.8")];
            let reply = edge.get_with(&format!("/good/{at}.ts"), &headers).await;
            assert_eq!(reply.status, 200, "{name}");
            assert!(began.elapsed() < Duration::from_millis(900), "{name}");
        }
        // Those that there was no place for were told so.
        let refused = "warren_refusals_total{reason=\"max_pulls_per_ip\",zone=\"test\"}";
        assert_eq!(
            (edge.metric(refused).await, gate.arrivals()),
            (16.0, 4),
            "{name}"
        );
        gate.release();
    }
}
