//! One request to the origin and the reading of its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::unconstrained;
use tokio::time::timeout;

use super::client::Origin;
use super::interim::{Interim, Interims};
use super::keep::{Keep, rest};
use super::response::{Chunked, MAX_HEAD_BYTES};
use super::s3_error::MAX_ERROR_BYTES;
use super::{Failure, Framing, Head, Request, entity_tag};

/// An answer whose head is read and whose body is being read.
pub struct Exchange {
    pub head: Head,
    origin: Arc<Origin>,
    peer: HttpPeer,
    /// `None` once it has gone back to the pool.
    stream: Option<Stream>,
    /// What was read beyond the head, or beyond a chunk's framing.
    ahead: BytesMut,
    body: BodyState,
    keep: Keep,
    place: Option<OwnedSemaphorePermit>,
    /// The endpoint and the key of a body of which nothing is told yet.
    of: Option<(usize, u64)>,
    /// The endpoint that answered.
    index: Option<usize>,
    /// Who is told of interim answers.
    interims: Option<Interims>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Length(u64),
    Chunked(Chunked),
    Close,
    Done,
}

impl Exchange {
    pub(super) fn new(
        origin: Arc<Origin>,
        peer: HttpPeer,
        stream: Stream,
        interims: Option<Interims>,
    ) -> Self {
        let head = Head {
            status: 0,
            headers: http::HeaderMap::new(),
            framing: Framing::Close,
            keep_alive: false,
        };
        Self {
            head,
            origin,
            peer,
            stream: Some(stream),
            ahead: BytesMut::new(),
            body: BodyState::Close,
            keep: Keep::Now,
            place: None,
            of: None,
            index: None,
            interims,
        }
    }

    /// The endpoint that answered, where it was one of the zone's.
    pub(super) const fn index(&self) -> Option<usize> {
        self.index
    }

    /// Comes from this endpoint, for this key.
    pub(super) fn comes_from(&mut self, index: usize, key: u64) {
        self.index = Some(index);
        let has_body = matches!(self.head.status, 200 | 206);
        self.of = Some((index, key)).filter(|_| has_body && self.body != BodyState::Done);
    }

    /// Asks again for what `rest` is of this answer, which was cut, and first
    /// at another endpoint than has cut it; the place among `max_pulls` is given
    /// up, because the rest needs it.
    pub async fn ask_again(&mut self, rest: &Request) -> Result<Exchange, Failure> {
        self.stream = None;
        self.place = None;
        let answer = self.origin.open_elsewhere(rest, self.index).await;
        let other = self.origin.endpoints.len() > 1;
        match answer {
            // Another endpoint may know other entity-tags, or nothing of it.
            Ok(answer) if other && answer.index != self.index && !self.is_of_the_same(&answer) => {
                drop(answer);
                self.origin.open(rest).await
            }
            Err(why) if other && !why.heals() => self.origin.open(rest).await,
            answer => answer,
        }
    }

    fn is_of_the_same(&self, part: &Exchange) -> bool {
        part.head.status == 206 && entity_tag(&part.head.headers) == entity_tag(&self.head.headers)
    }

    /// The body goes on with that of another answer.
    pub fn go_on_with(&mut self, rest: Exchange) {
        let keep_alive = rest.head.keep_alive;
        let head = Head {
            keep_alive,
            ..self.head.clone()
        };
        *self = rest;
        self.head = head;
    }

    /// How long a byte is waited for.
    pub fn patience(&self) -> Duration {
        self.origin.settings().deadlines.between_bytes
    }

