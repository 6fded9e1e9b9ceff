//! The acknowledgment and window fields of a segment (RFC 9293 section 3.10.7.4, fifth), and what
//! follows from them, in this order: what has arrived, what that says of the round trip, whether a
//! repair was needless or is finished, what is lost, how wide the window is, when to look again.

use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::tcp::congestion::Growth;
use crate::tcp::conn::{Conn, positive};
use crate::tcp::flight::{Flights, Sent};
use crate::tcp::moment::{Deadline, StampMs};
use crate::tcp::probe::{self, Answer};
use crate::tcp::rack::DUPLICATES;
use crate::tcp::recovery::{Phase, Recovery};
use crate::tcp::repair::{self, Repair};
use crate::tcp::{Config, Receipt, Tcp};
use crate::units::{ConnId, Micros};
use crate::wire::segment::Segment;
use crate::wire::seq::Seq;

/// Longest time a timestamp echo is believed to measure.
const ECHO_MS_MAX: u32 = 60_000;

/// What one acknowledgement said.
#[derive(Debug, Clone, Copy)]
struct News {
    /// Bytes acknowledged in order.
    acked: u32,
    /// Bytes that are now known to have arrived.
    delivered: u32,
    /// Bytes in flight before it, and how many of them in the network.
    flight: u32,
    /// The peer reported a duplicate up to here (RFC 2883) that was not made on purpose.
    dsack: Option<Seq>,
    /// It says nothing but where the peer is.
    duplicate: bool,
    /// With an echo of a mark: a window does not grow by it (RFC 3168 section 6.1.2).
    marked: bool,
    /// Age of the timestamp that came back.
    echo_us: Option<u32>,
    /// That timestamp may be older than what was sent again since, and then measures nothing.
    ambiguous: bool,
    /// The record sent first of those that have arrived in order and were sent once.
    oldest: Option<Sent>,
    /// Something that was sent again is among what was acknowledged in order.
    repaired: bool,
}

/// What a connection is updated with.
struct Parts<'a> {
    now: Micros,
    conn: &'a mut Conn,
    repair: &'a mut Repair,
    flights: &'a mut Flights,
    config: &'a Config,
    counters: &'a Counters,
}

impl Tcp {
    /// False when the segment acknowledges what was never sent, or long ago (RFC 5961 section 5).
    pub(super) fn on_ack(
        &mut self,
        now: Micros,
        id: ConnId,
        segment: &Segment,
        receipt: &mut Receipt,
    ) -> bool {
        let Tcp {
            conns,
            flights,
            repairs,
            extents,
            config,
            counters,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id) else {
            return false;
        };
        let ack = segment.ack;
        if ack.after(conn.snd_max()) || ack.before(conn.snd_una - conn.snd_wnd_max) {
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
            conn.ts_recent_at = StampMs::of(now);
        }
        let window = u32::from(segment.window) << conn.snd_scale.unwrap_or(0);
        let updates = updates_window(conn, segment);
        if ack.after(conn.snd_una) {
            receipt.acked = true;
            // Our FIN takes a number but no byte.
            let bytes = positive(ack.since(conn.snd_una)) - u32::from(ack.after(conn.snd_end));
            extents.drop_front(&mut conn.queue, bytes);
        }
        let reports = segment.options.sacks.iter().any(Option::is_some);
        if ack.after(conn.snd_una) || conn.in_flight() > 0 || reports {
            repair::with(now, repairs, conn, |conn, repair| {
                let mut parts = Parts {
                    now,
                    conn,
                    repair,
                    flights,
                    config,
                    counters,
                };
                let news = take(&mut parts, segment, window);
                react(&mut parts, segment, &news);
            });
        }
        if updates {
            let was_closed = conn.is_closed_window();
            receipt.acked |= window > conn.snd_wnd;
            conn.snd_wnd = window;
            conn.snd_wnd_max = conn.snd_wnd_max.max(window);
            conn.snd_wl1 = segment.seq;
            if was_closed && !conn.is_closed_window() && conn.in_flight() == 0 {
                // The timer was the persist timer: what goes out now has its own (RFC 6298 section 5.1).
                conn.rto_at = Deadline::NEVER;
                conn.rtt.end_back_off();
            }
        }
        if conn.flight.lost() > 0 || conn.has_unsent() {
            self.make_ready(id);
        }
        true
    }
}

