//! What a connection may send now, one segment after another, written straight into the port's
//! frames.

use crate::metrics::catalog::Metric;
use crate::port::Port;
use crate::tcp::conn::{AckDue, Conn, positive};
use crate::tcp::reassembly::Pieces;
use crate::tcp::{Sent, Source, Tcp};
use crate::units::{ConnId, Micros};
use crate::wire::emit::{Header, emit};
use crate::wire::segment::{Flags, Options};
use crate::wire::seq::Seq;

/// Why a segment is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The segment at SND.UNA is lost.
    Resend,
    /// SND.NXT goes on.
    Next,
    /// Is the window still closed?
    Probe,
    /// Only the acknowledgment.
    Ack,
}

/// One segment to send.
#[derive(Debug, Clone, Copy)]
struct Draft {
    why: Why,
    seq: Seq,
    length: u32,
    fin: bool,
}

impl Tcp {
    /// Sends everything that `id` may send now. `read` copies bytes from a source; false from it
    /// means they are gone.
    pub fn send<P: Port>(
        &mut self,
        now: Micros,
        id: ConnId,
        port: &mut P,
        read: &mut impl FnMut(Source, &mut [u8]) -> bool,
    ) -> Sent {
        let receive_window = self.config.receive_window;
        let Some(conn) = self.conns.get_mut(id) else {
            return Sent::Done;
        };
        conn.limit_closing(now);
        // RFC 5681 section 4.1: after a pause the path may have changed.
        if conn.in_flight() == 0 && now.since(conn.sent_at) > conn.rtt.rto() {
            conn.congestion.on_idle(conn.mss);
        }
        while let Some(draft) = draft(conn) {
            let header = header(conn, now, draft, receive_window, &self.pieces);
            let skip = positive(draft.seq.since(conn.snd_una));
            let extents = &conn.extents;
            let mut length = 0;
            let taken = port.send(|buffer| {
                let bytes = draft.length as usize;
                length = emit(buffer, &header, bytes, |out| extents.read(skip, out, read));
                length
            });
            if !taken {
                self.make_ready(id);
                return Sent::NoRoom;
            }
            if length == 0 {
                return Sent::Lost;
            }
            count(&self.counters, conn, draft);
            on_sent(conn, now, draft);
        }
        // RFC 9293 section 3.8.6.1: nothing else would end a closed window.
        if conn.has_unsent() && conn.rto_at == Micros::NEVER {
            conn.rto_at = now + conn.rtt.rto();
        }
        self.arm(id);
        Sent::Done
    }
}

/// The next segment to send, if any.
fn draft(conn: &Conn) -> Option<Draft> {
    let ack = Draft {
        why: Why::Ack,
        seq: conn.snd_max,
        length: 0,
        fin: false,
    };
    if conn.ack_due == AckDue::Now && conn.has_sacks() {
        // Not with data: see `header`.
        return Some(ack);
    }
    if conn.resend && conn.snd_una != conn.snd_max {
        let sent = positive(conn.snd_max.since(conn.snd_una));
        return Some(cut(conn, Why::Resend, conn.snd_una, sent));
    }
    let unsent = positive(conn.snd_end.since(conn.snd_nxt));
    let edge = conn.snd_una + conn.send_window();
    let room = positive(edge.since(conn.snd_nxt));
    let next = cut(conn, Why::Next, conn.snd_nxt, room);
    if next.length > 0 {
        // Sender's silly-window avoidance (RFC 9293 section 3.8.6.2.1), without Nagle: what is
        // placed is worth sending, unless the window alone would cut it small.
        let worth = next.length == conn.mss
            || next.length == unsent
            || next.length >= conn.snd_wnd_max / 2
            || conn.probe;
        if worth {
            return Some(next);
        }
    } else if unsent > 0 && conn.probe {
        return Some(Draft {
            length: 1,
            fin: false,
            ..cut(conn, Why::Probe, conn.snd_nxt, 1)
        });
    } else if next.fin {
        return Some(next);
    }
    (conn.ack_due == AckDue::Now).then_some(ack)
}

