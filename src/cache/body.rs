//! A body as a short list of pieces: riders read each piece as it is
//! published, and nothing is joined at the end.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::budget::{Budget, CHUNK_BYTES, LARGEST_EXACT, Permit};
use super::chunk::ChunkWriter;

/// A complete body. All pieces but the last have [`CHUNK_BYTES`].
#[derive(Clone, Default)]
pub struct Body {
    pieces: Vec<Bytes>,
    len: u64,
    /// For bytes that are in no chunk: every copy holds it.
    _permit: Option<Arc<Permit>>,
}

impl Body {
    /// Bytes that are in no chunk, taken from the budget for as long as a copy
    /// of the body lives.
    pub fn counted(bytes: Bytes, budget: &Budget) -> Result<Self, OverBudget> {
        let permit = budget.take(bytes.len()).ok_or(OverBudget)?;
        Ok(Self::with_permit(bytes, permit))
    }

    /// The same, with a permit for as many.
    pub fn with_permit(bytes: Bytes, permit: Permit) -> Self {
        Self {
            _permit: Some(Arc::new(permit)),
            ..bytes.into()
        }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the budget that it takes: a last piece beyond
    /// [`LARGEST_EXACT`] has a whole chunk.
    pub fn footprint(&self) -> u64 {
        let chunk = CHUNK_BYTES as u64;
        let (chunks, tail) = (self.len / chunk, self.len % chunk);
        let tail = match tail > LARGEST_EXACT as u64 {
            true => chunk,
            false => tail,
        };
        chunks * chunk + tail
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of a range, piece by piece; a range beyond the end is cut.
    pub fn slices(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> + '_ {
        let mut at = range.start;
        let end = range.end.min(self.len);
        std::iter::from_fn(move || {
            let slice = slice_at(&self.pieces, at, end)?;
            at += slice.len() as u64;
            Some(slice)
        })
    }
}

impl From<Bytes> for Body {
    fn from(mut bytes: Bytes) -> Self {
        let (len, mut pieces) = (bytes.len() as u64, Vec::new());
        while !bytes.is_empty() {
            pieces.push(bytes.split_to(bytes.len().min(CHUNK_BYTES)));
        }
        Self {
            pieces,
            len,
            _permit: None,
        }
    }
}

/// The part of `pieces` from `at` to `end` that lies in one piece; `None` where
/// nothing is left.
pub fn slice_at(pieces: &[Bytes], at: u64, end: u64) -> Option<Bytes> {
    if at >= end {
        return None;
    }
    let index = usize::try_from(at / CHUNK_BYTES as u64).ok()?;
    let piece = pieces.get(index)?;
    let from = (at % CHUNK_BYTES as u64) as usize;
    let left = usize::try_from(end - at).unwrap_or(usize::MAX);
    let to = piece.len().min(from.saturating_add(left));
    (from < to).then(|| piece.slice(from..to))
}

/// The budget has no room for the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget;

/// Takes a body as it arrives.
pub struct BodyWriter {
    budget: Budget,
    /// Blocks taken ahead for a body of known length.
    ahead: VecDeque<ChunkWriter>,
    current: Option<ChunkWriter>,
    sealed: Vec<Bytes>,
    written: u64,
}

impl BodyWriter {
    /// Takes the whole length from the budget at once, so that a body of known
    /// length that was begun can always be finished.
    pub fn with_length(budget: &Budget, len: u64) -> Result<Self, OverBudget> {
        let mut writer = Self::without_length(budget);
        let chunks = len / CHUNK_BYTES as u64;
        if len > budget.limit() as u64 {
            return Err(OverBudget);
        }
        for _ in 0..chunks {
            writer.ahead.push_back(budget.chunk().ok_or(OverBudget)?);
        }
        let tail = (len % CHUNK_BYTES as u64) as usize;
        if tail > 0 {
            writer
                .ahead
                .push_back(budget.exact(tail).ok_or(OverBudget)?);
        }
        Ok(writer)
    }

    /// Takes chunk after chunk as the body grows.
    pub fn without_length(budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            ahead: VecDeque::new(),
            current: None,
            sealed: Vec::new(),
            written: 0,
        }
    }

    /// Where to write next; never empty.
    pub fn spare(&mut self) -> Result<&mut [u8], OverBudget> {
        if self.current.as_ref().is_none_or(ChunkWriter::is_full) {
            let next = self
                .ahead
                .pop_front()
                .or_else(|| self.budget.chunk())
                .ok_or(OverBudget)?;
            self.seal();
            self.current = Some(next);
        }
        self.current
            .as_mut()
            .map(ChunkWriter::spare)
            .ok_or(OverBudget)
    }

    /// Says that the first `count` bytes of [`Self::spare`] are written.
    pub fn advance(&mut self, count: usize) {
        if let Some(current) = &mut self.current {
            current.advance(count);
            self.written += count as u64;
        }
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// All pieces so far; the last may still grow.
    pub fn pieces(&self) -> (&[Bytes], Option<Bytes>) {
        (
            &self.sealed,
            self.current
                .as_ref()
                .filter(|c| c.filled() > 0)
                .map(ChunkWriter::written),
        )
    }

    /// Forgets all full pieces but the last so many; how many are gone by now.
    pub fn forget_but(&mut self, kept: usize) -> usize {
        let gone = self.sealed.len().saturating_sub(kept);
        for piece in self.sealed[..gone].iter_mut().rev() {
            if piece.is_empty() {
                break;
            }
            *piece = Bytes::new();
        }
        gone
    }

    fn seal(&mut self) {
        if let Some(full) = self.current.take() {
            self.sealed.push(full.written());
        }
    }

    /// The complete body. A last chunk that is not full is moved into a block
    /// of its own size, unless the budget has no room for both just now.
    pub fn finish(mut self) -> Body {
        if let Some(last) = self.current.take().filter(|last| last.filled() > 0) {
            let shrunk = match last.is_full() || last.filled() > LARGEST_EXACT {
                true => None,
                false => self.budget.exact(last.filled()),
            };
            self.sealed.push(match shrunk {
                Some(mut exact) => {
                    exact.spare().copy_from_slice(&last.written());
                    exact.advance(last.filled());
                    exact.written()
                }
                None => last.written(),
            });
        }
        Body {
            pieces: self.sealed,
            len: self.written,
            _permit: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_range_of_a_body_that_was_whole_is_there() {
        let whole = pattern(2 * CHUNK_BYTES + 9);
        let body = Body::from(Bytes::from(whole.clone()));
        let edge = CHUNK_BYTES as u64;
        for range in [
            0..body.len(),
            0..1,
            edge - 1..edge + 1,
            edge..edge + 5,
            2 * edge..body.len(),
        ] {
            let want = &whole[range.start as usize..range.end as usize];
            let found: Vec<u8> = body.slices(range.clone()).flatten().collect();
            assert!(found == want, "{range:?}");
        }
    }

    #[test]
    fn a_body_weighs_what_it_takes_of_the_budget() {
        let chunk = CHUNK_BYTES as u64;
        for len in [
            0,
            1,
            2048,
            chunk / 2,
            chunk / 2 + 1,
            200 << 10,
            chunk,
            chunk + 1,
            5 * chunk / 3,
        ] {
            let budget = Budget::new(8 << 20);
            let mut writer = BodyWriter::with_length(&budget, len).ok().unwrap();
            let mut left = len as usize;
            while left > 0 {
                let count = writer.spare().ok().unwrap().len().min(left);
                writer.advance(count);
                left -= count;
            }
            let body = writer.finish();
            assert_eq!(body.footprint(), budget.used() as u64, "{len} bytes");
        }
    }

    #[test]
    fn a_counted_body_is_in_the_budget_until_its_last_copy_goes_and_only_once() {
        let budget = Budget::new(1000);
        let body = Body::counted(vec![7; 600].into(), &budget).ok().unwrap();
        let copy = body.clone();
        assert!(Body::counted(vec![7; 600].into(), &budget).is_err());
        drop(body);
        assert_eq!(budget.used(), 600);
        drop(copy);
        assert_eq!(budget.used(), 0);
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    fn fill(writer: &mut BodyWriter, bytes: &[u8], step: usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let spare = writer.spare().expect("room");
            let count = spare.len().min(step).min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            writer.advance(count);
            rest = &rest[count..];
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_range_of_a_body_reads_back(len in 0usize..700_000, step in 1usize..300_000, a in 0u64..700_001, b in 0u64..700_001, known: bool) {
            let budget = Budget::new(4 << 20);
            let bytes = pattern(len);
            let mut writer = if known { BodyWriter::with_length(&budget, len as u64).expect("room") } else { BodyWriter::without_length(&budget) };
            fill(&mut writer, &bytes, step);
            let body = writer.finish();
            prop_assert_eq!(body.len(), len as u64);
            let read: Vec<u8> = body.slices(a..b).flatten().collect();
            let (from, to) = ((a as usize).min(len), (b as usize).min(len));
            prop_assert_eq!(&read[..], if from < to { &bytes[from..to] } else { &[] });
            drop(body);
            prop_assert!(budget.used() <= 700_000 / CHUNK_BYTES * CHUNK_BYTES + CHUNK_BYTES);
        }
    }

    #[test]
    fn a_body_of_known_length_takes_its_memory_before_its_first_byte() {
        let budget = Budget::new(3 * CHUNK_BYTES);
        let writer = BodyWriter::with_length(&budget, 2 * CHUNK_BYTES as u64 + 10).expect("room");
        assert_eq!(budget.used(), 2 * CHUNK_BYTES + 10);
        assert!(BodyWriter::with_length(&budget, CHUNK_BYTES as u64).is_err());
        drop(writer);
        assert!(BodyWriter::with_length(&budget, u64::MAX).is_err());
    }

    #[test]
    fn an_unfinished_piece_is_readable_and_the_last_one_is_shrunk() {
        let budget = Budget::new(4 * CHUNK_BYTES);
        let mut writer = BodyWriter::without_length(&budget);
        fill(&mut writer, b"hello", 5);
        let (sealed, tip) = writer.pieces();
        assert!(sealed.is_empty());
        assert_eq!(tip.as_deref(), Some(&b"hello"[..]));
        let body = writer.finish();
        assert_eq!(body.slices(0..9).collect::<Vec<_>>(), [&b"hello"[..]]);
        assert_eq!(
            budget.used(),
            CHUNK_BYTES + 5,
            "the chunk is idle, five bytes are stored"
        );
    }
}
