//! What the journal asks of its disk, and the batch it writes.
//!
//! Below stands RocksDB (`appliance/src/store`) or [`super::memory_store`]; above stands
//! [`super::JournalCore`], which writes, and the readers beside it, which only have a [`StoreReader`].
//! The journal decides what the bytes mean
//! (`super::record`, [`crate::path`]); a store only keeps them: events under (key, offset), one row for
//! each hunt under its name, tails and blocks of paths under keys of the journal's making, and one record
//! of the journal itself.
//!
//! Invariants: a batch is kept whole or not at all, also over a crash; batches are kept in the order
//! of their commits, so that a crash loses a suffix or nothing.

use std::ops::Range;

use crate::units::Micros;

/// The store's number for a hunt's events; unlike a hunt's number it survives a restart.
pub type HuntKey = u32;

/// The store failed. The text names the operation, what was wrong and, where there is one, a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Which way a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Rising offsets.
    Forward,
    /// Falling offsets.
    Backward,
}

/// Longest body of a path's block: as many points as there may be ([`crate::path::block::POINTS_MAX`]),
/// each as long as it may be, and columns of numbers that nobody expected.
pub const UNPACKED_BYTES_MAX: usize = 2 << 20;

/// The two parts of players' paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathPart {
    /// Points as they came.
    Tails,
    /// Compressed ones.
    Blocks,
}

