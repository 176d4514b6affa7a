//! The road of a request: verify, lookup, pull, serve, account.
//!
//! Start here. [`Edge::request_filter`] is the road; each step is the file of
//! its name. Requests that the cache does not answer (unsafe methods of zones
//! that take them) go through Pingora's proxy, in `through`.

mod account;
mod conditional;
mod headers;
mod lookup;
mod pacing;
mod pass;
mod range;
mod respond;
mod sender;
mod serve;
mod through;
pub mod verify;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use async_trait::async_trait;
use http::header::CONTENT_LENGTH;
use pingora::http::{Method, RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::cache::lifetime::Bypass;
use crate::clock::Clock;
use crate::config::Listen;
use crate::origin::Origin;
use crate::pull::Pulls;
use crate::telemetry::CacheStatus;
use crate::telemetry::access_log::Log;
use crate::telemetry::metrics::Metrics;
use crate::zone::{Countries, Zones};
use account::{Record, account};
use headers::Stamp;
use lookup::Query;
use pacing::Pace;
use sender::Sender;
use serve::{Cut, Server, send_short};
use verify::{Admitted, Refused, Visitor};

/// What all requests share.
pub struct Node {
    pub clock: Clock,
    pub listen: Listen,
    pub zones: Zones,
    /// By zone id.
    pub origins: HashMap<u32, Arc<Origin>>,
    pub pulls: Arc<Pulls>,
    pub metrics: Arc<Metrics>,
    pub log: Log,
    pub countries: Option<Countries>,
    /// Requests on their road.
    pub active: Arc<AtomicUsize>,
}

impl Node {
    pub fn active_requests(&self) -> usize {
        self.active.load(Relaxed)
    }
}

/// Counts a request for as long as it is on its road, however it ends.
struct Active(Arc<AtomicUsize>);

impl Active {
    fn new(node: &Node) -> Self {
        node.active.fetch_add(1, Relaxed);
        Self(Arc::clone(&node.active))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The edge as Pingora sees it.
pub struct Edge {
    node: Arc<Node>,
}

/// One request on its road.
pub struct Context {
    came: Instant,
    request_id: String,
    visitor: Option<Visitor>,
    record: Record,
    /// Set where the request goes through to the origin.
    through: Option<through::Through>,
    active: Option<Active>,
}

impl Edge {
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    async fn road(
        &self,
        session: &mut Session,
        request: &RequestHeader,
        visitor: &Visitor,
        context: &mut Context,
    ) -> Step {
        let admitted = match visitor.admit(&self.node, request) {
            Ok(admitted) => admitted,
            Err(refused) => {
                return self
                    .refuse(session, request, visitor, refused, context)
                    .await;
            }
        };
        context.record.token = admitted.token.clone();
        if admitted.preflight {
            return self
                .preflight(session, request, visitor, &admitted, context)
                .await;
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            context.through = Some(through::Through::new(&admitted));
            return Step::Through;
        }
        let https = session
            .digest()
            .is_some_and(|digest| digest.ssl_digest.is_some());
        let query = Query::of(
            &self.node,
            visitor,
            &admitted,
            request,
            &context.request_id,
            https,
        );
        context.record.kind = query.kind;
        let found = query.find(&self.node, &admitted, request);
        let pace = Pace::new(admitted.limit, self.node.listen.min_send_rate as u64);
        let mut sender = Sender::new(
            session.as_downstream_mut(),
            &self.node.clock,
            pace,
            context.came,
        );
        let server = Server {
            node: &self.node,
            visitor,
            admitted: &admitted,
            query: &query,
            request,
            request_id: &context.request_id,
        };
        let served = server.serve(found, &mut sender, &mut context.record).await;
        context.sent(&sender);
        served.into()
    }

    async fn refuse(
        &self,
        session: &mut Session,
        request: &RequestHeader,
        visitor: &Visitor,
        refused: Refused,
        context: &mut Context,
    ) -> Step {
        context.record.reason = Some(refused.name());
        context.record.refused = true;
        let told = visitor
            .zone
            .as_ref()
            .is_some_and(|zone| zone.explains_to(visitor.client_ip));
        let tell = told.then(|| match refused {
            Refused::Token(refusal) => format!("{}: {}", refused.name(), refusal.detail()),
            _ => refused.name().to_owned(),
        });
        let response = respond::refused(refused, &context.stamp(visitor), tell.as_deref());
        self.short(session, request, response, context).await
    }

    async fn preflight(
        &self,
        session: &mut Session,
        request: &RequestHeader,
        visitor: &Visitor,
        admitted: &Admitted<'_>,
        context: &mut Context,
    ) -> Step {
        let response = respond::preflight(admitted.zone.cache.methods, &context.stamp(visitor));
        self.short(session, request, response, context).await
    }

    async fn short(
        &self,
        session: &mut Session,
        request: &RequestHeader,
        response: respond::Response,
        context: &mut Context,
    ) -> Step {
        context.record.status = response.head.status.as_u16();
        let pace = Pace::new(None, self.node.listen.min_send_rate as u64);
        let mut sender = Sender::new(
            session.as_downstream_mut(),
            &self.node.clock,
            pace,
            context.came,
        );
        let sent = send_short(response, request.method == Method::HEAD, &mut sender).await;
        context.sent(&sender);
        sent.into()
    }
}

/// What happens next to a request.
enum Step {
    Done,
    /// Through Pingora's proxy.
    Through,
    Cut(Cut),
}

impl From<Result<(), Cut>> for Step {
    fn from(result: Result<(), Cut>) -> Self {
        result.map_or_else(Step::Cut, |()| Step::Done)
    }
}

impl Context {
    fn stamp<'a>(&'a self, visitor: &'a Visitor) -> Stamp<'a> {
        Stamp {
            zone: visitor.zone.as_deref(),
            cache: CacheStatus::None,
            request_id: &self.request_id,
            country: visitor.country,
            age: None,
            detail: String::new(),
        }
    }

    fn sent(&mut self, sender: &Sender<'_>) {
        self.record.bytes = sender.sent();
        self.record.first_byte = sender.first_byte();
    }
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            came: self.node.clock.monotonic(),
            request_id: format!("{:032x}", rand::random::<u128>()),
            visitor: None,
            record: Record::default(),
            through: None,
            active: None,
        }
    }

    /// No modules: nothing is compressed here, and each costs every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        context.came = self.node.clock.monotonic();
        context.active = Some(Active::new(&self.node));
        // Pingora makes keepalive endless on each HTTP/1.1 request.
        session.set_keepalive(Some(self.node.listen.keepalive.as_secs()));
        let request = session.req_header().clone();
        let reads = request.method == Method::GET || request.method == Method::HEAD;
        if reads && has_body(&request) {
            // Nothing reads such a body: the connection ends with the answer.
            session.set_keepalive(None);
        }
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .map(|address| address.ip());
        let wire = session
            .as_http1()
            .map(|http1| http1.get_headers_raw_bytes());
        let visitor = Visitor::of(
            &self.node,
            &request,
            wire.as_deref(),
            peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        );
        let step = self.road(session, &request, &visitor, context).await;
        context.visitor = Some(visitor);
        match step {
            Step::Done => Ok(true),
            Step::Through => Ok(false),
            Step::Cut(cut) => {
                context.record.reason = Some(cut.name());
                session.set_keepalive(None);
                session.as_downstream_mut().shutdown().await;
                Error::e_explain(ErrorType::ConnectionClosed, cut.name())
            }
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        context: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        through::peer(context.through.as_ref(), &self.node.clock).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let visitor = context.visitor.as_ref();
        through::rewrite(
            context.through.as_ref(),
            visitor,
            &context.request_id,
            session,
            upstream,
        )
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let status = response.status.as_u16();
        context.record.status = status;
        context.record.cache = CacheStatus::Bypass;
        context.record.bypass = Some(Bypass::Method);
        context.record.reason = Some(Bypass::Method.name());
        if let Some(visitor) = &context.visitor {
            let stamp = Stamp {
                cache: CacheStatus::Bypass,
                detail: "fwd=method".into(),
                ..context.stamp(visitor)
            };
            through::dress(response, status, &stamp);
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        // What was cut is over; only a request that went through is answered.
        if context.through.is_some() && session.response_written().is_none() {
            let failure = through::failure(error);
            context.record.reason = Some(failure.name());
            if let Some(visitor) = &context.visitor {
                let stamp = Stamp {
                    cache: CacheStatus::Bypass,
                    ..context.stamp(visitor)
                };
                let response = respond::failed(failure, &stamp);
                context.record.status = failure.status();
                let body = bytes::Bytes::from(response.body);
                let _ = session
                    .as_downstream_mut()
                    .write_error_response(response.head, body)
                    .await;
            }
        }
        FailToProxy {
            error_code: context.record.status,
            can_reuse_downstream: false,
        }
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        // The access log has the reason of every request.
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, context: &mut Context) {
        if context.through.is_some() {
            context.record.bytes = session.body_bytes_sent() as u64;
        }
        if let Some(visitor) = &context.visitor {
            account(
                &self.node,
                visitor,
                session.req_header(),
                &context.request_id,
                &context.record,
                context.came,
            );
        }
    }
}

fn has_body(request: &RequestHeader) -> bool {
    let length = request
        .headers
        .get(CONTENT_LENGTH)
        .is_some_and(|value| value != "0");
    length
        || request
            .headers
            .contains_key(http::header::TRANSFER_ENCODING)
}
