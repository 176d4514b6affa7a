//! Who is let in besides the token: countries, addresses, referrers.

use tempfile::TempDir;
use warren::token::sign::{Options, sign};
use warren::token::{Key, Scheme};

use crate::edge::{KEY, Setup, TestEdge, signed};
use crate::mmdb::country_database;
use crate::origin::{DevOrigin, DevOriginOptions};

async fn origin() -> DevOrigin {
    let origin = DevOrigin::start(DevOriginOptions::default())
        .await
        .expect("the origin starts");
    origin.put("/media/a.ts", &b"segment"[..], "video/mp2t");
    origin
}

/// An edge that believes loopback's X-Forwarded-For and knows three countries.
async fn edge_with_countries(origin: &DevOrigin, files: &TempDir) -> TestEdge {
    let database = files.path().join("countries.mmdb");
    let networks = [
        ("192.0.2.0/24", "CH"),
        ("198.51.100.0/25", "FR"),
        ("2001:db8::/32", "DE"),
    ];
    std::fs::write(&database, country_database(&networks)).expect("written");
    let mut setup = Setup::s3(origin.addr());
    setup.server = format!(
        "[geo]\ncountry_database = {:?}\n",
        database.display().to_string()
    );
    setup.zone.push_str("trusted_proxies = [\"127.0.0.0/8\"]\n");
    setup.start().await
}

fn target(allowed: Option<&str>, blocked: Option<&str>) -> String {
    let key = Key::new("main", KEY.as_bytes()).expect("not empty");
    let options = Options {
        countries: allowed.map(str::to_owned),
        countries_blocked: blocked.map(str::to_owned),
        ..Options::default()
    };
    let expires = warren::clock::Clock::default().unix_seconds() + 3600;
    sign("/a.ts", &key, Scheme::Hs256, expires, &options).expect("signs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_its_countries_and_an_unknown_one_only_where_none_is_asked_for() {
    let (origin, files) = (origin().await, TempDir::new().expect("a folder"));
    let edge = edge_with_countries(&origin, &files).await;
    let (swiss, french, german, nowhere) =
        ("192.0.2.9", "198.51.100.9", "2001:db8::9", "203.0.113.9");
    let beyond = "198.51.100.200";
    let table = [
        (Some("CH,FR"), None, swiss, 200),
        (Some("CH,FR"), None, french, 200),
        (Some("CH,FR"), None, beyond, 403),
        (Some("CH,FR"), None, german, 403),
        (Some("CH,FR"), None, nowhere, 403),
        (Some("DE"), None, german, 200),
        (None, Some("FR"), french, 403),
        (None, Some("FR"), swiss, 200),
        (None, Some("FR"), nowhere, 200),
        (None, None, nowhere, 200),
    ];
    for (allowed, blocked, address, status) in table {
        let reply = edge
            .send(
                "GET",
                &target(allowed, blocked),
                &[("X-Forwarded-For", address)],
            )
            .await;
        assert_eq!(
            reply.status, status,
            "allowed {allowed:?}, blocked {blocked:?}, from {address}"
        );
        let country = reply.header("cdn-requestcountrycode");
        let want = match address {
            a if a == swiss => Some("CH"),
            a if a == french => Some("FR"),
            a if a == german => Some("DE"),
            _ => None,
        };
        assert_eq!(country, want, "{address}");
    }
    edge.settled().await;
    let refused = edge
        .metric("warren_refusals_total{reason=\"country_blocked\",zone=\"test\"}")
        .await;
    assert_eq!(refused, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_addresses_and_foreign_referrers_are_refused_before_the_token() {
    let origin = origin().await;
    let mut setup = Setup::s3(origin.addr());
    setup.zone.push_str(
        "trusted_proxies = [\"127.0.0.0/8\"]\nblocked_ips = [\"192.0.2.0/24\"]\n\
         [zone.referrer]\nallow = [\"*.example.net\"]\nallow_absent = false\n",
    );
    let edge = setup.start().await;
    let home = ("Referer", "https://play.example.net/watch?v=1");
    let good = signed(&edge.clock, "/a.ts");
    let table = [
        ("from home", good.as_str(), vec![home], 200, None),
        ("no referrer", &good, vec![], 403, Some("referrer_blocked")),
        (
            "a foreign referrer",
            &good,
            vec![("Referer", "https://example.net.evil.test/")],
            403,
            Some("referrer_blocked"),
        ),
        (
            "a blocked address",
            &good,
            vec![home, ("X-Forwarded-For", "192.0.2.1")],
            403,
            Some("ip_blocked"),
        ),
        (
            "a blocked address without a token",
            "/a.ts",
            vec![home, ("X-Forwarded-For", "192.0.2.1")],
            403,
            Some("ip_blocked"),
        ),
    ];
    let mut refused = std::collections::BTreeMap::new();
    for (name, target, headers, status, reason) in table {
        let reply = edge.send("GET", target, &headers).await;
        assert_eq!(reply.status, status, "{name}");
        if let Some(reason) = reason {
            *refused.entry(reason).or_insert(0.0) += 1.0;
        }
    }
    edge.settled().await;
    for (reason, count) in refused {
        let series = format!("warren_refusals_total{{reason=\"{reason}\",zone=\"test\"}}");
        assert_eq!(edge.metric(&series).await, count, "{reason}");
    }
    assert_eq!(origin.requests().len(), 1);
}
