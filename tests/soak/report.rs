//! What was required, what was measured, and whether it holds.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

#[derive(Serialize)]
struct Row {
    phase: String,
    what: String,
    required: String,
    measured: String,
    holds: bool,
}

/// The table at the end; each row is also printed as soon as it is known.
pub struct Report {
    rows: Vec<Row>,
    phase: String,
    began: Instant,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            phase: String::new(),
            began: Instant::now(),
        }
    }
}

impl Report {
    pub fn begin(&mut self, phase: &str) {
        phase.clone_into(&mut self.phase);
        self.say("begins");
    }

    /// Progress, for whoever waits.
    pub fn say(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        eprintln!("{seconds:>5} s  {:<9}  {what}", self.phase);
    }

    pub fn check(
        &mut self,
        what: impl Into<String>,
        required: impl Into<String>,
        measured: impl Into<String>,
        holds: bool,
    ) {
        let row = Row {
            phase: self.phase.clone(),
            what: what.into(),
            required: required.into(),
            measured: measured.into(),
            holds,
        };
        let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
        self.say(&format!("{verdict}: {}: {}", row.what, row.measured));
        self.rows.push(row);
    }

    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.holds)
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.rows).expect("rows are text")
    }
}

/// A Markdown table, for docs/reliability.md.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| phase | what | required | measured | |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for row in &self.rows {
            let verdict = if row.holds { "holds" } else { "DOES NOT HOLD" };
            writeln!(
                f,
                "| {} | {} | {} | {} | {verdict} |",
                row.phase, row.what, row.required, row.measured
            )?;
        }
        Ok(())
    }
}

/// The sample below which this share of all lies; zero where there is none.
pub fn percentile<T: Copy + Ord + Default>(samples: &mut [T], share: f64) -> T {
    samples.sort_unstable();
    let rank = (samples.len() as f64 * share).ceil() as usize;
    let index = rank.saturating_sub(1).min(samples.len().saturating_sub(1));
    samples.get(index).copied().unwrap_or_default()
}

pub fn median<T: Copy + Ord + Default>(samples: &mut [T]) -> T {
    percentile(samples, 0.5)
}

pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
