//! Masking (RFC 6455 5.3): XOR with four bytes that repeat. Taking a mask off and putting it on are
//! the same act, so players (the load generator, tests) use it as well.

/// XORs `bytes` in place with `mask`, which starts at the first byte.
#[inline]
pub fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The mask as the byte after `count` bytes needs it.
#[inline]
#[must_use]
pub fn advanced(mut mask: [u8; 4], count: usize) -> [u8; 4] {
    mask.rotate_left(count % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// RFC 6455 5.3: octet i is XORed with mask octet i modulo 4, also when done in two parts.
        #[test]
        fn follows_the_rule_in_any_two_parts(
            bytes in prop::collection::vec(any::<u8>(), 0..70), mask: [u8; 4], at in 0usize..70,
        ) {
            let expected: Vec<u8> =
                bytes.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            let mut actual = bytes;
            let at = at.min(actual.len());
            let (first, second) = actual.split_at_mut(at);
            unmask(first, mask);
            unmask(second, advanced(mask, at));
            prop_assert_eq!(actual, expected);
        }
    }
}
