//! The directions of the house: who may know whom, and what pure files may not do.

use std::collections::{BTreeMap, BTreeSet};
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

/// Which file names which, by `use` and by path: each as its module, `edge::lane::first`.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn graph(sources: &[(String, String)]) -> Graph {
    let name = |file: &str| {
        let path = file.trim_end_matches(".rs").replace('/', "::");
        path.trim_end_matches("::mod").to_owned()
    };
    let all: BTreeSet<String> = sources.iter().map(|(file, _)| name(file)).collect();
    let known = |path: &str| {
        let mut path = path;
        loop {
            if all.contains(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    let mut graph = Graph::new();
    for (file, text) in sources {
        let own = name(file);
        let named = paths(&code(text)).into_iter();
        let named = named.filter_map(|path| {
            // `super` of a file is its folder, however often it is said.
            let (mut base, mut rest) = (own.as_str(), path.as_str());
            while let Some(behind) = rest.strip_prefix("super::") {
                (base, rest) = (base.rsplit_once("::").map_or("", |(up, _)| up), behind);
            }
            match rest.strip_prefix("crate::") {
                Some(path) => known(path),
                None if base.is_empty() => known(rest),
                None => known(&format!("{base}::{rest}")),
            }
        });
        let others = named.filter(|other| *other != own).collect();
        graph.insert(own, others);
    }
    graph
}

/// Paths that begin with `crate` or `super`, lists in braces taken apart.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for beginning in ["crate::", "super::"] {
        for (at, _) in code.match_indices(beginning) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':')) {
                spread(&code[at..], "", &mut found);
            }
        }
    }
    found
}

/// Takes `a::{b, c::d}` apart; what is left of the text behind it.
fn spread<'c>(code: &'c str, prefix: &str, found: &mut Vec<String>) -> &'c str {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = code.find(|c| !is_path(c)).unwrap_or(code.len());
    let path = format!("{prefix}{}", &code[..end]);
    let mut rest = &code[end..];
    if !(path.ends_with("::") && rest.starts_with('{')) {
        found.push(path.trim_end_matches(':').to_owned());
        return rest;
    }
    rest = &rest[1..];
    loop {
        rest = rest.trim_start();
        match rest.chars().next() {
            None => return rest,
            Some('}') => return &rest[1..],
            Some(',') => rest = &rest[1..],
            Some(c) if is_path(c) => rest = spread(rest, &path, found),
            // `as other`, a comment, a glob.
            Some(c) => rest = &rest[c.len_utf8()..],
        }
    }
}

/// A circle, where there is one: nodes that nobody is left to begin with.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    let mut left = graph.clone();
    loop {
        let names: BTreeSet<String> = left.keys().cloned().collect();
        let free = |(_, others): &(&String, &BTreeSet<String>)| others.is_disjoint(&names);
        let done: Vec<String> = left
            .iter()
            .filter(free)
            .map(|(name, _)| name.clone())
            .collect();
        match done.is_empty() {
            true if left.is_empty() => return None,
            true => return Some(names.into_iter().collect()),
            false => left.retain(|name, _| !done.contains(name)),
        }
    }
}

/// The same of modules: files that begin with one name.
fn modules(graph: &Graph) -> Graph {
    let top = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
    let mut tops = Graph::new();
    for (name, others) in graph {
        let own = top(name);
        let others = others.iter().map(|other| top(other));
        let others = others.filter(|other| *other != own).collect::<Vec<_>>();
        tops.entry(own).or_default().extend(others);
    }
    tops
}

/// Of one module, file by file; who declares its files knows them all.
fn files_of(graph: &Graph, module: &str) -> Graph {
    let beginning = format!("{module}::");
    let is_file = |name: &String| name.starts_with(&beginning) && name != "edge::lane";
    let files = graph.iter().filter(|(name, _)| is_file(name));
    files
        .map(|(name, others)| (name.clone(), others.clone()))
        .collect()
}

#[test]
fn no_modules_and_no_files_of_the_edge_know_each_other() {
    let graph = graph(&sources());
    assert_eq!(circle(&modules(&graph)), None);
    assert_eq!(circle(&files_of(&graph, "edge")), None);
}

#[test]
fn a_circle_that_is_planted_is_seen() {
    let mut files = sources();
    let plant = |files: &mut Vec<(String, String)>, file: &str, line: &str| {
        let (_, text) = files.iter_mut().find(|(name, _)| name == file).expect(file);
        text.insert_str(0, line);
    };
    let whole = graph(&files);
    assert!(
        whole["edge::lane::first"].contains("edge::lookup"),
        "braces are taken apart"
    );
    assert!(whole["edge::serve"].contains("edge::represent"));
    plant(&mut files, "edge/refused.rs", "use super::{waits::Lost};\n");
    let edge = circle(&files_of(&graph(&files), "edge")).expect("a circle");
    assert!(edge.contains(&"edge::refused".to_owned()), "{edge:?}");
    assert_eq!(circle(&modules(&graph(&files))), None);
    plant(
        &mut files,
        "cache/mod.rs",
        "use crate::{\n    clock::Clock,\n    edge::Node,\n};\n",
    );
    let all = circle(&modules(&graph(&files))).expect("a circle");
    assert!(
        all.contains(&"cache".to_owned()) && all.contains(&"edge".to_owned()),
        "{all:?}"
    );
}

#[test]
fn the_lowest_modules_know_nobody_and_settings_are_known_by_who_starts() {
    let modules = modules(&graph(&sources()));
    let knows = |name: &str| modules[name].iter().map(String::as_str).collect::<Vec<_>>();
    for (name, others) in [
        ("path", &[][..]),
        ("clock", &[]),
        ("path_index", &["path"]),
        ("hls", &["path"]),
        ("standing", &["clock"]),
        ("cause", &[]),
        ("swarm", &["cause", "clock", "hls"]),
    ] {
        assert_eq!(knows(name), others, "{name}");
    }
    for (name, others) in &modules {
        let may = ["cli", "node", "main"].contains(&name.as_str());
        assert!(may || !others.contains("config"), "{name} knows config");
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