    /// Holds a place among `max_pulls` to its end.
    pub(super) fn hold(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    pub(super) async fn send(&mut self, wire: &[u8], to_head_request: bool) -> Result<(), Failure> {
        let stream = self.stream.as_mut().ok_or(Failure::Reset)?;
        stream.write_all(wire).await.map_err(|_| Failure::Reset)?;
        stream.flush().await.map_err(|_| Failure::Reset)?;
        let mut told = 0;
        loop {
            let count = stream
                .read_buf(&mut self.ahead)
                .await
                .map_err(|_| Failure::Reset)?;
            // Half a head is no answer: what cut it may not cut the next one.
            if count == 0 {
                return Err(Failure::Reset);
            }
            let interims = self.interims.as_ref();
            let tell = |head: Head, end: usize| {
                // An unasked 100 says nothing to a viewer.
                if let Some(interims) = interims.filter(|_| end > told && head.status > 100) {
                    interims.tell(Interim {
                        status: head.status,
                        headers: head.headers,
                    });
                }
                told = told.max(end);
            };
            if let Some((head, length)) = Head::parse_telling(&self.ahead, to_head_request, tell)? {
                self.ahead.advance(length);
                self.body = match head.framing {
                    Framing::Length(0) => BodyState::Done,
                    Framing::Length(length) => BodyState::Length(length),
                    Framing::Chunked => BodyState::Chunked(Chunked::Size),
                    Framing::Close => BodyState::Close,
                };
                self.keep = Keep::of(head.framing, to_head_request);
                self.head = head;
                return Ok(());
            }
            if self.ahead.len() > MAX_HEAD_BYTES {
                return Err(Failure::BadResponse);
            }
        }
    }

    /// Reads what is left of a short body, so that the connection can be used
    /// again; of a longer one only the beginning.
    pub async fn drain(&mut self) -> Vec<u8> {
        let mut body = vec![0; MAX_ERROR_BYTES];
        let mut filled = 0;
        while filled < body.len() && self.body != BodyState::Done {
            match self.read(&mut body[filled..]).await {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        body.truncate(filled);
        body
    }

    /// Whether the body has come to its end.
    pub fn is_done(&self) -> bool {
        self.body == BodyState::Done
    }

    /// Reads the next part of the body into `buffer` (not empty); 0 at its end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let read = timeout(self.patience(), self.read_now(buffer))
            .await
            .unwrap_or(Err(Failure::BetweenBytesTimeout));
        self.tell_of_the_body(read.map(drop));
        read
    }

    /// Tells once what became of the body. Where the connection ends it, nothing
    /// tells a whole one from a cut one.
    fn tell_of_the_body(&mut self, read: Result<(), Failure>) {
        let over = read.is_err() || self.body == BodyState::Done;
        let Some((index, key)) = self.of.filter(|_| over) else {
            return;
        };
        self.of = None;
        if read.is_err() || self.head.framing != Framing::Close {
            self.origin.note_body(index, key, read);
        }
    }

    async fn read_now(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        match self.body {
            BodyState::Done => Ok(0),
            BodyState::Close => match self.read_some(buffer).await {
                Ok(0) => {
                    self.body = BodyState::Done;
                    Ok(0)
                }
                other => other,
            },
            BodyState::Length(left) => {
                let count = self.read_at_most(buffer, left).await?;
                match left - count as u64 {
                    0 => self.end_of_length()?,
                    left => self.body = BodyState::Length(left),
                }
                Ok(count)
            }
            BodyState::Chunked(_) => self.read_chunked(buffer).await,
        }
    }

    async fn read_chunked(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            let BodyState::Chunked(mut state) = self.body else {
                return Ok(0);
            };
            let framing = state.advance(&self.ahead)?;
            self.ahead.advance(framing);
            self.body = BodyState::Chunked(state);
            match state {
                Chunked::Done => {
                    self.body = BodyState::Done;
                    return Ok(0);
                }
                Chunked::Data(left) if left > 0 => {
                    let count = self.read_at_most(buffer, left).await?;
                    state.consume(count as u64);
                    self.body = BodyState::Chunked(state);
                    return Ok(count);
                }
                _ => {
                    let stream = self.stream.as_mut().ok_or(Failure::Truncated)?;
                    if stream
                        .read_buf(&mut self.ahead)
                        .await
                        .map_err(|_| Failure::Truncated)?
                        == 0
                    {
                        return Err(Failure::Truncated);
                    }
                }
            }
        }
    }

    /// Reads at most `left` bytes, which are still owed: an end here is a cut.
    async fn read_at_most(&mut self, buffer: &mut [u8], left: u64) -> Result<usize, Failure> {
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        match self.read_some(&mut buffer[..most]).await? {
            0 => Err(Failure::Truncated),
            count => Ok(count),
        }
    }

    /// From what was read ahead, else straight from the socket: one copy.
    async fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        if self.ahead.is_empty() {
            let stream = self.stream.as_mut().ok_or(Failure::Truncated)?;
            return stream.read(buffer).await.map_err(|_| Failure::Truncated);
        }
        let count = buffer.len().min(self.ahead.len());
        self.ahead.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }

    /// More bytes behind the last one mean that the length is a lie.
    fn end_of_length(&mut self) -> Result<(), Failure> {
        self.body = BodyState::Done;
        if !self.ahead.is_empty() {
            return Err(Failure::Overlong);
        }
        let Some(stream) = self.stream.as_mut() else {
            return Ok(());
        };
        // Unconstrained: a task that has had its share is told "not yet" of bytes
        // that are there.
        let more = unconstrained(stream.read_buf(&mut self.ahead));
        match more.now_or_never() {
            None => Ok(()),
            Some(Ok(1..)) => Err(Failure::Overlong),
            Some(_) => {
                self.head.keep_alive = false;
                Ok(())
            }
        }
    }
}

impl Exchange {
    /// A connection whose answer was read to its end goes back to the pool.
    pub fn give_back(&mut self) {
        let reusable =
            self.body == BodyState::Done && self.head.keep_alive && self.ahead.is_empty();
        if !reusable || self.head.status == 0 {
            return;
        }
        let Some(stream) = self.stream.take() else {
            return;
        };
        match self.keep {
            Keep::Now => self.origin.release(stream, &self.peer),
            Keep::AfterRest => rest(&self.origin, stream, self.peer.clone()),
            Keep::Never => {}
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.give_back();
    }
}
