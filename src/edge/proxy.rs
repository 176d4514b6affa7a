//! The way from Pingora to the road: HTTP/2, and what the lane hands over.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::account::account;
use super::headers::{Detail, Stamp};
use super::record::Record;
use super::request::{Entry, Request};
use super::road::{Road, Step};
use super::shared::{Active, Node, new_request_id};
use super::verify::Visitor;
use super::wire::Wire;
use super::{respond, through};
use crate::cache::lifetime::Bypass;
use crate::telemetry::CacheStatus;

/// The edge as Pingora sees it.
pub struct Edge {
    node: Arc<Node>,
}

/// One request on its road.
pub struct Context {
    request_id: String,
    entry: Option<Entry>,
    visitor: Option<Visitor<'static>>,
    record: Record,
    /// Set where the request goes through to the origin.
    through: Option<Box<through::Through>>,
    active: Option<Active<Arc<AtomicUsize>>>,
    /// What is accounted for where Pingora does not come to it.
    unlogged: Option<(Arc<Node>, RequestHeader)>,
}

/// A request that was ended from outside is accounted for like any other.
impl Drop for Context {
    fn drop(&mut self) {
        let lost = self.through.as_ref().and_then(|through| through.lost());
        let (Some((bytes, lost)), Some((node, header))) = (lost, &self.unlogged) else {
            return;
        };
        (self.record.bytes, self.record.reason) = (bytes, Some(lost.name()));
        if let (Some(visitor), Some(entry)) = (&self.visitor, self.entry) {
            let request = Request::of_header(header, None, entry);
            account(node, visitor, &request, &self.request_id, &self.record);
        }
    }
}

impl Edge {
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// A request that comes now.
    fn entry(&self, session: &Session) -> Entry {
        let peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .copied();
        let https = session
            .digest()
            .is_some_and(|digest| digest.ssl_digest.is_some());
        let peer = peer.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        Entry::now(&self.node.clock, peer, https)
    }
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            request_id: new_request_id(),
            entry: None,
            visitor: None,
            record: Record::default(),
            through: None,
            active: None,
            unlogged: None,
        }
    }

    /// No modules: nothing is compressed here, and each costs every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        context.active = Some(Active::new(Arc::clone(&self.node.active)));
        let header = session.req_header().clone();
        let entry = self.entry(session);
        context.entry = Some(entry);
        let request = request_of(&header, session, entry);
        let unread = request.reads() && request.has_body();
        let keepalive = match session.get_keepalive() {
            // Nothing reads such a body: the connection ends with the answer.
            Some(_) if unread || request.asks_to_close() => None,
            // Pingora makes keepalive endless on each HTTP/1.1 request.
            Some(_) => Some(self.node.listen.keepalive.as_secs()),
            None => None,
        };
        session.set_keepalive(keepalive);
        let visitor = Visitor::of(&self.node, &request);
        let road = Road {
            node: &self.node,
            request: &request,
            visitor: &visitor,
            request_id: &context.request_id,
        };
        let wire = Wire::Session(session.as_downstream_mut());
        let step = road.walk(wire, &mut context.record).await;
        context.visitor = Some(visitor.into_owned());
        match step {
            Step::Done => Ok(true),
            Step::Through(through) => {
                let patience = through.patience();
                // Only what answers an Expect goes to the viewer: an interim answer
                // is not told apart from a final one in Pingora's filters.
                if let ServerSession::H1(http1) = session.as_downstream_mut() {
                    http1.set_ignore_info_resp(true);
                }
                session
                    .as_downstream_mut()
                    .set_write_timeout(Some(patience));
                context.unlogged = Some((Arc::clone(&self.node), header));
                context.through = Some(through);
                Ok(false)
            }
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
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        through::peer(context.through.as_deref_mut(), &self.node, session).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let visitor = context.visitor.as_ref();
        through::rewrite(
            &self.node,
            context.through.as_deref(),
            visitor,
            &context.request_id,
            session,
            upstream,
        )
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        ended: bool,
        context: &mut Context,
    ) -> Result<()> {
        let Some(through) = &mut context.through else {
            return Ok(());
        };
        through.sent(body.as_ref().map_or(0, Bytes::len), ended);
        through.go_on(&self.node)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _ended: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        let Some(through) = &mut context.through else {
            return Ok(None);
        };
        through.go_on(&self.node)?;
        let bytes = body.as_ref().map_or(0, Bytes::len);
        Ok(through.pause(&self.node, bytes))
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        if let Some(through) = &mut context.through {
            through.answered(&self.node, response)?;
        }
        let status = response.status.as_u16();
        context.record.status = status;
        context.record.cache = CacheStatus::Bypass;
        context.record.bypass = Some(Bypass::Method);
        context.record.reason = Some(Bypass::Method.name());
        if let Some(visitor) = &context.visitor {
            let stamp = Stamp {
                cache: CacheStatus::Bypass,
                detail: Detail::Forward {
                    reason: "method",
                    collapsed: false,
                    why: None,
                },
                ..Stamp::bare(visitor, &context.request_id)
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
        if let Some(through) = &context.through
            && session.response_written().is_none()
        {
            let failure = through.fail(error);
            context.record.reason = Some(failure.name());
            if let Some(visitor) = &context.visitor {
                let stamp = Stamp {
                    cache: CacheStatus::Bypass,
                    ..Stamp::bare(visitor, &context.request_id)
                };
                let response = respond::failed(failure, &stamp);
                context.record.status = failure.status();
                let body = Bytes::from(response.body);
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
        context.unlogged = None;
        if context.through.is_some() {
            context.record.bytes = session.body_bytes_sent() as u64;
        }
        if let (Some(visitor), Some(entry)) = (&context.visitor, context.entry) {
            let request = request_of(session.req_header(), session, entry);
            account(
                &self.node,
                visitor,
                &request,
                &context.request_id,
                &context.record,
            );
        }
    }
}

fn request_of<'r>(header: &'r RequestHeader, session: &Session, entry: Entry) -> Request<'r> {
    let wire = session
        .as_http1()
        .map(|http1| http1.get_headers_raw_bytes());
    Request::of_header(header, wire.as_deref(), entry)
}
