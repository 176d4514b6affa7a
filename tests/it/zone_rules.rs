//! What a zone says at its door: sites, TLS, the viewer's address, some paths.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::edge::{Reply, Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions, Object, Reply as Answer, SeenRequest};
use crate::tls::{BOTH, certify, connect};

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/a.ts", &b"segment"[..], "video/mp2t");
    origin
}

/// An edge of a zone without tokens.
async fn edge(origin: &DevOrigin, zone: &str) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.token = "required = false\n".into();
    setup.zone += zone;
    setup.start().await
}

fn every<'r>(reply: &'r Reply, name: &str) -> Vec<&'r str> {
    let lines = reply.headers.iter();
    let lines = lines.filter(|(it, _)| it.eq_ignore_ascii_case(name));
    lines.map(|(_, value)| value.as_str()).collect()
}

const SITE: (&str, &str) = ("origin", "https://app.example");
const OTHER: (&str, &str) = ("origin", "https://evil.example");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_site_is_named_on_misses_hits_errors_and_preflights() {
    let origin = origin().await;
    let cors = "cors = { origins = [\"https://app.example\"], credentials = true, \
                headers = [\"Authorization\"], expose = [\"X-Own\"], max_age = \"1h\" }\n";
    let edge = edge(&origin, cors).await;
    for (path, status) in [
        ("/a.ts", 200),
        ("/a.ts", 200),
        ("/none.ts", 404),
        ("/%zz", 400),
    ] {
        for (site, named) in [(SITE, Some(SITE.1)), (OTHER, None)] {
            let reply = edge.send("GET", path, &[site]).await;
            assert_eq!(reply.status, status, "{path}");
            assert_eq!(reply.header("access-control-allow-origin"), named, "{path}");
            let credentials = named.map(|_| "true");
            let found = reply.header("access-control-allow-credentials");
            assert_eq!(found, credentials, "{path}");
            assert_eq!(every(&reply, "vary"), ["origin"], "{path}");
        }
    }
    let exposed = edge.send("GET", "/a.ts", &[SITE]).await;
    let exposed = exposed.header("access-control-expose-headers");
    assert!(
        exposed.is_some_and(|names| names.contains("CDN-RequestId") && names.ends_with("x-own"))
    );
    let preflight = edge.send("OPTIONS", "/a.ts", &[SITE]).await;
    assert_eq!(preflight.status, 204);
    let sent = preflight.header("access-control-allow-headers");
    assert!(
        sent.is_some_and(|names| names.starts_with("Range") && names.ends_with("authorization"))
    );
    assert_eq!(preflight.header("access-control-max-age"), Some("3600"));
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some(SITE.1)
    );
    let preflight = edge.send("OPTIONS", "/a.ts", &[OTHER]).await;
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    assert_eq!(origin.count("a.ts"), 1, "one object for all sites");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_origin_says_to_one_site_is_for_no_other() {
    let origin = origin().await;
    let echoed = |seen: &SeenRequest| {
        let site = seen.header("origin").unwrap_or("none").to_owned();
        let answer = Answer::new(200, "segment");
        let answer = answer.with_header("access-control-allow-origin", &site);
        let answer = answer.with_header("vary", "Origin");
        answer.with_header("access-control-allow-methods", "GET")
    };
    origin.on("/a.ts", Arc::new(echoed));
    let mut setup = Setup::http(origin.addr());
    setup.zone += "cors = \"origin\"\n";
    let edge = setup.start().await;
    for _ in 0..2 {
        for site in [SITE, OTHER] {
            let reply = edge.send("GET", "/a.ts", &[site]).await;
            assert_eq!(every(&reply, "access-control-allow-origin"), [site.1]);
            assert_eq!(reply.header("vary"), Some("Origin"), "caches on the way");
        }
    }
    assert_eq!(origin.count("a.ts"), 2, "one for each site");
    let preflight = edge.send("OPTIONS", "/a.ts", &[SITE]).await;
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("GET")
    );
    assert_eq!(every(&preflight, "access-control-allow-origin"), [SITE.1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_cors_nothing_of_it_is_said_whatever_the_origin_says() {
    let origin = origin().await;
    let open =
        |_: &SeenRequest| Answer::new(200, "x").with_header("access-control-allow-origin", "*");
    origin.on("/a.ts", Arc::new(open));
    let mut setup = Setup::http(origin.addr());
    setup.zone += "cors = false\n";
    setup.cache += "methods = \"any\"\n";
    let edge = setup.start().await;
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        let reply = edge.send(method, "/a.ts", &[SITE]).await;
        assert_eq!(reply.status, 200, "{method}");
        assert_eq!(
            reply.header("access-control-allow-origin"),
            None,
            "{method}"
        );
    }
}

/// Posters are for everybody, segments for who has a token.
const POSTERS: &str = "path = [{ match = [\"/posters/*\", \"*.jpg\"], token = false, ttl = \"7d\", \
                       headers = { \"X-Robots-Tag\" = \"noindex\" } }]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_may_be_public_in_a_zone_that_asks_for_tokens() {
    let origin = origin().await;
    for path in ["/media/posters/1.png", "/media/v/1.jpg", "/media/v/1.ts"] {
        let object = Object::new("bytes", "image/png");
        origin.put_object(path, object.with_cache_control("no-cache, max-age=5"));
    }
    let mut setup = Setup::s3(origin.addr());
    setup.zone += POSTERS;
    let edge = setup.start().await;
    let table = [
        ("/posters/1.png", 200),
        ("/v/1.jpg", 200),
        ("/v/1.ts", 403),
        ("/posters/../v/1.ts", 400),
        ("/posters/%2e%2e/v/1.ts", 400),
        ("/v/1.ts?a.jpg", 403),
        ("/v/1.ts%3fa.jpg", 404),
        ("/posters%2f1.png", 400),
    ];
    for (path, status) in table {
        assert_eq!(edge.send("GET", path, &[]).await.status, status, "{path}");
    }
    let reply = edge.send("GET", "/v/1.jpg", &[]).await;
    assert_eq!(reply.cache(), "HIT");
    assert_eq!(reply.header("x-robots-tag"), Some("noindex"));
    assert_eq!(
        reply.header("cache-control"),
        Some("public, max-age=604800")
    );
    edge.clock.advance(Duration::from_secs(6 * 86_400));
    assert_eq!(
        edge.send("GET", "/v/1.jpg", &[]).await.cache(),
        "HIT",
        "its own lifetime wins"
    );
    // A token that nobody asks for is no part of the path or the key.
    let reply = edge
        .send("GET", &signed(&edge.clock, "/v/1.jpg"), &[])
        .await;
    assert_eq!((reply.status, reply.cache()), (200, "HIT"));
    let reply = edge.send("GET", &signed(&edge.clock, "/v/1.ts"), &[]).await;
    assert_eq!((reply.status, reply.header("x-robots-tag")), (200, None));
}

