//! Frames that reached the wrong core.
//!
//! A NIC may move a flow to another queue: the indirection table changed, or (on veth) the peer's
//! kernel picked another transmit queue after a retransmission timeout. A core that does not know a
//! segment's flow hands the frame to its right-hand neighbour; the frame goes round until its owner
//! takes it or the last core refuses it with a RST. One bounded ring a core; a frame that finds it
//! full is dropped and counted, and TCP sends it again.

use crate::port::FRAME_BYTES_MAX;
use crate::ring::bytes::{Reader, Writer, ring};

/// Bytes of a mailbox: some hundred full frames. Misdirected frames are rare; a burst of them (all
/// flows moved at once) is throttled to what the ring holds a turn.
const MAILBOX_BYTES: usize = 512 * 1024;

/// One core's place in the circle.
#[derive(Debug)]
pub struct Mailbox {
    /// Cores in the circle.
    pub cores: u8,
    right: Writer,
    left: Reader,
    scratch: Vec<u8>,
    /// Something was handed over since the flag was last cleared: the neighbour's doorbell is due.
    pub wrote: bool,
}

/// The mailboxes of `cores` data cores, joined in a circle.
pub fn circle(cores: u8) -> Vec<Mailbox> {
    let record_max = FRAME_BYTES_MAX + 1;
    let rings = (0..cores).map(|_| ring(MAILBOX_BYTES, record_max));
    let (writers, mut readers): (Vec<Writer>, Vec<Reader>) = rings.unzip();
    // Core i writes ring i, which core i + 1 reads.
    readers.rotate_right(usize::from(cores > 1));
    let join = |(right, left)| Mailbox {
        cores,
        right,
        left,
        scratch: Vec::with_capacity(record_max),
        wrote: false,
    };
    writers.into_iter().zip(readers).map(join).collect()
}

impl Mailbox {
    /// Hands `frame` on after it has visited `visited` other cores; false when it is full.
    pub fn hand_over(&mut self, visited: u8, frame: &[u8]) -> bool {
        if frame.len() > FRAME_BYTES_MAX {
            return false;
        }
        self.scratch.clear();
        self.scratch.push(visited + 1);
        self.scratch.extend_from_slice(frame);
        let done = self.right.push(&self.scratch).is_ok();
        self.wrote |= done;
        done
    }

    /// Takes a frame handed over by the left-hand neighbour into `frame`; gives how many cores it
    /// has visited.
    pub fn receive(&mut self, frame: &mut Vec<u8>) -> Option<u8> {
        let record = self.left.pop()?;
        let (&visited, bytes) = record.split_first()?;
        frame.clear();
        frame.extend_from_slice(bytes);
        Some(visited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_round_to_the_right() {
        let mut circle = circle(3);
        let mut frame = Vec::new();
        assert!(circle[0].hand_over(0, b"abc"));
        assert_eq!(circle[0].receive(&mut frame), None);
        assert_eq!(circle[2].receive(&mut frame), None);
        assert_eq!(circle[1].receive(&mut frame), Some(1));
        assert!(circle[1].hand_over(1, &frame));
        assert_eq!(circle[2].receive(&mut frame), Some(2));
        assert_eq!(frame, b"abc");
    }
}
