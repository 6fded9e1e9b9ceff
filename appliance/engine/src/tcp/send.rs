//! What a connection may send now, one segment after another, written straight into the port's
//! frames: first what is lost, then a tail probe, then new data.
//!
//! Bundling: a player's events are small and far apart, so that a loss shows late: only when the next
//! event has made its way and come back as a SACK, a round trip after. On a path that has lost
//! something lately, new data therefore takes along what is unacknowledged before it, as long as both
//! fit one segment: the next event repairs the loss on its way, in no time at all. (The idea is known
//! as redundant data bundling: Evensen, Petlund, Griwodz and Halvorsen, "Redundant Bundling in TCP to
//! Reduce Perceived Latency for Time-Dependent Thin Streams", 2008.) It costs bytes, but no packets,
//! and only streams that are too thin to congest anything.

use crate::metrics::catalog::Metric;
use crate::port::Port;
use crate::tcp::conn::{AckDue, Conn, positive};
use crate::tcp::flight::{Flights, Sent as Record};
use crate::tcp::moment::{Deadline, Stamp};
use crate::tcp::reassembly::Pieces;
use crate::tcp::repair::Repair;
use crate::tcp::{Config, Sent, Source, Tcp, probe};
use crate::units::{ConnId, Micros};
use crate::wire::emit::{Header, emit};
use crate::wire::segment::{Endpoint, Flags, Options};
use crate::wire::seq::Seq;

/// Segments of a connection that may leave at once; more are paced.
const BURST: u32 = 10;

/// The shortest pause between two bursts: a tick of the timer wheel. Paths that would want a shorter
/// one are so fast that their queues are not hurt by the burst.
const PAUSE_US_MIN: u32 = 1_000;

/// The longest one: a round trip that was measured long in a bad moment is no reason to wait.
const PAUSE_US_MAX: u64 = 100_000;

/// Segments in flight of a thin stream (Linux: tcp_stream_is_thin has the same number).
const THIN_SEGMENTS: u16 = 4;

/// Share of a round trip that lies between the segments of a thin stream at least: what comes faster
/// is repaired by SACK in good time, and its copies would be many.
const THIN_PAUSE: u32 = 8;

/// Why a segment is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It is lost.
    Resend(Record),
    /// A probe for the loss of the tail, which begins with this record.
    Tail(Record),
    /// SND.NXT goes on.
    Next,
    /// SND.NXT goes on, and takes along what is unacknowledged from this record on.
    Bundle(Record),
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

impl Draft {
    fn end(&self) -> Seq {
        self.seq + self.length + u32::from(self.fin)
    }

    /// Whether new bytes are in it: CWR goes with those (RFC 3168 section 6.1.2).
    fn carries_new(&self) -> bool {
        matches!(self.why, Why::Next | Why::Bundle(_)) && self.length > 0
    }
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
        let Tcp {
            conns,
            flights,
            repairs,
            extents,
            pieces,
            config,
            listen,
            counters,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id) else {
            return Sent::Done;
        };
        conn.limit_closing(now);
        let (mut burst, mut burst_bytes) = (0, 0);
        let mut repair = repairs.at(conn.repair).map(|(_, repair)| repair);
        while let Some(draft) = draft(now, conn, repair.as_deref(), flights, id.slot, config) {
            let header = header(conn, now, draft, config.receive_window, listen, pieces);
            let skip = positive(draft.seq.since(conn.snd_una));
            let queue = &conn.queue;
            let mut length = 0;
            let taken = port.send(|buffer| {
                let bytes = draft.length as usize;
                length = emit(buffer, &header, bytes, |out| {
                    extents.read(queue, skip, out, read)
                });
                length
            });
            if !taken {
                self.make_ready(id);
                return Sent::NoRoom;
            }
            if length == 0 {
                return Sent::Lost;
            }
            count(counters, draft);
            if !on_sent(now, conn, repair.as_deref_mut(), flights, id.slot, draft) {
                counters.inc(Metric::TcpFlightPoolFull);
            }
            if config.rack_tlp && draft.why != Why::Ack {
                probe::schedule(conn, now);
            }
            burst += u32::from(draft.length > 0);
            burst_bytes += draft.length;
            if burst == BURST {
                pace(conn, now, burst_bytes);
                (burst, burst_bytes) = (0, 0);
            }
        }
        // RFC 9293 section 3.8.6.1: nothing else would end a closed window.
        if conn.has_unsent() && !conn.rto_at.is_set() {
            conn.rto_at = Deadline::of(now + conn.rtt.rto());
        }
        self.arm(now, id);
        Sent::Done
    }
}

