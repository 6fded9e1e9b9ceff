//! Idempotency keys: which publishes of the last five minutes must not be appended again.
//!
//! Bounded in time and number. Full, the oldest key is forgotten early and counted: its repeat
//! would be appended again, which is better than refusing publishes. The keys of events still kept
//! are found again after a restart (`super::JournalCore::open` reads them back).

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;

use crate::ring::broadcast::HuntNumber;
use crate::units::Micros;

/// How long a key is remembered: Centrifugo's window.
pub(super) const KEEP: Micros = Micros::from_secs(300);

/// Keys remembered at most; with keys of 36 bytes about 12 MiB. 218 keyed publishes a second, every
/// second, fill it.
pub(super) const KEYS_MAX: usize = 65_536;

/// Longest key; a longer one is a bad request.
pub(super) const KEY_BYTES_MAX: usize = 255;

#[derive(Debug)]
pub(super) struct Keys {
    offsets: AHashMap<Arc<[u8]>, u64>,
    /// Oldest first, with the moment each is forgotten.
    order: VecDeque<(Micros, Arc<[u8]>)>,
    scratch: Vec<u8>,
    max: usize,
}

impl Keys {
    pub(super) fn new(max: usize) -> Keys {
        Keys {
            offsets: AHashMap::new(),
            order: VecDeque::new(),
            scratch: Vec::new(),
            max,
        }
    }

    /// The offset of the event that `key` published on `hunt`.
    pub(super) fn find(&mut self, hunt: HuntNumber, key: &str) -> Option<u64> {
        self.fill(hunt, key);
        self.offsets.get(self.scratch.as_slice()).copied()
    }

    /// Remembers a key that [`Keys::find`] does not find, until `until`, which never falls from call
    /// to call. Answers how many were forgotten to make room.
    pub(super) fn insert(
        &mut self,
        hunt: HuntNumber,
        key: &str,
        offset: u64,
        until: Micros,
    ) -> u64 {
        let mut forgotten = 0;
        while self.order.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.offsets.remove(&oldest);
            forgotten += 1;
        }
        self.fill(hunt, key);
        let name: Arc<[u8]> = self.scratch.as_slice().into();
        self.offsets.insert(name.clone(), offset);
        self.order.push_back((until, name));
        forgotten
    }

    /// Forgets the last `count` inserted: their events were not written.
    pub(super) fn roll_back(&mut self, count: usize) {
        for _ in 0..count {
            if let Some((_, newest)) = self.order.pop_back() {
                self.offsets.remove(&newest);
            }
        }
    }

    /// Forgets what is too old.
    pub(super) fn on_time(&mut self, now: Micros) {
        while let Some((until, _)) = self.order.front()
            && *until <= now
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.offsets.remove(&oldest);
        }
    }

    fn fill(&mut self, hunt: HuntNumber, key: &str) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&hunt.to_be_bytes());
        self.scratch.extend_from_slice(key.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_its_hunt_and_ends() {
        let mut keys = Keys::new(10);
        keys.insert(1, "a", 7, Micros(5) + KEEP);
        assert_eq!(keys.find(1, "a"), Some(7));
        assert_eq!(keys.find(2, "a"), None);
        keys.on_time(Micros(4) + KEEP);
        assert_eq!(keys.find(1, "a"), Some(7));
        keys.on_time(Micros(5) + KEEP);
        assert_eq!(keys.find(1, "a"), None);
        assert_eq!(keys.order.len(), 0);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut keys = Keys::new(2);
        assert_eq!(keys.insert(1, "a", 1, Micros(0)), 0);
        assert_eq!(keys.insert(1, "b", 2, Micros(0)), 0);
        assert_eq!(keys.insert(1, "c", 3, Micros(0)), 1);
        assert_eq!(keys.find(1, "a"), None);
        assert_eq!(keys.find(1, "b"), Some(2));
        assert_eq!(keys.offsets.len(), 2);
    }

    #[test]
    fn what_was_not_written_is_not_remembered() {
        let mut keys = Keys::new(10);
        keys.insert(1, "a", 1, Micros(0));
        keys.insert(1, "b", 2, Micros(0));
        keys.insert(1, "c", 3, Micros(0));
        keys.roll_back(2);
        assert_eq!(keys.find(1, "a"), Some(1));
        assert_eq!(keys.find(1, "b"), None);
        assert_eq!(keys.find(1, "c"), None);
    }
}
