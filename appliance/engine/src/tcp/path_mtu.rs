//! Path MTU: what routers report (RFC 1191, RFC 8201), as far as it can be believed (RFC 5927), and
//! black holes that report nothing (in the spirit of RFC 4821).
//!
//! A connection's segments only ever get smaller; it does not probe for more, and the next
//! connection begins with what the handshake says. Nothing is remembered of a destination.

use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::tcp::Tcp;
use crate::tcp::conn::{Conn, State};
use crate::tcp::handshake::{TCP_HEADER, TIMESTAMP_BYTES};
use crate::units::ConnId;
use crate::wire::emit::ip_header_bytes;
use crate::wire::icmp::TooBig;

/// Least MTU that a report may bring us to. IPv4's own least is 68 (RFC 791 section 3.1), which would
/// make us send mostly headers; Linux stops at 552 too (min_pmtu).
const MTU_MIN_V4: u32 = 552;

/// Least MTU of IPv6; a smaller report is void (RFC 8201 section 4).
const MTU_MIN_V6: u32 = 1280;

/// Least MTU of IPv4 (RFC 791 section 3.1); a smaller report is void.
const MTU_VOID_V4: u32 = 68;

/// What a black hole is taken to let through: IPv6's least, which every tunnel carries; then IPv4's
/// customary 576 (RFC 9293 section 3.7.1).
const BLACK_HOLE_MTUS: [u32; 2] = [1280, 576];

/// Timeouts in a row of a full segment that look like a black hole. One is a loss like any other.
const BLACK_HOLE_TIMEOUTS: u8 = 2;

/// Payload of a packet of `mtu` bytes.
fn payload(conn: &Conn, mtu: u32) -> u16 {
    let headers = u32::try_from(ip_header_bytes(conn.remote.is_ipv4()) + TCP_HEADER).unwrap_or(0);
    let bytes = mtu.saturating_sub(headers + if conn.timestamps { TIMESTAMP_BYTES } else { 0 });
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

impl Tcp {
    /// A router says that a packet of ours was too big. False when no connection of this core sent
    /// it: try another core, or [`Tcp::ignore_too_big`].
    pub fn on_too_big(&mut self, report: &TooBig) -> bool {
        let Some(slot) = self.find(&report.flow) else {
            return false;
        };
        let Some((id, conn)) = self.conns.at(slot) else {
            return false;
        };
        if let Some(mss) = believed(conn, report) {
            self.counters.inc(Metric::TcpPathMtuLowered);
            conn.mss_before = 0;
            conn.mss = mss;
            self.send_all_again(id);
            self.make_ready(id);
        } else {
            self.ignore_too_big();
        }
        true
    }

    /// Counts a report that changes nothing.
    pub fn ignore_too_big(&self) {
        self.counters.inc(Metric::TcpPathMtuIgnored);
    }

    /// After a timeout: sends smaller segments when it looks as if only the small ones arrive.
    pub(super) fn suspect_black_hole(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.mss_tries = conn.mss_tries.saturating_add(1);
        if conn.rtt.timeouts() % BLACK_HOLE_TIMEOUTS != 0 || conn.flight_max() < conn.mss() {
            return;
        }
        let steps = match conn.remote.is_ipv4() {
            true => &BLACK_HOLE_MTUS[..],
            false => &BLACK_HOLE_MTUS[..1],
        };
        let sizes = steps.iter();
        let mut sizes = sizes.map(|&mtu| payload(conn, mtu));
        let Some(mss) = sizes.find(|&mss| mss < conn.mss) else {
            return;
        };
        if conn.mss_before == 0 {
            conn.mss_before = conn.mss;
        }
        conn.mss_tries = 0;
        conn.mss = mss;
        self.send_all_again(id);
    }

    /// Segments were too big for the path: everything in flight goes again, in smaller ones. No sign
    /// of congestion (RFC 1191 section 6.5).
    fn send_all_again(&mut self, id: ConnId) {
        let Tcp { conns, flights, .. } = self;
        if let Some(conn) = conns.get_mut(id) {
            flights.mark_lost(&mut conn.flight, conn.snd_una, |_| true);
        }
    }
}

/// Whether smaller segments helped, after the peer has acknowledged some: at once, then it was a
/// black hole; or after more timeouts, then the path was just dead and is as wide as before.
pub(super) fn settle(conn: &mut Conn, counters: &Counters) {
    if conn.mss_tries > 0 {
        conn.mss = conn.mss_before;
        // One segment at least (RFC 5681 section 3.1).
        let mss = conn.mss();
        conn.congestion.set_window(conn.congestion.window(), mss);
    } else {
        counters.inc(Metric::TcpBlackHoles);
    }
    conn.mss_before = 0;
}

/// The payload that a report leaves, if it is worth believing.
fn believed(conn: &Conn, report: &TooBig) -> Option<u16> {
    // RFC 5927 section 4.1, RFC 8201 section 4: whoever cannot see our segments does not know which
    // sequence numbers are under way.
    if conn.state == State::TimeWait || !report.seq.within(conn.snd_una, conn.flight_max()) {
        return None;
    }
    let (void, least) = match conn.remote.is_ipv4() {
        true => (MTU_VOID_V4, MTU_MIN_V4),
        false => (MTU_MIN_V6, MTU_MIN_V6),
    };
    if report.mtu < void {
        return None;
    }
    let mss = payload(conn, report.mtu.max(least));
    (mss < conn.mss).then_some(mss)
}
