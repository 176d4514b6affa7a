//! What all requests share, and what each is called.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::limits::Limits;
use super::listen::Listen;
use crate::block::Blocks;
use crate::clock::Clock;
use crate::hls::Kind;
use crate::origin::Origin;
use crate::path::CanonicalPath;
use crate::pull::Pulls;
use crate::revocation::Revocations;
use crate::takedown::Takedowns;
use crate::telemetry::access_log::Log;
use crate::telemetry::errors::Errors;
use crate::telemetry::metrics::{Metrics, ZoneCounters};
use crate::telemetry::top::Top;
use crate::traces::Traces;
use crate::zone::{ByHost, Countries, Zone};

/// What all requests share.
pub struct Node {
    pub clock: Clock,
    pub listen: Listen,
    /// Replaced by a reload; a request keeps what it began with.
    pub sites: ArcSwap<ByHost<Site>>,
    pub pulls: Arc<Pulls>,
    pub metrics: Arc<Metrics>,
    pub log: Log,
    pub top: Top,
    pub errors: Errors,
    pub countries: ArcSwapOption<Countries>,
    /// Requests on their road.
    pub active: Arc<AtomicUsize>,
    pub limits: Limits,
    pub takedowns: Takedowns,
    pub revocations: Revocations,
    pub blocks: Blocks,
    /// It was told to stop.
    pub stopping: AtomicBool,
    /// `None`: nothing is traced.
    pub traces: Option<Traces>,
}

/// A pull zone at work.
pub struct Site {
    pub zone: Arc<Zone>,
    pub origin: Arc<Origin>,
    pub counters: ZoneCounters,
}

impl Node {
    /// Puts other zones to work.
    pub fn replace_sites(&self, sites: ByHost<Site>) {
        self.sites.store(Arc::new(sites));
        self.trust_proxies();
    }

    /// The limits for one address do not count the zones' trusted proxies.
    pub fn trust_proxies(&self) {
        let sites = self.sites.load();
        let proxies = sites.iter().flat_map(|site| &site.zone.trusted_proxies);
        self.limits.trust(proxies.copied().collect());
    }

    /// What a path of a zone is, as far as it is known before the origin is asked:
    /// by its name, else by the playlist that names it.
    pub fn kind_of(&self, zone: &Zone, path: &CanonicalPath) -> Kind {
        match Kind::of(path) {
            Kind::Other => {
                let named = self.pulls.store.live.kind(zone.realm, path);
                named.unwrap_or(Kind::Other)
            }
            kind => kind,
        }
    }

    /// Whether it is for new viewers.
    pub fn is_ready(&self) -> bool {
        self.metrics.ready.get() == 1
    }

    /// Draining: `/readyz` says so, and each answer over HTTP/1.1 is the last
    /// of its connection. False where the node stops anyway.
    pub fn drain(&self, draining: bool) -> bool {
        let goes_on = !self.stopping.load(Relaxed);
        if goes_on {
            self.metrics.ready.set(i64::from(!draining));
        }
        // It may have been told in between.
        if self.stopping.load(Relaxed) {
            self.metrics.ready.set(0);
        }
        goes_on
    }

    pub fn active_requests(&self) -> usize {
        self.active.load(Relaxed)
    }
}

/// Requests on one connection, after which its memory is given back.
pub const REQUESTS_PER_CONNECTION: u32 = 100_000;

/// Counts a request for as long as it is on its road, however it ends.
pub struct Active<C: Deref<Target = AtomicUsize>>(C);

impl<C: Deref<Target = AtomicUsize>> Active<C> {
    pub fn new(count: C) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl<C: Deref<Target = AtomicUsize>> Drop for Active<C> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A request's name in headers and logs: 32 hexadecimal digits.
pub fn new_request_id() -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    let bytes: [u8; 16] = rand::random();
    let mut text = String::with_capacity(32);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte));
    }
    text
}

/// A number drawn with a request's name, a like chance for each: what is done
/// for one request of many.
pub fn drawn(request_id: &str) -> u32 {
    let digits = request_id.get(..8).unwrap_or_default();
    u32::from_str_radix(digits, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_panics_is_on_its_road_no_more() {
        let count = AtomicUsize::new(0);
        let unwound = std::panic::catch_unwind(|| {
            let _active = Active::new(&count);
            std::panic::resume_unwind(Box::new("a fault of ours"));
        });
        assert!(unwound.is_err());
        assert_eq!(count.load(Relaxed), 0);
    }
}
