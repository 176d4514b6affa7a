//! What a step adds to the edge's counters.

use std::collections::BTreeMap;
use std::time::Duration;

use super::file::Step;
use crate::edge::TestEdge;

/// How long a counter is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// One counter, and the value that it comes to.
struct Counter {
    family: &'static str,
    reason: String,
    want: u64,
}

/// The counters that a step moves.
pub struct Counters(Vec<Counter>);

impl Counters {
    /// As they stand before it.
    pub async fn before(step: &Step, edge: &TestEdge) -> Self {
        let mut all = grow("warren_refusals_total", &step.refusals);
        all.extend(grow("warren_pull_failures_total", &step.failures));
        if !all.is_empty() {
            let text = edge.metrics().await;
            for counter in &mut all {
                counter.want += counter.read(&text);
            }
        }
        Self(all)
    }

    /// Waits for them, because a request is counted behind its answer.
    pub async fn check(&self, edge: &TestEdge, at: &str) {
        for counter in &self.0 {
            let reached = async {
                let mut tick = tokio::time::interval(Duration::from_millis(5));
                loop {
                    tick.tick().await;
                    let now = counter.read(&edge.metrics().await);
                    if now >= counter.want {
                        return now;
                    }
                }
            };
            let now = tokio::time::timeout(PATIENCE, reached).await.ok();
            let Counter {
                family,
                reason,
                want,
            } = counter;
            assert_eq!(now, Some(*want), "{at}: {family} of {reason}");
        }
    }
}

fn grow(family: &'static str, added: &BTreeMap<String, u64>) -> Vec<Counter> {
    let counter = |(reason, want): (&String, &u64)| Counter {
        family,
        reason: reason.clone(),
        want: *want,
    };
    added.iter().map(counter).collect()
}

impl Counter {
    /// All zones together.
    fn read(&self, metrics: &str) -> u64 {
        let label = format!("reason=\"{}\"", self.reason);
        let ours = |line: &&str| line.starts_with(self.family) && line.contains(&label);
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        metrics.lines().filter(ours).filter_map(value).sum::<f64>() as u64
    }
}
