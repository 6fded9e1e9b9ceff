//! The program and the port on a real kernel device, with a kernel TCP stack as the other side.
//!
//! ```text
//!   namespace cluecast-test-PID-N-appliance       namespace cluecast-test-PID-N-player
//!
//!     XskPort 0   XskPort 1
//!          ^           ^
//!     +----+-----------+----+                       +--------------------+
//!     | game, 2 queues, XDP |========= veth ========| player, 2 queues   |
//!     | 10.9.0.1            |                       | 10.9.0.2, tx off   |
//!     +---------------------+                       +--------------------+
//! ```
//!
//! Each test makes its own pair of namespaces and removes them, also when it panics. Needs root,
//! iproute2 and ethtool. Nothing has to run in the player's end for AF_XDP to work on veth: only
//! XDP_TX and redirection to another device ask for that.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use engine::port::{Port, RECEIVE_BATCH};
use xdp_prog::error::Error;
use xdp_prog::port::{PortConfig, XskPort, ZeroCopy};
use xdp_prog::steering::{Mode, Steering, rx_queues};

use crate::world::{LISTEN, Wire, World, kernel_resets, seal, shell, tcp_sum};

const FRAMES: u32 = 512;
const HALF: usize = 256;
const CONFIG: PortConfig = PortConfig {
    frames: FRAMES,
    zero_copy: ZeroCopy::Off,
    busy_poll: false,
};
const PATIENCE: Duration = Duration::from_secs(5);

/// The RST that RFC 9293 3.10.7.1 asks for as the answer to a SYN.
fn reset(syn: &[u8], answer: &mut [u8]) -> usize {
    answer[..54].copy_from_slice(&syn[..54]);
    answer[..6].copy_from_slice(&syn[6..12]);
    answer[6..12].copy_from_slice(&syn[..6]);
    answer[16..18].copy_from_slice(&40_u16.to_be_bytes());
    answer[26..30].copy_from_slice(&syn[30..34]);
    answer[30..34].copy_from_slice(&syn[26..30]);
    answer[34..36].copy_from_slice(&syn[36..38]);
    answer[36..38].copy_from_slice(&syn[34..36]);
    answer[38..42].fill(0);
    let seq = u32::from_be_bytes(syn[38..42].try_into().unwrap());
    answer[42..46].copy_from_slice(&seq.wrapping_add(1).to_be_bytes());
    answer[46..48].copy_from_slice(&[0x50, 0x14]);
    seal(&mut answer[..54]);
    54
}

/// A destination that the player's kernel does not take for its own, so that it does not answer.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// Sends what has been received to [`NOBODY`]; returns how many frames that were.
fn echo(port: &mut XskPort) -> usize {
    port.complete();
    let count = port.receive();
    for index in 0..count {
        let frame = port.rx(index).to_vec();
        let sent = port.send(|buffer| {
            buffer[..frame.len()].copy_from_slice(&frame);
            buffer[..6].copy_from_slice(&NOBODY);
            frame.len()
        });
        assert!(sent, "there is room: {}", port.tx_room());
    }
    port.release();
    port.flush();
    count
}

/// Counts frames that `echo` sent, until there are `count` or nothing more comes.
fn echoes(wire: &Wire, count: usize) -> usize {
    let start = Instant::now();
    let mut seen = 0;
    while seen < count && start.elapsed() < PATIENCE {
        match wire.receive() {
            Some(frame) if frame[..6] == NOBODY => seen += 1,
            Some(_) => (),
            None => thread::yield_now(),
        }
    }
    seen
}

/// Waits until every sent frame has come back.
fn settle(port: &mut XskPort) {
    let start = Instant::now();
    while port.tx_room() < HALF && start.elapsed() < PATIENCE {
        port.flush();
        port.complete();
    }
    assert_eq!(port.tx_room(), HALF, "every sent frame comes back");
    assert_eq!(port.frames(), (HALF, HALF), "no frame is lost");
}

