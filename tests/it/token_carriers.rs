//! No token that our own signer makes is written down or told to an origin,
//! however a viewer misplaces it.

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;
use warren::token::carrier::{redact, redact_referer, referer_for_origin};
use warren::token::sign::{Form, Options, sign};
use warren::token::{Key, Scheme};

use crate::access_log::lines;
use crate::edge::{Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions};

/// Encodes characters that need none, so many times over.
fn encoded(text: &str, each: usize, times: usize) -> String {
    let once = |text: &str| -> String {
        let bytes = text.bytes().enumerate();
        bytes
            .map(|(at, byte)| match byte == b'%' || at % each == 0 {
                true => format!("%{byte:02x}"),
                false => char::from(byte).to_string(),
            })
            .collect()
    };
    (0..times).fold(text.to_owned(), |text, _| once(&text))
}

/// Whether a text holds the token, escapes read as often as there are any.
fn holds(text: &str, token: &str) -> bool {
    let mut text = text.to_owned();
    loop {
        if text
            .to_ascii_lowercase()
            .contains(&token.to_ascii_lowercase())
        {
            return true;
        }
        let bytes = text.as_bytes();
        let mut read = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let escape = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
            match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => (read.push(byte), at += 3).1,
                None => (read.push(bytes[at]), at += 1).1,
            }
        }
        let read = String::from_utf8_lossy(&read).into_owned();
        if read == text {
            return false;
        }
        text = read;
    }
}

/// How a viewer, a player or a page gets a signed target wrong.
const PLACES: [&str; 14] = [
    "{}",
    "/{}",
    "/v{}",
    "//v/{}",
    "http://edge.test{}",
    "http://edge.test/v{}",
    "/v/a.ts;{}",
    "/v/a.ts#{}",
    "/v/a.ts?u={}",
    "/v/a.ts?u=http://x/?{}&b=1",
    "/{}?token=x",
    "{}\\",
    "\"{}\"",
    "<a href='{}'>",
];

proptest! {
    #[test]
    fn no_token_of_ours_survives(
        scheme in prop::sample::select(Scheme::ALL.to_vec()),
        form in prop::sample::select(vec![Form::Query, Form::Path]),
        folder in any::<bool>(),
        path in "/[a-z]{1,4}/[a-z0-9]{1,8}\\.ts",
        expires in 1_800_000_000u64..1_900_000_000,
        name in prop::sample::select(vec!["", "TOKEN=", "Token=", "bcdn_TOKEN="]),
        place in prop::sample::select(PLACES.to_vec()),
        each in 1usize..9,
        times in 0usize..3,
    ) {
        let key = Key::new("k", b"0123456789abcdef").expect("not empty");
        let options = Options {
            form,
            token_path: folder.then(|| "/v/".to_owned()),
            force: true,
            ..Options::default()
        };
        let target = sign(&path, &key, scheme, expires, &options).expect("signs");
        let (_, token) = target.split_once("token=").expect("a token");
        let token = token.split('&').next().expect("a token").to_owned();
        let target = match name {
            "" => target.clone(),
            name => target.replacen("bcdn_token=", name, 1).replacen("token=", name, 1),
        };
        let text = place.replace("{}", &encoded(&target, each, times));
        prop_assert!(holds(&text, &token));
        for written in [redact(&text), redact_referer(&text), referer_for_origin(&text, |_| false)] {
            prop_assert!(!holds(&written, &token), "{} of {}", written, text);
        }
        let once = redact(&text);
        prop_assert_eq!(redact(&once), once.as_ref());
    }
}

const STRANGE: [(&str, u16); 12] = [
    ("//{block}/v/a.ts", 400),
    ("/v/{block}/a.ts", 403),
    ("/v/a.ts;token={token}", 403),
    ("/{BLOCK}/v/a.ts", 403),
    ("/v/a.ts?TOKEN={token}&expires=1", 403),
    ("/v/a.ts?%74oken={token}", 403),
    ("/v/a.ts#token={token}", 400),
    ("/v/../{block}/a.ts", 400),
    ("http://elsewhere.test/{block}/v/a.ts", 400),
    ("{block}", 400),
    ("/{block}/v/{block}/a.ts", 403),
    ("/v/a.ts?{long}&x=HS256-{digest}", 414),
];

