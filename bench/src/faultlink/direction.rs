//! One direction of the wire: what happens to a frame from its arrival to its departure.
//!
//! The order of the fates is that of a radio link: the link may be down or in a bad spell, the frame
//! may be lost by itself or be too long, then it is damaged, then it waits for its turn on the air,
//! then it travels.

use std::collections::VecDeque;

use serde::Serialize;

use super::faults::Faults;
use super::frame;
use super::pipe::Pipe;
use crate::dice::Dice;
use crate::packet::{BATCH, PacketSocket};

/// Flows whose order is kept apart; two that meet in one place only share their order.
const FLOWS: usize = 16_384;
/// What a frame takes on a wire beside its bytes: preamble, checksum and gap.
const WIRE_BYTES: u64 = 24;

/// What happened, each frame under one of `sent` (twice if duplicated), the losses, or `in_flight`.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Stats {
    received: u64,
    received_bytes: u64,
    sent: u64,
    sent_bytes: u64,
    lost: u64,
    lost_in_bursts: u64,
    lost_link_down: u64,
    lost_syns: u64,
    lost_too_long: u64,
    lost_queue_full: u64,
    lost_pipe_full: u64,
    lost_unsendable: u64,
    duplicated: u64,
    corrupted: u64,
    cut: u64,
    reordered: u64,
    marked_ce: u64,
    /// The most that a frame left after it was due: what this process added to the delay.
    late_us_max: u64,
    in_flight: usize,
}

/// See the file's header.
#[derive(Debug)]
pub(super) struct Direction {
    faults: Faults,
    dice: Dice,
    stats: Stats,
    in_burst: bool,
    syns_seen: u64,
    /// When the wire has finished with all that is queued; and with each of it.
    wire_free_ns: u64,
    queue: VecDeque<u64>,
    /// When the last frame of each flow is due.
    flow_due_ns: Vec<u64>,
    pipe: Pipe,
    leaving: Vec<usize>,
    scratch: Vec<u8>,
}

impl Direction {
    /// An idle wire.
    pub(super) fn new(faults: Faults, seed: u64) -> Direction {
        Direction {
            faults,
            dice: Dice::new(seed),
            stats: Stats::default(),
            in_burst: false,
            syns_seen: 0,
            wire_free_ns: 0,
            queue: VecDeque::new(),
            flow_due_ns: vec![0; FLOWS],
            pipe: Pipe::default(),
            leaving: Vec::with_capacity(BATCH),
            scratch: Vec::new(),
        }
    }

