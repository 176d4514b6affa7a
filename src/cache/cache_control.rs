//! Pure: the directives of Cache-Control (RFC 9111 §5.2.2) that a shared cache
//! obeys, and of CDN-Cache-Control (RFC 9213), which goes before it.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{CACHE_CONTROL, DATE, EXPIRES, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

pub(super) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What an origin allows a shared cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    /// Only by who knows what its status means (RFC 9111 §5.2.2.3).
    pub must_understand: bool,
    /// An answer to a request with Authorization may be stored (RFC 9111 §3.5).
    pub despite_authorization: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// It was said to CDNs alone: then Expires does not count (RFC 9213 §2.2).
    pub targeted: bool,
}

impl CacheControl {
    /// What a head says to this cache.
    pub fn of(headers: &HeaderMap) -> Self {
        Self::targeted(headers).unwrap_or_else(|| Self::plain(headers))
    }

    /// What it says to every cache.
    pub fn plain(headers: &HeaderMap) -> Self {
        Self::parse(lines(headers))
    }

    /// Whether a head says anything to this cache.
    pub fn is_said(headers: &HeaderMap) -> bool {
        headers.contains_key(CACHE_CONTROL) || headers.contains_key(CDN_CACHE_CONTROL)
    }

    /// CDN-Cache-Control, where it is there, not empty, and a dictionary.
    fn targeted(headers: &HeaderMap) -> Option<Self> {
        let mut out = Self {
            targeted: true,
            ..Self::default()
        };
        let dictionary = dictionary(headers)?;
        for (name, entry) in &dictionary {
            let value = match entry {
                ListEntry::Item(item) => &item.bare_item,
                ListEntry::InnerList(_) => continue,
            };
            // One of a wrong type spoils all of them.
            if is_age(name) && !matches!(value, BareItem::Integer(_)) {
                return None;
            }
            match value {
                BareItem::Boolean(true) => out.apply(name, None),
                BareItem::Integer(number) => out.apply(name, Some(&number.to_string())),
                BareItem::String(text) | BareItem::Token(text) => out.apply(name, Some(text)),
                // Of a type that no directive has (§2.1).
                BareItem::Boolean(false) | BareItem::Decimal(_) | BareItem::ByteSeq(_) => {}
            }
        }
        Some(out)
    }

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
            // The qualified forms are about the headers that they name, which
            // `withheld` keeps away from everybody.
            "no-cache" => self.no_cache |= names(value).next().is_none(),
            "private" => self.private |= names(value).next().is_none(),
            "must-revalidate" => {
                self.must_revalidate = true;
                self.despite_authorization = true;
            }
            "must-understand" => self.must_understand = true,
            "proxy-revalidate" => self.must_revalidate = true,
            "public" => {
                self.public = true;
                self.despite_authorization = true;
            }
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

fn is_age(name: &str) -> bool {
    let ages = [
        "max-age",
        "s-maxage",
        "stale-while-revalidate",
        "stale-if-error",
    ];
    ages.contains(&name)
}

/// The headers that a head's `private="…"` and `no-cache="…"` name: a shared
/// cache may not pass on the one without asking, and the other not at all
/// (RFC 9111 §5.2.2.4, §5.2.2.7), so no viewer of a shared answer gets either.
pub fn withheld(headers: &HeaderMap) -> Vec<String> {
    let directives = lines(headers).flat_map(split_outside_quotes);
    directives.flat_map(qualified).collect()
}

/// The headers that a directive speaks of in place of the whole.
pub(super) fn qualified(directive: &str) -> impl Iterator<Item = String> {
    let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
    let name = name.trim();
    let may = ["private", "no-cache"];
    let may = may.iter().any(|it| name.eq_ignore_ascii_case(it));
    names(Some(value.trim().trim_matches('"'))).filter(move |_| may)
}

/// The header names in a directive's value, in lower case.
fn names(value: Option<&str>) -> impl Iterator<Item = String> {
    let names = value.unwrap_or_default().split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_ascii_lowercase)
}

