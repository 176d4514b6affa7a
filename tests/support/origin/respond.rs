//! What a request gets when nothing is made to go wrong: S3's GET and HEAD, a plain server's, or a
//! handler's.

use std::sync::Arc;

use super::DevOriginOptions;
use super::answer::Answer;
use super::conditional::{Selection, Validators, select};
use super::object::Object;
use super::record::SeenRequest;
use super::s3_error::{S3Error, Subject, denied, invalid_uri};
use super::sigv4::verify;
use super::sigv4_canonical::percent_decoded;
use super::state::OriginState;

/// MinIO's health checks; they ask for no signature.
const HEALTH_PATHS: [&str; 2] = ["/minio/health/live", "/minio/health/ready"];

/// The answer, and whether a signature was sent and held.
pub(super) fn respond(state: &OriginState, request: &SeenRequest) -> (Answer, bool) {
    let options = state.options();
    let mut authorised = false;
    let answer = if let Some(handler) = state.handler(request.path()) {
        let reply = handler(request);
        let mut answer =
            Answer::new(reply.status, reply.body).dressed(options.s3, state.now(), request.id);
        answer.replace(&reply.headers);
        answer
    } else if options.s3 {
        respond_as_s3(state, request, &options, &mut authorised)
    } else {
        respond_plainly(state, request)
    };
    (
        Answer {
            head_only: request.method == "HEAD",
            ..answer
        },
        authorised,
    )
}

fn respond_plainly(state: &OriginState, request: &SeenRequest) -> Answer {
    let subject = Subject::default();
    let dressed = |answer: Answer| answer.dressed(false, state.now(), request.id);
    if !is_read(request) {
        return dressed(method_not_allowed().answer(false, &subject));
    }
    match plain_object(state, request) {
        Some(object) => object_answer(&object, request, dressed, |error| {
            error.answer(false, &subject)
        }),
        None => dressed(S3Error::new(404, "NotFound", request.path()).answer(false, &subject)),
    }
}

/// The object registered with this query, or else the one of the path alone.
fn plain_object(state: &OriginState, request: &SeenRequest) -> Option<Arc<Object>> {
    let path = String::from_utf8(percent_decoded(request.path())?).ok()?;
    let with_query = request
        .query()
        .and_then(|query| state.object(&format!("{path}?{query}")));
    with_query.or_else(|| state.object(&path))
}

fn respond_as_s3(
    state: &OriginState,
    request: &SeenRequest,
    options: &DevOriginOptions,
    authorised: &mut bool,
) -> Answer {
    let dressed = |answer: Answer| answer.dressed(true, state.now(), request.id);
    if HEALTH_PATHS.contains(&request.path()) {
        return dressed(Answer::new(200, "".into()));
    }
    let address = Address::of(state, request);
    let (bucket, key) = address
        .as_ref()
        .map_or(("", ""), |address| (&*address.bucket, &*address.key));
    let subject = Subject {
        bucket,
        key,
        resource: request.path(),
        request: request.id,
    };
    let refused = |error: S3Error| error.answer(true, &subject);
    if !is_read(request) {
        return dressed(refused(method_not_allowed()));
    }
    match authorise(state, request, options, bucket) {
        Ok(signed) => *authorised = signed,
        Err(error) => return dressed(refused(error)),
    }
    if address.is_none() {
        return dressed(refused(invalid_uri()));
    }
    match find(state, request, options, bucket, key) {
        Ok(Some(object)) => object_answer(&object, request, dressed, refused),
        Ok(None) => dressed(Answer::new(200, "".into())),
        Err(error) => dressed(refused(error)),
    }
}

/// Whether a signature was sent; a bad one is refused even where none is needed.
fn authorise(
    state: &OriginState,
    request: &SeenRequest,
    options: &DevOriginOptions,
    bucket: &str,
) -> Result<bool, S3Error> {
    match request.header("authorization") {
        Some(authorization) => verify(request, authorization, options, state.now()).map(|()| true),
        None if options
            .anonymous_buckets
            .iter()
            .any(|known| known == bucket) =>
        {
            Ok(false)
        }
        None => Err(denied("Access Denied.")),
    }
}

