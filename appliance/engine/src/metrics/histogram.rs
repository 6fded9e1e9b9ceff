//! Latencies of one core: an HdrHistogram that travels to the exporter and back.
//!
//! The core records into its own histogram. Once a second it swaps it for an emptied one and sends
//! the full one through a ring; the exporter merges it and sends it back. Two histograms a core
//! circulate, so nothing is locked and nothing is allocated after start. While the exporter is away
//! the core keeps recording into the one it has.

use hdrhistogram::Histogram;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::units::Micros;

/// Longest latency told apart: longer ones count as this.
pub const LATENCY_US_MAX: u64 = 60_000_000;

/// Time between two hand-overs.
const PERIOD: Micros = Micros::from_secs(1);

/// A histogram of microseconds, two significant digits, fixed range.
pub fn empty() -> Histogram<u64> {
    // The bounds are constants that the library accepts (low >= 1, high >= 2 * low, digits <= 5).
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).unwrap_or_else(|_| unreachable!())
}

/// The recording end.
#[derive(Debug)]
pub struct Recorder {
    active: Box<Histogram<u64>>,
    full: Producer<Box<Histogram<u64>>>,
    emptied: Consumer<Box<Histogram<u64>>>,
    next: Micros,
}

/// The merging end.
#[derive(Debug)]
pub struct Collector {
    full: Consumer<Box<Histogram<u64>>>,
    emptied: Producer<Box<Histogram<u64>>>,
}

/// Both ends.
pub fn recorder() -> (Recorder, Collector) {
    let (full_in, full_out) = RingBuffer::new(2);
    let (mut emptied_in, emptied_out) = RingBuffer::new(2);
    // The ring was made for two; one fits.
    let _ = emptied_in.push(Box::new(empty()));
    let recorder = Recorder {
        active: Box::new(empty()),
        full: full_in,
        emptied: emptied_out,
        next: Micros(0),
    };
    (
        recorder,
        Collector {
            full: full_out,
            emptied: emptied_in,
        },
    )
}

impl Recorder {
    /// Counts `n` deliveries that took `latency`.
    #[inline]
    pub fn record(&mut self, latency: Micros, n: u64) {
        self.active.saturating_record_n(latency.0, n);
    }

    /// Hands the histogram over when a second has passed and an emptied one is back.
    pub fn tick(&mut self, now: Micros) {
        if now < self.next || self.active.is_empty() {
            return;
        }
        if let Ok(fresh) = self.emptied.pop() {
            let full = std::mem::replace(&mut self.active, fresh);
            // Two histograms circulate and the ring holds two: it has room.
            let _ = self.full.push(full);
            self.next = now + PERIOD;
        }
    }
}

impl Collector {
    /// Adds everything handed over since the last call to `total`.
    pub fn merge_into(&mut self, total: &mut Histogram<u64>) {
        while let Ok(mut histogram) = self.full.pop() {
            // Same bounds on both sides, so the addition cannot fail.
            let _ = total.add(&*histogram);
            histogram.reset();
            let _ = self.emptied.push(histogram);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_arrives_once() {
        let (mut recorder, mut collector) = recorder();
        let mut total = empty();
        for second in 1..=5 {
            recorder.record(Micros(100), 3);
            recorder.tick(Micros::from_secs(second * 2));
            collector.merge_into(&mut total);
        }
        assert_eq!(total.len(), 15);
        assert_eq!(total.max(), 100);
    }
}