/// At most `room` bytes from `seq` on in one segment, with FIN when they are the last.
fn cut(conn: &Conn, why: Why, seq: Seq, room: u32) -> Draft {
    let left = positive(conn.snd_end.since(seq));
    let length = left.min(conn.mss).min(room);
    let fin = conn.finishing && length == left && !seq.after(conn.snd_end);
    Draft {
        why,
        seq,
        length,
        fin,
    }
}

fn on_sent(conn: &mut Conn, now: Micros, draft: Draft) {
    let end = draft.seq + draft.length + u32::from(draft.fin);
    match draft.why {
        Why::Ack => {}
        Why::Resend => {
            conn.resend = false;
            conn.timed = None;
            conn.rto_at = now + conn.rtt.rto();
        }
        Why::Probe => {
            conn.probe = false;
            conn.timed = None;
            conn.snd_max = conn.snd_max.max(end);
            conn.rto_at = now + conn.rtt.rto();
        }
        Why::Next => {
            conn.probe = false;
            conn.snd_nxt = end;
            if !end.after(conn.snd_max) {
                conn.timed = None;
            } else if conn.timed.is_none() && draft.seq == conn.snd_max {
                conn.timed = Some((end, now));
            }
            conn.snd_max = conn.snd_max.max(end);
            if conn.rto_at == Micros::NEVER {
                conn.rto_at = now + conn.rtt.rto();
            }
        }
    }
    conn.sent_at = now;
    if draft.why == Why::Ack {
        conn.dsack = (Seq(0), Seq(0));
    }
    conn.ack_due = AckDue::None;
    conn.ack_at = Micros::NEVER;
    conn.unacknowledged = 0;
    conn.last_ack = conn.rcv_nxt;
}

fn count(counters: &crate::metrics::counters::Counters, conn: &Conn, draft: Draft) {
    counters.inc(Metric::TcpSegmentsOut);
    counters.add(Metric::TcpBytesOut, u64::from(draft.length));
    match draft.why {
        Why::Resend => counters.inc(Metric::TcpRetransmits),
        Why::Next if draft.seq.before(conn.snd_max) => counters.inc(Metric::TcpRetransmits),
        Why::Probe => counters.inc(Metric::TcpProbes),
        _ => {}
    }
}

fn header(
    conn: &mut Conn,
    now: Micros,
    draft: Draft,
    receive_window: u32,
    pieces: &Pieces,
) -> Header {
    let mut options = Options::default();
    if conn.timestamps {
        options.timestamps = Some((conn.ts_now(now), conn.ts_recent));
    }
    if conn.sack && draft.why == Why::Ack {
        // Data segments carry none, so that MSS holds for each of them.
        options.sacks = pieces.sacks(&conn.waiting, conn.dsack);
    }
    let last = draft.seq + draft.length == conn.snd_end;
    Header {
        link: conn.link,
        flow: conn.flow,
        seq: draft.seq,
        ack: conn.rcv_nxt,
        flags: Flags {
            ack: true,
            syn: false,
            fin: draft.fin,
            rst: false,
            psh: draft.length > 0 && last,
        },
        window: offer(conn, receive_window),
        options,
    }
}

/// The window field to send; notes what it offers.
fn offer(conn: &mut Conn, receive_window: u32) -> u16 {
    let offered = positive(conn.rcv_edge.since(conn.rcv_nxt));
    let could = receive_window.saturating_sub(conn.backlog);
    // Receiver's silly-window avoidance (RFC 9293 section 3.8.6.2.2): a window that is small grows
    // in worthwhile steps. It never shrinks (section 3.8.6).
    let step = conn.mss.min(receive_window / 2);
    let grows = could > offered && (offered >= receive_window / 2 || could >= offered + step);
    let bytes = if grows { could } else { offered };
    let scale = conn.rcv_scale;
    let field = u16::try_from(bytes.div_ceil(1 << scale)).unwrap_or(u16::MAX);
    let edge = conn.rcv_nxt + (u32::from(field) << scale);
    conn.rcv_edge = conn.rcv_edge.max(edge);
    field
}
