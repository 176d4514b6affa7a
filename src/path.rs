//! Pure: the one canonical form of a request path.
//!
//! The path is decoded exactly once, here. The token check, the cache key and
//! the origin request all take the result, so the path that was verified is
//! the path that is served.

use std::borrow::Cow;
use std::fmt;

/// A request path, percent-decoded once and free of anything that two readers
/// could read in two ways. Always begins with `/`; `//` stands in it only where
/// the zone keeps empty segments.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalPath(String);

impl CanonicalPath {
    /// Decodes and checks the path part of a request target (no query).
    pub fn parse(raw: &str) -> Result<Self, BadPath> {
        Self::parse_with(raw, EmptySegments::Refused)
    }

    /// The same, by what the zone says of empty segments.
    pub fn parse_with(raw: &str, empty: EmptySegments) -> Result<Self, BadPath> {
        if !raw.starts_with('/') {
            return Err(BadPath::NotOriginForm);
        }
        check_wire_bytes(raw.as_bytes())?;
        let decoded = if raw.contains('%') {
            String::from_utf8(decode_path(raw.as_bytes())?).map_err(|_| BadPath::NotUtf8)?
        } else {
            raw.to_owned()
        };
        check_decoded(&decoded)?;
        if empty == EmptySegments::Refused && decoded.contains("//") {
            return Err(BadPath::EmptySegment);
        }
        Ok(Self(decoded))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text after the last `.` of the last segment, if there is one.
    pub fn extension(&self) -> Option<&str> {
        let (_, extension) = self.file_name().rsplit_once('.')?;
        Some(extension)
    }

    /// The last segment; empty for a path that ends in `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The path up to and including its last `/`.
    pub fn folder(&self) -> &str {
        let end = self.0.rfind('/').map_or(0, |slash| slash + 1);
        &self.0[..end]
    }

    /// Resolves a URI reference of a playlist against this path (RFC 3986
    /// §5.2). `None` for another host, another scheme or a bad path.
    pub fn join(&self, reference: &str) -> Option<CanonicalPath> {
        let reference = reference.split(['?', '#']).next().unwrap_or_default();
        if reference.is_empty() || reference.starts_with("//") || has_scheme(reference) {
            return None;
        }
        let absolute = if reference.starts_with('/') {
            reference.to_owned()
        } else {
            format!("{}{reference}", encode(self.folder()))
        };
        // Whether it may be asked for is its zone's to say, when it is.
        let kept = EmptySegments::Kept;
        CanonicalPath::parse_with(&remove_dot_segments(&absolute), kept).ok()
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a target has no canonical path. The viewer sees 400 for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the target is not in origin form: it must begin with \"/\"")]
    NotOriginForm,
    #[error("a byte outside visible ASCII, or a \"#\", stands in the target")]
    ForbiddenByte,
    #[error("\"%\" is not followed by two hexadecimal digits")]
    BadEscape,
    #[error("an encoded slash (%2F) stands in the path")]
    EncodedSlash,
    #[error("a control byte stands in the decoded path")]
    Control,
    #[error("a backslash stands in the path")]
    Backslash,
    #[error("the decoded path is not valid UTF-8")]
    NotUtf8,
    #[error("a \".\" or \"..\" segment stands in the path")]
    DotSegment,
    #[error("an empty segment (\"//\") stands in the path, and the zone has no `empty_segments`")]
    EmptySegment,
}

/// Whether a path may hold `//`. Many origins read several slashes as one: each
/// object would have as many names, and as many keys, as a path has room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EmptySegments {
    #[default]
    Refused,
    /// The origin tells them apart.
    Kept,
}

/// A path with several slashes read as one, and without one at its end: what
/// is said of an object holds however it is written.
pub fn collapsed(path: &str) -> Cow<'_, str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if !path.contains("//") && !path.ends_with('/') {
        return path.into();
    }
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments
        .fold(String::new(), |out, segment| out + "/" + segment)
        .into()
}

/// Bytes that no request target may hold, path or query.
pub fn check_wire_bytes(target: &[u8]) -> Result<(), BadPath> {
    let fine = |byte: &u8| (0x21..=0x7e).contains(byte) && *byte != b'#';
    if target.iter().all(fine) {
        Ok(())
    } else {
        Err(BadPath::ForbiddenByte)
    }
}

fn decode_path(raw: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match decode_escape(bytes.next(), bytes.next()).ok_or(BadPath::BadEscape)? {
            b'/' => return Err(BadPath::EncodedSlash),
            decoded => out.push(decoded),
        }
    }
    Ok(out)
}

