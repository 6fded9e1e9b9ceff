//! Repairing losses: when recovery begins and ends, how much may be sent meanwhile, and taking it
//! back when nothing was lost.
//!
//! Fast recovery sends by proportional rate reduction (RFC 6937): for what leaves the network, a
//! share goes in, so that the window comes down to the threshold over one round trip. After a
//! timeout the window starts over (RFC 5681 section 3.1).
//!
//! A peer without SACK is helped by counting duplicate ACKs (RFC 5681 section 3.2) and by partial
//! ACKs (RFC 6582).
//!
//! What was taken for lost and was not is found by timestamps (Eifel, RFC 3522): the acknowledgement
//! echoes an older one than that of the first retransmission; or by DSACK (RFC 3708): every
//! retransmission arrived twice. Then window and threshold are what they were (RFC 4015).

use crate::wire::seq::Seq;

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is known to be lost.
    Open,
    /// A loss was found by what arrived later.
    Fast,
    /// The retransmission timer ran out.
    Timeout,
}

/// Window and threshold before the loss, for the case that it was none.
#[derive(Debug, Clone, Copy)]
struct Before {
    window: u32,
    threshold: u32,
    /// SND.UNA: what lies below was not sent again for this loss.
    una: Seq,
    /// Timestamp of the first retransmission; meaningless before it.
    resent_ts: u32,
    /// Retransmissions that no DSACK has told of.
    resent: u16,
    /// Something was sent again, and what it was can still turn out to have been in vain.
    armed: bool,
    /// No acknowledgement of new data has come since.
    unanswered: bool,
}

impl Before {
    fn new(una: Seq, (window, threshold): (u32, u32)) -> Before {
        Before {
            window,
            threshold,
            una,
            resent_ts: 0,
            resent: 0,
            armed: false,
            unanswered: false,
        }
    }
}

/// Whether a loss is being repaired. How is [`Reduction`]'s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovery {
    /// RecoveryPoint: recovery ends when this is acknowledged.
    pub(super) point: Seq,
    pub(super) phase: Phase,
    /// Duplicate ACKs of a peer without SACK.
    pub(super) duplicates: u16,
}

impl Recovery {
    pub(super) fn new(first: Seq) -> Recovery {
        Recovery {
            point: first,
            phase: Phase::Open,
            duplicates: 0,
        }
    }

    /// Whether nothing is being repaired.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// A loss was found; what was sent up to `nxt` belongs to it.
    pub(super) fn begin(&mut self, phase: Phase, nxt: Seq) {
        self.phase = phase;
        self.point = nxt;
    }

    /// Everything sent before the loss was found is acknowledged.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Open;
        self.duplicates = 0;
    }
}

/// See the file's header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reduction {
    /// RecoverFS, prr_delivered, prr_out (RFC 6937 section 3).
    flight: u32,
    delivered: u32,
    out: u32,
    before: Before,
}

impl Reduction {
    /// No loss was found yet.
    pub(super) fn new(una: Seq) -> Reduction {
        Reduction {
            flight: 0,
            delivered: 0,
            out: 0,
            before: Before::new(una, (0, 0)),
        }
    }

    /// A loss was found with `flight` bytes in flight from `una` on; `before` is window and threshold
    /// before it, unless it belongs to a loss that is being repaired already.
    pub(super) fn begin(&mut self, una: Seq, flight: u32, before: Option<(u32, u32)>) {
        if let Some(before) = before {
            self.before = Before::new(una, before);
        }
        self.flight = flight.max(1);
        self.delivered = 0;
        self.out = 0;
    }

    /// The window of fast recovery (RFC 6937 section 3.1), with `pipe` bytes in flight, after
    /// `delivered` more have left the network. `progress`: SND.UNA moved and nothing new is lost.
    pub(super) fn window(
        &mut self,
        pipe: u32,
        threshold: u32,
        delivered: u32,
        mss: u32,
        progress: bool,
    ) -> u32 {
        self.delivered = self.delivered.saturating_add(delivered);
        let more = if pipe > threshold {
            let share = u64::from(self.delivered) * u64::from(threshold);
            let share = share.div_ceil(self.flight.into());
            u32::try_from(share)
                .unwrap_or(u32::MAX)
                .saturating_sub(self.out)
        } else {
            let owed = self.delivered.saturating_sub(self.out).max(delivered);
            // RFC 9937 section 6.2: slow start only as long as it goes well.
            let limit = owed.saturating_add(if progress { mss } else { 0 });
            (threshold - pipe).min(limit)
        };
        // The first retransmission goes out whatever the formulas say.
        let first = if self.out == 0 { mss } else { 0 };
        pipe.saturating_add(more.max(first))
    }

