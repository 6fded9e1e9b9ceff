//! TCP, the server's side, without input or output of its own: segments and the time go in, segments
//! come out when [`Tcp::send`] is handed a port.
//!
//! Below stands `wire`, above the sessions. A received payload is not copied: the [`Receipt`] says
//! where in the frame the new in-order bytes are. Bytes to send are not held: [`Tcp::place`] notes
//! where they can be read ([`Source`]), as often as needed, until they are acknowledged.
//!
//! Owned by one data core. Demultiplexing is one hash lookup, timers are a wheel, records a slab;
//! nothing is allocated after `new`.
//!
//! Invariants: a connection that was reported `opened` is reported `closed` exactly once, unless it
//! was aborted; its slot is not used again before. Every queue is bounded: half-open connections
//! (the next ones get cookies), TIME-WAIT (the oldest is forgotten), pieces out of order (dropped,
//! the peer sends them again), replies to strangers (dropped). Each of these moves a counter.
//!
//! RFC 9293 (TCP), 2018, 2883 and 6675 (SACK), 8985 (RACK-TLP), 6937 (recovery), 3522, 3708 and 4015
//! (undo), 5681, 6582, 6928, 3042, 7661 and 9438 (congestion), 3168 (ECN), 6298 (RTO), 7323 (timestamps,
//! window scale, PAWS), 4987 (SYN cookies), 5961 (blind attacks), 6528 (ISN), 1191, 8201,
//! 4821 and 5927 (path MTU). docs/tcp.md says what of each.

mod congestion;
mod conn;
mod cookies;
mod extents;
mod flight;
mod half_open;
mod handshake;
mod isn;
mod moment;
mod reassembly;
mod receive;
mod acked;
mod path_mtu;
mod probe;
mod rack;
mod recovery;
mod repair;
mod replies;
mod rtt;
mod send;
mod timers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;

use crate::memory::index::Index;
use crate::memory::queue::SlotQueue;
use crate::memory::slab::Slab;
use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::tcp::conn::{AckDue, Conn, State};
use crate::tcp::extents::Extents;
use crate::tcp::flight::Flights;
use crate::tcp::half_open::HalfOpens;
use crate::tcp::reassembly::Pieces;
use crate::tcp::repair::Repair;
use crate::tcp::replies::Replies;
use crate::timer::Wheel;
use crate::units::{ConnId, Micros};
use crate::wire::segment::{Endpoint, Flow, Segment};

/// Sizes and addresses.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses and ports we answer for.
    pub listen: Vec<SocketAddr>,
    /// Connection records, TIME-WAIT included.
    pub connections_max: u32,
    /// Handshakes under way, which have records of their own; the next ones are answered with SYN
    /// cookies.
    pub half_open_max: u32,
    /// Records in TIME-WAIT; one more makes the oldest go.
    pub time_wait_max: u32,
    /// Bytes a player may send before we have processed them.
    pub receive_window: u32,
    /// Buffers of 1460 bytes for what comes out of order.
    pub pieces: u32,
    /// Random numbers nobody outside knows; the same on all cores of an appliance.
    pub secret: [u64; 2],
    /// Most bytes of a segment either way, whatever the path can carry: announced as our MSS and kept
    /// when sending. At least 88 holds.
    pub mss_max: u16,
    /// How long a peer may keep its window closed while there is something to send.
    pub persist_timeout: Micros,
    /// What decides how much may be in flight.
    pub congestion: Algorithm,
    /// Losses are found by time and probed for at the tail (RFC 8985); without it by duplicate
    /// ACKs and the retransmission timer alone, which only comparisons want.
    pub rack_tlp: bool,
    /// On paths that have lost something lately, new data of a thin stream takes along what is
    /// unacknowledged before it (see `send`).
    pub bundling: bool,
    /// Nodes that the connections share, beside the one each has: for those that have several segments
    /// in flight or bytes of several sources. None: one for every four connections, and
    /// at least 1,024.
    pub shared_nodes: Option<u32>,
}

