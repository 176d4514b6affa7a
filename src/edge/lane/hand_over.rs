//! What is more than a GET or HEAD goes to Pingora, with the bytes of this one
//! request; the connection comes back behind its answer.

use bytes::BytesMut;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;

use super::{After, Connection};
use crate::edge::REQUESTS_PER_CONNECTION;

impl Connection<'_> {
    pub(super) async fn hand_over(&mut self, end: usize) -> After {
        let Some(stream) = self.stream.take() else {
            return After::Cut;
        };
        let mut session = ServerSession::new_http1(stream);
        let keepalive = self.lane.node.listen.keepalive.as_secs();
        session.set_keepalive((!self.is_last(false)).then_some(keepalive));
        let left = REQUESTS_PER_CONNECTION.saturating_sub(self.served);
        session.set_keepalive_reuses_remaining(Some(left));
        session.set_pipelined_prefix(self.bytes_of_request(end));
        let proxy = &self.lane.proxy;
        let done = proxy.process_new_http(session, &self.shutdown).await;
        match done {
            Some(reused) => {
                // Pingora gives back no connection of which it has read more
                // than this request: nothing is lost with its settings.
                self.stream = Some(reused.consume().0);
                After::Next
            }
            None => After::Cut,
        }
    }

    /// The head alone, so that what was read behind it stays here; with all
    /// that has come where a body may follow.
    fn bytes_of_request(&mut self, end: usize) -> BytesMut {
        let head = &self.inbox.bytes()[..end];
        let has_body =
            contains(head, b"\ncontent-length:") || contains(head, b"\ntransfer-encoding:");
        if has_body {
            return BytesMut::from(&self.inbox.take()[..]);
        }
        let head = BytesMut::from(head);
        self.inbox.consume(end);
        head
    }
}

fn contains(head: &[u8], name: &[u8]) -> bool {
    head.windows(name.len())
        .any(|window| window.eq_ignore_ascii_case(name))
}
