//! Requests with unsafe methods, in zones that take them: Pingora's proxy
//! carries them to the origin, signed by nobody and stored nowhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::SocketDigest;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio::sync::OwnedSemaphorePermit;

use super::forward::{is_of_an_edge, is_said_by};
use super::headers::{self, Stamp};
use super::invalidate::Changing;
use super::pacing::{Pace, SLICE_BYTES};
use super::referrer::through_without_tokens;
use super::respond::add_cors;
use super::shared::Node;
use super::trace::{TRACEPARENT, Told};
use super::verify::{CDN_LOOP_COUNT, Visitor};
use super::visit::Visit;
use super::waits::Lost;
use super::watch::{Turn, Watch};
use crate::cache::head::{CDN_PULL_ZONE, insert, is_cors, is_hop_by_hop, stays_here};
use crate::origin::{Failure, Origin, connection_says, unconnected};
use crate::per_address::Guest;
use crate::zone::{CachePolicy, Cors, Zone};

/// Where such a request goes, and as what.
pub struct Through {
    zone: Arc<Zone>,
    origin: Arc<Origin>,
    /// Of the endpoint that was chosen, and its number.
    host: String,
    base: String,
    endpoint: Option<usize>,
    path_and_query: String,
    loop_count: u32,
    changing: Option<Changing>,
    /// What the origin is told of the viewer's trace.
    trace: Told,
    /// The places among `max_pulls` and among those that pass, and when they are
    /// given up at the latest.
    place: Option<([OwnedSemaphorePermit; 2], Instant)>,
    /// As the token limits the answer: its pace, what has been sent of it, and
    /// since when.
    pace: Pace,
    bytes: u64,
    since: Option<Instant>,
    /// The viewer has sent all of it: from then on it is the origin's turn.
    is_sent: bool,
    /// Why there is no endpoint.
    failed: Option<Failure>,
    watch: Option<Arc<Watch>>,
    _guests: [Guest; 2],
}

impl Through {
    /// `guests`: the viewer's places among those of his address.
    pub fn new(visit: &Visit<'_>, guests: [Guest; 2]) -> Self {
        let admitted = visit.admitted;
        let path = admitted.zone.origin.path_of(&admitted.target.path);
        let query = admitted
            .target
            .query
            .filter(|_| !admitted.zone.strips_tokens);
        let path_and_query = match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        Self {
            zone: Arc::clone(admitted.zone),
            origin: Arc::clone(admitted.origin),
            host: String::new(),
            base: String::new(),
            endpoint: None,
            path_and_query,
            loop_count: admitted.granted.loop_count,
            changing: Changing::of(visit),
            trace: visit.told_trace(),
            place: None,
            pace: Pace::new(
                admitted.granted.limit,
                visit.node.listen.min_send_rate as u64,
            ),
            bytes: 0,
            since: None,
            is_sent: false,
            failed: None,
            watch: Watch::of_request(),
            _guests: guests,
        }
    }

    /// Waits for a place, from which on the request has `total_timeout`.
    async fn enter(&mut self, node: &Node, session: &Session) -> Result<(), Failure> {
        if self.place.is_none() {
            // It goes at its viewer's pace, as what passes does.
            let leave = self.origin.pass().await?;
            let place = self.origin.place().await?;
            let total = self.origin.settings().deadlines.total;
            self.place = Some(([leave, place], node.clock.monotonic() + total));
            if let Some(watch) = &self.watch {
                watch.begin(&self.origin, socket_of(session));
            }
        }
        Ok(())
    }

    /// Something has moved, either way: an error where it took too long.
    pub fn go_on(&mut self, node: &Node) -> Result<()> {
        let now = node.clock.monotonic();
        if self.place.as_ref().is_some_and(|(_, end)| now >= *end) {
            self.failed = Some(Failure::TotalTimeout);
            return Error::e_explain(ErrorType::ReadTimedout, Failure::TotalTimeout.name());
        }
        Ok(())
    }

