//! `response-…`: what a signed URL sets on its answer, as on S3.

use crate::edge::{Reply, Setup, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

const NAME: &str = "response-content-disposition=attachment;%20filename%3D%22caf%C3%A9.mp3%22";
const TYPE: &str = "response-content-type=application/octet-stream";

async fn origin(s3: bool) -> DevOrigin {
    let options = DevOriginOptions {
        s3,
        ..DevOriginOptions::default()
    };
    let origin = DevOrigin::start(options).await.expect("it starts");
    for key in ["/media/a.mp3", "/a.mp3"] {
        origin.put(key, &b"0123456789"[..], "audio/mpeg");
    }
    origin
}

fn told(reply: &Reply) -> [Option<&str>; 2] {
    ["content-disposition", "content-type"].map(|name| reply.header(name))
}

const PLAIN: [Option<&str>; 2] = [None, Some("audio/mpeg")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_token_has_signed_is_set_on_every_answer_and_on_nobody_elses() {
    let origin = origin(true).await;
    let edge = Setup::s3(origin.addr()).start().await;
    let url = signed(&edge.clock, &format!("/a.mp3?{NAME}&{TYPE}"));
    let plain = signed(&edge.clock, "/a.mp3");
    let set = [
        Some("attachment; filename=\"café.mp3\""),
        Some("application/octet-stream"),
    ];
    for cache in ["MISS", "HIT", "HIT"] {
        let reply = edge.send("GET", &url, &[]).await;
        assert_eq!(
            (reply.status, reply.cache(), told(&reply)),
            (200, cache, set)
        );
        assert_eq!(&reply.body[..], b"0123456789");
        assert_eq!(told(&edge.send("GET", &plain, &[]).await), PLAIN);
    }
    assert_eq!(told(&edge.send("HEAD", &url, &[]).await), set);
    let part = edge.send("GET", &url, &[("range", "bytes=2-3")]).await;
    assert_eq!((part.status, told(&part)), (206, set));
    let tag = part.header("etag").expect("a tag").to_owned();
    let same = edge.send("GET", &url, &[("if-none-match", &tag)]).await;
    assert_eq!((same.status, told(&same)), (304, [set[0], None]));
    let beyond = edge.send("GET", &url, &[("range", "bytes=99-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-disposition")),
        (416, None)
    );
    let none = signed(&edge.clock, &format!("/none.mp3?{NAME}"));
    let none = edge.send("GET", &none, &[]).await;
    assert_eq!(
        (none.status, none.header("content-disposition")),
        (404, None)
    );
    assert_eq!(
        origin.count("a.mp3"),
        1,
        "one object, whatever it is called"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_token_has_signed_sets_nothing() {
    let origin = origin(true).await;
    let edge = Setup::s3(origin.addr()).start().await;
    let added = format!("{}&{NAME}", signed(&edge.clock, "/a.mp3"));
    assert_eq!(edge.send("GET", &added, &[]).await.status, 403);
    let ignoring = signed(&edge.clock, "/a.mp3?token_ignore_params=true");
    let reply = edge.send("GET", &format!("{ignoring}&{NAME}"), &[]).await;
    assert_eq!((reply.status, told(&reply)), (200, PLAIN));
    let mut open = Setup::s3(origin.addr());
    open.token = "required = false\n".into();
    let open = open.start().await;
    let reply = open.send("GET", &format!("/a.mp3?{NAME}"), &[]).await;
    assert_eq!((reply.status, told(&reply)), (200, PLAIN));
    // An origin of its own kind reads its query by itself.
    let plain = self::origin(false).await;
    let mut http = Setup::http(plain.addr());
    http.token = Setup::s3(origin.addr()).token;
    let http = http.start().await;
    let reply = http.get(&format!("/a.mp3?{NAME}")).await;
    assert_eq!((reply.status, told(&reply)), (200, PLAIN));
}
