//! How many receive queues an interface has, asked from its driver.
//!
//! `ETHTOOL_GCHANNELS` and not `/sys/class/net`: sysfs shows the network namespace in which it was
//! mounted, which need not be the one of the calling thread.

use std::ffi::c_char;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::error::Error;

/// `linux/ethtool.h`: get the number of channels.
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_channels` of `linux/ethtool.h`.
#[repr(C)]
#[derive(Debug, Default)]
struct Channels {
    command: u32,
    rx_max: u32,
    tx_max: u32,
    other_max: u32,
    combined_max: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

nix::ioctl_readwrite_bad!(ethtool, libc::SIOCETHTOOL, libc::ifreq);

/// Receive queues of `interface` in the network namespace of the calling thread; at least 1. A driver
/// that cannot say has one.
pub fn rx_queues(interface: &str) -> Result<u32, Error> {
    let fail = |errno| Error::Queues {
        interface: interface.to_owned(),
        source: io::Error::from(errno),
    };
    // The name must fit with its final zero; no longer name can exist.
    if interface.is_empty() || interface.len() >= libc::IFNAMSIZ {
        return Err(Error::NoInterface(interface.to_owned()));
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None).map_err(fail)?;

    let mut channels = Channels {
        command: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    let mut name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    let data = (&raw mut channels).cast::<c_char>();
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data },
    };
    // JUSTIFICATION: neither nix nor xsk-rs has this call.
    // SAFETY: the socket is open, the request is initialised, and what it points to lives until the
    // call returns and has the layout and the size that the command asks for.
    match unsafe { ethtool(socket.as_raw_fd(), &raw mut request) } {
        Ok(_) => Ok((channels.rx + channels.combined).max(1)),
        Err(nix::Error::EOPNOTSUPP) => Ok(1),
        Err(nix::Error::ENODEV) => Err(Error::NoInterface(interface.to_owned())),
        Err(errno) => Err(fail(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_cannot_say_and_has_one() {
        assert_eq!(rx_queues("lo").unwrap(), 1);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        for name in ["cluecast-none", "", "a-name-that-is-far-too-long-for-one"] {
            let error = rx_queues(name).unwrap_err();
            assert!(matches!(error, Error::NoInterface(_)), "{name}: {error:?}");
        }
    }
}
