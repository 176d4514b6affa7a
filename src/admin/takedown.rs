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
use super::place::{few, place, target};
use crate::config::Rights;
use crate::path::{CanonicalPath, EmptySegments};
use crate::takedown::Takedown;
use crate::token::carrier::redact;

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
        let takedowns = takedowns(&admin, &who, &call, &named)?;
        let (count, names) = (takedowns.len(), names(&takedowns));
        admin
            .keep(move |node| node.takedowns.add(&takedowns, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "reason": call.reason });
        admin.audit.write(&who, "takedown", count, &names, &more);
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
        let places = takedowns(&admin, &who, &call, &kept)?;
        let (items, names) = (places.len(), names(&places));
        let lifted = admin
            .keep(move |node| node.takedowns.lift(&places, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "lifted": lifted });
        admin.audit.write(&who, "lift", items, &names, &more);
        Ok(json!({ "lifted": lifted }))
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let entered = admin.enter(&headers, Rights::Read);
    answer(entered.map(|_| json!({ "takedowns": *admin.node.takedowns.list() })))
}

/// A zone's name and a path, of a text in a field of a call.
type Place = Result<(String, CanonicalPath), Wrong>;

fn named(admin: &Admin, text: &str, zone: Option<&str>, field: &'static str) -> Place {
    place(admin, text, zone, field).map(|(site, path)| (site.zone.name.clone(), path))
}

/// Of a zone that is gone, too, where something is taken down in it.
fn kept(admin: &Admin, text: &str, zone: Option<&str>, field: &'static str) -> Place {
    let list = admin.node.takedowns.list();
    let is_kept = |zone: &&str| list.iter().any(|it| it.zone == *zone);
    named(admin, text, zone, field).or_else(|wrong| {
        let gone = zone.filter(|zone| wrong.name == "unknown_zone" && is_kept(zone));
        // What is listed was read by its zone.
        let path = target(text, EmptySegments::Kept).map(|target| target.path);
        gone.map(str::to_owned).zip(path.ok()).ok_or(wrong)
    })
}

fn takedowns(
    admin: &Admin,
    who: &str,
    call: &Call,
    read: &impl Fn(&Admin, &str, Option<&str>, &'static str) -> Place,
) -> Result<Vec<Takedown>, Wrong> {
    let items = call.urls.len() + call.prefixes.len();
    few(items, "name urls or prefixes")?;
    let urls = call.urls.iter().map(|text| (text, false, "urls"));
    let prefixes = call.prefixes.iter().map(|text| (text, true, "prefixes"));
    let one = |(text, prefix, field): (&String, bool, &'static str)| {
        let (zone, path) = read(admin, text, call.zone.as_deref(), field)?;
        Ok(Takedown {
            zone,
            path: path.as_str().to_owned(),
            prefix,
            reason: redact(&call.reason).into_owned(),
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
