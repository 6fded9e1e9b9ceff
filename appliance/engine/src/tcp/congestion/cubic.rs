//! CUBIC (RFC 9438): after a loss the window comes back fast to where the loss was, dwells there,
//! and then looks further; but never slower than NewReno would.
//!
//! Time is taken in milliseconds and windows in bytes; the formulas of the RFC are in seconds and
//! segments.

use crate::tcp::congestion::{Growth, share};
use crate::tcp::moment::StampMs;

/// C (RFC 9438 section 4.1), in segments for each second cubed.
const C: f64 = 0.4;

/// What is left of a window after a loss, in tenths: beta_cubic (section 4.6).
const BETA_TENTHS: u32 = 7;

/// 3 * (1 - beta) / (1 + beta), in thousandths (section 4.3): with it a window that loses less grows
/// like one that is halved.
const ALPHA_THOUSANDTHS: u32 = 529;

/// What is remembered of the last loss.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::tcp) struct Cubic {
    /// W_max: where the window was, or a little below when it had not come back up to there
    /// (section 4.7).
    plateau: u32,
    /// cwnd_prior: where it really was.
    prior: u32,
    /// W_est: where NewReno would be.
    friendly: u32,
    /// K: milliseconds from the start of the epoch to the plateau.
    rise_ms: u32,
    /// When this congestion avoidance began; none when it has not.
    epoch: Option<StampMs>,
}

impl Cubic {
    /// The window was `window` when a loss was found; gives the threshold.
    pub(super) fn on_loss(&mut self, window: u32) -> u32 {
        self.prior = window;
        // Fast convergence (section 4.7): give room to others.
        self.plateau = if window < self.plateau {
            window / 20 * (10 + BETA_TENTHS)
        } else {
            window
        };
        self.end_epoch();
        window / 10 * BETA_TENTHS
    }

    /// Whether a congestion avoidance is under way.
    pub(in crate::tcp) fn has_epoch(&self) -> bool {
        self.epoch.is_some()
    }

    /// The next acknowledgement begins a new epoch.
    pub(super) fn end_epoch(&mut self) {
        self.epoch = None;
    }

    /// Bytes to add to `window` (section 4.2 to 4.5).
    pub(super) fn growth(&mut self, window: u32, growth: &Growth) -> u32 {
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.begin_epoch(window, growth),
        };
        let alpha = if self.friendly < self.prior {
            ALPHA_THOUSANDTHS
        } else {
            1_000
        };
        let more = share(growth.mss, growth.acked, window) * alpha / 1_000;
        self.friendly = self.friendly.saturating_add(more);
        let now_ms = epoch.age_ms(growth.now);
        if self.at(now_ms, growth.mss) < f64::from(self.friendly) {
            return self.friendly.saturating_sub(window);
        }
        let window = f64::from(window);
        let target = self
            .at(now_ms + growth.rtt_us / 1_000, growth.mss)
            .clamp(window, 1.5 * window);
        whole((target - window) * f64::from(growth.acked) / window)
    }

    fn begin_epoch(&mut self, window: u32, growth: &Growth) -> StampMs {
        let epoch = StampMs::of(growth.now);
        self.epoch = Some(epoch);
        self.friendly = window;
        if window < self.plateau {
            let segments = f64::from(self.plateau - window) / f64::from(growth.mss.max(1));
            self.rise_ms = whole((segments / C).cbrt() * 1e3);
        } else {
            self.rise_ms = 0;
            self.plateau = window;
        }
        epoch
    }

    /// W_cubic, `at_ms` into the epoch, in bytes.
    fn at(&self, at_ms: u32, mss: u32) -> f64 {
        let seconds = (f64::from(at_ms) - f64::from(self.rise_ms)) / 1e3;
        f64::from(self.plateau) + C * seconds.powi(3) * f64::from(mss)
    }
}

/// A float as a whole number, cut to the range.
fn whole(value: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from float saturates, which is what is wanted"
    )]
    let whole = value as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Micros;
    use crate::wire::seq::Seq;

    /// Window after `seconds` of full use from 70 segments on, with a round trip of `rtt_ms`.
    fn after(seconds: u32, rtt_ms: u32) -> u32 {
        let mss = 1_000;
        let mut cubic = Cubic::default();
        let mut window = cubic.on_loss(100 * mss);
        let mut now_ms = 5;
        while now_ms < seconds * 1_000 {
            let round = window;
            for _ in 0..round / mss {
                window += cubic.growth(
                    window,
                    &Growth {
                        now: Micros::from_millis(now_ms.into()),
                        acked: mss,
                        una: Seq(0),
                        nxt: Seq(0),
                        flight: window,
                        rtt_us: rtt_ms * 1_000,
                        mss,
                        careful: false,
                    },
                );
            }
            now_ms += rtt_ms;
        }
        window
    }

    #[test]
    fn comes_back_dwells_and_looks_further() {
        // K = cbrt(30 / 0.4) = 4.2 s.
        let windows: Vec<u32> = [1, 2, 4, 5, 8].map(|seconds| after(seconds, 100)).into();
        assert!((84_000..92_000).contains(&windows[0]), "{windows:?}");
        assert!((94_000..98_000).contains(&windows[1]), "{windows:?}");
        assert!((98_000..101_000).contains(&windows[2]), "{windows:?}");
        assert!((99_000..103_000).contains(&windows[3]), "{windows:?}");
        // 100 + 0.4 * (8 - 4.2)^3 = 122.
        assert!((116_000..126_000).contains(&windows[4]), "{windows:?}");
    }

    #[test]
    fn on_a_short_path_it_is_as_fast_as_newreno() {
        // 2 s are 200 rounds of 10 ms: more than CUBIC's own 30 segments.
        assert!(after(2, 10) > 160_000, "{}", after(2, 10));
    }

    #[test]
    fn gives_room_when_it_did_not_come_back() {
        let mut cubic = Cubic::default();
        assert_eq!(cubic.on_loss(100_000), 70_000);
        assert_eq!(cubic.plateau, 100_000);
        assert_eq!(cubic.on_loss(80_000), 56_000);
        assert_eq!(cubic.plateau, 68_000);
    }
}
