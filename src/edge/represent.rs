//! Pure: what of a stored object a request gets.

use std::ops::Range;
use std::sync::Arc;

use http::header::ACCEPT_ENCODING;

use super::conditional::answer;
use super::range::Answer;
use super::request::Request;
use crate::cache::coding::takes_gzip;
use crate::cache::object::Object;

/// The form of a stored object that a viewer takes.
pub fn form<'o>(request: &Request<'_>, object: &'o Arc<Object>) -> &'o Arc<Object> {
    let decoded = object.decoded.as_ref();
    let decoded = decoded.filter(|_| !takes_gzip(request.texts(&ACCEPT_ENCODING)));
    decoded.unwrap_or(object)
}

/// How a request is answered with a stored object.
pub fn wanted(request: &Request<'_>, object: &Object) -> Answer {
    match object.status {
        200 => answer(request, &object.validators, object.body.len()),
        _ => Answer::Whole,
    }
}

/// Status and bytes of an answer that is one piece of a stored object.
pub fn piece(wanted: &Answer, object: &Object) -> Option<(u16, Range<u64>)> {
    match wanted {
        Answer::Whole => Some((object.status, 0..object.body.len())),
        Answer::NotModified => Some((304, 0..0)),
        Answer::Part(range) => Some((206, range.clone())),
        Answer::Parts(_) | Answer::Unsatisfiable => None,
    }
}
