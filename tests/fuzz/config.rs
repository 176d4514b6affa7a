//! Feeds the configuration: any text is read or refused with places in it, and
//! no refusal says a secret.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use warren::config::{Config, Environment};

const SECRETS: [&str; 3] = [
    "first-secret-value",
    "second-secret-value",
    "third-secret-value",
];

fuzz_target!(|text: &str| {
    let [key, access, secret] = SECRETS;
    let environment = Environment::from([
        ("CDN_SECURITY_KEY", key),
        ("S3_ACCESS_KEY", access),
        ("S3_SECRET_KEY", secret),
    ]);
    // No file of this machine is anybody's key: paths stay below a folder
    // that is not there.
    if text.contains("..") || text.contains("\"/") || text.contains("'/") {
        return;
    }
    let folder = Path::new("no-such-folder");
    let problems = match Config::parse("fuzz.toml", text, folder, &environment) {
        Ok(config) => {
            let shown = format!("{config:?}");
            assert!(
                !shown.contains(key) && !shown.contains(secret),
                "a secret is shown"
            );
            return;
        }
        Err(problems) => problems,
    };
    assert!(!problems.is_empty());
    let lines = text.matches('\n').count() + 1;
    for problem in problems.iter() {
        assert!(
            problem.line.is_none_or(|line| (1..=lines).contains(&line)),
            "{problem:?}"
        );
    }
    let said = problems.to_string();
    for secret in SECRETS.iter().filter(|secret| !text.contains(**secret)) {
        assert!(!said.contains(secret), "{said}");
    }
});
