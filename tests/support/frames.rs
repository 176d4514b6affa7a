//! An HTTP/2 client that writes each frame by hand, right or wrong, and sees
//! each one that comes back.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// RFC 9113 §3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 §6.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const WITH_PRIORITY: u8 = 0x20;
/// A whole request without a body.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// RFC 9113 §6.5.2.
pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

/// RFC 9113 §7.
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const INTERNAL_ERROR: u32 = 2;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The window of each stream, and of the connection, before anybody changes it.
pub const FIRST_WINDOW: usize = 65_535;

/// The most that one frame may carry unless the edge says otherwise.
pub const LARGEST: usize = 16_384;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, payload)
}

pub fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

pub fn continuation(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(CONTINUATION, flags, stream, block)
}

pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let value =
        |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<u8> = values.iter().flat_map(value).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

pub fn ping(payload: [u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, &payload)
}

pub fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(
        GOAWAY,
        0,
        0,
        &[last.to_be_bytes(), code.to_be_bytes()].concat(),
    )
}

/// `parent` is the stream that this one depends on.
pub fn priority(stream: u32, parent: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &dependency(parent))
}

pub fn dependency(parent: u32) -> Vec<u8> {
    [&parent.to_be_bytes()[..], &[15]].concat()
}

/// A literal header field that nobody indexes: RFC 7541 §6.2.2.
pub fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name.as_bytes(), value] {
        integer(&mut bytes, 7, 0, text.len());
        bytes.extend(text);
    }
    bytes
}

/// An integer behind the `pattern` of its first byte: RFC 7541 §5.1.
pub fn integer(out: &mut Vec<u8>, prefix_bits: u8, pattern: u8, mut value: usize) {
    let most = (1 << prefix_bits) - 1;
    if value < most {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | most as u8);
    value -= most;
    while value >= 128 {
        out.push((value % 128) as u8 | 128);
        value /= 128;
    }
    out.push(value as u8);
}

pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| field(name, value.as_bytes());
    fields.iter().flat_map(field).collect()
}

/// The header block of a request for a path, with more fields behind it.
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "one.test"),
        (":path", path),
    ];
    [block(&pseudo), block(more)].concat()
}

pub fn get(path: &str) -> Vec<u8> {
    request("GET", path, &[])
}

/// A frame that came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 10] = [
            "DATA",
            "HEADERS",
            "PRIORITY",
            "RST_STREAM",
            "SETTINGS",
            "PUSH_PROMISE",
            "PING",
            "GOAWAY",
            "WINDOW_UPDATE",
            "CONTINUATION",
        ];
        let name = NAMES.get(usize::from(self.kind)).unwrap_or(&"?");
        write!(out, "{name}({}, {:#x}", self.stream, self.flags)?;
        match self.kind {
            HEADERS => write!(out, ", status {:?})", self.status()),
            RST_STREAM | GOAWAY => write!(out, ", code {:?})", self.code()),
            _ => write!(out, ", {} bytes)", self.payload.len()),
        }
    }
}

impl Frame {
    pub fn is_ack(&self, kind: u8) -> bool {
        self.kind == kind && self.flags & ACK != 0
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The code of an RST_STREAM or a GOAWAY.
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        let bytes = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// The status of a connection's first response: a later one may be an index
    /// into the dynamic table, which nobody keeps here.
    pub fn status(&self) -> Option<u16> {
        const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        match *self.payload.first()? {
            index @ 0x88..=0x8e => Some(STATIC[usize::from(index - 0x88)]),
            // A literal behind the static table's name `:status`.
            0x48 | 0x08 => literal(&self.payload[1..])?.parse().ok(),
            _ => None,
        }
    }
}

/// A string of digits, Huffman-coded or not.
fn literal(bytes: &[u8]) -> Option<String> {
    let (head, rest) = bytes.split_first()?;
    let text = rest.get(..usize::from(head & 0x7f))?;
    if head & 0x80 == 0 {
        return String::from_utf8(text.to_vec()).ok();
    }
    let bits: Vec<u8> = text
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum << 1 | bit);
    let (mut at, mut digits) = (0, String::new());
    // RFC 7541, appendix B: 0 to 2 have five bits, 3 to 9 six.
    while at + 5 <= bits.len() && digits.len() < 3 {
        let (digit, length) = match number(&bits[at..at + 5]) {
            digit @ 0..=2 => (digit, 5),
            _ => (number(bits.get(at..at + 6)?).checked_sub(0x19)? + 3, 6),
        };
        digits.push(char::from(b'0' + digit));
        at += length;
    }
    Some(digits)
}

