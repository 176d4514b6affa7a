//! Purging: the vendor's two calls, and one of our own.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::answer::{Style, Wrong, ok};
use crate::cache::purge::{Mode, Purge, Purges};
use crate::config::Rights;
use crate::edge::Site;
use crate::path::CanonicalPath;

/// Urls, prefixes and tags of one call.
const MAX_ITEMS: usize = 10_000;

/// What `POST /v1/purge` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    urls: Vec<String>,
    prefixes: Vec<String>,
    tags: Vec<String>,
    all: bool,
    /// Name or number of the zone: for tags, `all`, and paths without a host.
    zone: Option<String>,
    mode: CallMode,
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum CallMode {
    Soft,
    #[default]
    Hard,
}

/// What it answers.
#[derive(Debug, Serialize)]
struct Done {
    /// Stored objects that were there to purge.
    purged: usize,
    mode: CallMode,
    dry_run: bool,
}

/// Purges of one call, each with the realm that it is for.
type Wanted = Vec<(u32, Purge)>;

pub async fn v1(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    call: Result<Json<Call>, JsonRejection>,
) -> Response {
    let done = async {
        let who = admin.enter(&headers, Rights::Purge)?;
        let Json(call) = call.map_err(|error| Wrong::new("bad_json", "body", error.body_text()))?;
        let wanted = read(&admin, &call)?;
        let mode = match call.mode {
            CallMode::Soft => Mode::Soft,
            CallMode::Hard => Mode::Hard,
        };
        let purged = run(&admin, &who, wanted, mode, call.dry_run).await;
        Ok(Done {
            purged,
            mode: call.mode,
            dry_run: call.dry_run,
        })
    };
    match done.await {
        Ok(done) => ok(&done),
        Err(wrong) => Wrong::answer(&wrong, Style::Ours),
    }
}

#[derive(Deserialize)]
pub struct UrlQuery {
    url: Option<String>,
}

/// `GET` or `POST /purge?url=U`; a `*` or `/` at its end means a prefix.
pub async fn url(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    Query(query): Query<UrlQuery>,
) -> Response {
    let done = async {
        let who = admin.enter(&headers, Rights::Purge)?;
        let url = query.url.unwrap_or_default();
        let (url, is_prefix) = match url.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (url.as_str(), url.ends_with('/')),
        };
        let (site, path) = place(&admin, url, None, "url")?;
        let purge = match is_prefix {
            true => Purge::Prefix(path),
            false => Purge::Path(path),
        };
        run(
            &admin,
            &who,
            vec![(site.zone.realm, purge)],
            Mode::Hard,
            false,
        )
        .await;
        Ok(())
    };
    match done.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(wrong) => Wrong::answer(&wrong, Style::Vendor),
    }
}

#[derive(Deserialize)]
struct ZoneCall {
    #[serde(rename = "CacheTag")]
    cache_tag: Option<String>,
}

/// `POST /pullzone/{id}/purgeCache`, for a tag or the whole zone.
pub async fn zone(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let done = async {
        let who = admin.enter(&headers, Rights::Purge)?;
        let site = find(&admin, &id)?;
        let call: ZoneCall = match body.is_empty() {
            true => ZoneCall { cache_tag: None },
            false => serde_json::from_slice(&body)
                .map_err(|error| Wrong::new("bad_json", "body", error.to_string()))?,
        };
        let tag = call.cache_tag.filter(|tag| !tag.is_empty());
        let purge = tag.map_or(Purge::All, Purge::Tag);
        run(
            &admin,
            &who,
            vec![(site.zone.realm, purge)],
            Mode::Hard,
            false,
        )
        .await;
        Ok(())
    };
    match done.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(wrong) => Wrong::answer(&wrong, Style::Vendor),
    }
}

