//! The last part: sends what was found in memory. What is on its way is for
//! `ride`, what is not stored for `pass`.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use pingora::http::ResponseHeader;
use tokio::time::timeout;

use super::headers::{self, Detail, Stamp};
use super::lookup::{Found, Query};
use super::multipart::Multipart;
use super::range::Answer;
use super::record::Record;
use super::refused::Refused;
use super::represent::{form, piece, wanted};
use super::respond::{self, Response};
use super::sender::Sender;
use super::shared::drawn;
use super::visit::Visit;
use super::waits::{Lost, Source};
use crate::cache::head::insert;
use crate::cache::object::Object;
use crate::origin::Failure;
use crate::telemetry::CacheStatus;

/// Why a response did not come to its end. The connection is closed (H1) or
/// the stream reset (H2): a cut body never looks whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Viewer(Lost),
    Pull(Failure),
}

impl From<Lost> for Cut {
    fn from(lost: Lost) -> Self {
        Cut::Viewer(lost)
    }
}

impl Cut {
    pub const fn name(self) -> &'static str {
        match self {
            Cut::Viewer(lost) => lost.name(),
            Cut::Pull(failure) => failure.name(),
        }
    }
}

/// Everything that a response is made from.
pub struct Server<'a> {
    pub visit: Visit<'a>,
    pub query: &'a Query<'a>,
    /// How often the cache was looked at for this request.
    pub looks: u8,
}

impl Server<'_> {
    pub async fn serve(
        &self,
        found: Found,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        // What waits for the origin is boxed: a hit need not carry its state.
        match found {
            Found::Hit(hit) => {
                record.reason = hit.failure.map(Failure::name);
                let detail = hit.detail(self.visit.request.entry.came);
                self.object(&hit.object, hit.status, detail, sender, record)
                    .await
            }
            Found::Riding { rider, stale } => {
                Box::pin(self.ride(rider, stale, sender, record)).await
            }
            Found::Pass { reason, stale } => {
                Box::pin(self.pass(reason, None, stale, sender, record)).await
            }
            Found::Sliced(first) => Box::pin(self.sliced(first, sender, record)).await,
            Found::Failed { failure, stale } => self.failed(failure, stale, sender, record).await,
            Found::Refused(refused) => self.refuse(refused, sender, record).await,
        }
    }

    /// Waits for the first bytes of an answer, for as long as the viewer is
    /// there and no longer than he is to wait.
    pub(super) async fn patiently<T>(
        &self,
        coming: impl Future<Output = Result<T, Failure>>,
        sender: &mut Sender<'_>,
    ) -> Result<Result<T, Failure>, Cut> {
        let came = sender.waiting(timeout(self.query.patience(), coming));
        Ok(came.await?.unwrap_or(Err(Failure::AnswerTimeout)))
    }

    pub(super) async fn refuse(
        &self,
        refused: Refused,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        record.refuse(refused);
        let response = respond::refused(refused, self.visit.visitor, self.visit.request_id);
        self.short(response, sender, record).await
    }

    /// Sends a whole object, or what the request wants of it.
    pub(super) async fn object(
        &self,
        object: &Arc<Object>,
        status: CacheStatus,
        detail: Detail<'_>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        record.cache = status;
        record.kind = object.kind;
        record.fingerprint = Some(object.fingerprint.clone());
        object.hits.count(drawn(self.visit.request_id));
        let age = object.freshness.age(self.visit.node.clock.monotonic());
        let stamp = self.visit.stamp(status, Some(age), detail);
        if object.is_negative() && object.body.is_empty() {
            return self
                .short(respond::missing(object.status, &stamp), sender, record)
                .await;
        }
        // Both forms are one in memory.
        let source = Source::Object(Arc::clone(object));
        let object = form(self.visit.request, object);
        let length = object.body.len();
        let wanted = wanted(self.visit.request, object);
        if let Answer::Parts(parts) = wanted {
            sender.reads(source);
            return Box::pin(self.parts(object, &parts, &stamp, sender, record)).await;
        }
        let Some((code, range)) = piece(&wanted, object) else {
            return self
                .short(respond::unsatisfiable(Some(length), &stamp), sender, record)
                .await;
        };
        let head = finish_head(object.head.clone(), code, &stamp, Some((&range, length)));
        record.status = code;
        if self.visit.request.is_head() || range.is_empty() {
            return Ok(sender.head_alone(head).await?);
        }
        sender.reads(source);
        sender.head(head, true).await?;
        let mut at = range.start;
        for bytes in object.body.slices(range.clone()) {
            at += bytes.len() as u64;
            sender.body(bytes, at == range.end).await?;
        }
        Ok(())
    }

    /// Sends several parts of a whole object.
    async fn parts(
        &self,
        object: &Arc<Object>,
        parts: &[Range<u64>],
        stamp: &Stamp<'_>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let asked = stamp.answer.iter().find(|(name, _)| name == CONTENT_TYPE);
        let kind = asked.map(|(_, kind)| kind);
        let kind = kind.or(object.head.headers.get(CONTENT_TYPE));
        let framing = Multipart {
            boundary: self.visit.request_id,
            content_type: kind.and_then(|kind| kind.to_str().ok()),
            whole: object.body.len(),
        };
        let mut head = finish_head(object.head.clone(), 206, stamp, None);
        if let Ok(kind) = HeaderValue::from_str(&framing.content_type()) {
            insert(&mut head, CONTENT_TYPE, kind);
        }
        let length = HeaderValue::from(framing.length(parts));
        insert(&mut head, CONTENT_LENGTH, length);
        record.status = 206;
        if self.visit.request.is_head() {
            return Ok(sender.head_alone(head).await?);
        }
        sender.head(head, true).await?;
        for part in parts {
            let opening = framing.opening(part);
            sender.body(Bytes::from(opening), false).await?;
            for bytes in object.body.slices(part.clone()) {
                sender.body(bytes, false).await?;
            }
        }
        Ok(sender.body(Bytes::from(framing.closing()), true).await?)
    }

    pub(super) async fn short(
        &self,
        response: Response,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        record.status = response.head.status.as_u16();
        send_short(response, self.visit.request.is_head(), sender).await
    }
}

/// Sends a response whose body is a line of text.
pub async fn send_short(
    response: Response,
    head_only: bool,
    sender: &mut Sender<'_>,
) -> Result<(), Cut> {
    if head_only || response.body.is_empty() {
        return Ok(sender.head_alone(response.head).await?);
    }
    sender.head(response.head, true).await?;
    Ok(sender.body(Bytes::from(response.body), true).await?)
}

/// Adds what depends on this response: status, length, range, stamp.
pub(super) fn finish_head(
    mut head: ResponseHeader,
    code: u16,
    stamp: &Stamp<'_>,
    sized: Option<(&Range<u64>, u64)>,
) -> ResponseHeader {
    if head.status.as_u16() != code {
        let _ = head.set_status(code);
    }
    if code == 304 {
        head.remove_header(&CONTENT_TYPE);
    }
    if let Some((range, whole)) = sized {
        headers::set(&mut head, headers::size_lines(code, range, whole));
    }
    headers::stamp(&mut head, code, stamp);
    head
}
