//! A raw peer: sends any segment it likes and sees every segment that comes back.

use std::net::SocketAddr;

use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::port::Port;
use crate::port::memory::MemoryPort;
use crate::tcp::{CloseReason, Config, Receipt, Sent, Source, Tcp, Verdict};
use crate::units::{ConnId, Micros};
use crate::wire::emit::{Header, emit};
use crate::wire::parse::parse;
use crate::wire::segment::{Flags, Flow, Link, Options, Segment};
use crate::wire::seq::Seq;

/// The peer's first sequence number: soon wraps.
pub(super) const ISS: Seq = Seq(0xffff_ff00);

pub(super) const ACK: Flags = Flags {
    ack: true,
    syn: false,
    fin: false,
    rst: false,
    psh: false,
    ece: false,
    cwr: false,
    ect: false,
    ce: false,
};
pub(super) const SYN: Flags = Flags {
    syn: true,
    ack: false,
    ..ACK
};
pub(super) const FIN: Flags = Flags { fin: true, ..ACK };
pub(super) const RST: Flags = Flags {
    rst: true,
    ack: false,
    ..ACK
};

/// A segment that came back, with its payload.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) segment: Segment,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Peer {
    pub(super) tcp: Tcp,
    pub(super) port: MemoryPort,
    pub(super) counters: Counters,
    pub(super) now: Micros,
    pub(super) remote: SocketAddr,
    pub(super) window: u16,
    pub(super) link: Link,
    /// Timestamps the peer puts on its segments.
    pub(super) timestamp: Option<u32>,
    /// And the echo on them.
    pub(super) echo: u32,
    /// What the engine sent first: the byte after its SYN.
    pub(super) theirs: Seq,
    pub(super) id: Option<ConnId>,
    pub(super) opened: u32,
    pub(super) closed: Vec<CloseReason>,
    pub(super) finished: bool,
    /// The stream the engine handed up.
    pub(super) received: Vec<u8>,
    /// What the engine reads from: byte n of any source is `byte(n)`.
    placed: u64,
}

pub(super) fn byte(position: u64) -> u8 {
    (position * 31 % 253) as u8
}

/// Bytes `from..to` of the stream the engine sends.
pub(super) fn stream(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(byte).collect()
}

pub(super) fn config() -> Config {
    Config {
        listen: vec![
            "10.0.0.1:8000".parse().unwrap(),
            "[2001:db8::1]:8000".parse().unwrap(),
        ],
        connections_max: 8,
        half_open_max: 4,
        time_wait_max: 2,
        pieces: 128,
        ..Config::default()
    }
}

pub(super) fn link() -> Link {
    Link {
        peer_mac: [2, 0, 0, 0, 0, 1],
        local_mac: [2, 0, 0, 0, 0, 2],
        vlan: None,
    }
}

impl Peer {
    pub(super) fn new() -> Peer {
        Peer::with(config())
    }

    pub(super) fn with(config: Config) -> Peer {
        let counters = Counters::default();
        Peer {
            tcp: Tcp::new(config, counters.clone()),
            port: MemoryPort::new(256),
            counters,
            now: Micros::from_secs(100),
            remote: "192.0.2.7:40000".parse().unwrap(),
            window: 60_000,
            link: link(),
            timestamp: None,
            echo: 0,
            theirs: Seq(0),
            id: None,
            opened: 0,
            closed: Vec::new(),
            finished: false,
            received: Vec::new(),
            placed: 0,
        }
    }

    /// A peer whose connection is open, with SACK and no timestamps, window scale or delay.
    pub(super) fn open() -> Peer {
        let mut peer = Peer::new();
        peer.connect(Options {
            mss: Some(1000),
            sack_permitted: true,
            ..Options::default()
        });
        peer
    }

    /// The same without SACK: losses are found by duplicate ACKs and timeouts alone.
    pub(super) fn open_plain() -> Peer {
        let mut peer = Peer::new();
        peer.connect(Options {
            mss: Some(1000),
            ..Options::default()
        });
        peer
    }

    /// An ACK up to `ack` that reports these blocks, all counted from the first byte sent to the peer.
    pub(super) fn sack(&mut self, ack: u32, blocks: &[(u32, u32)]) {
        let mut options = Options::default();
        let theirs = self.theirs;
        for (place, &(from, to)) in options.sacks.iter_mut().zip(blocks) {
            *place = Some((theirs + from, theirs + to));
        }
        options.timestamps = self.timestamp.map(|value| (value, self.echo));
        self.send_with(ACK, ISS + 1, theirs + ack, b"", options);
    }

    /// The three-way handshake; gives the SYN-ACK.
    pub(super) fn connect(&mut self, options: Options) -> Seen {
        self.handshake(SYN, options, 0)
    }

    /// The same with other flags on the SYN.
    pub(super) fn connect_with(&mut self, syn: Flags, options: Options) -> Seen {
        self.handshake(syn, options, 0)
    }

    /// The same over a path with this round trip.
    pub(super) fn connect_after(&mut self, ms: u64, options: Options) -> Seen {
        self.handshake(SYN, options, ms)
    }

    fn handshake(&mut self, syn: Flags, options: Options, ms: u64) -> Seen {
        self.send_with(syn, ISS, Seq(0), b"", options);
        let answer = self.see().pop().expect("a SYN-ACK");
        assert!(answer.segment.flags.syn && answer.segment.flags.ack);
        assert_eq!(answer.segment.ack, ISS + 1);
        self.theirs = answer.segment.seq + 1;
        self.now = self.now + Micros::from_millis(ms);
        self.send(ACK, ISS + 1, self.theirs, b"");
        assert_eq!(self.opened, 1);
        answer
    }

