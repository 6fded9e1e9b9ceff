//! A sequence of operations against `tcp::Tcp` through its public interface: peers that send any
//! segment near the interesting edges, an application that places, finishes and aborts, a port with
//! little room, a clock that jumps. After each step [`model`] checks what came out.
//!
//! The first bytes choose the sizes; each operation is a byte and its arguments. In the end peers may
//! turn well-behaved: then every byte placed has to arrive. Last of all everything is aborted, and no
//! record, piece or deadline may be left.

mod model;
mod wire;

use std::net::SocketAddr;

use engine::metrics::counters::Counters;
use engine::tcp::{Algorithm, Config, Sent, Source, Tcp, Usage, Verdict};
use engine::units::Micros;
use engine::wire::icmp::TooBig;
use engine::wire::parse::parse;
use engine::wire::segment::{Flags, Options};
use engine::wire::seq::Seq;

use self::model::{Model, Peer, source_bytes};
use self::wire::Wire;
use super::input::Input;

/// Operations of one run: a run that is longer finds nothing that a shorter one does not.
const STEPS_MAX: usize = 400;

/// Connections the peers' ports make.
const PEERS: usize = 4;

const LOCAL_V4: &str = "10.0.0.1:8000";
const LOCAL_V6: &str = "[2001:db8::1]:8000";

/// Plays `data`.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.model.check(&world.tcp);
    }
    world.settle();
    world.end();
}

struct World {
    /// `FUZZ_TRACE` is set: tell every segment, to understand a crash.
    trace: bool,
    tcp: Tcp,
    wire: Wire,
    model: Model,
    now: Micros,
}

impl World {
    fn new(input: &mut Input<'_>) -> World {
        let (choice, second) = (input.u8(), input.u8());
        let config = Config {
            listen: vec![LOCAL_V4.parse().unwrap(), LOCAL_V6.parse().unwrap()],
            connections_max: [4, 2, 3, 1][usize::from(choice & 3)],
            half_open_max: [3, 1][usize::from(choice >> 2 & 1)],
            time_wait_max: [2, 1][usize::from(choice >> 3 & 1)],
            receive_window: [65_535, 5_000, 200_000, 1_000][usize::from(choice >> 4 & 3)],
            pieces: [12, 2][usize::from(choice >> 6 & 1)],
            secret: [3, 4],
            congestion: [Algorithm::Cubic, Algorithm::NewReno][usize::from(choice >> 7)],
            rack_tlp: second & 1 == 1,
            bundling: second & 2 == 0,
            shared_nodes: [Some(64), Some(1), Some(0), None][usize::from(second >> 2 & 3)],
            ..Config::default()
        };
        let peers = (0..PEERS)
            .map(|index| {
                let v6 = index == PEERS - 1;
                let (local, remote): (SocketAddr, SocketAddr) = if v6 {
                    (
                        LOCAL_V6.parse().unwrap(),
                        "[2001:db8::9]:4000".parse().unwrap(),
                    )
                } else {
                    (
                        LOCAL_V4.parse().unwrap(),
                        ([192, 0, 2, 9], 4000 + index as u16).into(),
                    )
                };
                Peer::new(local, remote)
            })
            .collect();
        World {
            trace: std::env::var_os("FUZZ_TRACE").is_some(),
            model: Model::new(peers, &config),
            tcp: Tcp::new(config, Counters::default()),
            wire: Wire::new(),
            now: Micros::from_secs(u64::from(input.u8() & 15) * 1_000),
        }
    }

