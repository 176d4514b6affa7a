use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::key::KeySource;
use super::{REFUSED, say, usage};
use crate::cache::key::Key as CacheKey;
use crate::clock::Clock;
use crate::config::Environment;
use crate::hls::Kind;
use crate::origin;
use crate::path::CanonicalPath;
use crate::token::{Country, Evidence, Grant, Parameters, Policy, Refusal, Scheme, Target};
use crate::zone::{ByHost, CacheRules, Zone};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren explain 'https://cdn.example.net/v/s1/a.ts?token=…&expires=…' --config config/warren.toml
  warren explain '/a.ts?token=…&expires=…' --key-env CDN_SECURITY_KEY --at 1893456000 --json
  warren explain \"$URL\" --key-file key.txt --client-ip 203.0.113.7 --country CH --validate-ip

Exit code 0: allowed. 1: refused; the reason is one of the names in
docs/tokens.md. 2: wrong usage.")]
pub struct Arguments {
    /// The URL (or just its path and query) as a viewer would request it.
    url: String,
    #[command(flatten)]
    key: KeySource,
    /// A scheme that is allowed; may be repeated [default: hs256, sha256].
    #[arg(long, value_parser = super::sign::scheme, conflicts_with = "config")]
    scheme: Vec<Scheme>,
    /// Decide as if it were this time, in Unix seconds.
    #[arg(long, value_name = "UNIX")]
    at: Option<u64>,
    /// The viewer's address.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client_ip: IpAddr,
    /// The viewer's country, as in CH.
    #[arg(long, value_name = "CC", value_parser = country)]
    country: Option<Country>,
    /// Demand that the address is signed.
    #[arg(long)]
    validate_ip: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn country(text: &str) -> Result<Country, String> {
    let upper = text.to_ascii_uppercase();
    upper
        .as_bytes()
        .try_into()
        .map_err(|_| "two letters, as in CH".to_owned())
}

/// The decision and what it rests on.
#[derive(Serialize)]
struct Explanation {
    allow: bool,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    scheme: Option<&'static str>,
    key: Option<String>,
    /// The names of the keys that were tried.
    keys_tried: Vec<String>,
    path: Option<String>,
    /// What the token must have signed besides expiry and address.
    signed_path: Option<String>,
    /// Seconds until (or, negative, since) the expiry.
    expires_in: Option<i64>,
    kind: Option<&'static str>,
    cache_key: Option<String>,
    /// Seconds of freshness in the cache before the origin has been asked.
    ttl: Option<u64>,
    origin: Option<String>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let environment = Environment::of_process();
    let (host, target) = split_url(&arguments.url);
    let zone = match arguments.key.load_config(&environment) {
        None => None,
        Some(Err(why)) => return usage(&why),
        Some(Ok(config)) => {
            let places = config.zones.iter().enumerate();
            let by_host = ByHost::new(places.map(|(place, zone)| (zone, place)));
            let place = by_host.find(host.unwrap_or("*")).map(|place| **place);
            let place = place.or(host.is_none().then_some(0));
            match place.and_then(|place| config.zones.into_iter().nth(place)) {
                Some(zone) => Some(zone),
                None => {
                    return usage(&format!(
                        "no zone serves the host {:?}",
                        host.unwrap_or_default()
                    ));
                }
            }
        }
    };
    let policy = match &zone {
        Some(zone) => zone.token.clone(),
        None => match arguments.key.single(&environment) {
            Ok(key) => Some(Policy::new(vec![key])),
            Err(why) => return usage(&why),
        },
    };
    let policy = policy.map(|policy| arguments.adjust(policy));
    let now = arguments
        .at
        .unwrap_or_else(|| Clock::default().unix_seconds());
    let evidence = Evidence {
        now,
        client_ip: arguments.client_ip,
        country: arguments.country,
        revoked: None,
    };
    let explanation = explain(target, policy.as_ref(), zone.as_ref(), &evidence);
    let printed = if arguments.json {
        serde_json::to_string(&explanation).unwrap_or_default()
    } else {
        explanation.to_text()
    };
    say(printed);
    if explanation.allow {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REFUSED)
    }
}

impl Arguments {
    fn adjust(&self, mut policy: Policy) -> Policy {
        if !self.scheme.is_empty() {
            policy.schemes.clone_from(&self.scheme);
        }
        policy.validate_ip |= self.validate_ip;
        policy
    }
}

/// Host and target of a URL, or of a bare target.
fn split_url(url: &str) -> (Option<&str>, &str) {
    let Some((_, rest)) = url.split_once("://") else {
        return (None, url);
    };
    match rest.find('/') {
        Some(slash) => (Some(&rest[..slash]), &rest[slash..]),
        None => (Some(rest), "/"),
    }
}

