//! Revocations: which tokens are let in no more, listed and lifted again.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::answer::{Body, Wrong, answer, read};
use super::audit::NAMED;
use super::place::{at_most, few, find, place, sites, target};
use crate::config::Rights;
use crate::edge::Site;
use crate::path::EmptySegments;
use crate::revocation::{Revocation, What};
use crate::token::carrier::redact;
use crate::token::policy::DEFAULT_MAX_LIFETIME;
use crate::token::{Fingerprint, Policy};

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
    headers: HeaderMap,
    call: Body<Call>,
) -> Response {
    let done = async {
        let who = admin.enter(&headers, Rights::Admin)?;
        let call = read(call)?;
        Wrong::check_reason(&call.reason)?;
        let revocations = revocations(&admin, &who, &call)?;
        let (count, named) = (revocations.len(), names(&revocations));
        admin
            .keep(move |node| {
                node.revocations
                    .add(&revocations, node.clock.unix_seconds())
            })
            .await?;
        let more = json!({ "reason": call.reason });
        admin.audit.write(&who, "revoke", count, &named, &more);
        Ok(json!({ "revoked": count }))
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
        let mut call = read(call)?;
        // Keys and fingerprints are lifted whatever zones and keys there are now.
        let mut places = kept(&admin, &call);
        let found: HashSet<What> = places.iter().map(|place| place.what.clone()).collect();
        call.fingerprints.retain(|text| {
            !text
                .parse()
                .is_ok_and(|it| found.contains(&What::Token(it)))
        });
        call.keys
            .retain(|name| !found.contains(&What::Key(name.clone())));
        if places.is_empty() || call.names() > 0 {
            places.extend(revocations(&admin, &who, &call)?);
        }
        let (items, named) = (places.len(), names(&places));
        let lifted = admin
            .keep(move |node| node.revocations.lift(&places, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "lifted": lifted });
        admin.audit.write(&who, "unrevoke", items, &named, &more);
        Ok(json!({ "lifted": lifted }))
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let entered = admin.enter(&headers, Rights::Read);
    answer(entered.map(|_| json!({ "revocations": *admin.node.revocations.list() })))
}

/// What is kept of the keys and fingerprints that a call names.
fn kept(admin: &Admin, call: &Call) -> Vec<Revocation> {
    let tokens = call
        .fingerprints
        .iter()
        .filter_map(|text| text.parse().ok());
    let keys = call.keys.iter().cloned().map(What::Key);
    let named: HashSet<What> = tokens.map(What::Token).chain(keys).collect();
    let zone = call
        .zone
        .as_deref()
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
fn revocations(admin: &Admin, who: &str, call: &Call) -> Result<Vec<Revocation>, Wrong> {
    let paths = call.urls.len() + call.prefixes.len();
    few(call.names(), "name urls, fingerprints, prefixes or keys")?;
    let now = admin.node.clock.unix_seconds();
    let mut all = Vec::new();
    let mut add = |site: &Site, what: What, expires_before, forget_at| {
        all.push(Revocation {
            zone: site.zone.name.clone(),
            what,
            expires_before,
            reason: redact(&call.reason).into_owned(),
            by: who.to_owned(),
            since: now,
            forget_at,
        });
    };
    let bounded = call.expires_before;
    for url in &call.urls {
        let (site, _) = place(admin, url, call.zone.as_deref(), "urls")?;
        let policy = site.zone.token.as_ref();
        let forget_at = policy.map(|policy| longest(policy, now));
        add(&site, What::Token(token_of(url)?), None, forget_at);
    }
    for text in &call.prefixes {
        let (site, path) = place(admin, text, call.zone.as_deref(), "prefixes")?;
        let what = What::Prefix(path.as_str().to_owned());
        add(&site, what, bounded, bounded);
    }
    let sites = sites(admin, call.zone.as_deref())?;
    let policies = sites
        .iter()
        .filter_map(|site| Some((site, site.zone.token.as_ref()?)));
    let policies: Vec<(&Arc<Site>, &Policy)> = policies.collect();
    at_most(paths + (call.fingerprints.len() + call.keys.len()) * policies.len())?;
    for text in &call.fingerprints {
        let bad = |why| Wrong::new("bad_fingerprint", "fingerprints", why);
        let fingerprint: Fingerprint = text.parse().map_err(bad)?;
        for (site, policy) in &policies {
            let forget_at = Some(longest(policy, now));
            add(site, What::Token(fingerprint), None, forget_at);
        }
    }
    for name in &call.keys {
        let has = |policy: &Policy| policy.keys.iter().any(|it| it.name == *name);
        let with = policies.iter().filter(|(_, policy)| has(policy));
        let with: Vec<_> = with.collect();
        if with.is_empty() {
            let message = format!("no zone has a security key with the name {name:?}");
            return Err(Wrong::new("unknown_key", "keys", message));
        }
        for (site, _) in with {
            add(site, What::Key(name.clone()), bounded, bounded);
        }
    }
    Ok(all)
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
