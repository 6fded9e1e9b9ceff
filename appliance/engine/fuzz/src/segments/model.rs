//! What is known from outside: what each peer has sent, offered and seen, and what the application has
//! placed. Every frame and every receipt is compared with it.

use std::net::SocketAddr;
use std::sync::LazyLock;

use engine::tcp::{CloseReason, Config, Receipt, Source, Tcp};
use engine::units::{ConnId, Micros};
use engine::wire::emit::{Header, emit};
use engine::wire::parse::parse;
use engine::wire::segment::{Endpoint, Flags, Flow, Link, Options, Segment};
use engine::wire::seq::Seq;

/// Smallest segment the engine agrees to (CVE-2019-11479).
const MSS_MIN: u32 = 88;

/// Bytes that every stream is cut from: a run is copied and compared whole, which an instrumented build
/// does much faster than byte by byte. Longer than a period by the longest payload.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let mut bytes: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
    bytes.extend_from_within(..PAYLOAD_MAX);
    bytes
});

/// Divides 2^32, so that the peers' streams go on at the wrap.
const PERIOD: usize = 1 << 14;

/// Longest run that is looked at.
const PAYLOAD_MAX: usize = 2_000;

/// `length` bytes of the peers' streams from sequence number `seq` on.
fn peer_bytes(seq: Seq, length: usize) -> &'static [u8] {
    let at = seq.0 as usize % PERIOD;
    &PATTERN[at..at + length]
}

/// `length` bytes of the application's source `tag` from `position` on.
pub(super) fn source_bytes(source: Source, length: usize) -> &'static [u8] {
    let at = (source.position as usize + source.tag as usize * 5_001) % PERIOD;
    &PATTERN[at..at + length]
}

/// A SYN that the peer has sent.
#[derive(Debug, Clone, Copy)]
struct Offer {
    mss: u32,
    scale: u8,
    window: u32,
}

/// A SYN-ACK that came.
#[derive(Debug, Clone, Copy)]
struct Answer {
    seq: Seq,
    ack: Seq,
    scale: Option<u8>,
    timestamp: Option<u32>,
    edge: Seq,
}

/// A run of bytes that was placed.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: Seq,
    source: Source,
    length: u32,
}

/// A connection that was opened and is not closed.
#[derive(Debug)]
struct Conn {
    id: ConnId,
    /// Up to where the peer's stream was handed up.
    delivered: Seq,
    /// Where it begins: a peer that guesses our number opens before it knows which of its SYNs counts.
    is_begun: bool,
    /// The first byte that goes to the peer.
    first: Seq,
    finished: bool,
    /// After the last byte placed.
    end: Seq,
    runs: Vec<Run>,
    finishing: bool,
    /// After the last number the engine has sent.
    sent_end: Seq,
    /// The highest right edge the peer has offered.
    edge: Seq,
    /// Highest sequence number of a segment that was accepted.
    top: Seq,
    /// Opened with the number that came, and with the timestamps that were agreed on, as it has to be
    /// (RFC 7323 section 3.2). Otherwise a SYN cookie has forgotten MSS and window scale.
    is_proper: bool,
}

/// One client.
#[derive(Debug)]
pub(super) struct Peer {
    local: Endpoint,
    remote: Endpoint,
    /// After the highest number sent.
    pub(super) next: Seq,
    /// The highest acknowledgment number of an accepted segment.
    pub(super) acked: Seq,
    /// The last timestamp sent.
    pub(super) timestamp: u32,
    /// The last timestamp seen.
    pub(super) their_timestamp: u32,
    echo: Option<u32>,
    offers: Vec<Offer>,
    offers_ecn: bool,
    answers: Vec<Answer>,
    /// A RST came since: better begin anew.
    refused: bool,
    /// What was sent as data.
    sent: Vec<(Seq, Seq)>,
    /// What was sent as data and taken.
    sent_end: Seq,
    /// What came.
    got: Vec<(Seq, Seq)>,
    seen: Seq,
    /// Right edge of the engine's window.
    their_edge: Seq,
    conn: Option<Conn>,
}

/// All peers, and what holds of the whole.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) peers: Vec<Peer>,
    half_open_max: usize,
    time_wait_max: u32,
    receive_window: u32,
    ended: Vec<ConnId>,
}

