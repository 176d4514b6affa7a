//! Where an origin's objects are: behind a path, a redirect, another name.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::edge::{Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Reply as Answer, SeenRequest};
use crate::tls::certify;

async fn plain() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts");
    origin.put("/a.ts", "segment", "video/mp2t");
    origin
}

fn leads(origin: &DevOrigin, path: &str, status: u16, location: String) {
    let redirect =
        move |_: &SeenRequest| Answer::new(status, "").with_header("Location", &location);
    origin.on(path, Arc::new(redirect));
}

async fn get(edge: &TestEdge, path: &str) -> (u16, Vec<u8>) {
    let reply = edge.send("GET", path, &[]).await;
    (reply.status, reply.body.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_followed_to_named_hosts_and_takes_no_secret_there() {
    let (origin, store) = (plain().await, plain().await);
    for status in [301, 302, 303, 307, 308] {
        let to = format!("http://127.0.0.1:{}/a.ts?sig=1", store.addr().port());
        leads(&origin, &format!("/{status}.ts"), status, to);
    }
    leads(&origin, "/near.ts", 302, "a.ts".into());
    leads(
        &origin,
        "/named.ts",
        302,
        "http://packager.internal/a.ts".into(),
    );
    leads(&origin, "/far.ts", 302, "http://127.0.0.2:9/a.ts".into());
    leads(&origin, "/circle.ts", 302, "/circle.ts".into());
    let mut setup = Setup::http(origin.addr());
    setup.origin += &format!(
        "host = \"packager.internal\"\nheaders = {{ \"X-Origin-Key\" = \"secret\" }}\nredirects = [\"127.0.0.1:{}\"]\n",
        store.addr().port()
    );
    setup.cache += "policy = \"origin\"\n";
    let edge = setup.start().await;
    let viewers = [
        ("cookie", "a=1"),
        ("authorization", "Bearer x"),
        ("x-more", "1"),
    ];
    for status in [301, 302, 303, 307, 308] {
        let path = format!("/{status}.ts");
        let reply = edge.send("GET", &path, &viewers).await;
        assert_eq!(
            (reply.status, &reply.body[..]),
            (200, &b"segment"[..]),
            "{status}"
        );
    }
    for seen in store.requests() {
        assert_eq!(seen.query(), Some("sig=1"));
        for secret in ["x-origin-key", "cookie", "authorization"] {
            assert_eq!(seen.header(secret), None, "{secret}");
        }
        assert_eq!(seen.header("x-more"), Some("1"));
        assert_eq!(seen.header("host"), Some(&*store.addr().to_string()));
    }
    assert_eq!(store.count("a.ts"), 5);
    assert_eq!(get(&edge, "/near.ts").await.0, 200);
    assert_eq!(get(&edge, "/named.ts").await.0, 200);
    let hosts = origin.requests();
    let hosts = hosts.iter().filter_map(|seen| seen.header("host"));
    assert!(hosts.into_iter().all(|host| host == "packager.internal"));
    let near = origin
        .requests()
        .into_iter()
        .find(|seen| seen.path() == "/a.ts");
    assert_eq!(
        near.unwrap().header("x-origin-key"),
        Some("secret"),
        "its own host"
    );
    assert_eq!(get(&edge, "/far.ts").await.0, 502);
    assert_eq!(get(&edge, "/circle.ts").await.0, 502);
    assert_eq!(origin.count("circle.ts"), 6, "five are followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_of_a_store_takes_no_signature_to_another_host() {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let store = plain().await;
    let to = format!("http://127.0.0.1:{}/a.ts", store.addr().port());
    leads(&origin, "/media/a.ts", 307, to);
    let mut setup = Setup::s3(origin.addr());
    setup.token = "required = false\n".into();
    setup.origin += "redirects = [\"127.0.0.1\"]\n";
    let edge = setup.start().await;
    assert_eq!(get(&edge, "/a.ts").await, (200, b"segment".to_vec()));
    let seen = store.requests();
    let seen = seen.iter().find(|seen| seen.path() == "/a.ts").unwrap();
    let signed = |name: &str| seen.header(name).is_some();
    assert!(!signed("authorization") && !signed("x-amz-date"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_of_a_store_leads_to_an_object_of_the_bucket_or_nowhere() {
    let origin = DevOrigin::start(DevOriginOptions {
        anonymous_buckets: vec!["media".into(), "other".into()],
        ..DevOriginOptions::default()
    })
    .await
    .expect("the origin starts");
    for key in ["/media/f/w/b.ts", "/media/out.ts", "/other/f/b.ts"] {
        origin.put(key, "segment", "video/mp2t");
    }
    let table = [
        ("/media/f/w/b.ts", true),
        ("w/b.ts", true),
        ("/media/?list-type=2&prefix=", false),
        ("/media/f/", false),
        ("/media/f/w/b.ts?acl", false),
        ("?acl", false),
        ("/media/f//", false),
        ("/media/f/../out.ts", false),
        ("/media/f/%2e%2e/out.ts", false),
        ("/media/out.ts", false),
        ("/other/f/b.ts", false),
    ];
    for (number, (location, _)) in table.iter().enumerate() {
        let from = format!("/media/f/r{number}.ts");
        leads(&origin, &from, 307, (*location).to_owned());
    }
    let mut setup = Setup::s3(origin.addr());
    setup.token = "required = false\n".into();
    setup.origin += "redirects = [\"127.0.0.1\"]\nprefix = \"/f\"\n";
    let edge = setup.start().await;
    for (number, (location, good)) in table.into_iter().enumerate() {
        let before = origin.requests().len();
        let (status, body) = get(&edge, &format!("/r{number}.ts")).await;
        assert_eq!(status, if good { 200 } else { 502 }, "{location}");
        assert!(!good || body == b"segment", "{location}");
        let asked = origin.requests().len() - before;
        assert_eq!(asked, 1 + usize::from(good), "{location}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_follows_a_redirect_unless_the_zone_says_so() {
    let origin = plain().await;
    leads(&origin, "/b.ts", 302, "/a.ts".into());
    let edge = Setup::http(origin.addr()).start().await;
    assert_eq!(get(&edge, "/b.ts").await.0, 502);
    assert_eq!(origin.count("a.ts"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_may_have_a_path_that_stands_before_everything() {
    let origin = DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts");
    origin.put("/base/v 1/folder/a.ts", "segment", "video/mp2t");
    let upload = |_: &SeenRequest| Answer::new(204, "");
    origin.on("/base/v%201/folder/up", Arc::new(upload));
    let mut setup = Setup::http(origin.addr());
    setup.origin = format!(
        "kind = \"http\"\nendpoints = [\"http://{}/base/v%201/\"]\nprefix = \"/folder\"\n",
        origin.addr()
    );
    setup.cache += "methods = \"any\"\n";
    let edge = setup.start().await;
    assert_eq!(get(&edge, "/a.ts").await, (200, b"segment".to_vec()));
    assert_eq!(edge.send("POST", "/up", &[]).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_may_be_told_the_viewers_host_and_answers_for_it_alone() {
    let origin = DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("the origin starts");
    let echo = |seen: &SeenRequest| {
        let told = seen.header("x-forwarded-host").unwrap_or("none");
        let host = seen.header("host").unwrap_or("none");
        Answer::new(200, format!("{host} {told}"))
    };
    origin.on("/a.ts", Arc::new(echo));
    let hosts = ["one.test", "ONE.test:80", "two.test."];
    for (more, want) in [
        (
            "",
            [
                "one.test one.test",
                "one.test one.test",
                "two.test two.test",
            ],
        ),
        ("host = \"p\"\n", ["p one.test", "p one.test", "p two.test"]),
    ] {
        let mut setup = Setup::http(origin.addr());
        setup.origin += "forward_host = true\n";
        setup.origin += more;
        let edge = setup.start().await;
        for (host, want) in hosts.iter().zip(want) {
            let reply = edge.send("GET", "/a.ts", &[("Host", host)]).await;
            assert_eq!(String::from_utf8_lossy(&reply.body), want, "{host}");
        }
    }
    assert_eq!(origin.count("a.ts"), 4, "two hosts, two edges");
}

/// TLS in front of an origin, with a certificate for one name.
async fn behind_tls(origin: &DevOrigin, folder: &Path, name: &str) -> std::net::SocketAddr {
    let (_, certificate) = certify(folder, name);
    let key = folder.join(format!("{name}.key"));
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let (acceptor, to) = (TlsAcceptor::from(Arc::new(config)), origin.addr());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (near, far) = (acceptor.accept(stream).await, TcpStream::connect(to).await);
                if let (Ok(mut near), Ok(mut far)) = (near, far) {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origins_certificate_may_be_for_another_name_than_the_endpoints() {
    let (origin, files) = (plain().await, TempDir::new().expect("a folder"));
    let address = behind_tls(&origin, files.path(), "store.internal").await;
    let ca_file = files.path().join("store.internal.pem");
    for (name, status) in [
        ("tls_name = \"store.internal\"\n", 200),
        ("", 502),
        ("tls_name = \"other.internal\"\n", 502),
    ] {
        let mut setup = Setup::http(origin.addr());
        setup.origin = format!(
            "kind = \"http\"\nendpoints = [\"https://{address}\"]\nca_file = {ca_file:?}\n{name}"
        );
        let edge = setup.start().await;
        assert_eq!(get(&edge, "/a.ts").await.0, status, "{name}");
    }
}
