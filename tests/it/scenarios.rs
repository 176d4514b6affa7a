//! What an operator could describe: each file in `tests/scenarios` is one
//! behaviour, step by step, over real sockets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::edge::{Setup, TestEdge, signed};
use crate::origin::{DevOrigin, DevOriginOptions, Fault, Object};

/// One scenario file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// The claim.
    claim: String,
    /// TOML text of the zone's tables, in place of the defaults.
    #[serde(default)]
    zone: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    cache: String,
    /// "s3" (private bucket) or "http".
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    object: Vec<Stored>,
    step: Vec<Step>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    S3,
    Http,
}

/// An object of the origin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    path: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    size: usize,
    cache_control: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// One thing that happens, and what is seen of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// A path to GET (or another `method`), signed unless `signed = false`.
    get: Option<String>,
    #[serde(default = "get_method")]
    method: String,
    #[serde(default = "yes")]
    signed: bool,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    status: Option<u16>,
    cache: Option<String>,
    body: Option<String>,
    length: Option<usize>,
    /// Headers that must be there with this value; an empty one must be absent.
    #[serde(default)]
    sees: BTreeMap<String, String>,
    /// Seconds that pass.
    advance: Option<f64>,
    /// A new state of an object of the origin.
    put: Option<Stored>,
    remove: Option<String>,
    fault: Option<FaultStep>,
    #[serde(default)]
    clear_faults: bool,
    /// Requests to the origin so far, by path suffix.
    #[serde(default)]
    pulls: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultStep {
    path: String,
    times: Option<u64>,
    fault: Fault,
}

fn get_method() -> String {
    "GET".into()
}

const fn yes() -> bool {
    true
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(folder).expect("the scenarios are part of the repository");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn store(origin: &DevOrigin, stored: &Stored) {
    let body = if stored.size > 0 {
        "x".repeat(stored.size)
    } else {
        stored.body.clone()
    };
    let mut object = Object::new(body, crate::origin::content_type_of(&stored.path));
    if let Some(control) = &stored.cache_control {
        object = object.with_cache_control(control);
    }
    for (name, value) in &stored.headers {
        object = object.with_header(name, value);
    }
    origin.put_object(&stored.path, object);
}

async fn play(scenario: &Scenario) {
    let s3 = scenario.kind == Kind::S3;
    let options = if s3 {
        DevOriginOptions::default()
    } else {
        DevOriginOptions::plain()
    };
    let origin = DevOrigin::start(options).await.expect("the origin starts");
    for object in &scenario.object {
        store(&origin, object);
    }
    let mut setup = if s3 {
        Setup::s3(origin.addr())
    } else {
        Setup::http(origin.addr())
    };
    setup.zone.push_str(&scenario.zone);
    setup.origin.push_str(&scenario.origin);
    setup.cache.push_str(&scenario.cache);
    if let Some(token) = &scenario.token {
        setup.token.clone_from(token);
    }
    let edge = setup.start().await;
    for (index, step) in scenario.step.iter().enumerate() {
        take(step, index + 1, &origin, &edge, s3).await;
    }
}

async fn take(step: &Step, number: usize, origin: &DevOrigin, edge: &TestEdge, s3: bool) {
    if let Some(seconds) = step.advance {
        edge.clock.advance(Duration::from_secs_f64(seconds));
    }
    if let Some(object) = &step.put {
        store(origin, object);
    }
    if let Some(path) = &step.remove {
        origin.remove(path);
    }
    if step.clear_faults {
        origin.clear_faults();
    }
    if let Some(FaultStep { path, times, fault }) = &step.fault {
        match times {
            Some(times) => origin.fault_times(path, *times, fault.clone()),
            None => origin.fault(path, fault.clone()),
        }
    }
    if let Some(path) = &step.get {
        let target = if step.signed && s3 {
            signed(&edge.clock, path)
        } else {
            path.clone()
        };
        let headers: Vec<(&str, &str)> = step
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let reply = edge.send(&step.method, &target, &headers).await;
        let at = format!("step {number}: {} {path}: {reply:?}", step.method);
        step.status
            .inspect(|status| assert_eq!(reply.status, *status, "{at}"));
        step.cache
            .iter()
            .for_each(|cache| assert_eq!(reply.cache(), cache, "{at}"));
        step.body
            .iter()
            .for_each(|body| assert_eq!(String::from_utf8_lossy(&reply.body), *body, "{at}"));
        step.length
            .inspect(|length| assert_eq!(reply.body.len(), *length, "{at}"));
        for (name, value) in &step.sees {
            assert_eq!(
                reply.header(name).unwrap_or_default(),
                value,
                "{name} at {at}"
            );
        }
    }
    for (path, count) in &step.pulls {
        assert_eq!(origin.count(path), *count, "step {number}: pulls of {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_plays_as_written() {
    let mut failed = Vec::new();
    let files = files();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a scenario is text");
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let scenario: Scenario =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let claim = scenario.claim.clone();
        if tokio::spawn(async move { play(&scenario).await })
            .await
            .is_err()
        {
            failed.push(format!("{name}: {claim}"));
        }
    }
    assert!(
        failed.is_empty(),
        "these do not hold:\n{}",
        failed.join("\n")
    );
    assert!(
        files.len() >= 12,
        "only {} scenarios were found",
        files.len()
    );
}
