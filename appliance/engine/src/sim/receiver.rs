//! A client of our own, to show a sender things that smoltcp's never does: any number of holes, three
//! SACK blocks with the latest first, DSACK, PAWS, delayed ACKs on a timer, sequence numbers and
//! timestamps about to wrap, reneging.
//!
//! It shares nothing with `tcp/` but the wire formats, and is written to be obviously right rather
//! than fast: received bytes are checked against the stream as they come and kept as intervals of
//! positions. Its sender is the simplest there is (go back to the first unacknowledged byte after a
//! second, doubled each time). It never answers with RST, and answers a late FIN for ever.
//!
//! RFC 9293, 2018 (SACK), 2883 (DSACK), 7323 (timestamps, window scale, PAWS).

use crate::sim::content::Content;
use crate::sim::random::Random;
use crate::units::Micros;
use crate::wire::emit::{Header, emit};
use crate::wire::segment::{Flags, Flow, Link, Options, SACKS_MAX, Segment};
use crate::wire::seq::Seq;

/// Longest time an ACK is held back.
const ACK_DELAY: Micros = Micros::from_millis(40);

/// Retransmission timeout without estimate: RFC 6298 section 2.1, and its ceiling.
const RTO: Micros = Micros::from_secs(1);
const RTO_MAX: Micros = Micros::from_secs(60);

/// What the client offers in its SYN and how it behaves.
#[derive(Debug, Clone)]
pub struct Habits {
    /// MSS option.
    pub mss: u16,
    /// Bytes it buffers.
    pub buffer: u32,
    /// Window scale option.
    pub scale: Option<u8>,
    /// SACK permitted.
    pub sack: bool,
    /// Tells duplicates in the first block (RFC 2883).
    pub dsack: bool,
    /// First timestamp value; none without timestamps.
    pub timestamp: Option<u32>,
    /// Initial sequence number.
    pub iss: u32,
    /// Segments it acknowledges together at the latest.
    pub ack_every: u8,
    /// Offers ECN (RFC 3168).
    pub ecn: bool,
    /// Chance, each ACK, that it forgets what it holds out of order (RFC 2018 section 8).
    pub renege_ppm: u64,
}

/// When the next ACK is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AckDue {
    None,
    At(Micros),
    Now,
}

/// The client.
#[derive(Debug)]
pub(super) struct Receiver {
    habits: Habits,
    flow: Flow,
    link: Link,
    random: Random,
    down: Content,
    up: Content,

    /// Their initial sequence number, once their SYN came.
    irs: Option<Seq>,
    /// Stream position of the next byte in order.
    next: u64,
    /// What came early: disjoint, sorted, not touching.
    early: Vec<(u64, u64)>,
    /// Where the blocks that changed last begin, latest first.
    recent: Vec<u64>,
    /// What came twice and was not yet told.
    twice: Option<(u64, u64)>,
    /// Position the application has read up to.
    read: u64,
    /// Right edge of the window that was offered.
    edge: u64,
    fin_at: Option<u64>,
    ack_due: AckDue,
    unacknowledged: u8,
    ts_recent: u32,
    ts: bool,
    sack: bool,
    scales: bool,
    ecn: bool,
    /// A mark has come and its sender has not said that it knows.
    marked: bool,
    /// Next position at the last ACK (Last.ACK.sent).
    told: u64,

    una: u64,
    nxt: u64,
    /// The highest `nxt` there was.
    sent: u64,
    written: u64,
    closing: bool,
    /// Position of the right edge they offered, and the largest window.
    their_edge: u64,
    their_window_max: u64,
    their_scale: u8,
    /// Sequence and acknowledgment number of the segment that offered it.
    their_update: (u64, u64),
    their_mss: u64,
    rto_at: Micros,
    timeouts: u32,
    duplicates: u32,
    /// What is wrong, once something is.
    complaint: Option<String>,
    reset: bool,
    start: Micros,
}

