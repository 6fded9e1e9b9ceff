//! The journal core: the only place where order is decided.
//!
//! From the submit rings, to the broadcast rings, by way of the store: [`JournalCore::turn`] is the
//! road. It takes submissions from all rings, gives events their offsets, writes one batch, and only
//! when that is as durable as configured tells the publisher and the readers. Pure: the store is a
//! trait ([`store::Store`]), time and seed come in.
//!
//! Invariants:
//! - an event is acknowledged and broadcast after its batch is committed, never before; a batch that
//!   fails is taken back whole, its publishes are refused, its offsets are given out again;
//! - offsets of a hunt have no gap, and every reader gets every event once, in order;
//! - each source's submissions are answered in their order; `Subscribed` stands behind exactly the
//!   events that it counts;
//! - who is present is known from the moment that a data core tells of it, in the same order as all else;
//! - a full broadcast ring stops everything behind it and no submission is taken meanwhile, so the
//!   submit rings fill and push back on the publishers. Nothing is dropped.
//!
//! Not here: replication, reads beside the journal's thread (design D6, D10), removal of hunts.

mod deliver;
mod draft;
mod hunts;
mod keys;
pub mod memory_store;
mod pages;
mod path;
mod presence;
mod record;
mod reload;
pub mod retain;
mod sinks;
pub mod store;
#[cfg(test)]
mod tests;

pub use path::PathRule;
pub use record::FORMAT_VERSION;
pub use retain::{Retention, Rule};

use crate::hunt::counts::Counts;
use crate::journal::deliver::{Delivery, Road};
use crate::journal::draft::{Draft, Order, What};
use crate::journal::hunts::Hunts;
use crate::journal::keys::{KEYS_MAX, Keys};
use crate::journal::path::pack::Packer;
use crate::journal::path::tails::Tails;
use crate::journal::path::trim::PathTrimmer;
use crate::journal::presence::Presence;
use crate::journal::record::emit;
use crate::journal::retain::Trimmer;
use crate::journal::sinks::Sinks;
use crate::journal::store::{Batch, Change, PathPart, Store, StoreError};
use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::ring::broadcast::{HuntNumber, Refusal};
use crate::ring::bytes::{Reader, Writer};
use crate::ring::submit::Submission;
use crate::units::Micros;
use crate::ws::deflate::{Deflater, SHARED_WINDOW_BITS};

/// Time between two attempts to make a failed store writable.
const HEAL_PERIOD: Micros = Micros::from_secs(1);

/// Time between two refreshes of the gauges.
const GAUGE_PERIOD: Micros = Micros::from_millis(100);

/// What an acknowledged publish survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the host: the log is synced before the answer.
    Fsync,
    /// A crash of the process: the log is written before the answer.
    Wal,
}

/// Settings of the journal.
#[derive(Debug, Clone)]
pub struct Config {
    /// See [`Durability`].
    pub durability: Durability,
    /// Hunts known at most; those found in the store are always taken.
    pub hunts_max: u32,
    /// How long events are kept.
    pub retention: Retention,
}

/// What a turn did, for the thread that decides whether to sleep and whom to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Something was done, or waits for room in a ring; false when only a new submission or the time
    /// brings work.
    pub busy: bool,
    /// Bit `i` is set when sink `i` has something new.
    pub wrote_to: u64,
}

/// The journal does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the journal cannot be read: {0}")]
    Store(#[from] StoreError),
    /// A row that this version did not write.
    #[error("the journal's entry for hunt \"{0}\" is damaged; restore the directory from a copy")]
    Row(String),
    /// A record that this version did not write.
    #[error("the journal's own record is damaged; restore the directory from a copy")]
    Record,
}

/// The journal core.
#[derive(Debug)]
pub struct JournalCore<S: Store> {
    store: S,
    config: Config,
    sources: Vec<Reader>,
    sinks: Sinks,
    counters: Counters,
    hunts: Hunts,
    /// Subscribers of every hunt, one table a data core.
    subscribers: Vec<Counts>,
    keys: Keys,
    draft: Draft,
    deflater: Deflater,
    delivery: Delivery,
    presence: Presence,
    trimmer: Trimmer,
    path_trimmer: PathTrimmer,
    tails: Tails,
    packer: Packer,
    health: Health,
    /// The source that is asked first.
    first_source: usize,
    gauges_at: Micros,
    /// Keys of the last process are still to be read back.
    recall: bool,
}

/// Whether the store takes writes, and what a failed batch may have left in it.
#[derive(Debug, Default)]
struct Health {
    failed: bool,
    heal_at: Micros,
    /// Hunts of the failed batch, with the offsets taken back.
    leftovers: Vec<(HuntNumber, std::ops::Range<u64>)>,
    /// Keys of the rows of its points.
    rows: Vec<Vec<u8>>,
}

