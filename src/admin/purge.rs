//! Purging: the vendor's two calls, and one of our own.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Admin;
use super::answer::{Body, Style, Wrong, answer, read};
use super::audit::NAMED;
use super::door::Who;
use super::kin::{Kin, alike, of_objects, of_origin};
use super::place::{at_most, few, find, prefix, said_of, sites, starless};
use crate::cache::key::RealmId;
use crate::cache::purge::{Mode, Purge, Purges};
use crate::edge::Site;

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
    /// And of every zone that serves the same objects.
    every_zone: bool,
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
    /// Zones that serve the same objects, and keep theirs.
    left: Vec<String>,
}

/// Purges of one call, each with the realm that it is for.
type Wanted = Vec<(RealmId, Purge)>;

pub async fn v1(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    call: Body<Call>,
) -> Response {
    let done = async {
        let call = read(call)?;
        let mut kin = Kin::default();
        let wanted = wanted(&admin, &call, &mut kin)?;
        let mode = match call.mode {
            CallMode::Soft => Mode::Soft,
            CallMode::Hard => Mode::Hard,
        };
        let purged = run(&admin, &who, wanted, mode, call.dry_run).await;
        Ok(Done {
            purged,
            mode: call.mode,
            dry_run: call.dry_run,
            left: kin.left().into_iter().map(str::to_owned).collect(),
        })
    };
    answer(done.await)
}

#[derive(Deserialize)]
pub struct UrlQuery {
    url: Option<String>,
}

/// `GET` or `POST /purge?url=U`; a `*` or `/` at its end means a prefix. Its
/// answer has no place for what it leaves, so it is for every zone.
pub async fn url(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    query: Result<Query<UrlQuery>, QueryRejection>,
) -> Response {
    let named = || {
        let Query(query) = query.map_err(|error| Wrong::bad_query(&error))?;
        let url = query.url.unwrap_or_default();
        let begin = starless(&url);
        let is_prefix = begin != url || url.ends_with('/');
        let (site, path) = said_of(&admin, &begin, None, "url")?;
        let path = path.as_str();
        let names = of_objects(path, is_prefix);
        let places = Kin::default().zones(&admin, &site, path, true, names);
        Ok(purges(places, is_prefix).collect())
    };
    vendor(&admin, &who, named, StatusCode::OK).await
}

#[derive(Deserialize)]
struct ZoneCall {
    #[serde(rename = "CacheTag")]
    cache_tag: Option<String>,
}

/// `POST /pullzone/{id}/purgeCache`, for a tag or the whole zone.
pub async fn zone(
    State(admin): State<Arc<Admin>>,
    id: Result<Path<String>, PathRejection>,
    Extension(Who(who)): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let named = || {
        let Path(id) = id.map_err(|error| {
            let unknown = Wrong::new("unknown_zone", "id", error.body_text());
            unknown.with_status(StatusCode::NOT_FOUND)
        })?;
        let body = body.map_err(|error| Wrong::bad_body(error.status(), error.body_text()))?;
        let site = find(&admin, &id)?;
        let call: ZoneCall = match body.is_empty() {
            true => ZoneCall { cache_tag: None },
            false => serde_json::from_slice(&body)
                .map_err(|error| Wrong::new("bad_json", "body", error.to_string()))?,
        };
        let tag = call.cache_tag.filter(|tag| !tag.is_empty());
        Ok(vec![(site.zone.realm, tag.map_or(Purge::All, Purge::Tag))])
    };
    vendor(&admin, &who, named, StatusCode::NO_CONTENT).await
}

/// A call of the vendor's: hard, and of one thing.
async fn vendor(
    admin: &Arc<Admin>,
    who: &str,
    named: impl FnOnce() -> Result<Wanted, Wrong>,
    status: StatusCode,
) -> Response {
    match named() {
        Ok(wanted) => {
            run(admin, who, wanted, Mode::Hard, false).await;
            status.into_response()
        }
        Err(wrong) => wrong.answer(Style::Vendor),
    }
}

