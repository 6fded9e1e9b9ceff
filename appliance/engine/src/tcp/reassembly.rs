//! Bytes that came before their turn: a bounded, sorted list of pieces a connection, all in one pool
//! of buffers a core.
//!
//! Pieces that touch grow together, so a stream cut into single bytes takes few buffers. Nothing is
//! allocated after `new`. A piece that finds no buffer is dropped: its sender has not been told that
//! we hold it and sends it again.

use crate::memory::slab::NONE;
use crate::wire::segment::SACKS_MAX;
use crate::wire::seq::Seq;

/// Bytes of a buffer: the largest payload of a frame.
const PIECE_BYTES: usize = 1460;

/// Pieces one connection may hold, so that one player cannot take the whole pool.
const PIECES_MAX: u8 = 64;

#[derive(Debug, Clone, Copy)]
struct Piece {
    seq: Seq,
    length: u32,
    next: u32,
}

impl Piece {
    fn end(&self) -> Seq {
        self.seq + self.length
    }
}

/// One connection's pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    first: u32,
    count: u8,
    /// Where the pieces that came last begin, the last one first: reported in this order (RFC 2018
    /// section 4). Older ones may have been taken since.
    latest: [Seq; SACKS_MAX],
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inserted {
    /// Whatever was new of it is kept.
    pub(super) kept: bool,
    /// What of it was there already, if it is one run (RFC 2883 section 4.1); empty otherwise.
    pub(super) twice: (Seq, Seq),
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting {
            first: NONE,
            count: 0,
            latest: [Seq(0); SACKS_MAX],
        }
    }
}

impl Waiting {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// The buffers of one core.
#[derive(Debug)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    free: Vec<u32>,
}

impl Pieces {
    /// A pool of `count` buffers.
    pub(super) fn new(count: u32) -> Pieces {
        let piece = Piece {
            seq: Seq(0),
            length: 0,
            next: NONE,
        };
        Pieces {
            bytes: vec![0; count as usize * PIECE_BYTES],
            pieces: vec![piece; count as usize],
            free: (0..count).rev().collect(),
        }
    }

    /// Buffers in use.
    pub(super) fn used(&self) -> usize {
        self.pieces.len() - self.free.len()
    }

    fn get(&self, index: u32) -> Option<&Piece> {
        self.pieces.get(index as usize)
    }

    fn buffer(&mut self, index: u32) -> &mut [u8] {
        let at = index as usize * PIECE_BYTES;
        &mut self.bytes[at..at + PIECE_BYTES]
    }

    /// Keeps `data`, which begins at `seq`, unless it does not fit (or is longer than a buffer).
    /// Bytes that are already there win over new ones.
    pub(super) fn insert(&mut self, waiting: &mut Waiting, seq: Seq, data: &[u8]) -> Inserted {
        let mut seq = seq;
        let mut data = data;
        let mut twice = (seq, seq);
        let mut before = NONE;
        let mut after = waiting.first;
        while let Some(piece) = self.get(after).copied() {
            if piece.seq.after(seq) {
                break;
            }
            // Cut what the piece in front holds already.
            let held = u32::try_from(piece.end().since(seq)).unwrap_or(0);
            let held = data.len().min(held as usize);
            data = &data[held..];
            // A payload is shorter than 2^16.
            let from = seq;
            seq = seq + u32::try_from(held).unwrap_or(0);
            if held > 0 {
                twice = (if twice.0 == twice.1 { from } else { twice.0 }, seq);
            }
            (before, after) = (after, piece.next);
        }
        // Cut what the piece behind holds; what reaches beyond it comes again.
        if let Some(piece) = self.get(after) {
            let room = u32::try_from(piece.seq.since(seq)).unwrap_or(0);
            let behind = data.len().saturating_sub(room as usize);
            data = &data[..data.len() - behind];
            if behind > 0 && twice.0 == twice.1 {
                let held = piece.length.min(u32::try_from(behind).unwrap_or(0));
                twice = (piece.seq, piece.seq + held);
            }
        }
        let kept = data.is_empty()
            || self.extend(before, seq, data)
            || self.prepend(after, seq, data)
            || self.put(waiting, before, after, seq, data);
        if kept {
            self.note(waiting, if data.is_empty() { twice.0 } else { seq });
        }
        Inserted { kept, twice }
    }

    /// Puts the block around `seq` first among those to report.
    fn note(&self, waiting: &mut Waiting, seq: Seq) {
        let block = self.block_at(waiting, seq);
        let blocks = waiting.latest.map(|seq| self.block_at(waiting, seq));
        // Those that have become one with it make room first.
        let same = blocks.iter().position(|other| *other == block);
        let gone = same.unwrap_or(SACKS_MAX - 1);
        waiting.latest.copy_within(..gone, 1);
        waiting.latest[0] = seq;
    }

    /// The contiguous block that holds `seq`.
    fn block_at(&self, waiting: &Waiting, seq: Seq) -> Option<(Seq, Seq)> {
        let mut index = waiting.first;
        while let Some((from, to, next)) = self.block(index) {
            if !seq.before(from) && seq.before(to) {
                return Some((from, to));
            }
            index = next;
        }
        None
    }

