//! The tables that concern the whole node: `listen`, `tls`, `admin`, `cache`,
//! `log` and `geo`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::section::Section;

/// Where viewers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    /// Threads that serve viewers; default: one for each core.
    pub threads: usize,
    /// An idle connection is closed after this.
    pub keepalive: Duration,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// Bytes per second below which a viewer is given up.
    pub min_send_rate: usize,
    /// The longest request target; more is 414.
    pub max_target: usize,
    /// Connections of viewers at a time; more are closed at once.
    pub max_connections: usize,
    /// The same of one address (IPv6: one /64).
    pub max_connections_per_ip: usize,
    /// Request heads that have begun and are not whole, at a time.
    pub max_heads: usize,
    /// Pulls that the origin may hold back (blocking playlist reloads and
    /// hinted parts), begun by one address, at a time.
    pub max_held_per_ip: usize,
    /// How long new connections are taken after SIGTERM, not ready any more.
    pub drain_delay: Duration,
    /// How long running requests may finish after that.
    pub grace_period: Duration,
    /// Answer GET and HEAD over HTTP/1.1 in the edge's own lane. No key of the
    /// file: tests compare what both ways answer.
    pub lane: bool,
}

/// One certificate chain with its key, both PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The listener for the operator.
#[derive(Debug, Clone)]
pub struct Admin {
    pub listen: SocketAddr,
    pub access_keys: Vec<AccessKey>,
    /// Where takedowns and revocations are kept.
    pub state_dir: Option<PathBuf>,
}

#[derive(Clone)]
pub struct AccessKey {
    pub name: String,
    pub secret: Zeroizing<String>,
    pub rights: Rights,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessKey({:?}, {:?})", self.name, self.rights)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    Read,
    Purge,
    Admin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Bytes for bodies, stored and in flight.
    pub memory: usize,
    /// Larger objects pass through.
    pub max_object: u64,
    /// Viewers who wait for one pull at a time; more are 503.
    pub max_riders: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    pub format: LogFormat,
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// Log the /24 or /64 of a viewer instead of the address.
    pub anonymise_ip: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Bunny,
    Off,
}

const LEAST_MEMORY: u64 = 8 << 20;
const DEFAULT_MEMORY: u64 = 1 << 30;
const DEFAULT_MAX_OBJECT: u64 = 64 << 20;
/// A live channel's audience on one node; each costs about 1 KiB.
const DEFAULT_MAX_RIDERS: u64 = 50_000;
/// One object may take at most this share of the memory.
const MAX_OBJECT_SHARE: u64 = 4;
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(30);
/// A head is one packet or two: who needs longer is no player.
const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A load balancer that asks /readyz every 2 s has noticed twice.
const DEFAULT_DRAIN_DELAY: Duration = Duration::from_secs(5);
const DEFAULT_GRACE: Duration = Duration::from_secs(20);
const DEFAULT_MAX_TARGET: u64 = 8 << 10;
/// A viewer below 2 KiB/s plays nothing; a token's limit lowers it.
const DEFAULT_MIN_SEND_RATE: u64 = 2048;
/// About 1 GiB of idle connections over TLS.
const DEFAULT_MAX_CONNECTIONS: u64 = 65_536;
/// An office or a small provider behind one address; a larger one is a reason
/// to raise it.
const DEFAULT_MAX_CONNECTIONS_PER_IP: u64 = 1_024;
/// Each may take 32 KiB: 128 MiB at the most.
const DEFAULT_MAX_HEADS: u64 = 4_096;
/// Ten viewers with three renditions behind one address, each the first to ask.
const DEFAULT_MAX_HELD_PER_IP: u64 = 32;
const DEFAULT_ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

