//! Pure: an answer of success that is no object's. It never reaches a viewer.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue, LAST_MODIFIED};

use super::entity_tag;

/// Whether an answer of success is the store's own XML and no object's: a
/// listing, or an error. Objects come with an ETag or a Last-Modified (S3 API,
/// GetObject), and so do those that are XML themselves.
pub fn is_own_xml(headers: &HeaderMap) -> bool {
    let is_xml = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default().trim();
        let known = ["application/xml", "text/xml"];
        known.iter().any(|xml| essence.eq_ignore_ascii_case(xml))
    };
    let said = headers.get_all(CONTENT_TYPE).iter().any(is_xml);
    said && !is_told_by_validators(headers)
}

/// The same by how its body begins, whatever type it claims.
pub fn is_own_body(headers: &HeaderMap, begins: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&begins[..begins.len().min(1024)]);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let text = match text.strip_prefix("<?xml") {
        Some(rest) => rest
            .split_once("?>")
            .map_or("", |(_, rest)| rest.trim_start()),
        None => text,
    };
    let own = [
        "Error",
        "ListBucketResult",
        "ListVersionsResult",
        "ListAllMyBucketsResult",
    ];
    let names = own.iter().any(|name| {
        let rest = text
            .strip_prefix('<')
            .and_then(|text| text.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['>', ' ', '\n', '\r', '\t']))
    });
    names && !is_told_by_validators(headers)
}

fn is_told_by_validators(headers: &HeaderMap) -> bool {
    let modified = headers
        .get(LAST_MODIFIED)
        .and_then(|value| value.to_str().ok());
    entity_tag(headers).is_some()
        || modified.is_some_and(|text| httpdate::parse_http_date(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use http::header::ETAG;

    #[test]
    fn the_stores_own_xml_is_told_from_an_object_that_is_xml() {
        let table: &[(&str, &[(HeaderName, &str)], bool)] = &[
            ("a listing", &[(CONTENT_TYPE, "application/xml")], true),
            (
                "with a charset",
                &[(CONTENT_TYPE, "Text/XML; charset=utf-8")],
                true,
            ),
            (
                "an object",
                &[(CONTENT_TYPE, "application/xml"), (ETAG, "\"e\"")],
                false,
            ),
            (
                "an object without MD5",
                &[
                    (CONTENT_TYPE, "text/xml"),
                    (LAST_MODIFIED, "Tue, 01 Jan 2030 00:00:00 GMT"),
                ],
                false,
            ),
            (
                "a date that is none",
                &[(CONTENT_TYPE, "text/xml"), (LAST_MODIFIED, "garbage")],
                true,
            ),
            (
                "a manifest",
                &[(CONTENT_TYPE, "application/dash+xml")],
                false,
            ),
            (
                "a listing with an empty tag",
                &[(CONTENT_TYPE, "application/xml"), (ETAG, "\"\"")],
                true,
            ),
            ("a segment", &[], false),
        ];
        for (name, lines, want) in table {
            let line = |(name, value): &(HeaderName, &str)| {
                (name.clone(), HeaderValue::from_str(value).expect("a value"))
            };
            let headers: HeaderMap = lines.iter().map(line).collect();
            assert_eq!(is_own_xml(&headers), *want, "{name}");
        }
    }

    #[test]
    fn the_stores_own_xml_is_told_by_its_beginning_too() {
        let none = HeaderMap::new();
        let mut tagged = HeaderMap::new();
        tagged.insert(ETAG, HeaderValue::from_static("\"e\""));
        let listing = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"x\">";
        let table = [
            (&none, listing, true),
            (&none, "\u{feff}<Error><Code>NoSuchKey</Code>", true),
            (&none, "<Errors>", false),
            (&none, "<MPD>", false),
            (&none, "#EXTM3U", false),
            (&none, "", false),
            (&tagged, listing, false),
        ];
        for (headers, begins, want) in table {
            assert_eq!(is_own_body(headers, begins.as_bytes()), want, "{begins}");
        }
    }
}
