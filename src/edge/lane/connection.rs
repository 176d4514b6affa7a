//! A connection of HTTP/1.1, from one head to the next.

use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use http::Method;
use pingora::apps::ServerApp;
use pingora::protocols::{ALPN, Stream as Socket};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::first::{self, First, Walk};
use super::head::{Body, Head, Spans, Way};
use super::inbox::{Came, Inbox};
use super::proxy_protocol::learn_peer;
use super::reply::Reply;
use crate::edge::account::account;
use crate::edge::pacing::Pace;
use crate::edge::proxy::Edge;
use crate::edge::record::Record;
use crate::edge::refused::{BadHead, Refused};
use crate::edge::request::{Entry, MAX_HEADER_LINES, Request};
use crate::edge::respond;
use crate::edge::road::{Road, Step};
use crate::edge::shared::{Node, REQUESTS_PER_CONNECTION, new_request_id};
use crate::edge::verify::Visitor;
use crate::edge::waits::Lost;
use crate::edge::wire::{Outbox, Wire};

/// How long, and how far, a viewer is read on whose request was refused: an
/// unread byte would make the kernel reset the connection and lose the answer.
pub(super) const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// Serves connections.
pub struct Lane {
    pub(super) node: Arc<Node>,
    pub(super) proxy: Arc<HttpProxy<Edge>>,
}

impl Lane {
    pub fn new(node: Arc<Node>, proxy: HttpProxy<Edge>) -> Self {
        Self {
            node,
            proxy: Arc::new(proxy),
        }
    }
}

#[async_trait]
impl ServerApp for Lane {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Socket,
        shutdown: &ShutdownWatch,
    ) -> Option<Socket> {
        // Where there is TLS, it was said before that.
        if stream.get_ssl_digest().is_none() && !learn_peer(&self.node, &mut *stream).await {
            return None;
        }
        // Who is one too many is told nothing: to tell it would cost a place.
        let Ok(_open) = self.node.limits.connect(peer_of(&stream).ip()) else {
            return None;
        };
        let http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        if http2 {
            self.http2(stream, shutdown).await;
            return None;
        }
        Connection::new(self, stream, shutdown.clone())
            .serve()
            .await;
        None
    }

    async fn cleanup(&self) {
        self.proxy.cleanup().await;
    }
}

/// One connection. What it keeps while it is idle is small: everything else is
/// made for a request and dropped with it.
pub(super) struct Connection<'l> {
    pub(super) lane: &'l Lane,
    /// `None` while Pingora has it.
    pub(super) stream: Option<Socket>,
    pub(super) inbox: Inbox,
    peer: SocketAddr,
    https: bool,
    pub(super) served: u32,
    pub(super) shutdown: ShutdownWatch,
}

/// Whether the connection goes on behind a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Next,
    /// The response was whole and said that it is the last.
    Close,
    /// The response was cut: nothing may look like its end.
    Cut,
}

impl After {
    fn of(lost: Option<Lost>, close: bool) -> Self {
        match (lost, close) {
            (Some(_), _) => After::Cut,
            (None, true) => After::Close,
            (None, false) => After::Next,
        }
    }
}

/// What a first look at a request has come to.
enum Quick<'l> {
    /// Answered and accounted for.
    Sent(After),
    /// An answer that the socket did not take whole.
    Unsent(Box<Reply<'l>>),
    /// Let in, and not in memory, or paced: the rest of the road.
    Walk(Box<Carried<'l>>),
    /// Not for the lane.
    Proxy(Body),
    Bad(BadHead),
}

/// A request that goes on, with all that the first look has found.
struct Carried<'l> {
    method: Method,
    spans: Spans,
    entry: Entry,
    visitor: Visitor<'static>,
    close: bool,
    walk: Walk<'l>,
}

/// The socket's other end.
pub(super) fn peer_of(stream: &Socket) -> SocketAddr {
    let digest = stream.get_socket_digest();
    let address = digest.as_ref().and_then(|digest| digest.peer_addr());
    let peer = address.and_then(|address| address.as_inet());
    peer.copied().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())
}

impl<'l> Connection<'l> {
    fn new(lane: &'l Lane, stream: Socket, shutdown: ShutdownWatch) -> Self {
        Self {
            lane,
            inbox: Inbox::new(),
            peer: peer_of(&stream),
            https: stream.get_ssl_digest().is_some(),
            stream: Some(stream),
            served: 0,
            shutdown,
        }
    }

    async fn serve(mut self) {
        let node = &*self.lane.node;
        while let Some(stream) = &mut self.stream {
            let after = match self.inbox.head(stream, node).await {
                Came::Gone => return,
                Came::Bad(bad) => Box::pin(self.refuse(bad)).await,
                Came::Head(end) => {
                    self.served += 1;
                    self.answer(end).await
                }
            };
            match after {
                After::Next => {}
                After::Cut => return,
                After::Close => return Box::pin(self.close()).await,
            }
        }
    }

    /// Answers the request whose head is the inbox's first `end` bytes.
    async fn answer(&mut self, end: usize) -> After {
        match self.quick(end) {
            Quick::Sent(after) => {
                self.inbox.consume(end);
                after
            }
            Quick::Unsent(reply) => Box::pin(self.send_on(end, *reply)).await,
            Quick::Walk(carried) => Box::pin(self.walk(end, *carried)).await,
            Quick::Proxy(body) => Box::pin(self.hand_over(end, body)).await,
            Quick::Bad(bad) => Box::pin(self.refuse(bad)).await,
        }
    }

