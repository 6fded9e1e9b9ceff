//! A slab: fixed-size records addressed by slot, with a generation that tells one use of a slot
//! from the next.
//!
//! Owned by one core. Takes all its memory in `new`; `insert` and `remove` never allocate. Slots are
//! given out lowest first after start, then last freed first, so a walk in slot order stays dense.

use crate::units::ConnId;

/// No slot: the end of a list.
pub const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry<T> {
    /// Odd while the slot is taken.
    generation: u32,
    value: Option<T>,
}

/// Up to `capacity` records of one type.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// A slab for `capacity` records (at most `u32::MAX - 1`).
    pub fn new(capacity: u32) -> Slab<T> {
        assert!(capacity < NONE, "slot {NONE} means none");
        Slab {
            entries: (0..capacity)
                .map(|_| Entry {
                    generation: 0,
                    value: None,
                })
                .collect(),
            free: (0..capacity).rev().collect(),
        }
    }

    /// Records in use.
    pub fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Records there is room for in all.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Stores `value`; gives it back when every slot is taken.
    pub fn insert(&mut self, value: T) -> Result<ConnId, T> {
        let Some(slot) = self.free.pop() else {
            return Err(value);
        };
        let entry = &mut self.entries[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.value = Some(value);
        Ok(ConnId {
            slot,
            generation: entry.generation,
        })
    }

    /// Takes the record out; none if `id` is stale.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(value)
    }

    /// The record of `id`; none if `id` is stale.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.entries.get(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_ref()
        } else {
            None
        }
    }

    /// The record of `id`, to change; none if `id` is stale.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    /// The id and record now in `slot`, if it is taken.
    pub fn at(&mut self, slot: u32) -> Option<(ConnId, &mut T)> {
        let entry = self.entries.get_mut(slot as usize)?;
        let id = ConnId {
            slot,
            generation: entry.generation,
        };
        entry.value.as_mut().map(|value| (id, value))
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
    fn slots_rise_from_zero() {
        let mut slab = Slab::new(3);
        let slots: Vec<u32> = (0..3).map(|n| slab.insert(n).unwrap().slot).collect();
        assert_eq!(slots, [0, 1, 2]);
    }
}
