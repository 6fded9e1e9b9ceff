//! A packet socket on one interface: whole Ethernet frames in and out, many to a system call.
//!
//! For tools that stand where a wire stands ([`crate::faultlink`]) or where an attacker stands
//! ([`crate::flood`]). Needs CAP_NET_RAW. What is sent goes straight to the driver, past the queue
//! discipline; what this host sends on the interface is not received back.
//!
//! The interface should have its offloads off (`ethtool -K IF tx off tso off gso off gro off`): with
//! them, frames carry unfinished checksums and are larger than any wire takes. A frame longer than
//! [`FRAME_BYTES_MAX`] is cut by the kernel and counted in [`Inbox::too_long`].
//!
//! unsafe: the only file of this package that has some; libc's calls take pointers to what the
//! functions here own or borrow for the length of the call.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null_mut;

use anyhow::Context;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};

/// Frames moved by one system call. Larger saves little: a call costs less than one frame's way
/// through a veth pair from eight frames up.
pub const BATCH: usize = 64;

/// Longest frame: a jumbo frame and its headers.
pub const FRAME_BYTES_MAX: usize = 9_216;

/// Frames that the kernel keeps for us while we are busy; the default holds some 250 of them.
const BUFFER_BYTES: usize = 64 << 20;

/// See the file's header.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

/// Where received frames are put.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    /// Frames that were longer than [`FRAME_BYTES_MAX`]; they are not handed on.
    pub too_long: u64,
}

impl PacketSocket {
    /// A socket that takes everything which `interface` receives.
    pub fn open(interface: &str) -> anyhow::Result<PacketSocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let all = SockProtocol::EthAll;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, all)
            .context("open a packet socket; it needs CAP_NET_RAW")?;
        let index = nix::net::if_::if_nametoindex(interface)
            .with_context(|| format!("no interface {interface}"))?;
        setsockopt(&fd, sockopt::RcvBufForce, &BUFFER_BYTES).context("SO_RCVBUFFORCE")?;
        set_option(&fd, libc::PACKET_IGNORE_OUTGOING, &1_i32).context("ignore what is sent")?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: i32::try_from(index)?,
            mr_type: u16::try_from(libc::PACKET_MR_PROMISC)?,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set_option(&fd, libc::PACKET_ADD_MEMBERSHIP, &promiscuous).context("promiscuous mode")?;
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET)?,
            sll_protocol: u16::try_from(libc::ETH_P_ALL)?.to_be(),
            sll_ifindex: i32::try_from(index)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = libc::socklen_t::try_from(size_of_val(&address))?;
        // JUSTIFICATION: nix cannot make a link-layer address.
        // SAFETY: the descriptor is open; the address is a live value of the length that is passed.
        let code = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
        if code != 0 {
            return Err(Error::last_os_error()).with_context(|| format!("bind to {interface}"));
        }
        Ok(PacketSocket(fd))
    }

    /// Sends `frames`, at most [`BATCH`] of them; how many the driver took. An error speaks of the
    /// first one.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<usize> {
        let mut parts = [const { empty_part() }; BATCH];
        let mut headers = [const { empty_header() }; BATCH];
        let mut count = 0;
        for ((part, header), frame) in parts.iter_mut().zip(&mut headers).zip(frames) {
            *part = libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // JUSTIFICATION: one call for many frames.
        // SAFETY: the first `count` headers point to parts, and these to frames, that outlive the
        // call; sendmmsg only reads through them, despite the pointers' type.
        let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| Error::last_os_error())
    }

    /// Receives what is there, at most [`BATCH`] frames.
    pub fn receive(&self, inbox: &mut Inbox) -> Result<()> {
        let mut parts = [const { empty_part() }; BATCH];
        let mut headers = [const { empty_header() }; BATCH];
        let buffers = inbox.bytes.chunks_exact_mut(FRAME_BYTES_MAX);
        let mut count = 0;
        for ((part, header), buffer) in parts.iter_mut().zip(&mut headers).zip(buffers) {
            *part = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        inbox.lengths.clear();
        let fd = self.0.as_raw_fd();
        // JUSTIFICATION: one call for many frames.
        // SAFETY: the headers point to parts, and these to buffers of the inbox, which is borrowed
        // for the length of the call and which nobody else reads meanwhile.
        let received = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, 0, null_mut()) };
        let received = match usize::try_from(received) {
            Ok(received) => received,
            Err(_) => match Error::last_os_error() {
                error if error.kind() == ErrorKind::WouldBlock => 0,
                error => return Err(error),
            },
        };
        for header in &headers[..received] {
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            inbox.too_long += u64::from(cut);
            let length = usize::try_from(header.msg_len).unwrap_or(0);
            inbox.lengths.push(if cut { 0 } else { length });
        }
        Ok(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Inbox {
        Inbox {
            bytes: vec![0; BATCH * FRAME_BYTES_MAX],
            lengths: Vec::with_capacity(BATCH),
            too_long: 0,
        }
    }

    /// What the last `receive` took, in the order of arrival.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let buffers = self.bytes.chunks_exact(FRAME_BYTES_MAX);
        let frames = buffers
            .zip(&self.lengths)
            .map(|(buffer, length)| &buffer[..*length]);
        frames.filter(|frame| !frame.is_empty())
    }
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox::new()
    }
}

fn set_option<T>(fd: &OwnedFd, option: libc::c_int, value: &T) -> anyhow::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>())?;
    let (fd, value) = (fd.as_raw_fd(), (&raw const *value).cast());
    // JUSTIFICATION: nix does not know these options.
    // SAFETY: the descriptor is open; the value is live and of the length that is passed.
    let code = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, value, length) };
    anyhow::ensure!(code == 0, Error::last_os_error());
    Ok(())
}

const fn empty_part() -> libc::iovec {
    libc::iovec {
        iov_base: null_mut(),
        iov_len: 0,
    }
}

const fn empty_header() -> libc::mmsghdr {
    // JUSTIFICATION: the structure has private padding on some C libraries, so it cannot be written out.
    // SAFETY: all of its fields are integers and pointers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}
