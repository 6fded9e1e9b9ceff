//! Makes a backend's JSON fit for the wire: valid, compact, without raw newlines.
//!
//! The client protocol separates messages by newlines, so whitespace between tokens must go. It goes
//! here, once, before the journal: what is stored, recovered and sent are the same bytes. What is
//! inside strings is left as it is (JSON allows no raw newline there).

use serde_json::value::RawValue;

/// The text is not one JSON value in UTF-8 (RFC 8259).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson;

/// `text` without whitespace between tokens; refused unless it is exactly one JSON value.
pub fn compact(text: &[u8]) -> Result<String, NotJson> {
    let text = std::str::from_utf8(text).map_err(|_| NotJson)?;
    let value: &RawValue = serde_json::from_str(text).map_err(|_| NotJson)?;
    Ok(compact_valid(value.get()))
}

/// [`compact`] for text that is known to be valid.
fn compact_valid(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        if in_string {
            in_string = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        in_string = *c == '"';
        !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    text.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_goes_and_strings_stay() {
        let text = b" {\n\"a b\" : [ 1 ,\t\"\\\" \\\\\" , \"\xc3\xa9 \\n\" ]\r\n } ";
        assert_eq!(
            compact(text).unwrap(),
            "{\"a b\":[1,\"\\\" \\\\\",\"\u{e9} \\n\"]}"
        );
        for same in ["null", "-1.5e3", "\"\"", "{}", "[[],{}]"] {
            assert_eq!(compact(same.as_bytes()).unwrap(), same);
        }
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        let bad: [&[u8]; 8] = [
            b"",
            b"{} {}",
            b"{",
            b"[1,]",
            b"'a'",
            b"\"\n\"",
            b"nul",
            b"\"\xff\"",
        ];
        for text in bad {
            assert_eq!(compact(text), Err(NotJson), "{text:?}");
        }
    }
}
