//! The lane against Pingora: the same bytes down both ways get the same
//! answers; and what the lane alone decides.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::edge::{Connection, Reply, Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

const CASES: usize = 3_000;
const SEED: u64 = 0x5eed;

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n";
    origin.put("/media/v/a.ts", vec![7; 5_000], "video/mp2t");
    origin.put_generated("/media/v/big.ts", 400_000, 3);
    origin.put("/media/v/i.m3u8", playlist, "application/vnd.apple.mpegurl");
    origin.put("/media/v/empty.ts", "", "video/mp2t");
    origin
}

/// One connection's worth of requests.
struct Case {
    bytes: Vec<u8>,
    /// Where the bytes are cut on their way.
    cut: Option<usize>,
    methods: Vec<&'static str>,
}

struct Maker {
    random: StdRng,
    targets: Vec<String>,
}

impl Maker {
    fn new(edge: &TestEdge) -> Self {
        let sign = |path: &str| signed(&edge.clock, path);
        let good = sign("/v/a.ts");
        let targets = vec![
            good.clone(),
            good.clone(),
            sign("/v/i.m3u8"),
            sign("/v/big.ts"),
            sign("/v/empty.ts"),
            sign("/v/missing.ts"),
            sign("/v/a.ts?x=1&y=%20"),
            good.replace("token=HS256-", "token=HS256-x"),
            good.replace("/v/a.ts", "/v/%61.ts"),
            good.replace("/v/a.ts", "/v/b.ts"),
            "/v/a.ts".into(),
            "/v/%2e%2e/a.ts".into(),
            "/v/a%00.ts".into(),
            "/v/a.ts?token=a&token=b&expires=1".into(),
            "//v//a.ts".into(),
            "/v/a.ts#f".into(),
            "/v/a.ts?#".into(),
            format!("http://cdn.test{good}"),
            format!("http://other.test{good}"),
            "*".into(),
            "/".into(),
            format!("/{}", "a".repeat(9_000)),
        ];
        Self {
            random: StdRng::seed_from_u64(SEED),
            targets,
        }
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.random).expect("not empty").clone()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// Method and bytes, and whether the connection ends behind it: what a
    /// viewer sends on then may make the kernel reset it (RFC 9112 §9.6).
    fn request(&mut self) -> (&'static str, Vec<u8>, bool) {
        let method = self.pick(&[
            "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "OPTIONS", "POST", "DELETE", "get",
        ]);
        let targets = self.targets.clone();
        let target = self.pick(&targets);
        let version = self.pick(&["1.1", "1.1", "1.1", "1.1", "1.1", "1.0"]);
        let mut head = format!("{method} {target} HTTP/{version}\r\n").into_bytes();
        if !self.chance(3) {
            let host = self.pick(&["cdn.test", "cdn.test", "CDN.test:80", "other", "", "a b"]);
            head.extend(format!("Host: {host}\r\n").bytes());
        }
        let lines: &[&[u8]] = &[
            b"Range: bytes=0-99",
            b"Range: bytes=100-",
            b"Range: bytes=-1",
            b"Range: bytes=9999999-",
            b"Range: bytes=0-1,3-4",
            b"Range: nonsense",
            b"If-None-Match: *",
            b"If-None-Match: \"x\", W/\"y\"",
            b"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
            b"If-Range: \"x\"",
            b"Connection: keep-alive",
            b"connection: close",
            b"Connection: close, x",
            b"Cookie: a=b",
            b"User-Agent: pl\xe4yer",
            b"Referer: https://x.example/",
            b"X-Forwarded-For: 192.0.2.1",
            b"X-Original-URL: /v/b.ts",
            b"Authorization: Bearer x",
            b"CDN-LoopCount: 9",
            b"Content-Length: 0",
            b"Content-Length: 3",
            b"Expect: 100-continue",
            b"Upgrade: h2c",
            b"Accept-Encoding: gzip",
            b"X-Empty:",
            b"Transfer-Encoding: gzip",
        ];
        let count = self.random.random_range(0..4);
        let mut body: &[u8] = b"";
        let mut last = version == "1.0";
        for _ in 0..count {
            let line = self.pick(lines);
            if line == b"Content-Length: 3" {
                body = b"abc";
            }
            let lower = line.to_ascii_lowercase();
            let ends: [&[u8]; 3] = [b"content-length: 3", b"transfer-", b"connection: close"];
            last |= ends.iter().any(|end| lower.starts_with(end));
            head.extend(line);
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        head.extend(body);
        (method, head, last)
    }

    fn hostile(&mut self) -> Vec<u8> {
        let good = self.targets[0].clone();
        let heads = [
            format!("GET {good} HTTP/1.1\nHost: cdn.test\n\n"),
            format!("GET {good} HTTP/1.1\r\nHost: cdn.test\nRange: bytes=0-1\r\n\r\n"),
            format!("GET {good} HTTP/1.1\r\nHost: cdn.test\r\nHost: other\r\n\r\n"),
            format!("GET {good} HTTP/1.1\r\nHost: cdn.test\r\nA: b\r\n c\r\n\r\n"),
            format!("GET {good} HTTP/1.1\r\nHost: cdn.test\r\nA\u{0}: b\r\n\r\n"),
            format!("GET {good} HTTP/1.1\r\nHost : cdn.test\r\n\r\n"),
            format!("GET  {good} HTTP/1.1\r\nHost: cdn.test\r\n\r\n"),
            format!("GET {good} HTTP/1.1 x\r\nHost: cdn.test\r\n\r\n"),
            format!("GET {good} HTTP/3.1\r\nHost: cdn.test\r\n\r\n"),
            format!("GET {good}\r\n\r\n"),
            "POST /v/a.ts HTTP/1.1\r\nHost: cdn.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc".into(),
            "POST /v/a.ts HTTP/1.1\r\nHost: cdn.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc".into(),
            "POST /v/a.ts HTTP/1.1\r\nHost: cdn.test\r\nContent-Length: -3\r\n\r\nabc".into(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            "\r\n\r\n\r\nGET /v/a.ts HTTP/1.1\r\nHost: cdn.test\r\nConnection: close\r\n\r\n".into(),
            "\u{16}\u{3}\u{1}\u{2}\r\n\r\n".into(),
            format!("GET {good} HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(150)),
            format!("GET {good} HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(40_000)),
        ];
        self.pick(&heads).into_bytes()
    }

    fn case(&mut self) -> Case {
        let mut bytes = Vec::new();
        let mut methods = Vec::new();
        let count = self.random.random_range(1..4);
        for _ in 0..count {
            if self.chance(8) {
                bytes.extend(self.hostile());
                methods.push("GET");
            } else {
                let (method, request, last) = self.request();
                bytes.extend(request);
                methods.push(method);
                if last {
                    break;
                }
            }
        }
        let cut = self
            .chance(40)
            .then(|| self.random.random_range(1..bytes.len()));
        Case {
            bytes,
            cut,
            methods,
        }
    }
}

/// Status, headers, and of the body whether it was whole, its length and hash.
type Comparable = (u16, Vec<(String, String)>, (bool, usize, u64));

/// What is the same for the same request, whenever and wherever it is asked.
fn comparable(reply: &Reply) -> Comparable {
    // Parts are told from each other by the request's id, and errors name it.
    let id = reply.header("cdn-requestid").unwrap_or("no id").to_owned();
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.replace(&id, "ID")))
        .filter(|(name, value)| {
            let changes = ["date", "cdn-requestid", "age", "cdn-cachedat"];
            let implied = name == "connection" && value == "keep-alive";
            !changes.contains(&name.as_str()) && !implied
        })
        .map(|(name, value)| match value.split_once("ttl=") {
            Some((before, rest)) => {
                let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                (name, format!("{before}ttl=N{after}"))
            }
            None => (name, value),
        })
        .collect();
    headers.sort();
    let mut hasher = DefaultHasher::new();
    match reply.status {
        206 | 400.. => String::from_utf8_lossy(&reply.body)
            .replace(&id, "ID")
            .hash(&mut hasher),
        _ => reply.body.hash(&mut hasher),
    }
    let body = (reply.whole, reply.body.len(), hasher.finish());
    (reply.status, headers, body)
}

/// The answers to a case, to the last one or to the connection's end.
async fn answers(edge: &TestEdge, case: &Case) -> Vec<Comparable> {
    let mut connection = Connection::open(edge.http()).await;
    let (first, second) = case.bytes.split_at(case.cut.unwrap_or(case.bytes.len()));
    connection.write(first).await;
    if !second.is_empty() {
        tokio::task::yield_now().await;
        connection.write_if_open(second).await;
    }
    let mut replies = Vec::new();
    for method in &case.methods {
        match connection.reply_or_end(method).await {
            Some(reply) if (100..200).contains(&reply.status) => {}
            Some(reply) => {
                let last = reply.header("connection") == Some("close");
                replies.push(comparable(&reply));
                if last {
                    break;
                }
            }
            None => break,
        }
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_give_the_same_answer_to_the_same_bytes() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.zone = "hostnames = [\"cdn.test\"]\n".into();
    setup
        .listen
        .push_str("keepalive = \"2s\"\nhead_timeout = \"2s\"\n");
    // What is stored stays fresh for as long as a busy machine takes.
    setup.cache = "ttl = { missing = \"1h\" }\n".into();
    let lane = setup.start().await;
    setup.lane = false;
    let proxy = setup.start().await;
    // Several ranges of a body that still arrives get the whole, of one that is
    // stored the parts: which of both it is when it is asked for is no one's to say.
    for edge in [&lane, &proxy] {
        assert_eq!(edge.get("/v/big.ts").await.status, 200);
    }
    let mut maker = Maker::new(&lane);
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..CASES {
        let case = maker.case();
        let (by_lane, by_proxy) = tokio::join!(answers(&lane, &case), answers(&proxy, &case));
        for (status, ..) in &by_lane {
            *statuses.entry(*status).or_default() += 1;
        }
        assert_eq!(
            by_lane,
            by_proxy,
            "case {number}, cut at {:?}:\n{}",
            case.cut,
            String::from_utf8_lossy(&case.bytes)
        );
    }
    for status in [200, 206, 304, 400, 403, 404, 405, 416, 431] {
        assert!(
            statuses.get(&status).is_some_and(|count| *count >= 5),
            "too few answers of {status} to tell: {statuses:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_wherever_their_bytes_are_cut() {
    let origin = origin().await;
    let edge = Setup::s3(origin.addr()).start().await;
    let good = signed(&edge.clock, "/v/a.ts");
    edge.send("GET", &good, &[]).await;
    let bytes = format!(
        "GET {good} HTTP/1.1\r\nHost: a\r\n\r\n\
         HEAD {good} HTTP/1.1\r\nHost: a\r\n\r\n\
         OPTIONS {good} HTTP/1.1\r\nHost: a\r\n\r\n\
         GET {good} HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n\
         GET /v/a.ts HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    for cut in 0..bytes.len() {
        let mut connection = Connection::open(edge.http()).await;
        connection.write(&bytes.as_bytes()[..cut]).await;
        tokio::task::yield_now().await;
        connection.write(&bytes.as_bytes()[cut..]).await;
        let wanted = [
            ("GET", 200, 5_000),
            ("HEAD", 200, 0),
            ("OPTIONS", 204, 0),
            ("GET", 304, 0),
            ("GET", 403, 14),
        ];
        for (method, status, length) in wanted {
            let reply = connection.reply(method).await;
            assert_eq!(
                (reply.status, reply.text().len()),
                (status, length),
                "{method}, cut at {cut}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused_by_name_and_ends_the_connection() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.listen.push_str("head_timeout = \"300ms\"\n");
    let edge = setup.start().await;
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    let table = [
        ("bare_lf", "GET / HTTP/1.1\nHost: a\n\n", 400),
        ("malformed_head", "GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (
            "bad_host",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            400,
        ),
        (
            "two_lengths",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("head_too_large", &many, 431),
        ("head_too_slow", "GET / HTTP/1.1\r\nHost: a\r\n", 408),
    ];
    for (name, bytes, status) in table {
        let mut connection = Connection::open(edge.http()).await;
        connection.write(bytes.as_bytes()).await;
        let reply = connection.reply("GET").await;
        assert_eq!(reply.status, status, "{name}");
        assert_eq!(reply.header("connection"), Some("close"), "{name}");
        assert!(
            connection.some().await.is_empty(),
            "{name} ends the connection"
        );
        edge.settled().await;
        let series = format!("warren_refusals_total{{reason=\"{name}\",zone=\"-\"}}");
        assert_eq!(edge.metric(&series).await, 1.0, "{name}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_drips_is_ended_as_a_whole_and_an_idle_connection_without_a_word() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup
        .listen
        .push_str("head_timeout = \"300ms\"\nkeepalive = \"1s\"\n");
    let edge = setup.start().await;
    let mut dripping = Connection::open(edge.http()).await;
    for byte in b"GET / HTTP/1.1\r\nA: bcdefghijklmnop" {
        dripping.write_if_open(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(dripping.reply("GET").await.status, 408);
    let mut idle = Connection::open(edge.http()).await;
    assert!(idle.reply_or_end("GET").await.is_none(), "no word at all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_every_byte_of_a_hit() {
    let origin = origin().await;
    let body: Vec<u8> = (0..6_000_000u32).map(|i| (i % 251) as u8).collect();
    origin.put("/media/v/large.ts", body.clone(), "video/mp2t");
    let edge = Setup::s3(origin.addr()).start().await;
    edge.get("/v/large.ts").await;
    let target = signed(&edge.clock, "/v/large.ts");
    let mut connection = Connection::open(edge.http()).await;
    for _ in 0..2 {
        connection.send("GET", &target, &[]).await;
        let (status, headers) = connection.head().await;
        let hit = ("cdn-cache".to_owned(), "HIT".to_owned());
        assert!(status == 200 && headers.contains(&hit), "{headers:?}");
        // The socket's buffers fill up before a byte is read.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (read, whole) = connection.exactly(body.len()).await;
        assert!(whole && read == body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_comes_back_from_a_request_that_passes_through() {
    let origin = DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts");
    origin.put("/v/a.ts", &b"segment"[..], "video/mp2t");
    let mut setup = Setup::http(origin.addr());
    setup.cache = "methods = \"any\"\n".into();
    let edge = setup.start().await;
    let mut connection = Connection::open(edge.http()).await;
    for _ in 0..2 {
        connection.send("GET", "/v/a.ts", &[]).await;
        let reply = connection.reply("GET").await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"segment"[..]));
        connection
            .write(b"POST /v/a.ts HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            .await;
        assert_eq!(connection.reply("POST").await.cache(), "BYPASS");
    }
    edge.settled().await;
}
