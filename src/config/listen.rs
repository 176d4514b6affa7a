//! The `[listen]` table: where viewers are served, and within which limits.

use std::net::SocketAddr;
use std::time::Duration;

use super::section::Section;
use crate::admin;
use crate::edge::Listen;
use crate::listen::Certificate;

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
/// A quarter of an origin's places.
const DEFAULT_MAX_PASSES_PER_IP: u64 = 64;
/// 20 to 60 KiB each, by what their heads have.
const DEFAULT_MAX_STREAMS: u64 = 512;
const DEFAULT_MAX_STREAMS_PER_IP: u64 = 128;

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
    let proxy_protocol = table.networks("proxy_protocol");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = table.integer_or("threads", 1..=1024, cores as u64) as usize;
    let keepalive = table.duration_or("keepalive", DEFAULT_KEEPALIVE);
    if keepalive < Duration::from_secs(1) {
        table.problem(
            "keepalive",
            format!("{keepalive:?}"),
            "at least \"1s\"",
            "30s suits players",
        );
    }
    let head_timeout = table.duration_or("head_timeout", DEFAULT_HEAD_TIMEOUT);
    let number = |name, range, default| table.integer_or(name, range, default) as usize;
    let min_send_rate = number("min_send_rate", 1..=1_000_000, DEFAULT_MIN_SEND_RATE);
    let max_target = number("max_target", 256..=65_536, DEFAULT_MAX_TARGET);
    let count = |name, default| {
        let count = table.integer_or(name, 1..=10_000_000, default);
        usize::try_from(count).unwrap_or(usize::MAX)
    };
    let max_connections = count("max_connections", DEFAULT_MAX_CONNECTIONS);
    let max_connections_per_ip = count("max_connections_per_ip", DEFAULT_MAX_CONNECTIONS_PER_IP);
    let max_heads = count("max_heads", DEFAULT_MAX_HEADS);
    let max_held_per_ip = count("max_held_per_ip", DEFAULT_MAX_HELD_PER_IP);
    let max_passes_per_ip = count("max_passes_per_ip", DEFAULT_MAX_PASSES_PER_IP);
    let max_streams = count("max_streams", DEFAULT_MAX_STREAMS);
    let max_streams_per_ip = count("max_streams_per_ip", DEFAULT_MAX_STREAMS_PER_IP);
    let drain_delay = table.duration_or("drain_delay", DEFAULT_DRAIN_DELAY);
    let grace_period = table.duration_or("grace_period", DEFAULT_GRACE);
    table.finish().then_some(Listen {
        http,
        https,
        proxy_protocol,
        threads,
        keepalive,
        head_timeout,
        min_send_rate,
        max_target,
        max_connections,
        max_connections_per_ip,
        max_heads,
        max_held_per_ip,
        max_passes_per_ip,
        max_streams,
        max_streams_per_ip,
        drain_delay,
        grace_period,
        lane: true,
    })
}

/// Whether the machine has an address: any port of it can be had then, but for
/// those that somebody has.
pub(super) fn check_address(table: &Section<'_>, key: &'static str, address: SocketAddr) {
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
pub(super) fn check_listeners(root: &Section<'_>, listen: &Listen, admin: &admin::Settings) {
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
