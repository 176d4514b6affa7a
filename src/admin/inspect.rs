//! What is stored of a URL.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::answer::{Wrong, answer};
use super::place::{asked_at, over_tls, place};
use crate::cache::lifetime::State as Standing;
use crate::cache::object::Object;
use crate::edge::stored;
use crate::token::carrier::redact;

#[derive(Deserialize)]
pub struct Call {
    url: Option<String>,
    zone: Option<String>,
}

pub async fn inspect(
    State(admin): State<Arc<Admin>>,
    call: Result<Query<Call>, QueryRejection>,
) -> Response {
    answer(look(&admin, call))
}

fn look(admin: &Admin, call: Result<Query<Call>, QueryRejection>) -> Result<Value, Wrong> {
    let Query(call) = call.map_err(|error| Wrong::bad_query(&error))?;
    let url = call.url.as_deref().unwrap_or_default();
    let (site, path) = place(admin, url, call.zone.as_deref(), "url")?;
    let query = url.split('#').next().and_then(|url| url.split_once('?'));
    let query = query.map(|(_, query)| query);
    let https = over_tls(admin, url);
    let host = asked_at(&site, url);
    let found = stored(&admin.node, &site, &path, query, &host, https);
    let mut answer = json!({
        "zone": site.zone.name,
        "path": redact(path.as_str()),
        "kind": found.kind.name(),
        "key": &*found.key.fingerprint(),
        "stored": found.object.is_some(),
    });
    if let (Some(object), Some(answer)) = (&found.object, answer.as_object_mut()) {
        answer.extend(facts(admin, object));
    }
    Ok(answer)
}

/// What is known of a stored object; times in seconds.
fn facts(admin: &Admin, object: &Object) -> serde_json::Map<String, Value> {
    let now = admin.node.clock.monotonic();
    let state = match object.state(now) {
        Standing::Fresh => "fresh",
        Standing::StaleWhileRevalidate => "stale_while_revalidate",
        Standing::StaleIfError => "stale_if_error",
        Standing::Expired => "expired",
    };
    let lifetime = object.freshness.lifetime;
    let facts = json!({
        "state": state,
        "status": object.status,
        "bytes": object.body.len(),
        "age": object.freshness.age(now).as_secs_f64(),
        "fresh_for": object.freshness.remaining(now).as_secs_f64(),
        "stale_while_revalidate": lifetime.stale_while_revalidate.as_secs_f64(),
        "stale_if_error": lifetime.stale_if_error.as_secs_f64(),
        "etag": object.validators.etag,
        "last_modified": object.validators.last_modified,
        "tags": object.name.tags,
        "hits": object.hits.about(),
    });
    match facts {
        Value::Object(facts) => facts,
        _ => serde_json::Map::new(),
    }
}
