//! A segment for a connection there is: RFC 9293 section 3.10.7.4, step by step, with the checks of
//! RFC 7323 section 5 and RFC 5961.

use crate::metrics::catalog::Metric;
use crate::tcp::conn::{AckDue, Conn, State, positive};
use crate::tcp::moment::{Deadline, StampMs};
use crate::tcp::{CloseReason, Receipt, Tcp, Verdict};
use crate::units::{ConnId, Micros};
use crate::wire::segment::Segment;
use crate::wire::seq::Seq;

/// Longest time an ACK is held back (RFC 9293 section 3.8.6.3 allows 500 ms).
const ACK_DELAY: Micros = Micros::from_millis(40);

/// Data segments that are acknowledged at the latest together (same section).
const ACK_EVERY: u8 = 2;

/// Time between two challenge ACKs of a connection (RFC 5961 section 7; a limit of its own for each
/// connection tells an outsider nothing about the others).
const CHALLENGE_PERIOD_MS: u32 = 500;
pub(super) const CHALLENGE_PERIOD: Micros = Micros::from_millis(CHALLENGE_PERIOD_MS as u64);

/// Age at which TS.Recent means nothing any more (RFC 7323 section 5.5).
const TS_RECENT_MS_MAX: u32 = 24 * 24 * 3_600_000;

/// What the first checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// Goes on to the ACK.
    Take,
    /// Say nothing.
    Drop,
    /// Not acceptable: say where we are.
    Acknowledge,
    /// Suspicious: say where we are, but not too often.
    Challenge,
    /// A valid RST.
    Reset,
}

impl Tcp {
    pub(super) fn on_segment(
        &mut self,
        now: Micros,
        slot: u32,
        frame: &[u8],
        segment: &Segment,
    ) -> Verdict {
        let Some((id, conn)) = self.conns.at(slot) else {
            return Verdict::Done;
        };
        if conn.state == State::TimeWait {
            return self.on_time_wait(now, id, segment);
        }
        match judge(conn, now, segment) {
            Judgement::Take => {}
            Judgement::Drop => return Verdict::Done,
            Judgement::Challenge => return self.challenge(now, id),
            Judgement::Acknowledge => {
                self.counters.inc(Metric::TcpDuplicates);
                note_twice(conn, segment);
                conn.ack_due = AckDue::Now;
                self.make_ready(id);
                return Verdict::Done;
            }
            Judgement::Reset => {
                self.counters.inc(Metric::TcpReset);
                self.remove(id);
                return closed(id, CloseReason::Reset);
            }
        }
        self.on_accepted(now, frame, segment, nothing(id))
    }

    /// The rest of the way for a segment that passed the first checks.
    pub(super) fn on_accepted(
        &mut self,
        now: Micros,
        frame: &[u8],
        segment: &Segment,
        mut receipt: Receipt,
    ) -> Verdict {
        let id = receipt.id;
        self.on_marks(id, segment);
        if !self.on_ack(now, id, segment, &mut receipt) {
            // The handshake has just been completed: that has to be told.
            return if receipt.opened {
                Verdict::Flow(receipt)
            } else {
                self.challenge(now, id)
            };
        }
        self.on_progress(id, receipt.acked);
        if self.on_fin_acked(now, id, &mut receipt) {
            return Verdict::Flow(receipt);
        }
        self.on_text(now, id, frame, segment, &mut receipt);
        self.arm(now, id);
        Verdict::Flow(receipt)
    }

    /// RFC 9293 section 3.10.7.4 in TIME-WAIT; RFC 6191 for the SYN; RFC 1337: a RST is ignored.
    fn on_time_wait(&mut self, now: Micros, id: ConnId, segment: &Segment) -> Verdict {
        let Some(conn) = self.conns.get_mut(id) else {
            return Verdict::Done;
        };
        let flags = segment.flags;
        if flags.rst {
            return Verdict::Done;
        }
        if flags.syn && !flags.ack && opens_anew(conn, segment) {
            // RFC 9293 section 3.10.7.4 (MAY-2): our numbers go on behind the old ones, and behind
            // whatever of them may still be on its way.
            let above = conn.snd_max() + u32::from(u16::MAX);
            self.remove(id);
            self.on_syn(now, segment, Some(above));
            return Verdict::Done;
        }
        if flags.fin || segment.sequence_length() > 0 {
            conn.ack_due = AckDue::Now;
            // Not restarted, as the RFC would have it: the queue is in order of time, and a minute
            // outlives the peer's retransmissions.
            self.make_ready(id);
        }
        Verdict::Done
    }

    /// RFC 5961: an ACK that says where we are; a peer that really lost its state answers with RST.
    fn challenge(&mut self, now: Micros, id: ConnId) -> Verdict {
        if let Some(conn) = self.conns.get_mut(id)
            && conn
                .challenged_at
                .is_none_or(|at| at.age_ms(now) >= CHALLENGE_PERIOD_MS)
        {
            conn.challenged_at = Some(StampMs::of(now));
            conn.ack_due = AckDue::Now;
            self.counters.inc(Metric::TcpChallengeAcks);
            self.make_ready(id);
        }
        Verdict::Done
    }

