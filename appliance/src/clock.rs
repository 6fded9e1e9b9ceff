//! The clocks that the engine is handed.

use std::time::{SystemTime, UNIX_EPOCH};

use engine::units::Micros;
use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC: the same for all threads and processes of this host.
pub fn now() -> Micros {
    // The clock exists on every Linux and the structure is ours: it cannot fail.
    let time =
        clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Micros(seconds * 1_000_000 + nanoseconds / 1_000)
}

/// Wall-clock milliseconds since 1970; 0 before it.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
