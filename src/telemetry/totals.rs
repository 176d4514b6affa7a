//! What the metrics say, as numbers by label, for those who read no text.

use std::collections::{BTreeMap, HashMap};

use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use serde::{Deserialize, Serialize};

use super::metrics::{Metrics, Reading};
use super::origins::pair;
use super::spread::Spreads;

/// Every series as it was at one moment.
pub struct Totals(Vec<MetricFamily>);

/// One series of a family.
pub struct Row<'t> {
    labels: &'t [LabelPair],
    pub value: f64,
}

/// One series of a counter, by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub family: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Row<'_> {
    /// The value of a counter of whole things.
    pub fn count(&self) -> u64 {
        self.value as u64
    }

    /// A label's value; empty where there is no such label.
    pub fn label(&self, name: &str) -> &str {
        let pair = self.labels.iter().find(|pair| pair.name() == name);
        pair.map(LabelPair::value).unwrap_or_default()
    }
}

impl Totals {
    pub fn of(metrics: &Metrics, reading: &Reading<'_>) -> Self {
        Self(metrics.gather(reading))
    }

    /// The counters of these families that have counted anything.
    pub fn series(&self, families: &[&str]) -> Vec<Series> {
        let of = |family: &&str| {
            let family = (*family).to_owned();
            let counted = self.rows(&family).filter(|row| row.value > 0.0);
            let one = |row: Row<'_>| Series {
                family: family.clone(),
                labels: labels(row.labels),
                value: row.value,
            };
            counted.map(one).collect::<Vec<_>>()
        };
        families.iter().flat_map(of).collect()
    }

    /// Together with what others have counted. A family in which nothing was
    /// counted here is none yet.
    pub fn plus(mut self, others: &[Series]) -> Self {
        let mut more: BTreeMap<&str, HashMap<&BTreeMap<String, String>, f64>> = BTreeMap::new();
        for it in others {
            let family = more.entry(&it.family).or_default();
            family.insert(&it.labels, it.value);
        }
        for family in &mut self.0 {
            let more = more.remove(family.name());
            let is_counter = family.get_field_type() == MetricType::COUNTER;
            if let Some(more) = more.filter(|_| is_counter) {
                add(family, more);
            }
        }
        for (name, more) in more {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_field_type(MetricType::COUNTER);
            add(&mut family, more);
            self.0.push(family);
        }
        self
    }

    /// The series of a family of counters or gauges.
    pub fn rows<'t>(&'t self, family: &str) -> impl Iterator<Item = Row<'t>> {
        let found = self.0.iter().find(|it| it.name() == family);
        found.into_iter().flat_map(|family| {
            let kind = family.get_field_type();
            family.get_metric().iter().map(move |metric| Row {
                labels: metric.get_label(),
                value: value(metric, kind),
            })
        })
    }

    /// What a family of histograms has observed, by the values of some labels.
    pub fn spreads(&self, family: &str, labels: &[&str]) -> Spreads {
        let found = self.0.iter().find(|it| it.name() == family);
        let mut all = Spreads::new();
        for metric in found.into_iter().flat_map(MetricFamily::get_metric) {
            let row = Row {
                labels: metric.get_label(),
                value: 0.0,
            };
            let place = labels.iter().map(|label| row.label(label).to_owned());
            let spread = all.entry(place.collect()).or_default();
            spread.add(metric.get_histogram());
        }
        all
    }

    /// All of a family's series together.
    pub fn sum(&self, family: &str) -> f64 {
        self.rows(family).fold(0.0, |sum, row| sum + row.value)
    }

    /// Whole things of a family's series with this label.
    pub fn count_of(&self, family: &str, label: &str, value: &str) -> u64 {
        let rows = self.rows(family).filter(|row| row.label(label) == value);
        rows.map(|row| row.count()).sum()
    }

    /// All of them.
    pub fn count(&self, family: &str) -> u64 {
        self.sum(family) as u64
    }
}

/// Adds to a family's series, and those that it has not.
fn add(family: &mut MetricFamily, mut more: HashMap<&BTreeMap<String, String>, f64>) {
    for metric in family.mut_metric() {
        let others = more.remove(&labels(metric.get_label()));
        let all = metric.get_counter().get_value() + others.unwrap_or_default();
        metric.set_counter(counter(all));
    }
    for (labels, value) in more {
        let mut metric = Metric::from_label(
            labels
                .iter()
                .map(|(name, value)| pair(name, value))
                .collect(),
        );
        metric.set_counter(counter(value));
        family.mut_metric().push(metric);
    }
}

fn labels(pairs: &[LabelPair]) -> BTreeMap<String, String> {
    let pair = |pair: &LabelPair| (pair.name().to_owned(), pair.value().to_owned());
    pairs.iter().map(pair).collect()
}

fn counter(value: f64) -> Counter {
    let mut counter = Counter::default();
    counter.set_value(value);
    counter
}

fn value(metric: &Metric, kind: MetricType) -> f64 {
    match kind {
        MetricType::COUNTER => metric.get_counter().get_value(),
        MetricType::GAUGE => metric.get_gauge().get_value(),
        MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => 0.0,
    }
}
