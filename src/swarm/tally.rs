//! What all viewers together have seen.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::playback::Seen;

/// Latencies are kept in microseconds, up to a minute, to three digits.
const MOST_MICROS: u64 = 60_000_000;

/// Counted while the swarm runs.
pub struct Tally {
    pub viewers: usize,
    /// Viewers that have begun to play.
    pub playing: usize,
    pub requests: u64,
    pub bytes: u64,
    pub statuses: BTreeMap<u16, u64>,
    /// By the edge's CDN-Cache.
    pub cache: BTreeMap<String, u64>,
    /// Connections that failed and bodies that were cut.
    pub errors: u64,
    pub first_error: Option<String>,
    startup: Histogram<u64>,
    segments: Histogram<u64>,
    seen: Seen,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, MOST_MICROS, 3)
                .unwrap_or_else(|_| unreachable!("the bounds are in order"))
        };
        Self {
            viewers: 0,
            playing: 0,
            requests: 0,
            bytes: 0,
            statuses: BTreeMap::new(),
            cache: BTreeMap::new(),
            errors: 0,
            first_error: None,
            startup: histogram(),
            segments: histogram(),
            seen: Seen::default(),
        }
    }
}

impl Tally {
    /// A viewer begins to play, for the first time or again.
    pub fn begin(&mut self, startup: Duration, first: bool) {
        self.playing += usize::from(first);
        self.startup.saturating_record(micros(startup));
    }

    /// Something that was asked for has not come.
    pub fn fail(&mut self, why: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| why.to_owned());
    }

    pub fn segment(&mut self, took: Duration) {
        self.segments.saturating_record(micros(took));
    }

    /// A viewer has come to the end, of the stream or of the run.
    pub fn watched(&mut self, seen: Seen) {
        self.seen.played += seen.played;
        self.seen.stalled += seen.stalled;
        self.seen.stalls += seen.stalls;
    }

    pub fn report(&self, elapsed: Duration) -> Report {
        let hits = ["HIT", "STALE", "UPDATING", "REVALIDATED"];
        let told: u64 = self.cache.values().sum();
        let hit: u64 = hits.iter().filter_map(|name| self.cache.get(*name)).sum();
        let milliseconds = |histogram: &Histogram<u64>, quantile| {
            histogram.value_at_quantile(quantile) as f64 / 1e3
        };
        let watched = self.seen.played + self.seen.stalled;
        Report {
            seconds: elapsed.as_secs_f64(),
            viewers: self.viewers,
            played: self.playing,
            startup_p50_ms: milliseconds(&self.startup, 0.5),
            startup_p99_ms: milliseconds(&self.startup, 0.99),
            stalls: self.seen.stalls,
            rebuffer_ratio: ratio(self.seen.stalled.as_secs_f64(), watched.as_secs_f64()),
            segments: self.segments.len(),
            segment_p50_ms: milliseconds(&self.segments, 0.5),
            segment_p99_ms: milliseconds(&self.segments, 0.99),
            requests: self.requests,
            megabits_per_second: ratio(self.bytes as f64 * 8.0 / 1e6, elapsed.as_secs_f64()),
            hit_ratio: ratio(hit as f64, told as f64),
            statuses: self.statuses.clone(),
            cache: self.cache.clone(),
            errors: self.errors,
            first_error: self.first_error.clone(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(MOST_MICROS)
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The figures of a run; the names are those of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub seconds: f64,
    pub viewers: usize,
    /// Viewers that began to play.
    pub played: usize,
    pub startup_p50_ms: f64,
    pub startup_p99_ms: f64,
    pub stalls: u64,
    /// Time stalled over time played and stalled.
    pub rebuffer_ratio: f64,
    pub segments: u64,
    pub segment_p50_ms: f64,
    pub segment_p99_ms: f64,
    pub requests: u64,
    pub megabits_per_second: f64,
    /// Answers that the edge says came from memory, over those where it says.
    pub hit_ratio: f64,
    pub statuses: BTreeMap<u16, u64>,
    pub cache: BTreeMap<String, u64>,
    /// Connections that failed and bodies that were cut.
    pub errors: u64,
    /// What the first of them was.
    pub first_error: Option<String>,
}

impl Report {
    /// What to look at where nobody played.
    fn hint(&self) -> Option<&'static str> {
        let said = |status: u16| self.statuses.contains_key(&status);
        match self.played {
            0 if said(404) => Some(
                "404: the edge has no zone of this host name (--connect keeps the URL's), or the \
                 origin no such playlist",
            ),
            0 if said(403) && said(200) => Some(
                "403 behind a 200: a token in the query is not passed on to what a playlist names \
                 (warren sign --stream)",
            ),
            0 if said(403) => Some("403: ask warren explain why the URL is refused"),
            0 if self.statuses.is_empty() => Some("nothing answered: is the edge there?"),
            0 => Some("ask warren probe what the edge answers"),
            _ => None,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = |f: &mut std::fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "{name:<22} {value}")
        };
        row(
            f,
            "viewers",
            format!("{} of {} played", self.played, self.viewers),
        )?;
        row(
            f,
            "startup",
            format!(
                "p50 {:.0} ms, p99 {:.0} ms",
                self.startup_p50_ms, self.startup_p99_ms
            ),
        )?;
        row(
            f,
            "stalls",
            format!("{}, rebuffer ratio {:.4}", self.stalls, self.rebuffer_ratio),
        )?;
        row(
            f,
            "segments",
            format!(
                "{}, p50 {:.1} ms, p99 {:.1} ms",
                self.segments, self.segment_p50_ms, self.segment_p99_ms
            ),
        )?;
        row(
            f,
            "throughput",
            format!(
                "{:.1} Mbit/s over {:.0} s",
                self.megabits_per_second, self.seconds
            ),
        )?;
        row(
            f,
            "requests",
            format!("{}, statuses {:?}", self.requests, self.statuses),
        )?;
        row(
            f,
            "from memory",
            format!("{:.4} {:?}", self.hit_ratio, self.cache),
        )?;
        let first = self.first_error.as_ref();
        let first = first.map(|why| format!(", the first: {why}"));
        let first = first.unwrap_or_default();
        row(f, "errors", format!("{}{first}", self.errors))?;
        match self.hint() {
            Some(hint) => row(f, "nobody played", hint.to_owned()),
            None => Ok(()),
        }
    }
}
