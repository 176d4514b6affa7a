//! Prometheus metrics, in base units and with bounded labels: no path, no
//! address, no token.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::CacheStatus;
use super::cmcd::CmcdMetrics;
use super::origins::OriginMetrics;
pub use super::zone_counters::ZoneCounters;
use crate::cache::store::Store;
use crate::hls::Kind;
use crate::origin::Origin;
use crate::pull::Counts;
use crate::token::Key;

/// Seconds; from a hit's fraction of a millisecond to a held playlist.
const FIRST_BYTE_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// All families, each registered once.
pub struct Metrics {
    registry: Registry,
    hits: IntCounterVec,
    misses: IntCounterVec,
    requests: IntCounterVec,
    bytes: IntCounterVec,
    /// Of requests that no zone serves.
    pub nowhere: ZoneCounters,
    first_byte: HistogramVec,
    refusals: IntCounterVec,
    bypasses: IntCounterVec,
    token_uses: IntCounterVec,
    pulls: IntCounterVec,
    evictions: IntCounterVec,
    pulls_in_flight: IntGauge,
    objects: IntGauge,
    object_bytes: IntGauge,
    budget: IntGauge,
    used: IntGauge,
    /// One scrape at a time: counters kept elsewhere are brought up to date.
    scrape: Mutex<()>,
    pub log_lines_dropped: IntCounter,
    pub ready: IntGauge,
    connections: IntGauge,
    connections_refused: IntCounterVec,
    viewers_ended: IntCounterVec,
    reloads: IntCounterVec,
    reload_successful: IntGauge,
    certificate_expiries: IntGaugeVec,
    purges: IntCounterVec,
    purged: IntCounter,
    live_restarts: IntCounter,
    spans_dropped: IntCounter,
    takedowns: IntGauge,
    revocations: IntGauge,
    blocks: IntGauge,
    origins: OriginMetrics,
    /// What players say.
    pub cmcd: CmcdMetrics,
    hot: Hot,
}

/// Handles of the request path, resolved once.
#[derive(Default)]
struct Hot {
    hits: [OnceLock<IntCounter>; KINDS],
    misses: [OnceLock<IntCounter>; KINDS],
    first_byte: [[OnceLock<Histogram>; STATUSES]; KINDS],
}

/// The label `subsystem`: the kinds of object, those that are alike together.
pub const SUBSYSTEMS: [&str; 5] = ["playlist", "segment", "init", "key", "other"];

const KINDS: usize = Kind::ALL.len();
const STATUSES: usize = CacheStatus::ALL.len();

/// One answered request, as far as metrics count it.
pub struct Answered<'a> {
    pub zone: &'a ZoneCounters,
    pub kind: Kind,
    pub cache: CacheStatus,
    pub status: u16,
    pub bytes: u64,
    pub first_byte: Option<Duration>,
}

