//! What a response is written to: one file for each protocol.

mod http1;
mod http2;

pub use http1::{Outbox, push_end, push_head, push_status};
pub use http2::Stream;

use pingora::protocols::http::ServerSession;

/// What a response is written to.
pub enum Wire<'s> {
    /// A session of Pingora's, over HTTP/1 or HTTP/2.
    Session(&'s mut ServerSession),
    /// A connection of our own.
    Lane(Outbox<'s>),
    /// A stream of HTTP/2.
    Stream(Stream<'s>),
}

impl Wire<'_> {
    /// Waits until the viewer is gone. Over HTTP/1.1 nothing tells but a write.
    pub async fn gone(&mut self) {
        match self {
            Wire::Session(session) => match session.watch_h2_stream_close() {
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            },
            Wire::Stream(stream) => stream.gone().await,
            Wire::Lane(_) => std::future::pending().await,
        }
    }
}