    /// Sends a segment.
    pub(super) fn send(&mut self, flags: Flags, seq: Seq, ack: Seq, payload: &[u8]) -> Verdict {
        let timestamps = self.timestamp.map(|value| (value, self.echo));
        let options = Options {
            timestamps,
            ..Options::default()
        };
        self.send_with(flags, seq, ack, payload, options)
    }

    pub(super) fn send_with(
        &mut self,
        flags: Flags,
        seq: Seq,
        ack: Seq,
        payload: &[u8],
        options: Options,
    ) -> Verdict {
        let ours = if self.remote.is_ipv4() {
            "10.0.0.1:8000"
        } else {
            "[2001:db8::1]:8000"
        };
        let flow = Flow {
            local: self.remote.into(),
            remote: ours.parse().unwrap(),
        };
        let header = Header {
            link: self.link,
            flow,
            seq,
            ack,
            flags,
            window: self.window,
            options,
        };
        let mut frame = vec![0; 1600];
        let length = emit(&mut frame, &header, payload.len(), |out| {
            out.copy_from_slice(payload);
            true
        });
        self.deliver(&frame[..length])
    }

    /// Hands the engine a frame, and takes what it gives up.
    pub(super) fn deliver(&mut self, frame: &[u8]) -> Verdict {
        let segment = parse(frame).unwrap();
        let verdict = self.tcp.receive(self.now, frame, &segment);
        match &verdict {
            Verdict::Flow(receipt) => self.take(frame, receipt),
            Verdict::Unknown => self.tcp.refuse(&segment),
            Verdict::Done => {}
        }
        verdict
    }

    fn take(&mut self, frame: &[u8], receipt: &Receipt) {
        if receipt.opened {
            self.opened += 1;
            self.id = Some(receipt.id);
        }
        self.received
            .extend_from_slice(&frame[receipt.data.clone()]);
        if receipt.reassembled {
            let mut bytes = [0; 700];
            loop {
                let count = self.tcp.take_reassembled(receipt.id, &mut bytes);
                if count == 0 {
                    break;
                }
                self.received.extend_from_slice(&bytes[..count]);
            }
        }
        self.finished |= receipt.finished;
        self.closed.extend(receipt.closed);
    }

    /// Lets the engine run its timers and send; gives what came.
    pub(super) fn see(&mut self) -> Vec<Seen> {
        while let Some((_, reason)) = self.tcp.on_timers(self.now) {
            self.closed.push(reason);
        }
        self.tcp.send_replies(&mut self.port);
        let mut read = |source: Source, out: &mut [u8]| {
            for (position, out) in (source.position..).zip(out) {
                *out = byte(position);
            }
            true
        };
        while let Some(id) = self.tcp.next_ready() {
            // What found no room stays on the list for the next turn.
            if self.tcp.send(self.now, id, &mut self.port, &mut read) == Sent::NoRoom {
                break;
            }
        }
        self.port.flush();
        let mut seen = Vec::new();
        let mut frame = Vec::new();
        while self.port.take_sent(&mut frame) {
            let segment = parse(&frame).unwrap();
            let payload = frame[segment.payload_at.clone()].to_vec();
            seen.push(Seen { segment, payload });
        }
        seen
    }

    /// Exactly one segment came.
    #[track_caller]
    pub(super) fn see_one(&mut self) -> Seen {
        let mut seen = self.see();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }

    #[track_caller]
    pub(super) fn see_nothing(&mut self) {
        let seen = self.see();
        assert!(seen.is_empty(), "{seen:#?}");
    }

    /// Lets time pass, and gives what came in the meantime with when it came.
    pub(super) fn wait(&mut self, span_ms: u64) -> Vec<(u64, Seen)> {
        let start = self.now;
        let mut seen = Vec::new();
        for _ in 0..span_ms {
            self.now = self.now + Micros::from_millis(1);
            let at_ms = self.now.since(start).0 / 1000;
            seen.extend(self.see().into_iter().map(|one| (at_ms, one)));
        }
        seen
    }

    /// The engine's side gets `length` bytes to send.
    pub(super) fn place(&mut self, length: u32) {
        let id = self.id.unwrap();
        let source = Source {
            tag: 0,
            position: self.placed,
        };
        assert!(self.tcp.place(id, source, length));
        self.placed += u64::from(length);
        self.tcp.make_ready(id);
    }

    /// What the peer sees as the link of segments that go back the way its own came.
    pub(super) fn link_seen(&self) -> Link {
        Link {
            peer_mac: self.link.peer_mac,
            local_mac: self.link.local_mac,
            vlan: self.link.vlan,
        }
    }

    pub(super) fn count(&self, metric: Metric) -> u64 {
        self.counters.get(metric)
    }

    /// Nothing is left of any connection.
    #[track_caller]
    pub(super) fn assert_empty(&self) {
        assert_eq!(self.tcp.count(), 0);
        assert_eq!(self.tcp.pieces.used(), 0);
        assert_eq!(self.tcp.usage().nodes, 0);
        assert_eq!(self.tcp.half_open_count(), 0);
        assert_eq!(self.tcp.by_flow.count(), self.tcp.conns.count());
    }
}
