//! The Internet checksum (RFC 1071): a one's-complement sum of 16-bit words.
//!
//! Partial sums are kept unfolded in a `u64`. The sum does not depend on byte order except for the
//! final swap (RFC 1071 section 2B), so eight bytes are added at a time in the machine's own order.

use std::net::IpAddr;

/// Sum of `bytes`, an odd last byte padded with zero. Add sums of parts that begin at even offsets.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut total = 0u64;
    let mut carries = 0u64;
    for word in words {
        let (next, carry) = total.overflowing_add(u64::from_ne_bytes(*word));
        total = next;
        carries += u64::from(carry);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    add(add(total, carries), u64::from_ne_bytes(last))
}

/// Adds two partial sums.
#[inline]
pub fn add(one: u64, other: u64) -> u64 {
    let (total, carry) = one.overflowing_add(other);
    // With a carry the total is at most 2^64 - 2: adding one cannot overflow again.
    total + u64::from(carry)
}

/// Folds a partial sum to the one's-complement sum in network byte order: 0xffff means that data
/// with its checksum in it is intact.
#[inline]
pub fn fold(total: u64) -> u16 {
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16);
    let total = (total & 0xffff) + (total >> 16);
    let total = (total & 0xffff) + (total >> 16);
    // Three folds of 33 bits leave 16.
    u16::from_be_bytes(u16::try_from(total & 0xffff).unwrap_or(0).to_ne_bytes())
}

/// Sum of the pseudo header of a TCP segment of `bytes` bytes (RFC 9293 section 3.1, RFC 8200
/// section 8.1).
#[inline]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, bytes: usize) -> u64 {
    const TCP: u8 = 6;
    let addresses = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            add(sum(&source.octets()), sum(&destination.octets()))
        }
        (source, destination) => add(sum(&octets(source)), sum(&octets(destination))),
    };
    let length = u32::try_from(bytes).unwrap_or(0).to_be_bytes();
    add(addresses, add(sum(&length), sum(&[0, TCP])))
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in 0usize..500) {
            prop_assert_eq!(fold(sum(&bytes)) % 0xffff, reference(&bytes) % 0xffff);
            let (one, other) = bytes.split_at((cut * 2).min(bytes.len()) & !1);
            prop_assert_eq!(fold(add(sum(one), sum(other))), fold(sum(&bytes)));
        }
    }

    #[test]
    fn all_ones_carry() {
        assert_eq!(fold(sum(&[0xff; 1480])), 0xffff);
        assert_eq!(fold(sum(&[])), 0);
    }
}
