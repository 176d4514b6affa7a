//! Pure: what an S3 error body says. It never reaches a viewer.

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

/// The text of the first `<Code>` element.
fn code(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    rest.split('<').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

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
