//! Another binary in this one's place, without a moment in which nobody
//! listens: it gets the listening sockets and says when it serves.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{MissedTickBehavior, timeout};

use super::{Running, keep_figures};
use crate::edge::Node;

/// The variable that names the pipe to say so in.
pub const READY_FD: &str = "WARREN_READY_FD";
/// Longer than any start takes.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How far the lists of this process are behind those of the next one.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Behind standard input, output and error; where `LISTEN_FDS` begins.
const FIRST_FD: RawFd = 3;

impl Running {
    /// Starts this process's command anew with the sockets of this one, and
    /// waits until it serves; returns its process id. From then on it answers
    /// on the admin listener. An error leaves this node as it is.
    pub async fn upgrade(&self) -> Result<u32, String> {
        // What is taken down, revoked or blocked from here on would be this process's
        // alone, and in the way of what the next one writes.
        self.freeze(true).await;
        keep_figures(&self.reloading.admin).await;
        let done = self.hand_over().await;
        if done.is_err() {
            self.freeze(false).await;
        }
        done
    }

    async fn freeze(&self, frozen: bool) {
        let node = Arc::clone(&self.node);
        let freeze = move || {
            node.takedowns.freeze(frozen);
            node.revocations.freeze(frozen);
            node.blocks.freeze(frozen);
        };
        let _ = tokio::task::spawn_blocking(freeze).await;
    }

    async fn hand_over(&self) -> Result<u32, String> {
        let sockets = self.sockets.duplicate().map_err(|e| e.to_string())?;
        let (ready, telling) = io::pipe().map_err(|e| e.to_string())?;
        let mut ready = Receiver::from_owned_fd(ready.into()).map_err(|e| e.to_string())?;
        let mut child = spawn(sockets, telling.into())?;
        let mut byte = [0];
        let said = timeout(START_TIMEOUT, ready.read_exact(&mut byte)).await;
        if matches!(said, Ok(Ok(_))) {
            self.admin_task.abort();
            tokio::spawn(follow(Arc::clone(&self.node)));
            return Ok(child.id());
        }
        let _ = child.kill();
        let status = child.wait().map_err(|error| error.to_string())?;
        Err(format!(
            "the new process did not begin to serve: {status}; what it says of it is in the \
             node's log, and 64 is a configuration that `warren check` tells of"
        ))
    }
}

/// What is taken down, revoked or blocked at the new process is for those, too, whom
/// this one still serves. Ends with the process.
async fn follow(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let node = Arc::clone(&node);
        let read = move || {
            let lists = node.takedowns.follow().and(node.revocations.follow());
            lists.and(node.blocks.follow())
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(read).await {
            tracing::error!(error, "the new process's lists cannot be read");
        }
    }
}

fn spawn(sockets: Vec<OwnedFd>, telling: OwnedFd) -> Result<std::process::Child, String> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().ok_or("this process has no name")?;
    let count = sockets.len() as RawFd;
    let all = sockets.into_iter().chain([telling]);
    let mappings = all
        .zip(FIRST_FD..)
        .map(|(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        })
        .collect();
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env("LISTEN_FDS", count.to_string())
        .env("LISTEN_FDS_FIRST_FD", FIRST_FD.to_string())
        .env(READY_FD, (FIRST_FD + count).to_string())
        // Both name the process that they are for: this one.
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID")
        .fd_mappings(mappings)
        .map_err(|error| error.to_string())?;
    let spawned = command.spawn();
    spawned.map_err(|error| format!("cannot start {}: {error}", program.display()))
}

/// Tells the process before this one that it is served now.
pub fn tell_ready(fd: &str) -> io::Result<()> {
    let mut pipe = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))?;
    pipe.write_all(b"1")
}
