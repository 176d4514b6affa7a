//! The node's figures as JSON: what the dashboard and `warren stats` show.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::answer;
use super::{Admin, totals};
use crate::cache::object::Object;
use crate::telemetry::CacheStatus;
use crate::telemetry::totals::Totals;
use crate::token::carrier::redact;

/// Objects that are listed, and how old the list may be: it takes a scan of
/// all that is stored.
const TOP_OBJECTS: usize = 20;
const TOP_FOR: Duration = Duration::from_secs(10);

/// The objects that were served most, and when that was looked up.
pub type Top = Option<(Instant, Vec<Arc<Object>>)>;

pub async fn stats(State(admin): State<Arc<Admin>>) -> Response {
    answer(Ok(figures(&admin).await))
}

/// Everything that `GET /v1/stats` answers. Counters count since the start.
pub async fn figures(admin: &Arc<Admin>) -> Value {
    let objects = top(admin).await;
    let (node, totals) = (&admin.node, totals(admin));
    let (count, bytes) = node.pulls.store.totals();
    let budget = &node.pulls.store.budget;
    let uptime = node.clock.monotonic() - admin.started;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": admin.started_at,
        "uptime_seconds": uptime.as_secs_f64(),
        "ready": node.is_ready(),
        "config": {
            "last_reload_successful": totals.count("warren_config_last_reload_successful") == 1,
            "reloads": totals.count_of("warren_config_reloads_total", "result", "ok"),
            "reloads_refused": totals.count_of("warren_config_reloads_total", "result", "refused"),
        },
        "connections": node.limits.connections(),
        "requests_in_progress": node.active_requests(),
        "memory": {
            "budget_bytes": budget.limit(),
            "used_bytes": budget.used(),
            "object_bytes": bytes,
            "objects": count,
        },
        "requests": totals.count("warren_requests_total"),
        "bytes": totals.count("warren_response_body_bytes_total"),
        "kinds": kinds(&totals),
        "refusals": refusals(&totals),
        "pulls": pulls(&totals, node.pulls.counts.in_flight.load(Relaxed)),
        "zones": zones(admin, &totals),
        "origins": origins(admin),
        "objects": objects.iter().map(|object| row(admin, object)).collect::<Vec<_>>(),
        "certificates": certificates(&totals),
    })
}

fn kinds(totals: &Totals) -> Vec<Value> {
    let of = |kind| {
        let sum = |family| totals.count_of(family, "subsystem", kind);
        json!({
            "kind": kind,
            "hits": sum("veza_cache_hits_total"),
            "misses": sum("veza_cache_misses_total"),
        })
    };
    super::SUBSYSTEMS.into_iter().map(of).collect()
}

fn refusals(totals: &Totals) -> Vec<Value> {
    most_first(totals.rows("warren_refusals_total").map(|row| {
        let (zone, reason) = (row.label("zone"), row.label("reason"));
        let one = json!({ "zone": zone, "reason": reason, "count": row.count() });
        (row.count(), one)
    }))
}

fn pulls(totals: &Totals, in_flight: usize) -> Value {
    let event = |name| totals.count_of("warren_pulls_total", "event", name);
    let failures = totals.rows("warren_pull_failures_total");
    let failures = failures.filter(|row| row.count() > 0).map(|row| {
        let (zone, reason) = (row.label("zone"), row.label("reason"));
        let one = json!({ "zone": zone, "reason": reason, "count": row.count() });
        (row.count(), one)
    });
    json!({
        "in_flight": in_flight,
        "started": event("started"),
        "collapsed": event("collapsed"),
        "resumed": event("resumed"),
        "over_budget": event("over_budget"),
        "failures": most_first(failures),
    })
}

/// What the requests of one zone came to.
#[derive(Default)]
struct OfZone {
    requests: u64,
    bytes: u64,
    hits: u64,
    misses: u64,
    refusals: u64,
}

fn zones(admin: &Admin, totals: &Totals) -> Vec<Value> {
    let is_hit = |name: &str| {
        let mut hits = CacheStatus::ALL.into_iter().filter(|it| it.is_hit());
        hits.any(|it| it.name() == name)
    };
    let mut all: HashMap<String, OfZone> = HashMap::new();
    for row in totals.rows("warren_requests_total") {
        let zone = all.entry(row.label("zone").to_owned()).or_default();
        zone.requests += row.count();
        match row.label("cache") {
            none if none == CacheStatus::None.name() => {}
            cache if is_hit(cache) => zone.hits += row.count(),
            _ => zone.misses += row.count(),
        }
    }
    for row in totals.rows("warren_response_body_bytes_total") {
        all.entry(row.label("zone").to_owned()).or_default().bytes += row.count();
    }
    for row in totals.rows("warren_refusals_total") {
        let zone = all.entry(row.label("zone").to_owned()).or_default();
        zone.refusals += row.count();
    }
    let sites = admin.node.sites.load();
    most_first(sites.iter().map(|site| {
        let none = OfZone::default();
        let of = all.get(&site.zone.name).unwrap_or(&none);
        let one = json!({
            "zone": site.zone.name,
            "id": site.zone.id,
            "requests": of.requests,
            "bytes": of.bytes,
            "hits": of.hits,
            "misses": of.misses,
            "refusals": of.refusals,
        });
        (of.requests, one)
    }))
}

fn origins(admin: &Admin) -> Vec<Value> {
    let sites = admin.node.sites.load();
    let states = sites.iter().flat_map(|site| {
        let states = site.origin.endpoint_states();
        states.into_iter().map(|state| (&site.zone.name, state))
    });
    let one = |(zone, state): (&String, crate::origin::EndpointState)| {
        let mean = state.waited.as_secs_f64() / state.answers.max(1) as f64;
        json!({
            "zone": zone,
            "endpoint": state.authority,
            "up": state.up,
            "circuit_opened": state.opened,
            "answers": state.answers,
            "first_byte_seconds": (state.answers > 0).then_some(mean),
        })
    };
    states.map(one).collect()
}

fn certificates(totals: &Totals) -> Vec<Value> {
    let rows = totals.rows("warren_certificate_expiry_timestamp_seconds");
    rows.map(|row| json!({ "file": row.label("file"), "expires_at": row.count() }))
        .collect()
}

async fn top(admin: &Arc<Admin>) -> Vec<Arc<Object>> {
    let now = admin.node.clock.monotonic();
    let mut top = admin.top.lock().await;
    if let Some((at, objects)) = &*top
        && now.saturating_duration_since(*at) < TOP_FOR
    {
        return objects.clone();
    }
    let store = Arc::clone(&admin.node.pulls.store);
    let scan = tokio::task::spawn_blocking(move || store.most_served(TOP_OBJECTS));
    let objects = scan.await.unwrap_or_default();
    *top = Some((now, objects.clone()));
    objects
}

fn row(admin: &Admin, object: &Object) -> Value {
    let sites = admin.node.sites.load();
    let site = sites.iter().find(|it| it.zone.realm == object.name.realm);
    json!({
        "zone": site.map(|site| site.zone.name.as_str()),
        "path": redact(object.name.path.as_str()),
        "kind": object.kind.name(),
        "bytes": object.body.len(),
        "hits": object.hits.about(),
    })
}

fn most_first(rows: impl Iterator<Item = (u64, Value)>) -> Vec<Value> {
    let mut rows: Vec<(u64, Value)> = rows.collect();
    rows.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    rows.into_iter().map(|(_, row)| row).collect()
}
