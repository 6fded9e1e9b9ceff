//! The cells behind the catalogue: one set a core, one writer a set.
//!
//! The owning core adds with a plain load and store (no read-modify-write, no lock prefix); anyone
//! may read. A reader sees each value at some moment, not all at one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::catalog::{METRICS, Metric};

/// Cells of one core. Clones share the cells; only the core itself may write.
#[derive(Debug, Clone)]
pub struct Counters {
    cells: Arc<[AtomicU64]>,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            cells: METRICS.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Counters {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, metric: Metric, n: u64) {
        let cell = &self.cells[metric as usize];
        cell.store(
            cell.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&self, metric: Metric, value: u64) {
        self.cells[metric as usize].store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self, metric: Metric) -> u64 {
        self.cells[metric as usize].load(Ordering::Relaxed)
    }
}
