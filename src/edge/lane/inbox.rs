//! The way into an HTTP/1.1 connection: reads one head at a time, within its
//! deadlines, and holds no memory while nothing comes.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::head::{empty_lines, end_of_head};
use crate::clock::timer_now;
use crate::edge::refused::BadHead;
use crate::edge::shared::Node;

/// One read, on the stack: a head is seldom longer.
const READ_BYTES: usize = 4 << 10;

/// What came of waiting for a head.
pub enum Came {
    /// A whole head: this many bytes of [`Inbox::bytes`].
    Head(usize),
    Bad(BadHead),
    /// The viewer has left, or was silent for too long.
    Gone,
}

/// What has come and was not answered yet.
pub struct Inbox {
    bytes: Vec<u8>,
    timer: Pin<Box<Sleep>>,
}

impl Inbox {
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            timer: Box::pin(sleep(Duration::ZERO)),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops a request that is answered.
    pub fn consume(&mut self, count: usize) {
        if count >= self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.drain(..count);
        }
    }

    /// Waits for a whole head: `keepalive` for its first byte, `head_timeout`
    /// from there to its end, however slowly the bytes come.
    pub async fn head(&mut self, stream: &mut Stream, node: &Node) -> Came {
        let (idle, whole) = (node.listen.keepalive, node.listen.head_timeout);
        let mut seen = 0;
        let mut begun = None;
        loop {
            let empty = empty_lines(&self.bytes);
            if empty > 0 {
                self.consume(empty);
                seen = 0;
            }
            match end_of_head(&self.bytes, seen) {
                Ok(Some(end)) => return Came::Head(end),
                Ok(None) => {}
                Err(bad) => return Came::Bad(bad),
            }
            seen = self.bytes.len();
            if seen > 0 && begun.is_none() {
                let Some(place) = node.limits.begin_head() else {
                    return Came::Bad(BadHead::TooMany);
                };
                begun = Some((timer_now() + whole, place));
            }
            let deadline = begun.as_ref().map(|(deadline, _)| *deadline);
            match self.read(stream, deadline, idle).await {
                Some(Ok(1..)) => {}
                Some(Ok(0) | Err(_)) => return Came::Gone,
                None if seen == 0 => return Came::Gone,
                None => return Came::Bad(BadHead::TooSlow),
            }
        }
    }

    /// Reads until `deadline`, or for `idle`; `None` is too late.
    async fn read(
        &mut self,
        stream: &mut Stream,
        deadline: Option<Instant>,
        idle: Duration,
    ) -> Option<io::Result<usize>> {
        let mut deadline = deadline;
        poll_fn(|context| {
            if let Poll::Ready(read) = poll_read(stream, &mut self.bytes, context) {
                return Poll::Ready(Some(read));
            }
            if self.bytes.is_empty() {
                self.bytes = Vec::new();
            }
            let deadline = *deadline.get_or_insert_with(|| timer_now() + idle);
            // The timer is only ever moved when it fires or is too late: an
            // idle wait costs no entry of its own in the timer wheel.
            loop {
                if self.timer.deadline() > deadline {
                    self.timer.as_mut().reset(deadline);
                }
                ready!(self.timer.as_mut().poll(context));
                if timer_now() >= deadline {
                    return Poll::Ready(None);
                }
                self.timer.as_mut().reset(deadline);
            }
        })
        .await
    }
}

fn poll_read(
    stream: &mut Stream,
    bytes: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let mut buffer = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    bytes.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}
