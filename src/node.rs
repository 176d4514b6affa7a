//! The node: the only file that knows everyone. It puts the parts together,
//! starts them and ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::services::Service as _;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin;
use crate::cache::budget::Budget;
use crate::cache::store::Store;
use crate::clock::Clock;
use crate::config::Config;
use crate::edge::{Node, Site};
use crate::listen::{self, CertificateResolver, Sockets};
use crate::origin::Origin;
use crate::pull::Pulls;
use crate::telemetry::access_log::Log;
use crate::telemetry::metrics::Metrics;
use crate::zone::{ByHost, Countries, Zone};

/// How often a drain looks whether the last request has ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A node that serves.
pub struct Running {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub node: Arc<Node>,
    shutdown: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a node on the current runtime. All sockets are bound before any of
/// them is served; an error says what could not be had.
pub async fn start(config: Config, clock: Clock) -> Result<Running, String> {
    let sockets = Sockets::bind(&config.listen.http, &config.listen.https)?;
    let admin_listener = tokio::net::TcpListener::bind(config.admin.listen)
        .await
        .map_err(|error| format!("cannot listen on {} (admin): {error}", config.admin.listen))?;
    let admin = admin_listener
        .local_addr()
        .map_err(|error| error.to_string())?;
    let resolver = CertificateResolver::load(&config.certificates)?.map(Arc::new);
    let node = Arc::new(build(config, clock)?);
    let (mut service, fds) = listen::service(&node, &sockets, resolver.as_ref())?;
    let fds = Arc::new(parking_lot::Mutex::new(fds));
    let (shutdown, watched) = watch::channel(false);
    let edge = tokio::spawn(async move { service.start_service(Some(fds), watched, 1).await });
    let admin_task = tokio::spawn(admin::serve(admin_listener, Arc::clone(&node)));
    node.metrics.ready.set(1);
    let addresses = |bound: &[listen::Bound]| bound.iter().map(|bound| bound.address).collect();
    Ok(Running {
        http: addresses(&sockets.http),
        https: addresses(&sockets.https),
        admin,
        node,
        shutdown,
        tasks: vec![edge, admin_task],
    })
}

fn build(config: Config, clock: Clock) -> Result<Node, String> {
    let store = Arc::new(Store::new(Budget::new(config.cache.memory)));
    let pulls = Pulls::new(store, clock.clone(), config.cache.max_object);
    let countries = match &config.country_database {
        Some(path) => Some(Countries::open(path)?),
        None => None,
    };
    let metrics = Metrics::register(&Registry::new()).map_err(|error| error.to_string())?;
    let log = Log::open(&config.access_log)
        .map_err(|error| format!("cannot open the access log: {error}"))?;
    let zones: Vec<Arc<Zone>> = config.zones.into_iter().map(Arc::new).collect();
    let site = |zone: &Arc<Zone>| Site {
        origin: Arc::new(Origin::new(zone.origin.clone(), clock.clone())),
        counters: metrics.zone(
            &zone.name,
            zone.token.as_ref().map_or(&[], |policy| &policy.keys),
        ),
        zone: Arc::clone(zone),
    };
    let sites = ByHost::new(zones.iter().map(|zone| (&**zone, site(zone))));
    Ok(Node {
        clock,
        listen: config.listen,
        sites,
        pulls,
        metrics: Arc::new(metrics),
        log,
        countries,
        active: Arc::default(),
    })
}

impl Running {
    /// Takes no more connections, lets running requests end within the grace
    /// period, and returns how many were left.
    pub async fn stop(self, grace: Duration) -> usize {
        self.node.metrics.ready.set(0);
        let _ = self.shutdown.send(true);
        let drained = async {
            while self.node.active_requests() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        let _ = tokio::time::timeout(grace, drained).await;
        let left = self.node.active_requests();
        self.node.log.flush();
        for task in self.tasks {
            task.abort();
        }
        left
    }
}
