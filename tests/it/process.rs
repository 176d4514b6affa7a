//! The binary as a service manager runs it: readiness, signals, a drain under
//! load, and exit codes.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::edge::{Connection, KEY, Setup, metrics, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

/// A served node; ended when dropped.
struct Process {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    _files: TempDir,
}

impl Process {
    fn start(setup: &Setup) -> Self {
        let files = TempDir::new().expect("a folder");
        let config = files.path().join("warren.toml");
        std::fs::write(&config, setup.toml()).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_warren"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("KEY", KEY)
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
            _files: files,
        }
    }

    /// The plain and the admin listener's addresses, as the first line of the
    /// log says.
    fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        let mut line = String::new();
        self.stderr.read_line(&mut line).expect("a line");
        let address = |before: &str| {
            let after = line.split_once(before).map(|(_, rest)| rest);
            let text = after.and_then(|rest| rest.split([']', ',', '"']).next());
            text.and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("no address behind {before} in {line:?}"))
        };
        (address("\"http\":\"["), address("\"admin\":\""))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// What the process said to its end.
    async fn end(self) -> (ExitStatus, String) {
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

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/a.ts", vec![5; 400_000], "video/mp2t");
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_every_running_request_end_and_takes_no_more() {
    const VIEWERS: usize = 50;
    let origin = origin().await;
    let gate = origin.hold("/a.ts", None);
    let mut process = Process::start(&Setup::s3(origin.addr()));
    let (address, admin) = process.addresses();
    let target = signed(&warren::clock::Clock::default(), "/a.ts");
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        let mut viewer = Connection::open(address).await;
        viewer.send("GET", &target, &[]).await;
        viewers.push(viewer);
    }
    let riders = format!(
        "warren_pulls_total{{event=\"collapsed\"}} {}\n",
        VIEWERS - 1
    );
    while !metrics(admin).await.contains(&riders) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.signal("TERM");
    // The listener is closed once new connections are refused.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.release();
    for mut viewer in viewers {
        let reply = viewer.reply("GET").await;
        assert_eq!((reply.status, reply.body.len()), (200, 400_000));
        assert!(reply.whole);
    }
    let (status, log) = process.end().await;
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("\"stopped\""), "{log}");
    assert_eq!(origin.count("a.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_outlasts_the_grace_period_does_not_hold_the_node() {
    let origin = origin().await;
    let gate = origin.hold("/a.ts", None);
    let mut setup = Setup::s3(origin.addr());
    setup.listen.push_str("grace_period = \"1s\"\n");
    let mut process = Process::start(&setup);
    let mut viewer = Connection::open(process.addresses().0).await;
    viewer
        .send(
            "GET",
            &signed(&warren::clock::Clock::default(), "/a.ts"),
            &[],
        )
        .await;
    gate.arrived(1).await;
    process.signal("TERM");
    let (status, log) = process.end().await;
    assert!(status.success(), "{status}");
    assert!(log.contains("stopped with requests still running"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_ends_the_start_and_names_the_address() {
    let origin = origin().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut setup = Setup::s3(origin.addr());
    setup.listen = format!("http = [\"127.0.0.1:0\", \"{address}\"]\n");
    let (status, log) = Process::start(&setup).end().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains(&format!("cannot listen on {address}")),
        "{log}"
    );
}
