//! Traces over real sockets: a collector gets the spans of a request and its
//! pull, the origin gets the pull's, and only the operator's proxies decide.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::edge::{Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn edge(origin: &DevOrigin, collector: &TcpListener, sample: u32, zone: &str) -> TestEdge {
    origin.put("/media/v/a.ts", vec![7; 5_000], "video/mp2t");
    let address = collector.local_addr().expect("an address");
    let mut setup = Setup::s3(origin.addr());
    setup.zone.push_str(zone);
    setup.server = format!("[traces]\notlp = \"http://{address}\"\nsample = {sample}\n");
    setup.start().await
}

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    origin.expect("the origin starts")
}

/// What one request to the collector brings.
async fn spans(collector: &TcpListener) -> Vec<Span> {
    let read = async {
        let (mut stream, _) = collector.accept().await.expect("a connection");
        let mut bytes = Vec::new();
        let (head, length) = loop {
            stream.read_buf(&mut bytes).await.expect("bytes");
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            if let Some(end) = text.find("\r\n\r\n") {
                assert!(text.starts_with("post /v1/traces "), "{text}");
                let (_, rest) = text.split_once("content-length: ").expect("a length");
                let length = rest
                    .split('\r')
                    .next()
                    .and_then(|it| it.parse::<usize>().ok());
                break (end + 4, length.expect("a number"));
            }
        };
        while bytes.len() < head + length {
            stream.read_buf(&mut bytes).await.expect("bytes");
        }
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.expect("written");
        bytes.split_off(head)
    };
    let body = tokio::time::timeout(Duration::from_secs(20), read).await;
    let body = body.expect("spans in time");
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("a protobuf");
    let scopes = request
        .resource_spans
        .into_iter()
        .flat_map(|it| it.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn attributes(span: &Span) -> HashMap<&str, String> {
    let text = |value: Option<&Value>| match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    };
    let all = span.attributes.iter();
    all.map(|it| {
        (
            it.key.as_str(),
            text(it.value.as_ref().and_then(|it| it.value.as_ref())),
        )
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_and_its_pull_are_spans_of_one_trace_which_the_origin_goes_on_with() {
    let (origin, collector) = (origin().await, TcpListener::bind("127.0.0.1:0").await);
    let collector = collector.expect("a port");
    let edge = edge(&origin, &collector, 1, "").await;
    let reply = edge.get_with("/v/a.ts", &[("traceparent", CALLER)]).await;
    assert_eq!(reply.status, 200);
    let mut spans = spans(&collector).await;
    spans.sort_by_key(|span| span.kind);
    let [request, pull] = spans.as_slice() else {
        panic!("two spans: {spans:?}");
    };
    assert_eq!(
        (request.name.as_str(), pull.name.as_str()),
        ("request", "pull")
    );
    // Nobody has said that this caller may be believed.
    let id = reply.header("cdn-requestid").expect("a name").to_owned();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        hex(&request.trace_id),
        id,
        "the trace is found by the request's name"
    );
    assert!(request.parent_span_id.is_empty());
    assert_eq!(
        (&pull.trace_id, &pull.parent_span_id),
        (&request.trace_id, &request.span_id)
    );
    let said = attributes(request);
    assert_eq!(said["http.response.status_code"], "200");
    assert_eq!(
        (said["warren.cache"].as_str(), said["url.path"].as_str()),
        ("MISS", "/v/a.ts")
    );
    assert!(request.end_time_unix_nano > request.start_time_unix_nano);
    let asked = origin.requests();
    let sent = asked
        .last()
        .and_then(|request| request.header("traceparent"));
    let want = format!("00-{id}-{}-01", hex(&pull.span_id));
    assert_eq!(sent.map(str::to_owned), Some(want));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_decides_what_is_traced_and_a_viewer_does_not() {
    let (origin, collector) = (origin().await, TcpListener::bind("127.0.0.1:0").await);
    let collector = collector.expect("a port");
    let trust = "trusted_proxies = [\"127.0.0.0/8\"]\n";
    let edge = edge(&origin, &collector, 1_000_000, trust).await;
    let not = CALLER.replace("-01", "-00");
    assert_eq!(
        edge.get_with("/v/a.ts", &[("traceparent", &not)])
            .await
            .status,
        200
    );
    assert_eq!(
        edge.get_with("/v/a.ts", &[("traceparent", CALLER)])
            .await
            .cache(),
        "HIT"
    );
    let spans = spans(&collector).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(
        spans[0].parent_span_id,
        0xb7ad_6b71_6920_3331_u64.to_be_bytes()
    );
    assert_eq!(attributes(&spans[0])["warren.cache"], "HIT");
    // A collector that goes costs spans, and no viewer anything.
    drop(collector);
    assert_eq!(
        edge.get_with("/v/a.ts", &[("traceparent", CALLER)])
            .await
            .status,
        200
    );
    let dropped = async {
        while edge.metric("warren_spans_dropped_total").await < 1.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let dropped = tokio::time::timeout(Duration::from_secs(20), dropped).await;
    assert!(dropped.is_ok());
}
