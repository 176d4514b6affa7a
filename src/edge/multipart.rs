//! Pure: several parts of a body in one response (RFC 9110 §14.6).

use std::ops::Range;

/// The framing of a `multipart/byteranges` body.
pub struct Multipart<'a> {
    /// Stands in no body by more than chance: the request's id.
    pub boundary: &'a str,
    /// The type of the whole.
    pub content_type: Option<&'a str>,
    pub whole: u64,
}

impl Multipart<'_> {
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What stands before a part.
    pub fn opening(&self, part: &Range<u64>) -> String {
        let kind = self
            .content_type
            .map(|kind| format!("Content-Type: {kind}\r\n"));
        format!(
            "\r\n--{}\r\n{}Content-Range: bytes {}-{}/{}\r\n\r\n",
            self.boundary,
            kind.unwrap_or_default(),
            part.start,
            part.end - 1,
            self.whole
        )
    }

    pub fn closing(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    pub fn length(&self, parts: &[Range<u64>]) -> u64 {
        let part = |part: &Range<u64>| self.opening(part).len() as u64 + part.end - part.start;
        parts.iter().map(part).sum::<u64>() + self.closing().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_framed_as_the_standard_shows() {
        let framing = Multipart {
            boundary: "b0",
            content_type: Some("video/mp2t"),
            whole: 100,
        };
        let parts = [0..10, 50..60];
        let body: String = parts
            .iter()
            .map(|part| framing.opening(part) + "0123456789")
            .collect();
        let body = body + &framing.closing();
        let want = "\r\n--b0\r\nContent-Type: video/mp2t\r\nContent-Range: bytes 0-9/100\r\n\r\n0123456789\
                    \r\n--b0\r\nContent-Type: video/mp2t\r\nContent-Range: bytes 50-59/100\r\n\r\n0123456789\
                    \r\n--b0--\r\n";
        assert_eq!(body, want);
        assert_eq!(framing.length(&parts), want.len() as u64);
        assert_eq!(framing.content_type(), "multipart/byteranges; boundary=b0");
    }
}
