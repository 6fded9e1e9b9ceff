//! Private bytes of connections in fixed-size chunks from one pool.
//!
//! A [`Chain`] is a byte queue with stream positions: bytes are appended at the end and dropped
//! from the front, and each byte keeps its position (counted from 0 when the chain was made, modulo
//! 2^32) until it is dropped. Replies wait here until acknowledged. A [`Gather`] has no positions:
//! pieces of a message wait in it until it is whole and is taken out at once.
//!
//! The pool owns all memory from `new` on. Without bytes nothing holds a chunk. The bound is the pool:
//! when it is empty nothing is appended and the answer is [`Full`]. The chunks of a connection are a
//! circle, so that one number finds both its ends: every idle connection pays for what is kept here.

use crate::memory::slab::NONE;

/// Bytes of payload a chunk holds: a connect reply or a subscribe reply fits one chunk, a recovery
/// reply takes a few dozen. Larger wastes memory on each unacknowledged reply, smaller lengthens
/// the walks of `read`.
pub const CHUNK_BYTES: usize = CHUNK as usize;

const CHUNK: u32 = 1024;

/// The pool had no free chunk; nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Bytes that wait for the rest of them. Plain data: give it back with `Chunks::discard` or
/// `Chunks::take_all`, never drop it full.
#[derive(Debug, Clone, Copy)]
pub struct Gather {
    /// The last chunk, whose `next` is the first; `NONE` without bytes.
    tail: u32,
    /// From the beginning of the first chunk to the end of what the last one holds.
    bytes: u32,
}

/// A byte queue in the pool. Plain data: give it back with `Chunks::clear`, never drop it full.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chain {
    all: Gather,
    /// Stream position of the first byte kept.
    start: u32,
    /// Offset of that byte in the first chunk.
    skip: u32,
}

// Every player has three of the one and one of the other (docs/memory.md).
const _: () = assert!(size_of::<Gather>() == 8 && size_of::<Chain>() == 16);

impl Default for Gather {
    fn default() -> Gather {
        Gather {
            tail: NONE,
            bytes: 0,
        }
    }
}

impl Gather {
    /// Bytes kept.
    pub fn len(&self) -> usize {
        self.bytes as usize
    }

    /// Whether no byte is kept.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Chain {
    /// Bytes kept.
    pub fn len(&self) -> usize {
        (self.all.bytes - self.skip) as usize
    }

    /// Whether no byte is kept.
    pub fn is_empty(&self) -> bool {
        self.all.tail == NONE
    }

    /// Stream position of the first byte kept.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Stream position after the last byte kept.
    pub fn end(&self) -> u32 {
        self.start.wrapping_add(self.all.bytes - self.skip)
    }
}

/// The pool of chunks of one core.
#[derive(Debug)]
pub struct Chunks {
    bytes: Vec<u8>,
    next: Vec<u32>,
    free: u32,
    free_count: usize,
}

impl Chunks {
    /// A pool of `count` chunks, all memory taken now.
    pub fn new(count: u32) -> Chunks {
        assert!(count < NONE, "chunk {NONE} means none");
        let next = (0..count)
            .map(|i| if i + 1 == count { NONE } else { i + 1 })
            .collect();
        Chunks {
            bytes: vec![0; count as usize * CHUNK_BYTES],
            next,
            free: if count == 0 { NONE } else { 0 },
            free_count: count as usize,
        }
    }

    /// Chunks in use.
    pub fn used(&self) -> usize {
        self.next.len() - self.free_count
    }

    /// Chunks in all.
    pub fn capacity(&self) -> usize {
        self.next.len()
    }

    fn take(&mut self) -> u32 {
        let chunk = self.free;
        self.free = self.next[chunk as usize];
        self.free_count -= 1;
        chunk
    }

    fn give(&mut self, chunk: u32) {
        self.next[chunk as usize] = self.free;
        self.free = chunk;
        self.free_count += 1;
    }

    fn payload(&mut self, chunk: u32) -> &mut [u8] {
        let at = chunk as usize * CHUNK_BYTES;
        &mut self.bytes[at..at + CHUNK_BYTES]
    }

    /// Appends all of `bytes` or, when the pool cannot hold them, nothing.
    pub fn append(&mut self, chain: &mut Chain, bytes: &[u8]) -> Result<(), Full> {
        self.gather(&mut chain.all, bytes)
    }

