//! Takedowns over real sockets: in force on what is in memory, told to nobody
//! without a token, kept over a restart, listed and lifted.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::edge::{KEY, SECOND_KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};

const KEYS: &str = "[{ name = \"ops\", env = \"KEY\", rights = \"admin\" }, \
                    { name = \"ci\", env = \"SECOND\", rights = \"purge\" }]\nstate_dir = ";

async fn edge(origin: &DevOrigin, folder: &TempDir) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.access_keys = format!("{KEYS}{:?}", folder.path().display().to_string());
    setup.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_down_is_451_from_memory_too_and_over_a_restart() {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    for path in ["/v/s1/a.ts", "/v/s1/b.ts", "/v/s2/a.ts"] {
        origin.put(&format!("/media{path}"), &b"segment"[..], "video/mp2t");
    }
    let folder = TempDir::new().expect("a folder");
    let first = edge(&origin, &folder).await;
    for path in ["/v/s1/a.ts", "/v/s2/a.ts"] {
        assert_eq!(first.get(path).await.status, 200);
    }
    let url = "http://cdn.test/v/s1/a.ts";
    let (code, said) = first
        .warren("takedown", &[url, "--reason", "notice 7"], KEY)
        .await;
    assert!(code == Some(0) && said.contains("1 taken down"), "{said}");
    let until = (first.clock.unix_seconds() + 100).to_string();
    let prefix = [
        "--prefix", "/v/s2/", "--zone", "test", "--reason", "court", "--until", &until,
    ];
    assert_eq!(first.warren("takedown", &prefix, KEY).await.0, Some(0));
    let second = edge(&origin, &folder).await;
    for edge in [&first, &second] {
        let down = edge.get("/v/s1/a.ts").await;
        assert_eq!(
            (down.status, down.cache(), down.header("cache-control")),
            (451, "-", Some("no-store"))
        );
        assert_eq!(edge.get("/v/s2/a.ts").await.status, 451);
        assert_eq!(edge.get("/v/s1/b.ts").await.status, 200);
        // Nobody learns of it without a token.
        assert_eq!(edge.send("GET", "/v/s1/a.ts", &[]).await.status, 403);
        let series = "warren_refusals_total{reason=\"taken_down\",zone=\"test\"}";
        edge.settled().await;
        assert_eq!(edge.metric(series).await, 2.0);
        edge.clock.advance(std::time::Duration::from_secs(101));
        assert_eq!(edge.get("/v/s2/a.ts").await.status, 200, "its end has come");
    }
    let (_, said) = second
        .warren("takedown", &["--list", "--json"], SECOND_KEY)
        .await;
    let listed: Value = serde_json::from_str(&said).expect("JSON");
    let one = &listed["takedowns"][0];
    assert_eq!(
        (&one["path"], &one["reason"], &one["by"]),
        (&json!("/v/s1/a.ts"), &json!("notice 7"), &json!("ops"))
    );
    let (code, said) = second.warren("takedown", &["--lift", url], KEY).await;
    assert!(code == Some(0) && said.contains("1 served again"), "{said}");
    assert_eq!(second.get("/v/s1/a.ts").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_down_in_a_zone_that_is_gone_can_be_lifted() {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let folder = TempDir::new().expect("a folder");
    let kept = json!([{ "zone": "gone", "path": "/a.ts", "prefix": false, "reason": "x",
                        "until": null, "by": "ops", "since": 1 }]);
    std::fs::write(folder.path().join("takedowns.json"), kept.to_string()).expect("written");
    let edge = edge(&origin, &folder).await;
    let again = ["/a.ts", "--zone", "gone", "--reason", "x"];
    let (code, said) = edge.warren("takedown", &again, KEY).await;
    assert!(
        code == Some(1) && said.contains("no zone has the name"),
        "{said}"
    );
    let lift = ["--lift", "/a.ts", "--zone", "gone"];
    let (code, said) = edge.warren("takedown", &lift, KEY).await;
    assert!(code == Some(0) && said.contains("1 served again"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_take_down_or_says_no_reason_is_told_so() {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let folder = TempDir::new().expect("a folder");
    let edge = edge(&origin, &folder).await;
    let url = "http://cdn.test/a.ts";
    let with = ["--reason", "x", url];
    let table: [(&[&str], &'static str, i32, &str); 6] = [
        (&with, SECOND_KEY, 1, "403"),
        (&with, "wrong", 1, "401"),
        (&["--reason", " ", url], KEY, 1, "say why"),
        (&[url], KEY, 2, "--reason"),
        (&[], KEY, 2, "--list"),
        (&["--reason", "x", "/a.ts"], KEY, 1, "names no host"),
    ];
    for (arguments, key, code, what) in table {
        let (got, said) = edge.warren("takedown", arguments, key).await;
        assert!(
            got == Some(code) && said.contains(what),
            "{arguments:?}: {got:?} {said}"
        );
    }
    let mut nowhere = Setup::s3(origin.addr());
    nowhere.access_keys = "[{ name = \"ops\", env = \"KEY\", rights = \"admin\" }]".into();
    let nowhere = nowhere.start().await;
    let (code, said) = nowhere.warren("takedown", &with, KEY).await;
    assert!(
        code == Some(1) && said.contains("409") && said.contains("state_dir"),
        "{said}"
    );
}