/// A burst has left: the next one goes when the path has had time for this one, at twice the rate of
/// the window in slow start and a little above it afterwards (as Linux's tcp_pacing_ss_ratio and
/// tcp_pacing_ca_ratio), so that pacing never is what limits.
fn pace(conn: &mut Conn, now: Micros, burst_bytes: u32) {
    let Some(smoothed_us) = conn.rtt.smoothed_us() else {
        return;
    };
    let tenths = if conn.congestion.is_slow_start() {
        20
    } else {
        12
    };
    let burst = u64::from(burst_bytes) * 10;
    let window = u64::from(conn.congestion.window()) * tenths;
    let pause_us = u64::from(smoothed_us) * burst / window.max(1);
    let pause_us = pause_us.min(PAUSE_US_MAX);
    if pause_us >= PAUSE_US_MIN.into() {
        conn.pace_at = Deadline::of(now + Micros(pause_us));
    }
}

/// The next segment to send, if any.
fn draft(
    now: Micros,
    conn: &mut Conn,
    repair: Option<&Repair>,
    flights: &mut Flights,
    slot: u32,
    config: &Config,
) -> Option<Draft> {
    let ack = Draft {
        why: Why::Ack,
        // What lies beyond the window (a probe, or what was sent before it shrank) would make the ACK
        // one that the peer does not take (as in Linux's tcp_acceptable_seq).
        seq: conn.snd_max().min(conn.snd_una + conn.snd_wnd),
        length: 0,
        fin: false,
    };
    if conn.ack_due == AckDue::Now && conn.has_sacks() {
        // Not with data: see `header`.
        return Some(ack);
    }
    if conn.pace_at.is_due(now) {
        conn.pace_at = Deadline::NEVER;
    }
    let data = match conn.pace_at.is_set() {
        true => None,
        false => lost(conn, flights, slot)
            .or_else(|| tail(conn, flights, slot))
            // What is lost and does not fit yet goes first (RFC 6675 section 4, NextSeg).
            .or_else(|| next(conn).filter(|_| conn.flight.lost() == 0))
            .map(|next| bundle(now, conn, repair, flights, config, next).unwrap_or(next)),
    };
    data.or_else(|| (conn.ack_due == AckDue::Now).then_some(ack))
}

/// What is lost and may go again (RFC 6675 section 5, step C).
fn lost(conn: &mut Conn, flights: &mut Flights, slot: u32) -> Option<Draft> {
    let record = flights.first_lost(&conn.flight, conn.snd_una)?;
    let mss = conn.mss();
    let record = flights.fit(&mut conn.flight, slot, record, mss);
    let draft = again(conn, Why::Resend(record), record);
    let pipe = conn.pipe();
    let fits = pipe + draft.length <= conn.congestion.window();
    (fits || pipe == 0).then_some(draft)
}

