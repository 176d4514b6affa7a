//! The access log over the network: RFC 5424 messages, each with its length
//! before it (RFC 6587 §3.4.1), over TCP or TLS (RFC 5425).

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::log_line::Timestamp;
use crate::clock::Clock;
use crate::trust::client_config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to connect, doubled by each that fails.
const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Facility local0, severity informational.
const PRIORITY: u8 = 16 * 8 + 6;

/// A server that takes RFC 5424 messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogServer {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// PEM of the authorities that sign its certificate; `None`: the system's.
    pub ca_file: Option<PathBuf>,
}

/// A server that takes the log.
pub struct Syslog {
    server: SyslogServer,
    tls: Option<Arc<ClientConfig>>,
    clock: Clock,
    host: String,
    connection: Option<Box<dyn Write + Send>>,
    /// When to connect again, and how long to wait after that.
    retry: Option<(Instant, Duration)>,
    /// Lines that it has not taken yet.
    unsent: Vec<u8>,
}

impl Syslog {
    /// An error says which authorities cannot be read; the server may be away.
    pub fn new(server: SyslogServer, clock: Clock) -> io::Result<Self> {
        let tls = match server.tls {
            true => Some(Arc::new(client_config(server.ca_file.as_deref())?)),
            false => None,
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        Ok(Self {
            server,
            tls,
            clock,
            host: if host.is_empty() { "-" } else { host }.to_owned(),
            connection: None,
            retry: None,
            unsent: Vec::new(),
        })
    }

    /// Whether it has lines to send before it takes others.
    pub fn is_behind(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends what it has not sent yet, or else these lines. Where that fails it
    /// keeps them, and those that had arrived arrive twice. `WouldBlock` where
    /// it is too early to try again.
    pub fn send(&mut self, lines: Vec<u8>) -> io::Result<()> {
        if self.unsent.is_empty() {
            self.unsent = lines;
        }
        let now = self.clock.monotonic();
        if let Some((at, _)) = self.retry
            && now < at
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let frames = self.frames(&self.unsent);
        let sent = self.send_now(&frames);
        if sent.is_err() {
            self.connection = None;
            let wait = self
                .retry
                .map_or(RETRY_LEAST, |(_, wait)| (wait * 2).min(RETRY_MOST));
            self.retry = Some((now + wait, wait));
        } else {
            self.retry = None;
            self.unsent.clear();
        }
        sent
    }

    fn send_now(&mut self, frames: &[u8]) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.server, self.tls.as_ref())?),
        };
        connection.write_all(frames)?;
        connection.flush()
    }

    fn frames(&self, lines: &[u8]) -> Vec<u8> {
        let time = Timestamp::of(self.clock.wall());
        let process = std::process::id();
        let (time, host) = (time.as_str(), &self.host);
        let head = format!("<{PRIORITY}>1 {time} {host} warren {process} access - ");
        let mut out = Vec::with_capacity(lines.len() * 2);
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            out.extend_from_slice((head.len() + line.len()).to_string().as_bytes());
            out.push(b' ');
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(line);
        }
        out
    }
}

fn connect(
    server: &SyslogServer,
    tls: Option<&Arc<ClientConfig>>,
) -> io::Result<Box<dyn Write + Send>> {
    let addresses = (server.host.as_str(), server.port).to_socket_addrs()?;
    let mut connected = Err(io::ErrorKind::NotFound.into());
    for address in addresses {
        connected = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
        if connected.is_ok() {
            break;
        }
    }
    let stream = connected?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    // Of the TLS handshake.
    stream.set_read_timeout(Some(WRITE_TIMEOUT))?;
    let Some(config) = tls else {
        return Ok(Box::new(stream));
    };
    let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
    let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(session, stream)))
}
