//! How many receive queues an interface has, and which driver, asked from the driver.
//!
//! `SIOCETHTOOL` and not `/sys/class/net`: sysfs shows the network namespace in which it was
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

/// `linux/ethtool.h`: get the driver's name.
const ETHTOOL_GDRVINFO: u32 = 3;

/// `struct ethtool_drvinfo` of `linux/ethtool.h`; only the name is of interest.
#[repr(C)]
#[derive(Debug)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<DriverInfo>() == 196, "what the kernel writes");

nix::ioctl_readwrite_bad!(ethtool, libc::SIOCETHTOOL, libc::ifreq);

/// Receive queues of `interface` in the network namespace of the calling thread; at least 1. A driver
/// that cannot say has one.
pub fn rx_queues(interface: &str) -> Result<u32, Error> {
    let mut channels = Channels {
        command: ETHTOOL_GCHANNELS,
        ..Channels::default()
    };
    match ask(interface, (&raw mut channels).cast())? {
        Ok(()) => Ok((channels.rx + channels.combined).max(1)),
        Err(nix::Error::EOPNOTSUPP) => Ok(1),
        Err(errno) => Err(fail(interface, errno)),
    }
}

/// The name of the driver of `interface`; empty if the kernel knows none.
pub(crate) fn driver(interface: &str) -> Result<String, Error> {
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    match ask(interface, (&raw mut info).cast())? {
        Ok(()) => {
            let name = info.driver.split(|byte| *byte == 0).next();
            Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
        }
        Err(nix::Error::EOPNOTSUPP) => Ok(String::new()),
        Err(errno) => Err(fail(interface, errno)),
    }
}

fn fail(interface: &str, errno: nix::Error) -> Error {
    Error::Queues {
        interface: interface.to_owned(),
        source: io::Error::from(errno),
    }
}

/// One request of `SIOCETHTOOL`; `data` begins with the command, and has its layout and size. The inner
/// error is what the driver answers.
fn ask(interface: &str, data: *mut c_char) -> Result<nix::Result<()>, Error> {
    // The name must fit with its final zero; no longer name can exist.
    if interface.is_empty() || interface.len() >= libc::IFNAMSIZ {
        return Err(Error::NoInterface(interface.to_owned()));
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)
        .map_err(|errno| fail(interface, errno))?;
    let mut name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data },
    };
    // JUSTIFICATION: neither nix nor xsk-rs has this call.
    // SAFETY: the socket is open, the request is initialised, and what it points to lives until the
    // call returns and has the layout and the size that the command asks for.
    match unsafe { ethtool(socket.as_raw_fd(), &raw mut request) } {
        Ok(_) => Ok(Ok(())),
        Err(nix::Error::ENODEV) => Err(Error::NoInterface(interface.to_owned())),
        Err(errno) => Ok(Err(errno)),
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
