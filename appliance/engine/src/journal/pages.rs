//! Pages of history, read from the store as lists of publications.
//!
//! Bounded by [`PAGE_EVENTS_MAX`] and [`PAGE_BYTES_MAX`]: who wants more asks again. The last page is
//! remembered, because players who lost their connection together ask for the same events together.

use crate::journal::hunts::Hunt;
use crate::journal::record::{EventRecord, parse};
use crate::journal::store::{Direction, Store, StoreError};
use crate::protobuf;
use crate::ring::broadcast::{HuntNumber, PAGE_BYTES_MAX, PAGE_EVENTS_MAX};

/// What a history request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    /// Events at most.
    pub(super) limit: usize,
    /// Start behind this offset, in the direction of the read.
    pub(super) since: Option<u64>,
    /// Newest first.
    pub(super) reverse: bool,
    /// Bytes at most, but for one event.
    pub(super) bytes_max: usize,
}

impl Query {
    /// `limit` as the submission has it.
    pub(super) fn limit(limit: i64) -> usize {
        usize::try_from(limit).map_or(PAGE_EVENTS_MAX, |limit| limit.min(PAGE_EVENTS_MAX))
    }

    /// `bytes_max` as the submission has it.
    pub(super) fn bytes_max(bytes_max: usize) -> usize {
        match bytes_max {
            0 => PAGE_BYTES_MAX,
            bytes_max => bytes_max.min(PAGE_BYTES_MAX),
        }
    }
}

/// What a page depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Read {
    hunt: HuntNumber,
    query: Query,
    oldest: u64,
    top: u64,
    wall_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Pages {
    /// A list of publications.
    page: Vec<u8>,
    last: Option<Read>,
}

impl Pages {
    /// What the last successful read found.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    /// Empties the page.
    pub(super) fn clear(&mut self) {
        self.page.clear();
        self.last = None;
    }

    /// Reads a page of history.
    pub(super) fn history<S: Store>(
        &mut self,
        store: &mut S,
        number: HuntNumber,
        hunt: &Hunt,
        query: Query,
        wall_ms: u64,
    ) -> Result<(), StoreError> {
        let top = hunt.told;
        let oldest = hunt.first_by_size(top);
        let read = Read {
            hunt: number,
            query,
            oldest,
            top,
            wall_ms,
        };
        if self.last == Some(read) {
            return Ok(());
        }
        self.clear();
        let (offsets, direction) = if query.reverse {
            let end = query.since.map_or(top + 1, |since| since.min(top + 1));
            (oldest..end, Direction::Backward)
        } else {
            let start = query
                .since
                .map_or(oldest, |since| since.saturating_add(1).max(oldest));
            (start..top + 1, Direction::Forward)
        };
        let Some(key) = hunt.key.filter(|_| query.limit > 0 && !offsets.is_empty()) else {
            self.last = Some(read);
            return Ok(());
        };
        let mut count = 0;
        let page = &mut self.page;
        store.read(key, offsets, direction, &mut |_, bytes| {
            let Some(record) = parse::<EventRecord<'_>>(bytes) else {
                return true;
            };
            if !hunt.rule.is_fresh(record.wall_ms, wall_ms) {
                // Too old: the younger ones follow, or none.
                return direction == Direction::Forward;
            }
            count += 1;
            append(page, &record, query.bytes_max) && count < query.limit
        })?;
        self.last = Some(read);
        Ok(())
    }
}

/// Appends a publication; false, with the page as it was, when it does not fit. The first one always does.
fn append(page: &mut Vec<u8>, record: &EventRecord<'_>, bytes_max: usize) -> bool {
    let before = page.len();
    protobuf::append_delimited(page, record.publication);
    if before > 0 && page.len() > bytes_max {
        page.truncate(before);
        return false;
    }
    true
}
