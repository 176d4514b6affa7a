//! What may not be served any more, whoever has a token for it: paths and
//! prefixes of zones, with a reason and perhaps an end. They survive a restart.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::path_index::{PathIndex, name_of};
use crate::state_file::{Indexed, Kept};

/// Takedowns of one node.
pub const MAX_TAKEDOWNS: usize = 10_000;

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

impl Kept for Takedown {
    type Place = (String, String, bool);

    /// However its path is spelled.
    fn place(&self) -> Self::Place {
        let path = name_of(&self.path, self.prefix).into_owned();
        (self.zone.clone(), path, self.prefix)
    }

    fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// All of a node's.
pub type Takedowns = Indexed<Takedown, Index>;

/// Their ends, by zone; `u64::MAX`: none.
#[derive(Default)]
pub struct Index(HashMap<String, PathIndex<u64>>);

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
    /// Those that an earlier process has kept in `folder`.
    pub fn open(folder: Option<&Path>) -> Result<Self, String> {
        Self::opened(folder, "takedowns", MAX_TAKEDOWNS, Index::of)
    }

    /// Whether a path is taken down now, in Unix seconds.
    pub fn covers(&self, zone: &str, path: &str, now: u64) -> bool {
        let index = self.load();
        let zone = index.0.get(zone);
        zone.is_some_and(|zone| zone.any(path, |until| now < *until))
    }
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
        down.add(&all, 1).expect("kept");
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
            assert_eq!(*down.list(), all);
        }
        let down = open();
        assert_eq!(down.lift(&[takedown("/a.ts", false, None)], 1), Ok(1));
        assert_eq!(down.lift(&[takedown("/a.ts", false, None)], 1), Ok(0));
        assert!(!open().covers("vod", "/a.ts", 50) && open().covers("vod", "/v/s1/b", 50));
        down.add(&[takedown("/v/s1/", true, None)], 1)
            .expect("kept");
        assert_eq!(*open().list(), [takedown("/v/s1/", true, None)], "replaced");
    }
}
