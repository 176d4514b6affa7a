//! What every call goes through before anything is done for it: the name that
//! it calls this listener by, its key, and its body, in this order.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::Admin;
use super::answer::{MAX_BODY_BYTES, Style, Wrong};
use super::guests::{Attended, Guest};
use super::settings::Rights;

/// From a call's head to the end of its body: 4 MiB at 3.4 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The name of the key that a call was let in with.
#[derive(Debug, Clone)]
pub struct Who(pub String);

/// Who calls: the socket's other end, and its place among the connections.
#[derive(Clone)]
pub struct Caller {
    pub address: IpAddr,
    pub guest: Arc<Guest>,
}

/// Tells each request who calls, and holds the place to the answer's end.
pub async fn attend(State(caller): State<Caller>, mut request: Request, next: Next) -> Response {
    let attending = caller.guest.attend();
    request.extensions_mut().insert(caller);
    let answer = next.run(request).await;
    answer.map(|body| Body::new(Attended::new(body, attending)))
}

/// Turns away who calls a listener of this machine by another name.
pub async fn named(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let doors = admin.doors.load();
    let known = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|it| doors.hosts.know(it));
    let mut lines = request.headers().get_all(header::HOST).iter();
    let target = request.uri().authority();
    // Without a name it is no browser: those always say one.
    let all = lines.all(|line| known(line.as_bytes()))
        && target.is_none_or(|it| known(it.as_str().as_bytes()));
    match all {
        true => next.run(request).await,
        false => {
            let message = "this listener has no such name: see [admin] hosts";
            let wrong = Wrong::new("unknown_name", "Host", message);
            let style = Style::of(request.uri().path());
            wrong
                .with_status(StatusCode::MISDIRECTED_REQUEST)
                .answer(style)
        }
    }
}

/// Lets a call in by its key, and only then reads its body.
pub async fn keyed(
    State((admin, least)): State<(Arc<Admin>, Rights)>,
    request: Request,
    next: Next,
) -> Response {
    let style = Style::of(request.uri().path());
    match enter(&admin, least, request).await {
        Ok(request) => next.run(request).await,
        Err(wrong) => wrong.answer(style),
    }
}

async fn enter(admin: &Admin, least: Rights, request: Request) -> Result<Request, Wrong> {
    let (mut head, body) = request.into_parts();
    let caller = head.extensions.get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Wrong::new("unauthorized", "", "no caller is known"))?;
    let (who, rights) = admin.enter(&head.headers, caller.address, least)?;
    caller.guest.is_known();
    head.extensions.insert(Who(who));
    head.extensions.insert(rights);
    let bytes = match timeout(BODY_TIMEOUT, read(body)).await {
        Ok(read) => read?,
        Err(_) => {
            let message = format!("the body did not come within {BODY_TIMEOUT:?}");
            let wrong = Wrong::new("body_too_slow", "body", message);
            return Err(wrong.with_status(StatusCode::REQUEST_TIMEOUT));
        }
    };
    Ok(Request::from_parts(head, Body::from(bytes)))
}

/// A whole body. One that says that it is too large is not begun.
async fn read(body: Body) -> Result<Bytes, Wrong> {
    let too_large = || Wrong::bad_body(StatusCode::PAYLOAD_TOO_LARGE, String::new());
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| {
        let limit = error.source().is_some_and(|it| it.is::<LengthLimitError>());
        match limit {
            true => too_large(),
            false => Wrong::bad_body(StatusCode::BAD_REQUEST, error.to_string()),
        }
    })
}