pub(super) fn listen(root: &Section<'_>, certificates: Option<&[Certificate]>) -> Option<Listen> {
    let table = root.section("listen");
    let http = table.addresses("http");
    let https = table.addresses("https");
    if http.is_empty() && https.is_empty() && !table.has("http") && !table.has("https") {
        table.problem(
            "http",
            "no address",
            "at least one address",
            "write http = [\"0.0.0.0:8080\"] under [listen]",
        );
    }
    for (key, addresses) in [("http", &http), ("https", &https)] {
        for address in addresses {
            check_address(&table, key, *address);
        }
    }
    if !https.is_empty() && certificates.is_some_and(<[_]>::is_empty) {
        let hint =
            "write [tls] certificates = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]";
        table.problem(
            "https",
            "no certificate",
            "https only with a certificate",
            hint,
        );
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = table
        .integer("threads", 1..=1024)
        .map_or(cores, |n| n as usize);
    let keepalive = table.duration("keepalive").unwrap_or(DEFAULT_KEEPALIVE);
    if keepalive < Duration::from_secs(1) {
        table.problem(
            "keepalive",
            format!("{keepalive:?}"),
            "at least \"1s\"",
            "30s suits players",
        );
    }
    let head_timeout = table
        .duration("head_timeout")
        .unwrap_or(DEFAULT_HEAD_TIMEOUT);
    let min_send_rate = table
        .integer("min_send_rate", 1..=1_000_000)
        .unwrap_or(DEFAULT_MIN_SEND_RATE) as usize;
    let max_target = table
        .integer("max_target", 256..=65_536)
        .unwrap_or(DEFAULT_MAX_TARGET) as usize;
    let count = |name, default| {
        let count = table.integer(name, 1..=10_000_000).unwrap_or(default);
        usize::try_from(count).unwrap_or(usize::MAX)
    };
    let max_connections = count("max_connections", DEFAULT_MAX_CONNECTIONS);
    let max_connections_per_ip = count("max_connections_per_ip", DEFAULT_MAX_CONNECTIONS_PER_IP);
    let max_heads = count("max_heads", DEFAULT_MAX_HEADS);
    let max_held_per_ip = count("max_held_per_ip", DEFAULT_MAX_HELD_PER_IP);
    let drain_delay = table.duration("drain_delay").unwrap_or(DEFAULT_DRAIN_DELAY);
    let grace_period = table.duration("grace_period").unwrap_or(DEFAULT_GRACE);
    table.finish().then_some(Listen {
        http,
        https,
        threads,
        keepalive,
        head_timeout,
        min_send_rate,
        max_target,
        max_connections,
        max_connections_per_ip,
        max_heads,
        max_held_per_ip,
        drain_delay,
        grace_period,
        lane: true,
    })
}

/// Whether the machine has an address: any port of it can be had then, but for
/// those that somebody has.
fn check_address(table: &Section<'_>, key: &'static str, address: SocketAddr) {
    if let Err(error) = std::net::TcpListener::bind((address.ip(), 0)) {
        table.problem(
            key,
            format!("{address}: {error}"),
            "addresses of this machine",
            "0.0.0.0 and [::] are all of them",
        );
    }
}

/// Two listeners cannot have one address.
pub(super) fn check_listeners(root: &Section<'_>, listen: &Listen, admin: &Admin) {
    let viewers = listen.http.iter().map(|at| ("listen.http", at));
    let viewers = viewers.chain(listen.https.iter().map(|at| ("listen.https", at)));
    let mut seen: Vec<(&str, &SocketAddr)> = Vec::new();
    for (key, address) in viewers.chain([("admin.listen", &admin.listen)]) {
        let taken = seen.iter().find(|(_, other)| *other == address);
        if let Some((other, _)) = taken.filter(|_| address.port() != 0) {
            root.problem(
                if key == "admin.listen" {
                    "admin"
                } else {
                    "listen"
                },
                format!("{key} and {other} both have {address}"),
                "an address of its own for each listener",
                "change the port of one of them",
            );
        }
        seen.push((key, address));
    }
}

pub(super) fn certificates(root: &Section<'_>) -> Option<Vec<Certificate>> {
    let table = root.section("tls");
    let mut out = Some(Vec::new());
    for entry in table.sections("certificates") {
        let cert = entry
            .required_text("cert", "the PEM file with the chain, leaf first")
            .and(entry.file("cert"));
        let key = entry
            .required_text("key", "the PEM file with the private key")
            .and(entry.file("key"));
        let sound = entry.finish();
        match (cert, key, &mut out) {
            (Some(cert), Some(key), Some(list)) if sound => {
                if let Err(why) = crate::listen::check_certificate(&cert, &key) {
                    entry.problem(
                        "cert",
                        why,
                        "a PEM chain and the key that belongs to it",
                        "see docs/configuration.md",
                    );
                    out = None;
                } else {
                    list.push(Certificate { cert, key });
                }
            }
            _ => out = None,
        }
    }
    if table.finish() { out } else { None }
}

pub(super) fn admin(root: &Section<'_>) -> Option<Admin> {
    let table = root.section("admin");
    let listen = table.parsed("listen", "an address such as \"127.0.0.1:9090\"", |text| {
        text.parse().ok()
    });
    let listen = listen.unwrap_or(DEFAULT_ADMIN);
    check_address(&table, "listen", listen);
    let mut access_keys = Vec::new();
    let entries = table.sections("access_keys");
    for entry in &entries {
        let name = entry.required_text("name", "a name that tells this key apart in the audit log");
        let rights = entry.parsed("rights", "read, purge or admin", |text| match text {
            "read" => Some(Rights::Read),
            "purge" => Some(Rights::Purge),
            "admin" => Some(Rights::Admin),
            _ => None,
        });
        let secret = entry.own_secret("the access key");
        if entry.finish()
            && let (Some(name), Some(secret)) = (name, secret)
        {
            access_keys.push(AccessKey {
                name,
                secret,
                rights: rights.unwrap_or(Rights::Read),
            });
        }
    }
    if !listen.ip().is_loopback() && entries.is_empty() {
        let hint = "listen on 127.0.0.1, or add access_keys = [{ name = \"ops\", env = \"WARREN_ACCESS_KEY\" }]";
        table.problem(
            "listen",
            listen.to_string(),
            "a loopback address, or one with access keys",
            hint,
        );
    }
    let state_dir = table.file("state_dir");
    table.finish().then_some(Admin {
        listen,
        access_keys,
        state_dir,
    })
}

pub(super) fn cache(root: &Section<'_>) -> Option<Cache> {
    let table = root.section("cache");
    let memory = table.size("memory").unwrap_or(DEFAULT_MEMORY);
    if memory < LEAST_MEMORY {
        table.problem(
            "memory",
            format!("{memory} bytes"),
            "at least \"8MiB\"",
            "1GiB holds about 500 segments of 2 MB",
        );
    }
    let share = memory / MAX_OBJECT_SHARE;
    let max_object = table
        .size("max_object")
        .unwrap_or(DEFAULT_MAX_OBJECT)
        .min(share);
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let max_riders = table.integer("max_riders", 1..=10_000_000);
    let max_riders = max_riders.unwrap_or(DEFAULT_MAX_RIDERS) as usize;
    table.finish().then_some(Cache {
        memory,
        max_object,
        max_riders,
    })
}

pub(super) fn access_log(root: &Section<'_>) -> Option<AccessLog> {
    let table = root.section("log");
    let format = table.parsed("access", "json, bunny or off", |text| match text {
        "json" => Some(LogFormat::Json),
        "bunny" => Some(LogFormat::Bunny),
        "off" => Some(LogFormat::Off),
        _ => None,
    });
    let file = table.file("access_file");
    if let Some(why) = file.as_deref().and_then(cannot_append) {
        let hint = "make the folder, and let the user that serves write there";
        table.problem("access_file", why, "a file that can be appended to", hint);
    }
    let anonymise_ip = table.flag("anonymise_ip", true);
    table.finish().then_some(AccessLog {
        format: format.unwrap_or(LogFormat::Json),
        file,
        anonymise_ip,
    })
}

/// Why a file cannot be appended to. One that was not there is not there
/// afterwards.
fn cannot_append(path: &Path) -> Option<String> {
    let there = path.exists();
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path);
    if opened.is_ok() && !there {
        let _ = std::fs::remove_file(path);
    }
    opened
        .err()
        .map(|error| format!("{}: {error}", path.display()))
}

pub(super) fn country_database(root: &Section<'_>) -> Option<Option<PathBuf>> {
    let table = root.section("geo");
    let path = table.file("country_database");
    if let Some(path) = &path
        && let Err(why) = crate::zone::check_country_database(path)
    {
        table.problem(
            "country_database",
            why,
            "a MaxMind DB file with countries",
            "name the .mmdb file, or remove the key",
        );
    }
    table.finish().then_some(path)
}
