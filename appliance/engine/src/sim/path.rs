//! One direction of one player's path: what happens to a frame between two stacks.
//!
//! In order: link cut, MTU, loss, bandwidth and queue, delay, jitter, reordering, pause, duplication,
//! bit errors. A path holds no frames; it says when they arrive, and the world keeps them.
//!
//! Invariants: with `keeps_order` nothing overtakes (but what `reorder_ppm` holds back); a frame is
//! never held longer than [`Faults::delay_max`] plus what is left of a pause.
//!
//! Bit errors are one bit, or a run shorter than 16 bits: what the Internet checksum is sure to find
//! (RFC 1071). Errors it cannot find are not TCP's to repair.

use crate::sim::random::Random;
use crate::units::Micros;

/// Bytes in front of the IP packet: not counted against the MTU, never damaged.
const LINK_BYTES: usize = 14;

/// What a direction does to frames.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Frames lost, each by itself.
    pub loss_ppm: u64,
    /// Frames lost in bursts.
    pub burst: Option<Burst>,
    /// Frames held back by `reorder_by`, so that later ones overtake.
    pub reorder_ppm: u64,
    /// How long.
    pub reorder_by: Micros,
    /// Frames that come twice.
    pub duplicate_ppm: u64,
    /// Frames with bit errors.
    pub corrupt_ppm: u64,
    /// Frames marked instead of lost, if their sender understands marks (RFC 3168 section 5).
    pub mark_ppm: u64,
    /// Propagation.
    pub delay: Micros,
    /// Up to this much more, each frame by itself.
    pub jitter: Micros,
    /// Jitter delays later frames as well, instead of letting them overtake.
    pub keeps_order: bool,
    /// Serialisation rate; 0 means none.
    pub bytes_per_second: u64,
    /// Bytes that wait for it; more are dropped at the tail.
    pub queue_bytes: u64,
    /// Longest IP packet; longer ones vanish, as behind a router that sends no ICMP. 0 means none.
    pub mtu: usize,
    /// When nothing passes, in order of time.
    pub outages: Vec<Outage>,
}

/// Gilbert and Elliott's channel: a good state without loss and a bad one.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    /// Chance to turn bad, each frame.
    pub enter_ppm: u64,
    /// Chance to turn good again.
    pub leave_ppm: u64,
    /// Loss in the bad state.
    pub loss_ppm: u64,
}

/// A time when nothing passes, counted from the start of the run.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// First moment.
    pub from: Micros,
    /// First moment after.
    pub until: Micros,
    /// Frames wait for the end (a radio that stalls) instead of being lost (a cut).
    pub holds: bool,
}

impl Faults {
    /// Longest time a frame is under way, pauses left out.
    pub fn delay_max(&self) -> Micros {
        let queue = (self.queue_bytes + 2 * 1_518) * 1_000_000;
        let wait = queue.checked_div(self.bytes_per_second).unwrap_or(0);
        Micros(self.delay.0 + self.jitter.0 + self.reorder_by.0 + wait)
    }

    /// How much of `from .. until` lies in outages, `start` being the start of the run.
    pub fn outage_in(&self, start: Micros, from: Micros, until: Micros) -> Micros {
        let overlap = |outage: &Outage| {
            let first = (start + outage.from).max(from);
            (start + outage.until).min(until).since(first).0
        };
        Micros(self.outages.iter().map(overlap).sum())
    }
}

/// Why a frame did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// By chance, alone or in a burst.
    Random,
    /// The queue was full.
    Queue,
    /// Longer than the MTU.
    Mtu,
    /// The link was cut.
    Cut,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does not arrive.
    Lost(Loss),
    /// It arrives.
    Arrives {
        /// When.
        at: Micros,
        /// When once more.
        again: Option<Micros>,
        /// It was damaged.
        damaged: bool,
        /// It was held back behind later ones, or overtook.
        late: bool,
    },
}

/// State of one direction.
#[derive(Debug)]
pub struct Path {
    faults: Faults,
    random: Random,
    start: Micros,
    /// In the bad state of [`Burst`].
    bad: bool,
    /// When the last frame has left the queue.
    free_at: Micros,
    /// The latest arrival so far.
    last_at: Micros,
}

impl Path {
    /// A path whose outages count from `start`.
    pub fn new(faults: Faults, random: Random, start: Micros) -> Path {
        Path {
            faults,
            random,
            start,
            bad: false,
            free_at: start,
            last_at: start,
        }
    }

    /// Sends a frame on its way at `now`; bit errors are made in place.
    pub fn put(&mut self, now: Micros, frame: &mut [u8]) -> Fate {
        let faults = &self.faults;
        let outage = self.outage_at(now);
        if outage.is_some_and(|outage| !outage.holds) {
            return Fate::Lost(Loss::Cut);
        }
        let packet_bytes = frame.len().saturating_sub(LINK_BYTES);
        if faults.mtu > 0 && packet_bytes > faults.mtu {
            return Fate::Lost(Loss::Mtu);
        }
        if self.is_lost() {
            return Fate::Lost(Loss::Random);
        }
        let Some(left_at) = self.leave(now, packet_bytes as u64) else {
            return Fate::Lost(Loss::Queue);
        };
        let faults = &self.faults;
        let mut at = left_at + faults.delay + Micros(self.random.below(faults.jitter.0 + 1));
        if faults.keeps_order {
            at = at.max(self.last_at);
        }
        if let Some(outage) = self.outage_at(at) {
            if !outage.holds {
                return Fate::Lost(Loss::Cut);
            }
            at = self.start + outage.until;
        }
        let held = self.random.hit(self.faults.reorder_ppm);
        let late = held || at < self.last_at;
        self.last_at = self.last_at.max(at);
        if held {
            at = at + self.faults.reorder_by;
        }
        let damaged = self.random.hit(self.faults.corrupt_ppm);
        if damaged {
            self.damage(frame);
        }
        if self.random.hit(self.faults.mark_ppm) {
            mark(frame);
        }
        let twice = !damaged && self.random.hit(self.faults.duplicate_ppm);
        let again = twice.then(|| at + Micros(self.random.below(2_000)));
        Fate::Arrives {
            at,
            again,
            damaged,
            late,
        }
    }

