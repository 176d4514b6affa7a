//! What `explain` says is what the edge does.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::edge::{KEY, Setup, TestEdge};

const ZONES: usize = 24;
const URLS: usize = 24;

/// The rules of a zone that its keys depend on.
fn rules() -> impl Strategy<Value = String> {
    let query = prop_oneof!["\"ignore\"", "\"all\"", "\\[\"v\", \"b\"\\]"];
    let vary = prop_oneof!["", "\"origin\"", "\"x-b\", \"accept-language\""];
    let policy = prop_oneof!["hls", "origin"];
    let flags = any::<[bool; 4]>();
    (query, vary, policy, flags).prop_map(|(query, vary, policy, flags)| {
        let [s3, keys, prefix, host] = flags;
        let kind = if s3 {
            "kind = \"s3\"\nbucket = \"media\"\n"
        } else {
            "kind = \"http\"\n"
        };
        let host = format!("forward_host = {}\n", host && !s3);
        let prefix = if prefix { "prefix = \"/films\"\n" } else { "" };
        let keys = if keys {
            "keys = [{ name = \"k\", env = \"KEY\" }]\n"
        } else {
            ""
        };
        let host = if s3 { "" } else { &host };
        format!(
            "[zone.token]\nrequired = false\n{keys}[zone.cache]\nquery = {query}\nvary = [{vary}]\n\
             policy = \"{policy}\"\n[zone.origin]\n{kind}{prefix}{host}"
        )
    })
}

fn target() -> impl Strategy<Value = String> {
    let path = "/v(/[ab]{1,2}|/%61|/a%20b){0,2}/[a-c](\\.ts|\\.m3u8|\\.m4s|)";
    let pair = "(v|b|w|_HLS_msn|_HLS_part|_HLS_skip|CMCD|%76)=(1|2|YES|)";
    let query = prop::collection::vec(pair, 0..4);
    (path, query).prop_map(|(path, query)| match query.is_empty() {
        true => path,
        false => format!("{path}?{}", query.join("&")),
    })
}

fn drawn<T: std::fmt::Debug>(runner: &mut TestRunner, of: &impl Strategy<Value = T>) -> T {
    of.new_tree(runner).expect("a value").current()
}

/// An origin that has whatever it is asked for, for a while.
async fn agreeable() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    head.extend_from_slice(&buffer[..count]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let body = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-ENDLIST\n";
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n\
                             Content-Length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                }
            });
        }
    });
    address
}

async fn explained(edge: &TestEdge, url: &str) -> Value {
    let question = json!({ "url": url }).to_string();
    let reply = edge.call("POST", "/v1/explain", KEY, &question).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_key_that_explain_tells_is_the_one_that_the_edge_uses() {
    let origin = agreeable().await;
    let mut runner = TestRunner::deterministic();
    let mut setup = Setup::http(origin);
    setup.access_keys = "[{ name = \"ops\", env = \"KEY\", rights = \"admin\" }]".into();
    for number in 0..ZONES {
        let (rules, id) = (drawn(&mut runner, &rules()), 100 + number);
        let head = format!("name = \"z{number}\"\nid = {id}\nhostnames = [\"z{number}.test\"]\n");
        let endpoint = format!("endpoints = [\"http://{origin}\"]\n");
        setup.more += &format!("[[zone]]\n{head}{rules}{endpoint}");
    }
    let edge = setup.start().await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let config = folder.path().join("explain.toml");
    std::fs::write(&config, setup.toml()).expect("written");
    let mut keys = std::collections::BTreeSet::new();
    for number in 0..ZONES {
        let host = format!("z{number}.test");
        for count in 0..URLS {
            let target = drawn(&mut runner, &target());
            // What a name does not tell is known from its first answer on.
            let mut status = String::new();
            for _ in 0..4 {
                let reply = edge.send("GET", &target, &[("host", &host)]).await;
                assert_eq!(reply.status, 200, "{host} {target}");
                status = reply.header("cache-status").unwrap_or_default().to_owned();
                if status.contains("; hit; ") {
                    break;
                }
            }
            let key = status.split_once("key=");
            let (_, key) = key.unwrap_or_else(|| panic!("{target}: {status}"));
            let key = key[..16].to_owned();
            let url = format!("http://{host}{target}");
            // For the calls' own limit.
            edge.clock.advance(Duration::from_millis(200));
            let told = explained(&edge, &url).await["cache_key"].clone();
            assert_eq!(json!(key), told, "{url}: {status}\n{}", setup.more);
            keys.insert(key);
            // The command line with the same configuration, too.
            if count == 0 {
                let output = std::process::Command::new(env!("CARGO_BIN_EXE_warren"))
                    .args(["explain", &url, "--json", "--config"])
                    .arg(&config)
                    .env("KEY", KEY)
                    .output()
                    .expect("the binary runs");
                let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                assert_eq!(said["cache_key"], told, "{url}");
            }
        }
    }
    assert!(keys.len() > ZONES * URLS / 4, "{} keys", keys.len());
}
