//! The one clock: `CLOCK_MONOTONIC` in nanoseconds, the same for every process of the machine and
//! in every network namespace.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds now.
pub(crate) fn now_ns() -> u64 {
    // The kernel does not refuse this clock; zero would show at once as absurd latencies.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let rest = u64::try_from(time.tv_nsec()).unwrap_or(0);
        seconds * 1_000_000_000 + rest
    })
}

/// `seconds` in nanoseconds; negative and absurd values become the nearest bound.
pub(crate) fn seconds_to_ns(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds)
        .map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}
