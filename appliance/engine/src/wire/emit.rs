//! A segment to a frame: headers written in place around a payload that is copied once.
//!
//! Called by TCP with a TX frame of the port. Both checksums are computed here, because AF_XDP
//! gives no offload to count on.

use std::net::IpAddr;

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet,
    TcpPacket, TcpSeqNumber,
};

use crate::wire::checksum;
use crate::wire::segment::{CE, ECT_0, Flags, Flow, Link, Options};
use crate::wire::seq::Seq;

/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// Longest option list (RFC 9293 section 3.1: the header's length field has four bits).
const OPTIONS_MAX: usize = 40;

/// TTL and hop limit (RFC 1700).
const HOPS: u8 = 64;

/// Everything of a segment but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// MAC addresses and VLAN tag.
    pub link: Link,
    /// Addresses and ports; `local` sends.
    pub flow: Flow,
    /// Sequence number of the first byte.
    pub seq: Seq,
    /// Acknowledgment number; written as 0 without `flags.ack`.
    pub ack: Seq,
    /// Control bits.
    pub flags: Flags,
    /// Window field, already scaled.
    pub window: u16,
    /// Options.
    pub options: Options,
}

/// Bytes of an IP header without options.
pub fn ip_header_bytes(is_ipv4: bool) -> usize {
    if is_ipv4 { 20 } else { 40 }
}

/// Writes a frame with `payload_bytes` of payload, which `fill` writes; gives the frame's length, or
/// 0 when `fill` answers false or the buffer is too small.
#[inline]
pub fn emit(
    buffer: &mut [u8],
    header: &Header,
    payload_bytes: usize,
    fill: impl FnOnce(&mut [u8]) -> bool,
) -> usize {
    let mut options = [0; OPTIONS_MAX];
    let options_bytes = emit_options(&mut options, &header.options);
    let link_bytes = 14 + if header.link.vlan.is_some() { 4 } else { 0 };
    let tcp_at = link_bytes + ip_header_bytes(header.flow.local.is_ipv4());
    let payload_at = tcp_at + TCP_HEADER + options_bytes;
    let end = payload_at + payload_bytes;
    let Some(frame) = buffer.get_mut(..end) else {
        return 0;
    };
    if !fill(&mut frame[payload_at..]) {
        return 0;
    }
    frame[tcp_at + TCP_HEADER..payload_at].copy_from_slice(&options[..options_bytes]);
    emit_tcp(&mut frame[tcp_at..], header, TCP_HEADER + options_bytes);
    emit_ip(&mut frame[link_bytes..], header, end - tcp_at);
    emit_link(frame, header);
    end
}

fn emit_link(frame: &mut [u8], header: &Header) {
    let protocol = if header.flow.local.is_ipv4() {
        EthernetProtocol::Ipv4
    } else {
        EthernetProtocol::Ipv6
    };
    let mut ethernet = EthernetFrame::new_unchecked(&mut *frame);
    ethernet.set_src_addr(EthernetAddress(header.link.local_mac));
    ethernet.set_dst_addr(EthernetAddress(header.link.peer_mac));
    let Some(tag) = header.link.vlan else {
        return ethernet.set_ethertype(protocol);
    };
    ethernet.set_ethertype(EthernetProtocol::Unknown(0x8100));
    frame[14..16].copy_from_slice(&tag.to_be_bytes());
    frame[16..18].copy_from_slice(&u16::from(protocol).to_be_bytes());
}

