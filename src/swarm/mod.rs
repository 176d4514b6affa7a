//! Load as players make it: viewers with buffers that watch a signed stream.

mod playback;
mod tally;
mod viewer;

pub use tally::Report;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::clock::Clock;
use tally::Tally;
use viewer::Viewer;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: String,
    pub viewers: usize,
    /// Viewers arrive evenly within it.
    pub ramp: Duration,
    pub duration: Duration,
    pub variant: Variant,
    /// Media that a viewer keeps ahead.
    pub buffer: Duration,
    /// A host besides loopback that may be loaded: the operator's own.
    pub own_host: Option<String>,
}

/// Which variant of a multivariant playlist a viewer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    First,
    Highest,
    Lowest,
    /// Viewers take turns.
    Each,
}

impl Variant {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "first" => Some(Variant::First),
            "highest" => Some(Variant::Highest),
            "lowest" => Some(Variant::Lowest),
            "each" => Some(Variant::Each),
            _ => None,
        }
    }
}

/// Whether a URL may be loaded: on loopback, or on the host that the operator
/// names as his own.
pub fn is_allowed(url: &str, own_host: Option<&str>) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("http") && (loopback || own_host == Some(bare))
}

/// Runs a swarm to its end; `progress` is called each second with what was seen.
pub async fn run(settings: Settings, clock: Clock, mut progress: impl FnMut(&Report)) -> Report {
    let settings = Arc::new(settings);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let began = clock.monotonic();
    let end = began + settings.ramp + settings.duration;
    let mut viewers = JoinSet::new();
    for number in 0..settings.viewers {
        let (settings, tally, clock) = (Arc::clone(&settings), Arc::clone(&tally), clock.clone());
        let arrives = settings
            .ramp
            .mul_f64(number as f64 / settings.viewers as f64);
        viewers.spawn(async move {
            sleep(arrives).await;
            Viewer::new(settings, tally, clock, number).watch(end).await;
        });
    }
    let report = || {
        let elapsed = clock.monotonic().saturating_duration_since(began);
        tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report(elapsed)
    };
    let mut ticks = interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        tokio::select! {
            left = viewers.join_next() => if left.is_none() {
                return report();
            },
            _ = ticks.tick() => progress(&report()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn only_loopback_and_the_operators_own_host_are_loaded() {
        for (url, own, allowed) in [
            ("http://127.0.0.1:8080/a", None, true),
            ("http://[::1]/a", None, true),
            ("http://localhost/a", None, true),
            ("http://edge.example/a", None, false),
            ("http://edge.example/a", Some("edge.example"), true),
            ("http://other.example/a", Some("edge.example"), false),
            ("https://127.0.0.1/a", None, false),
            ("/a", None, false),
        ] {
            assert_eq!(is_allowed(url, own), allowed, "{url} {own:?}");
        }
    }
}
