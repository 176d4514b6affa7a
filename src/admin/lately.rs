//! First bytes of the last minutes: what was counted since a look of then.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::telemetry::origins;
use crate::telemetry::spread::{Spread, Spreads};
use crate::telemetry::totals::Totals;

const MINUTE: Duration = Duration::from_secs(60);
/// Looks that are kept.
const MINUTES: usize = 5;

/// What had been observed at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FirstBytes {
    /// By how the cache took part.
    pub viewers: Spreads,
    /// By zone and endpoint.
    pub endpoints: Spreads,
}

/// A look in each of the last minutes.
#[derive(Default)]
pub struct Lately(Mutex<VecDeque<(Instant, FirstBytes)>>);

impl FirstBytes {
    pub fn of(totals: &Totals) -> Self {
        Self {
            viewers: totals.spreads("warren_time_to_first_byte_seconds", &["cache"]),
            endpoints: totals.spreads(origins::FIRST_BYTE, &["zone", "endpoint"]),
        }
    }

    fn since(&self, before: &Self) -> Self {
        let none = Spread::default();
        let since = |now: &Spreads, before: &Spreads| {
            let one = |(place, now): (&Vec<String>, &Spread)| {
                let since = now.since(before.get(place).unwrap_or(&none));
                (place.clone(), since)
            };
            now.iter().map(one).collect()
        };
        Self {
            viewers: since(&self.viewers, &before.viewers),
            endpoints: since(&self.endpoints, &before.endpoints),
        }
    }
}

impl Lately {
    /// Keeps a look where the last one is a minute old.
    pub fn note(&self, now: Instant, look: impl FnOnce() -> FirstBytes) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.back() {
            // At the start nothing was observed.
            None => looks.push_back((now, FirstBytes::default())),
            Some((last, _)) if now.saturating_duration_since(*last) < MINUTE => {}
            Some(_) => looks.push_back((now, look())),
        }
        if looks.len() > MINUTES {
            looks.pop_front();
        }
    }

    /// What came since the earliest of the looks.
    pub fn read(&self, now: &FirstBytes) -> FirstBytes {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.front() {
            Some((_, before)) => now.since(before),
            None => now.clone(),
        }
    }
}

/// Nothing where nothing was observed.
pub fn percentiles(spread: Option<&Spread>) -> Value {
    let Some(spread) = spread.filter(|spread| spread.count() > 0) else {
        return Value::Null;
    };
    let [p50, p95, p99] = spread.quantiles();
    json!({
        "count": spread.count(),
        "p50_seconds": p50,
        "p95_seconds": p95,
        "p99_seconds": p99,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::proto::Histogram;

    fn observed(count: u64) -> FirstBytes {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(count);
        let mut spread = Spread::default();
        spread.add(&histogram);
        FirstBytes {
            viewers: [(vec!["HIT".to_owned()], spread)].into(),
            endpoints: Spreads::new(),
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn only_what_came_in_the_last_minutes_is_told() {
        let (lately, start) = (Lately::default(), Instant::now());
        let told = |now| {
            let told = lately.read(&observed(now));
            told.viewers[&vec!["HIT".to_owned()]].count()
        };
        assert_eq!(told(7), 7);
        for minute in 0..9_u32 {
            for second in [0, 20, 40] {
                let now = start + MINUTE * minute + Duration::from_secs(second);
                lately.note(now, || observed(u64::from(minute) * 100));
            }
        }
        assert_eq!(told(850), 450);
        assert_eq!(percentiles(None), Value::Null);
        assert_eq!(percentiles(Some(&Spread::default())), Value::Null);
    }
}
