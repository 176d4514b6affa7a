//! Interim answers (1xx) of an origin, under `policy = "origin"`.

use crate::client::Connection;
use crate::edge::Setup;
use crate::origin::{DevOrigin, DevOriginOptions, Fault, FaultRule, Object};

async fn origin() -> DevOrigin {
    let options = DevOriginOptions {
        s3: false,
        ..DevOriginOptions::default()
    };
    let origin = DevOrigin::start(options).await.expect("it starts");
    for (path, rule) in [("/stored", "max-age=60"), ("/passes", "no-store")] {
        let text = format!(
            "HTTP/1.1 100 Continue\r\n\r\n\
             HTTP/1.1 102 Processing\r\nx-step: 1\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nset-cookie: a=b\r\n\
             connection: x-own\r\nserver: other\r\n\r\n\
             HTTP/1.1 200 OK\r\ncache-control: {rule}\r\ncontent-length: 2\r\n\r\nok"
        );
        let fault = Fault::Verbatim {
            text,
            stays_open: false,
        };
        origin.add_fault(FaultRule {
            path: path.into(),
            times: None,
            fault,
        });
    }
    origin
}

/// Every head of the answer to one request, as status and lines.
async fn heads(connection: &mut Connection, target: &str) -> Vec<(u16, Vec<(String, String)>)> {
    connection.send("GET", target, &[]).await;
    let mut heads = Vec::new();
    loop {
        let (status, lines) = connection.head().await;
        let last = status >= 200;
        heads.push((status, lines));
        if last {
            assert_eq!(connection.exactly(2).await, (b"ok".to_vec(), true));
            return heads;
        }
    }
}

fn statuses(heads: &[(u16, Vec<(String, String)>)]) -> Vec<u16> {
    heads.iter().map(|(status, _)| *status).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_are_passed_on_over_http_1_1_and_stored_with_nothing() {
    let origin = origin().await;
    for lane in [true, false] {
        let mut setup = Setup::http(origin.addr());
        setup.cache = "policy = \"origin\"\n".into();
        setup.lane = lane;
        let edge = setup.start().await;
        let mut connection = Connection::open(edge.http()).await;
        for target in ["/stored", "/passes", "/passes"] {
            let told = heads(&mut connection, target).await;
            assert_eq!(statuses(&told), [102, 103, 200], "{target}, lane: {lane}");
            let hints = told[1]
                .1
                .iter()
                .map(|(name, value)| format!("{name}: {value}").to_lowercase());
            assert_eq!(hints.collect::<Vec<_>>(), ["link: </a.css>; rel=preload"]);
        }
        let hit = heads(&mut connection, "/stored").await;
        assert_eq!(statuses(&hit), [200], "lane: {lane}");
        assert!(!hit[0].1.iter().any(|(name, _)| name == "link"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_are_told_the_answer_alone() {
    let origin = origin().await;
    let edge = Setup::http(origin.addr()).start().await;
    let mut connection = Connection::open(edge.http()).await;
    for target in ["/stored", "/passes"] {
        assert_eq!(statuses(&heads(&mut connection, target).await), [200]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_another_viewers_answer_hears_nothing_before_it() {
    let origin = DevOrigin::start(DevOriginOptions::plain())
        .await
        .expect("it starts");
    let object = Object::new("ok", "text/plain").with_cache_control("max-age=60");
    origin.put_object("/held", object);
    origin.fault("/held", Fault::Informational { status: 103 });
    let gate = origin.hold("/held", None);
    let mut setup = Setup::http(origin.addr());
    setup.cache = "policy = \"origin\"\n".into();
    let edge = setup.start().await;
    let mut viewers = Vec::new();
    for riders in 0..2 {
        let mut viewer = Connection::open(edge.http()).await;
        viewer.send("GET", "/held", &[]).await;
        edge.riding(riders).await;
        gate.arrived(1).await;
        viewers.push(viewer);
    }
    gate.release();
    let mut told = Vec::new();
    for viewer in &mut viewers {
        let mut statuses = Vec::new();
        while statuses.last().is_none_or(|status| *status < 200) {
            statuses.push(viewer.head().await.0);
        }
        told.push(statuses);
    }
    assert_eq!(told, [vec![103, 200], vec![200]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsafe_method_is_answered_once_and_a_204_has_no_framing() {
    let origin = origin().await;
    let verbatim = |text: &str| Fault::Verbatim {
        text: text.into(),
        stays_open: false,
    };
    origin.fault(
        "/none",
        verbatim("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n"),
    );
    origin.fault(
        "/long",
        verbatim("HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n"),
    );
    origin.fault(
        "/cut",
        verbatim("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    );
    let mut setup = Setup::http(origin.addr());
    setup.cache = "policy = \"origin\"\nmethods = \"any\"\n".into();
    let edge = setup.start().await;
    for (path, status) in [("/passes", 200), ("/none", 204), ("/long", 204)] {
        let reply = edge.send("POST", path, &[("content-length", "0")]).await;
        assert_eq!(reply.status, status, "{path}");
        if status == 204 {
            for name in ["content-length", "transfer-encoding"] {
                assert_eq!(reply.header(name), None, "{path}");
            }
        }
    }
    let cut = edge.send("POST", "/cut", &[("content-length", "0")]).await;
    assert!(matches!(cut.status, 502 | 503), "{}", cut.status);
}
