//! The journal on disk: RocksDB behind the engine's [`Store`].
//!
//! Owned by the journal's thread and called from nowhere else; RocksDB's own threads flush and
//! compact beside it. `open` makes or refuses a directory, `layout` says how it is laid out and
//! tuned, this file commits, reads and heals. What an acknowledgement survives and what a crash can
//! lose stands in `docs/journal.md`.
//!
//! Invariants: one batch is one RocksDB write, so events and their hunt's row never disagree; every
//! column family is flushed together. A store whose log could not be written takes no more writes
//! until [`Store::heal`] has opened it again.

mod layout;
mod open;
mod path_block;
#[cfg(test)]
mod tests;

pub use open::OpenError;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use engine::journal::Durability;
use engine::journal::store::{
    Batch, Change, Direction, HuntKey, PathPart, Store, StoreError, StoreReader,
};
use engine::units::Micros;
use rocksdb::{ColumnFamily, DB, WriteBatch, WriteOptions};

use crate::store::layout::{
    EVENTS, EventKey, HUNTS, META, META_JOURNAL, META_RUN, PATH_BLOCKS, path_family,
};
use crate::store::path_block::Compressor;

/// Deletions up to this many events are made one by one; a range costs every later read a look.
const SINGLE_DELETES_MAX: u64 = 64;

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether the journal will sync. Decides what the next process may assume after a host crash,
    /// and how much of a damaged log is accepted.
    pub durability: Durability,
    /// Take the memory of not yet flushed events from the kernel's pool of huge pages, some 24 of
    /// 2 MiB; what the pool does not have comes from ordinary memory.
    pub memtable_huge_pages: bool,
}

/// The journal's database.
#[derive(Debug)]
pub struct RocksStore {
    path: PathBuf,
    options: Options,
    /// None while it could not be opened again.
    db: Option<DB>,
    tail_certain: bool,
    /// What the next commit says of this process, until it is said.
    run: Option<String>,
    compressor: Compressor,
}

impl RocksStore {
    /// Opens the directory `path`, or makes it if it is not there or empty.
    pub fn open(path: &Path, options: Options) -> Result<RocksStore, OpenError> {
        let db = open::open(path, options)?;
        let boot = open::boot_id();
        let tail_certain = open::is_tail_certain(&db, path, &boot)?;
        let run = Some(open::run_line(options.durability, &boot));
        Ok(RocksStore {
            path: path.to_owned(),
            options,
            db: Some(db),
            tail_certain,
            run,
            compressor: Compressor::default(),
        })
    }

    fn db(&self) -> Result<&DB, StoreError> {
        let closed = || {
            let path = self.path.display();
            StoreError(format!(
                "the journal in {path} is closed after an error and not open again"
            ))
        };
        self.db.as_ref().ok_or_else(closed)
    }

    /// Says that nothing is missing, so that the next process need not doubt it.
    fn close(&mut self) -> Result<(), rocksdb::Error> {
        let Some(db) = self.db.take() else {
            return Ok(());
        };
        let mut batch = WriteBatch::default();
        if let Some(meta) = db.cf_handle(META) {
            batch.put_cf(meta, META_RUN, open::CLEAN);
        }
        db.write_opt(batch, &write_options(true))
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(
                "the journal in {} was not closed cleanly: {error}",
                self.path.display()
            );
        }
    }
}

impl StoreReader for RocksStore {
    fn read(
        &self,
        key: HuntKey,
        offsets: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let db = self.db()?;
        let mut events =
            db.raw_iterator_cf_opt(family(db, EVENTS)?, layout::read_options(key, &offsets));
        match direction {
            Direction::Forward => events.seek(EventKey::new(key, offsets.start)),
            Direction::Backward => events.seek_for_prev(EventKey::new(key, offsets.end - 1)),
        }
        while let Some((name, value)) = events.item() {
            let Some(offset) = EventKey::offset(name) else {
                return Err(StoreError("an event's key is damaged".to_owned()));
            };
            if !visit(offset, value) {
                return Ok(());
            }
            match direction {
                Direction::Forward => events.next(),
                Direction::Backward => events.prev(),
            }
        }
        events.status().map_err(|error| failed("read", &error))
    }

