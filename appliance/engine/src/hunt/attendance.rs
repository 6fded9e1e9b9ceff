//! Which subscriptions of this core the journal knows as present, and which of them ended without it
//! having been told yet.
//!
//! A subscription is entered once it has begun, and its end, whatever it came from, goes through
//! `Hunts::leave`, which puts it on the list here. The list cannot be full: entered and leaving
//! subscriptions together are at most as many as there may be subscriptions, else no further one is
//! entered ([`Attendance::has_room`]). So nobody stays in the journal's table who is not here any more,
//! however full the submit ring is; the list is told again each turn (`session`) until it is empty.

use std::collections::VecDeque;

use crate::ring::broadcast::HuntNumber;
use crate::units::ConnId;

/// One that the journal must hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// The hunt left.
    pub hunt: HuntNumber,
    /// Who left it.
    pub conn: ConnId,
}

/// See the file's head.
#[derive(Debug)]
pub struct Attendance {
    /// A bit a subscription record: entered.
    entered: Vec<u64>,
    count: usize,
    capacity: usize,
    leaving: VecDeque<Departure>,
}

impl Attendance {
    pub(super) fn new(subscriptions_max: u32) -> Attendance {
        let capacity = subscriptions_max as usize;
        Attendance {
            entered: vec![0; capacity.div_ceil(64)],
            count: 0,
            capacity,
            leaving: VecDeque::with_capacity(capacity),
        }
    }

    /// Subscriptions entered.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether one more may enter. Nobody does while departures wait: the same player may be among
    /// them, and its return must not overtake its departure.
    pub fn has_room(&self) -> bool {
        self.leaving.is_empty() && self.count < self.capacity
    }

    /// The subscription `index` is known to the journal.
    pub fn enter(&mut self, index: u32) {
        let (word, bit) = place(index);
        if let Some(word) = self.entered.get_mut(word)
            && *word & bit == 0
        {
            *word |= bit;
            self.count += 1;
        }
    }

    /// The subscription `index` is over.
    pub(super) fn leave(&mut self, index: u32, departure: Departure) {
        let (word, bit) = place(index);
        if let Some(word) = self.entered.get_mut(word)
            && *word & bit != 0
        {
            *word &= !bit;
            self.count -= 1;
            self.leaving.push_back(departure);
        }
    }

    /// The departure that is to be told next.
    pub fn leaving(&self) -> Option<Departure> {
        self.leaving.front().copied()
    }

    /// It was told.
    pub fn left(&mut self) {
        self.leaving.pop_front();
    }
}

fn place(index: u32) -> (usize, u64) {
    (index as usize / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_entered_departs_and_nobody_enters_meanwhile() {
        let mut attendance = Attendance::new(2);
        let capacity = attendance.leaving.capacity();
        let departure = |slot| Departure {
            hunt: 3,
            conn: ConnId {
                slot,
                generation: 1,
            },
        };
        attendance.leave(0, departure(0));
        assert_eq!(attendance.leaving(), None, "never entered");
        attendance.enter(0);
        attendance.enter(1);
        attendance.enter(1);
        assert_eq!(attendance.count(), 2);
        assert!(!attendance.has_room());
        attendance.leave(1, departure(1));
        attendance.leave(1, departure(1));
        attendance.leave(0, departure(0));
        assert!(!attendance.has_room(), "departures wait");
        assert_eq!(attendance.leaving(), Some(departure(1)));
        attendance.left();
        assert_eq!(attendance.leaving(), Some(departure(0)));
        attendance.left();
        assert_eq!(attendance.leaving(), None);
        assert!(attendance.has_room());
        assert_eq!(attendance.leaving.capacity(), capacity);
    }
}
