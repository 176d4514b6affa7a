//! Whether a URL is let in, and if not, why.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::Admin;
use super::answer::{Body, Wrong, answer, read};
use super::place::site;
use crate::edge::admission::Lists;
use crate::edge::authority::{is_https, of_target, origin_form};
use crate::explain::{Explanation, Question, Rules};
use crate::token::{Evidence, Target, parse_country};

/// What `POST /v1/explain` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    url: String,
    zone: Option<String>,
    client_ip: Option<String>,
    /// ISO 3166 alpha-2.
    country: Option<String>,
    referer: Option<String>,
    /// Decide as if it were this time, in Unix seconds.
    at: Option<u64>,
}

pub async fn explain(State(admin): State<Arc<Admin>>, call: Body<Call>) -> Response {
    answer(judge(&admin, call))
}

fn judge(admin: &Admin, call: Body<Call>) -> Result<Explanation, Wrong> {
    let call = read(call)?;
    let site = site(admin, &call.url, call.zone.as_deref(), "url")?;
    let (node, zone) = (&admin.node, &site.zone);
    let client_ip = match call.client_ip.as_deref().filter(|text| !text.is_empty()) {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().map_err(|_| {
            Wrong::new(
                "bad_ip",
                "client_ip",
                "an address, as in 203.0.113.7 or 2001:db8::7",
            )
        })?,
    };
    let looked_up = || node.countries.load().as_ref()?.of(client_ip);
    let country = match call.country.as_deref().filter(|text| !text.is_empty()) {
        None => looked_up(),
        Some(text) => {
            let bad = || Wrong::new("bad_country", "country", "two letters, as in CH");
            Some(parse_country(text).ok_or_else(bad)?)
        }
    };
    let clock = node.clock.unix_seconds();
    let now = call.at.unwrap_or(clock);
    Wrong::check_unit(now, clock, "at")?;
    let revocations = node.revocations.load();
    let lists = Lists {
        blocks: &node.blocks,
        takedowns: &node.takedowns,
    };
    let target = Target::parse_with(origin_form(&call.url), zone.empty_segments);
    let kind = target.ok().map(|target| node.kind_of(zone, &target.path));
    let question = Question {
        target: origin_form(&call.url),
        host: of_target(&call.url),
        https: is_https(&call.url).unwrap_or_default(),
        kind,
        rules: Rules::Zone(zone, lists),
        evidence: Evidence {
            now,
            client_ip,
            country,
            revoked: revocations.get(&zone.name),
        },
        referer: call.referer.as_deref().filter(|text| !text.is_empty()),
    };
    Ok(question.explain())
}