    fn read_paths(
        &self,
        part: PathPart,
        keys: Range<&[u8]>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let db = self.db()?;
        let paths = family(db, path_family(part))?;
        let mut points = db.raw_iterator_cf_opt(paths, layout::path_options(&keys));
        match direction {
            Direction::Forward => points.seek_to_first(),
            Direction::Backward => points.seek_to_last(),
        }
        while let Some((key, value)) = points.item() {
            if !visit(key, value) {
                return Ok(());
            }
            match direction {
                Direction::Forward => points.next(),
                Direction::Backward => points.prev(),
            }
        }
        points.status().map_err(|error| failed("read", &error))
    }

    fn unpack(&self, packed: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        path_block::unpack(packed, out)
    }
}

impl Store for RocksStore {
    fn journal(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let db = self.db()?;
        db.get_cf(family(db, META)?, META_JOURNAL)
            .map_err(|error| failed("read", &error))
    }

    fn is_tail_certain(&self) -> bool {
        self.tail_certain
    }

    fn hunts(&mut self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        let db = self.db()?;
        let mut rows = db.raw_iterator_cf(family(db, HUNTS)?);
        rows.seek_to_first();
        while let Some((name, row)) = rows.item() {
            match std::str::from_utf8(name) {
                Ok(name) => visit(name, row),
                Err(_) => return Err(StoreError("a hunt's name is damaged".to_owned())),
            }
            rows.next();
        }
        rows.status().map_err(|error| failed("read", &error))
    }

    fn commit(&mut self, batch: &Batch, sync: bool) -> Result<Micros, StoreError> {
        let start = Instant::now();
        let db = self.db()?;
        let mut writes = WriteBatch::default();
        if let Some(run) = &self.run {
            writes.put_cf(family(db, META)?, META_RUN, run);
        }
        fill(&mut writes, batch, db)?;
        db.write_opt(writes, &write_options(sync))
            .map_err(|error| {
                let error = failed("write", &error);
                tracing::error!("{error}; publishes are refused until it can be written");
                error
            })?;
        self.run = None;
        self.tail_certain = true;
        Ok(Micros(
            u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
        ))
    }

    fn pack(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.compressor.pack(body, out)
    }

    /// RocksDB stays read-only after its log failed; opening it again is the way out.
    fn heal(&mut self) -> Result<(), StoreError> {
        self.db = None;
        let db =
            open::open(&self.path, self.options).map_err(|error| StoreError(error.to_string()))?;
        let run = open::run_line(self.options.durability, &open::boot_id());
        let meta = family(&db, META)?;
        let mut probe = WriteBatch::default();
        probe.put_cf(meta, META_RUN, run);
        db.write_opt(probe, &write_options(true))
            .map_err(|error| failed("write", &error))?;
        self.db = Some(db);
        tracing::info!("the journal can be written again");
        Ok(())
    }
}

/// Puts the journal's changes into RocksDB's batch.
fn fill(writes: &mut WriteBatch, batch: &Batch, db: &DB) -> Result<(), StoreError> {
    let (events, hunts, meta) = (family(db, EVENTS)?, family(db, HUNTS)?, family(db, META)?);
    let blocks = family(db, PATH_BLOCKS)?;
    for change in batch.changes() {
        match change {
            Change::Event { key, offset, value } => {
                writes.put_cf(events, EventKey::new(key, offset), value);
            }
            Change::Trim { key, offsets } if offsets.end - offsets.start <= SINGLE_DELETES_MAX => {
                for offset in offsets {
                    writes.delete_cf(events, EventKey::new(key, offset));
                }
            }
            Change::Trim { key, offsets } => {
                let (from, to) = (
                    EventKey::new(key, offsets.start),
                    EventKey::new(key, offsets.end),
                );
                writes.delete_range_cf(events, from, to);
            }
            Change::Hunt { name, row } => writes.put_cf(hunts, name, row),
            Change::Journal(value) => writes.put_cf(meta, META_JOURNAL, value),
            Change::Path { part, key, value } => {
                writes.put_cf(family(db, path_family(part))?, key, value);
            }
            Change::DropPath { part, key } => {
                writes.delete_cf(family(db, path_family(part))?, key);
            }
            Change::TrimPath { from, end } => writes.delete_range_cf(blocks, from, end),
        }
    }
    Ok(())
}

fn write_options(sync: bool) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(sync);
    options
}

fn family<'a>(db: &'a DB, name: &str) -> Result<&'a ColumnFamily, StoreError> {
    db.cf_handle(name)
        .ok_or_else(|| StoreError(format!("column family {name} is missing")))
}

fn failed(what: &str, error: &rocksdb::Error) -> StoreError {
    StoreError(format!("cannot {what} the journal: {error}"))
}