    /// One operation, and what the core does after it; with the top bit the core waits for more.
    fn step(&mut self, input: &mut Input<'_>) {
        let operation = input.u8();
        let peer = usize::from(input.u8()) % PEERS;
        self.wire.limit(usize::MAX);
        let mut readable = true;
        match operation & 31 {
            0..=9 => self.segment(input, peer, operation >> 5 & 3),
            10..=14 => self.behave(peer),
            15..=17 => self.advance(input),
            18..=20 => self.place(input, peer),
            21 => {
                self.on_connection(peer, Tcp::finish);
                self.model.on_finishing(peer);
            }
            22 => {
                let bytes = input.pick(&[0, 1, 500, 2_000, 65_535, 200_000]);
                self.on_connection(peer, |tcp, id| tcp.set_backlog(id, bytes));
            }
            23 => self.wire.limit(usize::from(input.u8() % 4)),
            24 => self.abort(peer),
            25 => readable = false,
            26 => self.wire.lose_next(usize::from(input.u8() % 8)),
            27 => self.syn(input, peer),
            28 => self.too_big(input, peer),
            _ => self.behave(peer),
        }
        if operation & 128 == 0 {
            self.turn(readable);
        }
    }

    /// What a data core does when it has taken all frames.
    fn turn(&mut self, readable: bool) {
        while let Some((id, reason)) = self.tcp.on_timers(self.now) {
            self.model.on_closed(id, reason);
        }
        // The wheel's tick is about a millisecond; what was due is not due again.
        assert!(
            self.tcp.poll_at() > self.now,
            "on_timers has left something that was due"
        );
        self.tcp.send_replies(&mut self.wire);
        let mut read = |source: Source, out: &mut [u8]| {
            out.copy_from_slice(source_bytes(source, out.len()));
            readable
        };
        let mut rounds = 0;
        while let Some(id) = self.tcp.next_ready() {
            match self.tcp.send(self.now, id, &mut self.wire, &mut read) {
                Sent::Done => {}
                Sent::NoRoom => break,
                Sent::Lost => {
                    assert!(!readable, "bytes that were placed are lost");
                    self.tcp.abort(id);
                    self.model.on_aborted(id);
                }
            }
            rounds += 1;
            assert!(rounds < 100, "the ready list never ends");
        }
        let now = self.now;
        let trace = self.trace;
        self.wire.take(|frame, lost| {
            if trace {
                let lost = if lost { " (lost)" } else { "" };
                eprintln!("{:>12} > {}{lost}", now.0, tell(frame));
            }
            self.model.on_frame(now, frame, lost);
        });
    }

    /// Any segment.
    fn segment(&mut self, input: &mut Input<'_>, index: usize, marks: u8) {
        let bits = input.u8();
        let flags = Flags {
            // Mostly an ACK: without it little happens.
            ack: bits & 7 != 0,
            psh: bits & 8 != 0,
            fin: bits & 0x30 == 0x10,
            syn: bits & 0xc0 == 0x40,
            rst: bits & 0xb0 == 0xa0,
            ece: marks & 1 != 0,
            cwr: marks == 3,
            ce: marks & 2 != 0,
            ..Flags::default()
        };
        // That has no meaning the parser would pass on.
        let fin = flags.fin && !flags.syn;
        let flags = Flags { fin, ..flags };
        let peer = &self.model.peers[index];
        let shape = input.u8();
        let seq = match shape & 7 {
            0..=2 => peer.expected(),
            3 => peer.next,
            4 => peer.next - 1,
            5 => peer.offered_edge(),
            6 => peer.expected() - 1,
            _ => Seq(input.u32()),
        };
        let seq = seq + offset(input, shape >> 6);
        let ack_shape = input.u8();
        let ack = match ack_shape & 7 {
            0..=2 => peer.seen_end(),
            3 => peer.acked,
            4 => peer.acked + 1,
            5 => peer.seen_first(),
            6 => peer.seen_end() + 1,
            _ => Seq(input.u32()),
        };
        let ack = ack + offset(input, ack_shape >> 6);
        let length = match shape >> 3 & 7 {
            0..=2 => 0,
            3 => 1,
            4 => usize::from(input.u8()),
            5 => 1_000,
            6 => 1_380,
            _ => usize::from(input.u16() % 1_400),
        };
        let window = match ack_shape >> 3 & 7 {
            0..=2 => 60_000,
            3 => 0,
            4 => 1,
            5 => u16::from(input.u8()),
            6 => u16::MAX,
            _ => input.u16(),
        };
        let options = self.options(input, index, flags.syn);
        self.send(index, flags, seq, ack, window, options, length);
    }

