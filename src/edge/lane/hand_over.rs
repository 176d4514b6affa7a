//! What is more than a GET or HEAD goes to Pingora, with the bytes of this one
//! request; the connection comes back behind its answer.

use bytes::BytesMut;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;

use super::connection::{After, Connection};
use super::head::Body;
use crate::edge::shared::REQUESTS_PER_CONNECTION;
use crate::edge::watch::watched;

impl Connection<'_> {
    pub(super) async fn hand_over(&mut self, end: usize, body: Body) -> After {
        let Some(stream) = self.stream.take() else {
            return After::Cut;
        };
        let mut session = ServerSession::new_http1(stream);
        let keepalive = self.lane.node.listen.keepalive.as_secs();
        session.set_keepalive((!self.is_last(false)).then_some(keepalive));
        let left = REQUESTS_PER_CONNECTION.saturating_sub(self.served);
        session.set_keepalive_reuses_remaining(Some(left));
        session.set_pipelined_prefix(self.bytes_of_request(end, body));
        let proxy = &self.lane.proxy;
        let request = proxy.process_new_http(session, &self.shutdown);
        match watched(&self.lane.node, request).await.flatten() {
            Some(reused) => {
                // Pingora gives back no connection of which it has read more
                // than this request: nothing is lost with its settings.
                self.stream = Some(reused.consume().0);
                After::Next
            }
            None => After::Cut,
        }
    }

    /// The bytes of this one request; what was read behind it stays here.
    fn bytes_of_request(&mut self, end: usize, body: Body) -> BytesMut {
        let count = body.bytes_of_request(end, self.inbox.bytes().len());
        let bytes = BytesMut::from(&self.inbox.bytes()[..count]);
        self.inbox.consume(count);
        bytes
    }
}
