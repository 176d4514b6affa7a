//! The only place that writes a status for a refusal or an error. A viewer
//! learns the status and the request id; the reason is in log and metric.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_METHODS, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER,
};
use pingora::http::ResponseHeader;

use super::headers::{self, Stamp};
use super::refused::Refused;
use super::verify::Visitor;
use crate::cache::head::{CDN_PULL_ZONE, empty, insert};
use crate::origin::Failure;
use crate::zone::{Cors, CorsRules, Methods, host_of};

/// A head and its short body.
pub struct Response {
    pub head: ResponseHeader,
    pub body: String,
}

/// For a request that is turned away. Addresses that the operator trusts are
/// told the reason.
pub fn refused(refused: Refused, visitor: &Visitor<'_>, request_id: &str) -> Response {
    let told = visitor
        .zone()
        .is_some_and(|zone| zone.explains_to(visitor.client_ip));
    let tell = told.then(|| match refused {
        Refused::Token(refusal) => format!("{}: {}", refused.name(), refusal.detail()),
        _ => refused.name().to_owned(),
    });
    let stamp = Stamp::bare(visitor, request_id);
    let mut response = plain(refused.status(), &stamp, tell.as_deref());
    ask_later(&mut response, refused.heals());
    if refused == Refused::NotHttps {
        let location = format!("https://{}{}", host_of(&visitor.host), visitor.target);
        if let Ok(location) = HeaderValue::from_str(&location) {
            insert(&mut response.head, LOCATION, location);
        }
    }
    if refused.status() == 405 {
        let methods = visitor
            .zone()
            .map_or(Methods::Read, |zone| zone.cache.methods);
        let allowed = HeaderValue::from_static(allowed(methods));
        insert(&mut response.head, ALLOW, allowed);
    }
    response
}

/// Takes the text off, where nothing is to be waited for.
pub fn without_body(response: &mut Response) {
    response.body.clear();
    insert(&mut response.head, CONTENT_LENGTH, HeaderValue::from(0));
}

/// For a pull that failed before its head.
pub fn failed(failure: Failure, stamp: &Stamp<'_>) -> Response {
    let mut response = plain(failure.status(), stamp, None);
    ask_later(&mut response, failure.heals());
    response
}

/// The same, where the origin has said when it wants to be asked again.
pub fn failed_for(failure: Failure, wait: Option<Duration>, stamp: &Stamp<'_>) -> Response {
    let mut response = failed(failure, stamp);
    if let Some(wait) = wait.filter(|_| failure.heals()) {
        insert(
            &mut response.head,
            RETRY_AFTER,
            HeaderValue::from(wait.as_secs()),
        );
    }
    response
}

/// What is too much now may not be in a second. What time mends is never a 4xx:
/// players take that for the last word and do not ask again.
fn ask_later(response: &mut Response, heals: bool) {
    if heals {
        let second = HeaderValue::from_static("1");
        insert(&mut response.head, RETRY_AFTER, second);
    }
}

/// For an object that is not there.
pub fn missing(status: u16, stamp: &Stamp<'_>) -> Response {
    plain(status, stamp, None)
}

/// For a range that lies beyond the object.
pub fn unsatisfiable(length: Option<u64>, stamp: &Stamp<'_>) -> Response {
    let mut response = plain(416, stamp, None);
    let range = length.map(|length| HeaderValue::from_str(&format!("bytes */{length}")));
    if let Some(Ok(range)) = range {
        insert(&mut response.head, CONTENT_RANGE, range);
    }
    response
}

/// For a CORS preflight: no token is asked for, because browsers send none.
pub fn preflight(rules: &CorsRules, methods: Methods, stamp: &Stamp<'_>) -> Response {
    let mut response = plain(204, stamp, None);
    response.body.clear();
    let methods = HeaderValue::from_static(allowed(methods));
    insert(&mut response.head, ACCESS_CONTROL_ALLOW_METHODS, methods);
    for (name, value) in rules.of_preflight() {
        insert(&mut response.head, name, value);
    }
    response.head.remove_header(&CONTENT_TYPE);
    response.head.remove_header(&CONTENT_LENGTH);
    response
}

