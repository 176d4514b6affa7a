use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{BAD_CONFIG, REFUSED, service_manager};
use crate::admin::{Order, What};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::listen::Inherited;
use crate::node::{self, Reloaded, Running};
use crate::telemetry::node_log::WithoutTokens;

/// A worker looks into the shared queue after so many tasks. Connections that
/// do not fit into its own (256) wait there: on 512 busy connections and one
/// thread, 1 in 100 hits waited for 68 ms with tokio's own interval, for 36 ms
/// with 8 and for 28 ms with 2, at the same cost.
const GLOBAL_QUEUE_INTERVAL: u32 = 2;

#[derive(Args)]
#[command(after_help = "\
Examples:
  CDN_SECURITY_KEY=… S3_ACCESS_KEY=… S3_SECRET_KEY=… warren serve --config config/minimal.toml
  WARREN_LOG=debug warren serve --config /etc/warren/warren.toml

SIGHUP reads the file again: zones, certificates and the country database are
taken over without dropping a request; a file with problems changes nothing.
SIGUSR1 opens the access log and the audit log anew, once they were moved away.
SIGUSR2 starts the command anew, with a new binary in its place, hands the
listening sockets over, and ends when the new process serves.
SIGTERM ends the node: /readyz says so at once, connections are taken for
listen.drain_delay more, and running requests may end within
listen.grace_period. SIGINT does the same without the delay. The node's own log
goes to standard error (level by WARREN_LOG), the access log to standard output
or its file.")]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let environment = Environment::of_process();
    let inherited = Inherited::of_process();
    let config = match Config::load(&arguments.config, &environment) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    log_to_stderr(&environment);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .worker_threads(config.listen.threads)
        .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
        .thread_name("edge")
        .enable_all()
        .build();
    let served = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| {
            let result =
                runtime.block_on(serve(config, &arguments.config, &environment, inherited));
            runtime.shutdown_background();
            result
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(REFUSED)
        }
    }
}

fn log_to_stderr(environment: &Environment) {
    let filter = environment
        .get("WARREN_LOG")
        .unwrap_or("info,h2=off,pingora_core=off,pingora_proxy=off");
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt()
        .json()
        .with_writer(|| WithoutTokens(std::io::stderr()))
        .with_env_filter(filter)
        .init();
}

async fn serve(
    config: Config,
    path: &Path,
    environment: &Environment,
    inherited: Inherited,
) -> Result<(), String> {
    let (delay, grace) = (config.listen.drain_delay, config.listen.grace_period);
    let listen = |kind| signal(kind).map_err(|error| error.to_string());
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut reopen = listen(SignalKind::user_defined1())?;
    let mut upgrade = listen(SignalKind::user_defined2())?;
    let mut running = node::start(config, Clock::default(), inherited).await?;
    let (takedowns, revocations) = (
        running.node.takedowns.list(),
        running.node.revocations.list(),
    );
    tracing::info!(
        http = ?running.http,
        https = ?running.https,
        admin = %running.admin,
        takedowns = takedowns.len(),
        revocations = revocations.len(),
        "serving"
    );
    warn_of(&running.warnings);
    if let Some(fd) = environment.get(node::READY_FD) {
        node::tell_ready(fd).map_err(|error| error.to_string())?;
    }
    service_manager::tell(&[NotifyState::Ready]);
    service_manager::keep_watchdog_quiet();
    let delay = loop {
        tokio::select! {
            _ = terminate.recv() => break delay,
            // Somebody sits before it and waits.
            _ = interrupt.recv() => break Duration::ZERO,
            _ = hangup.recv() => drop(reload(&running, path, environment)),
            _ = reopen.recv() => drop(reopen_logs(&running)),
            _ = upgrade.recv() => if upgraded(&running).await.is_ok() {
                return stop(running, Duration::ZERO, grace).await;
            },
            Some(Order { what, answer }) = running.orders.recv() => {
                let done = match what {
                    What::Reload => reload(&running, path, environment),
                    What::Reopen => reopen_logs(&running),
                    What::Upgrade => upgraded(&running).await,
                };
                let hands_over = what == What::Upgrade && done.is_ok();
                let _ = answer.send(done);
                if hands_over {
                    running.orders.close();
                    while let Ok(order) = running.orders.try_recv() {
                        let _ = order.answer.send(Err("the node hands over: ask again".into()));
                    }
                    return stop(running, Duration::ZERO, grace).await;
                }
            }
        }
    };
    service_manager::tell(&[NotifyState::Stopping]);
    stop(running, delay, grace).await
}

async fn stop(running: Running, delay: Duration, grace: Duration) -> Result<(), String> {
    tracing::info!(
        drain_seconds = delay.as_secs(),
        grace_seconds = grace.as_secs(),
        "stopping: running requests may end"
    );
    match running.stop(delay, grace).await {
        0 => tracing::info!("stopped"),
        left => tracing::warn!(left, "stopped with requests still running"),
    }
    Ok(())
}

fn warn_of(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!(warning, "the configuration can be served, but for this");
    }
}

/// Facts for who has ordered it; `Err`: why it was not done.
type Done = Result<Value, String>;

fn reopen_logs(running: &Running) -> Done {
    let reopened = running.reopen_logs();
    match &reopened {
        Ok(()) => tracing::info!("logs reopened"),
        Err(error) => tracing::error!(error, "a log was not reopened"),
    }
    reopened.map(|()| json!({}))
}

async fn upgraded(running: &Running) -> Done {
    let upgraded = running.upgrade().await;
    match &upgraded {
        Ok(pid) => {
            tracing::info!(pid, "the new process serves");
            service_manager::tell(&[NotifyState::MainPid(*pid)]);
        }
        Err(error) => tracing::error!(error, "not upgraded: this process goes on"),
    }
    upgraded.map(|pid| json!({ "pid": pid }))
}

fn reload(running: &Running, path: &Path, environment: &Environment) -> Done {
    service_manager::tell_reloading();
    let loaded = Config::load(path, environment).map_err(|problems| problems.to_string());
    let reloaded = loaded.and_then(|config| running.reload(config));
    running.node.metrics.note_reload(reloaded.is_ok());
    if let Ok(Reloaded { warnings, .. }) = &reloaded {
        warn_of(warnings);
    }
    match &reloaded {
        Ok(done) if done.needs_restart.is_empty() => tracing::info!("reloaded"),
        Ok(done) => tracing::warn!(
            tables = ?done.needs_restart,
            "reloaded, but for these tables: they need a restart"
        ),
        Err(problems) => {
            tracing::error!(problems, "not reloaded: the configuration in force stays");
        }
    }
    service_manager::tell(&[NotifyState::Ready]);
    reloaded.map(|done| {
        json!({
            "needs_restart": done.needs_restart,
            "warnings": done.warnings,
            "warned_before": done.warned_before,
        })
    })
}
