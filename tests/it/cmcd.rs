//! What players say of themselves, over real sockets: counted by zone for those
//! who are let in, part of no key, and not told to the origin.

use crate::edge::{Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

async fn edge(origin: &DevOrigin, on: bool) -> TestEdge {
    origin.put("/v/a.ts", vec![7; 5_000], "video/mp2t");
    let mut setup = Setup::http(origin.addr());
    setup.token = Setup::s3(origin.addr()).token;
    setup.zone.push_str(&format!("cmcd = {on}\n"));
    setup.cache.push_str("query = \"all\"\n");
    setup.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_are_counted_by_zone_where_the_zone_says_so() {
    let origin = DevOrigin::start(DevOriginOptions::plain()).await;
    let origin = origin.expect("the origin starts");
    let edges = [edge(&origin, true).await, edge(&origin, false).await];
    for (edge, counted) in edges.iter().zip([4.0, 0.0]) {
        let query = |more: &str| {
            let target = signed(&edge.clock, "/v/a.ts?token_ignore_params=true");
            format!("{target}&CMCD={more}")
        };
        let first = edge.send("GET", &query("br%3D3200%2Csu"), &[]).await;
        assert_eq!((first.status, first.cache()), (200, "MISS"));
        let second = edge
            .send("GET", &query("br%3D800%2Cbs%2Cbl%3D0"), &[])
            .await;
        assert_eq!((second.status, second.cache()), (200, "HIT"), "one key");
        let header = [("CMCD-Object", "br=800"), ("CMCD-Request", "mtp=25400")];
        assert_eq!(edge.get_with("/v/a.ts", &header).await.status, 200);
        assert_eq!(edge.send("GET", "/v/a.ts?CMCD=bs", &[]).await.status, 403);
        assert_eq!(edge.get("/v/a.ts").await.status, 200);
        // Version 2, by the same counters.
        let third = edge
            .send(
                "GET",
                &query("br%3D(800%3Bv+64%3Ba)%2Csta%3Dr%2Cv%3D2"),
                &[],
            )
            .await;
        assert_eq!((third.status, third.cache()), (200, "HIT"), "one key");
        let asks = edge.send("OPTIONS", "/v/a.ts?CMCD=bs", &[]).await;
        assert_eq!(asks.status, 204, "a preflight tells nothing");
        edge.settled().await;
        let zone = "{zone=\"test\"}";
        for (series, value) in [
            ("warren_cmcd_requests_total", counted),
            ("warren_cmcd_starved_total", counted / 2.0),
            ("warren_cmcd_startup_total", counted / 4.0),
            ("warren_cmcd_bitrate_bits_per_second_count", counted),
            (
                "warren_cmcd_throughput_bits_per_second_count",
                counted / 4.0,
            ),
        ] {
            assert_eq!(
                edge.metric(&format!("{series}{zone}")).await,
                value,
                "{series}"
            );
        }
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|asked| !asked.target.contains("CMCD"))
    );
}
