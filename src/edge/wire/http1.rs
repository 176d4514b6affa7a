//! The way out of an HTTP/1.1 connection: heads as text, bodies as they lie in
//! memory, both in one vectored write.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{CONNECTION, DATE, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;

use crate::cache::head::push_line;
use crate::clock::unix_seconds;

/// What a response is written through.
pub struct Outbox<'s> {
    stream: &'s mut Stream,
    /// The head, until the body's first bytes go with it.
    head: Vec<u8>,
    chunked: bool,
    /// The connection ends with this response, and says so.
    close: bool,
    now: SystemTime,
}

impl<'s> Outbox<'s> {
    pub fn new(stream: &'s mut Stream, close: bool, now: SystemTime) -> Self {
        Self {
            stream,
            head: Vec::new(),
            chunked: false,
            close,
            now,
        }
    }

    /// Takes a head; a body of unknown length goes out in chunks.
    pub fn head(&mut self, head: &ResponseHeader, has_length: bool) {
        self.chunked = !has_length;
        push_head(&mut self.head, head, has_length, self.now, self.close);
    }

    /// Writes an interim head at once.
    pub async fn interim(&mut self, head: &ResponseHeader) -> io::Result<()> {
        let mut text = Vec::new();
        push_status(&mut text, head.status.as_u16());
        for (name, value) in &head.headers {
            push_line(&mut text, name, value.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        self.stream.write_all(&text).await?;
        self.stream.flush().await
    }

    /// Writes the next bytes of the body, and the head before the first.
    pub async fn body(&mut self, bytes: &[u8], end: bool) -> io::Result<()> {
        let mut before = std::mem::take(&mut self.head);
        let mut behind: &[u8] = b"";
        if self.chunked {
            if !bytes.is_empty() {
                before.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            }
            behind = match (bytes.is_empty(), end) {
                (true, true) => b"0\r\n\r\n",
                (true, false) => b"",
                (false, true) => b"\r\n0\r\n\r\n",
                (false, false) => b"\r\n",
            };
        }
        let mut slices = [&before[..], bytes, behind].map(IoSlice::new);
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.stream.write_vectored(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut rest, count),
            }
        }
        self.stream.flush().await
    }
}

/// A whole head; a body of unknown length goes out in chunks.
pub fn push_head(
    out: &mut Vec<u8>,
    head: &ResponseHeader,
    has_length: bool,
    now: SystemTime,
    close: bool,
) {
    push_status(out, head.status.as_u16());
    for (name, value) in &head.headers {
        push_line(out, name, value.as_bytes());
    }
    if !has_length {
        push_line(out, &TRANSFER_ENCODING, b"chunked");
    }
    let now = (!head.headers.contains_key(DATE)).then_some(now);
    push_end(out, now, close);
}

/// The status line.
pub fn push_status(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason());
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Date, Connection where it ends, and the empty line; `now`: where it has no
/// Date yet.
pub fn push_end(out: &mut Vec<u8>, now: Option<SystemTime>, close: bool) {
    if let Some(now) = now {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(&date(now));
        out.extend_from_slice(b"\r\n");
    }
    if close {
        push_line(out, &CONNECTION, b"close");
    }
    out.extend_from_slice(b"\r\n");
}

thread_local! {
    /// The last Date, and the second that it is of.
    static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((0, [b' '; 29])) };
}

/// An IMF-fixdate (RFC 9110 §5.6.7), rendered once a second.
fn date(now: SystemTime) -> [u8; 29] {
    let second = unix_seconds(now);
    let (cached, text) = LAST.get();
    if cached == second {
        return text;
    }
    let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    let mut text = [b' '; 29];
    for (to, from) in text.iter_mut().zip(httpdate::fmt_http_date(whole).bytes()) {
        *to = from;
    }
    LAST.set((second, text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_that_of_its_own_second() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (seconds, want) in [
            (1_893_456_000, "Tue, 01 Jan 2030 00:00:00 GMT"),
            (1_893_456_001, "Tue, 01 Jan 2030 00:00:01 GMT"),
            (1_893_456_000, "Tue, 01 Jan 2030 00:00:00 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&date(at(seconds))), Ok(want));
        }
    }
}