    /// Answers a request from memory, where that is all there is to do.
    fn quick(&mut self, end: usize) -> Quick<'l> {
        let node: &'l Node = &self.lane.node;
        let mut room = [MaybeUninit::uninit(); MAX_HEADER_LINES];
        let (head, way) = match Head::parse(&self.inbox.bytes()[..end], &mut room) {
            Ok(parsed) => parsed,
            Err(bad) => return Quick::Bad(bad),
        };
        let method = match way {
            Way::Lane(method) if node.listen.lane => method,
            Way::Lane(_) => return Quick::Proxy(Body::None),
            Way::Proxy(body) => return Quick::Proxy(body),
        };
        let request = Request::of_lines(method, head.target, head.lines, self.entry());
        let visitor = Visitor::of(node, &request);
        let close = self.is_last(head.close);
        let mut reply = match first::look(node, &request, &visitor, close) {
            First::Answer(reply) => reply,
            First::Walk(walk) => {
                return Quick::Walk(Box::new(Carried {
                    spans: Spans::of(self.inbox.bytes(), &head),
                    entry: request.entry,
                    method: request.method.clone(),
                    visitor: visitor.into_owned(),
                    close,
                    walk,
                }));
            }
        };
        let Some(stream) = &mut self.stream else {
            return Quick::Sent(After::Cut);
        };
        match reply.write(stream).now_or_never() {
            None => Quick::Unsent(Box::new(reply)),
            Some(sent) => {
                let lost = sent.err().map(|_| Lost::Gone);
                let close = reply.close;
                Quick::Sent(After::of(
                    reply.finish(lost, node, &request, &visitor),
                    close,
                ))
            }
        }
    }

    /// Writes what is left of an answer.
    async fn send_on(&mut self, end: usize, mut reply: Reply<'l>) -> After {
        let node = &*self.lane.node;
        let bytes = self.inbox.bytes()[..end].to_vec();
        self.inbox.consume(end);
        let mut room = [MaybeUninit::uninit(); MAX_HEADER_LINES];
        let (Ok((head, _)), Some(stream)) = (Head::parse(&bytes, &mut room), &mut self.stream)
        else {
            return After::Cut;
        };
        let pace = Pace::new(None, node.listen.min_send_rate as u64);
        let whole = pace.patience(reply.left());
        let sent = timeout(whole, reply.write_on(stream, pace, node)).await;
        let lost = sent.unwrap_or(Err(Lost::TooSlow)).err();
        let (method, close) = (reply.method.clone(), reply.close);
        let request = Request::of_lines(method, head.target, head.lines, reply.entry);
        let visitor = Visitor::of(node, &request);
        After::of(reply.finish(lost, node, &request, &visitor), close)
    }

    /// A request that comes now.
    fn entry(&self) -> Entry {
        Entry {
            socket: self.stream.as_ref().map(|stream| stream.id()),
            ..Entry::now(&self.lane.node.clock, self.peer, self.https)
        }
    }

    /// Whether the connection ends with the request at hand.
    pub(super) fn is_last(&self, asked: bool) -> bool {
        asked
            || self.served >= REQUESTS_PER_CONNECTION
            || !self.lane.node.is_ready()
            || *self.shutdown.borrow()
    }

    /// Everything but hits and refusals: pulls, passing answers.
    async fn walk(&mut self, end: usize, carried: Carried<'l>) -> After {
        let node = &*self.lane.node;
        let bytes = self.inbox.bytes()[..end].to_vec();
        self.inbox.consume(end);
        let Carried {
            method,
            spans,
            entry,
            visitor,
            close,
            walk,
        } = carried;
        let (Some(admitted), Some(stream)) = (visitor.admitted(walk.granted), &mut self.stream)
        else {
            return After::Cut;
        };
        let lines = spans.lines(&bytes);
        let request = Request::of_lines(method, spans.target(&bytes), &lines, entry);
        let road = Road {
            node,
            request: &request,
            visitor: &visitor,
            request_id: &walk.request_id,
        };
        let mut record = Record::default();
        let wire = Wire::Lane(Outbox::new(stream, close, entry.came_at));
        let step = road.answer(&admitted, walk.looked, wire, &mut record).await;
        let after = match step {
            Step::Done if close => After::Close,
            Step::Done => After::Next,
            Step::Cut(cut) => {
                record.reason = Some(cut.name());
                After::Cut
            }
            // Only GET and HEAD come here, and they end on the road.
            Step::Through(_) => After::Cut,
        };
        account(node, &visitor, &request, &walk.request_id, &record);
        after
    }

    /// Answers what is no request, and ends the connection.
    async fn refuse(&mut self, bad: BadHead) -> After {
        let node = &*self.lane.node;
        let request = Request::of_lines(Method::GET, "", &[], self.entry());
        let visitor = Visitor::of_nobody(self.peer.ip());
        let request_id = new_request_id();
        let refused = Refused::Head(bad);
        let mut record = Record::default();
        record.refuse(refused);
        let response = respond::refused(refused, &visitor, &request_id);
        record.status = response.head.status.as_u16();
        let Some(stream) = &mut self.stream else {
            return After::Cut;
        };
        let mut outbox = Outbox::new(stream, true, request.entry.came_at);
        outbox.head(&response.head, true);
        let sent = timeout(LINGER, outbox.body(response.body.as_bytes(), true)).await;
        if matches!(sent, Ok(Ok(()))) {
            record.bytes = response.body.len() as u64;
        }
        account(node, &visitor, &request, &request_id, &record);
        After::Close
    }

    /// Ends the connection so that its last response arrives.
    async fn close(&mut self) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        stream.shutdown().await;
        let mut left = LINGER_BYTES;
        let mut buffer = [0; 4096];
        let linger = async {
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                left = left.saturating_sub(count);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = timeout(LINGER, linger).await;
    }
}
