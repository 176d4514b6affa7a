//! Which zone and path a call names.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::StatusCode;

use super::Admin;
use super::answer::Wrong;
use crate::edge::Site;
use crate::edge::authority::{is_host, is_https, of_target, origin_form};
use crate::path::{BadPath, CanonicalPath, EmptySegments};
use crate::token::Target;
use crate::token::carrier::is_token_parameter;
use crate::token::target::BLOCK;
use crate::zone::ByHost;

/// Host names that an answer lists.
const MOST_NAMES: usize = 20;

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

/// Zone and the path that others begin with, of a URL or path that may say so by
/// a `*` at its path's end.
pub fn prefix(
    admin: &Admin,
    text: &str,
    zone: Option<&str>,
    field: &'static str,
) -> Result<(Arc<Site>, CanonicalPath), Wrong> {
    said_of(admin, &starless(text), zone, field)
}

/// A URL without the `*` that ends its path: "and whatever begins so".
pub fn starless(text: &str) -> Cow<'_, str> {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    // A host has none: what lies behind it is not all of the zone.
    let in_path = origin_form(path).starts_with('/');
    match path.strip_suffix('*').filter(|_| in_path) {
        Some(path) => format!("{path}{rest}").into(),
        None => text.into(),
    }
}

/// Zone and canonical path of a URL, or of a path in a zone that is named. A raw
/// `*` stands for nothing here: an object's own is written `%2A`.
pub fn place(
    admin: &Admin,
    text: &str,
    zone: Option<&str>,
    field: &'static str,
) -> Result<(Arc<Site>, CanonicalPath), Wrong> {
    let site = site(admin, text, zone, field)?;
    let path = path_of(text, site.zone.empty_segments, field)?;
    Ok((site, path))
}

/// The same for what is said of an object, or of all that begins so: that holds
/// however many slashes a zone would serve it with.
pub fn said_of(
    admin: &Admin,
    text: &str,
    zone: Option<&str>,
    field: &'static str,
) -> Result<(Arc<Site>, CanonicalPath), Wrong> {
    let site = site(admin, text, zone, field)?;
    Ok((site, path_of(text, EmptySegments::Kept, field)?))
}

fn path_of(text: &str, empty: EmptySegments, field: &'static str) -> Result<CanonicalPath, Wrong> {
    let target = target(text, empty).map_err(|bad| {
        let message = format!("{:?} has no canonical path: {bad}", origin_form(text));
        Wrong::new("bad_path", field, message)
    })?;
    if target.raw_path.contains('*') {
        return Err(starred(text, field));
    }
    // It would name nothing that anybody asks for, and keep the token.
    if target.path.as_str().contains(BLOCK) {
        let message = "a token's block stands behind the host, and one slash before it";
        return Err(Wrong::new("bad_path", field, message));
    }
    Ok(target.path)
}

fn starred(text: &str, field: &'static str) -> Wrong {
    let hint = match field {
        "urls" => "a * at the end belongs under prefixes",
        _ => "a * may stand at the end of a prefix alone",
    };
    let message = format!(
        "{:?} holds a *: {hint}; an object's own is written %2A",
        origin_form(text)
    );
    Wrong::new("bad_path", field, message)
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
        // With `user@`, or a backslash, it is a name that no viewer can send.
        Some(host) if !is_host(host.as_bytes()) => {
            let message = "the URL's host is none: no user@, no backslash, no *";
            Err(Wrong::new("unknown_host", field, message))
        }
        Some(host) => {
            let sites = admin.node.sites.load();
            let message = || format!("no zone has the host name {host:?}{}", there_are(&sites));
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

/// The host names that there are, for who has named none of them.
fn there_are(sites: &ByHost<Site>) -> String {
    let names = sites.iter().flat_map(|site| &site.zone.hostnames);
    let names: Vec<&str> = names.map(String::as_str).take(MOST_NAMES).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!("; there are: {}", names.join(", ")),
    }
}

/// The host that viewers ask for it at: a URL's, else the zone's first.
pub fn asked_at(site: &Site, text: &str) -> String {
    let first = || site.zone.hostnames.first().map(String::as_str);
    of_target(text)
        .or_else(first)
        .unwrap_or_default()
        .to_owned()
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