    /// `bytes` were sent in recovery; `resent_ts` is the timestamp of it if it was a
    /// retransmission.
    pub(super) fn on_sent(&mut self, bytes: u32, resent_ts: Option<u32>) {
        self.out = self.out.saturating_add(bytes);
        if let Some(ts) = resent_ts {
            if !self.before.armed {
                self.before.armed = true;
                self.before.unanswered = true;
                self.before.resent_ts = ts;
                self.before.resent = 0;
            }
            self.before.resent = self.before.resent.saturating_add(1);
        }
    }

    /// New data was acknowledged in recovery, with this timestamp echoed: was the retransmission
    /// needless (RFC 3522 section 3.2)? The first one decides.
    pub(super) fn is_echo_older(&mut self, echo: u32) -> bool {
        self.before.armed
            && std::mem::replace(&mut self.before.unanswered, false)
            && echo.wrapping_sub(self.before.resent_ts).cast_signed() < 0
    }

    /// Something up to `end` arrived twice; true when now all retransmissions have.
    pub(super) fn on_dsack(&mut self, end: Seq) -> bool {
        if !self.before.armed || !end.after(self.before.una) {
            return false;
        }
        self.before.resent = self.before.resent.saturating_sub(1);
        self.before.resent == 0
    }

    /// The window has been reduced for another reason too: it stays so, whatever becomes of the loss
    /// (RFC 4015 section 3.2, for ECN).
    pub(super) fn keep(&mut self) {
        self.before.window = 0;
        self.before.threshold = 0;
    }

    /// The loss was none; gives window and threshold from before it.
    pub(super) fn undo(&mut self) -> (u32, u32) {
        self.before.armed = false;
        (self.before.window, self.before.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_comes_down_in_proportion() {
        let mut reduction = Reduction::new(Seq(0));
        reduction.begin(Seq(0), 20_000, Some((20_000, u32::MAX)));
        // One of twenty segments arrived, one is lost: the first retransmission is free.
        assert_eq!(
            reduction.window(18_000, 10_000, 1_000, 1_000, false),
            19_000
        );
        reduction.on_sent(1_000, Some(5));
        // From now on one segment for two that arrive.
        assert_eq!(
            reduction.window(18_000, 10_000, 1_000, 1_000, false),
            18_000
        );
        assert_eq!(
            reduction.window(17_000, 10_000, 1_000, 1_000, false),
            17_500
        );
        reduction.on_sent(500, None);
        // Many losses at once: not more goes in than came out.
        let mut reduction = Reduction::new(Seq(0));
        reduction.begin(Seq(0), 20_000, Some((20_000, u32::MAX)));
        reduction.on_sent(1_000, Some(5));
        assert_eq!(reduction.window(4_000, 10_000, 2_000, 1_000, false), 6_000);
        assert_eq!(reduction.window(4_000, 10_000, 2_000, 1_000, true), 8_000);
    }

    #[test]
    fn no_count_is_too_large() {
        let mut reduction = Reduction::new(Seq(0));
        reduction.begin(Seq(0), 1, Some((20_000, u32::MAX)));
        let most = reduction.window(0, u32::MAX, u32::MAX, 1_000, true);
        assert_eq!(most, u32::MAX);
        assert_eq!(
            reduction.window(20_000, 10_000, u32::MAX, 1_000, true),
            u32::MAX
        );
    }

    #[test]
    fn a_needless_repair_is_noticed() {
        let mut reduction = Reduction::new(Seq(0));
        reduction.begin(Seq(0), 9, Some((50, 60)));
        assert!(!reduction.is_echo_older(10) && !reduction.on_dsack(Seq(3)));
        reduction.on_sent(3, Some(100));
        reduction.on_sent(3, Some(120));
        let mut other = reduction;
        assert!(other.is_echo_older(99));
        assert!(!reduction.is_echo_older(100));
        assert!(!reduction.is_echo_older(99));
        assert!(!reduction.on_dsack(Seq(0)));
        assert!(!reduction.on_dsack(Seq(3)));
        assert!(reduction.on_dsack(Seq(6)));
        assert_eq!(reduction.undo(), (50, 60));
        assert!(!reduction.is_echo_older(1));
    }
}
