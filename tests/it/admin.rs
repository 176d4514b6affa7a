//! The admin API over real sockets: figures, events, zones, draining, warming,
//! explaining, and who did what.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use warren::token::sign::{Form, Options, sign};
use warren::token::{Key, Scheme};

use crate::edge::{Connection, KEY, SECOND_KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"de\",URI=\"de.m3u8\"\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n\
                  #EXT-X-STREAM-INF:BANDWIDTH=2\nhttp://elsewhere.test/high.m3u8\n";
    let low = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"init.mp4\"\n\
               #EXTINF:4,\na.m4s\n#EXTINF:4,\nb.m4s\n#EXT-X-ENDLIST\n";
    let de = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\ngone.m4s\n#EXT-X-ENDLIST\n";
    let playlist = "application/vnd.apple.mpegurl";
    for (name, body, kind) in [
        ("master.m3u8", master, playlist),
        ("low.m3u8", low, playlist),
        ("de.m3u8", de, playlist),
        ("init.mp4", "init", "video/mp4"),
        ("a.m4s", "segment a", "video/iso.segment"),
        ("b.m4s", "segment b", "video/iso.segment"),
    ] {
        origin.put(&format!("/media/v/{name}"), body.as_bytes(), kind);
    }
    origin
}

/// Keys of each right, and an audit log in `folder`.
async fn edge(origin: &DevOrigin, folder: &TempDir) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.zone = setup.zone.replace("\"*\"", "\"cdn.test\"");
    let state_dir = folder.path().display().to_string();
    let audit_log = audit_log(folder).display().to_string();
    setup.access_keys = format!(
        "[{{ name = \"ops\", env = \"KEY\", rights = \"admin\" }}, \
          {{ name = \"wall\", env = \"SECOND\", rights = \"read\" }}]\n\
         state_dir = {state_dir:?}\naudit_log = {audit_log:?}"
    );
    setup.start().await
}

fn audit_log(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("audit.log")
}

async fn call(edge: &TestEdge, method: &str, path: &str, body: &Value) -> (u16, Vec<u8>) {
    let reply = edge.call(method, path, KEY, &text(body)).await;
    (reply.status, reply.body)
}

fn text(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        body => body.to_string(),
    }
}

