//! `policy = "origin"` over real sockets: a plain shared cache (RFC 9111).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::edge::{Connection, Reply, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Reply as Answer, SeenRequest};

async fn origin() -> DevOrigin {
    DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts")
}

async fn edge(origin: &DevOrigin) -> TestEdge {
    let mut setup = Setup::http(origin.addr());
    setup.cache = "policy = \"origin\"\nquery = \"all\"\nmethods = \"any\"\n".into();
    setup.start().await
}

/// Without a token, which would be a part of the query like any other.
async fn get(edge: &TestEdge, path: &str, headers: &[(&str, &str)]) -> Reply {
    edge.send("GET", path, headers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_body_has_no_length_and_no_chunks() {
    for (status, rule) in [(204, "max-age=60"), (204, "no-store"), (304, "no-store")] {
        let origin = origin().await;
        let headers = [("cache-control", rule)];
        origin.on(
            "/none",
            Arc::new(move |_: &SeenRequest| answer(status, "", &headers)),
        );
        for lane in [true, false] {
            let mut setup = Setup::http(origin.addr());
            setup.cache = "policy = \"origin\"\n".into();
            setup.lane = lane;
            let edge = setup.start().await;
            let mut connection = Connection::open(edge.http()).await;
            for _ in 0..3 {
                // To a part of it the condition goes along.
                let asked = [("range", "bytes=0-1"), ("if-none-match", "\"e\"")];
                let asked = if status == 304 { &asked[..] } else { &[] };
                connection.send("GET", "/none", asked).await;
                let reply = connection.reply("GET").await;
                let told = ["content-length", "transfer-encoding"].map(|name| reply.header(name));
                if reply.status == status {
                    assert_eq!(told, [None, None], "{status} {rule}, lane: {lane}");
                }
                assert!(status != 204 || reply.status == 204);
            }
        }
    }
}

/// Answers that follow each other; the last one stays.
fn in_turn(origin: &DevOrigin, path: &str, answers: Vec<Answer>) {
    let turn = AtomicUsize::new(0);
    let next = move |_: &SeenRequest| {
        let at = turn.fetch_add(1, Relaxed).min(answers.len() - 1);
        answers[at].clone()
    };
    origin.on(path, Arc::new(next));
}

fn answer(status: u16, body: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = Answer::new(status, body.to_owned());
    let with = |answer: Answer, (name, value): &(&str, &str)| answer.with_header(name, value);
    headers.iter().fold(answer, with)
}

#[tokio::test]
async fn what_the_origin_said_to_one_viewer_is_not_told_to_another() {
    let origin = origin().await;
    origin.on(
        "/mine",
        Arc::new(|request| {
            let who = request.header("cookie").unwrap_or("nobody").to_owned();
            Answer::new(200, who).with_header("Cache-Control", "private, max-age=60")
        }),
    );
    let gate = origin.hold("/mine", None);
    let edge = edge(&origin).await;
    let mut viewers = Vec::new();
    for who in ["a=1", "a=2", "a=3"] {
        let mut viewer = Connection::open(edge.http()).await;
        viewer.send("GET", "/mine", &[("Cookie", who)]).await;
        if viewers.is_empty() {
            gate.arrived(1).await;
        }
        viewers.push((who, viewer));
    }
    // Who began the pull leaves: its answer is then nobody's.
    let (_, first) = viewers.remove(0);
    drop(first);
    gate.release();
    for (who, mut viewer) in viewers {
        let reply = viewer.reply("GET").await;
        assert_eq!(String::from_utf8_lossy(&reply.body), who);
        assert_eq!(reply.cache(), "BYPASS");
    }
}

#[tokio::test]
async fn an_error_page_passes_as_it_came_and_is_stored_for_10_s_where_it_names_a_lifetime() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    for (path, control, first, after) in [
        ("/told", "max-age=60", "MISS", "HIT"),
        ("/silent", "public", "BYPASS", "MISS"),
    ] {
        let answers = [(503, "busy", control), (200, "fine", "max-age=60")];
        let answers = answers
            .map(|(status, body, control)| answer(status, body, &[("Cache-Control", control)]));
        in_turn(&origin, path, answers.into());
        let busy = get(&edge, path, &[]).await;
        assert_eq!((busy.status, &busy.body[..]), (503, &b"busy"[..]));
        assert_eq!(busy.cache(), first);
        assert_eq!(get(&edge, path, &[]).await.cache(), after);
        edge.clock.advance(Duration::from_secs(10));
        assert_eq!(get(&edge, path, &[]).await.status, 200);
    }
}

#[tokio::test]
async fn stale_if_error_covers_an_error_page() {
    let origin = origin().await;
    let control = [("Cache-Control", "max-age=0, stale-if-error=60")];
    in_turn(
        &origin,
        "/a",
        vec![answer(200, "fine", &control), answer(503, "busy", &[])],
    );
    let edge = edge(&origin).await;
    get(&edge, "/a", &[]).await;
    let stale = get(&edge, "/a", &[]).await;
    assert_eq!((stale.status, &stale.body[..]), (200, &b"fine"[..]));
    assert_eq!(stale.cache(), "STALE");
}

#[tokio::test]
async fn a_304_brings_what_is_stored_up_to_date() {
    let origin = origin().await;
    let first = [
        ("Cache-Control", "max-age=0"),
        ("ETag", "\"1\""),
        ("X-Turn", "1"),
        ("X-Stays", "yes"),
    ];
    let second = [
        ("Cache-Control", "max-age=60"),
        ("ETag", "\"1\""),
        ("X-Turn", "2"),
    ];
    in_turn(
        &origin,
        "/a",
        vec![answer(200, "body", &first), answer(304, "", &second)],
    );
    let edge = edge(&origin).await;
    get(&edge, "/a", &[]).await;
    for cache in ["REVALIDATED", "HIT"] {
        let reply = get(&edge, "/a", &[]).await;
        assert_eq!((reply.status, reply.cache()), (200, cache));
        assert_eq!(&reply.body[..], b"body");
        for (name, want) in [
            ("x-turn", "2"),
            ("x-stays", "yes"),
            ("cache-control", "max-age=60"),
        ] {
            assert_eq!(reply.header(name), Some(want), "{name}");
        }
    }
    assert_eq!(origin.count("/a"), 2);
}

/// Answers with one request header as the body.
fn echo(origin: &DevOrigin, path: &str, name: &'static str, headers: &'static [(&str, &str)]) {
    let echoed =
        move |request: &SeenRequest| answer(200, request.header(name).unwrap_or("none"), headers);
    origin.on(path, Arc::new(echoed));
}

#[tokio::test]
async fn each_viewer_gets_the_variant_that_the_origin_made_for_his_headers() {
    let origin = origin().await;
    let control = &[("Cache-Control", "max-age=60"), ("Vary", "Foo")];
    echo(&origin, "/a", "foo", control);
    let edge = edge(&origin).await;
    for (value, cache) in [
        ("1", "MISS"),
        ("2", "MISS"),
        ("1", "HIT"),
        ("2", "HIT"),
        ("1", "HIT"),
    ] {
        let reply = get(&edge, "/a", &[("Foo", value)]).await;
        assert_eq!((&reply.body[..], reply.cache()), (value.as_bytes(), cache));
    }
    assert_eq!(origin.count("/a"), 2);
}

#[tokio::test]
async fn a_herd_on_an_unknown_variation_makes_one_request_for_each_variant() {
    let origin = origin().await;
    let control = &[("Cache-Control", "max-age=60"), ("Vary", "Foo")];
    echo(&origin, "/a", "foo", control);
    let gate = origin.hold("/a", None);
    let edge = edge(&origin).await;
    let mut viewers = Vec::new();
    for number in 0..30 {
        let value = ["1", "2", "3"][number % 3];
        let mut viewer = Connection::open(edge.http()).await;
        viewer.send("GET", "/a", &[("Foo", value)]).await;
        viewers.push((value, viewer));
    }
    edge.riding(29).await;
    gate.release();
    for (value, mut viewer) in viewers {
        let reply = viewer.reply("GET").await;
        assert_eq!(&reply.body[..], value.as_bytes());
    }
    assert_eq!(origin.count("/a"), 3);
}

#[tokio::test]
async fn credentials_are_answered_from_memory_only_where_the_origin_says_so() {
    let origin = origin().await;
    echo(
        &origin,
        "/own",
        "authorization",
        &[("Cache-Control", "max-age=60")],
    );
    echo(
        &origin,
        "/all",
        "authorization",
        &[("Cache-Control", "max-age=60, public")],
    );
    let edge = edge(&origin).await;
    for (path, who, body, cache) in [
        ("/own", Some("one"), "one", "BYPASS"),
        ("/own", Some("two"), "two", "BYPASS"),
        ("/own", None, "none", "MISS"),
        ("/own", None, "none", "HIT"),
        ("/all", Some("one"), "one", "MISS"),
        ("/all", Some("two"), "one", "HIT"),
    ] {
        let headers: Vec<_> = who.map(|who| ("Authorization", who)).into_iter().collect();
        let reply = get(&edge, path, &headers).await;
        let got = (
            String::from_utf8_lossy(&reply.body).into_owned(),
            reply.cache(),
        );
        assert_eq!(got, (body.to_owned(), cache), "{path} {who:?}");
    }
}

#[tokio::test]
async fn an_unsafe_method_that_succeeds_makes_its_target_and_places_stale() {
    let origin = origin().await;
    let fresh = [("Cache-Control", "max-age=60")];
    let places = [("Location", "/v/new?x=1"), ("Content-Location", "here")];
    for path in ["/v/a", "/v/new", "/v/here", "/v/other"] {
        origin.on(
            path,
            Arc::new(move |request| match request.method.as_str() {
                "GET" => answer(200, "body", &fresh),
                "DELETE" => answer(500, "no", &places),
                _ => answer(200, "done", &places),
            }),
        );
    }
    let edge = edge(&origin).await;
    let all = ["/v/a", "/v/new?x=1", "/v/here", "/v/other"];
    let caches = async || {
        let mut caches = Vec::new();
        for path in all {
            caches.push(get(&edge, path, &[]).await.cache().to_owned());
        }
        caches
    };
    caches().await;
    edge.send("DELETE", "/v/a", &[]).await;
    assert_eq!(caches().await, ["HIT"; 4], "a failure changes nothing");
    let done = edge.send("POST", "/v/a", &[("Content-Length", "0")]).await;
    assert_eq!((done.status, done.cache()), (200, "BYPASS"));
    assert_eq!(caches().await, ["MISS", "MISS", "MISS", "HIT"]);
    let done = edge.send("M-SEARCH", "/v/a", &[]).await;
    assert_eq!((done.status, done.cache()), (200, "BYPASS"));
    assert_eq!(caches().await, ["MISS", "MISS", "MISS", "HIT"]);
}

#[tokio::test]
async fn what_is_said_to_cdns_alone_counts_here_and_what_is_said_to_all_for_viewers() {
    let origin = origin().await;
    let split = [
        ("Cache-Control", "no-store"),
        ("CDN-Cache-Control", "max-age=60"),
        ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ];
    let closed = [
        ("Cache-Control", "max-age=60"),
        ("CDN-Cache-Control", "no-store"),
    ];
    in_turn(&origin, "/split", vec![answer(200, "a", &split)]);
    in_turn(&origin, "/closed", vec![answer(200, "b", &closed)]);
    let edge = edge(&origin).await;
    for (path, cache, told) in [
        ("/split", "MISS", "no-store"),
        ("/split", "HIT", "no-store"),
        ("/closed", "BYPASS", "max-age=60"),
        ("/closed", "BYPASS", "max-age=60"),
    ] {
        let reply = get(&edge, path, &[]).await;
        assert_eq!(
            (reply.cache(), reply.header("cache-control")),
            (cache, Some(told)),
            "{path}"
        );
        let said = reply.header("cdn-cache-control");
        assert!(said.is_some(), "caches on the way hear it, too");
    }
}

#[tokio::test]
async fn headers_that_are_one_viewers_own_are_told_to_nobody_who_shares() {
    let origin = origin().await;
    let own = [
        (
            "Cache-Control",
            "max-age=60, private=\"X-User\", no-cache=\"x-csrf\"",
        ),
        ("X-User", "one"),
        ("X-Csrf", "two"),
        ("X-All", "three"),
    ];
    in_turn(&origin, "/a", vec![answer(200, "a", &own)]);
    let alone = [
        ("Cache-Control", "no-store, private=\"x-user\""),
        ("X-User", "one"),
    ];
    in_turn(&origin, "/b", vec![answer(200, "b", &alone)]);
    let edge = edge(&origin).await;
    for cache in ["MISS", "HIT"] {
        let reply = get(&edge, "/a", &[]).await;
        assert_eq!(reply.cache(), cache);
        let told = ["x-user", "x-csrf", "x-all"].map(|name| reply.header(name));
        assert_eq!(told, [None, None, Some("three")]);
    }
    let passing = get(&edge, "/b", &[]).await;
    assert_eq!(
        (passing.cache(), passing.header("x-user")),
        ("BYPASS", Some("one"))
    );
}

#[tokio::test]
async fn a_viewer_demands_only_where_the_zone_lets_him() {
    let origin = origin().await;
    let fresh = [("Cache-Control", "max-age=60"), ("ETag", "\"1\"")];
    for path in ["/a", "/b", "/c"] {
        let turn = vec![
            answer(200, "one", &fresh),
            answer(304, "", &fresh),
            answer(200, "two", &fresh),
        ];
        in_turn(&origin, path, turn);
    }
    let mut setup = Setup::http(origin.addr());
    setup.cache = "policy = \"origin\"\n".into();
    let deaf = setup.start().await;
    for cache in ["MISS", "HIT"] {
        let reply = get(&deaf, "/a", &[("Cache-Control", "no-cache, no-store")]).await;
        assert_eq!(reply.cache(), cache);
    }
    setup.cache.push_str("request_directives = \"honour\"\n");
    let edge = setup.start().await;
    let (no_cache, only) = (
        ("Cache-Control", "no-cache"),
        ("Cache-Control", "only-if-cached"),
    );
    let (no_store, pragma) = (("Cache-Control", "no-store"), ("Pragma", "no-cache"));
    let (old, young) = (
        ("Cache-Control", "max-age=0"),
        ("Cache-Control", "max-age=50"),
    );
    for (path, header, status, cache, body) in [
        ("/b", only, 504, "-", "504 Gateway Timeout\n"),
        ("/b", young, 200, "MISS", "one"),
        ("/b", only, 200, "HIT", "one"),
        ("/b", no_cache, 200, "REVALIDATED", "one"),
        ("/b", no_store, 200, "HIT", "one"),
        ("/b", pragma, 200, "EXPIRED", "two"),
        ("/b", young, 200, "HIT", "two"),
        ("/c", no_store, 200, "BYPASS", "one"),
        ("/c", only, 504, "-", "504 Gateway Timeout\n"),
    ] {
        let reply = get(&edge, path, &[header]).await;
        let seen = (reply.status, reply.cache(), reply.text());
        assert_eq!(seen, (status, cache, body.into()), "{path} {header:?}");
    }
    edge.clock.advance(Duration::from_secs(2));
    assert_eq!(get(&edge, "/b", &[old]).await.cache(), "EXPIRED");
    let refusals = "warren_refusals_total{reason=\"only_if_cached\",zone=\"test\"}";
    edge.settled().await;
    assert_eq!(edge.metric(refusals).await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_final_status_is_stored_that_names_its_lifetime_and_understood_where_it_must_be() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    let statuses = [203, 299, 302, 303, 307, 500, 502, 503, 599];
    for status in statuses {
        for (rule, stored) in [
            ("max-age=60", true),
            ("public", false),
            ("max-age=60, must-understand", status == 203),
        ] {
            let path = format!("/{status}/{}", rule.len());
            let answers =
                ["first", "second"].map(|body| answer(status, body, &[("Cache-Control", rule)]));
            in_turn(&origin, &path, answers.into());
            let first = get(&edge, &path, &[]).await;
            let again = get(&edge, &path, &[]).await;
            assert_eq!((first.status, again.status), (status, status), "{rule}");
            let same = first.body == again.body;
            assert_eq!(same, stored, "{status} {rule}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_has_the_origins_date_and_what_it_said_to_cdns() {
    const OLD: &str = "Sun, 29 Nov 2026 10:00:00 GMT";
    let origin = origin().await;
    let edge = edge(&origin).await;
    let lifetime = [("CDN-Cache-Control", "max-age=999999999"), ("Date", OLD)];
    in_turn(&origin, "/dated", vec![answer(200, "x", &lifetime)]);
    in_turn(
        &origin,
        "/undated",
        vec![answer(200, "x", &[("Cache-Control", "max-age=60")])],
    );
    for _ in 0..2 {
        let reply = get(&edge, "/dated", &[]).await;
        let dates: Vec<_> = reply
            .headers
            .iter()
            .filter(|(name, _)| name == "date")
            .collect();
        assert_eq!((dates.len(), reply.header("date")), (1, Some(OLD)));
        assert_eq!(reply.header("cdn-cache-control"), Some("max-age=999999999"));
        assert!(get(&edge, "/undated", &[]).await.header("date").is_some());
    }
    assert_eq!(origin.count("/dated"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_still_arrives_has_its_own_status() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    let fresh = [("Cache-Control", "max-age=60")];
    for status in [203, 301, 302, 404, 410, 503] {
        let path = format!("/{status}");
        in_turn(&origin, &path, vec![answer(status, "in two parts", &fresh)]);
        let gate = origin.hold(&path, Some(3));
        let mut viewer = Connection::open(edge.http()).await;
        // Only a 200 has parts.
        viewer.send("GET", &path, &[("Range", "bytes=0-1")]).await;
        gate.arrived(1).await;
        assert_eq!(viewer.head().await.0, status);
        gate.release();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_that_sets_a_cookie_is_for_who_was_asked_for() {
    let origin = origin().await;
    let stored = [("cache-control", "max-age=1"), ("etag", "\"e\"")];
    let alices = [
        ("cache-control", "max-age=30"),
        ("etag", "\"e\""),
        ("set-cookie", "s=alice"),
        ("x-user", "alice"),
    ];
    let answers = vec![
        answer(200, "body", &stored),
        answer(304, "", &alices),
        answer(304, "", &stored),
    ];
    in_turn(&origin, "/a", answers);
    let edge = edge(&origin).await;
    assert_eq!(get(&edge, "/a", &[]).await.status, 200);
    edge.clock.advance(Duration::from_secs(2));
    let alice = get(&edge, "/a", &[("cookie", "s=alice")]).await;
    assert_eq!((alice.status, &alice.body[..]), (200, &b"body"[..]));
    for _ in 0..2 {
        let bob = get(&edge, "/a", &[]).await;
        assert_eq!((bob.status, bob.header("x-user")), (200, None));
    }
}
