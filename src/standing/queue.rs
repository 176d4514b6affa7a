//! Bytes that were handed to a connection of HTTP/2 and that its viewer has not
//! taken: the requests that they answer may be over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::choose::Pinned;
use super::progress::Progress;
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
    waiting: Mutex<Waiting>,
    pub(super) signal: Signal,
}

struct Waiting {
    bytes: usize,
    /// Since the last of it left, or the first of it came.
    progress: Progress,
}

impl Waiting {
    fn begin_anew(&mut self) {
        self.progress.begin_anew(timer_now().into_std());
    }
}

impl Queue {
    pub(super) fn new(
        standing: Arc<Standing>,
        id: u64,
        holder: Holder,
        taken: Option<Taken>,
    ) -> (Self, Arc<Line>) {
        let progress = Progress::new(taken, timer_now().into_std());
        let line = Arc::new(Line {
            holder,
            waiting: Mutex::new(Waiting { bytes: 0, progress }),
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
            waiting.begin_anew();
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
    /// What is queued of a connection. Whether it is of
    /// bodies that are stored no more is not known.
    pub(super) fn pinned(&self, id: u64, now: Instant) -> Option<Pinned> {
        let mut waiting = self.waiting();
        let moves = waiting.bytes > 0 && waiting.progress.moves(1, now);
        (waiting.bytes > 0).then(|| Pinned {
            id,
            holder: self.holder,
            since: waiting.progress.since(),
            moves,
            bytes: waiting.bytes,
        })
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
        // Of what is empty nobody asks: what comes next begins anew.
        if waiting.bytes > 0 {
            waiting.begin_anew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::STILL;
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[tokio::test]
    async fn a_connection_that_takes_nothing_is_ended_and_one_that_does_is_not() {
        let standing = Arc::<Standing>::default();
        let queue = standing.queue(([127, 0, 0, 1], 1).into(), None);
        let kept = [
            queue.keep(Bytes::from_static(b"12345")),
            queue.keep(Bytes::new()),
        ];
        assert_eq!(&kept[0][..], b"12345");
        let since = queue.line.waiting().progress.since();
        assert!(!standing.relieve(1, 160, since), "it may be under way");
        assert!(standing.relieve(1, 160, since + STILL));
        assert_eq!(queue.ended().now_or_never(), Some(Needed::Memory));
        drop(kept);
        assert_eq!(queue.line.waiting().bytes, 0);
        drop(queue);
        assert!(standing.waits().queues.is_empty());
    }

    #[tokio::test]
    async fn what_a_connection_took_before_does_not_excuse_that_it_stands_still_now() {
        static TAKEN: AtomicU64 = AtomicU64::new(0);
        let taken = Taken {
            socket: -1,
            read: |_| TAKEN.load(Relaxed),
        };
        let standing = Arc::<Standing>::default();
        let queue = standing.queue(([127, 0, 0, 1], 1).into(), Some(taken));
        let mut kept: Vec<Bytes> = [b"first", b"other"]
            .map(|bytes| queue.keep(Bytes::from_static(bytes)))
            .into();
        TAKEN.store(100 << 20, Relaxed);
        let came = queue.line.waiting().progress.since();
        assert!(!standing.relieve(1, 160, came + STILL), "it moved");
        kept.remove(0);
        let left = queue.line.waiting().progress.since();
        assert!(standing.relieve(1, 160, left + STILL));
        assert_eq!(queue.ended().now_or_never(), Some(Needed::Memory));
    }
}
