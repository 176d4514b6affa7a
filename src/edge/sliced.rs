//! A range of what is too large to be kept whole, put together from slices: the
//! same bytes are one pull, whoever wants them and however the ranges lie.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use pingora::http::ResponseHeader;
use tokio::time::{sleep, timeout};

use super::account::Record;
use super::conditional::{Answer, answer};
use super::headers::Detail;
use super::lookup::{Found, Hit};
use super::respond;
use super::sender::Sender;
use super::serve::{Cut, Server, finish_head};
use super::verify::Refused;
use super::waits::Source;
use crate::cache::budget::CHUNK_BYTES;
use crate::cache::lifetime::Bypass;
use crate::cache::object::Object;
use crate::cache::slices::Part;
use crate::origin::{Failure, Validators};
use crate::pull::{Arrival, LiveHead, Rider};
use crate::telemetry::CacheStatus;

/// Slices of one answer that are asked for once more, and when.
const MOST_AGAIN: u32 = 3;
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A slice, in memory or on its way there.
enum Piece {
    Kept(Hit),
    Coming(Arc<LiveHead>, Box<Rider>),
}

/// Why there is no such slice.
enum Without {
    /// The origin has none: each viewer asks for what he wants.
    Slices,
    /// There is another answer.
    Other(Box<Hit>),
    Refused(Refused),
    Failed(Failure),
}

impl Piece {
    /// `None`: an answer that is no slice.
    fn kept(
        object: Arc<Object>,
        status: CacheStatus,
        failure: Option<Failure>,
    ) -> Result<Self, Without> {
        let is_slice = object.part.is_some();
        let hit = Hit {
            object,
            status,
            failure,
        };
        match is_slice {
            true => Ok(Self::Kept(hit)),
            false => Err(Without::Other(Box::new(hit))),
        }
    }

    fn head(&self) -> &ResponseHeader {
        match self {
            Self::Kept(hit) => &hit.object.head,
            Self::Coming(live, _) => &live.head,
        }
    }

    fn validators(&self) -> &Validators {
        match self {
            Self::Kept(hit) => &hit.object.validators,
            Self::Coming(live, _) => &live.validators,
        }
    }

    fn part(&self) -> Option<&Part> {
        match self {
            Self::Kept(hit) => hit.object.part.as_ref(),
            Self::Coming(live, _) => live.part.as_ref(),
        }
    }

    fn source(&self) -> Source {
        match self {
            Self::Kept(hit) => Source::Object(Arc::clone(&hit.object)),
            Self::Coming(_, rider) => Source::Ride(Arc::new(rider.pins())),
        }
    }

    /// The next bytes of this range of its own.
    async fn next(&mut self, range: Range<u64>) -> Result<Bytes, Failure> {
        let next = match self {
            Self::Kept(hit) => hit.object.body.slices(range).next(),
            Self::Coming(_, rider) => rider.next(range.start, range.end).await?,
        };
        next.ok_or(Failure::Truncated)
    }
}

