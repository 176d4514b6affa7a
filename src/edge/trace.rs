//! The span of a request, where it is traced.

use http::header::HeaderName;

use super::account::Record;
use super::lookup::Visit;
use super::request::Request;
use super::verify::Visitor;
use super::{Node, drawn};
use crate::telemetry::log_line::redact;
use crate::traces::{Caller, Span, SpanKind, TraceContext, Value};
use crate::zone::contains;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl Visit<'_> {
    pub(super) fn trace(&self) -> Option<TraceContext> {
        context(self.node, self.visitor, self.request, self.request_id)
    }
}

/// The same for the same request, whenever it is asked.
fn context(
    node: &Node,
    visitor: &Visitor<'_>,
    request: &Request<'_>,
    request_id: &str,
) -> Option<TraceContext> {
    let traces = node.traces.as_ref()?;
    // Who may be anybody does not decide what is traced.
    let trusted =
        |zone: &crate::zone::Zone| contains(&zone.trusted_proxies, request.entry.peer.ip());
    let caller = match visitor.zone().is_some_and(trusted) {
        true => request.text(&TRACEPARENT).and_then(Caller::parse),
        false => None,
    };
    traces.begin(request_id, caller, drawn(request_id))
}

/// Tells of a request that has been answered.
pub(super) fn end(
    node: &Node,
    visitor: &Visitor<'_>,
    request: &Request<'_>,
    request_id: &str,
    record: &Record,
) {
    let Some(traces) = &node.traces else {
        return;
    };
    let Some(context) = context(node, visitor, request, request_id) else {
        return;
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let url = redact(&visitor.target);
    let path = url.split('?').next().unwrap_or_default();
    let bytes = i64::try_from(record.bytes).unwrap_or(i64::MAX);
    let mut attributes = vec![
        ("http.request.method", text(request.method.as_str())),
        (
            "http.response.status_code",
            Value::Whole(record.status.into()),
        ),
        ("http.response.body.size", Value::Whole(bytes)),
        ("server.address", text(&visitor.host)),
        ("url.path", text(path)),
        ("warren.cache", text(record.cache.name())),
        ("warren.kind", text(record.kind.name())),
        ("warren.request_id", text(request_id)),
    ];
    let zone = visitor.zone().map(|zone| ("warren.zone", text(&zone.name)));
    let reason = record.reason.map(|reason| ("warren.reason", text(reason)));
    attributes.extend(zone.into_iter().chain(reason));
    traces.end(Span {
        context,
        kind: SpanKind::Server,
        name: "request",
        start: request.entry.came_at,
        took: node
            .clock
            .monotonic()
            .saturating_duration_since(request.entry.came),
        attributes,
        error: record.reason.filter(|_| record.status >= 500),
    });
}
