//! What the origins' endpoints come to, as metrics.

use prometheus::core::Collector;
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::metrics::catch_up;
use crate::origin::{Origin, WAIT_STEPS, Waited};

pub const PULL_FAILURES: &str = "warren_pull_failures_total";
/// A histogram by zone and endpoint.
pub const FIRST_BYTE: &str = "warren_origin_first_byte_seconds";

pub struct OriginMetrics {
    pull_failures: IntCounterVec,
    endpoints_up: IntGaugeVec,
    circuits_opened: IntCounterVec,
}

impl OriginMetrics {
    /// An error where a family is already registered.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let add = |collector: Box<dyn Collector>| registry.register(collector);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            add(Box::new(vec.clone())).map(|()| vec)
        };
        let up = Opts::new(
            "warren_origin_endpoint_up",
            "1 where an endpoint is well, 0 where it is in doubt or takes no connection.",
        );
        let endpoints_up = IntGaugeVec::new(up, &["zone", "endpoint"])?;
        add(Box::new(endpoints_up.clone()))?;
        Ok(Self {
            pull_failures: counters(
                PULL_FAILURES,
                "Pulls that failed, by zone and reason.",
                &["zone", "reason"],
            )?,
            endpoints_up,
            circuits_opened: counters(
                "warren_origin_circuit_opened_total",
                "How often an endpoint was put in doubt, or shut for want of connections.",
                &["zone", "endpoint"],
            )?,
        })
    }

    /// Brings them up to what origins, by their zones' names, have counted. The
    /// family that is theirs alone is handed back.
    pub fn read(&self, origins: &[(&str, &Origin)]) -> MetricFamily {
        let mut first_bytes = MetricFamily::default();
        first_bytes.set_name(FIRST_BYTE.to_owned());
        first_bytes.set_help("From a pull's request to its answer's head.".to_owned());
        first_bytes.set_field_type(MetricType::HISTOGRAM);
        self.endpoints_up.reset();
        for (zone, origin) in origins {
            for (failure, count, _) in origin.failures() {
                catch_up(&self.pull_failures, &[zone, failure.name()], count);
            }
            for state in origin.endpoint_states() {
                let labels = [*zone, state.authority.as_str()];
                let up = self.endpoints_up.with_label_values(&labels);
                up.set(i64::from(state.up));
                catch_up(&self.circuits_opened, &labels, state.opened);
                let mut one = Metric::from_label(vec![
                    pair("endpoint", &state.authority),
                    pair("zone", zone),
                ]);
                one.set_histogram(histogram(&state.waited));
                first_bytes.mut_metric().push(one);
            }
        }
        first_bytes
    }
}

pub fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn histogram(waited: &Waited) -> Histogram {
    let mut sum = 0;
    let buckets = WAIT_STEPS.iter().zip(waited.counts).map(|(step, count)| {
        sum += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*step);
        bucket.set_cumulative_count(sum);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(waited.answers());
    histogram.set_sample_sum(waited.total.as_secs_f64());
    histogram
}
