//! The binary in a process of its own, with its log.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::edge::{KEY, SECOND_KEY, Setup};

/// A process that says nothing for so long says nothing any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines kept of a log that nobody reads; the oldest go first.
const MAX_LINES: usize = 10_000;

pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status();
    assert!(sent.is_ok_and(|status| status.success()));
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

/// A served node; ended when dropped.
pub struct Process {
    pub child: Child,
    pub files: TempDir,
    log: Log,
}

impl Process {
    pub fn start(setup: &Setup) -> Self {
        Self::start_with(setup, &[])
    }

    pub fn start_with(setup: &Setup, environment: &[(&str, &str)]) -> Self {
        let Some(binary) = option_env!("CARGO_BIN_EXE_warren") else {
            panic!("cargo names the binary to tests alone: start_binary() is for tools");
        };
        Self::start_binary(Path::new(binary), setup, environment)
    }

    pub fn start_binary(binary: &Path, setup: &Setup, environment: &[(&str, &str)]) -> Self {
        let files = TempDir::new().expect("a folder");
        let config = files.path().join("warren.toml");
        std::fs::write(&config, setup.toml()).expect("written");
        let mut child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&config)
            .env("KEY", KEY)
            .env("SECOND", SECOND_KEY)
            .env("ACCESS", "dev-access-key")
            .env("SECRET", "dev-secret-key")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = Log::of(child.stderr.take().expect("a pipe"));
        Self { child, files, log }
    }

    /// The plain and the admin listener's addresses.
    pub fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let [http, _, admin] = self.listeners();
        (http.expect("a plain listener"), admin.expect("an admin"))
    }

    /// The plain, the TLS and the admin listener, as the first line of the log
    /// says.
    pub fn listeners(&mut self) -> [Option<SocketAddr>; 3] {
        let line = self.log.next().expect("a line");
        ["\"http\":\"[", "\"https\":\"[", "\"admin\":\""].map(|before| {
            let after = line.split_once(before).map(|(_, rest)| rest);
            let text = after.and_then(|rest| rest.split([']', ',', '"']).next());
            let text = text.unwrap_or_else(|| panic!("nothing behind {before} in {line:?}"));
            text.parse().ok()
        })
    }

    /// Bytes of memory that it has at the moment.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// A size of proc(5)'s `status`.
    pub fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size") << 10
    }

    /// Puts another configuration in the file's place and asks for a reload;
    /// returns the log line that tells what came of it.
    pub fn reload(&mut self, setup: &Setup) -> String {
        let config = self.files.path().join("warren.toml");
        std::fs::write(config, setup.toml()).expect("written");
        self.signal("HUP");
        self.line_with("reloaded")
    }

    /// The next line of the log that has this text.
    pub fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.log.next();
            let line = line.unwrap_or_else(|| panic!("the log ended without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// What the process said to its end.
    pub async fn end(self) -> (ExitStatus, String) {
        let ended = tokio::task::spawn_blocking(move || {
            let mut process = self;
            let mut text = String::new();
            while let Some(line) = process.log.next() {
                text.push_str(&line);
            }
            (process.child.wait().expect("it ends"), text)
        });
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .expect("it ends in time")
            .expect("it is waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Standard error, read to its end so that the process never waits for a reader.
struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    unread: VecDeque<String>,
    ended: bool,
}

impl Log {
    fn of(stderr: ChildStderr) -> Self {
        let log = Self(Arc::default());
        let shared = Self(Arc::clone(&log.0));
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stderr);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                shared.change(|lines| {
                    lines.unread.push_back(std::mem::take(&mut line));
                    if lines.unread.len() > MAX_LINES {
                        lines.unread.pop_front();
                    }
                });
            }
            shared.change(|lines| lines.ended = true);
        });
        log
    }

    /// Waits for a line; `None` at the end.
    fn next(&self) -> Option<String> {
        let waiting = |lines: &mut Lines| lines.unread.is_empty() && !lines.ended;
        let waited = self.0.1.wait_timeout_while(self.lines(), PATIENCE, waiting);
        let (mut lines, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "the process says nothing");
        lines.unread.pop_front()
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lines());
        self.0.1.notify_all();
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
