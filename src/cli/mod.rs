//! The command line. Exit codes: 0 done or allowed, 1 refused or failed, 2
//! wrong usage, 64 a bad configuration.

mod block;
mod check;
mod drain;
mod edges;
mod explain;
mod inspect;
mod key;
mod ls;
mod manual;
mod orders;
mod probe;
mod purge;
mod revoke;
mod serve;
mod service_manager;
mod sign;
mod stats;
mod swarm;
mod takedown;
mod top;
mod warm;
mod zones;

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A configuration that cannot be run.
const BAD_CONFIG: u8 = 64;
/// The call itself is wrong.
const USAGE: u8 = 2;
/// The answer is no, or something failed.
const REFUSED: u8 = 1;

/// A self-hosted, Bunny-compatible edge for HLS.
#[derive(Parser)]
#[command(name = "warren", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve viewers until told to stop.
    Serve(serve::Arguments),
    /// Check a configuration and say everything that is wrong with it.
    Check(check::Arguments),
    /// Sign a URL.
    Sign(sign::Arguments),
    /// Say whether the edge would let a URL in, and if not, why.
    Explain(explain::Arguments),
    /// Purge what running edges have stored.
    Purge(purge::Arguments),
    /// Pull what a playlist names, before viewers ask for it.
    Warm(warm::Arguments),
    /// Take down what may not be served any more, list it, or lift it.
    Takedown(takedown::Arguments),
    /// Let in no more what was signed: one token, or all of a key or path.
    Revoke(revoke::Arguments),
    /// Let running edges take no new viewers, or take them again.
    Drain(drain::Arguments),
    /// Let in no more who comes from some addresses, for a while.
    Block(block::Arguments),
    /// Say how running edges do.
    Stats(stats::Arguments),
    /// Show who asks running edges for what.
    Top(top::Arguments),
    /// Ask for a URL and all that it names, as a viewer would.
    Probe(probe::Arguments),
    /// List what running edges have in memory.
    Ls(ls::Arguments),
    /// Say what running edges have in memory of a URL.
    Inspect(inspect::Arguments),
    /// List the zones of running edges.
    Zones(zones::Arguments),
    /// Let running edges read their configuration again.
    Reload(orders::Reload),
    /// Let running edges open their logs anew.
    Reopen(orders::Reopen),
    /// Let running edges hand over to a new process.
    Upgrade(orders::Upgrade),
    /// Load an edge as players do.
    Swarm(swarm::Arguments),
    /// Print completions for a shell.
    Completions(manual::Completions),
    /// Write the manual pages.
    Man(manual::Man),
}

/// Parses the arguments and runs the command.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Warm(arguments) => warm::run(&arguments),
        Command::Takedown(arguments) => takedown::run(&arguments),
        Command::Block(arguments) => block::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Revoke(arguments) => revoke::run(&arguments),
        Command::Drain(arguments) => drain::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Zones(arguments) => zones::run(&arguments),
        Command::Reload(arguments) => orders::reload(&arguments),
        Command::Reopen(arguments) => orders::reopen(&arguments),
        Command::Upgrade(arguments) => orders::upgrade(&arguments),
        Command::Swarm(arguments) => swarm::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    }
}

/// A text file; an error names it.
fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Prints a line; who has closed standard output wants no more.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A text of somebody else's in a line of ours: what moves a terminal's cursor or
/// turns its letters round is replaced.
fn plain(text: &str) -> String {
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let one = |c: char| if c.is_control() || turns(c) { '?' } else { c };
    text.chars().map(one).collect()
}

/// For a command that asks others; `Err`: said already.
fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| usage("the runtime cannot be started"))
}

/// Says what is wrong with the call.
fn usage(message: &str) -> ExitCode {
    eprintln!("error: {message}\n\nFor more information, try '--help'.");
    ExitCode::from(USAGE)
}
