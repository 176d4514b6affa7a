//! Pure: a request target taken apart into canonical path, token block and query.

use super::{Parameters, Token};
use crate::path::{BadPath, CanonicalPath, EmptySegments, check_wire_bytes};

/// How a token in a path begins.
pub const BLOCK: &str = "/bcdn_token=";

/// A request target. Borrowed from the request line; only the path is decoded.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The path as it stands in the target, without block and query.
    pub raw_path: &'a str,
    /// The path that is verified, looked up and pulled.
    pub path: CanonicalPath,
    /// The `k=v&k=v` text of a path-form token, beginning with `bcdn_token=`.
    pub block: Option<Block<'a>>,
    /// The text after the first `?`.
    pub query: Option<&'a str>,
}

/// The first segment of a path-form token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// The parameters as they came.
    pub text: &'a str,
    /// A `token_path` value that was sent with raw slashes behind the block.
    pub trailing_token_path: TrailingTokenPath<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailingTokenPath<'a> {
    /// The block ended at its first raw `/`, as it should.
    None,
    /// `token_path=` was followed by this raw value.
    Value(&'a str),
    /// `token_path=` was followed by text that splits in no way, or in several.
    Ambiguous,
}

impl<'a> Target<'a> {
    /// Takes a target in origin form apart.
    pub fn parse(raw: &'a str) -> Result<Self, BadPath> {
        Self::parse_with(raw, EmptySegments::Refused)
    }

    /// The same, by what the zone says of empty segments: of the path, behind
    /// the block and a `token_path` with raw slashes in it.
    pub fn parse_with(raw: &'a str, empty: EmptySegments) -> Result<Self, BadPath> {
        check_wire_bytes(raw.as_bytes())?;
        let (before_query, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw, None),
        };
        let (block, raw_path) = split_block(before_query);
        Ok(Self {
            raw_path,
            path: CanonicalPath::parse_with(raw_path, empty)?,
            block,
            query,
        })
    }
}

impl Target<'_> {
    /// The folder that its token says it is for, before anybody believes it.
    pub fn folder(&self) -> Option<String> {
        let parameters = Parameters::parse(self).ok()?;
        parameters.get("token_path").map(str::to_owned)
    }

    /// The token that it carries, before anybody believes it.
    pub fn token(&self) -> Option<Token> {
        let parameters = Parameters::parse(self).ok()?;
        Token::parse(parameters.token()?).ok()
    }
}

fn split_block(path: &str) -> (Option<Block<'_>>, &str) {
    if !path.starts_with(BLOCK) {
        return (None, path);
    }
    let inner = &path[1..];
    let Some(slash) = inner.find('/') else {
        // A block without a path behind it: the canonical path is not in
        // origin form then, and the target is refused for that.
        return (
            Some(Block {
                text: inner,
                trailing_token_path: TrailingTokenPath::None,
            }),
            "",
        );
    };
    let (text, rest) = inner.split_at(slash);
    if !text.ends_with("&token_path=") {
        return (
            Some(Block {
                text,
                trailing_token_path: TrailingTokenPath::None,
            }),
            rest,
        );
    }
    let mut splits = (1..=rest.len() / 2).filter(|at| rest[*at..].starts_with(&rest[..*at]));
    match (splits.next(), splits.next()) {
        (Some(at), None) => {
            let trailing_token_path = TrailingTokenPath::Value(&rest[..at]);
            (
                Some(Block {
                    text,
                    trailing_token_path,
                }),
                &rest[at..],
            )
        }
        _ => (
            Some(Block {
                text,
                trailing_token_path: TrailingTokenPath::Ambiguous,
            }),
            rest,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_target_splits_into_block_path_and_query() {
        let t = Target::parse("/bcdn_token=T&expires=1/v/a%20b.ts?x=1?2").unwrap();
        assert_eq!(t.block.unwrap().text, "bcdn_token=T&expires=1");
        assert_eq!((t.raw_path, t.path.as_str()), ("/v/a%20b.ts", "/v/a b.ts"));
        assert_eq!(t.query, Some("x=1?2"));
    }

    #[test]
    fn a_raw_token_path_is_taken_where_it_splits_in_one_way() {
        let table = [
            (
                "/v/s1//v/s1/a.ts",
                TrailingTokenPath::Value("/v/s1/"),
                "/v/s1/a.ts",
            ),
            ("//x", TrailingTokenPath::Value("/"), "/x"),
            ("/a/a/a/a", TrailingTokenPath::Ambiguous, "/a/a/a/a"),
            ("/v/s1/a.ts", TrailingTokenPath::Ambiguous, "/v/s1/a.ts"),
        ];
        for (rest, trailing, path) in table {
            let raw = format!("/bcdn_token=T&expires=1&token_path={rest}");
            let target = Target::parse(&raw).unwrap();
            assert_eq!(
                target.block.unwrap().trailing_token_path,
                trailing,
                "{rest}"
            );
            assert_eq!(target.path.as_str(), path, "{rest}");
        }
    }

    #[test]
    fn a_block_without_a_path_is_no_target() {
        assert_eq!(
            Target::parse("/bcdn_token=T&expires=1").err(),
            Some(BadPath::NotOriginForm)
        );
    }

    proptest! {
        #[test]
        fn block_path_and_query_are_parts_of_the_target(raw in "/(bcdn_token=[a-z&=]{0,8}/)?[ -~]{0,30}") {
            if let Ok(target) = Target::parse(&raw) {
                prop_assert!(raw.contains(target.raw_path));
                prop_assert_eq!(CanonicalPath::parse(target.raw_path).ok(), Some(target.path));
                prop_assert_eq!(target.query, raw.split_once('?').map(|(_, query)| query));
            }
        }
    }
}