impl Peer {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Peer {
        // Soon wraps.
        let next = Seq(0xffff_f000);
        Peer {
            local: local.into(),
            remote: remote.into(),
            next,
            acked: Seq(0),
            timestamp: 1_000,
            their_timestamp: 0,
            echo: None,
            offers: Vec::new(),
            offers_ecn: false,
            answers: Vec::new(),
            refused: false,
            sent: Vec::new(),
            sent_end: next,
            got: Vec::new(),
            seen: Seq(0),
            their_edge: next,
            conn: None,
        }
    }

    /// As the engine sees it.
    pub(super) fn flow(&self) -> Flow {
        Flow {
            local: self.local,
            remote: self.remote,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.conn.is_some()
    }

    /// Whether a SYN-ACK came that is not known to be void.
    pub(super) fn answered(&self) -> bool {
        !self.answers.is_empty() && !self.refused
    }

    /// RCV.NXT of the engine.
    pub(super) fn expected(&self) -> Seq {
        match (&self.conn, self.answers.last()) {
            (Some(conn), _) => conn.delivered + u32::from(conn.finished),
            (None, Some(answer)) => answer.ack,
            (None, None) => self.next,
        }
    }

    pub(super) fn offered_edge(&self) -> Seq {
        self.their_edge
    }

    pub(super) fn seen_end(&self) -> Seq {
        match (&self.conn, self.answers.last()) {
            (Some(conn), _) => conn.sent_end,
            (None, Some(answer)) => answer.seq + 1,
            (None, None) => self.acked,
        }
    }

    pub(super) fn seen_first(&self) -> Seq {
        self.answers.last().map_or(self.acked, |answer| answer.seq)
    }

    /// What an honest peer acknowledges (or what it has acknowledged without having it).
    pub(super) fn seen_contiguous(&self) -> Seq {
        match (&self.conn, self.answers.last()) {
            (Some(_), _) => self.seen.max(self.acked),
            (None, Some(answer)) => answer.seq + 1,
            (None, None) => self.acked,
        }
    }

    pub(super) fn sent_end(&self) -> Seq {
        self.sent_end
    }

    /// A timestamp that is surely not old.
    pub(super) fn timestamps_echo(&self) -> Option<u32> {
        self.echo
    }

    /// Whether the peer's own stream has reached everything it sent: a later segment is still the
    /// one whose window counts (RFC 9293 section 3.10.7.4, SND.WL1).
    pub(super) fn is_consistent(&self) -> bool {
        self.conn
            .as_ref()
            .is_some_and(|conn| !self.expected().before(conn.top))
    }

    /// The bytes of a segment.
    pub(super) fn frame(
        &self,
        flags: Flags,
        seq: Seq,
        ack: Seq,
        window: u16,
        options: Options,
        length: usize,
    ) -> Vec<u8> {
        let header = Header {
            link: Link {
                peer_mac: [2; 6],
                local_mac: [4; 6],
                vlan: None,
            },
            flow: Flow {
                local: self.remote,
                remote: self.local,
            },
            seq,
            ack,
            flags,
            window,
            options,
        };
        let mut frame = vec![0; 120 + length];
        // SYN takes the first number.
        let first = seq + u32::from(flags.syn);
        let used = emit(&mut frame, &header, length, |out| {
            out.copy_from_slice(peer_bytes(first, length));
            true
        });
        frame.truncate(used);
        frame
    }

    fn forget(&mut self) {
        // Offers and answers stay: a SYN cookie opens a connection a minute later, too.
        self.conn = None;
        self.refused = true;
        self.sent.clear();
        self.got.clear();
        self.echo = None;
    }

    fn largest_mss(&self) -> u32 {
        let ours = if self.local.is_ipv4() { 1_460 } else { 1_440 };
        let theirs = self.offers.iter().map(|offer| offer.mss).max().unwrap_or(0);
        theirs.max(MSS_MIN).min(ours)
    }
}

impl Model {
    pub(super) fn new(peers: Vec<Peer>, config: &Config) -> Model {
        Model {
            peers,
            half_open_max: config.half_open_max as usize,
            time_wait_max: config.time_wait_max,
            receive_window: config.receive_window,
            ended: Vec::new(),
        }
    }

