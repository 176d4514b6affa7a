//! HTTP/2, frame by frame: what RFC 9113 and RFC 7541 ask of a server, and what
//! an attacker may try.

mod attack;
mod case;
mod definitions;
mod floods;
mod flow;
mod framing;
mod hpack;
mod messages;
mod pins;
mod readers;
mod requests;
mod resets;
mod streams;

use std::net::SocketAddr;

use rustls::RootCertStore;
use tempfile::TempDir;

use crate::edge::{Setup, TestEdge};
use crate::frames::{END_HEADERS, Http2, WHOLE, get, headers};
use crate::origin::{DevOrigin, DevOriginOptions, Gate};
use crate::tls::{BOTH, certify, connect};

/// Where an HTTP/2 client finds an edge.
struct Door {
    address: SocketAddr,
    roots: RootCertStore,
}

impl Door {
    async fn open(&self) -> Http2 {
        self.open_with(&[]).await
    }

    /// A connection with settings of the client's own.
    async fn open_with(&self, settings: &[(u16, u32)]) -> Http2 {
        Http2::open(self.tls().await, settings).await
    }

    /// A connection on which nothing has been said.
    async fn silent(&self) -> Http2 {
        Http2::silent(self.tls().await)
    }

    async fn tls(&self) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        connect(self.address, &self.roots, "one.test", "h2", BOTH).await
    }
}

/// An origin, and the configuration of an edge before it that speaks HTTP/2.
struct Ground {
    origin: DevOrigin,
    setup: Setup,
    roots: RootCertStore,
    _files: TempDir,
}

impl Ground {
    async fn new() -> Self {
        let origin = DevOrigin::start(DevOriginOptions::plain())
            .await
            .expect("the origin starts");
        origin.put("/a.ts", &b"segment"[..], "video/mp2t");
        let files = TempDir::new().expect("a folder");
        let (entry, certificate) = certify(files.path(), "one.test");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let mut setup = Setup::http(origin.addr());
        setup.listen.push_str("https = [\"127.0.0.1:0\"]\n");
        // What is held is held for as long as the test wants.
        setup.origin.push_str("first_byte_timeout = \"60s\"\n");
        setup.server = format!("[tls]\ncertificates = [{entry}]\n");
        Self {
            origin,
            setup,
            roots,
            _files: files,
        }
    }

    fn door(&self, address: SocketAddr) -> Door {
        let roots = self.roots.clone();
        Door { address, roots }
    }
}

/// An edge in this process. A request for `/held.ts` is not answered.
struct Edge {
    ground: Ground,
    edge: TestEdge,
    door: Door,
    held: Gate,
}

impl Edge {
    async fn start() -> Self {
        let ground = Ground::new().await;
        ground.origin.put("/held.ts", &b"held"[..], "video/mp2t");
        let held = ground.origin.hold("/held.ts", None);
        let edge = ground.setup.start().await;
        let door = ground.door(edge.running.https[0]);
        Self {
            ground,
            edge,
            door,
            held,
        }
    }
}

/// A request that waits for the origin: its stream stays half-closed.
fn held(stream: u32) -> Vec<u8> {
    headers(stream, WHOLE, &get("/held.ts"))
}

/// The same, with a body to come: its stream stays open.
fn open(stream: u32) -> Vec<u8> {
    headers(stream, END_HEADERS, &get("/held.ts"))
}

fn whole(stream: u32) -> Vec<u8> {
    headers(stream, WHOLE, &get("/a.ts"))
}
