//! The logs of every hunt on one core: ready-to-send bytes that everyone's send queue points into.
//!
//! A hunt's log is an endless byte stream: complete WebSocket frames one after another, addressed by
//! a position that only rises. What is kept of it is a window. The bytes live in fixed blocks of one
//! region per core, handed out in a circle: the next block to write is always the one written
//! longest ago, whichever hunt owned it. So memory is bounded for all hunts together, a quiet hunt
//! costs one block, and nothing is ever searched or compacted.
//!
//! A block knows the first event that begins in it ([`Mark`]), as far as nothing but events with one
//! offset after the other stands behind that: from there on a reader can count frames to find an offset.
//!
//! Readers hold positions, not references. Overwriting never waits for a reader: `read` refuses a
//! position that has left the window, and that reader is "slow". Each core keeps its own copy (one
//! memcpy an event and core), so no core ever waits for another's acknowledgements.

/// Bytes of a block. Smaller wastes less on quiet hunts, larger cuts fewer frames in two; a block is
/// also the unit of eviction.
pub const BLOCK_BYTES: usize = 4096;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// No hunt owns the block.
const NOBODY: u32 = u32::MAX;

/// One hunt's part: which positions are kept.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    first: u64,
    head: u64,
    /// From here on every frame is an event, and the next offset's.
    even_from: u64,
}

/// Where an event begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Its offset; 0 for no event.
    pub offset: u64,
    /// When it was published.
    pub stamp_us: u64,
    /// Log position of its frame.
    pub position: u64,
}

/// All logs of one core.
#[derive(Debug)]
pub struct Logs {
    bytes: &'static mut [u8],
    /// Per block: the hunt that owns it, and which of that hunt's blocks it is.
    owners: Vec<(u32, u64)>,
    /// Per block: the first event that begins in it and has only such behind it.
    marks: Vec<Mark>,
    next: usize,
    used: usize,
    windows: Vec<Window>,
    /// Where a hunt's blocks are: `window_blocks` entries a hunt, indexed by block number modulo.
    places: Vec<u32>,
    window_blocks: usize,
}

impl Logs {
    /// Logs of `hunts` hunts in `bytes` (at least two blocks), each keeping `window_bytes` at most,
    /// rounded up to blocks.
    pub fn new(bytes: &'static mut [u8], hunts: usize, window_bytes: usize) -> Logs {
        let count = bytes.len() / BLOCK_BYTES;
        assert!(
            count >= 2,
            "the hunt logs need two blocks of {BLOCK_BYTES} bytes"
        );
        let window_blocks = window_bytes.div_ceil(BLOCK_BYTES) + 1;
        Logs {
            bytes,
            owners: vec![(NOBODY, 0); count],
            marks: vec![Mark::default(); count],
            next: 0,
            used: 0,
            windows: vec![Window::default(); hunts],
            places: vec![0; hunts * window_blocks],
            window_blocks,
        }
    }

    /// Blocks that have been written.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Oldest position of `stream` that can be read.
    pub fn first(&self, stream: u32) -> u64 {
        self.windows[stream as usize].first
    }

    /// Position after the newest byte of `stream`.
    pub fn head(&self, stream: u32) -> u64 {
        self.windows[stream as usize].head
    }

    /// Appends the frame of the event with the offset after that of the last such. See
    /// [`append`](Logs::append).
    pub fn append_event(&mut self, stream: u32, frame: &[u8], offset: u64, stamp_us: u64) {
        let position = self.head(stream);
        self.append_bytes(stream, frame);
        if self.owns(stream, position / BLOCK) {
            let block = self.block(stream, position / BLOCK);
            let mark = &mut self.marks[block];
            if mark.offset == 0 {
                *mark = Mark {
                    offset,
                    stamp_us,
                    position,
                };
            }
        }
    }

    /// Appends one frame, not of an event with an offset. A frame longer than the window leaves only its
    /// tail readable.
    pub fn append(&mut self, stream: u32, frame: &[u8]) {
        self.append_bytes(stream, frame);
        self.forget_offsets(stream);
    }

    /// No event that `stream` holds is found by its offset any more.
    pub fn forget_offsets(&mut self, stream: u32) {
        let head = self.head(stream);
        self.windows[stream as usize].even_from = head;
        if self.owns(stream, head / BLOCK) {
            let block = self.block(stream, head / BLOCK);
            self.marks[block] = Mark::default();
        }
    }

    /// The event of `stream` with `offset`, or one that stands before it in the same block; none when
    /// that is not certain.
    pub fn mark_before(&self, stream: u32, offset: u64) -> Option<Mark> {
        let window = self.windows[stream as usize];
        let least = window.first.max(window.even_from);
        for number in (least / BLOCK..=window.head / BLOCK).rev() {
            if !self.owns(stream, number) {
                continue;
            }
            let mark = self.marks[self.block(stream, number)];
            if mark.offset != 0 && mark.offset <= offset {
                return (mark.position >= least).then_some(mark);
            }
        }
        None
    }

