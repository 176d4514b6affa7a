//! Many more objects than memory holds, each asked for once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::edge::{Setup, signed};
use crate::edge_process::EdgeProcess;
use crate::origin::{Body, DevOrigin, DevOriginOptions};
use crate::report::{Report, mib};
use crate::viewer::{Request, Viewer};

const BUDGET: u64 = 64 << 20;
/// What the process may take besides 1.2 budgets (docs/reliability.md): code,
/// threads and tables, about 24 MiB, and what the allocator keeps of memory
/// that was given back, huge pages included.
const BASE: u64 = 64 << 20;
const TOTAL: u64 = 2 << 30;
const LEAST: f64 = 1e3;
const MOST: f64 = 10e6;
const CONNECTIONS: usize = 16;
const SEED: u64 = 23;

pub async fn run(binary: &Path, report: &mut Report) {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    let lengths = Arc::new(lengths());
    for (number, length) in lengths.iter().enumerate() {
        origin.put_generated(&format!("/media{}", path(number)), *length, number as u64);
    }
    origin.put_generated("/media/warm.ts", 1_000, SEED);
    let edge = EdgeProcess::start(binary, &Setup::s3(origin.addr()));
    let mut viewers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut viewer = Viewer::open(edge.address).await.expect("accepted");
        let target = signed(&warren::clock::Clock::default(), "/warm.ts");
        let answer = viewer.exchange(&Request::get(&target, None)).await;
        assert!(answer.is_ok_and(|answer| answer.status == 200));
        viewers.push(viewer);
    }
    // What is there before the first large body: code, threads, connections.
    let base = edge.resident();
    edge.forget_peak();
    report.say(&format!(
        "{} objects, {} at first",
        lengths.len(),
        mib(base)
    ));

    let next = Arc::new(AtomicUsize::new(0));
    let mut crawlers = JoinSet::new();
    for viewer in viewers {
        crawlers.spawn(crawl(viewer, Arc::clone(&lengths), Arc::clone(&next)));
    }
    let wrong: Vec<String> = crawlers.join_all().await.into_iter().flatten().collect();

    let first = wrong.first().map_or("", String::as_str);
    report.check(
        format!(
            "{} objects, {} over {CONNECTIONS} connections: not a whole and right 200",
            lengths.len(),
            mib(lengths.iter().sum())
        ),
        "0",
        format!("{} {first}", wrong.len()),
        wrong.is_empty(),
    );
    let most = BUDGET * 12 / 10 + BASE;
    let peak = edge.peak();
    let pulls = |event: &str| format!("warren_pulls_total{{event=\"{event}\"}}");
    report.check(
        format!("peak of resident memory, budget {}", mib(BUDGET)),
        format!(
            "≤ 1.2 × budget + {} = {}",
            mib(BASE),
            mib(most)
        ),
        format!(
            "{}, from {} before the crawl; {} at the end, with {} of the budget used; {} pulls found no memory and passed through",
            mib(peak),
            mib(base),
            mib(edge.resident()),
            mib(edge.metric("warren_memory_used_bytes").await as u64),
            edge.metric(&pulls("over_budget")).await
        ),
        peak <= most,
    );
}

/// As many decades of small objects as of large ones.
fn lengths() -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut lengths = Vec::new();
    while lengths.iter().sum::<u64>() < TOTAL {
        let exponent = random.random_range(LEAST.ln()..MOST.ln());
        lengths.push(exponent.exp() as u64);
    }
    lengths
}

fn path(number: usize) -> String {
    format!("/crawl/{number}.ts")
}

/// What went wrong.
async fn crawl(mut viewer: Viewer, lengths: Arc<Vec<u64>>, next: Arc<AtomicUsize>) -> Vec<String> {
    let mut wrong = Vec::new();
    loop {
        let number = next.fetch_add(1, Relaxed);
        let Some(len) = lengths.get(number).copied() else {
            return wrong;
        };
        let seed = number as u64;
        let object = Body::Generated { seed, len };
        let path = path(number);
        let target = signed(&warren::clock::Clock::default(), &path);
        match viewer.exchange(&Request::get(&target, Some(&object))).await {
            Ok(answer) if answer.is_good(200) => {}
            Ok(answer) => wrong.push(format!(
                "{path}: status {}, {} of {len} bytes, right={}",
                answer.status, answer.received, answer.right
            )),
            Err(error) => {
                wrong.push(format!("{path}: {error}"));
                // The others crawl on; who lost his connection is one of the wrong.
                return wrong;
            }
        }
    }
}