/// Counts what is stored of it, and purges.
async fn run(admin: &Arc<Admin>, who: &str, wanted: Wanted, mode: Mode, dry_run: bool) -> usize {
    let items = wanted.len();
    let store = Arc::clone(&admin.node.pulls.store);
    let scan = tokio::task::spawn_blocking(move || {
        let named = Purges::default();
        for (realm, purge) in &wanted {
            named.add(*realm, purge, Mode::Hard);
        }
        let count = store.count(&named);
        if !dry_run {
            for (realm, purge) in &wanted {
                store.purges.add(*realm, purge, mode);
            }
        }
        count
    });
    let purged = scan.await.unwrap_or_default();
    tracing::info!(target: "audit", who, what = "purge", items, purged, dry_run, ?mode);
    admin.node.metrics.count_purge(dry_run, purged);
    purged
}

fn read(admin: &Admin, call: &Call) -> Result<Wanted, Wrong> {
    let items = call.urls.len() + call.prefixes.len() + call.tags.len();
    if items > MAX_ITEMS {
        let message = format!("{items} items; at most {MAX_ITEMS} in one call");
        return Err(Wrong::new("too_many_items", "urls", message)
            .with_status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    if items == 0 && !call.all {
        let message = "name urls, prefixes or tags, or say \"all\": true";
        return Err(Wrong::new("nothing_named", "urls", message));
    }
    let zone = call.zone.as_deref();
    let mut wanted = Wanted::new();
    for text in &call.urls {
        let (site, path) = place(admin, text, zone, "urls")?;
        wanted.push((site.zone.realm, Purge::Path(path)));
    }
    for text in &call.prefixes {
        let (site, path) = place(admin, text, zone, "prefixes")?;
        wanted.push((site.zone.realm, Purge::Prefix(path)));
    }
    for realm in realms(admin, call)? {
        wanted.extend(call.tags.iter().map(|tag| (realm, Purge::Tag(tag.clone()))));
        if call.all {
            wanted.push((realm, Purge::All));
        }
    }
    Ok(wanted)
}

/// The zones that tags and `all` are for: the one that is named, or each.
fn realms(admin: &Admin, call: &Call) -> Result<Vec<u32>, Wrong> {
    match call.zone.as_deref() {
        Some(zone) => Ok(vec![find(admin, zone)?.zone.realm]),
        None => {
            let sites = admin.node.sites.load();
            Ok(sites.iter().map(|site| site.zone.realm).collect())
        }
    }
}

/// Zone and canonical path of a URL, or of a path in a zone that is named.
fn place(
    admin: &Admin,
    text: &str,
    zone: Option<&str>,
    field: &'static str,
) -> Result<(Arc<Site>, String), Wrong> {
    let target = crate::edge::authority::origin_form(text);
    let site = match crate::edge::authority::of_target(text) {
        Some(host) => {
            let sites = admin.node.sites.load();
            let message = || format!("no zone has the host name {host:?}");
            let found = sites.find(host).cloned();
            found.ok_or_else(|| Wrong::new("unknown_host", field, message()))?
        }
        None => {
            let message = format!("{text:?} names no host: write a URL, or name the zone");
            let zone = zone.ok_or_else(|| Wrong::new("no_zone", field, message))?;
            find(admin, zone)?
        }
    };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = CanonicalPath::parse(path).map_err(|bad| {
        let message = format!("{text:?} has no canonical path: {bad}");
        Wrong::new("bad_path", field, message)
    })?;
    Ok((site, path.as_str().to_owned()))
}

/// A zone by its name or its number.
fn find(admin: &Admin, id: &str) -> Result<Arc<Site>, Wrong> {
    let sites = admin.node.sites.load();
    let found = sites
        .all()
        .find(|site| site.zone.name == id || site.zone.id.to_string() == id);
    let message = format!("no zone has the name or number {id:?}");
    let unknown = || Wrong::new("unknown_zone", "zone", message).with_status(StatusCode::NOT_FOUND);
    found.cloned().ok_or_else(unknown)
}
