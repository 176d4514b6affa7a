//! Writes to one viewer: in slices, at the token's pace, and never for longer
//! than a viewer of the least rate would take.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderValue, TRANSFER_ENCODING};
use pingora::http::{ResponseHeader, Version};
use pingora::protocols::http::ServerSession;
use tokio::time::{sleep, timeout};

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

pub struct Sender<'s> {
    session: &'s mut ServerSession,
    clock: &'s Clock,
    pace: Pace,
    /// When the request came; the first byte is counted from it.
    came: Instant,
    first_byte: Option<Duration>,
    started: Instant,
    sent: u64,
}

impl<'s> Sender<'s> {
    pub fn new(
        session: &'s mut ServerSession,
        clock: &'s Clock,
        pace: Pace,
        came: Instant,
    ) -> Self {
        let started = clock.monotonic();
        Self {
            session,
            clock,
            pace,
            came,
            first_byte: None,
            started,
            sent: 0,
        }
    }

    pub fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// Body bytes handed to the connection.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes a head; a body of unknown length goes out in chunks.
    pub async fn head(&mut self, mut head: ResponseHeader, has_length: bool) -> Result<(), Lost> {
        if !has_length && self.session.req_header().version == Version::HTTP_11 {
            insert(
                &mut head,
                TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
        self.first_byte = Some(self.clock.monotonic().saturating_duration_since(self.came));
        let write = self.session.write_response_header(Box::new(head));
        within(self.pace.patience(0), write).await
    }

    /// Writes a part of the body; `last` ends the response with it, so that a
    /// small one leaves in one send together with its head.
    pub async fn body(&mut self, mut bytes: Bytes, last: bool) -> Result<(), Lost> {
        loop {
            let slice = bytes.split_to(bytes.len().min(self.pace.slice()));
            let (count, end) = (slice.len(), last && bytes.is_empty());
            within(
                self.pace.patience(count),
                self.session.write_response_body(slice, end),
            )
            .await?;
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
        within(
            self.pace.patience(0),
            self.session.write_response_body(Bytes::new(), true),
        )
        .await
    }
}

async fn within<T>(
    patience: Duration,
    write: impl Future<Output = pingora::Result<T>>,
) -> Result<T, Lost> {
    match timeout(patience, write).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(Lost::Gone),
        Err(_) => Err(Lost::TooSlow),
    }
}
