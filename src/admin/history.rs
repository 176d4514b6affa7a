//! The last hour: a sample every two seconds, kept in memory, told to whoever
//! listens, and put on disk each minute, so that it outlives the process.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;

use super::answer::answer;
use super::lately::FirstBytes;
use super::{Admin, SUBSYSTEMS, totals};
use crate::edge::Node;
use crate::private_file;
use crate::telemetry::origins;
use crate::telemetry::spread::Spread;
use crate::telemetry::totals::Totals;

const STEP: Duration = Duration::from_secs(2);
/// An hour of steps.
const MAX_SAMPLES: usize = 1800;
/// Samples that a slow listener may be behind; then he misses some.
const MAX_BEHIND: usize = 16;

/// Samples between two times that they are put on disk: a minute.
const KEPT_EVERY: u64 = 30;
/// Under `[admin] state_dir`. Nobody needs it to serve: where it cannot be read
/// the hour begins anew.
const FILE: &str = "history.json";

type ByKind = BTreeMap<Cow<'static, str>, u64>;

/// What happened within one step, and how things stood at its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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

    /// Takes over what an earlier process has kept in a folder. For the steps that
    /// it was away, or of which it has told nothing, there was nothing.
    fn load(&self, folder: &Path, now: f64) {
        let Ok(text) = std::fs::read(folder.join(FILE)) else {
            return;
        };
        let kept: Vec<Sample> = match serde_json::from_slice(&text) {
            Ok(kept) => kept,
            Err(error) => return tracing::warn!(%error, "the last hour's figures cannot be read"),
        };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        *samples = since(kept, now).into_iter().map(Arc::new).collect();
    }

    /// Puts all of it on disk.
    pub fn keep(&self, folder: &Path) {
        let samples: Vec<Arc<Sample>> = {
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.iter().cloned().collect()
        };
        let plain: Vec<&Sample> = samples.iter().map(|sample| &**sample).collect();
        if let Err(error) = private_file::replace_json(&folder.join(FILE), &plain) {
            tracing::warn!(%error, "the last hour's figures cannot be kept");
        }
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
pub async fn record(admin: &Arc<Admin>) {
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let counts = |totals: &Totals| Counts::of(totals, admin.node.clock.monotonic());
    let mut before = counts(&totals(admin));
    if let Some(folder) = &admin.state_dir {
        admin
            .history
            .load(folder, admin.node.clock.unix_seconds() as f64);
    }
    let mut count = 0;
    loop {
        ticks.tick().await;
        let totals = totals(admin);
        let now = counts(&totals);
        admin.lately.note(now.at, || FirstBytes::of(&totals));
        // The first tick comes at once.
        if now.at - before.at >= STEP / 2 {
            admin.history.add(now.since(&before, &admin.node));
            before = now;
            count += 1;
            if count % KEPT_EVERY == 0 {
                let admin = Arc::clone(admin);
                tokio::task::spawn_blocking(move || admin.keep_figures());
            }
        }
    }
}

/// What is of the last hour, with a sample for each step up to now.
fn since(kept: Vec<Sample>, now: f64) -> Vec<Sample> {
    let step = STEP.as_secs_f64();
    let hour = step * MAX_SAMPLES as f64;
    let mut samples: Vec<Sample> = kept
        .into_iter()
        .filter(|sample| (now - hour..=now).contains(&sample.at))
        .collect();
    let none = |list: [&'static str; 5]| -> ByKind {
        let zeros = list.into_iter().map(|kind| (Cow::Borrowed(kind), 0));
        zeros.collect()
    };
    while let Some(last) = samples.last().map(|sample| sample.at)
        && last + 1.5 * step < now
    {
        samples.push(Sample {
            at: last + step,
            hits: none(SUBSYSTEMS),
            misses: none(SUBSYSTEMS),
            ..Sample::default()
        });
    }
    let over = samples.len().saturating_sub(MAX_SAMPLES);
    samples.split_off(over)
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
    fn of(totals: &Totals, at: Instant) -> Self {
        let endpoints = totals.spreads(origins::FIRST_BYTE, &[]);
        let waited = || endpoints.values();
        Self {
            at,
            requests: totals.sum("warren_requests_total"),
            bytes: totals.sum("warren_response_body_bytes_total"),
            refusals: totals.sum("warren_refusals_total"),
            hits: by_kind(totals, "veza_cache_hits_total"),
            misses: by_kind(totals, "veza_cache_misses_total"),
            origin_answers: waited().map(Spread::count).sum::<u64>() as f64,
            origin_seconds: waited().map(Spread::sum).sum(),
        }
    }

    fn since(&self, before: &Self, node: &Node) -> Sample {
        let seconds = (self.at - before.at).as_secs_f64();
        let rate = |now: f64, before: f64| ((now - before) / seconds).max(0.0);
        let more = |now: &ByKind, before: &ByKind| {
            let more = |(kind, count): (&Cow<'static, str>, &u64)| {
                let before = before.get(kind).copied().unwrap_or_default();
                (kind.clone(), count.saturating_sub(before))
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
    let of = |kind| {
        (
            Cow::Borrowed(kind),
            totals.count_of(family, "subsystem", kind),
        )
    };
    SUBSYSTEMS.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_goes_on_where_it_was_left_and_nothing_was_while_nobody_served() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let first = History::default();
        for at in [100.0, 102.0, 104.0] {
            first.add(Sample {
                at,
                requests_per_second: 7.0,
                ..Sample::default()
            });
        }
        first.keep(folder.path());
        let next = |now| {
            let next = History::default();
            next.load(folder.path(), now);
            next.columns()["requests_per_second"].clone()
        };
        assert_eq!(next(105.0), json!([7.0, 7.0, 7.0]));
        assert_eq!(next(110.0), json!([7.0, 7.0, 7.0, 0.0, 0.0]));
        let late = next(3_701.0);
        let late = late.as_array().expect("a column");
        assert_eq!((late.len(), &late[1]), (1_799, &json!(7.0)));
        assert_eq!(next(9_000.0), json!([]));
        std::fs::write(folder.path().join(FILE), "[1").expect("written");
        assert_eq!(next(105.0), json!([]));
    }
}
