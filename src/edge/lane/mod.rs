//! The lane: connections of viewers. Those of HTTP/1.1 it reads itself.
//!
//! It reads each head, answers a GET or HEAD by the same road as everything
//! else, and hands whatever is more than that to Pingora's proxy, with the
//! bytes of this one request. HTTP/2 is Pingora's to read. It adds no policy.

mod connection;
mod first;
mod hand_over;
pub mod head;
mod http2;
mod inbox;
mod paced;
mod proxy_protocol;
mod reply;
mod stream;

pub use connection::Lane;
pub use proxy_protocol::ProxyProtocol;
