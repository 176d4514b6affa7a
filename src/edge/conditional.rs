//! Pure: conditional requests (RFC 9110 §13) against a stored object.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};

use super::range::{Answer, wanted};
use super::request::Request;
use crate::origin::Validators;

/// If-None-Match goes before If-Modified-Since, and both before Range.
pub fn answer(request: &Request<'_>, validators: &Validators, length: u64) -> Answer {
    if is_not_modified(request, validators) {
        return Answer::NotModified;
    }
    let range = request
        .text(&RANGE)
        .filter(|_| range_holds(request, validators));
    range.map_or(Answer::Whole, |value| wanted(value, length))
}

/// Whether the viewer's copy is still right.
pub fn is_not_modified(request: &Request<'_>, validators: &Validators) -> bool {
    if request.contains(&IF_NONE_MATCH) {
        let Some(etag) = &validators.etag else {
            return request.text(&IF_NONE_MATCH) == Some("*");
        };
        return request
            .texts(&IF_NONE_MATCH)
            .flat_map(entity_tags)
            .any(|tag| tag == "*" || opaque(tag) == opaque(etag));
    }
    let Some(since) = request.text(&IF_MODIFIED_SINCE) else {
        return false;
    };
    let since = httpdate::parse_http_date(since).ok();
    let modified = validators
        .last_modified
        .as_deref()
        .and_then(|text| httpdate::parse_http_date(text).ok());
    since
        .zip(modified)
        .is_some_and(|(since, modified)| modified <= since)
}

/// If-Range compares strongly (RFC 9110 §13.1.5): a weak tag never holds, and
/// a date holds only where it is the same one.
fn range_holds(request: &Request<'_>, validators: &Validators) -> bool {
    let Some(condition) = request.text(&IF_RANGE) else {
        return !request.contains(&IF_RANGE);
    };
    let condition = condition.trim();
    if condition.starts_with('"') {
        return validators.etag.as_deref() == Some(condition);
    }
    validators.last_modified.as_deref() == Some(condition)
}

/// Splits a list of entity tags; a tag may hold commas.
fn entity_tags(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let split = move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    line.split(split).map(str::trim)
}

/// The weak comparison sets `W/` aside.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue};

    const MODIFIED: &str = "Tue, 01 Jan 2030 00:00:00 GMT";

    fn ask(headers: &[(&'static str, &'static str)]) -> Answer {
        let pairs = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let headers: HeaderMap = pairs.collect();
        let validators = Validators {
            etag: Some("\"a,b\"".into()),
            last_modified: Some(MODIFIED.into()),
        };
        answer(&Request::with_headers(&headers), &validators, 10)
    }

    #[test]
    fn conditions_are_asked_in_the_order_of_the_standard() {
        let later = "Wed, 02 Jan 2030 00:00:00 GMT";
        let earlier = "Mon, 31 Dec 2029 00:00:00 GMT";
        let part = || Answer::Part(0..2);
        let table: &[(&str, &[(&'static str, &'static str)], Answer)] = &[
            ("none", &[], Answer::Whole),
            (
                "same tag",
                &[("if-none-match", "\"a,b\"")],
                Answer::NotModified,
            ),
            (
                "weak tag",
                &[("if-none-match", "W/\"a,b\"")],
                Answer::NotModified,
            ),
            (
                "one of a list",
                &[("if-none-match", "\"x\", \"a,b\"")],
                Answer::NotModified,
            ),
            ("star", &[("if-none-match", "*")], Answer::NotModified),
            ("another tag", &[("if-none-match", "\"a\"")], Answer::Whole),
            (
                "tag before date",
                &[("if-none-match", "\"x\""), ("if-modified-since", later)],
                Answer::Whole,
            ),
            (
                "same date",
                &[("if-modified-since", MODIFIED)],
                Answer::NotModified,
            ),
            (
                "later date",
                &[("if-modified-since", later)],
                Answer::NotModified,
            ),
            (
                "earlier date",
                &[("if-modified-since", earlier)],
                Answer::Whole,
            ),
            (
                "bad date",
                &[("if-modified-since", "yesterday")],
                Answer::Whole,
            ),
            ("range", &[("range", "bytes=0-1")], part()),
            (
                "range beyond",
                &[("range", "bytes=10-")],
                Answer::Unsatisfiable,
            ),
            (
                "304 before range",
                &[("range", "bytes=0-1"), ("if-none-match", "*")],
                Answer::NotModified,
            ),
            (
                "if-range holds",
                &[("range", "bytes=0-1"), ("if-range", "\"a,b\"")],
                part(),
            ),
            (
                "if-range fails",
                &[("range", "bytes=0-1"), ("if-range", "\"x\"")],
                Answer::Whole,
            ),
            (
                "if-range weak",
                &[("range", "bytes=0-1"), ("if-range", "W/\"a,b\"")],
                Answer::Whole,
            ),
            (
                "if-range date",
                &[("range", "bytes=0-1"), ("if-range", MODIFIED)],
                part(),
            ),
            (
                "if-range other date",
                &[("range", "bytes=0-1"), ("if-range", later)],
                Answer::Whole,
            ),
            (
                "if-range fails, range beyond",
                &[("range", "bytes=10-"), ("if-range", "\"x\"")],
                Answer::Whole,
            ),
        ];
        for (name, headers, want) in table {
            assert_eq!(ask(headers), *want, "{name}");
        }
    }
}
