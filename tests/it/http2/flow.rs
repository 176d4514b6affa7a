//! RFC 9113, sections 5.2 and 6.9: no byte of a body beyond a window.

use super::Edge;
use crate::frames::*;

const BODY: usize = 200_000;

/// A body of which each byte tells its place.
fn bytes() -> Vec<u8> {
    (0..BODY).map(|at| (at % 251) as u8).collect()
}

async fn start() -> Edge {
    let edge = Edge::start().await;
    edge.ground.origin.put("/long.ts", bytes(), "video/mp2t");
    // In memory from here on: the windows alone say when a byte comes.
    assert_eq!(edge.edge.get("/long.ts").await.body.len(), BODY);
    edge
}

fn long(stream: u32) -> Vec<u8> {
    headers(stream, WHOLE, &get("/long.ts"))
}

/// Reads `length` bytes of bodies; then the edge must have no more to say.
async fn exactly(client: &mut Http2, length: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < length {
        let frame = client.next().await.expect("a part of the body");
        assert!(matches!(frame.kind, HEADERS | DATA | SETTINGS), "{frame:?}");
        assert!(frame.payload.len() <= LARGEST, "{frame:?}");
        if frame.kind == DATA {
            body.extend(frame.payload);
        }
    }
    assert_eq!(body.len(), length);
    let more = client.settle().await;
    let silent = |frame: &Frame| frame.kind != DATA && frame.kind != RST_STREAM;
    assert!(more.iter().all(silent), "{more:?}");
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_window_bounds_its_body() {
    let edge = start().await;
    let mut client = edge.door.open_with(&[(INITIAL_WINDOW_SIZE, 1)]).await;
    client.write(&long(1)).await;
    let mut body = exactly(&mut client, 1).await;
    for step in [10, 1, 30_000] {
        client.write(&window_update(1, step)).await;
        body.extend(exactly(&mut client, step as usize).await);
    }
    assert_eq!(body, bytes()[..body.len()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connections_window_bounds_all_bodies() {
    let edge = start().await;
    let mut client = edge
        .door
        .open_with(&[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])
        .await;
    client.write(&long(1)).await;
    let mut body = exactly(&mut client, FIRST_WINDOW).await;
    // A second stream finds nothing left.
    client.write(&long(3)).await;
    exactly(&mut client, 0).await;
    client.write(&rst_stream(3, CANCEL)).await;
    client.write(&window_update(0, 1_000_000)).await;
    body.extend(exactly(&mut client, BODY - FIRST_WINDOW).await);
    assert!(body == bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_initial_window_size_moves_the_windows_of_open_streams() {
    let edge = start().await;
    let mut client = edge.door.open_with(&[(INITIAL_WINDOW_SIZE, 0)]).await;
    client.write(&long(1)).await;
    exactly(&mut client, 0).await;
    client.write(&settings(&[(INITIAL_WINDOW_SIZE, 5)])).await;
    let body = exactly(&mut client, 5).await;
    assert_eq!(body, bytes()[..5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_may_be_negative_and_must_be_filled_before_a_byte_comes() {
    let edge = start().await;
    let mut client = edge.door.open_with(&[(INITIAL_WINDOW_SIZE, 100)]).await;
    client.write(&long(1)).await;
    let mut body = exactly(&mut client, 100).await;
    client.write(&settings(&[(INITIAL_WINDOW_SIZE, 0)])).await;
    exactly(&mut client, 0).await;
    client.write(&window_update(1, 100)).await;
    exactly(&mut client, 0).await;
    client.write(&window_update(1, 7)).await;
    body.extend(exactly(&mut client, 7).await);
    assert_eq!(body, bytes()[..107]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_applied_in_their_order() {
    let edge = start().await;
    let values = [(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)];
    let mut client = edge.door.open_with(&values).await;
    client.write(&long(1)).await;
    exactly(&mut client, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_has_no_body_and_needs_no_window() {
    let edge = start().await;
    let mut client = edge.door.open_with(&[(INITIAL_WINDOW_SIZE, 0)]).await;
    client
        .write(&headers(1, WHOLE, &request("HEAD", "/long.ts", &[])))
        .await;
    let end = client.until(Frame::ends_stream).await.expect("an end");
    assert_eq!(
        (end.stream, end.kind == HEADERS || end.payload.is_empty()),
        (1, true)
    );
    exactly(&mut client, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_reads_stays_within_the_edges_own_window() {
    let edge = Edge::start().await;
    let mut client = edge.door.open().await;
    client
        .write(&headers(1, END_HEADERS, &get("/held.ts")))
        .await;
    let part = data(1, 0, &vec![0; 10_000]);
    client.write(&part.repeat(7)).await;
    let end = client
        .until(|frame| matches!(frame.kind, RST_STREAM | GOAWAY))
        .await;
    let code = end.and_then(|frame| frame.code());
    assert_eq!(code, Some(FLOW_CONTROL_ERROR));
}
