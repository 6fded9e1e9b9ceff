//! An event's bytes, made once for everybody: by the journal core, when it accepts the event and
//! when it reads history.
//!
//! A push is a whole WebSocket frame: servers do not mask, so every player gets the same bytes and
//! the hunt log is ready to send. Field names and what is left out are Centrifugo's.
//!
//! Both functions append to a buffer of the caller and allocate only if it has to grow. Raw JSON
//! parts must be valid and free of newlines (the session and the admin API see to that): a newline
//! separates messages in the protocol.

use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, emit_header};

/// Bytes that [`push_frame`] adds at most to name, data, info and tags: frame header, field names,
/// the largest offset. The name counts six times when it is full of escapes.
pub const OVERHEAD_BYTES_MAX: usize = 96;

/// Appends a publication object: `{"data":…,"info":…,"offset":…,"tags":…}`. `info` and `tags` are
/// JSON or empty. Offset 0 means that the event is not in any history and is left out.
pub fn publication(out: &mut Vec<u8>, data: &[u8], offset: u64, info: &[u8], tags: &[u8]) {
    out.extend_from_slice(b"{\"data\":");
    out.extend_from_slice(data);
    if !info.is_empty() {
        out.extend_from_slice(b",\"info\":");
        out.extend_from_slice(info);
    }
    if offset != 0 {
        out.extend_from_slice(b",\"offset\":");
        // Writing a number to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *out, &offset);
    }
    if !tags.is_empty() {
        out.extend_from_slice(b",\"tags\":");
        out.extend_from_slice(tags);
    }
    out.push(b'}');
}

/// Appends a whole text frame with the push `{"push":{"channel":…,"pub":…}}`.
pub fn push_frame(
    out: &mut Vec<u8>,
    hunt_name: &str,
    data: &[u8],
    offset: u64,
    info: &[u8],
    tags: &[u8],
) {
    // The header's length depends on what follows it: leave room for the longest, then close up.
    let start = out.len();
    out.extend_from_slice(&[0; SERVER_HEADER_BYTES_MAX]);
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    // Writing text to a vector cannot fail.
    let _ = serde_json::to_writer(&mut *out, hunt_name);
    out.extend_from_slice(b",\"pub\":");
    publication(out, data, offset, info, tags);
    out.extend_from_slice(b"}}");

    let payload_len = out.len() - start - SERVER_HEADER_BYTES_MAX;
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let header_len = emit_header(Opcode::Text, payload_len, &mut header);
    out.drain(start..start + SERVER_HEADER_BYTES_MAX - header_len);
    for (place, byte) in out
        .iter_mut()
        .skip(start)
        .zip(header.iter().take(header_len))
    {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn publications_leave_out_what_is_empty() {
        let bare = text(|out| publication(out, br#"{"n":18}"#, 18, b"", b""));
        assert_eq!(bare, r#"{"data":{"n":18},"offset":18}"#);
        let full =
            text(|out| publication(out, b"null", u64::MAX, br#"{"user":""}"#, b"{\"a\":\"b\"}"));
        assert_eq!(
            full,
            r#"{"data":null,"info":{"user":""},"offset":18446744073709551615,"tags":{"a":"b"}}"#
        );
        assert_eq!(
            text(|out| publication(out, b"1", 0, b"", b"")),
            r#"{"data":1}"#
        );
    }

    #[test]
    fn a_push_is_one_frame_at_each_length_of_header() {
        for (data_len, header_len) in [(10, 2), (125, 4), (60_000, 4), (70_000, 10)] {
            let data = format!("\"{}\"", "x".repeat(data_len));
            let mut out = b"before".to_vec();
            push_frame(&mut out, "hunt:4\"2", data.as_bytes(), 19, b"", b"");
            let (header, payload) = out[6..].split_at(header_len);
            let mut expected = [0; SERVER_HEADER_BYTES_MAX];
            assert_eq!(
                emit_header(Opcode::Text, payload.len(), &mut expected),
                header_len
            );
            assert_eq!(header, &expected[..header_len]);
            assert_eq!(
                String::from_utf8(payload.to_vec()).unwrap(),
                format!(
                    r#"{{"push":{{"channel":"hunt:4\"2","pub":{{"data":{data},"offset":19}}}}}}"#
                )
            );
            assert_eq!(&out[..6], b"before");
        }
    }

    #[test]
    fn the_overhead_is_what_it_says() {
        let mut out = Vec::new();
        let data = vec![b'1'; 70_000];
        push_frame(&mut out, "\u{1}", &data, u64::MAX, b"{}", b"{}");
        assert!(
            out.len() <= data.len() + 6 + 4 + OVERHEAD_BYTES_MAX,
            "{}",
            out.len()
        );
    }
}
