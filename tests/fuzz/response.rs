//! Feeds the reading of an origin's answer: head and chunks come out the same
//! however their bytes were cut on their way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warren::origin::Failure;
use warren::origin::response::{Chunked, Framing, Head};

/// What a head says, and where it ends.
type Read = Result<Option<(u16, Framing, bool, usize, usize)>, Failure>;

fn head(bytes: &[u8], to_head_request: bool) -> Read {
    let read = Head::parse(bytes, to_head_request)?;
    Ok(read.map(|(head, length)| {
        assert!(length <= bytes.len());
        (
            head.status,
            head.framing,
            head.keep_alive,
            head.headers.len(),
            length,
        )
    }))
}

/// As if the bytes had come in steps.
fn head_in_steps(bytes: &[u8], step: usize, to_head_request: bool) -> Read {
    let mut come = 0;
    while come < bytes.len() {
        come = (come + step).min(bytes.len());
        match head(&bytes[..come], to_head_request) {
            Ok(None) => {}
            read => return read,
        }
    }
    Ok(None)
}

/// The body of a chunked answer, and where its reading stands.
fn body(wire: &[u8], step: usize) -> Result<(Vec<u8>, Chunked), Failure> {
    let (mut state, mut out, mut buffer) = (Chunked::Size, Vec::new(), Vec::new());
    for part in wire.chunks(step) {
        buffer.extend_from_slice(part);
        loop {
            let framing = state.advance(&buffer)?;
            buffer.drain(..framing);
            let Chunked::Data(left) = state else { break };
            let count = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                break;
            }
            out.extend(buffer.drain(..count));
            state.consume(count as u64);
        }
    }
    Ok((out, state))
}

/// What is left of a chunk depends on how much of it has come, not on the cuts;
/// behind it there are two names for one place.
fn place(state: Chunked) -> Chunked {
    match state {
        Chunked::Data(0) => Chunked::DataEnd,
        other => other,
    }
}

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (step, to_head_request, bytes) = input;
    let step = usize::from(step) + 1;
    let whole = head(bytes, to_head_request);
    assert_eq!(head_in_steps(bytes, step, to_head_request), whole);
    let answer = [b"HTTP/1.1 200 OK\r\n", bytes].concat();
    assert_eq!(
        head_in_steps(&answer, step, to_head_request),
        head(&answer, to_head_request)
    );

    let whole = body(bytes, bytes.len().max(1)).map(|(out, state)| (out, place(state)));
    let steps = body(bytes, step).map(|(out, state)| (out, place(state)));
    assert_eq!(steps, whole);
});
