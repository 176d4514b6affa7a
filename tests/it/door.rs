//! The admin listener's door: what a call costs before its key is known, whose
//! guesses are judged, and by which name it may be called.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::edge::{Connection, KEY, SECOND_KEY, Setup, TestEdge};

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

async fn edge(folder: &TempDir, more: &str) -> TestEdge {
    let mut setup = Setup::s3(NOWHERE);
    setup.zone = setup.zone.replace("\"*\"", "\"cdn.test\"");
    let state_dir = folder.path().display().to_string();
    setup.access_keys = format!(
        "[{{ name = \"ops\", env = \"KEY\", rights = \"admin\" }}, \
          {{ name = \"wall\", env = \"SECOND\", rights = \"read\" }}]\nstate_dir = {state_dir:?}\n{more}"
    );
    setup.start().await
}

/// A connection to the admin listener from another address of this machine.
async fn from(edge: &TestEdge, host: u8) -> Connection {
    let socket = TcpSocket::new_v4().expect("a socket");
    let own = SocketAddr::from(([127, 0, 0, host], 0));
    socket.bind(own).expect("bound");
    let stream = socket.connect(edge.running.admin).await;
    Connection::of(stream.expect("connected"))
}

/// The status that a call with a key from an address gets.
async fn status(edge: &TestEdge, host: u8, key: &str) -> u16 {
    let mut connection = from(edge, host).await;
    edge.begin_call(&mut connection, "GET", "/v1/zones", key, "")
        .await;
    connection.reply("GET").await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_is_compared_no_more_and_everybody_else_is_served() {
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&folder, "").await;
    for _ in 0..20 {
        assert_eq!(status(&edge, 2, "a-guess-of-sixteen").await, 401);
    }
    for key in ["a-guess-of-sixteen", KEY, SECOND_KEY] {
        assert_eq!(status(&edge, 2, key).await, 429, "also the right one");
    }
    let mut guessing = from(&edge, 2).await;
    edge.begin_call(&mut guessing, "POST", "/purge?url=x", KEY, "")
        .await;
    let limited = guessing.reply("POST").await;
    let problem: Value = serde_json::from_slice(&limited.body).expect("JSON");
    assert_eq!(
        (limited.status, &problem["ErrorKey"]),
        (429, &json!("rate_limited"))
    );
    assert!(limited.header("retry-after").is_some());
    assert_eq!(status(&edge, 3, KEY).await, 200, "from elsewhere");
    let mut open = from(&edge, 2).await;
    open.send("GET", "/readyz", &[("Host", "localhost")]).await;
    assert_eq!(open.reply("GET").await.status, 200, "without a key");
    edge.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(status(&edge, 2, KEY).await, 200, "a window later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_a_key_has_a_body_read() {
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&folder, "").await;
    // Each announces 4 MiB and sends a few bytes of it.
    let table = [
        ("POST", "/v1/purge", "a-guess-of-sixteen", 401),
        ("POST", "/v1/explain", "", 401),
        ("POST", "/v1/purge", SECOND_KEY, 403),
        ("DELETE", "/v1/takedowns", SECOND_KEY, 403),
        ("POST", "/v1/revocations", SECOND_KEY, 403),
        ("POST", "/v1/warm", SECOND_KEY, 403),
        ("POST", "/pullzone/7/purgeCache", SECOND_KEY, 403),
    ];
    for (method, path, key, want) in table {
        let mut connection = Connection::open(edge.running.admin).await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccessKey: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{{",
            4 << 20
        );
        connection.write(head.as_bytes()).await;
        assert_eq!(
            connection.reply(method).await.status,
            want,
            "{method} {path}"
        );
        assert!(connection.some().await.is_empty(), "it is closed");
    }
    // What is too large is refused by what it says of itself.
    let mut connection = Connection::open(edge.running.admin).await;
    let head = format!(
        "POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nAccessKey: {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{{",
        (4 << 20) + 1
    );
    connection.write(head.as_bytes()).await;
    assert_eq!(connection.reply("POST").await.status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_connects_or_reads_nothing_keeps_nobody_out() {
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&folder, "").await;
    let mut crowd = Vec::new();
    for number in 0..200 {
        let mut connection = Connection::open(edge.running.admin).await;
        // Some have begun a head, some take no answer.
        match number % 3 {
            0 => {}
            1 => {
                connection
                    .write_if_open(b"GET /metrics HTTP/1.1\r\nHost: loc")
                    .await
            }
            _ => {
                connection
                    .write_if_open(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    .await
            }
        }
        crowd.push(connection);
    }
    for (path, want) in [("/readyz", 200), ("/v1/zones", 200), ("/metrics", 200)] {
        let reply = edge.call("GET", path, KEY, "").await;
        assert_eq!(reply.status, want, "{path}");
    }
    let refused = "warren_connections_refused_total{limit=\"admin_connections\"}";
    assert!(edge.metric(refused).await > 100.0);
    // The first one had to go.
    assert!(crowd[0].some().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_have_shown_a_key_stay_whoever_else_comes() {
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&folder, "").await;
    let mut stream = Connection::open(edge.running.admin).await;
    edge.begin_call(&mut stream, "GET", "/v1/stats/events", KEY, "")
        .await;
    assert_eq!(stream.head().await.0, 200);
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(Connection::open(edge.running.admin).await);
    }
    assert_eq!(status(&edge, 1, KEY).await, 200);
    let mut text = String::new();
    while !text.contains("event: sample") {
        let more = stream.some().await;
        assert!(!more.is_empty(), "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&more));
    }
}

/// The machine's own seconds: the runtime's timers are no test's to move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_that_do_not_come_and_idle_connections_are_ended() {
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&folder, "").await;
    let body = format!(
        "POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nAccessKey: {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    );
    let table = [
        ("nothing", String::new(), None),
        (
            "half a head",
            "GET /healthz HTTP/1.1\r\nHost: loc".to_owned(),
            None,
        ),
        (
            "idle behind an answer",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            Some(200),
        ),
        ("a body that stops", body, Some(408)),
    ];
    let end = async |(name, bytes, answer): (&str, String, Option<u16>)| {
        let mut connection = Connection::open(edge.running.admin).await;
        connection.write(bytes.as_bytes()).await;
        if let Some(status) = answer {
            assert_eq!(connection.reply("GET").await.status, status, "{name}");
        }
        // Hyper may say 408 before it closes.
        while !connection.some().await.is_empty() {}
    };
    let [one, two, three, four] = table;
    tokio::join!(end(one), end(two), end(three), end(four));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_rebinds_its_name_to_this_machine_is_told_nothing() {
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&folder, "hosts = [\"edge.internal\"]").await;
    let ask = async |text: String| {
        let mut connection = Connection::open(edge.running.admin).await;
        connection.write(text.as_bytes()).await;
        connection.reply("GET").await
    };
    let own = format!("127.0.0.1:{}", edge.running.admin.port());
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/zones",
        "/dashboard/",
        "/openapi.json",
    ] {
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "",
        ] {
            let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccessKey: {KEY}\r\n\r\n");
            let reply = ask(text).await;
            assert_eq!(reply.status, 421, "{path} of {host:?}");
            let problem: Value = serde_json::from_slice(&reply.body).expect("JSON");
            assert_eq!(problem["title"], "unknown_name");
        }
        for host in [
            "localhost",
            "LOCALHOST:1",
            own.as_str(),
            "[::1]:9090",
            "edge.internal",
        ] {
            let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccessKey: {KEY}\r\n\r\n");
            assert_eq!(ask(text).await.status, 200, "{path} of {host:?}");
        }
    }
    let twice = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n";
    assert_eq!(ask(twice.to_owned()).await.status, 421);
    let absolute = "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(ask(absolute.to_owned()).await.status, 421);
    let old = "GET /healthz HTTP/1.0\r\n\r\n";
    assert_eq!(
        ask(old.to_owned()).await.status,
        200,
        "no browser says no name"
    );
    let vendor =
        format!("POST /purge?url=x HTTP/1.1\r\nHost: evil.example\r\nAccessKey: {KEY}\r\n\r\n");
    let reply = ask(vendor).await;
    let problem: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(
        (reply.status, &problem["ErrorKey"]),
        (421, &json!("unknown_name"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_for_others_answers_to_any_name() {
    let mut setup = Setup::s3(NOWHERE);
    setup.admin = "0.0.0.0:0".into();
    setup.access_keys = "[{ name = \"ops\", env = \"KEY\", rights = \"read\" }]".into();
    let edge = setup.start().await;
    let address = SocketAddr::from(([127, 0, 0, 1], edge.running.admin.port()));
    let mut connection = Connection::open(address).await;
    connection
        .send("GET", "/healthz", &[("Host", "edge-1.example")])
        .await;
    assert_eq!(connection.reply("GET").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_is_over_or_in_milliseconds_is_no_end_and_says_so() {
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&folder, "").await;
    let now = edge.clock.unix_seconds();
    let times = [
        0,
        1,
        now - 1,
        now,
        (now + 3600) * 1000,
        (now + 3600) * 1_000_000,
        u64::MAX,
    ];
    let calls = [
        (
            "/v1/takedowns",
            "until",
            json!({ "urls": ["http://cdn.test/a.ts"] }),
        ),
        (
            "/v1/takedowns",
            "until",
            json!({ "prefixes": ["http://cdn.test/v/"] }),
        ),
        (
            "/v1/revocations",
            "expires_before",
            json!({ "keys": ["main"] }),
        ),
        (
            "/v1/revocations",
            "expires_before",
            json!({ "prefixes": ["http://cdn.test/v/"] }),
        ),
    ];
    for (path, field, call) in &calls {
        let ask = async |time: u64| {
            let mut call = call.clone();
            call["reason"] = json!("a test");
            call[*field] = json!(time);
            let reply = edge.call("POST", path, KEY, &call.to_string()).await;
            let said: Value = serde_json::from_slice(&reply.body).expect("JSON");
            (reply.status, said)
        };
        for time in times {
            let (status, said) = ask(time).await;
            assert_eq!(status, 400, "{path} {time}");
            assert_eq!(
                (&said["title"], &said["field"]),
                (&json!("bad_time"), &json!(field))
            );
        }
        assert_eq!(ask(now + 3600).await.0, 200, "{path}");
    }
    for (command, option, more) in [
        ("takedown", "--until", vec!["http://cdn.test/a.ts"]),
        ("revoke", "--expires-before", vec!["--key-name", "main"]),
    ] {
        let past = (now - 1).to_string();
        let all = [more, vec!["--reason", "a test", option, &past]].concat();
        let (code, said) = edge.warren(command, &all, KEY).await;
        assert!(
            code == Some(1) && said.contains("400") && said.contains("is over"),
            "{said}"
        );
    }
}
