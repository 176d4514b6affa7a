//! RFC 9113, sections 8.1 and 8.2: messages and their fields.
//! A `// why` marks a row where another answer would be nearer to the RFC.

use super::Edge;
use super::case::Seen::{Alive, Answer};
use super::case::{case, malformed, run, unreadable};
use super::requests::{METHOD, with};
use crate::frames::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_has_its_parts_in_their_order() {
    let waits = |more: &[(&str, &str)]| headers(1, END_HEADERS, &request("GET", "/held.ts", more));
    let trailers = |fields: &[(&str, &str)]| headers(1, WHOLE, &block(fields));
    let rows = [
        case(
            "8.1",
            "HEAD",
            headers(1, WHOLE, &request("HEAD", "/a.ts", &[])),
            Answer(1, 200),
        ),
        case(
            "8.1",
            "a body and trailers",
            [waits(&[]), data(1, 0, b"x"), trailers(&[("x-sum", "1")])].concat(),
            Alive,
        ),
        malformed(
            "8.1",
            "second HEADERS that are no trailers",
            [
                waits(&[]),
                headers(1, END_HEADERS, &block(&[("x-sum", "1")])),
            ]
            .concat(),
        ),
        // why: the RFC has it malformed; h2 drops it, and nobody reads trailers.
        case(
            "8.1",
            "a pseudo-header in trailers",
            [waits(&[]), trailers(&[METHOD])].concat(),
            Alive,
        ),
        malformed(
            "8.1.1",
            "a length, and no body",
            with(&[("content-length", "1")]),
        ),
        malformed(
            "8.1.1",
            "a body shorter than its length",
            [waits(&[("content-length", "2")]), data(1, END_STREAM, b"x")].concat(),
        ),
        malformed(
            "8.1.1",
            "a body longer than its length",
            [
                waits(&[("content-length", "1")]),
                data(1, END_STREAM, b"xx"),
            ]
            .concat(),
        ),
        malformed(
            "8.1.1",
            "two parts longer than their length",
            [
                waits(&[("content-length", "3")]),
                data(1, 0, b"xx"),
                data(1, END_STREAM, b"xx"),
            ]
            .concat(),
        ),
        malformed(
            "8.1.1",
            "trailers before the body's length",
            [
                waits(&[("content-length", "2")]),
                data(1, 0, b"x"),
                trailers(&[("x-sum", "1")]),
            ]
            .concat(),
        ),
        malformed(
            "8.1.1",
            "a length that is no number",
            with(&[("content-length", "one")]),
        ),
        malformed(
            "8.1.1",
            "a negative length",
            with(&[("content-length", "-1")]),
        ),
        malformed(
            "8.1.1",
            "two lengths",
            waits(&[("content-length", "1"), ("content-length", "2")]),
        ),
        case(
            "8.1.1",
            "a length of nothing",
            with(&[("content-length", "0")]),
            Answer(1, 200),
        ),
    ];
    run(&Edge::start().await, &rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_names_and_values_are_checked() {
    let named = |name: &str| with(&[(name, "1")]);
    let valued = |value: &[u8]| headers(1, WHOLE, &[get("/a.ts"), field("x-any", value)].concat());
    let rows = [
        unreadable("8.2.1", "an upper-case name", named("X-Any")),
        unreadable("8.2.1", "an empty name", named("")),
        unreadable("8.2.1", "a name with a space", named("x any")),
        unreadable("8.2.1", "a name with a colon", named("x:any")),
        unreadable("8.2.1", "a name beyond ASCII", named("x-\u{e4}")),
        unreadable("8.2.1", "a value with NUL", valued(b"a\0b")),
        unreadable("8.2.1", "a value with CR", valued(b"a\rb")),
        unreadable("8.2.1", "a value with LF", valued(b"a\nb")),
        unreadable(
            "8.2.1",
            "a value that would be a line",
            valued(b"a\r\nhost: other.test"),
        ),
        // why: the RFC has both malformed; h2 does not look, and no decision here
        // hangs on a space.
        case(
            "8.2.1",
            "a value that begins with a space",
            valued(b" a"),
            Answer(1, 200),
        ),
        case(
            "8.2.1",
            "a value that ends with a tab",
            valued(b"a\t"),
            Answer(1, 200),
        ),
        case("8.2.1", "an empty value", valued(b""), Answer(1, 200)),
        case(
            "8.2.1",
            "a value beyond ASCII",
            valued(b"\xfc"),
            Answer(1, 200),
        ),
        malformed("8.2.2", "Connection", with(&[("connection", "keep-alive")])),
        malformed(
            "8.2.2",
            "Proxy-Connection",
            with(&[("proxy-connection", "keep-alive")]),
        ),
        malformed("8.2.2", "Keep-Alive", with(&[("keep-alive", "timeout=5")])),
        malformed(
            "8.2.2",
            "Transfer-Encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        malformed("8.2.2", "Upgrade", with(&[("upgrade", "h2c")])),
        malformed(
            "8.2.2",
            "TE of another value",
            with(&[("te", "trailers, deflate")]),
        ),
        case(
            "8.2.2",
            "TE: trailers",
            with(&[("te", "trailers")]),
            Answer(1, 200),
        ),
        case(
            "8.2.3",
            "a cookie in pieces",
            with(&[("cookie", "a=1"), ("cookie", "b=2")]),
            Answer(1, 200),
        ),
    ];
    run(&Edge::start().await, &rows).await;
}
