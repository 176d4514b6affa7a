//! The way out of a stream of HTTP/2, which Pingora's session frames.

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::protocols::http::v2::server::HttpSession;

use crate::edge::waits::Lost;
use crate::standing::Queue;

/// What a response is written to.
pub struct Stream<'s> {
    session: &'s mut HttpSession,
    queue: &'s Queue,
    /// The connection has others of its own.
    pub extra: bool,
}

impl<'s> Stream<'s> {
    pub fn new(session: &'s mut HttpSession, queue: &'s Queue, extra: bool) -> Self {
        Self {
            session,
            queue,
            extra,
        }
    }

    pub fn head(&mut self, head: ResponseHeader, end: bool) -> Result<(), Lost> {
        let written = self.session.write_response_header(Box::new(head), end);
        written.map_err(|_| Lost::Gone)
    }

    pub async fn body(&mut self, bytes: Bytes, end: bool) -> pingora::Result<()> {
        // With its last bytes queued a request is over: they are known on.
        let bytes = match end && !bytes.is_empty() {
            true => self.queue.keep(bytes),
            false => bytes,
        };
        self.session.write_body(bytes, end).await
    }

    /// Waits until the viewer has given it up.
    pub async fn gone(&mut self) {
        let _ = self.session.idle().await;
    }
}