    /// Appends all of `bytes` or, when the pool cannot hold them, nothing.
    pub fn gather(&mut self, all: &mut Gather, mut bytes: &[u8]) -> Result<(), Full> {
        let used = all.bytes as usize;
        let room = used.next_multiple_of(CHUNK_BYTES) - used;
        if bytes.len().saturating_sub(room).div_ceil(CHUNK_BYTES) > self.free_count {
            return Err(Full);
        }
        while !bytes.is_empty() {
            let at = all.bytes as usize % CHUNK_BYTES;
            if at == 0 {
                self.extend(all);
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - at));
            self.payload(all.tail)[at..at + now.len()].copy_from_slice(now);
            all.bytes += u32::try_from(now.len()).unwrap_or(0);
            bytes = later;
        }
        Ok(())
    }

    /// Adds an empty chunk at the end of the circle.
    fn extend(&mut self, all: &mut Gather) {
        let chunk = self.take();
        let tail = std::mem::replace(&mut all.tail, chunk);
        self.next[chunk as usize] = match self.next.get_mut(tail as usize) {
            None => chunk,
            Some(next) => std::mem::replace(next, chunk),
        };
    }

    /// Gives back the first chunk.
    fn drop_first(&mut self, all: &mut Gather) {
        let first = self.next[all.tail as usize];
        if first == all.tail {
            all.tail = NONE;
        } else {
            self.next[all.tail as usize] = self.next[first as usize];
        }
        all.bytes = all.bytes.saturating_sub(CHUNK);
        self.give(first);
    }

    /// Copies the bytes from stream position `position` on into all of `out`; false when they are
    /// not all kept.
    pub fn read(&self, chain: &Chain, position: u32, out: &mut [u8]) -> bool {
        let ahead = position.wrapping_sub(chain.start) as usize;
        if ahead + out.len() > chain.len() {
            return false;
        }
        self.copy(&chain.all, chain.skip as usize + ahead, out);
        true
    }

    /// Copies the bytes from `at` on, counted from the beginning of the first chunk; they are kept.
    fn copy(&self, all: &Gather, at: usize, out: &mut [u8]) {
        let Some(&first) = self.next.get(all.tail as usize) else {
            return;
        };
        let (mut chunk, mut at) = (first, at);
        while at >= CHUNK_BYTES && !out.is_empty() {
            chunk = self.next[chunk as usize];
            at -= CHUNK_BYTES;
        }
        let mut rest = out;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(rest.len().min(CHUNK_BYTES - at));
            let base = chunk as usize * CHUNK_BYTES + at;
            now.copy_from_slice(&self.bytes[base..base + now.len()]);
            chunk = self.next[chunk as usize];
            at = 0;
            rest = later;
        }
    }

    /// Drops the bytes before stream position `position` (at most all of them).
    pub fn drop_to(&mut self, chain: &mut Chain, position: u32) {
        let len = chain.all.bytes - chain.skip;
        let ahead = position.wrapping_sub(chain.start).min(len);
        chain.start = chain.start.wrapping_add(ahead);
        chain.skip += ahead;
        while chain.all.tail != NONE && (chain.skip >= CHUNK || chain.skip == chain.all.bytes) {
            self.drop_first(&mut chain.all);
            chain.skip = chain.skip.saturating_sub(CHUNK);
        }
    }

    /// Drops every byte; the positions go on from where they were.
    pub fn clear(&mut self, chain: &mut Chain) {
        self.drop_to(chain, chain.end());
    }

    /// Moves every byte to `out`, in place of what it held.
    pub fn take_all(&mut self, all: &mut Gather, out: &mut Vec<u8>) {
        out.clear();
        out.resize(all.len(), 0);
        self.copy(all, 0, out);
        self.discard(all);
    }

    /// Drops every byte.
    pub fn discard(&mut self, all: &mut Gather) {
        while all.tail != NONE {
            self.drop_first(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The chain against a plain vector of all bytes ever appended; no chunk is lost.
        #[test]
        fn behaves_like_a_byte_queue(steps in prop::collection::vec((0u8..3, 0usize..3000), 1..60)) {
            let mut chunks = Chunks::new(8);
            let mut chain = Chain::default();
            let (mut all, mut start) = (Vec::<u8>::new(), 0usize);
            for (kind, n) in steps {
                if kind < 2 {
                    let bytes: Vec<u8> = (0..n).map(|i| ((all.len() + i) % 251) as u8).collect();
                    if chunks.append(&mut chain, &bytes).is_ok() {
                        all.extend_from_slice(&bytes);
                    }
                } else {
                    start = (start + n).min(all.len());
                    chunks.drop_to(&mut chain, start as u32);
                }
                prop_assert_eq!(chain.len(), all.len() - start);
                let mut out = vec![0; all.len() - start];
                prop_assert!(chunks.read(&chain, start as u32, &mut out));
                prop_assert_eq!(&out[..], &all[start..]);
                prop_assert!(!chunks.read(&chain, all.len() as u32, &mut [0]));
                prop_assert!(chunks.used() * CHUNK_BYTES < out.len() + 2 * CHUNK_BYTES);
            }
            chunks.clear(&mut chain);
            prop_assert_eq!(chunks.used(), 0);
        }
    }

    proptest! {
        /// What was gathered comes out whole; no chunk is lost.
        #[test]
        fn what_is_gathered_is_taken_at_once(pieces in prop::collection::vec(0usize..2500, 0..6)) {
            let mut chunks = Chunks::new(9);
            let mut gather = Gather::default();
            let mut all = Vec::new();
            for (n, length) in pieces.into_iter().enumerate() {
                let piece: Vec<u8> = (0..length).map(|i| (n * 31 + i) as u8).collect();
                if chunks.gather(&mut gather, &piece).is_ok() {
                    all.extend_from_slice(&piece);
                }
                prop_assert_eq!(gather.len(), all.len());
                prop_assert_eq!(chunks.used(), all.len().div_ceil(CHUNK_BYTES));
            }
            let mut out = vec![1; 10];
            chunks.take_all(&mut gather, &mut out);
            prop_assert_eq!(out, all);
            prop_assert!(gather.is_empty());
            prop_assert_eq!(chunks.used(), 0);
        }
    }
}