impl Receiver {
    /// A client at `flow.local` that will connect to `flow.remote`.
    pub(super) fn new(
        habits: Habits,
        flow: Flow,
        link: Link,
        client: u32,
        random: Random,
    ) -> Receiver {
        Receiver {
            flow,
            link,
            random,
            down: Content::down(client),
            up: Content::up(client),
            irs: None,
            next: 0,
            early: Vec::new(),
            recent: Vec::new(),
            twice: None,
            read: 0,
            edge: u64::from(habits.buffer.min(0xffff)),
            fin_at: None,
            ack_due: AckDue::None,
            unacknowledged: 0,
            ts_recent: 0,
            ts: habits.timestamp.is_some(),
            sack: habits.sack,
            scales: habits.scale.is_some(),
            ecn: habits.ecn,
            marked: false,
            told: 0,
            una: 0,
            nxt: 0,
            sent: 0,
            written: 0,
            closing: false,
            their_edge: 0,
            their_window_max: 0,
            their_scale: 0,
            their_update: (0, 0),
            their_mss: 536,
            rto_at: Micros(0),
            timeouts: 0,
            duplicates: 0,
            complaint: None,
            reset: false,
            start: Micros(0),
            habits,
        }
    }

    /// The first SYN leaves with the next `turn`.
    pub(super) fn connect(&mut self, now: Micros) {
        self.start = now;
        self.rto_at = now;
    }

    /// Takes a segment.
    pub(super) fn receive(&mut self, now: Micros, frame: &[u8], segment: &Segment) {
        if segment.flags.rst {
            self.reset = true;
            return;
        }
        if segment.flags.syn {
            return self.on_syn(segment);
        }
        let Some(irs) = self.irs else { return };
        let position = from(self.next, segment.seq, irs + 1);
        if self.is_old(segment) {
            self.ack_due = AckDue::Now;
            return;
        }
        let ends = position + length(segment);
        if ends < signed(self.next) || position > signed(self.edge) {
            // Nothing in it that could be new, and nothing in it to be believed.
            self.take_payload(now, frame, segment, position);
            self.ack_due = AckDue::Now;
            return;
        }
        if let Some((value, _)) = segment.options.timestamps
            && position <= signed(self.told)
        {
            self.ts_recent = value;
        }
        self.on_ack(now, segment, position);
        self.take_payload(now, frame, segment, position);
        if segment.flags.fin {
            self.fin_at = Some(unsigned(position + payload_length(segment)));
            self.ack_due = AckDue::Now;
        }
    }

    fn on_syn(&mut self, segment: &Segment) {
        self.ack_due = AckDue::Now;
        if self.irs.is_some() || segment.ack != Seq(self.habits.iss) + 1 {
            return;
        }
        let options = &segment.options;
        self.irs = Some(segment.seq);
        self.ecn &= segment.flags.ece && !segment.flags.cwr;
        self.ts &= options.timestamps.is_some();
        self.sack &= options.sack_permitted;
        self.scales &= options.window_scale.is_some();
        self.ts_recent = options.timestamps.map_or(0, |(value, _)| value);
        self.their_scale = options.window_scale.unwrap_or(0);
        self.their_mss = u64::from(options.mss.unwrap_or(536)) - if self.ts { 12 } else { 0 };
        self.their_edge = u64::from(segment.window);
        self.their_window_max = self.their_edge;
        self.timeouts = 0;
        self.rto_at = Micros::NEVER;
    }

    /// PAWS (RFC 7323 section 5.3).
    fn is_old(&self, segment: &Segment) -> bool {
        let value = segment.options.timestamps.map(|(value, _)| value);
        self.ts && value.is_some_and(|value| Seq(value).before(Seq(self.ts_recent)))
    }

