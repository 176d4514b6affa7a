//! What was purged, and when: compared with what is stored at each lookup, and
//! with what is pulled at its insert. A purge is in force at once, however much
//! it names, and costs a hit one comparison of two numbers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::key::RealmId;
use crate::hls::Kind;
use crate::path_index::PathIndex;

/// Purges are numbered; what was begun at one is older than the next.
pub type Epoch = u64;

/// Paths, prefixes and tags remembered of one realm. With more all of it is
/// purged, which is never wrong, and the list begins anew.
const MAX_MARKS: usize = 100_000;

/// What becomes of what a purge names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is stale: confirmed before it is served, and served where the origin
    /// fails.
    Soft,
    /// It is gone.
    Hard,
}

/// What a purge names, within one realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// One path, whatever query and headers keep apart.
    Path(String),
    /// Every path that begins so.
    Prefix(String),
    /// Every path right in this folder (which ends with a slash) that is no
    /// playlist.
    Media(String),
    /// Everything that the origin gave this tag.
    Tag(String),
    All,
}

/// Every purge since the start.
#[derive(Default)]
pub struct Purges {
    latest: AtomicU64,
    realms: RwLock<HashMap<RealmId, Realm>>,
}

#[derive(Default)]
struct Realm {
    all: Mark,
    paths: PathIndex<Mark>,
    folders: HashMap<String, Mark>,
    tags: HashMap<String, Mark>,
}

/// The last purge of each mode.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    soft: Epoch,
    hard: Epoch,
}

impl Mark {
    fn set(&mut self, mode: Mode, epoch: Epoch) {
        match mode {
            Mode::Soft => self.soft = epoch,
            Mode::Hard => self.hard = epoch,
        }
    }

    /// Both together.
    fn with(self, other: Mark) -> Mark {
        Mark {
            soft: self.soft.max(other.soft),
            hard: self.hard.max(other.hard),
        }
    }

    fn since(self, born: Epoch) -> Option<Mode> {
        match (self.hard > born, self.soft > born) {
            (true, _) => Some(Mode::Hard),
            (false, true) => Some(Mode::Soft),
            (false, false) => None,
        }
    }
}

impl Purges {
    /// The number of the last purge.
    pub fn latest(&self) -> Epoch {
        self.latest.load(Ordering::Acquire)
    }

    /// Purges; in force when this returns.
    pub fn add(&self, realm: RealmId, purge: &Purge, mode: Mode) -> Epoch {
        let mut realms = self.write();
        let epoch = self.latest() + 1;
        realms.entry(realm).or_default().mark(purge, mode, epoch);
        // Behind the mark: who sees the number finds what it stands for.
        self.latest.store(epoch, Ordering::Release);
        epoch
    }

    /// What purges since `born` have made of an object.
    pub fn since(
        &self,
        born: Epoch,
        realm: RealmId,
        path: &str,
        kind: Kind,
        tags: &[String],
    ) -> Option<Mode> {
        let realms = self.read();
        let realm = realms.get(&realm)?;
        let mark = realm.of_path(path, kind);
        let tagged = tags.iter().filter_map(|tag| realm.tags.get(tag));
        tagged.fold(mark, |mark, more| mark.with(*more)).since(born)
    }

