//! What an operator says of a path, a token or a key holds for every spelling,
//! and for every zone of its kin, or the answer names those that it leaves.

use serde_json::{Value, json};
use tempfile::TempDir;
use warren::clock::Clock;
use warren::token::sign::{Options, sign};
use warren::token::{Key, Scheme};

use crate::edge::{KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};
use crate::served::Process;

/// Two zones of one bucket and one key, and one of another bucket and key.
fn zones(origin: &DevOrigin, folder: &TempDir, one: &str) -> Setup {
    let mut setup = Setup::s3(origin.addr());
    setup.zone = format!("hostnames = [\"one.test\"]\n{one}");
    let zone = |name: &str, bucket: &str, key: &str| {
        format!(
            "[[zone]]\nname = \"{name}\"\nhostnames = [\"{name}.test\"]\n[zone.token]\n\
             keys = [{{ name = \"{name}\", env = \"{key}\" }}]\n[zone.origin]\nkind = \"s3\"\n\
             endpoints = [\"http://{}\"]\nbucket = \"{bucket}\"\n\
             access_key = {{ env = \"ACCESS\" }}\nsecret_key = {{ env = \"SECRET\" }}\n",
            origin.addr()
        )
    };
    setup.more = zone("two", "media", "KEY") + &zone("three", "other", "SECOND");
    let state_dir = folder.path().display().to_string();
    let ops = "{ name = \"ops\", env = \"KEY\", rights = \"admin\" }";
    setup.access_keys = format!("[{ops}]\nstate_dir = {state_dir:?}");
    setup
}

async fn origin() -> DevOrigin {
    let options = DevOriginOptions {
        buckets: vec!["media".into(), "other".into()],
        ..DevOriginOptions::default()
    };
    let origin = DevOrigin::start(options).await;
    let origin = origin.expect("the origin starts");
    for bucket in ["media", "other"] {
        for path in [
            "/v/s1/a.ts",
            "/v//s1/a.ts",
            "//v/s1/a.ts",
            "/v/s1//a.ts",
            "/v/s2/a.ts",
        ] {
            origin.put(&format!("/{bucket}{path}"), &b"segment"[..], "video/mp2t");
        }
    }
    origin
}

fn signed(clock: &Clock, path: &str) -> String {
    let key = Key::new("main", KEY.as_bytes()).expect("not empty");
    let options = Options {
        force: true,
        ..Options::default()
    };
    let expires = clock.unix_seconds() + 3_000;
    sign(path, &key, Scheme::Hs256, expires, &options).expect("signs")
}

async fn status(edge: &TestEdge, host: &str, target: &str) -> u16 {
    edge.send("GET", target, &[("Host", host)]).await.status
}

/// A path's status, signed for it.
async fn of_path(edge: &TestEdge, host: &str, path: &str) -> u16 {
    status(edge, host, &signed(&edge.clock, path)).await
}