    fn on_ack(&mut self, now: Micros, segment: &Segment, position: i64) {
        let ack = from(self.una, segment.ack, Seq(self.habits.iss) + 1);
        let sent = self.sent;
        if ack > signed(sent) {
            self.complain(|| {
                format!("it acknowledges up to {ack}, and {sent} is all that was sent")
            });
            return;
        }
        let window = u64::from(segment.window) << self.their_scale;
        let old = self.una;
        if ack > signed(self.una) {
            self.una = unsigned(ack);
            self.nxt = self.nxt.max(self.una);
            (self.timeouts, self.duplicates) = (0, 0);
            self.rto_at = Micros::NEVER;
        } else if ack == signed(old) && self.nxt > old && segment.payload_at.is_empty() {
            self.duplicates += 1;
            if self.duplicates == 3 {
                // A fast retransmission, once for each loss (RFC 5681 section 3.2).
                self.nxt = self.una;
                self.rto_at = Micros::NEVER;
            }
        }
        let update = (unsigned(position), unsigned(ack));
        if ack >= signed(old) && update >= self.their_update {
            self.their_edge = unsigned(ack) + window;
            self.their_window_max = self.their_window_max.max(window);
            self.their_update = update;
        }
        if self.rto_at == Micros::NEVER && self.nxt > self.una {
            self.rto_at = now + RTO;
        }
    }

    fn take_payload(&mut self, now: Micros, frame: &[u8], segment: &Segment, position: i64) {
        let payload = frame.get(segment.payload_at.clone()).unwrap_or_default();
        if payload.is_empty() {
            return;
        }
        // RFC 3168 section 6.1.3: told until the sender has reduced its window.
        self.marked &= !segment.flags.cwr;
        self.marked |= segment.flags.ce;
        let end = position + payload_length(segment);
        // One byte beyond the edge is a probe.
        if end > signed(self.edge) + 1 {
            let edge = self.edge;
            self.complain(|| format!("bytes {position} to {end} beyond the window's edge {edge}"));
        }
        if position < 0 {
            return;
        }
        if let Some(at) = self.down.difference(unsigned(position), payload) {
            self.complain(|| format!("byte {at} of the stream is wrong"));
        }
        let first = unsigned(position);
        let end = unsigned(end).min(self.edge);
        if end <= self.next
            || self
                .early
                .iter()
                .any(|&(from, to)| from <= first && end <= to)
        {
            if end > first {
                self.twice = Some((first, end));
            }
            self.ack_due = AckDue::Now;
            return;
        }
        let had_holes = !self.early.is_empty();
        self.insert(first.max(self.next), end);
        self.unacknowledged += 1;
        if had_holes || !self.early.is_empty() || self.unacknowledged >= self.habits.ack_every {
            self.ack_due = AckDue::Now;
        } else if self.ack_due == AckDue::None {
            self.ack_due = AckDue::At(now + ACK_DELAY);
        }
    }

    fn insert(&mut self, first: u64, end: u64) {
        let (mut first, mut end) = (first, end);
        self.early.retain(|&(from, to)| {
            let apart = to < first || end < from;
            if !apart {
                (first, end) = (first.min(from), end.max(to));
            }
            apart
        });
        if first <= self.next {
            self.next = self.next.max(end);
        } else {
            self.early.push((first, end));
            self.early.sort_unstable();
            self.recent.insert(0, first);
        }
        let early = &self.early;
        let mut seen = Vec::new();
        // Each block once, by where the latest part of it lies.
        self.recent.retain(|&at| {
            let block = early.iter().find(|&&(from, to)| from <= at && at < to);
            let is_new = block.is_some_and(|block| !seen.contains(block));
            seen.extend(block);
            is_new
        });
    }

    /// Sends what is due.
    pub(super) fn turn(&mut self, now: Micros, out: &mut Vec<Vec<u8>>) {
        if self.irs.is_none() {
            if self.rto_at <= now && !self.reset {
                out.push(self.syn(now));
                self.back_off(now);
            }
            return;
        }
        if let AckDue::At(at) = self.ack_due
            && at <= now
        {
            self.ack_due = AckDue::Now;
        }
        let timed_out = self.rto_at <= now && !self.reset;
        if timed_out {
            self.nxt = self.una;
            self.rto_at = Micros::NEVER;
            self.timeouts += 1;
        }
        let mut probes = timed_out;
        while let Some((first, end, fin)) = self.draft(probes) {
            probes = false;
            out.push(self.segment(now, first, end, fin));
            self.nxt = self.nxt.max(end + u64::from(fin));
            self.sent = self.sent.max(self.nxt);
            if self.rto_at == Micros::NEVER {
                self.rto_at = now + Micros(RTO.0 << self.timeouts.min(6)).min(RTO_MAX);
            }
        }
        if self.ack_due == AckDue::Now {
            out.push(self.segment(now, self.nxt, self.nxt, false));
        }
        // A closed window may be opened by an update that got lost.
        if self.rto_at == Micros::NEVER && self.nxt < self.written {
            self.rto_at = now + RTO;
        }
    }

