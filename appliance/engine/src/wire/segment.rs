//! A TCP segment as plain data: what [`super::parse`] gives and [`super::emit`] takes.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::str::FromStr;

use crate::wire::seq::Seq;

/// How a frame reached us, so that the answer goes back the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Their MAC address: the frame's source.
    pub peer_mac: [u8; 6],
    /// Our MAC address: the frame's destination.
    pub local_mac: [u8; 6],
    /// The 802.1Q tag control field (priority and VLAN id), if there was a tag.
    pub vlan: Option<u16>,
}

/// An address and a port in 18 bytes, where a `SocketAddr` takes 32: every connection record has two.
/// IPv4 is kept as an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2); [`super::parse`] lets no
/// such address in from the wire, so the two families never meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    address: [u8; 16],
    port: u16,
}

impl Endpoint {
    /// The address.
    #[inline]
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.address).to_canonical()
    }

    /// The port.
    #[inline]
    pub fn port(self) -> u16 {
        self.port
    }

    /// Whether the address is of IPv4.
    #[inline]
    pub fn is_ipv4(self) -> bool {
        self.address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&SocketAddr::from(*self), f)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&SocketAddr::from(*self), f)
    }
}

impl From<SocketAddr> for Endpoint {
    #[inline]
    fn from(address: SocketAddr) -> Endpoint {
        let mapped = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Endpoint {
            address: mapped.octets(),
            port: address.port(),
        }
    }
}

impl From<Endpoint> for SocketAddr {
    #[inline]
    fn from(endpoint: Endpoint) -> SocketAddr {
        SocketAddr::new(endpoint.ip(), endpoint.port)
    }
}

impl FromStr for Endpoint {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Endpoint, AddrParseError> {
        text.parse::<SocketAddr>().map(Endpoint::from)
    }
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Our address and port.
    pub local: Endpoint,
    /// Theirs.
    pub remote: Endpoint,
}

// Part of every connection record (docs/memory.md).
const _: () = assert!(size_of::<Flow>() == 36);

/// ECN field of a packet whose sender understands marks, and of one that was marked (RFC 3168 section
/// 5).
pub(super) const ECT_0: u8 = 0b10;
pub(super) const CE: u8 = 0b11;

/// The control bits this engine knows (RFC 9293 section 3.1), and beside them the packet's ECN field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are bits of one header field"
)]
pub struct Flags {
    /// The acknowledgment field counts.
    pub ack: bool,
    /// Synchronize.
    pub syn: bool,
    /// No more data.
    pub fin: bool,
    /// Reset.
    pub rst: bool,
    /// Push.
    pub psh: bool,
    /// ECN echo (RFC 3168 section 6.1).
    pub ece: bool,
    /// Congestion window reduced (RFC 3168 section 6.1).
    pub cwr: bool,
    /// The packet may be marked: ECT(0).
    pub ect: bool,
    /// The packet was marked: congestion experienced.
    pub ce: bool,
}

/// SACK blocks an ACK carries at most beside timestamps (RFC 2018 section 3).
pub const SACKS_MAX: usize = 3;

/// TCP options that were present and well formed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size (on SYN).
    pub mss: Option<u16>,
    /// Window scale shift (on SYN), already cut to 14 (RFC 7323 section 2.3).
    pub window_scale: Option<u8>,
    /// SACK permitted (on SYN).
    pub sack_permitted: bool,
    /// SACK blocks: first sequence number, and the one after the last.
    pub sacks: [Option<(Seq, Seq)>; SACKS_MAX],
    /// Timestamps: TSval and TSecr (RFC 7323 section 3).
    pub timestamps: Option<(u32, u32)>,
}

/// A segment. Received: `local` is the destination. Sent: `local` is the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Way back.
    pub link: Link,
    /// Connection it belongs to.
    pub flow: Flow,
    /// Sequence number of the first byte (or of SYN).
    pub seq: Seq,
    /// Acknowledgment number; counts only with `flags.ack`.
    pub ack: Seq,
    /// Control bits.
    pub flags: Flags,
    /// Window field, unscaled.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Where the payload lies in the frame.
    pub payload_at: Range<usize>,
}

impl Segment {
    /// Sequence numbers the segment takes: payload, SYN and FIN (RFC 9293 section 3.4, SEG.LEN).
    #[inline]
    pub fn sequence_length(&self) -> u32 {
        // A frame's payload fits 16 bits.
        let payload = u32::try_from(self.payload_at.len()).unwrap_or(0);
        payload + u32::from(self.flags.syn) + u32::from(self.flags.fin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_address_it_was_made_from() {
        for text in ["10.0.0.1:80", "[2001:db8::1]:443", "[::]:1", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let endpoint = Endpoint::from(address);
            assert_eq!(SocketAddr::from(endpoint), address);
            assert_eq!(endpoint.is_ipv4(), address.is_ipv4());
            assert_eq!(text.parse(), Ok(endpoint));
            assert_eq!(format!("{endpoint:?}"), text);
        }
    }
}