/// Only a newer segment may change the window (RFC 9293 section 3.10.7.4, fifth). Newer is also what
/// acknowledges more, whatever its sequence number: else the window would move with SND.UNA without
/// having been offered. SND.WL2 is not kept: it never lies beyond SND.UNA.
fn updates_window(conn: &Conn, segment: &Segment) -> bool {
    let (seq, ack) = (segment.seq, segment.ack);
    ack.after(conn.snd_una) || ack == conn.snd_una && !seq.before(conn.snd_wl1)
}

/// Takes note of what has arrived (RFC 9293, RFC 2018, RFC 8985 section 6.2 step 1 to 3).
fn take(parts: &mut Parts<'_>, segment: &Segment, window: u32) -> News {
    let Parts {
        now,
        conn,
        repair,
        flights,
        ..
    } = parts;
    let (now, ack, una) = (*now, segment.ack, conn.snd_una);
    let mut news = News {
        acked: 0,
        delivered: 0,
        flight: conn.in_flight(),
        dsack: None,
        duplicate: is_duplicate(conn, segment, window),
        marked: conn.ecn.agreed && segment.flags.ece,
        echo_us: echo_us(conn, now, segment),
        ambiguous: false,
        oldest: None,
        repaired: false,
    };
    let mss = conn.mss();
    let (rack, rtt) = (&mut repair.rack, &mut conn.rtt);
    let mut on_delivered = |sent: &Sent, echo_us: Option<u32>| {
        rack.on_delivered(now, sent, echo_us, rtt.least_us());
        if !sent.resent {
            rtt.note_least(now, sent.sent_at.age_us(now));
        }
    };
    if ack.after(una) {
        news.acked = positive(ack.since(una));
        news.delivered = flights.on_cumulative(&mut conn.flight, una, ack, |sent| {
            on_delivered(&sent, news.echo_us);
            if !sent.resent && news.oldest.is_none() {
                news.oldest = Some(sent);
            }
            news.repaired |= sent.resent;
            news.ambiguous |= sent.resent && is_older(news.echo_us, now, &sent);
        });
        conn.snd_una = ack;
        conn.probed &= !ack.after(conn.snd_nxt);
        conn.snd_nxt = conn.snd_nxt.max(ack);
        conn.probe = false;
        let told = forget_duplicates(&mut conn.recovery, news.acked, mss);
        news.delivered = news.delivered.saturating_sub(told);
    }
    if !conn.sack {
        return news;
    }
    if segment.options.sacks.iter().any(Option::is_some) {
        repair.disordered_at = Some(StampMs::of(now));
    }
    let mut blocks = segment.options.sacks.iter().flatten().copied();
    let (first, second) = (blocks.next(), blocks.next());
    if let Some((from, to)) = first
        && is_dsack(ack, (from, to), second)
    {
        // What was sent twice on purpose is no news.
        let made = repair.bundled.is_some_and(|bundled| !to.after(bundled));
        news.dsack = (!made).then_some(to);
    }
    for (from, to) in segment.options.sacks.iter().flatten().copied() {
        // Blocks outside what is in flight are old or made up.
        if from.before(to) && from.after(conn.snd_una) && !to.after(conn.snd_nxt) {
            news.delivered += flights.on_sack(&mut conn.flight, conn.snd_una, (from, to), |sent| {
                on_delivered(&sent, news.echo_us);
            });
        }
    }
    news
}

/// New data was acknowledged by a peer without SACK: duplicates that it covers are none any more; gives
/// the bytes they had told of already. In recovery the others stay: what made them has arrived and is
/// not in the network (RFC 6937 section 3; Linux: tcp_remove_reno_sacks).
fn forget_duplicates(recovery: &mut Recovery, acked: u32, mss: u32) -> u32 {
    let before = recovery.duplicates;
    // The hole made no duplicate, what lies behind it did.
    let segments = acked.div_ceil(mss).saturating_sub(1);
    let covered = u16::try_from(segments).unwrap_or(u16::MAX).min(before);
    recovery.duplicates = match recovery.phase {
        Phase::Fast => before - covered,
        _ => 0,
    };
    u32::from(covered) * mss
}

