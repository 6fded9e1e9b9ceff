//! Against a client we did not write: smoltcp's, over a path that loses, repeats and reorders.

use ::smoltcp::iface::{Config as IfaceConfig, Interface, SocketSet};
use ::smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken,
};
use ::smoltcp::socket::tcp::{Socket, SocketBuffer};
use ::smoltcp::time::Instant;
use ::smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, HardwareAddress, IpAddress, IpCidr,
};

use super::peer::{byte, config, stream};
use crate::metrics::counters::Counters;
use crate::port::memory::MemoryPort;
use crate::tcp::{CloseReason, Source, Tcp, Verdict};
use crate::units::{ConnId, Micros};
use crate::wire::parse::parse;

/// A deterministic stream of numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// Frames on their way, each with when it arrives.
#[derive(Default)]
struct Path {
    frames: Vec<(Micros, Vec<u8>)>,
}

impl Path {
    fn put(&mut self, now: Micros, frame: Vec<u8>, random: &mut Random, loss_percent: u64) {
        if random.next(100) < loss_percent {
            return;
        }
        let copies = if random.next(100) < 3 { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = if random.next(100) < 10 {
                random.next(20_000)
            } else {
                0
            };
            self.frames
                .push((now + Micros(5_000 + jitter), frame.clone()));
        }
    }

    fn take(&mut self, now: Micros) -> Vec<Vec<u8>> {
        let (due, later) = std::mem::take(&mut self.frames)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.frames = later;
        let due: Vec<(Micros, Vec<u8>)> = due;
        due.into_iter().map(|(_, frame)| frame).collect()
    }
}

