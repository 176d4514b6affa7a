//! A range of what is too large to be kept whole, put together from slices: the
//! same bytes are one pull, whoever wants them and however the ranges lie.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_RANGE;
use pingora::http::ResponseHeader;
use tokio::time::{sleep, timeout};

use super::conditional::answer;
use super::headers::Detail;
use super::lookup::{Found, Hit};
use super::pass::PASS_BUFFER_BYTES;
use super::range::Answer;
use super::record::Record;
use super::refused::Refused;
use super::respond;
use super::sender::Sender;
use super::serve::{Cut, Server, finish_head};
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
                let detail = hit.detail(self.visit.request.entry.came);
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
                    _ => hit.detail(self.visit.request.entry.came),
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
        finish_head(piece.head().clone(), code, &stamp, sized)
    }

    /// Sends a range, slice by slice. One that fails on its way is asked for once
    /// more, for those of one state are the same bytes; where there are no more
    /// slices, for want of memory or of a place, the rest passes.
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
            let is_same = piece.validators().state() == validators.state();
            let part = piece.part().filter(|part| is_same && part.whole == whole);
            let here = part.map(|part| part.range.clone());
            // Of another state by now.
            let here = here.filter(|here| here.contains(&at));
            let here = here.ok_or(Cut::Pull(Failure::UnexpectedRange))?;
            let mut failed = self
                .piece_of(&mut piece, &here, &mut at, range.end, sender)
                .await?;
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
                    Err(Without::Other(_)) => return Err(Cut::Pull(Failure::UnexpectedRange)),
                    Err(Without::Slices | Without::Refused(_)) => {
                        let rest = Rest {
                            range: at..range.end,
                            whole,
                            validators,
                        };
                        return Box::pin(self.rest(rest, sender)).await;
                    }
                }
            };
            sender.reads(piece.source());
        }
    }

    /// Sends what of a slice, which lies `here`, belongs to a range up to `end`;
    /// tells what has failed.
    async fn piece_of(
        &self,
        piece: &mut Piece,
        here: &Range<u64>,
        at: &mut u64,
        end: u64,
        sender: &mut Sender<'_>,
    ) -> Result<Option<Failure>, Cut> {
        let last = end;
        let end = last.min(here.end);
        while *at < end {
            let next = piece.next(*at - here.start..end - here.start);
            let bytes = match sender.waiting(next).await? {
                Ok(bytes) => bytes,
                Err(failure) => return Ok(Some(failure)),
            };
            if end < last && end - *at <= CHUNK_BYTES as u64 {
                // The next is on its way meanwhile; nobody has to ride it.
                drop(self.query.slice(end).find());
            }
            *at += bytes.len() as u64;
            sender.body(bytes, *at == last).await?;
        }
        Ok(None)
    }

    /// Sends the rest of a range straight from the origin, where it is of the same
    /// state.
    async fn rest(&self, rest: Rest, sender: &mut Sender<'_>) -> Result<(), Cut> {
        let origin = &self.visit.admitted.origin;
        let Range { start, end } = rest.range;
        let mut request = self.query.request();
        request.range = Some(format!("bytes={start}-{}", end - 1));
        request.if_range = rest.validators.state().map(str::to_owned);
        let opened = async {
            let leave = origin.pass().await?;
            Ok((leave, origin.open(&request).await?))
        };
        let (_leave, mut exchange) = sender.waiting(opened).await?.map_err(Cut::Pull)?;
        let told = format!("bytes {start}-{}/{}", end - 1, rest.whole);
        let now = self.visit.node.clock.wall();
        let validators = Validators::of(&exchange.head.headers, now);
        let is_it = exchange.head.status == 206
            && exchange.head.text(CONTENT_RANGE) == Some(told.as_str())
            && exchange.head.length() == Some(end - start)
            && validators.state() == rest.validators.state();
        if !is_it {
            return Err(Cut::Pull(Failure::UnexpectedRange));
        }
        sender.reads(Source::Own);
        let (mut at, mut buffer) = (start, BytesMut::new());
        while at < end {
            buffer.resize(PASS_BUFFER_BYTES, 0);
            let read = sender.waiting(exchange.read(&mut buffer)).await?;
            let count = read.map_err(Cut::Pull)?;
            if count == 0 {
                return Err(Cut::Pull(Failure::Truncated));
            }
            buffer.truncate(count);
            at += count as u64;
            let bytes = buffer.split().freeze();
            self.pass_on(bytes, at == end, sender).await?;
        }
        Ok(())
    }
}

/// What of a range is still to be sent, and of which state.
struct Rest {
    range: Range<u64>,
    whole: u64,
    validators: Validators,
}