/// A tail probe, when it is due (RFC 8985 section 7.3): it may go beyond the congestion window.
fn tail(conn: &mut Conn, flights: &mut Flights, slot: u32) -> Option<Draft> {
    if !conn.tail.due {
        return None;
    }
    let offered = positive((conn.snd_una + conn.snd_wnd).since(conn.snd_nxt));
    let next = cut(conn, Why::Next, conn.snd_nxt, offered);
    if next.length > 0 && conn.has_unsent() {
        return Some(next);
    }
    let (una, nxt, mss) = (conn.snd_una, conn.snd_nxt, conn.mss());
    let record = flights
        .tail(&conn.flight, una, nxt, conn.mss())
        .or_else(|| {
            let last = flights.last(&conn.flight, una)?;
            Some(flights.fit(&mut conn.flight, slot, last, mss))
        });
    let Some(record) = record else {
        conn.tail.cancel();
        return None;
    };
    let mut draft = again(conn, Why::Tail(record), record);
    draft.length = positive(conn.snd_end.min(nxt).since(record.start)).min(conn.mss());
    draft.fin = nxt.after(conn.snd_end) && record.start + draft.length == conn.snd_end;
    Some(draft)
}

/// The bytes of `record`, and FIN if it is in it.
fn again(conn: &Conn, why: Why, record: Record) -> Draft {
    let length = positive(record.end.min(conn.snd_end).since(record.start));
    let whole = length <= conn.mss();
    Draft {
        why,
        seq: record.start,
        length: length.min(conn.mss()),
        fin: whole && record.end.after(conn.snd_end),
    }
}