impl Default for Config {
    /// A small core that listens nowhere.
    fn default() -> Config {
        Config {
            listen: Vec::new(),
            connections_max: 64,
            half_open_max: 64,
            time_wait_max: 16,
            receive_window: 65_535,
            pieces: 256,
            secret: [1, 2],
            mss_max: 1460,
            persist_timeout: Micros::from_secs(60),
            congestion: Algorithm::Cubic,
            rack_tlp: true,
            bundling: true,
            shared_nodes: None,
        }
    }
}

fn shared_nodes(config: &Config) -> u32 {
    let share = config.connections_max / SHARED_NODES_PART;
    config.shared_nodes.unwrap_or(share.max(SHARED_NODES_MIN))
}

/// Of all connections at once, how many have a second segment in flight or a second source? A quarter
/// fill a core for milliseconds; when it is more, losses are repaired in larger steps.
const SHARED_NODES_PART: u32 = 4;

/// A few connections may each fill a large window.
const SHARED_NODES_MIN: u32 = 1024;

/// Congestion control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681 and 6582.
    NewReno,
}

/// Where bytes to send are read from. What tag and position mean is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Which stream.
    pub tag: u32,
    /// Where in it.
    pub position: u64,
}

/// Why a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides finished.
    Finished,
    /// The peer sent RST.
    Reset,
    /// The peer stopped acknowledging or never finished.
    TimedOut,
}

/// What a segment changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The connection.
    pub id: ConnId,
    /// The handshake was completed by this segment.
    pub opened: bool,
    /// It acknowledged something new, or opened the window.
    pub acked: bool,
    /// Where in the frame new bytes of the stream are; empty when there are none.
    pub data: Range<usize>,
    /// Bytes that had come early follow them: see [`Tcp::take_reassembled`].
    pub reassembled: bool,
    /// The peer will send no more.
    pub finished: bool,
    /// The connection is gone.
    pub closed: Option<CloseReason>,
}

/// What to do with a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to a connection.
    Flow(Receipt),
    /// It belongs to no connection of this core: try another core, or [`Tcp::refuse`] it.
    Unknown,
    /// Nothing more.
    Done,
}

/// How [`Tcp::send`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Everything that may be sent now was sent.
    Done,
    /// The port is full; the connection is on the ready list.
    NoRoom,
    /// A source no longer has bytes that must be sent: abort the connection.
    Lost,
}

/// What a core's connections use of what [`Tcp::new`] took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connection records, TIME-WAIT included.
    pub records: usize,
    /// Entries of the demultiplexing table.
    pub flows: usize,
    /// Half-open connections.
    pub half_open: usize,
    /// Records in TIME-WAIT.
    pub time_wait: u32,
    /// Buffers of what came out of order.
    pub pieces: usize,
    /// Shared nodes of segments in flight and of bytes to send, and what is remembered of losses.
    pub nodes: usize,
    /// Records with a deadline in the wheel.
    pub timers: usize,
    /// Something waits to be sent.
    pub has_ready: bool,
}

/// All connections of one core.
#[derive(Debug)]
pub struct Tcp {
    config: Config,
    /// The addresses of `config.listen`.
    listen: Vec<Endpoint>,
    conns: Slab<Conn>,
    /// Finds a record by its flow, with a hash that outsiders cannot predict.
    by_flow: Index,
    hasher: ahash::RandomState,
    pieces: Pieces,
    flights: Flights,
    repairs: Slab<Repair>,
    extents: Extents,
    wheel: Wheel,
    ready: SlotQueue,
    replies: Replies,
    half_open: HalfOpens,
    /// When a SYN cookie was last sent.
    cookie_at: Option<Micros>,
    /// When `on_timers` was last called.
    clock: Micros,
    /// TIME-WAIT, oldest first; some may be gone.
    time_wait: VecDeque<ConnId>,
    time_wait_count: u32,
    counters: Counters,
}

