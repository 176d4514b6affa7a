//! An answer onto the wire, stopping where faults and gates say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{Answer, Framing};
use super::gate::Turnstile;
use super::wire::{Connection, PeerLeft};

/// Memory per answer under way, and the largest chunk.
const PIECE: u64 = 64 << 10;
/// A drip writes this often.
const DRIPS_PER_SECOND: u64 = 20;
/// An RST discards what the kernel has not delivered: this long a peer that reads has for it.
const RESET_LEAD: Duration = Duration::from_millis(20);

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    KeepAlive,
    Close,
    Reset,
}

/// What happens at a point of the body.
pub(super) enum Stop {
    Wait(Duration),
    Gate(Arc<Turnstile>),
    End(Ending),
}

/// How an answer is sent.
#[derive(Default)]
pub(super) struct Course {
    /// Interim responses before the head.
    pub informational: Vec<u16>,
    /// Body offsets, in any order; beyond the body means at its end.
    pub stops: Vec<(u64, Stop)>,
    pub bytes_per_second: Option<u64>,
    /// The client asked to close.
    pub closes: bool,
}

/// An answer under way.
pub(super) struct Sending<'a> {
    connection: &'a mut Connection,
    answer: &'a Answer,
    bytes_per_second: Option<u64>,
    /// Body bytes written so far.
    pub sent: u64,
}

impl<'a> Sending<'a> {
    pub fn new(connection: &'a mut Connection, answer: &'a Answer) -> Self {
        Self {
            connection,
            answer,
            bytes_per_second: None,
            sent: 0,
        }
    }

    /// Sends head and body; says what the connection is good for afterwards.
    pub async fn run(&mut self, mut course: Course) -> Result<Ending, PeerLeft> {
        self.bytes_per_second = course.bytes_per_second;
        let closes = course.closes || !self.answer.keeps_alive();
        for status in &course.informational {
            self.connection.send(&interim_head(*status)).await?;
        }
        self.connection.send(&head(self.answer, closes)).await?;
        // Stable: what was asked for first at one offset happens first.
        course.stops.sort_by_key(|(offset, _)| *offset);
        for (offset, stop) in course.stops {
            self.advance(offset).await?;
            match stop {
                Stop::Wait(time) => {
                    self.connection
                        .unless_peer_leaves(tokio::time::sleep(time))
                        .await?
                }
                Stop::Gate(gate) => self.connection.unless_peer_leaves(gate.pass()).await?,
                Stop::End(ending) => {
                    if ending == Ending::Reset {
                        tokio::time::sleep(RESET_LEAD).await;
                    }
                    return Ok(ending);
                }
            }
        }
        self.advance(u64::MAX).await?;
        self.finish().await?;
        Ok(if closes {
            Ending::Close
        } else {
            Ending::KeepAlive
        })
    }

    /// Sends the body up to `offset`, or all of it.
    async fn advance(&mut self, offset: u64) -> Result<(), PeerLeft> {
        let target = offset.min(self.answer.sent_len());
        while self.sent < target {
            let largest = self
                .bytes_per_second
                .map_or(PIECE, |rate| (rate / DRIPS_PER_SECOND).clamp(1, PIECE));
            let len = largest.min(target - self.sent);
            let start = self.answer.range.start + self.sent;
            let piece = self.answer.body.piece(start..start + len);
            let mut bytes = self.framed(piece);
            self.sent += len;
            if self.sent == self.answer.sent_len() && self.answer.surplus > 0 {
                // In one write with the last piece, so that no reader misses it.
                bytes = [&bytes[..], &self.surplus()].concat().into();
            }
            self.connection.send(&bytes).await?;
            if let Some(rate) = self.bytes_per_second {
                let pause = Duration::from_secs_f64(len as f64 / rate.max(1) as f64);
                self.connection
                    .unless_peer_leaves(tokio::time::sleep(pause))
                    .await?;
            }
        }
        Ok(())
    }

    fn framed(&self, piece: Bytes) -> Bytes {
        match self.answer.framing {
            Framing::Length(_) | Framing::UntilClose => piece,
            Framing::Chunked | Framing::ChunkedCut => {
                [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"]
                    .concat()
                    .into()
            }
        }
    }

    fn surplus(&self) -> Vec<u8> {
        vec![b'x'; usize::try_from(self.answer.surplus).unwrap_or_default()]
    }

    async fn finish(&mut self) -> Result<(), PeerLeft> {
        if !self.answer.has_body() {
            return Ok(());
        }
        if self.answer.framing == Framing::Chunked {
            self.connection.send(b"0\r\n\r\n").await?;
        }
        if self.answer.sent_len() == 0 {
            self.connection.send(&self.surplus()).await?;
        }
        Ok(())
    }
}

fn head(answer: &Answer, closes: bool) -> Vec<u8> {
    let mut head = status_line(answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match answer.framing {
        _ if matches!(answer.status, 100..=199 | 204 | 304) => {}
        Framing::Length(len) => head += &format!("Content-Length: {len}\r\n"),
        Framing::Chunked | Framing::ChunkedCut => head += "Transfer-Encoding: chunked\r\n",
        Framing::UntilClose => {}
    }
    if closes {
        head += "Connection: close\r\n";
    }
    (head + "\r\n").into_bytes()
}

fn interim_head(status: u16) -> Vec<u8> {
    let hint = if status == 103 {
        "Link: </early>; rel=preload\r\n"
    } else {
        ""
    };
    (status_line(status) + hint + "\r\n").into_bytes()
}

fn status_line(status: u16) -> String {
    let code = http::StatusCode::from_u16(status).ok();
    let reason = code
        .and_then(|code| code.canonical_reason())
        .unwrap_or("Unknown");
    format!("HTTP/1.1 {status} {reason}\r\n")
}
