//! Where a publish turns into events going out: the hunts that have subscribers on this core.
//!
//! From the broadcast ring a core learns of events ([`Hunts::on_event`]) and of subscriptions; the
//! [`log`] keeps the events' bytes, `subscribers` who wants them, [`fanout`] walks them and lets each
//! connection take what it has room for. [`encode`] is the other end: how the journal core makes an
//! event's bytes, once.
//!
//! Owned by one data core. A hunt is here from its first subscriber to its last. Its slot is then
//! reused as late as possible and the log goes on where it was, because segments in flight may still
//! name its bytes.

pub mod encode;
pub mod fanout;
pub mod log;
pub mod publication;
mod subscribers;

pub use subscribers::{Subscription, Subscriptions};

use std::collections::{HashMap, VecDeque};

use crate::hunt::fanout::Walks;
use crate::hunt::log::Logs;
use crate::ring::broadcast::{Event, HuntNumber};
use crate::units::Micros;

/// Publish stamps kept per hunt for the latency of the newest events.
pub const STAMPS: usize = 64;

/// No more hunts fit on this core (`hunts_max`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyHunts;

/// One hunt with subscribers.
#[derive(Debug, Default)]
pub struct Hunt {
    /// Its name.
    pub name: Box<str>,
    /// Its epoch.
    pub epoch: Box<str>,
    /// The journal's number for it.
    pub number: HuntNumber,
    /// Offset of the newest event in the log (or before it, when none came since it was opened).
    pub top: u64,
    stamps: Vec<u64>,
    /// Subscriptions in the order of their connection's slot.
    subscribers: Vec<u32>,
}

/// All hunts of one core, their logs and their subscriptions.
#[derive(Debug)]
pub struct Hunts {
    /// The bytes.
    pub logs: Logs,
    /// Who subscribed to what.
    pub subscriptions: Subscriptions,
    /// Walks that are due.
    pub walks: Walks,
    hunts: Vec<Hunt>,
    by_number: HashMap<HuntNumber, u32>,
    by_name: HashMap<Box<str>, u32>,
    free: VecDeque<u32>,
}

impl Hunts {
    /// Room for `hunts_max` hunts and `subscriptions_max` subscriptions, with logs in `logs`.
    pub fn new(logs: Logs, hunts_max: u32, subscriptions_max: u32) -> Hunts {
        let count = hunts_max as usize;
        let hunt = |_| Hunt {
            stamps: vec![0; STAMPS],
            ..Hunt::default()
        };
        Hunts {
            logs,
            subscriptions: Subscriptions::new(subscriptions_max),
            walks: Walks::new(count),
            hunts: (0..hunts_max).map(hunt).collect(),
            by_number: HashMap::with_capacity(count * 2),
            by_name: HashMap::with_capacity(count * 2),
            free: (0..hunts_max).collect(),
        }
    }

    /// Memory for subscriptions: which part, and bytes.
    pub fn memory(&self) -> [(&'static str, usize); 2] {
        let listed = |hunt: &Hunt| hunt.subscribers.capacity() * size_of::<u32>();
        [
            ("hunt: subscription record", self.subscriptions.bytes()),
            (
                "hunt: list of subscribers",
                self.hunts.iter().map(listed).sum(),
            ),
        ]
    }

    /// Hunts that have a subscriber.
    pub fn count(&self) -> usize {
        self.by_number.len()
    }

    /// The slot of the hunt called `name`, if it has a subscriber here.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The hunt in `slot`.
    pub fn hunt(&self, slot: u32) -> &Hunt {
        &self.hunts[slot as usize]
    }

    /// Makes the hunt known here, with `top` as the last event before those to come.
    pub fn open(
        &mut self,
        number: HuntNumber,
        name: &str,
        epoch: &str,
        top: u64,
    ) -> Result<u32, TooManyHunts> {
        if let Some(&slot) = self.by_number.get(&number) {
            return Ok(slot);
        }
        let slot = self.free.pop_front().ok_or(TooManyHunts)?;
        let hunt = &mut self.hunts[slot as usize];
        hunt.name = name.into();
        hunt.epoch = epoch.into();
        hunt.number = number;
        hunt.top = top;
        self.by_number.insert(number, slot);
        self.by_name.insert(name.into(), slot);
        Ok(slot)
    }

    /// Takes an event of the broadcast ring. Answers false when nobody here subscribed to its hunt.
    pub fn on_event(&mut self, event: &Event<'_>) -> bool {
        let Some(&slot) = self.by_number.get(&event.hunt) else {
            return false;
        };
        let hunt = &mut self.hunts[slot as usize];
        debug_assert_eq!(event.offset, hunt.top + 1, "the journal skips no offset");
        hunt.top = event.offset;
        let index = stamp_index(event.offset);
        hunt.stamps[index] = event.stamp_us;
        self.logs.append(slot, event.frame);
        self.walks.request(slot);
        true
    }

    /// When the event `offset` of the hunt in `slot` was published; the oldest one still known when
    /// it is too long ago.
    pub fn stamp(&self, slot: u32, offset: u64) -> Micros {
        let hunt = &self.hunts[slot as usize];
        let offset = offset.max((hunt.top + 1).saturating_sub(STAMPS as u64));
        Micros(hunt.stamps[stamp_index(offset)])
    }

    /// Forgets the hunt if nobody is subscribed to it.
    pub fn close_if_empty(&mut self, slot: u32) {
        if self.hunts[slot as usize].subscribers.is_empty() {
            self.close(slot);
        }
    }

    /// Forgets a hunt whose last subscriber left.
    fn close(&mut self, slot: u32) {
        let hunt = &mut self.hunts[slot as usize];
        self.by_number.remove(&hunt.number);
        self.by_name.remove(&hunt.name);
        self.free.push_back(slot);
    }
}

fn stamp_index(offset: u64) -> usize {
    // A remainder of 64 fits a usize.
    usize::try_from(offset % STAMPS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::log::BLOCK_BYTES;

    #[test]
    fn bytes_in_flight_survive_the_reuse_of_their_slot() {
        let bytes = Box::leak(vec![0; 4 * BLOCK_BYTES].into_boxed_slice());
        let mut hunts = Hunts::new(Logs::new(bytes, 1, 1000), 1, 4);
        let event = |hunt, offset, frame| Event {
            hunt,
            offset,
            stamp_us: 0,
            frame,
        };
        let slot = hunts.open(1, "old", "e", 0).unwrap();
        assert!(hunts.on_event(&event(1, 1, b"abc")));
        hunts.close_if_empty(slot);
        assert_eq!(hunts.open(2, "new", "e", 5), Ok(slot));
        assert!(hunts.on_event(&event(2, 6, b"def")));
        let mut out = [0; 3];
        assert!(hunts.logs.read(slot, 0, &mut out));
        assert_eq!(&out, b"abc");
    }
}