/// Whether an encoded path escapes only what needs it (RFC 3986 §2.3). One that
/// escapes more may be another object's name, as it is and not as it is read:
/// `/%61` is `/a` here, and what a signer of decoded paths calls `/%61`.
pub fn escapes_nothing_unreserved(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    let escapes = memchr::memchr_iter(b'%', bytes);
    let mut read =
        escapes.map(|at| decode_escape(bytes.get(at + 1).copied(), bytes.get(at + 2).copied()));
    read.all(|byte| byte.is_some_and(|byte| !is_unreserved(byte)))
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

/// The last part of the path of a URL or a reference, as it stands there.
pub fn last_part(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// Whether `%` and two hexadecimal digits stand in a decoded text.
pub fn holds_an_escape(decoded: &str) -> bool {
    let bytes = decoded.as_bytes();
    memchr::memchr_iter(b'%', bytes)
        .any(|at| decode_escape(bytes.get(at + 1).copied(), bytes.get(at + 2).copied()).is_some())
}

/// The byte that `%` and these two digits stand for.
pub fn decode_escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let high = char::from(high?).to_digit(16)?;
    let low = char::from(low?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

fn check_decoded(path: &str) -> Result<(), BadPath> {
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(BadPath::Control);
    }
    if path.contains('\\') {
        return Err(BadPath::Backslash);
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(BadPath::DotSegment);
    }
    Ok(())
}

/// Percent-encodes each byte outside `A-Z a-z 0-9 - _ . ~ /`: the form that
/// S3 signs, and a valid path for any other server.
pub fn encode(path: &str) -> String {
    encode_except(path, |byte| byte == b'/')
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 §2.3.
pub fn encode_component(value: &str) -> String {
    encode_except(value, |_| false)
}

/// Percent-encodes what no request target may hold, as players do with a
/// reference that a person wrote.
pub fn encode_unsafe(reference: &str) -> String {
    let fine = |byte: u8| (0x21..=0x7e).contains(&byte);
    match reference.bytes().all(fine) {
        true => reference.to_owned(),
        false => encode_except(reference, fine),
    }
}

fn encode_except(text: &str, keep: impl Fn(u8) -> bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) || keep(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

/// RFC 3986 §5.2.4, for input that a person or a playlist wrote; a request
/// that holds dot segments is refused instead.
pub fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.iter().enumerate() {
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if index == last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_decoded_once_or_refused_by_name() {
        use BadPath::*;
        let table: &[(&str, Result<&str, BadPath>)] = &[
            ("/", Ok("/")),
            ("/a.ts", Ok("/a.ts")),
            ("//a/b.ts", Err(EmptySegment)),
            ("/a//b.ts", Err(EmptySegment)),
            ("/a/b//", Err(EmptySegment)),
            ("//", Err(EmptySegment)),
            ("/a/b/", Ok("/a/b/")),
            ("/a%20b.ts", Ok("/a b.ts")),
            ("/100%25.ts", Ok("/100%.ts")),
            ("/%2525", Ok("/%25")),
            ("/a+b.ts", Ok("/a+b.ts")),
            ("/vid%c3%a9os", Ok("/vidéos")),
            ("/a;b=1/c:d@e", Ok("/a;b=1/c:d@e")),
            ("/...", Ok("/...")),
            ("", Err(NotOriginForm)),
            ("*", Err(NotOriginForm)),
            ("http://x/a", Err(NotOriginForm)),
            ("/a b", Err(ForbiddenByte)),
            ("/a#b", Err(ForbiddenByte)),
            ("/é", Err(ForbiddenByte)),
            ("/a\u{7f}", Err(ForbiddenByte)),
            ("/a%2Fb", Err(EncodedSlash)),
            ("/a%2fb", Err(EncodedSlash)),
            ("/a%", Err(BadEscape)),
            ("/a%2", Err(BadEscape)),
            ("/a%zz", Err(BadEscape)),
            ("/a%00", Err(Control)),
            ("/a%0d%0a", Err(Control)),
            ("/a%7f", Err(Control)),
            ("/a\\b", Err(Backslash)),
            ("/a%5cb", Err(Backslash)),
            ("/%ff", Err(NotUtf8)),
            ("/%c0%ae%c0%ae/", Err(NotUtf8)),
            ("/a/../b", Err(DotSegment)),
            ("/a/%2e%2e/b", Err(DotSegment)),
            ("/a/.%2e", Err(DotSegment)),
            ("/./a", Err(DotSegment)),
        ];
        for (raw, want) in table {
            let got = CanonicalPath::parse(raw);
            assert_eq!(
                got.as_ref().map(CanonicalPath::as_str),
                want.as_ref().copied(),
                "{raw}"
            );
        }
    }

    #[test]
    fn an_empty_segment_is_kept_where_the_zone_says_so_and_nothing_else_is() {
        let parse = |raw| CanonicalPath::parse_with(raw, EmptySegments::Kept);
        for path in ["//", "//a//b.ts", "/a//"] {
            assert_eq!(parse(path).as_ref().map(CanonicalPath::as_str), Ok(path));
        }
        assert_eq!(parse("/a//../b").err(), Some(BadPath::DotSegment));
        assert_eq!(parse("/a/%2f/b").err(), Some(BadPath::EncodedSlash));
    }

    #[test]
    fn several_slashes_collapse_to_one_and_none_is_left_at_the_end() {
        let table = [
            ("/a/b.ts", "/a/b.ts"),
            ("//a///b.ts", "/a/b.ts"),
            ("/a/b/", "/a/b"),
            ("/a//", "/a"),
            ("/", ""),
            ("//", ""),
        ];
        for (path, want) in table {
            assert_eq!(collapsed(path), want, "{path}");
        }
    }

    #[test]
    fn a_playlist_reference_resolves_within_the_host_only() {
        let base = CanonicalPath::parse("/v/My%20s1/index.m3u8").unwrap();
        let join = |r: &str| base.join(r).map(|p| p.as_str().to_owned());
        assert_eq!(join("enc.key").as_deref(), Some("/v/My s1/enc.key"));
        assert_eq!(join("../k/enc.key?x=1").as_deref(), Some("/v/k/enc.key"));
        assert_eq!(join("/keys/1").as_deref(), Some("/keys/1"));
        assert_eq!(join("https://drm.example/k"), None);
        assert_eq!(join("skd://key"), None);
        assert_eq!(join("//other/k"), None);
    }

    proptest! {
        #[test]
        fn what_is_canonical_survives_encoding_and_parsing(raw in "/[ -~]{0,40}") {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                let again = CanonicalPath::parse(&encode(path.as_str())).unwrap();
                prop_assert_eq!(again, path);
            }
        }

        #[test]
        fn no_input_panics(raw in "\\PC{0,60}") {
            let _ = CanonicalPath::parse(&raw);
        }
    }
}
