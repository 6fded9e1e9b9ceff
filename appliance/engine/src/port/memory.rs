//! The in-memory NIC: two bounded queues of frames, for tests, the simulator and the benches.
//!
//! The engine's side is the trait; the wire's side is [`MemoryPort::inject`] and
//! [`MemoryPort::take_sent`]. All frames are allocated by `new`. A full receive queue drops the frame
//! and counts it, as a NIC does.

use crate::port::{FRAME_BYTES_MAX, Port, PortStats, RECEIVE_BATCH};

#[derive(Debug, Clone)]
struct Frame {
    bytes: [u8; FRAME_BYTES_MAX],
    length: usize,
}

/// A circle of frames.
#[derive(Debug)]
struct Queue {
    frames: Vec<Frame>,
    first: usize,
    count: usize,
}

impl Queue {
    fn new(capacity: usize) -> Queue {
        let frame = Frame {
            bytes: [0; FRAME_BYTES_MAX],
            length: 0,
        };
        Queue {
            frames: vec![frame; capacity],
            first: 0,
            count: 0,
        }
    }

    fn at(&mut self, index: usize) -> &mut Frame {
        let place = (self.first + index) % self.frames.len();
        &mut self.frames[place]
    }

    fn drop_first(&mut self, count: usize) {
        self.first = (self.first + count) % self.frames.len();
        self.count -= count;
    }
}

/// One queue of a NIC that exists only in memory.
#[derive(Debug)]
pub struct MemoryPort {
    received: Queue,
    sent: Queue,
    /// Frames of `received` that the engine holds.
    held: usize,
    /// Frames that `send` accepts at most before they are taken.
    tx_max: usize,
    stats: PortStats,
}

impl MemoryPort {
    /// A port with `frames` frames each way (at least one).
    pub fn new(frames: usize) -> MemoryPort {
        let frames = frames.max(1);
        MemoryPort {
            received: Queue::new(frames),
            sent: Queue::new(frames),
            held: 0,
            tx_max: frames,
            stats: PortStats::default(),
        }
    }

    /// A frame arrives from the wire; false when it is dropped: queue full or frame too long.
    pub fn inject(&mut self, frame: &[u8]) -> bool {
        if self.received.count == self.received.frames.len() || frame.len() > FRAME_BYTES_MAX {
            self.stats.rx_dropped += 1;
            return false;
        }
        let count = self.received.count;
        let place = self.received.at(count);
        place.bytes[..frame.len()].copy_from_slice(frame);
        place.length = frame.len();
        self.received.count += 1;
        true
    }

    /// The oldest frame that was sent, in place of what `out` held; false when there is none.
    pub fn take_sent(&mut self, out: &mut Vec<u8>) -> bool {
        if self.sent.count == 0 {
            return false;
        }
        let frame = self.sent.at(0);
        out.clear();
        out.extend_from_slice(&frame.bytes[..frame.length]);
        self.sent.drop_first(1);
        true
    }

    /// Lets `send` accept only `frames` frames until they are taken.
    pub fn limit_tx(&mut self, frames: usize) {
        self.tx_max = frames.min(self.sent.frames.len());
    }
}

impl Port for MemoryPort {
    fn receive(&mut self) -> usize {
        self.held = self.received.count.min(RECEIVE_BATCH);
        self.stats.rx_frames += self.held as u64;
        self.held
    }

    fn rx(&mut self, index: usize) -> &mut [u8] {
        debug_assert!(index < self.held, "only frames of the last receive");
        let frame = self.received.at(index);
        &mut frame.bytes[..frame.length]
    }

    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.received.drop_first(held);
    }

    fn tx_room(&self) -> usize {
        self.tx_max.saturating_sub(self.sent.count)
    }

    fn send(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.tx_room() == 0 {
            return false;
        }
        let count = self.sent.count;
        let frame = self.sent.at(count);
        frame.length = fill(&mut frame.bytes).min(FRAME_BYTES_MAX);
        if frame.length > 0 {
            self.sent.count += 1;
            self.stats.tx_frames += 1;
        }
        true
    }

    fn flush(&mut self) {}

    fn has_unsent(&self) -> bool {
        false
    }

    fn complete(&mut self) {}

    fn stats(&mut self) -> PortStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_pass_both_ways_in_order_and_bounded() {
        let mut port = MemoryPort::new(3);
        assert!(port.inject(b"1") && port.inject(b"22") && port.inject(b"333"));
        assert!(!port.inject(b"4"));
        assert_eq!(port.receive(), 3);
        assert_eq!(
            (port.rx(0).to_vec(), port.rx(2).to_vec()),
            (b"1".to_vec(), b"333".to_vec())
        );
        port.release();
        assert!(port.inject(b"5"));
        assert_eq!(port.receive(), 1);
        assert_eq!(port.rx(0), b"5");
        port.release();

        port.limit_tx(1);
        assert!(port.send(|_| 0));
        assert!(port.send(|out| (out[..2].copy_from_slice(b"ab"), 2).1));
        assert!(!port.send(|_| unreachable!()));
        let mut out = Vec::new();
        assert!(port.take_sent(&mut out) && !port.take_sent(&mut Vec::new()));
        assert_eq!(out, b"ab");
        let stats = port.stats();
        assert_eq!(
            (stats.rx_frames, stats.rx_dropped, stats.tx_frames),
            (4, 1, 1)
        );
    }
}