    /// How long to wait behind so many more bytes of the answer.
    pub fn pause(&mut self, node: &Node, bytes: usize) -> Option<Duration> {
        let now = node.clock.monotonic();
        let since = *self.since.get_or_insert(now);
        self.bytes += bytes as u64;
        let pause = self
            .pace
            .pause(self.bytes, now.saturating_duration_since(since));
        if bytes > 0 {
            self.moved(Turn::Answer, bytes, pause);
        }
        Some(pause).filter(|pause| !pause.is_zero())
    }

    /// How long a write of the answer may stand still: a viewer who does not
    /// read keeps no place for longer.
    pub fn patience(&self) -> Duration {
        self.pace.patience(SLICE_BYTES)
    }

    /// So much of the viewer's body has come, and with it maybe the last.
    pub fn sent(&mut self, bytes: usize, ended: bool) {
        self.is_sent |= ended;
        self.moved(self.turn(), bytes, Duration::ZERO);
    }

    /// Bytes of the answer, and why the viewer was given up, where he was.
    pub fn lost(&self) -> Option<(u64, Lost)> {
        let lost = self.watch.as_ref()?.ended()?;
        Some((self.bytes, lost))
    }

    /// Whose turn it is before the answer.
    fn turn(&self) -> Turn {
        match self.is_sent {
            true => Turn::Origin,
            false => Turn::Upload,
        }
    }

    fn moved(&self, turn: Turn, bytes: usize, pause: Duration) {
        if let Some(watch) = &self.watch {
            watch.moved(turn, bytes, pause);
        }
    }

    /// The origin has answered: after success what is stored may be wrong.
    /// One that switches to another protocol is none: nobody asked for it.
    pub fn answered(&mut self, node: &Node, answer: &ResponseHeader) -> Result<()> {
        if let Some(index) = self.endpoint {
            self.origin.report(index, Ok(answer.status.as_u16()));
        }
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            self.failed = Some(Failure::BadResponse);
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "switched unasked");
        }
        if let Some(changing) = &self.changing
            && (200..400).contains(&answer.status.as_u16())
        {
            changing.done(node, &self.zone, &answer.headers);
        }
        Ok(())
    }
}

/// Waits for a place, and chooses the endpoint.
pub async fn peer(
    through: Option<&mut Through>,
    node: &Node,
    session: &Session,
) -> Result<Box<HttpPeer>> {
    let through = through.ok_or_else(|| Error::new(ErrorType::InternalError))?;
    let chosen = match through.enter(node, session).await {
        Ok(()) => through.origin.peer_of_proxy().await,
        Err(failure) => Err(failure),
    };
    match chosen {
        Ok((peer, endpoint, index)) => {
            let settings = through.origin.settings();
            (through.host, through.base) = (settings.host(endpoint), endpoint.path.clone());
            through.endpoint = Some(index);
            Ok(Box::new(peer))
        }
        Err(failure) => {
            through.failed = Some(failure);
            Error::e_explain(ErrorType::ConnectError, failure.name())
        }
    }
}

