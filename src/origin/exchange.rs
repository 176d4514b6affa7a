//! One request to the origin and the reading of its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::endpoints::Endpoints;
use super::response::{Chunked, MAX_HEAD_BYTES};
use super::s3_error::{MAX_ERROR_BYTES, Reason};
use super::sigv4::Signer;
use super::{Failure, Framing, Head, Kind, Method, Request, Settings};
use crate::clock::Clock;

/// Tries for one request, all before the first byte of an answer.
const MAX_TRIES: usize = 2;
/// Idle connections kept to one origin.
const POOL_SIZE: usize = 128;
/// Idle connections are closed after this; MinIO and S3 keep theirs longer.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// A zone's origin: its endpoints, its connections and its signer.
pub struct Origin {
    settings: Settings,
    endpoints: Endpoints,
    connector: TransportConnector,
    signer: Option<Signer>,
    places: Arc<Semaphore>,
    clock: Clock,
}

impl Origin {
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = settings.ca_file.clone();
        let signer = match &settings.kind {
            Kind::S3 {
                credentials: Some(credentials),
                region,
                ..
            } => Some(Signer::new(credentials.clone(), region.clone())),
            _ => None,
        };
        Self {
            endpoints: Endpoints::new(&settings.endpoints),
            connector: TransportConnector::new(Some(options)),
            signer,
            places: Arc::new(Semaphore::new(settings.max_pulls)),
            settings,
            clock,
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where a request goes that is carried by the proxy.
    pub async fn first_peer(&self, clock: &Clock) -> Result<HttpPeer, Failure> {
        let deadlines = &self.settings.deadlines;
        let (endpoint, address) = self.endpoints.pick(0, deadlines.connect, clock).await?;
        let mut peer = self.peer(endpoint.tls, address, &endpoint.host);
        peer.options.read_timeout = Some(deadlines.between_bytes);
        peer.options.write_timeout = Some(deadlines.between_bytes);
        Ok(peer)
    }

    /// The Host of requests to this origin.
    pub fn host(&self) -> String {
        match (&self.settings.kind, self.settings.endpoints.first()) {
            (Kind::Http { host: Some(host) }, _) => host.clone(),
            (_, Some(endpoint)) => endpoint.authority(),
            (_, None) => String::new(),
        }
    }

    /// Sends a request and reads the answer's head. What the zone reads as
    /// missing comes back as 404; what no viewer may see is a failure.
    pub async fn open(self: &Arc<Self>, request: &Request) -> Result<Exchange, Failure> {
        let waiting = Arc::clone(&self.places).acquire_owned();
        let place = timeout(self.settings.deadlines.queue, waiting).await;
        let place = place
            .ok()
            .and_then(Result::ok)
            .ok_or(Failure::QueueTimeout)?;
        let mut try_number = 1;
        loop {
            let result = self.try_once(request, try_number - 1).await;
            let again = match &result {
                Err((failure, _)) if try_number < MAX_TRIES => failure.may_retry(),
                Ok((exchange, reason)) if try_number < MAX_TRIES => {
                    *reason == Some(Reason::Skewed)
                        && self.endpoints.learn_skew(&exchange.head, &self.clock)
                }
                _ => false,
            };
            if again {
                try_number += 1;
                continue;
            }
            let (mut exchange, reason) = result.map_err(|(failure, _)| failure)?;
            exchange.place = Some(place);
            exchange.head.status = self.read_status(&exchange.head, reason)?;
            return Ok(exchange);
        }
    }

    /// The status to go on with: 404 for whatever the zone reads as missing.
    fn read_status(&self, head: &Head, reason: Option<Reason>) -> Result<u16, Failure> {
        if matches!(reason, Some(Reason::Credential | Reason::Skewed)) {
            return Err(Failure::Credential);
        }
        let is_s3 = self.settings.is_s3();
        match head.status {
            500.. => Err(Failure::ServerError),
            status if self.settings.missing_as.contains(&status) => Ok(404),
            401 | 403 if is_s3 => Err(Failure::Denied),
            status => Ok(status),
        }
    }

    async fn try_once(
        self: &Arc<Self>,
        request: &Request,
        index: usize,
    ) -> Result<(Exchange, Option<Reason>), (Failure, usize)> {
        let fail = |failure| (failure, index);
        let deadlines = &self.settings.deadlines;
        let (endpoint, address) = self
            .endpoints
            .pick(index, deadlines.connect, &self.clock)
            .await
            .map_err(fail)?;
        let peer = self.peer(endpoint.tls, address, &endpoint.host);
        let now = self.endpoints.server_time(self.clock.wall());
        let wire = request.to_wire(&self.settings, endpoint, self.signer.as_ref(), now);
        let mut exchange = loop {
            let (stream, reused) = self.connect(&peer).await.map_err(fail)?;
            let mut exchange = Exchange::new(Arc::clone(self), peer.clone(), stream);
            let answered = exchange.send(&wire, request.method == Method::Head);
            let patience = request.hold.unwrap_or_default().max(deadlines.first_byte);
            match timeout(patience, answered).await {
                Ok(Ok(())) => break exchange,
                // A kept connection that the origin has closed meanwhile is no
                // sign of trouble: a fresh one does not count as another try.
                Ok(Err(Failure::Reset)) if reused => {}
                Ok(Err(failure)) => return Err(fail(failure)),
                Err(_) => return Err(fail(Failure::FirstByteTimeout)),
            }
        };
        let reason = exchange.error_reason(self.signer.is_some()).await;
        Ok((exchange, reason))
    }

    fn peer(&self, tls: bool, address: std::net::SocketAddr, host: &str) -> HttpPeer {
        let mut peer = HttpPeer::new(address, tls, host.to_owned());
        peer.options.connection_timeout = Some(self.settings.deadlines.connect);
        peer.options.total_connection_timeout = Some(self.settings.deadlines.connect);
        peer
    }

    async fn connect(&self, peer: &HttpPeer) -> Result<(Stream, bool), Failure> {
        self.connector
            .get_stream(peer)
            .await
            .map_err(|error| connect_failure(&error))
    }
}

fn connect_failure(error: &Error) -> Failure {
    tracing::debug!(%error, "cannot connect to the origin");
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Failure::ConnectTimeout,
        _ => Failure::ConnectFailed,
    }
}

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
    place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Length(u64),
    Chunked(Chunked),
    Close,
    Done,
}

