//! How long events are kept, and their removal in small steps.
//!
//! A reader never sees an event that the rule has let go: reads look at size and age themselves
//! (`super::pages`). Removal only gives the disk back, so it may be late, its batch is not synced,
//! and a failure costs nothing but a later repeat. A hunt whose last event went keeps its position.

use crate::journal::hunts::{Hunt, Hunts};
use crate::journal::path::PathRule;
use crate::journal::record::{EventRecord, HuntRow, emit, parse};
use crate::journal::store::{Batch, Direction, Store, StoreError};
use crate::ring::broadcast::HuntNumber;
use crate::ring::submit;
use crate::units::Micros;

/// Time between two looks for something to remove, unless the last one was cut short.
const PERIOD: Micros = Micros::from_millis(100);

/// Hunts looked at a step; a look that finds nothing costs a few comparisons.
const HUNTS_PER_STEP: usize = 1024;

/// Hunts whose events are read or deleted in a step.
const TRIMS_PER_STEP: usize = 16;

/// Events read a trim to find those too old.
const EVENTS_PER_TRIM: u64 = 64;

/// What is kept of a hunt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Events; 0 keeps none.
    pub history_size: u32,
    /// Milliseconds; 0 keeps none.
    pub history_ttl_ms: u64,
    /// Payloads of at least so many bytes are compressed once for all who take them compressed; none
    /// compresses nothing.
    pub compress_from: Option<usize>,
}

impl Rule {
    /// Whether events are kept at all.
    pub fn keeps(self) -> bool {
        self.history_size > 0 && self.history_ttl_ms > 0
    }

    /// Whether an event accepted at `event_wall_ms` is still to be seen at `wall_ms`.
    pub fn is_fresh(self, event_wall_ms: u64, wall_ms: u64) -> bool {
        wall_ms.saturating_sub(event_wall_ms) < self.history_ttl_ms
    }
}

/// The rules of all hunts.
#[derive(Debug, Clone)]
pub struct Retention {
    /// For hunts without a namespace, and for namespaces that are no longer configured.
    pub default: Rule,
    /// Namespace ([`submit::namespace`]) and rule.
    pub namespaces: Vec<(Box<str>, Rule)>,
    /// Of players' paths.
    pub paths: PathRule,
}

impl Retention {
    /// The rule of `hunt`.
    pub fn rule(&self, hunt: &str) -> Rule {
        let Some(namespace) = submit::namespace(hunt) else {
            return self.default;
        };
        let named = self
            .namespaces
            .iter()
            .find(|(name, _)| **name == *namespace);
        named.map_or(self.default, |(_, rule)| *rule)
    }
}

/// Where the removal is.
#[derive(Debug, Default)]
pub(super) struct Trimmer {
    next: usize,
    due: Micros,
    trimmed: Vec<(HuntNumber, u64, Option<u64>)>,
    batch: Batch,
}

impl Trimmer {
    /// Removes a bounded number of events if it is time; answers how many.
    pub(super) fn step<S: Store>(
        &mut self,
        store: &mut S,
        hunts: &mut Hunts,
        now: Micros,
        wall_ms: u64,
    ) -> Result<u64, StoreError> {
        if now < self.due {
            return Ok(0);
        }
        self.due = now + PERIOD;
        self.batch.clear();
        self.trimmed.clear();
        let looked = hunts.count().min(HUNTS_PER_STEP);
        for _ in 0..looked {
            self.next = if self.next + 1 < hunts.count() {
                self.next + 1
            } else {
                0
            };
            // The table is counted in u32.
            let number = HuntNumber::try_from(self.next).unwrap_or(0);
            self.look(store, hunts.get(number), number, wall_ms)?;
            if self.trimmed.len() >= TRIMS_PER_STEP {
                self.due = now;
                break;
            }
        }
        self.commit(store, hunts)
    }

    /// Adds what can go from one hunt to the batch.
    fn look<S: Store>(
        &mut self,
        store: &mut S,
        hunt: &Hunt,
        number: HuntNumber,
        wall_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(key) = hunt.key.filter(|_| hunt.first <= hunt.top) else {
            return Ok(());
        };
        let by_size = hunt.first_by_size(hunt.top);
        let fresh = |ms| hunt.rule.is_fresh(ms, wall_ms);
        if by_size == hunt.first && hunt.first_wall_ms.is_some_and(fresh) {
            return Ok(());
        }
        let end = hunt.top.min(by_size.saturating_add(EVENTS_PER_TRIM - 1));
        let mut first = end + 1;
        let mut first_wall_ms = None;
        store.read(
            key,
            by_size..end + 1,
            Direction::Forward,
            &mut |offset, bytes| {
                // A record that does not parse is of no use to anybody: it goes as if too old.
                let ms = parse::<EventRecord<'_>>(bytes).map(|record| record.wall_ms);
                match ms.filter(|&ms| fresh(ms)) {
                    Some(ms) => {
                        first = offset;
                        first_wall_ms = Some(ms);
                        false
                    }
                    None => true,
                }
            },
        )?;
        if first > hunt.first {
            self.batch.trim(key, hunt.first..first);
        }
        self.trimmed.push((number, first, first_wall_ms));
        Ok(())
    }

    fn commit<S: Store>(&mut self, store: &mut S, hunts: &mut Hunts) -> Result<u64, StoreError> {
        for &(number, first, _) in &self.trimmed {
            let hunt = hunts.get(number);
            if let Some(row) = hunt.row().filter(|row| row.first < first) {
                let row = HuntRow { first, ..row };
                self.batch.hunt(&hunt.name, |out| emit(&row, out));
            }
        }
        if !self.batch.is_empty() {
            store.commit(&self.batch, false)?;
        }
        let mut removed = 0;
        for &(number, first, first_wall_ms) in &self.trimmed {
            let hunt = hunts.get_mut(number);
            removed += first - hunt.first;
            hunt.first = first;
            hunt.first_wall_ms = first_wall_ms;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_decides() {
        let rule = |history_size| Rule {
            history_size,
            history_ttl_ms: 1,
            compress_from: None,
        };
        let retention = Retention {
            default: rule(1),
            namespaces: vec![("a".into(), rule(2)), ("b".into(), rule(3))],
            paths: PathRule::default(),
        };
        for (hunt, size) in [
            ("a", 1),
            ("a:x", 2),
            ("b:", 3),
            ("b:a:x", 3),
            ("c:x", 1),
            (":a", 1),
        ] {
            assert_eq!(retention.rule(hunt), rule(size), "{hunt}");
        }
    }

    #[test]
    fn age_ends_at_the_ttl_and_a_clock_set_back_is_no_age() {
        let rule = Rule {
            history_size: 1,
            history_ttl_ms: 10,
            compress_from: None,
        };
        assert!(rule.is_fresh(100, 109));
        assert!(!rule.is_fresh(100, 110));
        assert!(rule.is_fresh(100, 50));
    }
}
