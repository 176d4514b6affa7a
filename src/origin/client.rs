//! A zone's origin: which endpoint is asked, how often, and how its answer's
//! status is read.

use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::endpoints::Endpoints;
use super::exchange::Exchange;
use super::s3_error::Reason;
use super::sigv4::Signer;
use super::{Failure, Head, Kind, Method, Request, Settings};
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
    /// missing comes back as 404; refused credentials are a failure.
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
            exchange.hold(place);
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

    /// Keeps a connection for later requests to the same peer.
    pub(super) fn release(&self, stream: Stream, peer: &HttpPeer) {
        self.connector
            .release_stream(stream, peer.reuse_hash(), Some(POOL_IDLE));
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
