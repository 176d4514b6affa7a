//! Answers of the admin API: JSON, and errors in the two shapes that clients
//! know.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::access::Denied;
use crate::token::carrier::redact;

/// What a call may bring: ten thousand URLs of 400 bytes.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Of the reason for a takedown or revocation, which each item keeps.
const MAX_REASON_BYTES: usize = 1000;

/// The farthest time: a token's has ten digits, too. In milliseconds it has 13.
const FARTHEST: u64 = 9_999_999_999;

/// Whose clients are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `application/problem+json` (RFC 9457).
    Ours,
    /// `{"ErrorKey", "Field", "Message"}`.
    Vendor,
}

impl Style {
    /// Of a call to this path.
    pub fn of(path: &str) -> Self {
        match path == "/purge" || path.starts_with("/pullzone/") {
            true => Self::Vendor,
            false => Self::Ours,
        }
    }
}

/// What is wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub status: StatusCode,
    /// The name: in the answer and in the audit log.
    pub name: &'static str,
    /// The field of the call that is at fault.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Seconds.
    pub retry_after: Option<u64>,
}

impl Wrong {
    /// A message that quotes the call does so without its tokens.
    pub fn new(name: &'static str, field: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            name,
            field,
            message: redact(&message.into()).into_owned(),
            retry_after: None,
        }
    }

    pub fn too_many(items: usize, most: usize) -> Self {
        let message = format!("{items} items; at most {most} in one call");
        Self::new("too_many_items", "urls", message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// A body that could not be taken, with the status that axum gives it.
    pub fn bad_body(status: StatusCode, why: String) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("at most {MAX_BODY_BYTES} bytes: make several calls");
                Self::new("body_too_large", "body", message).with_status(status)
            }
            _ => Self::new("bad_json", "body", why),
        }
    }

    pub fn bad_query(error: &QueryRejection) -> Self {
        Self::new("bad_query", "query", error.body_text())
    }

    /// Whether a reason is one, and short enough to be kept with each item.
    pub fn check_reason(reason: &str) -> Result<(), Self> {
        if reason.trim().is_empty() {
            let message = "say why: the list and the audit log keep it";
            return Err(Self::new("no_reason", "reason", message));
        }
        if reason.len() > MAX_REASON_BYTES {
            let message = format!("a reason has at most {MAX_REASON_BYTES} bytes");
            let wrong = Self::new("body_too_large", "reason", message);
            return Err(wrong.with_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Ok(())
    }

    /// Whether a time that something is to last until is still to come, and in
    /// seconds; both in Unix seconds.
    pub fn check_time(time: Option<u64>, now: u64, field: &'static str) -> Result<(), Self> {
        let Some(time) = time else {
            return Ok(());
        };
        if time <= now {
            let wrong = "is over: nothing would be changed by this";
            return Err(Self::bad_time(time, wrong, now, field));
        }
        Self::check_unit(time, now, field)
    }

    /// Whether a time is in seconds.
    pub fn check_unit(time: u64, now: u64, field: &'static str) -> Result<(), Self> {
        if time <= FARTHEST {
            return Ok(());
        }
        let wrong = "has more than ten digits: is it in milliseconds?";
        Err(Self::bad_time(time, wrong, now, field))
    }

    fn bad_time(time: u64, wrong: &str, now: u64, field: &'static str) -> Self {
        let message = format!("{time} {wrong}; it is {now} now, in Unix seconds");
        Self::new("bad_time", field, message)
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub fn answer(&self, style: Style) -> Response {
        let (kind, body) = match style {
            Style::Ours => (
                "application/problem+json",
                json!({
                    "type": format!("about:blank#{}", self.name),
                    "title": self.name,
                    "status": self.status.as_u16(),
                    "detail": self.message,
                    "field": self.field,
                }),
            ),
            Style::Vendor => (
                "application/json",
                json!({ "ErrorKey": self.name, "Field": self.field, "Message": self.message }),
            ),
        };
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        insert(headers, header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after {
            insert(headers, header::RETRY_AFTER, &seconds.to_string());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            insert(headers, header::WWW_AUTHENTICATE, "Bearer");
        }
        response
    }
}

impl From<Denied> for Wrong {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => Self::new(
                "unauthorized",
                "AccessKey",
                "send one of the keys under [admin] access_keys in the header AccessKey (of a command: WARREN_ACCESS_KEY or --key-file)",
            )
            .with_status(StatusCode::UNAUTHORIZED),
            Denied::Rights => Self::new(
                "forbidden",
                "AccessKey",
                "this key's rights do not go so far: see [admin] access_keys",
            )
            .with_status(StatusCode::FORBIDDEN),
            Denied::Rate(seconds) => Self {
                retry_after: Some(seconds),
                ..Self::new("rate_limited", "", "too many calls: wait and try again")
                    .with_status(StatusCode::TOO_MANY_REQUESTS)
            },
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

/// A call's body, or why it is none.
pub type Body<T> = Result<Json<T>, JsonRejection>;

pub fn read<T>(body: Body<T>) -> Result<T, Wrong> {
    let Json(call) = body.map_err(|error| Wrong::bad_body(error.status(), error.body_text()))?;
    Ok(call)
}

/// The answer to a call of ours.
pub fn answer(done: Result<impl Serialize, Wrong>) -> Response {
    done.map_or_else(|wrong| wrong.answer(Style::Ours), |done| ok(&done))
}

/// A value as JSON.
fn ok(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot render an answer");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_to_come_and_in_seconds() {
        let now = 1_795_000_000;
        let table = [
            ("none", None, true),
            ("a second", Some(now + 1), true),
            ("the farthest", Some(9_999_999_999), true),
            ("beyond it", Some(10_000_000_000), false),
            ("now", Some(now), false),
            ("a second ago", Some(now - 1), false),
            ("the beginning", Some(0), false),
            ("milliseconds", Some((now + 60) * 1_000), false),
            ("the end of numbers", Some(u64::MAX), false),
        ];
        for (name, time, fine) in table {
            let checked = Wrong::check_time(time, now, "until");
            assert_eq!(checked.is_ok(), fine, "{name}");
            assert!(
                checked
                    .err()
                    .is_none_or(|it| it.name == "bad_time" && it.field == "until")
            );
        }
    }
}
