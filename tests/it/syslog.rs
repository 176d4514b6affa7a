//! The access log at a syslog server: RFC 5424 messages with their lengths, over
//! TCP and TLS, and none lost while the server is away.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::edge::{Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};
use crate::tls::certify;

async fn edge(log: String) -> (TestEdge, DevOrigin) {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/v/a.ts", vec![7; 5_000], "video/mp2t");
    let mut setup = Setup::s3(origin.addr());
    setup.log = log;
    (setup.start().await, origin)
}

/// One message: its header's fields, and the line.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<String>, Value) {
    let read = async {
        let mut length = 0;
        loop {
            match stream.read_u8().await.expect("a length") {
                b' ' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await.expect("a message");
        String::from_utf8(text).expect("text")
    };
    let text = tokio::time::timeout(Duration::from_secs(20), read).await;
    let text = text.expect("a message in time");
    let (head, line) = text.split_once(" - ").expect("no structured data");
    let fields = head.split(' ').map(str::to_owned).collect();
    (fields, serde_json::from_str(line).expect("a line of JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_is_a_message_also_those_from_before_the_server_was_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (edge, _origin) = edge(format!("access = \"json\"\nsyslog = \"tcp://{address}\"\n")).await;
    assert_eq!(edge.get("/v/a.ts").await.status, 200);
    edge.settled().await;
    edge.running.node.log.flush();
    let listener = TcpListener::bind(address).await.expect("the port again");
    // The first attempt has failed; the next one is due in a second.
    edge.clock.advance(Duration::from_secs(2));
    assert_eq!(edge.get("/v/a.ts").await.status, 200);
    let (mut stream, _) = listener.accept().await.expect("a connection");
    for cache in ["MISS", "HIT"] {
        let (fields, line) = message(&mut stream).await;
        assert_eq!(
            (fields[0].as_str(), fields[3].as_str()),
            ("<134>1", "warren")
        );
        assert!(
            fields[1].ends_with('Z') && fields[5] == "access",
            "{fields:?}"
        );
        assert_eq!(line["cache"], cache);
    }
    // It goes, and what is logged meanwhile is sent to its successor.
    drop(stream);
    let mut seen = Vec::new();
    while !seen.contains(&404) {
        assert_eq!(edge.get("/v/none.ts").await.status, 404);
        edge.clock.advance(Duration::from_secs(31));
        let accepted = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
        if let Ok(Ok((mut stream, _))) = accepted {
            let (_, line) = message(&mut stream).await;
            seen.push(line["status"].as_u64().unwrap_or_default());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_servers_name_is_checked() {
    let files = TempDir::new().expect("a folder");
    let (_, certificate) = certify(files.path(), "localhost");
    let key = files.path().join("localhost.key");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let ca = files.path().join("localhost.pem").display().to_string();
    let log = |host: &str| {
        format!("access = \"json\"\nsyslog = \"tls://{host}:{port}\"\nsyslog_ca_file = {ca:?}\n")
    };
    let (named, _origin) = edge(log("localhost")).await;
    assert_eq!(named.get("/v/a.ts").await.status, 200);
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut stream = acceptor.accept(stream).await.expect("a handshake");
    assert_eq!(message(&mut stream).await.1["status"], 200);
    drop(named);
    let (other, _origin) = edge(log("127.0.0.1")).await;
    assert_eq!(other.get("/v/a.ts").await.status, 200);
    let (stream, _) = listener.accept().await.expect("a connection");
    assert!(acceptor.accept(stream).await.is_err(), "another name");
}
