//! Pure: how a body that was cut goes on where it ended (RFC 9110 §14.2, §13.1.5).

use http::header::CONTENT_RANGE;

use super::{Framing, Head, Method, Request, entity_tag};

/// The request for what is left of a body; `None` where the answer's head does
/// not tell for certain that the rest belongs to the same whole.
pub fn rest(request: &Request, head: &Head, at: u64) -> Option<Request> {
    let resumable = request.method == Method::Get && request.range.is_none() && head.status == 200;
    let length = head.length().filter(|length| at < *length && resumable)?;
    let etag = entity_tag(&head.headers).filter(|etag| etag.starts_with('"'))?;
    Some(Request {
        range: Some(format!("bytes={at}-{}", length - 1)),
        if_range: Some(etag.to_owned()),
        validators: None,
        ..request.clone()
    })
}

/// Whether an answer is the rest of the body that `first` announced. Some
/// object stores do not read If-Range, so the answer's own words count.
pub fn continues(first: &Head, answer: &Head, at: u64) -> bool {
    let Some(length) = first.length() else {
        return false;
    };
    let range = format!("bytes {at}-{}/{length}", length - 1);
    answer.status == 206
        && answer.framing == Framing::Length(length - at)
        && entity_tag(&answer.headers) == entity_tag(&first.headers)
        && answer.text(CONTENT_RANGE) == Some(range.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        let text = format!("HTTP/1.1 {text}\r\n\r\n");
        let parsed = Head::parse(text.as_bytes(), false).expect("a head");
        parsed.expect("a whole head").0
    }

    #[test]
    fn only_the_rest_of_the_same_whole_continues_a_body() {
        let first = head("200 OK\r\nContent-Length: 100\r\nETag: \"a\"");
        let table = [
            (
                "206 P\r\nContent-Length: 60\r\nETag: \"a\"\r\nContent-Range: bytes 40-99/100",
                true,
            ),
            (
                "206 P\r\nContent-Length: 60\r\nETag: \"b\"\r\nContent-Range: bytes 40-99/100",
                false,
            ),
            (
                "206 P\r\nContent-Length: 60\r\nContent-Range: bytes 40-99/100",
                false,
            ),
            (
                "206 P\r\nContent-Length: 60\r\nETag: \"a\"\r\nContent-Range: bytes 40-99/200",
                false,
            ),
            (
                "206 P\r\nContent-Length: 60\r\nETag: \"a\"\r\nContent-Range: bytes 30-89/100",
                false,
            ),
            (
                "206 P\r\nContent-Length: 50\r\nETag: \"a\"\r\nContent-Range: bytes 40-99/100",
                false,
            ),
            ("206 P\r\nContent-Length: 60\r\nETag: \"a\"", false),
            ("200 OK\r\nContent-Length: 100\r\nETag: \"a\"", false),
            (
                "416 No\r\nContent-Length: 60\r\nETag: \"a\"\r\nContent-Range: bytes 40-99/100",
                false,
            ),
        ];
        for (answer, want) in table {
            assert_eq!(continues(&first, &head(answer), 40), want, "{answer}");
        }
    }
}
