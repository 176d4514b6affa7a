//! The tables that concern the whole node besides `listen`: `tls`, `admin`,
//! `cache`, `log` and `geo`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::listen::check_address;
use super::secret::open_to_others;
use super::section::Section;
use crate::admin::{self, AccessKey, Rights};
use crate::listen::Certificate;
use crate::telemetry::access_log::{AccessLog, LogFormat};
use crate::telemetry::syslog::SyslogServer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Bytes for bodies, stored and in flight.
    pub memory: usize,
    /// Larger objects pass through.
    pub max_object: u64,
    /// Viewers who wait for one pull at a time; more are 503.
    pub max_riders: usize,
}

/// Where spans go, and of how many requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// The collector's base URL, without `/v1/traces`.
    pub collector: http::Uri,
    /// One request of so many.
    pub sample: u32,
}

/// One request of so many is traced: enough to see, too few to notice.
const DEFAULT_TRACES: u64 = 100;
const LEAST_MEMORY: u64 = 8 << 20;
const DEFAULT_MEMORY: u64 = 1 << 30;
const DEFAULT_MAX_OBJECT: u64 = 64 << 20;
/// A live channel's audience on one node; each costs about 1 KiB.
const DEFAULT_MAX_RIDERS: u64 = 50_000;
/// One object may take at most this share of the memory.
const MAX_OBJECT_SHARE: u64 = 4;
const DEFAULT_ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

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
        if let Some(doubt) = key.as_deref().and_then(open_to_others) {
            entry.warn("key", &doubt);
        }
        let sound = entry.finish();
        match (cert, key, &mut out) {
            (Some(cert), Some(key), Some(list)) if sound => {
                let wrong = crate::listen::check_certificate(&cert, &key).err();
                if let Some(why) = wrong.filter(|_| !entry.is_lenient()) {
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

pub(super) fn admin(root: &Section<'_>) -> Option<admin::Settings> {
    let table = root.section("admin");
    let listen = table.parsed("listen", "an address such as \"127.0.0.1:9090\"", |text| {
        text.parse().ok()
    });
    let listen = listen.unwrap_or(DEFAULT_ADMIN);
    table.shows("listen", DEFAULT_ADMIN.to_string());
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
        let secret = entry.own_key("the access key");
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
    let hosts = table.list("hosts", "host names without a port", host_name);
    let state_dir = table.file("state_dir");
    if let Some(folder) = &state_dir {
        check_state_dir(&table, folder);
    }
    let audit_log = log_file(&table, "audit_log");
    table.finish().then_some(admin::Settings {
        listen,
        access_keys,
        hosts,
        state_dir,
        audit_log,
    })
}

fn host_name(text: &str) -> Option<String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!text.is_empty() && text.bytes().all(fine)).then(|| text.to_owned())
}

pub(super) fn cache(root: &Section<'_>) -> Option<Cache> {
    let table = root.section("cache");
    let memory = table.size_or("memory", DEFAULT_MEMORY);
    if memory < LEAST_MEMORY {
        table.problem(
            "memory",
            format!("{memory} bytes"),
            "at least \"8MiB\"",
            "1GiB holds about 500 segments of 2 MB",
        );
    }
    let share = memory / MAX_OBJECT_SHARE;
    let max_object = table.size_or("max_object", DEFAULT_MAX_OBJECT).min(share);
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let max_riders = table.integer_or("max_riders", 1..=10_000_000, DEFAULT_MAX_RIDERS) as usize;
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
    table.shows("access", "json");
    let file = log_file(&table, "access_file");
    let syslog = syslog(&table);
    if file.is_some() && syslog.is_some() {
        let hint = "remove one of them";
        table.problem("syslog", "beside access_file", "either of them", hint);
    }
    let sample_hits = table.integer_or("sample_hits", 1..=1_000_000, 1);
    let anonymise_ip = table.flag("anonymise_ip", true);
    table.finish().then_some(AccessLog {
        format: format.unwrap_or(LogFormat::Json),
        file,
        syslog,
        sample_hits: sample_hits as u32,
        anonymise_ip,
    })
}

pub(super) fn traces(root: &Section<'_>) -> Option<Option<Tracing>> {
    let table = root.section("traces");
    let form = "a URL such as \"http://127.0.0.1:4318\"; for TLS a collector on this machine";
    let collector = table.parsed("otlp", form, |text| {
        let uri: http::Uri = text.parse().ok()?;
        let plain = uri.scheme_str() == Some("http") && uri.query().is_none();
        plain.then_some(uri)
    });
    let sample = table.integer_or("sample", 1..=1_000_000, DEFAULT_TRACES) as u32;
    let tracing = collector.map(|collector| Tracing { collector, sample });
    table.finish().then_some(tracing)
}

fn syslog(table: &Section<'_>) -> Option<SyslogServer> {
    let form = "tcp://host:port or tls://host:port";
    let server = table.parsed("syslog", form, |text| {
        let (scheme, authority) = text.split_once("://")?;
        let tls = match scheme {
            "tcp" => false,
            "tls" => true,
            _ => return None,
        };
        let authority: http::uri::Authority = authority.parse().ok()?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        Some((tls, host, authority.port_u16()?))
    });
    let ca_file = table.file("syslog_ca_file");
    if let Some(Err(why)) = ca_file.as_deref().map(crate::listen::check_authorities) {
        let hint = "name the PEM file with the server's certificate authority";
        table.file_problem("syslog_ca_file", why, "a PEM file with certificates", hint);
    }
    server.map(|(tls, host, port)| SyslogServer {
        tls,
        host,
        port,
        ca_file,
    })
}

/// Whether takedowns, revocations and blocks can be read from a folder, and kept there.
fn check_state_dir(table: &Section<'_>, folder: &Path) {
    if let Some(why) = cannot_append(&folder.join(".check")) {
        let hint = "make the folder, and let the user that serves write there";
        table.file_problem("state_dir", why, "a folder that can be written to", hint);
        return;
    }
    let takedowns = crate::takedown::Takedowns::open(Some(folder)).err();
    let revocations = || crate::revocation::Revocations::open(Some(folder)).err();
    let blocks = || crate::block::Blocks::open(Some(folder)).err();
    if let Some(why) = takedowns.or_else(revocations).or_else(blocks) {
        let hint = "put the file back from a backup; where it cannot be read and is lost, write [] into it";
        table.file_problem("state_dir", why, "the lists as they were kept", hint);
    }
}

fn log_file(table: &Section<'_>, name: &'static str) -> Option<PathBuf> {
    let file = table.file(name);
    if let Some(why) = file.as_deref().and_then(cannot_append) {
        let hint = "make the folder, and let the user that serves write there";
        table.file_problem(name, why, "a file that can be appended to", hint);
    }
    file
}

/// Why a file cannot be appended to. One that was not there is not there
/// afterwards.
fn cannot_append(path: &Path) -> Option<String> {
    let there = path.exists();
    let opened = crate::private_file::append(path);
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
        table.file_problem(
            "country_database",
            why,
            "a MaxMind DB file with countries",
            "name the .mmdb file, or remove the key",
        );
    }
    table.finish().then_some(path)
}
