//! Traces of requests and their pulls, for an OpenTelemetry collector. Off, they
//! cost a look at an empty option.

mod context;
mod export;

pub use context::{Caller, TraceContext};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use crate::token::carrier::{carries, redact};

/// Spans that wait to be sent; more are dropped and counted.
const MAX_WAITING: usize = 4096;

/// Something that took time.
#[derive(Debug)]
pub struct Span {
    pub context: TraceContext,
    pub kind: SpanKind,
    pub name: &'static str,
    pub start: SystemTime,
    pub took: Duration,
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed.
    pub error: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A viewer's request.
    Server,
    /// A pull from the origin.
    Client,
}

#[derive(Debug)]
pub enum Value {
    Text(String),
    Whole(i64),
}

/// Where spans go.
#[derive(Clone)]
pub struct Traces {
    waiting: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
    sample: u32,
}

impl Traces {
    /// Sends to a collector from now on; on the current runtime. `sample`: one
    /// request of so many, where no caller has decided.
    pub fn start(collector: &http::Uri, sample: u32) -> Self {
        let (waiting, spans) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        tokio::spawn(export::run(collector.clone(), spans, Arc::clone(&dropped)));
        Self {
            waiting,
            dropped,
            sample: sample.max(1),
        }
    }

    /// The span of a request, where it is traced. `drawn` at random, a like
    /// chance for each value.
    pub fn begin(
        &self,
        request_id: &str,
        caller: Option<Caller>,
        drawn: u32,
    ) -> Option<TraceContext> {
        let traced = match caller {
            Some(caller) => caller.sampled,
            None => drawn.is_multiple_of(self.sample),
        };
        traced.then(|| TraceContext::of(request_id, caller))
    }

    /// What viewers wrote leaves the node without tokens, whoever tells it.
    pub fn end(&self, mut span: Span) {
        for (_, value) in &mut span.attributes {
            if let Value::Text(text) = value
                && carries(text)
            {
                *text = redact(text).into_owned();
            }
        }
        if self.waiting.try_send(span).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Spans that were not sent.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_leaves_without_the_tokens_that_viewers_wrote() {
        let (waiting, mut spans) = mpsc::channel(1);
        let traces = Traces {
            waiting,
            dropped: Arc::default(),
            sample: 1,
        };
        let path = "/v/%62cdn_token=T&expires=1/a.ts".to_owned();
        traces.end(Span {
            context: TraceContext::of(&"a".repeat(32), None),
            kind: SpanKind::Client,
            name: "pull",
            start: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            attributes: vec![("url.path", Value::Text(path))],
            error: None,
        });
        let span = spans.try_recv().expect("a span");
        let [(_, Value::Text(path))] = &span.attributes[..] else {
            panic!("one text: {span:?}");
        };
        assert_eq!(path, "/v/%62cdn_token=redacted&expires=1/a.ts");
    }
}
