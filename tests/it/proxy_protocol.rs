//! Proxies that pass bytes on and say before them whom they speak for.

use std::time::Duration;

use rustls::RootCertStore;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::edge::{Connection, Setup, TestEdge};
use crate::frames::{END_HEADERS, END_STREAM, HEADERS, Http2, get, headers};
use crate::origin::{DevOrigin, DevOriginOptions};
use crate::tls::{BOTH, certify, over};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x12\x34\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/a.ts", &b"segment"[..], "video/mp2t");
    origin
}

fn setup(origin: &DevOrigin, peers: &str) -> Setup {
    let mut setup = Setup::s3(origin.addr());
    setup.token = "required = false\n".into();
    setup.listen += &format!("proxy_protocol = [{peers}]\nhead_timeout = \"500ms\"\n");
    setup.zone += "blocked_ips = [\"192.0.2.0/24\"]\n";
    setup
}

/// The status of a request behind these bytes; `None`: the connection ended.
async fn status_behind(edge: &TestEdge, bytes: &[u8]) -> Option<u16> {
    let mut connection = Connection::open(edge.http()).await;
    connection.write_if_open(bytes).await;
    let request = b"GET /a.ts HTTP/1.1\r\nhost: cdn.test\r\n\r\n";
    connection.write_if_open(request).await;
    let reply = connection.reply_or_end("GET").await;
    reply.map(|reply| reply.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_peer_says_whom_it_speaks_for_and_is_closed_where_it_does_not() {
    let origin = origin().await;
    let edge = setup(&origin, "\"127.0.0.0/8\"").start().await;
    let table = [
        ("version 1", V1, Some(403)),
        ("version 2", V2, Some(403)),
        ("itself", LOCAL, Some(200)),
        ("nobody known", b"PROXY UNKNOWN\r\n", Some(200)),
        ("nothing", b"", None),
        ("garbage", b"PROXY TCP4 here there\r\n", None),
    ];
    for (name, header, status) in table {
        assert_eq!(status_behind(&edge, header).await, status, "{name}");
    }
    // Half a header, and no more of it.
    let mut slow = Connection::open(edge.http()).await;
    slow.write(&V1[..20]).await;
    let end = tokio::time::timeout(Duration::from_secs(5), slow.reply_or_end("GET"));
    assert!(end.await.expect("it is not waited for").is_none());
    let series = "warren_connections_refused_total{limit=\"proxy_header\"}";
    assert_eq!(edge.metric(series).await, 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_of_who_is_not_listed_is_no_request() {
    let origin = origin().await;
    let edge = setup(&origin, "\"198.51.100.0/24\"").start().await;
    for (header, status) in [(V1, Some(400)), (V2, Some(400)), (b"", Some(200))] {
        assert_eq!(status_behind(&edge, header).await, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stands_before_tls_and_counts_for_every_stream() {
    let (origin, files) = (origin().await, TempDir::new().expect("a folder"));
    let (entry, certificate) = certify(files.path(), "cdn.test");
    let mut setup = setup(&origin, "\"127.0.0.0/8\"");
    setup.listen += "https = [\"127.0.0.1:0\"]\n";
    setup.server = format!("[tls]\ncertificates = [{entry}]\n");
    let edge = setup.start().await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    for (header, status) in [(V1, 403), (V2, 403), (LOCAL, 200)] {
        let address = edge.running.https[0];
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        stream.write_all(header).await.expect("sent");
        let stream = over(stream, &roots, "cdn.test", "h2", BOTH).await;
        let mut client = Http2::open(stream, &[]).await;
        let request = headers(1, END_HEADERS | END_STREAM, &get("/a.ts"));
        client.write(&request).await;
        let answer = client.until(|frame| frame.kind == HEADERS).await;
        assert_eq!(answer.and_then(|frame| frame.status()), Some(status));
    }
}
