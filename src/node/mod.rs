//! The node: the only file that knows everyone. It puts the parts together,
//! starts them and ends them.

mod reload;
mod upgrade;

pub use upgrade::{READY_FD, tell_ready};

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use pingora::services::Service as _;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admin::{self, Admin, Audit, Order};
use crate::block::Blocks;
use crate::cache::budget::Budget;
use crate::cache::store::Store;
use crate::clock::Clock;
use crate::config::{Cache, Config};
use crate::edge::{Limits, Node};
use crate::listen::{self, CertificateResolver, Certificates, Inherited, Sockets};
use crate::pull::Pulls;
use crate::revocation::Revocations;
use crate::takedown::Takedowns;
use crate::telemetry::access_log::Log;
use crate::telemetry::errors::Errors;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::top::Top;
use crate::traces::Traces;
use crate::zone::{Countries, Zone};
pub use reload::Reloaded;
use reload::{Fixed, Reloading, Zones};

/// How often a drain looks whether the last request has ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// What the log's last lines may take: a server may be slow, or away.
const LAST_LINES: Duration = Duration::from_secs(5);
/// How long calls of the admin API are still answered: streams of events have no
/// end of their own.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Connections that carry no request for so long while the node stops are idle.
const DRAIN_QUIET: Duration = Duration::from_secs(1);

/// A node that serves.
pub struct Running {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub node: Arc<Node>,
    /// What the operator should know and may leave.
    pub warnings: Vec<String>,
    /// Open for as long as this node takes connections.
    sockets: Sockets,
    reloading: Reloading,
    shutdown: watch::Sender<bool>,
    edge_task: JoinHandle<()>,
    admin_task: JoinHandle<()>,
    /// What is told over the admin API as by signals.
    pub orders: mpsc::Receiver<Order>,
}

/// Starts a node on the current runtime. All sockets are bound before any of
/// them is served; an error says what could not be had.
pub async fn start(
    mut config: Config,
    clock: Clock,
    inherited: Inherited,
) -> Result<Running, String> {
    let sockets = Sockets::bind(&config.listen, config.admin.listen, inherited)?;
    let admin_listener = sockets.admin.listener();
    let admin_listener = admin_listener.map_err(|error| error.to_string())?;
    let certificates = Certificates::load(&config.certificates)?;
    let fixed = Fixed::of(&config);
    let mut warnings = std::mem::take(&mut config.warnings);
    warnings.extend(
        certificates
            .iter()
            .flat_map(|all| doubts(all, &config.zones, &clock)),
    );
    let max_files = listen::raise().map_err(|error| format!("the limit of open files: {error}"))?;
    warnings.extend(make_room(&mut config, max_files));
    let settings = config.admin.clone();
    let audit = Audit::open(settings.audit_log.as_deref(), clock.clone())?;
    let (node, zones) = build(config, clock)?;
    let node = Arc::new(node);
    let resolver = certificates.map(|certificates| {
        node.metrics.set_certificates(&certificates.expiries);
        Arc::new(CertificateResolver::new(certificates))
    });
    let (mut service, fds) = listen::service(&node, &sockets, resolver.as_ref(), max_files)?;
    let fds = Arc::new(parking_lot::Mutex::new(fds));
    let (shutdown, watched) = watch::channel(false);
    let edge_task = tokio::spawn(async move { service.start_service(Some(fds), watched, 1).await });
    let (giving, orders) = Admin::orders();
    let address = sockets.admin.address;
    let admin = Admin::new(Arc::clone(&node), &settings, address, audit, giving);
    let admin_task = tokio::spawn(admin::serve(admin_listener, Arc::clone(&admin)));
    node.metrics.ready.set(1);
    let addresses = |bound: &[listen::Bound]| bound.iter().map(|bound| bound.address).collect();
    Ok(Running {
        http: addresses(&sockets.http),
        https: addresses(&sockets.https),
        admin: sockets.admin.address,
        node,
        reloading: Reloading::new(fixed, resolver, zones, warnings.clone(), admin),
        warnings,
        sockets,
        shutdown,
        edge_task,
        admin_task,
        orders,
    })
}

/// What is doubtful of certificates beside these zones now.
pub fn doubts(certificates: &Certificates, zones: &[Zone], clock: &Clock) -> Vec<String> {
    let names = zones.iter().flat_map(|zone| &zone.hostnames);
    let now = i64::try_from(clock.unix_seconds()).unwrap_or(i64::MAX);
    certificates.doubts(names.map(String::as_str), now)
}

