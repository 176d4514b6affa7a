//! Interim answers (1xx, RFC 9110 §15.2), on their way to those who wait for
//! the final one.

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::watch;

/// Those of one request that are kept.
const MOST: usize = 8;

/// The head of one.
#[derive(Debug)]
pub struct Interim {
    pub status: u16,
    pub headers: HeaderMap,
}

/// Those of one request, in the order they came.
#[derive(Debug, Clone)]
pub struct Interims(Arc<watch::Sender<Vec<Arc<Interim>>>>);

impl Default for Interims {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Vec::new()).0))
    }
}

impl Interims {
    pub(super) fn tell(&self, head: Interim) {
        self.0.send_if_modified(|heads| {
            let room = heads.len() < MOST;
            if room {
                heads.push(Arc::new(head));
            }
            room
        });
    }

    /// Hears all of them, those that have come already too.
    pub fn listen(&self) -> Listener {
        Listener {
            heads: self.0.subscribe(),
            heard: 0,
        }
    }
}

/// Somebody who waits for the final answer.
pub struct Listener {
    heads: watch::Receiver<Vec<Arc<Interim>>>,
    heard: usize,
}

impl Listener {
    /// Waits for the next one; where none comes any more, for ever.
    pub async fn next(&mut self) -> Arc<Interim> {
        loop {
            if let Some(head) = self.take() {
                return head;
            }
            if self.heads.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next one, where it has come.
    pub fn take(&mut self) -> Option<Arc<Interim>> {
        let head = self.heads.borrow_and_update().get(self.heard).cloned()?;
        self.heard += 1;
        Some(head)
    }
}
