//! From SYN to ESTABLISHED (RFC 9293 section 3.5), with the options of RFC 7323 and 2018.
//!
//! A SYN gets a record in `half_open`, or a cookie when that table is full: what is in it was there
//! first and stays. Either way the connection's own record is made by the ACK that completes the
//! handshake. SYN-ACKs wait in `replies`, like everything that has no connection to wait in; one that
//! finds no room there is lost as it could be on the way.

use crate::memory::slab::NONE;
use crate::metrics::catalog::Metric;
use crate::port::FRAME_BYTES_MAX;
use crate::tcp::congestion::Congestion;
use crate::tcp::conn::{AckDue, Conn, Ecn, State};
use crate::tcp::extents::Queue;
use crate::tcp::flight::Flight;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::moment::{Deadline, StampMs};
use crate::tcp::probe::TailProbe;
use crate::tcp::reassembly::Waiting;
use crate::tcp::receive::{CHALLENGE_PERIOD, is_acceptable, is_old, nothing};
use crate::tcp::recovery::Recovery;
use crate::tcp::rtt::Rtt;
use crate::tcp::{Tcp, Verdict, cookies, isn, repair};
use crate::units::{ConnId, Micros};
use crate::wire::emit::{Header, ip_header_bytes};
use crate::wire::segment::{Flags, Flow, Link, Options, Segment};
use crate::wire::seq::Seq;

/// Ethernet header and one VLAN tag.
const LINK_BYTES: usize = 18;

/// TCP header without options.
pub(super) const TCP_HEADER: usize = 20;

/// Timestamps on every segment.
pub(super) const TIMESTAMP_BYTES: u32 = 12;

/// Smallest segment we agree to send: a peer that asks for less makes us send mostly headers
/// (CVE-2019-11479).
pub(super) const MSS_MIN: u16 = 88;

/// Assumed without an MSS option (RFC 9293 section 3.7.1).
const MSS_DEFAULT_V4: u16 = 536;
const MSS_DEFAULT_V6: u16 = 1220;

/// Until a SYN-ACK is sent again (RFC 6298 section 2.1); each time twice as long.
const REPEAT_AFTER: Micros = Micros::from_secs(1);

/// How often it is repeated: about a minute in all (Linux: tcp_synack_retries).
const REPEATS_MAX: u8 = 5;

/// What a SYN asks for, as far as we go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// Most bytes of a segment, options included.
    pub(super) mss: u16,
    /// Shift of the peer's windows (RFC 7323 section 2.2: both sides scale or none).
    pub(super) window_scale: Option<u8>,
    /// SACK permitted.
    pub(super) sack: bool,
    /// The peer's timestamp, if it has them.
    pub(super) timestamps: Option<u32>,
    /// Explicit congestion notification (RFC 3168 section 6.1.1).
    pub(super) ecn: bool,
}

impl Offer {
    fn of(segment: &Segment) -> Offer {
        let options = &segment.options;
        let assumed = if segment.flow.local.is_ipv4() {
            MSS_DEFAULT_V4
        } else {
            MSS_DEFAULT_V6
        };
        Offer {
            mss: options.mss.unwrap_or(assumed).max(MSS_MIN),
            window_scale: options.window_scale,
            sack: options.sack_permitted,
            timestamps: options.timestamps.map(|(value, _)| value),
            ecn: segment.flags.ece && segment.flags.cwr,
        }
    }
}