/// Counts what is stored of it, and purges.
async fn run(admin: &Arc<Admin>, who: &str, wanted: Wanted, mode: Mode, dry_run: bool) -> usize {
    let (items, named) = (wanted.len(), names(admin, &wanted));
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
            if mode == Mode::Hard {
                store.sweep();
            }
        }
        count
    });
    let purged = scan.await.unwrap_or_default();
    let mode = if mode == Mode::Soft { "soft" } else { "hard" };
    let more = json!({ "purged": purged, "mode": mode, "dry_run": dry_run });
    admin.audit.write(who, "purge", items, &named, &more);
    admin.node.metrics.count_purge(dry_run, purged);
    purged
}

/// As the audit log names them.
fn names(admin: &Admin, wanted: &Wanted) -> Vec<String> {
    let sites = admin.node.sites.load();
    let zone = |realm: RealmId| {
        let mut all = sites.iter();
        let site = all.find(|site| site.zone.realm == realm);
        site.map_or("-", |site| site.zone.name.as_str())
    };
    let name = |(realm, purge): &(RealmId, Purge)| match purge {
        Purge::Path(path) => format!("{} {path}", zone(*realm)),
        Purge::Prefix(prefix) => format!("{} {prefix}*", zone(*realm)),
        Purge::Media(folder) => format!("{} {folder}", zone(*realm)),
        Purge::Tag(tag) => format!("{} tag {tag}", zone(*realm)),
        Purge::All => format!("{} all", zone(*realm)),
    };
    wanted.iter().take(NAMED).map(name).collect()
}

/// Of what each zone calls it.
fn purges(
    places: Vec<(Arc<Site>, String)>,
    is_prefix: bool,
) -> impl Iterator<Item = (RealmId, Purge)> {
    places.into_iter().map(move |(site, name)| {
        let purge = match is_prefix {
            true => Purge::Prefix(name),
            false => Purge::Path(name),
        };
        (site.zone.realm, purge)
    })
}

fn wanted(admin: &Admin, call: &Call, kin: &mut Kin) -> Result<Wanted, Wrong> {
    let items = call.urls.len() + call.prefixes.len() + call.tags.len();
    if items > 0 || !call.all {
        few(items, "name urls, prefixes or tags, or say \"all\": true")?;
    }
    let zone = call.zone.as_deref();
    let mut wanted = Wanted::new();
    let urls = call.urls.iter().map(|text| (text, false, "urls"));
    let prefixes = call.prefixes.iter().map(|text| (text, true, "prefixes"));
    for (text, is_prefix, field) in urls.chain(prefixes) {
        let (site, path) = match is_prefix {
            true => prefix(admin, text, zone, field)?,
            false => said_of(admin, text, zone, field)?,
        };
        let path = path.as_str();
        let names = of_objects(path, is_prefix);
        let places = kin.zones(admin, &site, path, call.every_zone, names);
        wanted.extend(purges(places, is_prefix));
        at_most(wanted.len())?;
    }
    let of_zone = zone.map(|zone| find(admin, zone)).transpose()?;
    if call.tags.is_empty() && !call.all {
        return Ok(wanted);
    }
    let sites = match of_zone {
        Some(site) => {
            let alike = alike("", of_origin);
            let places = kin.zones(admin, &site, "", call.every_zone, alike);
            places.into_iter().map(|(site, _)| site).collect()
        }
        None => sites(admin, None)?,
    };
    let of_zones = (call.tags.len() + usize::from(call.all)) * sites.len();
    at_most(wanted.len() + of_zones)?;
    for realm in sites.iter().map(|site| site.zone.realm) {
        wanted.extend(call.tags.iter().map(|tag| (realm, Purge::Tag(tag.clone()))));
        if call.all {
            wanted.push((realm, Purge::All));
        }
    }
    Ok(wanted)
}
