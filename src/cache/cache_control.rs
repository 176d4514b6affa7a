//! Pure: the directives of Cache-Control (RFC 9111 §5.2.2) that a shared cache obeys.

use std::time::Duration;

/// What an origin allows a shared cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub must_revalidate: bool,
    /// An answer to a request with Authorization may be stored (RFC 9111 §3.5).
    pub despite_authorization: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl CacheControl {
    /// Reads every Cache-Control line of a head. An unreadable age counts as
    /// zero (RFC 9111 §4.2.1: treat it as stale); of two, the first counts.
    pub fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut out = Self::default();
        for directive in lines.flat_map(split_outside_quotes) {
            let (name, value) = match directive.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (directive.trim(), None),
            };
            out.apply(&name.to_ascii_lowercase(), value);
        }
        out
    }

    fn apply(&mut self, name: &str, value: Option<&str>) {
        match name {
            "no-store" => self.no_store = true,
            // The qualified forms (`private="x"`) name single headers; taking
            // them for the whole answer is the cautious reading.
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "must-revalidate" => {
                self.must_revalidate = true;
                self.despite_authorization = true;
            }
            "proxy-revalidate" => self.must_revalidate = true,
            "public" => self.despite_authorization = true,
            "max-age" => keep_first(&mut self.max_age, value),
            "s-maxage" => {
                self.despite_authorization = true;
                keep_first(&mut self.s_maxage, value);
            }
            "stale-while-revalidate" => keep_first(&mut self.stale_while_revalidate, value),
            "stale-if-error" => keep_first(&mut self.stale_if_error, value),
            _ => {}
        }
    }

    /// The lifetime that counts for a shared cache.
    pub fn shared_max_age(&self) -> Option<Duration> {
        self.s_maxage.or(self.max_age)
    }
}

fn keep_first(slot: &mut Option<Duration>, value: Option<&str>) {
    if slot.is_none() {
        *slot = Some(parse_seconds(value));
    }
}

/// Delta-seconds (RFC 9111 §1.2.2); too large a number is 2^31 seconds.
fn parse_seconds(value: Option<&str>) -> Duration {
    const MOST: u64 = 1 << 31;
    let digits = value.unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Duration::ZERO;
    }
    Duration::from_secs(digits.parse().unwrap_or(MOST).min(MOST))
}

fn split_outside_quotes(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn directives_are_read_as_a_shared_cache_must() {
        let secs = |s| Some(Duration::from_secs(s));
        let parse = |line: &str| CacheControl::parse([line].into_iter());
        let default = CacheControl::default();
        let table = [
            (
                "max-age=60",
                CacheControl {
                    max_age: secs(60),
                    ..default
                },
            ),
            (
                "MAX-AGE=60, Public",
                CacheControl {
                    max_age: secs(60),
                    despite_authorization: true,
                    ..default
                },
            ),
            (
                "max-age=\"7\"",
                CacheControl {
                    max_age: secs(7),
                    ..default
                },
            ),
            (
                "max-age=-1",
                CacheControl {
                    max_age: secs(0),
                    ..default
                },
            ),
            (
                "max-age",
                CacheControl {
                    max_age: secs(0),
                    ..default
                },
            ),
            (
                "max-age=1, max-age=9",
                CacheControl {
                    max_age: secs(1),
                    ..default
                },
            ),
            (
                "max-age=99999999999999999999",
                CacheControl {
                    max_age: secs(1 << 31),
                    ..default
                },
            ),
            (
                "private=\"a, b\", no-store",
                CacheControl {
                    private: true,
                    no_store: true,
                    ..default
                },
            ),
            ("x=\"no-store\"", default),
            ("", default),
        ];
        for (line, want) in table {
            assert_eq!(parse(line), want, "{line}");
        }
        assert_eq!(parse("max-age=60, s-maxage=5").shared_max_age(), secs(5));
    }

    proptest! {
        #[test]
        fn what_forbids_is_never_lost_among_other_directives(
            before in "[a-z=\", 0-9-]{0,20}",
            after in "[a-z=, 0-9-]{0,20}",
        ) {
            prop_assume!(before.matches('"').count() % 2 == 0);
            let line = format!("{before},no-store,{after}");
            prop_assert!(CacheControl::parse([line.as_str()].into_iter()).no_store);
        }
    }
}