/// New data, or a probe of a closed window.
fn next(conn: &Conn) -> Option<Draft> {
    let unsent = positive(conn.snd_end.since(conn.snd_nxt));
    let next = cut(conn, Why::Next, conn.snd_nxt, conn.room());
    if next.length > 0 {
        // Sender's silly-window avoidance (RFC 9293 section 3.8.6.2.1), without Nagle: what is
        // placed is worth sending, unless a window would cut it small; the congestion window opens
        // again by itself, but only if something is in flight.
        let worth = next.length == conn.mss()
            || next.length == unsent
            || next.length >= conn.snd_wnd_max / 2
            || conn.is_cut_by_congestion(next.length) && conn.pipe() == 0
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
    None
}

/// `next` with what is unacknowledged before it, if that is worth it: see the file's header.
fn bundle(
    now: Micros,
    conn: &Conn,
    repair: Option<&Repair>,
    flights: &Flights,
    config: &Config,
    next: Draft,
) -> Option<Draft> {
    let lossy = repair.is_some_and(|repair| repair.is_lossy(now));
    let thin = (1..=THIN_SEGMENTS).contains(&conn.flight.count());
    if !config.bundling || !lossy || !thin || next.why != Why::Next || conn.tail.due {
        return None;
    }
    let pause_us = conn.rtt.smoothed_us()? / THIN_PAUSE;
    let room = conn.mss().checked_sub(next.length)?;
    let from = flights.tail(&conn.flight, conn.snd_una, conn.snd_nxt, room)?;
    if from.sent_at.age_us(now) < pause_us {
        return None;
    }
    Some(Draft {
        why: Why::Bundle(from),
        seq: from.start,
        length: positive(conn.snd_nxt.since(from.start)) + next.length,
        fin: next.fin,
    })
}

/// At most `room` bytes from `seq` on in one segment, with FIN when they are the last.
fn cut(conn: &Conn, why: Why, seq: Seq, room: u32) -> Draft {
    let left = positive(conn.snd_end.since(seq));
    let length = left.min(conn.mss()).min(room);
    let fin = conn.finishing && length == left && !seq.after(conn.snd_end);
    Draft {
        why,
        seq,
        length,
        fin,
    }
}

/// Takes note of what was sent; false when the flight's pool had no record for it.
fn on_sent(
    now: Micros,
    conn: &mut Conn,
    mut repair: Option<&mut Repair>,
    flights: &mut Flights,
    slot: u32,
    draft: Draft,
) -> bool {
    let stamp = Stamp::of(now);
    let end = draft.end();
    let mut kept = true;
    match draft.why {
        Why::Ack => conn.dsack = (Seq(0), Seq(0)),
        Why::Resend(record) => {
            flights.on_resent(&mut conn.flight, record, end, stamp);
            let ts = conn.ts_now(now);
            reduce(conn, repair, draft.length, Some(ts));
            if record.start == conn.snd_una {
                conn.rto_at = Deadline::NEVER;
            }
        }
        Why::Tail(record) => {
            flights.on_probed(&mut conn.flight, record, end, stamp);
            conn.tail.on_sent(conn.snd_nxt, true);
            conn.rto_at = Deadline::NEVER;
        }
        Why::Probe => {
            conn.probe = false;
            conn.probed = true;
            conn.rto_at = Deadline::NEVER;
        }
        Why::Next | Why::Bundle(_) => {
            if let Why::Bundle(from) = draft.why {
                if let Some(repair) = repair.as_deref_mut() {
                    repair.bundled = Some(conn.snd_nxt);
                }
                flights.on_bundled(&mut conn.flight, from, end, stamp);
            } else {
                let at = (slot, conn.snd_una);
                kept = flights.push(&mut conn.flight, at, end, stamp);
            }
            let new = positive(end.since(conn.snd_nxt));
            reduce(conn, repair, new, None);
            if conn.tail.due {
                conn.tail.on_sent(end, false);
                conn.rto_at = Deadline::NEVER;
            }
            conn.probe = false;
            conn.ecn.reduced &= !draft.carries_new();
            conn.snd_nxt = end;
            conn.probed = false;
        }
    }
    if draft.why != Why::Ack && !conn.rto_at.is_set() {
        conn.rto_at = Deadline::of(now + conn.rtt.rto());
    }
    conn.ack_due = AckDue::None;
    conn.ack_at = Deadline::NEVER;
    conn.unacknowledged = 0;
    conn.last_ack = conn.rcv_nxt;
    kept
}

/// Recovery takes note of what is sent in it.
fn reduce(conn: &Conn, repair: Option<&mut Repair>, bytes: u32, resent_ts: Option<u32>) {
    if let Some(repair) = repair
        && !conn.recovery.is_open()
    {
        repair.reduction.on_sent(bytes, resent_ts);
    }
}

fn count(counters: &crate::metrics::counters::Counters, draft: Draft) {
    counters.inc(Metric::TcpSegmentsOut);
    counters.add(Metric::TcpBytesOut, u64::from(draft.length));
    match draft.why {
        Why::Resend(_) => counters.inc(Metric::TcpRetransmits),
        Why::Tail(_) => {
            counters.inc(Metric::TcpRetransmits);
            counters.inc(Metric::TcpTailProbes);
        }
        Why::Bundle(_) => counters.inc(Metric::TcpBundles),
        Why::Probe => counters.inc(Metric::TcpProbes),
        Why::Next | Why::Ack => {}
    }
}

fn header(
    conn: &mut Conn,
    now: Micros,
    draft: Draft,
    receive_window: u32,
    listen: &[Endpoint],
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
    // RFC 3168 section 6.1.4 and 6.1.5: neither ACKs nor what is sent again asks for marks.
    let asks = draft.why == Why::Next && draft.length > 0;
    Header {
        link: conn.link,
        flow: conn.flow(listen),
        seq: draft.seq,
        ack: conn.rcv_nxt,
        flags: Flags {
            ack: true,
            fin: draft.fin,
            psh: draft.length > 0 && last,
            ece: conn.ecn.echo,
            cwr: conn.ecn.reduced && draft.carries_new(),
            ect: conn.ecn.agreed && asks,
            ..Flags::default()
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
    let step = conn.mss().min(receive_window / 2);
    let grows = could > offered && (offered >= receive_window / 2 || could >= offered + step);
    let bytes = if grows { could } else { offered };
    let scale = conn.rcv_scale;
    let field = u16::try_from(bytes.div_ceil(1 << scale)).unwrap_or(u16::MAX);
    let edge = conn.rcv_nxt + (u32::from(field) << scale);
    conn.rcv_edge = conn.rcv_edge.max(edge);
    field
}