    /// The same of what is on its way: its tags are not known yet, so each tag
    /// that was purged may be one of them.
    pub fn since_begun(&self, born: Epoch, realm: RealmId, path: &str, kind: Kind) -> Option<Mode> {
        let realms = self.read();
        let realm = realms.get(&realm)?;
        let tagged = realm.tags.values();
        tagged
            .fold(realm.of_path(path, kind), |mark, more| mark.with(*more))
            .since(born)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<RealmId, Realm>> {
        self.realms.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<RealmId, Realm>> {
        self.realms.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Realm {
    fn mark(&mut self, purge: &Purge, mode: Mode, epoch: Epoch) {
        if self.paths.count() + self.folders.len() + self.tags.len() >= MAX_MARKS {
            *self = Self::default();
            self.all.set(Mode::Hard, epoch);
        }
        match purge {
            Purge::All => self.all.set(mode, epoch),
            Purge::Path(path) => self.paths.path(path).set(mode, epoch),
            Purge::Prefix(prefix) => self.paths.prefix(prefix).set(mode, epoch),
            Purge::Media(folder) => {
                let mark = self.folders.entry(folder.clone()).or_default();
                mark.set(mode, epoch);
            }
            Purge::Tag(tag) => self.tags.entry(tag.clone()).or_default().set(mode, epoch),
        }
    }

    fn of_path(&self, path: &str, kind: Kind) -> Mark {
        let mut mark = self.all;
        self.paths.any(path, |more| {
            mark = mark.with(*more);
            false
        });
        let folder = path.rfind('/').map(|at| &path[..=at]);
        let folder = folder.filter(|_| !kind.is_list());
        let beside = folder.and_then(|folder| self.folders.get(folder));
        mark.with(beside.copied().unwrap_or_default())
    }
}

/// Headers that name tags, and what stands between two. An S3 store sends none
/// of the first three; the last is what an object's metadata become.
const TAG_HEADERS: [(&str, char); 4] = [
    ("cdn-tag", ','),
    ("cache-tag", ','),
    ("surrogate-key", ' '),
    ("x-amz-meta-cache-tag", ','),
];

/// The tags that an answer names, up to [`MAX_TAG_BYTES`] of each header.
pub fn tags(headers: &http::HeaderMap) -> Vec<String> {
    let mut tags = Vec::new();
    for (name, separator) in TAG_HEADERS {
        let mut left = MAX_TAG_BYTES;
        let lines = headers.get_all(name).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        for tag in lines.flat_map(|line| line.split(separator)).map(str::trim) {
            left = left.saturating_sub(tag.len());
            if left == 0 {
                break;
            }
            if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
        }
    }
    tags
}

/// Bytes of tags that are read of one header; the vendor's own limit.
pub const MAX_TAG_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_purge_reaches_what_it_names_and_is_older_than_it() {
        let purges = Purges::default();
        let old = purges.latest();
        let tag = |name: &str| vec![name.to_owned()];
        purges.add(1, &Purge::Path("/a.ts".into()), Mode::Hard);
        purges.add(1, &Purge::Prefix("/v/s1/".into()), Mode::Soft);
        purges.add(1, &Purge::Tag("film".into()), Mode::Hard);
        let table = [
            ("path", old, 1, "/a.ts", vec![], Some(Mode::Hard)),
            ("another path", old, 1, "/a.tsx", vec![], None),
            ("prefix", old, 1, "/v/s1/a.ts", vec![], Some(Mode::Soft)),
            ("beside the prefix", old, 1, "/v/s10/a.ts", vec![], None),
            ("tag", old, 1, "/b", tag("film"), Some(Mode::Hard)),
            (
                "hard beats soft",
                old,
                1,
                "/v/s1/b",
                tag("film"),
                Some(Mode::Hard),
            ),
            ("another realm", old, 2, "/a.ts", tag("film"), None),
            ("younger than one", 2, 1, "/v/s1/a.ts", vec![], None),
            (
                "younger than all",
                purges.latest(),
                1,
                "/b",
                tag("film"),
                None,
            ),
        ];
        for (name, born, realm, path, tags, want) in table {
            assert_eq!(
                purges.since(born, realm, path, Kind::Other, &tags),
                want,
                "{name}"
            );
        }
        assert_eq!(
            purges.since_begun(old, 1, "/c", Kind::Other),
            Some(Mode::Hard),
            "perhaps tagged"
        );
        assert_eq!(
            purges.since_begun(purges.latest(), 1, "/c", Kind::Other),
            None
        );
        purges.add(1, &Purge::All, Mode::Soft);
        assert_eq!(purges.since(3, 1, "/c", Kind::Other, &[]), Some(Mode::Soft));
    }

    #[test]
    fn more_marks_than_are_remembered_purge_everything() {
        let purges = Purges::default();
        let first = Purge::Path("/first".into());
        purges.add(1, &first, Mode::Soft);
        for at in 0..MAX_MARKS {
            purges.add(1, &Purge::Tag(at.to_string()), Mode::Soft);
        }
        assert_eq!(
            purges.since(0, 1, "/anything", Kind::Other, &[]),
            Some(Mode::Hard)
        );
        assert_eq!(
            purges.since(purges.latest(), 1, "/anything", Kind::Other, &[]),
            None
        );
    }

    #[test]
    fn tags_are_read_of_three_headers_and_bounded() {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("cache-tag", "a, b,,c"),
            ("cdn-tag", "a,d e"),
            ("surrogate-key", "f g  a"),
            ("x-amz-meta-cache-tag", "h,a"),
        ] {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        assert_eq!(tags(&headers), ["a", "d e", "b", "c", "f", "g", "h"]);
        let long = "x".repeat(MAX_TAG_BYTES);
        headers.insert("cache-tag", long.parse().expect("a value"));
        assert!(!tags(&headers).contains(&long));
    }

    fn names(purge: &Purge, path: &str, tags: &[String]) -> bool {
        match purge {
            Purge::Path(only) => path == only,
            Purge::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Purge::Media(folder) => path.rfind('/').map(|at| &path[..=at]) == Some(folder.as_str()),
            Purge::Tag(tag) => tags.contains(tag),
            Purge::All => true,
        }
    }

    proptest! {
        /// The marks say what the purges say one by one.
        #[test]
        fn marks_are_as_good_as_the_list_of_purges(
            purges in prop::collection::vec((0u8..5, "/[ab]{1,3}", any::<bool>()), 0..20),
            born in 0u64..20,
            path in "/[ab]{1,2}(/[ab]{1,2})?",
            tags in prop::collection::vec("/[ab]{0,2}", 0..3),
        ) {
            let marks = Purges::default();
            let mut want = None;
            for (kind, text, hard) in purges {
                let purge = match kind {
                    0 => Purge::Path(text),
                    1 => Purge::Prefix(text),
                    2 => Purge::Tag(text),
                    3 => Purge::Media(format!("{}/", text.trim_end_matches('a').trim_end_matches('/'))),
                    _ => Purge::All,
                };
                let mode = if hard { Mode::Hard } else { Mode::Soft };
                let epoch = marks.add(7, &purge, mode);
                if epoch > born && names(&purge, &path, &tags) && want != Some(Mode::Hard) {
                    want = Some(mode);
                }
            }
            prop_assert_eq!(marks.since(born, 7, &path, Kind::Other, &tags), want);
        }
    }
}
