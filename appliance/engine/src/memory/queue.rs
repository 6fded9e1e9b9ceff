//! A queue of slots in which each slot is at most once.
//!
//! For records that "have something to do": asking twice is one visit. Owned by one core. Takes all its
//! memory in `new` (four bytes and a bit a slot) and cannot be full. A slot stays queued when its record
//! goes and another comes: whoever takes it out asks the record what there is to do, and may be told
//! nothing.

use std::collections::VecDeque;

/// Slots `0..capacity`, first in, first out.
#[derive(Debug)]
pub struct SlotQueue {
    queue: VecDeque<u32>,
    /// Which are in the queue.
    queued: Vec<u64>,
}

impl SlotQueue {
    /// A queue for the slots `0..capacity`.
    pub fn new(capacity: u32) -> SlotQueue {
        SlotQueue {
            queue: VecDeque::with_capacity(capacity as usize),
            queued: vec![0; (capacity as usize).div_ceil(64)],
        }
    }

    /// Bytes taken.
    pub fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<u32>() + self.queued.capacity() * size_of::<u64>()
    }

    /// Whether no slot waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts `slot` at the end, unless it waits already.
    #[inline]
    pub fn push(&mut self, slot: u32) {
        let Some(word) = self.queued.get_mut(slot as usize / 64) else {
            debug_assert!(false, "a slot beyond the queue's capacity");
            return;
        };
        let bit = 1 << (slot % 64);
        if *word & bit == 0 {
            *word |= bit;
            self.queue.push_back(slot);
        }
    }

    /// Takes out the slot that has waited longest.
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        let slot = self.queue.pop_front()?;
        self.queued[slot as usize / 64] &= !(1 << (slot % 64));
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_waits_once_in_the_order_of_asking() {
        let mut queue = SlotQueue::new(70);
        let capacity = queue.queue.capacity();
        for slot in (0..70).rev().chain(0..70) {
            queue.push(slot);
        }
        assert_eq!(queue.pop(), Some(69));
        queue.push(69);
        let rest: Vec<u32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, (0..69).rev().chain([69]).collect::<Vec<u32>>());
        assert!(queue.is_empty());
        assert_eq!(queue.queue.capacity(), capacity);
    }
}