    /// The contiguous block that begins with piece `index`, and the piece after it.
    fn block(&self, index: u32) -> Option<(Seq, Seq, u32)> {
        let first = self.get(index)?;
        let (from, mut to, mut next) = (first.seq, first.end(), first.next);
        while let Some(piece) = self.get(next)
            && piece.seq == to
        {
            to = piece.end();
            next = piece.next;
        }
        Some((from, to, next))
    }

    /// Adds `data` to the end of the piece `index`, if it touches and fits.
    fn extend(&mut self, index: u32, seq: Seq, data: &[u8]) -> bool {
        let Some(piece) = self.get(index).copied() else {
            return false;
        };
        let at = piece.length as usize;
        if piece.end() != seq || at + data.len() > PIECE_BYTES {
            return false;
        }
        self.buffer(index)[at..at + data.len()].copy_from_slice(data);
        self.pieces[index as usize].length += u32::try_from(data.len()).unwrap_or(0);
        true
    }

    /// Adds `data` in front of the piece `index`, if it touches and fits.
    fn prepend(&mut self, index: u32, seq: Seq, data: &[u8]) -> bool {
        let Some(piece) = self.get(index).copied() else {
            return false;
        };
        let (held, more) = (piece.length as usize, data.len());
        let length = u32::try_from(more).unwrap_or(0);
        if seq + length != piece.seq || held + more > PIECE_BYTES {
            return false;
        }
        let buffer = self.buffer(index);
        buffer.copy_within(..held, more);
        buffer[..more].copy_from_slice(data);
        self.pieces[index as usize].seq = seq;
        self.pieces[index as usize].length += length;
        true
    }

    fn put(
        &mut self,
        waiting: &mut Waiting,
        before: u32,
        after: u32,
        seq: Seq,
        data: &[u8],
    ) -> bool {
        if waiting.count == PIECES_MAX || data.len() > PIECE_BYTES {
            return false;
        }
        let Some(index) = self.free.pop() else {
            return false;
        };
        self.buffer(index)[..data.len()].copy_from_slice(data);
        let length = u32::try_from(data.len()).unwrap_or(0);
        self.pieces[index as usize] = Piece {
            seq,
            length,
            next: after,
        };
        match self.pieces.get_mut(before as usize) {
            Some(piece) => piece.next = index,
            None => waiting.first = index,
        }
        waiting.count += 1;
        true
    }

    /// Where the stream is complete up to, beginning at `from`.
    pub(super) fn reach(&self, waiting: &Waiting, from: Seq) -> Seq {
        let mut reach = from;
        let mut index = waiting.first;
        while let Some(piece) = self.get(index)
            && !piece.seq.after(reach)
        {
            reach = reach.max(piece.end());
            index = piece.next;
        }
        reach
    }

    /// Takes bytes that begin at `from` into `out`; gives how many, 0 when none begin there.
    pub(super) fn take(&mut self, waiting: &mut Waiting, from: Seq, out: &mut [u8]) -> usize {
        while let Some(piece) = self.get(waiting.first).copied() {
            let Ok(skip) = u32::try_from(from.since(piece.seq)) else {
                return 0;
            };
            let index = waiting.first;
            if skip < piece.length {
                let count = out.len().min((piece.length - skip) as usize);
                let at = skip as usize;
                out[..count].copy_from_slice(&self.buffer(index)[at..at + count]);
                if at + count == piece.length as usize {
                    self.drop_first(waiting);
                }
                return count;
            }
            self.drop_first(waiting);
        }
        0
    }

    /// Gives back the pieces that end at or before `seq`.
    pub(super) fn drop_before(&mut self, waiting: &mut Waiting, seq: Seq) {
        while let Some(piece) = self.get(waiting.first).copied()
            && !piece.end().after(seq)
        {
            self.drop_first(waiting);
        }
    }

    /// Gives everything back.
    pub(super) fn clear(&mut self, waiting: &mut Waiting) {
        while !waiting.is_empty() {
            self.drop_first(waiting);
        }
    }

    fn drop_first(&mut self, waiting: &mut Waiting) {
        let Some(piece) = self.get(waiting.first).copied() else {
            return;
        };
        self.free.push(waiting.first);
        waiting.first = piece.next;
        waiting.count -= 1;
    }

