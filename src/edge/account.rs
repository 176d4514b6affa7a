//! Accounts for each request: metrics by kind, and a line in the log.

use http::Method;
use http::header::{HeaderName, REFERER, USER_AGENT};
use pingora::http::Version;

use super::record::Record;
use super::request::Request;
use super::shared::{Node, drawn};
use super::trace;
use super::verify::Visitor;
use crate::per_address::customer;
use crate::telemetry::cmcd::{self, Cmcd};
use crate::telemetry::errors;
use crate::telemetry::log_line::{Line, Timestamp, anonymise};
use crate::telemetry::metrics::Answered;
use crate::telemetry::top::{List, Sum};
use crate::token::Fingerprint;
use crate::token::carrier::{redact, redact_referer};

/// Counts and logs one request.
pub fn account(
    node: &Node,
    visitor: &Visitor<'_>,
    request: &Request<'_>,
    request_id: &str,
    record: &Record,
) {
    let counters = match &visitor.site {
        Some(site) => &site.counters,
        None => &node.metrics.nowhere,
    };
    node.metrics.count(&Answered {
        kind: record.kind,
        cache: record.cache,
        status: record.status,
        bytes: record.bytes,
        first_byte: record.first_byte,
        zone: counters,
    });
    if let Some(reason) = record.reason.filter(|_| record.refused) {
        node.metrics.count_refusal(counters.name(), reason);
    }
    if let Some(bypass) = record.bypass {
        node.metrics.count_bypass(bypass.name());
    }
    if let Some(used) = record.token {
        counters.count_token(used.key, used.token.scheme);
    }
    // Only of those who were let in; a preflight brings no token.
    let let_in = !record.refused && request.method != Method::OPTIONS;
    if let Some(zone) = visitor.zone().filter(|zone| zone.cmcd && let_in)
        && let Some(said) = said(visitor, request)
    {
        node.metrics.cmcd.count(&zone.name, &said);
    }
    if let Some(weight) = node.top.weight(|| drawn(request_id)) {
        note(node, visitor, request, record, weight);
    }
    if record.status >= 400 {
        note_error(node, visitor, record);
    }
    trace::end(node, visitor, request, request_id, record);
    let is_hit = record.cache.is_hit() && record.status < 400;
    if let Some(weight) = node.log.weight(is_hit, || drawn(request_id)) {
        let line = Line {
            weight,
            ..line(node, visitor, request, request_id, record)
        };
        if !node.log.write(&line) {
            node.metrics.log_lines_dropped.inc();
        }
    }
}

/// Counts it among who asks for what.
fn note(node: &Node, visitor: &Visitor<'_>, request: &Request<'_>, record: &Record, weight: u64) {
    let client = customer(visitor.client_ip).to_string();
    let token = record
        .token
        .map(|used| Fingerprint::of(&used.token).to_string());
    let title = visitor
        .site
        .as_ref()
        .and_then(|_| visitor.title(record.token.is_some()));
    let agent = request.text(&USER_AGENT).map(redact);
    let status = record.status;
    let answer = match record.reason {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_string(),
    };
    let names = [
        (List::Clients, Some(client.as_str())),
        (List::Tokens, token.as_deref()),
        (List::Titles, title.as_deref()),
        (List::Agents, agent.as_deref()),
        (List::Answers, Some(answer.as_str())),
    ];
    let names = names
        .into_iter()
        .filter_map(|(list, name)| Some((list, name?)));
    let sum = Sum {
        requests: 1,
        bytes: record.bytes,
        errors: u64::from(status >= 400),
    };
    let zone = visitor.zone().map_or(0, |zone| zone.id);
    let now = node.clock.monotonic();
    node.top
        .count(zone, &names.collect::<Vec<_>>(), sum, weight, now);
}

/// Counts an answer that nobody hoped for.
fn note_error(node: &Node, visitor: &Visitor<'_>, record: &Record) {
    let kind = errors::Kind {
        zone: visitor.zone().map_or(0, |zone| zone.id),
        status: record.status,
        reason: record.reason,
    };
    // A host that no zone has is what is wanted to be known of it.
    let host = visitor.site.is_none().then(|| visitor.host.as_ref());
    let path = || {
        let host = redact(host.unwrap_or_default());
        Some(format!("{host}{}", visitor.shown_path()?))
    };
    node.errors.count(kind, node.clock.unix_seconds(), path);
}

fn said(visitor: &Visitor<'_>, request: &Request<'_>) -> Option<Cmcd> {
    let query = visitor.target.split_once('?').map(|(_, query)| query);
    let texts = |name| request.text(&HeaderName::from_static(name));
    Cmcd::read(query, cmcd::HEADERS.into_iter().filter_map(texts))
}

fn line<'a>(
    node: &Node,
    visitor: &'a Visitor<'_>,
    request: &'a Request<'_>,
    request_id: &'a str,
    record: &'a Record,
) -> Line<'a> {
    let zone = visitor.zone();
    let token_key = record.token.and_then(|used| {
        let policy = zone?.token.as_ref()?;
        Some(policy.keys.get(used.key)?.name.as_str())
    });
    // What was refused has not come so far as to note them.
    let told = record.refused.then(|| visitor.told());
    let (kind, token) = told.unwrap_or((None, None));
    Line {
        time: Timestamp::of(request.entry.came_at),
        request_id,
        zone: zone.map_or("-", |zone| &zone.name),
        zone_id: zone.map_or(0, |zone| zone.id),
        remote_ip: if node.log.anonymise_ip {
            anonymise(visitor.client_ip)
        } else {
            visitor.client_ip
        },
        country: visitor
            .country
            .as_ref()
            .and_then(|code| std::str::from_utf8(code).ok()),
        method: request.method_name(),
        host: redact(&visitor.host),
        url: redact(&visitor.target),
        protocol: if request.version == Version::HTTP_2 {
            "HTTP/2"
        } else {
            "HTTP/1.1"
        },
        status: record.status,
        cache: record.cache.name(),
        kind: kind.unwrap_or(record.kind).name(),
        bytes: record.bytes,
        ttfb: record.first_byte,
        duration: node
            .clock
            .monotonic()
            .saturating_duration_since(request.entry.came),
        reason: record.reason,
        token_key,
        token: record
            .token
            .map_or(token, |used| Some(used.token))
            .map(|it| Fingerprint::of(&it)),
        left_out: record.token.map(|used| used.left_out).unwrap_or_default(),
        cache_key: record.fingerprint.as_deref(),
        referer: request.text(&REFERER).map(redact_referer),
        user_agent: request.text(&USER_AGENT).map(redact),
        weight: 1,
    }
}
