//! Who asks for what, and who is let in no more, over real sockets.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::edge::{KEY, SECOND_KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};

const KEYS: &str = "[{ name = \"ops\", env = \"KEY\", rights = \"admin\" }, \
                    { name = \"ci\", env = \"SECOND\", rights = \"read\" }]\nstate_dir = ";

async fn edge(origin: &DevOrigin, folder: &TempDir) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.access_keys = format!("{KEYS}{:?}", folder.path().display().to_string());
    setup.zone = "hostnames = [\"*\"]\ntrusted_proxies = [\"127.0.0.1\"]\n".into();
    setup.start().await
}

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    for path in ["/v/s1/a.ts", "/v/s2/a.ts"] {
        origin.put(&format!("/media{path}"), vec![1; 1000], "video/mp2t");
    }
    origin
}

/// GET as a viewer at this address.
async fn from(edge: &TestEdge, address: &str, path: &str) -> u16 {
    let headers = [("x-forwarded-for", address), ("user-agent", "player/1")];
    edge.get_with(path, &headers).await.status
}

async fn top(edge: &TestEdge, key: &str, query: &str) -> Value {
    edge.settled().await;
    let reply = edge.call("GET", &format!("/v1/top{query}"), key, "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_slice(&reply.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_most_is_at_the_head_of_the_lists_and_whole_addresses_take_the_right() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    for _ in 0..3 {
        assert_eq!(from(&edge, "203.0.113.7", "/v/s1/a.ts").await, 200);
    }
    assert_eq!(from(&edge, "203.0.113.9", "/v/s2/a.ts").await, 200);
    assert_eq!(edge.send("GET", "/v/s2/a.ts", &[]).await.status, 403);
    let said = top(&edge, KEY, "?zone=test").await;
    let first = |list: &str| {
        let row = &said[list][0];
        (
            row["name"].clone(),
            row["requests"].clone(),
            row["bytes"].clone(),
        )
    };
    assert_eq!(
        first("clients"),
        (json!("203.0.113.7"), json!(3), json!(3000))
    );
    assert_eq!(first("titles"), (json!("/v/s1/"), json!(3), json!(3000)));
    assert_eq!(first("agents"), (json!("player/1"), json!(4), json!(4000)));
    let token = first("tokens").0;
    assert_eq!(token.as_str().map(str::len), Some(32));
    let answers = &said["answers"];
    assert_eq!(
        (&answers[0]["status"], &answers[0]["reason"]),
        (&json!(200), &Value::Null)
    );
    assert_eq!(
        (&answers[1]["status"], &answers[1]["reason"]),
        (&json!(403), &json!("missing"))
    );
    let errors = top(&edge, KEY, "?by=errors&limit=1").await;
    assert_eq!(errors["clients"].as_array().map(Vec::len), Some(1));
    assert_eq!(errors["clients"][0]["name"], "127.0.0.1");
    // Two of one network are one row for who may not see them whole.
    let less = top(&edge, SECOND_KEY, "").await;
    let row = &less["clients"][0];
    assert_eq!(
        (&row["name"], &row["requests"]),
        (&json!("203.0.113.0"), &json!(4))
    );
    let (code, text) = edge.warren("top", &["--once", "--zone", "test"], KEY).await;
    assert!(
        code == Some(0) && text.contains("203.0.113.7") && text.contains("403 missing"),
        "{text}"
    );
    let unknown = edge.call("GET", "/v1/top?zone=nowhere", KEY, "").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_address_is_403_until_its_end_over_a_restart_and_nobody_else_is() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let first = edge(&origin, &folder).await;
    assert_eq!(from(&first, "203.0.113.7", "/v/s1/a.ts").await, 200);
    let block = [
        "203.0.113.7",
        "2001:db8:1::/48",
        "::ffff:198.51.100.0/120",
        "--reason",
        "takes everything",
        "--for",
        "100s",
    ];
    let (code, said) = first.warren("block", &block, KEY).await;
    assert!(code == Some(0) && said.contains("3 blocked"), "{said}");
    let second = edge(&origin, &folder).await;
    for edge in [&first, &second] {
        for address in ["203.0.113.7", "2001:db8:1:2::3", "198.51.100.9"] {
            assert_eq!(from(edge, address, "/v/s1/a.ts").await, 403, "{address}");
        }
        for address in ["203.0.113.8", "2001:db8:2::3"] {
            assert_eq!(from(edge, address, "/v/s1/a.ts").await, 200, "{address}");
        }
        edge.settled().await;
        let series = "warren_refusals_total{reason=\"ip_blocked\",zone=\"test\"}";
        assert_eq!(edge.metric(series).await, 3.0);
    }
    let (_, said) = second.warren("block", &["--list"], SECOND_KEY).await;
    assert!(
        said.contains("203.0.113.7/32 in every zone: takes everything (by ops"),
        "{said}"
    );
    let (code, said) = second
        .warren("block", &["--lift", "203.0.113.7"], KEY)
        .await;
    assert!(code == Some(0) && said.contains("1 let in again"), "{said}");
    assert_eq!(from(&second, "203.0.113.7", "/v/s1/a.ts").await, 200);
    let inner = ["198.51.100.9", "--reason", "one of them", "--for", "100s"];
    assert_eq!(second.warren("block", &inner, KEY).await.0, Some(0));
    let lift = ["--lift", "198.51.100.9"];
    let (code, said) = second.warren("block", &lift, KEY).await;
    let all_the_same = "1 lifted, and blocked all the same by 198.51.100.0/24";
    assert!(code == Some(0) && said.contains(all_the_same), "{said}");
    second.clock.advance(std::time::Duration::from_secs(101));
    assert_eq!(from(&second, "2001:db8:1:2::3", "/v/s1/a.ts").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_cannot_be_is_refused_by_name() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let far = edge.clock.unix_seconds() + 31 * 86_400;
    let table = [
        (KEY, json!({ "reason": "a" }), 400, "nothing_named"),
        (
            KEY,
            json!({ "addresses": ["x"], "reason": "a" }),
            400,
            "bad_address",
        ),
        (
            KEY,
            json!({ "addresses": ["192.0.2.1/33"], "reason": "a" }),
            400,
            "bad_address",
        ),
        (
            KEY,
            json!({ "addresses": ["192.0.2.1/0"], "reason": "a" }),
            400,
            "bad_address",
        ),
        (KEY, json!({ "addresses": ["192.0.2.1"] }), 400, "no_reason"),
        (
            KEY,
            json!({ "addresses": ["192.0.2.1"], "reason": "a", "until": 1 }),
            400,
            "bad_time",
        ),
        (
            KEY,
            json!({ "addresses": ["192.0.2.1"], "reason": "a", "until": far }),
            400,
            "bad_time",
        ),
        (
            KEY,
            json!({ "addresses": ["192.0.2.1"], "reason": "a", "zone": "x" }),
            404,
            "unknown_zone",
        ),
        (
            SECOND_KEY,
            json!({ "addresses": ["192.0.2.1"], "reason": "a" }),
            403,
            "forbidden",
        ),
    ];
    for (key, body, status, name) in table {
        let reply = edge
            .call("POST", "/v1/blocks", key, &body.to_string())
            .await;
        let answer: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(
            (reply.status, &answer["title"]),
            (status, &json!(name)),
            "{body}"
        );
    }
    let list = edge.call("GET", "/v1/blocks", KEY, "").await;
    assert_eq!(list.body, br#"{"blocks":[]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_renditions_of_a_film_are_one_title_where_its_token_is_for_the_film() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    for token_path in ["/v/", "/"] {
        for path in ["/v/s1/a.ts", "/v/s2/a.ts"] {
            let target = crate::edge::signed_for(&edge.clock, path, token_path);
            assert_eq!(edge.send("GET", &target, &[]).await.status, 200);
        }
    }
    let said = top(&edge, KEY, "").await;
    let titles = said["titles"].as_array().expect("a list");
    let titles: Vec<_> = titles
        .iter()
        .map(|row| {
            (
                row["name"].as_str().expect("a name"),
                row["requests"].clone(),
            )
        })
        .collect();
    // A token for everything names none.
    assert_eq!(
        titles,
        [
            ("/v/", json!(2)),
            ("/v/s1/", json!(1)),
            ("/v/s2/", json!(1))
        ]
    );
}