    /// SACK blocks to send: `twice` first, unless it is empty (RFC 2883 section 4), then those that
    /// changed last (RFC 2018 section 4), then from the left.
    pub(super) fn sacks(
        &self,
        waiting: &Waiting,
        twice: (Seq, Seq),
    ) -> [Option<(Seq, Seq)>; SACKS_MAX] {
        let mut blocks = [None; SACKS_MAX];
        let mut used = 0;
        if twice.0 != twice.1 {
            blocks[0] = Some(twice);
            used = 1;
        }
        let told = used;
        let mut put = |block: Option<(Seq, Seq)>| {
            if block.is_some() && used < SACKS_MAX && !blocks[told..used].contains(&block) {
                blocks[used] = block;
                used += 1;
            }
            used < SACKS_MAX
        };
        for seq in waiting.latest {
            put(self.block_at(waiting, seq));
        }
        let mut index = waiting.first;
        while let Some((from, to, next)) = self.block(index)
            && put(Some((from, to)))
        {
            index = next;
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Pieces of a stream in any order and overlap: what is taken is the stream, and every
        /// buffer comes back.
        #[test]
        fn any_order_gives_the_stream(
            cuts in prop::collection::vec((0usize..3000, 1usize..700), 1..60), start in any::<u32>()
        ) {
            let stream: Vec<u8> = (0..4000u32).map(|i| (i * 7 % 251) as u8).collect();
            let start = Seq(start);
            let mut pool = Pieces::new(100);
            let mut waiting = Waiting::default();
            let mut have = vec![false; stream.len()];
            for (at, length) in cuts {
                let seq = start + at as u32;
                prop_assert!(pool.insert(&mut waiting, seq, &stream[at..at + length]).kept);
                // What reached beyond a piece behind it may have been cut.
                have[at] = true;
            }
            let reach = pool.reach(&waiting, start).since(start) as usize;
            let mut out = Vec::new();
            let mut buffer = [0; 100];
            loop {
                let count = pool.take(&mut waiting, start + out.len() as u32, &mut buffer);
                if count == 0 {
                    break;
                }
                out.extend_from_slice(&buffer[..count]);
            }
            prop_assert_eq!(out.len(), reach);
            prop_assert_eq!(&out[..], &stream[..reach]);
            prop_assert!(have[..reach].len() == reach);
            pool.clear(&mut waiting);
            prop_assert_eq!(pool.used(), 0);
        }
    }

    #[test]
    fn single_bytes_backwards_take_one_buffer() {
        let mut pool = Pieces::new(2);
        let mut waiting = Waiting::default();
        for at in (1..=200u32).rev() {
            assert!(pool.insert(&mut waiting, Seq(at), &[at as u8]).kept);
        }
        assert_eq!(pool.used(), 1);
        assert_eq!(pool.reach(&waiting, Seq(1)), Seq(201));
        assert_eq!(pool.reach(&waiting, Seq(0)), Seq(0));
    }

    const NONE_TWICE: (Seq, Seq) = (Seq(0), Seq(0));

    fn block(from: u32, to: u32) -> Option<(Seq, Seq)> {
        Some((Seq(from), Seq(to)))
    }

    /// RFC 2018 section 4.
    #[test]
    fn sacks_report_the_latest_first_and_then_the_ones_before_it() {
        let mut pool = Pieces::new(9);
        let mut waiting = Waiting::default();
        for at in [10, 20, 30, 40] {
            pool.insert(&mut waiting, Seq(at), &[0; 5]);
        }
        pool.insert(&mut waiting, Seq(25), &[0; 2]);
        assert_eq!(
            pool.sacks(&waiting, NONE_TWICE),
            [block(20, 27), block(40, 45), block(30, 35)]
        );
        // Two blocks become one: it is told once.
        pool.insert(&mut waiting, Seq(35), &[0; 5]);
        assert_eq!(
            pool.sacks(&waiting, NONE_TWICE),
            [block(30, 45), block(20, 27), block(10, 15)]
        );
    }

    /// RFC 2883 section 4.1 and 4.2.
    #[test]
    fn what_comes_twice_is_noticed() {
        let mut pool = Pieces::new(9);
        let mut waiting = Waiting::default();
        let mut insert = |at, length: usize| {
            let inserted = pool.insert(&mut waiting, Seq(at), &vec![0; length]);
            assert!(inserted.kept);
            (inserted.twice.0 != inserted.twice.1).then_some(inserted.twice)
        };
        assert_eq!(insert(10, 5), None);
        assert_eq!(insert(20, 5), None);
        assert_eq!(insert(11, 3), block(11, 14));
        assert_eq!(insert(12, 6), block(12, 15));
        assert_eq!(insert(18, 4), block(20, 22));
        assert_eq!(insert(30, 5), None);
        assert_eq!(insert(10, 5), block(10, 15));
        // The block around it follows.
        assert_eq!(
            pool.sacks(&waiting, (Seq(10), Seq(15)))[..2],
            [block(10, 15), block(10, 25)]
        );
    }

    #[test]
    fn a_full_pool_and_a_greedy_connection_are_refused() {
        let mut pool = Pieces::new(1);
        let mut waiting = Waiting::default();
        assert!(pool.insert(&mut waiting, Seq(10), &[1]).kept);
        assert!(!pool.insert(&mut waiting, Seq(20), &[1]).kept);
        let mut pool = Pieces::new(100);
        let mut waiting = Waiting::default();
        let kept = (0..100u32).filter(|n| pool.insert(&mut waiting, Seq(n * 2), &[1]).kept);
        assert_eq!(kept.count(), usize::from(PIECES_MAX));
    }
}
