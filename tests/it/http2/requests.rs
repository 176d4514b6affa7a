//! RFC 9113, sections 8.3 to 8.5 and 10.5.1: what makes a request.

use super::Edge;
use super::case::Seen::{Answer, GoAway};
use super::case::{case, malformed, run, unreadable};
use crate::frames::*;

pub(super) const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", "one.test");
const PATH: (&str, &str) = (":path", "/a.ts");

/// A whole request of these fields.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(1, WHOLE, &block(fields))
}

/// A whole and good request, with these fields behind it.
pub(super) fn with(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, WHOLE, &request("GET", "/a.ts", more))
}

fn path(path: &str) -> Vec<u8> {
    headers(1, WHOLE, &get(path))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pseudo_headers_are_checked() {
    let twice = |again: (&str, &str)| fields(&[METHOD, SCHEME, AUTHORITY, PATH, again]);
    let rows = [
        unreadable("8.3", "an unknown pseudo-header", twice((":unknown", "1"))),
        malformed(
            "8.3",
            "a pseudo-header of responses",
            twice((":status", "200")),
        ),
        malformed(
            "8.3",
            "a pseudo-header behind a field",
            fields(&[METHOD, SCHEME, AUTHORITY, ("x-any", "1"), PATH]),
        ),
        malformed("8.3.1", "no :method", fields(&[SCHEME, AUTHORITY, PATH])),
        malformed("8.3.1", "no :scheme", fields(&[METHOD, AUTHORITY, PATH])),
        malformed("8.3.1", "no :path", fields(&[METHOD, SCHEME, AUTHORITY])),
        malformed("8.3.1", "no field at all", fields(&[])),
        malformed("8.3", "two :method", twice(METHOD)),
        malformed("8.3", "two :scheme", twice(SCHEME)),
        malformed("8.3", "two :authority", twice(AUTHORITY)),
        malformed("8.3", "two :path", twice(PATH)),
        malformed("8.3.1", "an empty :path", path("")),
        malformed("8.3.1", "a :path with a space", path("/a b.ts")),
        malformed(
            "8.3.1",
            "a :path with a line's end",
            path("/a.ts HTTP/1.1\r\nhost: x"),
        ),
        malformed("8.3.1", "a :path that begins with no slash", path("a.ts")),
        unreadable(
            "8.3.1",
            "an empty :method",
            headers(1, WHOLE, &request("", "/a.ts", &[])),
        ),
        unreadable(
            "8.3.1",
            "a :method with a space",
            headers(1, WHOLE, &request("GET /", "/a.ts", &[])),
        ),
        malformed(
            "8.3.1",
            "an :authority that is none",
            fields(&[METHOD, SCHEME, (":authority", "one test"), PATH]),
        ),
        malformed(
            "8.3.1",
            "a :scheme that is none",
            fields(&[METHOD, (":scheme", "ht tp"), AUTHORITY, PATH]),
        ),
        malformed(
            "8.4",
            ":protocol where it was not offered",
            fields(&[
                (":method", "CONNECT"),
                SCHEME,
                AUTHORITY,
                PATH,
                (":protocol", "websocket"),
            ]),
        ),
        malformed(
            "8.5",
            "CONNECT with a :path",
            headers(1, WHOLE, &request("CONNECT", "/a.ts", &[])),
        ),
    ];
    run(&Edge::start().await, &rows).await;
}

/// What is well-formed and yet no request of this edge is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host_and_one_path() {
    let rows = [
        case(
            "8.3.1",
            "Host alone",
            fields(&[METHOD, SCHEME, PATH, ("host", "one.test")]),
            Answer(1, 200),
        ),
        case(
            "8.3.1",
            "Host and :authority that agree",
            with(&[("host", "one.test")]),
            Answer(1, 200),
        ),
        case(
            "8.3.1",
            "Host and :authority that differ",
            with(&[("host", "two.test")]),
            Answer(1, 400),
        ),
        case(
            "8.3.1",
            "two Hosts",
            with(&[("host", "one.test"), ("host", "one.test")]),
            Answer(1, 400),
        ),
        case(
            "8.3.1",
            "no host at all",
            fields(&[METHOD, SCHEME, PATH]),
            Answer(1, 400),
        ),
        case(
            "8.3.1",
            "an :authority with a user",
            fields(&[METHOD, SCHEME, (":authority", "me@one.test"), PATH]),
            Answer(1, 400),
        ),
        malformed(
            "8.3.1",
            "a :path that is a whole URL",
            path("https://one.test/a.ts"),
        ),
        case(
            "8.3.1",
            "another :scheme",
            fields(&[METHOD, (":scheme", "http"), AUTHORITY, PATH]),
            Answer(1, 200),
        ),
        case(
            "8.5",
            "CONNECT",
            fields(&[(":method", "CONNECT"), (":authority", "one.test:443")]),
            Answer(1, 405),
        ),
        case(
            "8.3.1",
            "OPTIONS *",
            headers(1, WHOLE, &request("OPTIONS", "*", &[])),
            Answer(1, 400),
        ),
        case(
            "8.3.1",
            "a long :path",
            path(&format!("/{}", "a".repeat(9_000))),
            Answer(1, 414),
        ),
    ];
    run(&Edge::start().await, &rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_list_has_a_limit() {
    // Each field counts 32 bytes more than it has: RFC 9113 §6.5.2.
    let list = |bytes: usize| {
        let fields = field("x-any", &[b'x'; 963]).repeat(bytes / 1_000);
        let block = [get("/a.ts"), fields].concat();
        let mut parts = block.chunks(LARGEST).peekable();
        let first = parts.next().expect("a first part");
        let end = |more: bool| if more { 0 } else { END_HEADERS };
        let mut frames = headers(1, END_STREAM | end(parts.peek().is_some()), first);
        while let Some(part) = parts.next() {
            frames.extend(continuation(1, end(parts.peek().is_some()), part));
        }
        frames
    };
    let lines = |count: usize| {
        let block = [get("/a.ts"), field("a", b"b").repeat(count)].concat();
        headers(1, WHOLE, &block)
    };
    // A field of 4,000 bytes, stored once and named again and again.
    let bomb = |times: usize| {
        let mut stored = vec![0x40, 1, b'x'];
        integer(&mut stored, 7, 0, 4_000);
        let block = [get("/a.ts"), stored, vec![b'x'; 4_000], vec![0xbe; times]].concat();
        headers(1, WHOLE, &block)
    };
    let rows = [
        case("10.5.1", "15 KB", list(15_000), Answer(1, 200)),
        case("10.5.1", "20 KB", list(20_000), Answer(1, 431)),
        case("10.5.1", "101 lines", lines(101), Answer(1, 431)),
        case("10.5.1", "60 KB", list(60_000), GoAway(COMPRESSION_ERROR)),
        case("10.5.1", "9 KB that become 40 KB", bomb(9), Answer(1, 431)),
        case(
            "10.5.1",
            "16 KB that become 48 MB",
            bomb(12_000),
            GoAway(ENHANCE_YOUR_CALM),
        ),
    ];
    run(&Edge::start().await, &rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_after_32_requests_of_no_host() {
    let edge = Edge::start().await;
    let mut client = edge.door.open().await;
    let bad = |i: u32| headers(2 * i + 1, WHOLE, &request("GET", "/a.ts", &[("host", "x")]));
    client
        .write(&(0..40).flat_map(bad).collect::<Vec<_>>())
        .await;
    let mut answers = 0;
    while let Some(frame) = client.next().await {
        answers += usize::from(frame.kind == HEADERS);
    }
    assert!(answers <= 32, "{answers}");
    assert_eq!(edge.ground.origin.count("a.ts"), 0);
}