async fn over_tls(edge: &TestEdge, roots: &RootCertStore) -> String {
    let mut stream = connect(edge.running.https[0], roots, "cdn.test", "http/1.1", BOTH).await;
    let request = b"GET /a.ts HTTP/1.1\r\nhost: cdn.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_are_sent_to_tls_and_told_to_stay_there() {
    let (origin, files) = (origin().await, TempDir::new().expect("a folder"));
    let (entry, certificate) = certify(files.path(), "cdn.test");
    let mut setup = Setup::s3(origin.addr());
    setup.token = "required = false\n".into();
    setup.listen += "https = [\"127.0.0.1:0\"]\n";
    setup.server = format!("[tls]\ncertificates = [{entry}]\n");
    setup.zone += "trusted_proxies = [\"127.0.0.1\"]\n\
                   https = { force = true, hsts = \"365d\", include_subdomains = true }\n";
    let edge = setup.start().await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let said = "strict-transport-security: max-age=31536000; includesubdomains\r\n";
    for _ in 0..2 {
        let answer = over_tls(&edge, &roots).await;
        assert!(
            answer.starts_with("http/1.1 200 ") && answer.contains(said),
            "{answer}"
        );
    }
    let reply = edge.send("GET", "/a.ts?x=1", &[]).await;
    assert_eq!(reply.status, 301);
    assert_eq!(reply.header("location"), Some("https://cdn.test/a.ts?x=1"));
    assert_eq!(
        reply.header("strict-transport-security"),
        None,
        "RFC 6797 §7.2"
    );
    // A trusted proxy has ended it.
    let reply = edge
        .get_with("/a.ts", &[("x-forwarded-proto", "https")])
        .await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("strict-transport-security").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_may_name_the_viewer_in_another_header() {
    let origin = origin().await;
    let zone = |trusted: &str| {
        format!(
            "trusted_proxies = [{trusted:?}]\nclient_ip_header = \"X-Viewer\"\n\
             blocked_ips = [\"192.0.2.0/24\"]\n"
        )
    };
    let table = [("127.0.0.1", 403), ("198.51.100.1", 200)];
    for (trusted, status) in table {
        let edge = edge(&origin, &zone(trusted)).await;
        let reply = edge
            .send("GET", "/a.ts", &[("x-viewer", "192.0.2.7")])
            .await;
        assert_eq!(reply.status, status, "{trusted}");
        let reply = edge
            .get_with("/a.ts", &[("x-forwarded-for", "192.0.2.7")])
            .await;
        assert_eq!(reply.status, 200, "{trusted}: another header");
    }
}
