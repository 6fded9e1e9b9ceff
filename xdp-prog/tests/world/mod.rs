//! Two network namespaces with a veth pair between them, and a raw socket on the player's end. The
//! tests of the whole appliance live in it too.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "more than one test program has this file, and each uses a part of it"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};

/// Where players connect to.
pub const LISTEN: &str = "10.9.0.1:8000";

/// The two namespaces; the thread that makes it is moved into the appliance's.
pub struct World {
    pub appliance: String,
    pub player: String,
}

impl World {
    pub fn new() -> World {
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
            format!("ip -n {a} address add fd00:9::1/64 dev game nodad"),
            format!("ip -n {p} address add fd00:9::2/64 dev player nodad"),
            format!("ip -n {a} link set lo up"),
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
    pub fn as_player<T: Send + 'static>(
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
    pub fn wire(&self) -> Wire {
        self.as_player(Wire::open).join().unwrap()
    }

    pub fn address(&self, namespace: &str, interface: &str) -> [u8; 6] {
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
    pub fn segment(&self, from_port: u16) -> Vec<u8> {
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

pub fn shell(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text} (needs root)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    setns(file, CloneFlags::CLONE_NEWNET).unwrap();
}

/// A packet socket bound to the player's interface.
pub struct Wire(OwnedFd);

impl Wire {
    pub fn open() -> Wire {
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

    pub fn send(&self, frame: &[u8]) {
        loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(sent) => return assert_eq!(sent, frame.len()),
                Err(Errno::EAGAIN | Errno::ENOBUFS) => thread::yield_now(),
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    /// The next frame, if one is there.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2048];
        let length = recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()).ok()?;
        frame.truncate(length);
        Some(frame)
    }
}

/// The sum of RFC 1071 over `bytes`, which is 0xffff if they hold their own checksum.
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |b| u32::from(*b)));
    let sum: u32 = words.sum();
    (sum & 0xffff) + (sum >> 16)
}

/// The sum over the TCP segment of an IPv4 frame without options, pseudo-header included.
pub fn tcp_sum(frame: &[u8]) -> u32 {
    let length = u32::from(frame[16]) << 8 | u32::from(frame[17]);
    let end = usize::try_from(length).unwrap() + 14;
    let sum = sum(&frame[26..end]) + 6 + length - 20;
    (sum & 0xffff) + (sum >> 16)
}

/// Writes both checksums of an IPv4 frame without options.
pub fn seal(frame: &mut [u8]) {
    seal_header(frame);
    frame[50..52].fill(0);
    let segment = !u16::try_from(tcp_sum(frame)).unwrap();
    frame[50..52].copy_from_slice(&segment.to_be_bytes());
}

/// Writes the checksum of an IPv4 header without options.
pub fn seal_header(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let header = !u16::try_from(sum(&frame[14..34])).unwrap();
    frame[24..26].copy_from_slice(&header.to_be_bytes());
}

/// RSTs sent by the kernel in this thread's namespace.
pub fn kernel_resets() -> u64 {
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
