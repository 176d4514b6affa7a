//! Whose an answer is: nothing that must be confirmed for each request, and
//! nothing that was made from one viewer's headers, is given to another.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::edge::{Connection, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Reply as Answer, SeenRequest};
use crate::tls;

async fn origin() -> DevOrigin {
    DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts")
}

async fn edge(origin: &DevOrigin, cache: &str) -> TestEdge {
    let mut setup = Setup::http(origin.addr());
    setup.cache = cache.to_owned();
    setup.start().await
}

/// Answers with the request's line of a header, and 304 where it has that
/// entity-tag already.
fn page_of(origin: &DevOrigin, path: &str, name: &'static str, headers: &'static [(&str, &str)]) {
    let page = move |request: &SeenRequest| {
        let who = request.header(name).unwrap_or("nobody").to_owned();
        let tag = format!("\"{who}\"");
        let known = request.header("if-none-match") == Some(tag.as_str());
        let (status, body) = if known {
            (304, String::new())
        } else {
            (200, who)
        };
        let answer = Answer::new(status, body).with_header("ETag", &tag);
        let with = |answer: Answer, (name, value): &(&str, &str)| answer.with_header(name, value);
        headers.iter().fold(answer, with)
    };
    origin.on(path, Arc::new(page));
}

/// What an origin says of a page that is to be confirmed each time.
const TO_CONFIRM: [(&str, &[(&str, &str)]); 6] = [
    ("/etag-alone", &[]),
    ("/no-cache", &[("Cache-Control", "no-cache")]),
    ("/max-age-0", &[("Cache-Control", "max-age=0")]),
    ("/public-0", &[("Cache-Control", "public, max-age=0")]),
    ("/expired", &[("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")]),
    ("/old", &[("Cache-Control", "max-age=9"), ("Age", "9")]),
];

#[tokio::test]
async fn who_waits_for_an_answer_that_is_to_be_confirmed_asks_for_himself() {
    for header in ["cookie", "x-user"] {
        let origin = origin().await;
        for (path, said) in TO_CONFIRM {
            page_of(&origin, path, header, said);
        }
        let edge = edge(&origin, "policy = \"origin\"\n").await;
        for (number, (path, _)) in TO_CONFIRM.into_iter().enumerate() {
            let gate = origin.hold(path, None);
            let mut viewers = Vec::new();
            for who in ["a=1", "a=2", "a=3", "a=4"] {
                let mut viewer = Connection::open(edge.http()).await;
                viewer.send("GET", path, &[(header, who)]).await;
                viewers.push((who, viewer));
            }
            edge.riding(3 * (number as u64 + 1)).await;
            gate.release();
            for (who, viewer) in &mut viewers {
                let reply = viewer.reply("GET").await;
                assert_eq!(
                    String::from_utf8_lossy(&reply.body),
                    *who,
                    "{header} {path}"
                );
            }
            assert_eq!(origin.count(path), 4, "{header} {path}");
        }
    }
}

#[tokio::test]
async fn who_looks_again_waits_for_nobody() {
    let origin = origin().await;
    page_of(&origin, "/page", "x-user", &[]);
    let edge = edge(&origin, "policy = \"origin\"\n").await;
    assert_eq!(edge.send("GET", "/page", &[]).await.body, b"nobody");
    let gate = origin.hold("/page", None);
    let mut viewers = Vec::new();
    for who in ["1", "2", "3", "4"] {
        let mut viewer = Connection::open(edge.http()).await;
        viewer.send("GET", "/page", &[("x-user", who)]).await;
        viewers.push((who, viewer));
    }
    // All four are at the origin at once.
    gate.arrived(4).await;
    gate.release();
    for (who, mut viewer) in viewers {
        assert_eq!(viewer.reply("GET").await.body, who.as_bytes());
    }
    // Each brings what is known, to be told that it still holds.
    let again = edge.send("GET", "/page", &[("x-user", "4")]).await;
    let last = origin.requests().pop().expect("a request");
    assert!(last.header("if-none-match").is_some());
    assert_eq!((again.status, &again.body[..]), (200, &b"4"[..]));
}

#[tokio::test]
async fn nobody_boards_an_answer_that_arrives_and_is_not_fresh() {
    let origin = origin().await;
    page_of(&origin, "/page", "x-user", &[("Cache-Control", "no-cache")]);
    let edge = edge(&origin, "policy = \"origin\"\n").await;
    let gate = origin.hold("/page", Some(1));
    let mut first = Connection::open(edge.http()).await;
    first.send("GET", "/page", &[("x-user", "first")]).await;
    gate.arrived(1).await;
    let mut second = Connection::open(edge.http()).await;
    second.send("GET", "/page", &[("x-user", "second")]).await;
    gate.arrived(2).await;
    gate.release();
    assert_eq!(second.reply("GET").await.body, b"second");
    assert_eq!(first.reply("GET").await.body, b"first");
}

