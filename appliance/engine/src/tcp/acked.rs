//! The acknowledgment and window fields of a segment (RFC 9293 section 3.10.7.4, fifth).

use crate::metrics::catalog::Metric;
use crate::tcp::congestion::Action;
use crate::tcp::conn::{Conn, positive};
use crate::tcp::{Receipt, Tcp};
use crate::units::{ConnId, Micros};
use crate::wire::segment::Segment;

/// Longest time a timestamp echo is believed to measure.
const ECHO_MS_MAX: u32 = 60_000;

impl Tcp {
    /// False when the segment acknowledges what was never sent, or long ago (RFC 5961 section 5).
    pub(super) fn on_ack(
        &mut self,
        now: Micros,
        id: ConnId,
        segment: &Segment,
        receipt: &mut Receipt,
    ) -> bool {
        let Some(conn) = self.conns.get_mut(id) else {
            return false;
        };
        let ack = segment.ack;
        if ack.after(conn.snd_max) || ack.before(conn.snd_una - conn.snd_wnd_max) {
            return false;
        }
        // The way back is where acceptable segments come from (a roaming peer, a moved gateway).
        conn.link = segment.link;
        conn.silent = 0;
        // RFC 7323 section 4.3.
        if let Some((value, _)) = segment.options.timestamps
            && !segment.seq.after(conn.last_ack)
        {
            conn.ts_recent = value;
            conn.ts_recent_at = now;
        }
        let window = u32::from(segment.window) << conn.snd_scale.unwrap_or(0);
        let action = if ack.after(conn.snd_una) {
            receipt.acked = true;
            acknowledge(conn, now, segment)
        } else if is_duplicate(conn, segment, window) {
            let flight = positive(conn.snd_max.since(conn.snd_una));
            conn.congestion.on_duplicate(conn.snd_max, flight, conn.mss)
        } else {
            Action::None
        };
        if action == Action::Resend {
            conn.resend = true;
            self.counters.inc(Metric::TcpFastRetransmits);
        }
        // Only a newer segment may change the window.
        if conn.snd_wl1.before(segment.seq)
            || conn.snd_wl1 == segment.seq && !ack.before(conn.snd_wl2)
        {
            receipt.acked |= window > conn.snd_wnd;
            conn.snd_wnd = window;
            conn.snd_wnd_max = conn.snd_wnd_max.max(window);
            conn.snd_wl1 = segment.seq;
            conn.snd_wl2 = ack;
        }
        if conn.resend || conn.has_unsent() {
            self.make_ready(id);
        }
        true
    }
}

/// RFC 5681 section 2. The answer to a window probe is none: nothing is in flight then.
fn is_duplicate(conn: &Conn, segment: &Segment, window: u32) -> bool {
    segment.ack == conn.snd_una
        && conn.in_flight() > 0
        && segment.sequence_length() == 0
        && window == conn.snd_wnd
}

/// New data was acknowledged.
fn acknowledge(conn: &mut Conn, now: Micros, segment: &Segment) -> Action {
    let ack = segment.ack;
    let flight = positive(conn.snd_max.since(conn.snd_una));
    let acked = positive(ack.since(conn.snd_una));
    // Our FIN takes a number but no byte.
    let bytes = acked - u32::from(ack.after(conn.snd_end));
    conn.extents.drop_front(bytes);
    conn.snd_una = ack;
    conn.snd_nxt = conn.snd_nxt.max(ack);
    conn.probe = false;
    conn.resend = false;
    measure(conn, now, segment);
    conn.rtt.end_back_off();
    // RFC 6298 section 5.2 and 5.3.
    conn.rto_at = if conn.snd_una == conn.snd_max {
        Micros::NEVER
    } else {
        now + conn.rtt.rto()
    };
    conn.congestion.on_ack(ack, acked, flight, conn.mss)
}

/// One measurement of the round trip: by the timed segment, to the microsecond; or, when that one
/// had to be sent again, by the timestamp it echoes (RFC 7323 section 4.1).
fn measure(conn: &mut Conn, now: Micros, segment: &Segment) {
    match (conn.timed, segment.options.timestamps) {
        (Some((seq, at)), _) if !segment.ack.before(seq) => {
            conn.timed = None;
            conn.rtt.measure(now.since(at));
        }
        (None, Some((_, echo))) if conn.timestamps => {
            let span_ms = conn.ts_now(now).wrapping_sub(echo);
            if span_ms < ECHO_MS_MAX {
                conn.rtt.measure(Micros::from_millis(u64::from(span_ms)));
            }
        }
        _ => {}
    }
}