const PATIENCE: Duration = Duration::from_secs(30);

/// The edge reads no more if it has taken nothing for so long.
const STUCK: Duration = Duration::from_secs(3);

/// What became of what was poured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poured {
    All,
    /// The edge reads no more.
    Stuck,
    /// The edge has ended the connection.
    Ended,
}

/// One HTTP/2 connection.
pub struct Http2 {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Http2 {
    /// A connection on which nothing has been said.
    pub fn silent(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Exchanges prefaces and settings.
    pub async fn open(stream: TlsStream<TcpStream>, values: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(stream);
        client
            .write(&[PREFACE, &settings(values), &settings_ack()].concat())
            .await;
        let first = client.next().await.expect("the edge's settings");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0), "{first:?}");
        let acked = client.until(|frame| frame.is_ack(SETTINGS)).await;
        assert!(acked.is_some(), "the settings are acknowledged");
        client
    }

    /// Writes to a connection that the edge may have ended; says whether it has not.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.is_ok()
    }

    /// Writes so often, and reads nothing meanwhile.
    pub async fn pour(&mut self, bytes: &[u8], times: usize) -> Poured {
        // A record of TLS carries 16 KiB.
        let batch = (LARGEST / bytes.len()).clamp(1, times);
        let bytes = bytes.repeat(batch);
        for _ in 0..times.div_ceil(batch) {
            match tokio::time::timeout(STUCK, self.write(&bytes)).await {
                Ok(true) => {}
                Ok(false) => return Poured::Ended,
                Err(_) => return Poured::Stuck,
            }
        }
        Poured::All
    }

    /// The next frame; `None` at the connection's end, whatever ended it.
    pub async fn next(&mut self) -> Option<Frame> {
        let reading = tokio::time::timeout(PATIENCE, self.frame());
        reading.await.expect("a frame in time")
    }

    /// The same, however long; nothing is lost where it is not waited for.
    pub async fn frame(&mut self) -> Option<Frame> {
        self.fill(9).await?;
        let head = &self.buffer;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (kind, flags) = (head[3], head[4]);
        self.fill(9 + length).await?;
        let payload = self.buffer.drain(..9 + length).skip(9).collect();
        Some(Frame {
            kind,
            flags,
            stream: stream & MAX_WINDOW,
            payload,
        })
    }

    /// Waits for the connection's end, however long.
    pub async fn end(&mut self) {
        while self.fill(1).await.is_some() {
            self.buffer.clear();
        }
    }

    /// The first frame that is wanted; skips what comes before it.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Everything that the edge has to say to what came before, but for its
    /// responses; ends with the answer to a ping, or with the connection.
    pub async fn settle(&mut self) -> Vec<Frame> {
        let mut seen = Vec::new();
        // The first answer may overtake what waits in a stream's queue.
        for mark in [*b"settle-1", *b"settle-2"] {
            self.write(&ping(mark)).await;
            while let Some(frame) = self.next().await {
                let last = frame.is_ack(PING) && frame.payload == mark;
                seen.push(frame);
                if last {
                    break;
                }
            }
        }
        seen
    }

    async fn fill(&mut self, length: usize) -> Option<()> {
        let mut part = vec![0; LARGEST];
        while self.buffer.len() < length {
            match self.stream.read(&mut part).await {
                Ok(count @ 1..) => self.buffer.extend(&part[..count]),
                _ => return None,
            }
        }
        Some(())
    }
}
