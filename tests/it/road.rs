//! The main road: a signed URL from a private bucket, through memory.

use std::time::Duration;

use crate::edge::{Setup, signed};
use crate::origin::{DevOrigin, DevOriginOptions, Object};

async fn origin() -> DevOrigin {
    DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_segment_is_pulled_once_and_then_served_from_memory() {
    let origin = origin().await;
    let body: Vec<u8> = (0..600_000u32).map(|i| (i % 251) as u8).collect();
    origin.put("/media/v/seg1.ts", body.clone(), "video/mp2t");
    let edge = Setup::s3(origin.addr()).start().await;

    let miss = edge.get("/v/seg1.ts").await;
    assert_eq!(
        (miss.status, miss.cache(), miss.whole),
        (200, "MISS", true),
        "{miss:?}"
    );
    assert_eq!(miss.body, body);
    assert_eq!(
        miss.header("cache-control"),
        Some("public, max-age=86400, immutable")
    );

    let hit = edge.get("/v/seg1.ts").await;
    assert_eq!(
        (hit.status, hit.cache(), hit.body == body),
        (200, "HIT", true)
    );
    assert_eq!(origin.count("seg1.ts"), 1);
    assert!(origin.requests().iter().all(|request| request.authorised));

    let unsigned = edge.send("GET", "/v/seg1.ts", &[]).await;
    assert_eq!((unsigned.status, unsigned.cache()), (403, "-"));
    assert_eq!(unsigned.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn a_reload_that_moves_a_zones_number_mixes_up_no_objects() {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/one/a.ts", &b"one"[..], "video/mp2t");
    origin.put("/two/a.ts", &b"two"[..], "video/mp2t");
    let zone = |name: &str| {
        format!(
            "[[zone]]\nname = {name:?}\nhostnames = [\"{name}.test\"]\n\
             [zone.token]\nrequired = false\n[zone.origin]\nkind = \"s3\"\n\
             endpoints = [\"http://{}\"]\nbucket = {name:?}\n\
             access_key = {{ env = \"ACCESS\" }}\nsecret_key = {{ env = \"SECRET\" }}\n",
            origin.addr()
        )
    };
    // Zones without a number are numbered by their place.
    let mut setup = Setup::s3(origin.addr());
    setup.more = zone("one");
    let edge = setup.start().await;
    let ask = async |name: &str| {
        let host = format!("{name}.test");
        let reply = edge.send("GET", "/a.ts", &[("Host", &host)]).await;
        (
            String::from_utf8_lossy(&reply.body).into_owned(),
            reply.cache().to_owned(),
        )
    };
    let want = |body: &str, cache: &str| (body.to_owned(), cache.to_owned());
    assert_eq!(ask("one").await, want("one", "MISS"));
    setup.more = zone("two") + &zone("one");
    assert!(
        edge.running
            .reload(setup.config())
            .is_ok_and(|it| it.needs_restart.is_empty())
    );
    assert_eq!(ask("two").await, want("two", "MISS"));
    assert_eq!(ask("one").await, want("one", "MISS"));
    setup.more = zone("one");
    assert!(
        edge.running
            .reload(setup.config())
            .is_ok_and(|it| it.needs_restart.is_empty())
    );
    assert_eq!(
        ask("one").await,
        want("one", "HIT"),
        "the first realm again"
    );
    assert_eq!(
        edge.send("GET", "/a.ts", &[("Host", "two.test")])
            .await
            .status,
        403
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_moves_tokens_and_no_lifetime() {
    const YEAR_MS: i64 = 365 * 86_400_000;
    let origin = origin().await;
    for name in ["a.ts", "i.m3u8", "old.ts", "new.ts"] {
        let object = Object::new("#EXTM3U\n#EXT-X-ENDLIST\n", "text/plain");
        origin.put_object(
            &format!("/media/{name}"),
            object.with_cache_control("max-age=50"),
        );
    }
    for policy in ["hls", "origin"] {
        let mut setup = Setup::s3(origin.addr());
        setup.cache = format!("policy = \"{policy}\"\n");
        let edge = setup.start().await;
        let early = signed(&edge.clock, "/a.ts");
        assert_eq!(edge.get("/a.ts").await.cache(), "MISS");
        assert_eq!(edge.get("/i.m3u8").await.cache(), "MISS");
        edge.clock.advance(Duration::from_secs(10));
        for (jump, cold) in [
            (-20 * YEAR_MS, "/old.ts"),
            (YEAR_MS, "/new.ts"),
            (0, "/new.ts"),
        ] {
            edge.clock.set_wall_ahead(jump);
            for path in ["/a.ts", "/i.m3u8"] {
                let reply = edge.get(path).await;
                assert_eq!(
                    (reply.status, reply.cache()),
                    (200, "HIT"),
                    "{policy} {jump}"
                );
                let age: u64 = reply
                    .header("age")
                    .and_then(|age| age.parse().ok())
                    .expect("an age");
                assert!((10..15).contains(&age), "{policy} {jump}: {age}");
            }
            assert_eq!(edge.get(cold).await.status, 200, "{policy} {jump}");
            // Behind, it lives too long; ahead, it is over.
            let status = edge.send("GET", &early, &[]).await.status;
            assert_eq!(status, if jump == 0 { 200 } else { 403 }, "{policy} {jump}");
        }
        edge.clock.advance(Duration::from_secs(50));
        let later = edge.get("/i.m3u8").await;
        assert!(
            ["REVALIDATED", "UPDATING"].contains(&later.cache()),
            "{policy}: {later:?}"
        );
    }
}
