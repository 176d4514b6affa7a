//! What is said of paths, and of everything below a prefix, found by a path. It
//! is said of an object and not of a spelling: several slashes are one, and one
//! at a path's end is none.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use crate::path::collapsed;

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
        self.paths.entry(collapsed(path).into_owned()).or_default()
    }

    /// What is said of every path that begins so.
    pub fn prefix(&mut self, prefix: &str) -> &mut T {
        let prefix = beginning(prefix).into_owned();
        self.lengths.insert(prefix.len());
        self.prefixes.entry(prefix).or_default()
    }

    /// Hands over all that is said of a path, until one breaks it off with true.
    pub fn any(&self, path: &str, mut is_it: impl FnMut(&T) -> bool) -> bool {
        if self.count() == 0 {
            return false;
        }
        let begins = beginning(path);
        let lengths = self.lengths.range(..=begins.len());
        let mut prefixes = lengths.filter_map(|length| begins.get(..*length));
        prefixes.any(|prefix| self.prefixes.get(prefix).is_some_and(&mut is_it))
            || self.paths.get(&*collapsed(path)).is_some_and(is_it)
    }
}

/// The one name of what is said of a path, or of all that begin so.
pub fn name_of(path: &str, prefix: bool) -> Cow<'_, str> {
    match prefix {
        true => beginning(path),
        false => collapsed(path),
    }
}

/// A path as others begin: with the slash at its end.
fn beginning(path: &str) -> Cow<'_, str> {
    match path.contains("//") {
        false => path.into(),
        true if path.ends_with('/') => format!("{}/", collapsed(path)).into(),
        true => collapsed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_path_holds_for_each_of_its_spellings_and_no_neighbour() {
        let mut index = PathIndex::<bool>::default();
        for path in ["/a.ts", "//b//c.ts", "/d/"] {
            *index.path(path) = true;
        }
        for prefix in ["/v/s1/", "/w//s", "/x//"] {
            *index.prefix(prefix) = true;
        }
        let table = [
            ("/a.ts", true),
            ("//a.ts", true),
            ("/a.ts/", true),
            ("/a.tsx", false),
            ("/b/c.ts", true),
            ("/b//c.ts//", true),
            ("/d", true),
            ("/v/s1/a", true),
            ("/v//s1//a", true),
            ("//v/s1/", true),
            ("/v/s1", false),
            ("/v/s10/a", false),
            ("/w/s10", true),
            ("/x/y", true),
            ("/x", false),
        ];
        for (path, want) in table {
            assert_eq!(index.any(path, |said| *said), want, "{path}");
        }
    }
}