impl Tcp {
    /// Takes all memory for `config`.
    pub fn new(config: Config, counters: Counters) -> Tcp {
        let max = config.connections_max;
        let [one, two] = config.secret;
        let hasher =
            ahash::RandomState::with_seeds(one, two, one.rotate_left(32), two.rotate_left(32));
        Tcp {
            conns: Slab::new(max),
            by_flow: Index::new(max),
            hasher: hasher.clone(),
            pieces: Pieces::new(config.pieces),
            flights: Flights::new(max, shared_nodes(&config)),
            repairs: Slab::new(max),
            extents: Extents::new(max, shared_nodes(&config)),
            wheel: Wheel::new(max),
            ready: SlotQueue::new(max),
            replies: Replies::new(),
            half_open: HalfOpens::new(config.half_open_max, hasher),
            cookie_at: None,
            clock: Micros(0),
            time_wait: VecDeque::with_capacity(config.time_wait_max as usize * 2),
            time_wait_count: 0,
            counters,
            listen: config.listen.iter().copied().map(Endpoint::from).collect(),
            config,
        }
    }

    /// Memory for connections: which part, and bytes.
    pub fn memory(&self) -> [(&'static str, usize); 8] {
        [
            ("TCP: connection record", self.conns.bytes()),
            ("TCP: segments in flight", self.flights.bytes()),
            ("TCP: what is remembered of losses", self.repairs.bytes()),
            ("TCP: runs of bytes to send", self.extents.bytes()),
            ("TCP: flow table", self.by_flow.bytes()),
            ("TCP: timers", self.wheel.bytes()),
            ("TCP: ready queue", self.ready.bytes()),
            (
                "TCP: TIME-WAIT queue",
                self.time_wait.capacity() * size_of::<ConnId>(),
            ),
        ]
    }

    /// Address space for what is remembered of losses that nothing has used yet, in bytes, and the size
    /// of one such record.
    pub fn untouched(&self) -> (usize, usize) {
        (self.repairs.untouched_bytes(), Slab::<Repair>::RECORD_BYTES)
    }

    /// Connections open or half open; TIME-WAIT is not counted.
    pub fn count(&self) -> usize {
        self.conns.count() - self.time_wait_count as usize + self.half_open.count()
    }

    /// Handshakes under way that have a record.
    pub fn half_open_count(&self) -> usize {
        self.half_open.count()
    }

    /// Records in TIME-WAIT.
    pub fn time_wait_count(&self) -> u32 {
        self.time_wait_count
    }

    /// What is in use now; all of it is zero when no connection is left.
    pub fn usage(&self) -> Usage {
        Usage {
            records: self.conns.count(),
            flows: self.by_flow.count(),
            half_open: self.half_open.count(),
            time_wait: self.time_wait_count,
            pieces: self.pieces.used(),
            nodes: self.flights.used() + self.extents.used() + self.repairs.count(),
            timers: self.wheel.count(),
            has_ready: self.has_ready(),
        }
    }

    /// The other end of a connection.
    pub fn remote(&self, id: ConnId) -> Option<SocketAddr> {
        self.conns.get(id).map(|conn| conn.remote.into())
    }

    /// Takes one segment and the frame it was read from.
    pub fn receive(&mut self, now: Micros, frame: &[u8], segment: &Segment) -> Verdict {
        if let Some(slot) = self.find(&segment.flow) {
            self.counters.inc(Metric::TcpSegmentsIn);
            return self.on_segment(now, slot, frame, segment);
        }
        if !self.listen.contains(&segment.flow.local) {
            self.counters.inc(Metric::WireNotOurs);
            return Verdict::Done;
        }
        self.counters.inc(Metric::TcpSegmentsIn);
        self.on_stranger(now, frame, segment)
    }

    /// Copies bytes that had come early and are now in order; 0 when there are no more.
    pub fn take_reassembled(&mut self, id: ConnId, out: &mut [u8]) -> usize {
        let Some(conn) = self.conns.get_mut(id) else {
            return 0;
        };
        let count = self.pieces.take(&mut conn.waiting, conn.delivered, out);
        conn.delivered = conn.delivered + u32::try_from(count).unwrap_or(0);
        if count == 0 && conn.state == State::TimeWait {
            self.pieces.clear(&mut conn.waiting);
        }
        count
    }

    /// Tells how many bytes the session holds unprocessed: the window offered shrinks by them.
    pub fn set_backlog(&mut self, id: ConnId, bytes: u32) {
        let receive_window = self.config.receive_window;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.backlog = bytes;
        let offered = conn::positive(conn.rcv_edge.since(conn.rcv_nxt));
        let could = receive_window.saturating_sub(bytes);
        // Receiver's silly-window avoidance (RFC 9293 section 3.8.6.2.2): worth an ACK of its own
        // only when the window grows by two segments, or half of all there is.
        if could >= offered + (2 * conn.mss()).min(receive_window / 2) {
            conn.ack_due = AckDue::Now;
            self.make_ready(id);
        }
    }

    /// Bytes that may be placed and would be sent now.
    pub fn sendable(&self, id: ConnId) -> u32 {
        let Some(conn) = self.conns.get(id) else {
            return 0;
        };
        if !conn.state.sends() || conn.finishing {
            return 0;
        }
        let unsent = conn::positive(conn.snd_end.since(conn.snd_nxt));
        let room = conn.room().saturating_sub(unsent);
        // A closed window takes a byte when there is none: without anything to send nothing would ask
        // whether it has opened (RFC 9293 section 3.8.6.1), and an update that is lost would be missed.
        room.max(u32::from(conn.outstanding() == 0))
    }

    /// Appends `length` bytes at `source` to the stream; false when the connection takes no more
    /// now: too many separate runs, or it is closing.
    pub fn place(&mut self, id: ConnId, source: Source, length: u32) -> bool {
        let Tcp { conns, extents, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return false;
        };
        if !conn.state.sends() || conn.finishing {
            return false;
        }
        let done = extents.push(&mut conn.queue, id.slot, source, length);
        if done {
            conn.snd_end = conn.snd_end + length;
        }
        done
    }

    /// Bytes placed and not acknowledged.
    pub fn outstanding(&self, id: ConnId) -> u32 {
        self.conns.get(id).map_or(0, Conn::outstanding)
    }

    /// Lowest position of `tag` that is not acknowledged.
    pub fn first_unacked(&self, id: ConnId, tag: u32) -> Option<u64> {
        self.extents.first_of(&self.conns.get(id)?.queue, tag)
    }

    /// Sends FIN behind what is placed (RFC 9293 section 3.10.4).
    pub fn finish(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.finishing || !conn.state.sends() {
            return;
        }
        conn.finishing = true;
        conn.state = match conn.state {
            State::CloseWait => State::LastAck,
            _ => State::FinWait1,
        };
        self.make_ready(id);
    }

    /// Ends the connection with a RST (RFC 9293 section 3.10.5). It is not reported closed.
    pub fn abort(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let (flow, link) = (conn.flow(&self.listen), conn.link);
        let reset = replies::reset(flow, link, conn.snd_nxt, Some(conn.rcv_nxt));
        self.replies.push(reset, &self.counters);
        self.counters.inc(Metric::TcpAborted);
        self.remove(id);
    }

    /// Whether something waits to be sent: a connection that `next_ready` may have, or a reply.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty() || self.has_replies()
    }

