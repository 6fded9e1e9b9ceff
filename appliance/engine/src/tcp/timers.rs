//! What happens by the clock: retransmission and persist timer, delayed ACKs, the limits of closing
//! states, TIME-WAIT, and handshakes.
//!
//! A record has one entry in the wheel, for the first of its deadlines. A deadline that moves away
//! leaves the entry where it is: it fires, finds nothing due and is set anew.

use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::tcp::acked::{begin_recovery, find_losses_by_time};
use crate::tcp::conn::{AckDue, Conn, State};
use crate::tcp::flight::Flights;
use crate::tcp::moment::{Deadline, StampMs};
use crate::tcp::recovery::Phase;
use crate::tcp::repair::{self, Repair};
use crate::tcp::{CloseReason, Config, Tcp, path_mtu, replies};
use crate::units::{ConnId, Micros};

/// How long a connection whose peer does not finish is kept (Linux: tcp_fin_timeout).
pub(super) const FIN_WAIT_2: Micros = Micros::from_secs(60);

/// 2 MSL, with Linux's idea of a segment's lifetime instead of RFC 9293's two minutes.
const TIME_WAIT: Micros = Micros::from_secs(60);

/// Timeouts without any answer after which a peer is gone: at least 200 seconds (RFC 1122 section
/// 4.2.3.5 wants 100 or more).
const TIMEOUTS_MAX: u8 = 10;

/// Timeouts without progress after which a peer is gone even if it answers (RFC 9293 section 3.8.3,
/// R2; Linux: tcp_retries2).
const RETRIES_MAX: u8 = 15;

/// How long a connection that we have closed may take to send what is left and its FIN, and the
/// peer to acknowledge it: FIN-WAIT-1, CLOSING and LAST-ACK together. RFC 9293 section 3.8.3 wants
/// 100 seconds or more before giving up.
const CLOSING_MAX: Micros = Micros::from_secs(120);

impl Tcp {
    /// Acts on one deadline that has passed. Call until it answers none; what it gives is a
    /// connection that is gone.
    pub fn on_timers(&mut self, now: Micros) -> Option<(ConnId, CloseReason)> {
        self.clock = now;
        while let Some(slot) = self.wheel.expire(now) {
            let Some((id, conn)) = self.conns.at(slot) else {
                continue;
            };
            if conn.ack_at.is_due(now) {
                conn.ack_at = Deadline::NEVER;
                conn.ack_due = AckDue::Now;
                self.make_ready(id);
            }
            if let Some(reason) = self.on_deadlines(now, id) {
                return Some((id, reason));
            }
            self.arm(now, id);
        }
        self.end_time_waits(now);
        self.repeat_syn_acks(now);
        None
    }

    /// When `on_timers` has to be called at the latest.
    pub fn poll_at(&self) -> Micros {
        let waiting = self.time_wait.front().and_then(|&id| self.conns.get(id));
        self.wheel
            .poll_at()
            .min(waiting.map_or(Micros::NEVER, |conn| conn.state_at.micros(self.clock)))
            .min(self.half_open.poll_at())
    }

    /// Sees to it that the wheel fires in time for `id`.
    pub(super) fn arm(&mut self, now: Micros, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let deadline = match conn.state {
            State::TimeWait => Micros::NEVER,
            _ => conn.deadline(now),
        };
        if deadline < self.wheel.at(id.slot) {
            self.wheel.schedule(id.slot, deadline);
        }
    }

    /// Everything but the delayed ACK; some deadlines end a connection.
    fn on_deadlines(&mut self, now: Micros, id: ConnId) -> Option<CloseReason> {
        let persist_timeout = self.config.persist_timeout;
        let Tcp {
            conns,
            flights,
            repairs,
            config,
            counters,
            ..
        } = self;
        let conn = conns.get_mut(id)?;
        if conn.state_at.is_due(now) {
            return self.give_up(id, Metric::TcpClosingTimedOut);
        }
        if conn.pace_at.is_due(now) {
            conn.pace_at = Deadline::NEVER;
            self.make_ready(id);
            return self.on_deadlines(now, id);
        }
        if conn.loss_at.is_due(now) {
            repair::with(now, repairs, conn, |conn, repair| {
                on_loss_timer(now, (conn, repair), flights, config, counters);
            });
            self.make_ready(id);
            return None;
        }
        if !conn.rto_at.is_due(now) {
            return None;
        }
        conn.rto_at = Deadline::NEVER;
        if is_stalled(conn, now, persist_timeout) {
            return self.give_up(id, Metric::TcpPersistTimedOut);
        }
        conn.silent += 1;
        if conn.silent > TIMEOUTS_MAX || conn.rtt.timeouts() >= RETRIES_MAX {
            return self.give_up(id, Metric::TcpTimedOut);
        }
        if is_persisting(conn) {
            conn.probe = true;
        } else {
            counters.inc(Metric::TcpTimeouts);
            repair::with(now, repairs, conn, |conn, repair| {
                time_out(now, (conn, repair), flights, config);
            });
        }
        conn.rtt.back_off();
        self.suspect_black_hole(id);
        self.make_ready(id);
        None
    }

    /// Ends a connection by the clock. The peer is told, in case it is there.
    fn give_up(&mut self, id: ConnId, metric: Metric) -> Option<CloseReason> {
        let conn = self.conns.get(id)?;
        let reset = replies::reset(
            conn.flow(&self.listen),
            conn.link,
            conn.snd_nxt,
            Some(conn.rcv_nxt),
        );
        self.replies.push(reset, &self.counters);
        self.counters.inc(metric);
        self.remove(id);
        Some(CloseReason::TimedOut)
    }

