//! What is otherwise told by a signal, with an answer: read the configuration
//! again, open the logs anew, hand over to a new process.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Admin;
use super::answer::{Wrong, answer};
use super::door::Who;

/// Longer than a new process may take to begin.
const PATIENCE: Duration = Duration::from_secs(70);
/// Orders that wait.
pub const MAX_WAITING: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Reload,
    Reopen,
    Upgrade,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            What::Reload => "reload",
            What::Reopen => "reopen",
            What::Upgrade => "upgrade",
        }
    }
}

/// An order, and where its answer goes: facts, or why it was not done.
pub struct Order {
    pub what: What,
    pub answer: oneshot::Sender<Result<Value, String>>,
}

pub async fn reload(state: State<Arc<Admin>>, who: Extension<Who>) -> Response {
    answer(give(&state.0, &who.0.0, What::Reload).await)
}

pub async fn reopen(state: State<Arc<Admin>>, who: Extension<Who>) -> Response {
    answer(give(&state.0, &who.0.0, What::Reopen).await)
}

pub async fn upgrade(state: State<Arc<Admin>>, who: Extension<Who>) -> Response {
    answer(give(&state.0, &who.0.0, What::Upgrade).await)
}

async fn give(admin: &Admin, who: &str, what: What) -> Result<Value, Wrong> {
    let (answer, answered) = oneshot::channel();
    let order = Order { what, answer };
    let given = admin.orders.try_send(order).map_err(|_| busy());
    given?;
    let done = timeout(PATIENCE, answered).await;
    let done = done.map_err(|_| busy())?.map_err(|_| busy())?;
    let more = json!({ "done": done.is_ok() });
    admin.audit.write(who, what.name(), 0, &[], &more);
    done.map_err(|why| Wrong::new("not_done", "", why).with_status(StatusCode::CONFLICT))
}

fn busy() -> Wrong {
    let message = "the node is busy with another order, or stops: ask again";
    Wrong::new("busy", "", message).with_status(StatusCode::SERVICE_UNAVAILABLE)
}

impl Admin {
    /// Where orders come out; once.
    pub fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
        mpsc::channel(MAX_WAITING)
    }
}
