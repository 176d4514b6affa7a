use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::sign::duration;
use super::{REFUSED, say, usage};
use crate::clock::Clock;
use crate::swarm::{Report, Settings, Variant, run as watch};
use crate::trust::client_config;

/// Beyond it one client address runs out of ports.
const MAX_VIEWERS: usize = 20_000;
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren swarm \"$(warren sign http://127.0.0.1:8080/v/master.m3u8 --ttl 1h --stream)\" --viewers 2000
  warren swarm \"$URL\" --viewers 500 --duration 10m --max-rebuffer 0.01 --json
  warren swarm \"$URL\" --own-host edge.example.net
  warren swarm \"$URL\" --connect 127.0.0.1:8443 --ca-file ca.pem  # the URL's host is another

Each viewer keeps a connection, follows a variant, reloads a live playlist at
its pace, fetches segments and plays them from a buffer. Sign in path form: the
query of a playlist is not passed on to its segments.
Exit code 1: nobody played, or the rebuffer ratio is above --max-rebuffer.")]
pub struct Arguments {
    /// A playlist, as a player would open it: on loopback, unless --own-host names
    /// a host of yours.
    url: String,
    /// How many watch at a time, up to 20,000.
    #[arg(long, default_value_t = 100)]
    viewers: usize,
    /// Viewers arrive evenly within this time.
    #[arg(long, default_value = "10s", value_parser = duration)]
    ramp: Duration,
    /// How long to watch behind the ramp, up to 24h.
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// Which variant a viewer follows: first, highest, lowest, or each in turn.
    #[arg(long, default_value = "first", value_parser = variant)]
    variant: Variant,
    /// Media that a viewer keeps ahead.
    #[arg(long, default_value = "30s", value_parser = duration)]
    buffer: Duration,
    /// A host of yours that may be loaded, besides loopback.
    #[arg(long, value_name = "HOST")]
    own_host: Option<String>,
    /// Connect there, whatever the URL's host resolves to; the Host and the name in
    /// the certificate stay the URL's.
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// PEM of the authorities that sign the edge's certificate.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Fail where the time stalled is a larger share of the time watched.
    #[arg(long, value_name = "RATIO")]
    max_rebuffer: Option<f64>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

fn variant(text: &str) -> Result<Variant, String> {
    Variant::from_name(text).ok_or_else(|| "one of first, highest, lowest, each".to_owned())
}

pub fn run(arguments: &Arguments) -> ExitCode {
    if !(1..=MAX_VIEWERS).contains(&arguments.viewers) {
        return usage(&format!("--viewers: 1 to {MAX_VIEWERS}"));
    }
    if arguments.duration > MAX_DURATION || arguments.ramp > MAX_DURATION {
        return usage("--duration and --ramp: up to 24h");
    }
    if let Err(why) = enough_files(arguments.viewers) {
        return usage(&why);
    }
    let trusted = match client_config(arguments.ca_file.as_deref()) {
        Ok(config) => Arc::new(config),
        Err(error) => return usage(&format!("authorities to trust (--ca-file): {error}")),
    };
    let settings = Settings {
        url: arguments.url.clone(),
        viewers: arguments.viewers,
        ramp: arguments.ramp,
        duration: arguments.duration,
        variant: arguments.variant,
        buffer: arguments.buffer,
        own_host: arguments.own_host.clone(),
        connect: arguments.connect.clone(),
        trusted,
    };
    if !settings.allows(&arguments.url) {
        return usage(
            "the URL, or --connect, must lead to loopback, or to the host that you name as yours \
             with --own-host",
        );
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return usage(&error.to_string()),
    };
    let report = runtime.block_on(watch(settings, Clock::default(), progress));
    if arguments.json {
        say(serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        say(report.to_string().trim_end());
    }
    let stalled = arguments
        .max_rebuffer
        .is_some_and(|most| report.rebuffer_ratio > most);
    if report.played == 0 || stalled {
        ExitCode::from(REFUSED)
    } else {
        ExitCode::SUCCESS
    }
}

fn progress(report: &Report) {
    eprintln!(
        "{:>5.0} s  {} of {} playing  {:.0} Mbit/s  segments {} (p99 {:.0} ms)  errors {}",
        report.seconds,
        report.played,
        report.viewers,
        report.megabits_per_second,
        report.segments,
        report.segment_p99_ms,
        report.errors
    );
}

/// Each viewer holds a connection.
fn enough_files(viewers: usize) -> Result<(), String> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let most: Option<usize> = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    match most {
        Some(most) if most < viewers + 64 => Err(format!(
            "{viewers} viewers need as many open files, and the limit is {most}: run `ulimit -n {}` first",
            viewers + 64
        )),
        _ => Ok(()),
    }
}
