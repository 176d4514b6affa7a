//! What a zone says at its door: CORS, TLS, and rules for some paths.

use http::{HeaderName, HeaderValue};

use super::section::Section;
use crate::cache::head::{is_cors, is_hop_by_hop};
use crate::zone::{Cors, CorsRules, DEFAULT_MAX_AGE, Https, OriginPattern, PathPattern, PathRule};

/// `true`, `false`, `"origin"` or a table.
pub(super) fn cors(zone: &Section<'_>) -> Option<Cors> {
    if zone.is_text("cors") {
        return zone.parsed("cors", "true, false, \"origin\" or a table", |text| {
            (text == "origin").then_some(Cors::Origins)
        });
    }
    if !zone.is_table("cors") {
        return Some(match zone.flag("cors", true) {
            true => Cors::default(),
            false => Cors::Off,
        });
    }
    let table = zone.section("cors");
    const ORIGIN: &str = "origins such as \"https://app.example.net\" or \"https://*.example.net\"";
    let origins = table.list("origins", ORIGIN, OriginPattern::parse);
    let credentials = table.flag("credentials", false);
    if credentials && origins.is_empty() {
        let hint =
            "write origins = [\"https://app.example.net\"]: browsers take no * with credentials";
        table.problem("credentials", "credentials for everybody", ORIGIN, hint);
    }
    let names = |key| {
        table.list(key, "names of headers", |text| {
            text.parse::<HeaderName>().ok()
        })
    };
    let (sent, read) = (names("headers"), names("expose"));
    let mut rules = CorsRules::everybody().with_headers(&sent, &read);
    (rules.origins, rules.credentials) = (origins, credentials);
    rules.max_age = table.duration_or("max_age", DEFAULT_MAX_AGE);
    table.finish().then_some(Cors::Ours(rules))
}

pub(super) fn https(zone: &Section<'_>) -> Option<Https> {
    let table = zone.section("https");
    let force = table.flag("force", false);
    let hsts = table.duration("hsts");
    let below = table.flag("include_subdomains", false);
    let preload = table.flag("preload", false);
    if hsts.is_none() && (below || preload) {
        let key = if below {
            "include_subdomains"
        } else {
            "preload"
        };
        let hint = "write hsts = \"365d\", too";
        table.problem(key, "no hsts", "beside hsts", hint);
    }
    let hsts = hsts.map(|age| {
        let below = if below { "; includeSubDomains" } else { "" };
        let preload = if preload { "; preload" } else { "" };
        format!("max-age={}{below}{preload}", age.as_secs())
    });
    let hsts = hsts.and_then(|text| HeaderValue::from_str(&text).ok());
    table.finish().then_some(Https { force, hsts })
}

pub(super) fn paths(zone: &Section<'_>) -> Option<Vec<PathRule>> {
    let tables = zone.sections("path");
    let rules: Vec<_> = tables.iter().filter_map(path_rule).collect();
    (rules.len() == tables.len()).then_some(rules)
}

fn path_rule(table: &Section<'_>) -> Option<PathRule> {
    const PATTERN: &str = "paths with one * at most, such as \"/posters/*\" or \"*.jpg\"";
    let patterns = table.list("match", PATTERN, PathPattern::parse);
    if patterns.is_empty() && !table.has("match") {
        let hint = "write match = [\"/posters/*\"]";
        table.problem("match", "no path", PATTERN, hint);
    }
    let rule = PathRule {
        patterns,
        token: table.flag("token", true),
        ttl: table.duration("ttl"),
        headers: headers(table),
    };
    let says_nothing = rule.token && rule.ttl.is_none() && rule.headers.is_empty();
    if says_nothing {
        table.warn(
            "match",
            "the rule says nothing of these paths: token, ttl or headers",
        );
    }
    if !rule.token && rule.patterns.iter().any(PathPattern::is_everything) {
        let doubt = "every path is public: required = false under [zone.token] says so";
        table.warn("token", doubt);
    }
    table.finish().then_some(rule)
}

/// Names that the operator may set: not what frames a message, is said of each
/// answer, or has a key of its own.
fn headers(table: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let ours = [
        "accept-ranges",
        "age",
        "cache-status",
        "content-encoding",
        "content-length",
        "content-range",
        "date",
        "etag",
        "last-modified",
        "server",
        "set-cookie",
        "strict-transport-security",
        "vary",
    ];
    let is_ours = |name: &HeaderName| {
        let text = name.as_str();
        ours.contains(&text) || text.starts_with("cdn-") || is_cors(name) || is_hop_by_hop(name)
    };
    let said = table.headers("headers");
    for (name, _) in said.iter().filter(|(name, _)| is_ours(name)) {
        let hint = "see docs/configuration.md: CORS and HSTS have keys of their own";
        let found = format!("{name}");
        table.problem(
            "headers",
            found,
            "headers that the edge does not set itself",
            hint,
        );
    }
    said
}
