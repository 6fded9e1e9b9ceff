//! Numbers as bits: what a column of a block is written in ([`super::column`]).
//!
//! Most significant bit first; the last byte is filled with zeros. A reader never goes past the end: it
//! says [`Damaged`].

use crate::path::block::Damaged;

/// Ones after which a number is written in full: what a Rice code would spend more bits on.
const ESCAPE: u32 = 16;

/// Bits that say how long a number in full is.
const LENGTH_BITS: u32 = 7;

/// Appends bits.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Bits that are not in `bytes` yet, at the low end, and how many.
    held: u64,
    count: u32,
}

impl Writer {
    /// The low `count` bits of `value`, at most 56.
    fn low(&mut self, value: u64, count: u32) {
        self.held = self.held << count | value & ((1 << count) - 1);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let [byte, ..] = (self.held >> self.count).to_le_bytes();
            self.bytes.push(byte);
        }
    }

    /// The low `count` bits of `value`, at most 64.
    pub(super) fn bits(&mut self, value: u64, count: u32) {
        if count > 32 {
            self.low(value >> 32, count - 32);
        }
        self.low(value, count.min(32));
    }

    /// A number of any size: its length and its bits.
    pub(super) fn whole(&mut self, value: u64) {
        let length = u64::BITS - value.leading_zeros();
        self.bits(u64::from(length), LENGTH_BITS);
        self.bits(value, length);
    }

    /// A Rice code: `value >> k` in ones and a zero, then the low `k` bits.
    pub(super) fn rice(&mut self, value: u64, k: u32) {
        match u32::try_from(value >> k) {
            Ok(ones) if ones < ESCAPE => {
                self.bits((1 << (ones + 1)) - 2, ones + 1);
                self.bits(value, k);
            }
            _ => {
                self.bits((1 << ESCAPE) - 1, ESCAPE);
                self.whole(value);
            }
        }
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let filler = (8 - self.count % 8) % 8;
        self.low(0, filler);
        self.bytes
    }
}

/// Bits that [`Writer::rice`] takes for `value`.
pub(super) fn rice_bits(value: u64, k: u32) -> u64 {
    let ones = value >> k;
    match ones < u64::from(ESCAPE) {
        true => ones + 1 + u64::from(k),
        false => u64::from(ESCAPE + LENGTH_BITS + u64::BITS - value.leading_zeros()),
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    held: u64,
    count: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            bytes,
            held: 0,
            count: 0,
        }
    }

    fn low(&mut self, count: u32) -> Result<u64, Damaged> {
        while self.count < count {
            let (first, rest) = self.bytes.split_first().ok_or(Damaged)?;
            self.held = self.held << 8 | u64::from(*first);
            self.count += 8;
            self.bytes = rest;
        }
        self.count -= count;
        Ok(self.held >> self.count & ((1 << count) - 1))
    }

    /// A number of `count` bits; above 64 it is damaged.
    pub(super) fn bits(&mut self, count: u32) -> Result<u64, Damaged> {
        match count {
            0..=32 => self.low(count),
            33..=64 => Ok(self.low(count - 32)? << 32 | self.low(32)?),
            _ => Err(Damaged),
        }
    }

    /// See [`Writer::whole`].
    pub(super) fn whole(&mut self) -> Result<u64, Damaged> {
        let length = self.bits(LENGTH_BITS)?;
        self.bits(u32::try_from(length).unwrap_or(u32::MAX))
    }

    /// See [`Writer::rice`].
    pub(super) fn rice(&mut self, k: u32) -> Result<u64, Damaged> {
        let mut ones = 0;
        while ones < ESCAPE && self.low(1)? == 1 {
            ones += 1;
        }
        match ones {
            ESCAPE => self.whole(),
            ones => Ok(u64::from(ones).checked_shl(k).ok_or(Damaged)? | self.bits(k)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_wrote(numbers: Vec<(u64, u8, u8)>) {
            let mut writer = Writer::default();
            let mut bits = 0;
            for &(number, shift, k) in &numbers {
                let (number, k) = (number >> (shift % 64), u32::from(k % 64));
                writer.rice(number, k);
                writer.whole(number);
                writer.bits(number, 64);
                bits += rice_bits(number, k) + 7 + u64::from(64 - number.leading_zeros()) + 64;
            }
            let bytes = writer.finish();
            prop_assert_eq!(bytes.len() as u64, bits.div_ceil(8));
            let mut reader = Reader::new(&bytes);
            for &(number, shift, k) in &numbers {
                let number = number >> (shift % 64);
                prop_assert_eq!(reader.rice(u32::from(k % 64)), Ok(number));
                prop_assert_eq!(reader.whole(), Ok(number));
                prop_assert_eq!(reader.bits(64), Ok(number));
            }
            prop_assert_eq!(reader.bits(8), Err(Damaged));
        }
    }
}
