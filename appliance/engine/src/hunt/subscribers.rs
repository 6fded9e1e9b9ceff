//! Who subscribed to what: one record a subscription, on two lists.
//!
//! A hunt lists its subscriptions sorted by the connection's slot, so that a walk touches connection
//! records in memory order. A connection lists its own through the records (`next`). A record is a
//! cursor: the log position up to which the player's stream has been filled.
//!
//! Bound: `subscriptions_max`; past it a subscribe is refused with "limit exceeded". Address space for
//! all records is taken at start, the memory behind it as they come into use.

use crate::hunt::Hunts;
use crate::memory::slab::NONE;
use crate::units::ConnId;

/// One player's place in one hunt.
#[derive(Debug, Clone, Copy)]
pub struct Subscription {
    /// The player's connection.
    pub conn: ConnId,
    /// Slot of the hunt; `NONE` when the record is free.
    pub hunt: u32,
    /// Next subscription of the same connection, or next free record; `NONE` for the last.
    pub next: u32,
    /// Log position of the first byte not yet placed into the player's stream.
    pub cursor: u64,
    /// Offset of the last event placed.
    pub offset: u64,
}

// Two in a cache line (docs/memory.md).
const _: () = assert!(size_of::<Subscription>() == 32);

/// The records of one core. An index needs no generation: it is on two lists, both of which forget it
/// before the record is free.
#[derive(Debug)]
pub struct Subscriptions {
    records: Vec<Subscription>,
    capacity: usize,
    /// The record that was freed last, or `NONE`.
    free: u32,
    count: usize,
}

impl Subscriptions {
    pub(super) fn new(capacity: u32) -> Subscriptions {
        Subscriptions {
            records: Vec::with_capacity(capacity as usize),
            capacity: capacity as usize,
            free: NONE,
            count: 0,
        }
    }

    /// Bytes of the records that were ever in use.
    pub fn bytes(&self) -> usize {
        self.records.len() * size_of::<Subscription>()
    }

    /// Subscriptions held.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The record `index`.
    #[inline]
    pub fn at(&mut self, index: u32) -> Option<&mut Subscription> {
        let record = self.records.get_mut(index as usize)?;
        (record.hunt != NONE).then_some(record)
    }

    /// The slot of the connection that record `index` is of.
    fn slot_of(&self, index: u32) -> u32 {
        self.records
            .get(index as usize)
            .map_or(NONE, |record| record.conn.slot)
    }

    /// Stores a record; none when there is no room.
    fn insert(&mut self, record: Subscription) -> Option<u32> {
        let index = self.free;
        if let Some(free) = self.records.get_mut(index as usize) {
            self.free = free.next;
            *free = record;
            self.count += 1;
            return Some(index);
        }
        if self.records.len() == self.capacity {
            return None;
        }
        let index = u32::try_from(self.records.len()).ok()?;
        self.records.push(record);
        self.count += 1;
        Some(index)
    }

    fn remove(&mut self, index: u32) {
        let free = self.free;
        if let Some(record) = self.at(index) {
            record.hunt = NONE;
            record.next = free;
            self.free = index;
            self.count -= 1;
        }
    }
}

impl Hunts {
    /// Subscribes `conn` to the hunt in `slot` from its log's end on. `first` is the head of the
    /// connection's list and is updated. Answers false when no record is free.
    pub fn subscribe(&mut self, slot: u32, conn: ConnId, first: &mut u32) -> bool {
        let hunt = &mut self.hunts[slot as usize];
        let record = Subscription {
            conn,
            hunt: slot,
            next: *first,
            cursor: self.logs.head(slot),
            offset: hunt.top,
        };
        let subscriptions = &mut self.subscriptions;
        let Some(index) = subscriptions.insert(record) else {
            return false;
        };
        *first = index;
        let before = |&other: &u32| subscriptions.slot_of(other) < conn.slot;
        let place = hunt.subscribers.partition_point(before);
        hunt.subscribers.insert(place, index);
        self.walks.on_insert(slot, place);
        true
    }

    /// The subscription of a connection (list head `first`) to the hunt in `slot`.
    pub fn subscription(&mut self, slot: u32, first: u32) -> Option<u32> {
        let mut index = first;
        while index != NONE {
            let record = self.subscriptions.at(index)?;
            if record.hunt == slot {
                return Some(index);
            }
            index = record.next;
        }
        None
    }

    /// Ends the subscription of the connection with list head `first` to the hunt in `slot`; false
    /// when there was none. The hunt is forgotten with its last subscriber.
    pub fn unsubscribe(&mut self, slot: u32, first: &mut u32) -> bool {
        let mut before = NONE;
        let mut index = *first;
        while index != NONE {
            let Some(record) = self.subscriptions.at(index).copied() else {
                return false;
            };
            if record.hunt == slot {
                match self.subscriptions.at(before) {
                    Some(previous) => previous.next = record.next,
                    None => *first = record.next,
                }
                self.leave(index, &record);
                return true;
            }
            before = index;
            index = record.next;
        }
        false
    }

    /// Ends every subscription of a connection.
    pub fn unsubscribe_all(&mut self, first: &mut u32) {
        while *first != NONE {
            let Some(record) = self.subscriptions.at(*first).copied() else {
                return;
            };
            self.leave(*first, &record);
            *first = record.next;
        }
    }

    fn leave(&mut self, index: u32, record: &Subscription) {
        let Hunts {
            subscriptions,
            hunts,
            walks,
            ..
        } = self;
        let hunt = &mut hunts[record.hunt as usize];
        let before = |&other: &u32| subscriptions.slot_of(other) < record.conn.slot;
        let start = hunt.subscribers.partition_point(before);
        if let Some(found) = hunt.subscribers[start..]
            .iter()
            .position(|&other| other == index)
        {
            hunt.subscribers.remove(start + found);
            walks.on_remove(record.hunt, start + found);
        }
        let empty = hunt.subscribers.is_empty();
        subscriptions.remove(index);
        if empty {
            self.close(record.hunt);
        }
    }

    /// The `index`th subscription of the hunt in `slot`, in slot order.
    #[inline]
    pub fn subscriber(&self, slot: u32, index: usize) -> Option<u32> {
        self.hunts[slot as usize].subscribers.get(index).copied()
    }
}
