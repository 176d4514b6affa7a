//! `policy = "origin"` over real sockets: a plain shared cache (RFC 9111).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::edge::{Connection, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Reply, SeenRequest};

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

/// Answers that follow each other; the last one stays.
fn in_turn(origin: &DevOrigin, path: &str, answers: Vec<Reply>) {
    let turn = AtomicUsize::new(0);
    let next = move |_: &SeenRequest| {
        let at = turn.fetch_add(1, Relaxed).min(answers.len() - 1);
        answers[at].clone()
    };
    origin.on(path, Arc::new(next));
}

fn reply(status: u16, body: &str, headers: &[(&str, &str)]) -> Reply {
    let reply = Reply::new(status, body.to_owned());
    let with = |reply: Reply, (name, value): &(&str, &str)| reply.with_header(name, value);
    headers.iter().fold(reply, with)
}

#[tokio::test]
async fn what_the_origin_said_to_one_viewer_is_not_told_to_another() {
    let origin = origin().await;
    origin.on(
        "/mine",
        Arc::new(|request| {
            let who = request.header("cookie").unwrap_or("nobody").to_owned();
            Reply::new(200, who).with_header("Cache-Control", "private, max-age=60")
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
async fn an_error_page_passes_as_it_came_and_is_not_stored() {
    let origin = origin().await;
    let fresh = [("Cache-Control", "max-age=60")];
    in_turn(
        &origin,
        "/a",
        vec![reply(503, "busy", &fresh), reply(200, "fine", &fresh)],
    );
    let edge = edge(&origin).await;
    let busy = edge.get("/a").await;
    assert_eq!((busy.status, &busy.body[..]), (503, &b"busy"[..]));
    assert_eq!(busy.cache(), "BYPASS");
    let fine = edge.get("/a").await;
    assert_eq!((fine.status, fine.cache()), (200, "MISS"));
}

#[tokio::test]
async fn stale_if_error_covers_an_error_page() {
    let origin = origin().await;
    let control = [("Cache-Control", "max-age=0, stale-if-error=60")];
    in_turn(
        &origin,
        "/a",
        vec![reply(200, "fine", &control), reply(503, "busy", &[])],
    );
    let edge = edge(&origin).await;
    edge.get("/a").await;
    let stale = edge.get("/a").await;
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
        vec![reply(200, "body", &first), reply(304, "", &second)],
    );
    let edge = edge(&origin).await;
    edge.get("/a").await;
    for cache in ["REVALIDATED", "HIT"] {
        let reply = edge.get("/a").await;
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
