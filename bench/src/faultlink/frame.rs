//! What the wire has to know of the frames on it, by position; a frame that is too short for a
//! question is answered with "no".

const ETHERNET_BYTES: usize = 14;
const FLAG_SYN: u8 = 2;

/// Behind the Ethernet header; damage begins here, or the frame would not arrive at all.
pub(super) const DAMAGE_FROM: usize = ETHERNET_BYTES;

fn is_ipv4(frame: &[u8]) -> bool {
    frame.len() >= 34 && frame[12..14] == [0x08, 0x00]
}

fn is_ipv6(frame: &[u8]) -> bool {
    frame.len() >= 54 && frame[12..14] == [0x86, 0xdd]
}

/// Where the layer above IP begins (options of IPv4 included, no extension headers of IPv6).
fn transport(frame: &[u8]) -> Option<usize> {
    if is_ipv4(frame) {
        return Some(ETHERNET_BYTES + usize::from(frame[14] & 15) * 4);
    }
    is_ipv6(frame).then_some(54)
}

/// Whether it is an IP packet of more than `bytes`.
pub(super) fn is_longer(frame: &[u8], bytes: usize) -> bool {
    frame.len() > ETHERNET_BYTES + bytes && (is_ipv4(frame) || is_ipv6(frame))
}

/// Whether it is a TCP segment over IPv4 with the SYN flag.
pub(super) fn is_syn(frame: &[u8]) -> bool {
    let tcp = transport(frame).filter(|_| is_ipv4(frame) && frame[23] == 6);
    tcp.and_then(|tcp| frame.get(tcp + 13))
        .is_some_and(|flags| flags & FLAG_SYN != 0)
}

/// A hash of addresses and ports; everything that is not IP is one flow.
pub(super) fn flow(frame: &[u8]) -> u64 {
    let Some(transport) = transport(frame) else {
        return 0;
    };
    let addresses = if is_ipv4(frame) {
        &frame[26..34]
    } else {
        &frame[22..54]
    };
    let ports = frame.get(transport..transport + 4).unwrap_or_default();
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    // FNV-1a; its low bits are weak, so fold the high ones in.
    let hash = addresses
        .iter()
        .chain(ports)
        .fold(0xcbf2_9ce4_8422_2325, mix);
    hash ^ (hash >> 32)
}

/// Sets "congestion experienced" (RFC 3168 5) on an ECN-capable IPv4 packet; whether it was one that
/// had it not.
pub(super) fn mark_ce(frame: &mut [u8]) -> bool {
    let header_end = ETHERNET_BYTES + usize::from(frame.get(14).unwrap_or(&0) & 15) * 4;
    if !is_ipv4(frame) || frame.len() < header_end || !matches!(frame[15] & 3, 1 | 2) {
        return false;
    }
    frame[15] |= 3;
    frame[24..26].fill(0);
    let words = frame[ETHERNET_BYTES..header_end].chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    frame[24..26].copy_from_slice(&[high, low]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN over IPv4 from port 1000, with ECT(0); its header's checksum is right.
    fn syn() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([
            8, 0, 0x45, 2, 0, 40, 0, 1, 0, 0, 64, 6, 0x66, 0xcb, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        frame.extend([
            0x03, 0xe8, 0x1f, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
        ]);
        frame
    }

    fn header_sum(frame: &[u8]) -> u32 {
        let words = frame[14..34].chunks(2);
        let sum: u32 = words
            .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
            .sum();
        (sum & 0xffff) + (sum >> 16)
    }

    #[test]
    fn mark_keeps_the_checksum_right() {
        let mut frame = syn();
        assert_eq!(header_sum(&frame), 0xffff);
        assert!(mark_ce(&mut frame));
        assert_eq!(frame[15] & 3, 3);
        assert_eq!(header_sum(&frame), 0xffff);
        assert!(!mark_ce(&mut frame), "once is enough");
        frame[15] = 0;
        assert!(!mark_ce(&mut frame), "not capable");
    }

    #[test]
    fn questions_about_any_cut() {
        let frame = syn();
        assert!(is_syn(&frame) && is_longer(&frame, 39) && !is_longer(&frame, 40));
        let mut other = syn();
        other[35] ^= 1;
        assert_ne!(flow(&frame), flow(&other), "another port is another flow");
        for cut in 0..frame.len() {
            let mut short = frame[..cut].to_vec();
            let _ = (
                is_syn(&short),
                is_longer(&short, 20),
                flow(&short),
                mark_ce(&mut short),
            );
        }
    }
}
