//! How much may be in flight: the congestion window, with slow start, and in congestion avoidance
//! CUBIC (RFC 9438) or NewReno (RFC 5681).
//!
//! When a loss is repaired, and how the window moves meanwhile, is `recovery`'s. Here is what an
//! acknowledgement adds, what a loss takes, and what a window is worth that was not used (RFC 7661):
//! players receive little, so most windows are wider than anything that was ever in flight, and
//! such a window neither grows nor, for five minutes, shrinks.
//!
//! Windows are in bytes.

mod cubic;

use crate::tcp::Algorithm;
pub(super) use crate::tcp::congestion::cubic::Cubic;
use crate::tcp::moment::StampMs;
use crate::units::Micros;
use crate::wire::seq::Seq;

/// Largest congestion window: players receive little; more would only fill queues on their links.
const WINDOW_MAX: u32 = 1 << 20;

/// How long a window that is not used is believed (RFC 7661 section 4.4: five minutes).
const NON_VALIDATED_MS: u32 = 300_000;

/// Windows are below 2^21 bytes: in units of 64 bytes they fit 16 bits.
const UNIT_SHIFT: u32 = 6;

/// An acknowledgement, as far as the window goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// When it came.
    pub(super) now: Micros,
    /// New bytes acknowledged in order.
    pub(super) acked: u32,
    /// SND.UNA and SND.NXT after it.
    pub(super) una: Seq,
    pub(super) nxt: Seq,
    /// Bytes in flight before it.
    pub(super) flight: u32,
    /// Smoothed round trip in microseconds.
    pub(super) rtt_us: u32,
    pub(super) mss: u32,
    /// After a timeout a window grows by a segment an acknowledgement, not two (RFC 3465 section
    /// 2.3).
    pub(super) careful: bool,
}

/// One connection's window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Congestion {
    window: u32,
    threshold: u32,
    /// Most bytes in flight in this round trip and in the one before, in units: pipeACK of RFC 7661.
    used: u16,
    used_before: u16,
    /// The round trip ends when this is acknowledged.
    round_end: Seq,
    /// When the window was last used by half or more, or last halved for not being used.
    validated: StampMs,
}

impl Congestion {
    /// Starts with segments of `mss` bytes behind the sequence number `iss`.
    pub(super) fn new(mss: u32, iss: Seq, now: Micros) -> Congestion {
        Congestion {
            window: initial_window(mss),
            threshold: u32::MAX,
            used: 0,
            used_before: 0,
            round_end: iss,
            validated: StampMs::of(now),
        }
    }

    /// Bytes that may be in flight.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// Where slow start ends.
    pub(super) fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Whether the window still opens by what is acknowledged (RFC 5681 section 3.1).
    pub(super) fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// New data was acknowledged outside fast recovery.
    pub(super) fn on_acked(&mut self, algorithm: Algorithm, growth: &Growth, cubic: &mut Cubic) {
        self.used = self.used.max(units(growth.flight));
        let is_used = self.is_validated();
        if !growth.una.before(self.round_end) {
            self.round_end = growth.nxt;
            self.used_before = self.used;
            self.used = 0;
        }
        if !is_used {
            // RFC 9438 section 5.8: time in which nothing was asked of the window does not count.
            cubic.end_epoch();
            return self.decay(growth);
        }
        self.validated = StampMs::of(growth.now);
        let more = if self.is_slow_start() {
            let most = if growth.careful { 1 } else { 2 } * growth.mss;
            growth.acked.min(most)
        } else {
            match algorithm {
                Algorithm::Cubic => cubic.growth(self.window, growth),
                Algorithm::NewReno => share(growth.mss, growth.acked, self.window),
            }
        };
        self.window = (self.window + more).min(WINDOW_MAX);
    }

    /// RFC 7661 section 4.3: a window of which half was used says something about the path.
    fn is_validated(&self) -> bool {
        2 * self.used_bytes() >= self.window
    }

    /// What was used of late, in bytes.
    fn used_bytes(&self) -> u32 {
        u32::from(self.used.max(self.used_before)) << UNIT_SHIFT
    }

    /// RFC 7661 section 4.4.3, at the end of the non-validated period.
    fn decay(&mut self, growth: &Growth) {
        if self.validated.age_ms(growth.now) < NON_VALIDATED_MS {
            return;
        }
        self.validated = StampMs::of(growth.now);
        let initial = initial_window(growth.mss);
        if self.window > initial {
            self.threshold = self.threshold.max(self.window / 4 * 3);
            self.window = (self.window / 2).max(initial);
        }
    }

    /// A loss, or a mark of congestion, with `flight` bytes in flight: lowers the threshold. The
    /// window is set by the caller.
    pub(super) fn on_loss(
        &mut self,
        algorithm: Algorithm,
        flight: u32,
        mss: u32,
        cubic: &mut Cubic,
    ) {
        // RFC 7661 section 4.4.1: what was used counts, not what was allowed.
        let used = flight.max(self.used_bytes()).min(self.window.max(flight));
        let left = match algorithm {
            Algorithm::Cubic => cubic.on_loss(used),
            Algorithm::NewReno => used / 2,
        };
        self.threshold = left.max(2 * mss);
    }

