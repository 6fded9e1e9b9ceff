//! smoltcp's sockets as the other side: one interface and one socket a client, on a NIC that is two
//! lists. A stack we did not write, so that both ends do not share a misunderstanding.
//!
//! It holds four pieces out of order, tells one SACK block, waits a second at least before it sends
//! again, and sends timestamps if asked to.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::sim::content::Content;
use crate::units::Micros;

thread_local! {
    /// The millisecond that smoltcp's timestamp generator, a function without state, tells.
    static CLOCK_MS: Cell<u32> = const { Cell::new(0) };
}

/// Sets the clock of the timestamps.
pub(super) fn set_clock(now: Micros) {
    let low = (now.0 / 1_000) & 0xffff_ffff;
    CLOCK_MS.set(u32::try_from(low).unwrap_or(0));
}

fn clock_ms() -> u32 {
    CLOCK_MS.get()
}

pub(super) fn instant(now: Micros) -> Instant {
    Instant::from_micros(now.0.cast_signed())
}

/// A NIC without Ethernet.
#[derive(Debug, Default)]
pub(super) struct Nic {
    pub(super) received: VecDeque<Vec<u8>>,
    pub(super) sent: Vec<Vec<u8>>,
    /// Longest packet.
    pub(super) mtu: usize,
}

#[derive(Debug)]
pub(super) struct Rx(Vec<u8>);

#[derive(Debug)]
pub(super) struct Tx<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Nic {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Rx(packet), Tx(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// An interface at `address`.
pub(super) fn interface(nic: &mut Nic, address: IpAddr, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, nic, Instant::ZERO);
    interface.update_ip_addrs(|addresses| {
        // Room for two.
        let _ = addresses.push(IpCidr::new(address.into(), 8));
    });
    interface
}

/// A socket with buffers of `buffer` bytes.
pub(super) fn socket(
    buffer: usize,
    timestamps: bool,
    ack_delay: Option<Micros>,
) -> Socket<'static> {
    let bytes = || SocketBuffer::new(vec![0; buffer]);
    let mut socket = Socket::new(bytes(), bytes());
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(ack_delay.map(|delay| Duration::from_micros(delay.0)));
    socket.set_tsval_generator(timestamps.then_some(clock_ms));
    socket
}

/// How the client is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of each buffer.
    pub buffer: u32,
    /// Offers timestamps.
    pub timestamps: bool,
    /// Holds ACKs back.
    pub ack_delay: Option<Micros>,
    /// Longest IP packet of its interface: its MSS follows.
    pub mtu: usize,
    /// Its initial sequence number follows from this.
    pub seed: u64,
}

/// A client.
pub(super) struct Foreign {
    interface: Interface,
    nic: Nic,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    down: Content,
    up: Content,
    local: SocketAddr,
    remote: SocketAddr,
    /// Position read up to.
    read: u64,
    /// Position taken by the socket, and offered to it.
    taken: u64,
    written: u64,
    closing: bool,
    connected: bool,
    opened: bool,
    complaint: Option<String>,
    buffer: u64,
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.local)
    }
}

