//! A response that is known whole at once: a hit, or a refusal. It is written
//! without waiting where the socket takes it.

use std::io::{self, IoSlice};
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::Method;
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;

use crate::edge::account::account;
use crate::edge::pacing::{Pace, SLICE_BYTES};
use crate::edge::record::Record;
use crate::edge::request::{Entry, Request};
use crate::edge::shared::{Active, Node};
use crate::edge::verify::Visitor;
use crate::edge::waits::{Lost, Source, Waits};

/// Slices of one write: a head and 4 MiB of body.
const SLICES: usize = 17;
/// Such a response.
pub(super) struct Reply<'l> {
    pub(super) method: Method,
    head: Vec<u8>,
    body: Vec<Bytes>,
    source: Source,
    /// Bytes of both.
    length: usize,
    written: usize,
    pub(super) close: bool,
    record: Record,
    request_id: String,
    pub(super) entry: Entry,
    _active: Active<&'l AtomicUsize>,
}

impl<'l> Reply<'l> {
    /// What is known whole. `source`: whose bytes the body is made of.
    pub(super) fn new(
        request: &Request<'_>,
        (head, body): (Vec<u8>, Vec<Bytes>),
        source: Source,
        record: Record,
        close: bool,
        (request_id, active): (String, Active<&'l AtomicUsize>),
    ) -> Self {
        Self {
            method: request.method.clone(),
            length: head.len() + body.iter().map(Bytes::len).sum::<usize>(),
            head,
            body,
            source,
            written: 0,
            close,
            record,
            request_id,
            entry: request.entry,
            _active: active,
        }
    }

    pub(super) fn left(&self) -> usize {
        self.length - self.written
    }

    /// Writes everything.
    pub(super) async fn write(&mut self, stream: &mut Stream) -> io::Result<()> {
        while self.left() > 0 {
            self.write_some(stream).await?;
        }
        stream.flush().await
    }

    /// Writes everything to a viewer who is not quick, and may not stand still
    /// for longer than a slice may take.
    pub(super) async fn write_on(
        &mut self,
        stream: &mut Stream,
        pace: Pace,
        node: &Node,
    ) -> Result<(), Lost> {
        let source = std::mem::replace(&mut self.source, Source::Own);
        let mut waits = Waits::new(node, self.entry, false, source);
        while self.left() > 0 {
            let write = self.write_some(stream);
            waits.within(pace.patience(SLICE_BYTES), write).await?;
        }
        waits.within(pace.patience(0), stream.flush()).await
    }

    /// One write of as much as there is.
    async fn write_some(&mut self, stream: &mut Stream) -> io::Result<()> {
        let mut slices = [IoSlice::new(b""); SLICES];
        let mut skip = self.written;
        let pieces =
            std::iter::once(&self.head[..]).chain(self.body.iter().map(|piece| &piece[..]));
        let mut count = 0;
        for piece in pieces {
            if skip >= piece.len() {
                skip -= piece.len();
                continue;
            }
            if count == SLICES {
                break;
            }
            slices[count] = IoSlice::new(&piece[skip..]);
            skip = 0;
            count += 1;
        }
        match stream.write_vectored(&slices[..count]).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => {
                self.written += written;
                Ok(())
            }
        }
    }

    /// Accounts for it; hands back why it did not come to its end.
    pub(super) fn finish(
        mut self,
        lost: Option<Lost>,
        node: &Node,
        request: &Request<'_>,
        visitor: &Visitor<'_>,
    ) -> Option<Lost> {
        self.record.bytes = self.written.saturating_sub(self.head.len()) as u64;
        if let Some(lost) = lost {
            self.record.reason = Some(lost.name());
        }
        account(node, visitor, request, &self.request_id, &self.record);
        lost
    }
}
