//! What may not be served any more, whoever has a token for it: paths and
//! prefixes of zones, with a reason and perhaps an end. They survive a restart.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::path_index::PathIndex;

/// Takedowns of one node.
pub const MAX_TAKEDOWNS: usize = 10_000;
const FILE: &str = "takedowns.json";

/// One path or prefix that is taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takedown {
    /// The zone's name.
    pub zone: String,
    /// The canonical path.
    pub path: String,
    /// Every path that begins so, too.
    pub prefix: bool,
    pub reason: String,
    /// Unix seconds; from then on it is served again.
    pub until: Option<u64>,
    /// The access key's name, and when, in Unix seconds.
    pub by: String,
    pub since: u64,
}

impl Takedown {
    /// What it is of: zone, path, and whether as a prefix.
    fn place(&self) -> (&str, &str, bool) {
        (&self.zone, &self.path, self.prefix)
    }
}

/// All of a node's.
#[derive(Default)]
pub struct Takedowns {
    index: ArcSwap<Index>,
    /// What the index is made of; changes come one at a time.
    list: Mutex<Vec<Takedown>>,
    /// `None`: none can be kept, so none is taken.
    file: Option<PathBuf>,
}

/// Their ends, by zone; `u64::MAX`: none.
#[derive(Default)]
struct Index(HashMap<String, PathIndex<u64>>);

impl Index {
    fn of(list: &[Takedown]) -> Self {
        let mut zones: HashMap<String, PathIndex<u64>> = HashMap::new();
        for takedown in list {
            let zone = zones.entry(takedown.zone.clone()).or_default();
            let until = match takedown.prefix {
                true => zone.prefix(&takedown.path),
                false => zone.path(&takedown.path),
            };
            *until = takedown.until.unwrap_or(u64::MAX);
        }
        Self(zones)
    }
}

impl Takedowns {
    /// Those that an earlier process has kept in `folder`. An error says what
    /// cannot be read: to serve without them would be worse than not to serve.
    pub fn open(folder: Option<&Path>) -> Result<Self, String> {
        let Some(folder) = folder else {
            return Ok(Self::default());
        };
        let file = folder.join(FILE);
        let list: Vec<Takedown> = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| format!("{}: {error}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: {error}", file.display())),
        };
        Ok(Self {
            index: ArcSwap::from_pointee(Index::of(&list)),
            list: Mutex::new(list),
            file: Some(file),
        })
    }

    /// Whether a path is taken down now, in Unix seconds.
    pub fn covers(&self, zone: &str, path: &str, now: u64) -> bool {
        let index = self.index.load();
        let zone = index.0.get(zone);
        zone.is_some_and(|zone| zone.of(path).any(|until| now < *until))
    }

    pub fn list(&self) -> Vec<Takedown> {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes down; one of the same place is replaced.
    pub fn add(&self, more: &[Takedown]) -> Result<(), String> {
        self.change(|list| {
            let places = places_of(more);
            list.retain(|old| !places.contains(&old.place()));
            list.extend_from_slice(more);
        })
    }

    /// Serves again what one of these names; returns how many there were.
    pub fn lift(&self, places: &[Takedown]) -> Result<usize, String> {
        let mut lifted = 0;
        self.change(|list| {
            let before = list.len();
            let places = places_of(places);
            list.retain(|old| !places.contains(&old.place()));
            lifted = before - list.len();
        })?;
        Ok(lifted)
    }

    /// In force only when it is on disk, and then at once.
    fn change(&self, change: impl FnOnce(&mut Vec<Takedown>)) -> Result<(), String> {
        let file = self.file.as_deref();
        let file = file.ok_or("set [admin] state_dir, where takedowns are kept")?;
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = list.clone();
        change(&mut new);
        if new.len() > MAX_TAKEDOWNS {
            return Err(format!("at most {MAX_TAKEDOWNS} takedowns at a time"));
        }
        write(file, &new).map_err(|error| format!("{}: {error}", file.display()))?;
        self.index.store(Index::of(&new).into());
        *list = new;
        Ok(())
    }
}

fn places_of(takedowns: &[Takedown]) -> HashSet<(&str, &str, bool)> {
    takedowns.iter().map(Takedown::place).collect()
}

/// Beside the file first: who reads it finds the old list or the new one.
fn write(file: &Path, list: &[Takedown]) -> std::io::Result<()> {
    let beside = file.with_extension("json.new");
    let mut out = std::fs::File::create(&beside)?;
    serde_json::to_writer_pretty(&mut out, list)?;
    out.flush()?;
    out.sync_all()?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takedown(path: &str, prefix: bool, until: Option<u64>) -> Takedown {
        Takedown {
            zone: "vod".into(),
            path: path.into(),
            prefix,
            reason: "notice 7".into(),
            until,
            by: "ops".into(),
            since: 1,
        }
    }

    #[test]
    fn what_is_taken_down_stays_so_over_a_restart_until_its_end_or_its_lifting() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let open = || Takedowns::open(Some(folder.path())).expect("readable");
        let down = open();
        let all = [
            takedown("/a.ts", false, None),
            takedown("/v/s1/", true, Some(100)),
        ];
        down.add(&all).expect("kept");
        for down in [down, open()] {
            let table = [
                ("/a.ts", 50, true),
                ("/a.tsx", 50, false),
                ("/v/s1/b.ts", 99, true),
                ("/v/s1/b.ts", 100, false),
                ("/v/s10/b.ts", 50, false),
            ];
            for (path, now, want) in table {
                assert_eq!(down.covers("vod", path, now), want, "{path} at {now}");
            }
            assert!(!down.covers("live", "/a.ts", 50), "another zone");
            assert_eq!(down.list(), all);
        }
        let down = open();
        assert_eq!(down.lift(&[takedown("/a.ts", false, None)]), Ok(1));
        assert_eq!(down.lift(&[takedown("/a.ts", false, None)]), Ok(0));
        assert!(!open().covers("vod", "/a.ts", 50) && open().covers("vod", "/v/s1/b", 50));
        down.add(&[takedown("/v/s1/", true, None)]).expect("kept");
        assert_eq!(open().list(), [takedown("/v/s1/", true, None)], "replaced");
    }

    #[test]
    fn what_cannot_be_kept_or_read_is_said() {
        let nowhere = Takedowns::default();
        let why = nowhere
            .add(&[takedown("/a", false, None)])
            .expect_err("not kept");
        assert!(why.contains("state_dir") && !nowhere.covers("vod", "/a", 1));
        let folder = tempfile::TempDir::new().expect("a folder");
        std::fs::write(folder.path().join(FILE), "not JSON").expect("written");
        let why = Takedowns::open(Some(folder.path()))
            .err()
            .expect("unreadable");
        assert!(why.contains(FILE), "{why}");
        let many: Vec<_> = (0..=MAX_TAKEDOWNS)
            .map(|at| takedown(&format!("/{at}"), false, None))
            .collect();
        std::fs::remove_file(folder.path().join(FILE)).expect("removed");
        let down = Takedowns::open(Some(folder.path())).expect("readable");
        assert!(down.add(&many).is_err() && down.list().is_empty());
    }
}
