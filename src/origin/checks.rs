//! Health checks: each endpoint is asked now and then, so that no viewer has to
//! find out that one is back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::failure::Trouble;
use super::request::health_check;
use super::{Failure, Method, Origin};

/// A check's whole time; who answers more slowly is no help to a viewer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks the endpoints of an origin for as long as somebody uses it.
pub fn watch(origin: &Arc<Origin>) {
    let health = &origin.settings().health;
    if !health.is_on() {
        return;
    }
    let every = health.interval;
    let origin = Arc::downgrade(origin);
    tokio::spawn(async move {
        loop {
            sleep(every).await;
            let Some(origin) = origin.upgrade() else {
                return;
            };
            join_all((0..origin.endpoints.len()).map(|index| check(&origin, index))).await;
        }
    });
}

async fn check(origin: &Arc<Origin>, index: usize) {
    let asked = timeout(CHECK_TIMEOUT, ask(origin, index)).await;
    match asked.unwrap_or(Err(Failure::FirstByteTimeout.into())) {
        // Of one that is up requests tell more than a page that says so.
        Ok(()) if origin.endpoints.is_up(index) => {}
        Ok(()) => origin.endpoints.answered(index),
        Err(trouble) => origin.fail(index, None, trouble.failure),
    }
}

async fn ask(origin: &Arc<Origin>, index: usize) -> Result<(), Trouble> {
    let (settings, clock) = (origin.settings(), &origin.clock);
    let wait = settings.deadlines.connect;
    let target = origin.endpoints.target(index, false, wait, clock).await?;
    let wire = health_check(settings, target.endpoint);
    let asked = origin.ask(&target, &wire, Method::Get, CHECK_TIMEOUT, true, None);
    let mut exchange = asked.await?;
    let alive = settings.health.is_alive(exchange.head.status);
    exchange.drain().await;
    alive.then_some(()).ok_or(Failure::ServerError.into())
}
