//! A whole edge in this process, on ports of its own.

use std::net::SocketAddr;
use std::path::Path;

use warren::clock::Clock;
use warren::config::{Config, Environment};
use warren::listen::Inherited;
use warren::node::{self, Running};
use warren::token::sign::{Form, Options, sign};
use warren::token::{Key, Scheme};

pub use crate::client::{Connection, Reply};

pub const KEY: &str = "test-key-0123456789abcdef";
/// Of whatever needs another one.
pub const SECOND_KEY: &str = "second-key-0123456789abcdef";

/// What a test changes of the configuration.
#[derive(Clone)]
pub struct Setup {
    pub listen: String,
    pub server: String,
    pub admin: String,
    /// Keys of the admin API.
    pub access_keys: String,
    pub log: String,
    pub memory: &'static str,
    pub zone: String,
    pub token: String,
    pub origin: String,
    pub cache: String,
    pub more: String,
    /// Answer in the lane, or hand everything to Pingora.
    pub lane: bool,
}

impl Setup {
    /// An S3 zone with a token, in front of a dev origin.
    pub fn s3(origin: SocketAddr) -> Self {
        Self {
            listen: "http = [\"127.0.0.1:0\"]\ndrain_delay = \"0s\"\n".into(),
            server: String::new(),
            admin: "127.0.0.1:0".into(),
            access_keys: "[]".into(),
            log: "access = \"off\"\n".into(),
            memory: "64MiB",
            zone: "hostnames = [\"*\"]\n".into(),
            token: "keys = [{ name = \"main\", env = \"KEY\" }]\n".into(),
            origin: format!(
                "kind = \"s3\"\nendpoints = [\"http://{origin}\"]\nbucket = \"media\"\n\
                 access_key = {{ env = \"ACCESS\" }}\nsecret_key = {{ env = \"SECRET\" }}\n\
                 between_bytes_timeout = \"60s\"\n"
            ),
            cache: String::new(),
            more: String::new(),
            lane: true,
        }
    }

    /// A zone without tokens in front of a plain HTTP origin.
    pub fn http(origin: SocketAddr) -> Self {
        Self {
            token: "required = false\n".into(),
            origin: format!("kind = \"http\"\nendpoints = [\"http://{origin}\"]\n"),
            ..Self::s3(origin)
        }
    }

    pub fn toml(&self) -> String {
        format!(
            "[listen]\n{}\n[admin]\nlisten = \"{}\"\naccess_keys = {}\n[log]\n{}\n[cache]\nmemory = \"{}\"\n{}\n\
             [[zone]]\nname = \"test\"\nid = 7\n{}\n[zone.token]\n{}\n[zone.origin]\n{}\n[zone.cache]\n{}\n{}",
            self.listen,
            self.admin,
            self.access_keys,
            self.log,
            self.memory,
            self.server,
            self.zone,
            self.token,
            self.origin,
            self.cache,
            self.more
        )
    }

    pub fn config(&self) -> Config {
        let environment = Environment::from([
            ("KEY", KEY),
            ("SECOND", SECOND_KEY),
            ("ACCESS", "dev-access-key"),
            ("SECRET", "dev-secret-key"),
        ]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut config = match Config::parse("test", &self.toml(), folder, &environment) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}"),
        };
        config.listen.lane = self.lane;
        config
    }

    pub async fn start(&self) -> TestEdge {
        let clock = Clock::default();
        let running = node::start(self.config(), clock.clone(), Inherited::default())
            .await
            .expect("the node starts");
        TestEdge { running, clock }
    }
}

pub struct TestEdge {
    pub running: Running,
    pub clock: Clock,
}

impl TestEdge {
    pub fn http(&self) -> SocketAddr {
        self.running.http[0]
    }

