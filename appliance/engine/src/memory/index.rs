//! A hash index: from the hash of a key to the slot of the record that holds the key.
//!
//! The key itself stays in the record; a bucket is the slot and 32 bits of the hash, so the record is
//! looked at only when those agree, and is then almost always the right one. Linear probing: a lookup
//! reads consecutive buckets, eight to a cache line. Removing moves later buckets of the cluster back,
//! so there are no tombstones, nothing ever has to be rebuilt, and a table that has been in use for a
//! year is as fast as a new one.
//!
//! Owned by one core. Takes all its memory in `new`: ten bytes a record. Bound: `capacity` entries.
//! Whoever can choose keys must not know the hash's key, or he fills one cluster.
//!
//! Source: Knuth, TAOCP volume 3, section 6.4, algorithms L and R.

use crate::memory::slab::NONE;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    hash: u32,
    /// `NONE` when the bucket is free.
    slot: u32,
}

const FREE: Bucket = Bucket {
    hash: 0,
    slot: NONE,
};

/// Slots by hash.
#[derive(Debug)]
pub struct Index {
    buckets: Vec<Bucket>,
    capacity: usize,
    count: usize,
}

impl Index {
    /// An index of at most `capacity` slots. A fifth of the buckets stays free: a lookup then reads
    /// three buckets on average, and thirteen when there is nothing to find.
    pub fn new(capacity: u32) -> Index {
        let capacity = capacity as usize;
        Index {
            buckets: vec![FREE; capacity + capacity / 4 + 1],
            capacity,
            count: 0,
        }
    }

    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    /// Slots in it.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The slot with this hash that `holds` the key.
    #[inline]
    pub fn find(&self, hash: u32, mut holds: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let bucket = self.buckets[at];
            if bucket.slot == NONE {
                return None;
            }
            if bucket.hash == hash && holds(bucket.slot) {
                return Some(bucket.slot);
            }
            at = self.after(at);
        }
    }

    /// Adds `slot`, which is not in it; false when the index is full.
    pub fn insert(&mut self, hash: u32, slot: u32) -> bool {
        if self.count == self.capacity {
            return false;
        }
        let mut at = self.home(hash);
        while self.buckets[at].slot != NONE {
            at = self.after(at);
        }
        self.buckets[at] = Bucket { hash, slot };
        self.count += 1;
        true
    }

    /// Removes `slot`, which was added with this hash; false when it is not there.
    pub fn remove(&mut self, hash: u32, slot: u32) -> bool {
        let mut hole = self.home(hash);
        while self.buckets[hole].slot != slot {
            if self.buckets[hole].slot == NONE {
                return false;
            }
            hole = self.after(hole);
        }
        let mut at = self.after(hole);
        while self.buckets[at].slot != NONE {
            // One that would be found from the hole on moves into it, and leaves the next hole.
            if self.distance(self.home(self.buckets[at].hash), at) >= self.distance(hole, at) {
                self.buckets[hole] = self.buckets[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.buckets[hole] = FREE;
        self.count -= 1;
        true
    }

    /// Where probing for `hash` begins: the hash as a fraction of the table, which needs no division
    /// and no power of two.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        // Less than the number of buckets.
        usize::try_from((u64::from(hash) * self.buckets.len() as u64) >> 32).unwrap_or(0)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() {
            0
        } else {
            at + 1
        }
    }

    /// Steps from `from` to `to`.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.buckets.len() - from
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map, with hashes so few that clusters collide and wrap around the end.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u32..24, any::<bool>()), 1..400), shift in 0u32..32) {
            let mut index = Index::new(16);
            let mut model = BTreeMap::new();
            let hash = |key: u32| (key % 5).wrapping_sub(2) << shift;
            for (key, adds) in steps {
                let slot = key + 100;
                if adds && !model.contains_key(&key) {
                    prop_assert_eq!(index.insert(hash(key), slot), model.len() < 16);
                    if model.len() < 16 {
                        model.insert(key, slot);
                    }
                } else {
                    prop_assert_eq!(index.remove(hash(key), slot), model.remove(&key).is_some());
                }
                for key in 0..24 {
                    let found = index.find(hash(key), |slot| slot == key + 100);
                    prop_assert_eq!(found, model.get(&key).copied());
                }
            }
        }
    }

    #[test]
    fn ten_bytes_an_entry() {
        assert!(Index::new(100_000).bytes() <= 100_000 * 10 + 8);
    }
}
