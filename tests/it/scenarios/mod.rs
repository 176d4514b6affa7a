//! What an operator could describe: each file below `tests/scenarios` is one
//! behaviour, step by step, over real sockets. `file` says what may stand in
//! one.

mod ask;
mod count;
mod file;
mod play;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

use file::Scenario;

/// Scenarios at a time: most of them wait.
const AT_ONCE: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Every file below a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the scenarios are part of the repository");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    paths.into_iter().flat_map(below).collect()
}

/// A file by its name, and what it says.
fn read(file: &Path) -> (String, Scenario) {
    let name = file.strip_prefix(folder()).unwrap_or(file);
    let name = name.with_extension("").display().to_string();
    let text = std::fs::read_to_string(file).expect("a scenario is text");
    let scenario = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    (name, scenario)
}

/// `SCENARIO=two_hosts` plays only the files with that in their names.
#[expect(clippy::disallowed_methods, reason = "a switch for who runs the tests")]
fn only() -> Option<String> {
    std::env::var("SCENARIO").ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_plays_as_written() {
    let only = only();
    let mut all: Vec<(String, Scenario)> = files(&folder()).iter().map(|file| read(file)).collect();
    assert!(all.len() >= 14, "only {} scenarios were found", all.len());
    all.retain(|(name, _)| only.as_ref().is_none_or(|only| name.contains(only)));
    assert!(!all.is_empty(), "no scenario has {only:?} in its name");
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (mut playing, mut ignored) = (Vec::new(), 0);
    for (name, scenario) in all {
        if let Some(reason) = &scenario.ignored {
            println!("IGNORED {name}: {}: {reason}", scenario.claim);
            ignored += 1;
            continue;
        }
        let (places, claim) = (Arc::clone(&places), scenario.claim.clone());
        let player = name.clone();
        let played = tokio::spawn(async move {
            let _place = places.acquire_owned().await;
            Box::pin(play::play(&player, &scenario)).await;
        });
        playing.push((name, claim, played));
    }
    println!("{} scenarios play, {ignored} are ignored", playing.len());
    let mut failed = Vec::new();
    for (name, claim, played) in playing {
        if played.await.is_err() {
            failed.push(format!("{name}: {claim}"));
        }
    }
    assert!(
        failed.is_empty(),
        "these do not hold:\n{}",
        failed.join("\n")
    );
}
