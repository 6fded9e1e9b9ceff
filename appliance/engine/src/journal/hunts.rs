//! Every hunt the journal knows, and where each one's log begins and ends.
//!
//! A hunt is made by the first publish, subscribe or history request that names it, and stays until
//! the process ends; the number bounds them. Only hunts that have had an event have a row in the
//! store: the epoch of a hunt without one follows from the journal's era and the name, so it is the
//! same after a restart and a subscriber costs no write.
//!
//! `top` is the newest offset given out, `told` the newest that is committed and on its way to the
//! readers. They differ only between a batch's ordering and its delivery; [`Hunts::roll_back`] makes
//! them equal again when the batch fails.

use std::sync::Arc;

use ahash::AHashMap;

use crate::journal::record::HuntRow;
use crate::journal::retain::Rule;
use crate::journal::store::HuntKey;
use crate::ring::broadcast::HuntNumber;

/// Letters of an epoch, as in Centrifugo. 47 bits: two eras of a hunt never meet by accident.
const EPOCH_LETTERS: usize = 8;

/// One hunt.
#[derive(Debug)]
pub(super) struct Hunt {
    pub(super) name: Arc<str>,
    pub(super) epoch: Box<str>,
    pub(super) rule: Rule,
    /// Where its events are; none before its first event.
    pub(super) key: Option<HuntKey>,
    pub(super) top: u64,
    pub(super) told: u64,
    /// Oldest offset in the store; `top + 1` when there is none.
    pub(super) first: u64,
    /// When the oldest event kept was accepted; none if nobody looked yet.
    pub(super) first_wall_ms: Option<u64>,
    /// Whether its row goes into the batch that is being put together.
    pub(super) dirty: bool,
}

impl Hunt {
    /// Oldest offset that the rule of size still lets be seen; `first` when there are fewer.
    pub(super) fn first_by_size(&self, top: u64) -> u64 {
        self.first
            .max((top + 1).saturating_sub(u64::from(self.rule.history_size)))
    }

    /// Whether the events after offset `after` are all here, but for what the rule of age lets go.
    pub(super) fn keeps_what_follows(&self, after: u64) -> bool {
        // `after > told`: the player knows events that we do not have.
        let is_kept = || after < self.told && after + 1 >= self.first_by_size(self.told);
        after == self.told || self.key.is_some() && is_kept()
    }

    /// The row to be written.
    pub(super) fn row(&self) -> Option<HuntRow<'_>> {
        let key = self.key?;
        Some(HuntRow {
            key,
            epoch: &self.epoch,
            top: self.top,
            first: self.first,
        })
    }
}

/// What a hunt is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish,
    /// A subscription or a look at the history.
    Ask,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Hunts {
    hunts: Vec<Hunt>,
    numbers: AHashMap<Arc<str>, HuntNumber>,
    era: u64,
    next_key: HuntKey,
    max: u32,
}