    /// What the acknowledgment of our FIN changes; true when the connection needs nothing more.
    fn on_fin_acked(&mut self, now: Micros, id: ConnId, receipt: &mut Receipt) -> bool {
        let Some(conn) = self.conns.get_mut(id) else {
            return true;
        };
        if !conn.fin_acked() {
            return false;
        }
        match conn.state {
            State::FinWait1 => {
                conn.state = State::FinWait2;
                conn.state_at = Deadline::of(now + super::timers::FIN_WAIT_2);
                false
            }
            State::Closing => {
                receipt.closed = Some(CloseReason::Finished);
                self.enter_time_wait(now, id);
                true
            }
            State::LastAck => {
                receipt.closed = Some(CloseReason::Finished);
                self.counters.inc(Metric::TcpClosed);
                self.remove(id);
                true
            }
            _ => false,
        }
    }

    /// The path marked this packet, or the peer has answered our echo of a mark (RFC 3168 section
    /// 6.1.3).
    fn on_marks(&mut self, id: ConnId, segment: &Segment) {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.ecn.agreed) else {
            return;
        };
        if segment.flags.cwr {
            conn.ecn.echo = false;
        }
        if segment.flags.ce {
            self.counters.inc(Metric::TcpEcnMarks);
            conn.ecn.echo = true;
        }
    }

    /// Payload and FIN.
    fn on_text(
        &mut self,
        now: Micros,
        id: ConnId,
        frame: &[u8],
        segment: &Segment,
        receipt: &mut Receipt,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if !conn.state.receives() {
            // The peer has finished: what comes now is old.
            if segment.sequence_length() > 0 {
                conn.ack_due = AckDue::Now;
                self.make_ready(id);
            }
            return;
        }
        let payload_at = &segment.payload_at;
        note_twice(conn, segment);
        // Only what lies in the window (section 3.10.7.4, first): from RCV.NXT to the right edge.
        let skip = payload_at
            .len()
            .min(positive(conn.rcv_nxt.since(segment.seq)) as usize);
        let fits = positive(conn.rcv_edge.since(segment.seq)) as usize;
        let payload = payload_at.start + skip..payload_at.end.min(payload_at.start + fits);
        let first = segment.seq + low(skip);
        if segment.flags.fin && payload.end == payload_at.end {
            conn.fin_at = segment.seq + low(payload_at.len());
            conn.fin_came = true;
        }
        if !payload.is_empty() && first == conn.rcv_nxt {
            self.take_in_order(now, id, payload, receipt);
        } else if !payload.is_empty() {
            self.keep_early(id, first, frame.get(payload).unwrap_or_default());
        } else if !payload_at.is_empty() {
            self.counters.inc(Metric::TcpDuplicates);
            conn.ack_due = AckDue::Now;
        }
        self.take_fin(now, id, receipt);
        if self
            .conns
            .get(id)
            .is_some_and(|conn| conn.ack_due == AckDue::Now)
        {
            self.make_ready(id);
        }
    }

    fn take_in_order(
        &mut self,
        now: Micros,
        id: ConnId,
        payload: std::ops::Range<usize>,
        receipt: &mut Receipt,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.rcv_nxt = conn.rcv_nxt + low(payload.len());
        conn.delivered = conn.rcv_nxt;
        receipt.data = payload;
        if conn.dsack.0 != conn.dsack.1 {
            conn.ack_due = AckDue::Now;
        }
        if !conn.waiting.is_empty() {
            // What this segment held too is void: a SACK block begins above the ACK (RFC 2018
            // section 3).
            self.pieces.drop_before(&mut conn.waiting, conn.rcv_nxt);
            // A hole was filled, wholly or in part: RFC 5681 section 4.2 wants an ACK at once.
            let reach = self.pieces.reach(&conn.waiting, conn.rcv_nxt);
            receipt.reassembled = reach != conn.rcv_nxt;
            conn.rcv_nxt = reach;
            conn.ack_due = AckDue::Now;
            return;
        }
        // Many can come before there is room to answer.
        conn.unacknowledged = conn.unacknowledged.saturating_add(1);
        if conn.unacknowledged >= ACK_EVERY {
            conn.ack_due = AckDue::Now;
        } else if conn.ack_due == AckDue::None {
            conn.ack_due = AckDue::Delayed;
            conn.ack_at = Deadline::of(now + ACK_DELAY);
        }
    }

    /// Out of order: kept if there is room, and told at once (RFC 5681 section 4.2).
    fn keep_early(&mut self, id: ConnId, first: Seq, payload: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.ack_due = AckDue::Now;
        let inserted = self.pieces.insert(&mut conn.waiting, first, payload);
        if inserted.twice.0 != inserted.twice.1 {
            conn.dsack = inserted.twice;
        }
        self.counters.inc(if inserted.kept {
            Metric::TcpOutOfOrder
        } else {
            Metric::TcpOutOfOrderDropped
        });
    }

    /// The FIN, once everything before it is here (section 3.10.7.4, eighth).
    fn take_fin(&mut self, now: Micros, id: ConnId, receipt: &mut Receipt) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if !conn.fin_came || conn.fin_at != conn.rcv_nxt {
            return;
        }
        conn.rcv_nxt = conn.rcv_nxt + 1;
        conn.ack_due = AckDue::Now;
        receipt.finished = true;
        match conn.state {
            State::Established => conn.state = State::CloseWait,
            State::FinWait1 => conn.state = State::Closing,
            State::FinWait2 => {
                receipt.closed = Some(CloseReason::Finished);
                self.enter_time_wait(now, id);
            }
            _ => {}
        }
    }
}

