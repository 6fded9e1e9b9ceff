//! Any bytes as a frame: `wire::parse` answers and never panics; what it takes says the same again
//! after `wire::emit` has written it.

use engine::wire::emit::{Header, emit};
use engine::wire::parse::parse;
use engine::wire::segment::{Flow, Segment};

/// Parses `data` as it is and, because few random bytes have a right checksum, once more with both
/// checksums put right.
pub fn run(data: &[u8]) {
    check(data);
    let mut frame = data.to_vec();
    if mend(&mut frame) {
        check(&frame);
    }
}

fn check(frame: &[u8]) {
    // A router's report: any answer will do.
    let _ = engine::wire::icmp::parse(frame);
    let Ok(segment) = parse(frame) else {
        return;
    };
    let payload = &frame[segment.payload_at.clone()];
    assert!(segment.sequence_length() as usize <= payload.len() + 1);
    // What a peer sends we would send with both ends changed over.
    let header = Header {
        link: segment.link,
        flow: Flow {
            local: segment.flow.remote,
            remote: segment.flow.local,
        },
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        options: segment.options,
    };
    let mut again = vec![0; frame.len() + 120];
    let length = emit(&mut again, &header, payload.len(), |out| {
        out.copy_from_slice(payload);
        true
    });
    assert!(length > 0, "a parsed segment is not emitted: {segment:?}");
    again.truncate(length);
    let second = parse(&again).unwrap_or_else(|drop| panic!("{drop:?} of our own {segment:?}"));
    assert_eq!(&again[second.payload_at.clone()], payload);
    assert_eq!(plain(&second), plain(&segment));
}

/// The segment without what a second pass may change: where the payload lies, which MAC address is
/// whose, an acknowledgment number that does not count.
fn plain(segment: &Segment) -> Segment {
    let mut plain = segment.clone();
    plain.payload_at = 0..segment.payload_at.len();
    plain.link.peer_mac = [0; 6];
    plain.link.local_mac = [0; 6];
    if !plain.flags.ack {
        plain.ack = engine::wire::seq::Seq(0);
    }
    plain
}

/// Writes right checksums into what looks like TCP over IP; false when nothing does.
fn mend(frame: &mut [u8]) -> bool {
    let tagged = frame.get(12..14) == Some(&[0x81, 0x00]);
    let at = if tagged { 18 } else { 14 };
    match frame.get(at).map(|first| first >> 4) {
        Some(4) => mend_ipv4(&mut frame[at..]),
        Some(6) => mend_ipv6(&mut frame[at..]),
        _ => false,
    }
}

fn mend_ipv4(packet: &mut [u8]) -> bool {
    if packet.len() < 20 {
        return false;
    }
    let header = usize::from(packet[0] & 15) * 4;
    let end = usize::from(u16::from_be_bytes([packet[2], packet[3]])).min(packet.len());
    if header < 20 || end < header + 20 {
        return false;
    }
    packet[10..12].fill(0);
    let sum = !folded(&[&packet[..header]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let (head, segment) = packet[..end].split_at_mut(header);
    mend_tcp(&head[12..20], segment);
    true
}

fn mend_ipv6(packet: &mut [u8]) -> bool {
    if packet.len() < 60 {
        return false;
    }
    let end = (40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]))).min(packet.len());
    if end < 60 {
        return false;
    }
    let (head, segment) = packet[..end].split_at_mut(40);
    mend_tcp(&head[8..40], segment);
    true
}

fn mend_tcp(addresses: &[u8], segment: &mut [u8]) {
    segment[16..18].fill(0);
    let length = u32::try_from(segment.len()).unwrap_or(0).to_be_bytes();
    let sum = !folded(&[addresses, &length, &[0, 0, 0, 6], segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071, written once more: the engine's own is under test.
fn folded(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
