//! A hashed timer wheel: one deadline an id, in constant time.
//!
//! Owned by the layer whose deadlines it keeps (TCP, sessions); an id is that layer's record slot. A
//! slot of the wheel is a doubly linked list through the records' own links, so nothing is allocated
//! after `new`. Deadlines are kept exactly: a turn of the wheel that meets an id which is not due in
//! this round leaves it where it is. An id costs 16 bytes.
//!
//! Invariants: `expire` never gives an id early, and at most one tick late when it is called in time.
//! After a long pause it looks at every slot once, not once for each tick that passed.
//!
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", scheme 6.

use crate::units::Micros;

/// A tick is 1,024 us: finer costs more looks, coarser makes delayed ACKs and probes uneven.
const TICK_SHIFT: u32 = 10;

/// Slots of the wheel: a round takes about four seconds, longer than most deadlines of a busy core.
const SLOTS: usize = 4096;

/// Not on any list.
const NONE: u32 = u32::MAX;

/// The latest deadline there is: 48 bits of microseconds, almost nine years. Later ones come true
/// then; no clock that starts with the machine gets there.
const LATEST: u64 = (1 << 48) - 1;

#[derive(Debug, Clone, Copy)]
struct Entry {
    at_low: u32,
    at_high: u16,
    scheduled: bool,
    next: u32,
    previous: u32,
}

// There are two wheels, so an idle player pays this twice (docs/memory.md).
const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    fn at(&self) -> Micros {
        Micros(u64::from(self.at_high) << 32 | u64::from(self.at_low))
    }

    fn set_at(&mut self, at: Micros) {
        let at = at.0.min(LATEST);
        // Both halves fit.
        self.at_low = u32::try_from(at & 0xffff_ffff).unwrap_or(u32::MAX);
        self.at_high = u16::try_from(at >> 32).unwrap_or(u16::MAX);
    }
}

/// Deadlines of `capacity` ids.
#[derive(Debug)]
pub struct Wheel {
    entries: Vec<Entry>,
    slots: Vec<u32>,
    /// Which slots have entries: found a word at a time.
    occupied: Vec<u64>,
    /// Tick up to which (not including) all that was due has been given out.
    tick: u64,
    count: usize,
}

