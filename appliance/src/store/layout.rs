//! What lies where in the database, and how RocksDB is tuned for it.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `events` | hunt's key, 4 bytes big endian; offset, 8 bytes big endian | the engine's event record |
//! | `hunts` | hunt's name | the engine's hunt row |
//! | `path_tails` | length of the user's id, 1 byte; the id; arrival of the row's first point, 8 bytes big endian | the points of a message (`engine::path::Point::list`) |
//! | `path_blocks` | length of the user's id, 1 byte; the id; time of the last point in ms, 8 bytes big endian; its arrival, 8 bytes big endian (`engine::path::Place`) | `engine::path::block`: head, and the body as a zstd frame |
//! | `meta` | `format`, `journal`, `run` | see the constants |
//!
//! Events of a hunt are neighbours in offset order, so that a recovery is one seek and a short scan.
//! RocksDB's `default` family stays empty.

use std::ops::Range;

use engine::journal::store::{HuntKey, PathPart};
use engine::journal::{Durability, FORMAT_VERSION};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel,
    ReadOptions, SliceTransform,
};

/// Events.
pub(super) const EVENTS: &str = "events";
/// Hunts.
pub(super) const HUNTS: &str = "hunts";
/// Points of players' paths as they came.
pub(super) const PATH_TAILS: &str = "path_tails";
/// Older ones, many in a value.
pub(super) const PATH_BLOCKS: &str = "path_blocks";
/// What is true of the whole directory.
pub(super) const META: &str = "meta";
/// RocksDB insists on it.
pub(super) const DEFAULT: &str = "default";

/// All of them.
pub(super) const FAMILIES: [&str; 6] = [DEFAULT, EVENTS, HUNTS, PATH_TAILS, PATH_BLOCKS, META];

/// In `meta`: [`FORMAT_VERSION`] in decimal, written once.
pub(super) const META_FORMAT: &str = "format";
/// In `meta`: the engine's journal record.
pub(super) const META_JOURNAL: &str = "journal";
/// In `meta`: how the last process ran, see `open::run_line`.
pub(super) const META_RUN: &str = "run";

/// Bytes of the hunt's part of an event's key.
const PREFIX_BYTES: usize = 4;

/// Bytes of events in memory before they are flushed. Larger means fewer files to merge, more memory
/// and a longer replay after a crash.
const EVENT_BUFFER_BYTES: usize = 16 << 20;

/// Bytes of rows in memory before they are flushed. They are overwritten again and again.
const ROW_BUFFER_BYTES: usize = 2 << 20;

/// Bytes of blocks of paths in memory before they are flushed: an eighth of what the tails bring.
const BLOCK_BUFFER_BYTES: usize = 4 << 20;

/// Write-ahead log kept at most: bounds disk and the replay after a crash (about a second).
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Cache of uncompressed blocks: the recent history of many hunts.
const CACHE_BYTES: usize = 32 << 20;

/// Unit of compression and of reading: a recovery reads a few neighbours, not a megabyte.
const BLOCK_BYTES: usize = 4 << 10;

/// zstd's default level: three times smaller than the JSON at no cost the journal's thread sees,
/// because RocksDB's own threads compress.
const ZSTD_LEVEL: i32 = 3;

/// Huge pages are asked for in this size.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Files kept open.
const OPEN_FILES_MAX: i32 = 256;

/// The key of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventKey([u8; 12]);

impl EventKey {
    pub(super) fn new(key: HuntKey, offset: u64) -> EventKey {
        let mut bytes = [0; 12];
        bytes[..PREFIX_BYTES].copy_from_slice(&key.to_be_bytes());
        bytes[PREFIX_BYTES..].copy_from_slice(&offset.to_be_bytes());
        EventKey(bytes)
    }

    /// The offset in an event's key.
    pub(super) fn offset(key: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(
            key.get(PREFIX_BYTES..)?.try_into().ok()?,
        ))
    }
}

impl AsRef<[u8]> for EventKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The format's version as `meta` has it.
pub(super) fn format() -> String {
    FORMAT_VERSION.to_string()
}

/// Reads of one hunt's events stop at its borders by themselves.
pub(super) fn read_options(key: HuntKey, offsets: &Range<u64>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(EventKey::new(key, offsets.start).as_ref());
    options.set_iterate_upper_bound(EventKey::new(key, offsets.end).as_ref());
    options.set_prefix_same_as_start(true);
    options
}

