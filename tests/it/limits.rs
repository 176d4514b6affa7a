//! How much one viewer may take, and all of them together; who is one too many
//! is turned away, and nobody else notices.

use std::net::IpAddr;

use warren::edge::{Crowded, Limits};

use crate::edge::{Connection, Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/a.ts", "segment", "video/mp2t");
    origin
}

async fn status(edge: &TestEdge) -> u16 {
    edge.get("/a.ts").await.status
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed_and_its_place_comes_back() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.listen.push_str("max_connections = 2\n");
    let edge = setup.start().await;
    let target = signed(&edge.clock, "/a.ts");
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(edge.http()).await;
        connection.send("GET", &target, &[]).await;
        assert_eq!(connection.reply("GET").await.status, 200);
        kept.push(connection);
    }
    let mut third = Connection::open(edge.http()).await;
    assert!(third.some().await.is_empty(), "closed without a word");
    for connection in &mut kept {
        connection.send("GET", &target, &[]).await;
        assert_eq!(connection.reply("GET").await.status, 200);
    }
    let refused = "warren_connections_refused_total{limit=\"max_connections\"}";
    assert_eq!(edge.metric(refused).await, 1.0);
    drop(kept);
    while edge.running.node.limits.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&edge).await, 200);
}

#[test]
fn one_address_has_its_share_and_loopback_and_trusted_proxies_are_not_counted() {
    let mut setup = Setup::s3(([127, 0, 0, 1], 9).into());
    setup.listen.push_str("max_connections_per_ip = 2\n");
    let limits = Limits::new(&setup.config().listen);
    limits.trust(vec!["10.0.0.0/8".parse().expect("a network")]);
    let connect = |text: &str| limits.connect(text.parse::<IpAddr>().expect("an address"));
    let mut open = Vec::new();
    for (peer, count) in [
        ("192.0.2.1", 2),
        ("::ffff:192.0.2.1", 0),
        ("192.0.2.2", 2),
        ("2001:db8::1", 2),
        ("2001:db8::2", 0),
        ("127.0.0.1", 9),
        ("::1", 9),
        ("10.1.2.3", 9),
    ] {
        let got: Vec<_> = (0..9).map(|_| connect(peer)).collect();
        let refused = got
            .iter()
            .filter(|it| matches!(it, Err(Crowded::Address)))
            .count();
        assert_eq!(refused, 9 - count, "{peer}");
        open.extend(got);
    }
    let counts: Vec<_> = limits.refused().collect();
    let want = [
        (Crowded::Node, 0),
        (Crowded::Address, 39),
        (Crowded::Files, 0),
        (Crowded::ProxyHeader, 0),
    ];
    assert_eq!(counts, want);
    drop(open);
    assert!(connect("192.0.2.1").is_ok() && limits.connections() == 0);
}

#[tokio::test]
async fn heads_that_do_not_come_to_their_end_are_bounded_and_whole_ones_are_not() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.listen.push_str("max_heads = 3\n");
    let edge = setup.start().await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(edge.http()).await;
        connection.write(b"GET /a.ts HTTP/1.1\r\nHo").await;
        slow.push(connection);
    }
    let reason = "warren_refusals_total{reason=\"max_heads\",zone=\"-\"}";
    // Until the three are known of, a fourth may still be let in.
    while edge.metric(reason).await < 0.5 {
        let mut fourth = Connection::open(edge.http()).await;
        fourth.write(b"GET").await;
        let seen = tokio::time::timeout(std::time::Duration::from_millis(50), fourth.some()).await;
        if let Ok(answer) = seen {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        }
    }
    assert_eq!(
        status(&edge).await,
        200,
        "a head in one piece takes no place"
    );
    let target = signed(&edge.clock, "/a.ts");
    slow.pop();
    let mut other = Connection::open(edge.http()).await;
    let head = format!("GET {target} HTTP/1.1\r\nHost: cdn.test\r\n\r\n");
    other.write(head.as_bytes()).await;
    assert_eq!(other.reply("GET").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn riders_beyond_the_limit_are_told_to_come_back() {
    let origin = origin().await;
    let gate = origin.hold("/a.ts", None);
    let mut setup = Setup::s3(origin.addr());
    setup.server = "max_riders = 3\n".into();
    let edge = setup.start().await;
    let target = signed(&edge.clock, "/a.ts");
    let mut riders = Vec::new();
    for _ in 0..3 {
        let mut rider = Connection::open(edge.http()).await;
        rider.send("GET", &target, &[]).await;
        riders.push(rider);
    }
    gate.arrived(1).await;
    edge.riding(2).await;
    let fourth = edge.get("/a.ts").await;
    assert_eq!(
        (fourth.status, fourth.header("retry-after")),
        (503, Some("1"))
    );
    gate.release();
    for mut rider in riders {
        assert_eq!(rider.reply("GET").await.status, 200);
    }
    assert_eq!(status(&edge).await, 200);
    assert_eq!(origin.count("a.ts"), 1);
}
