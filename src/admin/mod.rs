//! The operator's listener: metrics and health for everybody who reaches it,
//! and an API for those who bring a key.

mod access;
mod answer;
mod inspect;
mod place;
mod purge;
mod revocation;
mod takedown;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::config::{AccessKey, Rights};
use crate::edge::Node;
use crate::telemetry::metrics::Reading;
use access::Rates;
use answer::Wrong;

/// What the API works on.
pub struct Admin {
    node: Arc<Node>,
    /// Replaced by a reload.
    keys: ArcSwap<Vec<AccessKey>>,
    rates: Rates,
}

impl Admin {
    pub fn new(node: Arc<Node>, keys: Vec<AccessKey>) -> Arc<Self> {
        Arc::new(Self {
            node,
            keys: ArcSwap::from_pointee(keys),
            rates: Rates::default(),
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
        .route("/readyz", get(ready))
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
        .with_state(admin);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin listener ended");
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let node = &admin.node;
    let sites = node.sites.load();
    let origins = sites
        .iter()
        .map(|site| (site.zone.name.as_str(), &*site.origin));
    let refused = node.limits.refused();
    let reading = Reading {
        store: &node.pulls.store,
        counts: &node.pulls.counts,
        connections: node.limits.connections(),
        refused: refused
            .map(|(limit, count)| (limit.name(), count))
            .collect(),
        origins: origins.collect(),
    };
    match node.metrics.render(&reading) {
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

/// 503 from the moment the node stops taking connections.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if admin.node.metrics.ready.get() == 1 {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    }
}
