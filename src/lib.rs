//! Warren: a self-hosted, Bunny-compatible edge for HLS.
//!
//! The modules follow the road of a request: listen, verify ([`token`],
//! [`zone`]), lookup ([`cache`], [`hls`]), pull ([`pull`], [`origin`]), serve and
//! account ([`edge`], [`telemetry`]). `docs/architecture.md` has the picture.

pub mod admin;
pub mod block;
pub mod cache;
pub mod cause;
pub mod cli;
pub mod clock;
pub mod config;
pub mod edge;
pub mod explain;
pub mod hls;
pub mod listen;
pub mod node;
pub mod origin;
pub mod path;
pub mod path_index;
pub mod per_address;
pub mod private_file;
pub mod pull;
pub mod revocation;
pub mod standing;
pub mod state_file;
pub mod swarm;
pub mod takedown;
pub mod telemetry;
pub mod token;
pub mod traces;
pub mod trust;
pub mod zone;
