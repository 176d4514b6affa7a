//! Answers that are not stored: asked of the origin for one viewer alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, LAST_MODIFIED, RANGE};

use tokio::time::{sleep, timeout};

use super::headers::{self, Detail};
use super::range::is_one;
use super::record::Record;
use super::refused::Refused;
use super::respond;
use super::sender::Sender;
use super::serve::{Cut, Server};
use super::visit::Visit;
use super::waits::Lost;
use crate::cache::coding::{Coding, coding};
use crate::cache::head::insert;
use crate::cache::ignore::forget;
use crate::cache::lifetime::{Bypass, Lifetime};
use crate::cache::object::Object;
use crate::hls::Kind;
use crate::origin::{
    Exchange, Failure, Method as OriginMethod, Request as OriginRequest, entity_tag,
};
use crate::pull::{Good, Reading, Steady, viewer_head};
use crate::standing::Needed;
use crate::telemetry::CacheStatus;
use crate::zone::CachePolicy;

/// Memory of one passing response, besides the socket's own.
pub(super) const PASS_BUFFER_BYTES: usize = 64 << 10;
/// The first is small: there are viewers who never take it.
const FIRST_PASS_BYTES: usize = 16 << 10;

impl Server<'_> {
    /// Asks the origin for this viewer alone, or takes over the open answer; where
    /// the origin fails, what is stale may serve.
    pub(super) async fn pass(
        &self,
        reason: Bypass,
        open: Option<Box<Exchange>>,
        stale: Option<Arc<Object>>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        record.reason = Some(reason.name());
        record.bypass = Some(reason);
        record.cache = if reason == Bypass::Head {
            CacheStatus::Miss
        } else {
            CacheStatus::Bypass
        };
        let _place = match self.query.place() {
            Ok(place) => place,
            Err(refused) => {
                let found = self.query.refused(refused, stale);
                return Box::pin(self.serve(found, sender, record)).await;
            }
        };
        let Visit { node, visitor, .. } = self.visit;
        let Some(_pass) = node.limits.pass(visitor.client_ip) else {
            return self.refuse(Refused::TooManyPasses, sender, record).await;
        };
        let (request, origin) = (self.request(), &self.visit.admitted.origin);
        // Held to the end of the answer. One that is open already is given up
        // where there is none for it: pulls for everybody keep their places.
        let open = open.filter(|_| request.range.is_none());
        let mut leave = open.as_ref().and_then(|_| origin.pass_now());
        let open = open.filter(|_| leave.is_some());
        let exchange = match open {
            Some(exchange) => Ok(*exchange),
            None => match self.query.recent_failure_of(&request) {
                Some(failure) => return self.failed(failure, stale, sender, record).await,
                None => {
                    let opened = async {
                        leave = Some(origin.pass().await?);
                        Box::pin(self.open(request.clone())).await
                    };
                    let patience = self.patience_beside(stale.as_deref());
                    let opened = timeout(patience, opened)
                        .map(|it| it.unwrap_or(Err(Failure::AnswerTimeout)));
                    let opened = timeout(self.query.patience(), opened);
                    let came = sender.telling(request.interims.clone(), opened).await?;
                    came.unwrap_or(Err(Failure::AnswerTimeout))
                }
            },
        };
        let now = node.clock.monotonic();
        let covered = stale
            .as_ref()
            .is_some_and(|it| it.freshness.covers_errors(now));
        let detail = Detail::forward(record.cache, true, Some(reason.name()));
        match exchange {
            Ok(exchange) if exchange.head.status >= 500 && covered => {
                drop(exchange);
                self.failed(Failure::ServerError, stale, sender, record)
                    .await
            }
            Ok(exchange) => Box::pin(self.exchange(exchange, detail, sender, record)).await,
            Err(failure) => {
                origin.count(failure);
                self.query.note_failure_of(&request, failure);
                if stale.is_some() {
                    return self.failed(failure, stale, sender, record).await;
                }
                record.reason = Some(failure.name());
                let stamp = self.visit.stamp(record.cache, None, detail);
                let wait = origin.retry_after(failure);
                let response = respond::failed_for(failure, wait, &stamp);
                self.short(response, sender, record).await
            }
        }
    }

    /// What is asked of the origin, with the one range that the viewer wants.
    fn request(&self) -> OriginRequest {
        let mut request = self.query.request();
        let range = self.visit.request.text(&RANGE);
        let range = range.filter(|range| request.method == OriginMethod::Get && is_one(range));
        if let Some(range) = range {
            request.range = Some(range.to_owned());
            let condition = self.visit.request.text(&IF_RANGE);
            request.if_range = condition.map(|text| text.trim().to_owned());
        }
        request
    }

    /// Asks the origin. A part of another object than the viewer has the
    /// beginning of is never sent: some object stores do not read If-Range.
    async fn open(&self, request: OriginRequest) -> Result<Exchange, Failure> {
        let origin = &self.visit.admitted.origin;
        let answer = origin.open(&request).await?;
        if request.method == OriginMethod::Head && matches!(answer.head.status, 405 | 501) {
            // It knows no HEAD; the head of a GET is the same (RFC 9110 §9.3.2).
            drop(answer);
            let get = OriginRequest {
                method: OriginMethod::Get,
                ..request
            };
            return origin.open(&get).await;
        }
        let holds = |condition: &String| {
            let tag = entity_tag(&answer.head.headers);
            let date = answer.head.text(LAST_MODIFIED);
            let (tagged, text) = (condition.starts_with('"'), Some(condition.as_str()));
            (tagged && tag == text) || date == text
        };
        if answer.head.status != 206 || request.if_range.as_ref().is_none_or(holds) {
            return Ok(answer);
        }
        drop(answer);
        let whole = OriginRequest {
            range: None,
            if_range: None,
            ..request
        };
        origin.open(&whole).await
    }

    /// Sends a part of it, unless its place is wanted meanwhile.
    pub(super) async fn pass_on(
        &self,
        bytes: Bytes,
        last: bool,
        sender: &mut Sender<'_>,
    ) -> Result<(), Cut> {
        let origin = &self.visit.admitted.origin;
        let patience = PLACE_PATIENCE + sender.least_time(bytes.len());
        let wanted = async {
            sleep(patience).await;
            while !origin.is_full() {
                sleep(PLACE_LOOKS).await;
            }
        };
        tokio::select! {
            biased;
            sent = sender.body(bytes, last) => Ok(sent?),
            () = wanted => {
                self.visit.node.pulls.standing.count(Needed::Pulls);
                Err(Lost::Ended(Needed::Pulls).into())
            }
        }
    }

    /// What the zone sets for media: viewers keep for no longer what passes, too.
    fn set_lifetime(&self) -> Option<Lifetime> {
        let (zone, target) = (self.visit.admitted.zone, &self.visit.admitted.target);
        let (set, of_path) = (&zone.cache.ttl, zone.ttl_of(target.path.as_str()));
        let fresh = match self.query.kind {
            Kind::Segment => of_path.or(set.segment),
            Kind::Init => of_path.or(set.init),
            _ => None,
        };
        fresh.map(Lifetime::only_fresh)
    }

    /// Sends an answer straight from the origin, one buffer at a time: the
    /// viewer's pace is the origin's.
    async fn exchange(
        &self,
        mut exchange: Exchange,
        detail: Detail<'_>,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let zone = self.visit.admitted.zone;
        let path = self.visit.admitted.target.path.as_str();
        forget(&mut exchange.head.headers, &zone.ignored_of(path));
        let hls = zone.cache.policy == CachePolicy::Hls;
        let status = exchange.head.status;
        let stamp = self.visit.stamp(record.cache, None, detail);
        let refused = match status {
            // Nothing is asked here that it could confirm.
            304 => Some(respond::failed(Failure::UnexpectedRange, &stamp)),
            300..=399 if hls => Some(respond::failed(Failure::Redirect, &stamp)),
            416 => Some(respond::unsatisfiable(
                length_of_unsatisfied(&exchange).or_else(|| self.query.known_length()),
                &stamp,
            )),
            500.. if zone.hides_errors() => Some(respond::failed(Failure::ServerError, &stamp)),
            400.. if zone.hides_errors() => Some(respond::missing(status, &stamp)),
            _ => None,
        };
        if let Some(response) = refused {
            // Its place is not the viewer's to keep.
            drop(exchange);
            return self.short(response, sender, record).await;
        }
        let now = self.visit.node.clock.wall();
        let mut head = viewer_head(
            zone,
            self.query.kind,
            &self.visit.admitted.target.path,
            &exchange.head,
            Good {
                lifetime: self.set_lifetime(),
                live_media: self.query.live_media(),
                ..Good::default()
            },
            now,
        );
        for name in [CONTENT_RANGE, http::header::SET_COOKIE] {
            for value in exchange.head.headers.get_all(&name) {
                let _ = head.append_header(name.clone(), value.clone());
            }
        }
        // Some servers send a part with 200; its Content-Range tells.
        let code = if head.headers.contains_key(CONTENT_RANGE) {
            206
        } else {
            status
        };
        let _ = head.set_status(code);
        let told = exchange.head.headers.get(CONTENT_LENGTH).cloned();
        let is_head = self.visit.request.is_head();
        let is_bodiless = matches!(code, 204 | 304);
        let told = told.filter(|_| !is_bodiless);
        let length = told.filter(|_| is_head || exchange.head.length().is_some());
        if let Some(length) = &length {
            insert(&mut head, CONTENT_LENGTH, length.clone());
        }
        headers::stamp(&mut head, code, &stamp);
        // What it tells of live media is known though it is not stored.
        let reads = hls && self.query.kind.is_list() && status == 200 && !is_head;
        let is_plain = coding(&exchange.head.headers) == Coding::Identity;
        let mut passing = (reads && is_plain).then(Reading::default);
        let mut buffer = BytesMut::new();
        let mut steady = Steady::new(&self.visit.node.pulls.counts);
        let mut begun = Some(head);
        loop {
            let most = match begun {
                Some(_) => FIRST_PASS_BYTES,
                None => PASS_BUFFER_BYTES,
            };
            buffer.resize(most, 0);
            let asked = || self.query.request();
            let read = steady.read(&mut exchange, &mut buffer, asked);
            let read = match begun {
                Some(_) => self.patiently(read, sender).await?,
                // The rest has deadlines of its own.
                None => sender.waiting(read).await?,
            };
            let count = match read {
                Ok(count) => count,
                // The head waits for the first bytes: there still is an answer.
                Err(failure) if begun.is_some() => {
                    drop(exchange);
                    record.reason = Some(failure.name());
                    let response = respond::failed(failure, &stamp);
                    return self.short(response, sender, record).await;
                }
                Err(failure) => return Err(Cut::Pull(failure)),
            };
            if let Some(head) = begun.take() {
                record.status = code;
                let has_length = length.is_some() || is_head || is_bodiless;
                sender.head(head, has_length).await?;
            }
            if count == 0 || is_head {
                if let Some(passing) = &passing {
                    self.query.passed(passing);
                }
                return Ok(sender.end().await?);
            }
            buffer.truncate(count);
            if let Some(passing) = &mut passing {
                passing.push(&buffer);
            }
            self.pass_on(buffer.split().freeze(), false, sender).await?;
        }
    }
}

/// How long the viewer of a passing answer may take nothing while others wait
/// for its place at the origin.
pub(super) const PLACE_PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether others do.
pub(super) const PLACE_LOOKS: Duration = Duration::from_millis(250);

/// The length that a 416 of the origin tells.
fn length_of_unsatisfied(exchange: &Exchange) -> Option<u64> {
    let range = exchange
        .head
        .text(CONTENT_RANGE)
        .and_then(|text| text.rsplit('/').next());
    range?.parse().ok()
}
