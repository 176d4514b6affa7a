//! A new configuration for a running node. What is sound is taken over whole;
//! what is not changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Running, countries, doubts};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::config::{Cache, Config, Tracing};
use crate::edge::{Listen, Node, Site};
use crate::listen::{CertificateResolver, Certificates};
use crate::origin::{self, Origin};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::zone::{ByHost, Zone};

/// What only a restart changes: sockets, threads, memory, log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    listen: Listen,
    admin: (SocketAddr, [Option<PathBuf>; 2]),
    cache: Cache,
    log: AccessLog,
    traces: Option<Tracing>,
}

impl Fixed {
    pub fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            admin: (
                config.admin.listen,
                [
                    config.admin.audit_log.clone(),
                    config.admin.state_dir.clone(),
                ],
            ),
            cache: config.cache,
            log: config.access_log.clone(),
            traces: config.traces.clone(),
        }
    }

    /// The tables that differ.
    fn differs(&self, other: &Self) -> Vec<&'static str> {
        let tables = [
            ("listen", self.listen != other.listen),
            ("admin", self.admin != other.admin),
            ("cache", self.cache != other.cache),
            ("log", self.log != other.log),
            ("traces", self.traces != other.traces),
        ];
        let differs = tables.into_iter().filter(|(_, differs)| *differs);
        differs.map(|(name, _)| name).collect()
    }
}

/// The zones in force, and what those before them leave behind.
#[derive(Default)]
pub(super) struct Zones {
    origins: HashMap<String, Arc<Origin>>,
}

impl Zones {
    /// Puts zones to work. An origin whose settings stay keeps its connections.
    pub fn sites(&mut self, zones: Vec<Zone>, metrics: &Metrics, clock: &Clock) -> ByHost<Site> {
        let before = std::mem::take(&mut self.origins);
        let mut sites = Vec::new();
        for zone in zones {
            let kept = before.get(&zone.name);
            let origin = kept
                .filter(|origin| *origin.settings() == zone.origin)
                .map_or_else(|| open(&zone, kept, clock), Arc::clone);
            self.origins.insert(zone.name.clone(), Arc::clone(&origin));
            let keys = zone.token.as_ref().map_or(&[][..], |policy| &policy.keys);
            let counters = metrics.zone(&zone.name, keys);
            let zone = Arc::new(zone);
            sites.push(Site {
                zone,
                origin,
                counters,
            });
        }
        ByHost::new(sites.into_iter().map(|site| (Arc::clone(&site.zone), site)))
    }
}

/// A zone's origin, and who looks after its endpoints.
fn open(zone: &Zone, before: Option<&Arc<Origin>>, clock: &Clock) -> Arc<Origin> {
    let origin = Arc::new(Origin::new(&zone.name, zone.origin.clone(), clock.clone()));
    if let Some(before) = before {
        origin.go_on_from(before);
    }
    origin::watch(&origin);
    origin
}

/// What a reload needs to know of the start.
pub(super) struct Reloading {
    fixed: Fixed,
    /// `None` where nothing is served over TLS.
    resolver: Option<Arc<CertificateResolver>>,
    zones: Mutex<Zones>,
    /// What the operator has been warned of.
    warned: Mutex<Vec<String>>,
    pub(super) admin: Arc<Admin>,
}

impl Reloading {
    pub fn new(
        fixed: Fixed,
        resolver: Option<Arc<CertificateResolver>>,
        zones: Zones,
        warned: Vec<String>,
        admin: Arc<Admin>,
    ) -> Self {
        Self {
            fixed,
            resolver,
            zones: Mutex::new(zones),
            warned: Mutex::new(warned),
            admin,
        }
    }
}

/// What is kept of zones that are gone holds nothing, and a zone that has only
/// been renamed has lost it: says so.
pub(super) fn tell_of_what_no_zone_needs(node: &Node) {
    let sites = node.sites.load();
    let names: HashSet<&str> = sites.iter().map(|site| site.zone.name.as_str()).collect();
    let (takedowns, revocations) = (node.takedowns.list(), node.revocations.list());
    let mut gone: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for takedown in takedowns.iter() {
        gone.entry(&takedown.zone).or_default().0 += 1;
    }
    for revocation in revocations.iter() {
        gone.entry(&revocation.zone).or_default().1 += 1;
    }
    gone.retain(|zone, _| !names.contains(zone));
    for (zone, (takedowns, revocations)) in gone {
        tracing::warn!(
            zone,
            takedowns,
            revocations,
            "no zone has this name: what is taken down and revoked in it holds nowhere"
        );
    }
}

/// What a reload has not taken over, and what is doubtful of what it has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The tables whose change needs a restart.
    pub needs_restart: Vec<&'static str>,
    /// Those that are new.
    pub warnings: Vec<String>,
    /// What start or reload before it has warned of, and what is still so.
    pub warned_before: usize,
}

impl Running {
    /// Takes over zones, certificates and the country database. An error says what
    /// is wrong; then nothing has changed.
    pub fn reload(&self, mut config: Config) -> Result<Reloaded, String> {
        let certificates = Certificates::load(&config.certificates)?;
        if self.reloading.resolver.is_some() && certificates.is_none() {
            return Err("https is served: it needs a certificate".into());
        }
        let countries = countries(config.country_database.as_deref())?;
        let needs_restart = self.reloading.fixed.differs(&Fixed::of(&config));
        let node = &self.node;
        let mut warnings = std::mem::take(&mut config.warnings);
        let served = certificates
            .iter()
            .filter(|_| self.reloading.resolver.is_some());
        warnings.extend(served.flat_map(|all| doubts(all, &config.zones, &node.clock)));
        if let (Some(resolver), Some(certificates)) = (&self.reloading.resolver, certificates) {
            node.metrics.set_certificates(&certificates.expiries);
            resolver.replace(certificates);
        }
        self.reloading.admin.replace_doors(&config.admin);
        let mut zones = self
            .reloading
            .zones
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sites = zones.sites(config.zones, &node.metrics, &node.clock);
        node.countries.store(countries.map(Arc::new));
        node.replace_sites(sites);
        tell_of_what_no_zone_needs(node);
        let mut warned = self
            .reloading
            .warned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *warned, warnings.clone());
        let (known, new) = warnings
            .into_iter()
            .partition::<Vec<_>, _>(|it| before.contains(it));
        Ok(Reloaded {
            needs_restart,
            warnings: new,
            warned_before: known.len(),
        })
    }
}
