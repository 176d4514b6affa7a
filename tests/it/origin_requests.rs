//! What the edge asks an origin for, seen from the origin.

use crate::edge::{Setup, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PART-INF:PART-TARGET=1\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3\n\
    #EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\nseg7.ts\n";

async fn s3() -> DevOrigin {
    DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts")
}

async fn packager() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts");
    origin.put("/live/index.m3u8", LIVE, "application/vnd.apple.mpegurl");
    origin.put("/v/a.ts", &b"segment"[..], "video/mp2t");
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_named_in_the_host_where_the_style_is_virtual() {
    let origin = s3().await;
    origin.put("/media/v/a b.ts", &b"segment"[..], "video/mp2t");
    let mut setup = Setup::s3(origin.addr());
    setup.origin = setup.origin.replace("127.0.0.1", "localhost");
    setup.origin.push_str("style = \"virtual\"\n");
    let edge = setup.start().await;
    let reply = edge.get("/v/a%20b.ts").await;
    assert_eq!((reply.status, reply.body), (200, b"segment".to_vec()));
    let seen = &origin.requests()[0];
    let host = format!("media.localhost:{}", origin.addr().port());
    assert_eq!(
        (seen.target.as_str(), seen.header("host"), seen.authorised),
        ("/v/a%20b.ts", Some(host.as_str()), true)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_sees_no_header_query_or_credential_of_a_viewer() {
    let origin = s3().await;
    origin.put("/media/v/a.ts", &b"segment"[..], "video/mp2t");
    let edge = Setup::s3(origin.addr()).start().await;
    let headers = [
        ("Authorization", "Bearer secret"),
        ("Cookie", "session=secret"),
        ("X-Amz-Acl", "public-read"),
        ("X-Original-URL", "/v/b.ts"),
        ("Accept-Encoding", "gzip"),
        ("User-Agent", "player"),
    ];
    let reply = edge
        .get_with("/v/a.ts?response-content-type=text/html", &headers)
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = &origin.requests()[0];
    assert_eq!(seen.target, "/media/v/a.ts");
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept-encoding",
            "authorization",
            "cdn-loopcount",
            "cdn-pullzoneid",
            "cdn-requestid",
            "host",
            "via",
            "x-amz-content-sha256",
            "x-amz-date",
            "x-forwarded-for",
            "x-forwarded-proto",
        ]
    );
    assert!(
        seen.header("authorization")
            .is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "))
    );
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("cdn-requestid"), reply.header("cdn-requestid"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_that_keeps_hosts_apart_tells_its_origin_one_host() {
    let (store, packager) = (s3().await, packager().await);
    store.put("/media/v/a.ts", &b"segment"[..], "video/mp2t");
    for (setup, origin) in [
        (Setup::s3(store.addr()), &store),
        (Setup::http(packager.addr()), &packager),
    ] {
        let mut setup = setup;
        setup.cache = "vary = [\"host\"]\n".into();
        let reply = setup.start().await.get("/v/a.ts").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let seen = &origin.requests()[0];
        let hosts = seen.headers.iter().filter(|(name, _)| name == "host");
        let hosts: Vec<&str> = hosts.map(|(_, value)| value.as_str()).collect();
        assert_eq!(hosts, [origin.addr().to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packager_is_told_who_asks_and_gets_its_own_headers() {
    let origin = packager().await;
    let mut setup = Setup::http(origin.addr());
    setup
        .origin
        .push_str("host = \"packager.internal\"\nheaders = { \"X-Origin-Key\" = \"k1\" }\n");
    setup.zone.push_str("trusted_proxies = [\"127.0.0.0/8\"]\n");
    let edge = setup.start().await;
    let headers = [("X-Forwarded-For", "192.0.2.7"), ("CDN-LoopCount", "1")];
    assert_eq!(edge.send("GET", "/v/a.ts", &headers).await.status, 200);
    let seen = &origin.requests()[0];
    for (name, value) in [
        ("host", "packager.internal"),
        ("x-origin-key", "k1"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "http"),
        ("cdn-loopcount", "2"),
        ("cdn-pullzoneid", "7"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_directives_are_keys_of_their_own_and_reach_the_packager() {
    let origin = packager().await;
    let edge = Setup::http(origin.addr()).start().await;
    let targets = [
        ("/live/index.m3u8?_HLS_part=1&_HLS_msn=8", "MISS"),
        ("/live/index.m3u8?_HLS_msn=8&_HLS_part=1", "HIT"),
        ("/live/index.m3u8?_HLS_msn=8&_HLS_part=2", "MISS"),
        ("/live/index.m3u8?session=1&_HLS_msn=8&_HLS_part=2", "HIT"),
        ("/live/index.m3u8", "MISS"),
        ("/live/index.m3u8?session=2&_HLS_msn=x", "HIT"),
    ];
    for (target, cache) in targets {
        let reply = edge.send("GET", target, &[]).await;
        assert_eq!((reply.status, reply.cache()), (200, cache), "{target}");
    }
    let asked: Vec<String> = origin
        .requests()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert_eq!(
        asked,
        [
            "/live/index.m3u8?_HLS_msn=8&_HLS_part=1",
            "/live/index.m3u8?_HLS_msn=8&_HLS_part=2",
            "/live/index.m3u8",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_zone_says_which_parameters_and_headers_keep_objects_apart() {
    let origin = packager().await;
    let mut all = Setup::http(origin.addr());
    all.cache = "query = \"all\"\n".into();
    let mut listed = Setup::http(origin.addr());
    listed.cache = "query = [\"q\", \"r\"]\nvary = [\"origin\"]\n".into();
    let (all, listed) = (all.start().await, listed.start().await);
    for (target, cache) in [
        ("/v/a.ts?q=1&z=1", "MISS"),
        ("/v/a.ts?q=1&z=2", "MISS"),
        ("/v/a.ts?q=1&z=1", "HIT"),
    ] {
        assert_eq!(
            all.send("GET", target, &[]).await.cache(),
            cache,
            "{target}"
        );
    }
    let one = [("Origin", "https://one.example")];
    let two = [("Origin", "https://two.example")];
    for (target, headers, cache) in [
        ("/v/a.ts?q=1&z=1", &one[..], "MISS"),
        ("/v/a.ts?z=2&q=1", &one, "HIT"),
        ("/v/a.ts?q=1", &two, "MISS"),
        ("/v/a.ts?r=2&q=1", &two, "MISS"),
        ("/v/a.ts?q=1&r=2", &two, "HIT"),
        ("/v/a.ts?q=1&r=2", &[], "MISS"),
    ] {
        let reply = listed.send("GET", target, headers).await;
        assert_eq!(reply.cache(), cache, "{target} {headers:?}");
    }
    let asked: Vec<(String, Option<String>)> = origin
        .requests()
        .into_iter()
        .skip(2)
        .map(|seen| {
            (
                seen.target.clone(),
                seen.header("origin").map(str::to_owned),
            )
        })
        .collect();
    assert_eq!(asked[0], ("/v/a.ts?q=1".into(), Some(one[0].1.into())));
    assert_eq!(asked[2], ("/v/a.ts?q=1&r=2".into(), Some(two[0].1.into())));
    assert_eq!(asked[3], ("/v/a.ts?q=1&r=2".into(), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsafe_method_passes_through_where_the_zone_takes_it() {
    let origin = packager().await;
    let mut setup = Setup::http(origin.addr());
    let closed = setup.start().await;
    let reply = closed.send("POST", "/v/a.ts", &[]).await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
    setup.cache = "methods = \"any\"\n".into();
    let open = setup.start().await;
    for _ in 0..2 {
        let mut connection = crate::edge::Connection::open(open.http()).await;
        connection
            .write(b"POST /v/a.ts?x=1 HTTP/1.1\r\nHost: cdn.test\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        let reply = connection.reply("POST").await;
        assert_eq!(reply.cache(), "BYPASS", "{reply:?}");
        assert!(reply.header("cdn-requestid").is_some());
    }
    open.settled().await;
    assert_eq!(
        open.metric("warren_bypasses_total{reason=\"method\"}")
            .await,
        2.0
    );
    let seen = origin.requests();
    assert_eq!(seen.len(), 2, "nothing of it is stored: {seen:?}");
    for request in &seen {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("POST", "/v/a.ts?x=1")
        );
        assert_eq!(&request.body[..], b"hello");
        assert_eq!(request.header("via"), Some("1.1 warren"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_zone_keeps_the_token_to_itself() {
    let origin = packager().await;
    let mut setup = Setup::s3(origin.addr());
    setup.origin = format!(
        "kind = \"http\"\nendpoints = [\"http://{}\"]\n",
        origin.addr()
    );
    setup.cache = "query = \"all\"\n".into();
    let edge = setup.start().await;
    let target = signed(&edge.clock, "/v/a.ts?q=1");
    assert_eq!(edge.send("GET", &target, &[]).await.status, 200, "{target}");
    assert_eq!(origin.requests()[0].target, "/v/a.ts?q=1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_connection_lists_ends_here_on_both_ways() {
    let origin = packager().await;
    let mut setup = Setup::http(origin.addr());
    setup.cache = "policy = \"origin\"\nmethods = \"any\"\n".into();
    let edge = setup.start().await;
    let headers = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("X-End", "2"),
    ];
    for method in ["GET", "HEAD", "POST"] {
        origin.clear();
        edge.send(method, "/v/a.ts", &headers).await;
        let seen = &origin.requests()[0];
        let got = ["x-hop", "keep-alive", "x-end"].map(|name| seen.header(name));
        assert_eq!(got, [None, None, Some("2")], "{method}");
    }
}