    /// Positions of the next segment to send.
    fn draft(&self, probes: bool) -> Option<(u64, u64, bool)> {
        if self.reset || self.nxt > self.written {
            return None;
        }
        let edge = self.their_edge.max(self.una);
        let left = self.written - self.nxt;
        let length = left.min(self.their_mss).min(edge.saturating_sub(self.nxt));
        let fin = self.closing && length == left;
        let worth = length == left
            || length == self.their_mss
            || length > 0 && length >= self.their_window_max / 2;
        match (length, worth) {
            (0, _) if fin => Some((self.nxt, self.nxt, true)),
            (0, _) if left > 0 && probes => Some((self.nxt, self.nxt + 1, false)),
            (1.., true) => Some((self.nxt, self.nxt + length, fin)),
            (1.., false) if probes => Some((self.nxt, self.nxt + length, fin)),
            _ => None,
        }
    }

    fn back_off(&mut self, now: Micros) {
        self.rto_at = now + Micros(RTO.0 << self.timeouts.min(6)).min(RTO_MAX);
        self.timeouts += 1;
    }

    fn timestamp(&self, now: Micros) -> u32 {
        let elapsed = u32::try_from(now.since(self.start).0 / 1_000).unwrap_or(0);
        self.habits.timestamp.unwrap_or(0).wrapping_add(elapsed)
    }

    fn syn(&mut self, now: Micros) -> Vec<u8> {
        let header = Header {
            link: self.link,
            flow: self.flow,
            seq: Seq(self.habits.iss),
            ack: Seq(0),
            flags: Flags {
                syn: true,
                ece: self.habits.ecn,
                cwr: self.habits.ecn,
                ..Flags::default()
            },
            window: u16::try_from(self.habits.buffer).unwrap_or(u16::MAX),
            options: Options {
                mss: Some(self.habits.mss),
                window_scale: self.habits.scale,
                sack_permitted: self.habits.sack,
                timestamps: self.habits.timestamp.map(|_| (self.timestamp(now), 0)),
                ..Options::default()
            },
        };
        frame(&header, 0, |_| ())
    }

    fn segment(&mut self, now: Micros, first: u64, end: u64, fin: bool) -> Vec<u8> {
        if self.random.hit(self.habits.renege_ppm) {
            self.early.clear();
            self.recent.clear();
        }
        let mut options = Options::default();
        if self.ts {
            options.timestamps = Some((self.timestamp(now), self.ts_recent));
        }
        let is_ack = first == end && !fin;
        if self.sack && is_ack {
            options.sacks = self.blocks();
        }
        self.ack_due = AckDue::None;
        self.unacknowledged = 0;
        self.told = self.next;
        let has_fin = self.has_finished();
        let header = Header {
            link: self.link,
            flow: self.flow,
            seq: Seq(self.habits.iss) + 1 + low(first),
            ack: self.seq(self.next) + u32::from(has_fin),
            flags: Flags {
                ack: true,
                fin,
                ece: self.ecn && self.marked,
                psh: end > first && end == self.written,
                ..Flags::default()
            },
            window: self.offer(),
            options,
        };
        let up = self.up;
        frame(&header, end - first, |out| up.fill(first, out))
    }

    fn seq(&self, position: u64) -> Seq {
        self.irs.unwrap_or_default() + 1 + low(position)
    }

