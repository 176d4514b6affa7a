//! Pure: what a request's Cache-Control demands of a cache (RFC 9111 §5.2.1), in
//! zones that let viewers demand.

use std::time::{Duration, Instant};

use super::cache_control::{parse_seconds, split_outside_quotes};
use super::lifetime::Freshness;

/// What a viewer wants beyond what the origin allows. `max-stale` is not among
/// it: it permits and demands nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Only what the origin has just confirmed.
    pub no_cache: bool,
    /// The answer is not to be stored.
    pub no_store: bool,
    /// Do not ask the origin.
    pub only_if_cached: bool,
    /// Only what the origin has confirmed no longer ago: what a range lies
    /// beyond may have grown.
    pub confirmed_within: Option<Duration>,
    max_age: Option<Duration>,
    min_fresh: Option<Duration>,
}

impl Demand {
    /// Reads every Cache-Control line of a request; without any, `pragma` says
    /// `no-cache` as HTTP/1.0 did (RFC 9111 §5.4).
    pub fn parse<'a>(lines: impl Iterator<Item = &'a str>, pragma: Option<&str>) -> Self {
        let mut out = Self::default();
        let mut said = false;
        for directive in lines.flat_map(split_outside_quotes) {
            said = true;
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || Some(parse_seconds(Some(value.trim().trim_matches('"'))));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => out.no_cache = true,
                "no-store" => out.no_store = true,
                "only-if-cached" => out.only_if_cached = true,
                "max-age" => out.max_age = seconds(),
                "min-fresh" => out.min_fresh = seconds(),
                _ => {}
            }
        }
        let pragma = pragma.is_some_and(|text| text.trim().eq_ignore_ascii_case("no-cache"));
        out.no_cache |= !said && pragma;
        out
    }

    /// Whether a stored object is too old for the viewer.
    pub fn refuses(&self, freshness: &Freshness, now: Instant) -> bool {
        let since = now.saturating_duration_since(freshness.stored_at);
        self.no_cache
            || self.confirmed_within.is_some_and(|most| since > most)
            || self.max_age.is_some_and(|most| freshness.age(now) > most)
            || self
                .min_fresh
                .is_some_and(|least| freshness.remaining(now) < least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::lifetime::Lifetime;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_viewer_may_want_it_fresher_than_the_origin_does() {
        let start = Instant::now();
        let freshness = Freshness {
            stored_at: start,
            age_on_arrival: Duration::from_secs(2),
            lifetime: Lifetime {
                fresh: Duration::from_secs(10),
                stale_while_revalidate: Duration::from_secs(5),
                ..Lifetime::default()
            },
        };
        let table: &[(&str, &[&str], Option<&str>, u64, bool)] = &[
            ("nothing", &[], None, 0, false),
            ("no-cache", &["no-cache"], None, 0, true),
            ("pragma", &[], Some("No-Cache"), 0, true),
            (
                "pragma beside it",
                &["max-age=9"],
                Some("no-cache"),
                0,
                false,
            ),
            ("young enough", &["max-age=3"], None, 1, false),
            ("too old", &["Max-Age=3"], None, 2, true),
            ("fresh for long enough", &["min-fresh=5"], None, 3, false),
            ("not for long enough", &["min-fresh=5"], None, 4, true),
            ("unreadable", &["max-age=x"], None, 0, true),
            ("max-stale", &["max-stale=99"], None, 14, false),
            ("several lines", &["a", "b, min-fresh=\"9\""], None, 0, true),
            ("stale, allowed", &["max-age=99"], None, 9, false),
        ];
        for (name, lines, pragma, after, want) in table {
            let demand = Demand::parse(lines.iter().copied(), *pragma);
            let now = start + Duration::from_secs(*after);
            assert_eq!(demand.refuses(&freshness, now), *want, "{name}");
        }
        let both = Demand::parse(["no-store, only-if-cached"].into_iter(), None);
        assert!(both.no_store && both.only_if_cached);
        assert!(!both.refuses(&freshness, start));
    }
}
