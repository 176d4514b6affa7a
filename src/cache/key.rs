//! Pure: the cache key. It never holds a token.

use std::borrow::Borrow;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::path::CanonicalPath;

/// The bytes that name one stored object: the zone's realm, path, and what the zone lets
/// vary. Each part is length-prefixed, so no two requests share a key by
/// moving a boundary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// `varies`: query parameters and header values that the zone keeps apart,
    /// in a fixed order.
    pub fn new<'a>(
        realm: u32,
        path: &CanonicalPath,
        varies: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut bytes = Vec::with_capacity(path.as_str().len() + 16);
        bytes.extend(realm.to_be_bytes());
        push(&mut bytes, path.as_str());
        for (name, value) in varies {
            push(&mut bytes, name);
            push(&mut bytes, value);
        }
        Self(bytes.into())
    }

    /// The key of one of the answers under this one: for requests whose headers
    /// have these values.
    pub fn variant<'a>(
        &self,
        generation: u64,
        values: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Self {
        let mut bytes = self.0.to_vec();
        // No length of a part begins with this byte.
        bytes.push(0xff);
        bytes.extend(generation.to_be_bytes());
        for (name, value) in values {
            push(&mut bytes, name);
            push(&mut bytes, &value);
        }
        Self(bytes.into())
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

fn push(bytes: &mut Vec<u8>, part: &str) {
    // A request target is far below 4 GiB: the length always fits.
    bytes.extend((part.len() as u32).to_be_bytes());
    bytes.extend(part.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_cannot_move_between_path_and_query() {
        let key = |zone, path: &str, varies: &[(&str, &str)]| {
            Key::new(
                zone,
                &CanonicalPath::parse(path).expect("a path"),
                varies.iter().copied(),
            )
        };
        let keys = [
            key(1, "/a", &[]),
            key(2, "/a", &[]),
            key(1, "/ab", &[]),
            key(1, "/a", &[("b", "")]),
            key(1, "/a", &[("", "b")]),
            key(1, "/a", &[("b", "c")]),
            key(1, "/a", &[("bc", "")]),
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
                Key::new(1, &path, varies.iter().map(|(n, v)| (n.as_str(), v.as_str())))
            };
            prop_assert_eq!(key(&one) == key(&two), one == two);
        }
    }
}
