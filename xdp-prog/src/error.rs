//! What can go wrong with NICs, sockets and programs, in words that help.

use std::io;

/// A failure while opening a port or attaching the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such interface.
    #[error("there is no network interface \"{0}\" in this network namespace")]
    NoInterface(String),
    /// The interface's queues could not be counted.
    #[error("cannot count the receive queues of \"{interface}\": {source}")]
    Queues {
        /// Name of the interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A socket could not be opened.
    #[error("queue {queue} of \"{interface}\": cannot {step}: {source}; {remedy}")]
    Port {
        /// Name of the interface.
        interface: String,
        /// Queue.
        queue: u32,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What usually helps.
        remedy: &'static str,
    },
    /// The program could not be loaded or attached.
    #[error("cannot {step} the XDP program on \"{interface}\": {source}; {remedy}")]
    Steering {
        /// Name of the interface.
        interface: String,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What usually helps.
        remedy: &'static str,
    },
}

/// What usually helps against `error`.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK"
        }
        Some(libc::EBUSY) => "another program holds it: stop that one first",
        Some(libc::EEXIST) => "another XDP program is attached: `ip link set dev IFACE xdp off`",
        Some(libc::EOPNOTSUPP) => {
            "the driver cannot do this: try game.zero_copy = \"off\" or game.xdp_mode = \"auto\""
        }
        Some(libc::ENOMEM | libc::ENOBUFS) => "lower game.frames, or raise the memlock limit",
        Some(libc::EINVAL) => {
            "the queue may not exist, or the MTU may be too large for XDP: see `ethtool -l` and nic-configs/"
        }
        Some(libc::ENODEV | libc::ENXIO) => "the interface is gone or down",
        _ => "see docs/operations.md",
    }
}
