//! Pure: what an S3 server says where it does not serve. It is for the decision
//! and for the log; none of it reaches a viewer.

use http::header::HeaderName;

use super::Head;
use super::echo::without;
use super::s3_codes::is_telling;
use super::s3_forms::{element, member, unescaped};

/// The part of an error's body that is read.
pub const MAX_ERROR_BYTES: usize = 8 << 10;
/// Of each of its words: what a log line may be made to hold, in characters.
const MAX_WORD: usize = 200;

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
        let header = |name| word(head.text(HeaderName::from_static(name))?);
        let element = |name| element(&text, name).map(unescaped);
        let message = element("Message").or_else(|| member(&text, "message"));
        let message = message.or_else(|| sentence(&text)).or_else(|| plain(&text));
        let message = message.and_then(|said| word(&without(&said, key)));
        let region = element("Region").and_then(|said| word(&said));
        let region = region.or_else(|| header("x-amz-bucket-region"));
        let region = region.or_else(|| message.as_deref().and_then(expected));
        let code = code(&text).filter(|code| *code != head.status.to_string());
        let code = code.or_else(|| header("x-minio-error-code"));
        Self {
            code: code.or_else(|| telling(&text, key)),
            region,
            endpoint: element("Endpoint").and_then(|said| word(&said)),
            message,
        }
    }

    /// Whether nothing was said.
    pub fn is_silent(&self) -> bool {
        self.code.is_none() && self.message.is_none()
    }
}

/// The code, where it stands in its place; AWS also writes `namespace#Code`.
fn code(text: &str) -> Option<String> {
    let names = ["code", "__type", "error"];
    let in_xml = element(text, "Code").map(unescaped);
    let mut said = in_xml
        .into_iter()
        .chain(names.iter().filter_map(|name| member(text, name)));
    said.find_map(|said| {
        let code = said.rsplit('#').next().and_then(word)?;
        let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        code.chars().all(is_code).then_some(code)
    })
}

/// The first code that somewhere stands as a word, in whatever form.
fn telling(text: &str, key: &str) -> Option<String> {
    let bare = without(&unescaped(text), key);
    let mut words = bare.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(|word| is_telling(word)).map(str::to_owned)
}

/// What an error is said to be in more than a word.
fn sentence(text: &str) -> Option<String> {
    member(text, "error").filter(|said| said.contains(' '))
}

/// A line of plain text, which is no page and no document.
fn plain(text: &str) -> Option<String> {
    let is_document = text.trim_start().starts_with(['<', '{', '[']);
    (!is_document).then(|| text.to_owned())
}

/// The region that a message wants: `… 'us-east-1' is wrong; expecting 'eu-west-1'`.
fn expected(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting ")?;
    word(rest.split(['\'', '"']).nth(1)?)
}

/// One line, not too long; `None` where there is nothing of it.
fn word(text: &str) -> Option<String> {
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
            (
                "the status for a code",
                "",
                "{\"error\":{\"code\":403,\"message\":\"no \\\"a\\u0026b\\\"\"}}",
                None,
                Some("no \"a&b\""),
                None,
            ),
            (
                "a sentence for a code",
                "",
                "{\"error\":\"Access is denied\"}",
                None,
                Some("Access is denied"),
                None,
            ),
            (
                "CDATA in a message",
                "",
                "<Error><Code>A</Code><Message> <![CDATA[a < b]]></Message></Error>",
                Some("A"),
                Some("a < b"),
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
    fn a_code_is_read_in_whichever_form_it_comes() {
        let forms = [
            "<Error><Code><![CDATA[NoSuchBucket]]></Code></Error>",
            "<Error><Code>\n  <![CDATA[NoSuchBucket]]>\n</Code></Error>",
            "<s3:Error><s3:Code>NoSuchBucket</s3:Code></s3:Error>",
            "<Error><Code xmlns=\"x\">NoSuchBucket</Code></Error>",
            "<Error><CODE\nlang='en'>NoSuchBucket</CODE></Error>",
            "<error><code>NoSuchBucket</code></error>",
            "{\"Code\":\"NoSuchBucket\"}",
            "{\"Error\": {\"Code\" : \"NoSuchBucket\"}}",
            "{\"error\":{\"code\":\"NoSuchBucket\"}}",
            "{\"error\":\"NoSuchBucket\"}",
            "{\"__type\":\"NoSuchBucket\"}",
            "{\"__type\":\"com.amazonaws.s3#NoSuchBucket\",\"message\":\"no\"}",
            "<html><ul><li>Code: NoSuchBucket</li></ul></html>",
            "{\"reason\":\"NoSuchBucket\"}",
            "error=NoSuchBucket",
            "\u{feff}<Error Code=\"NoSuchBucket\"/>",
        ];
        for form in forms {
            let words = Words::of(&head(""), form.as_bytes(), "v/a.ts");
            assert_eq!(words.code.as_deref(), Some("NoSuchBucket"), "{form}");
        }
        let tells_nothing = [
            "<html><title>403 Forbidden</title><p>Redirect</p></html>",
            "<html><code>GET /v/a.ts</code></html>",
            "<html><li>Key: v/NoSuchBucket.ts</li></html>",
            "<html><li>Key: v%2FNoSuchBucket.ts</li></html>",
            "<html>NoSuchBuckets</html>",
        ];
        for form in tells_nothing {
            let words = Words::of(&head(""), form.as_bytes(), "v/NoSuchBucket.ts");
            assert_eq!(words.code, None, "{form}");
        }
    }

    #[test]
    fn a_key_that_the_message_repeats_tells_nothing() {
        let table = [
            (
                "no such bucket.ts",
                "not for media/no such bucket.ts",
                "not for media/…",
            ),
            ("v/tom&signature.ts", "not v/tom&amp;signature.ts", "not …"),
            ("v/tom&signature.ts", "not v/tom&#38;signature.ts", "not …"),
            (
                "v/tom&signature.ts",
                "not /media/v/tom%26signature.ts",
                "not /media/…",
            ),
            ("v/enc signature.ts", "not v/enc%20signature.ts", "not …"),
            ("v/enc clock.ts", "not enc%20clock.ts", "not …"),
            (
                "v/o'clock<1>.ts",
                "not v/o&apos;clock&lt;1&#x3E;.ts",
                "not …",
            ),
            ("v/enc clock.ts", "<![CDATA[not v/enc clock.ts]]>", "not …"),
        ];
        for (key, said, want) in table {
            let body = format!("<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>");
            let words = Words::of(&head(""), body.as_bytes(), key);
            assert_eq!(words.message.as_deref(), Some(want), "{key}");
        }
        let long = format!("v/{} signature.ts", "a".repeat(300));
        let body = format!("{{\"message\":\"not {long}\"}}");
        let words = Words::of(&head(""), body.as_bytes(), &long);
        assert_eq!(words.message.as_deref(), Some("not …"));
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
