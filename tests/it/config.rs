//! The configuration as an operator meets it: files that load, problems that
//! teach, secrets that stay secret, and the exit codes of the binary.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use warren::config::{Config, Environment, Problems};

fn environment() -> Environment {
    Environment::from([
        ("CDN_SECURITY_KEY", "top-secret-key-0123456789"),
        ("S3_ACCESS_KEY", "AK"),
        ("S3_SECRET_KEY", "top-secret-s3"),
        ("WARREN_ACCESS_KEY", "top-secret-access-0123"),
        ("SHORT_KEY", "k"),
        ("ALMOST", "0123456789abcde"),
        ("PADDED_KEY", "k                "),
        ("QUOTED_KEY", "\"top-secret-key-0123456789\""),
    ])
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse("test.toml", text, root(), &environment())
}

#[test]
fn every_example_file_loads() {
    for name in [
        "config/minimal.toml",
        "config/warren.toml",
        "deploy/compose/warren.toml",
    ] {
        let path = root().join(name);
        if let Err(problems) = Config::load(&path, &environment()) {
            panic!("{problems}");
        }
    }
}

const GOOD: &str = r#"
[listen]
http = ["127.0.0.1:0"]
[[zone]]
name = "vod"
hostnames = ["*"]
[zone.token]
keys = [{ name = "main", env = "CDN_SECURITY_KEY" }]
[zone.origin]
kind = "s3"
endpoints = ["http://127.0.0.1:9000"]
bucket = "media"
"#;

