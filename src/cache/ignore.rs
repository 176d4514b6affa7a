//! Pure: what an origin says of caching and the operator knows better, as with
//! packagers that say `no-cache` of everything (`cache.ignore_origin`).

use http::header::{CACHE_CONTROL, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::cache_control::{CDN_CACHE_CONTROL, qualified, split_outside_quotes};

/// What is not regarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    NoCache,
    NoStore,
    Private,
    /// `s-maxage` too.
    MaxAge,
    Expires,
}

impl Ignored {
    const ALL: [Self; 5] = [
        Self::NoCache,
        Self::NoStore,
        Self::Private,
        Self::MaxAge,
        Self::Expires,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCache => "no-cache",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == text)
    }

    /// It may give one viewer's answer to another.
    pub const fn is_of_one_viewer(self) -> bool {
        matches!(self, Self::NoStore | Self::Private)
    }
}

/// Takes what is not regarded out of an answer's head, before anybody reads it:
/// neither the cache nor a viewer has it then. An answer with Set-Cookie is
/// somebody's own, and says what it says.
pub fn forget(headers: &mut HeaderMap, ignored: &[Ignored]) {
    if ignored.is_empty() || headers.contains_key(SET_COOKIE) {
        return;
    }
    for name in [CACHE_CONTROL, CDN_CACHE_CONTROL] {
        forget_directives(headers, &name, ignored);
    }
    if ignored.contains(&Ignored::Expires) {
        headers.remove(EXPIRES);
    }
}

fn forget_directives(headers: &mut HeaderMap, name: &HeaderName, ignored: &[Ignored]) {
    let lines = headers.get_all(name).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let all: Vec<&str> = lines
        .flat_map(split_outside_quotes)
        .map(str::trim)
        .collect();
    let kept: Vec<&str> = all
        .iter()
        .copied()
        .filter(|it| !is_ignored(it, ignored))
        .collect();
    if kept.len() == all.len() {
        return;
    }
    let kept = HeaderValue::from_str(&kept.join(", "));
    headers.remove(name);
    if let Some(kept) = kept.ok().filter(|kept| !kept.is_empty()) {
        headers.insert(name, kept);
    }
}

fn is_ignored(directive: &str, ignored: &[Ignored]) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    let name = match name.eq_ignore_ascii_case("s-maxage") {
        true => Ignored::MaxAge.name(),
        false => name,
    };
    // What is said of single headers does not forbid the whole.
    let mut ignored = ignored.iter();
    qualified(directive).next().is_none() && ignored.any(|it| name.eq_ignore_ascii_case(it.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_does_not_regard_is_gone_and_nothing_else() {
        use Ignored::{Expires, MaxAge, NoCache, NoStore, Private};
        let table: &[(&[Ignored], &str, Option<&str>)] = &[
            (&[], "no-cache", Some("no-cache")),
            (&[NoCache], "No-Cache", None),
            (&[NoCache], "no-cache, max-age=0", Some("max-age=0")),
            (&[NoCache, MaxAge], "no-cache, max-age=0, s-maxage=1", None),
            (&[NoStore], "no-store, private", Some("private")),
            (&[Private], "private, public", Some("public")),
            (
                &[Private],
                "private=\"x-user, y\"",
                Some("private=\"x-user, y\""),
            ),
            (&[Expires], "max-age=3", Some("max-age=3")),
            (
                &[MaxAge],
                "must-revalidate , max-age=5",
                Some("must-revalidate"),
            ),
        ];
        for (ignored, said, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, said.parse().expect("a value"));
            headers.insert(EXPIRES, HeaderValue::from_static("0"));
            forget(&mut headers, ignored);
            let found = headers
                .get(CACHE_CONTROL)
                .map(|value| value.to_str().expect("text"));
            assert_eq!(found, *want, "{said}");
            assert_eq!(
                headers.contains_key(EXPIRES),
                !ignored.contains(&Expires),
                "{said}"
            );
            headers.insert(CACHE_CONTROL, said.parse().expect("a value"));
            headers.insert(SET_COOKIE, HeaderValue::from_static("a=b"));
            forget(&mut headers, ignored);
            assert_eq!(headers[CACHE_CONTROL], *said, "it is somebody's own");
        }
    }

    #[test]
    fn every_name_is_read_as_it_is_written() {
        for ignored in Ignored::ALL {
            assert_eq!(Ignored::parse(ignored.name()), Some(ignored));
        }
        assert_eq!(Ignored::parse("vary"), None);
    }
}
