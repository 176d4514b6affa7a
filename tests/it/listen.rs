//! TLS: HTTP/1.1 and HTTP/2, certificates by name, both versions; and what a
//! cut pull looks like over HTTP/2.

use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use rustls::{RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::edge::{Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions, Fault, Object};
use crate::tls::{self, BOTH, certify};
use warren::listen::{Certificate, Certificates};

/// Certificates for two names, and an edge that has them.
struct Tls {
    setup: Setup,
    edge: TestEdge,
    origin: DevOrigin,
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
    files: TempDir,
}

async fn start() -> Tls {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let files = TempDir::new().expect("a folder");
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    let mut entries = Vec::new();
    for name in ["one.test", "*.two.test"] {
        let (entry, certificate) = certify(files.path(), name);
        entries.push(entry);
        roots.add(certificate.clone()).expect("a root");
        certificates.push(certificate);
    }
    let mut setup = Setup::s3(origin.addr());
    setup.listen = "https = [\"127.0.0.1:0\"]\n".into();
    setup.server = format!("[tls]\ncertificates = [{}]\n", entries.join(", "));
    let edge = setup.start().await;
    Tls {
        setup,
        edge,
        origin,
        roots,
        certificates,
        files,
    }
}

impl Tls {
    fn address(&self) -> SocketAddr {
        self.edge.running.https[0]
    }

    async fn connect(
        &self,
        name: &str,
        alpn: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsStream<TcpStream> {
        tls::connect(self.address(), &self.roots, name, alpn, versions).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let tls = start().await;
    for (name, index) in [("one.test", 0), ("cdn.two.test", 1)] {
        let stream = tls.connect(name, "http/1.1", BOTH).await;
        let chain = stream.get_ref().1.peer_certificates().expect("a chain");
        assert_eq!(chain[0], tls.certificates[index], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_brings_renewed_certificates_and_leaves_connections_alone() {
    let mut tls = start().await;
    tls.origin.put("/media/a.ts", &b"segment"[..], "video/mp2t");
    let mut before = tls.connect("one.test", "http/1.1", BOTH).await;
    let (_, renewed) = certify(tls.files.path(), "one.test");
    tls.roots.add(renewed.clone()).expect("a root");
    let done = tls.edge.running.reload(tls.setup.config());
    let done = done.expect("reloaded");
    assert!(done.needs_restart.is_empty(), "{done:?}");
    let after = tls.connect("one.test", "http/1.1", BOTH).await;
    let chain = after.get_ref().1.peer_certificates().expect("a chain");
    assert_eq!(chain[0], renewed);
    let target = signed(&tls.edge.clock, "/a.ts");
    let request = format!("GET {target} HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n");
    before.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _ = before.read_to_end(&mut answer).await;
    assert!(String::from_utf8_lossy(&answer).ends_with("segment"));

    let pem = tls.files.path().join("one.test.pem");
    let series = format!(
        "warren_certificate_expiry_timestamp_seconds{{file=\"{}\"}}",
        pem.display()
    );
    let now = warren::clock::unix_seconds(tls.edge.clock.wall()) as f64;
    assert!(tls.edge.metric(&series).await > now);

    // What `check` and a start warn of, a reload warns of.
    tls.setup.zone = "hostnames = [\"one.test\", \"three.test\"]\n".into();
    let done = tls.edge.running.reload(tls.setup.config());
    let warnings = done.expect("reloaded").warnings.join("; ");
    assert!(warnings.contains("three.test"), "{warnings}");
    // Once, and not with each reload after it.
    let again = tls
        .edge
        .running
        .reload(tls.setup.config())
        .expect("reloaded");
    assert!(
        !again.warnings.join("; ").contains("three.test"),
        "{again:?}"
    );
    assert!(again.warned_before > 0, "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http11_is_served_over_tls_12_and_13() {
    let tls = start().await;
    tls.origin.put("/media/a.ts", &b"segment"[..], "video/mp2t");
    for version in BOTH {
        let mut stream = tls.connect("one.test", "http/1.1", &[*version]).await;
        let target = signed(&tls.edge.clock, "/a.ts");
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        // The edge may end the connection without close_notify.
        let _ = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with("segment"),
            "{version:?}: {text}"
        );
    }
}

/// Status, headers and the body, or the error that cut it.
type Answer = (u16, http::HeaderMap, Result<Vec<u8>, h2::Error>);

async fn read(response: http::Response<h2::RecvStream>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let end = loop {
        match body.data().await {
            None => break Ok(bytes),
            Some(Err(error)) => break Err(error),
            Some(Ok(part)) => {
                body.flow_control()
                    .release_capacity(part.len())
                    .expect("capacity");
                bytes.extend_from_slice(&part);
            }
        }
    };
    (head.status.as_u16(), head.headers, end)
}

async fn h2_get(tls: &Tls, targets: &[String]) -> Vec<Answer> {
    h2_get_then(tls, targets, || ()).await
}

/// Asks for everything at once, and does something when all heads are there.
async fn h2_get_then(tls: &Tls, targets: &[String], then: impl FnOnce()) -> Vec<Answer> {
    let stream = tls.connect("one.test", "h2", BOTH).await;
    let (client, connection) = h2::client::handshake(stream)
        .await
        .expect("an HTTP/2 handshake");
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await.expect("ready");
    let asked = targets.iter().map(|target| {
        let uri = format!("https://one.test{target}");
        let request = http::Request::get(uri).body(()).expect("a request");
        client.send_request(request, true).expect("sent").0
    });
    let mut reading = Vec::new();
    for response in asked.collect::<Vec<_>>() {
        // All bodies are read at once: they share the connection's window.
        reading.push(tokio::spawn(read(response.await.expect("a head"))));
    }
    then();
    let mut out = Vec::new();
    for answer in reading {
        out.push(answer.await.expect("the stream was read"));
    }
    driver.abort();
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_of_one_http2_connection_get_their_own_bodies() {
    let tls = start().await;
    let targets: Vec<String> = (0..40u8)
        .map(|i| {
            tls.origin
                .put(&format!("/media/s{i}.ts"), vec![i; 100_000], "video/mp2t");
            signed(&tls.edge.clock, &format!("/s{i}.ts"))
        })
        .collect();
    for (i, (status, headers, body)) in h2_get(&tls, &targets).await.into_iter().enumerate() {
        assert_eq!(status, 200);
        assert_eq!(headers["cdn-cache"], "MISS");
        assert!(
            body.expect("a whole body")
                .iter()
                .all(|byte| usize::from(*byte) == i),
            "stream {i}"
        );
    }
    for (status, headers, _) in h2_get(&tls, &targets[..3]).await {
        assert_eq!(
            (status, headers["cdn-cache"].to_str().ok()),
            (200, Some("HIT"))
        );
    }
    let refused = h2_get(&tls, &["/s1.ts".to_owned()]).await;
    assert_eq!(refused[0].0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_pull_resets_the_stream_and_leaves_the_connection() {
    let tls = start().await;
    // With a weak ETag it cannot go on.
    let object = Object::new(vec![1; 900_000], "video/mp2t").with_etag("W/\"1\"");
    tls.origin.put_object("/media/cut.ts", object);
    tls.origin
        .put("/media/whole.ts", vec![2; 900_000], "video/mp2t");
    tls.origin
        .fault_times("/cut.ts", 1, Fault::CloseAfter { bytes: 500_000 });
    let targets = [
        signed(&tls.edge.clock, "/cut.ts"),
        signed(&tls.edge.clock, "/whole.ts"),
    ];
    // A cut that came before the head had left would take the head with it.
    let gate = tls.origin.hold("/cut.ts", Some(400_000));
    let answers = h2_get_then(&tls, &targets, || gate.release()).await;
    assert_eq!(answers[0].0, 200);
    let reset = answers[0].2.as_ref().is_err_and(h2::Error::is_reset);
    assert!(reset, "a cut body is no whole one");
    assert_eq!(
        answers[1]
            .2
            .as_ref()
            .map(Vec::len)
            .expect("the other stream is whole"),
        900_000
    );
    // Nothing of it was stored.
    let again = h2_get(&tls, &targets[..1]).await;
    assert_eq!(again[0].1["cdn-cache"], "MISS");
    assert_eq!(
        again[0].2.as_ref().map(Vec::len).expect("whole now"),
        900_000
    );
}

#[test]
fn certificates_that_end_and_that_are_for_others_are_told_of() {
    let folder = TempDir::new().expect("a folder");
    let stem = folder.path().join("cdn.test");
    certify(folder.path(), "cdn.test");
    let pair = [Certificate {
        cert: stem.with_extension("test.pem"),
        key: stem.with_extension("test.key"),
    }];
    let all = Certificates::load(&pair).expect("sound").expect("one");
    let ends = all.expiries[0].1;
    let doubts = |name, now| all.doubts([name, "*"].into_iter(), now);
    assert!(doubts("cdn.test", ends - 20 * 86_400).is_empty());
    let soon = doubts("cdn.test", ends - 5 * 86_400);
    assert!(
        soon.len() == 1 && soon[0].ends_with("ends in 5 days"),
        "{soon:?}"
    );
    let ended = doubts("cdn.test", ends + 3 * 86_400);
    assert!(ended[0].ends_with("has ended 3 days ago"), "{ended:?}");
    let foreign = doubts("other.test", 0);
    assert_eq!(foreign, ["tls.certificates: none is for other.test"]);
}