/// The client's NIC.
#[derive(Default)]
struct Nic {
    received: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Rx(Vec<u8>);
struct Tx<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Device for Nic {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        if self.received.is_empty() {
            return None;
        }
        Some((Rx(self.received.remove(0)), Tx(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities.checksum.tcp = Checksum::Both;
        capabilities
    }
}

/// Our side: echoes nothing, keeps what it gets, sends a stream as windows allow, then finishes.
struct Server {
    tcp: Tcp,
    port: MemoryPort,
    id: Option<ConnId>,
    received: Vec<u8>,
    placed: u64,
    total: u64,
    finished: bool,
    closed: Vec<CloseReason>,
}

impl Server {
    fn turn(&mut self, now: Micros, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        for frame in frames {
            let Ok(segment) = parse(&frame) else { continue };
            match self.tcp.receive(now, &frame, &segment) {
                Verdict::Flow(receipt) => {
                    if receipt.opened {
                        self.id = Some(receipt.id);
                    }
                    self.received
                        .extend_from_slice(&frame[receipt.data.clone()]);
                    let mut bytes = [0; 999];
                    loop {
                        let count = self.tcp.take_reassembled(receipt.id, &mut bytes);
                        if count == 0 {
                            break;
                        }
                        self.received.extend_from_slice(&bytes[..count]);
                    }
                    self.finished |= receipt.finished;
                    self.closed.extend(receipt.closed);
                }
                Verdict::Unknown => self.tcp.refuse(&segment),
                Verdict::Done => {}
            }
        }
        while let Some((_, reason)) = self.tcp.on_timers(now) {
            self.closed.push(reason);
        }
        if let Some(id) = self.id {
            let room = u64::from(self.tcp.sendable(id)).min(self.total - self.placed);
            if room > 0 {
                let source = Source {
                    tag: 0,
                    position: self.placed,
                };
                assert!(self.tcp.place(id, source, room as u32));
                self.placed += room;
                self.tcp.make_ready(id);
            }
            if self.placed == self.total {
                self.tcp.finish(id);
            }
        }
        self.tcp.send_replies(&mut self.port);
        while let Some(id) = self.tcp.next_ready() {
            self.tcp.send(now, id, &mut self.port, &mut |source, out| {
                for (position, out) in (source.position..).zip(out) {
                    *out = byte(position);
                }
                true
            });
        }
        let mut sent = Vec::new();
        let mut frame = Vec::new();
        while self.port.take_sent(&mut frame) {
            sent.push(frame.clone());
        }
        sent
    }
}

/// The answer to the client's question who has 10.0.0.1 (the kernel's job in the appliance).
fn arp_reply(request: &[u8]) -> Vec<u8> {
    let mut reply = request.to_vec();
    reply[..6].copy_from_slice(&request[6..12]);
    reply[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    reply[21] = 2;
    reply[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    reply[28..32].copy_from_slice(&request[38..42]);
    reply[32..42].copy_from_slice(&request[22..32]);
    reply
}

fn exchange(seed: u64, loss_percent: u64, bytes: u64) {
    let mut random = Random(seed);
    let mut nic = Nic::default();
    let mac = EthernetAddress([2, 0, 0, 0, 0, 1]);
    let mut iface_config = IfaceConfig::new(HardwareAddress::Ethernet(mac));
    iface_config.random_seed = seed;
    let mut iface = Interface::new(iface_config, &mut nic, Instant::ZERO);
    iface.update_ip_addrs(|addresses| {
        addresses
            .push(IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24))
            .unwrap();
    });
    let mut sockets = SocketSet::new(Vec::new());
    let buffer = || SocketBuffer::new(vec![0; 16_384]);
    let handle = sockets.add(Socket::new(buffer(), buffer()));
    let socket = sockets.get_mut::<Socket<'_>>(handle);
    socket
        .connect(
            iface.context(),
            (IpAddress::v4(10, 0, 0, 1), 8000),
            50_000 + seed as u16 % 999,
        )
        .unwrap();

    let mut server = Server {
        tcp: Tcp::new(config(), Counters::default()),
        port: MemoryPort::new(256),
        id: None,
        received: Vec::new(),
        placed: 0,
        total: bytes,
        finished: false,
        closed: Vec::new(),
    };
    let (mut up, mut down) = (Path::default(), Path::default());
    let (mut sent, mut got) = (0, Vec::new());
    let mut now = Micros(0);
    while now < Micros::from_secs(600) {
        now = now + Micros(1_000);
        nic.received.extend(down.take(now));
        iface.poll(
            Instant::from_micros(now.0.cast_signed()),
            &mut nic,
            &mut sockets,
        );
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        if socket.can_send() && sent < bytes {
            sent += socket
                .send_slice(&stream(sent, (sent + 4000).min(bytes)))
                .unwrap() as u64;
        }
        if socket.can_recv() {
            socket
                .recv(|data| (data.len(), got.extend_from_slice(data)))
                .unwrap();
        }
        if sent == bytes && got.len() as u64 == bytes {
            socket.close();
        }
        for frame in std::mem::take(&mut nic.sent) {
            let arp =
                EthernetFrame::new_checked(&frame).unwrap().ethertype() == EthernetProtocol::Arp;
            if arp {
                nic.received.push(arp_reply(&frame));
            } else {
                up.put(now, frame, &mut random, loss_percent);
            }
        }
        for frame in server.turn(now, up.take(now)) {
            down.put(now, frame, &mut random, loss_percent);
        }
        if !server.closed.is_empty() && server.tcp.count() == 0 {
            break;
        }
    }
    assert_eq!(
        server.received.len() as u64,
        bytes,
        "seed {seed}: {:?} {now:?}",
        server.closed
    );
    assert!(server.received == stream(0, bytes), "seed {seed}: up");
    assert!(
        got == stream(0, bytes),
        "seed {seed}: down, {} of {bytes}",
        got.len()
    );
    assert!(server.finished, "seed {seed}");
    assert_eq!(server.closed, [CloseReason::Finished], "seed {seed}");
    assert_eq!(server.tcp.count(), 0, "seed {seed}");
    assert_eq!(server.tcp.pieces.used(), 0, "seed {seed}");
}

#[test]
fn streams_arrive_over_a_good_path() {
    exchange(1, 0, 200_000);
}

#[test]
fn streams_arrive_over_bad_paths() {
    for seed in 2..30 {
        exchange(seed, seed % 12, 60_000);
    }
}
