//! Pure: the cache key. It never holds a token.

use std::borrow::Borrow;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::path::CanonicalPath;

/// What tells the objects of one zone from all others.
pub type RealmId = u64;

/// A realm, by all that makes one.
pub fn realm<const N: usize>(parts: [&str; N]) -> RealmId {
    let mut bytes = Vec::new();
    for part in parts {
        push(&mut bytes, part.as_bytes());
    }
    let digest = Sha256::digest(&bytes);
    digest[..8]
        .iter()
        .fold(0, |sum, byte| sum << 8 | RealmId::from(*byte))
}

/// The bytes that name one stored object: the zone's realm, path, and what the zone lets
/// vary. Each part is length-prefixed, so no two requests share a key by
/// moving a boundary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// `told_https`: the origin is told that the viewer came over TLS.
    /// `query`: the parameters that the zone keeps apart, in a fixed order.
    /// `headers`: those that it keeps apart, in its order, each with all lines
    /// of the request as they are sent on.
    pub fn new<'a, L>(
        realm: RealmId,
        told_https: bool,
        path: &CanonicalPath,
        query: impl IntoIterator<Item = (&'a str, &'a str)>,
        headers: impl IntoIterator<Item = (&'a str, L)>,
    ) -> Self
    where
        L: IntoIterator<Item = &'a [u8]>,
    {
        let mut bytes = Vec::with_capacity(path.as_str().len() + 16);
        bytes.extend(realm.to_be_bytes());
        bytes.push(u8::from(told_https));
        push(&mut bytes, path.as_str().as_bytes());
        for (name, value) in query {
            push(&mut bytes, name.as_bytes());
            push(&mut bytes, value.as_bytes());
        }
        for (name, lines) in headers {
            push_lines(&mut bytes, name, lines);
        }
        Self(bytes.into())
    }

    /// The key of one of the answers under this one: for requests whose headers
    /// have these lines.
    pub fn variant<'a, L>(
        &self,
        generation: u64,
        headers: impl IntoIterator<Item = (&'a str, L)>,
    ) -> Self
    where
        L: IntoIterator<Item = &'a [u8]>,
    {
        let mut bytes = self.0.to_vec();
        // No length of a part begins with this byte.
        bytes.push(0xff);
        bytes.extend(generation.to_be_bytes());
        for (name, lines) in headers {
            push_lines(&mut bytes, name, lines);
        }
        Self(bytes.into())
    }

    /// No other has eight bytes that begin so: a realm is none.
    pub fn of_stand_in(number: u64) -> Self {
        Self([&[0xff; 4][..], &number.to_be_bytes()].concat().into())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// 16 hexadecimal digits that tell keys apart in logs and in Cache-Status.
    pub fn fingerprint(&self) -> Arc<str> {
        let digest = Sha256::digest(&self.0);
        let hex = digest[..8].iter().map(|byte| format!("{byte:02x}"));
        hex.collect::<String>().into()
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

fn push(bytes: &mut Vec<u8>, part: &[u8]) {
    // A request's head is far below 4 GiB: the length always fits.
    bytes.extend((part.len() as u32).to_be_bytes());
    bytes.extend(part);
}

/// A header's lines stay lines: an origin may read the first or the last of
/// two, so what is sent as two is never taken for one.
fn push_lines<'a>(bytes: &mut Vec<u8>, name: &str, lines: impl IntoIterator<Item = &'a [u8]>) {
    // No length of a part begins with this byte.
    bytes.push(0xfe);
    push(bytes, name.as_bytes());
    let count_at = bytes.len();
    bytes.extend(0u32.to_be_bytes());
    let mut count = 0u32;
    for line in lines {
        push(bytes, line);
        count += 1;
    }
    bytes[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
}

/// For [`Key::new`]: the zone keeps no header apart.
pub const NO_HEADERS: [(&str, [&[u8]; 0]); 0] = [];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_cannot_move_between_path_and_query() {
        let path = |path: &str| CanonicalPath::parse(path).expect("a path");
        let key = |zone, of: &str, query: &[(&str, &str)]| {
            Key::new(zone, false, &path(of), query.iter().copied(), NO_HEADERS)
        };
        let with = |lines: &[&'static [u8]]| {
            let header = ("b", lines.iter().copied());
            Key::new(1, false, &path("/a"), [], [header])
        };
        let keys = [
            key(1, "/a", &[]),
            key(2, "/a", &[]),
            key(1, "/ab", &[]),
            key(1, "/a", &[("b", "")]),
            key(1, "/a", &[("", "b")]),
            key(1, "/a", &[("b", "c")]),
            key(1, "/a", &[("bc", "")]),
            Key::new(1, true, &path("/a"), [], NO_HEADERS),
            with(&[]),
            with(&[b""]),
            with(&[b"c"]),
            with(&[b"c", b"c"]),
            with(&[b"c,c"]),
            with(&[b"c, c"]),
            with(&[b"c,", b"c"]),
            with(&[b"\xff"]),
            with(&[b"\xfe"]),
            with(&["\u{fffd}".as_bytes()]),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert!(
                keys[i + 1..]
                    .iter()
                    .all(|other| other != one && other.fingerprint() != one.fingerprint())
            );
        }
    }

    proptest! {
        #[test]
        fn two_keys_are_equal_only_for_equal_parts(
            one in ("/[ab]{0,3}", prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..3)),
            two in ("/[ab]{0,3}", prop::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..3)),
        ) {
            let key = |(path, varies): &(String, Vec<(String, String)>)| {
                let path = CanonicalPath::parse(path).expect("a path");
                let query = varies.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                Key::new(1, false, &path, query, NO_HEADERS)
            };
            prop_assert_eq!(key(&one) == key(&two), one == two);
        }
    }
}
