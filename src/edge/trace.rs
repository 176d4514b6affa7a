//! The span of a request, where it is traced.

use http::header::HeaderName;

use super::record::Record;
use super::request::Request;
use super::shared::{Node, drawn};
use super::verify::Visitor;
use super::visit::Visit;
use crate::token::carrier::redact;
use crate::traces::{Caller, Span, SpanKind, TraceContext, Value};
use crate::zone::{Zone, contains};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What an origin is told of a viewer's trace.
pub(super) enum Told {
    /// What the viewer said.
    Kept,
    Nothing,
    /// Which of our spans the request is; of a trace that the viewer began.
    Ours {
        span: TraceContext,
        goes_on: bool,
    },
}

impl Told {
    /// Whether a header of the viewer's goes no further.
    pub(super) fn drops(&self, name: &HeaderName) -> bool {
        match self {
            Told::Kept => false,
            Told::Nothing => *name == TRACEPARENT || *name == TRACESTATE,
            Told::Ours { goes_on, .. } => *name == TRACEPARENT || (*name == TRACESTATE && !goes_on),
        }
    }

    pub(super) fn ours(&self) -> Option<TraceContext> {
        match self {
            Told::Kept | Told::Nothing => None,
            Told::Ours { span, .. } => Some(*span),
        }
    }
}

impl Visit<'_> {
    /// Where the edge traces, a viewer does so only behind a trusted proxy.
    pub(super) fn told_trace(&self) -> Told {
        match (self.trace(), &self.node.traces) {
            (Some(span), _) => Told::Ours {
                span: span.child(),
                goes_on: span.parent.is_some(),
            },
            (None, None) => Told::Kept,
            (None, Some(_))
                if self
                    .visitor
                    .zone()
                    .is_some_and(|it| is_trusted(it, self.request)) =>
            {
                Told::Kept
            }
            (None, Some(_)) => Told::Nothing,
        }
    }

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
    let trusted = visitor.zone().is_some_and(|zone| is_trusted(zone, request));
    let caller = match trusted {
        true => request.text(&TRACEPARENT).and_then(Caller::parse),
        false => None,
    };
    traces.begin(request_id, caller, drawn(request_id))
}

/// Who may be anybody does not decide what is traced.
fn is_trusted(zone: &Zone, request: &Request<'_>) -> bool {
    contains(&zone.trusted_proxies, request.entry.peer.ip())
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
        ("http.request.method", text(request.method_name())),
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