pub fn rewrite(
    node: &Node,
    through: Option<&Through>,
    visitor: Option<&Visitor<'_>>,
    request_id: &str,
    session: &Session,
    upstream: &mut RequestHeader,
) -> Result<()> {
    let (Some(through), Some(visitor)) = (through, visitor) else {
        return Ok(());
    };
    // It is connected: from now on the viewer's body is read.
    through.moved(through.turn(), 0, Duration::ZERO);
    let target = format!("{}{}", through.base, through.path_and_query);
    upstream.set_raw_path(target.as_bytes())?;
    if through.zone.cache.policy == CachePolicy::Hls {
        upstream.remove_header(&AUTHORIZATION);
        upstream.remove_header(&COOKIE);
    }
    let came = &session.req_header().headers;
    let theirs: Vec<HeaderName> = upstream
        .headers
        .keys()
        .filter(|name| {
            is_of_an_edge(name)
                || is_said_by(&through.zone, name)
                || through.trace.drops(name)
                // RFC 9110 §7.6.1.
                || connection_says(came, name.as_str())
        })
        .cloned()
        .collect();
    for name in theirs {
        upstream.remove_header(&name);
    }
    through_without_tokens(node, &visitor.host, upstream)?;
    if let Some(span) = through.trace.ours() {
        upstream.insert_header(TRACEPARENT, span.to_string())?;
    }
    let settings = through.origin.settings();
    let told = settings.told_host(&visitor.host);
    let host = told.filter(|_| !settings.has_own_host());
    upstream.insert_header(HOST, host.unwrap_or(&through.host))?;
    if let Some(told) = told {
        upstream.insert_header("x-forwarded-host", told)?;
    }
    upstream.insert_header("x-forwarded-for", visitor.client_ip.to_string())?;
    upstream.insert_header(
        "x-forwarded-proto",
        if visitor.https { "https" } else { "http" },
    )?;
    upstream.insert_header("via", "1.1 warren")?;
    upstream.insert_header("cdn-requestid", request_id)?;
    upstream.insert_header("cdn-pullzoneid", through.zone.id.to_string())?;
    upstream.insert_header(CDN_LOOP_COUNT, (through.loop_count + 1).to_string())?;
    for (name, value) in &through.origin.settings().headers {
        upstream.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Gives an origin's answer the headers of every other response.
pub fn dress(response: &mut ResponseHeader, status: u16, stamp: &Stamp<'_>) {
    let names = response.headers.keys();
    let hops = names.filter(|name| {
        let hop = is_hop_by_hop(name) || connection_says(&response.headers, name.as_str());
        (hop || stays_here(name)) && **name != TRANSFER_ENCODING
    });
    for name in hops.cloned().collect::<Vec<_>>() {
        response.remove_header(&name);
    }
    if status == 204 {
        // RFC 9110 §8.6, RFC 9112 §6.1.
        response.remove_header(&CONTENT_LENGTH);
        response.remove_header(&TRANSFER_ENCODING);
    }
    if let Some(zone) = stamp.zone.filter(|zone| zone.cors != Cors::Origins) {
        let names = response.headers.keys().filter(|name| is_cors(name));
        for name in names.cloned().collect::<Vec<_>>() {
            response.remove_header(&name);
        }
        add_cors(response, &zone.cors);
    }
    insert(
        response,
        http::header::SERVER,
        HeaderValue::from_static("warren"),
    );
    if let Some(zone) = stamp.zone {
        insert(response, CDN_PULL_ZONE, HeaderValue::from(zone.id));
    }
    headers::stamp(response, status, stamp);
}

impl Through {
    /// What an error of Pingora's is in our names. An endpoint that gave no
    /// answer is reported; one that the viewer let wait is not.
    pub fn fail(&self, error: &Error) -> Failure {
        let failure = self.failed.unwrap_or_else(|| name_of(error));
        let of_endpoint = match failure {
            Failure::ConnectFailed | Failure::ConnectTimeout | Failure::Reset => true,
            Failure::FirstByteTimeout => self.is_sent,
            _ => false,
        };
        if let Some(index) = self.endpoint
            && of_endpoint
        {
            self.origin.report(index, Err(failure));
        }
        failure
    }
}

/// The viewer's socket; none where he shares it among streams of HTTP/2.
fn socket_of(session: &Session) -> Option<Arc<SocketDigest>> {
    session.as_http1()?.digest().socket_digest.clone()
}

fn name_of(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::InvalidCert
        | ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout => unconnected(error).failure,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::FirstByteTimeout,
        // Before an answer: what was cut behind its head is not asked about.
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError
            if *error.esource() != ErrorSource::Downstream =>
        {
            Failure::Reset
        }
        _ => Failure::BadResponse,
    }
}
