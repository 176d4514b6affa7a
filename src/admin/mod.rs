//! The operator's listener: metrics and health for everybody who reaches it,
//! and an API for those who bring a key.

mod access;
mod answer;
mod audit;
mod dashboard;
mod drain;
mod events;
mod explain;
mod history;
mod inspect;
mod place;
mod purge;
mod revocation;
mod stats;
mod takedown;
mod warm;
mod zones;

pub use audit::Audit;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::{AccessKey, Rights};
use crate::edge::Node;
use crate::telemetry::metrics::{Reading, SUBSYSTEMS};
use crate::telemetry::totals::Totals;
use crate::traces::Traces;
use access::Rates;
use answer::{MAX_BODY_BYTES, Wrong};
use events::MAX_STREAMS;
use history::History;
use stats::Top;
use warm::MAX_WARMS;

/// What the API works on.
pub struct Admin {
    node: Arc<Node>,
    /// Replaced by a reload.
    keys: ArcSwap<Vec<AccessKey>>,
    rates: Rates,
    pub audit: Audit,
    /// When the node was started, by both clocks; the latter in Unix seconds.
    started: Instant,
    started_at: u64,
    history: History,
    /// Places for those who listen to events.
    streams: Arc<Semaphore>,
    /// Places for those who warm.
    warms: Arc<Semaphore>,
    top: tokio::sync::Mutex<Top>,
}

impl Admin {
    pub fn new(node: Arc<Node>, keys: Vec<AccessKey>, audit: Audit) -> Arc<Self> {
        Arc::new(Self {
            keys: ArcSwap::from_pointee(keys),
            rates: Rates::default(),
            audit,
            started: node.clock.monotonic(),
            started_at: node.clock.unix_seconds(),
            history: History::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            warms: Arc::new(Semaphore::new(MAX_WARMS)),
            top: tokio::sync::Mutex::default(),
            node,
        })
    }

    pub fn replace_keys(&self, keys: Vec<AccessKey>) {
        self.keys.store(Arc::new(keys));
    }

    /// The name of the key that a call brings.
    fn enter(&self, headers: &HeaderMap, least: Rights) -> Result<String, Wrong> {
        let (keys, now) = (self.keys.load(), self.node.clock.monotonic());
        Ok(access::check(&keys, headers, least, &self.rates, now)?)
    }

    /// Changes what is kept on disk, and waits for the disk: not where the
    /// other calls, and viewers, wait for their turn.
    async fn keep<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Node) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Wrong> {
        let node = Arc::clone(&self.node);
        let done = tokio::task::spawn_blocking(move || change(&node)).await;
        let done = done.unwrap_or_else(|error| Err(error.to_string()));
        done.map_err(|why| Wrong::new("cannot_be_kept", "", why).with_status(StatusCode::CONFLICT))
    }
}

/// Serves until its task is ended, which is after the last request of a drain:
/// `/readyz` must be able to say that the node is draining.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(drain::ready))
        .route("/v1/stats", get(stats::stats))
        .route("/v1/stats/history", get(history::history))
        .route("/v1/stats/events", get(events::events))
        .route("/v1/warm", post(warm::warm))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/zones", get(zones::list))
        .route("/v1/drain", post(drain::begin).delete(drain::end))
        .route("/v1/purge", post(purge::v1))
        .route("/v1/cache/inspect", get(inspect::inspect))
        .route(
            "/v1/takedowns",
            post(takedown::add)
                .delete(takedown::lift)
                .get(takedown::list),
        )
        .route(
            "/v1/revocations",
            post(revocation::add)
                .delete(revocation::lift)
                .get(revocation::list),
        )
        .route("/purge", post(purge::url).get(purge::url))
        .route("/pullzone/{id}/purgeCache", post(purge::zone))
        .route("/openapi.json", get(openapi))
        .merge(dashboard::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::clone(&admin));
    tokio::select! {
        served = axum::serve(listener, router) => if let Err(error) = served {
            tracing::error!(%error, "the admin listener ended");
        },
        () = history::record(&admin) => {}
    }
}

/// The API in its own words, for clients that are made from them.
async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("../../docs/openapi.json")).into_response()
}

/// The metrics, with what is counted elsewhere.
fn reading<T>(node: &Node, read: impl FnOnce(&Reading<'_>) -> T) -> T {
    let sites = node.sites.load();
    let origins = sites
        .iter()
        .map(|site| (site.zone.name.as_str(), &*site.origin));
    let refused = node.limits.refused();
    read(&Reading {
        store: &node.pulls.store,
        counts: &node.pulls.counts,
        connections: node.limits.connections(),
        refused: refused
            .map(|(limit, count)| (limit.name(), count))
            .collect(),
        ended: node
            .pulls
            .standing
            .ended()
            .map(|(needed, count)| (needed.limit(), count))
            .collect(),
        origins: origins.collect(),
        spans_dropped: node.traces.as_ref().map_or(0, Traces::dropped),
    })
}

/// The same as numbers.
fn totals(node: &Node) -> Totals {
    reading(node, |reading| Totals::of(&node.metrics, reading))
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let node = &admin.node;
    match reading(node, |reading| node.metrics.render(reading)) {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