fn attach(mode: Mode) -> Steering {
    let listen: SocketAddr = LISTEN.parse().unwrap();
    Steering::attach("game", &[listen], mode).unwrap()
}

fn open(queue: u32) -> XskPort {
    XskPort::open("game", queue, &CONFIG).unwrap()
}

/// Both queues with their ports, the program in the driver.
fn start() -> (Steering, Vec<XskPort>) {
    let ports: Vec<XskPort> = (0..2).map(open).collect();
    let steering = attach(Mode::Auto);
    for (queue, port) in (0..).zip(&ports) {
        steering.register(queue, port).unwrap();
    }
    (steering, ports)
}

fn verdict(steering: &Steering, name: &str) -> u64 {
    steering.verdicts()[xdp_prog::verdict::index(name).unwrap()]
}

/// A kernel's connect is answered with a RST by us, which only a correct frame can achieve.
fn a_connect_is_refused(mode: Mode, config: &PortConfig) -> (bool, u64) {
    let world = World::new();
    let mut ports: Vec<XskPort> = (0..2)
        .map(|queue| XskPort::open("game", queue, config).unwrap())
        .collect();
    let steering = attach(mode);
    for (queue, port) in (0..).zip(&ports) {
        steering.register(queue, port).unwrap();
    }
    let client = world.as_player(|| TcpStream::connect(LISTEN).map(drop));
    let start = Instant::now();
    while !client.is_finished() && start.elapsed() < PATIENCE {
        for port in &mut ports {
            for index in 0..port.receive() {
                let syn = port.rx(index).to_vec();
                assert_eq!(
                    tcp_sum(&syn),
                    0xffff,
                    "tx off makes the player's checksums valid"
                );
                assert!(port.send(|buffer| reset(&syn, buffer)));
            }
            port.release();
            port.flush();
            port.complete();
        }
    }
    assert!(client.is_finished(), "no answer reached the client");
    let error = client.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    assert_eq!(kernel_resets(), 0, "the RST was ours");
    assert!(verdict(&steering, "steered") > 0);
    assert!(
        verdict(&steering, "pass_not_ip") > 0,
        "ARP went to the kernel"
    );
    ports.iter_mut().for_each(settle);
    let kicks = ports.iter_mut().map(|port| port.stats().kicks).sum();
    (steering.is_native(), kicks)
}

#[test]
fn native_mode_answers_a_kernel_client() {
    let (native, _) = a_connect_is_refused(Mode::Auto, &CONFIG);
    assert!(native, "veth has native XDP");
}

#[test]
fn generic_mode_answers_a_kernel_client() {
    let (native, _) = a_connect_is_refused(Mode::Generic, &CONFIG);
    assert!(!native, "as asked");
}

#[test]
fn busy_polling_answers_a_kernel_client() {
    let config = PortConfig {
        busy_poll: true,
        ..CONFIG
    };
    let (_, kicks) = a_connect_is_refused(Mode::Native, &config);
    assert!(kicks > 100, "an idle turn polls the NIC: {kicks}");
}

#[test]
fn copy_mode_is_what_veth_gives_and_what_is_reported() {
    let _world = World::new();
    let config = PortConfig {
        zero_copy: ZeroCopy::Auto,
        ..CONFIG
    };
    assert!(!XskPort::open("game", 0, &config).unwrap().is_zero_copy());
    let config = PortConfig {
        zero_copy: ZeroCopy::Require,
        ..CONFIG
    };
    let error = XskPort::open("game", 0, &config).unwrap_err();
    assert!(error.to_string().contains("game.zero_copy"), "{error}");
}

