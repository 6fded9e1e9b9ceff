//! From SYN to ESTABLISHED (RFC 9293 section 3.5), with the options of RFC 7323 and 2018.

use crate::metrics::catalog::Metric;
use crate::port::FRAME_BYTES_MAX;
use crate::tcp::Tcp;
use crate::tcp::congestion::Congestion;
use crate::tcp::conn::{AckDue, Conn, State};
use crate::tcp::extents::Extents;
use crate::tcp::isn;
use crate::tcp::reassembly::Waiting;
use crate::tcp::rtt::Rtt;
use crate::units::{ConnId, Micros};
use crate::wire::emit::ip_header_bytes;
use crate::wire::segment::{Flow, Segment};

/// Ethernet header and one VLAN tag.
const LINK_BYTES: usize = 18;

/// TCP header without options.
const TCP_HEADER: usize = 20;

/// Timestamps on every segment.
const TIMESTAMP_BYTES: u32 = 12;

/// Smallest segment we agree to send: a peer that asks for less makes us send mostly headers
/// (CVE-2019-11479).
const MSS_MIN: u32 = 88;

/// Assumed without an MSS option (RFC 9293 section 3.7.1).
const MSS_DEFAULT_V4: u16 = 536;
const MSS_DEFAULT_V6: u16 = 1220;

/// Largest payload of a frame in `flow`: what we announce as MSS.
pub(super) fn mss_ours(flow: &Flow) -> u32 {
    let bytes = FRAME_BYTES_MAX - LINK_BYTES - ip_header_bytes(flow) - TCP_HEADER;
    u32::try_from(bytes).unwrap_or(0)
}

/// Shift with which a window of `bytes` fits the header's 16 bits (RFC 7323 section 2.2).
pub(super) fn window_shift(bytes: u32) -> u8 {
    let mut shift = 0;
    while bytes >> shift > 0xffff && shift < 14 {
        shift += 1;
    }
    shift
}

impl Tcp {
    /// LISTEN gets a SYN.
    pub(super) fn on_syn(&mut self, now: Micros, segment: &Segment) {
        self.counters.inc(Metric::TcpSynReceived);
        if self.half_open_count >= self.config.half_open_max {
            self.drop_oldest_half_open();
        }
        if self.conns.count() >= self.conns.capacity() {
            self.drop_oldest_time_wait();
        }
        let conn = self.half_open_conn(now, segment);
        let Ok(id) = self.conns.insert(conn) else {
            return self.counters.inc(Metric::TcpSynDropped);
        };
        self.by_flow.insert(segment.flow, id.slot);
        self.half_open_count += 1;
        // Those that went on stay in the queue until they come up.
        if self.half_open.len() == self.half_open.capacity() {
            self.half_open.retain(|&id| {
                self.conns
                    .get(id)
                    .is_some_and(|conn| conn.state == State::SynReceived)
            });
        }
        self.half_open.push_back(id);
        self.make_ready(id);
    }

    fn half_open_conn(&self, now: Micros, segment: &Segment) -> Conn {
        let Segment {
            flow,
            link,
            options,
            ..
        } = segment;
        let iss = isn::initial_sequence(self.config.secret, flow, now);
        let assumed = if flow.local.is_ipv4() {
            MSS_DEFAULT_V4
        } else {
            MSS_DEFAULT_V6
        };
        let theirs = u32::from(options.mss.unwrap_or(assumed)).max(MSS_MIN);
        let timestamps = options.timestamps.is_some();
        let mss = theirs.min(mss_ours(flow)) - if timestamps { TIMESTAMP_BYTES } else { 0 };
        let next = segment.seq + 1;
        // RFC 7323 section 2.2: both scale or none; a SYN's own window is never scaled.
        let rcv_scale = options
            .window_scale
            .map_or(0, |_| window_shift(self.config.receive_window));
        Conn {
            flow: *flow,
            link: *link,
            state: State::SynReceived,
            rcv_nxt: next,
            delivered: next,
            rcv_edge: next + self.config.receive_window.min(0xffff),
            backlog: 0,
            fin_at: None,
            waiting: Waiting::default(),
            ack_due: AckDue::Now,
            unacknowledged: 0,
            last_ack: next,
            timestamps,
            timestamp_offset: isn::timestamp_offset(self.config.secret, flow),
            ts_recent: options.timestamps.map_or(0, |(value, _)| value),
            ts_recent_at: now,
            sack: options.sack_permitted,
            snd_scale: options.window_scale,
            rcv_scale,
            mss,
            iss,
            snd_una: iss,
            snd_nxt: iss,
            snd_max: iss,
            snd_end: iss + 1,
            snd_wnd: u32::from(segment.window),
            snd_wl1: segment.seq,
            snd_wl2: iss,
            snd_wnd_max: u32::from(segment.window),
            extents: Extents::default(),
            finishing: false,
            congestion: Congestion::new(mss),
            resend: false,
            probe: false,
            rtt: Rtt::default(),
            timed: None,
            sent_at: now,
            rto_at: Micros::NEVER,
            ack_at: Micros::NEVER,
            state_at: Micros::NEVER,
            wheel_at: Micros::NEVER,
            challenge_at: Micros(0),
            silent: 0,
            ready: false,
        }
    }

    /// SYN-RECEIVED got an acceptable ACK of our SYN.
    pub(super) fn establish(&mut self, now: Micros, id: ConnId, segment: &Segment) {
        self.half_open_count -= 1;
        self.counters.inc(Metric::TcpOpened);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.state = State::Established;
        conn.snd_una = segment.ack;
        conn.snd_nxt = segment.ack;
        conn.snd_max = segment.ack;
        conn.snd_end = segment.ack;
        conn.ack_due = AckDue::None;
        conn.rto_at = Micros::NEVER;
        if let Some((_, at)) = conn.timed.take() {
            conn.rtt.measure(now.since(at));
        }
        conn.rtt.end_back_off();
    }

    fn drop_oldest_half_open(&mut self) {
        while let Some(id) = self.half_open.pop_front() {
            if self
                .conns
                .get(id)
                .is_some_and(|conn| conn.state == State::SynReceived)
            {
                self.counters.inc(Metric::TcpSynDropped);
                return self.remove(id);
            }
        }
    }
}
