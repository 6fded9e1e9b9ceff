//! How numbers leave: Prometheus reads them over HTTP, StatsD gets them over UDP.
//!
//! [`Sources`] knows where they come from: the cells of each core, the latency histograms that data
//! cores hand over, the verdicts of the XDP program. Lives on the control core.

pub mod prometheus;
pub mod statsd;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::metrics::catalog::{METRICS, Metric};
use engine::metrics::counters::Counters;
use engine::metrics::histogram::{Collector, empty};
use hdrhistogram::Histogram;

/// Reads the XDP program's verdicts: name and count.
pub type Verdicts = Box<dyn FnMut() -> Vec<(&'static str, u64)> + Send>;

/// Percentiles exported: their name for StatsD, their label for Prometheus, the quantile.
pub const QUANTILES: [(&str, &str, f64); 4] = [
    ("p50", "0.5", 0.5),
    ("p90", "0.9", 0.9),
    ("p99", "0.99", 0.99),
    ("p999", "0.999", 0.999),
];

/// Where numbers come from.
pub struct Sources {
    /// Names and cells of all cores.
    cores: Vec<(String, Counters)>,
    state: Mutex<State>,
}

struct State {
    collectors: Vec<Collector>,
    verdicts: Verdicts,
    /// Publish-to-wire latency in microseconds since the start.
    total: Histogram<u64>,
    /// The same since StatsD was last told.
    interval: Histogram<u64>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// All cores by name, the latency of the data cores among them, and the verdicts.
    pub fn new(
        cores: Vec<(String, Counters)>,
        collectors: Vec<Collector>,
        verdicts: Verdicts,
    ) -> Sources {
        let state = State {
            collectors,
            verdicts,
            total: empty(),
            interval: empty(),
        };
        Sources {
            cores,
            state: Mutex::new(state),
        }
    }

    /// Names and cells of all cores.
    pub fn cores(&self) -> &[(String, Counters)] {
        &self.cores
    }

    /// Takes over what the data cores have handed in; call about once a second.
    pub fn collect(&self) {
        let mut guard = self.lock();
        let State {
            collectors,
            total,
            interval,
            ..
        } = &mut *guard;
        let mut fresh = empty();
        for collector in collectors {
            collector.merge_into(&mut fresh);
        }
        for sum in [total, interval] {
            // Same bounds: cannot fail.
            let _ = sum.add(&fresh);
        }
    }

    /// The latency since the start.
    pub fn latency(&self) -> Histogram<u64> {
        self.lock().total.clone()
    }

    /// The latency since the last call.
    pub fn latency_since(&self) -> Histogram<u64> {
        std::mem::replace(&mut self.lock().interval, empty())
    }

    /// The verdicts now.
    pub fn verdicts(&self) -> Vec<(&'static str, u64)> {
        (self.lock().verdicts)()
    }

    /// Which cores have `metric`, with their values: a journal has no frames to count.
    pub fn values(&self, metric: Metric) -> impl Iterator<Item = (&str, u64)> {
        let name = METRICS[metric as usize].name;
        let has = move |core: &str| match name.split('_').next() {
            Some("journal" | "presence") => core == "journal",
            Some("api") => core == "control",
            Some("ring") if name.starts_with("ring_submit") => core != "journal",
            Some("ring") => core == "journal",
            _ => core.starts_with("data"),
        };
        let having = self.cores.iter().filter(move |(core, _)| has(core));
        having.map(move |(core, cells)| (core.as_str(), cells.get(metric)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
