//! The settings of what viewers connect to, and of what one of them may take.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

/// Where viewers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    /// Whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
    /// Threads that serve viewers; default: one for each core.
    pub threads: usize,
    /// An idle connection is closed after this.
    pub keepalive: Duration,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// Bytes per second below which a viewer is given up.
    pub min_send_rate: usize,
    /// The longest request target; more is 414.
    pub max_target: usize,
    /// Connections of viewers at a time; more are closed at once.
    pub max_connections: usize,
    /// The same of one address (IPv6: one /64).
    pub max_connections_per_ip: usize,
    /// Request heads that have begun and are not whole, at a time.
    pub max_heads: usize,
    /// Pulls that the origin may hold back (blocking playlist reloads and
    /// hinted parts), begun by one address, at a time.
    pub max_held_per_ip: usize,
    /// Answers that are not stored, for one address, at a time.
    pub max_passes_per_ip: usize,
    /// HTTP/2 streams that wait for their viewers or for the origin, beyond the
    /// first few of each connection, at a time.
    pub max_streams: usize,
    /// The same of one address.
    pub max_streams_per_ip: usize,
    /// How long new connections are taken after SIGTERM, not ready any more.
    pub drain_delay: Duration,
    /// How long running requests may finish after that.
    pub grace_period: Duration,
    /// Answer GET and HEAD over HTTP/1.1 in the edge's own lane. No key of the
    /// file: tests compare what both ways answer.
    pub lane: bool,
}
