//! A port with little room, and a wire behind it that loses.

use engine::port::{FRAME_BYTES_MAX, Port, PortStats};

/// Frames that were sent and not looked at.
pub(super) struct Wire {
    frames: Vec<Vec<u8>>,
    buffer: Box<[u8; FRAME_BYTES_MAX]>,
    room: usize,
    lose: usize,
}

impl Wire {
    pub(super) fn new() -> Wire {
        Wire {
            frames: Vec::new(),
            buffer: Box::new([0; FRAME_BYTES_MAX]),
            room: usize::MAX,
            lose: 0,
        }
    }

    /// Takes only `frames` frames from now on.
    pub(super) fn limit(&mut self, frames: usize) {
        self.room = frames;
    }

    /// The next `frames` frames do not arrive.
    pub(super) fn lose_next(&mut self, frames: usize) {
        self.lose = frames;
    }

    /// Gives every frame to `see`, with whether it gets lost.
    pub(super) fn take(&mut self, mut see: impl FnMut(&[u8], bool)) {
        for frame in self.frames.drain(..) {
            let lost = self.lose > 0;
            self.lose -= usize::from(lost);
            see(&frame, lost);
        }
    }
}

impl Port for Wire {
    fn receive(&mut self) -> usize {
        0
    }

    fn rx(&mut self, _: usize) -> &mut [u8] {
        &mut []
    }

    fn release(&mut self) {}

    fn tx_room(&self) -> usize {
        self.room
    }

    fn send(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        assert!(self.frames.len() < 4_000, "sending never ends");
        if self.room == 0 {
            return false;
        }
        let length = fill(&mut self.buffer[..]);
        if length > 0 {
            self.room = self.room.saturating_sub(1);
            self.frames.push(self.buffer[..length].to_vec());
        }
        true
    }

    fn flush(&mut self) {}

    fn has_unsent(&self) -> bool {
        false
    }

    fn complete(&mut self) {}

    fn stats(&mut self) -> PortStats {
        PortStats::default()
    }
}
