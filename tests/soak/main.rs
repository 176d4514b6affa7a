//! Pressure and endurance: the release binary in a process of its own, in
//! front of a dev origin in this one. Every body that a viewer reads is
//! compared with what it should be. `make soak` runs all phases; the exit code
//! is 1 where anything does not hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test or a tool fails by panicking"
)]

#[path = "../support/client.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod client;
#[path = "../support/edge.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod edge;
#[path = "../support/frames.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod frames;
#[path = "../support/origin/mod.rs"]
mod origin;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod served;
#[path = "../support/tls.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod tls;

mod crawl;
mod edge_process;
mod herd;
mod huge;
mod lifecycle;
mod mixed;
mod pins;
mod report;
mod trouble;
mod viewer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use report::Report;

#[derive(Parser)]
#[command(
    name = "soak",
    about = "Pressure and endurance tests against the release binary",
    after_help = "\
Examples:
  make soak                                  # every phase, about five minutes
  make soak ARGS=\"--minutes 10\"              # what must hold before a release
  make soak ARGS=\"--only herd --only crawl\"
  make soak ARGS=\"--json\" >soak.json

herd       viewers by the thousand on one cold object: one origin request
crawl      far more objects than memory: no error, memory as configured
huge       10 GB, endless and deep ranges pass through in constant memory
trouble    hits stay as fast while the origin is in trouble
mixed      everything at once for --minutes, with a fault every ten seconds
lifecycle  reloads, upgrades and a drain under load
pins       viewers who take nothing, from one address and from many

Everything stays on loopback and uses about 20,000 open files, half of them in
the edge's process. Exit code 1: something does not hold."
)]
struct Arguments {
    /// How long the mixed load runs.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Seconds that the viewers of `pins` stand still.
    #[arg(long, default_value_t = 10)]
    hold: u64,
    /// It runs in a network of its own.
    #[arg(long, hide = true)]
    inside: bool,
    /// Run this phase alone; may be given several times.
    #[arg(long, value_name = "PHASE")]
    only: Vec<Phase>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// The binary under test; default: the one that was built beside this.
    #[arg(long, value_name = "FILE")]
    warren: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    Herd,
    Crawl,
    Huge,
    Trouble,
    Mixed,
    Lifecycle,
    Pins,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pins = arguments.only.is_empty() || arguments.only.contains(&Phase::Pins);
    let enter = pins && !arguments.inside;
    if let Some(code) = enter.then(pins::in_a_network_of_its_own).flatten() {
        return ExitCode::from(code);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> ExitCode {
    let binary = arguments.warren.clone().unwrap_or_else(beside_this);
    if !binary.exists() {
        eprintln!(
            "{} is not there: `make soak` builds it, --warren names another",
            binary.display()
        );
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    for phase in Phase::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(phase) {
            continue;
        }
        report.begin(&format!("{phase:?}").to_lowercase());
        match phase {
            Phase::Herd => herd::run(&binary, &mut report).await,
            Phase::Crawl => crawl::run(&binary, &mut report).await,
            Phase::Huge => huge::run(&binary, &mut report).await,
            Phase::Trouble => trouble::run(&binary, &mut report).await,
            Phase::Mixed => mixed::run(&binary, arguments.minutes, &mut report).await,
            Phase::Lifecycle => lifecycle::run(&binary, &mut report).await,
            Phase::Pins if !arguments.inside => {
                report.say("SKIPPED: unshare and ip make no network of our own");
            }
            Phase::Pins => {
                let hold = Duration::from_secs(arguments.hold);
                pins::run(&binary, hold, &mut report).await;
            }
        }
    }
    if arguments.json {
        println!("{}", report.json());
    } else {
        println!("\n{report}");
    }
    if report.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// `warren` in the folder above: cargo puts examples into one of their own.
fn beside_this() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let folder = this.parent().and_then(|examples| examples.parent());
    folder.expect("a folder above").join("warren")
}
