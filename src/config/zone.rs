//! The `[[zone]]` tables.

use std::collections::HashSet;

use http::HeaderName;
use http::header::ORIGIN;

use super::door;
use super::origin::origin;
use super::section::Section;
use crate::cache::head::is_hop_by_hop;
use crate::cache::ignore::Ignored;
use crate::cache::lifetime::Overrides;
use crate::edge::Listen;
use crate::origin::{Settings, is_said_by_us};
use crate::path::EmptySegments;
use crate::token::{self, Key, Scheme};
use crate::zone::{
    Access, CachePolicy, CacheRules, Cors, Methods, PathRule, QueryRule, Referrer, X_FORWARDED_FOR,
    Zone,
};

pub(super) fn zones(root: &Section<'_>) -> Option<Vec<Zone>> {
    let tables = root.sections("zone");
    if tables.is_empty() {
        let hint = "add a [[zone]] with hostnames, [zone.token] and [zone.origin]; see config/minimal.toml";
        root.problem("zone", "no zone", "at least one [[zone]]", hint);
        return None;
    }
    let count = tables.len();
    let bare = tables.iter().filter(|table| !table.has("id")).count();
    if count > 1 && bare > 0 {
        let doubt = format!(
            "{bare} of {count} have no id: it is a zone's place in the file then, and one written \
             above changes it and empties its cache"
        );
        root.warn("zone", &doubt);
    }
    let mut seen = Seen::default();
    let zones: Vec<Zone> = tables
        .iter()
        .enumerate()
        .filter_map(|(index, table)| {
            let zone = zone(table, index as u64 + 1);
            let unique = seen.check(table, zone.as_ref());
            zone.filter(|_| unique)
        })
        .collect();
    (zones.len() == count).then_some(zones)
}

/// What zones say that does not fit together, and may be meant.
pub(super) fn warn_of_doors(root: &Section<'_>, listen: &Listen, zones: &[Zone]) {
    for (at, one) in zones.iter().enumerate() {
        let nobody = listen.https.is_empty() && one.trusted_proxies.is_empty();
        if nobody && (one.https.force || one.https.hsts.is_some()) {
            let doubt = "listen.https is empty and no proxy is trusted: nobody comes over TLS";
            root.warn(&format!("zone[{at}].https"), doubt);
        }
        for other in &zones[at + 1..] {
            let differ = one.token.is_some() != other.token.is_some();
            if differ && one.origin.shares_objects_with(&other.origin) {
                let (signed, open) = match one.token.is_some() {
                    true => (one, other),
                    false => (other, one),
                };
                let doubt = format!(
                    "{} gives everybody what {} asks tokens for: their objects are the same \
                     (origin.prefix tells folders apart, [[zone.path]] makes some public)",
                    open.name, signed.name
                );
                root.warn("zone", &doubt);
            }
        }
    }
}

#[derive(Default)]
struct Seen {
    ids: HashSet<u32>,
    names: HashSet<String>,
    hosts: HashSet<String>,
}

impl Seen {
    fn check(&mut self, table: &Section<'_>, zone: Option<&Zone>) -> bool {
        let Some(zone) = zone else { return false };
        let mut unique = true;
        if !self.ids.insert(zone.id) {
            table.problem(
                "id",
                zone.id.to_string(),
                "a number that no other zone has",
                "choose another id",
            );
            unique = false;
        }
        if !self.names.insert(zone.name.clone()) {
            table.problem(
                "name",
                format!("{:?}", zone.name),
                "a name that no other zone has",
                "rename one of them",
            );
            unique = false;
        }
        for host in &zone.hostnames {
            if !self.hosts.insert(host.clone()) {
                let hint = "a host name belongs to one zone";
                table.problem(
                    "hostnames",
                    format!("{host:?}"),
                    "host names that no other zone has",
                    hint,
                );
                unique = false;
            }
        }
        unique
    }
}

