//! Who did what, when, and to how much: a line for each call that changes
//! something.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::private_file;
use crate::telemetry::log_line::Timestamp;
use crate::token::carrier::redact;

/// So many things of a call are named; all are counted.
pub const NAMED: usize = 10;

/// The audit log.
pub struct Audit {
    clock: Clock,
    /// `None`: lines go into the node's own log, with the target `audit`.
    file: Option<(PathBuf, Mutex<File>)>,
}

impl Audit {
    /// An error names the file that cannot be appended to.
    pub fn open(file: Option<&Path>, clock: Clock) -> Result<Self, String> {
        let file = file.map(|path| {
            let opened = private_file::append(path);
            let opened = opened.map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>((path.to_owned(), Mutex::new(opened)))
        });
        Ok(Self {
            clock,
            file: file.transpose()?,
        })
    }

    /// Opens the file anew, once it was moved away; where that fails the old
    /// one is written on.
    pub fn reopen(&self) -> io::Result<()> {
        if let Some((path, file)) = &self.file {
            let new = private_file::append(path)?;
            *file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// `items`: how many things the call names, `named` the first of them.
    /// `more`: an object.
    pub fn write(&self, who: &str, what: &str, items: usize, named: &[String], more: &Value) {
        let Some((path, file)) = &self.file else {
            tracing::info!(target: "audit", who, what, items, ?named, %more);
            return;
        };
        let time = Timestamp::of(self.clock.wall());
        let mut line = json!({
            "time": time, "who": who, "what": what, "items": items, "named": named,
        });
        if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
            line.extend(more.clone());
        }
        let line = line.to_string();
        let line = redact(&line);
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{line}") {
            let path = path.display();
            tracing::error!(%path, %error, %line, "cannot write the audit log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_did_what_when_and_to_how_much_and_follows_its_file() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (path, moved) = (
            folder.path().join("audit.log"),
            folder.path().join("audit.1"),
        );
        let audit = Audit::open(Some(&path), Clock::default()).expect("opened");
        let named: Vec<String> = (0..NAMED).map(|at| format!("vod /{at}")).collect();
        audit.write("ops", "purge", 12, &named, &json!({ "purged": 2 }));
        std::fs::rename(&path, &moved).expect("moved");
        audit.reopen().expect("opened again");
        audit.write("ci", "drain", 0, &[], &json!({}));
        let read = |path: &Path| -> Value {
            let text = std::fs::read_to_string(path).expect("a file");
            assert_eq!(text.lines().count(), 1);
            serde_json::from_str(&text).expect("JSON")
        };
        let line = read(&moved);
        assert_eq!(line["who"], "ops");
        assert_eq!(line["named"].as_array().map(Vec::len), Some(NAMED));
        assert_eq!((&line["items"], &line["purged"]), (&json!(12), &json!(2)));
        assert!(
            line["time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
        assert_eq!(read(&path)["what"], "drain");
        let nowhere = folder.path().join("none").join("audit.log");
        let why = Audit::open(Some(&nowhere), Clock::default()).err();
        assert!(why.is_some_and(|why| why.contains("none")));
    }
}