    /// Sets the window, at least one segment.
    pub(super) fn set_window(&mut self, window: u32, mss: u32) {
        self.window = window.clamp(mss, WINDOW_MAX);
    }

    /// The loss was none (RFC 4015 section 3.2): back to what was.
    pub(super) fn undo(&mut self, window: u32, threshold: u32, cubic: &mut Cubic) {
        self.window = self.window.max(window);
        self.threshold = self.threshold.max(threshold);
        cubic.end_epoch();
    }
}

fn units(bytes: u32) -> u16 {
    u16::try_from(bytes >> UNIT_SHIFT).unwrap_or(u16::MAX)
}

/// RFC 6928 section 2.
pub(super) fn initial_window(mss: u32) -> u32 {
    (10 * mss).min(14_600.max(2 * mss))
}

/// `of * part / whole`, at least 1; all below 2^21.
fn share(of: u32, part: u32, whole: u32) -> u32 {
    let share = u64::from(of) * u64::from(part) / u64::from(whole.max(1));
    u32::try_from(share).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    fn growth(acked: u32, flight: u32, at_ms: u64) -> Growth {
        Growth {
            now: Micros::from_millis(at_ms),
            acked,
            una: Seq(at_ms as u32),
            nxt: Seq(at_ms as u32 + 1),
            flight,
            rtt_us: 100_000,
            mss: MSS,
            careful: false,
        }
    }

    fn window(used: u32) -> Congestion {
        let mut window = Congestion::new(MSS, Seq(0), Micros(0));
        window.threshold = used;
        window.window = used;
        window
    }

    #[test]
    fn slow_start_takes_what_was_acknowledged_but_two_segments_at_most() {
        let mut open = Congestion::new(MSS, Seq(0), Micros(0));
        open.on_acked(
            Algorithm::NewReno,
            &growth(1_000, 10_000, 1),
            &mut Cubic::default(),
        );
        assert_eq!(open.window(), 11_000);
        open.on_acked(
            Algorithm::NewReno,
            &growth(9_000, 11_000, 2),
            &mut Cubic::default(),
        );
        assert_eq!(open.window(), 13_000);
        let careful = Growth {
            careful: true,
            ..growth(9_000, 13_000, 3)
        };
        open.on_acked(Algorithm::NewReno, &careful, &mut Cubic::default());
        assert_eq!(open.window(), 14_000);
    }

    #[test]
    fn newreno_adds_a_segment_a_round_and_halves() {
        let mut reno = window(10_000);
        for step in 0..10 {
            reno.on_acked(
                Algorithm::NewReno,
                &growth(1_000, 10_000, step),
                &mut Cubic::default(),
            );
        }
        assert!((10_900..=11_000).contains(&reno.window()), "{reno:?}");
        reno.on_loss(Algorithm::NewReno, 10_000, MSS, &mut Cubic::default());
        assert_eq!(reno.threshold(), 5_000);
    }

    #[test]
    fn what_is_not_used_neither_grows_nor_is_lost_for_five_minutes() {
        let mut open = window(100_000);
        for step in 0..100 {
            open.on_acked(
                Algorithm::Cubic,
                &growth(1_000, 2_000, step),
                &mut Cubic::default(),
            );
        }
        assert_eq!(open.window(), 100_000);
        // The loss of one of two segments does not leave 50 KB.
        let mut lossy = open;
        lossy.on_loss(Algorithm::NewReno, 2_000, MSS, &mut Cubic::default());
        assert_eq!(lossy.threshold(), 2_000);
        open.on_acked(
            Algorithm::Cubic,
            &growth(1_000, 2_000, 300_200),
            &mut Cubic::default(),
        );
        assert_eq!((open.window(), open.threshold()), (50_000, 100_000));
        open.on_acked(
            Algorithm::Cubic,
            &growth(1_000, 2_000, 300_300),
            &mut Cubic::default(),
        );
        assert_eq!(open.window(), 50_000);
    }

    #[test]
    fn rfc9438_5_8_time_in_which_the_window_was_not_used_does_not_count() {
        let (mut open, mut cubic) = (window(100_000), Cubic::default());
        open.on_acked(Algorithm::Cubic, &growth(1_000, 100_000, 1), &mut cubic);
        assert!(cubic.has_epoch());
        for at_ms in 2..5 {
            open.on_acked(Algorithm::Cubic, &growth(1_000, 1_000, at_ms), &mut cubic);
        }
        assert!(!cubic.has_epoch());
    }

    #[test]
    fn never_below_two_segments_nor_above_the_bound() {
        let mut open = window(WINDOW_MAX);
        open.threshold = u32::MAX;
        open.on_acked(
            Algorithm::Cubic,
            &growth(2_000, WINDOW_MAX, 1),
            &mut Cubic::default(),
        );
        assert_eq!(open.window(), WINDOW_MAX);
        open.on_loss(Algorithm::Cubic, 100, MSS, &mut Cubic::default());
        assert!(open.threshold() >= 2 * MSS);
        let mut small = window(1_000);
        small.on_loss(Algorithm::Cubic, 100, MSS, &mut Cubic::default());
        assert_eq!(small.threshold(), 2 * MSS);
    }
}
