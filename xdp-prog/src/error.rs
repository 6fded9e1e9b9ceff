//! What can go wrong with NICs, sockets and programs, in words that help.

use std::io;

/// A failure while opening a port or attaching the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such interface.
    #[error("there is no network interface \"{0}\" in this network namespace")]
    NoInterface(String),
    /// The queue does not exist.
    #[error(
        "\"{interface}\" has {queues} receive queues, so there is no queue {queue}; \
         `ethtool -L {interface} combined {}` asks the driver for more", queue + 1
    )]
    NoQueue {
        /// Name of the interface.
        interface: String,
        /// Queue asked for, from 0.
        queue: u32,
        /// Queues it has.
        queues: u32,
    },
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

/// What usually helps against `error`, which the kernel answered at `step`.
pub(crate) fn remedy(step: &str, error: &io::Error) -> &'static str {
    match (step, error.raw_os_error()) {
        (_, Some(libc::EPERM | libc::EACCES)) => {
            "run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK; in a \
             container also look for a seccomp filter on bpf(2)"
        }
        (_, Some(libc::ENODEV | libc::ENXIO)) => "the interface is gone: see `ip link`",
        (_, Some(libc::ENOMEM | libc::ENOBUFS)) => {
            "lower game.frames, or raise the limit on locked memory (LimitMEMLOCK=infinity)"
        }
        (ATTACH, Some(libc::EBUSY | libc::EEXIST)) => {
            "another XDP program is attached: `bpftool net` names it"
        }
        (ATTACH, Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE)) => {
            "the driver has no XDP, or not with this MTU, LRO or queue count (see nic-configs/): \
             game.xdp_mode = \"generic\" works everywhere, slower"
        }
        (REGISTER, Some(libc::E2BIG)) => "the program has room for 64 queues: see `ethtool -L`",
        (BIND_ZERO_COPY, Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
            "the driver has no AF_XDP zero-copy, or not on this queue: game.zero_copy = \"auto\" takes \
             copy mode instead"
        }
        (_, Some(libc::EBUSY)) => {
            "another AF_XDP socket has the queue: is one more appliance running?"
        }
        (_, Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::ENOSYS)) => {
            "the kernel is too old or built without it: 5.11 with CONFIG_XDP_SOCKETS is needed"
        }
        _ => "see docs/operations.md",
    }
}

/// Steps whose failures mean something of their own.
pub(crate) const ATTACH: &str = "attach";
/// See [`ATTACH`].
pub(crate) const REGISTER: &str = "register a socket with";
/// See [`ATTACH`].
pub(crate) const BIND_ZERO_COPY: &str = "bind zero-copy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_means_something_else_at_another_step() {
        let table = [
            ("load", libc::EPERM, "CAP_BPF"),
            ("bind", libc::ENODEV, "ip link"),
            ("map frames", libc::ENOMEM, "game.frames"),
            (ATTACH, libc::EBUSY, "bpftool net"),
            ("bind", libc::EBUSY, "one more appliance"),
            (ATTACH, libc::EOPNOTSUPP, "game.xdp_mode"),
            (ATTACH, libc::EINVAL, "MTU"),
            (BIND_ZERO_COPY, libc::EOPNOTSUPP, "game.zero_copy"),
            ("bind", libc::EOPNOTSUPP, "CONFIG_XDP_SOCKETS"),
            (REGISTER, libc::E2BIG, "64 queues"),
        ];
        for (step, errno, wanted) in table {
            let remedy = remedy(step, &io::Error::from_raw_os_error(errno));
            assert!(remedy.contains(wanted), "{step}, {errno}: {remedy}");
        }
    }
}
