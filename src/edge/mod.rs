//! The road of a request: verify, lookup, pull, serve, account.
//!
//! Start at `road`: one request from its head to its last byte, each step in
//! the file of its name. Two ways lead there: `lane` reads HTTP/1.1 itself,
//! `proxy` is called by Pingora for HTTP/2 and for what the lane hands over.
//! Unsafe methods, in zones that take them, go `through` Pingora's proxy.

mod account;
pub mod admission;
pub mod authority;
pub mod conditional;
mod forward;
mod headers;
mod invalidate;
pub mod lane;
mod limits;
mod listen;
mod lookup;
mod multipart;
mod pacing;
mod pass;
mod proxy;
pub mod range;
mod record;
mod referrer;
mod refused;
mod represent;
mod request;
mod respond;
mod ride;
mod road;
mod sender;
mod serve;
mod shared;
mod sliced;
mod stored;
mod through;
mod trace;
pub mod verify;
mod visit;
mod waits;
mod warm;
mod watch;
mod wire;

pub use lane::{Lane, ProxyProtocol};
pub use limits::{Crowded, Limits};
pub use listen::Listen;
pub use proxy::Edge;
pub use refused::{BadHead, Refused};
pub use request::MAX_HEADER_LINES;
pub use shared::{Node, REQUESTS_PER_CONNECTION, Site};
pub use stored::stored;
pub use warm::{Warmed, warm};
