//! What viewers get besides bytes: headers, refusals, pacing, and one
//! connection for many requests.

use std::time::{Duration, Instant};

use warren::token::sign::{Options, sign};
use warren::token::{Key, Scheme};

use crate::edge::{Connection, KEY, Setup};
use crate::origin::{DevOrigin, DevOriginOptions};

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/v/a.ts", vec![7; 50_000], "video/mp2t");
    origin
}

/// A target signed with any key and options, for an hour from the real time.
fn target(secret: &str, options: &Options) -> String {
    let key = Key::new("k", secret.as_bytes()).expect("not empty");
    let expires = warren::clock::Clock::default().unix_seconds() + 3600;
    sign("/v/a.ts", &key, Scheme::Hs256, expires, options).expect("signs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_says_who_it_is() {
    let origin = origin().await;
    let edge = Setup::s3(origin.addr()).start().await;
    for cache in ["MISS", "HIT"] {
        let reply = edge.get("/v/a.ts").await;
        assert_eq!(reply.cache(), cache);
        let id = reply.header("cdn-requestid").expect("an id");
        assert!(
            id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
        for (name, value) in [
            ("server", "warren"),
            ("cdn-status", "200"),
            ("cdn-pullzone", "7"),
            ("age", "0"),
            ("cdn-requestpullcode", "200"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        let status = reply.header("cache-status").expect("RFC 9211");
        let want = if cache == "HIT" {
            "warren; hit; ttl=86400; key="
        } else {
            "warren; fwd=uri-miss"
        };
        assert!(status.starts_with(want), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_many_requests_and_mixes_statuses() {
    let origin = origin().await;
    let edge = Setup::s3(origin.addr()).start().await;
    let good = crate::edge::signed(&edge.clock, "/v/a.ts");
    let mut connection = Connection::open(edge.http()).await;
    for _ in 0..20 {
        for (target, status) in [(good.as_str(), 200), ("/v/a.ts", 403), ("/v/../a.ts", 400)] {
            connection.send("GET", target, &[]).await;
            assert_eq!(connection.reply("GET").await.status, status);
        }
    }
    assert_eq!(origin.count("a.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_reaches_no_origin() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.zone = "hostnames = [\"cdn.test\"]\n".into();
    let edge = setup.start().await;
    let long = format!("/{}", "a".repeat(9000));
    let table: &[(&str, &str, &[(&str, &str)], u16)] = &[
        ("traversal", "/v/%2e%2e/a.ts", &[], 400),
        ("encoded slash", "/v%2Fa.ts", &[], 400),
        ("NUL", "/v/%00a.ts", &[], 400),
        ("backslash", "/v/%5ca.ts", &[], 400),
        ("fragment", "/v/a.ts#x", &[], 400),
        ("unknown host", "/v/a.ts", &[("Host", "other.test")], 404),
        ("a long target", &long, &[], 414),
        ("a circle", "/v/a.ts", &[("CDN-LoopCount", "4")], 508),
    ];
    for (name, target, headers, status) in table {
        let reply = edge.send("GET", target, headers).await;
        assert_eq!((reply.status, reply.cache()), (*status, "-"), "{name}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tokens_limit_paces_the_response() {
    let origin = origin().await;
    let edge = Setup::s3(origin.addr()).start().await;
    edge.get("/v/a.ts").await;
    let limited = target(
        KEY,
        &Options {
            limit: Some(100),
            ..Options::default()
        },
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "the pace is seen by a real clock"
    )]
    let started = Instant::now();
    let reply = edge.send("GET", &limited, &[]).await;
    assert!(reply.whole && reply.body.len() == 50_000);
    // 50 kB at 100 kB/s in slices of a quarter second: the last one needs no pause.
    assert!(
        started.elapsed() >= Duration::from_millis(240),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_viewers_address_comes_from_a_trusted_proxy_only() {
    let origin = origin().await;
    let bound = target(
        KEY,
        &Options {
            ip: "198.51.100.7".parse().ok(),
            ..Options::default()
        },
    );
    let forwarded = [("X-Forwarded-For", "1.2.3.4, 198.51.100.7")];
    for (trusted, status) in [("trusted_proxies = [\"127.0.0.0/8\"]\n", 200), ("", 403)] {
        let mut setup = Setup::s3(origin.addr());
        setup.zone.push_str(trusted);
        setup.token.push_str("validate_ip = true\n");
        let edge = setup.start().await;
        assert_eq!(
            edge.send("GET", &bound, &forwarded).await.status,
            status,
            "{trusted}"
        );
        assert_eq!(
            edge.send("GET", &bound, &[]).await.status,
            403,
            "without the header"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_keys_live_side_by_side_and_only_the_operator_is_told_why() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.token =
        "keys = [{ name = \"old\", env = \"KEY\" }, { name = \"new\", env = \"SECOND\" }]\n".into();
    let plain = setup.start().await;
    setup.zone.push_str("explain_to = [\"127.0.0.1\"]\n");
    let telling = setup.start().await;
    for secret in [KEY, crate::edge::SECOND_KEY] {
        assert_eq!(
            plain
                .send("GET", &target(secret, &Options::default()), &[])
                .await
                .status,
            200
        );
    }
    let forged = target("another-key", &Options::default());
    let refused = plain.send("GET", &forged, &[]).await;
    let id = refused.header("cdn-requestid").expect("an id");
    assert_eq!(
        String::from_utf8_lossy(&refused.body),
        format!("403 Forbidden\nRequest {id}\n"),
        "what a viewer can quote, and no reason"
    );
    let told = telling.send("GET", &forged, &[]).await;
    assert!(String::from_utf8_lossy(&told.body).contains("bad_signature"));
    plain.settled().await;
    assert_eq!(
        plain
            .metric("warren_refusals_total{reason=\"bad_signature\",zone=\"test\"}")
            .await,
        1.0
    );
    assert_eq!(
        plain
            .metric("warren_token_uses_total{key=\"new\",scheme=\"hs256\",zone=\"test\"}")
            .await,
        1.0
    );
    assert_eq!(
        plain
            .metric("veza_cache_hits_total{subsystem=\"segment\"}")
            .await,
        1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_of_a_stored_object_come_as_its_parts() {
    let origin = origin().await;
    let body: Vec<u8> = (0..50_000u32).map(|at| (at % 251) as u8).collect();
    origin.put("/media/v/b.ts", body.clone(), "video/mp2t");
    let edge = Setup::s3(origin.addr()).start().await;
    let ranges = [("Range", "bytes=0-9, 100-199, -5")];
    edge.get("/v/b.ts").await;
    let reply = edge.get_with("/v/b.ts", &ranges).await;
    assert_eq!((reply.status, reply.cache()), (206, "HIT"));
    assert_eq!(reply.header("content-range"), None);
    let kind = reply.header("content-type").expect("a type").to_owned();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("parts");
    let mut want = Vec::new();
    for (range, part) in [
        ("0-9", 0..10),
        ("100-199", 100..200),
        ("49995-49999", 49_995..50_000),
    ] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: video/mp2t\r\nContent-Range: bytes {range}/50000\r\n\r\n"
        );
        want.extend(head.into_bytes());
        want.extend(&body[part]);
    }
    want.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    assert!(reply.whole && reply.body == want);
    let all: Vec<_> = (0..17).map(|at| format!("{at}-{at}")).collect();
    let many = format!("bytes={}", all.join(","));
    for greedy in [many.as_str(), "bytes=0-49999,0-49999", "bytes=0-,1-,2-"] {
        let reply = edge.get_with("/v/b.ts", &[("Range", greedy)]).await;
        assert_eq!((reply.status, reply.body.len()), (200, 50_000), "{greedy}");
    }
}
