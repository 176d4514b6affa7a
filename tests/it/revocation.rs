//! Revocations over real sockets: in force on what is in memory, kept over a
//! restart, listed and lifted.

use serde_json::{Value, json};
use tempfile::TempDir;
use warren::token::sign::{Options, sign};
use warren::token::{Key, Scheme};

use crate::edge::{KEY, SECOND_KEY, Setup, TestEdge};
use crate::origin::{DevOrigin, DevOriginOptions};

const TOKENS: &str =
    "keys = [{ name = \"main\", env = \"KEY\" }, { name = \"next\", env = \"SECOND\" }]\n";
const NEXT: &str = SECOND_KEY;

async fn edge(origin: &DevOrigin, folder: &TempDir) -> TestEdge {
    let mut setup = Setup::s3(origin.addr());
    setup.token = TOKENS.into();
    let state_dir = folder.path().display().to_string();
    setup.access_keys = format!(
        "[{{ name = \"ops\", env = \"KEY\", rights = \"admin\" }}]\nstate_dir = {state_dir:?}"
    );
    setup.start().await
}

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    for path in ["/v/s1/a.ts", "/v/s2/a.ts"] {
        origin.put(&format!("/media{path}"), &b"segment"[..], "video/mp2t");
    }
    origin
}

/// A URL signed for the folder /v/, which expires so many seconds from now.
fn url(edge: &TestEdge, path: &str, secret: &str, expires_in: u64) -> String {
    let key = Key::new("k", secret.as_bytes()).expect("not empty");
    let options = Options {
        token_path: Some("/v/".into()),
        ..Options::default()
    };
    let expires = edge.clock.unix_seconds() + expires_in;
    sign(path, &key, Scheme::Hs256, expires, &options).expect("signs")
}

