//! Round-trip time and retransmission timeout (RFC 6298).

use crate::units::Micros;

/// RTO before the first measurement (RFC 6298 section 2.1).
const RTO_INITIAL: Micros = Micros::from_secs(1);

/// Smallest RTO. The RFC says one second (section 2.4); 200 ms is what Linux uses and what a delayed
/// ACK of 40 ms on both sides leaves plenty of room below.
const RTO_MIN: Micros = Micros::from_millis(200);

/// Largest RTO (section 2.5).
const RTO_MAX: Micros = Micros::from_secs(60);

/// Clock granularity G.
const GRANULARITY: u64 = 1_000;

/// The estimate of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rtt {
    /// Smoothed RTT in microseconds; 0 before the first measurement.
    smoothed: u64,
    /// RTTVAR in microseconds.
    variation: u64,
    /// Timeouts since the last progress: each doubles the RTO (section 5.5).
    backoff: u8,
}

impl Rtt {
    /// Takes one measurement (section 2.2 and 2.3) and ends the backing off.
    pub(super) fn measure(&mut self, span: Micros) {
        let span = span.0.max(1);
        if self.smoothed == 0 {
            self.smoothed = span;
            self.variation = span / 2;
        } else {
            let difference = self.smoothed.abs_diff(span);
            self.variation = (3 * self.variation + difference) / 4;
            self.smoothed = (7 * self.smoothed + span) / 8;
        }
        self.backoff = 0;
    }

    /// The RTO now.
    pub(super) fn rto(&self) -> Micros {
        let base = match self.smoothed {
            0 => RTO_INITIAL,
            smoothed => Micros(smoothed + (4 * self.variation).max(GRANULARITY)).max(RTO_MIN),
        };
        Micros(base.0 << self.backoff.min(10)).min(RTO_MAX)
    }

    /// A timeout: doubles the RTO.
    pub(super) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// The peer answered: the RTO is what the measurements say again.
    pub(super) fn end_back_off(&mut self) {
        self.backoff = 0;
    }

    /// Timeouts since the last progress.
    pub(super) fn timeouts(&self) -> u8 {
        self.backoff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_formulas() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.rto(), Micros::from_secs(1));
        rtt.measure(Micros::from_millis(100));
        // 100 + 4 * 50.
        assert_eq!(rtt.rto(), Micros::from_millis(300));
        rtt.measure(Micros::from_millis(100));
        // 100 + 4 * 37.5.
        assert_eq!(rtt.rto(), Micros::from_millis(250));
        for _ in 0..50 {
            rtt.measure(Micros(20));
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
    }
}
