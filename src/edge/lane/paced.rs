//! A connection of HTTP/2, read a few requests at a time: h2 decodes all that has
//! arrived before it gives out the first request, and a hundred long heads are
//! megabytes. What is not read waits in the socket, at its sender's cost.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::LINGER;

/// RFC 9113 §3.4.
const PREFACE: usize = 24;
/// RFC 9113 §4.1.
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
/// Bytes of heads that are decoded before the first of them is taken up: a byte
/// is a header line at the most, some 100 bytes of memory. The few that may be
/// reset before they are taken up, which h2 counts, are among them.
const HEADS_AT_ONCE: usize = 256;
/// Bytes that are read behind the end: what a viewer had under way.
const LINGER_BYTES: usize = 2 << 20;

/// Pauses behind so many bytes of heads.
#[derive(Debug)]
pub struct Paced {
    stream: Stream,
    frames: Frames,
    /// Bytes of heads since the last pause.
    heads: usize,
    paused: bool,
    /// Bytes read behind its end, and how much longer they are.
    unread: usize,
    linger: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            heads: 0,
            paused: false,
            unread: 0,
            linger: None,
        }
    }
}

/// Where in the frames the bytes are that were read.
#[derive(Debug)]
struct Frames {
    head: [u8; FRAME_HEAD],
    /// Bytes of the frame's head that are there.
    known: usize,
    /// Bytes of its payload, or of the preface, that are still to come.
    left: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            head: [0; FRAME_HEAD],
            known: FRAME_HEAD,
            left: PREFACE,
        }
    }
}

impl Frames {
    /// So many bytes belong together, and more is not to be read with them.
    fn wanted(&self) -> usize {
        match self.known {
            FRAME_HEAD => self.left,
            known => FRAME_HEAD - known,
        }
    }

    /// Goes on by bytes, at most as many as are wanted.
    fn advance(&mut self, bytes: &[u8]) -> Passed {
        let is_payload = self.known == FRAME_HEAD;
        if is_payload {
            self.left -= bytes.len();
        } else {
            self.head[self.known..self.known + bytes.len()].copy_from_slice(bytes);
            self.known += bytes.len();
            if self.known < FRAME_HEAD {
                return Passed::default();
            }
            let [high, middle, low, ..] = self.head;
            self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
        }
        let [_, _, _, kind, flags, ..] = self.head;
        let is_head = matches!(kind, HEADERS | CONTINUATION);
        let is_over = self.left == 0;
        if is_over {
            self.known = 0;
        }
        Passed {
            of_head: if is_head && is_payload {
                bytes.len()
            } else {
                0
            },
            ends_head: is_over && is_head && flags & END_HEADERS != 0,
        }
    }
}

/// What bytes were.
#[derive(Debug, Default)]
struct Passed {
    /// So many of them belong to heads.
    of_head: usize,
    /// They end the head of a request.
    ends_head: bool,
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.paused) {
            // h2 gives out what it has, if it has any, and comes back.
            this.heads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let wanted = this.frames.wanted().min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        if read > 0 {
            let passed = this.frames.advance(part.filled());
            this.heads += passed.of_head;
            this.paused = passed.ends_head && this.heads >= HEADS_AT_ONCE;
        }
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let linger = match &mut this.linger {
            Some(linger) => linger,
            none => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                none.insert(Box::pin(sleep(LINGER)))
            }
        };
        // With bytes unread the kernel resets the connection, and the last word
        // that told its viewer why is lost.
        let mut room = [0; 4096];
        while this.unread < LINGER_BYTES {
            let mut part = ReadBuf::new(&mut room);
            match Pin::new(&mut this.stream).poll_read(cx, &mut part) {
                Poll::Ready(Ok(())) if !part.filled().is_empty() => {
                    this.unread += part.filled().len();
                }
                Poll::Ready(_) => break,
                Poll::Pending => return linger.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Paced {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Paced {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

// What these tell is asked of the connection before it is paced.
impl Ssl for Paced {}
impl Peek for Paced {}

impl GetTimingDigest for Paced {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Paced {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Paced {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;
    use tokio::io::AsyncWriteExt;
    use tokio::task::unconstrained;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let head = [0, 0, length, kind, flags, 0, 0, 0, 1];
        [&head[..], payload].concat()
    }

    /// What is read until it has to be asked for again, each time.
    fn pieces(paced: &mut Paced, buffer: usize) -> Vec<Vec<u8>> {
        let mut cx = Context::from_waker(noop_waker_ref());
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        loop {
            let mut memory = vec![0; buffer];
            let mut buf = ReadBuf::new(&mut memory);
            match Pin::new(&mut *paced).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                    pieces.push(piece);
                    return pieces;
                }
                Poll::Ready(Ok(())) => piece.extend_from_slice(buf.filled()),
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => pieces.push(std::mem::take(&mut piece)),
            }
        }
    }

    #[tokio::test]
    async fn reading_pauses_behind_a_few_heads_however_their_bytes_come() {
        let long = [b'x'; 60];
        let gulps = [
            [
                &[b'P'; PREFACE][..],
                &frame(4, 0, &[0; 6]),
                &frame(HEADERS, 5, b""),
                &frame(HEADERS, 5, &long).repeat(5),
            ]
            .concat(),
            [
                frame(HEADERS, 1, &long),
                frame(CONTINUATION, 0, &long).repeat(4),
                frame(CONTINUATION, 4, b"end"),
            ]
            .concat(),
            // Each with a reset right behind it.
            [frame(HEADERS, 5, &[b'y'; 40]), frame(3, 0, &[0; 4])]
                .concat()
                .repeat(6),
        ];
        for buffer in [1, 2, 9, 64, 8192] {
            let (mut viewer, edge) = tokio::io::duplex(8192);
            viewer.write_all(&gulps.concat()).await.unwrap();
            drop(viewer);
            let mut paced = Paced::new(Box::new(edge));
            // tokio's own pauses are none of these.
            let found = unconstrained(async { pieces(&mut paced, buffer) }).await;
            assert!(found == gulps, "{buffer} bytes at once");
        }
    }
}
