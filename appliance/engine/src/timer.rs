//! A timer wheel in two levels: one deadline an id, in constant time.
//!
//! Owned by the layer whose deadlines it keeps (TCP, sessions); an id is that layer's record slot. A
//! slot of the wheel is a doubly linked list through the records' own links, so nothing is allocated
//! after `new`. The far level has a slot for each tick of a round. When the wheel comes to a tick, its
//! ids move to the near level, which cuts the tick into 64 parts: an event to every player sets as many
//! deadlines within a tick, and whoever asks for those that are due must not look at all of them each
//! time. Deadlines are kept exactly: an id that is not due in this round stays where it is. An id costs
//! 16 bytes.
//!
//! Invariants: `expire` never gives an id early, and gives it when it is first called after the
//! deadline. After a long pause it looks at every slot once, not once for each tick that passed.
//!
//! Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", schemes 6 and 7.

use crate::units::{Micros, Moment};

/// A part of a tick is 16 us: at five million segments a second, deadlines of 80 of them.
const PART_SHIFT: u32 = 4;

/// A tick is 64 parts, 1,024 us: as many as a word has bits.
const TICK_SHIFT: u32 = PART_SHIFT + 6;

/// Slots of the far level: a round takes about four seconds, longer than most deadlines of a busy core.
const FAR: usize = 4096;

/// Slots of the near level.
const NEAR: usize = 64;

/// Not on any list.
const NONE: u32 = u32::MAX;

/// Where an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    None,
    Near,
    Far,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Moment,
    level: Level,
    next: u32,
    previous: u32,
}

// There are two wheels, so an idle player pays this twice (docs/memory.md).
const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    fn at(&self) -> Micros {
        self.at.into()
    }
}

/// Deadlines of `capacity` ids.
#[derive(Debug)]
pub struct Wheel {
    entries: Vec<Entry>,
    /// First ids of the far slots, then of the near ones.
    slots: Vec<u32>,
    /// Which slots have entries: found a word at a time.
    occupied: Vec<u64>,
    /// Part up to which (not including) all that was due has been given out. The near level holds
    /// what its tick has left.
    part: u64,
    count: usize,
}

