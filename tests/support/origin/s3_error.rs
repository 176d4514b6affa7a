//! S3's errors: code, status and XML.

use super::answer::{Answer, HOST_ID, request_id};

/// An error by its S3 code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct S3Error {
    pub status: u16,
    pub code: String,
    pub message: String,
}

/// What the error is about, for the XML.
#[derive(Clone, Debug, Default)]
pub(super) struct Subject<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    /// The raw path.
    pub resource: &'a str,
    pub request: u64,
}

impl S3Error {
    pub fn new(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// The error of a status, as a fault asks for it; `code` overrides the usual one.
    pub fn of_status(status: u16, code: Option<&str>) -> Self {
        let usual = match status {
            400 => "InvalidRequest",
            401 | 403 => "AccessDenied",
            404 => "NoSuchKey",
            405 => "MethodNotAllowed",
            412 => "PreconditionFailed",
            416 => "InvalidRange",
            429 | 503 => "SlowDown",
            501 => "NotImplemented",
            _ => "InternalError",
        };
        Self::new(
            status,
            code.unwrap_or(usual),
            "The origin was told to answer so.",
        )
    }

    /// The error as an answer without the usual headers: XML for S3, one line of text otherwise.
    pub fn answer(&self, s3: bool, subject: &Subject) -> Answer {
        let (content_type, body) = if s3 {
            ("application/xml", self.xml(subject))
        } else {
            ("text/plain", format!("{} {}\n", self.code, self.message))
        };
        let mut answer = Answer::new(self.status, body.into());
        answer.add("Content-Type", content_type);
        if s3 {
            // MinIO names the error in the head as well: an answer to HEAD has nothing else.
            answer.add("X-Minio-Error-Code", &*self.code);
        }
        answer
    }

    fn xml(&self, subject: &Subject) -> String {
        let fields = [
            ("Code", self.code.as_str()),
            ("Message", &self.message),
            ("Key", subject.key),
            ("BucketName", subject.bucket),
            ("Resource", subject.resource),
            ("RequestId", &request_id(subject.request)),
            ("HostId", HOST_ID),
        ];
        let inner: String = fields
            .map(|(name, value)| format!("<{name}>{}</{name}>", escaped(value)))
            .concat();
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{inner}</Error>")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

pub(super) fn mismatch() -> S3Error {
    let message = "The request signature we calculated does not match the signature you provided.";
    S3Error::new(403, "SignatureDoesNotMatch", message)
}

pub(super) fn unknown_access_key() -> S3Error {
    S3Error::new(
        403,
        "InvalidAccessKeyId",
        "The Access Key Id you provided does not exist in our records.",
    )
}

pub(super) fn malformed(why: &str) -> S3Error {
    let message = format!("The authorization header is malformed; {why}.");
    S3Error::new(400, "AuthorizationHeaderMalformed", &message)
}

pub(super) fn invalid_uri() -> S3Error {
    S3Error::new(400, "InvalidURI", "Couldn't parse the specified URI.")
}

pub(super) fn denied(message: &str) -> S3Error {
    S3Error::new(403, "AccessDenied", message)
}
