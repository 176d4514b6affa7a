//! The last hour: a sample every two seconds, kept in memory, and told to
//! whoever listens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

use super::answer::answer;
use super::{Admin, SUBSYSTEMS, totals};
use crate::edge::Node;
use crate::telemetry::totals::Totals;

const STEP: Duration = Duration::from_secs(2);
/// An hour of steps.
const MAX_SAMPLES: usize = 1800;
/// Samples that a slow listener may be behind; then he misses some.
const MAX_BEHIND: usize = 16;

type ByKind = BTreeMap<&'static str, u64>;

/// What happened within one step, and how things stood at its end.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Unix seconds.
    at: f64,
    requests_per_second: f64,
    bits_per_second: f64,
    refusals_per_second: f64,
    hits: ByKind,
    misses: ByKind,
    pulls_in_flight: u64,
    memory_used_bytes: u64,
    connections: u64,
    /// The mean of the pulls that were answered; absent where none was.
    origin_first_byte_seconds: Option<f64>,
}

/// The samples of the last hour.
pub struct History {
    samples: Mutex<VecDeque<Arc<Sample>>>,
    told: broadcast::Sender<Arc<Sample>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            samples: Mutex::default(),
            told: broadcast::Sender::new(MAX_BEHIND),
        }
    }
}

impl History {
    pub fn listen(&self) -> broadcast::Receiver<Arc<Sample>> {
        self.told.subscribe()
    }

    fn add(&self, sample: Sample) {
        let sample = Arc::new(sample);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == MAX_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Arc::clone(&sample));
        // Nobody may be listening.
        let _ = self.told.send(sample);
    }

    /// A column for each figure, oldest first.
    fn columns(&self) -> Value {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let column = |value: &dyn Fn(&Sample) -> Value| -> Value {
            samples.iter().map(|sample| value(sample)).collect()
        };
        let by_kind = |of: &dyn Fn(&Sample) -> &ByKind| -> Value {
            let column = |kind| column(&|sample| json!(of(sample).get(kind)));
            SUBSYSTEMS
                .into_iter()
                .map(|kind| (kind.to_owned(), column(kind)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "step_seconds": STEP.as_secs_f64(),
            "until": samples.back().map(|sample| sample.at),
            "count": samples.len(),
            "requests_per_second": column(&|it| json!(it.requests_per_second)),
            "bits_per_second": column(&|it| json!(it.bits_per_second)),
            "refusals_per_second": column(&|it| json!(it.refusals_per_second)),
            "hits": by_kind(&|it| &it.hits),
            "misses": by_kind(&|it| &it.misses),
            "pulls_in_flight": column(&|it| json!(it.pulls_in_flight)),
            "memory_used_bytes": column(&|it| json!(it.memory_used_bytes)),
            "connections": column(&|it| json!(it.connections)),
            "origin_first_byte_seconds": column(&|it| json!(it.origin_first_byte_seconds)),
        })
    }
}

pub async fn history(State(admin): State<Arc<Admin>>) -> Response {
    answer(Ok(admin.history.columns()))
}

/// Takes samples for as long as the node serves.
pub async fn record(admin: &Admin) {
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Counts::of(admin);
    loop {
        ticks.tick().await;
        let now = Counts::of(admin);
        // The first tick comes at once.
        if now.at - before.at >= STEP / 2 {
            admin.history.add(now.since(&before, &admin.node));
            before = now;
        }
    }
}

/// Counters at one moment.
struct Counts {
    at: Instant,
    requests: f64,
    bytes: f64,
    refusals: f64,
    hits: ByKind,
    misses: ByKind,
    origin_answers: f64,
    origin_seconds: f64,
}

impl Counts {
    fn of(admin: &Admin) -> Self {
        let totals = totals(admin);
        Self {
            at: admin.node.clock.monotonic(),
            requests: totals.sum("warren_requests_total"),
            bytes: totals.sum("warren_response_body_bytes_total"),
            refusals: totals.sum("warren_refusals_total"),
            hits: by_kind(&totals, "veza_cache_hits_total"),
            misses: by_kind(&totals, "veza_cache_misses_total"),
            origin_answers: totals.sum("warren_origin_answers_total"),
            origin_seconds: totals.sum("warren_origin_first_byte_seconds_total"),
        }
    }

    fn since(&self, before: &Self, node: &Node) -> Sample {
        let seconds = (self.at - before.at).as_secs_f64();
        let rate = |now: f64, before: f64| ((now - before) / seconds).max(0.0);
        let more = |now: &ByKind, before: &ByKind| {
            let more = |(kind, count): (&&'static str, &u64)| {
                let before = before.get(kind).copied().unwrap_or_default();
                (*kind, count.saturating_sub(before))
            };
            now.iter().map(more).collect()
        };
        let answers = self.origin_answers - before.origin_answers;
        let waited = self.origin_seconds - before.origin_seconds;
        let wall = node.clock.wall().duration_since(std::time::UNIX_EPOCH);
        let pulls = &node.pulls;
        Sample {
            at: wall.unwrap_or_default().as_secs_f64(),
            requests_per_second: rate(self.requests, before.requests),
            bits_per_second: rate(self.bytes, before.bytes) * 8.0,
            refusals_per_second: rate(self.refusals, before.refusals),
            hits: more(&self.hits, &before.hits),
            misses: more(&self.misses, &before.misses),
            pulls_in_flight: pulls.counts.in_flight.load(Relaxed) as u64,
            memory_used_bytes: pulls.store.budget.used() as u64,
            connections: node.limits.connections() as u64,
            origin_first_byte_seconds: (answers > 0.0).then_some(waited / answers),
        }
    }
}

fn by_kind(totals: &Totals, family: &str) -> ByKind {
    let of = |kind| (kind, totals.count_of(family, "subsystem", kind));
    SUBSYSTEMS.into_iter().map(of).collect()
}
