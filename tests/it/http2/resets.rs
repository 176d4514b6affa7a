//! Streams that end before their answer: reset by the client (CVE-2023-44487),
//! or by the edge because the client makes it do so (CVE-2025-8671).

use std::time::Duration;

use tokio::time::timeout;

use super::{Edge, held, open};
use crate::frames::*;

/// Requests that may run for one connection: the streams it may have, and those
/// of the last moment.
const MOST_RUNNING: usize = 110;

/// The n-th stream of a client.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

impl Edge {
    /// Waits for the requests that end, and returns how many do not.
    async fn running(&self) -> usize {
        let running = || self.edge.running.node.active_requests();
        let few = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while running() > MOST_RUNNING {
                tick.tick().await;
            }
        };
        let _ = timeout(Duration::from_secs(5), few).await;
        running()
    }

    /// The claims that every attack must leave true.
    async fn stands(&self, attack: &str) {
        assert_eq!(self.edge.get("/a.ts").await.status, 200, "{attack}");
        assert!(self.held.arrivals() <= 1, "{attack}");
        assert_eq!(self.ground.origin.count("a.ts"), 1, "{attack}");
    }
}

/// The code that ended the connection; `None` where it ended without a word.
async fn goaway_code(client: &mut Http2) -> Option<u32> {
    let end = client.until(|frame| frame.kind == GOAWAY).await?;
    assert_eq!(client.until(|_| false).await, None);
    end.code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_resets_ends_the_connection() {
    let edge = Edge::start().await;
    let mut client = edge.door.open().await;
    let both = |n| [held(stream(n)), rst_stream(stream(n), CANCEL)].concat();
    let burst: Vec<u8> = (0..20_000).flat_map(both).collect();
    client.pour(&burst, 1).await;
    let code = goaway_code(&mut client).await;
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    assert!(edge.running().await <= MOST_RUNNING);
    edge.stands("a burst").await;
}

/// Requests that are accepted before they are reset: the limit of h2 does not
/// see them.
async fn reset_at_leisure(edge: &Edge, rounds: u32) {
    let mut client = edge.door.open().await;
    for round in 0..rounds {
        let streams = || (100 * round..100 * (round + 1)).map(stream);
        client
            .write(&streams().flat_map(held).collect::<Vec<_>>())
            .await;
        edge.edge.riding(u64::from(100 * (round + 1) - 1)).await;
        let resets = streams().flat_map(|stream| rst_stream(stream, CANCEL));
        client.write(&resets.collect::<Vec<_>>()).await;
    }
    let last = client.settle().await.pop();
    assert!(last.is_some_and(|frame| frame.is_ack(PING)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_at_leisure_cause_one_pull() {
    let edge = Edge::start().await;
    reset_at_leisure(&edge, 20).await;
    edge.stands("resets at leisure").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_stream_is_reset_does_not_wait_for_its_pull() {
    let edge = Edge::start().await;
    reset_at_leisure(&edge, 20).await;
    let running = edge.running().await;
    assert!(running <= MOST_RUNNING, "{running} requests run");
}

/// What makes the edge reset one stream of its own accord.
type Provocation = (&'static str, fn(u32) -> Vec<u8>);

const PROVOCATIONS: [Provocation; 5] = [
    ("a window that overflows", |stream| {
        [held(stream), window_update(stream, MAX_WINDOW)].concat()
    }),
    ("HEADERS that are no trailers", |stream| {
        [
            open(stream),
            headers(stream, END_HEADERS, &field("x-any", b"x")),
        ]
        .concat()
    }),
    ("a body beyond its length", |stream| {
        let block = request("GET", "/held.ts", &[("content-length", "1")]);
        [headers(stream, END_HEADERS, &block), data(stream, 0, b"xx")].concat()
    }),
    ("a malformed request", |stream| headers(stream, WHOLE, &[])),
    ("a request that depends on itself", |stream| {
        priority(stream, stream)
    }),
];

/// Provokes resets until the connection ends; returns how many there were, and
/// the code at the end.
async fn provoke(client: &mut Http2, provocation: fn(u32) -> Vec<u8>) -> (usize, Option<u32>) {
    let mut resets = 0;
    for round in 0..60 {
        let some = (50 * round..50 * (round + 1)).map(stream);
        client
            .write(&some.flat_map(provocation).collect::<Vec<_>>())
            .await;
        for frame in client.settle().await {
            match frame.kind {
                RST_STREAM => resets += 1,
                GOAWAY => return (resets, frame.code()),
                _ => {}
            }
        }
    }
    (resets, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_is_made_to_reset_streams_ends_the_connection() {
    let edge = Edge::start().await;
    for (name, provocation) in PROVOCATIONS {
        let mut client = edge.door.open().await;
        let (resets, code) = provoke(&mut client, provocation).await;
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}: {resets}");
        // h2 has 1,024 for a connection's whole life.
        assert!(resets <= 1_024, "{name}: {resets}");
        edge.stands(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_stream_the_edge_resets_does_not_wait_for_its_pull() {
    let edge = Edge::start().await;
    for (name, provocation) in PROVOCATIONS {
        provoke(&mut edge.door.open().await, provocation).await;
        let running = edge.running().await;
        assert!(running <= MOST_RUNNING, "{name}: {running} requests run");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_connection_is_gone_does_not_wait_for_its_pull() {
    let edge = Edge::start().await;
    for round in 1..=10 {
        let mut client = edge.door.open().await;
        client
            .write(&(0..100).map(stream).flat_map(held).collect::<Vec<_>>())
            .await;
        edge.edge.riding(100 * round - 1).await;
    }
    let running = edge.running().await;
    assert!(running <= MOST_RUNNING, "{running} requests run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_above_the_limit_end_the_connection_in_the_end() {
    let edge = Edge::start().await;
    let mut client = edge.door.open().await;
    let many: Vec<u8> = (0..20_000).map(stream).flat_map(held).collect();
    client.pour(&many, 1).await;
    let mut refused = 0;
    let code = loop {
        match client.next().await {
            Some(frame) if frame.kind == GOAWAY => break frame.code(),
            Some(frame) => refused += usize::from(frame.code() == Some(REFUSED_STREAM)),
            None => break None,
        }
    };
    assert_eq!(code, Some(ENHANCE_YOUR_CALM));
    assert!(refused <= 1_024, "{refused}");
    assert!(edge.running().await <= MOST_RUNNING);
    edge.stands("streams above the limit").await;
}
