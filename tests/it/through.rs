//! Unsafe methods: how many of them are at the origin at a time, for how long,
//! and what they tell it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use warren::token::sign::{Options, sign};
use warren::token::{Key, Scheme};

use crate::edge::{Connection, KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Fault};

/// An origin that answers when it is told to, and counts who waits.
struct Slow {
    address: std::net::SocketAddr,
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Each permit is an answer.
    answers: Arc<Semaphore>,
    heads: mpsc::UnboundedReceiver<String>,
}

impl Slow {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, heads) = mpsc::unbounded_channel();
        let slow = Self {
            address,
            at_once: Arc::default(),
            most: Arc::default(),
            answers: Arc::new(Semaphore::new(0)),
            heads,
        };
        let counts = (Arc::clone(&slow.at_once), Arc::clone(&slow.most));
        let answers = Arc::clone(&slow.answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counts, answers) = (counts.clone(), Arc::clone(&answers));
                tokio::spawn(serve(stream, counts, answers, told.clone(), answer));
            }
        });
        slow
    }

    async fn waiting(&self, count: usize) {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        while self.at_once.load(SeqCst) < count {
            tick.tick().await;
        }
    }
}

type Counts = (Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn serve(
    mut stream: TcpStream,
    (at_once, most): Counts,
    answers: Arc<Semaphore>,
    told: mpsc::UnboundedSender<String>,
    answer: &'static str,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let _ = told.send(String::from_utf8_lossy(&head).into_owned());
        most.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
        if head.starts_with(b"POST") && !read_body(&mut stream, &head).await {
            at_once.fetch_sub(1, SeqCst);
            return;
        }
        let permit = answers.acquire().await;
        permit.expect("never closed").forget();
        at_once.fetch_sub(1, SeqCst);
        let answer = if head.starts_with(b"GET") {
            EMPTY
        } else {
            answer
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Whether all of the body has come.
async fn read_body(stream: &mut TcpStream, head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await.is_ok()
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

async fn edge(origin: &Slow, more: &str) -> TestEdge {
    let mut setup = Setup::http(origin.address);
    setup.origin.push_str(more);
    setup.cache = "methods = \"any\"\n".into();
    setup.start().await
}

async fn post(edge: &TestEdge) -> Connection {
    let mut connection = Connection::open(edge.http()).await;
    connection
        .send("POST", "/form", &[("Content-Length", "0")])
        .await;
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_have_places_among_max_pulls_and_the_others_wait() {
    let origin = Slow::start(EMPTY).await;
    // Three quarters of them, and never all.
    let edge = edge(&origin, "max_pulls = 3\n").await;
    let mut viewers = Vec::new();
    for _ in 0..12 {
        viewers.push(post(&edge).await);
    }
    origin.waiting(2).await;
    origin.answers.add_permits(12);
    for viewer in &mut viewers {
        assert_eq!(viewer.reply("POST").await.status, 200);
    }
    assert_eq!(origin.most.load(SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_gets_no_place_in_time_may_come_again_later() {
    let origin = Slow::start(EMPTY).await;
    let edge = edge(&origin, "max_pulls = 1\nqueue_timeout = \"100ms\"\n").await;
    let mut first = post(&edge).await;
    origin.waiting(1).await;
    let late = post(&edge).await.reply("POST").await;
    assert_eq!(late.status, 503);
    assert!(late.header("retry-after").is_some());
    // A pull takes the same places.
    let pull = edge.send("GET", "/page", &[]).await;
    assert_eq!(pull.status, 503);
    origin.answers.add_permits(9);
    assert_eq!(first.reply("POST").await.status, 200);
    assert_eq!(
        post(&edge).await.reply("POST").await.status,
        200,
        "its place came back"
    );
    assert_eq!(origin.most.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_held_to_the_end_of_the_answer_and_no_longer_than_a_viewer_stays() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345";
    let origin = Slow::start(half).await;
    let edge = edge(&origin, "max_pulls = 1\nqueue_timeout = \"100ms\"\n").await;
    let mut first = post(&edge).await;
    origin.answers.add_permits(9);
    assert_eq!(first.head().await.0, 200);
    assert_eq!(
        post(&edge).await.reply("POST").await.status,
        503,
        "the answer goes on"
    );
    drop(first);
    let mut again = loop {
        let mut next = post(&edge).await;
        match next.head().await.0 {
            503 => tokio::time::sleep(Duration::from_millis(10)).await,
            status => {
                assert_eq!(status, 200);
                break next;
            }
        }
    };
    assert!(!again.some().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_trickles_ends_at_the_total_timeout() {
    let origin = Slow::start(EMPTY).await;
    let edge = edge(&origin, "max_pulls = 1\ntotal_timeout = \"300ms\"\n").await;
    let mut slow = Connection::open(edge.http()).await;
    slow.send("POST", "/form", &[("Content-Length", "100000")])
        .await;
    let ended = async {
        // It sends one byte after the other.
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            slow.write_if_open(b"x").await;
            tokio::select! {
                _ = tick.tick() => {}
                head = slow.head() => return head.0,
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert_eq!(status.expect("it ends"), 503);
    origin.answers.add_permits(9);
    assert_eq!(
        post(&edge).await.reply("POST").await.status,
        200,
        "nor is the endpoint blamed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_trace_goes_no_further_than_an_edge_that_traces() {
    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let collector = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let traces = |sample: u32| {
        let address = collector.local_addr().expect("an address");
        format!("[traces]\notlp = \"http://{address}\"\nsample = {sample}\n")
    };
    let (trust, none) = ("trusted_proxies = [\"127.0.0.0/8\"]\n", String::new());
    let quiet = "0af7651916cd43dd8448eb211c80319c";
    // The header that the origin gets, whose trace it is, and its state.
    let table = [
        ("no traces", none, "", [true, true, true]),
        ("a stranger, not traced", traces(1_000_000), "", [false; 3]),
        ("a stranger, traced", traces(1), "", [true, false, false]),
        (
            "a trusted proxy",
            traces(1_000_000),
            trust,
            [true, true, true],
        ),
    ];
    for (name, server, zone, want) in table {
        let mut origin = Slow::start(EMPTY).await;
        origin.answers.add_permits(2);
        let mut setup = Setup::http(origin.address);
        setup.cache = "methods = \"any\"\npolicy = \"origin\"\n".into();
        setup.server = server;
        setup.zone.push_str(zone);
        let edge = setup.start().await;
        let headers = [
            ("Content-Length", "0"),
            ("traceparent", CALLER),
            ("tracestate", "vendor=1"),
        ];
        for method in ["POST", "GET"] {
            assert_eq!(edge.send(method, "/form", &headers).await.status, 200);
            let head = origin
                .heads
                .recv()
                .await
                .expect("a request")
                .to_ascii_lowercase();
            let got = ["traceparent", quiet, "tracestate"].map(|text| head.contains(text));
            assert_eq!(got, want, "{name}, {method}: {head}");
        }
    }
}

/// RFC 9110 §7.6.1: what Connection lists goes no further, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_connection_lists_stays_here_and_the_request_goes_on() {
    let many = (0..100).map(|n| format!("x-{n}")).collect::<Vec<_>>();
    let many = many.join(", ");
    let mut origin = Slow::start(EMPTY).await;
    let mut setup = Setup::http(origin.address);
    setup.cache = "methods = \"any\"\npolicy = \"origin\"\n".into();
    let edge = setup.start().await;
    for list in ["Host", "x-a, X-FORWARDED-FOR", "\"x\"", ":path", &many] {
        for method in ["POST", "GET"] {
            origin.answers.add_permits(1);
            let listed = format!("{list}, X-Mine");
            let headers = [
                ("Content-Length", "0"),
                ("Connection", &listed),
                ("X-Mine", "mine"),
            ];
            let reply = edge.send(method, "/form", &headers).await;
            assert_eq!(reply.status, 200, "{method}, {list}");
            let head = origin.heads.recv().await.expect("a request");
            let lines = head.to_ascii_lowercase();
            assert_eq!(
                lines.matches("\r\nhost:").count(),
                1,
                "{method}, {list}: {head}"
            );
            assert!(lines.contains("\r\nx-forwarded-for:"), "{head}");
            assert!(!lines.contains("x-mine"), "{method}, {list}: {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_limits_the_answer_to_a_post_too() {
    const BYTES: usize = 3_000;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n{}",
        "x".repeat(BYTES)
    );
    let origin = Slow::start(answer.leak()).await;
    origin.answers.add_permits(2);
    let mut setup = Setup::http(origin.address);
    setup.cache = "methods = \"any\"\n".into();
    setup.token = Setup::s3(origin.address).token;
    let edge = setup.start().await;
    let key = Key::new("main", KEY.as_bytes()).expect("not empty");
    let options = Options {
        limit: Some(2),
        ..Options::default()
    };
    let expires = edge.clock.unix_seconds() + 600;
    let limited = sign("/form", &key, Scheme::Hs256, expires, &options).expect("signs");
    for (target, least) in [
        (limited, 1000),
        (crate::edge::signed(&edge.clock, "/form"), 0),
    ] {
        let began = tokio::time::Instant::now();
        let reply = edge.send("POST", &target, &[("Content-Length", "0")]).await;
        assert_eq!((reply.status, reply.body.len()), (200, BYTES));
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(least), "{took:?}");
    }
}

/// Eight cold objects are asked for while all eight places are taken.
async fn cold_objects_are_200(edge: &TestEdge) {
    let asked = (0..8).map(|at| async move {
        let path = format!("/cold/{at}");
        let reply = edge.send("GET", &path, &[]).await;
        (path, reply.status)
    });
    for (path, status) in futures_util::future::join_all(asked).await {
        assert_eq!(status, 200, "{path}");
    }
}

/// Others wait for their places: in the end they make way.
async fn some_are_ended(edge: &TestEdge) {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while ended(edge).await < 1.0 {
        tick.tick().await;
    }
}

async fn ended(edge: &TestEdge) -> f64 {
    edge.metric("warren_viewers_ended_total{limit=\"max_pulls\"}")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_drip_or_stand_still_make_way_for_who_wants_their_places() {
    for drips in [true, false] {
        let origin = Slow::start(EMPTY).await;
        let edge = edge(&origin, "max_pulls = 8\n").await;
        let mut viewers = Vec::new();
        for _ in 0..8 {
            let mut slow = Connection::open(edge.http()).await;
            slow.send("POST", "/form", &[("Content-Length", "100000")])
                .await;
            viewers.push(slow);
        }
        origin.waiting(6).await;
        origin.answers.add_permits(99);
        let dripping = async {
            let mut tick = tokio::time::interval(Duration::from_millis(500));
            loop {
                tick.tick().await;
                for viewer in viewers.iter_mut().filter(|_| drips) {
                    viewer.write_if_open(b"x").await;
                }
            }
        };
        tokio::select! {
            () = dripping => {}
            () = async {
                cold_objects_are_200(&edge).await;
                some_are_ended(&edge).await;
            } => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_posts_that_nobody_reads_make_way_for_who_wants_their_places() {
    const BYTES: usize = 24 << 20;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n{}",
        "x".repeat(BYTES)
    );
    let origin = Slow::start(answer.leak()).await;
    let edge = edge(&origin, "max_pulls = 8\n").await;
    let mut viewers = Vec::new();
    for _ in 0..8 {
        viewers.push(post(&edge).await);
    }
    origin.answers.add_permits(99);
    for viewer in &mut viewers {
        assert_eq!(viewer.head().await.0, 200);
    }
    cold_objects_are_200(&edge).await;
    some_are_ended(&edge).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_origin_keeps_waiting_is_not_its_viewers_fault() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345";
    let origin = Slow::start(half).await;
    let edge = edge(&origin, "max_pulls = 1\nqueue_timeout = \"4s\"\n").await;
    let mut first = post(&edge).await;
    origin.answers.add_permits(9);
    assert_eq!(first.head().await.0, 200);
    assert_eq!(post(&edge).await.reply("POST").await.status, 503);
    assert!(ended(&edge).await < 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_go_through_have_a_bound_for_one_address() {
    let origin = Slow::start(EMPTY).await;
    let mut setup = Setup::http(origin.address);
    setup.cache = "methods = \"any\"\n".into();
    setup.listen.push_str("max_passes_per_ip = 1\n");
    setup.zone.push_str("trusted_proxies = [\"127.0.0.1\"]\n");
    let edge = setup.start().await;
    let post = async |address| {
        let mut connection = Connection::open(edge.http()).await;
        let headers = [("Content-Length", "0"), ("X-Forwarded-For", address)];
        connection.send("POST", "/form", &headers).await;
        connection
    };
    let mut first = post("192.0.2.1").await;
    origin.waiting(1).await;
    let second = post("192.0.2.1").await.reply("POST").await;
    assert_eq!(second.status, 503);
    assert!(second.header("retry-after").is_some());
    let mut other = post("192.0.2.2").await;
    origin.waiting(2).await;
    origin.answers.add_permits(9);
    assert_eq!(first.reply("POST").await.status, 200);
    assert_eq!(other.reply("POST").await.status, 200);
    assert_eq!(post("192.0.2.1").await.reply("POST").await.status, 200);
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_to_an_origin_that_ends_before_its_answer_may_come_again_later() {
    let table = [
        ("nothing", "", 503),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le", 503),
        ("no HTTP", "SSH-2.0-foo\r\n\r\n", 502),
    ];
    for (name, text, status) in table {
        let origin = DevOrigin::start(DevOriginOptions::plain()).await;
        let origin = origin.expect("the origin starts");
        let fault = match text {
            "" => Fault::CloseBeforeHead,
            text => Fault::Verbatim {
                text: text.into(),
                stays_open: false,
            },
        };
        origin.fault("*", fault);
        let mut setup = Setup::http(origin.addr());
        setup.cache = "methods = \"any\"\n".into();
        let edge = setup.start().await;
        let reply = post(&edge).await.reply("POST").await;
        let later = reply.header("retry-after").is_some();
        assert_eq!((reply.status, later), (status, status == 503), "{name}");
        assert_eq!(origin.requests().len(), 1, "{name}: never twice");
    }
}