/// The checks before the ACK: PAWS, sequence numbers, RST, SYN, and that there is an ACK.
fn judge(conn: &Conn, now: Micros, segment: &Segment) -> Judgement {
    let flags = segment.flags;
    let old = conn.timestamps
        && !flags.rst
        && is_old(segment, conn.ts_recent)
        && conn.ts_recent_at.age_ms(now) < TS_RECENT_MS_MAX;
    let window = positive(conn.rcv_edge.since(conn.rcv_nxt));
    if old || !is_acceptable(conn.rcv_nxt, window, segment) {
        return match flags {
            _ if flags.rst => Judgement::Drop,
            _ if flags.syn => Judgement::Challenge,
            // Two ends that disagree must not answer each other's ACKs for ever.
            _ if segment.sequence_length() == 0 => Judgement::Challenge,
            _ => Judgement::Acknowledge,
        };
    }
    if flags.rst {
        // RFC 5961 section 3.2: only the exact number is believed.
        return if segment.seq == conn.rcv_nxt {
            Judgement::Reset
        } else {
            Judgement::Challenge
        };
    }
    if flags.syn {
        // RFC 5961 section 4.2.
        return Judgement::Challenge;
    }
    if flags.ack {
        Judgement::Take
    } else {
        Judgement::Drop
    }
}

/// RFC 9293 section 3.10.7.4, first: does any of it lie in the window of `window` from `rcv_nxt` on?
pub(super) fn is_acceptable(rcv_nxt: Seq, window: u32, segment: &Segment) -> bool {
    let length = segment.sequence_length();
    if length == 0 {
        // A peer that has filled the window numbers its ACKs with the window's edge; RFC 9293 section
        // 3.8.6 wants them taken even if the window is closed. A RST there is outside.
        let edge = u32::from(!segment.flags.rst || window == 0);
        return segment.seq.within(rcv_nxt, window + edge);
    }
    let last = segment.seq + (length - 1);
    let spans = segment.seq.before(rcv_nxt) && last.after(rcv_nxt);
    window > 0 && (segment.seq.within(rcv_nxt, window) || last.within(rcv_nxt, window) || spans)
}

/// Whether a SYN in TIME-WAIT can be none of the old connection: by its timestamp, else by its number
/// (RFC 6191 section 2).
fn opens_anew(conn: &Conn, segment: &Segment) -> bool {
    let later = segment.seq.after(conn.rcv_nxt);
    match segment.options.timestamps {
        Some((value, _)) if conn.timestamps && value != conn.ts_recent => {
            Seq(value).after(Seq(conn.ts_recent))
        }
        _ => later,
    }
}

/// RFC 7323 section 5.3, R1 (PAWS): the timestamp lies before `recent`.
pub(super) fn is_old(segment: &Segment, recent: u32) -> bool {
    let timestamps = segment.options.timestamps;
    timestamps.is_some_and(|(value, _)| Seq(value).before(Seq(recent)))
}

/// Payload that lies before RCV.NXT came before: the next ACK says so (RFC 2883 section 4).
fn note_twice(conn: &mut Conn, segment: &Segment) {
    let end = segment.seq + low(segment.payload_at.len());
    let end = if end.after(conn.rcv_nxt) {
        conn.rcv_nxt
    } else {
        end
    };
    if segment.seq.before(end) {
        conn.dsack = (segment.seq, end);
    }
}

/// Payload lengths fit 16 bits.
fn low(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(0)
}

pub(super) fn nothing(id: ConnId) -> Receipt {
    Receipt {
        id,
        opened: false,
        acked: false,
        data: 0..0,
        reassembled: false,
        finished: false,
        closed: None,
    }
}

fn closed(id: ConnId, reason: CloseReason) -> Verdict {
    Verdict::Flow(Receipt {
        closed: Some(reason),
        ..nothing(id)
    })
}