async fn get(edge: &TestEdge, path: &str) -> Value {
    let (status, body) = call(edge, "GET", path, &Value::Null).await;
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stats_go_on_where_the_process_before_has_stopped() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let mut since = Value::Null;
    for round in 1..=3_u64 {
        let edge = edge(&origin, &folder).await;
        assert_eq!(edge.get("/v/a.m4s").await.status, 200);
        assert_eq!(edge.send("GET", "/v/a.m4s", &[]).await.status, 403);
        edge.settled().await;
        let stats = get(&edge, "/v1/stats").await;
        assert_eq!(stats["requests"], json!(2 * round));
        assert_eq!(stats["zones"][0]["refusals"], json!(round));
        assert_eq!(stats["keys"][0]["count"], json!(round));
        assert_eq!(
            stats["pulls"]["started"],
            json!(round),
            "memory is empty at a start"
        );
        let own = edge
            .metric("warren_refusals_total{reason=\"missing\",zone=\"test\"}")
            .await;
        assert!((own - 1.0).abs() < f64::EPSILON, "of this process alone");
        if round == 1 {
            since = stats["counted_since"].clone();
            assert_eq!(since, stats["started_at"]);
        }
        assert_eq!(stats["counted_since"], since);
        edge.running
            .stop(Duration::ZERO, Duration::from_secs(5))
            .await;
    }
    // A process that has answered nothing yet tells and keeps them all the same.
    for _ in 0..2 {
        let edge = edge(&origin, &folder).await;
        let stats = get(&edge, "/v1/stats").await;
        assert_eq!(
            (&stats["requests"], &stats["counted_since"]),
            (&json!(6), &since)
        );
        assert_eq!(stats["refusals"][0]["count"], json!(3));
        edge.running
            .stop(Duration::ZERO, Duration::from_secs(5))
            .await;
    }
    // What cannot be read is no reason not to serve.
    std::fs::write(folder.path().join("counters.json"), "{").expect("written");
    let edge = edge(&origin, &folder).await;
    assert_eq!(get(&edge, "/v1/stats").await["requests"], json!(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_told_by_status_and_reason_with_their_last_paths_and_no_token() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let in_path = path_form(&edge, "/v/none.ts", Some("/v/"));
    let in_path = in_path.strip_prefix("http://cdn.test").expect("its host");
    for target in [in_path, in_path] {
        assert_eq!(edge.send("GET", target, &[]).await.status, 404);
    }
    let forged = format!("{}x", crate::edge::signed(&edge.clock, "/v/a.m4s"));
    assert_eq!(edge.send("GET", &forged, &[]).await.status, 403);
    // A bare digest is a token only beside the rest of one.
    let digest = "aB3".repeat(14) + "x";
    let split = format!("/x/{digest}/v.ts?token=");
    assert_eq!(edge.send("GET", &split, &[]).await.status, 403);
    edge.settled().await;
    for path in ["/v1/stats", "/v1/top"] {
        let text = get(&edge, path).await.to_string();
        assert!(!text.contains(&digest), "{path}: {text}");
    }
    let stats = get(&edge, "/v1/stats").await;
    let errors = stats["errors"].as_array().expect("a list");
    let of = |status: u16| {
        let found = errors.iter().find(|row| row["status"] == status);
        found.unwrap_or_else(|| panic!("{status} in {errors:?}"))
    };
    let (missing, refused) = (of(404), of(403));
    let paths = refused["paths"].as_array().expect("paths");
    assert_eq!(
        (&missing["count"], &missing["zone"]),
        (&json!(2), &json!("test"))
    );
    assert_eq!(missing["paths"][0]["path"], "/v/none.ts");
    assert!(missing["first"].as_u64() <= missing["last"].as_u64());
    assert!(
        paths.iter().any(|it| it["path"] == "/v/a.m4s"),
        "{errors:?}"
    );
    assert!(refused["reason"].is_string(), "{refused}");
    assert!(missing["last"].as_u64() > Some(0));
    let text = stats.to_string();
    for secret in ["token=", "bcdn_token"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_bytes_are_told_of_the_last_minutes_and_by_endpoint() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    for _ in 0..5 {
        assert_eq!(edge.get("/v/a.m4s").await.status, 200);
    }
    edge.settled().await;
    let stats = get(&edge, "/v1/stats").await;
    let hits = &stats["first_byte"][0];
    assert_eq!((&hits["cache"], &hits["count"]), (&json!("HIT"), &json!(4)));
    assert_eq!(hits["lately"]["count"], 4);
    let endpoint = &stats["origins"][0];
    assert_eq!(
        (&endpoint["answers"], &endpoint["lately"]["count"]),
        (&json!(1), &json!(1))
    );
    assert!(endpoint["lately"]["p99_seconds"].as_f64() > Some(0.0));
    let family = "warren_origin_first_byte_seconds";
    let series = format!(
        "{family}_count{{endpoint=\"{}\",zone=\"test\"}}",
        origin.addr()
    );
    assert!((edge.metric(&series).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stats_say_what_the_node_did() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    for _ in 0..400 {
        assert_eq!(edge.get("/v/a.m4s").await.status, 200);
    }
    assert_eq!(edge.send("GET", "/v/a.m4s", &[]).await.status, 403);
    edge.settled().await;
    let stats = get(&edge, "/v1/stats").await;
    assert_eq!(
        (&stats["ready"], &stats["requests"]),
        (&json!(true), &json!(401))
    );
    let segment = &stats["kinds"][1];
    assert_eq!(
        *segment,
        json!({ "kind": "segment", "hits": 399, "misses": 1 })
    );
    let refusal = json!([{ "zone": "test", "reason": "missing", "count": 1 }]);
    assert_eq!(stats["refusals"], refusal);
    let zone = &stats["zones"][0];
    assert_eq!((&zone["hits"], &zone["refusals"]), (&json!(399), &json!(1)));
    assert_eq!(stats["origins"][0]["up"], true);
    assert!(stats["origins"][0]["first_byte_seconds"].as_f64() > Some(0.0));
    let top = &stats["objects"][0];
    assert_eq!(
        (&top["path"], &top["zone"]),
        (&json!("/v/a.m4s"), &json!("test"))
    );
    // One hit of 16 is counted, 400 times: beyond these bounds once in 10^9.
    let hits = top["hits"].as_u64().expect("a number");
    assert!((16..=1600).contains(&hits), "{hits}");
    assert_eq!(stats["memory"]["budget_bytes"], 64 << 20);
    let (code, said) = edge.warren("stats", &[], SECOND_KEY).await;
    assert!(
        code == Some(0) && said.contains("99.8 % hits of 400"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_bring_a_sample_of_what_has_just_happened_and_history_keeps_it() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let mut listener = Connection::open(edge.running.admin).await;
    edge.begin_call(&mut listener, "GET", "/v1/stats/events", KEY, "")
        .await;
    let (status, headers) = listener.head().await;
    let kind = headers.iter().find(|(name, _)| name == "content-type");
    assert_eq!(status, 200);
    assert_eq!(
        kind.map(|(_, value)| value.as_str()),
        Some("text/event-stream")
    );
    for _ in 0..10 {
        assert_eq!(edge.get("/v/a.m4s").await.status, 200);
    }
    let mut text = String::new();
    let is_it = |line: &&str| line.contains("\"segment\":9");
    while !text.lines().any(|line| is_it(&line)) {
        text.push_str(&String::from_utf8(listener.some().await).expect("text"));
    }
    assert!(
        text.contains("event: stats") && text.contains("event: sample"),
        "{text}"
    );
    let history = get(&edge, "/v1/stats/history").await;
    let count = history["count"].as_u64().expect("a number");
    let column = history["hits"]["segment"].as_array().expect("a column");
    assert_eq!(column.len() as u64, count);
    assert_eq!(column.iter().filter_map(Value::as_u64).sum::<u64>(), 9);
    let waited = history["origin_first_byte_seconds"]
        .as_array()
        .expect("a column");
    assert_eq!(waited.iter().filter(|it| it.is_number()).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_show_what_counts_and_no_secret() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let zones = get(&edge, "/v1/zones").await;
    let zone = &zones["zones"][0];
    assert_eq!(
        (&zone["name"], &zone["hostnames"]),
        (&json!("test"), &json!(["cdn.test"]))
    );
    assert_eq!(
        zone["token"]["keys"],
        json!([{ "name": "main", "secret": "masked" }])
    );
    assert_eq!(zone["origin"]["bucket"], "media");
    assert_eq!(zone["origin"]["answer_timeout"], 10.0);
    let text = zones.to_string();
    assert!(
        !text.contains(KEY) && !text.contains("dev-secret-key"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_is_not_ready_and_ends_its_connections_until_it_is_told_back() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let closes = async || {
        let reply = edge.get("/v/a.m4s").await;
        assert_eq!(reply.status, 200);
        reply.header("connection").map(str::to_owned)
    };
    assert_eq!(closes().await.as_deref(), None);
    let (code, said) = edge.warren("drain", &["--json"], KEY).await;
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &answer["draining"]), (Some(0), &json!(true)));
    assert_eq!(call(&edge, "GET", "/readyz", &Value::Null).await.0, 503);
    assert_eq!(closes().await.as_deref(), Some("close"));
    let (code, said) = edge.warren("drain", &["--end"], KEY).await;
    assert!(code == Some(0) && said.contains("is ready again"), "{said}");
    assert_eq!(call(&edge, "GET", "/readyz", &Value::Null).await.0, 200);
    assert_eq!(closes().await.as_deref(), None);
    let log = std::fs::read_to_string(audit_log(&folder)).expect("an audit log");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let what: Vec<_> = lines
        .iter()
        .map(|line| (&line["who"], &line["what"]))
        .collect();
    assert_eq!(
        what,
        [
            (&json!("ops"), &json!("drain")),
            (&json!("ops"), &json!("undrain"))
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warming_walks_a_playlist_to_its_segments_and_says_what_it_could_not_have() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let url = "http://cdn.test/v/master.m3u8";
    let (code, said) = edge.warren("warm", &[url], KEY).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("6 pulled, 0 stored already, 1 failed"),
        "{said}"
    );
    assert!(
        said.contains("http://cdn.test/v/gone.m4s: missing"),
        "{said}"
    );
    for path in ["/v/master.m3u8", "/v/low.m3u8", "/v/init.mp4", "/v/b.m4s"] {
        assert_eq!(edge.get(path).await.cache(), "HIT", "{path}");
    }
    let path = ["/v/low.m3u8", "--zone", "test", "--json"];
    let (code, said) = edge.warren("warm", &path, KEY).await;
    let last: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (code, &last["stored_already"]),
        (Some(0), &json!(4)),
        "{said}"
    );
    let few = [url, "--max-objects", "2"];
    let (code, said) = edge.warren("warm", &few, KEY).await;
    assert!(
        code == Some(1) && said.contains("stopped by max_objects"),
        "{said}"
    );
    let small = [url, "--max-bytes", "1", "--parallel", "1"];
    let (_, said) = edge.warren("warm", &small, KEY).await;
    assert!(said.contains("stopped by max_bytes"), "{said}");
    let (code, said) = edge.warren("warm", &["http://cdn.test/"], KEY).await;
    assert_eq!(code, Some(1), "the bucket is no object: {said}");
    assert!(said.contains("not_an_object"), "{said}");
    let (code, said) = edge.warren("warm", &[url], SECOND_KEY).await;
    assert!(code == Some(1) && said.contains("403"), "{said}");
}

/// A signed URL in the form for streams: its token stands in the path.
fn path_form(edge: &TestEdge, path: &str, token_path: Option<&str>) -> String {
    let key = Key::new("main", KEY.as_bytes()).expect("not empty");
    let options = Options {
        form: Form::Path,
        token_path: token_path.map(str::to_owned),
        ..Options::default()
    };
    let expires = edge.clock.unix_seconds() + 3600;
    let target = sign(path, &key, Scheme::Hs256, expires, &options).expect("signs");
    format!("http://cdn.test{target}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_carries_its_token_in_the_path_names_the_same_as_any_other() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    for folder in [Some("/v/"), None] {
        let url = path_form(&edge, "/v/a.m4s", folder);
        let target = url.strip_prefix("http://cdn.test").expect("its host");
        let status = async || edge.send("GET", target, &[]).await.status;
        let done = async |command: &'static str, more: &[&str], what: &str| {
            let arguments = [&[url.as_str()], more].concat();
            let (code, said) = edge.warren(command, &arguments, KEY).await;
            assert!(
                code == Some(0) && said.contains(what),
                "{command} {more:?}: {said}"
            );
        };
        done("warm", &[], "1 pulled").await;
        let query = percent_encoding::utf8_percent_encode(&url, percent_encoding::NON_ALPHANUMERIC);
        let found = get(&edge, &format!("/v1/cache/inspect?url={query}")).await;
        assert_eq!(
            (&found["path"], &found["stored"]),
            (&json!("/v/a.m4s"), &json!(true))
        );
        done("purge", &[], "1 object purged").await;
        done("takedown", &["--reason", "notice"], "1 taken down").await;
        assert_eq!(status().await, 451);
        done("takedown", &["--lift"], "1 served again").await;
        assert_eq!(status().await, 200);
        done("revoke", &["--reason", "shared"], "1 revoked").await;
        assert_eq!(status().await, 403);
        done("purge", &[], "1 object purged").await;
    }
    let log = std::fs::read_to_string(audit_log(&folder)).expect("an audit log");
    assert!(log.contains("\"named\":[\"test /v/a.m4s\"]"), "{log}");
    assert!(
        log.contains("test token ") && !log.contains("HS256-"),
        "{log}"
    );
    let (code, said) = edge
        .warren("takedown", &["--lift", "http://cdn.test/x"], KEY)
        .await;
    assert!(
        code == Some(1) && said.contains("nothing of that"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_an_error_with_a_name_too() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let large = json!({ "urls": ["x".repeat((4 << 20) + 1)] });
    let table = [
        (
            "GET",
            "/v1/cache/inspect?url=/a&url=/b",
            Value::Null,
            400,
            "bad_query",
        ),
        ("GET", "/purge?url=/a&url=/b", Value::Null, 400, "bad_query"),
        ("POST", "/v1/purge", large.clone(), 413, "body_too_large"),
        (
            "POST",
            "/pullzone/test/purgeCache",
            large,
            413,
            "body_too_large",
        ),
        (
            "POST",
            "/pullzone/%ff/purgeCache",
            Value::Null,
            404,
            "unknown_zone",
        ),
    ];
    for (method, path, body, status, name) in table {
        let (got, answer) = call(&edge, method, path, &body).await;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let named = answer.get("title").or(answer.get("ErrorKey"));
        assert_eq!((got, named), (status, Some(&json!(name))), "{path}");
    }
    // A prefix may be a whole host.
    let all = json!({ "prefixes": ["http://cdn.test"], "dry_run": true });
    assert_eq!(call(&edge, "POST", "/v1/purge", &all).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_tells_what_the_edge_does_and_why() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let good = crate::edge::signed(&edge.clock, "/v/a.m4s");
    let down = crate::edge::signed(&edge.clock, "/v/down.m4s");
    let takedown = json!({ "urls": ["http://cdn.test/v/down.m4s"], "reason": "notice" });
    let done = call(&edge, "POST", "/v1/takedowns", &takedown).await;
    assert_eq!(done.0, 200);
    let forged = good.replace("a.m4s", "b.m4s");
    let explain = async |target: &str, more: Value| -> Value {
        let mut body = json!({ "url": format!("http://cdn.test{target}") });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let (status, answer) = call(&edge, "POST", "/v1/explain", &body).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_slice(&answer).expect("JSON")
    };
    let bucket = crate::edge::signed(&edge.clock, "/");
    for target in [
        good.as_str(),
        &down,
        &forged,
        &bucket,
        "/v/a.m4s",
        "/v/../../x",
    ] {
        let told = explain(target, json!({})).await;
        let status = edge.send("GET", target, &[]).await.status;
        assert_eq!(told["allow"] == true, status == 200, "{target}: {told}");
    }
    assert_eq!(explain(&bucket, json!({})).await["reason"], "not_an_object");
    let told = explain(&forged, json!({})).await;
    assert_eq!(told["reason"], "bad_signature");
    assert_eq!(told["keys_tried"], json!(["main"]));
    assert_eq!(
        (&told["zone"], &told["signed_path"]),
        (&json!("test"), &json!("/v/b.m4s"))
    );
    let (_, expires) = good.split_once("expires=").expect("a query");
    let expires: u64 = expires.parse().expect("a number");
    let late = expires + 100;
    let told = explain(&good, json!({ "at": late })).await;
    assert_eq!(
        (&told["reason"], &told["expires_in"]),
        (&json!("expired"), &json!(-100))
    );
    let milliseconds = json!({ "url": "/v/a.m4s", "zone": "test", "at": late * 1_000 });
    let (status, wrong) = call(&edge, "POST", "/v1/explain", &milliseconds).await;
    let wrong = String::from_utf8_lossy(&wrong).into_owned();
    assert!(status == 400 && wrong.contains("bad_time"), "{wrong}");
    assert_eq!(explain(&down, json!({})).await["reason"], "taken_down");
    // The command line, with the same configuration, says the same.
    let mut setup = Setup::s3(origin.addr());
    setup.access_keys = format!("[]\nstate_dir = {:?}", folder.path().display().to_string());
    let config = folder.path().join("warren.toml");
    std::fs::write(&config, setup.toml()).expect("written");
    for target in [&good, &down, &forged] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_warren"))
            .args([
                "explain",
                &format!("http://cdn.test{target}"),
                "--json",
                "--config",
            ])
            .arg(&config)
            .envs([
                ("KEY", KEY),
                ("SECOND", SECOND_KEY),
                ("ACCESS", "dev-access-key"),
                ("SECRET", "dev-secret-key"),
            ])
            .output()
            .expect("the binary runs");
        let mut said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut told = explain(target, json!({})).await;
        for either in [&mut said, &mut told] {
            either["now"] = Value::Null;
            either["expires_in"] = Value::Null;
        }
        assert_eq!(said, told);
    }
}