/// One SYN-ACK.
struct SynAck<'a> {
    flow: Flow,
    link: Link,
    irs: Seq,
    iss: Seq,
    offer: &'a Offer,
    /// Our timestamp.
    clock: u32,
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
    /// A segment of no connection, to an address of ours: LISTEN and SYN-RECEIVED.
    pub(super) fn on_stranger(&mut self, now: Micros, frame: &[u8], segment: &Segment) -> Verdict {
        if let Some(record) = self.half_open.find(&segment.flow) {
            let record = *record;
            return self.on_half_open(now, record, frame, segment);
        }
        // RFC 9293 section 3.10.7.2: LISTEN.
        let flags = segment.flags;
        if flags.rst {
            return Verdict::Done;
        }
        if flags.ack {
            if !flags.syn && cookies::in_use(self.cookie_at, now) {
                return self.on_cookie(now, frame, segment);
            }
            return Verdict::Unknown;
        }
        if flags.syn {
            self.on_syn(now, segment, None);
        }
        Verdict::Done
    }

    /// A SYN that begins a connection; `above` is what our initial sequence number has to lie above
    /// when the same flow had one before. A cookie has no room for that.
    pub(super) fn on_syn(&mut self, now: Micros, segment: &Segment, above: Option<Seq>) {
        self.counters.inc(Metric::TcpSynReceived);
        if self.conns.count() == self.conns.capacity() && self.time_wait_count == 0 {
            return self.counters.inc(Metric::TcpSynDropped);
        }
        let Segment { flow, link, .. } = *segment;
        let offer = Offer::of(segment);
        if self.half_open.is_full() {
            return self.send_cookie(now, segment, offer);
        }
        let iss = isn::initial_sequence(self.config.secret, &flow, now);
        let record = HalfOpen {
            flow,
            link,
            irs: segment.seq,
            iss: above.map_or(iss, |above| iss.max(above + 1)),
            offer,
            sent_at: now,
            repeats: 0,
            challenge_at: Micros(0),
        };
        self.half_open.insert(record, now + REPEAT_AFTER);
        self.send_syn_ack(now, &record);
    }

    fn send_cookie(&mut self, now: Micros, segment: &Segment, offer: Offer) {
        let Segment {
            flow,
            link,
            seq: irs,
            ..
        } = *segment;
        let secret = self.config.secret;
        // Without timestamps there is no place to keep these.
        let offer = match offer.timestamps {
            Some(_) => offer,
            None => Offer {
                window_scale: None,
                sack: false,
                ecn: false,
                ..offer
            },
        };
        let clock = isn::timestamp(now, isn::timestamp_offset(secret, &flow));
        let answer = self.syn_ack(&SynAck {
            flow,
            link,
            irs,
            iss: cookies::issue(secret, now, &flow, irs, &offer),
            offer: &offer,
            clock: cookies::issue_timestamp(clock, &offer),
        });
        self.cookie_at = Some(now);
        self.counters.inc(Metric::TcpCookiesSent);
        self.replies.push(answer, &self.counters);
    }

    fn on_cookie(&mut self, now: Micros, frame: &[u8], segment: &Segment) -> Verdict {
        let Some(offer) = cookies::check(self.config.secret, now, segment) else {
            return Verdict::Unknown;
        };
        self.counters.inc(Metric::TcpCookiesAccepted);
        let record = HalfOpen {
            flow: segment.flow,
            link: segment.link,
            irs: segment.seq - 1,
            iss: segment.ack - 1,
            offer,
            // Nobody knows: no round trip is measured.
            sent_at: now,
            repeats: 1,
            challenge_at: Micros(0),
        };
        self.open(now, &record, frame, segment)
    }

    /// SYN-RECEIVED (RFC 9293 section 3.10.7.4), in the order that the RFC checks.
    fn on_half_open(
        &mut self,
        now: Micros,
        record: HalfOpen,
        frame: &[u8],
        segment: &Segment,
    ) -> Verdict {
        let flags = segment.flags;
        let next = record.irs + 1;
        if flags.syn && !flags.ack && !flags.rst && segment.seq == record.irs {
            // The same SYN again: the answer was lost.
            self.send_syn_ack(now, &record);
            return Verdict::Done;
        }
        let window = self.syn_window();
        let old = record
            .offer
            .timestamps
            .is_some_and(|recent| is_old(segment, recent));
        if old || !is_acceptable(next, window, segment) {
            if !flags.rst {
                self.challenge_half_open(now, &record);
            }
        } else if flags.rst && segment.seq == next {
            self.counters.inc(Metric::TcpReset);
            self.half_open.remove(&record.flow);
        } else if flags.rst || flags.syn {
            // RFC 5961 sections 3.2 and 4.2.
            self.challenge_half_open(now, &record);
        } else if flags.ack && segment.ack == record.iss + 1 {
            self.half_open.remove(&record.flow);
            return self.open(now, &record, frame, segment);
        } else if flags.ack {
            self.refuse(segment);
        }
        Verdict::Done
    }

    /// Says where the handshake is; limited as for connections (RFC 5961 section 7).
    fn challenge_half_open(&mut self, now: Micros, record: &HalfOpen) {
        let Some(kept) = self.half_open.find(&record.flow) else {
            return;
        };
        if now < kept.challenge_at {
            return;
        }
        kept.challenge_at = now + CHALLENGE_PERIOD;
        let offset = isn::timestamp_offset(self.config.secret, &record.flow);
        let clock = isn::timestamp(now, offset);
        let answer = Header {
            link: record.link,
            flow: record.flow,
            seq: record.iss + 1,
            ack: record.irs + 1,
            flags: Flags {
                ack: true,
                ..Flags::default()
            },
            window: low(self.syn_window()),
            options: Options {
                timestamps: record.offer.timestamps.map(|recent| (clock, recent)),
                ..Options::default()
            },
        };
        self.counters.inc(Metric::TcpChallengeAcks);
        self.replies.push(answer, &self.counters);
    }

    /// The ACK that completes a handshake: from here on there is a connection.
    fn open(&mut self, now: Micros, record: &HalfOpen, frame: &[u8], segment: &Segment) -> Verdict {
        if self.conns.count() == self.conns.capacity() {
            self.drop_oldest_time_wait();
        }
        let conn = self.conn(now, record, segment);
        let Ok(id) = self.conns.insert(conn) else {
            // Other players took the last records meanwhile: it is told at once, and tries again.
            self.counters.inc(Metric::TcpSynDropped);
            self.refuse(segment);
            return Verdict::Done;
        };
        // As many fit as there are records.
        self.by_flow.insert(self.hash(&record.flow), id.slot);
        if record.repeats > 0 {
            self.remember_loss(now, id);
        }
        self.counters.inc(Metric::TcpOpened);
        let mut receipt = nothing(id);
        receipt.opened = true;
        self.on_accepted(now, frame, segment, receipt)
    }

    /// A SYN-ACK that had to be repeated was lost, or its answer: the path loses.
    fn remember_loss(&mut self, now: Micros, id: ConnId) {
        let Tcp { conns, repairs, .. } = self;
        if let Some(conn) = conns.get_mut(id) {
            repair::with(now, repairs, conn, |_, repair| {
                repair.lossy_at = Some(StampMs::of(now));
            });
        }
    }

    fn conn(&self, now: Micros, record: &HalfOpen, segment: &Segment) -> Conn {
        let HalfOpen { flow, offer, .. } = record;
        let timestamps = offer.timestamps.is_some();
        let most = u32::from(offer.mss).min(self.mss_ours(flow));
        let mss = most - if timestamps { TIMESTAMP_BYTES } else { 0 };
        let (next, first) = (record.irs + 1, record.iss + 1);
        let window = u32::from(segment.window) << offer.window_scale.unwrap_or(0);
        let mut rtt = Rtt::default();
        if record.repeats == 0 {
            // Karn: only an answer that was sent once is timed (RFC 6298 section 3).
            let span_us = now.since(record.sent_at).0;
            rtt.measure(u32::try_from(span_us).unwrap_or(u32::MAX));
        }
        Conn {
            remote: flow.remote,
            listen: self.listen_index(flow),
            link: segment.link,
            state: State::Established,
            rcv_nxt: next,
            delivered: next,
            rcv_edge: next + self.syn_window(),
            backlog: 0,
            fin_at: next,
            fin_came: false,
            waiting: Waiting::default(),
            dsack: (Seq(0), Seq(0)),
            ack_due: AckDue::None,
            unacknowledged: 0,
            last_ack: next,
            timestamps,
            timestamp_offset: isn::timestamp_offset(self.config.secret, flow),
            ts_recent: offer.timestamps.unwrap_or(0),
            ts_recent_at: StampMs::of(now),
            sack: offer.sack,
            snd_scale: offer.window_scale,
            rcv_scale: self.rcv_scale(offer),
            mss: u16::try_from(mss).unwrap_or(MSS_MIN),
            mss_before: 0,
            mss_tries: 0,
            snd_una: first,
            snd_nxt: first,
            probed: false,
            snd_end: first,
            snd_wnd: window,
            snd_wl1: record.irs,
            snd_wnd_max: window,
            queue: Queue::default(),
            flight: Flight::default(),
            finishing: false,
            congestion: Congestion::new(mss, first, now),
            recovery: Recovery::new(first),
            tail: TailProbe::default(),
            ecn: Ecn {
                agreed: offer.ecn,
                ..Ecn::default()
            },
            repair: NONE,
            probe: false,
            rtt,
            rto_at: Deadline::NEVER,
            loss_at: Deadline::NEVER,
            ack_at: Deadline::NEVER,
            state_at: Deadline::NEVER,
            pace_at: Deadline::NEVER,
            challenged_at: None,
            stalled_at: None,
            silent: 0,
        }
    }

    /// Which of our addresses a flow goes to; `on_stranger` has seen that it is one.
    fn listen_index(&self, flow: &Flow) -> u16 {
        let index = self.listen.iter().position(|local| *local == flow.local);
        index.map_or(0, |index| u16::try_from(index).unwrap_or(0))
    }

    /// Largest payload of a frame in `flow`: what we announce as MSS.
    pub(super) fn mss_ours(&self, flow: &Flow) -> u32 {
        let bytes =
            FRAME_BYTES_MAX - LINK_BYTES - ip_header_bytes(flow.local.is_ipv4()) - TCP_HEADER;
        let most = u32::from(self.config.mss_max.max(MSS_MIN));
        u32::try_from(bytes).unwrap_or(0).min(most)
    }

    /// The window a SYN-ACK offers: never scaled (RFC 7323 section 2.2).
    fn syn_window(&self) -> u32 {
        self.config.receive_window.min(0xffff)
    }

    fn rcv_scale(&self, offer: &Offer) -> u8 {
        offer
            .window_scale
            .map_or(0, |_| window_shift(self.config.receive_window))
    }

    fn send_syn_ack(&mut self, now: Micros, record: &HalfOpen) {
        let offset = isn::timestamp_offset(self.config.secret, &record.flow);
        let answer = self.syn_ack(&SynAck {
            flow: record.flow,
            link: record.link,
            irs: record.irs,
            iss: record.iss,
            offer: &record.offer,
            clock: isn::timestamp(now, offset),
        });
        self.replies.push(answer, &self.counters);
    }

    /// Each option only if the peer has it (RFC 9293 section 3.2, RFC 7323 sections 2.2 and 3.2, RFC
    /// 2018 section 2).
    fn syn_ack(&self, answer: &SynAck<'_>) -> Header {
        let offer = answer.offer;
        Header {
            link: answer.link,
            flow: answer.flow,
            seq: answer.iss,
            ack: answer.irs + 1,
            flags: Flags {
                syn: true,
                ack: true,
                ece: offer.ecn,
                ..Flags::default()
            },
            window: low(self.syn_window()),
            options: Options {
                mss: u16::try_from(self.mss_ours(&answer.flow)).ok(),
                window_scale: offer.window_scale.map(|_| self.rcv_scale(offer)),
                sack_permitted: offer.sack,
                timestamps: offer.timestamps.map(|recent| (answer.clock, recent)),
                ..Options::default()
            },
        }
    }

    /// Repeats the SYN-ACKs that are due (RFC 6298 section 5) and gives up those that were repeated
    /// often enough.
    pub(super) fn repeat_syn_acks(&mut self, now: Micros) {
        while let Some(record) = self.half_open.expire(now) {
            if record.repeats == REPEATS_MAX {
                let flow = record.flow;
                self.half_open.remove(&flow);
                self.counters.inc(Metric::TcpSynTimedOut);
                continue;
            }
            record.repeats += 1;
            let record = *record;
            let wait = Micros(REPEAT_AFTER.0 << record.repeats);
            self.half_open.schedule(&record.flow, now + wait);
            self.counters.inc(Metric::TcpSynAckRepeats);
            self.send_syn_ack(now, &record);
        }
    }
}

/// Windows of SYN-ACKs fit 16 bits.
fn low(window: u32) -> u16 {
    u16::try_from(window).unwrap_or(u16::MAX)
}
