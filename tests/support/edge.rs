//! A whole edge in this process, on ports of its own, and a client that sees
//! every byte.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren::clock::Clock;
use warren::config::{Config, Environment};
use warren::node::{self, Running};
use warren::token::sign::{Options, sign};
use warren::token::{Key, Scheme};

pub const KEY: &str = "test-key-0123456789abcdef";

/// What a test changes of the configuration.
#[derive(Clone)]
pub struct Setup {
    pub listen: String,
    pub server: String,
    pub memory: &'static str,
    pub zone: String,
    pub token: String,
    pub origin: String,
    pub cache: String,
    pub more: String,
}

impl Setup {
    /// An S3 zone with a token, in front of a dev origin.
    pub fn s3(origin: SocketAddr) -> Self {
        Self {
            listen: "http = [\"127.0.0.1:0\"]\n".into(),
            server: String::new(),
            memory: "64MiB",
            zone: "hostnames = [\"*\"]\n".into(),
            token: "keys = [{ name = \"main\", env = \"KEY\" }]\n".into(),
            origin: format!(
                "kind = \"s3\"\nendpoints = [\"http://{origin}\"]\nbucket = \"media\"\n\
                 access_key = {{ env = \"ACCESS\" }}\nsecret_key = {{ env = \"SECRET\" }}\n"
            ),
            cache: String::new(),
            more: String::new(),
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
            "[listen]\n{}\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n[cache]\nmemory = \"{}\"\n{}\n\
             [[zone]]\nname = \"test\"\nid = 7\n{}\n[zone.token]\n{}\n[zone.origin]\n{}\n[zone.cache]\n{}\n{}",
            self.listen,
            self.memory,
            self.server,
            self.zone,
            self.token,
            self.origin,
            self.cache,
            self.more
        )
    }

    pub async fn start(&self) -> TestEdge {
        let environment = Environment::from([
            ("KEY", KEY),
            ("ACCESS", "dev-access-key"),
            ("SECRET", "dev-secret-key"),
        ]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let config = match Config::parse("test", &self.toml(), folder, &environment) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}"),
        };
        let clock = Clock::default();
        let running = node::start(config, clock.clone())
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

    pub async fn metrics(&self) -> String {
        let mut connection = Connection::open(self.running.admin).await;
        connection.send("GET", "/metrics", &[]).await;
        String::from_utf8(connection.reply("GET").await.body).expect("metrics are text")
    }

    /// The value of one series, 0 where it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }
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

/// An answer, whole or cut.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body came to the end that its head promised.
    pub whole: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn cache(&self) -> &str {
        self.header("cdn-cache").unwrap_or_default()
    }
}

/// One HTTP/1.1 connection, read by hand.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the edge accepts");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            text.push_str("Host: cdn.test\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.write(text.as_bytes()).await;
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the edge reads");
    }

    /// Status and headers.
    pub async fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let end = loop {
            if let Some(at) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at;
            }
            assert!(
                self.fill().await > 0,
                "the connection ended before a head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let text =
            String::from_utf8(self.buffer.drain(..end + 4).collect()).expect("a head is text");
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(n, v)| (n.to_owned(), v.to_owned()));
        (status.expect("a status line"), headers.collect())
    }

    pub async fn reply(&mut self, method: &str) -> Reply {
        let (status, headers) = self.head().await;
        let header = |name: &str| {
            headers
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
        };
        let bodiless = method == "HEAD" || matches!(status, 204 | 304);
        let (body, whole) = if bodiless {
            (Vec::new(), true)
        } else if let Some(length) = header("content-length") {
            self.exactly(length.parse().expect("a length")).await
        } else if header("transfer-encoding").is_some() {
            self.chunked().await
        } else {
            while self.fill().await > 0 {}
            (std::mem::take(&mut self.buffer), true)
        };
        Reply {
            status,
            headers,
            body,
            whole,
        }
    }

    /// At least one more byte of whatever comes; empty at the end.
    pub async fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill().await;
        }
        std::mem::take(&mut self.buffer)
    }

    pub async fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < length {
            if self.fill().await == 0 {
                return (std::mem::take(&mut self.buffer), false);
            }
        }
        (self.buffer.drain(..length).collect(), true)
    }

    async fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                    break at;
                }
                if self.fill().await == 0 {
                    return (body, false);
                }
            };
            let line: Vec<u8> = self.buffer.drain(..line_end + 2).collect();
            let size = std::str::from_utf8(&line[..line_end])
                .ok()
                .and_then(|text| usize::from_str_radix(text, 16).ok());
            let size = size.expect("a chunk size");
            let (chunk, whole) = self.exactly(size + 2).await;
            body.extend(&chunk[..chunk.len().min(size)]);
            if !whole || size == 0 {
                return (body, whole);
            }
        }
    }

    async fn fill(&mut self) -> usize {
        let mut part = vec![0; 64 << 10];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut part))
            .await
            .expect("an answer in time");
        let count = read.unwrap_or(0);
        self.buffer.extend(&part[..count]);
        count
    }
}
