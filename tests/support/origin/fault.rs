//! Faults: what an origin can do wrong, by name. `distort` and `exchange` carry them out.

use serde::{Deserialize, Serialize};

/// One misbehaviour. Several may meet in one request; those that change the answer apply in the
/// order they were added.
///
/// In JSON the name is in snake case: `"silence"`, `{"reset_after": {"bytes": 1000}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Waits before the head.
    DelayHead { ms: u64 },
    /// Waits after `bytes` of the body.
    DelayBody { bytes: u64, ms: u64 },
    /// RST instead of an answer.
    ResetBeforeHead,
    /// FIN instead of an answer.
    CloseBeforeHead,
    /// RST after `bytes` of the body; 20 ms after them, so that a peer that reads has got them.
    ResetAfter { bytes: u64 },
    /// FIN after `bytes` of the body: short of its Content-Length.
    CloseAfter { bytes: u64 },
    /// Content-Length says `by` more than the body has; FIN after the body.
    ContentLengthLarger { by: u64 },
    /// Content-Length says `by` less than is sent; the connection stays open.
    ContentLengthSmaller { by: u64 },
    /// `by` stray bytes `x` after a body of the right Content-Length; the connection stays open.
    BodyLonger { by: u64 },
    /// No Content-Length: the body ends with the connection.
    NoContentLength,
    /// Transfer-Encoding: chunked, well-formed.
    Chunked,
    /// Chunked, but FIN instead of the last chunk.
    ChunkedCut,
    /// Another status with an error body; `code` is the S3 error code, by default that of the
    /// status.
    Status { status: u16, code: Option<String> },
    /// 200 with Content-Range and the bytes asked for, as gofakes3 had it; without a Range all of
    /// them.
    ContentRangeOn200,
    /// 206 for a request without Range; `bytes` of the object from its start, by default all.
    UnaskedPartial { bytes: Option<u64> },
    /// 200 and everything, whatever the Range.
    IgnoreRange,
    /// Reads the request and never answers.
    Silence,
    /// Sends the body at this rate.
    Drip { bytes_per_second: u64 },
    /// Adds headers, replacing those of the same name.
    ExtraHeaders { headers: Vec<(String, String)> },
    /// 304 without a condition.
    NotModified,
    /// A redirect, 302 unless `status` says otherwise.
    Redirect {
        location: String,
        #[serde(default = "found")]
        status: u16,
    },
    /// Content-Encoding: gzip over a body that is not.
    GzipEncoding,
    /// An interim response (100 or 103) before the head.
    Informational { status: u16 },
    /// Bytes that are no HTTP, then FIN.
    Garbage,
    /// These bytes in place of an answer, head and all; then FIN, or nothing more.
    Verbatim {
        text: String,
        #[serde(default)]
        stays_open: bool,
    },
}

fn found() -> u16 {
    302
}

/// A fault, where and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// End of the path or target; empty or `*` is every request, health checks included.
    #[serde(default)]
    pub path: String,
    /// Requests it is still good for; without it until cleared.
    #[serde(default)]
    pub times: Option<u64>,
    pub fault: Fault,
}

impl FaultRule {
    /// The fault, if it is still good for one more time.
    pub(super) fn take(&mut self) -> Option<Fault> {
        if let Some(times) = &mut self.times {
            *times = times.checked_sub(1)?;
        }
        Some(self.fault.clone())
    }
}
