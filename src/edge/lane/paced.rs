//! A connection of HTTP/2, read one request at a time: h2 decodes all that has
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

use super::connection::LINGER;

/// RFC 9113 §3.4.
const PREFACE: usize = 24;
/// RFC 9113 §4.1.
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
/// Bytes that are read behind the end: what a viewer had under way.
const LINGER_BYTES: usize = 2 << 20;

/// Pauses before the head of a request while the one before it is not taken up.
///
/// A reset is read with its request, so that h2 sees and counts those that are
/// reset before they are taken up.
#[derive(Debug)]
pub struct Paced {
    stream: Stream,
    frame: Frame,
    /// The stream whose head was read since the last pause, and no reset of it.
    untaken: Option<u32>,
    /// Bytes read behind its end, and how much longer they are.
    unread: usize,
    linger: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            frame: Frame::PREFACE,
            untaken: None,
            unread: 0,
            linger: None,
        }
    }

    /// Reads the head of the next frame, and passes it on unless it has to wait.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let frame = &mut self.frame;
        while frame.known < FRAME_HEAD {
            let mut part = ReadBuf::new(&mut frame.head[frame.known..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
            match part.filled().len() {
                0 => return Poll::Ready(Ok(())),
                read => frame.known += read,
            }
        }
        if frame.passed == 0 {
            match frame.kind() {
                HEADERS if self.untaken.take().is_some() => {
                    // h2 gives out what it has, and comes back.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                HEADERS => self.untaken = Some(frame.stream()),
                RST_STREAM if self.untaken == Some(frame.stream()) => self.untaken = None,
                _ => {}
            }
        }
        frame.pass_head(buf);
        Poll::Ready(Ok(()))
    }
}

/// The frame that is being read.
#[derive(Debug)]
struct Frame {
    head: [u8; FRAME_HEAD],
    /// Bytes of its head that are there.
    known: usize,
    /// Bytes of its head that h2 has.
    passed: usize,
    /// Bytes of its payload, or of the preface, that are still to come.
    left: usize,
}

impl Frame {
    /// What stands before the first frame is read like a payload.
    const PREFACE: Self = Self {
        head: [0; FRAME_HEAD],
        known: FRAME_HEAD,
        passed: FRAME_HEAD,
        left: PREFACE,
    };

    /// The one behind it, of which nothing is known.
    const NEXT: Self = Self {
        known: 0,
        passed: 0,
        left: 0,
        ..Self::PREFACE
    };

    fn kind(&self) -> u8 {
        self.head[3]
    }

    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.head;
        u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
    }

    fn pass_head(&mut self, buf: &mut ReadBuf<'_>) {
        let part = &self.head[self.passed..];
        let part = &part[..part.len().min(buf.remaining())];
        buf.put_slice(part);
        self.passed += part.len();
        if self.passed == FRAME_HEAD {
            let [high, middle, low, ..] = self.head;
            self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.end();
        }
    }

    fn pass_payload(&mut self, read: usize) {
        self.left -= read;
        self.end();
    }

    fn end(&mut self) {
        if self.left == 0 {
            *self = Self::NEXT;
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.frame.passed < FRAME_HEAD {
            return this.poll_head(cx, buf);
        }
        let wanted = this.frame.left.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(wanted));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        this.frame.pass_payload(read);
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

    /// A frame of another stream.
    fn other(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(kind, 0, payload);
        frame[8] = 3;
        frame
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
    async fn reading_pauses_before_a_head_unless_the_last_one_was_reset() {
        let long = [b'x'; 60];
        let reset = [frame(HEADERS, 5, b"y"), frame(RST_STREAM, 0, &[0; 4])].concat();
        let gulps = [
            // Those that are reset are read together, and h2 counts them.
            [
                &[b'P'; PREFACE][..],
                &frame(4, 0, &[0; 6]),
                &frame(4, 1, b""),
                &reset.repeat(3),
                &frame(HEADERS, 5, b""),
            ]
            .concat(),
            frame(HEADERS, 5, &long),
            // A head in parts is one.
            [
                frame(HEADERS, 1, &long),
                frame(9, 0, &long).repeat(4),
                frame(9, 4, b"end"),
                frame(0, 1, b"body"),
            ]
            .concat(),
            [frame(HEADERS, 5, b"y"), other(RST_STREAM, &[0; 4])].concat(),
            frame(HEADERS, 5, b""),
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
