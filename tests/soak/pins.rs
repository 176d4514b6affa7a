//! Viewers who take nothing: streams of HTTP/2 by the thousand and readers that
//! do not read, from one address and from many, and what they cost.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustls::RootCertStore;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::client::Connection;
use crate::edge::Setup;
use crate::edge_process::EdgeProcess;
use crate::frames::*;
use crate::origin::{DevOrigin, DevOriginOptions, Gate};
use crate::report::{Report, mib, ms, percentile};
use crate::tls::{BOTH, certify, over};

/// Addresses of a loopback device that are none of 127/8: the edge counts them.
const EDGE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const BYSTANDER: Ipv4Addr = Ipv4Addr::new(198, 18, 9, 9);
const NETWORK: &str =
    "ip link set lo up && ip route add local 198.18.0.0/16 dev lo && exec \"$0\" \"$@\"";

const CONNECTIONS: u8 = 200;
const STREAMS: u32 = 100;
/// Streams that were ended are opened anew so often.
const AGAIN: Duration = Duration::from_secs(3);
const MOST_GROWTH: u64 = 64 << 20;
const MOST_P99: Duration = Duration::from_millis(50);

/// Runs this program once more in a network of its own, and tells its exit
/// code; `None`: this machine gives none.
pub fn in_a_network_of_its_own() -> Option<u8> {
    let within = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", NETWORK]);
        command
    };
    let possible = within().arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        return None;
    }
    let again = within()
        .arg(std::env::current_exe().ok()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .status();
    let code = again.ok()?.code();
    Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2))
}

/// What the streams ask for.
#[derive(Debug, Clone, Copy)]
enum Streams {
    Hits,
    Passes,
    /// Of an origin that does not answer.
    Misses,
    /// 930 references to one header line.
    References,
    /// As many long header lines as may be.
    Lines,
}

#[derive(Debug, Clone, Copy)]
enum Addresses {
    One,
    Many,
}

impl Addresses {
    fn of(self, connection: u8) -> Ipv4Addr {
        match self {
            Addresses::One => Ipv4Addr::new(198, 18, 1, 1),
            Addresses::Many => Ipv4Addr::new(198, 18, 2, connection),
        }
    }
}

/// All of it, where the addresses are this program's.
pub async fn run(binary: &Path, hold: Duration, report: &mut Report) {
    for addresses in [Addresses::One, Addresses::Many] {
        for streams in [
            Streams::Hits,
            Streams::Passes,
            Streams::Misses,
            Streams::References,
            Streams::Lines,
        ] {
            let stage = Stage::start(binary).await;
            let mut attack = JoinSet::new();
            for n in 0..CONNECTIONS {
                let client = stage.http2(addresses.of(n), 0).await;
                attack.spawn(stall(client, streams, n, hold));
            }
            let case = format!("streams: {streams:?}, {addresses:?}");
            stage.watch(attack, hold, &case, report).await;
        }
        let stage = Stage::start(binary).await;
        let mut attack = JoinSet::new();
        for n in 0..CONNECTIONS {
            let stream = connect(addresses.of(n), stage.edge.address).await;
            attack.spawn(read_nothing(stream, n, hold));
        }
        let case = format!("HTTP/1.1: slow readers, {addresses:?}");
        stage.watch(attack, hold, &case, report).await;
        let stage = Stage::start(binary).await;
        let mut attack = JoinSet::new();
        for n in 0..CONNECTIONS {
            let stream = connect(addresses.of(n), stage.edge.address).await;
            attack.spawn(half_a_head(stream, hold));
        }
        let case = format!("HTTP/1.1: half-sent heads, {addresses:?}");
        stage.watch(attack, hold, &case, report).await;
        let stage = Stage::start(binary).await;
        let mut attack = JoinSet::new();
        for n in 0..CONNECTIONS {
            let client = stage.http2(addresses.of(n), 0).await;
            attack.spawn(async move {
                sleep(hold).await;
                drop(client);
                0
            });
        }
        let case = format!("idle TLS connections, {addresses:?}");
        stage.watch(attack, hold, &case, report).await;
    }
}

struct Stage {
    edge: EdgeProcess,
    https: SocketAddr,
    roots: RootCertStore,
    before: u64,
    _origin: DevOrigin,
    _held: Gate,
    _files: TempDir,
}

impl Stage {
    async fn start(binary: &Path) -> Self {
        let origin = DevOrigin::start(DevOriginOptions::plain()).await;
        let origin = origin.expect("the origin starts");
        origin.put("/a.ts", &b"segment"[..], "video/mp2t");
        origin.put_generated("/film.mp4", 80 << 20, 1);
        for n in 0..CONNECTIONS {
            origin.put_generated(&format!("/big-{n}.ts"), 8 << 20, 1);
        }
        let held = origin.hold("held.ts", None);
        let files = TempDir::new().expect("a folder");
        let (entry, certificate) = certify(files.path(), "one.test");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let mut setup = Setup::http(origin.addr());
        setup.listen =
            format!("http = [\"{EDGE}:0\"]\nhttps = [\"{EDGE}:0\"]\ndrain_delay = \"0s\"\n");
        setup.server = format!("[tls]\ncertificates = [{entry}]\n");
        let (edge, https) = EdgeProcess::start_tls(binary, &setup);
        let mut stage = Self {
            edge,
            https,
            roots,
            before: 0,
            _origin: origin,
            _held: held,
            _files: files,
        };
        // What the first of its sort costs is there, and the memory for bodies.
        drop(stage.http2(BYSTANDER, MAX_WINDOW).await);
        let big = (0..16).map(|n| format!("/big-{n}.ts"));
        for path in big.chain(["/a.ts".to_owned()]) {
            let mut viewer = Connection::of(connect(BYSTANDER, stage.edge.address).await);
            viewer.send("GET", &path, &[]).await;
            assert!(viewer.reply("GET").await.whole);
        }
        stage.edge.forget_peak();
        stage.before = stage.edge.resident();
        stage
    }

