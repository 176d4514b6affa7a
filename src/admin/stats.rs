//! The node's figures as JSON: what the dashboard and `warren stats` show.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::answer;
use super::lately::{FirstBytes, percentiles};
use super::{Admin, totals};
use crate::cache::object::Object;
use crate::telemetry::CacheStatus;
use crate::telemetry::errors;
use crate::telemetry::totals::Totals;
use crate::token::carrier::redact;

/// Objects that are listed, and how old the list may be: it takes a scan of
/// all that is stored.
const TOP_OBJECTS: usize = 20;
const TOP_FOR: Duration = Duration::from_secs(10);
/// Kinds of answers of 400 and more that are told.
const MOST_ERRORS: usize = 100;
/// Who stays for less is evicted while his viewers watch, in seconds.
const SHORT_STAY: f64 = 600.0;

/// The objects that were served most, and when that was looked up.
pub type Top = Option<(Instant, Vec<Arc<Object>>)>;

pub async fn stats(State(admin): State<Arc<Admin>>) -> Response {
    answer(Ok(figures(&admin).await))
}

/// Everything that `GET /v1/stats` answers. Counters count from `counted_since`,
/// those of reloads and of endpoints from the start.
pub async fn figures(admin: &Arc<Admin>) -> Value {
    let objects = top(admin).await;
    let (node, own) = (&admin.node, totals(admin));
    let (count, bytes) = node.pulls.store.totals();
    let budget = &node.pulls.store.budget;
    let uptime = node.clock.monotonic() - admin.started;
    let advice = advice(evicted(&own, "size"), count, uptime);
    let since_start = FirstBytes::of(&own);
    let lately = admin.lately.read(&since_start);
    let totals = own.plus(&admin.counted.series);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": admin.started_at,
        "uptime_seconds": uptime.as_secs_f64(),
        "counted_since": admin.counted.since,
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
            "advice": advice,
        },
        "evictions": {
            "size": evicted(&totals, "size"),
            "replaced": evicted(&totals, "replaced"),
            "explicit": evicted(&totals, "explicit"),
        },
        "requests": totals.count("warren_requests_total"),
        "bytes": totals.count("warren_response_body_bytes_total"),
        "statuses": statuses(&totals),
        "first_byte": first_byte(&since_start, &lately),
        "keys": keys(&totals),
        "kinds": kinds(&totals),
        "refusals": refusals(&totals),
        "errors": errors(admin),
        "pulls": pulls(admin, &totals, node.pulls.counts.in_flight.load(Relaxed)),
        "zones": zones(admin, &totals),
        "origins": origins(admin, &lately),
        "objects": objects.iter().map(|object| row(admin, object)).collect::<Vec<_>>(),
        "certificates": certificates(&totals),
    })
}

fn evicted(totals: &Totals, cause: &str) -> u64 {
    totals.count_of("warren_cache_evictions_total", "cause", cause)
}

/// Whether the cache is too small, by how long objects stay in it.
fn advice(evicted: u64, objects: u64, uptime: Duration) -> String {
    if evicted == 0 {
        return "nothing was evicted for room: the cache is large enough so far".to_owned();
    }
    let stay = uptime.as_secs_f64() * objects as f64 / evicted as f64;
    let minutes = (stay / 60.0).round();
    match stay {
        0.0..SHORT_STAY => format!(
            "objects stay about {stay:.0} s before they are evicted for room: raise cache.memory"
        ),
        _ => format!(
            "objects stay about {minutes} min before they are evicted for room: more cache.memory \
             helps where they are asked for again after that"
        ),
    }
}

fn statuses(totals: &Totals) -> Vec<Value> {
    let mut all: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let rows: Vec<_> = totals.rows("warren_requests_total").collect();
    for row in &rows {
        let place = (row.label("zone"), row.label("status_class"));
        *all.entry(place).or_default() += row.count();
    }
    let all = all.into_iter().filter(|(_, count)| *count > 0);
    most_first(all.map(|((zone, class), count)| {
        let one = json!({ "zone": zone, "class": class, "count": count });
        (count, one)
    }))
}

