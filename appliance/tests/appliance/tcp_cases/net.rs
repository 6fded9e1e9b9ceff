//! The raw side of the wire: one packet socket on the player's interface, shared by all peers of a
//! run, and the thread that hands each received packet to the peer with its address.
//!
//! ```text
//!  server's namespace                     player's namespace
//!  10.9.0.1:8000  game ------ veth ------ player  10.9.0.2 (kernel)
//!   everything else via 10.9.0.77               \- packet socket: 10.77.0.0/16 and whoever else,
//!   = 02:00:00:00:00:77                            all with the MAC 02:00:00:00:00:77
//! ```
//!
//! The player's kernel owns none of the peers' addresses and sees another MAC, so it neither answers
//! nor forwards. The server's kernel has one static neighbour and asks nobody.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};

use super::segment::four;
use crate::world::{World, shell};

/// The peers' MAC.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

/// The server's address and ports.
pub const SERVER: [u8; 4] = [10, 9, 0, 1];
pub const PORT: u16 = 8000;
pub const CLOSED_PORT: u16 = 8001;

/// A packet and when it came.
pub type Arrival = (Instant, Vec<u8>);

type Routes = Arc<Mutex<HashMap<[u8; 4], Sender<Arrival>>>>;

/// Connections the server holds, where it can be asked.
pub type Census = Box<dyn Fn() -> u64 + Send + Sync>;

/// One server and the wire to it.
pub struct Net {
    player: String,
    server_mac: [u8; 6],
    socket: Arc<OwnedFd>,
    routes: Routes,
    next: AtomicU16,
    stop: Arc<AtomicBool>,
    receiver: Option<JoinHandle<()>>,
    /// Asks the server how many connections it holds.
    pub census: Option<Census>,
}

impl Net {
    /// Opens the raw side of `world`, whose server side gets its routes.
    pub fn open(world: &World, census: Option<Census>) -> Net {
        let a = &world.appliance;
        let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
        for line in [
            format!("ip -n {a} neighbour replace 10.9.0.77 lladdr {mac} dev game nud permanent"),
            format!("ip -n {a} route add default via 10.9.0.77 dev game"),
        ] {
            shell(&line);
        }
        let socket = Arc::new(world.as_player(open_socket).join().unwrap());
        let (routes, stop) = (Routes::default(), Arc::new(AtomicBool::new(false)));
        let receiver = {
            let (socket, routes, stop) = (socket.clone(), routes.clone(), stop.clone());
            thread::spawn(move || receive(&socket, &routes, &stop))
        };
        Net {
            player: world.player.clone(),
            server_mac: world.address(a, "game"),
            socket,
            routes,
            next: AtomicU16::new(1),
            stop,
            receiver: Some(receiver),
            census,
        }
    }

    /// An address and port nobody has had before.
    pub fn fresh(&self) -> ([u8; 4], u16) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        ([10, 77, high, low], 20_000 + number)
    }

    /// Packets to `address` go to the returned end from now on.
    pub fn route(&self, addresses: &[[u8; 4]]) -> Receiver<Arrival> {
        let (sender, receiver) = channel();
        let mut routes = self.routes.lock().unwrap();
        for address in addresses {
            routes.insert(*address, sender.clone());
        }
        receiver
    }

    /// Forgets `address`.
    pub fn unroute(&self, addresses: &[[u8; 4]]) {
        let mut routes = self.routes.lock().unwrap();
        for address in addresses {
            routes.remove(address);
        }
    }

    /// Sends an IPv4 packet to the server.
    pub fn send(&self, packet: &[u8]) {
        self.send_frame(&self.frame(packet));
    }

    /// A packet with the Ethernet header that takes it to the server.
    pub fn frame(&self, packet: &[u8]) -> Vec<u8> {
        [&self.server_mac[..], &MAC, &[8, 0], packet].concat()
    }

    /// Sends any frame.
    pub fn send_frame(&self, frame: &[u8]) {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => thread::yield_now(),
                // Too short for an Ethernet header: cannot be sent.
                Err(Errno::EINVAL) => return,
                Err(errno) => panic!("{errno}"),
            }
        }
    }

    /// A connection by the player's kernel.
    pub fn dial(&self, within: Duration) -> io::Result<TcpStream> {
        let name = self.player.clone();
        let connect = move || {
            crate::world::enter(&name);
            TcpStream::connect_timeout(&(SERVER, PORT).into(), within)
        };
        let stream = thread::spawn(connect).join().unwrap()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(within))?;
        Ok(stream)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(receiver) = self.receiver.take() {
            let _ = receiver.join();
        }
    }
}

fn receive(socket: &OwnedFd, routes: &Routes, stop: &AtomicBool) {
    let mut frame = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let length = match recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::from(50_u8)).unwrap();
                continue;
            }
            Err(Errno::ENETDOWN) => return,
            Err(errno) => panic!("{errno}"),
        };
        let now = Instant::now();
        // IPv4 for peers only.
        if length < 34 || frame[6..12] == MAC || frame[12..14] != [8, 0] {
            continue;
        }
        let packet = &frame[14..length];
        if let Some(peer) = routes.lock().unwrap().get(&four(&packet[16..])) {
            let _ = peer.send((now, packet.to_vec()));
        }
    }
}

fn open_socket() -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let all = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
    let index = nix::net::if_::if_nametoindex("player").unwrap();
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 3_u16.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the socket is open and the address is of the length that is passed.
    let code = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
    // Floods come back otherwise: the socket would see what it sends itself.
    let one = 1_i32;
    // SAFETY: the socket is open and the option's value is of the length that is passed.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const one).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
    // "Force" goes beyond the host's limit.
    setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).unwrap();
    socket
}
