//! Blocks: addresses that are let in no more for a while, listed and lifted.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::answer::{Body, Wrong, answer, read};
use super::audit::NAMED;
use super::door::Who;
use super::place::{few, find};
use crate::block::Block;
use crate::edge::Node;
use crate::per_address::canonical;
use crate::token::carrier::redact;

/// Seconds, unless the call says until when.
const DEFAULT_TIME: u64 = 3_600;
/// The longest: for ever is what `blocked_ips` is for.
const MOST_TIME: u64 = 30 * 86_400;

/// What `POST` and `DELETE /v1/blocks` take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    /// Addresses and networks.
    addresses: Vec<String>,
    /// In this zone alone.
    zone: Option<String>,
    reason: String,
    /// Unix seconds; absent: an hour from now.
    until: Option<u64>,
}

pub async fn add(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    call: Body<Call>,
) -> Response {
    let done = async {
        let call = read(call)?;
        Wrong::check_reason(&call.reason)?;
        let now = admin.node.clock.unix_seconds();
        Wrong::check_time(call.until, now, "until")?;
        let until = call.until.unwrap_or(now + DEFAULT_TIME);
        if until > now + MOST_TIME {
            let message = "at most 30 days from now: blocked_ips of the zone has no end";
            return Err(Wrong::new("bad_time", "until", message));
        }
        let blocks = blocks(&admin, &who, &call, until)?;
        let (count, names) = (blocks.len(), names(&blocks));
        admin
            .keep(move |node| node.blocks.add(&blocks, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "reason": call.reason, "until": until });
        admin.audit.write(&who, "block", count, &names, &more);
        Ok(json!({ "blocked": count, "until": until }))
    };
    answer(done.await)
}

pub async fn lift(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    call: Body<Call>,
) -> Response {
    let done = async {
        let call = read(call)?;
        let places = blocks(&admin, &who, &call, 0)?;
        let (items, names) = (places.len(), names(&places));
        let of = move |node: &Node| {
            let now = node.clock.unix_seconds();
            let lifted = node.blocks.lift(&places, now)?;
            let covers = |it: &&Block| {
                let by = |place: &Block| {
                    let zone = it.zone.is_none() || it.zone == place.zone;
                    zone && now < it.until && it.network.contains(&place.network)
                };
                places.iter().any(by)
            };
            let by: Vec<Block> = node.blocks.list().iter().filter(covers).cloned().collect();
            Ok((lifted, by))
        };
        let (lifted, by) = admin.keep(of).await?;
        let told = json!({ "lifted": lifted, "still_by": self::names(&by) });
        admin.audit.write(&who, "unblock", items, &names, &told);
        Ok(told)
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>) -> Response {
    let (blocks, now) = (admin.node.blocks.list(), admin.node.clock.unix_seconds());
    let held: Vec<&Block> = blocks.iter().filter(|block| now < block.until).collect();
    answer(Ok(json!({ "blocks": held })))
}

fn blocks(admin: &Admin, who: &str, call: &Call, until: u64) -> Result<Vec<Block>, Wrong> {
    few(call.addresses.len(), "name addresses")?;
    let zone = match call.zone.as_deref() {
        Some(zone) => Some(find(admin, zone)?.zone.name.clone()),
        None => None,
    };
    let block = |text: &String| {
        let message = format!(
            "{text:?} is no address or network such as 203.0.113.0/24 (and not everybody, /0)"
        );
        let wrong = || Wrong::new("bad_address", "addresses", message);
        Ok(Block {
            network: network(text).ok_or_else(wrong)?,
            zone: zone.clone(),
            reason: redact(&call.reason).into_owned(),
            until,
            by: who.to_owned(),
            since: admin.node.clock.unix_seconds(),
        })
    };
    call.addresses.iter().map(block).collect()
}

fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(address);
    // Everybody is a slip of the pen.
    let network = network.filter(|network| network.prefix_len() > 0);
    network.map(canonical)
}

/// As the audit log names them.
fn names(blocks: &[Block]) -> Vec<String> {
    let name = |it: &Block| match &it.zone {
        Some(zone) => format!("{zone} {}", it.network),
        None => it.network.to_string(),
    };
    blocks.iter().take(NAMED).map(name).collect()
}