fn lines(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    lines.filter_map(|value| value.to_str().ok())
}

fn dictionary(headers: &HeaderMap) -> Option<Dictionary> {
    let lines = headers.get_all(CDN_CACHE_CONTROL).iter();
    let lines: Vec<&[u8]> = lines.map(http::HeaderValue::as_bytes).collect();
    let parsed = Parser::parse_dictionary(&lines.join(&b", "[..]));
    parsed.ok().filter(|dictionary| !dictionary.is_empty())
}

fn keep_first(slot: &mut Option<Duration>, value: Option<&str>) {
    if slot.is_none() {
        *slot = Some(parse_seconds(value));
    }
}

/// Delta-seconds (RFC 9111 §1.2.2); too large a number is 2^31 seconds.
pub(super) fn parse_seconds(value: Option<&str>) -> Duration {
    const MOST: u64 = 1 << 31;
    let digits = value.unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Duration::ZERO;
    }
    Duration::from_secs(digits.parse().unwrap_or(MOST).min(MOST))
}

pub(super) fn split_outside_quotes(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// `Expires` less `Date` (or now). A bad date is in the past (RFC 9111 §5.3).
pub fn expires_in(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if !headers.contains_key(EXPIRES) {
        return None;
    }
    let expires = date(headers, EXPIRES).unwrap_or(SystemTime::UNIX_EPOCH);
    let from = date(headers, DATE).unwrap_or(now);
    Some(expires.duration_since(from).unwrap_or_default())
}

pub fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let lines = headers.get_all(name).into_iter();
    let first = lines.filter_map(|line| line.to_str().ok()).next()?;
    httpdate::parse_http_date(first).ok()
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
                    public: true,
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
                    no_store: true,
                    ..default
                },
            ),
            ("no-cache=\"a\"", default),
            (
                "private=\"\"",
                CacheControl {
                    private: true,
                    ..default
                },
            ),
            (
                "private, private=\"a\"",
                CacheControl {
                    private: true,
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

    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = http::HeaderValue::from_static(value);
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    #[test]
    fn what_is_said_to_cdns_goes_before_what_is_said_to_all() {
        let secs = |s| Some(Duration::from_secs(s));
        let targeted = CacheControl {
            targeted: true,
            ..CacheControl::default()
        };
        let max_age = |s| CacheControl {
            max_age: secs(s),
            ..targeted
        };
        let plain = CacheControl {
            max_age: secs(5),
            ..CacheControl::default()
        };
        let table = [
            ("max-age=60", max_age(60)),
            ("max-age=60;x=1, foo=(a b)", max_age(60)),
            (
                "no-store",
                CacheControl {
                    no_store: true,
                    ..targeted
                },
            ),
            ("private=?0", targeted),
            ("private=\"a\", max-age=7", max_age(7)),
            // One that is not of its type spoils the field.
            ("max-age=1.5", plain),
            ("no-store, max-age=\"60\"", plain),
            // None at all, or no dictionary: as if it were not there.
            ("", plain),
            ("max-age=60, ,", plain),
            ("MAX-AGE=60", plain),
            ("max-age=", plain),
        ];
        for (value, want) in table {
            let headers = head(&[("cache-control", "max-age=5"), ("cdn-cache-control", value)]);
            assert_eq!(CacheControl::of(&headers), want, "{value:?}");
        }
        let two = [
            ("cdn-cache-control", "max-age=9"),
            ("cdn-cache-control", "no-store"),
        ];
        let both = CacheControl {
            no_store: true,
            ..max_age(9)
        };
        assert_eq!(CacheControl::of(&head(&two)), both);
    }

    #[test]
    fn headers_named_as_one_viewers_own_are_withheld() {
        let lines = [
            ("cache-control", "max-age=9, private=\"X-User, x-cart\""),
            (
                "cache-control",
                "No-Cache=X-Csrf, x=\"private=y\", no-cache",
            ),
        ];
        assert_eq!(withheld(&head(&lines)), ["x-user", "x-cart", "x-csrf"]);
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
