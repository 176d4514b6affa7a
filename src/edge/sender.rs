//! Writes to one viewer: in slices, at the token's pace, and never for longer
//! than a viewer of the least rate would take.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderValue, TRANSFER_ENCODING};
use pingora::http::{ResponseHeader, Version};
use pingora::protocols::http::ServerSession;
use tokio::time::{sleep, timeout};

use super::lane::Outbox;
use super::pacing::Pace;
use crate::cache::head::insert;
use crate::clock::Clock;

/// The viewer is gone, or too slow to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    Gone,
    TooSlow,
}

impl Lost {
    pub const fn name(self) -> &'static str {
        match self {
            Lost::Gone => "client_gone",
            Lost::TooSlow => "client_too_slow",
        }
    }
}

/// What a response is written to.
pub enum Wire<'s> {
    /// A session of Pingora's, over HTTP/1 or HTTP/2.
    Session(&'s mut ServerSession),
    /// A connection of our own.
    Lane(Outbox<'s>),
}

pub struct Sender<'s> {
    wire: Wire<'s>,
    clock: &'s Clock,
    pace: Pace,
    /// When the request came; the first byte is counted from it.
    came: Instant,
    first_byte: Option<Duration>,
    started: Instant,
    sent: u64,
}

impl<'s> Sender<'s> {
    pub fn new(wire: Wire<'s>, clock: &'s Clock, pace: Pace, came: Instant) -> Self {
        Self {
            wire,
            clock,
            pace,
            came,
            first_byte: None,
            started: clock.monotonic(),
            sent: 0,
        }
    }

    pub fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// Waits for the origin, for as long as the viewer is there.
    pub async fn waiting<T>(&mut self, origin: impl Future<Output = T>) -> Result<T, Lost> {
        tokio::select! {
            biased;
            done = origin => Ok(done),
            () = self.gone() => Err(Lost::Gone),
        }
    }

    /// Waits until the viewer is gone. Over HTTP/1.1 nothing tells but a write.
    async fn gone(&mut self) {
        let closed = match &mut self.wire {
            Wire::Session(session) => session.watch_h2_stream_close(),
            Wire::Lane(_) => None,
        };
        match closed {
            Some(closed) => drop(closed.await),
            None => std::future::pending().await,
        }
    }

    /// Body bytes handed to the connection.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes a head; a body of unknown length goes out in chunks.
    pub async fn head(&mut self, mut head: ResponseHeader, has_length: bool) -> Result<(), Lost> {
        self.first_byte = Some(self.clock.monotonic().saturating_duration_since(self.came));
        match &mut self.wire {
            Wire::Session(session) => {
                if !has_length && session.req_header().version == Version::HTTP_11 {
                    let chunked = HeaderValue::from_static("chunked");
                    insert(&mut head, TRANSFER_ENCODING, chunked);
                }
                let write = session.write_response_header(Box::new(head));
                within(self.pace.patience(0), write).await
            }
            Wire::Lane(outbox) => {
                outbox.head(&head, has_length);
                Ok(())
            }
        }
    }

    /// Writes a part of the body; `last` ends the response with it, so that a
    /// small one leaves in one send together with its head.
    pub async fn body(&mut self, mut bytes: Bytes, last: bool) -> Result<(), Lost> {
        loop {
            let slice = bytes.split_to(bytes.len().min(self.pace.slice()));
            let (count, end) = (slice.len(), last && bytes.is_empty());
            self.write(slice, end).await?;
            self.sent += count as u64;
            if bytes.is_empty() {
                return Ok(());
            }
            let elapsed = self
                .clock
                .monotonic()
                .saturating_duration_since(self.started);
            let pause = self.pace.pause(self.sent, elapsed);
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }

    /// Ends the response where [`Self::body`] has not.
    pub async fn end(&mut self) -> Result<(), Lost> {
        self.write(Bytes::new(), true).await
    }

    async fn write(&mut self, bytes: Bytes, end: bool) -> Result<(), Lost> {
        let patience = self.pace.patience(bytes.len());
        match &mut self.wire {
            Wire::Session(session) => {
                within(patience, session.write_response_body(bytes, end)).await
            }
            Wire::Lane(outbox) => within(patience, outbox.body(&bytes, end)).await,
        }
    }
}

/// Gives a write so much time.
pub(super) async fn within<T, E>(
    patience: Duration,
    write: impl Future<Output = Result<T, E>>,
) -> Result<T, Lost> {
    match timeout(patience, write).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(Lost::Gone),
        Err(_) => Err(Lost::TooSlow),
    }
}
