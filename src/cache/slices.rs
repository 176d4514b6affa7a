//! What is too large to be kept whole is kept in slices: each is pulled once
//! for all who want bytes of it, and stored for itself.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::HeaderMap;
use http::header::CONTENT_RANGE;
use moka::sync::Cache;

use super::key::Key;
use crate::origin::Validators;

/// Bytes of a slice. A viewer's first byte waits for those of its slice before
/// it; and each slice is a request to the origin.
const SLICE_BYTES: u64 = 1 << 20;
/// Objects whose state is remembered.
const KNOWN: u64 = 10_000;

/// A slice that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    number: u64,
    /// Bytes of all but the last.
    size: u64,
    /// Of which state of the object.
    pub version: u64,
}

/// Where a body lies in the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub range: Range<u64>,
    pub whole: u64,
}

impl Slice {
    /// The one that a byte lies in.
    pub fn at(byte: u64, max_object: u64, version: u64) -> Self {
        let size = SLICE_BYTES.min(max_object).max(1);
        Self {
            number: byte / size,
            size,
            version,
        }
    }

    pub fn key(&self, of: &Key) -> Key {
        let (number, size) = (self.number.to_be_bytes(), self.size.to_be_bytes());
        // No header has such a name.
        of.variant(self.version, [(":slice", [&number[..], &size[..]])])
    }

    fn range(&self) -> Range<u64> {
        let first = self.number.saturating_mul(self.size);
        first..first.saturating_add(self.size)
    }

    /// As an origin is asked for it.
    pub fn to_header(&self) -> String {
        let Range { start, end } = self.range();
        format!("bytes={start}-{}", end - 1)
    }

    /// What a 206 has brought, where it is this slice and nothing else.
    pub fn part(&self, headers: &HeaderMap, length: Option<u64>) -> Option<Part> {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.trim().split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let whole: u64 = whole.parse().ok()?;
        let wanted = self.range();
        let end = wanted.end.min(whole);
        let is_it = first == wanted.start && last.checked_add(1) == Some(end) && first < end;
        (is_it && length == Some(end - first)).then_some(Part {
            range: first..end,
            whole,
        })
    }
}

/// Which state of an object its slices are of: those of one are never put
/// together with those of another.
pub struct Versions {
    known: Cache<Key, Version>,
    next: AtomicU64,
}

#[derive(Clone)]
struct Version {
    number: u64,
    /// What tells it from the next, and its length; `None`: not seen yet.
    state: Option<(String, u64)>,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            known: Cache::new(KNOWN),
            next: AtomicU64::new(1),
        }
    }
}

impl Versions {
    fn another(&self, state: Option<(String, u64)>) -> Version {
        Version {
            number: self.next.fetch_add(1, Relaxed),
            state,
        }
    }

    /// The state in force.
    pub fn of(&self, key: &Key) -> u64 {
        let known = self.known.get(key);
        known
            .unwrap_or_else(|| self.known.get_with(key.clone(), || self.another(None)))
            .number
    }

    /// The length of what was pulled in slices.
    pub fn whole(&self, key: &Key) -> Option<u64> {
        Some(self.known.get(key)?.state?.1)
    }

    /// A slice has come of this state; the number that it has.
    pub fn note(&self, key: &Key, validators: &Validators, whole: u64) -> u64 {
        let seen = (validators.state().unwrap_or_default().to_owned(), whole);
        let known = self.known.get(key);
        if let Some(known) = known.as_ref().filter(|it| it.state.as_ref() == Some(&seen)) {
            return known.number;
        }
        let version = match known {
            Some(Version {
                number,
                state: None,
            }) => Version {
                number,
                state: Some(seen),
            },
            Some(_) | None => self.another(Some(seen)),
        };
        let number = version.number;
        self.known.insert(key.clone(), version);
        number
    }

    pub fn forget(&self, key: &Key) {
        self.known.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::NO_HEADERS;
    use crate::path::CanonicalPath;

    fn key() -> Key {
        let path = CanonicalPath::parse("/a.mp4").expect("a path");
        Key::new(1, false, &path, [], NO_HEADERS)
    }

    #[test]
    fn a_slice_is_taken_for_one_only_where_it_is_just_that() {
        let slice = Slice::at(250, 100, 1);
        assert_eq!(slice.to_header(), "bytes=200-299");
        let table = [
            ("bytes 200-299/1000", 100, Some((200, 300, 1000))),
            ("bytes 200-249/250", 50, Some((200, 250, 250))),
            ("bytes 200-299/1000", 99, None),
            ("bytes 200-298/1000", 99, None),
            ("bytes 100-199/1000", 100, None),
            ("bytes 200-299/*", 100, None),
            ("bytes */1000", 0, None),
            ("bytes 200-299/250", 100, None),
            (
                "bytes 200-18446744073709551615/18446744073709551615",
                1,
                None,
            ),
            ("200-299/1000", 100, None),
            ("", 100, None),
        ];
        for (text, length, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, text.parse().expect("a value"));
            let found = slice.part(&headers, Some(length));
            let found = found.map(|part| (part.range.start, part.range.end, part.whole));
            assert_eq!(found, want, "{text}");
        }
        assert_eq!(slice.part(&HeaderMap::new(), Some(100)), None);
    }

    #[test]
    fn slices_of_two_states_have_no_key_in_common() {
        let (versions, key) = (Versions::default(), key());
        let state = |tag: &str| Validators {
            etag: Some(tag.into()),
            last_modified: Some(format!("{}", versions.next.load(Relaxed))),
        };
        let first = versions.of(&key);
        assert_eq!(versions.whole(&key), None);
        assert_eq!(versions.note(&key, &state("\"a\""), 9), first);
        versions.next.fetch_add(1, Relaxed);
        // Another replica has a date of its own.
        assert_eq!(versions.note(&key, &state("\"a\""), 9), first);
        assert_eq!(versions.of(&key), first);
        assert_eq!(versions.whole(&key), Some(9));
        let grown = versions.note(&key, &state("\"a\""), 10);
        let changed = versions.note(&key, &state("\"b\""), 10);
        assert!(first != grown && grown != changed && first != changed);
        versions.forget(&key);
        assert!(![first, grown, changed].contains(&versions.of(&key)));
        let keys = [first, grown].map(|version| Slice::at(0, 100, version).key(&key));
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[0], Slice::at(100, 100, first).key(&key));
        assert_ne!(keys[0], Slice::at(0, 99, first).key(&key));
    }
}