#[test]
fn thousands_of_frames_on_two_queues_lose_none() {
    const COUNT: usize = 20_000;
    let world = World::new();
    let wire = world.wire();
    let (steering, mut ports) = start();
    let mut frame = world.segment(0);
    let mut sent = 0;
    while sent < COUNT {
        // No more than a veth queue holds, so that nothing is dropped on the way.
        for _ in 0..RECEIVE_BATCH {
            let from = u16::try_from(1024 + sent % 50_000).unwrap();
            frame[34..36].copy_from_slice(&from.to_be_bytes());
            seal(&mut frame);
            wire.send(&frame);
            sent += 1;
        }
        let start = Instant::now();
        let mut echoed = 0;
        while echoed < RECEIVE_BATCH && start.elapsed() < PATIENCE {
            echoed += ports.iter_mut().map(echo).sum::<usize>();
        }
        assert_eq!(echoed, RECEIVE_BATCH, "received after {sent}");
        assert_eq!(
            echoes(&wire, RECEIVE_BATCH),
            RECEIVE_BATCH,
            "sent back after {sent}"
        );
    }
    ports.iter_mut().for_each(settle);
    let stats: Vec<_> = ports.iter_mut().map(Port::stats).collect();
    let received: u64 = stats.iter().map(|stats| stats.rx_frames).sum();
    assert_eq!(received, sent as u64);
    assert_eq!(verdict(&steering, "steered"), sent as u64);
    for stats in stats {
        assert!(stats.rx_frames > 0, "both queues have their share");
        assert_eq!(
            (stats.rx_frames, stats.rx_dropped, stats.tx_invalid),
            (stats.tx_frames, 0, 0)
        );
        // A flush that sends is one call as long as the kernel keeps up.
        assert!(
            stats.kicks < stats.tx_frames / 2,
            "{} for {}",
            stats.kicks,
            stats.tx_frames
        );
    }
}

/// What a core relies on that takes batches until one is short.
#[test]
fn a_short_batch_is_all_that_has_arrived() {
    let world = World::new();
    let wire = world.wire();
    let (steering, mut ports) = start();
    let frame = world.segment(4000);
    let arrive = |count: usize, sum: u64| {
        (0..count).for_each(|_| wire.send(&frame));
        let start = Instant::now();
        while verdict(&steering, "steered") < sum && start.elapsed() < PATIENCE {
            thread::yield_now();
        }
        assert_eq!(verdict(&steering, "steered"), sum);
        // The kernel publishes a batch a moment after the program has seen its last frame.
        thread::sleep(Duration::from_millis(20));
    };
    arrive(RECEIVE_BATCH + 36, 100);
    let counts: Vec<usize> = ports.iter_mut().map(Port::receive).collect();
    let queue = counts.iter().position(|&count| count > 0).unwrap();
    assert_eq!(counts[queue], RECEIVE_BATCH);
    // More comes while some of the first is still to be taken.
    arrive(50, 150);
    assert_eq!(ports[queue].receive(), RECEIVE_BATCH);
    assert_eq!(ports[queue].receive(), 22);
    assert_eq!(ports[queue].receive(), 0);
    ports.iter_mut().for_each(settle);
}

#[test]
fn a_flood_is_dropped_and_counted_and_loses_no_frame() {
    let world = World::new();
    let wire = world.wire();
    let (steering, mut ports) = start();
    let frame = world.segment(4000);
    let start = Instant::now();
    let dropped = |ports: &mut [XskPort]| {
        ports
            .iter_mut()
            .map(|port| port.stats().rx_dropped)
            .sum::<u64>()
    };
    while dropped(&mut ports) == 0 && start.elapsed() < PATIENCE {
        (0..256).for_each(|_| wire.send(&frame));
    }
    assert!(dropped(&mut ports) > 0, "{:?}", steering.verdicts());
    let mut received = 0;
    let mut idle = Instant::now();
    while idle.elapsed() < Duration::from_millis(200) {
        let count: usize = ports.iter_mut().map(echo).sum();
        if count > 0 {
            idle = Instant::now();
            received += count;
        }
    }
    assert!(
        received >= HALF,
        "what there was room for came through: {received}"
    );
    ports.iter_mut().for_each(settle);
    // And it works as before.
    wire.send(&frame);
    let start = Instant::now();
    while ports.iter_mut().map(echo).sum::<usize>() == 0 {
        assert!(start.elapsed() < PATIENCE, "still receives");
    }
}

