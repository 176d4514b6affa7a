//! Pure: what tells one state of an object from the next (RFC 9110 §8.8), where
//! the origin's answer has anything that does.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, ETAG, HeaderName, LAST_MODIFIED};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl Validators {
    /// `arrived`: when the answer came, which stands for a `Date` that it does
    /// not have (RFC 9110 §6.6.1).
    pub fn of(headers: &HeaderMap, arrived: SystemTime) -> Self {
        let etag = entity_tag(headers);
        let modified = text(headers, LAST_MODIFIED).filter(|modified| {
            let date = || text(headers, DATE).and_then(parse).unwrap_or(arrived);
            parse(modified).is_some_and(|modified| {
                modified > SystemTime::UNIX_EPOCH
                    && (etag.is_some() || is_settled(modified, date()))
            })
        });
        Self {
            etag: etag.map(str::to_owned),
            last_modified: modified.map(str::to_owned),
        }
    }

    /// Those of another form of the same.
    pub fn weak(self) -> Self {
        Self {
            etag: self.etag.map(|tag| weak_tag(&tag)),
            ..self
        }
    }

    /// They are the same of the same bytes alone: parts of it fit together (RFC
    /// 9110 §15.3.7.3, §8.8.2.2).
    pub fn is_strong(&self) -> bool {
        match &self.etag {
            Some(tag) => tag.starts_with('"'),
            None => self.last_modified.is_some(),
        }
    }

    /// What alone tells the state: replicas may have one entity-tag and dates of
    /// their own.
    pub fn state(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// Nothing tells this state from the next.
    pub fn is_none(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// The same entity-tag, of bytes that mean the same (RFC 9110 §8.8.1).
pub fn weak_tag(tag: &str) -> String {
    match tag.starts_with("W/") {
        true => tag.to_owned(),
        false => format!("W/{tag}"),
    }
}

/// The entity-tag of an answer, where it is one: an empty one (`""`, as stores
/// without checksums send) and `*` are equal to every other state's, and an
/// origin that is asked by it confirms whatever it is asked about.
pub fn entity_tag(headers: &HeaderMap) -> Option<&str> {
    let tag = text(headers, ETAG)?.trim();
    let bare = tag.strip_prefix("W/").or_else(|| tag.strip_prefix("w/"));
    let quoted = bare.unwrap_or(tag).strip_prefix('"');
    let opaque = match quoted.and_then(|rest| rest.strip_suffix('"')) {
        Some(opaque) if opaque.contains('"') => return None,
        Some(opaque) => opaque,
        // Some servers forget the quotes of a digest.
        None => Some(tag).filter(|tag| is_bare(tag))?,
    };
    let whole = CODINGS
        .iter()
        .find_map(|coding| opaque.strip_suffix(coding));
    let opaque = whole.unwrap_or(opaque).trim();
    (!opaque.is_empty() && opaque != "*").then_some(tag)
}

/// What servers that code an answer put behind its entity-tag.
const CODINGS: [&str; 6] = ["-gzip", "--gzip", ";gzip", "-br", "-zstd", "-deflate"];

fn is_bare(tag: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+=".contains(&byte);
    tag.len() >= SHORTEST_BARE && tag.bytes().all(fine)
}

const SHORTEST_BARE: usize = 8;

/// Whether a date alone can tell a state: one of the second in which it was
/// sent may be followed by another of that second (RFC 9110 §8.8.2.2).
fn is_settled(modified: SystemTime, date: SystemTime) -> bool {
    modified + Duration::from_secs(1) <= date
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn parse(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_cannot_tell_two_states_apart_is_no_validator() {
        const AT: &str = "Tue, 01 Jan 2030 00:00:09 GMT";
        const BEFORE: &str = "Tue, 01 Jan 2030 00:00:08 GMT";
        let table: &[(&str, &[(HeaderName, &str)], Option<&str>, Option<&str>)] = &[
            ("nothing", &[], None, None),
            ("strong", &[(ETAG, "\"a\"")], Some("\"a\""), None),
            ("weak", &[(ETAG, "W/\"a\"")], Some("W/\"a\""), None),
            ("bare", &[(ETAG, "0a1b2c3d")], Some("0a1b2c3d"), None),
            ("bare and short", &[(ETAG, "-")], None, None),
            ("a coding alone", &[(ETAG, "\"-gzip\"")], None, None),
            ("a coding alone, weak", &[(ETAG, "W/\"-gzip\"")], None, None),
            ("coded", &[(ETAG, "\"a-gzip\"")], Some("\"a-gzip\""), None),
            ("two empty ones", &[(ETAG, "\"\", \"\"")], None, None),
            ("empty and more", &[(ETAG, "\"\"-gzip")], None, None),
            ("empty and a sign", &[(ETAG, "\"\";")], None, None),
            ("other quotes", &[(ETAG, "''")], None, None),
            ("empty", &[(ETAG, "")], None, None),
            ("empty in quotes", &[(ETAG, "\"\"")], None, None),
            ("empty and weak", &[(ETAG, "W/\"\"")], None, None),
            ("white space", &[(ETAG, "\" \"")], None, None),
            ("any", &[(ETAG, "*")], None, None),
            ("any in quotes", &[(ETAG, "\"*\"")], None, None),
            ("a date", &[(LAST_MODIFIED, BEFORE)], None, Some(BEFORE)),
            (
                "a date of the second of arrival",
                &[(LAST_MODIFIED, AT)],
                None,
                None,
            ),
            ("no date", &[(LAST_MODIFIED, "yesterday")], None, None),
            (
                "the beginning of time",
                &[(LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT")],
                None,
                None,
            ),
            (
                "a second before",
                &[(LAST_MODIFIED, BEFORE), (DATE, AT)],
                None,
                Some(BEFORE),
            ),
            (
                "the same second",
                &[(LAST_MODIFIED, AT), (DATE, AT)],
                None,
                None,
            ),
            (
                "the future",
                &[(LAST_MODIFIED, AT), (DATE, BEFORE)],
                None,
                None,
            ),
            (
                "the same second, beside a tag",
                &[(ETAG, "\"a\""), (LAST_MODIFIED, AT), (DATE, AT)],
                Some("\"a\""),
                Some(AT),
            ),
        ];
        let arrived = parse(AT).expect("a date");
        for (name, lines, etag, modified) in table {
            let line = |(name, value): &(HeaderName, &str)| {
                (name.clone(), HeaderValue::from_str(value).expect("a value"))
            };
            let found = Validators::of(&lines.iter().map(line).collect(), arrived);
            assert_eq!(found.etag.as_deref(), *etag, "{name}");
            assert_eq!(found.last_modified.as_deref(), *modified, "{name}");
        }
    }
}