    fn outage_at(&self, now: Micros) -> Option<Outage> {
        let since = now.since(self.start);
        let holds_now = |outage: &&Outage| outage.from <= since && since < outage.until;
        self.faults.outages.iter().find(holds_now).copied()
    }

    fn is_lost(&mut self) -> bool {
        if let Some(burst) = self.faults.burst {
            let turn = if self.bad {
                burst.leave_ppm
            } else {
                burst.enter_ppm
            };
            self.bad ^= self.random.hit(turn);
            if self.bad && self.random.hit(burst.loss_ppm) {
                return true;
            }
        }
        self.random.hit(self.faults.loss_ppm)
    }

    /// When the frame's last bit has left the queue; none when it does not fit.
    fn leave(&mut self, now: Micros, bytes: u64) -> Option<Micros> {
        let rate = self.faults.bytes_per_second;
        if rate == 0 {
            return Some(now);
        }
        let waiting = self.free_at.since(now).0 * rate / 1_000_000;
        if waiting + bytes > self.faults.queue_bytes {
            return None;
        }
        self.free_at = self.free_at.max(now) + Micros(bytes * 1_000_000 / rate);
        Some(self.free_at)
    }

    fn damage(&mut self, frame: &mut [u8]) {
        let bits = (frame.len().saturating_sub(LINK_BYTES) * 8) as u64;
        let first = self.random.below(bits);
        let run = if self.random.hit(700_000) {
            1
        } else {
            self.random.between(2, 15)
        };
        for bit in first..(first + run).min(bits) {
            let byte = LINK_BYTES + usize::try_from(bit / 8).unwrap_or(0);
            frame[byte] ^= 0x80 >> (bit % 8);
        }
    }
}

/// Turns ECT(0) into CE in an IPv4 header and keeps its checksum (RFC 1624).
fn mark(frame: &mut [u8]) {
    let Some(header) = frame.get_mut(LINK_BYTES..LINK_BYTES + 20) else {
        return;
    };
    if header[0] >> 4 != 4 || header[1] & 0b11 != 0b10 {
        return;
    }
    header[1] |= 0b01;
    let sum = u16::from_be_bytes([header[10], header[11]]);
    // One more in a word is one less in the complement of the sum.
    let (less, borrowed) = sum.overflowing_sub(1);
    let sum = less.wrapping_sub(u16::from(borrowed));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(faults: Faults) -> Path {
        Path::new(faults, Random::new(5), Micros(0))
    }

    fn lost(path: &mut Path, frames: u64) -> usize {
        (0..frames)
            .filter(|&n| matches!(path.put(Micros(n * 1_000), &mut [0; 200]), Fate::Lost(_)))
            .count()
    }

    #[test]
    fn loses_as_many_as_it_is_told() {
        let mut random = path(Faults {
            loss_ppm: 30_000,
            ..Faults::default()
        });
        assert!((2_700..3_300).contains(&lost(&mut random, 100_000)));
        // Bad one frame in eleven (10,000 / 110,000), half of those lost.
        let mut bursts = path(Faults {
            burst: Some(Burst {
                enter_ppm: 10_000,
                leave_ppm: 100_000,
                loss_ppm: 500_000,
            }),
            ..Faults::default()
        });
        assert!((4_000..5_100).contains(&lost(&mut bursts, 100_000)));
    }

    #[test]
    fn a_queue_fills_drains_and_keeps_its_rate() {
        let mut path = path(Faults {
            bytes_per_second: 100_000,
            queue_bytes: 3_000,
            delay: Micros(500),
            ..Faults::default()
        });
        let mut put = |now| path.put(Micros(now), &mut [0; 1_014]);
        let arrives = |at| Fate::Arrives {
            at: Micros(at),
            again: None,
            damaged: false,
            late: false,
        };
        assert_eq!(put(0), arrives(10_500));
        assert_eq!(put(0), arrives(20_500));
        assert_eq!(put(0), arrives(30_500));
        assert_eq!(put(0), Fate::Lost(Loss::Queue));
        assert_eq!(put(10_000), arrives(40_500));
        assert_eq!(put(90_000), arrives(100_500));
    }

    #[test]
    fn outages_cut_or_hold_and_long_packets_vanish() {
        let outage = |from, until, holds| Outage {
            from: Micros(from),
            until: Micros(until),
            holds,
        };
        let mut path = path(Faults {
            mtu: 1_300,
            outages: vec![outage(100, 200, false), outage(300, 400, true)],
            ..Faults::default()
        });
        let mut put = |now, bytes| path.put(Micros(now), &mut vec![0; bytes]);
        assert_eq!(put(150, 100), Fate::Lost(Loss::Cut));
        assert_eq!(put(250, 1_315), Fate::Lost(Loss::Mtu));
        assert!(matches!(put(250, 1_314), Fate::Arrives { at, .. } if at == Micros(250)));
        assert!(matches!(put(350, 100), Fate::Arrives { at, .. } if at == Micros(400)));
    }
}