async fn status(edge: &TestEdge, url: &str) -> u16 {
    edge.send("GET", url, &[]).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_is_403_from_memory_too_and_over_a_restart() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let first = edge(&origin, &folder).await;
    let url = |path, secret, expires_in| url(&first, path, secret, expires_in);
    let one = url("/v/s1/a.ts", KEY, 600);
    let early = url("/v/s2/a.ts", NEXT, 500);
    let late = url("/v/s2/a.ts", NEXT, 700);
    let other = url("/v/s1/a.ts", KEY, 700);
    for url in [&one, &early, &late, &other] {
        assert_eq!(status(&first, url).await, 200);
    }
    let before = (first.clock.unix_seconds() + 600).to_string();
    let whole = format!("http://cdn.test{one}");
    let calls: [&[&str]; 2] = [
        &[&whole, "--reason", "shared"],
        &[
            "--key-name",
            "next",
            "--zone",
            "test",
            "--expires-before",
            &before,
            "--reason",
            "leaked",
        ],
    ];
    for arguments in calls {
        let (code, said) = first.warren("revoke", arguments, KEY).await;
        assert!(code == Some(0) && said.contains("1 revoked"), "{said}");
    }
    let second = edge(&origin, &folder).await;
    for edge in [&first, &second] {
        let refused = edge.send("GET", &one, &[]).await;
        assert_eq!((refused.status, refused.cache()), (403, "-"));
        // The same token in another place of its folder.
        assert_eq!(status(edge, &one.replace("/s1/", "/s2/")).await, 403);
        assert_eq!(status(edge, &early).await, 403);
        assert_eq!(status(edge, &late).await, 200);
        assert_eq!(status(edge, &other).await, 200);
        edge.settled().await;
        let series = "warren_refusals_total{reason=\"revoked\",zone=\"test\"}";
        assert_eq!(edge.metric(series).await, 3.0);
    }
    let (_, said) = second.warren("revoke", &["--list", "--json"], KEY).await;
    let listed: Value = serde_json::from_str(&said).expect("JSON");
    let kinds: Vec<&Value> = (0..2)
        .map(|at| &listed["revocations"][at]["kind"])
        .collect();
    assert_eq!(kinds, ["token", "key"]);
    let lift = ["--lift", "--key-name", "next"];
    let (code, said) = second.warren("revoke", &lift, KEY).await;
    assert!(code == Some(0) && said.contains("1 let in again"), "{said}");
    assert_eq!(status(&second, &early).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_expiry_shortens_no_revocation_and_a_key_that_is_gone_is_lifted() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let first = edge(&origin, &folder).await;
    let token = url(&first, "/v/s1/a.ts", NEXT, 700);
    let expires = first.clock.unix_seconds() + 700;
    let forged = token.replace(&expires.to_string(), "1000000000");
    assert_ne!(forged, token);
    let whole = format!("http://cdn.test{forged}");
    let soon = (first.clock.unix_seconds() + 10).to_string();
    let calls: [&[&str]; 2] = [
        &[&whole, "--reason", "as it was passed around"],
        &[
            "--key-name",
            "next",
            "--expires-before",
            &soon,
            "--reason",
            "leaked",
        ],
    ];
    for arguments in calls {
        let (code, said) = first.warren("revoke", arguments, KEY).await;
        assert!(code == Some(0) && said.contains("1 revoked"), "{said}");
    }
    assert_eq!(status(&first, &token).await, 403);
    // The zone has lost its second key, and the list is changed.
    let mut setup = Setup::s3(origin.addr());
    let state_dir = folder.path().display().to_string();
    setup.access_keys = format!(
        "[{{ name = \"ops\", env = \"KEY\", rights = \"admin\" }}]\nstate_dir = {state_dir:?}"
    );
    let second = setup.start().await;
    second.clock.advance(std::time::Duration::from_secs(60));
    let prefix = ["--prefix", "http://cdn.test/x/", "--reason", "recut"];
    assert_eq!(second.warren("revoke", &prefix, KEY).await.0, Some(0));
    let (_, said) = second.warren("revoke", &["--list"], KEY).await;
    assert!(said.contains("token") && said.contains("prefix"), "{said}");
    let third = edge(&origin, &folder).await;
    assert_eq!(status(&third, &token).await, 403, "still revoked");
    let key = url(&first, "/v/s1/a.ts", NEXT, 800);
    let whole = format!("http://cdn.test{key}");
    assert_eq!(
        third
            .warren("revoke", &[&whole, "--reason", "x"], KEY)
            .await
            .0,
        Some(0)
    );
    let gone = [
        "--key-name",
        "next",
        "--zone",
        "test",
        "--expires-before",
        "9999999999",
        "--reason",
        "x",
    ];
    assert_eq!(third.warren("revoke", &gone, KEY).await.0, Some(0));
    let fourth = setup.start().await;
    let (code, said) = fourth
        .warren("revoke", &["--lift", "--key-name", "next"], KEY)
        .await;
    assert!(code == Some(0) && said.contains("1 let in again"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_is_revoked_for_tokens_that_reach_beyond_it() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let token = url(&edge, "/v/s1/a.ts", KEY, 600);
    let prefix = ["--prefix", "http://cdn.test/v/s1/", "--reason", "recut"];
    assert_eq!(edge.warren("revoke", &prefix, KEY).await.0, Some(0));
    assert_eq!(status(&edge, &token).await, 403);
    assert_eq!(status(&edge, &token.replace("/s1/", "/s2/")).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_revoked_is_told_so_by_name() {
    let (origin, folder) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge(&origin, &folder).await;
    let table = [
        (json!({ "keys": ["main"] }), "no_reason"),
        (json!({ "reason": "x" }), "nothing_named"),
        (json!({ "reason": "x", "keys": ["old"] }), "unknown_key"),
        (
            json!({ "reason": "x", "fingerprints": ["12"] }),
            "bad_fingerprint",
        ),
        (
            json!({ "reason": "x", "urls": ["http://cdn.test/v/s1/a.ts"] }),
            "no_token",
        ),
        (json!({ "reason": "x", "prefixes": ["/v/"] }), "no_zone"),
        (json!({ "reason": "x", "what": 1 }), "bad_json"),
    ];
    for (body, name) in table {
        let reply = edge
            .call("POST", "/v1/revocations", KEY, &body.to_string())
            .await;
        let answer: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(
            (reply.status, &answer["title"]),
            (400, &json!(name)),
            "{body}"
        );
    }
}
