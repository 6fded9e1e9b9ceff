//! Who subscribed to what: one record a subscription, on two lists.
//!
//! A stream lists its subscriptions sorted by the connection's slot, so that a walk touches connection
//! records in memory order. A connection lists its own through the records (`next`). A record is a
//! cursor: the log position up to which the player's stream has been filled.
//!
//! Bound: `subscriptions_max`; past it a subscribe is refused with "limit exceeded". Address space for
//! all records is taken at start, the memory behind it as they come into use.

use crate::hunt::Hunts;
use crate::hunt::attendance::Departure;
use crate::hunt::encode::Variant;
use crate::memory::slab::NONE;
use crate::units::ConnId;

/// One player's place in one hunt.
#[derive(Debug, Clone, Copy)]
pub struct Subscription {
    /// The player's connection.
    pub conn: ConnId,
    /// The stream it takes; `NONE` when the record is free.
    pub stream: u32,
    /// Next subscription of the same connection, or next free record; `NONE` for the last.
    pub next: u32,
    /// Log position of the first byte not yet placed into the player's stream.
    pub cursor: u64,
    /// [`Hunt::seen`](crate::hunt::Hunt::seen) up to the last event placed.
    pub seen: u64,
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
        (record.stream != NONE).then_some(record)
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
            record.stream = NONE;
            record.next = free;
            self.free = index;
            self.count -= 1;
        }
    }
}

impl Hunts {
    /// Subscribes `conn` to `variant` of the hunt in `slot`, from its log's end on. `first` is the head of
    /// the connection's list and is updated. Answers false when no record or no stream is free.
    pub fn subscribe(
        &mut self,
        slot: u32,
        conn: ConnId,
        variant: Variant,
        first: &mut u32,
    ) -> bool {
        let Some(stream) = self.open_stream(slot, variant) else {
            return false;
        };
        let record = Subscription {
            conn,
            stream,
            next: *first,
            cursor: self.logs.head(stream),
            seen: self.hunts[slot as usize].seen,
        };
        let subscriptions = &mut self.subscriptions;
        let Some(index) = subscriptions.insert(record) else {
            self.linger_if_idle(stream);
            return false;
        };
        *first = index;
        let before = |&other: &u32| subscriptions.slot_of(other) < conn.slot;
        let subscribers = &mut self.streams[stream as usize].subscribers;
        let place = subscribers.partition_point(before);
        subscribers.insert(place, index);
        self.streams[stream as usize].idle_since = None;
        self.taken += usize::from(self.hunts[slot as usize].takers == 0);
        self.hunts[slot as usize].takers += 1;
        self.walks.on_insert(stream, place);
        self.counts.add(self.hunts[slot as usize].number);
        true
    }

    /// The subscription of a connection (list head `first`) to the hunt in `slot`.
    pub fn subscription(&mut self, slot: u32, first: u32) -> Option<u32> {
        let mut index = first;
        while index != NONE {
            let record = *self.subscriptions.at(index)?;
            if self.hunt_of(record.stream) == slot {
                return Some(index);
            }
            index = record.next;
        }
        None
    }

    /// Ends the subscription of the connection with list head `first` to the hunt in `slot`; false
    /// when there was none. The hunt stays for a while when it was the last ([`super::linger`]).
    pub fn unsubscribe(&mut self, slot: u32, first: &mut u32) -> bool {
        let mut before = NONE;
        let mut index = *first;
        while index != NONE {
            let Some(record) = self.subscriptions.at(index).copied() else {
                return false;
            };
            if self.hunt_of(record.stream) == slot {
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

    /// The one way a subscription ends.
    fn leave(&mut self, index: u32, record: &Subscription) {
        let slot = self.hunt_of(record.stream);
        let departure = Departure {
            hunt: self.hunts[slot as usize].number,
            conn: record.conn,
        };
        self.counts.remove(departure.hunt);
        self.attendance.leave(index, departure);
        let Hunts {
            subscriptions,
            streams,
            walks,
            ..
        } = self;
        let subscribers = &mut streams[record.stream as usize].subscribers;
        let before = |&other: &u32| subscriptions.slot_of(other) < record.conn.slot;
        let start = subscribers.partition_point(before);
        if let Some(found) = subscribers[start..]
            .iter()
            .position(|&other| other == index)
        {
            subscribers.remove(start + found);
            walks.on_remove(record.stream, start + found);
        }
        subscriptions.remove(index);
        self.hunts[slot as usize].takers -= 1;
        self.taken -= usize::from(self.hunts[slot as usize].takers == 0);
        self.linger_if_idle(record.stream);
    }

    /// The `index`th subscription of `stream`, in slot order.
    #[inline]
    pub fn subscriber(&self, stream: u32, index: usize) -> Option<u32> {
        let stream = &self.streams[stream as usize];
        stream.subscribers.get(index).copied()
    }
}