    fn options(&self, input: &mut Input<'_>, index: usize, syn: bool) -> Options {
        let peer = &self.model.peers[index];
        let bits = input.u8();
        let mut options = Options::default();
        if bits & 1 != 0 || bits & 2 != 0 && syn {
            options.timestamps = Some((self.timestamp(input, index), peer.their_timestamp));
        }
        if syn {
            options.mss =
                (bits & 4 == 0).then(|| input.pick(&[1_400, 1_460, 536, 88, 40, 0, u16::MAX]));
            options.window_scale = (bits & 8 != 0).then(|| input.u8() % 15);
            options.sack_permitted = bits & 16 == 0;
        } else if bits & 0x60 == 0x20 {
            let first = peer.acked;
            for block in options.sacks.iter_mut().take(usize::from(bits >> 7) + 1) {
                let from = first + offset(input, 3);
                let to = from + u32::from(input.u16() % 3_000);
                *block = Some((from, to));
            }
        }
        options
    }

    fn timestamp(&self, input: &mut Input<'_>, index: usize) -> u32 {
        let last = self.model.peers[index].timestamp;
        match input.u8() & 7 {
            0..=3 => last.wrapping_add(1),
            4 => last,
            5 => last.wrapping_sub(1),
            6 => input.u32(),
            _ => last.wrapping_add(u32::from(input.u16())),
        }
    }

    /// A SYN as a client sends it.
    fn syn(&mut self, input: &mut Input<'_>, index: usize) {
        let options = self.options(input, index, true);
        let seq = self.model.peers[index].next + input.u32() % 70_000;
        let flags = Flags {
            syn: true,
            ..Flags::default()
        };
        self.send(index, flags, seq, Seq(0), 60_000, options, 0);
    }

    /// A router says that a packet was too big.
    fn too_big(&mut self, input: &mut Input<'_>, index: usize) {
        let peer = &self.model.peers[index];
        let seq = peer.acked + offset(input, 3);
        let report = TooBig {
            flow: peer.flow(),
            seq,
            mtu: u32::from(input.pick(&[1_400, 1_280, 576, 552, 68, 0, 1_500, u16::MAX])),
        };
        if !self.tcp.on_too_big(&report) {
            self.tcp.ignore_too_big();
        }
    }

    /// What a client that means well would do next: connect, answer the SYN-ACK, acknowledge and
    /// say something.
    fn behave(&mut self, index: usize) {
        let peer = &self.model.peers[index];
        let timestamps = peer
            .timestamps_echo()
            .map(|echo| (echo, peer.their_timestamp));
        let options = Options {
            timestamps,
            ..Options::default()
        };
        let ack = Flags {
            ack: true,
            ..Flags::default()
        };
        if peer.is_open() || peer.answered() {
            let (seq, seen) = (peer.expected(), peer.seen_contiguous());
            self.send(index, ack, seq, seen, 60_000, options, 0);
        } else {
            let options = Options {
                mss: Some(1_400),
                window_scale: Some(2),
                sack_permitted: true,
                timestamps: index.is_multiple_of(2).then_some((1_000, 0)),
                ..Options::default()
            };
            let ecn = index == 1;
            let syn = Flags {
                syn: true,
                ece: ecn,
                cwr: ecn,
                ..Flags::default()
            };
            let seq = self.model.peers[index].next + 100_000;
            self.send(index, syn, seq, Seq(0), 60_000, options, 0);
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "they are the fields of a segment"
    )]
    fn send(
        &mut self,
        index: usize,
        flags: Flags,
        seq: Seq,
        ack: Seq,
        window: u16,
        options: Options,
        length: usize,
    ) {
        let frame = self.model.peers[index].frame(flags, seq, ack, window, options, length);
        let Ok(segment) = parse(&frame) else {
            panic!("the peer's own frame is not parsed");
        };
        if self.trace {
            eprintln!("{:>12} < {}", self.now.0, tell(&frame));
        }
        self.model.on_sending(index, &segment);
        match self.tcp.receive(self.now, &frame, &segment) {
            Verdict::Flow(receipt) => {
                self.model.on_receipt(index, &segment, &receipt);
                let mut bytes = [0; 700];
                let mut more = receipt.reassembled;
                while more {
                    let count = self.tcp.take_reassembled(receipt.id, &mut bytes);
                    self.model.on_reassembled(index, &bytes[..count]);
                    more = count > 0;
                }
                self.model.after_receipt(index, &receipt);
            }
            Verdict::Unknown => self.tcp.refuse(&segment),
            Verdict::Done => {}
        }
    }

