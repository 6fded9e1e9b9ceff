//! Payloads: JSON that is handed on as it came, to the byte, unless it holds a line break.

/// Deepest nesting of a command in JSON. What a player publishes is parsed by every other player: some
/// parsers (Python's) fail on deep nesting, so it ends here. The default limit of `serde_json`, so
/// that the admin API accepts as much.
pub const DEPTH_MAX: usize = 128;

/// Deepest nesting of a payload: a command in JSON has two levels of its own.
const PAYLOAD_DEPTH_MAX: usize = DEPTH_MAX - 2;

/// The bytes are not one JSON value, or one that nests too deep: error 107.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// Appends `data` as it is, as apps may compare or sign what they publish; but with a line break in it
/// without the white space between its tokens: newlines separate messages in the JSON protocol. Appends
/// nothing when `data` is not one JSON value.
pub fn append_compact(out: &mut Vec<u8>, data: &[u8]) -> Result<(), NotJson> {
    let text = simdutf8::basic::from_utf8(data).map_err(|_| NotJson)?;
    // Before the parser, which keeps a stack of what it ignores.
    if is_deeper(data, PAYLOAD_DEPTH_MAX) {
        return Err(NotJson);
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| NotJson)?;
    if !data.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(data);
        return Ok(());
    }
    let mut strings = Strings::default();
    out.extend(
        data.iter().filter(|&&byte| {
            strings.receive(byte) || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
        }),
    );
    Ok(())
}

/// Whether brackets outside of strings nest deeper than `depth_max`.
pub(super) fn is_deeper(json: &[u8], depth_max: usize) -> bool {
    let (mut depth, mut strings) = (0usize, Strings::default());
    for &byte in json {
        match (strings.receive(byte), byte) {
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

/// Tells what stands in strings.
#[derive(Default)]
struct Strings {
    inside: bool,
    escaped: bool,
}

impl Strings {
    /// Whether `byte`, the next one, is part of a string, quotes included.
    #[inline]
    fn receive(&mut self, byte: u8) -> bool {
        let was_inside = self.inside;
        if self.escaped {
            self.escaped = false;
        } else {
            self.escaped = was_inside && byte == b'\\';
            self.inside ^= byte == b'"';
        }
        was_inside || self.inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compact(data: &[u8]) -> Result<Vec<u8>, NotJson> {
        let mut out = Vec::new();
        let result = append_compact(&mut out, data);
        assert!(result.is_ok() || out.is_empty());
        result.map(|()| out)
    }

    #[test]
    fn only_white_space_between_tokens_goes_and_only_with_a_line_break() {
        let data = b" { \"a b\\\" \" :\t[ 1 , \"\\\\\" ,\r\n null ] }\n";
        assert_eq!(compact(data).unwrap(), b"{\"a b\\\" \":[1,\"\\\\\",null]}");
        for same in [
            &b"1"[..],
            b"null",
            b"\"\"",
            b"{}",
            br#""\u00e4 \n""#,
            b" {\"a\": [1,\t2 ]}",
        ] {
            assert_eq!(compact(same).unwrap(), same);
        }
    }

    #[test]
    fn what_is_not_json_is_told() {
        for data in [
            &b""[..],
            b" ",
            b"1 2",
            b"{",
            b"{}}",
            b"'a'",
            b"01",
            b"nul",
            b"\"\xff\"",
            b"[1,]",
            b"\"tab\tinside\"",
            b"\"\\x\"",
            b"\xef\xbb\xbf{}",
            b"\0",
        ] {
            assert_eq!(compact(data), Err(NotJson), "{data:x?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nest = |depth: usize| ("[".repeat(depth) + &"]".repeat(depth)).into_bytes();
        assert!(compact(&nest(PAYLOAD_DEPTH_MAX)).is_ok());
        assert_eq!(compact(&nest(PAYLOAD_DEPTH_MAX + 1)), Err(NotJson));
        assert_eq!(compact(&b"[".repeat(1_000_000)), Err(NotJson));
        // Side by side is not deep, and brackets in strings do not nest.
        assert!(compact(format!("[{}[]]", "[],".repeat(20_000)).as_bytes()).is_ok());
        assert!(compact(format!(r#""\"{}\\\"""#, "[".repeat(1000)).as_bytes()).is_ok());
    }

    proptest! {
        /// Another parser reads the same value before and after.
        #[test]
        fn the_value_stays(
            texts in prop::collection::vec(any::<String>(), 0..5), number: f64, pretty: bool,
        ) {
            let value = serde_json::json!({ "a b": texts, "n": [number, null, { "": true }] });
            let written = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            let out = compact(written.as_bytes()).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }

        #[test]
        fn a_strangers_bytes_come_out_as_json_or_not_at_all(data: Vec<u8>, text in "[\\[\\]{}\", 1:\\\\\n]{0,12}") {
            for data in [data, text.into_bytes()] {
                if let Ok(out) = compact(&data) {
                    let json = serde_json::from_slice::<&serde_json::value::RawValue>(&out);
                    prop_assert!(json.is_ok());
                }
            }
        }
    }
}