/// Where all answers say the same; what differs is stamped on.
pub fn add_cors(head: &mut ResponseHeader, cors: &Cors) {
    for (name, value) in cors.fixed() {
        insert(head, name, value);
    }
}

const fn allowed(methods: Methods) -> &'static str {
    match methods {
        Methods::Read => "GET, HEAD, OPTIONS",
        Methods::Any => "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE",
    }
}

fn plain(status: u16, stamp: &Stamp<'_>, tell: Option<&str>) -> Response {
    let mut head = empty(status);
    let word = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("Error");
    let mut body = format!("{status} {word}\n");
    if let Some(reason) = tell {
        body.push_str(reason);
        body.push('\n');
    }
    // What a viewer sees of it is what he can quote.
    if status >= 400 {
        let _ = writeln!(body, "Request {}", stamp.request_id);
    }
    insert(
        &mut head,
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    insert(&mut head, CONTENT_LENGTH, HeaderValue::from(body.len()));
    insert(
        &mut head,
        CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    insert(
        &mut head,
        http::header::SERVER,
        HeaderValue::from_static("warren"),
    );
    match stamp.zone {
        Some(zone) => add_cors(&mut head, &zone.cors),
        // A browser's player that is told nothing sees status 0.
        None => add_cors(&mut head, &Cors::default()),
    }
    if let Some(zone) = stamp.zone {
        insert(&mut head, CDN_PULL_ZONE, HeaderValue::from(zone.id));
    }
    headers::stamp(&mut head, status, stamp);
    Response { head, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::refused::BadHead;
    use crate::path::BadPath;
    use crate::token::Refusal;
    use crate::zone::AccessRefusal;

    fn every_refusal() -> Vec<Refused> {
        let mut all = vec![
            Refused::UnknownHost,
            Refused::BadHost,
            Refused::TargetTooLong,
            Refused::Method,
            Refused::Loop,
            Refused::Access(AccessRefusal::IpBlocked),
            Refused::Access(AccessRefusal::ReferrerBlocked),
            Refused::Token(Refusal::BadPath(BadPath::NotUtf8)),
            Refused::Token(Refusal::Expired),
            Refused::TooManyRiders,
            Refused::TooManyHeld,
            Refused::TooManyPasses,
            Refused::TooManyPulls,
            Refused::TooManyStreams,
            Refused::TooManyStreamsPerIp,
            Refused::OnlyIfCached,
            Refused::TakenDown,
            Refused::NotAnObject,
            Refused::NotHttps,
        ];
        all.extend(BadHead::ALL.map(Refused::Head));
        all
    }

    /// Whether an answer says that it may be asked for again.
    fn asks_later(response: &Response) -> bool {
        response.head.headers.contains_key(RETRY_AFTER)
    }

    #[test]
    fn what_time_mends_is_503_and_says_when() {
        let visitor = Visitor::of_nobody([192, 0, 2, 1].into());
        for refusal in every_refusal() {
            let response = refused(refusal, &visitor, "");
            let is_503 = response.head.status.as_u16() == 503;
            assert_eq!(is_503, refusal.heals(), "{refusal:?}");
            assert_eq!(is_503, asks_later(&response), "{refusal:?}");
        }
        for failure in Failure::ALL {
            let response = failed(failure, &Stamp::bare(&visitor, ""));
            let status = response.head.status.as_u16();
            assert!(status >= 500, "{failure:?}: {status}");
            assert_eq!(status == 503, failure.heals(), "{failure:?}");
            assert_eq!(status == 503, asks_later(&response), "{failure:?}");
        }
        let healing = every_refusal().into_iter().filter(|it| it.heals());
        let names: Vec<_> = healing.map(Refused::name).collect();
        let limits = ["max_riders", "max_held_per_ip", "max_passes_per_ip"];
        let others = [
            "max_pulls_per_ip",
            "max_streams",
            "max_streams_per_ip",
            "max_heads",
        ];
        assert_eq!(names, [&limits[..], &others[..]].concat());
    }
}