    fn append_bytes(&mut self, stream: u32, frame: &[u8]) {
        let mut rest = frame;
        let start = self.windows[stream as usize].head / BLOCK;
        while !rest.is_empty() {
            let head = self.windows[stream as usize].head;
            // Also when the block in use was taken away while the hunt was quiet.
            if head.is_multiple_of(BLOCK) || !self.owns(stream, head / BLOCK) {
                self.open_block(stream, head / BLOCK, start);
            }
            let (base, room) = self.locate(stream, head);
            let (now, later) = rest.split_at(rest.len().min(room));
            self.bytes[base..base + now.len()].copy_from_slice(now);
            self.windows[stream as usize].head += now.len() as u64;
            rest = later;
        }
    }

    /// Copies the bytes from `position` on into all of `out`; false when they are not all kept.
    #[inline]
    pub fn read(&self, stream: u32, position: u64, out: &mut [u8]) -> bool {
        let Some(window) = self.windows.get(stream as usize) else {
            return false;
        };
        if position < window.first || position + out.len() as u64 > window.head {
            return false;
        }
        let mut position = position;
        let mut rest = out;
        while !rest.is_empty() {
            let (base, room) = self.locate(stream, position);
            let (now, later) = rest.split_at_mut(rest.len().min(room));
            now.copy_from_slice(&self.bytes[base..base + now.len()]);
            position += now.len() as u64;
            rest = later;
        }
        true
    }

    /// Index of the byte at `position` and bytes from there to the end of its block.
    fn locate(&self, stream: u32, position: u64) -> (usize, usize) {
        // A remainder of 4096 fits a usize.
        let offset = usize::try_from(position % BLOCK).unwrap_or(0);
        let block = self.block(stream, position / BLOCK);
        (block * BLOCK_BYTES + offset, BLOCK_BYTES - offset)
    }

    fn owns(&self, stream: u32, number: u64) -> bool {
        self.owners[self.block(stream, number)] == (stream, number)
    }

    /// The block where the one with `number` of `stream` is, or was.
    fn block(&self, stream: u32, number: u64) -> usize {
        self.places[self.place(stream, number)] as usize
    }

    fn place(&self, stream: u32, number: u64) -> usize {
        // A remainder of a usize fits a usize.
        let index = usize::try_from(number % self.window_blocks as u64).unwrap_or(0);
        stream as usize * self.window_blocks + index
    }

    /// Takes the oldest block of all for block `number` of `stream`; passes over blocks from `start`
    /// on, which hold the beginning of the frame that is being appended.
    fn open_block(&mut self, stream: u32, number: u64, start: u64) {
        for _ in 0..self.owners.len() {
            let (owner, held) = self.owners[self.next];
            if owner != stream || held < start {
                break;
            }
            self.next = (self.next + 1) % self.owners.len();
        }
        let block = self.next;
        self.next = (self.next + 1) % self.owners.len();
        let (owner, evicted) = std::mem::replace(&mut self.owners[block], (stream, number));
        if owner == NOBODY {
            self.used += 1;
        } else {
            let window = &mut self.windows[owner as usize];
            window.first = window.first.max((evicted + 1) * BLOCK).min(window.head);
        }
        self.marks[block] = Mark::default();
        let place = self.place(stream, number);
        self.places[place] = u32::try_from(block).unwrap_or(NOBODY);
        let oldest = (number + 1).saturating_sub(self.window_blocks as u64) * BLOCK;
        let window = &mut self.windows[stream as usize];
        window.first = window.first.max(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Three hunts share five blocks: whatever is readable is what was written, and the newest
        /// block's worth always is.
        #[test]
        fn what_is_readable_is_what_was_written(
            frames in prop::collection::vec((0u32..3, 1usize..6000), 1..80)
        ) {
            let region = Box::leak(vec![0; 5 * BLOCK_BYTES].into_boxed_slice());
            let mut logs = Logs::new(region, 3, 3 * BLOCK_BYTES);
            let mut model = vec![Vec::<u8>::new(); 3];
            for (n, (stream, length)) in frames.into_iter().enumerate() {
                let frame: Vec<u8> = (0..length).map(|i| (n * 31 + i) as u8).collect();
                logs.append(stream, &frame);
                model[stream as usize].extend_from_slice(&frame);
                for (slot, written) in (0..).zip(&model) {
                    let (first, head) = (logs.first(slot), logs.head(slot));
                    prop_assert_eq!(head, written.len() as u64);
                    let mut out = vec![0; (head - first) as usize];
                    prop_assert!(logs.read(slot, first, &mut out));
                    prop_assert_eq!(&out[..], &written[first as usize..]);
                    prop_assert!(first == 0 || !logs.read(slot, first - 1, &mut [0]));
                    prop_assert!(!logs.read(slot, head, &mut [0]));
                }
                let kept = logs.head(stream) - logs.first(stream);
                prop_assert!(kept as usize >= length.min(BLOCK_BYTES));
            }
        }
    }
}