impl<S: Store> JournalCore<S> {
    /// Reads the hunts back and takes the rings: source `i` is answered in sink `i`, events go to
    /// the first `data_cores` sinks. `seed` should differ from process to process.
    pub fn open(
        mut store: S,
        config: Config,
        sources: Vec<Reader>,
        sinks: Vec<Writer>,
        data_cores: usize,
        counters: Counters,
        seed: u64,
    ) -> Result<JournalCore<S>, Error> {
        assert_eq!(
            sources.len(),
            sinks.len(),
            "every asker needs a ring for its answers"
        );
        let (hunts, run) = reload::load(&mut store, &config, seed)?;
        counters.set(Metric::JournalHealthy, 1);
        counters.set(Metric::JournalHunts, hunts.count() as u64);
        Ok(JournalCore {
            store,
            config,
            sources,
            sinks: Sinks::new(sinks, data_cores),
            counters,
            hunts,
            subscribers: Vec::new(),
            keys: Keys::new(KEYS_MAX),
            draft: Draft::default(),
            deflater: Deflater::new(SHARED_WINDOW_BITS),
            delivery: Delivery::new(),
            presence: Presence::new(seed),
            trimmer: Trimmer::default(),
            path_trimmer: PathTrimmer::default(),
            tails: Tails::new(run),
            packer: Packer::default(),
            health: Health::default(),
            first_source: 0,
            gauges_at: Micros(0),
            recall: true,
        })
    }

    /// Tables for [`Self::turn`] to look up subscribers in: one for each data core, which fills it
    /// ([`crate::hunt::Hunts::count_in`]), with room for every hunt there may be.
    pub fn count_subscribers(&mut self) -> Vec<Counts> {
        let hunts = (self.config.hunts_max as usize).max(self.hunts.count());
        let tables = (0..self.sinks.data_cores()).map(|_| Counts::new(hunts));
        self.subscribers = tables.collect();
        self.subscribers.clone()
    }

    /// One round: submissions, one commit, answers and events, a little removal.
    pub fn turn(&mut self, now: Micros, wall_ms: u64) -> Turn {
        let mut done = 0;
        self.on_time(now, wall_ms);
        if self.delivery.is_done(&self.draft) {
            done += self.receive(now, wall_ms);
            self.commit(now);
        }
        done += self.deliver(now, wall_ms);
        if self.delivery.is_done(&self.draft) {
            done += self.retain(now, wall_ms);
        }
        let busy = done > 0 || self.delivery.waits();
        Turn {
            busy,
            wrote_to: self.sinks.take_wrote_to(),
        }
    }

