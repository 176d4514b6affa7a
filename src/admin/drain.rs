//! Draining: the node tells balancers that it is not for new viewers, and
//! serves those that it has.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Admin;
use super::answer::{Wrong, answer};
use super::door::Who;

/// 503 for as long as the node drains, and from the moment it stops.
pub async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.node.is_ready() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
    }
}

pub async fn begin(
    State(admin): State<Arc<Admin>>,
    Extension(Who(who)): Extension<Who>,
) -> Response {
    answer(set(&admin, &who, true))
}

pub async fn end(State(admin): State<Arc<Admin>>, Extension(Who(who)): Extension<Who>) -> Response {
    answer(set(&admin, &who, false))
}

fn set(admin: &Admin, who: &str, draining: bool) -> Result<Value, Wrong> {
    let node = &admin.node;
    if !node.drain(draining) {
        let message = "the node was told to stop, and does";
        return Err(Wrong::new("stopping", "", message).with_status(StatusCode::CONFLICT));
    }
    let what = if draining { "drain" } else { "undrain" };
    let connections = node.limits.connections();
    let more = json!({ "connections": connections });
    admin.audit.write(who, what, 0, &[], &more);
    Ok(json!({
        "draining": draining,
        "connections": connections,
        "requests_in_progress": node.active_requests(),
    }))
}
