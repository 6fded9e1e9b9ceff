//! What a start reads back: the hunts and their positions, and the idempotency keys of the last
//! minutes.
//!
//! Cold path. Reads as many rows as there are hunts, and of each hunt's events those younger than
//! the time a key is remembered.

use crate::journal::hunts::{Hunts, mix};
use crate::journal::keys::{KEEP, KEYS_MAX, Keys};
use crate::journal::record::{EventRecord, HuntRow, JournalRecord, emit, parse};
use crate::journal::store::{Batch, Direction, Store};
use crate::journal::{Config, Error};
use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::ring::broadcast::HuntNumber;
use crate::units::Micros;

/// Reads the hunts back. Gives the journal an era if it is new, and another one, with new epochs for
/// all hunts, if acknowledged events may be gone: their offsets will be given out again, and no
/// player may take the new events for the old. Answers too how many runs this journal has had.
pub(super) fn load<S: Store>(
    store: &mut S,
    config: &Config,
    seed: u64,
) -> Result<(Hunts, u64), Error> {
    let certain = store.is_tail_certain();
    let known = match store.journal()? {
        Some(bytes) => Some(parse::<JournalRecord>(&bytes).ok_or(Error::Record)?),
        None => None,
    };
    let era = known.map(|record| record.era).filter(|_| certain);
    let era = era.unwrap_or(mix(seed));
    let run = known.map_or(0, |record| record.runs);
    let runs = run + 1;
    let mut hunts = Hunts::new(era, config.hunts_max);
    let mut damaged = None;
    store.hunts(&mut |name, row| match parse::<HuntRow<'_>>(row) {
        Some(row) => hunts.load(name, &row, config.retention.rule(name), !certain),
        None => damaged = Some(name.to_owned()),
    })?;
    if let Some(name) = damaged {
        return Err(Error::Row(name));
    }
    let mut batch = Batch::default();
    batch.journal(|out| emit(&JournalRecord { era, runs }, out));
    for number in 0..hunts.count() {
        let hunt = hunts.get(HuntNumber::try_from(number).unwrap_or(HuntNumber::MAX));
        if let Some(row) = hunt.row().filter(|_| !certain) {
            batch.hunt(&hunt.name, |out| emit(&row, out));
        }
    }
    store.commit(&batch, true)?;
    Ok((hunts, run))
}

/// Reads the idempotency keys of the last minutes back from the events themselves.
pub(super) fn recall_keys<S: Store>(
    store: &mut S,
    hunts: &Hunts,
    keys: &mut Keys,
    counters: &Counters,
    now: Micros,
    wall_ms: u64,
) {
    let mut found: Vec<(u64, HuntNumber, u64, String)> = Vec::new();
    for number in 0..hunts.count() {
        let number = HuntNumber::try_from(number).unwrap_or(HuntNumber::MAX);
        let hunt = hunts.get(number);
        let Some(key) = hunt.key.filter(|_| hunt.first <= hunt.top) else {
            continue;
        };
        let offsets = hunt.first..hunt.top + 1;
        let read = store.read(key, offsets, Direction::Backward, &mut |offset, bytes| {
            let Some(record) = parse::<EventRecord<'_>>(bytes) else {
                return true;
            };
            let age_us = wall_ms.saturating_sub(record.wall_ms).saturating_mul(1000);
            if age_us >= KEEP.0 {
                return false;
            }
            if !record.idempotency_key.is_empty() {
                found.push((
                    KEEP.0 - age_us,
                    number,
                    offset,
                    record.idempotency_key.to_owned(),
                ));
            }
            found.len() < KEYS_MAX
        });
        if read.is_err() {
            counters.inc(Metric::JournalStoreErrors);
        }
    }
    found.sort_unstable_by_key(|&(left_us, ..)| left_us);
    for (left_us, number, offset, key) in found {
        if keys.find(number, &key).is_none() {
            keys.insert(number, &key, offset, now + Micros(left_us));
        }
    }
}
