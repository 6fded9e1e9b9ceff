//! What points say besides place and time, as a text with gaps and the numbers that fill them: a phone
//! says the same names again and again, and its numbers are columns.
//!
//! A number is one that is written in one way only: digits, a minus, a point, and not an exponent; fewer
//! than 16 digits; no needless zero in front. Anything else, and everything in quotes, stays text. So any
//! bytes come back as they were, JSON or not.

use crate::path::EXTRA_BYTES_MAX;
use crate::path::block::Damaged;

/// Digits of a number at most: all of them, and their tenfold, fit an i64.
const DIGITS_MAX: usize = 15;

/// A number as it was written: 4.50 is 450 with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) digits: i64,
    pub(super) decimals: u32,
}

/// Splits `text`: appends the pieces around its numbers to `pieces`, one more than there are numbers, and
/// the numbers to `numbers`.
pub(super) fn split<'a>(text: &'a [u8], pieces: &mut Vec<&'a [u8]>, numbers: &mut Vec<Number>) {
    let (mut start, mut at) = (0, 0);
    let mut quoted = false;
    while let Some(&byte) = text.get(at) {
        // A number begins where none could go on.
        let begins = matches!(byte, b'-' | b'0'..=b'9')
            && at
                .checked_sub(1)
                .and_then(|before| text.get(before))
                .is_none_or(|byte| !goes_on(*byte));
        let rest = text.get(at..).unwrap_or_default();
        if !quoted
            && begins
            && let Some((number, length)) = number(rest)
        {
            pieces.push(text.get(start..at).unwrap_or_default());
            numbers.push(number);
            at += length;
            start = at;
            continue;
        }
        match byte {
            b'"' => quoted = !quoted,
            // What follows it is not the end of the text in quotes.
            b'\\' if quoted => at += 1,
            _ => {}
        }
        at += 1;
    }
    pieces.push(text.get(start..).unwrap_or_default());
}

fn goes_on(byte: u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
}

/// The number that `text` begins with, and its length.
fn number(text: &[u8]) -> Option<(Number, usize)> {
    let length = text
        .iter()
        .position(|&byte| !goes_on(byte))
        .unwrap_or(text.len());
    let text = text.get(..length)?;
    let (minus, unsigned) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let point = unsigned.iter().position(|&byte| byte == b'.');
    let (whole, decimals) = match point {
        Some(point) => (unsigned.get(..point)?, unsigned.get(point + 1..)?),
        None => (unsigned, &[][..]),
    };
    let well = !whole.is_empty()
        && (whole.len() == 1 || !whole.starts_with(b"0"))
        && (point.is_none() || !decimals.is_empty())
        && whole.len() + decimals.len() <= DIGITS_MAX;
    if !well {
        return None;
    }
    let mut digits = 0_i64;
    for &byte in whole.iter().chain(decimals) {
        if !byte.is_ascii_digit() {
            return None;
        }
        digits = digits * 10 + i64::from(byte - b'0');
    }
    // A zero has no sign here.
    if minus && digits == 0 {
        return None;
    }
    let digits = if minus { -digits } else { digits };
    let decimals = u32::try_from(decimals.len()).ok()?;
    Some((Number { digits, decimals }, length))
}

/// Appends what [`split`] took apart; damaged when it gets longer than a point may be.
pub(super) fn join<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    numbers: impl Iterator<Item = Number>,
    out: &mut Vec<u8>,
) -> Result<(), Damaged> {
    let start = out.len();
    let mut numbers = numbers;
    for (index, piece) in pieces.enumerate() {
        if index > 0 {
            write_number(numbers.next().ok_or(Damaged)?, out)?;
        }
        out.extend_from_slice(piece);
        if out.len() - start > EXTRA_BYTES_MAX {
            return Err(Damaged);
        }
    }
    Ok(())
}

fn write_number(number: Number, out: &mut Vec<u8>) -> Result<(), Damaged> {
    use std::io::Write;
    if number.decimals as usize > DIGITS_MAX {
        return Err(Damaged);
    }
    let unit = 10_u64.pow(number.decimals);
    let size = number.digits.unsigned_abs();
    let sign = if number.digits < 0 { "-" } else { "" };
    let written = match number.decimals {
        0 => write!(out, "{sign}{size}"),
        places => write!(
            out,
            "{sign}{}.{:0places$}",
            size / unit,
            size % unit,
            places = places as usize
        ),
    };
    written.map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(text: &[u8]) -> Vec<(i64, u32)> {
        let (mut pieces, mut numbers) = (Vec::new(), Vec::new());
        split(text, &mut pieces, &mut numbers);
        assert_eq!(pieces.len(), numbers.len() + 1);
        let mut back = Vec::new();
        let joined = join(pieces.into_iter(), numbers.iter().copied(), &mut back);
        if text.len() <= EXTRA_BYTES_MAX {
            assert_eq!(joined, Ok(()));
            assert_eq!(back, text);
        }
        let pair = |number: &Number| (number.digits, number.decimals);
        numbers.iter().map(pair).collect()
    }

    #[test]
    fn what_is_a_number() {
        for (text, wanted) in [
            (r#"{"accuracy":4.50,"speed":-1}"#, vec![(450, 2), (-1, 0)]),
            (
                r#"{"a":[0,0.0,0.05,-0.1]}"#,
                vec![(0, 0), (0, 1), (5, 2), (-1, 1)],
            ),
            ("123456789012345", vec![(123_456_789_012_345, 0)]),
            // Written in a way that would not come back, or in quotes.
            (
                r#"{"a":-0,"b":-0.0,"c":1e5,"d":1.5E-3,"e":01,"f":"7","g\"8":"\\"}"#,
                vec![],
            ),
            ("1234567890123456", vec![]),
            ("1.-2 .5 5. - -- 1.2.3 +4", vec![]),
            (r#""\"5" 6"#, vec![(6, 0)]),
            ("", vec![]),
            ("x1", vec![(1, 0)]),
        ] {
            assert_eq!(numbers(text.as_bytes()), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in r#"[-+0-9.eE"\\a, ]{0,100}"#, bytes: Vec<u8>) {
            numbers(text.as_bytes());
            numbers(&bytes);
        }
    }
}