    /// The duplicate first, then the blocks that changed last.
    fn blocks(&mut self) -> [Option<(Seq, Seq)>; SACKS_MAX] {
        let mut sacks = [None; SACKS_MAX];
        let twice = self.twice.take().filter(|_| self.habits.dsack);
        let holder = |at: &u64| {
            self.early
                .iter()
                .find(|&&(from, to)| from <= *at && at < &to)
                .copied()
        };
        let recent = self.recent.iter().filter_map(holder);
        for (place, (from, to)) in sacks.iter_mut().zip(twice.into_iter().chain(recent)) {
            *place = Some((self.seq(from), self.seq(to)));
        }
        sacks
    }

    /// The window field; the right edge never goes back (RFC 9293 section 3.8.6).
    fn offer(&mut self) -> u16 {
        let could = self.read + u64::from(self.habits.buffer);
        let step = u64::from(self.habits.mss).min(u64::from(self.habits.buffer) / 2);
        if could >= self.edge + step || self.edge >= self.next + step {
            self.edge = self.edge.max(could);
        }
        let scale = if self.scales {
            self.habits.scale.unwrap_or(0)
        } else {
            0
        };
        let window = self.edge.saturating_sub(self.next) >> scale;
        u16::try_from(window).unwrap_or(u16::MAX)
    }

    /// When `turn` has to be called at the latest.
    pub(super) fn poll_at(&self) -> Micros {
        let ack_at = match self.ack_due {
            AckDue::None => Micros::NEVER,
            AckDue::At(at) => at,
            AckDue::Now => Micros(0),
        };
        if self.reset {
            Micros::NEVER
        } else {
            self.rto_at.min(ack_at)
        }
    }

    /// Stream position up to which everything has come.
    pub(super) fn arrived(&self) -> u64 {
        self.next
    }

    /// Reads up to `bytes`; gives how many.
    pub(super) fn read(&mut self, bytes: u64) -> u64 {
        let count = bytes.min(self.next - self.read);
        self.read += count;
        // RFC 9293 section 3.8.6.2.2: an update when the window has grown by two segments or half.
        let could = self.read + u64::from(self.habits.buffer);
        let worth = (2 * u64::from(self.habits.mss)).min(u64::from(self.habits.buffer) / 2);
        if self.irs.is_some() && could >= self.edge + worth {
            self.ack_due = AckDue::Now;
        }
        count
    }

    /// Appends `bytes` to the stream up.
    pub(super) fn write(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Sends FIN behind what was written.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Room in the receive buffer.
    pub(super) fn room(&self) -> u64 {
        (self.read + u64::from(self.habits.buffer)).saturating_sub(self.next)
    }

    /// Whether the handshake is done.
    pub(super) fn is_open(&self) -> bool {
        self.irs.is_some()
    }

    /// Whether all that was written, and FIN, was acknowledged.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.una == self.written + u64::from(self.closing)
    }

    /// Whether everything up to their FIN has come.
    pub(super) fn has_finished(&self) -> bool {
        self.fin_at == Some(self.next)
    }

    /// Whether they reset the connection.
    pub(super) fn was_reset(&self) -> bool {
        self.reset
    }

    /// What they did wrong, if anything.
    pub(super) fn complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    fn complain(&mut self, what: impl FnOnce() -> String) {
        self.complaint.get_or_insert_with(what);
    }
}

/// The position that `seq` means, `first` being position 0 and `near` not far from it.
fn from(near: u64, seq: Seq, first: Seq) -> i64 {
    signed(near) + i64::from(seq.since(first + low(near)))
}

fn payload_length(segment: &Segment) -> i64 {
    i64::try_from(segment.payload_at.len()).unwrap_or(0)
}

fn length(segment: &Segment) -> i64 {
    i64::from(segment.sequence_length())
}

/// Positions are far below 2^63.
fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn unsigned(position: i64) -> u64 {
    u64::try_from(position).unwrap_or(0)
}

fn low(position: u64) -> u32 {
    u32::try_from(position & 0xffff_ffff).unwrap_or(0)
}

fn frame(header: &Header, payload_bytes: u64, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = vec![0; crate::port::FRAME_BYTES_MAX];
    let bytes = usize::try_from(payload_bytes).unwrap_or(0);
    let length = emit(&mut frame, header, bytes, |out| {
        fill(out);
        true
    });
    frame.truncate(length);
    frame
}
