//! RFC 9113, section 6: what each frame must look like.
//! A `// why` marks a row where another answer would be nearer to the RFC.

use super::case::Seen::{Alive, Answer, GoAway, Pong, Reset, SettingsAck};
use super::case::{case, run};
use super::{Edge, held, open, whole};
use crate::frames::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_stream_are_checked() {
    let padded = |kind: u8, flags: u8, block: &[u8]| frame(kind, flags | PADDED, 1, block);
    let rows = [
        case(
            "6.1",
            "DATA on the connection",
            data(0, END_STREAM, b"x"),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.1",
            "DATA with more padding than payload",
            [open(1), padded(DATA, END_STREAM, b"\x05abcd")].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.1",
            "DATA that is all padding",
            [open(1), padded(DATA, END_STREAM, &[3, 0, 0, 0])].concat(),
            Alive,
        ),
        case(
            "6.2",
            "HEADERS on the connection",
            whole(0),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.2",
            "HEADERS with more padding than payload",
            padded(HEADERS, WHOLE, &[&[200], &get("/a.ts")[..]].concat()),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.2",
            "HEADERS with padding",
            padded(HEADERS, WHOLE, &[&[2], &get("/a.ts")[..], &[0, 0]].concat()),
            Answer(1, 200),
        ),
        case(
            "6.2",
            "HEADERS with a priority",
            headers(
                1,
                WHOLE | WITH_PRIORITY,
                &[dependency(0), get("/a.ts")].concat(),
            ),
            Answer(1, 200),
        ),
        // why: the RFC has FRAME_SIZE_ERROR; h2 has one code for what it cannot read.
        case(
            "6.2",
            "HEADERS too short for their priority",
            headers(1, WHOLE | WITH_PRIORITY, &[0; 4]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.3",
            "PRIORITY on the connection",
            priority(0, 1),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC has FRAME_SIZE_ERROR of the stream.
        case(
            "6.3",
            "PRIORITY of another length",
            frame(PRIORITY, 0, 1, &[0; 4]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.4",
            "RST_STREAM on the connection",
            rst_stream(0, CANCEL),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC has FRAME_SIZE_ERROR.
        case(
            "6.4",
            "RST_STREAM of another length",
            [held(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.6",
            "PUSH_PROMISE from a client",
            [
                held(1),
                frame(
                    PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    &[&[0, 0, 0, 2], &get("/a.ts")[..]].concat(),
                ),
            ]
            .concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "a header block in three frames",
            [
                headers(1, END_STREAM, &get("/a.ts")[..20]),
                continuation(1, 0, &get("/a.ts")[20..21]),
                continuation(1, END_HEADERS, &get("/a.ts")[21..]),
            ]
            .concat(),
            Answer(1, 200),
        ),
        case(
            "6.10",
            "an empty CONTINUATION at the end",
            [
                headers(1, END_STREAM, &get("/a.ts")),
                continuation(1, END_HEADERS, &[]),
            ]
            .concat(),
            Answer(1, 200),
        ),
        case(
            "6.10",
            "DATA amid a header block",
            [headers(1, 0, &get("/a.ts")), data(1, END_STREAM, b"x")].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION on the connection",
            [
                headers(1, END_STREAM, &get("/a.ts")),
                continuation(0, END_HEADERS, &[]),
            ]
            .concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION of another stream",
            [
                headers(1, END_STREAM, &get("/a.ts")),
                continuation(3, END_HEADERS, &[]),
            ]
            .concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION behind whole HEADERS",
            [held(1), continuation(1, END_HEADERS, &[])].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION behind the last one",
            [
                headers(1, END_STREAM, &get("/a.ts")),
                continuation(1, END_HEADERS, &[]),
                continuation(1, END_HEADERS, &[]),
            ]
            .concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.10",
            "CONTINUATION behind DATA",
            [open(1), data(1, 0, b"x"), continuation(1, END_HEADERS, &[])].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "7",
            "an unknown error code in RST_STREAM",
            [held(1), rst_stream(1, 0xff)].concat(),
            Alive,
        ),
    ];
    run(&Edge::start().await, &rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_the_connection_are_checked() {
    let overflow = |stream: u32| {
        [
            held(1),
            window_update(stream, MAX_WINDOW),
            window_update(stream, 1),
        ]
        .concat()
    };
    let rows = [
        case(
            "6.5.3",
            "SETTINGS",
            settings(&[(INITIAL_WINDOW_SIZE, 100)]),
            SettingsAck,
        ),
        // why: the RFC has FRAME_SIZE_ERROR; h2 has one code for what it cannot read.
        case(
            "6.5",
            "an acknowledgement with a payload",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC is silent.
        case(
            "6.5",
            "an acknowledgement of nothing",
            settings_ack(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.5",
            "SETTINGS of a stream",
            frame(SETTINGS, 0, 1, &[]),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC has FRAME_SIZE_ERROR.
        case(
            "6.5",
            "SETTINGS of another length",
            frame(SETTINGS, 0, 0, &[0; 5]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.5.2",
            "ENABLE_PUSH of 2",
            settings(&[(ENABLE_PUSH, 2)]),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC has FLOW_CONTROL_ERROR.
        case(
            "6.5.2",
            "an INITIAL_WINDOW_SIZE above the greatest",
            settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.5.2",
            "a MAX_FRAME_SIZE below the least",
            settings(&[(MAX_FRAME_SIZE, 16_383)]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.5.2",
            "a MAX_FRAME_SIZE above the greatest",
            settings(&[(MAX_FRAME_SIZE, 1 << 24)]),
            GoAway(PROTOCOL_ERROR),
        ),
        case("6.7", "a ping", ping(*b"12345678"), Pong(*b"12345678")),
        case(
            "6.7",
            "an answer to no ping",
            [frame(PING, ACK, 0, &[1; 8]), ping([2; 8])].concat(),
            Pong([2; 8]),
        ),
        case(
            "6.7",
            "a ping of a stream",
            frame(PING, 0, 1, &[0; 8]),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC has FRAME_SIZE_ERROR.
        case(
            "6.7",
            "a ping of another length",
            frame(PING, 0, 0, &[0; 6]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.8",
            "GOAWAY of a stream",
            frame(GOAWAY, 0, 1, &[0; 8]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.8",
            "GOAWAY ends a connection that carries nothing",
            goaway(0, NO_ERROR),
            GoAway(NO_ERROR),
        ),
        case(
            "7",
            "an unknown error code in GOAWAY",
            goaway(0, 0xff),
            GoAway(NO_ERROR),
        ),
        case(
            "6.9",
            "a connection's window grows by nothing",
            window_update(0, 0),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC has an error of the stream; §5.4.1 allows one of the connection.
        case(
            "6.9",
            "a stream's window grows by nothing",
            [held(1), window_update(1, 0)].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: the RFC has FRAME_SIZE_ERROR.
        case(
            "6.9",
            "WINDOW_UPDATE of another length",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "6.9.1",
            "a connection's window overflows",
            overflow(0),
            GoAway(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.1",
            "a stream's window overflows",
            overflow(1),
            Reset(1, FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.2",
            "a new INITIAL_WINDOW_SIZE overflows a stream's",
            [
                held(1),
                window_update(1, 1),
                settings(&[(INITIAL_WINDOW_SIZE, MAX_WINDOW)]),
            ]
            .concat(),
            GoAway(FLOW_CONTROL_ERROR),
        ),
    ];
    run(&Edge::start().await, &rows).await;
}
