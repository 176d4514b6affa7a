//! What the node makes and keeps open: files that are for its user, lists that
//! may not be lost, and open files that are not all for viewers.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::edge::{Connection, KEY, SECOND_KEY, Setup, metric, signed};
use crate::origin::{DevOrigin, DevOriginOptions};
use crate::served::Process;
use crate::tls::certify;

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    for number in 0..40 {
        let path = format!("/media/{number}.ts");
        origin.put(&path, vec![7; 5_000], "video/mp2t");
    }
    origin
}

/// The binary behind a line of shell, which says what it inherits.
fn behind(folder: &Path, line: &str) -> PathBuf {
    let script = folder.join("warren.sh");
    let binary = env!("CARGO_BIN_EXE_warren");
    std::fs::write(
        &script,
        format!("#!/bin/sh\n{line}\nexec {binary} \"$@\"\n"),
    )
    .expect("written");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("changed");
    script
}

fn keeping(origin: &DevOrigin, folder: &Path) -> Setup {
    let mut setup = Setup::s3(origin.addr());
    let at = |name: &str| folder.join(name).display().to_string();
    setup.access_keys = format!(
        "[{{ name = \"ops\", env = \"KEY\", rights = \"admin\" }}]\nstate_dir = {:?}\naudit_log = {:?}",
        folder.display().to_string(),
        at("audit.log")
    );
    setup.log = format!("access = \"json\"\naccess_file = {:?}\n", at("access.log"));
    setup
}

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let all = std::fs::read_dir(folder).expect("a folder");
    let mut modes: Vec<(String, u32)> = all
        .map(|entry| {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("metadata").permissions().mode();
            (
                entry.file_name().to_string_lossy().into_owned(),
                mode & 0o777,
            )
        })
        .collect();
    modes.sort();
    modes
}