impl Server<'_> {
    /// Answers a range that begins at this byte.
    pub(super) async fn sliced(
        &self,
        first: u64,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let patience = self.query.patience();
        let found = sender.waiting(self.piece(first, patience)).await?;
        let piece = match found {
            Ok(piece) => piece,
            Err(Without::Slices) => return self.unsliced(sender, record).await,
            Err(Without::Refused(refused)) => return self.refuse(refused, sender, record).await,
            Err(Without::Failed(failure)) => {
                return self.failed(failure, None, sender, record).await;
            }
            Err(Without::Other(hit)) => {
                let detail = self.visit.hit_detail(&hit);
                return self
                    .object(&hit.object, hit.status, detail, sender, record)
                    .await;
            }
        };
        let Some(part) = piece.part().cloned() else {
            return self.unsliced(sender, record).await;
        };
        match answer(self.visit.request, piece.validators(), part.whole) {
            Answer::Part(range) if part.range.contains(&range.start) => {
                self.pieces(piece, range, part.whole, sender, record).await
            }
            Answer::NotModified => {
                let head = self.head_of(&piece, 304, None, record);
                Ok(sender.head_alone(head).await?)
            }
            Answer::Unsatisfiable => {
                let stamp = self.visit.stamp(CacheStatus::Hit, None, Detail::None);
                self.short(
                    respond::unsatisfiable(Some(part.whole), &stamp),
                    sender,
                    record,
                )
                .await
            }
            // If-Range does not hold, or it is another range by now.
            Answer::Part(_) | Answer::Parts(_) | Answer::Whole => {
                self.unsliced(sender, record).await
            }
        }
    }

    async fn unsliced(&self, sender: &mut Sender<'_>, record: &mut Record) -> Result<(), Cut> {
        Box::pin(self.pass(Bypass::TooLarge, None, None, sender, record)).await
    }

    /// The slice that a byte lies in.
    async fn piece(&self, byte: u64, patience: Duration) -> Result<Piece, Without> {
        match self.query.slice(byte).find() {
            Found::Hit(hit) => Piece::kept(hit.object, hit.status, hit.failure),
            Found::Failed { failure, stale } => self.stale_piece(failure, stale),
            Found::Refused(refused) => Err(Without::Refused(refused)),
            Found::Pass { .. } | Found::Sliced(_) => Err(Without::Slices),
            Found::Riding { mut rider, stale } => {
                let arrival = timeout(patience, self.arrival(&mut rider)).await;
                match arrival.unwrap_or(Arrival::Failed(Failure::AnswerTimeout)) {
                    Arrival::Streaming(live) => Ok(Piece::Coming(live, Box::new(rider))),
                    Arrival::Landed(landing) => {
                        let status = match landing.revalidated {
                            true => CacheStatus::Revalidated,
                            false => CacheStatus::Miss,
                        };
                        Piece::kept(landing.object, status, None)
                    }
                    Arrival::Parted | Arrival::Handed(..) => Err(Without::Slices),
                    Arrival::Failed(failure) => self.stale_piece(failure, stale),
                }
            }
        }
    }

    fn stale_piece(&self, failure: Failure, stale: Option<Arc<Object>>) -> Result<Piece, Without> {
        let object = self
            .covering(failure, stale)
            .ok_or(Without::Failed(failure))?;
        Piece::kept(object, CacheStatus::Stale, Some(failure))
    }

    fn head_of(
        &self,
        piece: &Piece,
        code: u16,
        sized: Option<(&Range<u64>, u64)>,
        record: &mut Record,
    ) -> ResponseHeader {
        record.status = code;
        let now = self.visit.node.clock.monotonic();
        let (status, age, detail) = match piece {
            Piece::Kept(hit) => {
                record.reason = hit.failure.map(Failure::name);
                record.fingerprint = Some(Arc::clone(&hit.object.fingerprint));
                let detail = match hit.status {
                    CacheStatus::Miss | CacheStatus::Revalidated => {
                        Detail::forward(hit.status, true, None)
                    }
                    _ => self.visit.hit_detail(hit),
                };
                (hit.status, hit.object.freshness.age(now), detail)
            }
            Piece::Coming(live, rider) => {
                record.fingerprint = Some(Arc::clone(&live.fingerprint));
                let status = CacheStatus::Miss;
                (
                    status,
                    live.age_on_arrival,
                    Detail::forward(status, rider.starter, None),
                )
            }
        };
        record.cache = status;
        let stamp = self.visit.stamp(status, Some(age), detail);
        let mut head = finish_head(piece.head().clone(), code, &stamp, sized);
        if code == 304 {
            head.remove_header(&CONTENT_TYPE);
        }
        head
    }

    /// Sends a range, slice by slice. One that fails on its way is asked for once
    /// more: those of one state are the same bytes.
    async fn pieces(
        &self,
        mut piece: Piece,
        range: Range<u64>,
        whole: u64,
        sender: &mut Sender<'_>,
        record: &mut Record,
    ) -> Result<(), Cut> {
        let head = self.head_of(&piece, 206, Some((&range, whole)), record);
        let validators = piece.validators().clone();
        sender.reads(piece.source());
        sender.head(head, true).await?;
        let patience = self.visit.admitted.origin.settings().deadlines.answer;
        let (mut at, mut again) = (range.start, 0);
        loop {
            let is_same = *piece.validators() == validators;
            let part = piece.part().filter(|part| is_same && part.whole == whole);
            let here = part
                .map(|part| part.range.clone())
                .filter(|here| here.contains(&at));
            // Of another state by now.
            let here = here.ok_or(Cut::Pull(Failure::UnexpectedRange))?;
            let end = range.end.min(here.end);
            let mut failed = None;
            while at < end && failed.is_none() {
                let next = piece.next(at - here.start..end - here.start);
                match sender.waiting(next).await? {
                    Ok(bytes) => {
                        let left = end - at;
                        if end < range.end && left <= CHUNK_BYTES as u64 {
                            // The next is on its way meanwhile; nobody has to ride it.
                            drop(self.query.slice(end).find());
                        }
                        at += bytes.len() as u64;
                        sender.body(bytes, at == range.end).await?;
                    }
                    Err(failure) => failed = Some(failure),
                }
            }
            if at == range.end {
                return Ok(());
            }
            piece = loop {
                if let Some(failure) = failed.take() {
                    again += 1;
                    if again > MOST_AGAIN || !failure.heals() {
                        return Err(Cut::Pull(failure));
                    }
                    sender.waiting(sleep(AGAIN_AFTER)).await?;
                }
                match sender.waiting(self.piece(at, patience)).await? {
                    Ok(piece) => break piece,
                    Err(Without::Failed(failure)) => failed = Some(failure),
                    Err(Without::Refused(_)) => failed = Some(Failure::QueueTimeout),
                    Err(Without::Slices | Without::Other(_)) => {
                        return Err(Cut::Pull(Failure::UnexpectedRange));
                    }
                }
            };
            sender.reads(piece.source());
        }
    }
}
