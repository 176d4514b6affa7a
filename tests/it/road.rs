//! The main road: a signed URL from a private bucket, through memory.

use crate::edge::Setup;
use crate::origin::{DevOrigin, DevOriginOptions};

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