    fn advance(&mut self, input: &mut Input<'_>) {
        let next = self.tcp.poll_at();
        let span = match input.u8() % 8 {
            0 => Micros::from_millis(1),
            1 => Micros::from_millis(40),
            2 => Micros::from_millis(250),
            3 => Micros::from_secs(1),
            4 => Micros::from_secs(61),
            5 => Micros(u64::from(input.u16())),
            // Long enough for timestamps to grow old (RFC 7323 section 5.5).
            6 if input.u8() == 77 => Micros::from_secs(25 * 24 * 3_600),
            _ if next == Micros::NEVER => Micros::from_millis(100),
            _ => next.since(self.now),
        };
        // As a core does it: no timer is late by more than a turn.
        let until = self.now + span;
        loop {
            let next = self.tcp.poll_at().max(self.now);
            if next >= until {
                break;
            }
            self.now = next;
            self.turn(true);
        }
        self.now = until;
    }

    fn place(&mut self, input: &mut Input<'_>, index: usize) {
        let length = match input.u8() % 8 {
            0 => 0,
            1 => 1,
            2 => u32::from(input.u8()),
            3 | 4 => 1_000,
            5 => u32::from(input.u16() % 5_000),
            6 => 20_000,
            _ => 1_388,
        };
        let tag = u32::from(input.u8() % 3);
        let Some((id, source)) = self.model.source(index, tag) else {
            return;
        };
        // What the sessions do: never more than may leave now, so that what waits can be coalesced.
        if length == 0 || self.tcp.outstanding(id) > 60_000 {
            return;
        }
        if self.tcp.place(id, source, length) {
            self.model.on_placed(index, source, length);
            self.send_now(id);
        }
    }

    fn on_connection(&mut self, index: usize, act: impl FnOnce(&mut Tcp, engine::units::ConnId)) {
        if let Some(id) = self.model.id(index) {
            act(&mut self.tcp, id);
        }
    }

    /// Placing alone puts nothing on the ready list: the sessions send at once.
    fn send_now(&mut self, id: engine::units::ConnId) {
        let mut read = |source: Source, out: &mut [u8]| {
            out.copy_from_slice(source_bytes(source, out.len()));
            true
        };
        let sent = self.tcp.send(self.now, id, &mut self.wire, &mut read);
        assert_ne!(sent, Sent::Lost);
        let now = self.now;
        let trace = self.trace;
        self.wire.take(|frame, lost| {
            if trace {
                let lost = if lost { " (lost)" } else { "" };
                eprintln!("{:>12} > {}{lost}", now.0, tell(frame));
            }
            self.model.on_frame(now, frame, lost);
        });
    }

    fn abort(&mut self, index: usize) {
        if let Some(id) = self.model.id(index) {
            self.tcp.abort(id);
            self.model.on_aborted(id);
        }
    }