#[test]
fn a_full_port_says_so_and_empties_again() {
    let world = World::new();
    let wire = world.wire();
    let (_steering, mut ports) = start();
    let port = &mut ports[0];
    let frame = world.segment(4000);
    for round in 0..10 {
        let mut sent = 0;
        while port.send(|buffer| {
            buffer[..54].copy_from_slice(&frame);
            buffer[..6].copy_from_slice(&NOBODY);
            54
        }) {
            sent += 1;
        }
        assert_eq!(sent, HALF, "round {round}");
        assert_eq!(port.tx_room(), 0);
        assert!(!port.send(|_| panic!("fill is not called without room")));
        port.flush();
        settle(port);
        assert_eq!(echoes(&wire, HALF), HALF, "round {round}: all were sent");
    }
}

#[test]
fn a_frame_of_length_zero_is_not_sent() {
    let world = World::new();
    let wire = world.wire();
    let (_steering, mut ports) = start();
    assert!(ports[0].send(|_| 0));
    ports[0].flush();
    assert_eq!(ports[0].stats().tx_frames, 0);
    assert_eq!(ports[0].tx_room(), HALF);
    assert!(!std::iter::from_fn(|| wire.receive()).any(|frame| frame[..6] == NOBODY));
}

#[test]
fn without_a_socket_the_client_hears_nothing() {
    let world = World::new();
    let steering = attach(Mode::Native);
    let address: SocketAddr = LISTEN.parse().unwrap();
    let client = world.as_player(move || {
        TcpStream::connect_timeout(&address, Duration::from_millis(1500)).map(drop)
    });
    let error = client.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_eq!(kernel_resets(), 0);
    assert!(verdict(&steering, "drop_no_socket") > 0);
    // Without the program the kernel answers, so the silence above was the program's.
    drop(steering);
    let client = world.as_player(|| TcpStream::connect(LISTEN).map(drop));
    let error = client.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    assert_eq!(kernel_resets(), 1);
}

#[test]
fn dropping_it_detaches_the_program() {
    let world = World::new();
    let show = || shell(&format!("ip -n {} link show game", world.appliance));
    let steering = attach(Mode::Native);
    assert!(show().contains("xdp"), "{}", show());
    let taken = Steering::attach("game", &[LISTEN.parse().unwrap()], Mode::Native).unwrap_err();
    assert!(taken.to_string().contains("bpftool net"), "{taken}");
    drop(steering);
    assert!(!show().contains("xdp"), "{}", show());
}

#[test]
fn a_queue_is_waited_for_while_its_predecessor_goes() {
    let _world = World::new();
    let predecessor = open(0);
    let going = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(predecessor);
    });
    let successor = XskPort::open("game", 0, &CONFIG).unwrap();
    going.join().unwrap();
    let error = XskPort::open("game", 0, &CONFIG).unwrap_err();
    assert!(error.to_string().contains("one more appliance"), "{error}");
    drop(successor);
}

#[test]
fn what_is_not_there_is_named() {
    let _world = World::new();
    assert_eq!(rx_queues("game").unwrap(), 2);
    let error = XskPort::open("game", 2, &CONFIG).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoQueue {
                queue: 2,
                queues: 2,
                ..
            }
        ),
        "{error:?}"
    );
    let error = XskPort::open("eth-none", 0, &CONFIG).unwrap_err();
    assert!(matches!(error, Error::NoInterface(_)), "{error:?}");
    let listen: SocketAddr = LISTEN.parse().unwrap();
    let error = Steering::attach("eth-none", &[listen], Mode::Auto).unwrap_err();
    assert!(matches!(error, Error::NoInterface(_)), "{error:?}");
    for frames in [0, 128, 300, 1 << 19] {
        let error = XskPort::open("game", 0, &PortConfig { frames, ..CONFIG }).unwrap_err();
        assert!(error.to_string().contains("power of two"), "{error}");
    }
}
