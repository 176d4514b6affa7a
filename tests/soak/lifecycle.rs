//! Reloads, upgrades and a drain while viewers ask on kept connections.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep;

use crate::edge::{Setup, signed};
use crate::edge_process::EdgeProcess;
use crate::origin::{Body, DevOrigin, DevOriginOptions};
use crate::report::Report;
use crate::support_process::{free_port, signal};
use crate::viewer::{Request, Viewer};

const VIEWERS: usize = 32;
const LEAST_REQUESTS: u64 = 100_000;
const RELOADS: usize = 5;
const UPGRADES: usize = 2;
const PATH: &str = "/small.ts";
const OBJECT: Body = Body::Generated {
    seed: 5,
    len: 2_000,
};
/// No event takes longer, nor does the load between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// What the viewers have seen.
#[derive(Default)]
struct Tally {
    answers: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    draining: AtomicBool,
}

pub async fn run(binary: &Path, report: &mut Report) {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    origin.put_generated(&format!("/media{PATH}"), OBJECT.len(), 5);
    let mut setup = Setup::s3(origin.addr());
    // A new process finds its sockets by their addresses.
    setup.listen = format!(
        "http = [\"127.0.0.1:{}\"]\ndrain_delay = \"2s\"\n",
        free_port()
    );
    setup.admin = format!("127.0.0.1:{}", free_port());
    let mut edge = EdgeProcess::start(binary, &setup);
    let tally = Arc::new(Tally::default());
    let mut crowd = JoinSet::new();
    for _ in 0..VIEWERS {
        crowd.spawn(ask_on(edge.address, Arc::clone(&tally)));
    }
    let answers = || tally.answers.load(Relaxed);
    for number in 1..=RELOADS {
        sleep(PAUSE).await;
        setup.zone = format!("hostnames = [\"*\"]\ncors = {}\n", number % 2 == 0);
        block_in_place(|| edge.reload(&setup));
        report.say(&format!("reload {number}, {} answers", answers()));
    }
    let mut serving = Serving::First;
    for number in 1..=UPGRADES {
        sleep(PAUSE).await;
        serving = block_in_place(|| upgrade(&mut edge, &serving));
        report.say(&format!("upgrade {number}, {} answers", answers()));
    }
    while answers() < LEAST_REQUESTS {
        sleep(PAUSE).await;
    }
    tally.draining.store(true, Relaxed);
    serving.signal(&edge, "TERM");
    crowd.join_all().await;
    block_in_place(|| edge.line_with("\"stopped"));

    let failed = tally.failed.load(Relaxed);
    report.check(
        format!("{RELOADS} reloads, {UPGRADES} upgrades, one drain under load: failed requests"),
        format!("0 of ≥ {LEAST_REQUESTS}"),
        format!("{failed} of {}", answers() + failed),
        failed == 0 && answers() >= LEAST_REQUESTS,
    );
    let refused = tally.refused.load(Relaxed);
    report.check(
        "connections refused before the drain",
        "0",
        refused.to_string(),
        refused == 0,
    );
}

/// Who serves: an upgrade's process is the child of the one before.
enum Serving {
    First,
    Next(u32),
}

impl Serving {
    fn signal(&self, edge: &EdgeProcess, name: &str) {
        match self {
            Self::First => edge.signal(name),
            Self::Next(pid) => signal(*pid, name),
        }
    }
}

/// Ends it where the drain did not.
impl Drop for Serving {
    fn drop(&mut self) {
        if let Self::Next(pid) = self
            && Path::new(&format!("/proc/{pid}")).exists()
        {
            // It may end by itself meanwhile.
            let _ = std::process::Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status();
        }
    }
}

/// Replaces the process that serves; returns when the old one has ended.
fn upgrade(edge: &mut EdgeProcess, serving: &Serving) -> Serving {
    serving.signal(edge, "USR2");
    let line = edge.line_with("the new process serves");
    let pid = line.split_once("\"pid\":").map(|(_, rest)| rest);
    let pid = pid.and_then(|rest| rest.split(['}', ',']).next()?.parse().ok());
    edge.line_with("\"stopped");
    Serving::Next(pid.expect("the log names the process"))
}

/// Asks again and again, on one connection for as long as it is kept; ends
/// when nobody accepts any more.
async fn ask_on(address: SocketAddr, tally: Arc<Tally>) {
    let target = signed(&warren::clock::Clock::default(), PATH);
    let object = Body::Bytes(OBJECT.piece(0..OBJECT.len()));
    let request = Request::get(&target, Some(&object));
    loop {
        let Ok(mut viewer) = Viewer::open(address).await else {
            if !tally.draining.load(Relaxed) {
                tally.refused.fetch_add(1, Relaxed);
            }
            return;
        };
        loop {
            let answer = viewer.exchange(&request).await;
            let Some(answer) = answer.ok().filter(|answer| answer.is_good(200)) else {
                tally.failed.fetch_add(1, Relaxed);
                break;
            };
            tally.answers.fetch_add(1, Relaxed);
            if !answer.keeps_alive() {
                break;
            }
        }
    }
}
