//! A list that survives the process: on disk before it is in force, and whole
//! there at each instant. One that is missing where there was one is not empty.

use std::collections::HashSet;
use std::hash::Hash;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::private_file;

/// What a list holds.
pub trait Kept: Clone + Serialize + DeserializeOwned {
    /// What there is one of at a time.
    type Place: Eq + Hash;

    fn place(&self) -> Self::Place;

    /// Whether nobody needs it any more, in Unix seconds.
    fn is_over(&self, now: u64) -> bool;
}

/// A list and the file that it is kept in.
pub struct StateFile<T> {
    list: ArcSwap<Vec<T>>,
    /// Changes come one at a time; true: none do.
    frozen: Mutex<bool>,
    /// `None`: nothing can be kept, so nothing is taken.
    file: Option<PathBuf>,
    /// What is listed, and how many of it there may be.
    what: &'static str,
    most: usize,
}

/// A list, and what it is looked up by, which is made anew with each change.
pub struct Indexed<T, I> {
    index: ArcSwap<I>,
    kept: StateFile<T>,
    index_of: fn(&[T]) -> I,
}

impl<T: Kept + PartialEq, I> Indexed<T, I> {
    /// As [`StateFile::open`].
    pub fn opened(
        folder: Option<&Path>,
        what: &'static str,
        most: usize,
        index_of: fn(&[T]) -> I,
    ) -> Result<Self, String> {
        let kept = StateFile::open(folder, what, most)?;
        Ok(Self {
            index: ArcSwap::from_pointee(index_of(&kept.list())),
            kept,
            index_of,
        })
    }

    pub fn load(&self) -> Guard<Arc<I>> {
        self.index.load()
    }

    pub fn list(&self) -> Arc<Vec<T>> {
        self.kept.list()
    }

    /// From now on the list may not be missing at a start.
    pub fn begin(&self) -> Result<(), String> {
        self.kept.begin()
    }

    /// Takes over what the process that took this one's place has changed.
    pub fn follow(&self) -> Result<(), String> {
        self.kept.follow(|list| self.enforce(list))
    }

    /// Takes no changes, or takes them again.
    pub fn freeze(&self, frozen: bool) {
        self.kept.freeze(frozen);
    }

    /// Puts on the list; one of the same place is replaced. `now`: in Unix seconds.
    pub fn add(&self, more: &[T], now: u64) -> Result<(), String> {
        self.kept.add(more, now, |list| self.enforce(list))
    }

    /// Takes off what one of these names; returns how many there were.
    pub fn lift(&self, places: &[T], now: u64) -> Result<usize, String> {
        self.kept.lift(places, now, |list| self.enforce(list))
    }

    fn enforce(&self, list: &[T]) {
        self.index.store((self.index_of)(list).into());
    }
}

impl<T: Kept> StateFile<T> {
    /// What an earlier process has kept in `folder`. An error says what cannot
    /// be read, or is missing: to serve without it would be worse than not to
    /// serve.
    pub fn open(folder: Option<&Path>, what: &'static str, most: usize) -> Result<Self, String> {
        let file = folder.map(|folder| folder.join(what).with_extension("json"));
        let list = match &file {
            Some(file) => read(file)?.map_or_else(|| none_yet(file), Ok)?,
            None => Vec::new(),
        };
        Ok(Self {
            list: ArcSwap::from_pointee(list),
            frozen: Mutex::new(false),
            file,
            what,
            most,
        })
    }

    pub fn list(&self) -> Arc<Vec<T>> {
        self.list.load_full()
    }