    /// GET of a path, signed for an hour.
    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", &signed(&self.clock, path), &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", &signed(&self.clock, path), headers).await
    }

    /// A request on a connection of its own.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        let mut connection = Connection::open(self.http()).await;
        connection.send(method, target, headers).await;
        connection.reply(method).await
    }

    /// Waits until every request is accounted for: that comes after its answer.
    pub async fn settled(&self) {
        self.settled_but(0).await;
    }

    /// The same, with so many still on their road.
    pub async fn settled_but(&self, count: usize) {
        while self.running.node.active_requests() > count {
            tokio::task::yield_now().await;
        }
    }

    /// As [`Self::settled`], for a wait that may be long: a tick, not a spin.
    pub async fn idle(&self) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(1));
        while self.running.node.active_requests() > 0 {
            tick.tick().await;
        }
    }

    /// Waits until this many requests ride a pull that others started.
    pub async fn riding(&self, count: u64) {
        let collapsed = &self.running.node.pulls.counts.collapsed;
        // A tick, not a spin: the machine has other tests to run.
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(1));
        while collapsed.load(std::sync::atomic::Ordering::Relaxed) < count {
            tick.tick().await;
        }
    }

    /// The binary as a client of the admin API: its exit code and what it says.
    pub async fn warren(
        &self,
        command: &'static str,
        arguments: &[&str],
        access_key: &'static str,
    ) -> (Option<i32>, String) {
        let mut all: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        all.push(format!("--admin=http://{}", self.running.admin));
        let Some(binary) = option_env!("CARGO_BIN_EXE_warren") else {
            panic!("cargo names the binary to tests alone");
        };
        let run = move || {
            std::process::Command::new(binary)
                .arg(command)
                .args(all)
                .env("WARREN_ACCESS_KEY", access_key)
                .output()
                .expect("the binary runs")
        };
        let done = tokio::task::spawn_blocking(run).await.expect("it ends");
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).expect("text"))
    }

    /// A call of the admin API.
    pub async fn call(&self, method: &str, path: &str, access_key: &str, body: &str) -> Reply {
        let mut connection = Connection::open(self.running.admin).await;
        self.begin_call(&mut connection, method, path, access_key, body)
            .await;
        connection.reply(method).await
    }

    /// The same, whose answer is still to be read.
    pub async fn begin_call(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        access_key: &str,
        body: &str,
    ) {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccessKey: {access_key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // A body that is too large is not read to its end.
        connection.write_if_open(text.as_bytes()).await;
    }

    pub async fn metrics(&self) -> String {
        metrics(self.running.admin).await
    }

    /// The value of one series, 0 where it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        metric(self.running.admin, series).await
    }
}

/// What a scrape of a node gets.
pub async fn metrics(admin: SocketAddr) -> String {
    let mut connection = Connection::open(admin).await;
    let host = [("Host", "localhost")];
    connection.send("GET", "/metrics", &host).await;
    String::from_utf8(connection.reply("GET").await.body).expect("metrics are text")
}

/// The value of one series of a node, 0 where it is not there.
pub async fn metric(admin: SocketAddr, series: &str) -> f64 {
    let text = metrics(admin).await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

/// A target signed with the test key.
pub fn signed(clock: &Clock, path: &str) -> String {
    let key = Key::new("main", KEY.as_bytes()).expect("not empty");
    let options = Options {
        force: true,
        ..Options::default()
    };
    sign(
        path,
        &key,
        Scheme::Hs256,
        clock.unix_seconds() + 3600,
        &options,
    )
    .expect("signs")
}

/// A target with a token in its path, for a folder.
pub fn signed_for(clock: &Clock, path: &str, folder: &str) -> String {
    let key = Key::new("main", KEY.as_bytes()).expect("not empty");
    let options = Options {
        form: Form::Path,
        token_path: Some(folder.to_owned()),
        ..Options::default()
    };
    let expires = clock.unix_seconds() + 3600;
    sign(path, &key, Scheme::Hs256, expires, &options).expect("signs")
}
