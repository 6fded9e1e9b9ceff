//! A slab: fixed-size records addressed by slot, with a generation that tells one use of a slot
//! from the next.
//!
//! Owned by one core. Address space for all records is taken in `new`; the memory behind it is used as
//! the slots come into use for the first time. `insert` and `remove` never allocate. Slots are given
//! out lowest first after start, then last freed first, so a walk in slot order stays dense.

use crate::units::ConnId;

/// No slot: the end of a list.
pub const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum Slot<T> {
    Taken(T),
    /// The next free slot, or `NONE`.
    Free(u32),
}

impl<T> Slot<T> {
    fn taken(&self) -> Option<&T> {
        match self {
            Slot::Taken(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    fn taken_mut(&mut self) -> Option<&mut T> {
        match self {
            Slot::Taken(value) => Some(value),
            Slot::Free(_) => None,
        }
    }
}

#[derive(Debug)]
struct Entry<T> {
    /// Odd while the slot is taken.
    generation: u32,
    slot: Slot<T>,
}

/// Up to `capacity` records of one type.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    capacity: usize,
    /// The slot that was freed last, or `NONE`.
    free: u32,
    count: usize,
}

impl<T> Slab<T> {
    /// Bytes a record takes.
    pub const RECORD_BYTES: usize = size_of::<Entry<T>>();

    /// A slab for `capacity` records (at most `u32::MAX - 1`).
    pub fn new(capacity: u32) -> Slab<T> {
        assert!(capacity < NONE, "slot {NONE} means none");
        Slab {
            entries: Vec::with_capacity(capacity as usize),
            capacity: capacity as usize,
            free: NONE,
            count: 0,
        }
    }

    /// Records in use.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Records there is room for in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of the records that were ever in use.
    pub fn bytes(&self) -> usize {
        self.entries.len() * Self::RECORD_BYTES
    }

    /// Bytes of the records that were never in use: address space only.
    pub fn untouched_bytes(&self) -> usize {
        (self.capacity - self.entries.len()) * Self::RECORD_BYTES
    }

    /// Stores `value`; gives it back when every slot is taken.
    pub fn insert(&mut self, value: T) -> Result<ConnId, T> {
        let slot = self.free;
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            if let Slot::Free(next) = entry.slot {
                self.free = next;
            }
            entry.generation = entry.generation.wrapping_add(1);
            entry.slot = Slot::Taken(value);
            self.count += 1;
            return Ok(ConnId {
                slot,
                generation: entry.generation,
            });
        }
        if self.entries.len() == self.capacity {
            return Err(value);
        }
        let id = ConnId {
            // Less than the capacity, which is 32 bits.
            slot: u32::try_from(self.entries.len()).unwrap_or(NONE),
            generation: 1,
        };
        self.entries.push(Entry {
            generation: 1,
            slot: Slot::Taken(value),
        });
        self.count += 1;
        Ok(id)
    }

    /// Takes the record out; none if `id` is stale.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        match std::mem::replace(&mut entry.slot, Slot::Free(self.free)) {
            Slot::Taken(value) => {
                entry.generation = entry.generation.wrapping_add(1);
                self.free = id.slot;
                self.count -= 1;
                Some(value)
            }
            Slot::Free(next) => {
                entry.slot = Slot::Free(next);
                None
            }
        }
    }

    /// The record of `id`; none if `id` is stale.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.entries.get(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.slot.taken()
        } else {
            None
        }
    }

    /// The record of `id`, to change; none if `id` is stale.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.slot.taken_mut()
        } else {
            None
        }
    }

    /// The record now in `slot`, if it is taken.
    pub fn peek(&self, slot: u32) -> Option<&T> {
        self.entries.get(slot as usize)?.slot.taken()
    }

    /// The id and record now in `slot`, if it is taken.
    pub fn at(&mut self, slot: u32) -> Option<(ConnId, &mut T)> {
        let entry = self.entries.get_mut(slot as usize)?;
        let id = ConnId {
            slot,
            generation: entry.generation,
        };
        entry.slot.taken_mut().map(|value| (id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_names_nothing() {
        let mut slab = Slab::new(1);
        let first = slab.insert("a").unwrap();
        assert_eq!(slab.insert("b"), Err("b"));
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("c").unwrap();
        assert_eq!(second.slot, first.slot);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"c"));
        assert_eq!(slab.count(), 1);
    }

    #[test]
    fn the_last_freed_is_taken_next() {
        let mut slab = Slab::new(3);
        let ids: Vec<ConnId> = (0..3).map(|n| slab.insert(n).unwrap()).collect();
        assert_eq!(slab.remove(ids[0]), Some(0));
        assert_eq!(slab.remove(ids[2]), Some(2));
        assert_eq!(slab.remove(ids[2]), None);
        assert_eq!((slab.peek(1), slab.peek(2)), (Some(&1), None));
        assert_eq!(slab.insert(3).unwrap().slot, 2);
        assert_eq!(slab.insert(4).unwrap().slot, 0);
        assert_eq!(slab.insert(5), Err(5));
        assert_eq!(slab.count(), 3);
    }

    /// A record with a spare bit pattern costs its size and the generation.
    #[test]
    fn a_free_slot_needs_no_room_of_its_own() {
        struct Record {
            _bytes: [u32; 8],
            _flag: bool,
        }
        assert_eq!(Slab::<Record>::RECORD_BYTES, size_of::<Record>() + 4);
    }

    #[test]
    fn slots_rise_from_zero() {
        let mut slab = Slab::new(3);
        let slots: Vec<u32> = (0..3).map(|n| slab.insert(n).unwrap().slot).collect();
        assert_eq!(slots, [0, 1, 2]);
    }
}
