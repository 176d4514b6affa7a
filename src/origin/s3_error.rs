//! Pure: what an S3 server says where it does not serve. It is for the decision
//! and for the log; none of it reaches a viewer.

use http::header::HeaderName;

use super::Head;

/// The part of an error's body that is read.
pub const MAX_ERROR_BYTES: usize = 8 << 10;
/// Of each of its words: what a log line may be made to hold, in characters.
const MAX_WORD: usize = 200;
/// A key of fewer bytes cannot be taken for any word.
const SHORTEST_ECHO: usize = 4;

/// The words of an error, cleaned and bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    pub code: Option<String>,
    pub message: Option<String>,
    /// Where the bucket is, or what a signature should be for.
    pub region: Option<String>,
    /// The host to ask instead.
    pub endpoint: Option<String>,
}

impl Words {
    /// From an answer's head and the beginning of its body, which is empty for
    /// an answer to HEAD. `key`: the object's, of which a message tells nothing
    /// that could be taken for a reason: who asks has chosen it.
    pub fn of(head: &Head, body: &[u8], key: &str) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = match key.len() {
            0..SHORTEST_ECHO => text,
            _ => text.replace(key, "…").into(),
        };
        let header = |name| word(head.text(HeaderName::from_static(name))?);
        let code = element(&text, "Code").or_else(|| member(&text, "code"));
        let message = element(&text, "Message").or_else(|| member(&text, "message"));
        let message = message.or_else(|| plain(&text));
        let region = element(&text, "Region").or_else(|| header("x-amz-bucket-region"));
        let region = region.or_else(|| message.as_deref().and_then(expected));
        Self {
            code: code.or_else(|| header("x-minio-error-code")),
            region,
            endpoint: element(&text, "Endpoint"),
            message,
        }
    }

    /// Whether nothing was said.
    pub fn is_silent(&self) -> bool {
        self.code.is_none() && self.message.is_none()
    }
}

/// The text of the first element of this name.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    word(rest.split('<').next()?)
}

/// The text of the first member of this name, for stores that speak JSON.
fn member(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("\"{name}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    match rest.strip_prefix('"') {
        Some(quoted) => word(quoted.split('"').next()?),
        None => word(rest.split([',', '}', ' ']).next()?),
    }
}

/// A line of plain text, which is no page and no document.
fn plain(text: &str) -> Option<String> {
    let is_document = text.trim_start().starts_with(['<', '{', '[']);
    word(text).filter(|_| !is_document)
}

/// The region that a message wants: `… 'us-east-1' is wrong; expecting 'eu-west-1'`.
fn expected(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting ")?;
    word(rest.split(['\'', '"']).nth(1)?)
}

/// One line, not too long; `None` where there is nothing of it.
fn word(text: &str) -> Option<String> {
    let text = text
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"");
    let is_gap = |c: char| c.is_whitespace() || c.is_control();
    let parts: Vec<&str> = text.split(is_gap).filter(|part| !part.is_empty()).collect();
    let clean: String = parts.join(" ").chars().take(MAX_WORD).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(lines: &str) -> Head {
        let text = format!("HTTP/1.1 403 Forbidden\r\n{lines}Content-Length: 0\r\n\r\n");
        let parsed = Head::parse(text.as_bytes(), false).expect("a head");
        parsed.expect("a whole head").0
    }

    #[test]
    fn the_words_are_read_from_any_form_of_an_error() {
        let long = "a".repeat(5000);
        let table: &[(&str, &str, &str, Option<&str>, Option<&str>, Option<&str>)] = &[
            (
                "XML",
                "",
                "<?xml?><Error><Code> NoSuchKey </Code><Message>none\r\n</Message></Error>",
                Some("NoSuchKey"),
                Some("none"),
                None,
            ),
            (
                "a region element",
                "",
                "<Error><Code>A</Code><Region>eu-central-1</Region></Error>",
                Some("A"),
                None,
                Some("eu-central-1"),
            ),
            (
                "a region in the message",
                "",
                "<Error><Code>A</Code><Message>the region &apos;us-east-1&apos; is wrong; expecting &apos;eu-west-1&apos;</Message></Error>",
                Some("A"),
                Some("the region 'us-east-1' is wrong; expecting 'eu-west-1'"),
                Some("eu-west-1"),
            ),
            (
                "a region in the head",
                "x-amz-bucket-region: ap-south-1\r\n",
                "",
                None,
                None,
                Some("ap-south-1"),
            ),
            (
                "a code in the head",
                "x-minio-error-code: NoSuchBucket\r\n",
                "",
                Some("NoSuchBucket"),
                None,
                None,
            ),
            (
                "JSON",
                "",
                "{\"errors\":[{\"code\": 10042, \"message\":\"no\"}]}",
                Some("10042"),
                Some("no"),
                None,
            ),
            ("text", "", "not here", None, Some("not here"), None),
            ("a page", "", "<html><h1>503</h1></html>", None, None, None),
            ("nothing", "", "", None, None, None),
            ("cut", "", "<Code>", None, None, None),
            (
                "long",
                "",
                &format!("<Code>{long}</Code>"),
                Some(&long[..200]),
                None,
                None,
            ),
        ];
        for (name, lines, body, code, message, region) in table {
            let words = Words::of(&head(lines), body.as_bytes(), "v/a.ts");
            assert_eq!(words.code.as_deref(), *code, "{name}");
            assert_eq!(words.message.as_deref(), *message, "{name}");
            assert_eq!(words.region.as_deref(), *region, "{name}");
        }
    }

    #[test]
    fn a_key_that_the_message_repeats_tells_nothing() {
        let body = "<Error><Code>AccessDenied</Code><Message>not for media/no such bucket.ts</Message></Error>";
        let words = Words::of(&head(""), body.as_bytes(), "no such bucket.ts");
        assert_eq!(words.message.as_deref(), Some("not for media/…"));
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_one_line_of_bounded_length(body in prop::collection::vec(any::<u8>(), 0..900)) {
            let words = Words::of(&head(""), &body, "v/a.ts");
            for word in [words.code, words.message, words.region, words.endpoint].into_iter().flatten() {
                prop_assert!(word.chars().count() <= MAX_WORD && !word.contains(['\r', '\n']));
            }
        }
    }
}
