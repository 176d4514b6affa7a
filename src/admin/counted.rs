//! What the processes before this one have counted: `stats` goes on from it.
//! `/metrics` begins at 0, as Prometheus takes a process to do.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::private_file;
use crate::telemetry::totals::{Series, Totals};

/// Under `[admin] state_dir`. Nobody needs it to serve: where it cannot be read
/// all is counted anew.
const FILE: &str = "counters.json";
/// Series that are taken over: far more than zones, keys and reasons have.
const MOST: usize = 50_000;
/// What `stats` tells of.
const FAMILIES: [&str; 9] = [
    "warren_requests_total",
    "warren_response_body_bytes_total",
    "warren_refusals_total",
    "warren_token_uses_total",
    "warren_cache_evictions_total",
    "warren_pulls_total",
    "warren_pull_failures_total",
    "veza_cache_hits_total",
    "veza_cache_misses_total",
];

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Unix seconds.
    pub since: u64,
    pub series: Vec<Series>,
}

impl Counted {
    /// What was kept in a folder, or nothing, from now on.
    pub fn load(folder: Option<&Path>, now: u64) -> Self {
        let none = Self {
            since: now,
            series: Vec::new(),
        };
        let Some(Ok(text)) = folder.map(|folder| std::fs::read(folder.join(FILE))) else {
            return none;
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(kept) if kept.series.len() <= MOST => kept,
            Ok(_) => none,
            Err(error) => {
                tracing::warn!(%error, "what was counted before cannot be read");
                none
            }
        }
    }

    /// Puts it on disk together with what this process has counted.
    pub fn keep(&self, folder: &Path, own: Totals) {
        let all = Self {
            since: self.since,
            series: own.plus(&self.series).series(&FAMILIES),
        };
        if let Err(error) = private_file::replace_json(&folder.join(FILE), &all) {
            tracing::warn!(%error, "what was counted cannot be kept");
        }
    }
}
