//! A zone's origin: which endpoint is asked, how often, and how its answer's
//! status is read.

use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::endpoints::{EndpointState, Endpoints, Target};
use super::exchange::Exchange;
use super::s3_error::Reason;
use super::sigv4::Signer;
use super::{Endpoint, Failure, Head, Kind, Method, Request, Settings};
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
    pub(super) endpoints: Endpoints,
    connector: TransportConnector,
    signer: Option<Signer>,
    places: Arc<Semaphore>,
    pub(super) clock: Clock,
}

/// The answer's head, with what an error body names as its reason.
type Answered = Result<(Exchange, Option<Reason>), Failure>;

/// Whether a request is tried once more, and where.
enum Again {
    No,
    /// At another endpoint only.
    Elsewhere,
    Anywhere,
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
            endpoints: Endpoints::new(&settings.endpoints, settings.health.is_on()),
            connector: TransportConnector::new(Some(options)),
            signer,
            places: Arc::new(Semaphore::new(settings.max_pulls)),
            settings,
            clock,
        }
    }

    /// Goes on counting where this origin had other settings.
    pub fn go_on_from(&self, before: &Self) {
        self.endpoints.go_on_from(&before.endpoints);
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether all of `max_pulls` are taken: others may wait for a place.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// How each of the endpoints does, in their order.
    pub fn endpoint_states(&self) -> Vec<EndpointState> {
        self.endpoints.states()
    }

    /// Where a request goes that is carried by the proxy, with the Host that it
    /// goes with and the number to report the endpoint by.
    pub async fn peer_of_proxy(&self) -> Result<(HttpPeer, String, usize), Failure> {
        let deadlines = &self.settings.deadlines;
        let now = self.clock.monotonic();
        let index = self
            .endpoints
            .choose(None, now)
            .ok_or(Failure::CircuitOpen)?;
        let wait = deadlines.connect;
        let target = self
            .endpoints
            .target(index, false, wait, &self.clock)
            .await?;
        let mut peer = self.peer(&target);
        peer.options.read_timeout = Some(deadlines.between_bytes);
        peer.options.write_timeout = Some(deadlines.between_bytes);
        Ok((peer, self.settings.host(target.endpoint), index))
    }

    /// What became of a request that the proxy carried to an endpoint: the
    /// answer's status, or why there was none.
    pub fn report(&self, index: usize, answered: Result<u16, Failure>) {
        match answered {
            Ok(status) if !is_trouble(status) => self.endpoints.succeeded(index),
            Ok(_) => self.fail(index, Failure::ServerError),
            Err(failure) => self.fail(index, failure),
        }
    }

    fn fail(&self, index: usize, failure: Failure) {
        self.endpoints
            .failed(index, failure, self.clock.monotonic());
    }

    /// Sends a request and reads the answer's head. What the zone reads as
    /// missing comes back as 404; refused credentials are a failure.
    pub async fn open(self: &Arc<Self>, request: &Request) -> Result<Exchange, Failure> {
        let place = self.place().await?;
        self.open_at(place, request).await
    }

    /// A place among `max_pulls`.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let waiting = Arc::clone(&self.places).acquire_owned();
        let place = timeout(self.settings.deadlines.queue, waiting).await;
        place.ok().and_then(Result::ok).ok_or(Failure::QueueTimeout)
    }

    /// [`Self::open`], with a place.
    pub async fn open_at(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        request: &Request,
    ) -> Result<Exchange, Failure> {
        let (mut exchange, reason) = self.try_twice(request).await?;
        exchange.hold(place);
        exchange.head.status = self.read_status(&exchange.head, reason)?;
        Ok(exchange)
    }

    async fn try_twice(self: &Arc<Self>, request: &Request) -> Answered {
        let (mut tried, mut again) = (None, Again::Anywhere);
        let mut answered = Err(Failure::CircuitOpen);
        for _ in 0..MAX_TRIES {
            let Some(index) = self.endpoints.choose(tried, self.clock.monotonic()) else {
                break;
            };
            let same = tried == Some(index);
            match again {
                Again::No => break,
                Again::Elsewhere if same => break,
                Again::Elsewhere | Again::Anywhere => {}
            }
            let began = self.clock.monotonic();
            answered = self.try_once(request, index, same).await;
            // What is held back for a playlist tells nothing of the endpoint.
            if answered.is_ok() && request.hold.is_none() {
                let waited = self.clock.monotonic().saturating_duration_since(began);
                self.endpoints.waited(index, waited);
            }
            self.note_health(index, request, &answered);
            again = self.again(&answered);
            tried = Some(index);
        }
        answered
    }

    /// Whether, and where, a request is tried once more. A clock that differs
    /// is learned for it.
    fn again(&self, answered: &Answered) -> Again {
        match answered {
            Err(failure) if failure.may_retry() => Again::Anywhere,
            Err(_) => Again::No,
            Ok((exchange, Some(Reason::Skewed))) => {
                match self.endpoints.learn_skew(&exchange.head, &self.clock) {
                    true => Again::Anywhere,
                    false => Again::No,
                }
            }
            Ok((exchange, _)) if is_trouble(exchange.head.status) => Again::Elsewhere,
            Ok(_) => Again::No,
        }
    }

    /// What an answer, or none, says of the endpoint.
    fn note_health(&self, index: usize, request: &Request, answered: &Answered) {
        match answered {
            // Who holds an answer back for a playlist that does not come is
            // not in trouble; and what is no HTTP is one object's trouble.
            Err(Failure::FirstByteTimeout) if request.hold.is_some() => {}
            Err(Failure::BadResponse) => {}
            Err(failure) => self.fail(index, *failure),
            Ok((exchange, _)) => self.report(index, Ok(exchange.head.status)),
        }
    }

    /// The status to go on with: 404 for whatever the zone reads as missing.
    fn read_status(&self, head: &Head, reason: Option<Reason>) -> Result<u16, Failure> {
        if matches!(reason, Some(Reason::Credential | Reason::Skewed)) {
            return Err(Failure::Credential);
        }
        let is_s3 = self.settings.is_s3();
        match head.status {
            status if self.settings.missing_as.contains(&status) => Ok(404),
            401 | 403 if is_s3 => Err(Failure::Denied),
            status => Ok(status),
        }
    }

    async fn try_once(self: &Arc<Self>, request: &Request, index: usize, same: bool) -> Answered {
        let deadlines = &self.settings.deadlines;
        let (wait, clock) = (deadlines.connect, &self.clock);
        let target = self.endpoints.target(index, same, wait, clock).await?;
        let now = self.endpoints.server_time(clock.wall());
        let wire = request.to_wire(&self.settings, target.endpoint, self.signer.as_ref(), now);
        let patience = request.hold.unwrap_or_default().max(deadlines.first_byte);
        let asked = self.ask(&target, &wire, request.method, patience, !same);
        let mut exchange = asked.await?;
        let reason = exchange.error_reason(self.signer.is_some()).await;
        Ok((exchange, reason))
    }

    /// Sends bytes, over a kept connection too where `kept_too` says so, and
    /// reads the head of what comes back.
    pub(super) async fn ask(
        self: &Arc<Self>,
        target: &Target<'_>,
        wire: &[u8],
        method: Method,
        patience: Duration,
        mut kept_too: bool,
    ) -> Result<Exchange, Failure> {
        let peer = self.peer(target);
        loop {
            let (stream, reused) = self.connect(&peer, kept_too).await?;
            let mut exchange = Exchange::new(Arc::clone(self), peer.clone(), stream);
            let answered = exchange.send(wire, method == Method::Head);
            match timeout(patience, answered).await {
                Ok(Ok(())) => return Ok(exchange),
                // A kept connection that the origin has closed meanwhile is no
                // sign of trouble: a fresh one does not count as another try.
                // Not another kept one: it may be this request that ends them.
                Ok(Err(Failure::Reset)) if reused => kept_too = false,
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Err(Failure::FirstByteTimeout),
            }
        }
    }

    fn peer(&self, target: &Target<'_>) -> HttpPeer {
        let Endpoint { tls, host, .. } = target.endpoint;
        let mut peer = HttpPeer::new(target.address, *tls, host.clone());
        peer.options.connection_timeout = Some(self.settings.deadlines.connect);
        peer.options.total_connection_timeout = Some(self.settings.deadlines.connect);
        peer
    }

    /// Keeps a connection for later requests to the same peer.
    pub(super) fn release(&self, stream: Stream, peer: &HttpPeer) {
        self.connector
            .release_stream(stream, peer.reuse_hash(), Some(POOL_IDLE));
    }

    /// A connection, and whether it is a kept one.
    async fn connect(&self, peer: &HttpPeer, kept_too: bool) -> Result<(Stream, bool), Failure> {
        let connected = match kept_too {
            true => self.connector.get_stream(peer).await,
            false => self.connector.new_stream(peer).await.map(|it| (it, false)),
        };
        connected.map_err(|error| connect_failure(&error))
    }
}

/// A status that tells of the server and not of the object.
const fn is_trouble(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

fn connect_failure(error: &Error) -> Failure {
    tracing::debug!(%error, "cannot connect to the origin");
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Failure::ConnectTimeout,
        _ => Failure::ConnectFailed,
    }
}
