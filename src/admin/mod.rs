//! The operator's listener: metrics and health.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::edge::Node;
use crate::telemetry::metrics::Reading;

/// Serves until its task is ended, which is after the last request of a drain:
/// `/readyz` must be able to say that the node is draining.
pub async fn serve(listener: TcpListener, node: Arc<Node>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(node);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin listener ended");
    }
}

async fn metrics(State(node): State<Arc<Node>>) -> Response {
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
async fn ready(State(node): State<Arc<Node>>) -> Response {
    if node.metrics.ready.get() == 1 {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    }
}
