//! Figures as they come: server-sent events for whoever keeps the page open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};

use super::Admin;
use super::answer::{Style, Wrong};
use super::history::Sample;
use super::settings::Rights;
use super::stats::figures;

/// Streams at a time.
pub const MAX_STREAMS: usize = 16;
const STATS_EVERY: Duration = Duration::from_secs(10);

/// One listener.
struct Listener {
    admin: Arc<Admin>,
    headers: HeaderMap,
    samples: Receiver<Arc<Sample>>,
    /// Ticks at once, and then in turn.
    stats: Interval,
    _place: OwnedSemaphorePermit,
}

pub async fn events(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    match listen(&admin, &headers) {
        Ok(listener) => {
            let events = stream::unfold(listener, |mut listener| async {
                let event = listener.next().await?;
                Some((Ok::<_, Infallible>(event), listener))
            });
            Sse::new(events)
                .keep_alive(KeepAlive::default())
                .into_response()
        }
        Err(wrong) => wrong.answer(Style::Ours),
    }
}

fn listen(admin: &Arc<Admin>, headers: &HeaderMap) -> Result<Listener, Wrong> {
    let place = Arc::clone(&admin.streams).try_acquire_owned();
    let full = |_| {
        let message = format!("{MAX_STREAMS} streams are open already: close one");
        Wrong::new("too_many_streams", "", message).with_status(StatusCode::SERVICE_UNAVAILABLE)
    };
    let mut stats = tokio::time::interval(STATS_EVERY);
    stats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(Listener {
        samples: admin.history.listen(),
        stats,
        _place: place.map_err(full)?,
        admin: Arc::clone(admin),
        headers: headers.clone(),
    })
}

impl Listener {
    /// `None` where the node ends, or the key is none any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                _ = self.stats.tick() => {
                    // The key may be gone meanwhile.
                    if !self.admin.still_opens(&self.headers, Rights::Read) {
                        return None;
                    }
                    return event("stats", &figures(&self.admin).await);
                }
                sample = self.samples.recv() => match sample {
                    Ok(sample) => return event("sample", &*sample),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
