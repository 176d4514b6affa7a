//! What a viewer who takes nothing keeps from others: nothing that they need.

use tokio::task::JoinSet;

use super::Ground;
use super::attack::{Target, plain};
use crate::client::Connection;
use crate::edge::metric;
use crate::frames::*;

const MB: u64 = 1 << 20;
/// Of each of the two connections.
const STREAMS: u32 = 60;

/// How a viewer does not read.
#[derive(Clone, Copy, Debug)]
enum Stall {
    /// His windows are shut.
    NoWindow,
    /// They are wide open, and nothing leaves the socket.
    Unread,
}

async fn stalled(target: &Target, stall: Stall, names: impl Fn(u32) -> String) -> Http2 {
    let window = match stall {
        Stall::NoWindow => 0,
        Stall::Unread => MAX_WINDOW,
    };
    let mut client = target
        .door
        .open_with(&[(INITIAL_WINDOW_SIZE, window)])
        .await;
    if let Stall::Unread = stall {
        let more = window_update(0, MAX_WINDOW - FIRST_WINDOW as u32);
        client.write(&more).await;
    }
    let all: Vec<u8> = (0..STREAMS)
        .flat_map(|n| headers(2 * n + 1, WHOLE, &get(&names(n))))
        .collect();
    client.write(&all).await;
    client
}

/// Asks for new objects, each often: whether each was pulled once and is stored.
async fn others_are_stored(target: &Target, case: &str) {
    for n in 0..6 {
        let path = format!("/new-{case}-{n}.ts");
        target.ground.origin.put_generated(&path, MB, 1);
        for _ in 0..8 {
            assert_eq!(plain(target.http, &path).await, MB as usize, "{case}");
        }
        let pulls = target.ground.origin.count(&path[1..]);
        assert_eq!(pulls, 1, "{case}: {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_stand_still_keep_nobody_from_being_stored() {
    for (case, stall, bytes) in [
        ("shut", Stall::NoWindow, MB),
        ("unread", Stall::Unread, MB),
        // Such a body is queued whole: its request is over.
        ("queued", Stall::Unread, 200 << 10),
    ] {
        let target = Target::start().await;
        let (mut clients, mut asked) = (Vec::new(), 0);
        // As many connections as it takes to fill the memory with what they ask.
        while asked < 120 || asked * bytes < 110 * MB {
            let first = asked;
            let name = |n: u32| format!("/{case}-{}.ts", first + u64::from(n));
            for n in 0..STREAMS {
                target.ground.origin.put_generated(&name(n), bytes, 1);
            }
            clients.push(stalled(&target, stall, name).await);
            asked += u64::from(STREAMS);
        }
        while metric(target.admin, "warren_pulls_in_flight").await > 0.0 {
            tokio::task::yield_now().await;
        }
        others_are_stored(&target, case).await;
        drop(clients);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_on_many_connections_keep_nobody_from_being_stored() {
    // More than the kernel takes for somebody who reads nothing.
    const BIG: u64 = 8 * MB;
    let target = Target::start().await;
    let mut readers = Vec::new();
    for n in 0..24 {
        let path = format!("/big-{n}.ts");
        target.ground.origin.put_generated(&path, BIG, 1);
        let mut reader = Connection::open(target.http).await;
        reader.send("GET", &path, &[]).await;
        readers.push(reader);
    }
    while metric(target.admin, "warren_pulls_in_flight").await > 0.0 {
        tokio::task::yield_now().await;
    }
    others_are_stored(&target, "slow").await;
    drop(readers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_answers_that_stand_still_give_their_places_back() {
    let mut ground = Ground::new().await;
    ground.setup.origin.push_str("max_pulls = 8\n");
    ground.origin.put_generated("/film.mp4", 80 * MB, 1);
    let edge = ground.setup.start().await;
    let door = ground.door(edge.running.https[0]);
    let mut client = door.open_with(&[(INITIAL_WINDOW_SIZE, 0)]).await;
    let all: Vec<u8> = (0..10)
        .flat_map(|n| headers(2 * n + 1, WHOLE, &get("/film.mp4")))
        .collect();
    client.write(&all).await;
    for _ in 0..8 {
        assert!(client.until(|frame| frame.kind == HEADERS).await.is_some());
    }
    let mut others = JoinSet::new();
    for n in 0..4 {
        let path = format!("/other-{n}.ts");
        ground.origin.put(&path, &b"segment"[..], "video/mp2t");
        let http = edge.http();
        others.spawn(async move { plain(http, &path).await });
    }
    for length in others.join_all().await {
        assert_eq!(length, 7);
    }
    let ended = edge
        .metric("warren_viewers_ended_total{limit=\"max_pulls\"}")
        .await;
    assert!((1.0..=8.0).contains(&ended), "{ended}");
}
