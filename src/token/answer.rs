//! Pure: what a signed URL asks of its answer's head, by the names that S3 has
//! for it (GetObject, "Overriding response header values").

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName,
    HeaderValue,
};

/// What all of them begin with.
pub(super) const PREFIX: &str = "response-";

/// Not `response-content-encoding`: the edge sends the coding that a body has.
const NAMES: [(&str, HeaderName); 5] = [
    ("cache-control", CACHE_CONTROL),
    ("content-disposition", CONTENT_DISPOSITION),
    ("content-language", CONTENT_LANGUAGE),
    ("content-type", CONTENT_TYPE),
    ("expires", EXPIRES),
];

/// The line that a parameter asks for, where it asks for one.
pub(super) fn line(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let asked = name.strip_prefix(PREFIX)?;
    let (_, header) = NAMES.iter().find(|(name, _)| *name == asked)?;
    let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    Some((header.clone(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_s3_has_ask_for_a_line_and_no_other_does() {
        for (name, header) in NAMES {
            let asked = line(&format!("{PREFIX}{name}"), "a; b=\"ü\"");
            let value = HeaderValue::from_bytes("a; b=\"ü\"".as_bytes()).expect("a value");
            assert_eq!(asked, Some((header, value)));
        }
        for name in [
            "response-content-encoding",
            "response-set-cookie",
            "response-",
            "Response-content-type",
            "content-type",
        ] {
            assert_eq!(line(name, "x"), None, "{name}");
        }
    }
}
