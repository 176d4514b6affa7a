//! A plain hit: verified, found in memory, and written without waiting.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use http::Method;
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;

use crate::cache::head::{push_line, push_name};
use crate::cache::object::Object;
use crate::edge::account::account;
use crate::edge::headers::{size_lines, stamp_lines};
use crate::edge::lookup::Query;
use crate::edge::pacing::{Pace, SLICE_BYTES};
use crate::edge::record::Record;
use crate::edge::represent::{form, piece, wanted};
use crate::edge::request::{Entry, Request};
use crate::edge::shared::{Active, Node, drawn, new_request_id};
use crate::edge::verify::Visitor;
use crate::edge::visit::Visit;
use crate::edge::waits::{Lost, Source, Waits};
use crate::edge::wire::{push_end, push_status};

/// Slices of one write: a head and 4 MiB of body.
const SLICES: usize = 17;
/// Heads are about 700 bytes.
const HEAD_CAPACITY: usize = 1024;

/// A response made from memory.
pub(super) struct Reply<'l> {
    pub(super) method: Method,
    head: Vec<u8>,
    body: Vec<Bytes>,
    object: Arc<Object>,
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
    /// `None` where there is more to do than to send a stored object.
    pub(super) fn from_memory(
        node: &'l Node,
        request: &Request<'_>,
        visitor: &Visitor<'_>,
        close: bool,
    ) -> Option<Self> {
        let active = Active::new(&*node.active);
        let admitted = visitor.admit(node, request).ok()?;
        if admitted.limit.is_some() || !admitted.answer.is_empty() {
            return None;
        }
        let request_id = new_request_id();
        let visit = Visit {
            node,
            request,
            visitor,
            admitted: &admitted,
            request_id: &request_id,
        };
        let query = Query::of(visit);
        let hit = query.hit().filter(|hit| hit.object.status == 200)?;
        let object = form(request, &hit.object);
        let (status, range) = piece(&wanted(request, object), object)?;
        hit.object.hits.count(drawn(&request_id));
        let whole = object.body.len();
        let came = request.entry.came;
        let stamp = visit.stamp(
            hit.status,
            Some(hit.object.freshness.age(came)),
            hit.detail(came),
        );
        let mut head = Vec::with_capacity(HEAD_CAPACITY);
        push_status(&mut head, status);
        head.extend_from_slice(object.lines.for_status(status));
        for (name, value) in size_lines(status, &range, whole).chain(stamp_lines(status, &stamp)) {
            push_name(&mut head, name);
            value.push(&mut head);
            head.extend_from_slice(b"\r\n");
        }
        for (name, value) in stamp.said {
            push_line(&mut head, name, value.as_bytes());
        }
        let now = (!object.lines.has_date).then_some(request.entry.came_at);
        push_end(&mut head, now, close);
        let body: Vec<Bytes> = match request.is_head() {
            true => Vec::new(),
            false => object.body.slices(range).collect(),
        };
        let record = Record {
            status,
            cache: hit.status,
            kind: object.kind,
            first_byte: Some(node.clock.monotonic().saturating_duration_since(came)),
            reason: hit.failure.map(crate::origin::Failure::name),
            token: admitted.token,
            fingerprint: Some(hit.object.fingerprint.clone()),
            ..Record::default()
        };
        Some(Self {
            method: request.method.clone(),
            length: head.len() + body.iter().map(Bytes::len).sum::<usize>(),
            head,
            body,
            object: hit.object,
            written: 0,
            close,
            record,
            request_id,
            entry: request.entry,
            _active: active,
        })
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
        let source = Source::Object(Arc::clone(&self.object));
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
