//! What is in flight: one record a segment that was sent and is not acknowledged, in the order of
//! the stream, with when it was last sent and what is known of it. The scoreboard of RFC 6675 and
//! the transmission times of RFC 8985.
//!
//! Records are nodes of one pool a core. Each connection owns one node; further ones come from what
//! is left, and when nothing is left the last record grows instead: then a loss is found and
//! repaired in larger steps, but nothing is forgotten. Nothing is allocated after `new`.
//!
//! Invariants: records touch, the first begins at SND.UNA and the last ends at SND.NXT. A record is
//! never SACKED and LOST at once. `sacked` and `lost` are the sums over the records.

use crate::memory::slab::NONE;
use crate::tcp::conn::positive;
use crate::tcp::moment::Stamp;
use crate::wire::seq::Seq;

/// Records of a connection at most, so that none takes the whole pool, and that to look through them at
/// each acknowledgement has a bound. The largest window of full segments is 720.
const RECORDS_MAX: u16 = 1024;

/// In use.
const USED: u8 = 1;
/// The peer has it (RFC 2018).
const SACKED: u8 = 2;
/// Taken for lost and not sent again since.
const LOST: u8 = 4;
/// Was sent more than once.
const RESENT: u8 = 8;
/// Only its first segment was sent again: it could not be split.
const PARTLY: u8 = 16;

#[derive(Debug, Clone, Copy)]
struct Node {
    /// After the last sequence number; the first one is the end of the record before.
    end: Seq,
    sent_at: Stamp,
    next: u32,
    flags: u8,
}

const _: () = assert!(
    size_of::<Node>() == 16,
    "a node a connection is in its budget"
);

/// The records of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    first: u32,
    last: u32,
    /// Bytes the peer holds beyond SND.UNA.
    sacked: u32,
    /// Bytes taken for lost and not sent again.
    lost: u32,
    count: u16,
    sacked_count: u16,
}

impl Default for Flight {
    fn default() -> Flight {
        Flight {
            first: NONE,
            last: NONE,
            sacked: 0,
            lost: 0,
            count: 0,
            sacked_count: 0,
        }
    }
}

impl Flight {
    /// Bytes the peer holds beyond SND.UNA.
    pub(super) fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Bytes that have left the network without having arrived, as far as is known.
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    /// Records.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Records the peer holds.
    pub(super) fn sacked_count(&self) -> u16 {
        self.sacked_count
    }
}

/// A record as the callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    index: u32,
    /// First sequence number.
    pub(super) start: Seq,
    /// After the last sequence number.
    pub(super) end: Seq,
    /// When it was last sent.
    pub(super) sent_at: Stamp,
    /// It was sent more than once.
    pub(super) resent: bool,
}

/// The nodes of one core.
#[derive(Debug)]
pub(super) struct Flights {
    nodes: Vec<Node>,
    /// Nodes that belong to no connection.
    free: Vec<u32>,
    shared: usize,
}

impl Flights {
    /// One node for each of `connections`, and `shared` more.
    pub(super) fn new(connections: u32, shared: u32) -> Flights {
        let node = Node {
            end: Seq(0),
            sent_at: Stamp::default(),
            next: NONE,
            flags: 0,
        };
        let all = connections + shared;
        Flights {
            nodes: vec![node; all as usize],
            free: (connections..all).rev().collect(),
            shared: shared as usize,
        }
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }

    /// Shared nodes in use.
    pub(super) fn used(&self) -> usize {
        self.shared - self.free.len()
    }