fn zone(table: &Section<'_>, position: u64) -> Option<Zone> {
    let name = table.required_text("name", "a short name such as \"vod\"");
    let id = table.integer_or("id", 1..=u64::from(u32::MAX), position) as u32;
    let hostnames = table.list(
        "hostnames",
        "host names without scheme and port, or \"*\"",
        parse_hostname,
    );
    if hostnames.is_empty() {
        table.problem(
            "hostnames",
            "no host name",
            "at least one",
            "write hostnames = [\"cdn.example.net\"], or [\"*\"]",
        );
    }
    let trusted_proxies = table.networks("trusted_proxies");
    let explain_to = table.networks("explain_to");
    let client_ip_header = client_ip_header(table, trusted_proxies.is_empty());
    let (cors, https, paths) = (door::cors(table), door::https(table), door::paths(table));
    let cmcd = table.flag("cmcd", false);
    let empty_segments = match table.flag("empty_segments", false) {
        true => EmptySegments::Kept,
        false => EmptySegments::Refused,
    };
    let access = access(table);
    let token = token(table);
    let strips_tokens = table.section("token").has("keys");
    let cache = cache_rules(table);
    let origin = origin(table);
    let s3 = origin.as_ref().is_some_and(Settings::is_s3);
    if s3
        && cache
            .as_ref()
            .is_some_and(|cache| cache.methods == Methods::Any)
    {
        let hint = "an S3 bucket is read through the edge; write to it directly";
        table.problem(
            "cache",
            "methods = \"any\" with an s3 origin",
            "methods = \"read\"",
            hint,
        );
    }
    if s3 && cors == Some(Cors::Origins) {
        let hint = "write the table: cors = { origins = [\"https://app.example.net\"] }";
        table.problem(
            "cors",
            "\"origin\" with an s3 origin",
            "true, false or a table",
            hint,
        );
    }
    let is_of_origin = |cache: &CacheRules| cache.policy == CachePolicy::Origin;
    let with_ttl = |rule: &PathRule| rule.ttl.is_some();
    if cache.as_ref().is_some_and(is_of_origin)
        && paths
            .as_ref()
            .is_some_and(|paths| paths.iter().any(with_ttl))
    {
        let hint = "leave ttl out, or write policy = \"hls\"";
        let allowed = "a zone that goes by its own lifetimes";
        table.problem("path", "ttl under policy = \"origin\"", allowed, hint);
    }
    let sound = table.finish();
    let (token, mut cache, access, origin) = (token?, cache?, access?, origin?);
    let (cors, https, paths) = (cors?, https?, paths?);
    // What it says to one site is for no other.
    if cors == Cors::Origins && !cache.vary.contains(&ORIGIN) {
        cache.vary.push(ORIGIN);
    }
    let mut zone = Zone {
        id,
        realm: 0,
        name: name?,
        hostnames,
        token,
        strips_tokens,
        access,
        trusted_proxies,
        client_ip_header,
        https,
        explain_to,
        cors,
        paths,
        empty_segments,
        cmcd,
        cache,
        origin,
    };
    zone.realm = zone.holdings();
    sound.then_some(zone)
}

/// Another header than X-Forwarded-For, as some proxies name the viewer in.
fn client_ip_header(table: &Section<'_>, nobody_is_trusted: bool) -> HeaderName {
    let name = table.parsed("client_ip_header", "the name of a header", |text| {
        text.parse().ok()
    });
    if name.is_some() && nobody_is_trusted {
        let hint = "write trusted_proxies = [\"10.0.0.0/8\"]: nobody else is believed";
        let found = "no trusted proxy";
        table.problem("client_ip_header", found, "beside trusted_proxies", hint);
    }
    name.unwrap_or(X_FORWARDED_FOR)
}

fn parse_hostname(text: &str) -> Option<String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    let port = text
        .rsplit_once(':')
        .is_some_and(|(host, _)| !host.contains(':'));
    let sound = text == "*" || (!text.is_empty() && text.bytes().all(fine) && !port);
    // As a request's host loses its dot.
    let plain = text.strip_suffix('.').unwrap_or(text);
    sound.then(|| plain.to_ascii_lowercase())
}

fn access(zone: &Section<'_>) -> Option<Access> {
    let blocked_ips = zone.networks("blocked_ips");
    let table = zone.section("referrer");
    let referrer = Referrer {
        allow: table.texts("allow"),
        block: table.texts("block"),
        allow_absent: table.flag("allow_absent", true),
    };
    table.finish().then_some(Access {
        blocked_ips,
        referrer,
    })
}

/// `Some(None)`: the zone asks for no token.
fn token(zone: &Section<'_>) -> Option<Option<token::Policy>> {
    let table = zone.section("token");
    let required = table.flag("required", true);
    let keys = token_keys(&table);
    if required && !table.has("keys") {
        let hint = "write keys = [{ name = \"main\", env = \"CDN_SECURITY_KEY\" }] under [zone.token], \
                    or required = false for a zone that everybody may read";
        table.problem("keys", "no security key", "at least one key", hint);
    }
    let schemes = table.list("schemes", "hs256, sha256 or md5", Scheme::from_name);
    let mut policy = token::Policy::new(keys);
    let names: Vec<_> = policy
        .schemes
        .iter()
        .map(|it| it.name().to_owned())
        .collect();
    table.shows("schemes", names);
    if !schemes.is_empty() {
        policy.schemes = schemes;
    }
    policy.validate_ip = table.flag("validate_ip", false);
    let longest = token::policy::DEFAULT_MAX_LIFETIME;
    policy.max_lifetime = table.duration_or("max_lifetime", longest);
    policy.raw_prefix = table.flag("raw_prefix", false);
    policy.allow_ampersand = table.flag("allow_ampersand", false);
    policy.encoded_path = table.flag("encoded_path", true);
    if required && policy.keys.is_empty() && table.has("keys") {
        table.problem(
            "keys",
            "no usable key",
            "at least one key",
            "mend the entries of this list",
        );
    }
    table.finish().then_some(required.then_some(policy))
}

