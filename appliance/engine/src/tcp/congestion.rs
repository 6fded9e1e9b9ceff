//! NewReno (RFC 5681, RFC 6582) with an initial window of ten segments (RFC 6928) and limited
//! transmit (RFC 3042).

use crate::wire::seq::Seq;

/// Duplicate ACKs that mean a loss (RFC 5681 section 3.2).
const DUPLICATES: u8 = 3;

/// Largest congestion window: players receive little; more would only fill queues on their links.
const WINDOW_MAX: u32 = 1 << 20;

/// What an acknowledgement asks the sender to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Go on.
    None,
    /// Send the segment at SND.UNA again.
    Resend,
}

/// One connection's congestion state. Windows in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Congestion {
    window: u32,
    threshold: u32,
    duplicates: u8,
    /// While recovering: the loss is repaired when this is acknowledged.
    recover: Option<Seq>,
}

impl Congestion {
    /// Starts with segments of `mss` bytes.
    pub(super) fn new(mss: u32) -> Congestion {
        let window = initial_window(mss);
        Congestion {
            window,
            threshold: u32::MAX,
            duplicates: 0,
            recover: None,
        }
    }

    /// Bytes that may be in flight, limited transmit included.
    pub(super) fn window(&self, mss: u32) -> u32 {
        match self.recover {
            None => self.window + u32::from(self.duplicates) * mss,
            Some(_) => self.window,
        }
    }

    /// `acked` new bytes were acknowledged up to `una`; `flight` is what was in flight before.
    pub(super) fn on_ack(&mut self, una: Seq, acked: u32, flight: u32, mss: u32) -> Action {
        self.duplicates = 0;
        if let Some(recover) = self.recover {
            if una.before(recover) {
                // A partial ACK (RFC 6582 section 3.2 step 3): the next hole is lost too.
                self.window = self.window.saturating_sub(acked).max(mss) + mss;
                return Action::Resend;
            }
            self.recover = None;
            self.window = self
                .threshold
                .min(flight.saturating_sub(acked).max(mss) + mss);
            return Action::None;
        }
        // Only a window that was used says anything (RFC 7661 in its simplest form).
        if flight.saturating_mul(2) < self.window {
            return Action::None;
        }
        let more = if self.window < self.threshold {
            acked.min(mss)
        } else {
            // Products of a window below 2^20 and a segment below 2^11 fit.
            (mss * mss / self.window.max(1)).max(1)
        };
        self.window = (self.window + more).min(WINDOW_MAX);
        Action::None
    }

    /// A duplicate ACK with `flight` bytes in flight up to `max`.
    pub(super) fn on_duplicate(&mut self, max: Seq, flight: u32, mss: u32) -> Action {
        if self.recover.is_some() {
            self.window = (self.window + mss).min(WINDOW_MAX);
            return Action::None;
        }
        self.duplicates += 1;
        if self.duplicates < DUPLICATES {
            return Action::None;
        }
        self.duplicates = 0;
        self.threshold = (flight / 2).max(2 * mss);
        self.window = self.threshold + 3 * mss;
        self.recover = Some(max);
        Action::Resend
    }

    /// The retransmission timer ran out (RFC 5681 section 3.1).
    pub(super) fn on_timeout(&mut self, flight: u32, mss: u32, first: bool) {
        if first {
            self.threshold = (flight / 2).max(2 * mss);
        }
        self.window = mss;
        self.duplicates = 0;
        self.recover = None;
    }

    /// Nothing was sent for longer than an RTO (RFC 5681 section 4.1).
    pub(super) fn on_idle(&mut self, mss: u32) {
        self.window = self.window.min(initial_window(mss));
    }
}

/// RFC 6928 section 2.
fn initial_window(mss: u32) -> u32 {
    (10 * mss).min(14_600.max(2 * mss))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    #[test]
    fn slow_start_then_avoidance_then_recovery() {
        let mut reno = Congestion::new(MSS);
        assert_eq!(reno.window(MSS), 10_000);
        reno.on_ack(Seq(1000), 1000, 10_000, MSS);
        assert_eq!(reno.window(MSS), 11_000);
        // An application that sends little opens nothing.
        reno.on_ack(Seq(2000), 1000, 2_000, MSS);
        assert_eq!(reno.window(MSS), 11_000);

        assert_eq!(reno.on_duplicate(Seq(13_000), 11_000, MSS), Action::None);
        assert_eq!(reno.window(MSS), 12_000);
        assert_eq!(reno.on_duplicate(Seq(13_000), 11_000, MSS), Action::None);
        assert_eq!(reno.on_duplicate(Seq(13_000), 11_000, MSS), Action::Resend);
        assert_eq!(reno.window(MSS), 5_500 + 3_000);
        assert_eq!(reno.on_ack(Seq(5_000), 3_000, 11_000, MSS), Action::Resend);
        assert_eq!(reno.on_ack(Seq(13_000), 8_000, 8_000, MSS), Action::None);
        assert_eq!(reno.window(MSS), 2_000);
        reno.window = 5_500;
        reno.on_ack(Seq(14_000), 1_000, 5_000, MSS);
        assert_eq!(reno.window(MSS), 5_500 + 181);
    }

    #[test]
    fn a_timeout_starts_over() {
        let mut reno = Congestion::new(MSS);
        reno.on_timeout(10_000, MSS, true);
        reno.on_timeout(1_000, MSS, false);
        assert_eq!((reno.window(MSS), reno.threshold), (1_000, 5_000));
    }
}
