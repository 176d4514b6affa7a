//! Writes to one viewer: in slices, at the token's pace, and never for longer
//! than a viewer of the least rate would take.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, SET_COOKIE, TRANSFER_ENCODING};
use pingora::http::{ResponseHeader, Version};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::pacing::Pace;
use super::record::Record;
use super::request::Entry;
use super::shared::Node;
use super::waits::{Lost, Source, Waits};
use super::wire::Wire;
use crate::cache::head::{insert, is_hop_by_hop, stays_here};
use crate::origin::{Interim, Interims};

/// One write to a viewer who has let another wait: whether he takes anything
/// at all shows sooner.
const SLOW_SLICE_BYTES: usize = 64 << 10;

pub struct Sender<'s> {
    wire: Wire<'s>,
    node: &'s Node,
    pace: Pace,
    /// The first byte is counted from when the request came.
    entry: Entry,
    waits: Waits<'s>,
    first_byte: Option<Duration>,
    started: Instant,
    sent: u64,
}

impl<'s> Sender<'s> {
    pub fn new(wire: Wire<'s>, node: &'s Node, pace: Pace, entry: Entry) -> Self {
        let extra = matches!(&wire, Wire::Stream(stream) if stream.extra);
        Self {
            wire,
            node,
            pace,
            entry,
            waits: Waits::new(node, entry, extra, Source::Own),
            first_byte: None,
            started: node.clock.monotonic(),
            sent: 0,
        }
    }

    /// Notes what has been sent.
    pub fn note(&self, record: &mut Record) {
        record.bytes = self.sent;
        record.first_byte = self.first_byte;
    }

    /// Says whose bytes the body is made of.
    pub fn reads(&mut self, source: Source) {
        self.waits.source = source;
    }

    /// Waits for the origin, for as long as the viewer is there.
    pub async fn waiting<T>(&mut self, origin: impl Future<Output = T>) -> Result<T, Lost> {
        let Self { wire, waits, .. } = self;
        tokio::select! {
            biased;
            done = waits.aside(origin) => done,
            () = wire.gone() => Err(Lost::Gone),
        }
    }

    /// The same, telling the viewer what comes before the final answer.
    pub async fn telling<T>(
        &mut self,
        interims: Option<Interims>,
        origin: impl Future<Output = T>,
    ) -> Result<T, Lost> {
        let Some(interims) = interims else {
            return self.waiting(origin).await;
        };
        let (mut news, mut origin) = (interims.listen(), pin!(origin));
        loop {
            let next = async {
                tokio::select! {
                    head = news.next() => Err(head),
                    done = &mut origin => Ok(done),
                }
            };
            match self.waiting(next).await? {
                Err(head) => self.interim(&head).await?,
                Ok(done) => {
                    // What came with the final one is told first.
                    while let Some(head) = news.take() {
                        self.interim(&head).await?;
                    }
                    return Ok(done);
                }
            }
        }
    }

    /// Over HTTP/1.1 alone, which has to (RFC 9110 §15.2).
    async fn interim(&mut self, interim: &Interim) -> Result<(), Lost> {
        let patience = self.pace.patience(0);
        let Some(head) = interim_head(interim) else {
            return Ok(());
        };
        match &mut self.wire {
            Wire::Lane(outbox) => self.waits.within(patience, outbox.interim(&head)).await,
            Wire::Session(session) if session.req_header().version == Version::HTTP_11 => {
                let write = session.write_response_header(Box::new(head));
                self.waits.within(patience, write).await
            }
            Wire::Session(_) | Wire::Stream(_) => Ok(()),
        }
    }

    /// Writes a head; a body of unknown length goes out in chunks.
    pub async fn head(&mut self, mut head: ResponseHeader, has_length: bool) -> Result<(), Lost> {
        let now = self.node.clock.monotonic();
        self.first_byte = Some(now.saturating_duration_since(self.entry.came));
        match &mut self.wire {
            Wire::Session(session) => {
                if !has_length && session.req_header().version == Version::HTTP_11 {
                    let chunked = HeaderValue::from_static("chunked");
                    insert(&mut head, TRANSFER_ENCODING, chunked);
                }
                let write = session.write_response_header(Box::new(head));
                self.waits.within(self.pace.patience(0), write).await
            }
            Wire::Lane(outbox) => {
                outbox.head(&head, has_length);
                Ok(())
            }
            Wire::Stream(stream) => stream.head(head, false),
        }
    }

    /// Writes a head behind which nothing comes.
    pub async fn head_alone(&mut self, head: ResponseHeader) -> Result<(), Lost> {
        if let Wire::Stream(stream) = &mut self.wire {
            let now = self.node.clock.monotonic();
            self.first_byte = Some(now.saturating_duration_since(self.entry.came));
            return stream.head(head, true);
        }
        self.head(head, true).await?;
        self.end().await
    }

    /// Writes a part of the body; `last` ends the response with it, so that a
    /// small one leaves in one send together with its head.
    pub async fn body(&mut self, mut bytes: Bytes, last: bool) -> Result<(), Lost> {
        loop {
            let most = match self.waits.slow {
                true => self.pace.slice().min(SLOW_SLICE_BYTES),
                false => self.pace.slice(),
            };
            let slice = bytes.split_to(bytes.len().min(most));
            let (count, end) = (slice.len(), last && bytes.is_empty());
            self.write(slice, end).await?;
            self.sent += count as u64;
            if !end {
                // Others have their turn: with all that had arrived in one go
                // the last of 1,000 riders had its first byte a second late.
                yield_now().await;
            }
            if bytes.is_empty() {
                return Ok(());
            }
            let now = self.node.clock.monotonic();
            let elapsed = now.saturating_duration_since(self.started);
            let pause = self.pace.pause(self.sent, elapsed);
            if !pause.is_zero() {
                // What is sent at a token's pace is read at a viewer's, too.
                let paused = sleep(pause).map(Ok::<_, Lost>);
                self.waits.within(Duration::MAX, paused).await?;
            }
        }
    }

    /// How long so many bytes take at the token's limit.
    pub fn least_time(&self, bytes: usize) -> Duration {
        self.pace.pause(bytes as u64, Duration::ZERO)
    }

    /// Ends the response where [`Self::body`] has not.
    pub async fn end(&mut self) -> Result<(), Lost> {
        self.write(Bytes::new(), true).await
    }

    async fn write(&mut self, bytes: Bytes, end: bool) -> Result<(), Lost> {
        let patience = self.pace.patience(bytes.len());
        let Self { wire, waits, .. } = self;
        match wire {
            Wire::Session(session) => {
                let write = session.write_response_body(bytes, end);
                waits.within(patience, write).await
            }
            Wire::Lane(outbox) => waits.within(patience, outbox.body(&bytes, end)).await,
            Wire::Stream(stream) => waits.within(patience, stream.body(bytes, end)).await,
        }
    }
}

/// What viewers are told of an interim answer.
fn interim_head(interim: &Interim) -> Option<ResponseHeader> {
    let mut head = ResponseHeader::build(interim.status, None).ok()?;
    let stays = |name: &HeaderName| {
        is_hop_by_hop(name) || stays_here(name) || matches!(*name, CONTENT_LENGTH | SET_COOKIE)
    };
    for (name, value) in interim.headers.iter().filter(|(name, _)| !stays(name)) {
        let _ = head.append_header(name.clone(), value.clone());
    }
    Some(head)
}