    /// What happened so far.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            in_flight: self.pipe.len(),
            ..self.stats.clone()
        }
    }

    /// When there is something to send.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.pipe.due_ns()
    }

    /// A frame arrives, `up_ns` after the wire was opened.
    pub(super) fn take(&mut self, frame: &[u8], now_ns: u64, up_ns: u64) {
        self.stats.received += 1;
        self.stats.received_bytes += frame.len() as u64;
        if self.is_lost(frame, up_ns) {
            return;
        }
        let mut damaged = std::mem::take(&mut self.scratch);
        damaged.clear();
        damaged.extend_from_slice(frame);
        self.damage(&mut damaged);
        if let Some(leaves_ns) = self.serialise(damaged.len(), now_ns) {
            self.travel(&damaged, leaves_ns);
        }
        self.scratch = damaged;
    }

    fn is_lost(&mut self, frame: &[u8], up_ns: u64) -> bool {
        let (faults, dice, stats) = (&self.faults, &mut self.dice, &mut self.stats);
        let period_ns = faults.flap_up_ns + faults.flap_down_ns;
        if faults.flap_down_ns > 0 && up_ns % period_ns >= faults.flap_up_ns {
            stats.lost_link_down += 1;
            return true;
        }
        if faults.burst_enter_percent > 0.0 {
            self.in_burst = if self.in_burst {
                !dice.hit(faults.burst_leave_percent)
            } else {
                dice.hit(faults.burst_enter_percent)
            };
            if self.in_burst {
                stats.lost_in_bursts += 1;
                return true;
            }
        }
        if dice.hit(faults.loss_percent) {
            stats.lost += 1;
            return true;
        }
        if self.syns_seen < faults.syns_lost && frame::is_syn(frame) {
            self.syns_seen += 1;
            stats.lost_syns += 1;
            return true;
        }
        if faults.mtu_bytes > 0 && frame::is_longer(frame, faults.mtu_bytes) {
            stats.lost_too_long += 1;
            return true;
        }
        false
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let (faults, dice, stats) = (&self.faults, &mut self.dice, &mut self.stats);
        if dice.hit(faults.mark_ce_percent) && frame::mark_ce(bytes) {
            stats.marked_ce += 1;
        }
        let body_bytes = bytes.len().saturating_sub(frame::DAMAGE_FROM);
        if body_bytes > 0 && dice.hit(faults.corrupt_percent) {
            bytes[frame::DAMAGE_FROM + dice.index(body_bytes)] ^= 1 << dice.below(8);
            stats.corrupted += 1;
        }
        if body_bytes > 0 && dice.hit(faults.cut_percent) {
            bytes.truncate(frame::DAMAGE_FROM + dice.index(body_bytes));
            stats.cut += 1;
        }
    }

    /// When the frame's last bit leaves; `None` if it finds the queue full.
    fn serialise(&mut self, bytes: usize, now_ns: u64) -> Option<u64> {
        if self.faults.rate_mbit <= 0.0 {
            return Some(now_ns);
        }
        while self
            .queue
            .front()
            .is_some_and(|leaves_ns| *leaves_ns <= now_ns)
        {
            self.queue.pop_front();
        }
        if self.queue.len() >= self.faults.queue_frames {
            self.stats.lost_queue_full += 1;
            return None;
        }
        let bits = (bytes as u64 + WIRE_BYTES) * 8;
        let takes_ns = crate::swarm::seconds_to_ns(bits as f64 / self.faults.rate_mbit / 1e6);
        self.wire_free_ns = self.wire_free_ns.max(now_ns) + takes_ns;
        self.queue.push_back(self.wire_free_ns);
        Some(self.wire_free_ns)
    }

    fn travel(&mut self, bytes: &[u8], leaves_ns: u64) {
        let (faults, dice) = (&self.faults, &mut self.dice);
        let spread_ns = dice.below(2 * faults.jitter_ns + 1);
        let mut due_ns = leaves_ns + faults.delay_ns - faults.jitter_ns + spread_ns;
        let twice = dice.hit(faults.duplicate_percent);
        if dice.hit(faults.reorder_percent) {
            self.stats.reordered += 1;
            due_ns += faults.reorder_ns;
        } else {
            // The modulus is a power of two below 2^16.
            let place = usize::try_from(frame::flow(bytes) % FLOWS as u64).unwrap_or(0);
            due_ns = due_ns.max(self.flow_due_ns[place]);
            self.flow_due_ns[place] = due_ns;
        }
        if twice && self.pipe.put(due_ns, bytes) {
            self.stats.duplicated += 1;
        }
        if !self.pipe.put(due_ns, bytes) {
            self.stats.lost_pipe_full += 1;
        }
    }

    /// Sends what is due.
    pub(super) fn send_due(&mut self, now_ns: u64, to: &PacketSocket) {
        loop {
            if let Some(due_ns) = self.pipe.due_ns().filter(|due_ns| *due_ns <= now_ns) {
                let late_us = (now_ns - due_ns) / 1_000;
                self.stats.late_us_max = self.stats.late_us_max.max(late_us);
            }
            self.pipe.take_due(now_ns, BATCH, &mut self.leaving);
            if self.leaving.is_empty() {
                return;
            }
            let mut at = 0;
            while at < self.leaving.len() {
                let frames = self.leaving[at..]
                    .iter()
                    .map(|buffer| self.pipe.frame(*buffer));
                match to.send(frames) {
                    Ok(sent) if sent > 0 => {
                        let sent_now = &self.leaving[at..at + sent];
                        let bytes = sent_now
                            .iter()
                            .map(|one| self.pipe.frame(*one).len() as u64);
                        self.stats.sent_bytes += bytes.sum::<u64>();
                        self.stats.sent += sent as u64;
                        at += sent;
                    }
                    // The device does not want this one: too short, too long, or no room.
                    _ => {
                        self.stats.lost_unsendable += 1;
                        at += 1;
                    }
                }
            }
            self.pipe.release(&self.leaving);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 frame of flow `port` that carries `number`.
    fn numbered(port: u8, number: u16) -> Vec<u8> {
        let mut frame = vec![0; 100];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        frame[23] = 6;
        frame[35] = port;
        frame[60..62].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn direction(spec: &str) -> Direction {
        Direction::new(Faults::parse(spec, "").unwrap(), 42)
    }

    /// Takes out everything: when it was due, and what.
    fn drain(direction: &mut Direction) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        let mut one = Vec::new();
        while let Some(due_ns) = direction.pipe.due_ns() {
            direction.pipe.take_due(due_ns, 1, &mut one);
            out.push((due_ns, direction.pipe.frame(one[0]).to_vec()));
            direction.pipe.release(&one);
        }
        out
    }

    #[test]
    fn jitter_keeps_a_flows_order_and_varies_as_told() {
        let mut wire = direction("delay=20:5");
        for number in 0..2_000_u16 {
            let port = u8::try_from(number % 2).unwrap();
            wire.take(&numbered(port, number), u64::from(number) * 20_000_000, 0);
        }
        let out = drain(&mut wire);
        assert_eq!(out.len(), 2_000);
        for port in 0..2 {
            let flow = out.iter().filter(|(_, frame)| frame[35] == port);
            assert!(flow.map(|(_, frame)| frame[60..62].to_vec()).is_sorted());
        }
        let delay = |(due_ns, frame): &(u64, Vec<u8>)| {
            let number = u16::from_be_bytes([frame[60], frame[61]]);
            due_ns - u64::from(number) * 20_000_000
        };
        let mean_ns = out.iter().map(delay).sum::<u64>() / 2_000;
        assert!((19_500_000..20_500_000).contains(&mean_ns), "{mean_ns}");
        assert!(
            out.iter()
                .all(|one| (15_000_000..=25_000_000).contains(&delay(one)))
        );
        assert!(out.iter().any(|one| delay(one) < 16_000_000));
    }

    #[test]
    fn every_frame_is_accounted_for() {
        let spec =
            "loss=10,burst=2:30,dup=5,reorder=5:3,corrupt=5,cut=5,rate=80,queue=20,flap=50:5";
        let mut wire = direction(spec);
        for number in 0..10_000_u16 {
            let now_ns = u64::from(number) * 9_000;
            wire.take(&numbered(1, number), now_ns, now_ns);
        }
        let stats = wire.stats();
        let lost = stats.lost + stats.lost_in_bursts + stats.lost_link_down + stats.lost_queue_full;
        assert_eq!(
            stats.received,
            lost + stats.in_flight as u64 - stats.duplicated
        );
        for count in [
            stats.lost,
            stats.lost_in_bursts,
            stats.lost_link_down,
            stats.cut,
        ] {
            assert!(count > 100, "{stats:?}");
        }
        for count in [
            stats.lost_queue_full,
            stats.duplicated,
            stats.corrupted,
            stats.reordered,
        ] {
            assert!(count > 100, "{stats:?}");
        }
    }

    #[test]
    fn one_bit_is_flipped_behind_the_ethernet_header() {
        let mut wire = direction("corrupt=100");
        let frame = numbered(1, 1);
        (0..500).for_each(|_| wire.take(&frame, 0, 0));
        for (_, damaged) in drain(&mut wire) {
            let bits = frame
                .iter()
                .zip(&damaged)
                .map(|(a, b)| (a ^ b).count_ones());
            assert_eq!(bits.sum::<u32>(), 1);
            assert_eq!(frame[..14], damaged[..14]);
        }
    }

    #[test]
    fn a_rate_spaces_frames_and_a_full_queue_loses_them() {
        let mut wire = direction("rate=1,queue=3");
        (0..10).for_each(|number| wire.take(&numbered(1, number), 0, 0));
        let due: Vec<u64> = drain(&mut wire).iter().map(|(due_ns, _)| *due_ns).collect();
        assert_eq!(due, [992_000, 1_984_000, 2_976_000]);
        assert_eq!(wire.stats().lost_queue_full, 7);
    }

    #[test]
    fn first_syns_and_long_packets_are_lost() {
        let mut wire = direction("syn=2,mtu=80");
        let mut syn = numbered(1, 0);
        syn[47] = 2;
        syn.truncate(60);
        (0..5).for_each(|_| wire.take(&syn, 0, 0));
        wire.take(&numbered(1, 1), 0, 0);
        let stats = wire.stats();
        assert_eq!(
            (stats.lost_syns, stats.lost_too_long, stats.in_flight),
            (2, 1, 3)
        );
    }

    #[test]
    fn the_seed_decides() {
        let run = |seed| {
            let mut wire = Direction::new(Faults::parse("loss=30,delay=5:5", "").unwrap(), seed);
            (0..200).for_each(|number| wire.take(&numbered(1, number), 0, 0));
            drain(&mut wire)
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
