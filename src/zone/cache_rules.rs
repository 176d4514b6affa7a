//! Pure: what a zone keeps apart in the cache, and what of a query goes to the
//! origin. A parameter that is not in the key is never sent.

use std::time::Duration;

use crate::cache::cache_control::CacheControl;
use crate::cache::ignore::Ignored;
use crate::cache::lifetime::{self, Answer, Overrides};
use crate::hls::{Kind, Pace};
use crate::token::carrier::{carries, is_token_parameter};
use crate::token::players::{self, is_delivery_directive, is_valid_directive};

/// Whose rules decide a lifetime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// The table of `docs/reference/caching.md`.
    #[default]
    Hls,
    /// Only what the origin's headers say.
    Origin,
}

/// Which query parameters are part of the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QueryRule {
    #[default]
    Ignore,
    All,
    Names(Vec<String>),
}

/// Which methods a zone takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Methods {
    /// GET, HEAD and OPTIONS.
    #[default]
    Read,
    /// The others too: they pass through to the origin.
    Any,
}

#[derive(Debug, Clone, Default)]
pub struct CacheRules {
    pub policy: Policy,
    pub query: QueryRule,
    pub methods: Methods,
    /// Request headers whose values are part of the key.
    pub vary: Vec<http::HeaderName>,
    /// Store answers that carry Set-Cookie, without it.
    pub store_set_cookie: bool,
    /// A request's Cache-Control counts.
    pub request_directives: bool,
    /// No name of a live stream is ever used for another broadcast.
    pub names_never_return: bool,
    /// What is stored is served where the origin gives no answer (RFC 9111
    /// §4.2.4).
    pub stale_when_unreachable: bool,
    /// What the origin says and the operator knows better.
    pub ignore_origin: Vec<Ignored>,
    pub ttl: Overrides,
}

/// The parts of a query that count, in the order of the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected<'q> {
    pairs: Vec<(&'q str, &'q str)>,
}

impl CacheRules {
    /// `delivery_directives`: the object is a playlist of a packager, which
    /// may answer `_HLS_msn` and its kin; an S3 object does not change with
    /// them. `strip_token`: the zone reads tokens, so their parameters are not
    /// the origin's.
    pub fn select<'q>(
        &self,
        query: Option<&'q str>,
        kind: Kind,
        delivery_directives: bool,
        strip_token: bool,
    ) -> Selected<'q> {
        let Some(query) = query.filter(|query| !query.is_empty()) else {
            return Selected::default();
        };
        let directives = delivery_directives && kind == Kind::Playlist;
        let directives = directives && memchr::memmem::find(query.as_bytes(), b"_HLS_").is_some();
        if self.query == QueryRule::Ignore && !directives {
            return Selected::default();
        }
        let counts = |(name, value): &(&str, &str)| {
            // As a token is verified: `%5FHLS_msn` is `_HLS_msn` there.
            let known = players::known(name);
            match &self.query {
                // A packager reads it as players write it.
                _ if known.is_some_and(is_delivery_directive) => {
                    directives && is_delivery_directive(name) && is_valid_directive(name, value)
                }
                _ if strip_token && (is_token_parameter(name) || carries(value)) => false,
                // Another with each request, and not for the origin.
                _ if known == Some("CMCD") => false,
                // A token need not have signed them: any viewer could add another.
                QueryRule::All if strip_token && known.is_some() => false,
                QueryRule::Ignore => false,
                QueryRule::All => true,
                QueryRule::Names(names) => names.iter().any(|listed| listed == name),
            }
        };
        let pairs = query
            .split('&')
            .map(|piece| piece.split_once('=').unwrap_or((piece, "")));
        let mut pairs: Vec<_> = pairs.filter(counts).collect();
        if self.query != QueryRule::All {
            pairs.sort_unstable();
        }
        Selected { pairs }
    }
}

impl CacheRules {
    /// How long an object of this kind will be fresh as far as its name tells;
    /// `None` where only the origin's head or the body can.
    pub fn expected_ttl(&self, kind: Kind) -> Option<Duration> {
        if self.policy == Policy::Origin {
            return None;
        }
        let answer = Answer {
            status: 200,
            kind,
            pace: Some(Pace::Ended),
            cache_control: CacheControl::default(),
            expires_in: None,
            age: Duration::ZERO,
            has_validator: true,
            blocking_reload: false,
            live: None,
            names_return: true,
            path_ttl: None,
        };
        lifetime::hls(&answer, &self.ttl)
            .ok()
            .map(|lifetime| lifetime.fresh)
    }
}