    fn get(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn take(&mut self, slot: u32) -> Option<u32> {
        let index = match self.get(slot) {
            Some(own) if own.flags & USED == 0 => slot,
            _ => self.free.pop()?,
        };
        Some(index)
    }

    fn give_back(&mut self, index: u32) {
        self.nodes[index as usize].flags = 0;
        if index as usize >= self.nodes.len() - self.shared {
            self.free.push(index);
        }
    }

    /// New data up to `end` was sent by the connection in `slot`, whose SND.UNA is `una`; false when
    /// the record before had to grow.
    pub(super) fn push(
        &mut self,
        flight: &mut Flight,
        (slot, una): (u32, Seq),
        end: Seq,
        now: Stamp,
    ) -> bool {
        let room = flight.count < RECORDS_MAX;
        let Some(index) = room.then(|| self.take(slot)).flatten() else {
            // The connection's own node is in its list, so there is a last one.
            let last = &mut self.nodes[flight.last as usize];
            let was = last.flags;
            let length = positive(end.since(last.end));
            last.end = end;
            last.sent_at = now;
            last.flags &= !SACKED;
            if was & LOST != 0 {
                flight.lost += length;
            }
            if was & SACKED != 0 {
                self.recount(flight, una);
            }
            return false;
        };
        self.nodes[index as usize] = Node {
            end,
            sent_at: now,
            next: NONE,
            flags: USED,
        };
        match self.nodes.get_mut(flight.last as usize) {
            Some(last) => last.next = index,
            None => flight.first = index,
        }
        flight.last = index;
        flight.count += 1;
        true
    }

    /// The sums over what the peer holds, anew: for the rare case that a held record has grown.
    fn recount(&self, flight: &mut Flight, una: Seq) {
        flight.sacked = 0;
        flight.sacked_count = 0;
        let mut start = una;
        let mut index = flight.first;
        while let Some(node) = self.get(index) {
            if node.flags & SACKED != 0 {
                flight.sacked_count += 1;
                flight.sacked += positive(node.end.since(start));
            }
            start = node.end;
            index = node.next;
        }
    }

    /// Everything before `ack` has arrived (SND.UNA was `una`). `delivered` is told of each record
    /// that was not known to have arrived; gives the bytes of those.
    pub(super) fn on_cumulative(
        &mut self,
        flight: &mut Flight,
        una: Seq,
        ack: Seq,
        mut delivered: impl FnMut(Sent),
    ) -> u32 {
        let mut start = una;
        let mut bytes = 0;
        while let Some(node) = self.get(flight.first).copied() {
            let whole = !node.end.after(ack);
            let end = if whole { node.end } else { ack };
            let length = positive(end.since(start));
            if node.flags & SACKED != 0 {
                flight.sacked -= length;
                flight.sacked_count -= u16::from(whole);
            } else {
                bytes += length;
            }
            if node.flags & LOST != 0 {
                flight.lost -= length;
            }
            if !whole {
                self.on_part(flight, ack);
                break;
            }
            if node.flags & SACKED == 0 {
                delivered(sent(flight.first, start, &node));
            }
            self.give_back(flight.first);
            flight.first = node.next;
            flight.count -= 1;
            start = node.end;
        }
        if flight.count == 0 {
            *flight = Flight::default();
        }
        bytes
    }

    /// The first record is acknowledged up to `ack` only. What could not be split is lost from there
    /// on (as a partial acknowledgment in RFC 6582).
    fn on_part(&mut self, flight: &mut Flight, ack: Seq) {
        let node = &mut self.nodes[flight.first as usize];
        if node.flags & PARTLY != 0 && node.flags & (LOST | SACKED) == 0 {
            node.flags = node.flags & !PARTLY | LOST;
            flight.lost += positive(node.end.since(ack));
        }
    }

    /// The peer says it holds `from..to` (RFC 2018 section 3). Only whole records count: a part is
    /// sent again with the rest.
    pub(super) fn on_sack(
        &mut self,
        flight: &mut Flight,
        una: Seq,
        (from, to): (Seq, Seq),
        mut delivered: impl FnMut(Sent),
    ) -> u32 {
        let mut bytes = 0;
        let mut start = una;
        let mut index = flight.first;
        while let Some(node) = self.nodes.get_mut(index as usize) {
            if !start.before(to) {
                break;
            }
            let covered = !start.before(from) && !node.end.after(to);
            if covered && node.flags & SACKED == 0 {
                let length = positive(node.end.since(start));
                if node.flags & LOST != 0 {
                    flight.lost -= length;
                }
                let told = sent(index, start, node);
                node.flags = node.flags & !(LOST | PARTLY) | SACKED;
                flight.sacked += length;
                flight.sacked_count += 1;
                bytes += length;
                delivered(told);
            }
            start = node.end;
            index = node.next;
        }
        bytes
    }

    /// Marks as lost what `is_lost` says of the records that are neither held nor lost; gives the
    /// bytes.
    pub(super) fn mark_lost(
        &mut self,
        flight: &mut Flight,
        una: Seq,
        mut is_lost: impl FnMut(&Sent) -> bool,
    ) -> u32 {
        let mut bytes = 0;
        let mut start = una;
        let mut index = flight.first;
        while let Some(node) = self.nodes.get_mut(index as usize) {
            if node.flags & (SACKED | LOST) == 0 && is_lost(&sent(index, start, node)) {
                node.flags = node.flags & !PARTLY | LOST;
                bytes += positive(node.end.since(start));
            }
            start = node.end;
            index = node.next;
        }
        flight.lost += bytes;
        bytes
    }

    /// Losses that were none: nothing is lost any more.
    pub(super) fn unmark_lost(&mut self, flight: &mut Flight) {
        let mut index = flight.first;
        while let Some(node) = self.nodes.get_mut(index as usize) {
            node.flags &= !LOST;
            index = node.next;
        }
        flight.lost = 0;
    }

    /// The peer does not hold what it said it held (RFC 2018 section 8): the next to be acknowledged
    /// is among it.
    pub(super) fn forget_if_reneged(&mut self, flight: &mut Flight) -> bool {
        let reneged = self
            .get(flight.first)
            .is_some_and(|node| node.flags & SACKED != 0);
        let mut index = flight.first;
        while reneged && let Some(node) = self.nodes.get_mut(index as usize) {
            node.flags &= !SACKED;
            index = node.next;
        }
        if reneged {
            flight.sacked = 0;
            flight.sacked_count = 0;
        }
        reneged
    }

    /// The first record that is lost.
    pub(super) fn first_lost(&self, flight: &Flight, una: Seq) -> Option<Sent> {
        if flight.lost == 0 {
            return None;
        }
        self.find(flight, una, |node| node.flags & LOST != 0)
    }

    /// The last record, unless the peer holds it.
    pub(super) fn last(&self, flight: &Flight, una: Seq) -> Option<Sent> {
        let last = flight.last;
        self.get(last).filter(|node| node.flags & SACKED == 0)?;
        let mut found = None;
        let mut start = una;
        let mut index = flight.first;
        while let Some(node) = self.get(index) {
            found = Some(sent(index, start, node));
            start = node.end;
            index = node.next;
        }
        found
    }

    /// The first of the records at the end that the peer does not hold and that, up to SND.NXT
    /// (`nxt`), come to at most `bytes`.
    pub(super) fn tail(&self, flight: &Flight, una: Seq, nxt: Seq, bytes: u32) -> Option<Sent> {
        let mut found = None;
        let mut start = una;
        let mut index = flight.first;
        while let Some(node) = self.get(index) {
            if node.flags & SACKED != 0 {
                found = None;
            } else if found.is_none() && positive(nxt.since(start)) <= bytes {
                found = Some(sent(index, start, node));
            }
            start = node.end;
            index = node.next;
        }
        found
    }

    fn find(&self, flight: &Flight, una: Seq, is: impl Fn(&Node) -> bool) -> Option<Sent> {
        let mut start = una;
        let mut index = flight.first;
        while let Some(node) = self.get(index) {
            if is(node) {
                return Some(sent(index, start, node));
            }
            start = node.end;
            index = node.next;
        }
        None
    }

    /// What is sent when `record` is sent again in segments of at most `mss` bytes: the lost records
    /// behind it join in as long as there is room, and what is too long is split.
    pub(super) fn fit(&mut self, flight: &mut Flight, slot: u32, record: Sent, mss: u32) -> Sent {
        let index = record.index as usize;
        let mut node = self.nodes[index];
        while node.flags & LOST != 0
            && let Some(next) = self.get(node.next).copied()
            && next.flags & LOST != 0
            && positive(node.end.since(record.start)) < mss
        {
            let gone = node.next;
            node.end = next.end;
            node.next = next.next;
            self.give_back(gone);
            flight.count -= 1;
            if flight.last == gone {
                flight.last = record.index;
            }
        }
        if positive(node.end.since(record.start)) > mss
            && flight.count < u16::MAX
            && let Some(rest) = self.take(slot)
        {
            self.nodes[rest as usize] = node;
            if flight.last == record.index {
                flight.last = rest;
            }
            flight.count += 1;
            node.end = record.start + mss;
            node.next = rest;
        }
        self.nodes[index] = node;
        sent(record.index, record.start, &node)
    }

    /// `record` was sent again up to `end`.
    pub(super) fn on_resent(&mut self, flight: &mut Flight, record: Sent, end: Seq, now: Stamp) {
        let node = &mut self.nodes[record.index as usize];
        if node.flags & LOST != 0 {
            flight.lost -= positive(node.end.since(record.start));
        }
        node.flags = node.flags & !(LOST | PARTLY) | RESENT;
        if end.before(node.end) {
            node.flags |= PARTLY;
        }
        node.sent_at = now;
    }

    /// `record` and all behind it were sent again together with new data up to `end`: one record
    /// from now on. Its last bytes were sent once only, so it is as good as new for measurements.
    pub(super) fn on_bundled(&mut self, flight: &mut Flight, record: Sent, end: Seq, now: Stamp) {
        self.join(flight, record);
        let node = &mut self.nodes[record.index as usize];
        node.end = end;
        node.sent_at = now;
        node.flags = USED;
    }

    /// `record` and all behind it, up to `end`, were sent again.
    pub(super) fn on_probed(&mut self, flight: &mut Flight, record: Sent, end: Seq, now: Stamp) {
        let last = self.nodes[flight.last as usize].end;
        if end == last {
            self.join(flight, record);
        }
        self.on_resent(flight, record, end, now);
    }

    /// Makes one record of `record` and all behind it, none of which the peer holds.
    fn join(&mut self, flight: &mut Flight, record: Sent) {
        let mut start = record.start;
        let mut index = record.index;
        while let Some(node) = self.get(index).copied() {
            if node.flags & LOST != 0 {
                flight.lost -= positive(node.end.since(start));
            }
            start = node.end;
            if index != record.index {
                self.give_back(index);
                flight.count -= 1;
            }
            index = node.next;
        }
        let node = &mut self.nodes[record.index as usize];
        node.end = start;
        node.next = NONE;
        node.flags &= !(LOST | PARTLY);
        flight.last = record.index;
    }

    /// Gives everything back.
    pub(super) fn clear(&mut self, flight: &mut Flight) {
        let mut index = flight.first;
        while let Some(node) = self.get(index) {
            let next = node.next;
            self.give_back(index);
            index = next;
        }
        *flight = Flight::default();
    }
}

fn sent(index: u32, start: Seq, node: &Node) -> Sent {
    Sent {
        index,
        start,
        end: node.end,
        sent_at: node.sent_at,
        resent: node.flags & RESENT != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_connection_takes_more_than_its_share() {
        let mut flights = Flights::new(2, 70_000);
        let mut flight = Flight::default();
        let mut refused = 0;
        for end in 1..=70_000 {
            let kept = flights.push(&mut flight, (1, Seq(0)), Seq(end), Stamp::default());
            refused += usize::from(!kept);
        }
        assert_eq!(flight.count(), RECORDS_MAX);
        assert_eq!(refused, 70_000 - usize::from(RECORDS_MAX));
        assert_eq!(flights.used(), usize::from(RECORDS_MAX) - 1);
        flights.on_cumulative(&mut flight, Seq(0), Seq(70_000), |_| {});
        assert_eq!((flight.count(), flights.used()), (0, 0));
    }

    /// The invariants of the file's header, by looking at every record.
    #[track_caller]
    fn check(flights: &Flights, flight: &Flight, una: Seq, nxt: Seq) {
        let (mut sacked, mut lost, mut count, mut sacked_count) = (0, 0, 0, 0);
        let (mut start, mut last, mut index) = (una, NONE, flight.first);
        while let Some(node) = flights.get(index) {
            let length = positive(node.end.since(start));
            assert!(length > 0 && node.flags & USED != 0);
            assert!(node.flags & (SACKED | LOST) != SACKED | LOST);
            count += 1;
            if node.flags & SACKED != 0 {
                sacked += length;
                sacked_count += 1;
            }
            lost += if node.flags & LOST != 0 { length } else { 0 };
            (start, last, index) = (node.end, index, node.next);
        }
        assert_eq!(start, nxt);
        assert_eq!((flight.sacked, flight.lost), (sacked, lost));
        assert_eq!((flight.count, flight.sacked_count), (count, sacked_count));
        assert_eq!(flight.last, last);
        let used = flights.nodes.iter().filter(|node| node.flags & USED != 0);
        assert_eq!(used.count(), usize::from(count));
    }

    #[test]
    fn whatever_happens_records_touch_and_the_sums_are_right() {
        let (mut state, mut una, mut nxt) = (7_u32, Seq(u32::MAX - 500), Seq(u32::MAX - 500));
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below.max(1)
        };
        let (mut flights, mut flight) = (Flights::new(1, 12), Flight::default());
        for step in 0..200_000 {
            let now = Stamp::of(crate::units::Micros(step));
            let span = positive(nxt.since(una));
            let new = nxt + 1 + random(30);
            match random(8) {
                0 | 1 => {
                    flights.push(&mut flight, (0, una), new, now);
                    nxt = new;
                }
                2 => {
                    let from = una + random(span);
                    let to = from + random(60);
                    flights.on_sack(&mut flight, una, (from, to), |_| {});
                }
                3 => {
                    let mask = random(4);
                    flights.mark_lost(&mut flight, una, |sent| sent.end.0 & 3 != mask);
                }
                4 => {
                    if let Some(lost) = flights.first_lost(&flight, una) {
                        let fit = flights.fit(&mut flight, 0, lost, 20);
                        check(&flights, &flight, una, nxt);
                        let end = fit.start + positive(fit.end.since(fit.start)).min(20);
                        flights.on_resent(&mut flight, fit, end, now);
                    }
                }
                5 => {
                    let ack = una + random(span + 1);
                    flights.on_cumulative(&mut flight, una, ack, |_| {});
                    una = ack;
                }
                6 => {
                    if let Some(from) = flights.tail(&flight, una, nxt, 40) {
                        if random(2) == 0 {
                            flights.on_probed(&mut flight, from, nxt, now);
                        } else {
                            flights.on_bundled(&mut flight, from, new, now);
                            nxt = new;
                        }
                    }
                }
                _ if random(8) == 0 => flights.unmark_lost(&mut flight),
                _ if random(8) == 0 => _ = flights.forget_if_reneged(&mut flight),
                _ => {}
            }
            check(&flights, &flight, una, nxt);
        }
        flights.clear(&mut flight);
        assert_eq!(flights.used(), 0);
    }

    #[test]
    fn rfc6582_what_could_not_be_split_is_lost_behind_a_partial_acknowledgement() {
        let (mut flights, mut flight) = (Flights::new(1, 0), Flight::default());
        for end in [10, 20] {
            flights.push(&mut flight, (0, Seq(0)), Seq(end), Stamp::default());
        }
        flights.mark_lost(&mut flight, Seq(0), |_| true);
        let lost = flights.first_lost(&flight, Seq(0)).unwrap();
        let lost = flights.fit(&mut flight, 0, lost, 10);
        flights.on_resent(&mut flight, lost, Seq(10), Stamp::default());
        assert_eq!(flight.lost(), 0);
        flights.on_cumulative(&mut flight, Seq(0), Seq(10), |_| {});
        assert_eq!(flight.lost(), 10);
    }
}
