//! How many subscribe to which hunt on one data core, for others to read.
//!
//! Written by the core's [`Hunts`](super::Hunts) wherever a subscription begins or ends, read by the journal core when a
//! backend asks for channels. As with the metrics: a plain load and store by the one writer, and a reader
//! sees each count at some moment, not all at one.
//!
//! Bound: one cell of four bytes for each hunt there may be (`journal.hunts_max`); a hunt beyond it is
//! not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ring::broadcast::HuntNumber;

/// Cells of one core by hunt number. Clones share the cells; only the core itself may write.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    cells: Arc<[AtomicU32]>,
}

impl Counts {
    /// Cells for `hunts` hunts.
    pub fn new(hunts: usize) -> Counts {
        Counts {
            cells: (0..hunts).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Subscribers of a hunt on this core.
    pub fn get(&self, hunt: HuntNumber) -> u32 {
        let cell = self.cells.get(hunt as usize);
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// One more.
    pub(crate) fn add(&self, hunt: HuntNumber) {
        self.set(hunt, self.get(hunt).saturating_add(1));
    }

    /// One fewer.
    pub(crate) fn remove(&self, hunt: HuntNumber) {
        self.set(hunt, self.get(hunt).saturating_sub(1));
    }

    fn set(&self, hunt: HuntNumber, count: u32) {
        if let Some(cell) = self.cells.get(hunt as usize) {
            cell.store(count, Ordering::Relaxed);
        }
    }
}
