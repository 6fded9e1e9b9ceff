//! One column of a block: numbers that go on like the ones before them, written as how far they are from
//! what was expected.
//!
//! What is expected comes from an alpha-beta filter: a level and a slope, both corrected by what came
//! (delta and delta of delta are two corners of that). A walker keeps its speed for a while, its receiver's
//! error wanders, its clock ticks beside the second: no single filter fits all three, so that the writer
//! tries [`FILTERS`] and takes the cheapest. The distances are Rice codes, whose one parameter is tried
//! out too; a byte-wise code leaves zstd bytes that are half noise, of which it makes more than there was.
//!
//! All arithmetic wraps, on both sides alike: any numbers come back, and a stranger's bytes give some.

use crate::path::bits::{Reader, Writer, rice_bits};
use crate::path::block::Damaged;

/// How much of an error goes into the level and into the slope, in 256ths.
const FILTERS: [(i64, i64); 8] = [
    (256, 0),
    (256, 256),
    (256, 48),
    (256, 16),
    (160, 16),
    (64, 0),
    (64, 4),
    (16, 1),
];

/// Bits of a filter's number.
const FILTER_BITS: u32 = 3;

/// Bits of the parameter of the Rice code; [`EXACT`] stands for "no distance at all".
const PARAMETER_BITS: u32 = 6;

/// All are where they were expected, and nothing is written of them.
const EXACT: u32 = 63;

/// Bits of the power of ten that divides all numbers.
const SCALE_BITS: u32 = 4;

/// Bits behind the point of a level and a slope.
const FRACTION_BITS: u32 = 8;

const _: () = assert!(FILTERS.len() == 1 << FILTER_BITS);

/// Expects numbers.
#[derive(Debug)]
struct Filter {
    gains: (i64, i64),
    level: i64,
    slope: i64,
    /// Numbers seen.
    seen: i64,
}

impl Filter {
    fn new(gains: (i64, i64), first: i64) -> Filter {
        Filter {
            gains,
            level: first.wrapping_shl(FRACTION_BITS),
            slope: 0,
            seen: 1,
        }
    }

    fn expected(&self) -> i64 {
        let half = 1 << (FRACTION_BITS - 1);
        let next = self.level.wrapping_add(self.slope);
        next.wrapping_add(half) >> FRACTION_BITS
    }

    fn correct(&mut self, value: i64) {
        let next = self.level.wrapping_add(self.slope);
        let error = value.wrapping_shl(FRACTION_BITS).wrapping_sub(next);
        let (level, slope) = self.gains_now();
        self.level = next.wrapping_add(error.wrapping_mul(level) >> 8);
        self.slope = self.slope.wrapping_add(error.wrapping_mul(slope) >> 8);
        self.seen += 1;
    }

    /// The first numbers count for more: as in a line through all seen so far, by least squares; a level
    /// that follows everything leaves the mean of the steps.
    fn gains_now(&self) -> (i64, i64) {
        let seen = self.seen;
        match self.gains {
            (level, 0) => (level, 0),
            (256, slope) => (256, slope.max(256 / seen)),
            (level, slope) => {
                let pairs = (seen + 1) * (seen + 2);
                let line = (512 * (2 * seen + 1) / pairs, 1_536 / pairs);
                (level.max(line.0.min(256)), slope.max(line.1.min(256)))
            }
        }
    }
}

/// Small numbers of either sign as small ones.
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn from_zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Appends `values`; a reader has to know how many they are.
pub(super) fn write(values: &[i64], out: &mut Writer) {
    let Some(&first) = values.first() else {
        return;
    };
    let scale = scale_of(values);
    let unit = 10_i64.pow(scale);
    let scaled: Vec<i64> = values.iter().map(|value| value / unit).collect();
    let size = |gains| {
        let mut bits = 0;
        distances(&scaled, gains, |distance| {
            bits += u64::BITS - distance.leading_zeros()
        });
        bits
    };
    let cheapest = (0..).zip(FILTERS).min_by_key(|(_, gains)| size(*gains));
    let (number, gains) = cheapest.unwrap_or_default();
    let mut found = Vec::with_capacity(values.len());
    distances(&scaled, gains, |distance| found.push(distance));
    let parameter = parameter_of(&found);
    out.bits(number, FILTER_BITS);
    out.bits(u64::from(scale), SCALE_BITS);
    out.bits(u64::from(parameter), PARAMETER_BITS);
    out.whole(zigzag(first / unit));
    if parameter != EXACT {
        found
            .iter()
            .for_each(|&distance| out.rice(distance, parameter));
    }
}

