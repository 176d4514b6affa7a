//! What is said of paths, and of everything below a prefix, found by a path.

use std::collections::{BTreeSet, HashMap};

#[derive(Default)]
pub struct PathIndex<T> {
    paths: HashMap<String, T>,
    prefixes: HashMap<String, T>,
    /// Of the prefixes: of a path only these beginnings need to be looked for.
    lengths: BTreeSet<usize>,
}

impl<T: Default> PathIndex<T> {
    /// How many paths and prefixes something is said of.
    pub fn count(&self) -> usize {
        self.paths.len() + self.prefixes.len()
    }

    /// What is said of one path, and of no other.
    pub fn path(&mut self, path: &str) -> &mut T {
        self.paths.entry(path.to_owned()).or_default()
    }

    /// What is said of every path that begins so.
    pub fn prefix(&mut self, prefix: &str) -> &mut T {
        self.lengths.insert(prefix.len());
        self.prefixes.entry(prefix.to_owned()).or_default()
    }

    /// All that is said of a path.
    pub fn of(&self, path: &str) -> impl Iterator<Item = &T> {
        let lengths = self.lengths.range(..=path.len());
        let prefixes = lengths.filter_map(|length| path.get(..*length));
        prefixes
            .filter_map(|prefix| self.prefixes.get(prefix))
            .chain(self.paths.get(path))
    }
}