async fn take_down(admin: std::net::SocketAddr, url: &str) {
    let body = format!("{{\"prefixes\":[{url:?}],\"zone\":\"test\",\"reason\":\"notice\"}}");
    let mut connection = Connection::open(admin).await;
    let call = format!(
        "POST /v1/takedowns HTTP/1.1\r\nHost: localhost\r\nAccessKey: {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write(call.as_bytes()).await;
    assert_eq!(connection.reply("POST").await.status, 200);
}

async fn status(address: std::net::SocketAddr, path: &str) -> u16 {
    let mut connection = Connection::open(address).await;
    let target = signed(&warren::clock::Clock::default(), path);
    connection.send("GET", &target, &[]).await;
    connection.reply("GET").await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_node_makes_is_for_its_user_and_group_whatever_the_umask() {
    let (origin, tools) = (origin().await, TempDir::new().expect("a folder"));
    for (line, most) in [
        ("umask 0", 0o640),
        ("umask 022", 0o640),
        ("umask 077", 0o600),
    ] {
        let kept = TempDir::new().expect("a folder");
        let script = behind(tools.path(), line);
        let mut process = Process::start_binary(&script, &keeping(&origin, kept.path()), &[]);
        let (address, admin) = process.addresses();
        take_down(admin, "/9.ts").await;
        assert_eq!(status(address, "/1.ts").await, 200);
        for name in ["access.log", "audit.log"] {
            let (log, moved) = (
                kept.path().join(name),
                kept.path().join(format!("{name}.1")),
            );
            std::fs::rename(log, moved).expect("moved");
        }
        process.signal("USR1");
        process.line_with("logs reopened");
        let made = modes(kept.path());
        let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
        for name in [
            "access.log",
            "access.log.1",
            "audit.log",
            "audit.log.1",
            "revocations.json",
            "takedowns.json",
        ] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        for (name, mode) in &made {
            assert_eq!(mode & !most, 0, "{line}: {name} is {mode:o}");
        }
    }
}

fn check(folder: &Path, setup: &Setup) -> (Option<i32>, String) {
    let config = folder.join("check.toml");
    std::fs::write(&config, setup.toml()).expect("written");
    let done = Command::new(env!("CARGO_BIN_EXE_warren"))
        .args(["check", "--config"])
        .arg(&config)
        .envs([
            ("KEY", KEY),
            ("SECOND", SECOND_KEY),
            ("ACCESS", "dev-access-key"),
            ("SECRET", "dev-secret-key"),
        ])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_everybody_may_read_are_warned_of_by_name_and_served_with() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let folder = folder.path();
    let mode = |name: &str, mode| {
        let file = folder.join(name);
        std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).expect("changed");
    };
    for name in ["token.key", "access.key", "s3.key"] {
        let secret = if name == "s3.key" {
            "dev-secret-key"
        } else {
            KEY
        };
        std::fs::write(folder.join(name), format!("{secret}\n")).expect("written");
    }
    let (entry, _) = certify(folder, "cdn.test");
    let file = |name: &str| folder.join(name).display().to_string();
    let mut setup = Setup::s3(origin.addr());
    setup.listen.push_str("https = [\"127.0.0.1:0\"]\n");
    setup.more = format!("[tls]\ncertificates = [{entry}]\n");
    setup.token = format!(
        "keys = [{{ name = \"main\", file = {:?} }}]\n",
        file("token.key")
    );
    setup.access_keys = format!("[{{ name = \"ops\", file = {:?} }}]", file("access.key"));
    let secret = format!("{{ file = {:?} }}", file("s3.key"));
    setup.origin = setup.origin.replace("{ env = \"SECRET\" }", &secret);
    let keys = ["token.key", "access.key", "s3.key", "cdn.test.key"];
    for (bits, told) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        keys.iter().for_each(|name| mode(name, bits));
        let (code, said) = check(folder, &setup);
        assert_eq!(code, Some(0), "{said}");
        for name in keys {
            let warned = said
                .lines()
                .any(|it| it.starts_with("warning: ") && it.contains(name));
            assert_eq!(warned, told, "{bits:o} {name}: {said}");
        }
        assert!(!said.contains(KEY), "{said}");
    }
    mode("token.key", 0o644);
    let mut process = Process::start(&setup);
    let (address, _) = process.addresses();
    let line = process.line_with("may be read by everybody");
    assert!(
        line.contains("\"WARN\"") && line.contains("token.key"),
        "{line}"
    );
    assert_eq!(status(address, "/1.ts").await, 200);
    let signed = Command::new(env!("CARGO_BIN_EXE_warren"))
        .args([
            "sign",
            "/a.ts",
            "--ttl",
            "1h",
            "--key-file",
            &file("token.key"),
        ])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&signed.stderr).into_owned();
    assert!(
        signed.status.success() && said.contains("token.key"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_lost_ends_the_start_and_an_empty_folder_is_shown() {
    let (origin, kept) = (origin().await, TempDir::new().expect("a folder"));
    let setup = keeping(&origin, kept.path());
    let list = |name: &str| kept.path().join(format!("{name}.json"));
    let mut process = Process::start(&setup);
    let (address, admin) = process.addresses();
    for name in ["takedowns", "revocations"] {
        let text = std::fs::read_to_string(list(name)).expect("written at the first start");
        assert_eq!(text, "[]", "{name}");
    }
    take_down(admin, "/9.ts").await;
    assert_eq!(status(address, "/9.ts").await, 451);
    assert_eq!(metric(admin, "warren_takedowns").await, 1.0);
    assert_eq!(metric(admin, "warren_revocations").await, 0.0);
    drop(process);
    for name in ["takedowns", "revocations"] {
        let away = kept.path().join("away");
        std::fs::rename(list(name), &away).expect("moved");
        let (code, said) = check(kept.path(), &setup);
        assert!(
            code == Some(64) && said.contains(&format!("{name}.json is missing")),
            "{said}"
        );
        let (ended, said) = Process::start(&setup).end().await;
        assert_eq!(ended.code(), Some(64), "{said}");
        std::fs::rename(&away, list(name)).expect("moved back");
    }
    let mut process = Process::start(&setup);
    let (address, admin) = process.addresses();
    assert_eq!(status(address, "/9.ts").await, 451);
    // A list that goes while it is in force stays in force.
    std::fs::remove_file(list("takedowns")).expect("removed");
    let line = process.reload(&setup);
    assert!(line.contains("not reloaded"), "{line}");
    assert_eq!(status(address, "/9.ts").await, 451);
    take_down(admin, "/8.ts").await;
    drop(process);
    let mut process = Process::start(&setup);
    let line = process.line_with("serving");
    assert!(
        line.contains("\"takedowns\":2") && line.contains("\"revocations\":0"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_who_only_connect_leave_files_for_pulls_and_the_operator() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let (entry, _) = certify(folder.path(), "cdn.test");
    let script = behind(folder.path(), "ulimit -n 256");
    let mut setup = Setup::s3(origin.addr());
    setup.listen.push_str("https = [\"127.0.0.1:0\"]\n");
    setup.more = format!("[tls]\ncertificates = [{entry}]\n");
    for over_tls in [false, true] {
        let mut process = Process::start_binary(&script, &setup, &[]);
        let [http, https, admin] = process.listeners();
        let (http, https) = (http.expect("plain"), https.expect("TLS"));
        let admin = admin.expect("an admin");
        let line = process.line_with("max_connections is ");
        assert!(line.contains("256 files may be open"), "{line}");
        let mut kept = Connection::open(http).await;
        let target =
            |number: usize| signed(&warren::clock::Clock::default(), &format!("/{number}.ts"));
        kept.send("GET", &target(0), &[]).await;
        assert_eq!(kept.reply("GET").await.status, 200);
        let mut idle = Vec::new();
        for _ in 0..300 {
            let to = if over_tls { https } else { http };
            idle.push(Connection::open(to).await);
        }
        let mut ready = Connection::open(admin).await;
        ready.send("GET", "/readyz", &[("Host", "localhost")]).await;
        assert_eq!(ready.reply("GET").await.status, 200);
        for number in 1..40 {
            kept.send("GET", &target(number), &[]).await;
            let reply = kept.reply("GET").await;
            assert_eq!((reply.status, reply.cache()), (200, "MISS"));
        }
        let refused = |limit: &str| format!("warren_connections_refused_total{{limit={limit:?}}}");
        let mut all = 0.0;
        for limit in ["max_connections", "open_files"] {
            all += metric(admin, &refused(limit)).await;
        }
        assert!(all > 100.0, "{all}");
        drop(idle);
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
        while metric(admin, "warren_connections").await > 1.0 {
            tick.tick().await;
        }
        assert_eq!(
            status(http, "/1.ts").await,
            200,
            "well again when they leave"
        );
    }
}
