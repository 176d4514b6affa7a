//! Pure: content codings (RFC 9110 §8.4), as far as stored bodies have them.

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Unknown,
}

/// Codings that code nothing: `aws-chunked` is how an S3 client sends, and some
/// stores give it back.
const NONE: [&str; 2] = ["identity", "aws-chunked"];

/// The codings that are some, in order.
fn codings(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONTENT_ENCODING).into_iter();
    let all = lines.flat_map(|line| line.to_str().unwrap_or("?").split(','));
    all.map(str::trim).filter(|coding| {
        !coding.is_empty() && !NONE.iter().any(|none| coding.eq_ignore_ascii_case(none))
    })
}

pub fn coding(headers: &HeaderMap) -> Coding {
    let mut codings = codings(headers);
    match (codings.next(), codings.next()) {
        (None, _) => Coding::Identity,
        (Some(only), None) if is_gzip(only) => Coding::Gzip,
        _ => Coding::Unknown,
    }
}

/// Content-Encoding as viewers are told it.
pub fn told(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&str> = codings(headers).collect();
    match all.is_empty() {
        true => None,
        false => HeaderValue::from_str(&all.join(", ")).ok(),
    }
}

/// Whether a viewer says, in these lines of Accept-Encoding, that he takes gzip.
pub fn takes_gzip<'l>(lines: impl Iterator<Item = &'l str>) -> bool {
    let mut any = false;
    for said in lines.flat_map(|line| line.split(',')) {
        let (name, weight) = said.split_once(';').unwrap_or((said, ""));
        let weight = weight.trim().trim_start_matches(['q', 'Q', ' ', '=']);
        let wanted = weight.is_empty() || weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        match name.trim() {
            name if is_gzip(name) => return wanted,
            "*" => any = wanted,
            _ => {}
        }
    }
    any
}

fn is_gzip(coding: &str) -> bool {
    coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_that_code_nothing_are_none() {
        let table = [
            (&[][..], Coding::Identity, None),
            (&["identity"], Coding::Identity, None),
            (&["aws-chunked"], Coding::Identity, None),
            (&[""], Coding::Identity, None),
            (&["gzip,aws-chunked"], Coding::Gzip, Some("gzip")),
            (&["aws-chunked", "X-GZIP"], Coding::Gzip, Some("X-GZIP")),
            (&["br"], Coding::Unknown, Some("br")),
            (&["gzip", "gzip"], Coding::Unknown, Some("gzip, gzip")),
        ];
        for (lines, want, shown) in table {
            let line = |line: &&'static str| (CONTENT_ENCODING, HeaderValue::from_static(line));
            let headers = HeaderMap::from_iter(lines.iter().map(line));
            assert_eq!(coding(&headers), want, "{lines:?}");
            assert_eq!(
                told(&headers),
                shown.map(HeaderValue::from_static),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn gzip_is_for_who_says_that_he_takes_it() {
        let table = [
            (None, false),
            (Some("gzip"), true),
            (Some("identity"), false),
            (Some("br, GZIP;q=0.5"), true),
            (Some("gzip;q=0, *"), false),
            (Some("gzip; q = 0.000"), false),
            (Some("*"), true),
            (Some("*;q=0"), false),
            (Some("x-gzip"), true),
        ];
        for (line, want) in table {
            assert_eq!(takes_gzip(line.into_iter()), want, "{line:?}");
        }
    }
}
