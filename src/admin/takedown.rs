//! Takedowns: what is not served any more, listed and lifted again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::answer::{Body, Wrong, answer, read};
use super::audit::NAMED;
use super::place::{few, kept_place, place};
use crate::config::Rights;
use crate::takedown::Takedown;

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

pub async fn add(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    call: Body<Call>,
) -> Response {
    let done = async {
        let who = admin.enter(&headers, Rights::Admin)?;
        let call = read(call)?;
        Wrong::check_reason(&call.reason)?;
        // To lift, a zone need not be there any more; to take down, it must.
        for text in call.urls.iter().chain(&call.prefixes) {
            place(&admin, text, call.zone.as_deref(), "urls")?;
        }
        let takedowns = takedowns(&admin, &who, &call)?;
        let (count, named) = (takedowns.len(), names(&takedowns));
        admin
            .keep(move |node| node.takedowns.add(&takedowns, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "reason": call.reason });
        admin.audit.write(&who, "takedown", count, &named, &more);
        Ok(json!({ "taken_down": count }))
    };
    answer(done.await)
}

pub async fn lift(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    call: Body<Call>,
) -> Response {
    let done = async {
        let who = admin.enter(&headers, Rights::Admin)?;
        let call = read(call)?;
        let places = takedowns(&admin, &who, &call)?;
        let (items, named) = (places.len(), names(&places));
        let lifted = admin
            .keep(move |node| node.takedowns.lift(&places, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "lifted": lifted });
        admin.audit.write(&who, "lift", items, &named, &more);
        Ok(json!({ "lifted": lifted }))
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let entered = admin.enter(&headers, Rights::Read);
    answer(entered.map(|_| json!({ "takedowns": *admin.node.takedowns.list() })))
}

fn takedowns(admin: &Admin, who: &str, call: &Call) -> Result<Vec<Takedown>, Wrong> {
    let items = call.urls.len() + call.prefixes.len();
    few(items, "name urls or prefixes")?;
    let urls = call.urls.iter().map(|text| (text, false, "urls"));
    let prefixes = call.prefixes.iter().map(|text| (text, true, "prefixes"));
    let one = |(text, prefix, field): (&String, bool, &'static str)| {
        let (zone, path) = kept_place(admin, text, call.zone.as_deref(), field)?;
        Ok(Takedown {
            zone,
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

/// As the audit log names them.
fn names(takedowns: &[Takedown]) -> Vec<String> {
    let name = |it: &Takedown| {
        let star = if it.prefix { "*" } else { "" };
        format!("{} {}{star}", it.zone, it.path)
    };
    takedowns.iter().take(NAMED).map(name).collect()
}