/// Reads what is committed, also from another thread than the store's. One read sees the store as it was
/// when the read began.
pub trait StoreReader {
    /// Shows the events of `key` with offsets in `offsets`, in `direction`, until `visit` answers
    /// false. Offsets that are not there are skipped.
    fn read(
        &self,
        key: HuntKey,
        offsets: Range<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// Shows the entries of `part` with keys in `keys`, in `direction`, until `visit` answers false.
    fn read_paths(
        &self,
        part: PathPart,
        keys: Range<&[u8]>,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// Appends what [`Store::pack`] made `packed` of, at most [`UNPACKED_BYTES_MAX`]; an error if it is
    /// damaged.
    fn unpack(&self, packed: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError>;
}

/// Keeps the journal. Its own reads are those of the journal's thread.
pub trait Store: StoreReader {
    /// The journal's own record, if one was written.
    fn journal(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// False when events that an earlier process acknowledged may be gone: it did not sync and the
    /// host went down. Holds until the first commit.
    fn is_tail_certain(&self) -> bool;

    /// Shows every hunt's name and row.
    fn hunts(&mut self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError>;

    /// Writes a batch; with `sync` it is on disk on return, without it a crash of the host may lose
    /// it. Answers how long that took. After an error the batch may still be found by the next
    /// process; the journal removes it when it goes on.
    fn commit(&mut self, batch: &Batch, sync: bool) -> Result<Micros, StoreError>;

    /// Appends `body` compressed.
    fn pack(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError>;

    /// Tries to become writable again after a failed commit, and proves it with a synced write.
    fn heal(&mut self) -> Result<(), StoreError>;
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// Writes an event.
    Event {
        /// Its hunt.
        key: HuntKey,
        /// Its number.
        offset: u64,
        /// Its bytes.
        value: &'a [u8],
    },
    /// Deletes events; those that are not there are no error.
    Trim {
        /// Their hunt.
        key: HuntKey,
        /// Their numbers.
        offsets: Range<u64>,
    },
    /// Writes a hunt's row.
    Hunt {
        /// Its name.
        name: &'a str,
        /// The row.
        row: &'a [u8],
    },
    /// Writes the journal's own record.
    Journal(&'a [u8]),
    /// Writes a row of a tail, or a block, of a path.
    Path {
        /// Which of them.
        part: PathPart,
        /// Its key.
        key: &'a [u8],
        /// Its bytes.
        value: &'a [u8],
    },
    /// Deletes a row of a tail, or a block; if it is not there, that is no error.
    DropPath {
        /// Which of them.
        part: PathPart,
        /// Its key.
        key: &'a [u8],
    },
    /// Deletes blocks of a path.
    TrimPath {
        /// The first key.
        from: &'a [u8],
        /// The first one that stays.
        end: &'a [u8],
    },
}

/// Where a change's bytes lie.
#[derive(Debug, Clone)]
enum Entry {
    Event {
        key: HuntKey,
        offset: u64,
        value: Range<usize>,
    },
    Trim {
        key: HuntKey,
        offsets: Range<u64>,
    },
    Hunt {
        name: Range<usize>,
        row: Range<usize>,
    },
    Journal(Range<usize>),
    Path {
        part: PathPart,
        key: Range<usize>,
        value: Range<usize>,
    },
    DropPath {
        part: PathPart,
        key: Range<usize>,
    },
    TrimPath {
        from: Range<usize>,
        end: Range<usize>,
    },
}

/// Changes that are written together. Keeps its memory when cleared.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the changes.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Adds an event whose bytes `value` appends.
    pub fn event(&mut self, key: HuntKey, offset: u64, value: impl FnOnce(&mut Vec<u8>)) {
        let value = self.append(value);
        self.entries.push(Entry::Event { key, offset, value });
    }

    /// Adds a deletion of events.
    pub fn trim(&mut self, key: HuntKey, offsets: Range<u64>) {
        self.entries.push(Entry::Trim { key, offsets });
    }

    /// Adds a hunt's row, whose bytes `row` appends.
    pub fn hunt(&mut self, name: &str, row: impl FnOnce(&mut Vec<u8>)) {
        let name = self.append(|bytes| bytes.extend_from_slice(name.as_bytes()));
        let row = self.append(row);
        self.entries.push(Entry::Hunt { name, row });
    }

    /// Adds the journal's own record, whose bytes `value` appends.
    pub fn journal(&mut self, value: impl FnOnce(&mut Vec<u8>)) {
        let value = self.append(value);
        self.entries.push(Entry::Journal(value));
    }

    /// Adds a row of a tail or a block whose key and bytes the two append.
    pub fn path(
        &mut self,
        part: PathPart,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        let key = self.append(key);
        let value = self.append(value);
        self.entries.push(Entry::Path { part, key, value });
    }

    /// Adds the deletion of the row of a tail, or the block, with this key.
    pub fn drop_path(&mut self, part: PathPart, key: &[u8]) {
        let key = self.append(|bytes| bytes.extend_from_slice(key));
        self.entries.push(Entry::DropPath { part, key });
    }

    /// Adds a deletion of blocks: the one with key `from`, and all up to `end`, which stays.
    pub fn trim_path(&mut self, from: &[u8], end: &[u8]) {
        let from = self.append(|bytes| bytes.extend_from_slice(from));
        let end = self.append(|bytes| bytes.extend_from_slice(end));
        self.entries.push(Entry::TrimPath { from, end });
    }

    /// The changes in the order they were added.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.entries.iter().map(|entry| match entry {
            Entry::Event { key, offset, value } => Change::Event {
                key: *key,
                offset: *offset,
                value: &self.bytes[value.clone()],
            },
            Entry::Trim { key, offsets } => Change::Trim {
                key: *key,
                offsets: offsets.clone(),
            },
            Entry::Hunt { name, row } => {
                // Was a `str` when it was added.
                let name = std::str::from_utf8(&self.bytes[name.clone()]).unwrap_or_default();
                Change::Hunt {
                    name,
                    row: &self.bytes[row.clone()],
                }
            }
            Entry::Journal(value) => Change::Journal(&self.bytes[value.clone()]),
            Entry::DropPath { part, key } => Change::DropPath {
                part: *part,
                key: &self.bytes[key.clone()],
            },
            Entry::Path { part, key, value } => Change::Path {
                part: *part,
                key: &self.bytes[key.clone()],
                value: &self.bytes[value.clone()],
            },
            Entry::TrimPath { from, end } => Change::TrimPath {
                from: &self.bytes[from.clone()],
                end: &self.bytes[end.clone()],
            },
        })
    }

    fn append(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.bytes.len();
        fill(&mut self.bytes);
        start..self.bytes.len()
    }
}
