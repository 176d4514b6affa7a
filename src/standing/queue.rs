//! Bytes that were handed to a connection of HTTP/2 and that its viewer has not
//! taken: the requests that they answer may be over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::choose::{Pinned, moves};
use super::{Holder, Needed, Signal, Standing, Taken};
use crate::clock::timer_now;

/// What waits in one connection, until it is dropped.
pub struct Queue {
    standing: Arc<Standing>,
    id: u64,
    line: Arc<Line>,
}

/// The same, as others see it.
pub(super) struct Line {
    holder: Holder,
    taken: Option<Taken>,
    waiting: Mutex<Waiting>,
    pub(super) signal: Signal,
}

struct Waiting {
    bytes: usize,
    /// When the last of it left, or the first of it came.
    since: Instant,
    /// What the connection had taken then.
    taken: u64,
}

impl Queue {
    pub(super) fn new(
        standing: Arc<Standing>,
        id: u64,
        holder: Holder,
        taken: Option<Taken>,
    ) -> (Self, Arc<Line>) {
        let since = timer_now().into_std();
        let line = Arc::new(Line {
            holder,
            taken,
            waiting: Mutex::new(Waiting {
                bytes: 0,
                since,
                taken: 0,
            }),
            signal: Signal::default(),
        });
        let queue = Self {
            standing,
            id,
            line: Arc::clone(&line),
        };
        (queue, line)
    }

    /// The same bytes, known here until the connection has sent them.
    pub fn keep(&self, bytes: Bytes) -> Bytes {
        let mut waiting = self.line.waiting();
        if waiting.bytes == 0 {
            waiting.since = timer_now().into_std();
            waiting.taken = self.line.taken();
        }
        waiting.bytes += bytes.len();
        drop(waiting);
        let line = Arc::clone(&self.line);
        Bytes::from_owner(Kept { bytes, line })
    }

    /// Resolves where the connection is ended for something that others need.
    pub async fn ended(&self) -> Needed {
        self.line.signal.ended().await
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.standing.waits().queues.remove(&self.id);
    }
}

impl Line {
    /// What is queued of a connection that takes nothing. Whether it is of
    /// bodies that are stored no more is not known.
    pub(super) fn pinned(&self, id: u64, now: Instant) -> Option<Pinned> {
        let waiting = self.waiting();
        let taken = self.taken().saturating_sub(waiting.taken);
        let stood = now.saturating_duration_since(waiting.since);
        (waiting.bytes > 0 && !moves(taken, 1, stood)).then_some(Pinned {
            id,
            holder: self.holder,
            since: waiting.since,
            bytes: waiting.bytes,
        })
    }

    fn taken(&self) -> u64 {
        self.taken.as_ref().map_or(0, |taken| (taken.read)())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Kept {
    bytes: Bytes,
    line: Arc<Line>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut waiting = self.line.waiting();
        waiting.bytes -= self.bytes.len();
        waiting.since = timer_now().into_std();
    }
}

#[cfg(test)]
mod tests {
    use super::super::STILL;
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_connection_that_takes_nothing_is_ended_and_one_that_does_is_not() {
        let standing = Arc::<Standing>::default();
        let queue = standing.queue(([127, 0, 0, 1], 1).into(), None);
        let kept = [
            queue.keep(Bytes::from_static(b"12345")),
            queue.keep(Bytes::new()),
        ];
        assert_eq!(&kept[0][..], b"12345");
        let since = queue.line.waiting().since;
        assert!(!standing.relieve(1, 160, since), "it may be under way");
        assert!(standing.relieve(1, 160, since + STILL));
        assert_eq!(queue.ended().now_or_never(), Some(Needed::Memory));
        drop(kept);
        assert_eq!(queue.line.waiting().bytes, 0);
        drop(queue);
        assert!(standing.waits().queues.is_empty());
    }
}
