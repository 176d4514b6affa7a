//! What the metrics say, as numbers by label, for those who read no text.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::metrics::{Metrics, Reading};

/// Every series as it was at one moment.
pub struct Totals(Vec<MetricFamily>);

/// One series of a family.
pub struct Row<'t> {
    labels: &'t [LabelPair],
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

fn value(metric: &Metric, kind: MetricType) -> f64 {
    match kind {
        MetricType::COUNTER => metric.get_counter().get_value(),
        MetricType::GAUGE => metric.get_gauge().get_value(),
        MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => 0.0,
    }
}