/// Lets no more viewers connect than files may be open beside what the rest of
/// the node needs; says so.
fn make_room(config: &mut Config, max_files: u64) -> Option<String> {
    let pulls = config.zones.iter().map(|zone| zone.origin.max_pulls).sum();
    let wanted = config.listen.max_connections;
    config.listen.max_connections = listen::viewers(max_files, wanted, pulls);
    listen::lowered(max_files, wanted, pulls)
}

fn build(config: Config, clock: Clock) -> Result<(Node, Zones), String> {
    let store = Arc::new(Store::new(Budget::new(config.cache.memory)));
    let Cache {
        max_object,
        max_riders,
        ..
    } = config.cache;
    let pulls = Pulls::new(store, clock.clone(), max_object, max_riders);
    let countries = countries(config.country_database.as_deref())?;
    let metrics = Metrics::register(&Registry::new()).map_err(|error| error.to_string())?;
    let log = Log::open(&config.access_log, &clock)
        .map_err(|error| format!("cannot open the access log: {error}"))?;
    let mut zones = Zones::default();
    let sites = zones.sites(config.zones, &metrics, &clock);
    let node = Node {
        clock,
        limits: Limits::new(&config.listen),
        listen: config.listen,
        sites: ArcSwap::from_pointee(sites),
        pulls,
        metrics: Arc::new(metrics),
        log,
        top: Top::default(),
        errors: Errors::default(),
        countries: ArcSwapOption::from_pointee(countries),
        active: Arc::default(),
        takedowns: Takedowns::open(config.admin.state_dir.as_deref())?,
        revocations: Revocations::open(config.admin.state_dir.as_deref())?,
        blocks: Blocks::open(config.admin.state_dir.as_deref())?,
        stopping: AtomicBool::new(false),
        traces: config
            .traces
            .map(|it| Traces::start(&it.collector, it.sample)),
    };
    node.takedowns.begin()?;
    node.revocations.begin()?;
    node.blocks.begin()?;
    node.trust_proxies();
    reload::tell_of_what_no_zone_needs(&node);
    Ok((node, zones))
}

fn countries(path: Option<&Path>) -> Result<Option<Countries>, String> {
    path.map(Countries::open).transpose()
}

impl Running {
    /// Opens the logs' files anew, once they were moved away. An error says
    /// which could not be; it is written on.
    pub fn reopen_logs(&self) -> Result<(), String> {
        let access = self.node.log.reopen();
        access.map_err(|error| format!("the access log: {error}"))?;
        let audit = self.reloading.admin.audit.reopen();
        audit.map_err(|error| format!("the audit log: {error}"))
    }

    /// Is not ready any more, takes connections for `delay` and then none, lets
    /// running requests end within the grace period, and returns how many were
    /// left.
    pub async fn stop(self, delay: Duration, grace: Duration) -> usize {
        self.node.stopping.store(true, Relaxed);
        self.node.metrics.ready.set(0);
        tokio::time::sleep(delay).await;
        drop(self.sockets);
        let _ = self.shutdown.send(true);
        let _ = timeout(grace, drained(&self.node)).await;
        let left = self.node.active_requests();
        let node = Arc::clone(&self.node);
        let flushed = tokio::task::spawn_blocking(move || node.log.flush());
        if timeout(LAST_LINES, flushed).await.is_err() {
            tracing::error!("the access log's last lines could not be written in time");
        }
        // After an upgrade it is the new process's.
        if !self.admin_task.is_finished() {
            keep_figures(&self.reloading.admin).await;
        }
        self.edge_task.abort();
        self.admin_task.abort();
        // Who has ordered an upgrade is to have its answer.
        let _ = timeout(LAST_ANSWERS, answered(&self.reloading.admin)).await;
        left
    }
}

/// Puts the last hour and what was counted on disk.
async fn keep_figures(admin: &Arc<Admin>) {
    let admin = Arc::clone(admin);
    let _ = tokio::task::spawn_blocking(move || admin.keep_figures()).await;
}

/// Waits until no call of the admin API is being answered, and what was answered
/// last is on its way.
async fn answered(admin: &Admin) {
    let mut calls = admin.calls();
    loop {
        tokio::time::sleep(DRAIN_POLL).await;
        let before = std::mem::replace(&mut calls, admin.calls());
        if before == 0 && calls == 0 {
            return;
        }
    }
}

/// Waits until every connection is closed, or none of them has moved for a
/// while: each answer is now the last one of its connection.
async fn drained(node: &Node) {
    let open = || node.limits.connections();
    let now = || node.clock.monotonic();
    let (mut before, mut since) = (open(), now());
    while before > 0 {
        tokio::time::sleep(DRAIN_POLL).await;
        if node.active_requests() > 0 || open() != before {
            (before, since) = (open(), now());
        } else if now() - since >= DRAIN_QUIET {
            return;
        }
    }
}