fn emit_ip(bytes: &mut [u8], header: &Header, segment_bytes: usize) {
    // Frames are shorter than 2^16 bytes.
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(0);
    match (header.flow.local.ip(), header.flow.remote.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut packet = Ipv4Packet::new_unchecked(&mut *bytes);
            packet.set_version(4);
            packet.set_header_len(20);
            packet.set_dscp(0);
            packet.set_ecn(ecn(header.flags));
            packet.set_total_len(length(20 + segment_bytes));
            // RFC 6864 section 4: with DF set the identification means nothing.
            packet.set_ident(0);
            packet.clear_flags();
            packet.set_dont_frag(true);
            packet.set_frag_offset(0);
            packet.set_hop_limit(HOPS);
            packet.set_next_header(IpProtocol::Tcp);
            packet.set_src_addr(source);
            packet.set_dst_addr(destination);
            packet.set_checksum(0);
            let checksum = !checksum::fold(checksum::sum(&bytes[..20]));
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut packet = Ipv6Packet::new_unchecked(bytes);
            packet.set_version(6);
            packet.set_traffic_class(ecn(header.flags));
            packet.set_flow_label(0);
            packet.set_payload_len(length(segment_bytes));
            packet.set_next_header(IpProtocol::Tcp);
            packet.set_hop_limit(HOPS);
            packet.set_src_addr(source);
            packet.set_dst_addr(destination);
        }
        _ => debug_assert!(false, "both ends of a flow are of one family"),
    }
}

/// The packet's ECN field.
fn ecn(flags: Flags) -> u8 {
    match flags {
        Flags { ce: true, .. } => CE,
        Flags { ect: true, .. } => ECT_0,
        _ => 0,
    }
}

fn emit_tcp(bytes: &mut [u8], header: &Header, header_bytes: usize) {
    let flags = header.flags;
    let mut tcp = TcpPacket::new_unchecked(&mut *bytes);
    tcp.set_src_port(header.flow.local.port());
    tcp.set_dst_port(header.flow.remote.port());
    tcp.set_seq_number(TcpSeqNumber(header.seq.0.cast_signed()));
    let ack = if flags.ack { header.ack.0 } else { 0 };
    tcp.set_ack_number(TcpSeqNumber(ack.cast_signed()));
    tcp.clear_flags();
    // At most 60 bytes.
    tcp.set_header_len(u8::try_from(header_bytes).unwrap_or(20));
    tcp.set_ack(flags.ack);
    tcp.set_syn(flags.syn);
    tcp.set_fin(flags.fin);
    tcp.set_rst(flags.rst);
    tcp.set_psh(flags.psh);
    tcp.set_ece(flags.ece);
    tcp.set_cwr(flags.cwr);
    tcp.set_window_len(header.window);
    tcp.set_urgent_at(0);
    tcp.set_checksum(0);
    let (source, destination) = (header.flow.local.ip(), header.flow.remote.ip());
    let pseudo = checksum::pseudo_header(source, destination, bytes.len());
    let checksum = !checksum::fold(checksum::add(pseudo, checksum::sum(bytes)));
    bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
}

/// Bytes that `options` take, padded to a multiple of four.
pub fn options_bytes(options: &Options) -> usize {
    emit_options(&mut [0; OPTIONS_MAX], options)
}

/// Writes the options, each padded in front with NOPs to a multiple of four; gives the bytes used.
fn emit_options(out: &mut [u8; OPTIONS_MAX], options: &Options) -> usize {
    const NOP: u8 = 1;
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
            at += bytes.len();
        }
    };
    if let Some(mss) = options.mss {
        let [high, low] = mss.to_be_bytes();
        put(&[2, 4, high, low]);
    }
    if let Some(shift) = options.window_scale {
        put(&[NOP, 3, 3, shift]);
    }
    if options.sack_permitted {
        put(&[NOP, NOP, 4, 2]);
    }
    if let Some((value, echo)) = options.timestamps {
        let mut bytes = [NOP, NOP, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[4..8].copy_from_slice(&value.to_be_bytes());
        bytes[8..12].copy_from_slice(&echo.to_be_bytes());
        put(&bytes);
    }
    let blocks = options.sacks.iter().flatten();
    // Three blocks at most: 26 bytes.
    let count = u8::try_from(blocks.clone().count()).unwrap_or(0);
    if count > 0 {
        put(&[NOP, NOP, 5, 2 + 8 * count]);
        for (from, to) in blocks {
            put(&from.0.to_be_bytes());
            put(&to.0.to_be_bytes());
        }
    }
    at
}

#[cfg(test)]
mod tests;