async fn call(edge: &TestEdge, method: &str, path: &str, body: Value) -> Value {
    let reply = edge.call(method, path, KEY, &body.to_string()).await;
    serde_json::from_slice(&reply.body).unwrap_or_else(|_| json!(reply.status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takedown_holds_for_each_spelling_and_names_the_zones_that_it_leaves() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "").start().await;
    for url in [
        "http://ONE.test.:8080/v/s1/%61.ts",
        "https://one.test/v/s1/a.ts?x#y",
    ] {
        let body = json!({ "urls": [url], "reason": "court" });
        let answer = call(&edge, "POST", "/v1/takedowns", body).await;
        assert_eq!(answer, json!({ "taken_down": 1, "left": ["two"] }));
    }
    let spellings = [
        "/v/s1/a.ts",
        "/v/s1/%61.ts",
        "/%76/s1/a.ts",
        "/v/s1/a.ts/",
        "/v/s1/a.ts?x=1",
    ];
    for path in spellings {
        for host in ["one.test", "ONE.TEST:80", "one.test."] {
            assert_eq!(of_path(&edge, host, path).await, 451, "{host} {path}");
        }
    }
    for path in ["//v/s1/a.ts", "/v//s1/a.ts"] {
        assert_eq!(of_path(&edge, "one.test", path).await, 400, "{path}");
    }
    assert_eq!(of_path(&edge, "two.test", "/v/s1/a.ts").await, 200);
    let all =
        json!({ "urls": ["http://two.test/v/s1/a.ts"], "reason": "court", "every_zone": true });
    let answer = call(&edge, "POST", "/v1/takedowns", all).await;
    assert_eq!(answer, json!({ "taken_down": 2, "left": [] }));
    assert_eq!(of_path(&edge, "two.test", "/v/s1/a.ts").await, 451);
    let both = json!({ "urls": ["http://one.test/b", "http://two.test/b"], "reason": "court" });
    let answer = call(&edge, "POST", "/v1/takedowns", both).await;
    assert_eq!(answer, json!({ "taken_down": 2, "left": [] }));
    let lift = json!({ "urls": ["http://one.test/v/s1/a.ts"] });
    let answer = call(&edge, "DELETE", "/v1/takedowns", lift).await;
    assert_eq!(
        answer,
        json!({ "lifted": 1, "left": ["two"], "still_by": [] })
    );
    for (field, text) in [
        ("prefixes", "http://one.test/b/"),
        ("urls", "http://one.test/b/c"),
    ] {
        let down = json!({ field: [text], "reason": "court" });
        call(&edge, "POST", "/v1/takedowns", down).await;
    }
    let lift = json!({ "urls": ["http://one.test/b/c"] });
    let answer = call(&edge, "DELETE", "/v1/takedowns", lift).await;
    assert_eq!(
        answer["still_by"],
        json!(["test /b/*"]),
        "a prefix has it down all the same"
    );
    let (code, said) = edge
        .warren(
            "takedown",
            &["--reason", "x", "http://one.test/v/s2/a.ts"],
            KEY,
        )
        .await;
    let told = "1 taken down; left as it was in two (--every-zone)";
    assert!(code == Some(0) && said.contains(told), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_taken_down_purged_and_revoked_under_its_name_in_each_zones_folder() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let mut setup = zones(&origin, &folder, "");
    // The second zone has the folder /v of the bucket.
    setup.more = setup.more.replacen(
        "bucket = \"media\"",
        "bucket = \"media\"\nprefix = \"/v\"",
        1,
    );
    let edge = setup.start().await;
    let (ours, theirs) = ("/v/s1/a.ts", "/s1/a.ts");
    let statuses = async || {
        let ours = of_path(&edge, "one.test", ours).await;
        [ours, of_path(&edge, "two.test", theirs).await]
    };
    assert_eq!(statuses().await, [200, 200]);
    let table = [
        (
            "/v1/takedowns",
            "urls",
            "http://one.test/v/s1/a.ts",
            "two",
            [451, 200],
            [451, 451],
        ),
        (
            "/v1/takedowns",
            "prefixes",
            "http://one.test/v/",
            "two",
            [451, 200],
            [451, 451],
        ),
        (
            "/v1/takedowns",
            "urls",
            "http://two.test/s1/a.ts",
            "test",
            [200, 451],
            [451, 451],
        ),
        (
            "/v1/takedowns",
            "prefixes",
            "http://two.test/",
            "test",
            [200, 451],
            [451, 451],
        ),
        (
            "/v1/revocations",
            "prefixes",
            "http://two.test/s1/",
            "test",
            [200, 403],
            [403, 403],
        ),
    ];
    for (list, field, url, left, alone, all) in table {
        let said = json!({ field: [url], "reason": "court" });
        let answer = call(&edge, "POST", list, said.clone()).await;
        assert_eq!(answer["left"], json!([left]), "{list} {url}");
        assert_eq!(statuses().await, alone, "{list} {url}");
        let everywhere = json!({ field: [url], "reason": "court", "every_zone": true });
        let answer = call(&edge, "POST", list, everywhere.clone()).await;
        assert_eq!(answer["left"], json!([]), "{list} {url}");
        assert_eq!(statuses().await, all, "{list} {url}");
        let lifted = call(&edge, "DELETE", list, said).await;
        assert_eq!(lifted["lifted"], 1, "{list} {url}: {lifted}");
        if list == "/v1/takedowns" {
            assert_eq!(lifted["left"], json!([left]), "{list} {url}");
        }
        call(&edge, "DELETE", list, everywhere).await;
        assert_eq!(statuses().await, [200, 200], "{list} {url}");
    }
    // The vendor's call leaves none.
    let path = "/purge?url=http%3A%2F%2Fone.test%2Fv%2Fs1%2F";
    assert_eq!(edge.call("POST", path, KEY, "").await.status, 200);
    let target = signed(&edge.clock, theirs);
    let reply = edge.send("GET", &target, &[("Host", "two.test")]).await;
    assert_eq!(reply.cache(), "MISS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_path_holds_for_its_slashes_where_the_zone_keeps_them() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "empty_segments = true\n")
        .start()
        .await;
    let spellings = ["/v/s1/a.ts", "/v//s1/a.ts", "//v/s1/a.ts", "/v/s1//a.ts"];
    for path in spellings {
        assert_eq!(of_path(&edge, "one.test", path).await, 200, "{path}");
    }
    let purge = json!({ "urls": ["http://one.test/v/s1/a.ts"], "dry_run": true });
    assert_eq!(call(&edge, "POST", "/v1/purge", purge).await["purged"], 4);
    let purge = json!({ "prefixes": ["http://one.test//v/s1//"] });
    assert_eq!(call(&edge, "POST", "/v1/purge", purge).await["purged"], 4);
    let calls = [
        ("/v1/takedowns", "urls", "http://one.test/v//s1/a.ts", 451),
        ("/v1/takedowns", "prefixes", "http://one.test/v/s1/", 451),
        ("/v1/revocations", "prefixes", "http://one.test//v/s1/", 403),
    ];
    for (list, field, url, want) in calls {
        let answer = call(&edge, "POST", list, json!({ field: [url], "reason": "x" })).await;
        assert!(answer.get("left").is_some(), "{answer}");
        for path in spellings {
            assert_eq!(of_path(&edge, "one.test", path).await, want, "{url} {path}");
        }
        assert_eq!(of_path(&edge, "one.test", "/v/s2/a.ts").await, 200);
        // Lifted by another spelling than it was said in.
        let other = url
            .replacen("/s1", "//s1", 1)
            .replacen("test//", "test/", 1);
        let lifted = call(&edge, "DELETE", list, json!({ field: [other] })).await;
        assert_eq!(lifted["lifted"], 1, "{url} by {other}");
        assert_eq!(of_path(&edge, "one.test", "/v/s1/a.ts").await, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_by_a_url_with_several_slashes_holds_where_a_zone_takes_none() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "").start().await;
    let status = async || of_path(&edge, "one.test", "/v/s1/a.ts").await;
    let calls = [
        ("/v1/takedowns", "urls", "http://one.test/v//s1/a.ts", 451),
        ("/v1/takedowns", "prefixes", "http://one.test//v/s1//", 451),
        ("/v1/revocations", "prefixes", "http://one.test/v//s1/", 403),
    ];
    for (list, field, url, want) in calls {
        let said = json!({ field: [url], "reason": "x" });
        call(&edge, "POST", list, said.clone()).await;
        assert_eq!(status().await, want, "{url}");
        assert_eq!(call(&edge, "DELETE", list, said).await["lifted"], 1);
        assert_eq!(status().await, 200, "{url}");
    }
    for said in [
        json!({ "urls": ["http://one.test//v/s1//a.ts"] }),
        json!({ "prefixes": ["http://one.test/v//s1/"] }),
    ] {
        let answer = call(&edge, "POST", "/v1/purge", said.clone()).await;
        assert_eq!(answer["purged"], 1, "{said}");
        assert_eq!(status().await, 200);
    }
    let path = "/purge?url=http%3A%2F%2Fone.test%2Fv%2F%2Fs1%2Fa.ts";
    assert_eq!(edge.call("POST", path, KEY, "").await.status, 200);
    let target = signed(&edge.clock, "/v/s1/a.ts");
    let reply = edge.send("GET", &target, &[("Host", "one.test")]).await;
    assert_eq!(reply.cache(), "MISS");
    // What looks at one object names it as viewers do.
    let path = "/v1/cache/inspect?url=http%3A%2F%2Fone.test%2Fv%2F%2Fs1%2Fa.ts";
    assert_eq!(edge.call("GET", path, KEY, "").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_names_the_zones_that_it_leaves_and_the_vendors_leaves_none() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "").start().await;
    let target = signed(&edge.clock, "/v/s1/a.ts");
    let seen = async |host: &str| {
        let reply = edge.send("GET", &target, &[("Host", host)]).await;
        reply.cache().to_owned()
    };
    let both = async || [seen("one.test").await, seen("two.test").await];
    both().await;
    assert_eq!(both().await, ["HIT", "HIT"]);
    let one = json!({ "urls": ["http://one.test/v/s1/a.ts"] });
    let answer = call(&edge, "POST", "/v1/purge", one).await;
    assert_eq!(
        (&answer["purged"], &answer["left"]),
        (&json!(1), &json!(["two"]))
    );
    assert_eq!(both().await, ["MISS", "HIT"]);
    let all = json!({ "prefixes": ["/v/"], "zone": "test", "every_zone": true });
    let answer = call(&edge, "POST", "/v1/purge", all).await;
    assert_eq!(
        (&answer["purged"], &answer["left"]),
        (&json!(2), &json!([]))
    );
    assert_eq!(both().await, ["MISS", "MISS"]);
    let all = json!({ "all": true, "zone": "two" });
    assert_eq!(
        call(&edge, "POST", "/v1/purge", all).await["left"],
        json!(["test"])
    );
    both().await;
    let path = "/purge?url=http%3A%2F%2Fone.test%2Fv%2Fs1%2Fa.ts";
    assert_eq!(edge.call("POST", path, KEY, "").await.status, 200);
    assert_eq!(both().await, ["MISS", "MISS"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_holds_in_every_zone_that_has_the_key_or_names_those_that_it_leaves() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "").start().await;
    let (shared, other) = (
        signed(&edge.clock, "/v/s1/a.ts"),
        signed(&edge.clock, "/v/s2/a.ts"),
    );
    let both = async |target: &str| {
        [
            status(&edge, "one.test", target).await,
            status(&edge, "two.test", target).await,
        ]
    };
    // The host is not signed.
    let body = json!({ "urls": [format!("http://one.test{shared}")], "reason": "shared" });
    let answer = call(&edge, "POST", "/v1/revocations", body).await;
    assert_eq!(answer["left"], json!([]));
    assert_eq!(
        (both(&shared).await, both(&other).await),
        ([403; 2], [200; 2])
    );
    let lift = json!({ "urls": [format!("http://two.test{shared}")] });
    let answer = call(&edge, "DELETE", "/v1/revocations", lift).await;
    assert_eq!(answer["left"], json!([]));
    assert_eq!(both(&shared).await, [200; 2]);
    let table = [("keys", "main"), ("prefixes", "http://one.test/v/")];
    for (field, value) in table {
        let body = json!({ field: [value], "reason": "leaked" });
        let answer = call(&edge, "POST", "/v1/revocations", body).await;
        assert_eq!(answer, json!({ "revoked": 1, "left": ["two"] }), "{field}");
        assert_eq!(both(&shared).await, [403, 200], "{field}");
        let body = json!({ field: [value], "reason": "leaked", "every_zone": true });
        let answer = call(&edge, "POST", "/v1/revocations", body).await;
        assert_eq!(answer, json!({ "revoked": 2, "left": [] }), "{field}");
        assert_eq!(both(&shared).await, [403, 403], "{field}");
        let lift = json!({ field: [value], "every_zone": true });
        let answer = call(&edge, "DELETE", "/v1/revocations", lift).await;
        assert_eq!(answer["lifted"], 2, "{field}");
        assert_eq!(both(&shared).await, [200, 200], "{field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_zone_is_told_that_it_has_lost_what_was_kept_of_it() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let setup = zones(&origin, &folder, "");
    let kept = json!([
        { "zone": "two", "path": "/a.ts", "prefix": false, "reason": "x", "until": null,
          "by": "ops", "since": 1 },
        { "zone": "long gone", "path": "/a.ts", "prefix": false, "reason": "x", "until": null,
          "by": "ops", "since": 1 },
    ]);
    std::fs::write(folder.path().join("takedowns.json"), kept.to_string()).expect("written");
    let mut process = Process::start(&setup);
    let line = process.line_with("no zone has this name");
    assert!(
        line.contains("long gone") && line.contains("\"takedowns\":1"),
        "{line}"
    );
    process.addresses();
    let mut renamed = setup;
    renamed.more = renamed
        .more
        .replace("name = \"two\"\n", "name = \"deux\"\n");
    let config = process.files.path().join("warren.toml");
    std::fs::write(config, renamed.toml()).expect("written");
    process.signal("HUP");
    let line = process.line_with("\"zone\":\"two\"");
    assert!(
        line.contains("no zone has this name") && line.contains("\"level\":\"WARN\""),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_star_at_the_end_is_a_prefix_and_anywhere_else_nothing_is_done_of_it() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "").start().await;
    assert_eq!(of_path(&edge, "one.test", "/v/s1/a.ts").await, 200);
    let lists = [("/v1/takedowns", 451), ("/v1/revocations", 403)];
    for (list, want) in lists {
        for star in [
            "/v/s1/*",
            "/v/s1*",
            "/v/s1/a.t*",
            "/v/s1/*?x=1",
            "/v/s1/*#y",
        ] {
            let url = format!("http://one.test{star}");
            let body = json!({ "prefixes": [url], "reason": "court" });
            call(&edge, "POST", list, body).await;
            assert_eq!(
                of_path(&edge, "one.test", "/v/s1/a.ts").await,
                want,
                "{star}"
            );
            assert_eq!(
                of_path(&edge, "one.test", "/v/s2/a.ts").await,
                200,
                "{star}"
            );
            let lifted = call(&edge, "DELETE", list, json!({ "prefixes": [url] })).await;
            assert_eq!(lifted["lifted"], 1, "{list} {star}");
            assert_eq!(
                of_path(&edge, "one.test", "/v/s1/a.ts").await,
                200,
                "{star}"
            );
        }
    }
    let purge = json!({ "prefixes": ["/v/s1/*"], "zone": "test", "dry_run": true });
    assert_eq!(call(&edge, "POST", "/v1/purge", purge).await["purged"], 1);
    for list in ["/v1/takedowns", "/v1/revocations", "/v1/purge"] {
        let table = [
            ("urls", "http://one.test/v/*", "bad_path"),
            ("urls", "http://one.test/v/a.ts*?token=x", "bad_path"),
            ("urls", "http://one.test/*/a.ts", "bad_path"),
            ("prefixes", "http://one.test/v/*/a.ts", "bad_path"),
            ("prefixes", "http://one.test/v/**", "bad_path"),
            ("prefixes", "http://one.test/v/*/", "bad_path"),
            ("prefixes", "http://one.test*", "unknown_host"),
        ];
        for (field, url, name) in table {
            let mut body = json!({ field: [url] });
            if list != "/v1/purge" {
                body["reason"] = "x".into();
            }
            let answer = call(&edge, "POST", list, body).await;
            assert_eq!(
                (&answer["title"], &answer["field"]),
                (&json!(name), &json!(field)),
                "{list} {url}: {answer}"
            );
            assert_eq!(answer["status"], 400, "{url}");
        }
    }
    // An object's own star, as it is written.
    let body = json!({ "urls": ["http://one.test/v/s1/%2A.ts"], "reason": "court" });
    assert_eq!(
        call(&edge, "POST", "/v1/takedowns", body).await["taken_down"],
        1
    );
    assert_eq!(of_path(&edge, "one.test", "/v/s1/*.ts").await, 451);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_purge_reads_a_star_at_the_end_of_the_path() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "").start().await;
    let target = signed(&edge.clock, "/v/s1/a.ts");
    let table = [
        ("/v/s1/*", 200, "MISS"),
        ("/v/s1*", 200, "MISS"),
        ("/v/*?x", 200, "MISS"),
        ("/v/s1/a.t?x=*", 200, "HIT"),
        ("/v/*/a.ts", 400, "HIT"),
    ];
    for (star, want, cache) in table {
        edge.send("GET", &target, &[("Host", "one.test")]).await;
        let url = format!("http://one.test{star}")
            .replace('?', "%3F")
            .replace('=', "%3D");
        let reply = edge
            .call("POST", &format!("/purge?url={url}"), KEY, "")
            .await;
        assert_eq!(reply.status, want, "{star}");
        let reply = edge.send("GET", &target, &[("Host", "one.test")]).await;
        assert_eq!(reply.cache(), cache, "{star}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_no_viewer_can_send_is_no_zones_not_even_that_of_all_names() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let mut setup = zones(&origin, &folder, "");
    setup.zone = "hostnames = [\"one.test\", \"*\"]\n".into();
    let edge = setup.start().await;
    let hosts = [
        "user@one.test",
        "a:b@one.test",
        "one.test\\v",
        "one.test\\@x",
        "",
        "one.test ",
    ];
    for host in hosts {
        let url = format!("http://{host}/v/s1/a.ts");
        for list in ["/v1/takedowns", "/v1/revocations", "/v1/purge"] {
            for field in ["urls", "prefixes"] {
                let mut body = json!({ field: [url] });
                if list != "/v1/purge" {
                    body["reason"] = "x".into();
                }
                let answer = call(&edge, "POST", list, body).await;
                assert_eq!(answer["title"], "unknown_host", "{list} {url}: {answer}");
                assert_eq!(
                    (&answer["status"], &answer["field"]),
                    (&json!(400), &json!(field))
                );
            }
        }
        let answer = call(&edge, "POST", "/v1/explain", json!({ "url": url })).await;
        assert_eq!(answer["title"], "unknown_host", "{url}");
    }
    assert_eq!(of_path(&edge, "one.test", "/v/s1/a.ts").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_says_of_how_many_urls_no_key_has_made_the_token() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = zones(&origin, &folder, "").start().await;
    let good = signed(&edge.clock, "/v/s1/a.ts");
    let other = good.replace("/s1/", "/s2/");
    let revoke = async |urls: &[&str]| {
        let urls: Vec<String> = urls
            .iter()
            .map(|it| format!("http://one.test{it}"))
            .collect();
        let body = json!({ "urls": urls, "reason": "shared" });
        call(&edge, "POST", "/v1/revocations", body).await
    };
    assert_eq!(revoke(&[&good]).await.get("unproven"), None);
    assert_eq!(revoke(&[&good, &other]).await["unproven"], 1);
    let url = format!("http://one.test{other}");
    let (code, said) = edge.warren("revoke", &["--reason", "x", &url], KEY).await;
    assert!(
        code == Some(0) && said.contains("no key here has made the token of 1"),
        "{said}"
    );
}
