//! An HTTP/1.1 client that sees every byte: whether a body came to the end that
//! its head promised, and what was sent before it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

    /// The body as text, less the request's id at the end of an error.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let id = format!("Request {}\n", self.header("cdn-requestid").unwrap_or("-"));
        match text.strip_suffix(&id) {
            Some(text) if self.status >= 400 => text.to_owned(),
            _ => text,
        }
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
        Self::of(TcpStream::connect(address).await.expect("the edge accepts"))
    }

    pub fn of(stream: TcpStream) -> Self {
        // What a test writes in pieces shall come in pieces.
        stream.set_nodelay(true).expect("a TCP option");
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

    /// Writes to a connection that the edge may have ended already.
    pub async fn write_if_open(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// An answer, or `None` where the connection ends before its head.
    pub async fn reply_or_end(&mut self, method: &str) -> Option<Reply> {
        if self.buffer.is_empty() && self.fill().await == 0 {
            return None;
        }
        Some(self.reply(method).await)
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
        let Some(status) = status else {
            panic!("no status line: {text:?}")
        };
        (status, headers.collect())
    }

    pub async fn reply(&mut self, method: &str) -> Reply {
        let (status, headers) = self.head().await;
        let header = |name: &str| {
            headers
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
        };
        let bodiless = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
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
