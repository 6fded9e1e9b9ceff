//! Protocol Buffers' wire format, as far as the client protocol uses it: varints and length-delimited
//! fields, read borrowed and appended to a buffer of the caller. No schema, no allocation.
//!
//! Reads by `prost`'s primitives; what is not a field is an error and never a panic. Source: the
//! Protocol Buffers encoding guide (protobuf.dev/programming-guides/encoding).

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// Longest varint.
const VARINT_BYTES_MAX: usize = 10;

/// The bytes are not a run of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Numbers and flags.
    Varint(u64),
    /// Text, bytes and messages.
    Bytes(&'a [u8]),
    /// Fixed-size numbers, which no field we know has.
    Fixed,
}

impl<'a> Value<'a> {
    /// A number or flag.
    pub fn number(self) -> Result<u64, Malformed> {
        match self {
            Value::Varint(number) => Ok(number),
            _ => Err(Malformed),
        }
    }

    /// Bytes or a message.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// Text.
    pub fn text(self) -> Result<&'a str, Malformed> {
        simdutf8::basic::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }
}

/// The fields of a message in the order written: number and value. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let (tag, wire_type) = decode_key(&mut self.rest).map_err(|_| Malformed)?;
        let value = match wire_type {
            WireType::Varint => {
                Value::Varint(decode_varint(&mut self.rest).map_err(|_| Malformed)?)
            }
            WireType::LengthDelimited => Value::Bytes(take_delimited(&mut self.rest)?),
            WireType::SixtyFourBit => self.skip(8)?,
            WireType::ThirtyTwoBit => self.skip(4)?,
            WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
        };
        Ok((tag, value))
    }

    fn skip(&mut self, count: usize) -> Result<Value<'a>, Malformed> {
        self.rest = self.rest.get(count..).ok_or(Malformed)?;
        Ok(Value::Fixed)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Takes a number off the front of `rest`.
pub fn take_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    decode_varint(rest).map_err(|_| Malformed)
}

/// Appends a number.
pub fn append_varint(out: &mut Vec<u8>, number: u64) {
    encode_varint(number, out);
}

/// Takes `varint length, bytes` off the front of `rest`.
pub fn take_delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = decode_varint(rest).map_err(|_| Malformed)?;
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    Ok(bytes)
}

/// Messages written as `varint length, bytes` one after another. Ends at the first that is cut short,
/// which in what we wrote ourselves is none.
pub fn delimited(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || take_delimited(&mut list).ok())
}

/// Appends `varint length, bytes`.
pub fn append_delimited(out: &mut Vec<u8>, bytes: &[u8]) {
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a number or flag; 0, which is what a reader takes a missing one for, is left out.
pub fn append_number(out: &mut Vec<u8>, tag: u32, number: u64) {
    if number != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(number, out);
    }
}

/// Appends text or bytes; nothing when empty.
pub fn append_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        append_bytes_always(out, tag, bytes);
    }
}

/// Appends text, bytes or a message, also an empty one: an entry of a list or map, or a message whose
/// presence says something.
pub fn append_bytes_always(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    append_delimited(out, bytes);
}

/// Appends a message that `fill` writes.
pub fn append_message(out: &mut Vec<u8>, tag: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    append_filled(out, fill);
}

/// Appends `varint length, bytes` with the bytes that `fill` writes.
pub fn append_filled(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    fill(out);
    // The length goes in front of what it counts.
    let end = out.len();
    encode_varint((end - start) as u64, out);
    if let Some(filled) = out.get_mut(start..) {
        filled.rotate_right(filled.len() - (end - start));
    }
}

/// Appends the key and length of a message of `length` bytes, which the caller appends.
pub fn append_header(out: &mut Vec<u8>, tag: u32, length: usize) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// Bytes of [`append_header`] at most, for tags below 16.
pub const HEADER_BYTES_MAX: usize = 1 + VARINT_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_filled_message_has_its_length_in_front() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut out = b"x".to_vec();
            append_message(&mut out, 5, |out| out.resize(out.len() + length, 7));
            let field = Fields::new(&out[1..]).next().unwrap();
            assert_eq!(field, Ok((5, Value::Bytes(&vec![7; length][..]))));
        }
    }

    #[test]
    fn damage_ends_the_fields() {
        // Cut in the key's value, a length beyond the end, a group, a reserved wire type, tag 0.
        for bytes in [
            &b"\x08"[..],
            b"\x0a\x05abc",
            b"\x0b",
            b"\x0f",
            b"\x00\x01",
            b"\x09\x01",
        ] {
            let mut fields = Fields::new(bytes);
            assert_eq!(fields.next(), Some(Err(Malformed)), "{bytes:?}");
            assert_eq!(fields.next(), None);
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(numbers: Vec<u64>, texts: Vec<Vec<u8>>) {
            let mut out = Vec::new();
            for &number in &numbers { append_number(&mut out, 3, number); }
            for text in &texts { append_bytes_always(&mut out, 900, text); }
            let fields: Vec<_> = Fields::new(&out).map(Result::unwrap).collect();
            let expected = numbers.iter().filter(|&&number| number != 0).map(|&n| (3, Value::Varint(n)))
                .chain(texts.iter().map(|text| (900, Value::Bytes(text)))).collect::<Vec<_>>();
            prop_assert_eq!(fields, expected);
        }

        #[test]
        fn survives_a_strangers_bytes(bytes: Vec<u8>) {
            for field in Fields::new(&bytes) { let _ = field; }
            for message in delimited(&bytes) { let _ = message; }
        }
    }
}
