//! Tail loss probes (RFC 8985 section 7): when the last segments of a flight are lost nothing comes
//! after them that would tell. So after about two round trips of silence something is sent that the
//! peer has to answer: sooner than the retransmission timer, and without its consequences.
//!
//! The probe is new data if there is any, else all of the unacknowledged tail that fits a segment
//! (the RFC sends the last segment alone; players' events are small, so that the whole tail is often
//! repaired by the probe itself).

use crate::tcp::conn::Conn;
use crate::tcp::moment::Deadline;
use crate::units::Micros;
use crate::wire::seq::Seq;

/// Time before the first measurement (section 7.2).
const UNMEASURED: Micros = Micros::from_secs(1);

/// What the peer's delayed ACK may take, at first: what Linux takes, and a little. The RFC says to
/// assume the worst, 200 ms. Too small: a needless probe, of which a DSACK tells; then it doubles.
const ACK_DELAY_MS: u8 = 45;

/// Two ticks of the timer wheel (Linux: TCP_TIMEOUT_MIN_US).
const TIMEOUT_US_MIN: u32 = 2_000;

/// The worst (section 7.2: TLP.max_ack_delay).
const ACK_DELAY_MS_MAX: u8 = 200;

/// What was sent as a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    /// New data.
    New,
    /// The tail again (TLP.is_retrans).
    Again,
}

/// See the file's header.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailProbe {
    /// TLP.end_seq.
    end: Seq,
    /// The probe up to there that is unanswered.
    probe: Probe,
    /// A probe has to be sent now.
    pub(super) due: bool,
    /// The timer in `loss_at` is this one's, not the reordering window's.
    pub(super) armed: bool,
    ack_delay_ms: u8,
}

impl Default for TailProbe {
    fn default() -> TailProbe {
        TailProbe {
            end: Seq(0),
            probe: Probe::None,
            due: false,
            armed: false,
            ack_delay_ms: ACK_DELAY_MS,
        }
    }
}

/// What an acknowledgement says of the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing, or there is none.
    None,
    /// Nothing had been lost.
    Needless,
    /// It repaired a loss (section 7.4.2): the window has to feel it.
    Repaired,
}

impl TailProbe {
    /// A probe up to `end` was sent.
    pub(super) fn on_sent(&mut self, end: Seq, resent: bool) {
        self.end = end;
        self.probe = if resent { Probe::Again } else { Probe::New };
        self.due = false;
    }

    /// The episode is over for another reason: recovery, a timeout.
    pub(super) fn cancel(&mut self) {
        self.probe = Probe::None;
        self.due = false;
        self.armed = false;
    }

    /// An acknowledgement up to `ack` (section 7.4). `dsack`: with a report of a duplicate;
    /// `duplicate`: it acknowledges nothing new and says nothing else.
    pub(super) fn on_ack(&mut self, ack: Seq, dsack: bool, duplicate: bool) -> Answer {
        let end = self.end;
        if self.probe == Probe::None || ack.before(end) {
            return Answer::None;
        }
        let answer = if self.probe == Probe::New {
            Answer::None
        } else if dsack || ack == end && duplicate {
            let doubled = self.ack_delay_ms.saturating_mul(2);
            self.ack_delay_ms = doubled.min(ACK_DELAY_MS_MAX);
            Answer::Needless
        } else if ack.after(end) {
            Answer::Repaired
        } else {
            // Either the original or the probe; the other one's answer may still come.
            return Answer::None;
        };
        self.probe = Probe::None;
        answer
    }
}

/// Sets the timer for a probe, if one may be sent (section 7.2 and 7.3).
pub(super) fn schedule(conn: &mut Conn, now: Micros) {
    let may = conn.sack
        && conn.recovery.is_open()
        && conn.tail.probe == Probe::None
        && conn.flight.count() > 0
        && conn.flight.sacked() == 0
        && conn.flight.lost() == 0;
    if !may {
        if conn.tail.armed {
            conn.tail.armed = false;
            conn.loss_at = Deadline::NEVER;
        }
        return;
    }
    let timeout = match conn.rtt.smoothed_us() {
        None => UNMEASURED,
        Some(smoothed_us) => Micros(u64::from(timeout_us(conn, smoothed_us))),
    };
    let at = (now + timeout).min(conn.rto_at.micros(now));
    conn.loss_at = Deadline::of(at);
    conn.tail.armed = true;
}

/// PTO. The RFC allows for a delayed ACK when one segment is in flight; a peer delays it until it has
/// two full ones.
fn timeout_us(conn: &Conn, smoothed_us: u32) -> u32 {
    let timeout_us = 2 * smoothed_us;
    if conn.in_flight() >= 2 * conn.mss() {
        return timeout_us.max(TIMEOUT_US_MIN);
    }
    timeout_us + u32::from(conn.tail.ack_delay_ms) * 1_000
}