    pub(super) fn id(&self, index: usize) -> Option<ConnId> {
        self.peers[index].conn.as_ref().map(|conn| conn.id)
    }

    /// Bounds and sums.
    pub(super) fn check(&self, tcp: &Tcp) {
        let open = self.peers.iter().filter(|peer| peer.is_open()).count();
        assert!(
            tcp.count() >= open,
            "an open connection is gone and was not told"
        );
        assert!(tcp.count() <= open + self.half_open_max);
        assert!(tcp.time_wait_count() <= self.time_wait_max);
        for peer in &self.peers {
            let Some(conn) = &peer.conn else { continue };
            assert_eq!(tcp.remote(conn.id), Some(peer.remote.into()));
            let left = tcp.outstanding(conn.id);
            let acked = conn.end - left;
            assert!(
                !acked.after(peer.acked),
                "forgets bytes that were not acknowledged"
            );
            let at = conn
                .runs
                .iter()
                .find(|run| (run.first + run.length).after(acked));
            if let Some(run) = at.filter(|_| left > 0) {
                let skip = acked.0.wrapping_sub(run.first.0);
                let position = run.source.position + u64::from(skip);
                assert_eq!(tcp.first_unacked(conn.id, run.source.tag), Some(position));
            }
        }
    }

    /// Before the engine gets a segment.
    pub(super) fn on_sending(&mut self, index: usize, segment: &Segment) {
        let peer = &mut self.peers[index];
        let first = segment.seq + u32::from(segment.flags.syn);
        let length = segment.payload_at.len() as u32;
        if length > 0 {
            peer.sent.push((first, first + length));
        }
        let end = segment.seq + segment.sequence_length();
        if end.after(peer.next) {
            peer.next = end;
        }
        if let Some((value, _)) = segment.options.timestamps {
            peer.timestamp = value;
        }
        peer.offers_ecn |= segment.flags.syn && segment.flags.ece && segment.flags.cwr;
        if segment.flags.syn {
            let default = if peer.local.is_ipv4() { 536 } else { 1_220 };
            peer.offers.push(Offer {
                mss: u32::from(segment.options.mss.unwrap_or(default)),
                scale: segment.options.window_scale.unwrap_or(0),
                window: u32::from(segment.window),
            });
        }
    }

    pub(super) fn on_receipt(&mut self, index: usize, segment: &Segment, receipt: &Receipt) {
        let peer = &mut self.peers[index];
        if receipt.opened {
            open(peer, segment, receipt.id);
            assert!(!self.ended.contains(&receipt.id), "an id is used twice");
        }
        let scale = peer
            .offers
            .iter()
            .map(|offer| offer.scale)
            .max()
            .unwrap_or(0);
        let scaled = peer
            .answers
            .last()
            .is_some_and(|answer| answer.scale.is_some());
        let Some(conn) = &mut peer.conn else {
            panic!("a receipt for a connection that is not open: {receipt:?}");
        };
        assert_eq!(conn.id, receipt.id);
        if receipt.closed == Some(CloseReason::Reset) {
            return;
        }
        let shift = if scaled { scale } else { 0 };
        let edge = segment.ack + (u32::from(segment.window) << shift);
        conn.edge = conn.edge.max(edge);
        conn.top = conn.top.max(segment.seq);
        peer.acked = peer.acked.max(segment.ack);
        assert!(
            !segment.ack.after(conn.sent_end),
            "takes an ACK of what was never sent"
        );
        let payload = &segment.payload_at;
        if !payload.is_empty() {
            peer.sent_end = peer.sent_end.max(segment.seq + payload.len() as u32);
        }
        if !receipt.data.is_empty() {
            let skip = (receipt.data.start - payload.start) as u32;
            assert!(receipt.data.end <= payload.end);
            if !std::mem::replace(&mut conn.is_begun, true) {
                conn.delivered = segment.seq + skip;
            }
            assert_eq!(
                segment.seq + skip,
                conn.delivered,
                "data is not where the stream is"
            );
            assert!(!conn.finished, "data behind the end");
            conn.delivered = conn.delivered + receipt.data.len() as u32;
        }
    }