#[tokio::test]
async fn what_a_cookie_may_have_made_is_kept_only_where_it_is_for_everybody() {
    let origin = origin().await;
    let table: [(&str, &'static [(&str, &str)], &str, &str); 4] = [
        ("/none", &[], "BYPASS", "MISS"),
        ("/0", &[("Cache-Control", "max-age=0")], "BYPASS", "MISS"),
        ("/fresh", &[("Cache-Control", "max-age=60")], "MISS", "HIT"),
        (
            "/public",
            &[("Cache-Control", "public, no-cache")],
            "MISS",
            "EXPIRED",
        ),
    ];
    let edge = edge(&origin, "policy = \"origin\"\n").await;
    for (path, said, first, then) in table {
        page_of(&origin, path, "cookie", said);
        let with = edge.send("GET", path, &[("Cookie", "a=1")]).await;
        let without = edge.send("GET", path, &[]).await;
        assert_eq!((with.cache(), without.cache()), (first, then), "{path}");
    }
}

#[tokio::test]
async fn a_header_is_keyed_by_what_is_sent_of_it_byte_for_byte() {
    let echo = |request: &SeenRequest| {
        let mut lines = request.headers.iter();
        // As many origins do, the last line alone.
        let last = lines.rfind(|(name, _)| name == "x-lang");
        let said = last.map_or("none", |(_, value)| value.as_str()).to_owned();
        Answer::new(200, said)
            .with_header("Cache-Control", "max-age=60")
            .with_header("Vary", "X-Lang")
    };
    for cache in [
        "vary = [\"x-lang\"]\n",
        "policy = \"origin\"\nvary = [\"x-lang\"]\n",
        "policy = \"origin\"\n",
    ] {
        let origin = origin().await;
        origin.on("/v/a.ts", Arc::new(echo));
        let edge = edge(&origin, cache).await;
        let requests: [&[(&str, &str)]; 7] = [
            &[("X-Lang", "a"), ("X-Lang", "b")],
            &[("X-Lang", "a")],
            &[("X-Lang", "a, b")],
            &[("X-Lang", "a,b")],
            &[("X-Lang", "b, a")],
            &[("X-Lang", "")],
            &[],
        ];
        for _ in 0..2 {
            for headers in requests {
                let reply = edge.send("GET", "/v/a.ts", headers).await;
                let want = headers.last().map_or("none", |(_, value)| value);
                assert_eq!(reply.body, want.as_bytes(), "{cache} {headers:?}");
            }
        }
        assert_eq!(origin.count("/v/a.ts"), requests.len(), "{cache}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scheme_is_told_to_an_origin_only_where_it_keeps_answers_apart() {
    for (cache, told_plain, pulls) in [("policy = \"origin\"\n", "http", 2), ("", "https", 1)] {
        let origin = origin().await;
        origin.on(
            "/v/a.ts",
            Arc::new(|request| {
                let scheme = request.header("x-forwarded-proto").unwrap_or("none");
                Answer::new(200, scheme.to_owned()).with_header("Cache-Control", "max-age=60")
            }),
        );
        let files = tempfile::TempDir::new().expect("a folder");
        let (entry, certificate) = tls::certify(files.path(), "cdn.test");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let mut setup = Setup::http(origin.addr());
        setup.cache = cache.to_owned();
        setup.listen = "http = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n".into();
        setup.server = format!("[tls]\ncertificates = [{entry}]\n");
        let edge = setup.start().await;
        for round in 0..2 {
            let plain = edge.send("GET", "/v/a.ts", &[]).await;
            assert_eq!(plain.body, told_plain.as_bytes(), "{cache} {round}");
            let address = edge.running.https[0];
            let mut stream = tls::connect(address, &roots, "cdn.test", "http/1.1", tls::BOTH).await;
            let request = b"GET /v/a.ts HTTP/1.1\r\nHost: cdn.test\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.expect("sent");
            let mut reply = Vec::new();
            // An end without a close_notify is one, too.
            let _ = stream.read_to_end(&mut reply).await;
            let reply = String::from_utf8(reply).expect("text");
            assert!(reply.ends_with("\r\n\r\nhttps"), "{cache}: {reply}");
        }
        assert_eq!(origin.count("/v/a.ts"), pulls, "{cache}");
    }
}

#[tokio::test]
async fn what_is_to_be_confirmed_for_each_is_nobody_elses_where_the_origin_is_away() {
    for (path, said) in TO_CONFIRM {
        let mut origin = origin().await;
        page_of(&origin, path, "x-user", said);
        let edge = edge(&origin, "policy = \"origin\"\n").await;
        let alice = edge.get_with(path, &[("x-user", "alice")]).await;
        assert_eq!(alice.body, b"alice", "{path}");
        origin.stop().await;
        let bob = edge.get_with(path, &[("x-user", "bob")]).await;
        assert!(
            bob.status >= 500 && bob.body != b"alice",
            "{path}: {}",
            bob.status
        );
    }
}