    async fn http2(&self, from: Ipv4Addr, window: u32) -> Http2 {
        let stream = connect(from, self.https).await;
        let stream = over(stream, &self.roots, "one.test", "h2", BOTH).await;
        Http2::open(stream, &[(INITIAL_WINDOW_SIZE, window)]).await
    }

    /// What the edge costs at the most meanwhile, and how somebody else is served.
    async fn watch(&self, attack: JoinSet<u64>, hold: Duration, case: &str, report: &mut Report) {
        let bystander = Bystander::begin(self.edge.address);
        sleep(hold).await;
        let mut waits = bystander.end().await;
        let ended: u64 = attack.join_all().await.into_iter().sum();
        let grown = self.edge.peak().saturating_sub(self.before);
        report.check(
            format!("{case}: memory, {ended} ended"),
            format!("≤ {} more", mib(MOST_GROWTH)),
            mib(grown),
            grown <= MOST_GROWTH,
        );
        let count = waits.len();
        let p99 = percentile(&mut waits, 0.99);
        report.check(
            format!("{case}: p99 of a bystander's {count}"),
            format!("≤ {}", ms(MOST_P99)),
            ms(p99),
            p99 <= MOST_P99,
        );
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = SocketAddr::from((IpAddr::V4(from), 0));
    socket.bind(from).expect("an address of ours");
    socket.connect(to).await.expect("the edge accepts")
}

/// The header block of a stream's request.
fn block(streams: Streams, connection: u8, stream: u32) -> Vec<u8> {
    match streams {
        Streams::Hits => get("/a.ts"),
        Streams::Passes => get("/film.mp4"),
        Streams::Misses => get(&format!("/{connection}-{stream}-held.ts")),
        Streams::References => {
            let stored = [&[0x40, 1, b'x', 1, b'y'][..], &[0xbe; 930]].concat();
            [get("/a.ts"), stored].concat()
        }
        Streams::Lines => [get("/a.ts"), field("x-any", &[b'x'; 100]).repeat(100)].concat(),
    }
}

/// Opens streams, takes nothing of them, and opens another for each that ends;
/// how many have.
async fn stall(mut client: Http2, streams: Streams, connection: u8, hold: Duration) -> u64 {
    let until = Instant::now() + hold;
    let mut next = 1;
    let mut open = move |count: u32| -> Vec<u8> {
        let first = next;
        next += 2 * count;
        let ids = (first..next).step_by(2);
        ids.flat_map(|id| headers(id, WHOLE, &block(streams, connection, id)))
            .collect()
    };
    client.write(&open(STREAMS)).await;
    let (mut ended, mut again) = (0, 0);
    let mut refill = Instant::now() + AGAIN;
    loop {
        match timeout_at(refill.min(until), client.frame()).await {
            Ok(Some(frame)) if frame.kind == RST_STREAM || frame.ends_stream() => again += 1,
            Ok(Some(_)) => {}
            Ok(None) => return ended + u64::from(again),
            Err(_) if Instant::now() >= until => return ended + u64::from(again),
            Err(_) => {
                client.write(&open(again)).await;
                ended += u64::from(again);
                again = 0;
                refill += AGAIN;
            }
        }
    }
}

async fn read_nothing(stream: TcpStream, connection: u8, hold: Duration) -> u64 {
    let until = Instant::now() + hold;
    let mut viewer = Connection::of(stream);
    viewer
        .send("GET", &format!("/big-{connection}.ts"), &[])
        .await;
    sleep_until(until).await;
    0
}

async fn half_a_head(stream: TcpStream, hold: Duration) -> u64 {
    let until = Instant::now() + hold;
    let mut viewer = Connection::of(stream);
    let half = format!("GET /a.ts HTTP/1.1\r\nX-Any: {}", "x".repeat(30_000));
    viewer.write(half.as_bytes()).await;
    sleep_until(until).await;
    0
}

/// Somebody else, who asks all the while on one connection.
struct Bystander {
    until: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    fn begin(address: SocketAddr) -> Self {
        let until = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&until);
        let task = tokio::spawn(async move {
            let mut waits = Vec::new();
            let mut viewer = Connection::of(connect(BYSTANDER, address).await);
            while !ended.load(Relaxed) {
                let asked = Instant::now();
                viewer.send("GET", "/a.ts", &[]).await;
                let reply = viewer.reply("GET").await;
                assert!(reply.whole && reply.status == 200, "{reply:?}");
                waits.push(asked.elapsed());
                sleep(Duration::from_millis(10)).await;
            }
            waits
        });
        Self { until, task }
    }

    async fn end(self) -> Vec<Duration> {
        self.until.store(true, Relaxed);
        self.task.await.expect("each answer was right")
    }
}
