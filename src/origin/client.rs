//! A zone's origin: its endpoints, its connections, and what it counts.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer};
use pingora::{Error, ErrorType, ImmutStr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::complaints::Complaints;
use super::endpoints::{EndpointState, Endpoints, Target};
use super::exchange::Exchange;
use super::failure::Trouble;
use super::health::Ask;
use super::interim::Interims;
use super::keep::Resting;
use super::probe::probe;
use super::reason::Reasons;
use super::sigv4::Signer;
use super::{Endpoint, Failure, Kind, Method, Settings};
use crate::cause::root_cause;
use crate::clock::Clock;
use crate::per_address::{Guest, PerAddress};

/// Idle connections kept to one origin.
const POOL_SIZE: usize = 128;
/// Idle connections are closed after this; MinIO and S3 keep theirs longer.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Of the system's words for a failed connection, in characters: a log line's part.
const MAX_CAUSE: usize = 300;
/// For the breaker, all requests with unsafe methods are one key: what they
/// change tells nothing of the endpoint.
const UNSAFE: u64 = 0;

/// A zone's origin: its endpoints, its connections and its signer.
pub struct Origin {
    pub(super) zone: String,
    pub(super) settings: Settings,
    pub(super) endpoints: Endpoints,
    connector: TransportConnector,
    pub(super) signer: Option<Signer>,
    pub(super) places: Arc<Semaphore>,
    /// Of these, those that answers may have which are not stored: they go at
    /// their viewers' pace.
    passes: Arc<Semaphore>,
    /// Of these, those of one viewer's address: half.
    per_address: Arc<PerAddress>,
    /// Connections that rest before they are used again.
    pub(super) resting: Resting,
    pub(super) reasons: Reasons,
    pub(super) complaints: Complaints,
    failures: [Failed; Failure::ALL.len()],
    /// When the origin has said that it wants to be asked again, and how long
    /// that was away then.
    asked_to_wait: Mutex<Option<(Instant, Duration)>>,
    pub(super) clock: Clock,
}

/// How often something failed in one way, and when last, in Unix seconds.
#[derive(Default)]
struct Failed {
    times: AtomicU64,
    last: AtomicU64,
}

impl Origin {
    /// `zone`: as logs name it.
    pub fn new(zone: &str, settings: Settings, clock: Clock) -> Self {
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
            zone: zone.to_owned(),
            endpoints: Endpoints::new(zone, &settings.endpoints, settings.health.is_on()),
            connector: TransportConnector::new(Some(options)),
            signer,
            places: Arc::new(Semaphore::new(settings.max_pulls)),
            passes: Arc::new(Semaphore::new(most_passes(settings.max_pulls))),
            per_address: PerAddress::new(settings.max_pulls.div_ceil(2)),
            resting: Resting::default(),
            reasons: Reasons::default(),
            complaints: Complaints::default(),
            asked_to_wait: Mutex::default(),
            failures: std::array::from_fn(|_| Failed::default()),
            settings,
            clock,
        }
    }

    /// Goes on counting where this origin had other settings.
    pub fn go_on_from(&self, before: &Self) {
        self.endpoints.go_on_from(&before.endpoints);
        for (ours, theirs) in self.failures.iter().zip(&before.failures) {
            ours.times.store(theirs.times.load(Relaxed), Relaxed);
            ours.last.store(theirs.last.load(Relaxed), Relaxed);
        }
    }

    /// Counts what a pull, or a viewer who waited for one, has come to.
    pub fn count(&self, failure: Failure) {
        if let Some(index) = Failure::ALL.iter().position(|other| *other == failure) {
            let failed = &self.failures[index];
            failed.times.fetch_add(1, Relaxed);
            failed.last.store(self.clock.unix_seconds(), Relaxed);
        }
    }

    pub(super) fn note_retry_after(&self, wait: Duration) {
        let until = self.clock.monotonic() + wait;
        let mut asked = self
            .asked_to_wait
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *asked = Some((until, wait));
    }

    /// How long a viewer should wait before he asks again after a failure: what
    /// the origin has said, while that is not over.
    pub fn retry_after(&self, failure: Failure) -> Option<Duration> {
        let asked = self
            .asked_to_wait
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let says_so = matches!(failure, Failure::ServerError | Failure::Throttled);
        let (until, wait) = asked.filter(|_| says_so)?;
        (self.clock.monotonic() < until).then_some(wait)
    }

    /// What was counted, and when it was last, in Unix seconds.
    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64, u64)> + '_ {
        let all = Failure::ALL.into_iter().zip(&self.failures);
        all.map(|(failure, it)| (failure, it.times.load(Relaxed), it.last.load(Relaxed)))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether others may wait for a place: all of `max_pulls` are taken, or all
    /// that answers may have which are not stored.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0 || self.passes.available_permits() == 0
    }

    /// A viewer's place for one more request, held to its end: whatever he asks for,
    /// and whether he waits for it, others have half of `max_pulls`.
    pub fn guest(&self, address: IpAddr) -> Option<Guest> {
        self.per_address.enter(address)
    }

    /// Leave for an answer that is not stored, held to its end; such answers
    /// never have all of `max_pulls`, whoever reads them and how.
    pub async fn pass(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let waiting = Arc::clone(&self.passes).acquire_owned();
        match timeout(self.settings.deadlines.queue, waiting).await {
            Ok(Ok(pass)) => Ok(pass),
            Ok(Err(_)) | Err(_) => Err(Failure::QueueTimeout),
        }
    }

    /// The same, where there is one now.
    pub fn pass_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.passes).try_acquire_owned().ok()
    }

    /// How each of the endpoints does, in their order.
    pub fn endpoint_states(&self) -> Vec<EndpointState> {
        self.endpoints.states(self.clock.monotonic())
    }

    /// Where a request goes that is carried by the proxy, the endpoint and the
    /// number to report it by.
    pub async fn peer_of_proxy(&self) -> Result<(HttpPeer, &Endpoint, usize), Failure> {
        let deadlines = &self.settings.deadlines;
        let now = self.clock.monotonic();
        let ask = Ask {
            key: UNSAFE,
            covered: false,
            tried: None,
        };
        let index = self.endpoints.choose(ask, now)?;
        let wait = deadlines.connect;
        let target = self.endpoints.target(index, false, wait, &self.clock);
        let target = target.await.map_err(|trouble| trouble.failure)?;
        let mut peer = self.peer(&target);
        peer.options.read_timeout = Some(deadlines.between_bytes);
        peer.options.write_timeout = Some(deadlines.between_bytes);
        // What the origin switched to would be nobody's to verify or to end. What
        // Connection lists is the edge's to drop: Pingora gives up a request that
        // lists Host, which looks like the origin's failure.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy {
            strip_connection_nominated: false,
            ..HttpUpstreamRequestPolicy::deny_upgrades()
        };
        Ok((peer, target.endpoint, index))
    }

    /// What became of a request that the proxy carried to an endpoint: the
    /// answer's status, or why there was none.
    pub fn report(self: &Arc<Self>, index: usize, answered: Result<u16, Failure>) {
        self.note(index, Some(UNSAFE), answered);
    }

    /// What an answer to a key, or none, says of the endpoint.
    pub(super) fn note(
        self: &Arc<Self>,
        index: usize,
        key: Option<u64>,
        answered: Result<u16, Failure>,
    ) {
        match answered {
            Ok(status) if is_trouble(status) => self.fail(index, key, Failure::ServerError),
            Ok(_) => self.endpoints.answered(index),
            Err(failure) => self.fail(index, key, failure),
        }
    }

    /// What became of a body says something of the endpoint too.
    pub(super) fn note_body(&self, index: usize, key: u64, came: Result<(), Failure>) {
        let now = self.clock.monotonic();
        self.endpoints.body(index, key, came, now);
    }

    pub(super) fn fail(self: &Arc<Self>, index: usize, key: Option<u64>, failure: Failure) {
        let now = self.clock.monotonic();
        if self.endpoints.failed(index, key, failure, now) {
            probe(self, index);
        }
    }

    /// A place among `max_pulls`, waited for no longer than `queue_timeout`, and
    /// held to the end of the answer.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let waiting = Arc::clone(&self.places).acquire_owned();
        match timeout(self.settings.deadlines.queue, waiting).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Failure::QueueTimeout),
        }
    }

    /// Whether an endpoint takes a connection now.
    pub(super) async fn takes_connections(&self, index: usize) -> bool {
        let wait = self.settings.deadlines.connect;
        match self.endpoints.target(index, false, wait, &self.clock).await {
            Ok(target) => self.connector.new_stream(&self.peer(&target)).await.is_ok(),
            Err(_) => false,
        }
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
        interims: Option<&Interims>,
    ) -> Result<Exchange, Trouble> {
        let peer = self.peer(target);
        loop {
            let (stream, reused) = self.connect(&peer, kept_too).await?;
            let told = interims.cloned();
            let mut exchange = Exchange::new(Arc::clone(self), peer.clone(), stream, told);
            let answered = exchange.send(wire, method == Method::Head);
            match timeout(patience, answered).await {
                Ok(Ok(())) => return Ok(exchange),
                // A kept connection that the origin has closed meanwhile is no
                // sign of trouble: a fresh one does not count as another try.
                // Not another kept one: it may be this request that ends them. What is
                // no answer may be the rest of the one before.
                Ok(Err(Failure::Reset | Failure::BadResponse)) if reused => kept_too = false,
                Ok(Err(failure)) => return Err(failure.into()),
                Err(_) => return Err(Failure::FirstByteTimeout.into()),
            }
        }
    }

    fn peer(&self, target: &Target<'_>) -> HttpPeer {
        let Endpoint { tls, host, .. } = target.endpoint;
        // A redirect may lead elsewhere, to a name of its own.
        let named = self.settings.tls_name.as_ref();
        let mut own = self.settings.endpoints.iter();
        let name = named.filter(|_| own.any(|own| own.is_same_host(target.endpoint)));
        let mut peer = HttpPeer::new(target.address, *tls, name.unwrap_or(host).clone());
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
    async fn connect(&self, peer: &HttpPeer, kept_too: bool) -> Result<(Stream, bool), Trouble> {
        // Boxed: who waits for an answer need not carry what a handshake does.
        let connected = Box::pin(async {
            if kept_too && let Some(kept) = self.connector.reused_stream(peer).await {
                return Ok((kept, true));
            }
            self.resting.make_room();
            self.connector.new_stream(peer).await.map(|it| (it, false))
        });
        let connected = connected.await;
        connected.map_err(|error| unconnected(&error))
    }
}

