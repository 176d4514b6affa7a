//! Who asks for what in the last minutes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::answer::{Wrong, answer};
use super::place::find;
use super::settings::Rights;
use crate::telemetry::log_line::anonymise;
use crate::telemetry::top::{List, Name, Sum};

/// Rows of each list.
const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 256;

#[derive(Deserialize)]
pub struct Call {
    /// Of this zone alone.
    zone: Option<String>,
    by: Option<By>,
    limit: Option<usize>,
}

/// What makes a row come first.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    #[default]
    Requests,
    Bytes,
    Errors,
}

impl By {
    const fn of(self, sum: &Sum) -> u64 {
        match self {
            By::Requests => sum.requests,
            By::Bytes => sum.bytes,
            By::Errors => sum.errors,
        }
    }
}

pub async fn top(
    State(admin): State<Arc<Admin>>,
    Extension(rights): Extension<Rights>,
    call: Result<Query<Call>, QueryRejection>,
) -> Response {
    answer(look(&admin, rights, call))
}

fn look(
    admin: &Admin,
    rights: Rights,
    call: Result<Query<Call>, QueryRejection>,
) -> Result<Value, Wrong> {
    let Query(call) = call.map_err(|error| Wrong::bad_query(&error))?;
    let zone = match call.zone.as_deref() {
        Some(zone) => Some(find(admin, zone)?.zone.id),
        None => None,
    };
    let (by, now) = (call.by.unwrap_or_default(), admin.node.clock.monotonic());
    let limit = call.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let mut said = json!({ "zone": call.zone });
    for list in List::ALL {
        let (seconds, all) = admin.node.top.read(list, zone, now);
        let all = match list {
            List::Clients => clients(all, rights),
            _ => all,
        };
        let mut rows: Vec<(Name, Sum)> = all.into_iter().collect();
        rows.sort_by(|(one, a), (two, b)| (Reverse(by.of(a)), one).cmp(&(Reverse(by.of(b)), two)));
        rows.truncate(limit);
        let rows = rows.iter().map(|(name, sum)| row(admin, list, name, sum));
        said[list.name()] = rows.collect();
        said["seconds"] = seconds.as_secs().into();
    }
    Ok(said)
}

/// Whole addresses are for who may block them.
fn clients(all: HashMap<Name, Sum>, rights: Rights) -> HashMap<Name, Sum> {
    if rights >= Rights::Admin {
        return all;
    }
    let mut fewer: HashMap<Name, Sum> = HashMap::new();
    for ((zone, name), sum) in all {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => anonymise(address).to_string().into(),
            Err(_) => name,
        };
        fewer.entry((zone, name)).or_default().add(sum);
    }
    fewer
}

fn row(admin: &Admin, list: List, (zone, name): &Name, sum: &Sum) -> Value {
    let sites = admin.node.sites.load();
    let zone = sites.iter().find(|site| site.zone.id == *zone);
    let mut row = json!({
        "zone": zone.map(|site| site.zone.name.as_str()),
        "requests": sum.requests,
        "bytes": sum.bytes,
        "errors": sum.errors,
    });
    if list == List::Answers {
        let (status, reason) = name.split_once(' ').unzip();
        row["status"] = status
            .unwrap_or(name)
            .parse::<u16>()
            .unwrap_or_default()
            .into();
        row["reason"] = reason.into();
    } else {
        row["name"] = (**name).into();
    }
    row
}