/// The family that has a part of the paths.
pub(super) const fn path_family(part: PathPart) -> &'static str {
    match part {
        PathPart::Tails => PATH_TAILS,
        PathPart::Blocks => PATH_BLOCKS,
    }
}

/// Reads of paths stop at `keys`' borders by themselves.
pub(super) fn path_options(keys: &Range<&[u8]>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(keys.start);
    options.set_iterate_upper_bound(keys.end);
    options
}

/// Options of the whole database.
pub(super) fn database(options: super::Options) -> rocksdb::Options {
    let mut db = rocksdb::Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    // Rows and events are flushed together: none is older than the log says.
    db.set_atomic_flush(true);
    db.set_wal_recovery_mode(match options.durability {
        // Everything acknowledged was synced. A log cut short at its end is what a crash leaves;
        // anything else is damage that must be seen.
        Durability::Fsync => DBRecoveryMode::TolerateCorruptedTailRecords,
        // The host may have written the log's pages in any order: keep what is whole.
        Durability::Wal => DBRecoveryMode::PointInTime,
    });
    // Every write reaches the kernel before it returns: a killed process loses nothing.
    db.set_manual_wal_flush(false);
    db.set_max_total_wal_size(LOG_BYTES_MAX);
    db.set_max_background_jobs(2);
    db.set_max_open_files(OPEN_FILES_MAX);
    // Flushes and compactions go to disk bit by bit, so that a sync does not wait behind them.
    db.set_bytes_per_sync(1 << 20);
    // RocksDB's own diary: little of it.
    db.set_log_level(LogLevel::Warn);
    db.set_max_log_file_size(1 << 20);
    db.set_keep_log_file_num(3);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db
}

/// The column families.
pub(super) fn families(options: super::Options) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let mut events = family(&cache, EVENT_BUFFER_BYTES);
    events.set_prefix_extractor(SliceTransform::create_fixed_prefix(PREFIX_BYTES));
    events.set_memtable_prefix_bloom_ratio(0.05);
    if options.memtable_huge_pages {
        events.set_memtable_huge_page_size(HUGE_PAGE_BYTES);
    }
    let mut blocks = family(&cache, BLOCK_BUFFER_BYTES);
    // They are zstd frames: once more makes them no shorter.
    blocks.set_compression_type(DBCompressionType::None);
    vec![
        ColumnFamilyDescriptor::new(DEFAULT, family(&cache, ROW_BUFFER_BYTES)),
        ColumnFamilyDescriptor::new(EVENTS, events),
        ColumnFamilyDescriptor::new(HUNTS, family(&cache, ROW_BUFFER_BYTES)),
        ColumnFamilyDescriptor::new(PATH_TAILS, tails(&cache)),
        ColumnFamilyDescriptor::new(PATH_BLOCKS, blocks),
        ColumnFamilyDescriptor::new(META, family(&cache, ROW_BUFFER_BYTES)),
    ]
}

/// Tails of paths. Each is read once, from wherever a few minutes of writing have brought its rows, and
/// then deleted: nothing is compressed that is read so soon, and indexes are in memory, not in the cache,
/// where those of 100,000 players' tails drive each other out and a read takes a millisecond.
fn tails(cache: &Cache) -> rocksdb::Options {
    let mut table = table(cache);
    table.set_cache_index_and_filter_blocks(false);
    let mut options = family(cache, EVENT_BUFFER_BYTES);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options
}

fn table(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_size(BLOCK_BYTES);
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    table
}

fn family(cache: &Cache, buffer_bytes: usize) -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.set_block_based_table_factory(&table(cache));
    options.set_write_buffer_size(buffer_bytes);
    options.set_max_write_buffer_number(3);
    options.set_compression_type(DBCompressionType::Zstd);
    // Window and strategy as zstd likes, no dictionary.
    options.set_compression_options(-14, ZSTD_LEVEL, 0, 0);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_hunt_and_offset() {
        let numbers = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX];
        let mut keys = Vec::new();
        for hunt in [0, 1, 255, 256, u32::MAX] {
            for offset in numbers {
                keys.push(EventKey::new(hunt, offset).0);
                assert_eq!(
                    EventKey::offset(EventKey::new(hunt, offset).as_ref()),
                    Some(offset)
                );
            }
        }
        assert!(keys.is_sorted());
        assert_eq!(EventKey::offset(b"short"), None);
    }
}
