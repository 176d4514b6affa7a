//! The memory budget: every byte of a stored object and of a pull in flight is
//! taken from it, so nothing that lags (eviction, a slow reader) can exceed it.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::chunk::{Block, ChunkWriter};

/// One size class for all large bodies: an exact budget, no fragmentation, and
/// a piece is one write of at most 256 KiB to a viewer.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Blocks of their own size are no larger; the next larger one is a chunk,
/// which is used again, where blocks of every size leave holes that no other
/// fits: 2 GiB of mixed sizes through 64 MiB peaked at 143 MiB resident.
pub const LARGEST_EXACT: usize = CHUNK_BYTES / 2;

/// A share of the machine's memory, counted in bytes.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    limit: usize,
    used: AtomicUsize,
    /// Chunks that nobody reads any more. They still count as used.
    free: Mutex<Vec<Cells>>,
}

type Cells = Box<[UnsafeCell<u8>]>;

impl Budget {
    pub fn new(limit: usize) -> Self {
        let free = Mutex::new(Vec::new());
        Self(Arc::new(Inner {
            limit,
            used: AtomicUsize::new(0),
            free,
        }))
    }

    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes taken, recycled chunks that wait for use included.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// Takes bytes that are held elsewhere (heads, keys). `None`: over budget.
    pub fn take(&self, bytes: usize) -> Option<Permit> {
        self.0.reserve(bytes).then(|| Permit {
            bytes,
            budget: Arc::downgrade(&self.0),
        })
    }

    /// A recycled or new chunk of [`CHUNK_BYTES`].
    pub fn chunk(&self) -> Option<ChunkWriter> {
        let lease = Lease {
            budget: Arc::downgrade(&self.0),
            bytes: CHUNK_BYTES,
        };
        if let Some(cells) = self.0.free_list().pop() {
            return Some(ChunkWriter::new(Block::recycled(cells, lease)));
        }
        self.0
            .reserve(CHUNK_BYTES)
            .then(|| ChunkWriter::new(Block::new(CHUNK_BYTES, lease)))
    }

    /// A block of just `bytes`, or a chunk: for small objects and for the end of
    /// large ones.
    pub fn exact(&self, bytes: usize) -> Option<ChunkWriter> {
        if bytes > LARGEST_EXACT {
            return self.chunk();
        }
        let lease = Lease {
            budget: Arc::downgrade(&self.0),
            bytes,
        };
        self.0
            .reserve(bytes)
            .then(|| ChunkWriter::new(Block::new(bytes, lease)))
    }
}

impl Inner {
    fn reserve(&self, bytes: usize) -> bool {
        loop {
            let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
            if self.used.fetch_update(Relaxed, Relaxed, fits).is_ok() {
                return true;
            }
            // An idle chunk is the cheapest thing to give up.
            let Some(idle) = self.free_list().pop() else {
                return false;
            };
            self.used.fetch_sub(idle.len(), Relaxed);
        }
    }

    fn free_list(&self) -> std::sync::MutexGuard<'_, Vec<Cells>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the budget, given back on drop.
pub struct Permit {
    bytes: usize,
    budget: Weak<Inner>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.upgrade() {
            budget.used.fetch_sub(self.bytes, Relaxed);
        }
    }
}

/// A block's claim on the budget.
pub(super) struct Lease {
    budget: Weak<Inner>,
    bytes: usize,
}

impl Lease {
    pub(super) fn give_back(&self, cells: Cells) {
        let Some(budget) = self.budget.upgrade() else {
            return;
        };
        if cells.len() == CHUNK_BYTES {
            budget.free_list().push(cells);
        } else {
            budget.used.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_recycled_when_its_last_reader_is_gone() {
        let budget = Budget::new(CHUNK_BYTES);
        let mut writer = budget.chunk().expect("the budget holds one");
        assert!(budget.chunk().is_none(), "the budget holds no second");
        writer.spare()[..3].copy_from_slice(b"abc");
        writer.advance(3);
        let early = writer.written();
        writer.spare()[..2].copy_from_slice(b"de");
        writer.advance(2);
        let late = writer.written();
        drop(writer);
        assert_eq!((&early[..], &late[..]), (&b"abc"[..], &b"abcde"[..]));
        drop(early);
        assert!(budget.chunk().is_none(), "a reader is left");
        drop(late);
        assert!(budget.chunk().is_some());
        assert_eq!(budget.used(), CHUNK_BYTES);
    }

    #[test]
    fn idle_chunks_make_room_for_small_objects() {
        let budget = Budget::new(CHUNK_BYTES + 10);
        drop(budget.chunk());
        assert_eq!(
            budget.used(),
            CHUNK_BYTES,
            "an idle chunk is resident and counts"
        );
        let small = budget.exact(100).expect("the idle chunk gives way");
        assert_eq!(budget.used(), 100);
        drop(small);
        let permit = budget.take(CHUNK_BYTES + 10).expect("all of it");
        assert!(budget.take(1).is_none());
        drop(permit);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn threads_fill_and_read_chunks_without_losing_a_byte_of_budget() {
        let budget = Budget::new(8 * CHUNK_BYTES);
        std::thread::scope(|scope| {
            for seed in 0..4u8 {
                let budget = budget.clone();
                scope.spawn(move || {
                    for round in 0..200u8 {
                        let Some(mut writer) = budget.chunk() else {
                            continue;
                        };
                        let value = seed.wrapping_mul(31).wrapping_add(round);
                        let mut read = Vec::new();
                        while !writer.is_full() {
                            let part = writer.spare().len().min(100_000);
                            writer.spare()[..part].fill(value);
                            writer.advance(part);
                            read.push(writer.written());
                        }
                        drop(writer);
                        assert!(
                            read.iter()
                                .all(|part| part.iter().all(|byte| *byte == value))
                        );
                    }
                });
            }
        });
        assert!(budget.used() <= 4 * CHUNK_BYTES);
    }
}
