//! Revocations: which tokens are let in no more, listed and lifted again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::answer::{Body, Wrong, answer, read};
use super::audit::NAMED;
use super::door::Who;
use super::kin::{Kin, alike, of_keys, of_tokens};
use super::place::{at_most, few, find, prefix, said_of, sites, target};
use super::proof::unproven;
use crate::edge::{Node, Site};
use crate::path::EmptySegments;
use crate::revocation::{Revocation, What};
use crate::state_file::Kept as _;
use crate::token::carrier::redact;
use crate::token::policy::DEFAULT_MAX_LIFETIME;
use crate::token::{Fingerprint, Key, Policy};
use crate::zone::Zone;

/// What `POST` and `DELETE /v1/revocations` take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Call {
    /// Signed URLs: the token of each.
    urls: Vec<String>,
    fingerprints: Vec<String>,
    /// Tokens that are used for paths that begin so.
    prefixes: Vec<String>,
    /// Names of security keys.
    keys: Vec<String>,
    /// For paths without a host; else every zone that has such a key.
    zone: Option<String>,
    /// And every zone that has the same security keys, or serves the same
    /// objects.
    every_zone: bool,
    /// Of prefixes and keys: the tokens that expire before, in Unix seconds.
    expires_before: Option<u64>,
    reason: String,
}

impl Call {
    /// How many things it names.
    fn names(&self) -> usize {
        self.urls.len() + self.fingerprints.len() + self.prefixes.len() + self.keys.len()
    }
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
        Wrong::check_time(call.expires_before, now, "expires_before")?;
        let mut kin = Kin::default();
        let revocations = revocations(&admin, &who, &call, &mut kin)?;
        let unproven = unproven(&call.urls, &sites(&admin, None)?);
        let left = kin.left();
        let (count, named) = (revocations.len(), names(&revocations));
        admin
            .keep(move |node| {
                node.revocations
                    .add(&revocations, node.clock.unix_seconds())
            })
            .await?;
        let more = json!({ "reason": call.reason, "left": left });
        admin.audit.write(&who, "revoke", count, &named, &more);
        let mut done = json!({ "revoked": count, "left": left });
        if unproven > 0 {
            done["unproven"] = unproven.into();
        }
        Ok(done)
    };
    answer(done.await)
}

