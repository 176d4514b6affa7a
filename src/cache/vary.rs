//! Pure: which of a key's answers is for whom, where the origin's answer
//! depends on headers of the request (RFC 9111 §4.1).

use std::collections::BTreeSet;

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, VARY};

use super::key::Key;

/// Request headers that the answers of one key may vary by; beyond it they are
/// not stored, as under `Vary: *`.
pub const MAX_NAMES: usize = 8;

/// A lower-cased header name; [`HeaderName`] has no order.
type Name = String;

/// What the answers under one key were seen to vary by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variation {
    names: BTreeSet<Name>,
    /// Two memories of one key share no answers: what was forgotten, or made
    /// invalid, is not found again.
    generation: u64,
}

impl Variation {
    pub fn new(names: BTreeSet<Name>, generation: u64) -> Self {
        Self { names, generation }
    }

    /// Both; `None` where nothing is new.
    pub fn with(&self, more: &BTreeSet<Name>, generation: u64) -> Option<Self> {
        (!more.is_subset(&self.names)).then(|| Self {
            names: &self.names | more,
            generation,
        })
    }

    /// How many headers.
    pub fn names(&self) -> usize {
        self.names.len()
    }

    /// The key of the answers for a request with these headers.
    pub fn key(&self, base: &Key, headers: &[(HeaderName, HeaderValue)]) -> Key {
        // As they are sent: whatever reads as the same here, the origin may
        // tell apart.
        let lines = self.names.iter().map(|name| {
            let lines = headers
                .iter()
                .filter(move |(other, _)| other == name.as_str());
            (name.as_str(), lines.map(|(_, value)| value.as_bytes()))
        });
        base.variant(self.generation, lines)
    }
}

/// What the edge tells an origin of each request, besides the scheme, which is
/// in the key.
const SAID_ANEW: [&str; 4] = [
    "x-forwarded-for",
    "cdn-requestid",
    "cdn-loopcount",
    "traceparent",
];

/// The request headers that an answer varies by, besides those that are kept
/// apart anyway; `None`: by more than can be known (`*`).
pub fn names(headers: &HeaderMap, keyed: &[HeaderName]) -> Option<BTreeSet<Name>> {
    let mut names = BTreeSet::new();
    for line in headers.get_all(VARY) {
        for name in line.to_str().ok()?.split(',') {
            let name = name.trim().to_ascii_lowercase();
            // Every request to the origin asks for the same coding.
            let apart =
                ACCEPT_ENCODING == name.as_str() || keyed.iter().any(|k| k == name.as_str());
            match name.as_str() {
                "" => {}
                "*" => return None,
                _ if apart => {}
                // Another with each request or viewer, and the edge's to say.
                _ if SAID_ANEW.contains(&name.as_str()) => return None,
                _ => {
                    names.insert(name);
                }
            }
        }
    }
    (names.len() <= MAX_NAMES).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::NO_HEADERS;
    use crate::path::CanonicalPath;

    fn request(lines: &[(&'static str, &'static str)]) -> Vec<(HeaderName, HeaderValue)> {
        let line = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        lines.iter().map(line).collect()
    }

    fn vary(lines: &[&'static str]) -> Option<BTreeSet<Name>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        names(&headers, &[http::header::ORIGIN])
    }

    #[test]
    fn vary_is_read_as_a_set_of_names() {
        let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let table: &[(&[&'static str], Option<BTreeSet<Name>>)] = &[
            (&[], set(&[])),
            (&[""], set(&[])),
            (&["Foo"], set(&["foo"])),
            (&["Foo, bar", "FOO"], set(&["bar", "foo"])),
            (&["Accept-Encoding, Origin"], set(&[])),
            (&["*"], None),
            (&["Foo", " * "], None),
            (&["X-Forwarded-For"], None),
            (&["X-Forwarded-Proto"], set(&["x-forwarded-proto"])),
            (&["a,b,c,d,e,f,g,h,i"], None),
        ];
        for (lines, want) in table {
            assert_eq!(vary(lines), *want, "{lines:?}");
        }
    }

    #[test]
    fn requests_share_an_answer_only_where_each_named_header_is_the_same() {
        let path = CanonicalPath::parse("/a").expect("a path");
        let base = Key::new(1, false, &path, [], NO_HEADERS);
        let variation = |names: &[&str], generation| {
            Variation::new(names.iter().map(|n| (*n).to_owned()).collect(), generation)
        };
        let foo = variation(&["accept-language", "foo"], 1);
        let key = |lines: &[(&'static str, &'static str)]| foo.key(&base, &request(lines));
        let one = key(&[("foo", "1, 2"), ("accept-language", "en, de;q=0.5")]);
        let same = key(&[
            ("accept-language", "en, de;q=0.5"),
            ("bar", "3"),
            ("foo", "1, 2"),
        ]);
        assert_eq!(same, one);
        let language = ("accept-language", "en, de;q=0.5");
        let others = [
            key(&[]),
            key(&[("foo", "1, 2")]),
            key(&[("foo", "1,2"), language]),
            key(&[("foo", "2, 1"), language]),
            key(&[("foo", "12"), language]),
            key(&[("foo", "1"), ("foo", "2"), language]),
            key(&[("foo", "1, 2"), ("accept-language", "de;q=0.5, en")]),
            key(&[("foo", "1, 2"), ("accept-language", "EN, de;q=0.5")]),
            variation(&["accept-language", "foo"], 2)
                .key(&base, &request(&[("foo", "1, 2"), language])),
            base.clone(),
        ];
        assert!(others.iter().all(|other| *other != one));
    }

    #[test]
    fn a_variation_grows_and_never_shrinks() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let one = Variation::new(set(&["a", "b"]), 1);
        assert_eq!(one.with(&set(&["a"]), 2), None);
        assert_eq!(
            one.with(&set(&["c"]), 2),
            Some(Variation::new(set(&["a", "b", "c"]), 2))
        );
    }
}
