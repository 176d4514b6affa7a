//! How observed values are spread, and what most of them stay below.

use std::collections::BTreeMap;

use prometheus::proto::Histogram;

/// Of the values of some labels.
pub type Spreads = BTreeMap<Vec<String>, Spread>;

/// How many values stay below each step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spread {
    /// Bounds and counts; the last bound is infinite.
    steps: Vec<(f64, u64)>,
    sum: f64,
}

impl Spread {
    pub fn add(&mut self, histogram: &Histogram) {
        let steps = histogram.get_bucket().iter();
        let steps = steps.map(|it| (it.upper_bound(), it.cumulative_count()));
        let all = [(f64::INFINITY, histogram.get_sample_count())];
        let steps: Vec<_> = steps.chain(all).collect();
        self.sum += histogram.get_sample_sum();
        if self.steps.is_empty() {
            self.steps = steps;
            return;
        }
        for (sum, (_, count)) in self.steps.iter_mut().zip(steps) {
            sum.1 += count;
        }
    }

    pub fn count(&self) -> u64 {
        self.steps.last().map_or(0, |(_, count)| *count)
    }

    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// What was observed after another moment. Where less is there now, counting
    /// has begun anew.
    pub fn since(&self, before: &Self) -> Self {
        if self.count() < before.count() || self.steps.len() != before.steps.len() {
            return self.clone();
        }
        let steps = self.steps.iter().zip(&before.steps);
        let steps = steps.map(|((bound, now), (_, before))| (*bound, now.saturating_sub(*before)));
        Self {
            steps: steps.collect(),
            sum: self.sum - before.sum,
        }
    }

    /// The values that 50, 95 and 99 of 100 stay below.
    pub fn quantiles(&self) -> [f64; 3] {
        [0.5, 0.95, 0.99].map(|share| quantile(&self.steps, share))
    }
}

/// As Prometheus' `histogram_quantile` estimates it: evenly spread within a step,
/// and of the last one its beginning.
fn quantile(steps: &[(f64, u64)], share: f64) -> f64 {
    let whole = steps.last().map_or(0, |(_, count)| *count) as f64;
    let rank = share * whole;
    let (mut from, mut before) = (0.0, 0.0);
    for (to, count) in steps {
        let count = *count as f64;
        if count >= rank && count > before {
            let within = (rank - before) / (count - before);
            return if to.is_finite() {
                from + (to - from) * within
            } else {
                from
            };
        }
        (from, before) = (*to, count);
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_its_step() {
        let steps = [(0.1, 50), (0.2, 90), (1.0, 98), (f64::INFINITY, 100)];
        for (share, want) in [
            (0.5, 0.1),
            (0.25, 0.05),
            (0.7, 0.15),
            (0.94, 0.6),
            (0.99, 1.0),
        ] {
            let found = quantile(&steps, share);
            assert!((found - want).abs() < 1e-9, "{share}: {found}, not {want}");
        }
        assert!(quantile(&[(0.1, 0), (f64::INFINITY, 0)], 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_came_later_is_told_apart_and_a_new_count_is_all_new() {
        let of = |counts: [u64; 2]| Spread {
            steps: vec![(0.1, counts[0]), (f64::INFINITY, counts[1])],
            sum: counts[1] as f64,
        };
        assert_eq!(of([50, 90]).since(&of([40, 70])), of([10, 20]));
        assert_eq!(of([5, 9]).since(&of([40, 70])), of([5, 9]));
        assert_eq!(of([5, 9]).since(&Spread::default()), of([5, 9]));
        assert_eq!(Spread::default().quantiles(), [0.0; 3]);
    }
}