/// A status that tells of the server and not of the object.
pub(super) const fn is_trouble(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// Why there is no connection, in our names and in the system's words.
pub fn unconnected(error: &Error) -> Trouble {
    let text = in_words(error);
    let words: Vec<&str> = text.split_whitespace().collect();
    let cause: String = words.join(" ").chars().take(MAX_CAUSE).collect();
    let failure = match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Failure::ConnectTimeout,
        ErrorType::ConnectRefused => Failure::ConnectRefused,
        ErrorType::InvalidCert => Failure::Certificate,
        // The TLS library says so in its text alone.
        _ if cause.contains("invalid peer certificate") => Failure::Certificate,
        _ => Failure::ConnectFailed,
    };
    Trouble {
        failure,
        cause: Some(cause),
    }
}
/// What the system or the TLS library says, of all that the connector says around
/// it: the error that it began with, else what is said of a failed handshake.
fn in_words(error: &Error) -> String {
    let root = error.root_cause();
    if root.is::<io::Error>() || root.source().is_some() {
        return root_cause(root);
    }
    let inmost = root.downcast_ref::<Error>().unwrap_or(error);
    let said = inmost.context.as_ref().map(ImmutStr::as_str);
    let said = said.unwrap_or(inmost.etype().as_str());
    let inner = said
        .rsplit_once(" cause: ")
        .map_or(said, |(_, inner)| inner);
    let words = inner
        .split_once(", SNI: ")
        .map_or(inner, |(words, _)| words);
    words.to_owned()
}

/// Three quarters of the places; at least one.
const fn most_passes(max_pulls: usize) -> usize {
    match max_pulls - max_pulls / 4 {
        most if max_pulls > 1 && most == max_pulls => max_pulls - 1,
        most => most,
    }
}