    /// Writes the list where there is none on disk yet, once it is served with:
    /// from then on it may not be missing.
    pub fn begin(&self) -> Result<(), String> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let written = match file.exists() {
            true => Ok(()),
            false => write(file, &self.list.load()),
        };
        written
            .and_then(|()| mark(file))
            .map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Takes over what another process has written since; `in_force` where
    /// there is something. What cannot be read changes nothing.
    pub fn follow(&self, in_force: impl FnOnce(&[T])) -> Result<(), String>
    where
        T: PartialEq,
    {
        let Some(file) = &self.file else {
            return Ok(());
        };
        match read::<T>(file)? {
            Some(list) if list != **self.list.load() => {
                in_force(&list);
                self.list.store(Arc::new(list));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes no changes, once the one under way has ended: another process is
    /// about to read the file. Or takes them again. Waits for the disk.
    pub fn freeze(&self, frozen: bool) {
        *self.frozen.lock().unwrap_or_else(PoisonError::into_inner) = frozen;
    }

    /// Adds to the list, at this time; one of the same place is replaced.
    pub fn add(&self, more: &[T], now: u64, in_force: impl FnOnce(&[T])) -> Result<(), String> {
        let places: HashSet<_> = more.iter().map(T::place).collect();
        let change = |list: &mut Vec<T>| {
            list.retain(|old| !places.contains(&old.place()));
            list.extend_from_slice(more);
        };
        self.change(now, change, in_force)
    }

    /// Takes off the list what has one of these places; returns how many had.
    pub fn lift(
        &self,
        places: &[T],
        now: u64,
        in_force: impl FnOnce(&[T]),
    ) -> Result<usize, String> {
        let places: HashSet<_> = places.iter().map(T::place).collect();
        let mut lifted = 0;
        let change = |list: &mut Vec<T>| {
            let before = list.len();
            list.retain(|old| !places.contains(&old.place()));
            lifted = before - list.len();
        };
        self.change(now, change, in_force)?;
        Ok(lifted)
    }

    /// Changes the list and puts it in force, once it is on disk. Waits for
    /// the disk.
    fn change(
        &self,
        now: u64,
        change: impl FnOnce(&mut Vec<T>),
        in_force: impl FnOnce(&[T]),
    ) -> Result<(), String> {
        let (what, most) = (self.what, self.most);
        let file = self.file.as_deref();
        let file = file.ok_or_else(|| format!("set [admin] state_dir, where {what} are kept"))?;
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if *frozen {
            return Err("another process takes this one's place: ask again".into());
        }
        let mut new = Vec::clone(&self.list.load());
        new.retain(|old| !old.is_over(now));
        change(&mut new);
        if new.len() > most {
            return Err(format!("at most {most} {what} at a time"));
        }
        write(file, &new).map_err(|error| format!("{}: {error}", file.display()))?;
        in_force(&new);
        self.list.store(Arc::new(new));
        Ok(())
    }
}

/// `None`: there is no such file.
fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<Vec<T>>, String> {
    match std::fs::read(file) {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// An empty list, where none was kept before. A folder that is not mounted has
/// no mark either: how many there are is logged at each start, and a metric.
fn none_yet<T>(file: &Path) -> Result<Vec<T>, String> {
    let mark = mark_beside(file);
    match mark.exists() {
        false => Ok(Vec::new()),
        true => Err(format!(
            "{} is missing, though it was kept here: put it back; to begin with none, remove {}",
            file.display(),
            mark.display()
        )),
    }
}

/// Says of a list that it is kept in its folder.
fn mark_beside(file: &Path) -> PathBuf {
    file.with_extension("kept")
}

fn mark(file: &Path) -> std::io::Result<()> {
    let mark = mark_beside(file);
    if mark.exists() {
        return Ok(());
    }
    let mut out = private_file::create(&mark)?;
    writeln!(
        out,
        "The list beside this file is kept: without it nothing is served."
    )?;
    out.sync_all()?;
    private_file::sync_folder(file)
}

fn write<T: Serialize>(file: &Path, list: &[T]) -> std::io::Result<()> {
    private_file::replace(file, |out| {
        serde_json::to_writer_pretty(&mut *out, list)?;
        out.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over when it is this late.
    impl Kept for u64 {
        type Place = u64;

        fn place(&self) -> u64 {
            *self
        }

        fn is_over(&self, now: u64) -> bool {
            *self <= now
        }
    }

    #[test]
    fn a_list_that_is_missing_where_it_was_kept_is_an_error_and_not_an_empty_one() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let open = || StateFile::<u64>::open(Some(folder.path()), "numbers", 9);
        let (list, mark) = (
            folder.path().join("numbers.json"),
            folder.path().join("numbers.kept"),
        );
        let first = open().expect("none yet");
        assert!(!list.exists() && !mark.exists(), "to look leaves nothing");
        first.begin().expect("written");
        assert_eq!(std::fs::read_to_string(&list).ok().as_deref(), Some("[]"));
        first.add(&[7], 0, |_| ()).expect("kept");
        open().expect("readable").begin().expect("there already");
        assert_eq!(*open().expect("readable").list(), [7]);
        std::fs::remove_file(&list).expect("removed");
        let why = open().err().expect("missing");
        assert!(
            why.contains("numbers.json is missing") && why.contains("numbers.kept"),
            "{why}"
        );
        std::fs::remove_file(&mark).expect("removed");
        assert!(open().expect("begun anew").list().is_empty());
        // What was kept before there were marks is kept.
        std::fs::write(&list, "[8]").expect("written");
        open().expect("readable").begin().expect("marked");
        assert_eq!(*open().expect("readable").list(), [8]);
    }

    #[test]
    fn a_process_that_ends_takes_over_what_the_next_one_writes() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let open = || StateFile::<u64>::open(Some(folder.path()), "numbers", 9).expect("readable");
        let (old, new) = (open(), open());
        old.freeze(true);
        let follow = |old: &StateFile<u64>| {
            let mut told = Vec::new();
            old.follow(|list| told = list.to_vec()).map(|()| told)
        };
        assert_eq!(follow(&old), Ok(vec![]), "no file yet");
        new.add(&[7], 0, |_| ()).expect("kept");
        assert_eq!(follow(&old), Ok(vec![7]));
        assert_eq!(*old.list(), [7]);
        assert_eq!(follow(&old), Ok(vec![]), "nothing new");
        std::fs::write(folder.path().join("numbers.json"), "half").expect("written");
        assert!(follow(&old).is_err());
        assert_eq!(*old.list(), [7], "it goes on with what it has");
    }

    #[test]
    fn what_cannot_be_kept_or_read_is_said_and_changes_nothing() {
        let force = |_: &[u64]| panic!("not in force");
        let nowhere = StateFile::open(None, "numbers", 2).expect("nothing to read");
        let why = nowhere.add(&[1], 0, force).expect_err("not kept");
        assert!(
            why.contains("state_dir") && why.contains("numbers"),
            "{why}"
        );
        let folder = tempfile::TempDir::new().expect("a folder");
        let open = || StateFile::<u64>::open(Some(folder.path()), "numbers", 2);
        let full = open().expect("readable");
        full.add(&[7, 8], 0, |_| ()).expect("kept");
        let why = full.add(&[9], 0, force).expect_err("too many");
        assert!(why.contains("at most 2 numbers"), "{why}");
        full.add(&[8], 0, |_| ()).expect("the same place");
        assert_eq!(*open().expect("readable").list(), [7, 8]);
        full.add(&[9], 7, |_| ()).expect("one is over");
        assert_eq!(full.lift(&[8, 10], 7, |_| ()), Ok(1));
        assert_eq!(*open().expect("readable").list(), [9]);
        full.freeze(true);
        let why = full.add(&[10], 7, force).expect_err("frozen");
        assert!(why.contains("ask again"), "{why}");
        full.freeze(false);
        full.add(&[10], 7, |_| ()).expect("kept");
        std::fs::write(folder.path().join("numbers.json"), "not JSON").expect("written");
        let why = open().err().expect("unreadable");
        assert!(why.contains("numbers.json"), "{why}");
    }
}
