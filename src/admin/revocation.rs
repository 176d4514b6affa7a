//! Revocations: which tokens are let in no more, listed and lifted again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::answer::{Body, Wrong, answer, read};
use super::place::{few, find, place, target};
use crate::config::Rights;
use crate::edge::Site;
use crate::revocation::{Revocation, What};
use crate::token::{Fingerprint, Parameters, Policy, Token, parse_expires};

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

pub async fn add(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    call: Body<Call>,
) -> Response {
    let done = async {
        let who = admin.enter(&headers, Rights::Admin)?;
        let call = read(call)?;
        if call.reason.trim().is_empty() {
            return Err(Wrong::no_reason());
        }
        let revocations = revocations(&admin, &who, &call)?;
        let (count, named) = (revocations.len(), names(&revocations));
        admin
            .keep(move |node| {
                node.revocations
                    .add(&revocations, node.clock.unix_seconds())
            })
            .await?;
        let more = json!({ "reason": call.reason });
        admin.audit.write(&who, "revoke", &named, &more);
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
        let places = revocations(&admin, &who, &read(call)?)?;
        let named = names(&places);
        let lifted = admin
            .keep(move |node| node.revocations.lift(&places, node.clock.unix_seconds()))
            .await?;
        let more = json!({ "lifted": lifted });
        admin.audit.write(&who, "unrevoke", &named, &more);
        Ok(json!({ "lifted": lifted }))
    };
    answer(done.await)
}

pub async fn list(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let entered = admin.enter(&headers, Rights::Read);
    answer(entered.map(|_| json!({ "revocations": admin.node.revocations.list() })))
}

/// As the audit log names them.
fn names(revocations: &[Revocation]) -> Vec<String> {
    let name = |it: &Revocation| match &it.what {
        What::Token(fingerprint) => format!("{} token {fingerprint}", it.zone),
        What::Prefix(prefix) => format!("{} prefix {prefix}", it.zone),
        What::Key(name) => format!("{} key {name}", it.zone),
    };
    revocations.iter().map(name).collect()
}

/// What a call names.
fn revocations(admin: &Admin, who: &str, call: &Call) -> Result<Vec<Revocation>, Wrong> {
    let paths = call.urls.len() + call.prefixes.len();
    let items = paths + call.fingerprints.len() + call.keys.len();
    few(items, "name urls, fingerprints, prefixes or keys")?;
    let now = admin.node.clock.unix_seconds();
    let mut all = Vec::new();
    let mut add = |site: &Site, what: What, expires_before, forget_at| {
        all.push(Revocation {
            zone: site.zone.name.clone(),
            what,
            expires_before,
            reason: call.reason.clone(),
            by: who.to_owned(),
            since: now,
            forget_at,
        });
    };
    let bounded = call.expires_before;
    for url in &call.urls {
        let (site, _) = place(admin, url, call.zone.as_deref(), "urls")?;
        let (fingerprint, expires) = token_of(url)?;
        add(&site, What::Token(fingerprint), None, Some(expires));
    }
    for text in &call.prefixes {
        let (site, path) = place(admin, text, call.zone.as_deref(), "prefixes")?;
        let what = What::Prefix(path.as_str().to_owned());
        add(&site, what, bounded, bounded);
    }
    let sites = zones(admin, call)?;
    for text in &call.fingerprints {
        let bad = |why| Wrong::new("bad_fingerprint", "fingerprints", why);
        let fingerprint: Fingerprint = text.parse().map_err(bad)?;
        for (site, policy) in &sites {
            let longest = now.saturating_add(policy.max_lifetime.as_secs());
            add(site, What::Token(fingerprint), None, Some(longest));
        }
    }
    for name in &call.keys {
        let has =
            |(_, policy): &&(Arc<Site>, Policy)| policy.keys.iter().any(|it| it.name == *name);
        let with: Vec<_> = sites.iter().filter(has).collect();
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

/// The token in a URL, and when it expires.
fn token_of(url: &str) -> Result<(Fingerprint, u64), Wrong> {
    let none = || {
        let message = "a URL to revoke carries its token and its expires: is it whole?";
        Wrong::new("no_token", "urls", message)
    };
    let target = target(url).map_err(|_| none())?;
    let parameters = Parameters::parse(&target).map_err(|_| none())?;
    let token = parameters.token().and_then(|text| Token::parse(text).ok());
    let expires = parameters.get("expires").and_then(parse_expires);
    let (token, expires) = token.zip(expires).ok_or_else(none)?;
    Ok((Fingerprint::of(&token), expires))
}

/// The zones that keys and fingerprints are for, with what they demand.
fn zones(admin: &Admin, call: &Call) -> Result<Vec<(Arc<Site>, Policy)>, Wrong> {
    let sites: Vec<Arc<Site>> = match call.zone.as_deref() {
        Some(zone) => vec![find(admin, zone)?],
        None => admin.node.sites.load().all().cloned().collect(),
    };
    let policies = sites.into_iter().filter_map(|site| {
        let policy = site.zone.token.clone()?;
        Some((site, policy))
    });
    Ok(policies.collect())
}
