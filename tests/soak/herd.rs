//! Viewers by the thousand who all want one object that nobody has yet.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep};

use crate::edge::{Setup, signed};
use crate::edge_process::{EdgeProcess, cpu_time};
use crate::origin::{Body, DevOrigin, DevOriginOptions};
use crate::report::{Report, mib, ms, percentile};
use crate::viewer::{Request, Viewer};

const PATH: &str = "/cold.ts";
const SEED: u64 = 11;
/// The origin thinks at least so long, and until the last viewer has asked.
const ORIGIN_THINKS: Duration = Duration::from_secs(1);
/// Of the slowest viewer's first byte behind the origin's.
const MOST_BEHIND: Duration = Duration::from_millis(200);
/// Connections opened at a time: the kernel holds a few thousand that are not
/// accepted yet.
const OPENED_AT_A_TIME: usize = 250;

pub async fn run(binary: &Path, report: &mut Report) {
    // As many bytes as ten thousand can read on two cores in a few seconds.
    for (viewers, length) in [(1_000, 2 << 20), (10_000, 64 << 10)] {
        herd(binary, viewers, length, report).await;
    }
}

async fn herd(binary: &Path, viewers: usize, length: u64, report: &mut Report) {
    let name = format!("{viewers} viewers, {} KiB", length >> 10);
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    origin.put_generated(&format!("/media{PATH}"), length, SEED);
    let gate = origin.hold(PATH, None);
    let mut setup = Setup::s3(origin.addr());
    // Until ten thousand have asked.
    setup.origin += "first_byte_timeout = \"60s\"\nanswer_timeout = \"60s\"\n";
    let edge = EdgeProcess::start(binary, &setup);
    let idle = edge.resident();
    let (go, started) = watch::channel(false);
    let crowd = crowd(&edge, viewers, length, &started).await;
    report.say(&format!("{name}: all are connected"));

    let began = Instant::now();
    go.send_replace(true);
    riding(&edge, viewers).await;
    let asked = began.elapsed();
    sleep(ORIGIN_THINKS.saturating_sub(asked)).await;
    let cpu = || [edge.cpu(), cpu_time("self")];
    let cpu_before = cpu();
    let released = Instant::now();
    gate.release();
    let results = crowd.join_all().await;
    let [edge_cpu, own_cpu] = cpu();

    let seen = judge(&name, results, origin.count(PATH), report);
    let last = seen.iter().map(|seen| seen.last_byte).max();
    let told = format!(
        "all had asked within {}; the last byte came after {}; CPU: edge {}, viewers and origin {}; resident {} from {}",
        ms(asked),
        ms(last.unwrap_or(released) - released),
        ms(edge_cpu - cpu_before[0]),
        ms(own_cpu - cpu_before[1]),
        mib(edge.peak()),
        mib(idle),
    );
    let behind = seen.iter().map(|seen| seen.first_byte - released);
    judge_first_bytes(&name, behind.collect(), &told, report);
}

/// Connects so many, who ask as soon as they are told to.
async fn crowd(
    edge: &EdgeProcess,
    viewers: usize,
    len: u64,
    started: &watch::Receiver<bool>,
) -> JoinSet<io::Result<Seen>> {
    let generated = Body::Generated { seed: SEED, len };
    // From memory, so that generating it anew costs no viewer's time.
    let object = Body::Bytes(generated.piece(0..len));
    let mut crowd = JoinSet::new();
    for number in 0..viewers {
        if number % OPENED_AT_A_TIME == 0 {
            connected(edge, number).await;
        }
        let viewer = Viewer::open(edge.address).await;
        crowd.spawn(ride(viewer, started.clone(), object.clone()));
    }
    connected(edge, viewers).await;
    crowd
}

/// Who got the whole object.
fn judge(
    name: &str,
    results: Vec<io::Result<Seen>>,
    asked_of_origin: usize,
    report: &mut Report,
) -> Vec<Seen> {
    let viewers = results.len();
    let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let why = bad.into_iter().find_map(Result::err);
    let why = why.map_or_else(String::new, |error| format!(" ({error})"));
    report.check(
        format!("{name}: whole and right"),
        format!("{viewers}"),
        format!("{}{why}", good.len()),
        good.len() == viewers,
    );
    report.check(
        format!("{name}: origin requests"),
        "1",
        asked_of_origin.to_string(),
        asked_of_origin == 1,
    );
    good.into_iter().flatten().collect()
}

fn judge_first_bytes(name: &str, mut behind: Vec<Duration>, told: &str, report: &mut Report) {
    let slowest = percentile(&mut behind, 1.0);
    report.check(
        format!("{name}: first byte behind the origin's"),
        format!("all ≤ {}", ms(MOST_BEHIND)),
        format!(
            "p50 {}, p99 {}, slowest {} ({told})",
            ms(percentile(&mut behind, 0.5)),
            ms(percentile(&mut behind, 0.99)),
            ms(slowest),
        ),
        slowest <= MOST_BEHIND && !behind.is_empty(),
    );
}

/// Waits until the edge has accepted so many.
async fn connected(edge: &EdgeProcess, count: usize) {
    while edge.metric("warren_connections").await < count as f64 {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until all but the first ride on the first one's pull.
async fn riding(edge: &EdgeProcess, viewers: usize) {
    let series = "warren_pulls_total{event=\"collapsed\"}";
    while edge.metric(series).await < (viewers - 1) as f64 {
        sleep(Duration::from_millis(20)).await;
    }
}

struct Seen {
    first_byte: Instant,
    last_byte: Instant,
}

async fn ride(
    viewer: io::Result<Viewer>,
    mut started: watch::Receiver<bool>,
    object: Body,
) -> io::Result<Seen> {
    let mut viewer = viewer?;
    let target = signed(&warren::clock::Clock::default(), PATH);
    let request = Request::get(&target, Some(&object));
    started.wait_for(|go| *go).await.map_err(io::Error::other)?;
    viewer.ask(&request).await?;
    let first_byte = viewer.first_byte().await?;
    // Who has his first byte lets the others notice theirs.
    yield_now().await;
    let answer = viewer.answer(&request).await?;
    if !answer.is_good(200) {
        let why = format!("status {}, {} bytes", answer.status, answer.received);
        return Err(io::Error::other(why));
    }
    Ok(Seen {
        first_byte,
        last_byte: Instant::now(),
    })
}
