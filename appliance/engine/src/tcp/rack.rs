//! RACK (RFC 8985 section 6): a segment is lost when one that was sent later has arrived and the
//! reordering window has passed.
//!
//! One state a connection; the segments and when they were sent are in [`super::flight`]. Needs a
//! peer with SACK: without it losses are found by duplicate ACKs (`recovery`).

use crate::tcp::flight::{Flight, Flights, Sent};
use crate::tcp::moment::Stamp;
use crate::tcp::rtt::Rtt;
use crate::units::Micros;
use crate::wire::seq::Seq;

/// Duplicates that mean a loss whatever the time (RFC 5681 section 3.2, RFC 8985 section 6.2 step 4).
pub(super) const DUPLICATES: u16 = 3;

/// Recoveries after which a widened reordering window is narrowed again (RFC 8985 section 6.2 step
/// 4).
const WIDENED_FOR: u8 = 16;

/// See the file's header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rack {
    /// RACK.xmit_ts and RACK.end_seq: of all segments that have arrived, the one sent last.
    sent_at: Stamp,
    end: Seq,
    /// RACK.rtt; 0 before anything has arrived.
    rtt_us: u32,
    /// RACK.fack: the highest sequence number that has arrived.
    highest: Seq,
    /// RACK.dsack_round: another DSACK counts when this is acknowledged.
    round: Seq,
    /// RACK.reo_wnd_mult, less one.
    widened: u8,
    /// RACK.reo_wnd_persist.
    widened_for: u8,
    /// RACK.reordering_seen.
    reordering: bool,
}

impl Rack {
    /// Before anything was sent behind `iss`.
    pub(super) fn new(iss: Seq) -> Rack {
        Rack {
            sent_at: Stamp::default(),
            end: iss,
            rtt_us: 0,
            highest: iss,
            round: iss,
            widened: 0,
            widened_for: 0,
            reordering: false,
        }
    }

    /// The highest sequence number that has arrived.
    pub(super) fn highest(&self) -> Seq {
        self.highest
    }

    /// `sent` has arrived (steps 1 to 3). `echo_us` is the age of the timestamp that came back with
    /// the news, if there was one; `least_us` is RACK.min_RTT.
    pub(super) fn on_delivered(
        &mut self,
        now: Micros,
        sent: &Sent,
        echo_us: Option<u32>,
        least_us: u32,
    ) {
        if sent.end.after(self.highest) {
            self.highest = sent.end;
        } else if sent.end.before(self.highest) && !sent.resent {
            self.reordering = true;
        }
        let rtt_us = sent.sent_at.age_us(now).max(1);
        if sent.resent {
            // It was perhaps not the last transmission that arrived. A timestamp is up to a
            // millisecond older than what it is put on.
            let older = echo_us.is_some_and(|echo_us| echo_us > rtt_us + 1_000);
            if older || rtt_us < least_us {
                return;
            }
        }
        if self.rtt_us == 0 || is_later((sent.sent_at, sent.end), (self.sent_at, self.end)) {
            self.rtt_us = rtt_us;
            self.sent_at = sent.sent_at;
            self.end = sent.end;
        }
    }

    /// The peer got something twice: what was taken for lost was late (step 4). Once a round trip.
    pub(super) fn on_dsack(&mut self, una: Seq, nxt: Seq) {
        if una.before(self.round) {
            return;
        }
        self.round = nxt;
        self.widened = self.widened.saturating_add(1);
        self.widened_for = WIDENED_FOR;
    }

    /// A recovery has ended.
    pub(super) fn on_recovered(&mut self) {
        self.widened_for = self.widened_for.saturating_sub(1);
        if self.widened_for == 0 {
            self.widened = 0;
        }
    }

    /// RACK.reo_wnd in microseconds (step 4). `certain`: recovery is under way, or enough
    /// duplicates came.
    fn window_us(&self, certain: bool, rtt: &Rtt) -> u32 {
        if !self.reordering && certain {
            return 0;
        }
        let quarter = rtt.least_us() / 4;
        quarter
            .saturating_mul(u32::from(self.widened) + 1)
            .min(rtt.smoothed_us().unwrap_or(0))
    }

