//! The access log as an operator reads it: a file with one line for each
//! request, and no token in it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::edge::{Connection, Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

async fn start(format: &str, more: &str, files: &TempDir) -> (TestEdge, DevOrigin) {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/v/a.ts", vec![7; 5_000], "video/mp2t");
    let mut setup = Setup::s3(origin.addr());
    let file = files.path().join("access.log").display().to_string();
    setup.log = format!("access = \"{format}\"\naccess_file = {file:?}\n{more}");
    setup.zone.push_str("trusted_proxies = [\"127.0.0.0/8\"]\n");
    (setup.start().await, origin)
}

/// The log's lines, once there are `count` of them.
pub async fn lines(files: &TempDir, count: usize) -> Vec<String> {
    let path = files.path().join("access.log");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let all = async {
        while read(&path).lines().count() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .unwrap_or_else(|_| panic!("{count} lines, but there is {:?}", read(&path)));
    read(&path).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_one_json_line_that_says_what_became_of_it() {
    let files = TempDir::new().expect("a folder");
    let (edge, _origin) = start("json", "", &files).await;
    let target = signed(&edge.clock, "/v/a.ts");
    let token = target
        .split_once("token=")
        .and_then(|(_, rest)| rest.split('&').next())
        .expect("a token")
        .to_owned();
    let added = format!("{target}&_HLS_msn=7&CMCD=br%3D1");
    let mut connection = Connection::open(edge.http()).await;
    let requests: [(&str, &str, &[(&str, &str)]); 4] = [
        (
            "GET",
            &target,
            &[
                ("X-Forwarded-For", "192.0.2.77"),
                ("User-Agent", "player \"1\""),
                ("Referer", "https://play.example/"),
            ],
        ),
        ("GET", &added, &[("Range", "bytes=0-99")]),
        ("GET", &target.replace("/v/a.ts", "/v/b.ts"), &[]),
        ("DELETE", "/v/a.ts", &[]),
    ];
    let mut ids = Vec::new();
    for (method, target, headers) in requests {
        connection.send(method, target, headers).await;
        let reply = connection.reply(method).await;
        ids.push(reply.header("cdn-requestid").expect("an id").to_owned());
    }
    let text = lines(&files, 4).await;
    assert!(
        text.iter().all(|line| !line.contains(&token)),
        "a token is in the log: {text:?}"
    );
    let log: Vec<Value> = text
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let rows: Vec<_> = log
        .iter()
        .map(|line| {
            (
                line["status"].as_u64().unwrap_or(0),
                line["cache"].as_str().unwrap_or("?"),
                line["kind"].as_str().unwrap_or("?"),
                line["bytes"].as_u64().unwrap_or(0),
                line["reason"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    let id = "Request \n".len() as u64 + 32;
    assert_eq!(
        rows,
        [
            (200, "MISS", "segment", 5_000, "-"),
            (206, "HIT", "segment", 100, "-"),
            (403, "-", "segment", 14 + id, "bad_signature"),
            (405, "-", "segment", 23 + id, "method_not_allowed"),
        ]
    );
    let first = &log[0];
    assert_eq!(first["remote_ip"], "192.0.2.0", "addresses are anonymised");
    assert_eq!(first["user_agent"], "player \"1\"");
    assert_eq!(first["referer"], "https://play.example/");
    assert_eq!(first["token_key"], "main");
    assert_eq!(first["left_out"], Value::Null);
    assert_eq!(log[1]["left_out"], serde_json::json!(["_HLS_msn", "CMCD"]));
    assert_eq!(first["zone"], "test");
    assert_eq!(first["protocol"], "HTTP/1.1");
    assert!(
        first["url"]
            .as_str()
            .is_some_and(|url| url.starts_with("/v/a.ts?token=redacted&expires=")),
        "{first}"
    );
    assert!(first["duration"].as_f64() >= first["ttfb"].as_f64());
    assert_eq!(first["cache_key"], log[1]["cache_key"]);
    let logged: Vec<_> = log.iter().map(|line| line["request_id"].clone()).collect();
    assert_eq!(logged, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_line_has_its_twelve_fields_on_the_wire_too() {
    let files = TempDir::new().expect("a folder");
    let (edge, _origin) = start("bunny", "anonymise_ip = false\n", &files).await;
    let target = signed(&edge.clock, "/v/a.ts");
    let headers = [("X-Forwarded-For", "192.0.2.77"), ("User-Agent", "one|two")];
    let reply = edge.send("GET", &target, &headers).await;
    edge.settled().await;
    edge.send("GET", "/v/a.ts?token=HS256-forged&expires=1", &[])
        .await;
    let text = lines(&files, 2).await;
    let fields: Vec<&str> = text[0].split('|').collect();
    assert_eq!(fields.len(), 12, "{text:?}");
    let near = fields[2].parse::<u64>().expect("milliseconds") / 1000;
    assert!(near.abs_diff(edge.clock.unix_seconds()) < 60, "{near}");
    assert_eq!(
        [&fields[..2], &fields[3..7], &fields[8..10]].concat(),
        ["MISS", "200", "5000", "7", "192.0.2.77", "-", "-", "onetwo"]
    );
    assert!(
        fields[7].starts_with("cdn.test/v/a.ts?token=redacted&expires="),
        "{}",
        fields[7]
    );
    assert_eq!(Some(fields[10]), reply.header("cdn-requestid"));
    assert!(
        text[1].starts_with("-|403|") && !text[1].contains("forged"),
        "{}",
        text[1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_hits_one_of_so_many_is_logged_and_says_for_how_many_it_stands() {
    let files = TempDir::new().expect("a folder");
    let (edge, _origin) = start("json", "sample_hits = 4\n", &files).await;
    for _ in 0..201 {
        assert_eq!(edge.get("/v/a.ts").await.status, 200);
    }
    assert_eq!(edge.send("GET", "/v/a.ts", &[]).await.status, 403);
    let forged = signed(&edge.clock, "/v/a.ts").replace("a.ts", "index.m3u8");
    assert_eq!(edge.send("GET", &forged, &[]).await.status, 403);
    edge.settled().await;
    edge.running.node.log.flush();
    let lines = lines(&files, 3).await;
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of = |cache: &str| lines.iter().filter(|line| line["cache"] == cache).count();
    assert_eq!((of("MISS"), of("-")), (1, 2), "what is no hit is logged");
    // A line is written behind its answer: the next may come first.
    let mut refused = lines.iter().filter(|line| line["cache"] == "-");
    let forged = refused.find(|line| line["kind"] == "playlist");
    let token = forged.expect("what was refused has a kind")["token"].as_str();
    assert_eq!(token.map(str::len), Some(32), "and its token");
    // 200 hits, a chance of 1 in 4 each: outside of this once in 10^9.
    assert!((15..=95).contains(&of("HIT")), "{}", of("HIT"));
    let weights = lines.iter().map(|line| line["weight"].as_u64());
    assert_eq!(weights.max(), Some(Some(4)));
    let miss = lines.iter().find(|line| line["cache"] == "MISS");
    assert_eq!(miss.expect("a miss")["weight"], 1, "it stands for itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_moved_away_is_opened_anew() {
    let files = TempDir::new().expect("a folder");
    let (edge, _origin) = start("json", "", &files).await;
    let (path, moved) = (
        files.path().join("access.log"),
        files.path().join("access.1"),
    );
    assert_eq!(edge.get("/v/a.ts").await.status, 200);
    edge.settled().await;
    std::fs::rename(&path, &moved).expect("moved");
    edge.running.reopen_logs().expect("opened anew");
    assert_eq!(edge.send("GET", "/v/a.ts", &[]).await.status, 403);
    let new = lines(&files, 1).await;
    assert!(new[0].contains("\"status\":403"), "{}", new[0]);
    let old = std::fs::read_to_string(&moved).expect("the old file");
    assert!(
        old.contains("\"status\":200") && old.lines().count() == 1,
        "{old}"
    );
    std::fs::remove_dir_all(files.path()).expect("removed");
    assert!(
        edge.running.reopen_logs().is_err(),
        "and says where it cannot"
    );
}