pub async fn lift(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
    call: Body<Call>,
) -> Response {
    let done = async {
        let mut call = read(call)?;
        // Keys and fingerprints are lifted whatever zones and keys there are now.
        let mut places = kept(&admin, &call);
        if call.every_zone {
            // And keys by their other names.
            let more = revocations(&admin, &who, &call, &mut Kin::default());
            places.extend(more.unwrap_or_default());
        }
        let found: HashSet<What> = places.iter().map(|place| place.what.clone()).collect();
        call.fingerprints.retain(|text| {
            !text
                .parse()
                .is_ok_and(|it| found.contains(&What::Token(it)))
        });
        call.urls
            .retain(|url| !token_of(url).is_ok_and(|it| found.contains(&What::Token(it))));
        call.keys
            .retain(|name| !found.contains(&What::Key(name.clone())));
        if places.is_empty() || call.names() > 0 {
            places.extend(revocations(&admin, &who, &call, &mut Kin::default())?);
        }
        let (items, named) = (places.len(), names(&places));
        let lifting: HashSet<What> = places.iter().map(|it| it.place().1).collect();
        let of = move |node: &Node| {
            let lifted = node.revocations.lift(&places, node.clock.unix_seconds())?;
            Ok((lifted, node.revocations.list()))
        };
        let (lifted, list) = admin.keep(of).await?;
        let still = list.iter().filter(|it| lifting.contains(&it.place().1));
        let left: BTreeSet<&str> = still.map(|it| it.zone.as_str()).collect();
        let more = json!({ "lifted": lifted, "left": left });
        admin.audit.write(&who, "unrevoke", items, &named, &more);
        Ok(json!({ "lifted": lifted, "left": left }))
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>) -> Response {
    answer(Ok(json!({ "revocations": *admin.node.revocations.list() })))
}

/// What is kept of the tokens and keys that a call names.
fn kept(admin: &Admin, call: &Call) -> Vec<Revocation> {
    let tokens = call
        .fingerprints
        .iter()
        .filter_map(|text| text.parse().ok())
        .chain(call.urls.iter().filter_map(|url| token_of(url).ok()));
    let keys = call.keys.iter().cloned().map(What::Key);
    let named: HashSet<What> = tokens.map(What::Token).chain(keys).collect();
    let zone = call
        .zone
        .as_deref()
        .filter(|_| !call.every_zone)
        .map(|id| find(admin, id).map_or(id.to_owned(), |site| site.zone.name.clone()));
    let all = admin.node.revocations.list();
    let of_zone = |it: &&Revocation| zone.as_ref().is_none_or(|zone| *zone == it.zone);
    all.iter()
        .filter(of_zone)
        .filter(|it| named.contains(&it.what))
        .cloned()
        .collect()
}

/// As the audit log names them.
fn names(revocations: &[Revocation]) -> Vec<String> {
    let name = |it: &Revocation| match &it.what {
        What::Token(fingerprint) => format!("{} token {fingerprint}", it.zone),
        What::Prefix(prefix) => format!("{} prefix {prefix}", it.zone),
        What::Key(name) => format!("{} key {name}", it.zone),
    };
    revocations.iter().take(NAMED).map(name).collect()
}

/// What a call names.
fn revocations(
    admin: &Admin,
    who: &str,
    call: &Call,
    kin: &mut Kin,
) -> Result<Vec<Revocation>, Wrong> {
    few(call.names(), "name urls, fingerprints, prefixes or keys")?;
    let mut all = tokens(admin, call, kin)?;
    all.extend(prefixes(admin, call, kin)?);
    all.extend(keys(admin, call, kin)?);
    let mut seen = HashSet::new();
    all.retain(|(site, what)| seen.insert((site.zone.name.clone(), what.clone())));
    at_most(all.len())?;
    let now = admin.node.clock.unix_seconds();
    let one = |(site, what): (Arc<Site>, What)| {
        let of_token = matches!(what, What::Token(_));
        let policy = site.zone.token.as_ref().filter(|_| of_token);
        let bounded = call.expires_before.filter(|_| !of_token);
        Revocation {
            zone: site.zone.name.clone(),
            what,
            expires_before: bounded,
            reason: redact(&call.reason).into_owned(),
            by: who.to_owned(),
            since: now,
            forget_at: policy.map(|policy| longest(policy, now)).or(bounded),
        }
    };
    Ok(all.into_iter().map(one).collect())
}

type Named = Vec<(Arc<Site>, What)>;

/// A token is one wherever its key is: the host of a URL is not signed.
fn tokens(admin: &Admin, call: &Call, kin: &mut Kin) -> Result<Named, Wrong> {
    let mut everywhere = Vec::new();
    for url in &call.urls {
        said_of(admin, url, call.zone.as_deref(), "urls")?;
        everywhere.push(What::Token(token_of(url)?));
    }
    let all = sites(admin, None)?;
    at_most(everywhere.len() * all.len())?;
    let mut named = with_policy(all, &everywhere);
    let bad = |why| Wrong::new("bad_fingerprint", "fingerprints", why);
    let parse = |text: &String| text.parse().map(What::Token).map_err(bad);
    let fingerprints: Vec<What> = call
        .fingerprints
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()?;
    let sites = match call.zone.as_deref() {
        _ if fingerprints.is_empty() => Vec::new(),
        Some(zone) => {
            let (site, alike) = (find(admin, zone)?, alike("tokens", of_keys));
            let places = kin.zones(admin, &site, "tokens", call.every_zone, alike);
            places.into_iter().map(|(site, _)| site).collect()
        }
        None => sites(admin, None)?,
    };
    at_most(fingerprints.len() * sites.len())?;
    named.extend(with_policy(sites, &fingerprints));
    Ok(named)
}

/// Each of these in each zone that asks for tokens.
fn with_policy(sites: Vec<Arc<Site>>, whats: &[What]) -> Named {
    let sites = sites.into_iter().filter(|site| site.zone.token.is_some());
    sites
        .flat_map(|site| {
            whats
                .iter()
                .map(move |what| (Arc::clone(&site), what.clone()))
        })
        .collect()
}

fn prefixes(admin: &Admin, call: &Call, kin: &mut Kin) -> Result<Named, Wrong> {
    let mut all = Named::new();
    for text in &call.prefixes {
        let (site, path) = prefix(admin, text, call.zone.as_deref(), "prefixes")?;
        let path = path.as_str();
        let places = kin.zones(admin, &site, path, call.every_zone, of_tokens(path));
        all.extend(
            places
                .into_iter()
                .map(|(site, path)| (site, What::Prefix(path))),
        );
        at_most(all.len())?;
    }
    Ok(all)
}

/// Where a zone has the same key by another name it is kin.
fn keys(admin: &Admin, call: &Call, kin: &mut Kin) -> Result<Named, Wrong> {
    let mut all = Named::new();
    let sites = sites(admin, call.zone.as_deref())?;
    for name in &call.keys {
        let with = sites
            .iter()
            .filter_map(|site| Some((site, key_of(&site.zone, name)?)));
        let before = all.len();
        for (site, key) in with {
            let has = |_: &Zone, other: &Zone| same_key(other, key).is_some();
            for (site, _) in kin.zones(admin, site, name, call.every_zone, alike(name, has)) {
                let name = same_key(&site.zone, key).map_or(name, |key| &key.name);
                let what = What::Key(name.clone());
                all.push((site, what));
            }
        }
        if all.len() == before {
            let message = format!("no zone has a security key with the name {name:?}");
            return Err(Wrong::new("unknown_key", "keys", message));
        }
        at_most(all.len())?;
    }
    Ok(all)
}

fn key_of<'z>(zone: &'z Zone, name: &str) -> Option<&'z Key> {
    let keys = &zone.token.as_ref()?.keys;
    keys.iter().find(|key| key.name == name)
}

fn same_key<'z>(zone: &'z Zone, key: &Key) -> Option<&'z Key> {
    let keys = &zone.token.as_ref()?.keys;
    keys.iter().find(|other| other.is(key))
}

/// When a token that is known by its fingerprint is needed no more. What its
/// URL says of its expiry is nobody's word; and a zone may take longer ones
/// tomorrow.
fn longest(policy: &Policy, now: u64) -> u64 {
    let lifetime = policy.max_lifetime.max(DEFAULT_MAX_LIFETIME);
    now.saturating_add(lifetime.as_secs())
}

/// The token in a URL.
fn token_of(url: &str) -> Result<Fingerprint, Wrong> {
    let none = || {
        let message = "a URL to revoke carries its token: is it whole?";
        Wrong::new("no_token", "urls", message)
    };
    let target = target(url, EmptySegments::Kept).map_err(|_| none())?;
    Ok(Fingerprint::of(&target.token().ok_or_else(none)?))
}
