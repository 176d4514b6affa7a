//! The last part: sends what was found.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use pingora::http::ResponseHeader;
use tokio::time::timeout;

use super::account::Record;
use super::conditional::{Answer, answer, is_not_modified};
use super::headers::{self, Detail, Stamp};
use super::lookup::{Found, Hit, Query, Visit};
use super::multipart::Multipart;
use super::request::Request;
use super::respond::{self, Response};
use super::sender::{Lost, Sender};
use super::verify::Refused;
use crate::cache::head::insert;
use crate::cache::lifetime::Bypass;
use crate::cache::object::Object;
use crate::origin::Failure;
use crate::pull::{Arrival, LiveHead, Rider};
use crate::telemetry::CacheStatus;

/// Looks in the cache for one request, each behind a pull that others began.
const MAX_LOOKS: u8 = 4;

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
                let detail = self.visit.hit_detail(&hit);
                self.object(&hit.object, hit.status, detail, sender, record)
                    .await
            }
            Found::Riding { rider, stale } => {
                Box::pin(self.ride(rider, stale, sender, record)).await
            }
            Found::Pass(reason) => Box::pin(self.pass(reason, None, sender, record)).await,
            Found::Refused(refused) => self.refuse(refused, sender, record).await,
        }
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

    /// Waits for the answer's head, and for the first byte that goes with it:
    /// nothing is promised to the viewer before there is one.
    async fn arrival(&self, rider: &mut Rider) -> Arrival {
        let ranged = self.visit.request.contains(&RANGE);
        let arrival = rider.arrival(ranged).await;
        if !matches!(arrival, Arrival::Streaming(_)) {
            return arrival;
        }
        match rider.next(0, u64::MAX).await {
            Ok(_) => arrival,
            Err(failure) => Arrival::Failed(failure),
        }
    }

    async fn ride(
        &self,
        mut rider: Rider,
        stale: Option<Arc<Object>>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let arrival = timeout(self.query.patience(), self.arrival(&mut rider));
        let arrival = sender.waiting(arrival).await?.unwrap_or_else(|_| {
            self.visit.node.pulls.counts.fail(Failure::AnswerTimeout);
            Arrival::Failed(Failure::AnswerTimeout)
        });
        match arrival {
            Arrival::Streaming(live) => self.stream(&live, rider, sender, record).await,
            Arrival::Landed(landing) => {
                let status = match (landing.object.bypass, landing.revalidated, landing.replaced) {
                    (Some(_), _, _) => CacheStatus::Bypass,
                    (None, true, _) => CacheStatus::Revalidated,
                    (None, false, true) => CacheStatus::Expired,
                    (None, false, false) => CacheStatus::Miss,
                };
                record.bypass = landing.object.bypass;
                record.reason = landing.object.bypass.map(Bypass::name);
                let detail = Detail::forward(status, rider.starter, record.reason);
                self.object(&landing.object, status, detail, sender, record)
                    .await
            }
            Arrival::Parted => self.again(sender, record).await,
            // The starter's credentials made it private; without any it may not be.
            Arrival::Handed(Bypass::Authorization, None)
                if !self.visit.request.contains(&AUTHORIZATION) =>
            {
                self.again(sender, record).await
            }
            Arrival::Handed(reason, exchange) => self.pass(reason, exchange, sender, record).await,
            Arrival::Failed(failure) => self.failed(failure, stale, sender, record).await,
        }
    }

    /// Looks anew, because the pull that was ridden brought nothing for this
    /// request; in the end it asks for itself.
    async fn again(&self, sender: &mut Sender<'_>, record: &mut Record) -> Result<(), Cut> {
        if self.looks == MAX_LOOKS {
            return self.pass(Bypass::Vary, None, sender, record).await;
        }
        let query = Query::of(self.visit);
        let server = Server {
            visit: self.visit,
            query: &query,
            looks: self.looks + 1,
        };
        let found = query.find();
        Box::pin(server.serve(found, sender, record)).await
    }

    /// Answers a pull that failed before its first byte.
    async fn failed(
        &self,
        failure: Failure,
        stale: Option<Arc<Object>>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        record.reason = Some(failure.name());
        let now = self.visit.node.clock.monotonic();
        let usable = stale.filter(|object| object.freshness.covers_errors(now));
        let Some(object) = usable else {
            record.cache = CacheStatus::Miss;
            let stamp = self.visit.stamp(CacheStatus::Miss, None, Detail::None);
            return self
                .short(respond::failed(failure, &stamp), sender, record)
                .await;
        };
        let hit = Hit {
            object,
            status: CacheStatus::Stale,
            failure: Some(failure),
        };
        let detail = self.visit.hit_detail(&hit);
        self.object(&hit.object, hit.status, detail, sender, record)
            .await
    }

    /// Sends a whole object, or what the request wants of it.
    async fn object(
        &self,
        object: &Object,
        status: CacheStatus,
        detail: Detail<'_>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        record.cache = status;
        record.fingerprint = Some(object.fingerprint.clone());
        let age = object.freshness.age(self.visit.node.clock.monotonic());
        let stamp = self.visit.stamp(status, Some(age), detail);
        if object.is_negative() && object.body.is_empty() {
            return self
                .short(respond::missing(object.status, &stamp), sender, record)
                .await;
        }
        let length = object.body.len();
        let wanted = wanted(self.visit.request, object);
        if let Answer::Parts(parts) = wanted {
            return Box::pin(self.parts(object, &parts, &stamp, sender, record)).await;
        }
        let Some((code, range)) = piece(&wanted, object) else {
            return self
                .short(respond::unsatisfiable(length, &stamp), sender, record)
                .await;
        };
        let head = finish_head(object.head.clone(), code, &stamp, Some((&range, length)));
        record.status = code;
        sender.head(head, true).await?;
        if self.visit.request.is_head() || range.is_empty() {
            return Ok(sender.end().await?);
        }
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
        object: &Object,
        parts: &[Range<u64>],
        stamp: &Stamp<'_>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let kind = object.head.headers.get(CONTENT_TYPE);
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
        sender.head(head, true).await?;
        if self.visit.request.is_head() {
            return Ok(sender.end().await?);
        }
        for part in parts {
            let opening = framing.opening(part);
            sender.body(Bytes::from(opening), false).await?;
            for bytes in object.body.slices(part.clone()) {
                sender.body(bytes, false).await?;
            }
        }
        Ok(sender.body(Bytes::from(framing.closing()), true).await?)
    }

    /// Sends a body while it arrives.
    async fn stream(
        &self,
        live: &Arc<LiveHead>,
        mut rider: Rider,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let status = if live.replaced {
            CacheStatus::Expired
        } else {
            CacheStatus::Miss
        };
        record.cache = status;
        record.fingerprint = Some(live.fingerprint.clone());
        let detail = Detail::forward(status, rider.starter, None);
        let stamp = self.visit.stamp(status, Some(live.age_on_arrival), detail);
        let wanted = match live.length {
            Some(length) => answer(self.visit.request, &live.validators, length),
            None if is_not_modified(self.visit.request, &live.validators) => Answer::NotModified,
            None => Answer::Whole,
        };
        let (code, range) = match (wanted, live.length) {
            // Several parts of a body that still arrives: the whole serves as well.
            (Answer::Whole | Answer::Parts(_), length) => (200, 0..length.unwrap_or(u64::MAX)),
            (Answer::NotModified, _) => (304, 0..0),
            (Answer::Part(range), _) => (206, range),
            (Answer::Unsatisfiable, length) => {
                return self
                    .short(
                        respond::unsatisfiable(length.unwrap_or_default(), &stamp),
                        sender,
                        record,
                    )
                    .await;
            }
        };
        let sized = live.length.map(|length| (&range, length));
        let head = finish_head(live.head.clone(), code, &stamp, sized);
        record.status = code;
        sender
            .head(head, live.length.is_some() || code == 304)
            .await?;
        let mut at = range.start;
        while at < range.end {
            let next = sender.waiting(rider.next(at, range.end)).await?;
            let Some(bytes) = next.map_err(Cut::Pull)? else {
                break;
            };
            at += bytes.len() as u64;
            sender.body(bytes, at == range.end).await?;
        }
        if at < range.end || range.is_empty() {
            sender.end().await?;
        }
        Ok(())
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

impl<'a> Visit<'a> {
    pub fn stamp(
        &self,
        cache: CacheStatus,
        age: Option<Duration>,
        detail: Detail<'a>,
    ) -> Stamp<'a> {
        Stamp {
            zone: Some(self.admitted.zone),
            cache,
            request_id: self.request_id,
            country: self.visitor.country,
            age,
            detail,
        }
    }

    /// What Cache-Status says of a hit: what is left of its lifetime.
    pub fn hit_detail<'h>(&self, hit: &'h Hit) -> Detail<'h> {
        let freshness = &hit.object.freshness;
        let age = freshness.age(self.request.entry.came).as_secs();
        let fresh = freshness.lifetime.fresh.as_secs();
        let ttl = i64::try_from(fresh).unwrap_or(i64::MAX) - i64::try_from(age).unwrap_or(i64::MAX);
        Detail::hit(ttl, &hit.object.fingerprint, hit.status, hit.failure)
    }
}

/// How a request is answered with a stored object.
pub fn wanted(request: &Request<'_>, object: &Object) -> Answer {
    match object.status {
        200 => answer(request, &object.validators, object.body.len()),
        _ => Answer::Whole,
    }
}

/// Status and bytes of an answer that is one piece of a stored object.
pub fn piece(wanted: &Answer, object: &Object) -> Option<(u16, Range<u64>)> {
    match wanted {
        Answer::Whole => Some((object.status, 0..object.body.len())),
        Answer::NotModified => Some((304, 0..0)),
        Answer::Part(range) => Some((206, range.clone())),
        Answer::Parts(_) | Answer::Unsatisfiable => None,
    }
}

/// Sends a response whose body is a line of text.
pub async fn send_short(
    response: Response,
    head_only: bool,
    sender: &mut Sender<'_>,
) -> Result<(), Cut> {
    sender.head(response.head, true).await?;
    if head_only || response.body.is_empty() {
        return Ok(sender.end().await?);
    }
    Ok(sender.body(Bytes::from(response.body), true).await?)
}

/// Adds what depends on this response: status, length, range, stamp.
fn finish_head(
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
