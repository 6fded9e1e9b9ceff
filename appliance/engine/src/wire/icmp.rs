//! A router's word that a packet of ours was too big: ICMPv4 "fragmentation needed" (RFC 792, RFC
//! 1191 section 4) and ICMPv6 "packet too big" (RFC 4443 section 3.2).
//!
//! The XDP program steers only those about our own segments to us. Called for frames that are not
//! TCP. Here both checksums and the quoted packet are read; whether a report is believed is TCP's to
//! decide. All other ICMP stays with the kernel, and would change nothing here: an established
//! connection outlives it (RFC 5927 section 5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet};

use crate::wire::parse::{Drop, Packet, parse_packet};
use crate::wire::segment::Flow;
use crate::wire::seq::Seq;

/// Type, code, checksum and four bytes more (RFC 792, RFC 4443 section 2.1).
const ICMP_HEADER: usize = 8;

/// What a quoted TCP header is sure to hold (RFC 792): ports and sequence number.
const QUOTED_TCP: usize = 8;

/// Types and codes.
const V4_UNREACHABLE: u8 = 3;
const V4_FRAGMENTATION_NEEDED: u8 = 4;
const V6_TOO_BIG: u8 = 2;

/// A packet of ours that was too big.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooBig {
    /// The connection that sent it; `local` is ours.
    pub flow: Flow,
    /// Its sequence number.
    pub seq: Seq,
    /// What the next link carries, headers included. 0 from routers older than RFC 1191.
    pub mtu: u32,
}

/// Reads one frame, from the Ethernet header on.
pub fn parse(frame: &[u8]) -> Result<TooBig, Drop> {
    let (_, packet) = parse_packet(frame)?;
    let bytes = frame.get(packet.payload_at.clone()).ok_or(Drop::Short)?;
    let (mtu, quoted) = match (packet.protocol, packet.source, packet.destination) {
        (IpProtocol::Icmp, IpAddr::V4(_), IpAddr::V4(_)) => parse_v4(bytes)?,
        (IpProtocol::Icmpv6, IpAddr::V6(from), IpAddr::V6(to)) => parse_v6(bytes, from, to)?,
        _ => return Err(Drop::NotTcp),
    };
    parse_quoted(&packet, mtu, quoted)
}

fn parse_v4(bytes: &[u8]) -> Result<(u32, &[u8]), Drop> {
    let packet = Icmpv4Packet::new_checked(bytes).map_err(|_| Drop::Short)?;
    let kind = (u8::from(packet.msg_type()), packet.msg_code());
    if kind != (V4_UNREACHABLE, V4_FRAGMENTATION_NEEDED) {
        return Err(Drop::NotTcp);
    }
    if !packet.verify_checksum() {
        return Err(Drop::IcmpChecksum);
    }
    let &[_, _, _, _, _, _, high, low] = bytes.first_chunk::<ICMP_HEADER>().ok_or(Drop::Short)?;
    let mtu = u16::from_be_bytes([high, low]);
    Ok((mtu.into(), &bytes[ICMP_HEADER..]))
}

fn parse_v6(bytes: &[u8], from: Ipv6Addr, to: Ipv6Addr) -> Result<(u32, &[u8]), Drop> {
    let packet = Icmpv6Packet::new_checked(bytes).map_err(|_| Drop::Short)?;
    if u8::from(packet.msg_type()) != V6_TOO_BIG {
        return Err(Drop::NotTcp);
    }
    if !packet.verify_checksum(&from, &to) {
        return Err(Drop::IcmpChecksum);
    }
    let quoted = bytes.get(ICMP_HEADER..).ok_or(Drop::Short)?;
    Ok((packet.pkt_too_big_mtu(), quoted))
}

/// The packet in the report, as much of it as there is. Its length and checksums are not looked at:
/// it was cut, and routers on the way have changed it.
fn parse_quoted(outer: &Packet, mtu: u32, bytes: &[u8]) -> Result<TooBig, Drop> {
    let (protocol, source, destination, header) = match outer.destination {
        IpAddr::V4(_) => {
            let _: &[u8; 20] = bytes.first_chunk().ok_or(Drop::Short)?;
            let packet = Ipv4Packet::new_unchecked(bytes);
            let ends: (Ipv4Addr, Ipv4Addr) = (packet.src_addr(), packet.dst_addr());
            let header = usize::from(packet.header_len());
            if packet.version() != 4 || header < 20 || packet.frag_offset() != 0 {
                return Err(Drop::BadHeader);
            }
            (
                packet.next_header(),
                ends.0.into(),
                IpAddr::from(ends.1),
                header,
            )
        }
        IpAddr::V6(_) => {
            let _: &[u8; 40] = bytes.first_chunk().ok_or(Drop::Short)?;
            let packet = Ipv6Packet::new_unchecked(bytes);
            if packet.version() != 6 {
                return Err(Drop::BadHeader);
            }
            let ends = (packet.src_addr(), packet.dst_addr());
            (packet.next_header(), ends.0.into(), ends.1.into(), 40)
        }
    };
    if protocol != IpProtocol::Tcp {
        return Err(Drop::NotTcp);
    }
    // What somebody else sent is not reported to us.
    if source != outer.destination {
        return Err(Drop::BadHeader);
    }
    let tcp = bytes.get(header..).and_then(<[u8]>::first_chunk);
    let &[a, b, c, d, s1, s2, s3, s4]: &[u8; QUOTED_TCP] = tcp.ok_or(Drop::Short)?;
    Ok(TooBig {
        flow: Flow {
            local: SocketAddr::new(source, u16::from_be_bytes([a, b])).into(),
            remote: SocketAddr::new(destination, u16::from_be_bytes([c, d])).into(),
        },
        seq: Seq(u32::from_be_bytes([s1, s2, s3, s4])),
        mtu,
    })
}

#[cfg(test)]
mod tests;