    /// From now on the peers mean well and nothing is lost: what was placed arrives in bounded time.
    fn settle(&mut self) {
        self.wire.limit(usize::MAX);
        self.wire.lose_next(0);
        for index in 0..PEERS {
            let Some(id) = self.model.id(index) else {
                continue;
            };
            if !self.model.peers[index].is_consistent() {
                continue;
            }
            self.on_connection(index, |tcp, id| tcp.set_backlog(id, 0));
            for _ in 0..600 {
                if self.model.id(index) != Some(id) || self.tcp.outstanding(id) == 0 {
                    break;
                }
                self.fill_holes(index);
                for _ in 0..20 {
                    let before = self.tcp.outstanding(id);
                    self.behave(index);
                    self.turn(true);
                    if self.model.id(index) != Some(id) || self.tcp.outstanding(id) == before {
                        break;
                    }
                }
                let left = self.model.id(index) == Some(id) && self.tcp.outstanding(id) > 0;
                let next = self.tcp.poll_at();
                assert!(
                    !left || next != Micros::NEVER,
                    "peer {index} waits for nothing"
                );
                // A round trip may have been as long as the clock has jumped, and so may be what hangs
                // on it.
                let pause = self.now + Micros::from_millis(500);
                self.now = if next == Micros::NEVER {
                    pause
                } else {
                    pause.max(next)
                };
                self.turn(true);
                self.model.check(&self.tcp);
            }
            if self.model.id(index) == Some(id) {
                let left = self.tcp.outstanding(id);
                assert_eq!(
                    left, 0,
                    "peer {index} means well and does not get its bytes"
                );
            }
        }
    }

    /// Sends everything that the peer has claimed to have sent, in order.
    fn fill_holes(&mut self, index: usize) {
        for _ in 0..200 {
            let peer = &self.model.peers[index];
            let left = peer.sent_end().since(peer.expected());
            if left <= 0 || !peer.is_open() {
                return;
            }
            let timestamps = peer
                .timestamps_echo()
                .map(|echo| (echo, peer.their_timestamp));
            let options = Options {
                timestamps,
                ..Options::default()
            };
            let (seq, seen) = (peer.expected(), peer.seen_contiguous());
            let ack = Flags {
                ack: true,
                ..Flags::default()
            };
            self.send(
                index,
                ack,
                seq,
                seen,
                60_000,
                options,
                usize::try_from(left.min(1_000)).unwrap_or(0),
            );
            self.turn(true);
        }
    }

    /// Nothing is left of anything.
    fn end(&mut self) {
        for index in 0..PEERS {
            self.abort(index);
        }
        for _ in 0..400 {
            self.turn(true);
            let next = self.tcp.poll_at();
            if next == Micros::NEVER {
                break;
            }
            assert!(next > self.now);
            self.now = next;
        }
        self.model.check(&self.tcp);
        assert_eq!(self.tcp.half_open_count(), 0);
        assert_eq!((self.tcp.count(), self.tcp.time_wait_count()), (0, 0));
        assert_eq!(self.tcp.usage(), Usage::default());
        assert_eq!(
            self.tcp.poll_at(),
            Micros::NEVER,
            "a deadline is left of nothing"
        );
        assert!(!self.tcp.has_ready());
    }
}

/// A frame in a line.
fn tell(frame: &[u8]) -> String {
    let segment = match parse(frame) {
        Ok(segment) => segment,
        Err(reason) => return format!("{reason:?}"),
    };
    let length = segment.payload_at.len();
    format!(
        "{:?} seq {:x} + {length} ack {:x} win {} {:?}",
        segment.flags, segment.seq.0, segment.ack.0, segment.window, segment.options
    )
}

/// A signed distance: none, small, some segments, anything in 16 bits.
fn offset(input: &mut Input<'_>, kind: u8) -> u32 {
    let distance = match kind & 3 {
        0 => 0,
        1 => i32::from(input.u8().cast_signed()),
        2 => i32::from(input.u8().cast_signed()) * 250,
        _ => i32::from(input.u16() % 8_000),
    };
    distance.cast_unsigned()
}
