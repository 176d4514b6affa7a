//! What is stored under a prefix.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::answer::{Wrong, answer};
use super::place::said_of;
use crate::cache::object::Object;
use crate::token::carrier::redact;

/// Objects of one answer.
const DEFAULT_LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 10_000;

#[derive(Deserialize)]
pub struct Call {
    /// A URL, or a path with `zone`: what begins so.
    prefix: String,
    zone: Option<String>,
    limit: Option<usize>,
}

pub async fn list(
    State(admin): State<Arc<Admin>>,
    call: Result<Query<Call>, QueryRejection>,
) -> Response {
    answer(look(&admin, call))
}

fn look(admin: &Admin, call: Result<Query<Call>, QueryRejection>) -> Result<Value, Wrong> {
    let Query(call) = call.map_err(|error| Wrong::bad_query(&error))?;
    let (site, prefix) = said_of(admin, &call.prefix, call.zone.as_deref(), "prefix")?;
    let limit = call.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let (realm, prefix) = (site.zone.realm, prefix.as_str());
    let mut found = admin.node.pulls.store.under(realm, prefix);
    found.sort_by(|one, two| one.name.path.as_str().cmp(two.name.path.as_str()));
    let bytes: u64 = found.iter().map(|object| object.body.len()).sum();
    let listed = found.iter().take(limit).map(|object| facts(admin, object));
    Ok(json!({
        "zone": site.zone.name,
        "count": found.len(),
        "bytes": bytes,
        "objects": listed.collect::<Vec<_>>(),
    }))
}

fn facts(admin: &Admin, object: &Object) -> Value {
    let now = admin.node.clock.monotonic();
    json!({
        "path": redact(object.name.path.as_str()),
        "status": object.status,
        "kind": object.kind.name(),
        "bytes": object.body.len(),
        "age": object.freshness.age(now).as_secs(),
        "fresh_for": object.freshness.remaining(now).as_secs(),
        "hits": object.hits.about(),
    })
}