/// How long viewers wait for their first byte, since the start and in the last
/// minutes.
fn first_byte(since_start: &FirstBytes, lately: &FirstBytes) -> Vec<Value> {
    let all = since_start.viewers.iter();
    most_first(all.filter(|(_, all)| all.count() > 0).map(|(cache, all)| {
        let mut one = percentiles(Some(all));
        one["cache"] = cache.concat().into();
        one["lately"] = percentiles(lately.viewers.get(cache));
        (all.count(), one)
    }))
}

/// What viewers were answered with 400 and more, the latest first.
fn errors(admin: &Admin) -> Vec<Value> {
    let sites = admin.node.sites.load();
    let all = admin.node.errors.read().into_iter();
    let one = |(kind, seen): (errors::Kind, errors::Seen)| {
        let site = sites.iter().find(|site| site.zone.id == kind.zone);
        let paths = seen.paths.iter();
        let paths = paths.map(|(at, path)| json!({ "at": at, "path": path }));
        json!({
            "zone": site.map(|site| site.zone.name.as_str()),
            "status": kind.status,
            "reason": kind.reason,
            "count": seen.count,
            "first": seen.first,
            "last": seen.last,
            "paths": paths.collect::<Vec<_>>(),
        })
    };
    all.take(MOST_ERRORS).map(one).collect()
}

/// How often each security key has let somebody in.
fn keys(totals: &Totals) -> Vec<Value> {
    most_first(totals.rows("warren_token_uses_total").map(|row| {
        let (zone, key, scheme) = (row.label("zone"), row.label("key"), row.label("scheme"));
        let one = json!({ "zone": zone, "key": key, "scheme": scheme, "count": row.count() });
        (row.count(), one)
    }))
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

fn pulls(admin: &Admin, totals: &Totals, in_flight: usize) -> Value {
    let event = |name| totals.count_of("warren_pulls_total", "event", name);
    let failures = totals.rows("warren_pull_failures_total");
    let failures = failures.filter(|row| row.count() > 0).map(|row| {
        let (zone, reason) = (row.label("zone"), row.label("reason"));
        let last = last_failure(admin, zone, reason);
        let one = json!({ "zone": zone, "reason": reason, "count": row.count(), "last": last });
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

/// When pulls of a zone last failed so, in Unix seconds; `None`: not since the start.
fn last_failure(admin: &Admin, zone: &str, reason: &str) -> Option<u64> {
    let sites = admin.node.sites.load();
    let site = sites.iter().find(|site| site.zone.name == zone)?;
    let mut all = site.origin.failures();
    let (_, _, last) = all.find(|(failure, ..)| failure.name() == reason)?;
    (last > 0).then_some(last)
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

fn origins(admin: &Admin, lately: &FirstBytes) -> Vec<Value> {
    let (sites, wall) = (admin.node.sites.load(), admin.node.clock.unix_seconds());
    let states = sites.iter().flat_map(|site| {
        let states = site.origin.endpoint_states();
        states.into_iter().map(|state| (&site.zone.name, state))
    });
    let one = |(zone, state): (&String, crate::origin::EndpointState)| {
        let answers = state.waited.answers();
        let mean = state.waited.total.as_secs_f64() / answers.max(1) as f64;
        let place = vec![zone.clone(), state.authority.clone()];
        json!({
            "zone": zone,
            "endpoint": state.authority,
            "up": state.up,
            "last_failure": state.failed.map(|(why, ago)| json!({
                "reason": why.name(),
                "at": wall.saturating_sub(ago.as_secs()),
            })),
            "circuit_opened": state.opened,
            "answers": answers,
            "first_byte_seconds": (answers > 0).then_some(mean),
            "lately": percentiles(lately.endpoints.get(&place)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_too_small_where_objects_do_not_stay() {
        let hour = Duration::from_secs(3600);
        let table = [
            (0, 10, "large enough"),
            (
                1_000,
                100,
                "about 360 s before they are evicted for room: raise",
            ),
            (100, 100, "about 60 min before"),
        ];
        for (evicted, objects, want) in table {
            let said = advice(evicted, objects, hour);
            assert!(said.contains(want), "{said}");
        }
    }
}