/// What is counted elsewhere, and read when somebody asks.
pub struct Reading<'a> {
    pub store: &'a Store,
    pub counts: &'a Counts,
    pub connections: usize,
    /// Connections closed before their first request, by limit.
    pub refused: Vec<(&'static str, u64)>,
    /// Viewers who were ended for what others needed, by limit.
    pub ended: Vec<(&'static str, u64)>,
    /// By their zones' names.
    pub origins: Vec<(&'a str, &'a Origin)>,
    pub spans_dropped: u64,
    /// On the node's lists.
    pub takedowns: usize,
    pub revocations: usize,
    pub blocks: usize,
}

impl Metrics {
    /// An error where a family is already registered.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let add = |collector: Box<dyn Collector>| registry.register(collector);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            add(Box::new(vec.clone())).map(|()| vec)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
            add(Box::new(vec.clone())).map(|()| vec)
        };
        let first_byte_options = HistogramOpts::new(
            "warren_time_to_first_byte_seconds",
            "From the end of the request's head to the start of the response.",
        )
        .buckets(FIRST_BYTE_BUCKETS.to_vec());
        let first_byte = HistogramVec::new(first_byte_options, &["kind", "cache"])?;
        add(Box::new(first_byte.clone()))?;
        let log_lines_dropped = IntCounter::new(
            "warren_access_log_dropped_total",
            "Log lines lost because the writer was too slow, or the disk full.",
        )?;
        add(Box::new(log_lines_dropped.clone()))?;
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            add(Box::new(gauge.clone())).map(|()| gauge)
        };
        let purged = IntCounter::new(
            "warren_purged_objects_total",
            "Stored objects that purges have named.",
        )?;
        add(Box::new(purged.clone()))?;
        let live_restarts = IntCounter::new(
            "warren_live_restarts_total",
            "Live playlists that turned out to be of another broadcast.",
        )?;
        add(Box::new(live_restarts.clone()))?;
        let spans_dropped = IntCounter::new(
            "warren_spans_dropped_total",
            "Spans that the collector did not get.",
        )?;
        add(Box::new(spans_dropped.clone()))?;
        let ready = gauge("warren_ready", "1 while the node takes new requests.")?;
        let build = gauges(
            "warren_build_info",
            "Always 1; the labels say what runs.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let reload_successful = gauge(
            "warren_config_last_reload_successful",
            "1 where the last reload was taken over, or there was none.",
        )?;
        reload_successful.set(1);
        let requests = counters(
            "warren_requests_total",
            "Requests answered.",
            &["zone", "kind", "status_class", "cache"],
        )?;
        let bytes = counters(
            "warren_response_body_bytes_total",
            "Body bytes sent to viewers.",
            &["zone", "kind"],
        )?;
        let token_uses = counters(
            "warren_token_uses_total",
            "Tokens accepted, by key.",
            &["zone", "key", "scheme"],
        )?;
        let nowhere = [&requests, &bytes, &token_uses].map(Clone::clone);
        let metrics = Self {
            nowhere: ZoneCounters::new("-", &[], nowhere),
            hits: counters(
                "veza_cache_hits_total",
                "Requests answered from memory.",
                &["subsystem"],
            )?,
            misses: counters(
                "veza_cache_misses_total",
                "Requests that waited for the origin.",
                &["subsystem"],
            )?,
            requests,
            bytes,
            first_byte,
            refusals: counters(
                "warren_refusals_total",
                "Requests refused, by reason.",
                &["zone", "reason"],
            )?,
            bypasses: counters(
                "warren_bypasses_total",
                "Answers not stored, by reason.",
                &["reason"],
            )?,
            token_uses,
            pulls: counters(
                "warren_pulls_total",
                "Pulls started, requests that rode one, bodies over budget.",
                &["event"],
            )?,
            evictions: counters(
                "warren_cache_evictions_total",
                "Objects removed, by cause.",
                &["cause"],
            )?,
            connections: gauge("warren_connections", "Connections of viewers.")?,
            connections_refused: counters(
                "warren_connections_refused_total",
                "Connections closed before their first request, by limit.",
                &["limit"],
            )?,
            viewers_ended: counters(
                "warren_viewers_ended_total",
                "Answers ended, or not begun, for what standing viewers kept from others, by limit.",
                &["limit"],
            )?,
            reloads: counters(
                "warren_config_reloads_total",
                "Reloads of the configuration, by result.",
                &["result"],
            )?,
            reload_successful,
            certificate_expiries: gauges(
                "warren_certificate_expiry_timestamp_seconds",
                "When a certificate ends, in Unix time.",
                &["file"],
            )?,
            purges: counters(
                "warren_purges_total",
                "Calls that purge, by what they do.",
                &["kind"],
            )?,
            purged,
            live_restarts,
            spans_dropped,
            origins: OriginMetrics::register(registry)?,
            takedowns: gauge(
                "warren_takedowns",
                "Takedowns on the node's list, those that are over too.",
            )?,
            revocations: gauge("warren_revocations", "Revocations on the node's list.")?,
            blocks: gauge("warren_blocks", "Blocked addresses on the node's list.")?,
            pulls_in_flight: gauge("warren_pulls_in_flight", "Pulls under way.")?,
            objects: gauge("warren_cache_objects", "Objects stored.")?,
            object_bytes: gauge(
                "warren_cache_bytes",
                "Bytes of stored objects, with their overhead.",
            )?,
            budget: gauge(
                "warren_memory_budget_bytes",
                "The memory that bodies may take.",
            )?,
            used: gauge(
                "warren_memory_used_bytes",
                "Taken of the budget: stored, in flight and idle chunks.",
            )?,
            scrape: Mutex::default(),
            log_lines_dropped,
            ready,
            cmcd: CmcdMetrics::register(registry)?,
            hot: Hot::default(),
            registry: registry.clone(),
        };
        for kind in Kind::ALL {
            metrics.hits.with_label_values(&[kind.subsystem()]);
            metrics.misses.with_label_values(&[kind.subsystem()]);
        }
        Ok(metrics)
    }

    pub fn count(&self, answered: &Answered<'_>) {
        let (kind, cache) = (answered.kind as usize, answered.cache as usize);
        let (cells, vec) = match answered.cache.is_hit() {
            true => (&self.hot.hits, &self.hits),
            false => (&self.hot.misses, &self.misses),
        };
        if answered.cache != CacheStatus::None {
            cells[kind]
                .get_or_init(|| vec.with_label_values(&[answered.kind.subsystem()]))
                .inc();
        }
        answered.zone.count(answered);
        let kind_name = answered.kind.subsystem();
        if let Some(first_byte) = answered.first_byte {
            let cell = &self.hot.first_byte[kind][cache];
            let histogram = cell.get_or_init(|| {
                self.first_byte
                    .with_label_values(&[kind_name, answered.cache.name()])
            });
            histogram.observe(first_byte.as_secs_f64());
        }
    }

    pub fn count_refusal(&self, zone: &str, reason: &str) {
        self.refusals.with_label_values(&[zone, reason]).inc();
    }

    /// A purge that named so many stored objects.
    pub fn count_purge(&self, dry_run: bool, objects: usize) {
        let kind = if dry_run { "dry_run" } else { "purge" };
        self.purges.with_label_values(&[kind]).inc();
        if !dry_run {
            self.purged.inc_by(objects as u64);
        }
    }

    pub fn count_bypass(&self, reason: &str) {
        self.bypasses.with_label_values(&[reason]).inc();
    }

    /// The counters of one zone; `keys` are the names of its keys.
    pub fn zone(&self, name: &str, keys: &[Key]) -> ZoneCounters {
        ZoneCounters::new(
            name,
            keys,
            [&self.requests, &self.bytes, &self.token_uses].map(Clone::clone),
        )
    }

    pub fn note_reload(&self, successful: bool) {
        let result = if successful { "ok" } else { "refused" };
        self.reloads.with_label_values(&[result]).inc();
        self.reload_successful.set(i64::from(successful));
    }

    /// `expiries`: of the certificates in force, in Unix time.
    pub fn set_certificates(&self, expiries: &[(String, i64)]) {
        self.certificate_expiries.reset();
        for (file, expiry) in expiries {
            self.certificate_expiries
                .with_label_values(&[file])
                .set(*expiry);
        }
    }

    /// The text that a scrape gets.
    pub fn render(&self, reading: &Reading<'_>) -> Result<String, Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.gather(reading), &mut text)?;
        String::from_utf8(text).map_err(|error| Error::Msg(error.to_string()))
    }

    /// Every family as it is now.
    pub(super) fn gather(&self, reading: &Reading<'_>) -> Vec<MetricFamily> {
        let Reading { store, counts, .. } = reading;
        let set =
            |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let spans_dropped = &self.spans_dropped;
        spans_dropped.inc_by(reading.spans_dropped.saturating_sub(spans_dropped.get()));
        set(&self.connections, reading.connections as u64);
        set(&self.takedowns, reading.takedowns as u64);
        set(&self.revocations, reading.revocations as u64);
        set(&self.blocks, reading.blocks as u64);
        for (limit, count) in &reading.refused {
            catch_up(&self.connections_refused, &[limit], *count);
        }
        for (limit, count) in &reading.ended {
            catch_up(&self.viewers_ended, &[limit], *count);
        }
        let first_bytes = self.origins.read(&reading.origins);
        let (objects, bytes) = store.totals();
        set(&self.objects, objects);
        set(&self.object_bytes, bytes);
        set(&self.budget, store.budget.limit() as u64);
        set(&self.used, store.budget.used() as u64);
        set(&self.pulls_in_flight, counts.in_flight.load(Relaxed) as u64);
        let evictions = store.evictions();
        for (cause, count) in [
            ("size", &evictions.size),
            ("replaced", &evictions.replaced),
            ("explicit", &evictions.explicit),
        ] {
            catch_up(&self.evictions, &[cause], count.load(Relaxed));
        }
        for (event, count) in [
            ("started", &counts.started),
            ("collapsed", &counts.collapsed),
            ("over_budget", &counts.over_budget),
            ("resumed", &counts.resumed),
        ] {
            catch_up(&self.pulls, &[event], count.load(Relaxed));
        }
        let restarts = counts.live_restarts.load(Relaxed);
        let told = self.live_restarts.get();
        self.live_restarts.inc_by(restarts.saturating_sub(told));
        let mut all = self.registry.gather();
        all.push(first_bytes);
        all
    }
}

/// Brings a counter up to what was counted elsewhere.
pub(super) fn catch_up(vec: &IntCounterVec, labels: &[&str], value: u64) {
    let counter = vec.with_label_values(labels);
    counter.inc_by(value.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_belongs_to_a_subsystem() {
        for kind in Kind::ALL {
            assert!(SUBSYSTEMS.contains(&kind.subsystem()), "{}", kind.name());
        }
    }

    #[test]
    fn registering_the_set_twice_is_an_error_with_a_message() {
        let registry = Registry::new();
        assert!(Metrics::register(&registry).is_ok());
        let error = Metrics::register(&registry)
            .err()
            .map(|error| error.to_string());
        assert!(error.is_some_and(|message| message.contains("Duplicate")));
    }
}