/// Appends to `values` the `count` numbers of a column.
pub(super) fn read(
    count: usize,
    bits: &mut Reader<'_>,
    values: &mut Vec<i64>,
) -> Result<(), Damaged> {
    if count == 0 {
        return Ok(());
    }
    let number = bits.bits(FILTER_BITS)?;
    let gains = usize::try_from(number).ok().and_then(|n| FILTERS.get(n));
    let scale = u32::try_from(bits.bits(SCALE_BITS)?).unwrap_or(0);
    let unit = 10_i64.checked_pow(scale).ok_or(Damaged)?;
    let parameter = u32::try_from(bits.bits(PARAMETER_BITS)?).unwrap_or(EXACT);
    let first = from_zigzag(bits.whole()?);
    let mut filter = Filter::new(*gains.ok_or(Damaged)?, first);
    values.push(first.wrapping_mul(unit));
    for _ in 1..count {
        let distance = match parameter {
            EXACT => 0,
            k => from_zigzag(bits.rice(k)?),
        };
        let value = filter.expected().wrapping_add(distance);
        filter.correct(value);
        values.push(value.wrapping_mul(unit));
    }
    Ok(())
}

/// The greatest power of ten, of those that can be written, that divides all.
fn scale_of(values: &[i64]) -> u32 {
    let mut scale = (1 << SCALE_BITS) - 1;
    for &value in values {
        while value % 10_i64.pow(scale) != 0 {
            scale -= 1;
        }
    }
    // Nothing but zeros: any would do.
    scale
}

/// Shows how far each number behind the first is from what was expected.
fn distances(numbers: &[i64], gains: (i64, i64), mut show: impl FnMut(u64)) {
    let Some((&first, rest)) = numbers.split_first() else {
        return;
    };
    let mut filter = Filter::new(gains, first);
    for &number in rest {
        show(zigzag(number.wrapping_sub(filter.expected())));
        filter.correct(number);
    }
}

/// The parameter of the best code for `distances`.
fn parameter_of(distances: &[u64]) -> u32 {
    if distances.iter().all(|&distance| distance == 0) {
        return EXACT;
    }
    // The best one is near the median's logarithm; the mean follows the one gap in an hour.
    let mut sorted = distances.to_vec();
    let middle = sorted.len() / 2;
    let (_, median, _) = sorted.select_nth_unstable(middle);
    let near = (u64::BITS - median.leading_zeros()).min(EXACT - 2);
    let bits = |k: &u32| distances.iter().map(|&d| rice_bits(d, *k)).sum::<u64>();
    (near.saturating_sub(3)..=near + 1)
        .min_by_key(bits)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(values: &[i64]) -> usize {
        let mut writer = Writer::default();
        write(values, &mut writer);
        let bytes = writer.finish();
        let mut back = Vec::new();
        read(values.len(), &mut Reader::new(&bytes), &mut back).unwrap();
        assert_eq!(back, values);
        bytes.len()
    }

    #[test]
    fn what_goes_on_is_short() {
        let head = 5;
        assert!(bytes(&[7; 1_000]) <= head);
        assert!(bytes(&[0; 1_000]) <= head);
        let evenly: Vec<i64> = (0..1_000).map(|n| 17 + n * 1_000).collect();
        assert!(bytes(&evenly) <= 1_000 / 8 + 10);
        // One that jumps far costs little more than its own length.
        let mut jumps = evenly.clone();
        jumps[500..].iter_mut().for_each(|value| *value += 1 << 40);
        assert!(bytes(&jumps) <= bytes(&evenly) + 60);
        assert!(bytes(&[i64::MIN, i64::MAX, 0, i64::MIN, -1, 1]) < 100);
        assert_eq!(bytes(&[]), 0);
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(values: Vec<(i64, u8)>) {
            let values: Vec<i64> = values.iter().map(|(value, shift)| value >> (shift % 64)).collect();
            bytes(&values);
        }

        #[test]
        fn survives_a_strangers_bits(bytes: Vec<u8>, count in 0_usize..300) {
            let mut values = Vec::new();
            let _ = read(count, &mut Reader::new(&bytes), &mut values);
            prop_assert!(values.len() <= count);
        }
    }
}