#[test]
fn each_mistake_is_named_by_its_key() {
    assert!(parse(GOOD).is_ok());
    let table = [
        ("no listener", "http = [\"127.0.0.1:0\"]", "", "listen.http"),
        ("a bad address", "127.0.0.1:0", "localhost", "listen.http"),
        (
            "an unset key",
            "CDN_SECURITY_KEY",
            "NOT_SET",
            "zone[0].token.keys[0].env",
        ),
        (
            "a security key of one letter",
            "CDN_SECURITY_KEY",
            "SHORT_KEY",
            "zone[0].token.keys[0].env",
        ),
        (
            "an access key of fifteen bytes",
            "[[zone]]",
            "[admin]\naccess_keys = [{ name = \"ops\", env = \"ALMOST\" }]\n[[zone]]",
            "admin.access_keys[0].env",
        ),
        (
            "a key that white space makes long enough",
            "CDN_SECURITY_KEY",
            "PADDED_KEY",
            "zone[0].token.keys[0].env",
        ),
        (
            "a name with a port for the admin listener",
            "[[zone]]",
            "[admin]\nhosts = [\"edge:9090\"]\n[[zone]]",
            "admin.hosts",
        ),
        (
            "no keys",
            "keys = [{ name = \"main\", env = \"CDN_SECURITY_KEY\" }]",
            "",
            "zone[0].token.keys",
        ),
        (
            "an empty list of keys",
            "[{ name = \"main\", env = \"CDN_SECURITY_KEY\" }]",
            "[]",
            "zone[0].token.keys",
        ),
        (
            "an unknown kind",
            "\"s3\"",
            "\"ftp\"",
            "zone[0].origin.kind",
        ),
        (
            "an endpoint with a query",
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9000/media?x=1",
            "zone[0].origin.endpoints",
        ),
        (
            "no bucket",
            "bucket = \"media\"",
            "",
            "zone[0].origin.bucket",
        ),
        (
            "an unknown key",
            "bucket = ",
            "buckets = ",
            "zone[0].origin.buckets",
        ),
        ("no host name", "[\"*\"]", "[]", "zone[0].hostnames"),
        (
            "half of the credentials",
            "bucket = ",
            "access_key = { env = \"S3_ACCESS_KEY\" }\nbucket = ",
            "zone[0].origin.secret_key",
        ),
        (
            "https without a certificate",
            "[listen]",
            "[listen]\nhttps = [\"127.0.0.1:0\"]",
            "listen.https",
        ),
        (
            "a wide admin listener",
            "[[zone]]",
            "[admin]\nlisten = \"0.0.0.0:9090\"\naccess_keys = []\n[[zone]]",
            "admin.listen",
        ),
        (
            "a duration without a unit",
            "[[zone]]",
            "[listen2]\n[[zone]]",
            "listen2",
        ),
        (
            "too little memory",
            "[[zone]]",
            "[cache]\nmemory = \"1MiB\"\n[[zone]]",
            "cache.memory",
        ),
        (
            "credentials for everybody",
            "[zone.token]",
            "cors = { credentials = true }\n[zone.token]",
            "zone[0].cors.credentials",
        ),
        (
            "no site",
            "[zone.token]",
            "cors = { origins = [\"*\"] }\n[zone.token]",
            "zone[0].cors.origins",
        ),
        (
            "an origin's own CORS of a bucket",
            "[zone.token]",
            "cors = \"origin\"\n[zone.token]",
            "zone[0].cors",
        ),
        (
            "half of HSTS",
            "[zone.token]",
            "https = { preload = true }\n[zone.token]",
            "zone[0].https.preload",
        ),
        (
            "a rule for no path",
            "[zone.token]",
            "path = [{ token = false }]\n[zone.token]",
            "zone[0].path[0].match",
        ),
        (
            "two stars",
            "[zone.token]",
            "path = [{ match = [\"/a/*/*\"] }]\n[zone.token]",
            "zone[0].path[0].match",
        ),
        (
            "a header of the edge's own",
            "[zone.token]",
            "path = [{ match = [\"*\"], headers = { Date = \"x\" } }]\n[zone.token]",
            "zone[0].path[0].headers",
        ),
        (
            "a header that the edge says to the origin",
            "bucket = \"media\"",
            "bucket = \"media\"\nheaders = { Host = \"a.test\" }",
            "zone[0].origin.headers",
        ),
        (
            "a header that frames what goes to the origin",
            "bucket = \"media\"",
            "bucket = \"media\"\nheaders = { \"Transfer-Encoding\" = \"chunked\" }",
            "zone[0].origin.headers",
        ),
        (
            "a header of proxies that nobody trusts",
            "[zone.token]",
            "client_ip_header = \"X-Real-IP\"\n[zone.token]",
            "zone[0].client_ip_header",
        ),
        (
            "a name for no certificate",
            "bucket = \"media\"",
            "bucket = \"media\"\ntls_name = \"a.test\"",
            "zone[0].origin.tls_name",
        ),
        (
            "redirects to a URL",
            "bucket = \"media\"",
            "bucket = \"media\"\nredirects = [\"http://a.test\"]",
            "zone[0].origin.redirects",
        ),
        (
            "a viewer's host for a bucket",
            "bucket = \"media\"",
            "bucket = \"media\"\nforward_host = true",
            "zone[0].origin.forward_host",
        ),
        (
            "writes to a bucket",
            "[zone.origin]",
            "[zone.cache]\nmethods = \"any\"\n[zone.origin]",
            "zone[0].cache",
        ),
    ];
    for (name, from, to, key) in table {
        let problems = parse(&GOOD.replacen(from, to, 1))
            .err()
            .unwrap_or_else(|| panic!("{name} is accepted"));
        let found: Vec<&str> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert!(found.contains(&key), "{name}: {key} is not among {found:?}");
        assert!(
            problems.iter().all(|problem| problem.line.is_some()),
            "{name}: every problem has a line"
        );
    }
}

