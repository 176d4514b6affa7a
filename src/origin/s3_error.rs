//! Pure: what an S3 server says in its own XML. It never reaches a viewer.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};

/// The parts of an error body that are read.
pub const MAX_ERROR_BYTES: usize = 8 << 10;

/// What an S3 server names as the reason of a 4xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Our clock and the server's differ; the signature is right otherwise.
    Skewed,
    /// Our key, signature or session token is at fault.
    Credential,
    Other,
}

impl Reason {
    pub fn of(body: &[u8]) -> Self {
        match code(body) {
            Some("RequestTimeTooSkewed") => Reason::Skewed,
            Some(
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "AuthorizationHeaderMalformed"
                | "NotSignedUp",
            ) => Reason::Credential,
            _ => Reason::Other,
        }
    }
}

/// Whether an answer of success is the store's own XML and no object's: a
/// listing, or an error. Objects come with an ETag or a Last-Modified (S3 API,
/// GetObject), and so do those that are XML themselves.
pub fn is_own_xml(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    let is_xml = ["application/xml", "text/xml"]
        .iter()
        .any(|xml| essence.eq_ignore_ascii_case(xml));
    is_xml && !headers.contains_key(ETAG) && !headers.contains_key(LAST_MODIFIED)
}

/// The text of the first `<Code>` element.
fn code(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    rest.split('<').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

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
    fn an_error_names_its_reason_or_none() {
        let body =
            |code: &str| format!("<?xml?><Error><Code>{code}</Code><Message>m</Message></Error>");
        assert_eq!(
            Reason::of(body("SignatureDoesNotMatch").as_bytes()),
            Reason::Credential
        );
        assert_eq!(
            Reason::of(body("RequestTimeTooSkewed").as_bytes()),
            Reason::Skewed
        );
        assert_eq!(Reason::of(body("AccessDenied").as_bytes()), Reason::Other);
        for body in ["", "<Code>", "\u{0}", "<Error/>"] {
            assert_eq!(Reason::of(body.as_bytes()), Reason::Other);
        }
        assert_eq!(Reason::of(b"\xff\xfe"), Reason::Other);
    }
}
