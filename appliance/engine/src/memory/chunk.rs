//! Private bytes of connections: chains of fixed-size chunks from one pool.
//!
//! A [`Chain`] is a byte queue with stream positions: bytes are appended at the end and dropped
//! from the front, and each byte keeps its position (counted from 0 when the chain was made, modulo
//! 2^32) until it is dropped. Replies wait here until acknowledged; received fragments wait here
//! until a message is whole.
//!
//! The pool owns all memory from `new` on. An empty chain holds no chunk. The bound is the pool:
//! when it is empty `append` appends nothing and answers [`Full`].

use crate::memory::slab::NONE;

/// Bytes of payload a chunk holds: a connect reply or a subscribe reply fits one chunk, a recovery
/// reply takes a few dozen. Larger wastes memory on each unacknowledged reply, smaller lengthens
/// the walks of `read`.
pub const CHUNK_BYTES: usize = CHUNK as usize;

const CHUNK: u32 = 1024;

/// The pool had no free chunk; nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A byte queue in the pool. Plain data: give it back with `Chunks::clear`, never drop it full.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    head: u32,
    tail: u32,
    /// Stream position of the first byte kept.
    start: u32,
    /// Offset of that byte in the head chunk.
    skip: u32,
    len: u32,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain {
            head: NONE,
            tail: NONE,
            start: 0,
            skip: 0,
            len: 0,
        }
    }
}

impl Chain {
    /// Bytes kept.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no byte is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stream position of the first byte kept.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Stream position after the last byte kept.
    pub fn end(&self) -> u32 {
        self.start.wrapping_add(self.len)
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
        self.next[chunk as usize] = NONE;
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
    pub fn append(&mut self, chain: &mut Chain, mut bytes: &[u8]) -> Result<(), Full> {
        let used = (chain.skip + chain.len) as usize;
        let room = if chain.head == NONE {
            0
        } else {
            used.next_multiple_of(CHUNK_BYTES) - used
        };
        if bytes.len().saturating_sub(room).div_ceil(CHUNK_BYTES) > self.free_count {
            return Err(Full);
        }
        while !bytes.is_empty() {
            let at = (chain.skip + chain.len) as usize % CHUNK_BYTES;
            if chain.head == NONE || at == 0 {
                let chunk = self.take();
                if chain.head == NONE {
                    chain.head = chunk;
                    chain.skip = 0;
                } else {
                    self.next[chain.tail as usize] = chunk;
                }
                chain.tail = chunk;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - at));
            self.payload(chain.tail)[at..at + now.len()].copy_from_slice(now);
            chain.len += u32::try_from(now.len()).unwrap_or(0);
            bytes = later;
        }
        Ok(())
    }

    /// Copies the bytes from stream position `position` on into all of `out`; false when they are
    /// not all kept.
    pub fn read(&self, chain: &Chain, position: u32, out: &mut [u8]) -> bool {
        let ahead = position.wrapping_sub(chain.start) as usize;
        if ahead + out.len() > chain.len() {
            return false;
        }
        let mut at = chain.skip as usize + ahead;
        let mut chunk = chain.head;
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
        true
    }

    /// Drops the bytes before stream position `position` (at most all of them).
    pub fn drop_to(&mut self, chain: &mut Chain, position: u32) {
        let ahead = position.wrapping_sub(chain.start).min(chain.len);
        chain.start = chain.start.wrapping_add(ahead);
        chain.len -= ahead;
        chain.skip += ahead;
        while chain.head != NONE && (chain.skip as usize >= CHUNK_BYTES || chain.len == 0) {
            let next = self.next[chain.head as usize];
            self.give(chain.head);
            chain.head = next;
            chain.skip = chain.skip.saturating_sub(CHUNK);
        }
        if chain.head == NONE {
            chain.tail = NONE;
            chain.skip = 0;
        }
    }

    /// Drops every byte; the positions go on from where they were.
    pub fn clear(&mut self, chain: &mut Chain) {
        self.drop_to(chain, chain.end());
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
}