impl Foreign {
    /// A client at `local` that will connect to `remote`.
    pub(super) fn new(
        settings: &Settings,
        local: SocketAddr,
        remote: SocketAddr,
        client: u32,
    ) -> Foreign {
        let mut nic = Nic {
            mtu: settings.mtu,
            ..Nic::default()
        };
        let interface = interface(&mut nic, local.ip(), settings.seed);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let buffer = usize::try_from(settings.buffer).unwrap_or(0);
        let handle = sockets.add(socket(buffer, settings.timestamps, settings.ack_delay));
        Foreign {
            interface,
            nic,
            sockets,
            handle,
            down: Content::down(client),
            up: Content::up(client),
            local,
            remote,
            read: 0,
            taken: 0,
            written: 0,
            closing: false,
            connected: false,
            opened: false,
            complaint: None,
            buffer: u64::from(settings.buffer),
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn look(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn state(&self) -> State {
        self.look().state()
    }

    /// The first SYN leaves with the next `turn`.
    pub(super) fn connect(&mut self) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let (remote, port) = (self.remote, self.local.port());
        let done = socket.connect(self.interface.context(), remote, port);
        if let Err(error) = done {
            self.complaint = Some(format!("smoltcp does not connect: {error:?}"));
        }
        self.connected = true;
    }

    /// Takes an IP packet.
    pub(super) fn receive(&mut self, packet: &[u8]) {
        self.nic.received.push_back(packet.to_vec());
    }

    /// Works off what was received and sends what is due; `out` gets IP packets.
    pub(super) fn turn(&mut self, now: Micros, out: &mut Vec<Vec<u8>>) {
        if !self.connected {
            return;
        }
        set_clock(now);
        self.feed();
        self.interface
            .poll(instant(now), &mut self.nic, &mut self.sockets);
        self.opened |= self.socket().may_send();
        if self.feed() {
            self.interface
                .poll(instant(now), &mut self.nic, &mut self.sockets);
        }
        out.append(&mut self.nic.sent);
    }

    /// Gives the socket what it has room for; true when that was anything.
    fn feed(&mut self) -> bool {
        let (taken, written, up) = (self.taken, self.written, self.up);
        let closing = self.closing;
        let socket = self.socket();
        if !socket.can_send() {
            if closing && taken == written && socket.may_send() {
                socket.close();
                return true;
            }
            return false;
        }
        let mut now_taken = 0u64;
        while taken + now_taken < written {
            let position = taken + now_taken;
            let filled = socket.send(|room| {
                let count = room
                    .len()
                    .min(usize::try_from(written - position).unwrap_or(0));
                up.fill(position, &mut room[..count]);
                (count, count)
            });
            match filled {
                Ok(count) if count > 0 => now_taken += count as u64,
                _ => break,
            }
        }
        if closing && taken + now_taken == written {
            socket.close();
        }
        self.taken += now_taken;
        now_taken > 0 || closing
    }

    /// When `turn` has to be called at the latest.
    pub(super) fn poll_at(&mut self, now: Micros) -> Micros {
        if !self.connected {
            return Micros::NEVER;
        }
        let at = self.interface.poll_at(instant(now), &self.sockets);
        at.map_or(Micros::NEVER, |at| {
            Micros(u64::try_from(at.total_micros()).unwrap_or(0))
        })
    }

    /// Stream position up to which everything has come.
    pub(super) fn arrived(&self) -> u64 {
        self.read + self.look().recv_queue() as u64
    }

    /// Reads up to `bytes`; gives how many.
    pub(super) fn read(&mut self, bytes: u64) -> u64 {
        let (down, start) = (self.down, self.read);
        let mut count = 0u64;
        let mut difference = None;
        let socket = self.socket();
        while count < bytes && socket.can_recv() {
            let taken = socket.recv(|data| {
                let here = data.len().min(usize::try_from(bytes - count).unwrap_or(0));
                difference = difference.or(down.difference(start + count, &data[..here]));
                (here, here)
            });
            match taken {
                Ok(taken) if taken > 0 => count += taken as u64,
                _ => break,
            }
        }
        self.read += count;
        if let Some(at) = difference {
            self.complaint = Some(format!("byte {at} of the stream is wrong"));
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
        let waiting = self.look().recv_queue() as u64;
        self.buffer.saturating_sub(waiting)
    }

    /// Whether the handshake is done.
    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// Whether all that was written, and FIN, was acknowledged.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.taken == self.written
            && self.look().send_queue() == 0
            && (!self.closing
                || matches!(
                    self.state(),
                    State::FinWait2 | State::TimeWait | State::Closed
                ))
    }

    /// Whether everything up to their FIN has come.
    pub(super) fn has_finished(&self) -> bool {
        matches!(
            self.state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        ) || self.opened && self.state() == State::Closed
    }

    /// Whether nothing more will happen.
    pub(super) fn is_closed(&self) -> bool {
        self.opened && self.state() == State::Closed
    }

    /// What they did wrong, if anything.
    pub(super) fn complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }
}
