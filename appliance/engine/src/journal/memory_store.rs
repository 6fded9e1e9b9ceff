//! A store in memory, for tests, the simulator and benches: fails on command, and forgets on command
//! what was not synced.
//!
//! Clones share their content, so a "restart" is a second journal on a clone.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::store::{
    Batch, Change, Direction, HuntKey, PathPart, Store, StoreError, StoreReader,
};
use crate::path::Point;
use crate::path::block::Head;
use crate::units::Micros;

/// What is kept.
#[derive(Debug, Clone, Default)]
struct Content {
    events: BTreeMap<(HuntKey, u64), Vec<u8>>,
    hunts: BTreeMap<String, Vec<u8>>,
    journal: Option<Vec<u8>>,
    tails: BTreeMap<Vec<u8>, Vec<u8>>,
    blocks: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Content {
    fn paths(&mut self, part: PathPart) -> &mut BTreeMap<Vec<u8>, Vec<u8>> {
        match part {
            PathPart::Tails => &mut self.tails,
            PathPart::Blocks => &mut self.blocks,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    now: Content,
    synced: Content,
    fault: Fault,
    uncertain: bool,
    commits: u64,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Commits fail and write nothing.
    Commit,
    /// Commits write and then fail, like a sync that fails.
    CommitAfterWrite,
    /// Reads fail.
    Read,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

impl MemoryStore {
    /// What goes wrong from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// The host goes down: what was not synced is lost, and the next process knows that it may be.
    pub fn crash_host(&self) {
        let mut state = self.state();
        state.now = state.synced.clone();
        state.uncertain = true;
    }

    /// The next process does not take the tail for uncertain.
    pub fn forget_doubt(&self) {
        self.state().uncertain = false;
    }

    /// Commits that succeeded.
    pub fn commits(&self) -> u64 {
        self.state().commits
    }

    /// Events kept.
    pub fn events(&self) -> usize {
        self.state().now.events.len()
    }

    /// Points in tails of paths.
    pub fn points(&self) -> usize {
        let state = self.state();
        let rows = state.now.tails.values();
        rows.map(|row| Point::list(row).count()).sum()
    }

    /// Points in blocks of paths, one number a block.
    pub fn blocks(&self) -> Vec<usize> {
        let state = self.state();
        let head = |value: &Vec<u8>| Head::take(value).map_or(0, |(head, _)| head.count);
        state.now.blocks.values().map(head).collect()
    }

    /// Spoils every block of a path.
    pub fn damage_blocks(&self) {
        let mut state = self.state();
        let last = |value: &mut Vec<u8>| value.truncate(value.len() / 2);
        state.now.blocks.values_mut().for_each(last);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreReader for MemoryStore {
    fn read(
        &self,
        key: HuntKey,
        offsets: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let state = self.state();
        if state.fault == Fault::Read {
            return Err(StoreError("the memory store fails as told".to_owned()));
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let range = state
            .now
            .events
            .range((key, offsets.start)..(key, offsets.end));
        let mut visit = |((_, offset), value): (&(HuntKey, u64), &Vec<u8>)| visit(*offset, value);
        let _ = match direction {
            Direction::Forward => range.map(&mut visit).find(|go_on| !go_on),
            Direction::Backward => range.rev().map(&mut visit).find(|go_on| !go_on),
        };
        Ok(())
    }

    fn read_paths(
        &self,
        part: PathPart,
        keys: Range<&[u8]>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let state = self.state();
        if state.fault == Fault::Read {
            return Err(StoreError("the memory store fails as told".to_owned()));
        }
        if keys.is_empty() {
            return Ok(());
        }
        let all = match part {
            PathPart::Tails => &state.now.tails,
            PathPart::Blocks => &state.now.blocks,
        };
        let range = all.range::<[u8], _>((Included(keys.start), Excluded(keys.end)));
        let mut visit = |(key, value): (&Vec<u8>, &Vec<u8>)| visit(key, value);
        let _ = match direction {
            Direction::Forward => range.map(&mut visit).find(|go_on| !go_on),
            Direction::Backward => range.rev().map(&mut visit).find(|go_on| !go_on),
        };
        Ok(())
    }

    /// Nothing is compressed.
    fn unpack(&self, packed: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        out.extend_from_slice(packed);
        Ok(())
    }
}

impl Store for MemoryStore {
    fn journal(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().now.journal.clone())
    }

    fn is_tail_certain(&self) -> bool {
        !self.state().uncertain
    }

    fn hunts(&mut self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        self.state()
            .now
            .hunts
            .iter()
            .for_each(|(name, row)| visit(name, row));
        Ok(())
    }

    fn commit(&mut self, batch: &Batch, sync: bool) -> Result<Micros, StoreError> {
        let mut state = self.state();
        if state.fault == Fault::Commit {
            return Err(StoreError("the memory store fails as told".to_owned()));
        }
        for change in batch.changes() {
            apply(&mut state.now, change);
        }
        if state.fault == Fault::CommitAfterWrite {
            return Err(StoreError(
                "the memory store fails after writing, as told".to_owned(),
            ));
        }
        if sync {
            state.synced = state.now.clone();
        }
        state.uncertain = false;
        state.commits += 1;
        Ok(Micros(0))
    }

    fn pack(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        out.extend_from_slice(body);
        Ok(())
    }

    fn heal(&mut self) -> Result<(), StoreError> {
        match self.state().fault {
            Fault::Commit | Fault::CommitAfterWrite => Err(StoreError("still failing".to_owned())),
            _ => Ok(()),
        }
    }
}

fn apply(content: &mut Content, change: Change<'_>) {
    match change {
        Change::Event { key, offset, value } => {
            content.events.insert((key, offset), value.to_vec());
        }
        Change::Trim { key, offsets } => {
            content
                .events
                .retain(|(k, offset), _| *k != key || !offsets.contains(offset));
        }
        Change::Hunt { name, row } => {
            content.hunts.insert(name.to_owned(), row.to_vec());
        }
        Change::Journal(value) => content.journal = Some(value.to_vec()),
        Change::Path { part, key, value } => {
            content.paths(part).insert(key.to_vec(), value.to_vec());
        }
        Change::DropPath { part, key } => _ = content.paths(part).remove(key),
        Change::TrimPath { from, end } => {
            content
                .blocks
                .retain(|key, _| **key < *from || **key >= *end);
        }
    }
}
