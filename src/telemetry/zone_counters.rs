//! The counters of one zone's requests, each found by its labels once.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec};

use super::CacheStatus;
use super::metrics::Answered;
use crate::hls::Kind;
use crate::token::{Key, Scheme};

const KINDS: usize = Kind::ALL.len();
const STATUSES: usize = CacheStatus::ALL.len();
const SCHEMES: usize = Scheme::ALL.len();
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A family and the series of it that a zone has used.
struct Cells<const N: usize> {
    family: IntCounterVec,
    cells: [OnceLock<IntCounter>; N],
}

impl<const N: usize> Cells<N> {
    fn new(family: IntCounterVec) -> Self {
        Self {
            family,
            cells: [const { OnceLock::new() }; N],
        }
    }

    fn get(&self, place: usize, labels: &[&str]) -> &IntCounter {
        self.cells[place].get_or_init(|| self.family.with_label_values(labels))
    }
}

pub struct ZoneCounters {
    name: String,
    requests: Cells<{ KINDS * STATUSES * CLASSES.len() }>,
    bytes: Cells<KINDS>,
    /// By the key's place in the zone's list.
    tokens: Vec<(String, Cells<SCHEMES>)>,
}

impl ZoneCounters {
    /// `families`: requests, bytes and uses of tokens.
    pub fn new(name: &str, keys: &[Key], families: [IntCounterVec; 3]) -> Self {
        let [requests, bytes, tokens] = families;
        Self {
            name: name.to_owned(),
            requests: Cells::new(requests),
            bytes: Cells::new(bytes),
            tokens: keys
                .iter()
                .map(|key| (key.name.clone(), Cells::new(tokens.clone())))
                .collect(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn count(&self, answered: &Answered<'_>) {
        let (kind, cache) = (answered.kind, answered.cache);
        let class = usize::from(answered.status / 100).clamp(1, CLASSES.len()) - 1;
        let place = (kind as usize * STATUSES + cache as usize) * CLASSES.len() + class;
        let labels = [&self.name, kind.subsystem(), CLASSES[class], cache.name()];
        self.requests.get(place, &labels).inc();
        self.bytes
            .get(kind as usize, &[&self.name, kind.subsystem()])
            .inc_by(answered.bytes);
    }

    /// Counts an accepted token.
    pub fn count_token(&self, key: usize, scheme: Scheme) {
        if let Some((name, cells)) = self.tokens.get(key) {
            let labels = [&self.name, name.as_str(), scheme.name()];
            cells.get(scheme as usize, &labels).inc();
        }
    }
}
