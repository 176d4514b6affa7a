//! Load as players make it: viewers with buffers that watch a signed stream.

mod dial;
mod playback;
mod tally;
mod viewer;

pub use tally::Report;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
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
    /// `host:port` of the edge, where the URL's host does not lead there.
    pub connect: Option<String>,
    /// Whom viewers believe over TLS.
    pub trusted: Arc<ClientConfig>,
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

impl Settings {
    /// Whether a URL may be loaded: it leads to loopback, or to the host that the
    /// operator names as his own. Where all connections lead to one place, the
    /// URL's host is the start's: another's is no business of that place.
    pub fn allows(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else {
            return false;
        };
        let host = uri.host().unwrap_or_default();
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let place = match &self.connect {
            Some(place) => place.rsplit_once(':').map_or("", |(host, _)| host),
            None => host,
        };
        let start = || self.url.parse::<Uri>().ok();
        let stays = || start().is_some_and(|start| start.host() == Some(host));
        is_web && self.may_load(place) && (self.connect.is_none() || stays())
    }

    fn may_load(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback =
            bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        loopback || self.own_host.as_deref() == Some(bare)
    }
}

/// `host:port` that a URL leads to.
fn place_of(uri: &Uri) -> Option<String> {
    let port = match (uri.port_u16(), uri.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("https")) => 443,
        (None, _) => 80,
    };
    Some(format!("{}:{port}", uri.host()?))
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
    use super::*;
    use crate::trust::client_config;

    #[test]
    fn only_loopback_and_the_operators_own_host_are_loaded() {
        let trusted = Arc::new(client_config(None).expect("a configuration"));
        let (own, edge) = ("edge.example", "https://edge.example/a");
        for (url, own_host, connect, start, allowed) in [
            ("http://127.0.0.1:8080/a", None, None, "", true),
            ("http://[::1]/a", None, None, "", true),
            ("https://localhost/a", None, None, "", true),
            ("http://edge.example/a", None, None, "", false),
            (edge, Some(own), None, "", true),
            ("http://other.example/a", Some(own), None, "", false),
            ("ftp://127.0.0.1/a", None, None, "", false),
            ("/a", None, None, "", false),
            (edge, None, Some("127.0.0.1:8443"), edge, true),
            (edge, None, Some("[::1]:8443"), edge, true),
            (edge, None, Some("192.0.2.1:443"), edge, false),
            (edge, Some("192.0.2.1"), Some("192.0.2.1:443"), edge, true),
            (
                "https://other.example/a",
                None,
                Some("127.0.0.1:8443"),
                edge,
                false,
            ),
        ] {
            let settings = Settings {
                url: start.into(),
                viewers: 1,
                ramp: Duration::ZERO,
                duration: Duration::ZERO,
                variant: Variant::First,
                buffer: Duration::ZERO,
                own_host: own_host.map(str::to_owned),
                connect: connect.map(str::to_owned),
                trusted: Arc::clone(&trusted),
            };
            assert_eq!(
                settings.allows(url),
                allowed,
                "{url} {own_host:?} {connect:?}"
            );
        }
    }
}
