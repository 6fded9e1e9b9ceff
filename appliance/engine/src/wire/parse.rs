//! A received frame to a [`Segment`]: every length and both checksums verified.
//!
//! Called for each frame that the port hands up; the XDP program has looked at the addresses but is
//! not trusted with anything else. Whatever is wrong gives a [`Drop`] reason, and nothing panics on
//! any bytes.
//!
//! Not here: whether we listen on the address (TCP knows), reassembly of IP fragments (they are
//! dropped, here and in the XDP program: players' stacks discover the path MTU).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet,
    TcpOption, TcpPacket,
};

use crate::metrics::catalog::Metric;
use crate::wire::checksum;
use crate::wire::segment::{CE, ECT_0, Flags, Flow, Link, Options, Segment};
use crate::wire::seq::Seq;

/// Bytes of an 802.1Q tag.
const VLAN_BYTES: usize = 4;

/// TPID of an 802.1Q tag (IEEE 802.1Q section 9.6).
const VLAN_TPID: u16 = 0x8100;

/// Largest shift of the window scale option (RFC 7323 section 2.3).
const WINDOW_SCALE_MAX: u8 = 14;

/// Why a frame is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// Shorter than its headers say.
    Short,
    /// Not TCP over IPv4 or IPv6.
    NotTcp,
    /// An IP fragment.
    Fragment,
    /// IPv4 header checksum.
    IpChecksum,
    /// TCP checksum.
    TcpChecksum,
    /// ICMP checksum.
    IcmpChecksum,
    /// Impossible header fields.
    BadHeader,
    /// An address nobody can have.
    BadSource,
}

impl Drop {
    /// The counter of this reason.
    pub fn metric(self) -> Metric {
        match self {
            Drop::Short => Metric::WireShort,
            Drop::NotTcp => Metric::WireNotTcp,
            Drop::Fragment => Metric::WireFragment,
            Drop::IpChecksum => Metric::WireIpChecksum,
            Drop::TcpChecksum => Metric::WireTcpChecksum,
            Drop::IcmpChecksum => Metric::WireIcmpChecksum,
            Drop::BadHeader => Metric::WireBadHeader,
            Drop::BadSource => Metric::WireBadSource,
        }
    }
}

/// The IP layer of a frame.
pub(super) struct Packet {
    pub(super) protocol: IpProtocol,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// The ECN field: two bits (RFC 3168 section 5).
    pub(super) ecn: u8,
    /// Where the TCP segment or ICMP message lies in the frame.
    pub(super) payload_at: Range<usize>,
}

/// Reads one frame, from the Ethernet header on.
pub fn parse(frame: &[u8]) -> Result<Segment, Drop> {
    let (link, packet) = parse_packet(frame)?;
    if packet.protocol != IpProtocol::Tcp {
        return Err(Drop::NotTcp);
    }
    parse_tcp(frame, link, &packet)
}

/// Ethernet and IP.
pub(super) fn parse_packet(frame: &[u8]) -> Result<(Link, Packet), Drop> {
    let (link, protocol, ip_at) = parse_link(frame)?;
    let ip = &frame[ip_at..];
    let packet = match protocol {
        EthernetProtocol::Ipv4 => parse_ipv4(ip, ip_at)?,
        EthernetProtocol::Ipv6 => parse_ipv6(ip, ip_at)?,
        _ => return Err(Drop::NotTcp),
    };
    Ok((link, packet))
}

fn parse_link(frame: &[u8]) -> Result<(Link, EthernetProtocol, usize), Drop> {
    let ethernet = EthernetFrame::new_checked(frame).map_err(|_| Drop::Short)?;
    let EthernetAddress(peer_mac) = ethernet.src_addr();
    let EthernetAddress(local_mac) = ethernet.dst_addr();
    // TCP speaks to one host: what went to all, or claims to come from all, is not answered (RFC
    // 1122 section 3.3.6, RFC 9293 section 3.10.7.2 MUST-57).
    if !ethernet.src_addr().is_unicast() || !ethernet.dst_addr().is_unicast() {
        return Err(Drop::BadSource);
    }
    let mut link = Link {
        peer_mac,
        local_mac,
        vlan: None,
    };
    let at = EthernetFrame::<&[u8]>::header_len();
    if u16::from(ethernet.ethertype()) != VLAN_TPID {
        return Ok((link, ethernet.ethertype(), at));
    }
    let Some(&[tag_high, tag_low, type_high, type_low]) = frame.get(at..at + VLAN_BYTES) else {
        return Err(Drop::Short);
    };
    link.vlan = Some(u16::from_be_bytes([tag_high, tag_low]));
    let protocol = EthernetProtocol::from(u16::from_be_bytes([type_high, type_low]));
    Ok((link, protocol, at + VLAN_BYTES))
}

