//! An answer before it is put on the wire.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::object::Body;
use super::record::SeenRequest;

/// What a handler answers. Content-Length, Date and Server are added; a HEAD request gets no body.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// A handler registered by [`super::OriginState::on`].
pub type Handler = Arc<dyn Fn(&SeenRequest) -> Reply + Send + Sync>;

impl Reply {
    pub fn new(status: u16, body: impl Into<Body>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Content-Length, true or not.
    Length(u64),
    Chunked,
    /// Chunked without the last chunk.
    ChunkedCut,
    /// The end of the connection.
    UntilClose,
}

/// A final response: the head's fields and the part of a body to send.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    pub range: Range<u64>,
    pub framing: Framing,
    /// Stray bytes after the body.
    pub surplus: u64,
    /// The body is only described, as for HEAD.
    pub head_only: bool,
}

impl Answer {
    pub fn new(status: u16, body: Body) -> Self {
        let len = body.len();
        Self {
            status,
            headers: Vec::new(),
            body,
            range: 0..len,
            framing: Framing::Length(len),
            surplus: 0,
            head_only: false,
        }
    }

    /// Every answer's headers: those of MinIO, or of a plain server.
    pub fn dressed(mut self, s3: bool, now: SystemTime, request: u64) -> Self {
        self.add("Date", httpdate::fmt_http_date(now));
        if s3 {
            self.add("Server", "MinIO");
            self.add("Accept-Ranges", "bytes");
            self.add("Vary", "Origin, Accept-Encoding");
            self.add("X-Amz-Request-Id", request_id(request));
            self.add("X-Amz-Id-2", HOST_ID);
        } else {
            self.add("Server", "dev-origin");
        }
        self
    }

    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Adds headers in place of all of the same names; a name given twice is sent twice.
    pub fn replace(&mut self, headers: &[(String, String)]) {
        self.headers.retain(|(known, _)| {
            !headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(known))
        });
        self.headers.extend_from_slice(headers);
    }

    /// Sends only `range` of the body, which lies within it, and says so in Content-Length.
    pub fn narrow(&mut self, range: Range<u64>) {
        self.framing = Framing::Length(range.end - range.start);
        self.range = range;
    }

    /// Body bytes the head describes, sent or not.
    pub fn range_len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Body bytes to send, before any surplus.
    pub fn sent_len(&self) -> u64 {
        if self.has_body() { self.range_len() } else { 0 }
    }

    /// RFC 9112 §6.3: none after HEAD, 1xx, 204 and 304.
    pub fn has_body(&self) -> bool {
        !self.head_only && !matches!(self.status, 100..=199 | 204 | 304)
    }

    /// Whether the peer can tell where the next response begins, as far as it knows.
    pub fn keeps_alive(&self) -> bool {
        match self.framing {
            Framing::Length(declared) => {
                !self.has_body() || declared <= self.sent_len() + self.surplus
            }
            Framing::Chunked => true,
            Framing::ChunkedCut | Framing::UntilClose => false,
        }
    }
}

/// S3's opaque host name; always the same here.
pub(super) const HOST_ID: &str = "dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8";

/// The form of MinIO's request ids: sixteen hexadecimal digits.
pub(super) fn request_id(request: u64) -> String {
    format!("18{request:014X}")
}