#[test]
fn a_key_that_can_be_guessed_is_a_problem_that_says_how_to_make_one() {
    let short = GOOD.replace("CDN_SECURITY_KEY", "SHORT_KEY");
    let text = parse(&short).expect_err("too short").to_string();
    for part in [
        "a key of 1 bytes",
        "at least 16 bytes",
        "openssl rand -hex 32",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let quoted = parse(&GOOD.replace("CDN_SECURITY_KEY", "QUOTED_KEY")).expect("it may be meant");
    let [warning] = quoted.warnings.as_slice() else {
        panic!("one warning: {:?}", quoted.warnings);
    };
    assert!(
        warning.starts_with("zone[0].token.keys[0].env: "),
        "{warning}"
    );
    assert!(warning.contains("QUOTED_KEY stands in quotes") && !warning.contains("top-secret"));
    assert!(parse(GOOD).expect("sound").warnings.is_empty());
}

#[test]
fn a_short_key_of_the_command_line_is_warned_of_and_used() {
    let signed = warren(&["sign", "/a.ts", "--ttl", "1h", "--key", "vector"]);
    let (url, said) = (
        signed.stdout,
        String::from_utf8_lossy(&signed.stderr).into_owned(),
    );
    assert!(
        signed.status.success() && said.contains("the key has 6 bytes"),
        "{said}"
    );
    let url = String::from_utf8(url).expect("text");
    let explained = warren(&["explain", url.trim(), "--key", "vector"]);
    let said = String::from_utf8_lossy(&explained.stderr).into_owned();
    assert!(
        explained.status.success() && said.contains("the key has 6 bytes"),
        "{said}"
    );
    let quiet = warren(&["sign", "/a.ts", "--ttl", "1h"]);
    assert!(quiet.status.success() && quiet.stderr.is_empty());
}

#[test]
fn who_signs_or_explains_needs_the_zones_own_key_and_no_other_secret() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("warren.toml");
    let other = "[[zone]]\nname = \"other\"\nid = 9\nhostnames = [\"other.test\"]\n[zone.token]\n\
                 keys = [{ name = \"k\", env = \"OTHER_KEY\" }]\n[zone.origin]\nkind = \"s3\"\n\
                 endpoints = [\"http://127.0.0.1:1\"]\nbucket = \"b\"\naccess_key = { env = \"NO_ID\" }\n\
                 secret_key = { file = \"none\" }\n";
    let first = GOOD.replace("hostnames = [\"*\"]", "id = 7\nhostnames = [\"cdn.test\"]");
    std::fs::write(&file, format!("{first}\n{other}")).expect("written");
    let warren = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        let command = command
            .env_clear()
            .env("CDN_SECURITY_KEY", "0123456789abcdef");
        let output = command.args(arguments).arg("--config").arg(&file).output();
        let output = output.expect("the binary runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let zone = first
        .split("name = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let url = "https://cdn.test/a.ts";
    let (code, signed) = warren(&["sign", url, "--ttl", "1h", "--zone", zone.expect("a name")]);
    assert_eq!(code, Some(0), "{signed}");
    let url = signed.lines().last().expect("a URL").trim().to_owned();
    let (code, said) = warren(&["explain", &url]);
    assert!(code == Some(0) && said.contains("allowed"), "{said}");
    for (arguments, way) in [
        (
            vec!["sign", "/a.ts", "--ttl", "1h", "--zone", "other"],
            "sign",
        ),
        (
            vec![
                "explain",
                "https://other.test/a.ts?token=x&expires=1893456000",
            ],
            "explain",
        ),
    ] {
        let (code, said) = warren(&arguments);
        assert!(
            code != Some(0) && said.contains("key \"k\" of the zone \"other\" is not there"),
            "{way}: {said}"
        );
    }
    // A node needs all of them.
    let (code, said) = warren(&["check"]);
    assert!(
        code == Some(64) && said.contains("OTHER_KEY is not set"),
        "{said}"
    );
}

#[test]
fn sign_makes_no_url_whose_end_was_written_in_milliseconds() {
    let sign = |more: &[&str]| warren(&[&["sign", "/a.ts"], more].concat());
    for expires in ["1893456000000", "18446744073709551615", "253402300800000"] {
        let refused = sign(&["--expires", expires]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{expires}: {said}");
        assert!(said.contains("milliseconds"), "{said}");
    }
    assert_eq!(sign(&["--ttl", "200000000000000d"]).status.code(), Some(1));
    let forced = sign(&["--expires", "1893456000000", "--force"]);
    assert_eq!(forced.status.code(), Some(0));
}

#[test]
fn answers_are_kept_apart_only_by_what_goes_on_as_viewers_say_it() {
    let with = |name: &str| format!("{GOOD}[zone.cache]\nvary = [\"{name}\"]\n");
    for name in ["accept-language", "x-lang", "host", "cookie"] {
        assert!(parse(&with(name)).is_ok(), "{name}");
    }
    let own = "Connection keep-alive te Transfer-Encoding upgrade Accept-Encoding \
               content-length expect Range if-range If-None-Match";
    for name in own.split_whitespace() {
        let text = parse(&with(name)).expect_err(name).to_string();
        assert!(text.contains("zone[0].cache.vary"), "{name}: {text}");
    }
}

#[test]
fn all_problems_come_at_once_with_a_hint() {
    let text = GOOD
        .replace("bucket = ", "buckett = ")
        .replace("CDN_SECURITY_KEY", "NOT_SET")
        .replace("\"*\"", "\"a b\"");
    let text = parse(&text).expect_err("three mistakes").to_string();
    for part in [
        "did you mean \"bucket\"?",
        "the variable NOT_SET is not set",
        "zone[0].hostnames",
        "test.toml:",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

fn warren(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    let secrets = [
        ("CDN_SECURITY_KEY", "top-secret-key-0123456789"),
        ("S3_ACCESS_KEY", "AK"),
        ("S3_SECRET_KEY", "top-secret-s3"),
    ];
    command
        .args(arguments)
        .current_dir(root())
        .envs(secrets)
        .output()
        .expect("the binary runs")
}

fn code(arguments: &[&str]) -> Option<i32> {
    warren(arguments).status.code()
}

#[test]
fn exit_codes_say_what_happened() {
    let folder = TempDir::new().expect("a folder");
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, GOOD.replace("CDN_SECURITY_KEY", "NOT_SET")).expect("written");
    let bad = bad.to_str().expect("a name");
    assert_eq!(code(&["check", "--config", "config/minimal.toml"]), Some(0));
    assert_eq!(code(&["check", "--config", bad]), Some(64));
    assert_eq!(code(&["check", "--config", "/nowhere.toml"]), Some(64));
    let served = warren(&["serve", "--config", bad]);
    assert_eq!(served.status.code(), Some(64));
    assert!(
        String::from_utf8_lossy(&served.stderr)
            .contains("put the key that your backend signs with into")
    );
    assert_eq!(code(&["sign", "/a.ts", "--ttl", "1h"]), Some(0));
    assert_eq!(code(&["sign", "/a%2Fb.ts", "--ttl", "1h"]), Some(1));
    assert_eq!(code(&["sign", "/a.ts"]), Some(2));
    assert_eq!(
        code(&["sign", "/a.ts", "--ttl", "1h", "--key-env", "NOT_SET"]),
        Some(2)
    );
    assert_eq!(code(&["explain", "/a.ts"]), Some(1));
    assert_eq!(code(&["explain"]), Some(2));
}

#[test]
fn check_finds_what_would_end_a_start() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty.pem"), "").expect("written");
    let s3 = |more: &str| GOOD.replace("bucket = ", &format!("{more}\nbucket = "));
    let table = [
        (
            "no such folder",
            format!("{GOOD}\n[log]\naccess_file = \"no/such.log\"\n"),
            "log.access_file",
        ),
        (
            "a folder for a file",
            format!("{GOOD}\n[log]\naccess_file = \".\"\n"),
            "log.access_file",
        ),
        (
            "no authorities",
            s3("ca_file = \"empty.pem\""),
            "origin.ca_file",
        ),
        (
            "no such authorities",
            s3("ca_file = \"none.pem\""),
            "origin.ca_file",
        ),
        (
            "not our address",
            GOOD.replace("127.0.0.1:0", "192.0.2.1:80"),
            "listen.http",
        ),
        (
            "one address twice",
            GOOD.replace("\"127.0.0.1:0\"", "\"127.0.0.1:9\", \"127.0.0.1:9\""),
            "listen",
        ),
        (
            "admin among viewers",
            format!(
                "{}\n[admin]\nlisten = \"127.0.0.1:9\"\n",
                GOOD.replace("127.0.0.1:0", "127.0.0.1:9")
            ),
            "admin",
        ),
    ];
    for (name, text, key) in table {
        let file = at("warren.toml");
        std::fs::write(&file, text).expect("written");
        let file = file.to_str().expect("a name");
        let [checked, served] = ["check", "serve"].map(|it| warren(&[it, "--config", file]));
        let said = String::from_utf8_lossy(&checked.stderr);
        assert_eq!(checked.status.code(), Some(64), "{name}: {said}");
        assert!(said.contains(&format!("{key}\n")), "{name}: {said}");
        assert_eq!(served.stderr, checked.stderr, "{name}: serve says the same");
    }
    let file = at("warren.toml");
    let log = at("access.log");
    let text = format!("{GOOD}\n[log]\naccess_file = \"access.log\"\n");
    std::fs::write(&file, text).expect("written");
    assert_eq!(
        code(&["check", "--config", file.to_str().expect("a name")]),
        Some(0)
    );
    assert!(!log.exists(), "check leaves nothing behind");
}

#[test]
fn a_file_of_another_kind_is_one_problem_and_shows_nothing_of_itself() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\nAQEFAASCBKcwggSjAgEA\n\
               AoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----\n";
    let table = [(pem, "PEM"), ("hello\nthere\n", "no line of TOML")];
    for (text, found) in table {
        let problems = parse(text).expect_err("no configuration");
        let [problem] = problems.iter().collect::<Vec<_>>()[..] else {
            panic!("one problem: {problems}");
        };
        assert!(problem.found.contains(found), "{problems}");
        assert!(!problems.to_string().contains("MIIE"), "{problems}");
    }
    let two = format!("{GOOD}\nbad line\nanother\n");
    assert!(parse(&two).expect_err("two mistakes").iter().count() > 1);
}

#[test]
fn what_sign_makes_explain_allows_and_says_why() {
    let signed = warren(&[
        "sign",
        "https://cdn.example.net/v/s1/a.ts",
        "--expires",
        "1893456000",
    ]);
    let url = String::from_utf8(signed.stdout).expect("text");
    let explained = warren(&[
        "explain",
        url.trim(),
        "--at",
        "1893455000",
        "--json",
        "--config",
        "config/minimal.toml",
    ]);
    assert_eq!(explained.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_slice(&explained.stdout).expect("JSON");
    for (field, want) in [
        ("allow", serde_json::json!(true)),
        ("reason", "ok".into()),
        ("scheme", "hs256".into()),
        ("key", "main".into()),
        ("path", "/v/s1/a.ts".into()),
        ("kind", "segment".into()),
        ("ttl", 86_400.into()),
        ("origin", "http://127.0.0.1:9000/media/v/s1/a.ts".into()),
    ] {
        assert_eq!(answer[field], want, "{field}");
    }
    let late = warren(&["explain", url.trim(), "--at", "1893456001", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&late.stdout).expect("JSON");
    assert_eq!(
        (late.status.code(), &answer["reason"]),
        (Some(1), &"expired".into())
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let printed = warren(&["check", "--config", "config/warren.toml", "--print"]);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&printed.stdout),
        String::from_utf8_lossy(&printed.stderr)
    );
    assert!(
        printed.status.success() && text.contains("max_pulls"),
        "{text}"
    );
    assert!(!text.contains("top-secret"), "{text}");
}

#[test]
fn what_is_printed_is_the_same_configuration_again_wherever_it_is_read() {
    let print = |config: &str| {
        let printed = warren(&["check", "--config", config, "--print"]);
        assert!(printed.status.success(), "{printed:?}");
        String::from_utf8(printed.stdout).expect("text")
    };
    for config in ["config/warren.toml", "config/minimal.toml"] {
        let first = print(config);
        for default in ["max_pulls = 256", "policy = \"hls\"", "keepalive = "] {
            assert!(first.contains(default), "{config}: {default} in {first}");
        }
        let folder = TempDir::new().expect("a folder");
        let elsewhere = folder.path().join("printed.toml");
        std::fs::write(&elsewhere, &first).expect("written");
        let again = print(elsewhere.to_str().expect("a path"));
        assert_eq!(again, first, "{config}");
        let load = |file: &Path| {
            let config = Config::load(file, &environment()).expect("a configuration");
            // Of the same folder: paths are told whole.
            format!("{config:#?}").replace(&format!("{}/", root().display()), "")
        };
        let ours = load(&root().join(config)).replace("config/", "");
        assert_eq!(load(&elsewhere).replace("config/", ""), ours, "{config}");
    }
}

#[test]
fn a_reader_who_has_had_enough_ends_nothing_with_a_panic() {
    let print = format!(
        "{} check --config config/warren.toml --print | true",
        env!("CARGO_BIN_EXE_warren")
    );
    for _ in 0..5 {
        let done = Command::new("sh")
            .args(["-c", &print])
            .current_dir(root())
            .envs([
                ("CDN_SECURITY_KEY", "k"),
                ("S3_ACCESS_KEY", "a"),
                ("S3_SECRET_KEY", "s"),
            ])
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_list_that_cannot_be_read_is_told_as_such_and_not_as_its_folder() {
    let folder = TempDir::new().expect("a folder");
    let text = std::fs::read_to_string(root().join("config/minimal.toml")).expect("a file");
    let text = format!("{text}\n[admin]\nstate_dir = {:?}\n", folder.path());
    assert!(parse(&text).is_ok());
    for name in ["takedowns.json", "revocations.json"] {
        for broken in ["", "{}", "[{"] {
            let file = folder.path().join(name);
            std::fs::write(&file, broken).expect("written");
            let told = parse(&text).expect_err("a problem").to_string();
            let says = [name, "allowed: the lists as they were kept", "backup"];
            assert!(
                says.iter().all(|it| told.contains(it)),
                "{broken:?}: {told}"
            );
            std::fs::remove_file(&file).expect("removed");
        }
    }
}