impl Wheel {
    /// A wheel for the ids `0..capacity`.
    pub fn new(capacity: u32) -> Wheel {
        let entry = Entry {
            at_low: 0,
            at_high: 0,
            scheduled: false,
            next: NONE,
            previous: NONE,
        };
        Wheel {
            entries: vec![entry; capacity as usize],
            slots: vec![NONE; SLOTS],
            occupied: vec![0; SLOTS / 64],
            tick: 0,
            count: 0,
        }
    }

    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.slots.capacity() * size_of::<u32>()
    }

    /// Sets the deadline of `id`, replacing the one it had.
    pub fn schedule(&mut self, id: u32, at: Micros) {
        debug_assert!(
            (id as usize) < self.entries.len(),
            "an id beyond the wheel's capacity"
        );
        if at == Micros::NEVER {
            return self.cancel(id);
        }
        // A time that has passed belongs to the tick that is looked at next.
        let at = Micros(at.0.max(self.tick << TICK_SHIFT).min(LATEST));
        match self.entries.get(id as usize) {
            None => return,
            // The usual case of a timer that is pushed on within its slot.
            Some(entry) if entry.scheduled && self.slot_of(entry.at()) == self.slot_of(at) => {
                return self.entries[id as usize].set_at(at);
            }
            Some(_) => self.cancel(id),
        }
        let slot = self.slot_of(at);
        let first = std::mem::replace(&mut self.slots[slot], id);
        if let Some(first) = self.entries.get_mut(first as usize) {
            first.previous = id;
        }
        let entry = &mut self.entries[id as usize];
        entry.set_at(at);
        entry.scheduled = true;
        entry.next = first;
        entry.previous = NONE;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.count += 1;
    }

    /// Forgets the deadline of `id`, if it has one.
    pub fn cancel(&mut self, id: u32) {
        let Some(&entry) = self.entries.get(id as usize) else {
            return;
        };
        if !entry.scheduled {
            return;
        }
        let slot = self.slot_of(entry.at());
        match self.entries.get_mut(entry.previous as usize) {
            Some(previous) => previous.next = entry.next,
            None => self.slots[slot] = entry.next,
        }
        if let Some(next) = self.entries.get_mut(entry.next as usize) {
            next.previous = entry.previous;
        }
        if self.slots[slot] == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
        self.entries[id as usize].scheduled = false;
        self.count -= 1;
    }

    /// Ids that have a deadline.
    pub fn count(&self) -> usize {
        self.count
    }

    /// An id whose deadline has passed, forgetting the deadline. Call until it answers none.
    pub fn expire(&mut self, now: Micros) -> Option<u32> {
        let until = now.0 >> TICK_SHIFT;
        if self.count == 0 {
            self.tick = until;
            return None;
        }
        // After a pause of more than a round every slot is looked at once.
        self.tick = self.tick.max((until + 1).saturating_sub(SLOTS as u64));
        loop {
            if let Some(id) = self.due_in_slot(now) {
                self.cancel(id);
                return Some(id);
            }
            if self.tick >= until {
                return None;
            }
            self.tick = self.next_occupied(self.tick + 1).min(until);
        }
    }

    /// A time at which `expire` should be called, never later than the first deadline by more than a
    /// tick. Cheap, so it may be too early: a round of the wheel at most is looked ahead.
    pub fn poll_at(&self) -> Micros {
        if self.count == 0 {
            return Micros::NEVER;
        }
        let mut first = Micros::NEVER;
        let mut id = self.slots[self.slot_of(Micros(self.tick << TICK_SHIFT))];
        while let Some(entry) = self.entries.get(id as usize) {
            first = first.min(entry.at());
            id = entry.next;
        }
        if first.0 >> TICK_SHIFT <= self.tick {
            return first;
        }
        Micros(self.next_occupied(self.tick + 1) << TICK_SHIFT)
    }

    /// A due id in the slot of the current tick.
    fn due_in_slot(&mut self, now: Micros) -> Option<u32> {
        let slot = self.slot_of(Micros(self.tick << TICK_SHIFT));
        let mut id = self.slots[slot];
        while let Some(entry) = self.entries.get(id as usize) {
            if entry.at() <= now {
                return Some(id);
            }
            id = entry.next;
        }
        None
    }

    /// The first tick from `from` on whose slot has entries; a round later when there is none.
    fn next_occupied(&self, from: u64) -> u64 {
        let mut tick = from;
        let end = from + SLOTS as u64;
        while tick < end {
            let slot = self.slot_of(Micros(tick << TICK_SHIFT));
            let rest = self.occupied[slot / 64] >> (slot % 64);
            if rest != 0 {
                return tick + u64::from(rest.trailing_zeros());
            }
            tick += 64 - slot as u64 % 64;
        }
        end
    }

    fn slot_of(&self, at: Micros) -> usize {
        // A remainder of 4096 fits a usize.
        usize::try_from((at.0 >> TICK_SHIFT) % SLOTS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a sorted map: nothing early, nothing forgotten, nothing later than the next call.
        #[test]
        fn behaves_like_a_sorted_map(
            steps in prop::collection::vec((0u32..40, 0u64..20_000_000, 0u64..2_000_000), 1..200)
        ) {
            let mut wheel = Wheel::new(40);
            let mut model = BTreeMap::new();
            let mut now = Micros(5_000_000);
            while wheel.expire(now).is_some() {}
            for (id, span, pause) in steps {
                let at = Micros((now.0 + span).saturating_sub(1_000_000));
                if span % 7 == 0 {
                    wheel.cancel(id);
                    model.remove(&id);
                } else {
                    wheel.schedule(id, at);
                    model.insert(id, at);
                }
                let first = model.values().min().copied().unwrap_or(Micros::NEVER);
                prop_assert!(wheel.poll_at().0 <= first.max(now).0.saturating_add(1 << TICK_SHIFT));
                now = now + Micros(pause);
                while let Some(id) = wheel.expire(now) {
                    let at = model.remove(&id);
                    prop_assert!(at.is_some_and(|at| at <= now));
                }
                // One that lay in the past is due with the tick it was scheduled in.
                prop_assert!(model.values().all(|at| at.0 + (1 << TICK_SHIFT) > now.0));
            }
            now = now + Micros::from_secs(60);
            while let Some(id) = wheel.expire(now) {
                model.remove(&id);
            }
            prop_assert!(model.is_empty());
            prop_assert_eq!(wheel.poll_at(), Micros::NEVER);
        }
    }

    #[test]
    fn poll_at_finds_the_way_to_a_late_deadline() {
        let mut wheel = Wheel::new(2);
        wheel.schedule(1, Micros::from_secs(30));
        let mut now = Micros(0);
        let mut looks = 0;
        while wheel.expire(now).is_none() {
            now = now.max(wheel.poll_at());
            looks += 1;
        }
        assert_eq!(now, Micros::from_secs(30));
        assert!(looks < 20, "{looks} looks");
    }
}
