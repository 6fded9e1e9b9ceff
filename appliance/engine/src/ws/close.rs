//! The close frame (RFC 6455 5.5.1, 7.4): a code and a reason, both ways.

use crate::ws::frame::{CONTROL_BYTES_MAX, Opcode, append_frame};

/// Longest reason in bytes: a control payload less the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Done (RFC 6455 7.4.1).
pub const NORMAL: u16 = 1000;
/// A frame broke RFC 6455.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A kind of message this endpoint does not take.
pub const UNSUPPORTED_DATA: u16 = 1003;
/// Text that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// A message over the limit; centrifuge-js takes it as final.
pub const MESSAGE_TOO_BIG: u16 = 1009;
/// We cannot go on.
pub const INTERNAL_ERROR: u16 = 1011;

/// What a received close frame is not allowed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// One byte of payload, or a code that must not be sent.
    Protocol,
    /// The reason is not UTF-8.
    Utf8,
}

/// Whether a peer may send this code (RFC 6455 7.4.1, 7.4.2): 1004 to 1006 and 1015 never stand in
/// a frame, 1016 to 2999 are kept for later standards, 3000 to 4999 are for libraries and
/// applications.
pub const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1011 | 3000..=4999)
}

/// Code and reason in the payload of a close frame.
pub fn parse(payload: &[u8]) -> Result<(Option<u16>, &[u8]), Malformed> {
    if payload.is_empty() {
        return Ok((None, payload));
    }
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return Err(Malformed::Protocol);
    };
    let code = u16::from_be_bytes(code);
    if !is_sendable(code) {
        return Err(Malformed::Protocol);
    }
    match simdutf8::basic::from_utf8(reason) {
        Ok(_) => Ok((Some(code), reason)),
        Err(_) => Err(Malformed::Utf8),
    }
}

/// Appends a close frame. A reason over [`REASON_BYTES_MAX`] is cut at a character.
pub fn append_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    let reason = reason.get(..end).unwrap_or_default().as_bytes();
    let mut payload = [0; CONTROL_BYTES_MAX];
    let bytes = code.to_be_bytes().into_iter().chain(reason.iter().copied());
    let mut len = 0;
    for (place, byte) in payload.iter_mut().zip(bytes) {
        *place = byte;
        len += 1;
    }
    append_frame(out, Opcode::Close, payload.get(..len).unwrap_or_default());
}

/// Appends the answer to a peer's close frame: the same code back (RFC 6455 5.5.1), or an empty
/// frame when it had none.
pub fn append_answer(out: &mut Vec<u8>, code: Option<u16>) {
    match code {
        Some(code) => append_close(out, code, ""),
        None => append_frame(out, Opcode::Close, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        append_close(&mut out, 3501, &"ä".repeat(70));
        assert_eq!(out[..4], [0x88, 124, 0x0d, 0xad]);
        assert_eq!(
            parse(&out[2..]),
            Ok((Some(3501), "ä".repeat(61).as_bytes()))
        );
    }

    #[test]
    fn answers_with_what_came() {
        let mut out = Vec::new();
        append_answer(&mut out, Some(1000));
        append_answer(&mut out, None);
        assert_eq!(out, [0x88, 2, 0x03, 0xe8, 0x88, 0]);
    }

    /// RFC 6455 7.4: the borders of each range.
    #[test]
    fn only_sendable_codes_pass() {
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
        ] {
            assert_eq!(
                parse(&u16::to_be_bytes(code)),
                Ok((Some(code), &b""[..])),
                "{code}"
            );
        }
        for code in [
            0, 999, 1004, 1005, 1006, 1012, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            assert_eq!(
                parse(&u16::to_be_bytes(code)),
                Err(Malformed::Protocol),
                "{code}"
            );
        }
        assert_eq!(parse(&[3]), Err(Malformed::Protocol));
        assert_eq!(parse(&[3, 0xe8, 0xff]), Err(Malformed::Utf8));
    }
}
