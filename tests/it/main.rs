//! One integration binary: a module per feature, so that the edge is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or a tool fails by panicking"
)]

#[path = "../support/client.rs"]
#[allow(dead_code, reason = "the demo and the tests use different parts")]
mod client;
#[path = "../support/edge.rs"]
#[allow(dead_code, reason = "not every module uses all of it")]
mod edge;
#[path = "../support/frames.rs"]
mod frames;
#[path = "../support/mmdb.rs"]
mod mmdb;
#[path = "../support/origin/mod.rs"]
mod origin;
#[path = "../support/process.rs"]
mod served;
#[path = "../support/tls.rs"]
mod tls;

mod access;
mod access_log;
mod admin;
mod answer_headers;
mod architecture;
mod breaker;
mod cmcd;
mod config;
mod door;
mod explain;
mod files;
mod http2;
mod http_cache;
mod interim;
mod kept_connections;
mod kinds;
mod lane;
mod limits;
mod listen;
mod origin_places;
mod origin_requests;
mod origins;
mod process;
mod proxy_protocol;
mod pulls;
mod purge;
mod revocation;
mod road;
mod scenarios;
mod serve;
mod sharing;
mod sigv4;
mod slices;
mod spellings;
mod store;
mod store_words;
mod swarm;
mod syslog;
mod takedown;
mod through;
mod token_carriers;
mod token_forgeries;
mod token_signers;
mod token_vectors;
mod top;
mod traces;
mod zone_rules;