fn token_keys(table: &Section<'_>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for entry in table.sections("keys") {
        let name = entry.required_text("name", "a name for logs and metrics, such as \"2026-11\"");
        let secret = entry.own_key("the key that your backend signs with");
        entry.finish();
        let (Some(name), Some(secret)) = (name, secret) else {
            continue;
        };
        if keys.iter().any(|key| key.name == name) {
            entry.problem(
                "name",
                format!("{name:?}"),
                "a name that no other key has",
                "rename one of them",
            );
        }
        keys.extend(Key::new(name, secret.as_bytes()));
    }
    keys
}

fn cache_rules(zone: &Section<'_>) -> Option<CacheRules> {
    let table = zone.section("cache");
    let policy = table.parsed("policy", "hls or origin", |text| match text {
        "hls" => Some(CachePolicy::Hls),
        "origin" => Some(CachePolicy::Origin),
        _ => None,
    });
    let methods = table.parsed("methods", "read or any", |text| match text {
        "read" => Some(Methods::Read),
        "any" => Some(Methods::Any),
        _ => None,
    });
    let request_directives =
        table.parsed(
            "request_directives",
            "ignore or honour",
            |text| match text {
                "ignore" => Some(false),
                "honour" => Some(true),
                _ => None,
            },
        );
    table.shows("policy", "hls");
    table.shows("methods", "read");
    table.shows("request_directives", "ignore");
    table.shows("query", "ignore");
    let rules = CacheRules {
        policy: policy.unwrap_or_default(),
        query: query_rule(&table),
        methods: methods.unwrap_or_default(),
        vary: table.list(
            "vary",
            "names of headers that a viewer says and that go on as he said them",
            |text| text.parse().ok().filter(goes_on),
        ),
        store_set_cookie: table.flag("store_set_cookie", false),
        request_directives: request_directives.unwrap_or_default(),
        names_never_return: table.flag("names_never_return", false),
        stale_when_unreachable: table.flag("stale_when_unreachable", true),
        ignore_origin: ignore_origin(&table, policy),
        ttl: overrides(&table),
    };
    table.finish().then_some(rules)
}

fn ignore_origin(table: &Section<'_>, policy: Option<CachePolicy>) -> Vec<Ignored> {
    const NAMES: &str = "any of no-cache, no-store, private, max-age and expires";
    let ignored = table.list("ignore_origin", NAMES, Ignored::parse);
    if !ignored.is_empty() && policy == Some(CachePolicy::Origin) {
        let hint = "leave it out, or write policy = \"hls\"";
        let found = "policy = \"origin\"";
        table.problem(
            "ignore_origin",
            found,
            "a zone that goes by its own lifetimes",
            hint,
        );
    }
    for one in ignored.iter().filter(|one| one.is_of_one_viewer()) {
        let doubt = format!(
            "{} is ignored: what the origin makes for one viewer goes to all who may ask for it",
            one.name()
        );
        table.warn("ignore_origin", &doubt);
    }
    ignored
}

/// What frames a message, or the edge asks the origin in its own words, is no
/// viewer's: it would be said twice.
pub(super) fn goes_on(name: &HeaderName) -> bool {
    !is_hop_by_hop(name) && !is_said_by_us(name.as_str())
}

fn query_rule(table: &Section<'_>) -> QueryRule {
    if table.is_list("query") {
        return QueryRule::Names(table.list(
            "query",
            "parameter names that are no token's",
            |text| {
                let fine = !text.is_empty() && !token::carrier::is_carrier(text);
                fine.then(|| text.to_owned())
            },
        ));
    }
    let rule = table.parsed(
        "query",
        "ignore, all, or a list of names",
        |text| match text {
            "ignore" => Some(QueryRule::Ignore),
            "all" => Some(QueryRule::All),
            _ => None,
        },
    );
    rule.unwrap_or_default()
}

fn overrides(cache: &Section<'_>) -> Overrides {
    let table = cache.section("ttl");
    let overrides = Overrides {
        playlist: table.duration("playlist"),
        live_playlist: table.duration("live_playlist"),
        live_stale_if_error: table.duration("live_stale_if_error"),
        segment: table.duration("segment"),
        init: table.duration("init"),
        key: table.duration("key"),
        other: table.duration("other"),
        missing: table.duration("missing"),
    };
    table.finish();
    overrides
}
