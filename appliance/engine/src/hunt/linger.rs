//! Streams that nobody takes any more go on for a while: their logs then hold what their subscribers miss
//! until they are back, and a crowd that lost its connections together finds it there.
//!
//! The cost is an encoding of each event that nobody may ask for (`hunt_events_kept`) and log blocks that
//! others would get. It ends after [`LINGER`], or earlier when the stream's place is needed: then who has
//! been idle longest goes first.
//!
//! Bound: one entry a stream. An entry whose stream was taken since is put right when its turn comes.

use std::collections::VecDeque;

use crate::hunt::Hunts;
use crate::units::Micros;

/// How long a stream goes on without a subscriber. SDKs are back within 20 seconds, their longest delay
/// between two attempts; less and they need the journal, more and events are encoded in vain.
pub const LINGER: Micros = Micros::from_secs(30);

/// See the file's head.
#[derive(Debug)]
pub(super) struct Lingering {
    /// Streams, and since when they are idle.
    queue: VecDeque<(u32, Micros)>,
    now: Micros,
}

impl Lingering {
    pub(super) fn new(streams_max: usize) -> Lingering {
        Lingering {
            queue: VecDeque::with_capacity(streams_max),
            now: Micros(0),
        }
    }
}

impl Hunts {
    /// Closes what has been idle for too long.
    pub fn on_timers(&mut self, now: Micros) {
        self.lingering.now = now;
        while let Some(since) = self.oldest_idle()
            && since + LINGER <= now
        {
            self.end_linger();
        }
    }

    /// Closes the stream that has been idle longest; false when none is idle.
    pub(super) fn end_linger(&mut self) -> bool {
        if self.oldest_idle().is_none() {
            return false;
        }
        if let Some((stream, _)) = self.lingering.queue.pop_front() {
            self.streams[stream as usize].is_queued = false;
            self.close_stream(stream);
        }
        true
    }

    /// Since when the queue's first stream is idle, once the queue is right so far.
    fn oldest_idle(&mut self) -> Option<Micros> {
        loop {
            let (stream, since) = *self.lingering.queue.front()?;
            let place = &mut self.streams[stream as usize];
            match place.idle_since {
                Some(idle_since) if idle_since == since => return Some(since),
                Some(idle_since) => self.lingering.queue.push_back((stream, idle_since)),
                None => place.is_queued = false,
            }
            self.lingering.queue.pop_front();
        }
    }

    /// Puts a stream that has no subscriber on the queue.
    pub(super) fn linger_if_idle(&mut self, stream: u32) {
        let Lingering { queue, now } = &mut self.lingering;
        let place = &mut self.streams[stream as usize];
        if !place.subscribers.is_empty() {
            return;
        }
        place.idle_since = Some(*now);
        if !std::mem::replace(&mut place.is_queued, true) {
            queue.push_back((stream, *now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::Taken;
    use crate::hunt::encode::Variant;
    use crate::hunt::log::{BLOCK_BYTES, Logs};
    use crate::memory::slab::NONE;
    use crate::ring::broadcast::Event;
    use crate::units::ConnId;

    fn conn(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 1,
        }
    }

    fn hunts(hunts_max: u32) -> Hunts {
        let bytes = Box::leak(vec![0; 8 * BLOCK_BYTES].into_boxed_slice());
        Hunts::new(Logs::new(bytes, 2, 1000), hunts_max, 2, 4)
    }

    fn publish(hunts: &mut Hunts, hunt: u32) -> Taken {
        hunts.on_event(&Event {
            hunt,
            stamp_us: 0,
            publication: b"\x22\x011",
            deflated: &[],
        })
    }

    #[test]
    fn a_hunt_goes_on_for_a_while_without_subscribers() {
        let mut hunts = hunts(2);
        let mut first = NONE;
        for round in 0..3 {
            let start = Micros::from_secs(100 * round);
            hunts.on_timers(start);
            let slot = hunts.open(7, "h", "e", 0).unwrap();
            assert!(hunts.subscribe(slot, conn(0), Variant::PLAIN, &mut first));
            // Taken again, it lingers from the last time on.
            hunts.unsubscribe_all(&mut first);
            assert!(hunts.subscribe(slot, conn(0), Variant::PLAIN, &mut first));
            hunts.on_timers(start + LINGER);
            assert_eq!((publish(&mut hunts, 7), hunts.count()), (Taken::Now, 1));
            hunts.unsubscribe_all(&mut first);
            assert_eq!((publish(&mut hunts, 7), hunts.count()), (Taken::Later, 0));
            hunts.on_timers(start + LINGER + LINGER + Micros(1));
            assert_eq!(publish(&mut hunts, 7), Taken::No);
            assert_eq!(hunts.lingering.queue.len(), 0);
        }
    }

    #[test]
    fn who_has_been_idle_longest_makes_room() {
        let mut hunts = hunts(2);
        let mut first = [NONE; 3];
        for hunt in 0..2 {
            let slot = hunts.open(hunt, &hunt.to_string(), "e", 0).unwrap();
            let first = &mut first[hunt as usize];
            assert!(hunts.subscribe(slot, conn(hunt), Variant::PLAIN, first));
        }
        assert!(hunts.open(2, "2", "e", 0).is_err(), "nobody is idle");
        for hunt in [1, 0] {
            hunts.on_timers(hunts.lingering.now + Micros(1));
            hunts.unsubscribe_all(&mut first[hunt]);
        }
        let slot = hunts.open(2, "2", "e", 0).unwrap();
        assert!(hunts.subscribe(slot, conn(2), Variant::PLAIN, &mut first[2]));
        let taken = [0, 1, 2].map(|hunt| publish(&mut hunts, hunt));
        assert_eq!(taken, [Taken::Later, Taken::No, Taken::Now]);
        // Another variant of its own hunt is idle, and the other hunt too.
        assert!(hunts.subscribe(slot, conn(3), Variant::PROTOBUF, &mut first[0]));
        assert_eq!(publish(&mut hunts, 0), Taken::No);
    }
}