fn explain(
    raw: &str,
    policy: Option<&Policy>,
    zone: Option<&Zone>,
    evidence: &Evidence<'_>,
) -> Explanation {
    let target = match Target::parse(raw) {
        Ok(target) => target,
        Err(bad) => return Explanation::refused(Refusal::BadPath(bad), policy),
    };
    let decision = match policy {
        Some(policy) => policy.verify(&target, evidence).map(Some),
        None => Ok(None),
    };
    let mut explanation = match decision {
        Ok(grant) => Explanation::allowed(grant),
        Err(refusal) => Explanation::refused(refusal, policy),
    };
    explanation.describe(&target, zone, policy.is_some(), evidence.now);
    explanation
}

impl Explanation {
    fn empty() -> Self {
        Self {
            allow: false,
            reason: "ok",
            detail: None,
            scheme: None,
            key: None,
            keys_tried: Vec::new(),
            path: None,
            signed_path: None,
            expires_in: None,
            kind: None,
            cache_key: None,
            ttl: None,
            origin: None,
        }
    }

    fn allowed(grant: Option<Grant<'_>>) -> Self {
        Self {
            allow: true,
            scheme: grant.map(|grant| grant.token.scheme.name()),
            key: grant.map(|grant| grant.key.to_owned()),
            ..Self::empty()
        }
    }

    fn refused(refusal: Refusal, policy: Option<&Policy>) -> Self {
        let tried = matches!(refusal, Refusal::BadSignature)
            .then_some(policy)
            .flatten();
        let keys_tried =
            tried.map(|policy| policy.keys.iter().map(|key| key.name.clone()).collect());
        Self {
            reason: refusal.name(),
            detail: Some(refusal.detail()),
            keys_tried: keys_tried.unwrap_or_default(),
            ..Self::empty()
        }
    }

    fn describe(&mut self, target: &Target<'_>, zone: Option<&Zone>, strip_token: bool, now: u64) {
        let kind = Kind::of(&target.path);
        self.path = Some(target.path.as_str().to_owned());
        self.kind = Some(kind.name());
        if let Ok(parameters) = Parameters::parse(target) {
            let expires: Option<i64> = parameters.get("expires").and_then(|text| text.parse().ok());
            self.expires_in =
                expires.map(|expires| expires - i64::try_from(now).unwrap_or_default());
            let signed = parameters.get("token_path").unwrap_or(target.path.as_str());
            self.signed_path = parameters.token().map(|_| signed.to_owned());
        }
        let rules = CacheRules::default();
        let rules = zone.map_or(&rules, |zone| &zone.cache);
        let packager =
            zone.is_some_and(|zone| matches!(zone.origin.kind, origin::Kind::Http { .. }));
        let selected = rules.select(target.query, kind, packager, strip_token);
        let realm = zone.map_or(0, |zone| zone.realm);
        self.cache_key = Some(
            CacheKey::new(realm, &target.path, selected.iter())
                .fingerprint()
                .to_string(),
        );
        self.ttl = rules.expected_ttl(kind).map(|ttl| ttl.as_secs());
        self.origin = zone.and_then(|zone| origin_url(zone, &target.path, &selected.to_query()));
    }

    fn to_text(&self) -> String {
        let verdict = if self.allow { "allowed" } else { "refused" };
        let mut lines = vec![format!("{verdict}: {}", self.reason)];
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                lines.push(format!("  {name:<12} {value}"));
            }
        };
        line("why", self.detail.clone());
        line("scheme", self.scheme.map(str::to_owned));
        line("key", self.key.clone());
        line(
            "keys tried",
            Some(self.keys_tried.join(", ")).filter(|names| !names.is_empty()),
        );
        line("path", self.path.clone());
        line("signed path", self.signed_path.clone());
        line(
            "expires in",
            self.expires_in.map(|seconds| format!("{seconds} s")),
        );
        line("kind", self.kind.map(str::to_owned));
        line("cache key", self.cache_key.clone());
        line("ttl", self.ttl.map(|seconds| format!("{seconds} s")));
        line("origin", self.origin.clone());
        lines.join("\n")
    }
}

fn origin_url(zone: &Zone, path: &CanonicalPath, query: &str) -> Option<String> {
    let endpoint = zone.origin.endpoints.first()?;
    let (host, path) = origin::address(&zone.origin, endpoint, path);
    let scheme = if endpoint.tls { "https" } else { "http" };
    let is_http = matches!(zone.origin.kind, origin::Kind::Http { .. });
    let query = if is_http && !query.is_empty() {
        format!("?{query}")
    } else {
        String::new()
    };
    Some(format!("{scheme}://{host}{path}{query}"))
}
