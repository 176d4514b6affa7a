//! RFC 9113, section 5: which frames a stream takes in which state.
//! A `// why` marks a row where another answer would be nearer to the RFC.

use super::case::Seen::{Alive, Answer, Either, GoAway, Reset};
use super::case::{case, run};
use super::{Edge, held, open, whole};
use crate::frames::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_of_a_stream_takes_its_own_frames() {
    let cancelled = |more: Vec<u8>| [held(1), rst_stream(1, CANCEL), more].concat();
    let rows = [
        case(
            "5.1",
            "idle: DATA",
            data(1, END_STREAM, b"x"),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "idle: RST_STREAM",
            rst_stream(1, CANCEL),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "idle: WINDOW_UPDATE",
            window_update(1, 100),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "idle: CONTINUATION",
            continuation(1, END_HEADERS, &get("/a.ts")),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "idle: PRIORITY",
            [priority(1, 0), whole(1)].concat(),
            Answer(1, 200),
        ),
        case(
            "5.1",
            "open: DATA and WINDOW_UPDATE",
            [open(1), window_update(1, 1), data(1, 0, b"x")].concat(),
            Alive,
        ),
        // why: the RFC has STREAM_CLOSED of the stream; h2 calls it an error of the
        // connection, which §5.4.1 allows, with a code of its own.
        case(
            "5.1",
            "half-closed: DATA",
            [held(1), data(1, END_STREAM, b"x")].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        // why: as above.
        case(
            "5.1",
            "half-closed: HEADERS",
            [held(1), held(1)].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "half-closed: CONTINUATION",
            [held(1), continuation(1, END_HEADERS, &get("/a.ts"))].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "half-closed: WINDOW_UPDATE and PRIORITY",
            [held(1), window_update(1, 1), priority(1, 0)].concat(),
            Alive,
        ),
        case("5.1", "half-closed: RST_STREAM", cancelled(vec![]), Alive),
        // why: as the RFC has it once h2 has forgotten the stream; before, as above.
        case(
            "5.1",
            "closed by a reset: DATA",
            cancelled(data(1, END_STREAM, b"x")),
            Either(&[Reset(1, STREAM_CLOSED), GoAway(PROTOCOL_ERROR)]),
        ),
        // why: as above, and §5.1.1 has PROTOCOL_ERROR for an identifier used before.
        case(
            "5.1",
            "closed by a reset: HEADERS",
            cancelled(held(1)),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "closed by a reset: CONTINUATION",
            cancelled(continuation(1, END_HEADERS, &[])),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1",
            "closed by a reset: WINDOW_UPDATE and RST_STREAM",
            cancelled([window_update(1, 1), rst_stream(1, CANCEL)].concat()),
            Alive,
        ),
        // why: as for a reset.
        case("5.1", "closed by its end: DATA", whole(1), Answer(1, 200)).then(
            data(1, END_STREAM, b"x"),
            Either(&[Reset(1, STREAM_CLOSED), GoAway(PROTOCOL_ERROR)]),
        ),
        case(
            "5.1",
            "closed by its end: HEADERS",
            whole(1),
            Answer(1, 200),
        )
        .then(whole(1), GoAway(PROTOCOL_ERROR)),
        case(
            "5.1",
            "closed by its end: CONTINUATION",
            whole(1),
            Answer(1, 200),
        )
        .then(continuation(1, END_HEADERS, &[]), GoAway(PROTOCOL_ERROR)),
        case(
            "5.1",
            "closed by its end: PRIORITY, WINDOW_UPDATE, RST_STREAM",
            whole(1),
            Answer(1, 200),
        )
        .then(
            [priority(1, 0), window_update(1, 1), rst_stream(1, CANCEL)].concat(),
            Alive,
        ),
        case(
            "5.1.1",
            "an even stream identifier",
            whole(2),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1.1",
            "an identifier below one before",
            [whole(5), whole(3)].concat(),
            GoAway(PROTOCOL_ERROR),
        ),
        case(
            "5.1.1",
            "identifiers that are left out",
            whole(0x7fff_fff1),
            Answer(0x7fff_fff1, 200),
        ),
        case(
            "5.1.2",
            "one stream above the limit",
            (0..=100).flat_map(|i| held(2 * i + 1)).collect(),
            Reset(201, REFUSED_STREAM),
        ),
        // why: RFC 7540 §5.3.1 had it so; RFC 9113 gives priorities up.
        case(
            "5.3.1",
            "a stream that depends on itself",
            priority(1, 1),
            Reset(1, PROTOCOL_ERROR),
        ),
        // why: as above.
        case(
            "5.3.1",
            "HEADERS that depend on themselves",
            headers(
                1,
                WHOLE | WITH_PRIORITY,
                &[dependency(1), get("/a.ts")].concat(),
            ),
            Reset(1, PROTOCOL_ERROR),
        ),
    ];
    run(&Edge::start().await, &rows).await;
}
