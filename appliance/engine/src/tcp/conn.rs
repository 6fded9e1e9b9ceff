//! One connection's record: fixed size, everything RFC 9293 section 3.3.1 names and what congestion
//! control and the timers add.

use crate::tcp::congestion::Congestion;
use crate::tcp::extents::Queue;
use crate::tcp::flight::Flight;
use crate::tcp::moment::{Deadline, StampMs};
use crate::tcp::probe::TailProbe;
use crate::tcp::reassembly::Waiting;
use crate::tcp::recovery::Recovery;
use crate::tcp::rtt::Rtt;
use crate::units::Micros;
use crate::wire::segment::{Endpoint, Flow, Link};
use crate::wire::seq::Seq;

/// States of RFC 9293 section 3.3.2. LISTEN and CLOSED have no record, SYN-RECEIVED has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

impl State {
    /// Whether data may still come (RFC 9293 section 3.10.7.4, seventh).
    pub(super) fn receives(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether we may still send new data.
    pub(super) fn sends(self) -> bool {
        matches!(self, State::Established | State::CloseWait)
    }
}

/// When the next ACK goes out if nothing else carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckDue {
    /// Nothing to acknowledge.
    None,
    /// By the delayed-ACK timer.
    Delayed,
    /// In this turn.
    Now,
}

/// The connection record.
#[derive(Debug, Clone)]
pub(super) struct Conn {
    /// The other end, and which of `Tcp::listen` is ours.
    pub(super) remote: Endpoint,
    pub(super) listen: u16,
    pub(super) link: Link,
    pub(super) state: State,

    /// RCV.NXT.
    pub(super) rcv_nxt: Seq,
    /// Up to where bytes were handed to the session.
    pub(super) delivered: Seq,
    /// The highest right edge of the window that was offered: RCV.NXT + RCV.WND.
    pub(super) rcv_edge: Seq,
    /// Bytes the session holds unprocessed.
    pub(super) backlog: u32,
    /// Where the peer's FIN is, if it came.
    pub(super) fin_at: Seq,
    pub(super) fin_came: bool,
    pub(super) waiting: Waiting,
    /// What came twice and has not been told (RFC 2883); nothing when it is empty.
    pub(super) dsack: (Seq, Seq),
    pub(super) ack_due: AckDue,
    /// Data segments since the last ACK.
    pub(super) unacknowledged: u8,
    /// Last.ACK.sent (RFC 7323 section 4.3).
    pub(super) last_ack: Seq,

    /// Timestamps were negotiated.
    pub(super) timestamps: bool,
    pub(super) timestamp_offset: u32,
    /// TS.Recent, and when it was taken.
    pub(super) ts_recent: u32,
    pub(super) ts_recent_at: StampMs,
    /// SACK was negotiated.
    pub(super) sack: bool,
    /// Shift of the windows the peer sends; none without the option.
    pub(super) snd_scale: Option<u8>,
    /// Shift of ours.
    pub(super) rcv_scale: u8,
    /// Most payload bytes of a segment, timestamps considered.
    pub(super) mss: u16,
    /// MSS before it was lowered on suspicion of a black hole; 0 otherwise. And the timeouts since.
    pub(super) mss_before: u16,
    pub(super) mss_tries: u8,

    /// SND.UNA; queue and flight begin here.
    pub(super) snd_una: Seq,
    /// SND.NXT: what is sent next for the first time.
    pub(super) snd_nxt: Seq,
    /// The byte at SND.NXT was sent as a window probe: it may be acknowledged.
    pub(super) probed: bool,
    /// After the last byte placed.
    pub(super) snd_end: Seq,
    /// SND.WND and the segment it came with.
    pub(super) snd_wnd: u32,
    pub(super) snd_wl1: Seq,
    /// MAX.SND.WND (RFC 5961 section 5).
    pub(super) snd_wnd_max: u32,
    /// Where the bytes from SND.UNA on are read.
    pub(super) queue: Queue,
    /// What was sent and is not acknowledged.
    pub(super) flight: Flight,
    /// FIN goes out behind the last byte placed.
    pub(super) finishing: bool,
    /// One byte (or what fits) has to be sent into a closed or tiny window now.
    pub(super) probe: bool,

    pub(super) congestion: Congestion,
    pub(super) recovery: Recovery,
    pub(super) tail: TailProbe,
    pub(super) ecn: Ecn,
    /// Slot of what is remembered of losses, or `NONE`.
    pub(super) repair: u32,

