//! The control routes, for a demo that runs in another process. They are not recorded, held or
//! broken.
//!
//! `PUT /_dev/faults` adds a [`FaultRule`], `DELETE /_dev/faults` clears all; `GET /_dev/requests`
//! lists what was seen, `DELETE /_dev/requests` forgets it.

use super::answer::Answer;
use super::fault::FaultRule;
use super::record::SeenRequest;
use super::state::OriginState;

/// The answer of a control route; `None` for every other path, and when control is off.
pub(super) fn answer(state: &OriginState, request: &SeenRequest) -> Option<Answer> {
    let route = request
        .path()
        .strip_prefix("/_dev/")
        .filter(|_| state.options().control)?;
    Some(match (request.method.as_str(), route) {
        ("PUT", "faults") => add_fault(state, &request.body),
        ("DELETE", "faults") => {
            state.clear_faults();
            Answer::new(204, "".into())
        }
        ("GET", "requests") => list_requests(state),
        ("DELETE", "requests") => {
            state.clear();
            Answer::new(204, "".into())
        }
        (_, "faults" | "requests") => text(405, "this route does not know the method"),
        _ => text(404, "the routes are /_dev/faults and /_dev/requests"),
    })
}

fn add_fault(state: &OriginState, body: &[u8]) -> Answer {
    match serde_json::from_slice::<FaultRule>(body) {
        Ok(rule) => {
            state.add_fault(rule);
            Answer::new(204, "".into())
        }
        Err(error) => text(400, &error.to_string()),
    }
}

fn list_requests(state: &OriginState) -> Answer {
    match serde_json::to_vec(&state.requests()) {
        Ok(json) => {
            let mut answer = Answer::new(200, json.into());
            answer.add("Content-Type", "application/json");
            answer
        }
        Err(error) => text(500, &error.to_string()),
    }
}

fn text(status: u16, message: &str) -> Answer {
    let mut answer = Answer::new(status, format!("{message}\n").into());
    answer.add("Content-Type", "text/plain");
    answer
}