    /// The next connection that has something to send.
    pub fn next_ready(&mut self) -> Option<ConnId> {
        while let Some(slot) = self.ready.pop() {
            if let Some((id, _)) = self.conns.at(slot) {
                return Some(id);
            }
        }
        None
    }

    fn make_ready(&mut self, id: ConnId) {
        self.ready.push(id.slot);
    }

    /// The record of `flow`.
    fn find(&self, flow: &Flow) -> Option<u32> {
        let holds = |slot| {
            self.conns
                .peek(slot)
                .is_some_and(|conn| conn.flow(&self.listen) == *flow)
        };
        self.by_flow.find(self.hash(flow), holds)
    }

    fn hash(&self, flow: &Flow) -> u32 {
        isn::low(self.hasher.hash_one(flow))
    }

    /// Forgets a connection.
    fn remove(&mut self, id: ConnId) {
        let Some(mut conn) = self.conns.remove(id) else {
            return;
        };
        self.by_flow
            .remove(self.hash(&conn.flow(&self.listen)), id.slot);
        self.pieces.clear(&mut conn.waiting);
        self.flights.clear(&mut conn.flight);
        if let Some((repair, _)) = self.repairs.at(conn.repair) {
            self.repairs.remove(repair);
        }
        self.extents.clear(&mut conn.queue);
        self.wheel.cancel(id.slot);
        if conn.state == State::TimeWait {
            self.time_wait_count -= 1;
        }
    }
}
