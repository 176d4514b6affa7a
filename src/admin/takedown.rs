//! Takedowns: what is not served any more, listed and lifted again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::answer::{Style, Wrong, ok};
use super::place::{MAX_ITEMS, place};
use crate::config::Rights;
use crate::takedown::{Takedown, Takedowns};

/// What `POST` and `DELETE /v1/takedowns` take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    urls: Vec<String>,
    prefixes: Vec<String>,
    /// For paths without a host.
    zone: Option<String>,
    /// Who asked, or which notice.
    reason: String,
    /// Unix seconds; absent: until it is lifted.
    until: Option<u64>,
}

type Body = Result<Json<Call>, JsonRejection>;

pub async fn add(State(admin): State<Arc<Admin>>, headers: HeaderMap, call: Body) -> Response {
    let done = async {
        let (who, call) = read(&admin, &headers, call)?;
        if call.reason.trim().is_empty() {
            let message = "say why: the list and the audit log keep it";
            return Err(Wrong::new("no_reason", "reason", message));
        }
        let takedowns = takedowns(&admin, &who, &call)?;
        let count = takedowns.len();
        keep(&admin, move |all| all.add(&takedowns)).await?;
        tracing::info!(target: "audit", who, what = "takedown", items = count, reason = call.reason);
        Ok(json!({ "taken_down": count }))
    };
    answer(done.await)
}

pub async fn lift(State(admin): State<Arc<Admin>>, headers: HeaderMap, call: Body) -> Response {
    let done = async {
        let (who, call) = read(&admin, &headers, call)?;
        let places = takedowns(&admin, &who, &call)?;
        let items = places.len();
        let lifted = keep(&admin, move |all| all.lift(&places)).await?;
        tracing::info!(target: "audit", who, what = "lift", items, lifted);
        Ok(json!({ "lifted": lifted }))
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let entered = admin.enter(&headers, Rights::Read);
    answer(entered.map(|_| json!({ "takedowns": admin.node.takedowns.list() })))
}

fn answer(done: Result<serde_json::Value, Wrong>) -> Response {
    done.map_or_else(|wrong| wrong.answer(Style::Ours), |done| ok(&done))
}

fn read(admin: &Admin, headers: &HeaderMap, call: Body) -> Result<(String, Call), Wrong> {
    let who = admin.enter(headers, Rights::Admin)?;
    let Json(call) = call.map_err(|error| Wrong::new("bad_json", "body", error.body_text()))?;
    match call.urls.len() + call.prefixes.len() {
        0 => Err(Wrong::new("nothing_named", "urls", "name urls or prefixes")),
        items if items > MAX_ITEMS => Err(Wrong::too_many(items, MAX_ITEMS)),
        _ => Ok((who, call)),
    }
}

fn takedowns(admin: &Admin, who: &str, call: &Call) -> Result<Vec<Takedown>, Wrong> {
    let urls = call.urls.iter().map(|text| (text, false, "urls"));
    let prefixes = call.prefixes.iter().map(|text| (text, true, "prefixes"));
    let one = |(text, prefix, field): (&String, bool, &'static str)| {
        let (site, path) = place(admin, text, call.zone.as_deref(), field)?;
        Ok(Takedown {
            zone: site.zone.name.clone(),
            path: path.as_str().to_owned(),
            prefix,
            reason: call.reason.clone(),
            until: call.until,
            by: who.to_owned(),
            since: admin.node.clock.unix_seconds(),
        })
    };
    urls.chain(prefixes).map(one).collect()
}

/// Changes what is taken down, which waits for the disk: not where the other
/// calls, and viewers, wait for their turn.
async fn keep<T: Send + 'static>(
    admin: &Arc<Admin>,
    change: impl FnOnce(&Takedowns) -> Result<T, String> + Send + 'static,
) -> Result<T, Wrong> {
    let node = Arc::clone(&admin.node);
    let done = tokio::task::spawn_blocking(move || change(&node.takedowns)).await;
    let done = done.unwrap_or_else(|error| Err(error.to_string()));
    done.map_err(|why| Wrong::new("cannot_be_kept", "", why).with_status(StatusCode::CONFLICT))
}
