//! The origin: S3-compatible object stores and plain HTTP servers.
//!
//! [`Origin::open`] sends one request, with at most two tries, and returns an
//! [`Exchange`] whose body is then read. It knows nothing of caches.

mod addresses;
mod checks;
mod client;
mod complaints;
mod echo;
mod endpoints;
mod exchange;
mod failure;
mod health;
mod interim;
mod keep;
mod open;
mod own_xml;
mod places;
mod probe;
mod reason;
pub mod redirect;
mod request;
pub mod response;
pub mod resume;
mod s3_codes;
mod s3_error;
mod s3_forms;
mod settings;
pub mod sigv4;
mod trial;
mod validators;
mod verdict;
mod waits;

pub use checks::watch;
pub use client::{Origin, unconnected};
pub use endpoints::EndpointState;
pub use exchange::Exchange;
pub use failure::Failure;
pub use interim::{Interim, Interims};
pub use own_xml::is_own_body;
pub use request::{Method, Request, Viewer, address, is_said_by_us, names_object};
pub use response::{Framing, Head, connection_options, connection_says};
pub use settings::{Credentials, Deadlines, Endpoint, HealthCheck, Kind, Settings};
pub use trial::Trial;
pub use validators::{Validators, entity_tag, weak_tag};
pub use waits::{WAIT_STEPS, Waited};