    /// After an acceptable acknowledgment, which `acked` something or only opened the window, or not
    /// even that.
    pub(super) fn on_progress(&mut self, id: ConnId, acked: bool) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.outstanding() == 0 || !conn.is_closed_window() {
            conn.stalled_at = None;
        }
        if acked && conn.mss_before != 0 {
            path_mtu::settle(conn, &self.counters);
        }
    }

    /// The connection has nothing more to say and keeps its record only to answer late segments.
    pub(super) fn enter_time_wait(&mut self, now: Micros, id: ConnId) {
        self.counters.inc(Metric::TcpClosed);
        if self.time_wait_count >= self.config.time_wait_max {
            self.drop_oldest_time_wait();
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.state = State::TimeWait;
        conn.state_at = Deadline::of(now + TIME_WAIT);
        conn.rto_at = Deadline::NEVER;
        conn.loss_at = Deadline::NEVER;
        conn.pace_at = Deadline::NEVER;
        conn.ack_at = Deadline::NEVER;
        // What filled up with the FIN is still to be taken; the rest is void.
        if self.pieces.reach(&conn.waiting, conn.delivered) == conn.delivered {
            self.pieces.clear(&mut conn.waiting);
        }
        self.wheel.cancel(id.slot);
        self.time_wait_count += 1;
        if self.time_wait.len() == self.time_wait.capacity() {
            self.drop_oldest_time_wait();
        }
        self.time_wait.push_back(id);
        self.make_ready(id);
    }

    fn end_time_waits(&mut self, now: Micros) {
        while let Some(&id) = self.time_wait.front() {
            if self
                .conns
                .get(id)
                .is_some_and(|conn| !conn.state_at.is_due(now))
            {
                return;
            }
            self.remove_time_wait(id);
            self.time_wait.pop_front();
        }
    }

    pub(super) fn drop_oldest_time_wait(&mut self) {
        while let Some(id) = self.time_wait.pop_front() {
            if self.conns.get(id).is_some() {
                return self.remove_time_wait(id);
            }
        }
    }

    fn remove_time_wait(&mut self, id: ConnId) {
        if self
            .conns
            .get(id)
            .is_some_and(|conn| conn.state == State::TimeWait)
        {
            self.remove(id);
        }
    }
}

/// Whether the timer is the persist timer: there is something to send and no window for it.
fn is_persisting(conn: &Conn) -> bool {
    conn.has_unsent() && conn.in_flight() == 0
}

/// Whether the peer, alive, has kept its window closed for as long as it may (RFC 9293 section
/// 3.8.6.1 lets it, RFC 6429 lets us end that). Its silence is no proof of that: the window may be
/// open by now, and `TIMEOUTS_MAX` is for those who stay silent.
fn is_stalled(conn: &mut Conn, now: Micros, limit: Micros) -> bool {
    if !conn.is_closed_window() {
        return false;
    }
    let since = *conn.stalled_at.get_or_insert(StampMs::of(now));
    conn.silent == 0 && Micros::from_millis(since.age_ms(now).into()) >= limit
}

/// The reordering window has passed, or the tail has been silent for long.
fn on_loss_timer(
    now: Micros,
    (conn, repair): (&mut Conn, &mut Repair),
    flights: &mut Flights,
    config: &Config,
    counters: &Counters,
) {
    conn.loss_at = Deadline::NEVER;
    if std::mem::take(&mut conn.tail.armed) {
        // The retransmission timer starts over behind the probe (RFC 8985 section 7.3).
        conn.tail.due = true;
        conn.rto_at = Deadline::of(now + conn.rtt.rto());
        return;
    }
    let flight = conn.in_flight();
    let lost = find_losses_by_time(now, conn, repair, flights);
    if lost > 0 {
        counters.inc(Metric::TcpFastRetransmits);
        counters.add(Metric::TcpBytesLost, lost.into());
        begin_recovery(now, conn, repair, config, flight);
    }
}

/// The retransmission timer ran out (RFC 6298 section 5.4 to 5.7, RFC 5681 section 3.1).
fn time_out(
    now: Micros,
    (conn, repair): (&mut Conn, &mut Repair),
    flights: &mut Flights,
    config: &Config,
) {
    let reneged = flights.forget_if_reneged(&mut conn.flight);
    let by_time = conn.sack && config.rack_tlp && !reneged;
    let (una, rtt, flight) = (conn.snd_una, conn.rtt, conn.in_flight());
    let rack = &repair.rack;
    flights.mark_lost(&mut conn.flight, una, |sent| {
        !by_time || rack.is_lost_by_timeout(now, sent, una, &rtt)
    });
    let before = (conn.congestion.window(), conn.congestion.threshold());
    // A timeout in the middle of recovery is the same loss: what was before it was before it.
    let before = conn.recovery.is_open().then_some(before);
    // Only the first timeout of a flight lowers the threshold, and only if nothing else has.
    let first = conn.recovery.is_open() || !una.before(conn.recovery.point);
    conn.recovery.begin(Phase::Timeout, conn.snd_nxt);
    repair.reduction.begin(una, flight, before);
    conn.recovery.duplicates = 0;
    let mss = conn.mss();
    if first {
        let cubic = &mut repair.cubic;
        conn.congestion
            .on_loss(config.congestion, flight, mss, cubic);
    }
    conn.congestion.set_window(conn.pipe() + mss, mss);
    conn.tail.cancel();
    conn.loss_at = Deadline::NEVER;
    repair.lossy_at = Some(StampMs::of(now));
}

impl Conn {
    /// Sees to it that a connection we have closed ends some time.
    pub(super) fn limit_closing(&mut self, now: Micros) {
        let closing = matches!(
            self.state,
            State::FinWait1 | State::Closing | State::LastAck
        );
        if closing && !self.state_at.is_set() {
            self.state_at = Deadline::of(now + CLOSING_MAX);
        }
    }
}
