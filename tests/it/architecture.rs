//! The directions of the house: who may know whom, and what pure files may not do.

use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path
                    .strip_prefix(&root)
                    .expect("below src")
                    .display()
                    .to_string();
                files.push((name, fs::read_to_string(&path).expect("source is text")));
            }
        }
    }
    files
}

/// The part before the tests, without comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or_default()
}

#[test]
fn pure_files_have_no_async_no_clock_no_logs_and_no_metrics() {
    let mut count = 0;
    for (file, text) in sources()
        .iter()
        .filter(|(_, text)| text.starts_with("//! Pure:"))
    {
        count += 1;
        let code = code(text);
        for forbidden in [
            "async ",
            ".await",
            "tokio::",
            "tracing::",
            "prometheus::",
            "std::fs",
            "std::net::Tcp",
            "rand::",
        ] {
            assert!(
                !code.contains(forbidden),
                "{file} is pure and uses {forbidden:?}"
            );
        }
    }
    assert!(count >= 20, "only {count} pure files were found");
}

#[test]
fn modules_depend_in_one_direction() {
    // Each module and the modules that it may name.
    let rules: &[(&str, &[&str])] = &[
        ("path", &[]),
        ("clock", &[]),
        ("standing", &["clock"]),
        ("token", &["path"]),
        ("hls", &["path"]),
        ("cache", &["path", "hls", "clock", "origin"]),
        ("origin", &["path", "clock"]),
        ("zone", &["path", "hls", "cache", "token", "origin"]),
        (
            "pull",
            &[
                "path", "hls", "clock", "cache", "origin", "zone", "standing",
                // A playlist may name what it names behind a token's block.
                "token",
            ],
        ),
        ("listen", &["config", "edge"]),
        ("takedown", &[]),
        ("revocation", &["token"]),
        (
            "config",
            &[
                // What a zone says of its paths.
                "path",
                "token",
                "zone",
                "cache",
                "origin",
                "listen",
                "revocation",
                "takedown",
            ],
        ),
        (
            "telemetry",
            &["clock", "config", "cache", "hls", "origin", "pull", "token"],
        ),
        (
            "edge",
            &[
                "path",
                "hls",
                "clock",
                "cache",
                "origin",
                "zone",
                "pull",
                "token",
                "telemetry",
                "config",
                "revocation",
                "standing",
                "takedown",
            ],
        ),
        (
            "admin",
            &[
                "path",
                "hls",
                "clock",
                "cache",
                "origin",
                "zone",
                "config",
                "edge",
                "revocation",
                "takedown",
                "telemetry",
                "token",
            ],
        ),
        ("swarm", &["path", "hls", "clock"]),
    ];
    for (file, text) in sources() {
        let Some((name, allowed)) = rules.iter().find(|(name, _)| *name == module(&file)) else {
            continue;
        };
        let code = code(&text);
        for (other, _) in rules.iter().filter(|(other, _)| other != name) {
            let named = code.contains(&format!("crate::{other}::"))
                || code.contains(&format!("crate::{{{other}"));
            assert!(
                !named || allowed.contains(other),
                "{file} must not know {other}"
            );
        }
    }
}

#[test]
fn frameworks_stay_where_they_belong() {
    let homes: &[(&str, &[&str])] = &[
        (
            "moka::",
            &["cache/store.rs", "cache/live.rs", "cache/slices.rs"],
        ),
        ("axum::", &["admin/"]),
        ("toml::", &["config/"]),
        ("prometheus::", &["telemetry/", "node/"]),
        (
            "pingora::",
            &[
                "listen/",
                "edge/",
                "pull/",
                "origin/client.rs",
                "origin/exchange.rs",
                "origin/keep.rs",
                "cache/head.rs",
                "cache/object.rs",
                "node/",
            ],
        ),
        (
            "rustls::",
            &["listen/", "telemetry/syslog.rs", "swarm/", "trust.rs"],
        ),
        ("clap::", &["cli/"]),
        ("unsafe ", &["cache/chunk.rs"]),
    ];
    for (file, text) in sources() {
        let code = code(&text);
        for (framework, allowed) in homes {
            let used = code.contains(framework);
            assert!(
                !used || allowed.iter().any(|home| file.starts_with(home)),
                "{file} uses {framework}"
            );
        }
    }
}

#[test]
fn one_file_reads_the_clock_and_one_the_environment() {
    for (file, text) in sources() {
        let code = code(&text);
        let reads_clock = code.contains("Instant::now") || code.contains("SystemTime::now");
        assert!(!reads_clock || file == "clock.rs", "{file} reads the clock");
        assert!(
            !code.contains("env::var") || file == "config/secret.rs",
            "{file} reads the environment"
        );
    }
}

#[test]
fn statuses_of_refusals_are_written_in_one_place() {
    for (file, text) in sources()
        .iter()
        .filter(|(file, _)| file.starts_with("edge/"))
    {
        let writes = code(text).contains("respond_error(");
        assert!(!writes, "{file} answers past edge/respond.rs");
    }
}
