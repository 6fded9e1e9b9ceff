//! Who subscribed to what: one record a subscription, on two lists.
//!
//! A hunt lists its subscriptions sorted by the connection's slot, so that a walk touches connection
//! records in memory order. A connection lists its own through the records (`next`). A record is a
//! cursor: the log position up to which the player's stream has been filled.
//!
//! Bound: `subscriptions_max`; past it a subscribe is refused with "limit exceeded".

use crate::hunt::Hunts;
use crate::memory::slab::{NONE, Slab};
use crate::units::ConnId;

/// One player's place in one hunt.
#[derive(Debug, Clone, Copy)]
pub struct Subscription {
    /// The player's connection.
    pub conn: ConnId,
    /// Slot of the hunt.
    pub hunt: u32,
    /// Next subscription of the same connection, or `NONE`.
    pub next: u32,
    /// Log position of the first byte not yet placed into the player's stream.
    pub cursor: u64,
    /// Offset of the last event placed.
    pub offset: u64,
}

/// The records of one core.
#[derive(Debug)]
pub struct Subscriptions {
    records: Slab<Subscription>,
}

impl Subscriptions {
    pub(super) fn new(capacity: u32) -> Subscriptions {
        Subscriptions {
            records: Slab::new(capacity),
        }
    }

    /// Subscriptions held.
    pub fn count(&self) -> usize {
        self.records.count()
    }

    /// The record `index`.
    #[inline]
    pub fn at(&mut self, index: u32) -> Option<&mut Subscription> {
        self.records.at(index).map(|(_, record)| record)
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
        let Ok(id) = self.subscriptions.records.insert(record) else {
            return false;
        };
        *first = id.slot;
        let records = &mut self.subscriptions.records;
        let place = hunt.subscribers.partition_point(|&index| {
            records
                .at(index)
                .is_some_and(|(_, other)| other.conn.slot < conn.slot)
        });
        hunt.subscribers.insert(place, id.slot);
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
        let start = hunt.subscribers.partition_point(|&other| {
            let other = subscriptions.records.at(other);
            other.is_some_and(|(_, other)| other.conn.slot < record.conn.slot)
        });
        if let Some(found) = hunt.subscribers[start..]
            .iter()
            .position(|&other| other == index)
        {
            hunt.subscribers.remove(start + found);
            walks.on_remove(record.hunt, start + found);
        }
        let empty = hunt.subscribers.is_empty();
        if let Some((id, _)) = subscriptions.records.at(index) {
            subscriptions.records.remove(id);
        }
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