    pub(super) fn on_reassembled(&mut self, index: usize, bytes: &[u8]) {
        let Some(conn) = &mut self.peers[index].conn else {
            return;
        };
        let right = peer_bytes(conn.delivered, bytes.len()) == bytes;
        assert!(right, "wrong bytes at {:?}", conn.delivered);
        conn.delivered = conn.delivered + bytes.len() as u32;
    }

    /// Everything of a receipt but its data.
    pub(super) fn after_receipt(&mut self, index: usize, receipt: &Receipt) {
        let Some(conn) = &mut self.peers[index].conn else {
            return;
        };
        if receipt.finished {
            assert!(!conn.finished, "finished twice");
            conn.finished = true;
        }
        if let Some(reason) = receipt.closed {
            self.on_closed(receipt.id, reason);
        }
    }

    /// The engine says that a connection is gone.
    pub(super) fn on_closed(&mut self, id: ConnId, reason: CloseReason) {
        let found = self
            .peers
            .iter_mut()
            .find(|peer| peer.conn.as_ref().is_some_and(|conn| conn.id == id));
        let Some(peer) = found else {
            panic!("closed is told of a connection that is not open");
        };
        if reason == CloseReason::Finished {
            let done = peer
                .conn
                .as_ref()
                .is_some_and(|conn| conn.finished && conn.finishing);
            assert!(done, "finished, but not on both sides");
            let acked = peer
                .conn
                .as_ref()
                .is_some_and(|conn| peer.acked == conn.end + 1);
            assert!(acked, "closed with bytes that were not acknowledged");
        }
        peer.forget();
        self.ended.push(id);
    }

    pub(super) fn on_aborted(&mut self, id: ConnId) {
        let mut peers = self.peers.iter_mut();
        let is = |peer: &&mut Peer| peer.conn.as_ref().is_some_and(|conn| conn.id == id);
        if let Some(peer) = peers.find(is) {
            peer.forget();
            self.ended.push(id);
        }
    }

    /// After `Tcp::finish` may have been called.
    pub(super) fn on_finishing(&mut self, index: usize) {
        if let Some(conn) = &mut self.peers[index].conn {
            conn.finishing = true;
        }
    }

    /// Where the next run of `tag` is; none when the connection takes no more.
    pub(super) fn source(&self, index: usize, tag: u32) -> Option<(ConnId, Source)> {
        let conn = self.peers[index].conn.as_ref()?;
        if conn.finishing {
            return None;
        }
        let position = match conn.runs.last() {
            Some(last) if last.source.tag == tag => last.source.position + u64::from(last.length),
            Some(last) => last.source.position + 1_000_000,
            None => 0,
        };
        Some((conn.id, Source { tag, position }))
    }

    pub(super) fn on_placed(&mut self, index: usize, source: Source, length: u32) {
        let Some(conn) = &mut self.peers[index].conn else {
            return;
        };
        conn.runs.push(Run {
            first: conn.end,
            source,
            length,
        });
        conn.end = conn.end + length;
    }

    /// The engine has sent a frame.
    pub(super) fn on_frame(&mut self, _now: Micros, frame: &[u8], lost: bool) {
        let segment = match parse(frame) {
            Ok(segment) => segment,
            Err(reason) => panic!("sends what does not parse: {reason:?}"),
        };
        let to = segment.flow.local;
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.remote == to) else {
            panic!("sends to {to}, which never sent anything");
        };
        if segment.flags.rst {
            assert!(segment.payload_at.is_empty());
            if !peer.is_open() && !lost {
                peer.refused = true;
            }
            return;
        }
        assert!(segment.flags.ack, "neither RST nor ACK");
        // RFC 3168 section 6.1.4. A cookie takes the peer's word for what was agreed on.
        let ecn = peer.offers_ecn || peer.conn.as_ref().is_none_or(|conn| !conn.is_proper);
        let flags = segment.flags;
        assert!(!flags.ce);
        assert!(
            !flags.ect || !segment.payload_at.is_empty(),
            "an ACK with ECT"
        );
        assert!(
            ecn || !(flags.ect || flags.ece || flags.cwr),
            "ECN with nobody"
        );
        if segment.flags.syn {
            return on_answer(peer, &segment, lost);
        }
        if let Some((value, echo)) = segment.options.timestamps
            && !lost
        {
            (peer.their_timestamp, peer.echo) = (value, Some(echo));
        }
        if peer.conn.is_none() {
            // TIME-WAIT.
            assert!(
                segment.payload_at.is_empty() && !segment.flags.fin,
                "data of nobody"
            );
            return;
        }
        if is_from_handshake(peer, &segment) {
            return;
        }
        check_sent(peer, &segment, &frame[segment.payload_at.clone()]);
        check_told(peer, &segment, self.receive_window);
        if !lost {
            see(peer, &segment);
        }
    }
}

