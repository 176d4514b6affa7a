//! Sends spans to a collector: OTLP over HTTP, as protobuf.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as proto, ResourceSpans, ScopeSpans, Status};
use prost::Message;
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};

use super::{Span, SpanKind, Value};

/// Spans of one request to the collector, and how long the first of them waits.
const BATCH: usize = 512;
const BATCH_WAIT: Duration = Duration::from_secs(1);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Until the node ends.
pub async fn run(collector: Uri, mut spans: Receiver<Span>, dropped: Arc<AtomicU64>) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut batch = Vec::with_capacity(BATCH);
    let mut well = true;
    while spans.recv_many(&mut batch, 1).await > 0 {
        sleep(BATCH_WAIT).await;
        while batch.len() < BATCH
            && let Ok(span) = spans.try_recv()
        {
            batch.push(span);
        }
        let count = batch.len() as u64;
        let sent = send(&client, &collector, batch.drain(..)).await;
        if let Err(why) = &sent {
            dropped.fetch_add(count, Relaxed);
            if well {
                tracing::warn!(%collector, why, "the collector takes no spans");
            }
        }
        well = sent.is_ok();
    }
}

async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    collector: &Uri,
    spans: impl Iterator<Item = Span>,
) -> Result<(), String> {
    let path = collector.path().trim_end_matches('/');
    let url = format!(
        "{}://{}{path}/v1/traces",
        collector.scheme_str().unwrap_or("http"),
        collector.authority().map_or("", |it| it.as_str()),
    );
    let body = export_request(spans).encode_to_vec();
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answered = timeout(EXPORT_TIMEOUT, client.request(request)).await;
    let answer = answered
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| error.to_string())?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(answer.status().to_string()),
    }
}

fn export_request(spans: impl Iterator<Item = Span>) -> ExportTraceServiceRequest {
    let text = |text: &str| Value::Text(text.to_owned());
    let resource = [
        ("service.name", text("warren")),
        ("service.version", text(env!("CARGO_PKG_VERSION"))),
    ];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource.into_iter().map(attribute).collect(),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "warren".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    ..InstrumentationScope::default()
                }),
                spans: spans.map(to_proto).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn to_proto(span: Span) -> proto::Span {
    let context = span.context;
    let kind = match span.kind {
        SpanKind::Server => proto::span::SpanKind::Server,
        SpanKind::Client => proto::span::SpanKind::Client,
    };
    let status = span.error.map(|why| Status {
        message: why.to_owned(),
        code: proto::status::StatusCode::Error.into(),
    });
    proto::Span {
        trace_id: context.trace_id.to_be_bytes().to_vec(),
        span_id: context.span_id.to_be_bytes().to_vec(),
        parent_span_id: context
            .parent
            .map(|parent| parent.to_be_bytes().to_vec())
            .unwrap_or_default(),
        name: span.name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.start + span.took),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        status,
        ..proto::Span::default()
    }
}

fn attribute((key, value): (&'static str, Value)) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Whole(number) => any_value::Value::IntValue(number),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
