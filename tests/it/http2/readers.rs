//! Readers that do not read, and heads that do not end.

use std::time::Duration;

use tokio::time::timeout;

use super::attack::{MOST_BYTES, Target, plain};
use super::{Edge, Ground};
use crate::frames::*;

const BIG: usize = 8 << 20;
const STREAMS: u32 = 100;

fn all(path: &str) -> Vec<u8> {
    (0..STREAMS)
        .flat_map(|n| headers(2 * n + 1, WHOLE, &get(path)))
        .collect()
}

/// Waits for the head of every response.
async fn heads(client: &mut Http2) {
    for _ in 0..STREAMS {
        let head = client.until(|frame| frame.kind == HEADERS).await;
        assert!(head.is_some(), "a head for each stream");
    }
}

/// Its memory is counted from when `/warm.ts` is stored.
async fn target() -> Target {
    let mut target = Target::start().await;
    for path in ["/warm.ts", "/cold.ts"] {
        target.ground.origin.put_generated(path, BIG as u64, 1);
    }
    assert_eq!(plain(target.http, "/warm.ts").await, BIG);
    target.count_from_here();
    target
}

/// What a hundred responses that are not read may cost, beside an object that is
/// pulled for them.
fn check(target: &Target, name: &str, object: usize) {
    let grown = target.grown();
    assert!(
        grown <= MOST_BYTES + object as u64,
        "{name}: {grown} bytes more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_without_a_window_take_no_memory() {
    let target = target().await;
    let mut client = target.door.open_with(&[(INITIAL_WINDOW_SIZE, 0)]).await;
    client.write(&all("/warm.ts")).await;
    heads(&mut client).await;
    check(&target, "warm, no window", 0);
    let trickle: Vec<u8> = (0..STREAMS)
        .flat_map(|n| window_update(2 * n + 1, 1))
        .collect();
    for _ in 0..20 {
        client.write(&trickle).await;
        for _ in 0..STREAMS {
            let part = client.until(|frame| frame.kind == DATA).await;
            assert_eq!(part.map(|frame| frame.payload.len()), Some(1));
        }
    }
    check(&target, "warm, a byte at a time", 0);
    target.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_without_a_window_take_one_object_of_a_pull() {
    let target = target().await;
    let mut client = target.door.open_with(&[(INITIAL_WINDOW_SIZE, 0)]).await;
    client.write(&all("/cold.ts")).await;
    heads(&mut client).await;
    // Who rides with them is not slowed, and has the whole when the pull ends.
    assert_eq!(plain(target.http, "/cold.ts").await, BIG);
    check(&target, "cold, no window", BIG);
    assert_eq!(target.ground.origin.count("cold.ts"), 1);
    target.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_with_wide_windows_who_reads_nothing_takes_no_memory() {
    let target = target().await;
    let mut client = target
        .door
        .open_with(&[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])
        .await;
    client
        .write(&window_update(0, MAX_WINDOW - FIRST_WINDOW as u32))
        .await;
    client.write(&all("/warm.ts")).await;
    for _ in 0..50 {
        target.serves().await;
    }
    check(&target, "warm, wide windows", 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_takes_nothing_is_given_up_and_the_connection_is_not() {
    let mut ground = Ground::new().await;
    ground.setup.listen.push_str("min_send_rate = 1000000\n");
    ground.origin.put_generated("/long.ts", 300_000, 1);
    let edge = ground.setup.start().await;
    let door = ground.door(edge.running.https[0]);
    let mut client = door.open_with(&[(INITIAL_WINDOW_SIZE, 100)]).await;
    let since = edge.clock.monotonic();
    client.write(&headers(1, WHOLE, &get("/long.ts"))).await;
    let reset = client
        .until(|frame| frame.kind == RST_STREAM)
        .await
        .expect("a reset");
    let after = edge.clock.monotonic() - since;
    assert_eq!(reset.code(), Some(INTERNAL_ERROR));
    // No write has less than ten seconds.
    assert!(
        after >= Duration::from_secs(9) && after < Duration::from_secs(20),
        "{after:?}"
    );
    client.write(&headers(3, WHOLE, &get("/a.ts"))).await;
    let head = client.until(|frame| frame.kind == HEADERS).await;
    assert_eq!(head.map(|frame| frame.stream), Some(3));
    edge.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the idle timeout of an HTTP/2 connection, 90 s"]
async fn a_head_that_never_ends_is_given_up() {
    let edge = Edge::start().await;
    let mut client = edge.door.open().await;
    client.write(&headers(1, END_STREAM, &get("/a.ts"))).await;
    let end = timeout(Duration::from_secs(120), client.end()).await;
    assert!(end.is_ok(), "the connection is still open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preface_that_never_comes_is_given_up() {
    let mut ground = Ground::new().await;
    ground.setup.listen.push_str("head_timeout = \"1s\"\n");
    let edge = ground.setup.start().await;
    let mut client = ground.door(edge.running.https[0]).silent().await;
    client.write(&PREFACE[..10]).await;
    let end = timeout(Duration::from_secs(10), client.end()).await;
    assert!(end.is_ok(), "the connection is still open");
}