fn open(peer: &mut Peer, segment: &Segment, id: ConnId) {
    assert!(peer.conn.is_none(), "opened twice");
    // A cookie takes its neighbours too: they name another MSS.
    let cookies = 7;
    let found = (0..=cookies).find_map(|distance| {
        let mut answers = peer.answers.iter().rev();
        let off = |answer: &&Answer| (answer.seq + 1).since(segment.ack).unsigned_abs() == distance;
        answers.find(off).map(|answer| (*answer, distance))
    });
    let Some((answer, distance)) = found else {
        panic!("opened by an ACK of no SYN-ACK");
    };
    let first = segment.ack;
    let window = peer
        .offers
        .iter()
        .map(|offer| offer.window)
        .max()
        .unwrap_or(0);
    peer.answers
        .retain(|old| (old.seq, old.ack) != (answer.seq, answer.ack));
    peer.answers.push(answer);
    peer.refused = false;
    peer.seen = first;
    peer.acked = first;
    peer.sent_end = answer.ack;
    peer.their_edge = answer.edge;
    peer.conn = Some(Conn {
        id,
        first,
        delivered: answer.ack,
        is_begun: answer.ack == segment.seq,
        finished: false,
        end: first,
        runs: Vec::new(),
        finishing: false,
        sent_end: first,
        edge: first + window,
        top: answer.ack,
        is_proper: distance == 0
            && answer.timestamp == segment.options.timestamps.map(|(_, echo)| echo),
    });
}

/// Whether this is a challenge ACK of SYN-RECEIVED, which has waited for a frame while the connection
/// was opened and went on.
fn is_from_handshake(peer: &Peer, segment: &Segment) -> bool {
    let mut answers = peer.answers.iter();
    let begun = answers.any(|answer| (answer.seq + 1, answer.ack) == (segment.seq, segment.ack));
    begun && segment.payload_at.is_empty() && !segment.flags.fin
}

fn on_answer(peer: &mut Peer, segment: &Segment, lost: bool) {
    assert!(segment.payload_at.is_empty() && !segment.flags.fin);
    let answer = Answer {
        seq: segment.seq,
        ack: segment.ack,
        scale: segment.options.window_scale,
        timestamp: segment.options.timestamps.map(|(value, _)| value),
        edge: segment.ack + u32::from(segment.window),
    };
    // The engine has sent it, whether or not it arrived; a peer that guesses is none of these. The same
    // numbers may come again with other options, after another SYN.
    let is_same = |old: &Answer| old.seq == answer.seq && old.ack == answer.ack;
    peer.answers.retain(|old| !is_same(old));
    if peer.is_open() {
        // It has waited for a frame, and another one was faster; or the peer guessed. It says where the
        // stream begins: another SYN at the same moment was answered with the same number.
        if let Some(conn) = &mut peer.conn
            && conn.delivered.before(answer.ack)
            && answer.seq + 1 == conn.first
        {
            conn.delivered = answer.ack;
        }
        peer.answers.insert(0, answer);
        return;
    }
    peer.answers.push(answer);
    if !lost {
        peer.refused = false;
        peer.echo = segment.options.timestamps.map(|(_, echo)| echo);
        peer.their_timestamp = answer.timestamp.unwrap_or(0);
        peer.acked = answer.seq + 1;
    }
}

