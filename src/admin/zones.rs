//! The zones in force: every setting as it counts, defaults too, and no secret.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Admin;
use super::answer::answer;
use crate::origin::{Credentials, Kind, Settings};
use crate::path::EmptySegments;
use crate::token::Policy;
use crate::zone::{CachePolicy, CacheRules, Cors, CorsRules, Methods, PathRule, QueryRule, Zone};

const MASKED: &str = "masked";

pub async fn list(State(admin): State<Arc<Admin>>) -> Response {
    let sites = admin.node.sites.load();
    let zones = || {
        sites
            .iter()
            .map(|site| zone(&site.zone))
            .collect::<Vec<_>>()
    };
    answer(Ok(json!({ "zones": zones() })))
}

/// Names as in the configuration; durations in seconds.
fn zone(zone: &Zone) -> Value {
    let referrer = &zone.access.referrer;
    json!({
        "name": zone.name,
        "id": zone.id,
        "hostnames": zone.hostnames,
        "token": zone.token.as_ref().map(token),
        "blocked_ips": texts(&zone.access.blocked_ips),
        "referrer": {
            "allow": referrer.allow,
            "block": referrer.block,
            "allow_absent": referrer.allow_absent,
        },
        "trusted_proxies": texts(&zone.trusted_proxies),
        "explain_to": texts(&zone.explain_to),
        "client_ip_header": zone.client_ip_header.as_str(),
        "cors": cors(&zone.cors),
        "https": {
            "force": zone.https.force,
            "hsts": zone.https.hsts.as_ref().and_then(|value| value.to_str().ok()),
        },
        "path": zone.paths.iter().map(path).collect::<Vec<_>>(),
        "cmcd": zone.cmcd,
        "empty_segments": zone.empty_segments == EmptySegments::Kept,
        "cache": cache(&zone.cache),
        "origin": origin(&zone.origin),
    })
}

fn cors(cors: &Cors) -> Value {
    match cors {
        Cors::Off => json!(false),
        Cors::Origins => json!("origin"),
        Cors::Ours(rules) if *rules == CorsRules::everybody() => json!(true),
        Cors::Ours(rules) => json!({
            "origins": texts(&rules.origins),
            "credentials": rules.credentials,
            "max_age": rules.max_age.as_secs(),
        }),
    }
}

fn path(rule: &PathRule) -> Value {
    let names = rule.headers.iter().map(|(name, _)| name.as_str());
    json!({
        "match": texts(&rule.patterns),
        "token": rule.token,
        "ttl": rule.ttl.map(|ttl| ttl.as_secs_f64()),
        "headers": names.collect::<Vec<_>>(),
    })
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(T::to_string).collect()
}

fn token(policy: &Policy) -> Value {
    let keys = policy.keys.iter();
    let keys = keys.map(|key| json!({ "name": key.name, "secret": MASKED }));
    json!({
        "keys": keys.collect::<Vec<_>>(),
        "schemes": policy.schemes.iter().map(|it| it.name()).collect::<Vec<_>>(),
        "validate_ip": policy.validate_ip,
        "max_lifetime": policy.max_lifetime.as_secs(),
        "raw_prefix": policy.raw_prefix,
        "allow_ampersand": policy.allow_ampersand,
        "encoded_path": policy.encoded_path,
    })
}

fn cache(rules: &CacheRules) -> Value {
    let seconds = |ttl: Option<std::time::Duration>| ttl.map(|ttl| ttl.as_secs_f64());
    let query = match &rules.query {
        QueryRule::Ignore => json!("ignore"),
        QueryRule::All => json!("all"),
        QueryRule::Names(names) => json!(names),
    };
    json!({
        "policy": match rules.policy {
            CachePolicy::Hls => "hls",
            CachePolicy::Origin => "origin",
        },
        "query": query,
        "methods": match rules.methods {
            Methods::Read => "read",
            Methods::Any => "any",
        },
        "vary": texts(&rules.vary),
        "store_set_cookie": rules.store_set_cookie,
        "request_directives": match rules.request_directives {
            true => "honour",
            false => "ignore",
        },
        "ttl": {
            "playlist": seconds(rules.ttl.playlist),
            "live_playlist": seconds(rules.ttl.live_playlist),
            "segment": seconds(rules.ttl.segment),
            "init": seconds(rules.ttl.init),
            "key": seconds(rules.ttl.key),
            "other": seconds(rules.ttl.other),
            "missing": seconds(rules.ttl.missing),
        },
    })
}

fn origin(settings: &Settings) -> Value {
    let endpoint = |it: &crate::origin::Endpoint| {
        let scheme = if it.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", it.authority(), it.path)
    };
    let headers = settings.headers.iter();
    let deadlines = &settings.deadlines;
    let mut all = json!({
        "kind": settings.kind.name(),
        "endpoints": settings.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "headers": headers
            .map(|(name, _)| (name.to_string(), json!(MASKED)))
            .collect::<serde_json::Map<_, _>>(),
        "missing_as": settings.missing_as,
        "max_pulls": settings.max_pulls,
        "prefix": settings.prefix,
        "ca_file": settings.ca_file,
        "tls_name": settings.tls_name,
        "forward_host": settings.forward_host,
        "redirects": texts(&settings.redirects),
        "health_path": settings.health.path,
        "health_interval": settings.health.interval.as_secs_f64(),
        "connect_timeout": deadlines.connect.as_secs_f64(),
        "first_byte_timeout": deadlines.first_byte.as_secs_f64(),
        "between_bytes_timeout": deadlines.between_bytes.as_secs_f64(),
        "total_timeout": deadlines.total.as_secs_f64(),
        "queue_timeout": deadlines.queue.as_secs_f64(),
        "answer_timeout": deadlines.answer.as_secs_f64(),
    });
    match &settings.kind {
        Kind::S3 {
            bucket,
            region,
            virtual_host,
            credentials,
        } => {
            all["bucket"] = json!(bucket);
            all["region"] = json!(region);
            all["style"] = json!(if *virtual_host { "virtual" } else { "path" });
            all["access_key"] = json!(credentials.as_ref().map(Credentials::shown_id));
            all["secret_key"] = json!(credentials.as_ref().map(|_| MASKED));
        }
        Kind::Http { host } => all["host"] = json!(host),
    }
    all
}