    pub(super) rtt: Rtt,
    /// Retransmission or persist timer.
    pub(super) rto_at: Deadline,
    /// Reordering window or tail probe.
    pub(super) loss_at: Deadline,
    /// Delayed-ACK timer.
    pub(super) ack_at: Deadline,
    /// The time to close is over, or FIN-WAIT-2, or TIME-WAIT.
    pub(super) state_at: Deadline,
    /// The next burst may go out.
    pub(super) pace_at: Deadline,
    /// When the last challenge ACK was sent.
    pub(super) challenged_at: Option<StampMs>,
    /// Since when the window has been closed while there was something to send.
    pub(super) stalled_at: Option<StampMs>,
    /// Timeouts since the peer said anything.
    pub(super) silent: u8,
}

/// Explicit congestion notification (RFC 3168 section 6.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ecn {
    /// Both sides agreed to it in the handshake.
    pub(super) agreed: bool,
    /// The path marked something; said until the peer answers with CWR.
    pub(super) echo: bool,
    /// The window was reduced for a mark; said once.
    pub(super) reduced: bool,
}

impl Conn {
    /// The first of the timers.
    pub(super) fn deadline(&self, now: Micros) -> Micros {
        let timers = [
            self.rto_at,
            self.loss_at,
            self.ack_at,
            self.pace_at,
            self.state_at,
        ];
        let due = timers.into_iter().map(|timer| timer.micros(now));
        due.fold(Micros::NEVER, Micros::min)
    }

    /// Both ends; `listen` are our addresses.
    pub(super) fn flow(&self, listen: &[Endpoint]) -> Flow {
        Flow {
            local: listen[usize::from(self.listen)],
            remote: self.remote,
        }
    }

    /// Sequence numbers sent and not acknowledged.
    pub(super) fn in_flight(&self) -> u32 {
        positive(self.snd_nxt.since(self.snd_una))
    }

    /// What may be acknowledged: SND.NXT, or after the byte of a window probe.
    pub(super) fn snd_max(&self) -> Seq {
        self.snd_nxt + u32::from(self.probed)
    }

    /// Sequence numbers that were sent and not acknowledged, window probes included.
    pub(super) fn flight_max(&self) -> u32 {
        positive(self.snd_max().since(self.snd_una))
    }

    /// Of those in flight, the ones that are in the network as far as is known (RFC 6675 section 4:
    /// pipe).
    pub(super) fn pipe(&self) -> u32 {
        let gone = self.flight.sacked() + self.flight.lost() + self.duplicates_bytes();
        self.in_flight().saturating_sub(gone)
    }

    /// Without SACK each duplicate ACK means a segment that has arrived (RFC 5681 section 3.2).
    fn duplicates_bytes(&self) -> u32 {
        u32::from(self.recovery.duplicates) * self.mss()
    }

    /// Most payload bytes of a segment.
    pub(super) fn mss(&self) -> u32 {
        self.mss.into()
    }

    /// Bytes placed and not acknowledged.
    pub(super) fn outstanding(&self) -> u32 {
        positive(self.snd_end.since(self.snd_una))
    }

    /// The last sequence number there is to send: FIN counts when it is due.
    pub(super) fn snd_limit(&self) -> Seq {
        self.snd_end + u32::from(self.finishing)
    }

    /// Whether something was placed that has not been sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.snd_nxt.before(self.snd_limit())
    }

    /// Whether our FIN was sent and acknowledged.
    pub(super) fn fin_acked(&self) -> bool {
        self.finishing && self.snd_una == self.snd_end + 1
    }

    /// Bytes that may go out beyond SND.NXT: what both windows leave.
    pub(super) fn room(&self) -> u32 {
        let edge = self.snd_una + self.snd_wnd;
        let offered = positive(edge.since(self.snd_nxt));
        offered.min(self.congestion.window().saturating_sub(self.pipe()))
    }

    /// Whether an ACK has more to tell than a number.
    pub(super) fn has_sacks(&self) -> bool {
        self.sack && (!self.waiting.is_empty() || self.dsack.0 != self.dsack.1)
    }

    /// Whether the peer's window is too small for a segment worth sending (RFC 9293 section
    /// 3.8.6.2.1).
    pub(super) fn is_closed_window(&self) -> bool {
        self.snd_wnd < self.mss().min(self.snd_wnd_max / 2).max(1)
    }

    /// Whether `length` bytes are all that the congestion window lets out, and the peer's would let more.
    pub(super) fn is_cut_by_congestion(&self, length: u32) -> bool {
        positive((self.snd_una + self.snd_wnd).since(self.snd_nxt)) > length
    }

    /// Our timestamp clock: milliseconds (RFC 7323 section 5.4).
    pub(super) fn ts_now(&self, now: Micros) -> u32 {
        super::isn::timestamp(now, self.timestamp_offset)
    }
}

/// A signed distance as a length; nothing when it is negative.
pub(super) fn positive(distance: i32) -> u32 {
    u32::try_from(distance).unwrap_or(0)
}

/// The largest part of what an idle player costs (docs/memory.md).
const _: () = assert!(
    size_of::<Conn>() <= 268,
    "the record has outgrown its budget"
);