impl Exchange {
    fn new(origin: Arc<Origin>, peer: HttpPeer, stream: Stream) -> Self {
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
            place: None,
        }
    }

    async fn send(&mut self, wire: &[u8], to_head_request: bool) -> Result<(), Failure> {
        let stream = self.stream.as_mut().ok_or(Failure::Reset)?;
        stream.write_all(wire).await.map_err(|_| Failure::Reset)?;
        stream.flush().await.map_err(|_| Failure::Reset)?;
        loop {
            let count = stream
                .read_buf(&mut self.ahead)
                .await
                .map_err(|_| Failure::Reset)?;
            if count == 0 {
                return Err(if self.ahead.is_empty() {
                    Failure::Reset
                } else {
                    Failure::BadResponse
                });
            }
            if let Some((head, length)) = Head::parse(&self.ahead, to_head_request)? {
                self.ahead.advance(length);
                self.body = match head.framing {
                    Framing::Length(0) => BodyState::Done,
                    Framing::Length(length) => BodyState::Length(length),
                    Framing::Chunked => BodyState::Chunked(Chunked::Size),
                    Framing::Close => BodyState::Close,
                };
                self.head = head;
                return Ok(());
            }
            if self.ahead.len() > MAX_HEAD_BYTES {
                return Err(Failure::BadResponse);
            }
        }
    }

    /// Reads an S3 error body for its reason; `None` for other answers.
    async fn error_reason(&mut self, signed: bool) -> Option<Reason> {
        if !signed || !matches!(self.head.status, 400 | 401 | 403) {
            return None;
        }
        let body = self.drain().await;
        Some(Reason::of(&body))
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

    /// Reads the next part of the body into `buffer` (not empty); 0 at its end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let wait = self.origin.settings.deadlines.between_bytes;
        timeout(wait, self.read_now(buffer))
            .await
            .unwrap_or(Err(Failure::BetweenBytesTimeout))
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
        match stream.read_buf(&mut self.ahead).now_or_never() {
            None => Ok(()),
            Some(Ok(1..)) => Err(Failure::Overlong),
            Some(_) => {
                self.head.keep_alive = false;
                Ok(())
            }
        }
    }
}

impl Drop for Exchange {
    /// A connection whose answer was read to its end goes back to the pool.
    fn drop(&mut self) {
        let reusable =
            self.body == BodyState::Done && self.head.keep_alive && self.ahead.is_empty();
        if !reusable || self.head.status == 0 {
            return;
        }
        if let Some(stream) = self.stream.take() {
            self.origin
                .connector
                .release_stream(stream, self.peer.reuse_hash(), Some(POOL_IDLE));
        }
    }
}