/// RFC 791 section 3.1. `at` is where the packet begins in the frame.
fn parse_ipv4(bytes: &[u8], at: usize) -> Result<Packet, Drop> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Drop::Short)?;
    let header = usize::from(packet.header_len());
    if packet.version() != 4 || header < 20 {
        return Err(Drop::BadHeader);
    }
    if checksum::fold(checksum::sum(&bytes[..header])) != 0xffff {
        return Err(Drop::IpChecksum);
    }
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Err(Drop::Fragment);
    }
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    if !is_peer_v4(source) || source == destination {
        return Err(Drop::BadSource);
    }
    if destination.is_multicast() || destination.is_broadcast() {
        return Err(Drop::BadHeader);
    }
    // Ethernet pads short frames: the packet's own length counts.
    let end = usize::from(packet.total_len());
    Ok(Packet {
        protocol: packet.next_header(),
        source: source.into(),
        destination: destination.into(),
        ecn: packet.ecn(),
        payload_at: at + header..at + end,
    })
}

/// Whether a host could have sent from `source` (RFC 1122 section 3.2.1.3).
fn is_peer_v4(source: Ipv4Addr) -> bool {
    !source.is_multicast()
        && !source.is_broadcast()
        && source.octets()[0] != 0
        && !source.is_loopback()
}

/// RFC 8200 section 3. Extension headers are not followed: no stack puts them on TCP, and the
/// XDP program drops what does.
fn parse_ipv6(bytes: &[u8], at: usize) -> Result<Packet, Drop> {
    const HEADER: usize = 40;
    let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Drop::Short)?;
    if packet.version() != 6 {
        return Err(Drop::BadHeader);
    }
    if packet.next_header() == IpProtocol::Ipv6Frag {
        return Err(Drop::Fragment);
    }
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    if !is_peer_v6(source) || source == destination {
        return Err(Drop::BadSource);
    }
    if destination.is_multicast() || destination.to_ipv4_mapped().is_some() {
        return Err(Drop::BadHeader);
    }
    let end = HEADER + usize::from(packet.payload_len());
    Ok(Packet {
        protocol: packet.next_header(),
        source: source.into(),
        destination: destination.into(),
        ecn: packet.traffic_class() & 3,
        payload_at: at + HEADER..at + end,
    })
}

/// Whether a host could have sent from `source` (RFC 4291 section 2.7). An IPv4-mapped address
/// means an IPv4 host to this program and must not come from the wire (RFC 4291 section 2.5.5.2).
fn is_peer_v6(source: Ipv6Addr) -> bool {
    !source.is_multicast()
        && !source.is_unspecified()
        && !source.is_loopback()
        && source.to_ipv4_mapped().is_none()
}

/// RFC 9293 section 3.1.
fn parse_tcp(frame: &[u8], link: Link, packet: &Packet) -> Result<Segment, Drop> {
    let bytes = frame.get(packet.payload_at.clone()).ok_or(Drop::Short)?;
    let tcp = TcpPacket::new_checked(bytes).map_err(|_| Drop::Short)?;
    let pseudo = checksum::pseudo_header(packet.source, packet.destination, bytes.len());
    if checksum::fold(checksum::add(pseudo, checksum::sum(bytes))) != 0xffff {
        return Err(Drop::TcpChecksum);
    }
    let header = usize::from(tcp.header_len());
    let flags = Flags {
        ack: tcp.ack(),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        psh: tcp.psh(),
        ece: tcp.ece(),
        cwr: tcp.cwr(),
        ect: packet.ecn == ECT_0,
        ce: packet.ecn == CE,
    };
    // No stack sends these; scanners do.
    if header < 20 || tcp.src_port() == 0 || tcp.dst_port() == 0 || flags.syn && flags.fin {
        return Err(Drop::BadHeader);
    }
    Ok(Segment {
        link,
        flow: Flow {
            local: SocketAddr::new(packet.destination, tcp.dst_port()).into(),
            remote: SocketAddr::new(packet.source, tcp.src_port()).into(),
        },
        seq: Seq(tcp.seq_number().0.cast_unsigned()),
        ack: Seq(tcp.ack_number().0.cast_unsigned()),
        flags,
        window: tcp.window_len(),
        options: parse_options(&bytes[20..header]),
        payload_at: packet.payload_at.start + header..packet.payload_at.end,
    })
}

/// Options as far as they are well formed; a malformed one hides those behind it (RFC 9293 section
/// 3.1: a robust receiver takes what it can).
fn parse_options(mut bytes: &[u8]) -> Options {
    let mut options = Options::default();
    while !bytes.is_empty() {
        let Ok((rest, option)) = TcpOption::parse(bytes) else {
            break;
        };
        match option {
            TcpOption::EndOfList => break,
            TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
            TcpOption::WindowScale(shift) => {
                options.window_scale = Some(shift.min(WINDOW_SCALE_MAX));
            }
            TcpOption::SackPermitted => options.sack_permitted = true,
            TcpOption::SackRange(ranges) => {
                options.sacks = ranges.map(|range| range.map(|(from, to)| (Seq(from), Seq(to))));
            }
            TcpOption::TimeStamp { tsval, tsecr } => options.timestamps = Some((tsval, tsecr)),
            TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
        }
        bytes = rest;
    }
    options
}
