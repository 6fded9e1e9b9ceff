//! Socket options that xsk-rs 0.11 does not know: busy polling, the TX budget, and what the bind got.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, socklen_t};

/// `linux/if_xdp.h` since Linux 6.17: descriptors sent by one system call in copy mode; 32 before.
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

/// `linux/if_xdp.h`: the flag of `XDP_OPTIONS` for zero-copy.
const XDP_OPTIONS_ZEROCOPY: u32 = 1;

/// Microseconds a system call polls the NIC when nothing is there. Our own loop goes round anyway, so
/// only enough to be taken as busy polling; the kernel's documents use 20.
const BUSY_POLL_US: c_int = 20;

/// Frames a system call takes from the NIC at most: one batch of ours. More than the kernel's default
/// of 8 needs CAP_NET_ADMIN.
const BUSY_POLL_BUDGET: c_int = 64;

/// Asks that this socket's system calls drive the queue instead of interrupts. All or nothing: half of
/// it would leave the queue to nobody.
pub(crate) fn prefer_busy_poll(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1)?;
    set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, BUSY_POLL_US)?;
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_BUSY_POLL_BUDGET,
        BUSY_POLL_BUDGET,
    )
}

/// Asks that one system call sends up to `descriptors`.
pub(crate) fn tx_budget(socket: BorrowedFd<'_>, descriptors: u32) -> io::Result<()> {
    let descriptors = c_int::try_from(descriptors).unwrap_or(c_int::MAX);
    set(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, descriptors)
}

/// Whether the bound socket works without copying.
pub(crate) fn zerocopy(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut flags = 0_u32;
    let mut length: socklen_t = 4;
    let value = (&raw mut flags).cast::<c_void>();
    // JUSTIFICATION: xsk-rs does not read this option.
    // SAFETY: the socket is open; `value` has room for the four bytes that `length` promises.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_OPTIONS,
            value,
            &raw mut length,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(flags & XDP_OPTIONS_ZEROCOPY != 0)
}

fn set(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let value = (&raw const value).cast::<c_void>();
    // JUSTIFICATION: neither nix nor xsk-rs knows these options.
    // SAFETY: the socket is open; `value` points to the four bytes that the length names.
    let code = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, 4) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