/// RFC 2883 section 4: the first block lies below the acknowledgment it came with, or inside the second
/// block. (SND.UNA may have moved on meanwhile: an ACK that was overtaken tells of nothing twice.)
fn is_dsack(ack: Seq, (from, to): (Seq, Seq), second: Option<(Seq, Seq)>) -> bool {
    if !from.before(to) {
        return false;
    }
    let inside =
        second.is_some_and(|(start, end)| !from.before(start) && !to.after(end) && from.after(ack));
    !to.after(ack) || inside
}

/// RFC 5681 section 2. The answer to a window probe is none: nothing is in flight then.
fn is_duplicate(conn: &Conn, segment: &Segment, window: u32) -> bool {
    segment.ack == conn.snd_una
        && conn.in_flight() > 0
        && segment.sequence_length() == 0
        && window == conn.snd_wnd
        && (conn.sack || conn.recovery.duplicates < most_duplicates(conn))
}

/// Each segment but the lost one makes a duplicate: a peer that sends more makes them up, and would be
/// sent as much as it likes (Linux: tcp_limit_reno_sacked).
fn most_duplicates(conn: &Conn) -> u16 {
    let segments = conn.in_flight().div_ceil(conn.mss());
    let segments = u16::try_from(segments).unwrap_or(u16::MAX);
    let most = segments.max(conn.flight.count()).saturating_sub(1);
    most.max(DUPLICATES)
}

/// How long ago the timestamp was sent that comes back now (RFC 7323 section 4.1).
fn echo_us(conn: &Conn, now: Micros, segment: &Segment) -> Option<u32> {
    let (_, echo) = segment.options.timestamps.filter(|_| conn.timestamps)?;
    let span_ms = conn.ts_now(now).wrapping_sub(echo);
    (span_ms < ECHO_MS_MAX).then(|| span_ms * 1_000)
}

/// Whether the timestamp that came back was sent before `sent` was (a timestamp is up to a
/// millisecond older than what it is put on).
fn is_older(echo_us: Option<u32>, now: Micros, sent: &Sent) -> bool {
    echo_us.is_some_and(|echo_us| echo_us > sent.sent_at.age_us(now).saturating_add(1_000))
}

/// Acts on the news.
fn react(parts: &mut Parts<'_>, segment: &Segment, news: &News) {
    if news.acked > 0 {
        measure(parts.conn, parts.now, news);
        parts.conn.rtt.end_back_off();
    }
    undo(parts, segment, news);
    let conn = &mut *parts.conn;
    if news.dsack.is_some() {
        parts.counters.inc(Metric::TcpDsacksIn);
        parts.repair.rack.on_dsack(conn.snd_una, conn.snd_nxt);
    }
    if !conn.recovery.is_open() && !conn.snd_una.before(conn.recovery.point) {
        end_recovery(conn, parts.repair);
    }
    on_tail_probe(parts, news);
    let lost = find_losses(parts, news);
    if lost > 0 {
        on_lost(parts, lost, news);
    }
    on_congestion_echo(parts, news);
    set_window(parts, lost, news);
    set_timers(parts, news);
}

/// One measurement of the round trip: of the segment that waited longest and was sent once (RFC 6298
/// section 3), or else by the timestamp that came back, unless it belongs to an earlier transmission:
/// the peer of a lost ACK answers the second one with the first one's timestamp (RFC 7323 section 4.3),
/// and the timeout in between would count as travel.
fn measure(conn: &mut Conn, now: Micros, news: &News) {
    // What was behind a hole has waited for its repair: that is no travel either.
    let oldest = news.oldest.filter(|_| !news.repaired);
    let by_time = oldest.map(|sent| sent.sent_at.age_us(now));
    let by_echo = news.echo_us.filter(|_| !news.ambiguous);
    if let Some(span_us) = by_time.or(by_echo) {
        conn.rtt.measure(span_us);
    }
}

