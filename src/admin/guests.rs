//! Connections to the admin listener: so many at a time, and none that keeps
//! others out before it has shown a key.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

use crate::clock::Clock;

/// Those who are connected.
pub struct Guests {
    clock: Clock,
    most: usize,
    open: Mutex<HashMap<u64, Standing>>,
    /// One more for each, so that none has another's.
    next: AtomicU64,
    /// Who was sent away, or not let in.
    refused: AtomicU64,
}

/// How a connection stands.
struct Standing {
    /// Since when it waits for a head, or for the end of an answer.
    since: Instant,
    busy: bool,
    /// What it asks at the moment, it asks with a key.
    known: bool,
    leave: Arc<Notify>,
}

impl Guests {
    pub fn new(most: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            most,
            open: Mutex::default(),
            next: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Connections that had to go for others, or were not taken.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// A place. Where all are taken, it is that of who has waited there longest
    /// without a request; then of who takes an answer longest. `None`: all of
    /// them have shown a key.
    pub fn enter(self: &Arc<Self>) -> Option<Arc<Guest>> {
        let mut open = self.open();
        if open.len() >= self.most {
            self.refused.fetch_add(1, Relaxed);
            let strangers = open.iter().filter(|(_, it)| !it.known);
            let longest = strangers.min_by_key(|(_, it)| (it.busy, it.since));
            let longest = longest.map(|(id, _)| *id)?;
            if let Some(gone) = open.remove(&longest) {
                gone.leave.notify_one();
            }
        }
        let (id, leave) = (self.next.fetch_add(1, Relaxed), Arc::new(Notify::new()));
        let standing = Standing {
            since: self.clock.monotonic(),
            busy: false,
            known: false,
            leave: Arc::clone(&leave),
        };
        open.insert(id, standing);
        drop(open);
        let guests = Arc::clone(self);
        Some(Arc::new(Guest { guests, id, leave }))
    }

    /// Requests that are being answered.
    pub fn busy(&self) -> usize {
        self.open().values().filter(|it| it.busy).count()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Standing>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back on drop.
pub struct Guest {
    guests: Arc<Guests>,
    id: u64,
    leave: Arc<Notify>,
}

impl Guest {
    /// Ends where the place is another's.
    pub async fn sent_away(&self) {
        self.leave.notified().await;
    }

    /// A request has come, and is answered for as long as this lives.
    pub fn attend(self: &Arc<Self>) -> Attending {
        self.stand(true, false);
        Attending(Arc::clone(self))
    }

    /// The request has shown a key.
    pub fn is_known(&self) {
        self.stand(true, true);
    }

    fn stand(&self, busy: bool, known: bool) {
        if let Some(standing) = self.guests.open().get_mut(&self.id) {
            let since = self.guests.clock.monotonic();
            (standing.since, standing.busy, standing.known) = (since, busy, known);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.open().remove(&self.id);
    }
}

/// A request that is being answered.
pub struct Attending(Arc<Guest>);

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.stand(false, false);
    }
}

/// An answer's body, to the end of which the request is being answered.
pub struct Attended {
    body: Body,
    _attending: Attending,
}

impl Attended {
    pub fn new(body: Body, attending: Attending) -> Self {
        Self {
            body,
            _attending: attending,
        }
    }
}

impl hyper::body::Body for Attended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn is_in(guests: &Guests, guest: &Guest) -> bool {
        guests.open().contains_key(&guest.id)
    }

    #[test]
    fn who_waits_longest_without_a_key_makes_room_and_who_has_one_does_not() {
        let clock = Clock::default();
        let guests = Guests::new(3, clock.clone());
        let enter = || {
            clock.advance(Duration::from_secs(1));
            guests.enter()
        };
        let place = || enter().expect("a place");
        let (known, answered, idle) = (place(), place(), place());
        let (_busy, taking) = (known.attend(), answered.attend());
        known.is_known();
        let fourth = place();
        assert!(
            !is_in(&guests, &idle) && is_in(&guests, &answered),
            "idle first"
        );
        let fourth_taking = fourth.attend();
        let fifth = place();
        assert!(
            !is_in(&guests, &answered),
            "then who takes an answer longest"
        );
        fifth.is_known();
        fourth.is_known();
        assert!(enter().is_none(), "all have shown a key");
        assert_eq!(guests.refused(), 3);
        // Its answer has ended: it is a stranger again.
        drop(fourth_taking);
        let sixth = place();
        assert!(!is_in(&guests, &fourth) && is_in(&guests, &known));
        drop((taking, sixth, fourth, idle));
        assert_eq!(guests.open().len(), 2, "places come back, each once");
    }
}
