//! The binary in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::edge::{KEY, Setup};

pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status();
    assert!(sent.is_ok_and(|status| status.success()));
}

/// A served node; ended when dropped.
pub struct Process {
    pub child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    pub files: TempDir,
}

impl Process {
    pub fn start(setup: &Setup) -> Self {
        Self::start_with(setup, &[])
    }

    pub fn start_with(setup: &Setup, environment: &[(&str, &str)]) -> Self {
        let files = TempDir::new().expect("a folder");
        let config = files.path().join("warren.toml");
        std::fs::write(&config, setup.toml()).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_warren"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("KEY", KEY)
            .envs(environment.iter().copied())
            .env("ACCESS", "dev-access-key")
            .env("SECRET", "dev-secret-key")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        Self {
            child,
            stderr,
            files,
        }
    }

    /// The plain and the admin listener's addresses.
    pub fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let [http, _, admin] = self.listeners();
        (http.expect("a plain listener"), admin.expect("an admin"))
    }

    /// The plain, the TLS and the admin listener, as the first line of the log
    /// says.
    pub fn listeners(&mut self) -> [Option<SocketAddr>; 3] {
        let mut line = String::new();
        self.stderr.read_line(&mut line).expect("a line");
        ["\"http\":\"[", "\"https\":\"[", "\"admin\":\""].map(|before| {
            let after = line.split_once(before).map(|(_, rest)| rest);
            let text = after.and_then(|rest| rest.split([']', ',', '"']).next());
            let text = text.unwrap_or_else(|| panic!("nothing behind {before} in {line:?}"));
            text.parse().ok()
        })
    }

    /// Bytes of memory that it has at the moment.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
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
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).expect("a line") > 0);
        }
        line
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// What the process said to its end.
    pub async fn end(self) -> (ExitStatus, String) {
        let ended = tokio::task::spawn_blocking(move || {
            let mut process = self;
            let mut text = String::new();
            let _ = process.stderr.read_to_string(&mut text);
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