/// Sequence numbers and payload of a segment that the engine sent.
fn check_sent(peer: &mut Peer, segment: &Segment, payload: &[u8]) {
    let most = peer.largest_mss();
    let Some(conn) = &mut peer.conn else { return };
    let length = payload.len() as u32;
    let stamps = if segment.options.timestamps.is_some() {
        12
    } else {
        0
    };
    assert!(
        !conn.is_proper || length + stamps <= most,
        "{length} bytes of payload with an MSS of {most}"
    );
    let end = segment.seq + length;
    let bare = length == 0 && !segment.flags.fin;
    assert!(
        !end.after(if bare { conn.sent_end } else { conn.end }),
        "sends what was not placed"
    );
    if segment.flags.fin {
        assert!(
            conn.finishing && end == conn.end,
            "FIN where it does not belong"
        );
    }
    // A window probe is one byte beyond.
    let probe = u32::from(length == 1);
    assert!(
        !end.after(conn.edge + probe),
        "sends {} beyond the offered window",
        end.since(conn.edge)
    );
    check_bytes(conn, segment.seq, payload);
    conn.sent_end = conn.sent_end.max(end + u32::from(segment.flags.fin));
}

/// Whether `payload` is what was placed at `seq`.
fn check_bytes(conn: &Conn, seq: Seq, payload: &[u8]) {
    let (mut seq, mut rest) = (seq, payload);
    while !rest.is_empty() {
        // Mostly the last ones.
        let run = conn.runs.iter().rev().find(|run| !run.first.after(seq));
        let run = run.expect("a byte that was never placed");
        let skip = seq.0.wrapping_sub(run.first.0);
        assert!(skip < run.length, "a byte that was never placed");
        let (now, later) = rest.split_at(rest.len().min((run.length - skip) as usize));
        let source = Source {
            position: run.source.position + u64::from(skip),
            ..run.source
        };
        let right = source_bytes(source, now.len()) == now;
        assert!(right, "wrong bytes at {seq:?}");
        seq = seq + now.len() as u32;
        rest = later;
    }
}

/// What a segment that the engine sent says about the peer's stream.
fn check_told(peer: &mut Peer, segment: &Segment, receive_window: u32) {
    let Some(conn) = &mut peer.conn else { return };
    if !std::mem::replace(&mut conn.is_begun, true) {
        conn.delivered = segment.ack - u32::from(conn.finished);
        peer.their_edge = segment.ack;
    }
    let Some(conn) = &peer.conn else { return };
    assert_eq!(
        segment.ack,
        peer.expected(),
        "acknowledges something else than what was handed up"
    );
    let scale = peer
        .answers
        .last()
        .and_then(|answer| answer.scale)
        .unwrap_or(0);
    let window = u32::from(segment.window) << scale;
    let edge = segment.ack + window;
    let known = conn.is_proper;
    assert!(
        !known || !edge.before(peer.their_edge),
        "takes back {} of its window",
        peer.their_edge.since(edge)
    );
    assert!(
        !known || window < receive_window + (1 << scale),
        "offers {window}"
    );
    peer.their_edge = edge;
    for (index, block) in (0..).zip(segment.options.sacks.iter().flatten()) {
        let (from, to) = *block;
        assert!(from.before(to), "an empty SACK block");
        // The first one may report a duplicate (RFC 2883).
        assert!(
            index == 0 || from.after(conn.delivered),
            "a SACK block at or below the ACK"
        );
        assert!(
            covered(&peer.sent, from, to),
            "a SACK block of what was never sent"
        );
    }
}

/// The peer gets a segment.
fn see(peer: &mut Peer, segment: &Segment) {
    // What was acknowledged without having come will not come again.
    peer.seen = peer.seen.max(peer.acked);
    let length = segment.sequence_length();
    if length > 0 {
        peer.got.push((segment.seq, segment.seq + length));
    }
    while let Some((_, to)) = peer
        .got
        .iter()
        .find(|(from, to)| !from.after(peer.seen) && to.after(peer.seen))
    {
        peer.seen = *to;
    }
    let seen = peer.seen;
    peer.got.retain(|(_, to)| to.after(seen));
}

/// Whether `parts` together hold all of `from..to`.
fn covered(parts: &[(Seq, Seq)], from: Seq, to: Seq) -> bool {
    let mut from = from;
    while from.before(to) {
        let part = parts
            .iter()
            .find(|(first, end)| !first.after(from) && end.after(from));
        let Some((_, end)) = part else { return false };
        from = *end;
    }
    true
}
