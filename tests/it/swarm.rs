//! Viewers by the dozen against a whole edge: what the swarm reports is what
//! the edge and the origin have seen.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use warren::clock::Clock;
use warren::swarm::{Report, Settings, Variant, run};
use warren::token::sign::{Form, Options, sign};
use warren::token::{Key, Scheme};
use warren::trust::client_config;

use crate::edge::{KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};
use crate::tls::certify;

const VIEWERS: usize = 20;

async fn origin() -> DevOrigin {
    DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts")
}

fn playlist(first: u64, count: u64, ended: bool) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    for number in first..first + count {
        text.push_str(&format!("#EXTINF:1.0,\nseg{number}.ts\n"));
    }
    if ended {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

fn put(origin: &DevOrigin, playlist_text: String, segments: std::ops::Range<u64>) {
    for number in segments {
        origin.put(
            &format!("/media/v/seg{number}.ts"),
            vec![7; 20_000],
            "video/mp2t",
        );
    }
    origin.put(
        "/media/v/index.m3u8",
        playlist_text,
        "application/vnd.apple.mpegurl",
    );
}

/// A directory token in path form: every segment of the stream is under it.
fn url(edge: &TestEdge, secret: &str) -> String {
    url_at(&format!("http://{}", edge.http()), secret)
}

fn url_at(base: &str, secret: &str) -> String {
    let key = Key::new("main", secret.as_bytes()).expect("not empty");
    let options = Options {
        form: Form::Path,
        token_path: Some("/v/".into()),
        ..Options::default()
    };
    let expires = Clock::default().unix_seconds() + 3600;
    let base = format!("{base}/v/index.m3u8");
    sign(&base, &key, Scheme::Hs256, expires, &options).expect("signs")
}

async fn watched(url: String, duration: u64) -> Report {
    let settings = Settings {
        url,
        viewers: VIEWERS,
        ramp: Duration::from_secs(1),
        duration: Duration::from_secs(duration),
        variant: Variant::First,
        buffer: Duration::from_secs(30),
        own_host: None,
        connect: None,
        trusted: Arc::new(client_config(None).expect("the system's")),
    };
    run(settings, Clock::default(), |_| {}).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_viewers_play_an_ended_stream_that_is_pulled_once() {
    let origin = origin().await;
    put(&origin, playlist(0, 4, true), 0..4);
    let edge = Setup::s3(origin.addr()).start().await;
    // Long enough to begin again: the end of the stream is no stall.
    let report = watched(url(&edge, KEY), 6).await;
    assert_eq!(
        (report.viewers, report.played),
        (VIEWERS, VIEWERS),
        "{report}"
    );
    assert_eq!((report.stalls, report.errors), (0, 0), "{report}");
    assert!(report.segments >= 4 * VIEWERS as u64, "{report}");
    assert!(report.hit_ratio > 0.8, "{report}");
    assert_eq!(report.statuses.keys().collect::<Vec<_>>(), [&200]);
    for number in 0..4 {
        assert_eq!(origin.count(&format!("seg{number}.ts")), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_viewers_follow_a_live_stream_at_its_pace() {
    let origin = origin().await;
    put(&origin, playlist(0, 5, false), 0..5);
    let edge = Setup::s3(origin.addr()).start().await;
    let writer = async {
        for first in 1..8 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            put(&origin, playlist(first, 5, false), first + 4..first + 5);
        }
    };
    let (report, ()) = tokio::join!(watched(url(&edge, KEY), 6), writer);
    assert_eq!((report.played, report.errors), (VIEWERS, 0), "{report}");
    // Three segments at the edge, then one a second; never one from before it.
    let each = report.segments as f64 / VIEWERS as f64;
    assert!(
        (5.0..=10.0).contains(&each),
        "{each} segments for each viewer\n{report}"
    );
    assert_eq!(origin.count("seg0.ts") + origin.count("seg1.ts"), 0);
    for number in 2..8 {
        assert_eq!(
            origin.count(&format!("seg{number}.ts")),
            1,
            "segment {number}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_viewers_are_counted_and_nobody_else_is_loaded() {
    let origin = origin().await;
    put(&origin, playlist(0, 2, true), 0..2);
    let edge = Setup::s3(origin.addr()).start().await;
    let report = watched(url(&edge, "another-key"), 1).await;
    assert_eq!((report.played, report.statuses[&403]), (0, VIEWERS as u64));
    let swarm = |arguments: &[&str]| {
        let warren = env!("CARGO_BIN_EXE_warren");
        let run = Command::new(warren).arg("swarm").args(arguments).output();
        run.expect("the binary runs").status.code()
    };
    let forged = url(&edge, "another-key");
    let few = ["--viewers", "2", "--ramp", "1s", "--duration", "1s"];
    let refused = tokio::task::spawn_blocking(move || {
        [
            swarm(&[&[forged.as_str()], &few[..]].concat()),
            swarm(&["http://edge.example.net/v/index.m3u8"]),
            swarm(&["http://127.0.0.1:1/", "--viewers", "0"]),
        ]
    });
    assert_eq!(refused.await.expect("ran"), [Some(1), Some(2), Some(2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_over_tls_is_loaded_under_the_name_that_it_serves() {
    let origin = origin().await;
    put(&origin, playlist(0, 2, true), 0..2);
    let files = TempDir::new().expect("a folder");
    let (entry, _) = certify(files.path(), "cdn.test");
    let mut setup = Setup::s3(origin.addr());
    setup.listen = "https = [\"127.0.0.1:0\"]\n".into();
    setup.server = format!("[tls]\ncertificates = [{entry}]\n");
    setup.zone = "hostnames = [\"cdn.test\"]\n".into();
    let edge = setup.start().await;
    let place = edge.running.https[0].to_string();
    let ca_file = files.path().join("cdn.test.pem").display().to_string();
    let url = url_at("https://cdn.test", KEY);
    let swarm = move |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        let few = ["--viewers", "3", "--ramp", "0s", "--duration", "2s"];
        let command = command.args(["swarm", &url, "--connect", &place]);
        let output = command.args(few).args(more).output();
        let output = output.expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said)
    };
    let runs = tokio::task::spawn_blocking(move || [swarm(&["--ca-file", &ca_file]), swarm(&[])]);
    let [trusting, other] = runs.await.expect("ran");
    assert!(
        trusting.0 == Some(0) && trusting.1.contains("3 of 3 played"),
        "{trusting:?}"
    );
    assert!(
        other.0 == Some(1)
            && other.1.contains("nothing answered")
            && other.1.contains("certificate"),
        "{other:?}"
    );
}
