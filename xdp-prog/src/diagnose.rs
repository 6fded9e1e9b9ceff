//! What an interface can do, asked before anything is attached: the driver's own statement over netlink
//! (family `netdev`, Linux 6.3), read by libbpf.
//!
//! For `cluecast doctor`; the start itself tries and reports what it got. A statement is not a promise:
//! zero-copy can still fail on a queue, with an MTU, or for want of frames.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;

use crate::error::Error;
use crate::queues;
use crate::steering::interface_index;

/// `enum netdev_xdp_act` of `linux/netdev.h`.
const BASIC: u64 = 1;
/// See [`BASIC`].
const REDIRECT: u64 = 2;
/// See [`BASIC`].
const ZERO_COPY: u64 = 8;

/// What the driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// The driver's name; empty if the kernel knows none.
    pub driver: String,
    /// What it says of XDP; `None` if the kernel cannot be asked (before Linux 6.3).
    pub xdp: Option<Xdp>,
}

/// See [`Abilities::xdp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xdp {
    /// A program runs in the driver and can redirect to AF_XDP sockets.
    pub native: bool,
    /// AF_XDP without copying.
    pub zero_copy: bool,
    /// Descriptors a frame may have when it is sent without copying; 0 without zero-copy.
    pub zero_copy_segments_max: u32,
}

/// Asks the driver of `interface`, in the network namespace of the calling thread.
pub fn abilities(interface: &str) -> Result<Abilities, Error> {
    let driver = queues::driver(interface)?;
    let index = interface_index(interface)?;
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as u64,
        ..Default::default()
    };
    // JUSTIFICATION: the safe wrapper leaves the features out.
    // SAFETY: `options` lives during the call and says its own size.
    let code = unsafe { libbpf_sys::bpf_xdp_query(index, 0, &raw mut options) };
    // A kernel without the family answers with success and no features at all, as does a driver
    // without XDP: 6.3 tells them apart.
    let known = code == 0 && (options.feature_flags != 0 || has_netdev_family());
    let has = |flags: u64| options.feature_flags & flags == flags;
    Ok(Abilities {
        driver,
        xdp: known.then(|| Xdp {
            native: has(BASIC | REDIRECT),
            zero_copy: has(ZERO_COPY),
            zero_copy_segments_max: options.xdp_zc_max_segs,
        }),
    })
}

/// Whether the kernel has AF_XDP sockets, as far as this process is allowed to know.
pub fn has_af_xdp() -> bool {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // JUSTIFICATION: nix does not know this family.
    // SAFETY: the call touches no memory of ours.
    let descriptor = unsafe { libc::socket(libc::AF_XDP, kind, 0) };
    if descriptor < 0 {
        // Without CAP_NET_RAW it is refused, but it is there.
        return io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
    }
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    true
}

fn has_netdev_family() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(6_u32), Some(3_u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_the_sockets_and_loopback_has_no_driver() {
        assert!(has_af_xdp());
        let found = abilities("lo").unwrap();
        assert_eq!(found.driver, "");
        assert!(!found.xdp.is_some_and(|xdp| xdp.native || xdp.zero_copy));
        assert!(matches!(
            abilities("cluecast-none"),
            Err(Error::NoInterface(_))
        ));
    }
}
