//! Everything at once, for minutes, while the origin keeps falling ill.

mod crowd;
mod faults;
mod judge;
mod requests;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::edge::Setup;
use crate::edge_process::EdgeProcess;
use crate::origin::{DevOrigin, DevOriginOptions};
use crate::report::{Report, median, mib};
use crowd::Scene;
use faults::Weather;
use judge::Judge;

const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Growth of memory that is noise, whatever its share.
const SLACK_BYTES: u64 = 8 << 20;
const SLACK_FILES: usize = 16;
/// Idle connections to the origin are kept for 30 s.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

pub async fn run(binary: &Path, minutes: f64, report: &mut Report) {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let mut origin = origin.expect("the origin starts");
    world::fill(&origin);
    let edge = EdgeProcess::start(binary, &setup(&origin));
    let files_at_first = edge.open_files();
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let weather = Weather::new();
    let scene = Scene {
        address: edge.address,
        judge: Arc::new(Judge::new(weather.clone())),
        sequence: Arc::new(AtomicU64::new(0)),
        end,
    };
    let live = world::go_live(origin.state(), Arc::clone(&scene.sequence));
    let live = tokio::spawn(live);
    let mut crowd = crowd::gather(&scene);
    let (troubles, samples) = tokio::join!(
        faults::run(&mut origin, weather, end, report),
        sample(&edge, end)
    );
    report.say("the load ends");
    while crowd.join_next().await.is_some() {}
    live.abort();
    judge(&scene.judge, troubles, report);
    flat(&samples, report);
    settled(&edge, files_at_first, report).await;
}

/// Deadlines so short that a trouble of some seconds meets each of them.
fn setup(origin: &DevOrigin) -> Setup {
    let mut setup = Setup::s3(origin.addr());
    setup.origin = setup.origin.replace(
        "between_bytes_timeout = \"60s\"",
        "between_bytes_timeout = \"2s\"",
    );
    setup.origin +=
        "first_byte_timeout = \"1s\"\nconnect_timeout = \"1s\"\nqueue_timeout = \"1s\"\n";
    setup
}

fn judge(judge: &Judge, troubles: usize, report: &mut Report) {
    let seen = judge.seen();
    let statuses: Vec<String> = seen
        .statuses
        .iter()
        .map(|(status, count)| format!("{status}: {count}"))
        .collect();
    report.check(
        "wrong bytes, and bodies that end cleanly and are not whole",
        "0",
        format!(
            "{} of {} answers, {}",
            seen.corrupt,
            seen.requests,
            mib(seen.bytes)
        ),
        seen.corrupt == 0,
    );
    report.check(
        "answers that the situation does not allow",
        "0",
        format!(
            "{} ({troubles} troubles of the origin, which explain {} errors and cuts; {})",
            seen.unexplained,
            seen.excused,
            statuses.join(", ")
        ),
        seen.unexplained == 0,
    );
    report.check(
        "connections that ended before an answer's head",
        "0",
        seen.unanswered.to_string(),
        seen.unanswered == 0,
    );
}

struct Sample {
    resident: u64,
    files: usize,
    within_budget: bool,
}

async fn sample(edge: &EdgeProcess, end: Instant) -> Vec<Sample> {
    let budget = edge.metric("warren_memory_budget_bytes").await;
    let mut samples = Vec::new();
    while Instant::now() < end {
        samples.push(Sample {
            within_budget: edge.metric("warren_memory_used_bytes").await <= budget,
            resident: edge.resident(),
            files: edge.open_files(),
        });
        sleep(SAMPLE_EVERY).await;
    }
    samples
}

/// Compares the last quarter with the second: the first is for warming up.
fn flat(samples: &[Sample], report: &mut Report) {
    let quarter = samples.len() / 4;
    let (second, last) = (
        &samples[quarter..2 * quarter],
        &samples[samples.len() - quarter..],
    );
    let resident = |part: &[Sample]| -> u64 {
        median(
            &mut part
                .iter()
                .map(|sample| sample.resident)
                .collect::<Vec<_>>(),
        )
    };
    let files = |part: &[Sample]| -> usize {
        median(&mut part.iter().map(|sample| sample.files).collect::<Vec<_>>())
    };
    let (before, after) = (resident(second), resident(last));
    let most = (before * 11 / 10).max(before + SLACK_BYTES);
    report.check(
        "resident memory, last quarter against the second",
        format!("≤ {}", mib(most)),
        format!("{} against {}", mib(after), mib(before)),
        after <= most,
    );
    let (before, after) = (files(second), files(last));
    // Each viewer may have the edge open a connection to the origin.
    let most = (before * 11 / 10).max(before + crowd::size());
    report.check(
        "open files, last quarter against the second",
        format!("≤ {most}"),
        format!("{after} against {before}"),
        after <= most,
    );
    let over = samples.iter().filter(|sample| !sample.within_budget);
    let over = over.count();
    report.check(
        "scrapes with more memory used than the budget",
        "0",
        format!("{over} of {}", samples.len()),
        over == 0,
    );
}

/// What is left once nobody asks any more.
async fn settled(edge: &EdgeProcess, files_at_first: usize, report: &mut Report) {
    let most = files_at_first + SLACK_FILES;
    let began = Instant::now();
    let (mut pulls, mut files) = (f64::MAX, usize::MAX);
    while (pulls > 0.0 || files > most) && began.elapsed() < SETTLES_WITHIN {
        sleep(SAMPLE_EVERY).await;
        pulls = edge.metric("warren_pulls_in_flight").await;
        files = edge.open_files();
    }
    report.check(
        "pulls in flight when the load has ended",
        "0",
        pulls.to_string(),
        pulls == 0.0,
    );
    report.check(
        "open files when the load has ended",
        format!("≤ {most}"),
        format!(
            "{files} after {:.0?}; {files_at_first} at first",
            began.elapsed()
        ),
        files <= most,
    );
}
