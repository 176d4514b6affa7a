//! Which zone and path a call names.

use std::sync::Arc;

use axum::http::StatusCode;

use super::Admin;
use super::answer::Wrong;
use crate::edge::Site;
use crate::edge::authority::{is_https, of_target, origin_form};
use crate::path::{BadPath, CanonicalPath, EmptySegments};
use crate::token::Target;
use crate::token::carrier::is_token_parameter;

/// What one call may name.
pub const MAX_ITEMS: usize = 10_000;

/// An error where a call names nothing, or too much.
pub fn few(items: usize, hint: &str) -> Result<(), Wrong> {
    match items {
        0 => Err(Wrong::new("nothing_named", "urls", hint)),
        _ => at_most(items),
    }
}

/// An error where a call names too much, each zone that it is for counted.
pub fn at_most(items: usize) -> Result<(), Wrong> {
    match items <= MAX_ITEMS {
        true => Ok(()),
        false => Err(Wrong::too_many(items, MAX_ITEMS)),
    }
}

/// Zone and canonical path of a URL, or of a path in a zone that is named.
pub fn place(
    admin: &Admin,
    text: &str,
    zone: Option<&str>,
    field: &'static str,
) -> Result<(Arc<Site>, CanonicalPath), Wrong> {
    let site = site(admin, text, zone, field)?;
    let target = target(text, site.zone.empty_segments).map_err(|bad| {
        let message = format!("{:?} has no canonical path: {bad}", origin_form(text));
        Wrong::new("bad_path", field, message)
    })?;
    Ok((site, target.path))
}

/// A URL's target, taken apart as the edge does: without a token's block.
pub fn target(text: &str, empty: EmptySegments) -> Result<Target<'_>, BadPath> {
    let target = match origin_form(text) {
        // A URL that ends with its host.
        whole if whole == text && of_target(text).is_some() => "/",
        target => target,
    };
    Target::parse_with(target.split('#').next().unwrap_or_default(), empty)
}

/// A target that lets nobody in: without what makes a token.
pub fn bare(target: &Target<'_>) -> String {
    let pairs = target.query.unwrap_or_default().split('&');
    let named = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        !name.is_empty() && !is_token_parameter(name)
    };
    let query = pairs.filter(named).collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{mark}{query}", target.raw_path)
}

/// The zone of a URL, or the one that is named.
pub fn site(
    admin: &Admin,
    text: &str,
    zone: Option<&str>,
    field: &'static str,
) -> Result<Arc<Site>, Wrong> {
    match of_target(text) {
        Some(host) => {
            let sites = admin.node.sites.load();
            let message = || format!("no zone has the host name {host:?}");
            let found = sites.find(host).cloned();
            found.ok_or_else(|| Wrong::new("unknown_host", field, message()))
        }
        None => {
            let message = format!("{text:?} names no host: write a URL, or name the zone");
            let zone = zone.ok_or_else(|| Wrong::new("no_zone", field, message))?;
            find(admin, zone)
        }
    }
}

/// Whether a call means what viewers get over TLS, where that differs: as its
/// URL says; a bare path means what most viewers of this node ask for.
pub fn over_tls(admin: &Admin, text: &str) -> bool {
    is_https(text).unwrap_or(!admin.node.listen.https.is_empty())
}

/// A zone by its name or its number.
pub fn find(admin: &Admin, id: &str) -> Result<Arc<Site>, Wrong> {
    let sites = admin.node.sites.load();
    let found = sites
        .all()
        .find(|site| site.zone.name == id || site.zone.id.to_string() == id);
    let message = format!("no zone has the name or number {id:?}");
    let unknown = || Wrong::new("unknown_zone", "zone", message).with_status(StatusCode::NOT_FOUND);
    found.cloned().ok_or_else(unknown)
}

/// The zones that a call is for: the one that it names, or each.
pub fn sites(admin: &Admin, zone: Option<&str>) -> Result<Vec<Arc<Site>>, Wrong> {
    match zone {
        Some(zone) => Ok(vec![find(admin, zone)?]),
        None => Ok(admin.node.sites.load().all().cloned().collect()),
    }
}