    /// Marks what is lost (step 5); gives the lost bytes, and in how many microseconds to look again
    /// if something may become lost by waiting.
    pub(super) fn detect(
        &self,
        now: Micros,
        (flights, flight, una): (&mut Flights, &mut Flight, Seq),
        recovering: bool,
        rtt: &Rtt,
    ) -> (u32, Option<u32>) {
        // In recovery a repair may have arrived that was sent after everything that is left. Else what is
        // left was sent before something that has arrived only if the peer holds some of it.
        if flight.sacked() == 0 && !recovering || self.rtt_us == 0 {
            return (0, None);
        }
        let certain = recovering || flight.sacked_count() >= DUPLICATES;
        let patience_us = self.rtt_us + self.window_us(certain, rtt);
        let mut wait_us = None;
        let lost = flights.mark_lost(flight, una, |sent| {
            if !is_later((self.sent_at, self.end), (sent.sent_at, sent.end)) {
                return false;
            }
            let age_us = sent.sent_at.age_us(now);
            if age_us < patience_us {
                wait_us = wait_us.max(Some(patience_us - age_us));
                return false;
            }
            true
        });
        (lost, wait_us)
    }

    /// Whether `sent` is lost when the retransmission timer has run out (section 6.3): the first
    /// one, and whatever has had time enough.
    pub(super) fn is_lost_by_timeout(&self, now: Micros, sent: &Sent, una: Seq, rtt: &Rtt) -> bool {
        // Before anything was reported out of order the usual round trip has to do.
        let rtt_us = match self.rtt_us {
            0 => rtt.smoothed_us().unwrap_or(0),
            rtt_us => rtt_us,
        };
        let patience_us = rtt_us + self.window_us(false, rtt);
        sent.start == una || sent.sent_at.age_us(now) >= patience_us
    }
}

/// RACK_sent_after: in time, and at the same time in the stream.
fn is_later((at, end): (Stamp, Seq), (other_at, other_end): (Stamp, Seq)) -> bool {
    at.after(other_at) || at == other_at && end.after(other_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(span_us: u32) -> Rtt {
        let mut rtt = Rtt::default();
        rtt.note_least(Micros(1), span_us);
        rtt.measure(span_us);
        rtt
    }

    #[test]
    fn rfc8985_6_2_a_dsack_widens_the_window_once_a_round_and_for_sixteen_recoveries() {
        let rtt = measured(40_000);
        let mut rack = Rack::new(Seq(0));
        assert_eq!(rack.window_us(false, &rtt), 10_000);
        rack.on_dsack(Seq(0), Seq(10));
        assert_eq!(rack.window_us(false, &rtt), 20_000);
        rack.on_dsack(Seq(5), Seq(20));
        assert_eq!(rack.window_us(false, &rtt), 20_000);
        for round in 1..9 {
            rack.on_dsack(Seq(10 * round), Seq(10 * round + 10));
        }
        // Never more than a round trip.
        assert_eq!(rack.window_us(false, &rtt), 40_000);
        for _ in 0..15 {
            rack.on_recovered();
        }
        assert_eq!(rack.window_us(false, &rtt), 40_000);
        rack.on_recovered();
        assert_eq!(rack.window_us(false, &rtt), 10_000);
    }

    #[test]
    fn rfc8985_6_2_a_repair_is_no_reordering_and_measures_only_itself() {
        let rtt = measured(40_000);
        let mut rack = Rack::new(Seq(0));
        let (mut flights, mut flight) = (Flights::new(1, 4), Flight::default());
        for end in [10, 20] {
            let sent_at = Stamp::of(Micros(100));
            assert!(flights.push(&mut flight, (0, Seq(0)), Seq(end), sent_at));
        }
        flights.on_sack(&mut flight, Seq(0), (Seq(10), Seq(20)), |sent| {
            rack.on_delivered(Micros(40_100), &sent, None, rtt.least_us());
        });
        flights.mark_lost(&mut flight, Seq(0), |_| true);
        let lost = flights.first_lost(&flight, Seq(0)).unwrap();
        flights.on_resent(&mut flight, lost, Seq(10), Stamp::of(Micros(40_200)));
        // After more than a round trip the first transmission arrives, as its timestamp says.
        flights.on_cumulative(&mut flight, Seq(0), Seq(20), |sent| {
            rack.on_delivered(Micros(90_000), &sent, Some(89_900), rtt.least_us());
        });
        assert_eq!((rack.rtt_us, rack.end), (40_000, Seq(20)));
        assert_eq!(rack.window_us(true, &rtt), 0);
    }
}