impl<'q> Selected<'q> {
    pub fn iter(&self) -> impl Iterator<Item = (&'q str, &'q str)> + '_ {
        self.pairs.iter().copied()
    }

    /// The query to send to the origin.
    pub fn to_query(&self) -> String {
        let pieces: Vec<String> = self
            .pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pieces.join("&")
    }

    /// A blocking playlist reload: the origin may hold its answer for seconds.
    pub fn is_blocking_reload(&self) -> bool {
        self.pairs.iter().any(|(name, _)| *name == "_HLS_msn")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn select(rule: QueryRule, query: &str, kind: Kind, packager: bool) -> String {
        let rules = CacheRules {
            query: rule,
            ..CacheRules::default()
        };
        rules.select(Some(query), kind, packager, true).to_query()
    }

    #[test]
    fn only_what_the_zone_names_is_in_the_key_and_never_a_token() {
        let names = || QueryRule::Names(vec!["b".into(), "a".into()]);
        let full = "z=1&token=T&expires=1&b=2&limit=3&token_path=x&a=1";
        assert_eq!(select(QueryRule::Ignore, full, Kind::Segment, true), "");
        assert_eq!(
            select(QueryRule::All, full, Kind::Segment, true),
            "z=1&b=2&a=1"
        );
        assert_eq!(select(names(), full, Kind::Segment, true), "a=1&b=2");
        for misspelled in [
            "token[]=T",
            "%20token%20=T",
            "+Token=T",
            "token_path[0]=x",
            "expires%5B%5D=1",
        ] {
            let query = format!("z=1&{misspelled}");
            assert_eq!(select(QueryRule::All, &query, Kind::Segment, true), "z=1");
        }
        let rules = CacheRules {
            query: QueryRule::All,
            ..CacheRules::default()
        };
        assert_eq!(
            rules
                .select(Some("limit=3"), Kind::Other, false, false)
                .to_query(),
            "limit=3"
        );
    }

    #[test]
    fn delivery_directives_count_for_playlists_of_packagers_only() {
        let query = "_HLS_part=1&_HLS_msn=4&_HLS_skip=YES&x=1";
        let want = "_HLS_msn=4&_HLS_part=1&_HLS_skip=YES";
        assert_eq!(select(QueryRule::Ignore, query, Kind::Playlist, true), want);
        assert_eq!(select(QueryRule::Ignore, query, Kind::Segment, true), "");
        assert_eq!(select(QueryRule::Ignore, query, Kind::Playlist, false), "");
        assert_eq!(select(QueryRule::All, query, Kind::Playlist, false), "x=1");
        assert_eq!(
            select(
                QueryRule::Ignore,
                "_HLS_msn=-1&_HLS_skip=NO",
                Kind::Playlist,
                true
            ),
            ""
        );
    }

    #[test]
    fn a_name_that_needs_no_signature_is_left_out_however_it_is_encoded() {
        let encoded = |name: &str, at: usize| -> String {
            let (before, rest) = name.split_at(at);
            format!("{before}%{:02x}{}", rest.as_bytes()[0], &rest[1..])
        };
        for name in players::NAMES {
            for at in 0..name.len() {
                let one = encoded(name, at);
                assert_eq!(players::known(&one), Some(name), "{one}");
                let query = format!("x=1&{one}=1&_HLS_msn=4");
                for (kind, packager, want) in [
                    (Kind::Segment, true, "x=1"),
                    (Kind::Playlist, false, "x=1"),
                    (Kind::Playlist, true, "x=1&_HLS_msn=4"),
                ] {
                    assert_eq!(
                        select(QueryRule::All, &query, kind, packager),
                        want,
                        "{one}"
                    );
                }
                let named = QueryRule::Names(vec![one.clone(), "x".into()]);
                let kept = select(named, &query, Kind::Segment, true);
                assert!(
                    !kept.contains("HLS_msn=1") && !kept.contains("CMCD"),
                    "{kept}"
                );
            }
        }
        let others = "_HLS_other=1&%5FHLS=1&CMCDx=1&%255FHLS_msn=1";
        assert_eq!(select(QueryRule::All, others, Kind::Segment, true), others);
    }

    proptest! {
        #[test]
        fn no_token_reaches_key_or_origin_whatever_the_query(
            query in "((token|bcdn_token|expires|token_path|limit|a|b)=[a-z0-9]{0,3}&){0,6}"
        ) {
            for rule in [QueryRule::Ignore, QueryRule::All, QueryRule::Names(vec!["a".into()])] {
                let kept = select(rule, &query, Kind::Segment, true);
                prop_assert!(!kept.contains("token") && !kept.contains("expires"), "{}", kept);
            }
        }
    }
}
