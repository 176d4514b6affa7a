//! Faults that change the answer itself.

use super::answer::{Answer, Framing};
use super::fault::Fault;
use super::record::SeenRequest;
use super::s3_error::{S3Error, Subject};

/// Applies one fault; those that concern only the wire or the time change nothing here.
pub(super) fn distort(answer: &mut Answer, fault: &Fault, request: &SeenRequest, s3: bool) {
    match fault {
        Fault::ContentLengthLarger { by } => {
            answer.framing = Framing::Length(answer.range_len() + by)
        }
        Fault::ContentLengthSmaller { by } => {
            answer.framing = Framing::Length(answer.range_len().saturating_sub(*by))
        }
        Fault::BodyLonger { by } => answer.surplus = *by,
        Fault::NoContentLength => answer.framing = Framing::UntilClose,
        Fault::Chunked => answer.framing = Framing::Chunked,
        Fault::ChunkedCut => answer.framing = Framing::ChunkedCut,
        Fault::Status { status, code } => {
            let error = S3Error::of_status(*status, code.as_deref());
            let subject = Subject {
                resource: request.path(),
                request: request.id,
                ..Subject::default()
            };
            exchange_body(answer, error.answer(s3, &subject));
        }
        Fault::ContentRangeOn200 => {
            if matches!(answer.status, 200 | 206) {
                answer.status = 200;
                say_range(answer);
            }
        }
        Fault::UnaskedPartial { bytes } => {
            if answer.status == 200 {
                let end = bytes.unwrap_or(u64::MAX).min(answer.range.end);
                answer.status = 206;
                answer.narrow(0..end);
                say_range(answer);
            }
        }
        Fault::ExtraHeaders { headers } => answer.replace(headers),
        Fault::NotModified => {
            answer.status = 304;
            answer.narrow(0..0);
        }
        Fault::Redirect { location, status } => {
            exchange_body(answer, Answer::new(*status, "".into()));
            answer.replace(&[("Location".to_owned(), location.clone())]);
        }
        Fault::GzipEncoding => {
            answer.replace(&[("Content-Encoding".to_owned(), "gzip".to_owned())])
        }
        Fault::IgnoreRange
        | Fault::DelayHead { .. }
        | Fault::DelayBody { .. }
        | Fault::ResetBeforeHead
        | Fault::CloseBeforeHead
        | Fault::ResetAfter { .. }
        | Fault::CloseAfter { .. }
        | Fault::Silence
        | Fault::Drip { .. }
        | Fault::Informational { .. }
        | Fault::Garbage
        | Fault::Verbatim { .. } => {}
    }
}

/// Whether the request is to be answered as if it had no Range.
pub(super) fn ignores_range(faults: &[Fault]) -> bool {
    faults.contains(&Fault::IgnoreRange)
}

/// Content-Range for the bytes that are sent; without any there is no such header (RFC 9110
/// §14.4).
fn say_range(answer: &mut Answer) {
    let (range, len) = (answer.range.clone(), answer.body.len());
    if !range.is_empty() {
        let value = format!("bytes {}-{}/{len}", range.start, range.end - 1);
        answer.replace(&[("Content-Range".to_owned(), value)]);
    }
}

/// Takes status, body and headers of `other`, and drops what described the old body.
fn exchange_body(answer: &mut Answer, other: Answer) {
    const OF_THE_OBJECT: [&str; 5] = [
        "content-type",
        "content-range",
        "etag",
        "last-modified",
        "cache-control",
    ];
    answer
        .headers
        .retain(|(name, _)| !OF_THE_OBJECT.contains(&name.to_ascii_lowercase().as_str()));
    answer.replace(&other.headers);
    answer.status = other.status;
    answer.body = other.body;
    answer.range = other.range;
    answer.framing = other.framing;
}