impl Wheel {
    /// A wheel for the ids `0..capacity`.
    pub fn new(capacity: u32) -> Wheel {
        let entry = Entry {
            at: Micros::NEVER.into(),
            level: Level::None,
            next: NONE,
            previous: NONE,
        };
        Wheel {
            entries: vec![entry; capacity as usize],
            slots: vec![NONE; FAR + NEAR],
            occupied: vec![0; (FAR + NEAR) / 64],
            part: 0,
            count: 0,
        }
    }

    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.slots.capacity() * size_of::<u32>()
    }

    /// Ids that have a deadline.
    pub fn count(&self) -> usize {
        self.count
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
        // A time that has passed belongs to the part that is looked at next.
        let at = Micros(at.0.max(self.part << PART_SHIFT).min(Moment::LATEST.0));
        let level = if at.0 >> TICK_SHIFT == self.tick() {
            Level::Near
        } else {
            Level::Far
        };
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return;
        };
        // The usual case of a timer that is pushed on within its slot.
        if entry.level == level && slot_of(level, entry.at()) == slot_of(level, at) {
            entry.at = at.into();
            return;
        }
        self.cancel(id);
        self.link(id, at, level);
        self.count += 1;
    }

    /// The deadline of `id`; `NEVER` when it has none.
    pub fn at(&self, id: u32) -> Micros {
        match self.entries.get(id as usize) {
            Some(entry) if entry.level != Level::None => entry.at(),
            _ => Micros::NEVER,
        }
    }

    /// Forgets the deadline of `id`, if it has one.
    pub fn cancel(&mut self, id: u32) {
        if self.unlink(id) {
            self.count -= 1;
        }
    }

    /// An id whose deadline has passed, forgetting the deadline. Call until it answers none.
    pub fn expire(&mut self, now: Micros) -> Option<u32> {
        let until = now.0 >> PART_SHIFT;
        if self.count == 0 {
            self.part = self.part.max(until);
            return None;
        }
        loop {
            if let Some(id) = self.due_near(now) {
                self.cancel(id);
                return Some(id);
            }
            let tick = until >> (TICK_SHIFT - PART_SHIFT);
            if self.tick() >= tick {
                self.part = self.part.max(until);
                return None;
            }
            // After a pause of more than a round every slot is looked at once.
            let from = (self.tick() + 1).max((tick + 1).saturating_sub(FAR as u64));
            self.enter(self.next_occupied(from).min(tick));
        }
    }

    /// A time at which `expire` should be called, never later than the first deadline. Cheap, so it
    /// may be too early: a round of the wheel at most is looked ahead.
    pub fn poll_at(&self) -> Micros {
        if self.count == 0 {
            return Micros::NEVER;
        }
        match self.next_near() {
            Some(part) => {
                let list = self.list(slot_of(Level::Near, Micros(part << PART_SHIFT)));
                let first = list.map(|(_, entry)| entry.at()).min();
                first.unwrap_or(Micros::NEVER)
            }
            None => Micros(self.next_occupied(self.tick() + 1) << TICK_SHIFT),
        }
    }

    fn tick(&self) -> u64 {
        self.part >> (TICK_SHIFT - PART_SHIFT)
    }

    /// A due id of the near level; goes on to the part it is in, or that `now` is in.
    fn due_near(&mut self, now: Micros) -> Option<u32> {
        let until = now.0 >> PART_SHIFT;
        let part = self.next_near().filter(|&part| part <= until)?;
        self.part = part;
        let slot = slot_of(Level::Near, Micros(part << PART_SHIFT));
        let due = self.list(slot).find(|(_, entry)| entry.at() <= now);
        due.map(|(id, _)| id)
    }

    /// The first part from the current one on whose slot has entries.
    fn next_near(&self) -> Option<u64> {
        let here = self.part % NEAR as u64;
        let rest = self.occupied[FAR / 64] >> here;
        (rest != 0).then(|| self.part + u64::from(rest.trailing_zeros()))
    }

    /// Goes on to `tick`: what is due in it moves to the near level.
    fn enter(&mut self, tick: u64) {
        self.part = tick << (TICK_SHIFT - PART_SHIFT);
        let start = Micros(tick << TICK_SHIFT);
        let mut id = self.slots[slot_of(Level::Far, start)];
        while let Some(&entry) = self.entries.get(id as usize) {
            if entry.at().0 >> TICK_SHIFT <= tick {
                self.unlink(id);
                self.link(id, entry.at().max(start), Level::Near);
            }
            id = entry.next;
        }
    }

    /// The first tick from `from` on whose slot has entries; a round later when there is none.
    fn next_occupied(&self, from: u64) -> u64 {
        let mut tick = from;
        let end = from + FAR as u64;
        while tick < end {
            let slot = slot_of(Level::Far, Micros(tick << TICK_SHIFT));
            let rest = self.occupied[slot / 64] >> (slot % 64);
            if rest != 0 {
                return tick + u64::from(rest.trailing_zeros());
            }
            tick += 64 - slot as u64 % 64;
        }
        end
    }

    fn list(&self, slot: usize) -> impl Iterator<Item = (u32, &Entry)> {
        let get = |id: u32| Some((id, self.entries.get(id as usize)?));
        std::iter::successors(get(self.slots[slot]), move |(_, entry)| get(entry.next))
    }

    fn link(&mut self, id: u32, at: Micros, level: Level) {
        let slot = slot_of(level, at);
        let first = std::mem::replace(&mut self.slots[slot], id);
        if let Some(first) = self.entries.get_mut(first as usize) {
            first.previous = id;
        }
        let entry = &mut self.entries[id as usize];
        entry.at = at.into();
        entry.level = level;
        entry.next = first;
        entry.previous = NONE;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// False when it is on no list.
    fn unlink(&mut self, id: u32) -> bool {
        let Some(&entry) = self.entries.get(id as usize) else {
            return false;
        };
        if entry.level == Level::None {
            return false;
        }
        let slot = slot_of(entry.level, entry.at());
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
        self.entries[id as usize].level = Level::None;
        true
    }
}

/// Where deadlines of `at` are listed on `level`.
fn slot_of(level: Level, at: Micros) -> usize {
    let (shift, count, base) = match level {
        Level::Near => (PART_SHIFT, NEAR, FAR),
        Level::Far | Level::None => (TICK_SHIFT, FAR, 0),
    };
    // The remainder is small.
    base + usize::try_from((at.0 >> shift) % count as u64).unwrap_or(0)
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
                prop_assert!(wheel.poll_at() <= first.max(now));
                now = now + Micros(pause);
                while let Some(id) = wheel.expire(now) {
                    let at = model.remove(&id);
                    prop_assert!(at.is_some_and(|at| at <= now));
                }
                // Nothing that is due is left.
                prop_assert!(model.values().all(|&at| at > now));
            }
            now = now + Micros::from_secs(60);
            while let Some(id) = wheel.expire(now) {
                model.remove(&id);
            }
            prop_assert!(model.is_empty());
            prop_assert_eq!(wheel.poll_at(), Micros::NEVER);
        }
    }

    /// An event to a hundred thousand players: as many deadlines in two ticks, asked for every 50 us.
    #[test]
    fn a_crowd_in_one_tick_is_given_in_order() {
        const CROWD: u32 = 100_000;
        let mut wheel = Wheel::new(CROWD);
        let at = |id: u32| Micros(5_000 + u64::from(id) * 2_000 / u64::from(CROWD));
        for id in 0..CROWD {
            wheel.schedule(id, at(id));
        }
        let mut given = 0;
        for now in (4_900..7_100).step_by(50).map(Micros) {
            while let Some(id) = wheel.expire(now) {
                assert!(at(id) <= now && now.since(at(id)) < Micros(50));
                given += 1;
            }
        }
        assert_eq!(given, CROWD);
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
