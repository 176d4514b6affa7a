//! The operator's listener: metrics and health for everybody who reaches it,
//! and an API for those who bring a key.

mod access;
mod answer;
mod audit;
mod block;
mod counted;
mod dashboard;
mod door;
mod drain;
mod events;
mod explain;
mod guests;
mod history;
mod hosts;
mod inspect;
mod kin;
mod lately;
mod listener;
mod objects;
mod orders;
mod place;
mod proof;
mod purge;
mod revocation;
mod settings;
mod stats;
mod takedown;
mod top;
mod warm;
mod zones;

pub use audit::Audit;
pub use orders::{Order, What};

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::edge::Node;
use crate::telemetry::metrics::{Reading, SUBSYSTEMS};
use crate::telemetry::totals::Totals;
use crate::traces::Traces;
use access::Rates;
use answer::{MAX_BODY_BYTES, Wrong};
use counted::Counted;
use events::MAX_STREAMS;
use guests::Guests;
use history::History;
use hosts::Hosts;
use lately::Lately;
pub use settings::{AccessKey, Rights, Settings};
use stats::Top;
use warm::MAX_WARMS;

/// What the API works on.
pub struct Admin {
    node: Arc<Node>,
    /// Where it listens.
    address: SocketAddr,
    /// Replaced by a reload.
    doors: ArcSwap<Doors>,
    rates: Rates,
    guests: Arc<Guests>,
    pub audit: Audit,
    /// When the node was started, by both clocks; the latter in Unix seconds.
    started: Instant,
    started_at: u64,
    history: History,
    lately: Lately,
    /// By the processes before this one.
    counted: Counted,
    /// Where both are kept.
    state_dir: Option<PathBuf>,
    /// Places for those who listen to events.
    streams: Arc<Semaphore>,
    /// Places for those who warm.
    warms: Arc<Semaphore>,
    top: tokio::sync::Mutex<Top>,
    orders: mpsc::Sender<Order>,
}

/// Who is let in, and calling whom.
struct Doors {
    keys: Vec<AccessKey>,
    hosts: Hosts,
}

impl Doors {
    fn of(settings: &Settings, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            keys: settings.access_keys.clone(),
            hosts: Hosts::of(address, &settings.hosts),
        })
    }
}

impl Admin {
    /// `address`: where it really listens.
    pub fn new(
        node: Arc<Node>,
        settings: &Settings,
        address: SocketAddr,
        audit: Audit,
        orders: mpsc::Sender<Order>,
    ) -> Arc<Self> {
        Arc::new(Self {
            orders,
            address,
            doors: ArcSwap::new(Doors::of(settings, address)),
            rates: Rates::default(),
            guests: Guests::new(listener::MAX_CONNECTIONS, node.clock.clone()),
            audit,
            started: node.clock.monotonic(),
            started_at: node.clock.unix_seconds(),
            history: History::default(),
            lately: Lately::default(),
            counted: Counted::load(settings.state_dir.as_deref(), node.clock.unix_seconds()),
            state_dir: settings.state_dir.clone(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            warms: Arc::new(Semaphore::new(MAX_WARMS)),
            top: tokio::sync::Mutex::default(),
            node,
        })
    }

    /// Puts the last hour and what was counted on disk, for the next process.
    pub fn keep_figures(&self) {
        if let Some(folder) = &self.state_dir {
            self.history.keep(folder);
            self.counted.keep(folder, totals(self));
        }
    }

    /// Calls that are being answered.
    pub fn calls(&self) -> usize {
        self.guests.busy()
    }

    /// Takes over the keys and names of another configuration.
    pub fn replace_doors(&self, settings: &Settings) {
        self.doors.store(Doors::of(settings, self.address));
    }

    /// The name of the key that a call brings, and its rights.
    fn enter(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
        least: Rights,
    ) -> Result<(String, Rights), Wrong> {
        let (doors, now) = (self.doors.load(), self.node.clock.monotonic());
        let keys = &doors.keys;
        Ok(access::check(keys, headers, from, least, &self.rates, now)?)
    }

    /// Whether the key of a call that goes on is still one.
    fn still_opens(&self, headers: &HeaderMap, least: Rights) -> bool {
        access::still_opens(&self.doors.load().keys, headers, least)
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
    tokio::select! {
        () = listener::serve(listener, router(&admin), &admin.guests) => {}
        () = history::record(&admin) => {}
    }
}

/// Every call, and the rights that it takes.
fn router(admin: &Arc<Admin>) -> Router {
    let keyed = |least: Rights, calls: MethodRouter<Arc<Admin>>| {
        calls.route_layer(from_fn_with_state((Arc::clone(admin), least), door::keyed))
    };
    let reads = |calls| keyed(Rights::Read, calls);
    let purges = |calls| keyed(Rights::Purge, calls);
    let changes = |calls| keyed(Rights::Admin, calls);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(drain::ready))
        .route("/v1/stats", reads(get(stats::stats)))
        .route("/v1/stats/history", reads(get(history::history)))
        .route("/v1/stats/events", reads(get(events::events)))
        .route("/v1/warm", purges(post(warm::warm)))
        .route("/v1/explain", reads(post(explain::explain)))
        .route("/v1/zones", reads(get(zones::list)))
        .route("/v1/drain", changes(post(drain::begin).delete(drain::end)))
        .route("/v1/purge", purges(post(purge::v1)))
        .route("/v1/cache/inspect", reads(get(inspect::inspect)))
        .route("/v1/top", reads(get(top::top)))
        .route("/v1/cache/objects", reads(get(objects::list)))
        .route("/v1/reload", changes(post(orders::reload)))
        .route("/v1/reopen", changes(post(orders::reopen)))
        .route("/v1/upgrade", changes(post(orders::upgrade)))
        .route(
            "/v1/takedowns",
            changes(post(takedown::add).delete(takedown::lift)),
        )
        .route("/v1/takedowns", reads(get(takedown::list)))
        .route(
            "/v1/revocations",
            changes(post(revocation::add).delete(revocation::lift)),
        )
        .route("/v1/revocations", reads(get(revocation::list)))
        .route("/v1/blocks", changes(post(block::add).delete(block::lift)))
        .route("/v1/blocks", reads(get(block::list)))
        .route("/purge", purges(post(purge::url).get(purge::url)))
        .route("/pullzone/{id}/purgeCache", purges(post(purge::zone)))
        .route("/openapi.json", get(openapi))
        .merge(dashboard::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(admin), door::named))
        .with_state(Arc::clone(admin))
}

/// The API in its own words, for clients that are made from them.
async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("../../docs/openapi.json")).into_response()
}

/// The metrics, with what is counted elsewhere.
fn reading<T>(admin: &Admin, read: impl FnOnce(&Reading<'_>) -> T) -> T {
    let (node, guests) = (&admin.node, &admin.guests);
    let sites = node.sites.load();
    let origins = sites
        .iter()
        .map(|site| (site.zone.name.as_str(), &*site.origin));
    let refused = node.limits.refused();
    read(&Reading {
        store: &node.pulls.store,
        counts: &node.pulls.counts,
        connections: node.limits.connections(),
        takedowns: node.takedowns.list().len(),
        revocations: node.revocations.list().len(),
        blocks: node.blocks.list().len(),
        refused: refused
            .map(|(limit, count)| (limit.name(), count))
            .chain([("admin_connections", guests.refused())])
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
fn totals(admin: &Admin) -> Totals {
    reading(admin, |reading| Totals::of(&admin.node.metrics, reading))
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    match reading(&admin, |reading| admin.node.metrics.render(reading)) {
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