    /// The store, for whoever checks it after the journal's end.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Takes submissions, one from each source in turn, until all are empty or the draft is full.
    fn receive(&mut self, now: Micros, wall_ms: u64) -> usize {
        self.draft.clear();
        self.delivery.restart();
        let healthy = !self.health.failed;
        let JournalCore {
            sources,
            hunts,
            keys,
            draft,
            config,
            deflater,
            tails,
            ..
        } = self;
        let order = &mut Order {
            hunts,
            keys,
            retention: &config.retention,
            deflater,
            tails,
            healthy,
            now,
            wall_ms,
        };
        let count = sources.len();
        let mut empty = 0;
        let mut index = self.first_source;
        while empty < count && !draft.is_full() {
            match sources[index].pop() {
                Some(bytes) => {
                    empty = 0;
                    match postcard::from_bytes::<Submission<'_>>(bytes) {
                        Ok(submission) => draft.add(index, &submission, order),
                        // Written by this process with the same library: cannot be.
                        Err(_) => debug_assert!(false, "a submission does not decode"),
                    }
                }
                None => empty += 1,
            }
            index = (index + 1) % count;
        }
        self.first_source = index;
        self.counters
            .add(Metric::JournalKeysForgotten, self.draft.keys_forgotten);
        self.counters
            .add(Metric::PathPointsInvalid, self.draft.positions_invalid);
        self.draft.steps.len()
    }

    /// Writes the draft's events; if that fails, takes them back.
    fn commit(&mut self, now: Micros) {
        if self.draft.touched.is_empty() && self.draft.batch.is_empty() {
            return;
        }
        for &number in &self.draft.touched {
            let hunt = self.hunts.get_mut(number);
            hunt.dirty = false;
            if let Some(row) = hunt.row() {
                self.draft.batch.hunt(&hunt.name, |out| emit(&row, out));
            }
        }
        let sync = self.config.durability == Durability::Fsync;
        match self.store.commit(&self.draft.batch, sync) {
            Ok(spent) => {
                self.counters.inc(Metric::JournalBatches);
                self.counters.add(Metric::JournalSyncs, u64::from(sync));
                self.counters.add(Metric::JournalCommitUs, spent.0);
            }
            Err(_) => self.take_back(now),
        }
    }

    /// Undoes the ordering of a batch that was not written, and refuses its publishes.
    fn take_back(&mut self, now: Micros) {
        self.counters.inc(Metric::JournalStoreErrors);
        self.counters.set(Metric::JournalHealthy, 0);
        self.health.failed = true;
        self.health.heal_at = now + HEAL_PERIOD;
        for &number in &self.draft.touched {
            let top = self.hunts.get(number).top;
            self.hunts.roll_back(number);
            self.health
                .leftovers
                .push((number, self.hunts.get(number).top + 1..top + 1));
        }
        let row = |change| match change {
            Change::Path { key, .. } => Some(key.to_vec()),
            _ => None,
        };
        let rows = self.draft.batch.changes().filter_map(row);
        self.health.rows.extend(rows);
        // The oldest one of a hunt is what the batch found.
        for &(number, first, first_wall_ms) in self.draft.removed.iter().rev() {
            let hunt = self.hunts.get_mut(number);
            (hunt.first, hunt.first_wall_ms) = (first, first_wall_ms);
        }
        self.keys.roll_back(self.draft.keys);
        for step in &mut self.draft.steps {
            step.what = match step.what {
                What::Event { .. } | What::RemoveHistory => What::Refused(Refusal::Unavailable),
                What::Positions { answered: true, .. } => What::Refused(Refusal::Unavailable),
                What::Positions { points, .. } => What::PositionsLost { points },
                _ => continue,
            };
        }
    }

    fn deliver(&mut self, now: Micros, wall_ms: u64) -> usize {
        let JournalCore {
            store,
            hunts,
            subscribers,
            sinks,
            presence,
            counters,
            ..
        } = self;
        let mut road = Road {
            store,
            hunts,
            subscribers,
            sinks,
            presence,
            counters,
            now,
            wall_ms,
        };
        self.delivery.step(&self.draft, &mut road)
    }

    fn retain(&mut self, now: Micros, wall_ms: u64) -> usize {
        if self.health.failed {
            return 0;
        }
        let JournalCore { store, hunts, .. } = self;
        let removed = self.trimmer.step(store, hunts, now, wall_ms);
        let rule = self.config.retention.paths;
        let cut = self.path_trimmer.step(store, rule, now, wall_ms);
        let packed = self
            .packer
            .step(store, &mut self.tails, &self.counters, now);
        match removed.and_then(|removed| Ok((removed, cut?, packed?))) {
            Ok((removed, cut, packed)) => {
                self.counters.add(Metric::JournalTrimmed, removed);
                self.counters.add(Metric::PathsTrimmed, cut);
                usize::try_from(removed + cut + packed).unwrap_or(usize::MAX)
            }
            Err(_) => {
                // Nothing is lost: the next batch finds out whether the store still takes writes.
                self.counters.inc(Metric::JournalStoreErrors);
                0
            }
        }
    }

    /// What the clock brings: keys end, a failed store is tried, gauges are set.
    fn on_time(&mut self, now: Micros, wall_ms: u64) {
        if std::mem::take(&mut self.recall) {
            let JournalCore {
                store,
                hunts,
                keys,
                counters,
                ..
            } = self;
            reload::recall_keys(store, hunts, keys, counters, now, wall_ms);
        }
        if now < self.gauges_at {
            return;
        }
        self.gauges_at = now + GAUGE_PERIOD;
        self.keys.on_time(now);
        self.counters
            .set(Metric::JournalHunts, self.hunts.count() as u64);
        self.counters
            .set(Metric::PathPlayers, self.tails.count() as u64);
        self.counters
            .set(Metric::PathTailsWaiting, self.tails.waiting() as u64);
        self.counters
            .set(Metric::PresenceEntries, self.presence.count());
        self.counters
            .set(Metric::RingBroadcastFill, self.sinks.fill_percent());
        if self.health.failed && now >= self.health.heal_at {
            self.health.heal_at = now + HEAL_PERIOD;
            if self.heal().is_err() {
                self.counters.inc(Metric::JournalStoreErrors);
            }
        }
    }

    /// Makes the store writable and removes what the failed batch may have left in it: it was
    /// refused, so it must not turn up.
    fn heal(&mut self) -> Result<(), StoreError> {
        self.store.heal()?;
        let mut batch = Batch::default();
        for (number, offsets) in &self.health.leftovers {
            let hunt = self.hunts.get(*number);
            if let Some(row) = hunt.row() {
                batch.trim(row.key, offsets.clone());
                batch.hunt(&hunt.name, |out| emit(&row, out));
            }
        }
        for key in &self.health.rows {
            batch.drop_path(PathPart::Tails, key);
        }
        self.store.commit(&batch, true)?;
        self.health = Health::default();
        self.counters.set(Metric::JournalHealthy, 1);
        Ok(())
    }
}
