//! The table of cases: what `docs/tcp-cases.md` shows.

use super::net::Net;
use super::{Outcome, a, c, h, r, s};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Must,
    Should,
    Rob,
    Info,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::Rob => "ROB",
            Level::Info => "INFO",
        }
    }
}

/// With whom a case may run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// With all of its kind: it mostly waits.
    Quiet,
    /// Alone: it loads the server.
    Loud,
    /// Alone and only when named in `TCP_CASES`: it takes minutes.
    Slow,
}

pub struct Case {
    pub id: &'static str,
    pub level: Level,
    pub rfc: &'static str,
    pub text: &'static str,
    pub noise: Noise,
    pub run: fn(&Net) -> Outcome,
}

const fn case(
    id: &'static str,
    level: Level,
    rfc: &'static str,
    text: &'static str,
    noise: Noise,
    run: fn(&Net) -> Outcome,
) -> Case {
    Case {
        id,
        level,
        rfc,
        text,
        noise,
        run,
    }
}

use Level::{Info, Must, Rob, Should};
use Noise::{Loud, Quiet, Slow};

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("H01", Must, "9293 3.10.7.2", "SYN is answered by SYN+ACK that acknowledges ISN+1 and carries an MSS", Quiet, h::h01),
    case("H02", Must, "7323 2.2/3.2, 2018 2", "window scale, timestamps and SACK-permitted only if the SYN offered them", Quiet, h::h02),
    case("H03", Must, "9293 3.7.1 MUST-15", "no MSS option: at most 536 bytes of payload a segment", Quiet, h::h03),
    case("H04", Must, "6298 5, 1122 4.2.3.1", "SYN+ACK is repeated, same ISN, interval grows", Quiet, h::h04),
    case("H05", Must, "9293 3.10.7.4", "the same SYN twice: one connection, same ISN", Quiet, h::h05),
    case("H06", Must, "9293 3.10.7.2", "ACK to LISTEN: RST with SEQ=SEG.ACK", Quiet, h::h06),
    case("H07", Must, "9293 3.10.7.2", "SYN+ACK to LISTEN: RST", Quiet, h::h07),
    case("H08", Must, "9293 3.10.7.2", "RST, and FIN or data without ACK, to LISTEN: silence", Quiet, h::h08),
    case("H09", Info, "9293 3.10.7.2", "SYN+FIN to LISTEN (dropped, or SYN+ACK with the FIN not counted)", Quiet, h::h09),
    case("H10", Must, "9293 3.10.7.1", "closed port: SYN gets RST+ACK SEQ=0 ACK=SEQ+1, ACK gets RST SEQ=SEG.ACK, RST gets nothing", Quiet, h::h10),
    case("H11", Must, "9293 3.10.7.4", "SYN-RECEIVED: wrong ACK number gets RST SEQ=SEG.ACK, the right one still completes", Quiet, h::h11),
    case("H12", Must, "9293 3.10.7.4, 5961 3", "SYN-RECEIVED: RST with SEQ=RCV.NXT ends it, a later ACK gets RST", Quiet, h::h12),
    case("H13", Must, "9293 3.10.7.4", "the ACK of the handshake carries the request (and the bare ACK was lost)", Quiet, h::h13),
    case("H14", Info, "9293 3.10.7.2", "payload in the SYN: not lost for good, not delivered twice", Quiet, h::h14),
    case("H15", Must, "9293 3.1 MUST-6", "unknown options are ignored, in SYN and in data", Quiet, h::h15),
    case("H16", Must, "9293 3.1 MUST-7", "illegal option lengths do no harm", Quiet, h::h16),
    case("H17", Must, "9293 3.7.1 MUST-16", "MSS 100 and 536 are respected", Quiet, h::h17),
    case("H18", Rob, "CVE-2019-11479", "MSS 0, 1, 8 and 47: server lives, sends no flood of tiny segments", Quiet, h::h18),
    case("H19", Must, "7323 2.3", "window scale 15 counts as 14", Quiet, h::h19),
    case("H20", Must, "7323 2.2", "the window in the SYN is not scaled, the one in the ACK is", Quiet, h::h20),
    case("H21", Should, "6528 3", "ISNs of 16 connections look random (no constant step, no repeat)", Quiet, h::h21),
    case("H22", Must, "9293 3.1 MUST-3", "wrong or zero TCP checksum: dropped silently, in LISTEN and ESTABLISHED", Quiet, h::h22),
    case("H23", Must, "1122 3.2.1.2", "wrong IPv4 header checksum: dropped silently", Quiet, h::h23),
    case("H24", Rob, "9293 3.1", "data offset < 5 or past the end, IP lengths that lie, truncated headers: no crash, no answer", Quiet, h::h24),
    case("H25", Must, "9293 3.1 Rsrvd", "reserved bits in received segments are ignored", Quiet, h::h25),
    case("H26", Must, "3168 6.1.1", "ECN-setup SYN: SYN+ACK has ECE without CWR, or neither", Quiet, h::h26),
    case("H27", Must, "9293 3.10.7.2 MUST-57, 1122 3.2.1.3", "SYN from own address (LAND), from broadcast or multicast source, or to a broadcast address: no answer", Quiet, h::h27),
    case("H28", Info, "9293 3.9.2.1", "SYN with IP options (NOPs; record route)", Quiet, h::h28),
    case("H29", Info, "791 3.2, 1858, 5722", "SYN and request in IP fragments (also overlapping and tiny first ones): server lives", Quiet, h::h29),
    case("R01", Must, "9293 3.8.6.3, 5681 4.2", "a lone segment is acknowledged within 500 ms", Quiet, r::r01),
    case("R02", Should, "5681 4.2, 9293 SHLD-18", "at least one ACK for every two full-sized segments", Quiet, r::r02),
    case("R03", Must, "5681 4.2, 2018 3/4", "out of order: immediate duplicate ACK with SACK block; filled hole: ACK for all of it", Quiet, r::r03),
    case("R04", Must, "2018 4", "three holes: the first SACK block is the one that changed last, earlier ones follow", Quiet, r::r04),
    case("R05", Must, "9293 3.10.7.4, 2883 4", "duplicate segment: ACK at once, data not delivered twice (DSACK if SACK is on)", Quiet, r::r05),
    case("R06", Must, "9293 3.10.7.4", "overlapping segments of all shapes (same data): stream intact", Quiet, r::r06),
    case("R07", Rob, "9293 3.10.7.4", "overlapping segments with different data: no crash, the stream stays one consistent length", Quiet, r::r07),
    case("R08", Must, "9293 3.4", "segment that begins before RCV.NXT: the new part is taken", Quiet, r::r08),
    case("R09", Must, "9293 3.10.7.4 first", "segment wholly outside the window: dropped, answered by an ACK with RCV.NXT", Quiet, r::r09),
    case("R10", Should, "9293 3.10.7.4", "segment across the right window edge: in-window part taken or all dropped, ACK sent, never more than offered", Quiet, r::r10),
    case("R11", Must, "9293 3.10.7.4 fifth", "segment without ACK bit: data ignored", Quiet, r::r11),
    case("R12", Must, "9293 3.10.7.4 fifth", "ACK of data not yet sent: an ACK comes back, the payload is dropped, nothing breaks", Quiet, r::r12),
    case("R13", Should, "5961 5", "ACK older than SND.UNA - MAX.SND.WND: payload dropped, ACK sent", Quiet, r::r13),
    case("R14", Must, "5961 4", "SYN on an established connection: challenge ACK, connection lives (in and out of window)", Quiet, r::r14),
    case("R15", Must, "5961 3", "RST in the window but not exact: challenge ACK, connection lives", Quiet, r::r15),
    case("R16", Must, "5961 3", "RST outside the window: silently dropped", Quiet, r::r16),
    case("R17", Must, "9293 3.10.7.4 second, 5961 3", "RST with SEQ=RCV.NXT ends the connection at once; later segments get RST", Quiet, r::r17),
    case("R18", Should, "5961 7", "challenge ACKs are limited: 400 in-window RSTs", Quiet, r::r18),
    case("R19", Must, "9293 3.8.5 MUST-30/31", "urgent data: no stall, bytes arrive in line", Quiet, r::r19),
    case("R20", Must, "7323 5.3 R1", "PAWS: old TSval is dropped and answered by an ACK; RST is not subject to it", Quiet, r::r20),
    case("R21", Must, "7323 4.3", "TSecr echoes the TSval of the last segment that advanced the window, also after reordering", Quiet, r::r21),
    case("R22", Info, "7323 3.2", "data segment without the agreed timestamp (SHOULD be dropped; Linux takes it)", Quiet, r::r22),
    case("R23", Rob, "9293 3.10.7.4", "one byte a segment, sent backwards: request and messages intact", Quiet, r::r23),
    case("R24", Rob, "9293 3.10.7.4", "30 kB in random order with 30 % duplicates and random cuts", Quiet, r::r24),
    case("R25", Rob, "CVE-2018-5390", "thousands of 1-byte segments, every second byte: a second connection stays fast", Loud, r::r25),
    case("S01", Should, "6928 2", "initial window at most 10 segments (plus growth from the answer to the upgrade)", Quiet, s::s01),
    case("S02", Must, "9293 3.8.6", "never more in flight than the window offered (ws off, 3000 bytes)", Quiet, s::s02),
    case("S03", Must, "9293 3.8.6.1 MUST-36/37", "zero window: probes, with growing interval, connection kept; goes on when the window opens", Quiet, s::s03),
    case("S04", Must, "9293 3.8.6 SHLD-15, MUST-34", "window shrunk by the receiver: sender copes", Quiet, s::s04),
    case("S05", Must, "6298 5.4-5.6", "no ACK: retransmission with exponential backoff, same bytes", Quiet, s::s05),
    case("S06", Must, "5681 3.2, 6675 5", "fast retransmit: hole reported by duplicate ACKs with SACK is filled before the RTO", Quiet, s::s06),
    case("S07", Should, "6675 5, 8985", "two holes in one flight: both filled without waiting for an RTO, nothing already SACKed is sent again first", Quiet, s::s07),
    case("S08", Must, "2018 8", "reneging: data that was SACKed and then dropped by the receiver is sent again", Quiet, s::s08),
    case("S09", Rob, "2018 4, 5961", "nonsense SACK blocks (beyond SND.NXT, inverted, below SND.UNA, overlapping): ignored", Quiet, s::s09),
    case("S10", Info, "8985 7", "tail loss: how soon is the last segment sent again", Quiet, s::s10),
    case("S11", Info, "3465 2.2", "ACK splitting: 100 one-byte ACKs must not open the window like 100 segments", Quiet, s::s11),
    case("S12", Info, "9293 3.7.4", "Nagle: second small echo while the first is unacknowledged", Quiet, s::s12),
    case("S13", Must, "1191 6.3, 8201, 5927 7", "ICMP fragmentation needed for a segment in flight: segments get smaller; a forged one (wrong SEQ) is ignored", Quiet, s::s13),
    case("S14", Must, "5927 5.2, 6633, 1122 4.2.3.9", "ICMP unreachable (net, host, protocol, port), source quench, time exceeded: established connection lives", Quiet, s::s14),
    case("S15", Rob, "9293 3.8.6.2.1", "receiver that opens the window 10 bytes at a time: no tiny segments for seconds, but all data in the end", Quiet, s::s15),
    case("S16", Rob, "-", "reader that stops for good (window 0) while messages pour in: how much the server takes", Loud, s::s16),
    case("C01", Must, "9293 3.6, 3.10.7.4", "client FIN: acknowledged; server closes too; after the last ACK the connection is gone", Quiet, c::c01),
    case("C02", Must, "6455 7.1.1, 9293 3.6", "WebSocket close: server answers with a close frame and closes TCP first", Quiet, c::c02),
    case("C03", Must, "6298, 9293 3.6", "FIN not acknowledged: sent again with backoff", Quiet, c::c03),
    case("C04", Must, "9293 3.6 fig. 13", "simultaneous close: FIN in CLOSING is sent again until acknowledged", Quiet, c::c04),
    case("C05", Must, "9293 3.10.7.4 eighth", "TIME-WAIT: repeated FIN is acknowledged again", Quiet, c::c05),
    case("C06", Info, "9293 3.6.1 MAY-2, 6191", "TIME-WAIT: new SYN with larger SEQ and TSval", Quiet, c::c06),
    case("C07", Info, "1337", "TIME-WAIT: RST (assassination)", Quiet, c::c07),
    case("C08", Must, "9293 3.10.7.4", "FIN beyond a hole: waits until the hole is filled", Quiet, c::c08),
    case("C09", Must, "9293 3.10.7.4", "data and FIN in one segment: the data is used", Quiet, c::c09),
    case("C10", Must, "9293 3.10.7.4", "data after our own FIN is ignored, FIN counted once", Quiet, c::c10),
    case("C11", Rob, "9112 9.6", "bad request: the answer (400 or like) arrives before the connection ends", Quiet, c::c11),
    case("C12", Info, "9293 3.6", "FIN-WAIT-2: server closed, client never sends FIN; is the state dropped within 70 s? (slow, only when named)", Slow, c::c12),
    case("A01", Rob, "4987", "SYN flood from many addresses: a new and an old connection work during and after it", Loud, a::a01),
    case("A02", Rob, "5961", "flood of blind RST, SYN, FIN and data with random SEQ against one connection: it lives", Loud, a::a02),
    case("A03", Rob, "-", "header fuzz: random changes with right checksums, on a connection; another one stays intact", Loud, a::a03),
    case("A04", Rob, "-", "IPv4, ARP and Ethernet fuzz: random bytes, runts, VLAN tags, bad ARP", Loud, a::a04),
    case("A05", Rob, "-", "300 connections that never send a request (and 300 with half a request): new ones still served", Loud, a::a05),
    case("A06", Rob, "-", "2000 handshakes, each ended by RST at a random point: server still serves, state is freed", Loud, a::a06),
];
