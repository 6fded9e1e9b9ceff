//! Frames in flight, by the time they are due; equal times keep the order they were put in.
//!
//! Owns the frames' bytes; buffers are used again. Bound: [`FRAMES_MAX`]; what finds it full is
//! refused, and the direction counts it as `pipe_full`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A second of 100,000 frames: more than a machine that plays both ends moves.
const FRAMES_MAX: usize = 100_000;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Due time, order, buffer.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    buffers: Vec<Vec<u8>>,
    free: Vec<usize>,
    order: u64,
}

impl Pipe {
    /// Puts a frame in; false if there is no room.
    pub(super) fn put(&mut self, due_ns: u64, frame: &[u8]) -> bool {
        if self.heap.len() == FRAMES_MAX {
            return false;
        }
        let buffer = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::new());
            self.buffers.len() - 1
        });
        self.buffers[buffer].clear();
        self.buffers[buffer].extend_from_slice(frame);
        self.order += 1;
        self.heap.push(Reverse((due_ns, self.order, buffer)));
        true
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the first is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due_ns, _, _))| *due_ns)
    }

    /// Takes out what is due at `now_ns`, at most `count`: the buffers' numbers for [`Pipe::frame`],
    /// to be given back with [`Pipe::release`].
    pub(super) fn take_due(&mut self, now_ns: u64, count: usize, out: &mut Vec<usize>) {
        out.clear();
        while out.len() < count && self.due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            if let Some(Reverse((_, _, buffer))) = self.heap.pop() {
                out.push(buffer);
            }
        }
    }

    /// The frame in a buffer that was taken out.
    pub(super) fn frame(&self, buffer: usize) -> &[u8] {
        &self.buffers[buffer]
    }

    /// The buffers may be used again.
    pub(super) fn release(&mut self, buffers: &[usize]) {
        self.free.extend_from_slice(buffers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_in_order() {
        let mut pipe = Pipe::default();
        for (due_ns, name) in [(5, "c"), (3, "a"), (5, "d"), (4, "b"), (9, "e")] {
            assert!(pipe.put(due_ns, name.as_bytes()));
        }
        let mut out = Vec::new();
        pipe.take_due(2, 10, &mut out);
        assert!(out.is_empty());
        let mut seen = Vec::new();
        for _ in 0..3 {
            pipe.take_due(5, 3, &mut out);
            seen.extend(out.iter().flat_map(|buffer| pipe.frame(*buffer).to_vec()));
            pipe.release(&out);
        }
        assert_eq!(
            (seen.as_slice(), pipe.len(), pipe.due_ns()),
            (&b"abcd"[..], 1, Some(9))
        );
    }

    #[test]
    fn bounded() {
        let mut pipe = Pipe::default();
        assert!((0..FRAMES_MAX).all(|_| pipe.put(1, b"x")));
        assert!(!pipe.put(1, b"x"));
    }
}