/// The object; `None` for a HEAD of the bucket itself.
fn find(
    state: &OriginState,
    request: &SeenRequest,
    options: &DevOriginOptions,
    bucket: &str,
    key: &str,
) -> Result<Option<Arc<Object>>, S3Error> {
    if bucket.is_empty() {
        return Err(S3Error::new(
            501,
            "NotImplemented",
            "Buckets cannot be listed here.",
        ));
    }
    if !state.has_bucket(bucket) {
        return Err(S3Error::new(
            404,
            "NoSuchBucket",
            "The specified bucket does not exist.",
        ));
    }
    if key.is_empty() {
        let is_probe = request.method == "HEAD";
        let listing = || S3Error::new(501, "NotImplemented", "Objects cannot be listed here.");
        return if is_probe { Ok(None) } else { Err(listing()) };
    }
    match state.object(&format!("/{bucket}/{key}")) {
        Some(object) => Ok(Some(object)),
        None if options.list_bucket_allowed => Err(S3Error::new(
            404,
            "NoSuchKey",
            "The specified key does not exist.",
        )),
        None => Err(denied("Access Denied.")),
    }
}

/// An object under the request's conditions; errors are given their body by `refused`.
fn object_answer(
    object: &Object,
    request: &SeenRequest,
    dressed: impl Fn(Answer) -> Answer,
    refused: impl Fn(S3Error) -> Answer,
) -> Answer {
    let len = object.body.len();
    let validators = Validators {
        etag: &object.etag,
        last_modified: object.last_modified,
    };
    let mut answer = match select(request, validators, len) {
        Selection::Whole => Answer::new(200, object.body.clone()),
        Selection::Part(range) => {
            let mut part = Answer::new(206, object.body.clone());
            part.add(
                "Content-Range",
                format!("bytes {}-{}/{len}", range.start, range.end - 1),
            );
            part.narrow(range);
            part
        }
        Selection::NotModified => Answer::new(304, "".into()),
        Selection::PreconditionFailed => {
            let message = "At least one of the pre-conditions you specified did not hold.";
            return dressed(refused(S3Error::new(412, "PreconditionFailed", message)));
        }
        Selection::Unsatisfiable => {
            let mut answer = refused(S3Error::new(
                416,
                "InvalidRange",
                "The requested range is not satisfiable.",
            ));
            answer.add("Content-Range", format!("bytes */{len}"));
            return dressed(answer);
        }
    };
    answer.add("Content-Type", &*object.content_type);
    answer.add("ETag", &*object.etag);
    answer.add(
        "Last-Modified",
        httpdate::fmt_http_date(object.last_modified),
    );
    if let Some(cache_control) = &object.cache_control {
        answer.add("Cache-Control", &**cache_control);
    }
    let mut answer = dressed(answer);
    answer.replace(&object.headers);
    answer
}

/// Bucket and key, decoded.
struct Address {
    bucket: String,
    key: String,
}

impl Address {
    /// Virtual-host style when the Host begins with a known bucket and a dot, path style otherwise.
    /// `None` when the path is not well percent-encoded or not UTF-8.
    fn of(state: &OriginState, request: &SeenRequest) -> Option<Self> {
        let path = String::from_utf8(percent_decoded(request.path())?).ok()?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        if let Some(bucket) = virtual_bucket(state, request.header("host").unwrap_or_default()) {
            return Some(Self {
                bucket,
                key: path.to_owned(),
            });
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        Some(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }
}

/// The longest known bucket in front of the host; bucket names may have dots themselves.
fn virtual_bucket(state: &OriginState, host: &str) -> Option<String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let dots = name.rmatch_indices('.').map(|(dot, _)| &name[..dot]);
    dots.into_iter()
        .find(|bucket| state.has_bucket(bucket))
        .map(str::to_owned)
}

fn is_read(request: &SeenRequest) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD")
}

fn method_not_allowed() -> S3Error {
    S3Error::new(
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
    )
}
