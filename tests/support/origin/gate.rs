//! Gates: a test holds requests at an exact point and lets them go, without a sleep.

use std::sync::Arc;

use tokio::sync::watch;

/// Held requests, from the test's side. Dropping it releases them.
#[must_use = "a dropped gate is open"]
pub struct Gate {
    turnstile: Arc<Turnstile>,
}

impl Gate {
    pub(super) fn new(turnstile: Arc<Turnstile>) -> Self {
        Self { turnstile }
    }

    /// Waits until `count` requests have reached the gate, those whose peer has left again
    /// included.
    pub async fn arrived(&self, count: usize) {
        // Fails only without a sender, and the turnstile is one.
        let _ = self
            .turnstile
            .arrived
            .subscribe()
            .wait_for(|arrived| *arrived >= count)
            .await;
    }

    /// Requests that have reached the gate so far.
    pub fn arrivals(&self) -> usize {
        *self.turnstile.arrived.borrow()
    }

    /// Lets every request go on, those to come included.
    pub fn release(&self) {
        self.turnstile.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}

/// The same gate, from the server's side.
pub(super) struct Turnstile {
    path: String,
    after_bytes: Option<u64>,
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Turnstile {
    pub fn new(path: &str, after_bytes: Option<u64>) -> Self {
        Self {
            path: path.to_owned(),
            after_bytes,
            arrived: watch::Sender::new(0),
            open: watch::Sender::new(false),
        }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Body bytes to send before stopping; `None` stops before the head.
    pub fn after_bytes(&self) -> Option<u64> {
        self.after_bytes
    }

    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Counts the arrival and waits for the release.
    pub async fn pass(&self) {
        if self.is_open() {
            return;
        }
        self.arrived.send_modify(|arrived| *arrived += 1);
        // Fails only without a sender, and `self` is one.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}
