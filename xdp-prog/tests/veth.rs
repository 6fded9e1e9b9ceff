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

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine::port::{Port, RECEIVE_BATCH};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use xdp_prog::error::Error;
use xdp_prog::port::{PortConfig, XskPort, ZeroCopy};
use xdp_prog::steering::{Mode, Steering, rx_queues};

const LISTEN: &str = "10.9.0.1:8000";
const FRAMES: u32 = 512;
const HALF: usize = 256;
const CONFIG: PortConfig = PortConfig {
    frames: FRAMES,
    zero_copy: ZeroCopy::Off,
    busy_poll: false,
};
const PATIENCE: Duration = Duration::from_secs(5);

/// The two namespaces; the thread that makes it is moved into the appliance's.
struct World {
    appliance: String,
    player: String,
}

impl World {
    fn new() -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("cluecast-test-{}-{count}-{side}", process::id());
        let world = World {
            appliance: name("appliance"),
            player: name("player"),
        };
        let (a, p) = (&world.appliance, &world.player);
        for line in [
            format!("ip netns add {a}"),
            format!("ip netns add {p}"),
            format!(
                "ip -n {a} link add game numrxqueues 2 numtxqueues 2 type veth \
                 peer name player numrxqueues 2 numtxqueues 2 netns {p}"
            ),
            format!("ip -n {a} address add 10.9.0.1/24 dev game"),
            format!("ip -n {p} address add 10.9.0.2/24 dev player"),
            // Or every checksum from the player is left to a NIC that is not there.
            format!("ip netns exec {p} ethtool -K player tx off"),
            format!("ip -n {a} link set game up"),
            format!("ip -n {p} link set player up"),
        ] {
            shell(&line);
        }
        enter(a);
        world
    }

    /// Runs `body` on a thread in the player's namespace.
    fn as_player<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let name = self.player.clone();
        thread::spawn(move || {
            enter(&name);
            body()
        })
    }

    /// A raw socket on the player's interface.
    fn wire(&self) -> Wire {
        self.as_player(Wire::open).join().unwrap()
    }

    fn address(&self, namespace: &str, interface: &str) -> [u8; 6] {
        let text = shell(&format!("ip -n {namespace} -br link show {interface}"));
        let word = text
            .split_whitespace()
            .find(|word| word.matches(':').count() == 5)
            .unwrap();
        let bytes: Vec<u8> = word
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        bytes.try_into().unwrap()
    }

    /// A TCP segment without data from the player to the appliance, from `port` on.
    fn segment(&self, from_port: u16) -> Vec<u8> {
        let to = self.address(&self.appliance, "game");
        let mut frame = [&to[..], &self.address(&self.player, "player"), &[8, 0]].concat();
        frame.extend([
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1,
        ]);
        frame.extend(from_port.to_be_bytes());
        frame.extend(8000_u16.to_be_bytes());
        frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
        seal(&mut frame);
        frame
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in [&self.appliance, &self.player] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn shell(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text} (needs root)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    setns(file, CloneFlags::CLONE_NEWNET).unwrap();
}

/// A packet socket bound to the player's interface.
struct Wire(OwnedFd);

impl Wire {
    fn open() -> Wire {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let all = SockProtocol::EthAll;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
        let index = nix::net::if_::if_nametoindex("player").unwrap();
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).unwrap(),
            sll_protocol: 3_u16.to_be(),
            sll_ifindex: i32::try_from(index).unwrap(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
        // SAFETY: the socket is open and the address is of the length that is passed.
        let code = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        assert_eq!(code, 0, "{}", io::Error::last_os_error());
        // A full port's frames wait here while the test is busy sending; the default buffer holds
        // some 250 of them. "Force" goes beyond the host's limit.
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).unwrap();
        Wire(socket)
    }

    fn send(&self, frame: &[u8]) {
        loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(sent) => return assert_eq!(sent, frame.len()),
                Err(Errno::EAGAIN | Errno::ENOBUFS) => thread::yield_now(),
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    /// The next frame, if one is there.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2048];
        let length = recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()).ok()?;
        frame.truncate(length);
        Some(frame)
    }

    /// Counts frames that `echo` sent, until there are `count` or nothing more comes.
    fn echoes(&self, count: usize) -> usize {
        let start = Instant::now();
        let mut seen = 0;
        while seen < count && start.elapsed() < PATIENCE {
            match self.receive() {
                Some(frame) if frame[..6] == NOBODY => seen += 1,
                Some(_) => (),
                None => thread::yield_now(),
            }
        }
        seen
    }
}

/// The sum of RFC 1071 over `bytes`, which is 0xffff if they hold their own checksum.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |b| u32::from(*b)));
    let sum: u32 = words.sum();
    (sum & 0xffff) + (sum >> 16)
}

/// The sum over the TCP segment of an IPv4 frame without options, pseudo-header included.
fn tcp_sum(frame: &[u8]) -> u32 {
    let length = u32::from(frame[16]) << 8 | u32::from(frame[17]);
    let end = usize::try_from(length).unwrap() + 14;
    let sum = sum(&frame[26..end]) + 6 + length - 20;
    (sum & 0xffff) + (sum >> 16)
}

/// Writes both checksums of an IPv4 frame without options.
fn seal(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let header = !u16::try_from(sum(&frame[14..34])).unwrap();
    frame[24..26].copy_from_slice(&header.to_be_bytes());
    frame[50..52].fill(0);
    let segment = !u16::try_from(tcp_sum(frame)).unwrap();
    frame[50..52].copy_from_slice(&segment.to_be_bytes());
}

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

/// RSTs sent by the kernel in this thread's namespace.
fn kernel_resets() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let names = lines.next().unwrap().split_whitespace();
    let values = lines.next().unwrap().split_whitespace();
    let (_, value) = names
        .zip(values)
        .find(|(name, _)| *name == "OutRsts")
        .unwrap();
    value.parse().unwrap()
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
            wire.echoes(RECEIVE_BATCH),
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
        assert_eq!(wire.echoes(HALF), HALF, "round {round}: all were sent");
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
