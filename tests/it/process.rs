//! The binary as a service manager runs it: readiness, signals, a drain under
//! load, and exit codes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tempfile::TempDir;
use warren::token::sign::{Form, Options, sign};
use warren::token::{Key, Scheme};

use crate::edge::{Connection, KEY, Setup, metrics, signed};
use crate::origin::{DevOrigin, DevOriginOptions};
use crate::served::{Process, free_port, signal};

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/a.ts", vec![5; 400_000], "video/mp2t");
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_every_running_request_end_and_takes_no_more() {
    const VIEWERS: usize = 50;
    let origin = origin().await;
    let gate = origin.hold("/a.ts", None);
    let mut process = Process::start(&Setup::s3(origin.addr()));
    let (address, admin) = process.addresses();
    let target = signed(&warren::clock::Clock::default(), "/a.ts");
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        let mut viewer = Connection::open(address).await;
        viewer.send("GET", &target, &[]).await;
        viewers.push(viewer);
    }
    let riders = format!(
        "warren_pulls_total{{event=\"collapsed\"}} {}\n",
        VIEWERS - 1
    );
    while !metrics(admin).await.contains(&riders) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.signal("TERM");
    // The listener is closed once new connections are refused.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.release();
    for mut viewer in viewers {
        let reply = viewer.reply("GET").await;
        assert_eq!((reply.status, reply.body.len()), (200, 400_000));
        assert!(reply.whole);
    }
    let (status, log) = process.end().await;
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("\"stopped\""), "{log}");
    assert_eq!(origin.count("a.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_outlasts_the_grace_period_does_not_hold_the_node() {
    let origin = origin().await;
    let gate = origin.hold("/a.ts", None);
    let mut setup = Setup::s3(origin.addr());
    setup.listen.push_str("grace_period = \"1s\"\n");
    let mut process = Process::start(&setup);
    let mut viewer = Connection::open(process.addresses().0).await;
    viewer
        .send(
            "GET",
            &signed(&warren::clock::Clock::default(), "/a.ts"),
            &[],
        )
        .await;
    gate.arrived(1).await;
    process.signal("TERM");
    let (status, log) = process.end().await;
    assert!(status.success(), "{status}");
    assert!(log.contains("stopped with requests still running"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_ends_the_start_and_names_the_address() {
    let origin = origin().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut setup = Setup::s3(origin.addr());
    setup.listen = format!("http = [\"127.0.0.1:0\", \"{address}\"]\n");
    let (status, log) = Process::start(&setup).end().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains(&format!("cannot listen on {address}")),
        "{log}"
    );
}

/// A viewer who asks again and again, on one connection for as long as it is
/// kept; ends when `until` says so, or when nobody accepts: a connection that the
/// kernel took for a listener that closes meanwhile ends without a word. Returns
/// how many answers were whole and right. A request on an accepted connection
/// that gets none is a failure.
async fn viewer(address: SocketAddr, target: String, until: Arc<AtomicBool>) -> usize {
    let mut answers = 0;
    while !until.load(Relaxed) {
        let Ok(probe) = tokio::net::TcpStream::connect(address).await else {
            break;
        };
        let mut connection = Connection::of(probe);
        let request = format!("GET {target} HTTP/1.1\r\nHost: cdn.test\r\n\r\n");
        let mut first = true;
        loop {
            connection.write_if_open(request.as_bytes()).await;
            let Some(reply) = connection.reply_or_end("GET").await else {
                assert!(first, "an accepted connection ended without an answer");
                return answers;
            };
            first = false;
            assert!(reply.whole && reply.status == 200, "{reply:?}");
            assert_eq!(reply.body.len(), 1_000);
            answers += 1;
            if reply.header("connection") == Some("close") || until.load(Relaxed) {
                break;
            }
        }
    }
    answers
}

struct Crowd {
    until: Arc<AtomicBool>,
    viewers: Vec<tokio::task::JoinHandle<usize>>,
}

impl Crowd {
    fn of(size: usize, address: SocketAddr) -> Self {
        let target = signed(&warren::clock::Clock::default(), "/small.ts");
        let until = Arc::new(AtomicBool::new(false));
        let viewers = (0..size)
            .map(|_| tokio::spawn(viewer(address, target.clone(), Arc::clone(&until))))
            .collect();
        Self { until, viewers }
    }

    /// All answers, every one of them right.
    async fn end(self) -> usize {
        self.until.store(true, Relaxed);
        self.left().await
    }

    async fn left(self) -> usize {
        let mut answers = 0;
        for viewer in self.viewers {
            answers += viewer.await.expect("no request failed");
        }
        answers
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_drops_no_request_and_a_bad_file_changes_nothing() {
    let origin = origin().await;
    origin.put("/media/small.ts", vec![5; 1_000], "video/mp2t");
    let setup = Setup::s3(origin.addr());
    let mut process = Process::start(&setup);
    let (address, admin) = process.addresses();
    let target = signed(&warren::clock::Clock::default(), "/small.ts");
    let mut first = Connection::open(address).await;
    first.send("GET", &target, &[]).await;
    assert_eq!(first.reply("GET").await.cache(), "MISS");
    let crowd = Crowd::of(8, address);
    let mut silent = setup.clone();
    silent.zone.push_str("cors = false\n");
    for turn in 0..6 {
        let (now, cors) = match turn % 2 {
            0 => (&silent, None),
            _ => (&setup, Some("*")),
        };
        let line = process.reload(now);
        assert!(line.contains("\"reloaded\""), "{line}");
        let mut viewer = Connection::open(address).await;
        viewer.send("GET", &target, &[]).await;
        let reply = viewer.reply("GET").await;
        // The header of an object that was stored before stays with it.
        assert_eq!((reply.status, reply.cache()), (200, "HIT"));
        let mut refused = Connection::open(address).await;
        refused.send("GET", "/small.ts", &[]).await;
        let refused = refused.reply("GET").await;
        assert_eq!(refused.header("access-control-allow-origin"), cors);
    }
    let mut bad = setup.clone();
    bad.zone.push_str("nonsense = 1\n");
    let line = process.reload(&bad);
    assert!(
        line.contains("not reloaded") && line.contains("nonsense"),
        "{line}"
    );
    let mut elsewhere = setup.clone();
    elsewhere.memory = "128MiB";
    let line = process.reload(&elsewhere);
    assert!(
        line.contains("need a restart") && line.contains("cache"),
        "{line}"
    );
    let text = metrics(admin).await;
    for series in [
        "warren_config_reloads_total{result=\"ok\"} 7\n",
        "warren_config_reloads_total{result=\"refused\"} 1\n",
        "warren_config_last_reload_successful 1\n",
    ] {
        assert!(text.contains(series), "{series}");
    }
    assert!(crowd.end().await > 100);
    assert_eq!(origin.count("small.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_fails_no_request_on_an_accepted_connection() {
    let origin = origin().await;
    origin.put("/media/small.ts", vec![5; 1_000], "video/mp2t");
    let mut setup = Setup::s3(origin.addr());
    setup.listen = setup.listen.replace("\"0s\"", "\"500ms\"");
    let mut process = Process::start(&setup);
    let (address, admin) = process.addresses();
    // One who says nothing does not hold the node.
    let _idle = Connection::open(address).await;
    let crowd = Crowd::of(8, address);
    process.signal("TERM");
    let mut readiness = 200;
    while readiness == 200 {
        let mut admin = Connection::open(admin).await;
        admin.send("GET", "/readyz", &[("Host", "localhost")]).await;
        readiness = admin.reply("GET").await.status;
    }
    assert_eq!(readiness, 503);
    // Not ready any more, and still taking who comes.
    let mut late = Connection::open(address).await;
    let target = signed(&warren::clock::Clock::default(), "/small.ts");
    late.send("GET", &target, &[]).await;
    assert_eq!(late.reply("GET").await.status, 200);
    let answers = crowd.left().await;
    assert!(answers > 100, "{answers}");
    let (status, log) = process.end().await;
    assert!(status.success() && log.contains("\"stopped\""), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_under_load_fails_no_request_and_no_connection() {
    let origin = origin().await;
    origin.put("/media/small.ts", vec![5; 1_000], "video/mp2t");
    let mut setup = Setup::s3(origin.addr());
    // The new process finds its sockets by their addresses.
    setup.listen = format!("http = [\"127.0.0.1:{}\"]\n", free_port());
    setup.admin = format!("127.0.0.1:{}", free_port());
    let mut process = Process::start(&setup);
    let (address, admin) = process.addresses();
    let crowd = Crowd::of(8, address);
    process.signal("USR2");
    let line = process.line_with("the new process serves");
    let pid = line.split_once("\"pid\":").map(|(_, rest)| rest);
    let pid = pid.and_then(|rest| rest.split(['}', ',']).next()?.parse::<u32>().ok());
    let pid = pid.expect("the log names the process");
    process.line_with("\"stopped\"");
    let status = process.child.wait().expect("the old one ends");
    assert!(status.success(), "{status}");
    let going_on = crowd.viewers.iter().all(|viewer| !viewer.is_finished());
    assert!(going_on, "somebody found nobody listening");
    let mut ready = Connection::open(admin).await;
    ready.send("GET", "/readyz", &[("Host", "localhost")]).await;
    assert_eq!(ready.reply("GET").await.status, 200);
    assert!(crowd.end().await > 100);
    signal(pid, "TERM");
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_does_not_start_leaves_the_node_as_it_is() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.listen = format!("http = [\"127.0.0.1:{}\"]\n", free_port());
    let mut process = Process::start(&setup);
    let (address, _) = process.addresses();
    std::fs::write(process.files.path().join("warren.toml"), "nonsense").expect("written");
    process.signal("USR2");
    let line = process.line_with("not upgraded");
    assert!(line.contains("exit status: 64"), "{line}");
    let mut viewer = Connection::open(address).await;
    let target = signed(&warren::clock::Clock::default(), "/a.ts");
    viewer.send("GET", &target, &[]).await;
    assert_eq!(viewer.reply("GET").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_is_told_what_the_node_does() {
    let origin = origin().await;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&path).expect("a socket");
    let setup = Setup::s3(origin.addr());
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().expect("text")),
        ("WATCHDOG_USEC", "100000"),
    ];
    let mut process = Process::start_with(&setup, &environment);
    let told = async |what: &str| {
        let mut buffer = [0; 512];
        loop {
            let receiving = manager.recv(&mut buffer);
            let count = tokio::time::timeout(Duration::from_secs(10), receiving);
            let count = count.await.expect("in time").expect("a datagram");
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if text.contains(what) {
                return text;
            }
        }
    };
    told("READY=1").await;
    let (address, _) = process.addresses();
    assert!(
        tokio::net::TcpStream::connect(address).await.is_ok(),
        "ready means that it listens"
    );
    for _ in 0..3 {
        told("WATCHDOG=1").await;
    }
    process.reload(&setup);
    assert!(told("RELOADING=1").await.contains("MONOTONIC_USEC="));
    told("READY=1").await;
    process.signal("TERM");
    told("STOPPING=1").await;
    assert!(process.end().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_down_during_an_upgrade_is_so_for_the_old_process_s_viewers_too() {
    let origin = origin().await;
    origin.put("/media/down.ts", vec![5; 1_000], "video/mp2t");
    origin.put("/media/held.ts", vec![5; 1_000], "video/mp2t");
    let gate = origin.hold("/held.ts", None);
    let kept = TempDir::new().expect("a folder");
    let mut setup = Setup::s3(origin.addr());
    setup.listen = format!("http = [\"127.0.0.1:{}\"]\n", free_port());
    setup.admin = format!("127.0.0.1:{}", free_port());
    setup.access_keys = format!(
        "[{{ name = \"ops\", env = \"KEY\", rights = \"admin\" }}]\nstate_dir = {:?}",
        kept.path().display().to_string()
    );
    let mut process = Process::start(&setup);
    let (address, admin) = process.addresses();
    let target = |path| signed(&warren::clock::Clock::default(), path);
    // Somebody who keeps the old process from its end, and its other viewers.
    let mut held = Connection::open(address).await;
    held.send("GET", &target("/held.ts"), &[]).await;
    gate.arrived(1).await;
    let mut viewers = Vec::new();
    for _ in 0..60 {
        let mut viewer = Connection::open(address).await;
        viewer.send("GET", &target("/down.ts"), &[]).await;
        assert_eq!(viewer.reply("GET").await.status, 200);
        viewers.push(viewer);
    }
    process.signal("USR2");
    let line = process.line_with("the new process serves");
    let pid = line.split_once("\"pid\":").map(|(_, rest)| rest);
    let pid = pid.and_then(|rest| rest.split(['}', ',']).next()?.parse::<u32>().ok());
    let body = "{\"urls\":[\"/down.ts\"],\"zone\":\"test\",\"reason\":\"notice\"}";
    let call = format!(
        "POST /v1/takedowns HTTP/1.1\r\nHost: localhost\r\nAccessKey: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        KEY,
        body.len()
    );
    let mut operator = Connection::open(admin).await;
    operator.write(call.as_bytes()).await;
    assert_eq!(operator.reply("POST").await.status, 200);
    // Each of the old process's connections has one more answer.
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut status = 200;
    for viewer in &mut viewers {
        tick.tick().await;
        viewer.send("GET", &target("/down.ts"), &[]).await;
        status = viewer.reply("GET").await.status;
        if status == 451 {
            break;
        }
    }
    assert_eq!(status, 451);
    gate.release();
    assert_eq!(held.reply("GET").await.status, 200);
    signal(pid.expect("the log names the process"), "TERM");
}

/// What a command for running edges comes to, and says.
async fn told(arguments: &[&str], more: &[(&str, String)]) -> (Option<i32>, String) {
    let Some(binary) = option_env!("CARGO_BIN_EXE_warren") else {
        panic!("cargo names the binary to tests alone");
    };
    let mut command = std::process::Command::new(binary);
    command.args(arguments).env("WARREN_ACCESS_KEY", KEY);
    command.envs(more.iter().map(|(name, value)| (name, value)));
    let run = move || command.output().expect("the binary runs");
    let done = tokio::task::spawn_blocking(run).await.expect("it ends");
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_signals_do_is_done_by_commands_that_say_what_came_of_it() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.listen = format!("http = [\"127.0.0.1:{}\"]\n", free_port());
    setup.admin = format!("127.0.0.1:{}", free_port());
    setup.access_keys = "[{ name = \"ops\", env = \"KEY\", rights = \"admin\" }]".into();
    let mut process = Process::start(&setup);
    let (address, admin) = process.addresses();
    let here = [("WARREN_ADMIN", format!("http://{admin}"))];
    let config = process.files.path().join("warren.toml");
    let write = |text: &str| std::fs::write(&config, text).expect("written");

    let (code, said) = told(&["reload"], &here).await;
    assert_eq!((code, said.contains("reloaded")), (Some(0), true), "{said}");
    let mut larger = setup.clone();
    larger.memory = "128MiB";
    write(&larger.toml());
    let (code, said) = told(&["reload"], &here).await;
    assert_eq!(
        (code, said.contains("cache: they need a restart")),
        (Some(0), true),
        "{said}"
    );
    write("nonsense = 1");
    for order in ["reload", "upgrade"] {
        let (code, said) = told(&[order], &here).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("nonsense") || said.contains("exit status: 64"),
            "{said}"
        );
    }
    let (code, said) = told(&["reopen"], &here).await;
    assert_eq!(code, Some(0), "{said}");

    write(&setup.toml());
    let (code, said) = told(&["upgrade"], &here).await;
    assert_eq!(code, Some(0), "{said}");
    let pid = said
        .rsplit(' ')
        .next()
        .and_then(|pid| pid.trim().parse().ok());
    assert!(process.child.wait().expect("the old one ends").success());
    let (code, said) = told(&["zones"], &here).await;
    assert_eq!((code, said.contains("signed")), (Some(0), true), "{said}");
    signal(pid.expect("a process"), "TERM");
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_are_called_by_their_names_and_all_of_them_by_none() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("edges");
    let nobody = free_port();
    let lines =
        format!("# ours\none http://127.0.0.1:{nobody}\ntwo http://127.0.0.1:{nobody}/ # b\n");
    std::fs::write(&file, lines).expect("written");
    let here = [("WARREN_EDGES", file.display().to_string())];
    let (code, said) = told(&["zones"], &here).await;
    assert_eq!(
        (code, said.matches("Connection refused").count()),
        (Some(1), 2),
        "{said}"
    );
    let (code, said) = told(&["zones", "--admin", "two"], &here).await;
    assert_eq!(
        (code, said.matches("Connection refused").count()),
        (Some(1), 1),
        "{said}"
    );
    let list = file.display().to_string();
    let (code, said) = told(&["explain", "/a.ts", "--edges", &list], &[]).await;
    assert_eq!(
        (code, said.matches("Connection refused").count()),
        (Some(1), 2),
        "{said}"
    );
    let (code, said) = told(&["zones", "--admin", "three"], &here).await;
    assert_eq!(
        (code, said.contains("there are one, two")),
        (Some(2), true),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_asks_the_origin_and_says_what_is_wrong_with_it_in_its_words() {
    let origin = origin().await;
    let folder = TempDir::new().expect("a folder");
    let config = folder.path().join("warren.toml");
    let good = Setup::s3(origin.addr()).toml();
    let secrets: Vec<(&str, String)> = [
        ("KEY", KEY),
        ("ACCESS", "dev-access-key"),
        ("SECRET", "dev-secret-key"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let refused = format!("http://127.0.0.1:{}", free_port());
    let at = format!("http://{}", origin.addr());
    for (from, to, more, code, says) in [
        ("", "", None, 0, "says that there is no such object"),
        ("", "", Some("/a.ts"), 0, "the object is read"),
        ("", "", Some("/none.ts"), 1, "no such object"),
        (
            "bucket = \"media\"",
            "bucket = \"nosuch\"",
            None,
            1,
            "NoSuchBucket",
        ),
        (
            "env = \"SECRET\"",
            "env = \"KEY\"",
            None,
            1,
            "SignatureDoesNotMatch",
        ),
        (&at, &refused, None, 1, "connect_refused"),
        (&at, "http://nobody.invalid:9000", None, 1, "dns: "),
    ] {
        std::fs::write(&config, good.replace(from, to)).expect("written");
        let mut call = vec![
            "check",
            "--origin",
            "--config",
            config.to_str().expect("text"),
        ];
        call.extend(more.iter().flat_map(|object| ["--object", object]));
        let (status, said) = told(&call, &secrets).await;
        assert_eq!(status, Some(code), "{to}: {said}");
        assert!(
            said.contains(says) && said.contains("zone test"),
            "{to}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_walks_what_a_url_names_and_tells_what_does_not_play() {
    let origin = origin().await;
    let playlist = "application/vnd.apple.mpegurl";
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n";
    let media =
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n0.ts\n#EXTINF:2,\n1.ts\n#EXT-X-ENDLIST\n";
    origin.put("/media/v/master.m3u8", master, playlist);
    origin.put("/media/v/low.m3u8", media, playlist);
    origin.put("/media/v/0.ts", &b"segment"[..], "video/mp2t");
    let edge = Setup::s3(origin.addr()).start().await;
    let key = Key::new("main", KEY.as_bytes()).expect("a key");
    let expires = edge.clock.unix_seconds() + 3600;
    let in_path = Options {
        form: Form::Path,
        token_path: Some("/v/".into()),
        ..Options::default()
    };
    let url = |options: &Options| {
        let target = sign("/v/master.m3u8", &key, Scheme::Hs256, expires, options).expect("signs");
        format!("http://{}{target}", edge.http())
    };
    let (code, said) = told(&["probe", &url(&in_path)], &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("404 MISS") && said.contains("1 failed, of 3"),
        "{said}"
    );
    origin.put("/media/v/1.ts", &b"segment"[..], "video/mp2t");
    edge.clock.advance(Duration::from_secs(10));
    let (code, said) = told(&["probe", &url(&in_path)], &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("200 HIT") && said.contains("206 HIT"),
        "{said}"
    );
    assert!(said.contains("plays: 3 URLs"), "{said}");
    let (code, said) = told(&["probe", &url(&Options::default())], &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("warren sign --stream"), "{said}");
    let nobody = format!("http://127.0.0.1:{}/a.ts", free_port());
    let (code, said) = told(&["probe", &nobody, "--json"], &[]).await;
    assert!(
        code == Some(1) && said.contains("\"plays\":false"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_signed_with_one_word_and_a_playlist_alone_is_warned_of() {
    let key = [("CDN_SECURITY_KEY", KEY.to_owned())];
    let call = |more: &'static [&'static str]| {
        let mut all = vec!["sign", "http://a/v/s%201/i.m3u8", "--expires", "1893456000"];
        all.extend(more);
        all
    };
    let (code, said) = told(&call(&["--stream"]), &key).await;
    assert_eq!(code, Some(0), "{said}");
    let folder = ["--form", "path", "--token-path", "/v/s 1/"];
    let all: Vec<_> = call(&[]).into_iter().chain(folder).collect();
    assert_eq!(told(&all, &key).await, (code, said));
    let (code, said) = told(&call(&[]), &key).await;
    assert!(
        code == Some(0) && said.contains("warning: players drop"),
        "{said}"
    );
}
