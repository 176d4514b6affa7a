//! The admin API's purges over real sockets: in force at once, whoever asks how,
//! and never undone by a pull that was under way.

use serde_json::{Value, json};

use crate::edge::{Connection, KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions, Object};

const KEYS: &str = "[{ name = \"ops\", env = \"KEY\", rights = \"purge\" }]";

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    for (path, tags) in [
        ("/media/v/s1/a.ts", "film, s1"),
        ("/media/v/s1/b.ts", "film"),
        ("/media/v/s10/a.ts", ""),
        ("/media/v/big.ts", "big"),
    ] {
        let size = if path.contains("big") { 200_000 } else { 100 };
        let object = Object::new(vec![1; size], "video/mp2t");
        origin.put_object(path, object.with_header("Cache-Tag", tags));
    }
    origin
}

async fn edge(origin: &DevOrigin) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.access_keys = KEYS.into();
    setup.zone = "hostnames = [\"cdn.test\"]\n".into();
    setup.start().await
}

async fn v1(edge: &TestEdge, body: Value) -> (u16, Value) {
    let reply = edge.call("POST", "/v1/purge", KEY, &body.to_string()).await;
    let answer = serde_json::from_slice(&reply.body).expect("JSON");
    (reply.status, answer)
}

async fn caches(edge: &TestEdge) -> Vec<String> {
    let mut caches = Vec::new();
    for path in ["/v/s1/a.ts", "/v/s1/b.ts", "/v/s10/a.ts", "/v/big.ts"] {
        let reply = edge.get(path).await;
        assert_eq!(reply.status, 200);
        caches.push(reply.cache().to_owned());
    }
    caches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_ends_what_it_names_at_once_and_nothing_else() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    let (hit, miss) = ("HIT", "MISS");
    let table = [
        (
            json!({ "urls": ["http://cdn.test/v/s1/a.ts?x=1"] }),
            1,
            [miss, hit, hit, hit],
        ),
        (
            json!({ "urls": ["/v/big.ts"], "zone": "test" }),
            1,
            [hit, hit, hit, miss],
        ),
        (
            json!({ "prefixes": ["https://CDN.test/v/s1/"] }),
            2,
            [miss, miss, hit, hit],
        ),
        (
            json!({ "prefixes": ["/v/s1"], "zone": "7" }),
            3,
            [miss, miss, miss, hit],
        ),
        (json!({ "tags": ["film"] }), 2, [miss, miss, hit, hit]),
        (
            json!({ "tags": ["s1", "big"], "zone": "test" }),
            2,
            [miss, hit, hit, miss],
        ),
        (json!({ "all": true }), 4, [miss; 4]),
        (json!({ "all": true, "dry_run": true }), 4, [hit; 4]),
        (json!({ "tags": ["none"] }), 0, [hit; 4]),
    ];
    caches(&edge).await;
    for (body, purged, want) in table {
        let (status, answer) = v1(&edge, body.clone()).await;
        assert_eq!(
            (status, &answer["purged"]),
            (200, &json!(purged)),
            "{body}: {answer}"
        );
        assert_eq!(caches(&edge).await, want, "{body}");
        assert_eq!(
            caches(&edge).await,
            [hit; 4],
            "{body}: pulled again, and kept"
        );
    }
    let counted = edge.metric("warren_purged_objects_total").await;
    assert_eq!(counted, 15.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soft_purge_is_confirmed_and_covers_an_origin_that_fails() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    caches(&edge).await;
    let soft = json!({ "tags": ["film"], "mode": "soft" });
    assert_eq!(v1(&edge, soft.clone()).await.1["purged"], 2);
    assert_eq!(
        caches(&edge).await,
        ["REVALIDATED", "REVALIDATED", "HIT", "HIT"]
    );
    assert_eq!(caches(&edge).await, ["HIT"; 4]);
    v1(&edge, soft).await;
    origin.fault("*", crate::origin::Fault::CloseBeforeHead);
    assert_eq!(edge.get("/v/s1/a.ts").await.cache(), "STALE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_began_before_a_purge_never_brings_the_old_object_back() {
    let purges = [
        json!({ "urls": ["http://cdn.test/v/big.ts"] }),
        json!({ "prefixes": ["http://cdn.test/v/b"] }),
        json!({ "tags": ["big"] }),
        json!({ "all": true }),
    ];
    for purge in purges {
        let origin = origin().await;
        let edge = edge(&origin).await;
        let gate = origin.hold("/big.ts", Some(50_000));
        let mut before = Connection::open(edge.http()).await;
        let target = crate::edge::signed(&edge.clock, "/v/big.ts");
        before.send("GET", &target, &[]).await;
        gate.arrived(1).await;
        assert_eq!(v1(&edge, purge.clone()).await.0, 200);
        origin.put("/media/v/big.ts", vec![2; 200_000], "video/mp2t");
        // Who comes now does not ride on what began before.
        let mut after = Connection::open(edge.http()).await;
        after.send("GET", &target, &[]).await;
        gate.arrived(2).await;
        gate.release();
        assert!(before.reply("GET").await.whole, "{purge}");
        let new = after.reply("GET").await;
        assert!(new.whole && new.body == vec![2; 200_000], "{purge}");
        let stored = edge.get("/v/big.ts").await;
        assert_eq!((stored.cache(), stored.body[0]), ("HIT", 2), "{purge}");
        assert_eq!(origin.count("big.ts"), 2, "{purge}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_clients_purge_a_url_a_prefix_a_tag_and_a_zone() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    let (hit, miss) = ("HIT", "MISS");
    let encoded = "http%3A%2F%2Fcdn.test%2Fv%2F";
    let table = [
        (
            "POST",
            format!("/purge?url={encoded}s1%2Fa.ts"),
            "",
            200,
            [miss, hit, hit, hit],
        ),
        (
            "GET",
            format!("/purge?url={encoded}s1%2F*&async=false"),
            "",
            200,
            [miss, miss, hit, hit],
        ),
        (
            "POST",
            format!("/purge?url={encoded}s1%2F"),
            "",
            200,
            [miss, miss, hit, hit],
        ),
        (
            "POST",
            "/pullzone/7/purgeCache".into(),
            "{\"CacheTag\":\"big\"}",
            204,
            [hit, hit, hit, miss],
        ),
        (
            "POST",
            "/pullzone/test/purgeCache".into(),
            "",
            204,
            [miss; 4],
        ),
    ];
    caches(&edge).await;
    for (method, target, body, status, want) in table {
        let reply = edge.call(method, &target, KEY, body).await;
        assert_eq!(
            reply.status,
            status,
            "{target}: {:?}",
            String::from_utf8_lossy(&reply.body)
        );
        assert_eq!(caches(&edge).await, want, "{target}");
    }
    let reply = edge.call("POST", "/pullzone/8/purgeCache", KEY, "").await;
    let error: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(
        (reply.status, &error["ErrorKey"]),
        (404, &json!("unknown_zone"))
    );
    assert!(error["Message"].is_string() && error["Field"] == "zone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_brings_no_key_or_asks_wrongly_is_told_what_to_do() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    caches(&edge).await;
    let too_many = vec!["http://cdn.test/a"; 10_001];
    let table = [
        (
            "/v1/purge",
            "wrong",
            json!({ "all": true }).to_string(),
            401,
            "unauthorized",
        ),
        ("/v1/purge", KEY, "{".into(), 400, "bad_json"),
        (
            "/v1/purge",
            KEY,
            json!({ "everything": true }).to_string(),
            400,
            "bad_json",
        ),
        (
            "/v1/purge",
            KEY,
            json!({}).to_string(),
            400,
            "nothing_named",
        ),
        (
            "/v1/purge",
            KEY,
            json!({ "urls": ["http://x/a"] }).to_string(),
            400,
            "unknown_host",
        ),
        (
            "/v1/purge",
            KEY,
            json!({ "urls": ["/a"] }).to_string(),
            400,
            "no_zone",
        ),
        (
            "/v1/purge",
            KEY,
            json!({ "urls": ["http://cdn.test/%2e%2e"] }).to_string(),
            400,
            "bad_path",
        ),
        (
            "/v1/purge",
            KEY,
            json!({ "tags": ["a"], "zone": "x" }).to_string(),
            404,
            "unknown_zone",
        ),
        (
            "/v1/purge",
            KEY,
            json!({ "urls": too_many }).to_string(),
            413,
            "too_many_items",
        ),
    ];
    for (target, key, body, status, name) in table {
        let reply = edge.call("POST", target, key, &body).await;
        let kind = reply.header("content-type");
        assert_eq!(
            (reply.status, kind),
            (status, Some("application/problem+json")),
            "{name}"
        );
        let problem: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(problem["title"], name);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(!detail.is_empty(), "{name}");
        let lists_hosts = detail.contains("there are: cdn.test");
        assert_eq!(lists_hosts, name == "unknown_host", "{detail}");
    }
    assert_eq!(caches(&edge).await, ["HIT"; 4], "nothing was purged");
    for _ in 0..30 {
        edge.call("POST", "/purge?url=x", "guess", "").await;
    }
    let limited = edge.call("POST", "/purge?url=x", "guess", "").await;
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").is_some());
    let purge = async || {
        edge.call("POST", "/v1/purge", KEY, "{\"all\":true}")
            .await
            .status
    };
    assert_eq!(purge().await, 429, "nothing from there is compared");
    edge.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(purge().await, 200);
}

/// The binary, as an operator runs it.
async fn warren(arguments: Vec<String>, key: &'static str) -> (Option<i32>, String, String) {
    let run = move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_warren"))
            .arg("purge")
            .args(arguments)
            .env("WARREN_ACCESS_KEY", key)
            .output()
            .expect("the binary runs")
    };
    let done = tokio::task::spawn_blocking(run).await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warren_purge_says_what_it_did_and_why_it_did_not() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    caches(&edge).await;
    let files = tempfile::TempDir::new().expect("a folder");
    let list = files.path().join("urls.txt");
    std::fs::write(
        &list,
        "http://cdn.test/v/s1/a.ts\n\n http://cdn.test/v/s1/b.ts\n",
    )
    .expect("written");
    let admin = format!("http://{}", edge.running.admin);
    let run = |more: &[&str], key| {
        let mut all: Vec<String> = more.iter().map(|it| (*it).to_owned()).collect();
        all.extend(["--admin".to_owned(), admin.clone()]);
        warren(all, key)
    };
    let file = list.display().to_string();
    let (code, out, _) = run(&["--file", &file, "--dry-run"], KEY).await;
    assert_eq!(
        (code, out),
        (Some(0), format!("{admin}: 2 objects would be purged\n"))
    );
    assert_eq!(caches(&edge).await, ["HIT"; 4]);
    let (code, out, _) = run(&["http://cdn.test/v/s1/a.ts", "--tag", "big"], KEY).await;
    assert_eq!((code, out.contains("1 of")), (Some(0), false), "{out}");
    assert_eq!(caches(&edge).await, ["MISS", "HIT", "HIT", "MISS"]);
    let (code, out, _) = run(&["--all", "--zone", "test", "--soft", "--json"], KEY).await;
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &answer["purged"]), (Some(0), &json!(4)));
    let (code, _, why) = run(&["--all"], "wrong").await;
    assert!(
        code == Some(1) && why.contains("401") && why.contains("access_keys"),
        "{why}"
    );
    let (code, _, why) = run(&["/a"], KEY).await;
    assert!(code == Some(1) && why.contains("names no host"), "{why}");
    let (code, _, why) = run(&[], KEY).await;
    assert!(code == Some(2) && why.contains("--prefix"), "{why}");
    let away = vec![
        "--all".into(),
        "--admin".into(),
        "http://127.0.0.1:1".into(),
    ];
    let (code, _, why) = warren(away, KEY).await;
    assert!(
        code == Some(1) && why.contains("cannot be reached"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_tells_what_is_stored_of_a_url_and_pulls_nothing() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    let look = async |target: &str| -> Value {
        let target = format!("/v1/cache/inspect?url={target}");
        let reply = edge.call("GET", &target, KEY, "").await;
        serde_json::from_slice(&reply.body).expect("JSON")
    };
    let url = "http%3A%2F%2Fcdn.test%2Fv%2Fs1%2Fa.ts%3Fx%3D1";
    let cold = look(url).await;
    assert_eq!(
        (&cold["stored"], &cold["kind"], &cold["path"]),
        (&json!(false), &json!("segment"), &json!("/v/s1/a.ts"))
    );
    assert_eq!(origin.count("a.ts"), 0);
    let status = edge.get("/v/s1/a.ts").await;
    edge.clock.advance(std::time::Duration::from_secs(10));
    let warm = look(url).await;
    for (field, want) in [
        ("stored", json!(true)),
        ("state", json!("fresh")),
        ("bytes", json!(100)),
        ("tags", json!(["film", "s1"])),
        ("status", json!(200)),
    ] {
        assert_eq!(warm[field], want, "{field}: {warm}");
    }
    let hit = edge.get("/v/s1/a.ts").await;
    let key = warm["key"].as_str().expect("a key");
    assert!(
        hit.header("cache-status")
            .is_some_and(|text| text.contains(key)),
        "the key of the answer"
    );
    assert!(
        warm["age"]
            .as_f64()
            .is_some_and(|age| (10.0..15.0).contains(&age))
    );
    assert_eq!(status.status, 200);
    v1(&edge, json!({ "tags": ["s1"], "mode": "soft" })).await;
    assert_eq!(look(url).await["state"], "stale_if_error");
    v1(&edge, json!({ "all": true })).await;
    assert_eq!(look(url).await["stored"], false);
    let unknown = edge
        .call("GET", "/v1/cache/inspect?url=http%3A%2F%2Fx%2Fa", KEY, "")
        .await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_under_a_prefix_is_listed_and_a_purge_of_nothing_says_so() {
    let origin = origin().await;
    let edge = edge(&origin).await;
    for path in ["/v/s1/a.ts", "/v/s1/b.ts", "/v/s2/a.ts"] {
        origin.put(&format!("/media{path}"), &b"segment"[..], "video/mp2t");
        edge.get(path).await;
    }
    let (code, said) = edge.warren("ls", &["http://cdn.test/v/s1/"], KEY).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 objects, 14 B"), "{said}");
    assert!(
        said.contains("/v/s1/b.ts") && !said.contains("/v/s2/"),
        "{said}"
    );
    let (_, said) = edge
        .warren("ls", &["/v/", "--zone", "test", "--limit", "1"], KEY)
        .await;
    assert!(
        said.contains("3 objects") && !said.contains("b.ts"),
        "{said}"
    );
    let (code, said) = edge
        .warren("inspect", &["http://cdn.test/v/s1/a.ts"], KEY)
        .await;
    assert!(code == Some(0) && said.contains("200 fresh, 7 B"), "{said}");
    let (_, said) = edge
        .warren("inspect", &["http://cdn.test/v/none.ts"], KEY)
        .await;
    assert!(said.contains("not stored"), "{said}");
    let (code, said) = edge
        .warren("purge", &["http://cdn.test/v/s1/aa.ts"], KEY)
        .await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing of that was stored"), "{said}");
    edge.warren("purge", &["http://cdn.test/v/s1/a.ts"], KEY)
        .await;
    let stored = edge.metric("warren_cache_objects").await;
    assert_eq!(stored, 2.0, "its memory is free");
    let (_, said) = edge.warren("ls", &["http://cdn.test/v/s1/"], KEY).await;
    assert!(said.contains("1 objects"), "{said}");
}