/// A repair that was needless (RFC 3522, RFC 3708): nothing was lost, only late.
fn undo(parts: &mut Parts<'_>, segment: &Segment, news: &News) {
    let Parts {
        conn,
        repair,
        flights,
        counters,
        ..
    } = parts;
    let echo = segment.options.timestamps.filter(|_| conn.timestamps);
    let late = news.acked > 0
        && !conn.recovery.is_open()
        && echo.is_some_and(|(_, echo)| repair.reduction.is_echo_older(echo));
    let twice = news.dsack.is_some_and(|end| repair.reduction.on_dsack(end));
    if late || twice {
        let (window, threshold) = repair.reduction.undo();
        conn.recovery.end();
        conn.congestion.undo(window, threshold, &mut repair.cubic);
        flights.unmark_lost(&mut conn.flight);
        counters.inc(Metric::TcpUndone);
    }
}

fn end_recovery(conn: &mut Conn, repair: &mut Repair) {
    if conn.recovery.phase == Phase::Fast {
        // RFC 6937 section 3.1.
        conn.congestion
            .set_window(conn.congestion.threshold(), conn.mss());
        repair.rack.on_recovered();
    }
    conn.recovery.end();
}

/// RFC 8985 section 7.4.
fn on_tail_probe(parts: &mut Parts<'_>, news: &News) {
    let conn = &mut *parts.conn;
    match conn.tail.on_ack(
        conn.snd_una,
        news.dsack.is_some(),
        news.duplicate && news.delivered == 0,
    ) {
        Answer::None => {}
        Answer::Needless => parts.counters.inc(Metric::TcpTailProbesNeedless),
        Answer::Repaired if conn.recovery.is_open() => {
            let mss = conn.mss();
            parts.repair.reduction.keep();
            parts.repair.lossy_at = Some(StampMs::of(parts.now));
            let cubic = &mut parts.repair.cubic;
            conn.congestion
                .on_loss(parts.config.congestion, news.flight, mss, cubic);
            let window = conn.congestion.window().min(conn.congestion.threshold());
            conn.congestion.set_window(window, mss);
        }
        Answer::Repaired => {}
    }
}

/// Marks what is lost; gives the bytes.
fn find_losses(parts: &mut Parts<'_>, news: &News) -> u32 {
    let Parts {
        now,
        conn,
        repair,
        flights,
        ..
    } = parts;
    if conn.sack && parts.config.rack_tlp {
        return find_losses_by_time(*now, conn, repair, flights);
    }
    let recovering = !conn.recovery.is_open();
    if conn.sack {
        // RFC 6675 section 4, IsLost: three segments beyond the first hole have arrived.
        let enough = conn.flight.sacked_count() >= DUPLICATES;
        let highest = repair.rack.highest();
        return match enough && !recovering || recovering && news.acked > 0 {
            true if conn.flight.sacked() > 0 => {
                flights.mark_lost(&mut conn.flight, conn.snd_una, |sent| {
                    !sent.resent && sent.end.before(highest)
                })
            }
            _ => 0,
        };
    }
    if news.duplicate {
        conn.recovery.duplicates = conn.recovery.duplicates.saturating_add(1);
    }
    // RFC 5681 section 3.2; RFC 6582 section 3.2 step 3: a partial ACK shows the next hole.
    let una = conn.snd_una;
    let first_is_lost = match conn.recovery.phase {
        Phase::Open => conn.recovery.duplicates == DUPLICATES,
        Phase::Fast => news.acked > 0 && conn.in_flight() > 0,
        Phase::Timeout => false,
    };
    if first_is_lost {
        flights.mark_lost(&mut conn.flight, una, |sent| sent.start == una)
    } else {
        0
    }
}

/// RACK (RFC 8985 section 6.2 step 5); sets the timer that looks again.
pub(super) fn find_losses_by_time(
    now: Micros,
    conn: &mut Conn,
    repair: &Repair,
    flights: &mut Flights,
) -> u32 {
    let recovering = !conn.recovery.is_open();
    let (lost, wait_us) = repair.rack.detect(
        now,
        (flights, &mut conn.flight, conn.snd_una),
        recovering,
        &conn.rtt,
    );
    if let Some(wait_us) = wait_us {
        conn.tail.armed = false;
        conn.loss_at = Deadline::of(now + Micros(wait_us.into()));
    } else if !conn.tail.armed {
        conn.loss_at = Deadline::NEVER;
    }
    lost
}

/// `lost` bytes have just been found lost.
fn on_lost(parts: &mut Parts<'_>, lost: u32, news: &News) {
    begin_recovery(
        parts.now,
        parts.conn,
        parts.repair,
        parts.config,
        news.flight,
    );
    parts.counters.inc(Metric::TcpFastRetransmits);
    parts.counters.add(Metric::TcpBytesLost, lost.into());
}

