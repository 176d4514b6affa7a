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
    said && entity_tag(headers).is_none() && !headers.contains_key(LAST_MODIFIED)
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
                &[(CONTENT_TYPE, "text/xml"), (LAST_MODIFIED, "x")],
                false,
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
}