async fn edge(format: &str, setup: Setup, files: &TempDir) -> TestEdge {
    let file = files.path().join("access.log").display().to_string();
    let log = format!("access = \"{format}\"\naccess_file = {file:?}\n");
    Setup { log, ..setup }.start().await
}

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    origin.put("/media/v/a.ts", &b"segment"[..], "video/mp2t");
    origin.put("/v/a.ts", &b"segment"[..], "video/mp2t");
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_log_holds_a_token_that_was_misplaced_or_came_in_a_header() {
    let origin = origin().await;
    for format in ["json", "bunny"] {
        let files = TempDir::new().expect("a folder");
        let edge = edge(format, Setup::s3(origin.addr()), &files).await;
        let good = signed(&edge.clock, "/v/a.ts");
        let (_, token) = good.split_once("token=").expect("a token");
        let (token, expires) = token.split_once("&expires=").expect("an expiry");
        let digest = &token["HS256-".len()..];
        let block = format!("bcdn_token={token}&expires={expires}");
        let referer = format!("http://cdn.test/{block}/v/index.m3u8?token={token}");
        let headers = [
            ("Referer", referer.as_str()),
            ("User-Agent", block.as_str()),
        ];
        assert_eq!(edge.send("GET", &good, &headers).await.status, 200);
        for (place, status) in STRANGE {
            let target = place
                .replace("{block}", &block)
                .replace("{BLOCK}", &block.replace("bcdn_token", "BCDN_TOKEN"))
                .replace("{token}", token)
                .replace("{long}", &"x".repeat(9_000))
                .replace("{digest}", digest);
            let reply = edge.send("GET", &target, &headers).await;
            assert_eq!(reply.status, status, "{place}");
        }
        let lines = lines(&files, 1 + STRANGE.len()).await;
        for line in &lines {
            assert!(!holds(line, digest), "{line}");
        }
        if format == "json" {
            let first: Value = serde_json::from_str(&lines[0]).expect("JSON");
            let page =
                format!("http://cdn.test/bcdn_token=redacted&expires={expires}/v/index.m3u8");
            assert_eq!(first["referer"], page);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_learns_no_token_from_the_page_that_a_viewer_comes_from() {
    let origin = origin().await;
    let files = TempDir::new().expect("a folder");
    let mut setup = Setup::http(origin.addr());
    setup.cache = "policy = \"origin\"\nmethods = \"any\"\nquery = \"all\"\n".into();
    let other = "[[zone]]\nname = \"other\"\nhostnames = [\"other.test\"]\n\
                 [zone.token]\nrequired = false\n[zone.origin]\nkind = \"http\"\n";
    setup.more = format!("{other}endpoints = [\"http://{}\"]\n", origin.addr());
    let edge = edge("json", setup, &files).await;
    let digest = "aB3".repeat(14) + "x";
    let token = format!("HS256-{digest}");
    let table = [
        ("http://cdn.test/bcdn_token={}/v/i.m3u8", "http://cdn.test/"),
        (
            "https://OTHER.test.:8443/v/i.m3u8?token={}",
            "https://OTHER.test.:8443/",
        ),
        (
            "https://play.example/?u=%2Fa%3Ftoken%3D{}",
            "https://play.example/?u=%2Fa%3Ftoken%3Dredacted",
        ),
        (
            "https://play.example/film?id=7",
            "https://play.example/film?id=7",
        ),
    ];
    for (at, (referer, want)) in table.iter().enumerate() {
        let referer = referer.replace("{}", &token);
        let next = format!("nor=\"..%2Fbcdn_token%3D{token}%2Fv%2Fb.ts\"");
        let page = format!("http://cdn.test/v/i.m3u8?token={token}&expires=1");
        let bare = format!("\u{e9} <http://cdn.test/bcdn_token/{digest}/v/a.ts>; rel=next");
        let boundary = format!("multipart/form-data; boundary={}", &digest[..22]);
        let headers = [
            ("Referer", referer.as_str()),
            ("CMCD-Request", &next),
            ("HX-Current-URL", &page),
            ("X-CMCD", &next),
            ("Referrer", &page),
            ("Link", &bare),
            ("Ping-From", &page),
            ("User-Agent", &page),
            ("Content-Type", &boundary),
            ("Cookie", "token=mine"),
            ("Authorization", "Bearer token=mine"),
            ("X-Plain", "as it is; q=0.5"),
        ];
        for method in ["GET", "POST"] {
            let target = format!("/v/a.ts?{at}");
            assert!(edge.send(method, &target, &headers).await.status < 500);
            let asked = origin.requests();
            let asked = asked.last().expect("a request");
            assert_eq!(asked.method, method);
            assert_eq!(asked.header("referer"), Some(*want), "{method}");
            let told = asked.header("cmcd-request").expect("the player's words");
            assert!(told.starts_with("nor=") && !holds(told, &token), "{told}");
            for (name, value) in asked
                .headers
                .iter()
                .filter(|(name, _)| name != "content-type")
            {
                let value = String::from_utf8_lossy(value.as_bytes());
                assert!(!holds(&value, &digest), "{method} {name}: {value}");
            }
            for name in [
                "hx-current-url",
                "x-cmcd",
                "referrer",
                "ping-from",
                "user-agent",
            ] {
                let told = asked.header(name).expect("what is left of it");
                assert!(told.contains("redacted"), "{method} {name}: {told}");
            }
            for (name, value) in &headers[9..] {
                let told = asked.header(&name.to_ascii_lowercase());
                assert_eq!(told, Some(*value), "{method}");
            }
            if method == "POST" {
                assert_eq!(asked.header("content-type"), Some(boundary.as_str()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_holds_a_token_of_its_own_is_refused_behind_a_good_one() {
    let origin = origin().await;
    let edge = Setup::s3(origin.addr()).start().await;
    let key = Key::new("main", crate::edge::KEY.as_bytes()).expect("not empty");
    let options = Options {
        form: Form::Path,
        token_path: Some("/v/".into()),
        force: true,
        ..Options::default()
    };
    let expires = edge.clock.unix_seconds() + 3_000;
    let of = |path: &str| sign(path, &key, Scheme::Hs256, expires, &options).expect("signs");
    let whole = of("/v/a.ts");
    let folder = whole.strip_suffix("a.ts").expect("the path");
    let token = format!("HS256-{}", "aB3".repeat(14) + "x");
    for (rest, want) in [
        (format!("a.ts%3Ftoken={token}"), 403),
        (format!("a.ts%3Ftoken%3D{token}%26expires%3D1"), 403),
        (format!("a.ts%253Ftoken%253D{token}"), 403),
        (format!("a.ts;token={}", &token[6..]), 403),
        (format!("{token}/a.ts"), 403),
        (format!("{}/token=1.ts", &token[6..]), 404),
    ] {
        let before = origin.requests().len();
        let reply = edge.send("GET", &format!("{folder}{rest}"), &[]).await;
        assert_eq!(reply.status, want, "{rest}");
        let asked = &origin.requests()[before..];
        assert_eq!(!asked.is_empty(), want == 404, "{rest}: {asked:?}");
    }
    assert_eq!(edge.send("GET", &whole, &[]).await.status, 200);
}

#[tokio::test]
async fn no_token_goes_to_the_origin_of_a_zone_that_has_keys_and_asks_for_none() {
    let origin = DevOrigin::start(DevOriginOptions::plain()).await;
    let origin = origin.expect("the origin starts");
    origin.put("/a.ts", "segment", "video/mp2t");
    let mut setup = Setup::http(origin.addr());
    setup.token = "required = false\nkeys = [{ name = \"main\", env = \"KEY\" }]\n".into();
    for (cache, method) in [
        ("query = \"all\"\n", "GET"),
        (
            "query = \"all\"\npolicy = \"origin\"\nmethods = \"any\"\n",
            "POST",
        ),
    ] {
        setup.cache = cache.into();
        let edge = setup.start().await;
        let signed = signed(&edge.clock, "/a.ts");
        let reply = edge.send(method, &signed, &[("Content-Length", "0")]).await;
        assert!(reply.status < 500, "{method}: {}", reply.status);
        let asked = origin.requests().pop().expect("it was asked");
        assert_eq!(asked.target, "/a.ts", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_begins_within_a_signed_url_leaves_no_token_in_the_log() {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("access.log");
    let mut setup = Setup::s3(origin.addr());
    setup.log = format!(
        "access = \"json\"\naccess_file = {:?}",
        log.display().to_string()
    );
    let edge = setup.start().await;
    let target = signed(&edge.clock, "/a.ts");
    let token = &target[target.find("HS256-").expect("a token")..][..49];
    assert_eq!(edge.send(token, "/x", &[]).await.status, 405);
    // Its line is written behind its answer.
    edge.settled().await;
    assert_eq!(edge.send("PROPFIND", "/x", &[]).await.status, 405);
    let lines = lines(&folder, 2).await;
    for (line, method) in lines.iter().zip(["-", "PROPFIND"]) {
        let told: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(told["method"], method);
        assert!(!holds(line, token), "{line}");
    }
}