/// A loss was found in time, with `flight` bytes unacknowledged: unless one is being repaired, the
/// threshold goes down and recovery begins.
pub(super) fn begin_recovery(
    now: Micros,
    conn: &mut Conn,
    repair: &mut Repair,
    config: &Config,
    flight: u32,
) {
    repair.lossy_at = Some(StampMs::of(now));
    conn.tail.cancel();
    if !conn.recovery.is_open() {
        return;
    }
    let before = (conn.congestion.window(), conn.congestion.threshold());
    conn.recovery.begin(Phase::Fast, conn.snd_nxt);
    repair.reduction.begin(conn.snd_una, flight, Some(before));
    let mss = conn.mss();
    conn.congestion
        .on_loss(config.congestion, flight, mss, &mut repair.cubic);
    let first = conn.pipe() + mss;
    conn.congestion
        .set_window(first.min(before.0.max(mss)), mss);
}

/// The peer says that the path marked something (RFC 3168 section 6.1.2): as a loss, once a round
/// trip, but with nothing to repair.
fn on_congestion_echo(parts: &mut Parts<'_>, news: &News) {
    let conn = &mut *parts.conn;
    if news.marked {
        parts.repair.reduction.keep();
    }
    let marked = news.marked && conn.recovery.is_open();
    if !marked || conn.snd_una.before(conn.recovery.point) {
        return;
    }
    parts.counters.inc(Metric::TcpEcnReductions);
    let mss = conn.mss();
    let cubic = &mut parts.repair.cubic;
    conn.congestion
        .on_loss(parts.config.congestion, news.flight, mss, cubic);
    let window = conn.congestion.window().min(conn.congestion.threshold());
    conn.congestion.set_window(window, mss);
    conn.recovery.point = conn.snd_nxt;
    conn.ecn.reduced = true;
}

fn set_window(parts: &mut Parts<'_>, lost: u32, news: &News) {
    let conn = &mut *parts.conn;
    let mss = conn.mss();
    if conn.recovery.phase == Phase::Fast {
        let pipe = conn.pipe();
        // Each duplicate of a peer without SACK is a segment that has arrived.
        let delivered = match news.delivered {
            0 if news.duplicate && !conn.sack => mss,
            delivered => delivered,
        };
        let progress = news.acked > 0 && lost == 0;
        let threshold = conn.congestion.threshold();
        let reduction = &mut parts.repair.reduction;
        let window = reduction.window(pipe, threshold, delivered, mss, progress);
        // RFC 6582 section 3.2 step 3: without SACK the next hole goes at once.
        let hole = if lost > 0 && !conn.sack { mss } else { 0 };
        conn.congestion.set_window(window.max(pipe + hole), mss);
    } else if news.acked > 0 && !news.marked {
        let growth = Growth {
            now: parts.now,
            acked: news.acked,
            una: conn.snd_una,
            nxt: conn.snd_nxt,
            flight: news.flight,
            rtt_us: conn.rtt.smoothed_us().unwrap_or(0),
            mss,
            careful: conn.recovery.phase == Phase::Timeout,
        };
        let cubic = &mut parts.repair.cubic;
        conn.congestion
            .on_acked(parts.config.congestion, &growth, cubic);
    }
}

/// RFC 6298 section 5.2 and 5.3; RFC 8985 section 7.2.
fn set_timers(parts: &mut Parts<'_>, news: &News) {
    let Parts { now, conn, .. } = parts;
    if news.delivered > 0 {
        // The answer has come before the probe went out.
        conn.tail.due = false;
    }
    if conn.in_flight() == 0 {
        conn.loss_at = Deadline::NEVER;
        conn.pace_at = Deadline::NEVER;
        conn.tail.armed = false;
        conn.rto_at = Deadline::NEVER;
    } else if news.delivered > 0 {
        if news.acked > 0 {
            conn.rto_at = Deadline::of(*now + conn.rtt.rto());
        }
        if parts.config.rack_tlp {
            let reordering = conn.loss_at.is_set() && !conn.tail.armed;
            if !reordering {
                probe::schedule(conn, *now);
            }
        }
    }
}