impl Hunts {
    /// No hunts yet, at most `max`.
    pub(super) fn new(era: u64, max: u32) -> Hunts {
        Hunts {
            hunts: Vec::new(),
            numbers: AHashMap::new(),
            era,
            next_key: 0,
            max,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.hunts.len()
    }

    pub(super) fn get(&self, number: HuntNumber) -> &Hunt {
        &self.hunts[number as usize]
    }

    pub(super) fn get_mut(&mut self, number: HuntNumber) -> &mut Hunt {
        &mut self.hunts[number as usize]
    }

    /// Takes a hunt from the store, beyond the bound if need be: it was promised to be kept. With
    /// `new_epoch` what players know of it is void.
    pub(super) fn load(&mut self, name: &str, row: &HuntRow<'_>, rule: Rule, new_epoch: bool) {
        let epoch = if new_epoch {
            epoch(self.era, name)
        } else {
            row.epoch.into()
        };
        self.next_key = self.next_key.max(row.key.saturating_add(1));
        self.add(Hunt {
            name: name.into(),
            epoch,
            rule,
            key: Some(row.key),
            top: row.top,
            told: row.top,
            first: row.first,
            first_wall_ms: None,
            dirty: false,
        });
    }

    /// The number of the hunt called `name`, if it is known.
    pub(super) fn find(&self, name: &str) -> Option<HuntNumber> {
        self.numbers.get(name).copied()
    }

    /// The number of the hunt called `name`; a new one if it is not known and there is room. Whoever
    /// only asks about a hunt gets the first half of the room: players who make names up must not
    /// keep backends from publishing.
    pub(super) fn open(
        &mut self,
        name: &str,
        to: Purpose,
        rule: impl FnOnce() -> Rule,
    ) -> Option<HuntNumber> {
        if let Some(number) = self.find(name) {
            return Some(number);
        }
        let max = match to {
            Purpose::Publish => self.max,
            Purpose::Ask => self.max.div_ceil(2),
        };
        if self.hunts.len() >= max as usize {
            return None;
        }
        Some(self.add(Hunt {
            name: name.into(),
            epoch: epoch(self.era, name),
            rule: rule(),
            key: None,
            top: 0,
            told: 0,
            first: 1,
            first_wall_ms: None,
            dirty: false,
        }))
    }

    /// Gives `number` its next offset, and a key if it has none.
    pub(super) fn advance(&mut self, number: HuntNumber) -> u64 {
        let hunt = &mut self.hunts[number as usize];
        hunt.key.get_or_insert_with(|| {
            self.next_key += 1;
            self.next_key - 1
        });
        hunt.top += 1;
        hunt.top
    }

    /// Takes back the offsets that were given out and not committed.
    pub(super) fn roll_back(&mut self, number: HuntNumber) {
        let hunt = &mut self.hunts[number as usize];
        hunt.top = hunt.told;
        hunt.first = hunt.first.min(hunt.top + 1);
    }

    fn add(&mut self, hunt: Hunt) -> HuntNumber {
        // `max` is a u32, and the store's hunts have distinct u32 keys.
        let number = HuntNumber::try_from(self.hunts.len()).unwrap_or(HuntNumber::MAX);
        self.numbers.insert(hunt.name.clone(), number);
        self.hunts.push(hunt);
        number
    }
}

/// The epoch of a hunt's log: letters from era and name. Not a secret. Only new logs take it from
/// here, so the function may change.
fn epoch(era: u64, name: &str) -> Box<str> {
    let mut state = name
        .bytes()
        .fold(era, |state, byte| mix(state ^ u64::from(byte)));
    let mut letters = String::with_capacity(EPOCH_LETTERS);
    for _ in 0..EPOCH_LETTERS {
        let letter = u8::try_from(state % 52).unwrap_or(0);
        letters.push(char::from(if letter < 26 {
            b'a' + letter
        } else {
            b'A' + letter - 26
        }));
        state = mix(state);
    }
    letters.into()
}

/// SplitMix64's step.
pub(super) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_letters_and_differ() {
        let mut seen: Vec<_> = (0..1000).map(|n| epoch(7, &format!("hunt:{n}"))).collect();
        seen.extend((0..1000).map(|n| epoch(8, &format!("hunt:{n}"))));
        assert!(
            seen.iter()
                .all(|e| e.len() == 8 && e.bytes().all(|b| b.is_ascii_alphabetic()))
        );
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
        assert_eq!(epoch(7, "a"), epoch(7, "a"));
    }

    #[test]
    fn the_number_of_hunts_is_bounded() {
        let rule = || Rule {
            history_size: 1,
            history_ttl_ms: 1,
            compress_from: None,
        };
        let mut hunts = Hunts::new(1, 2);
        assert_eq!(hunts.open("a", Purpose::Ask, rule), Some(0));
        assert_eq!(hunts.open("b", Purpose::Ask, rule), None);
        assert_eq!(hunts.open("b", Purpose::Publish, rule), Some(1));
        assert_eq!(hunts.open("c", Purpose::Publish, rule), None);
        assert_eq!(hunts.open("a", Purpose::Ask, rule), Some(0));
        let row = HuntRow {
            key: 9,
            epoch: "e",
            top: 4,
            first: 2,
        };
        hunts.load("d", &row, rule(), false);
        assert_eq!(hunts.count(), 3);
        assert_eq!((hunts.advance(0), hunts.get(0).key), (1, Some(10)));
        assert_eq!((hunts.advance(2), hunts.get(2).key), (5, Some(9)));
    }
}
