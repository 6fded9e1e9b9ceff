//! Round-trip time and retransmission timeout (RFC 6298).

use crate::tcp::moment::StampMs;
use crate::units::Micros;

/// RTO before the first measurement (RFC 6298 section 2.1).
const RTO_INITIAL: Micros = Micros::from_secs(1);

/// Smallest RTO. The RFC says one second (section 2.4); 200 ms is what Linux uses and what a delayed
/// ACK of 40 ms on both sides leaves plenty of room below.
const RTO_MIN: Micros = Micros::from_millis(200);

/// Largest RTO (section 2.5).
const RTO_MAX: Micros = Micros::from_secs(60);

/// Clock granularity G.
const GRANULARITY_US: u32 = 1_000;

/// Age at which the smallest round trip is measured anew (Linux: tcp_min_rtt_wlen).
const LEAST_AGE_MS: u32 = 300_000;

/// Longest measurement that is believed: a minute is the largest RTO.
const SPAN_US_MAX: u32 = 60_000_000;

/// The estimate of one connection, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rtt {
    /// SRTT; 0 before the first measurement.
    smoothed_us: u32,
    /// RTTVAR.
    variation_us: u32,
    /// The smallest round trip of late, and when it was measured.
    least_us: u32,
    least_at: Option<StampMs>,
    /// Timeouts since the last progress: each doubles the RTO (section 5.5).
    backoff: u8,
}

impl Rtt {
    /// Takes one measurement (section 2.2 and 2.3) and ends the backing off.
    pub(super) fn measure(&mut self, span_us: u32) {
        let span_us = span_us.clamp(1, SPAN_US_MAX);
        if self.smoothed_us == 0 {
            self.smoothed_us = span_us;
            self.variation_us = span_us / 2;
        } else {
            let difference = self.smoothed_us.abs_diff(span_us);
            self.variation_us = (3 * self.variation_us + difference) / 4;
            self.smoothed_us = (7 * self.smoothed_us + span_us) / 8;
        }
        self.backoff = 0;
    }

    /// Takes note of the round trip of a segment that was sent once, however it was reported.
    pub(super) fn note_least(&mut self, now: Micros, span_us: u32) {
        let old = self.least_at.is_none_or(|at| at.age_ms(now) > LEAST_AGE_MS);
        if old || span_us <= self.least_us {
            self.least_us = span_us.max(1);
            self.least_at = Some(StampMs::of(now));
        }
    }

    /// The smallest round trip of late; 0 before the first.
    pub(super) fn least_us(&self) -> u32 {
        self.least_us
    }

    /// SRTT, once something was measured.
    pub(super) fn smoothed_us(&self) -> Option<u32> {
        (self.smoothed_us > 0).then_some(self.smoothed_us)
    }

    /// The RTO now.
    pub(super) fn rto(&self) -> Micros {
        let base = match self.smoothed_us {
            0 => RTO_INITIAL,
            smoothed => {
                let slack = (4 * self.variation_us).max(GRANULARITY_US);
                Micros(u64::from(smoothed) + u64::from(slack)).max(RTO_MIN)
            }
        };
        Micros(base.0 << self.backoff.min(10)).min(RTO_MAX)
    }

    /// A timeout: doubles the RTO.
    pub(super) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// Timeouts since the last progress.
    pub(super) fn timeouts(&self) -> u8 {
        self.backoff
    }

    /// The peer answered: the RTO is what the measurements say again.
    pub(super) fn end_back_off(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_formulas() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.rto(), Micros::from_secs(1));
        rtt.measure(100_000);
        // 100 + 4 * 50.
        assert_eq!(rtt.rto(), Micros::from_millis(300));
        rtt.measure(100_000);
        // 100 + 4 * 37.5.
        assert_eq!(rtt.rto(), Micros::from_millis(250));
        for _ in 0..50 {
            rtt.measure(20);
        }
        assert_eq!(rtt.rto(), Micros::from_millis(200));
        rtt.back_off();
        rtt.back_off();
        assert_eq!(rtt.rto(), Micros::from_millis(800));
        for _ in 0..20 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto(), Micros::from_secs(60));
        rtt.end_back_off();
        assert_eq!(rtt.rto(), Micros::from_millis(200));
        // The longest spans stay within 32 bits.
        for _ in 0..100 {
            rtt.measure(u32::MAX);
            rtt.measure(1);
        }
        assert_eq!(rtt.rto(), Micros::from_secs(60));
    }
}
