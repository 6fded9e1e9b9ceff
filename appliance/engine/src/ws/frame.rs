//! The frame header (RFC 6455 5.2): parsed as a client sends it, emitted as a server does.
//!
//! Client frames are always masked, ours never (5.1); we never fragment. The one reserved bit that may
//! be set is RSV1 of a compressed message (RFC 7692 6), ours in `deflate`. Parsing refuses as early as a byte tells: a wrong first byte is not waited on.

/// Longest payload of a control frame (RFC 6455 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Longest header of a client frame: two bytes, eight of length, four of mask.
pub const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// Longest header of a server frame.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// What a frame is (RFC 6455 11.8); the reserved numbers have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the message before it.
    Continuation = 0,
    /// Begins a text message.
    Text = 1,
    /// Begins a binary message.
    Binary = 2,
    /// Begins the closing handshake.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    /// The opcode with this number, if it is defined.
    pub const fn parse(number: u8) -> Option<Opcode> {
        match number {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Whether frames of this kind may stand between the fragments of a message.
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// Header of a frame from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether the frame ends its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// RSV1: the message that begins is compressed.
    pub compressed: bool,
    /// Key of the payload.
    pub mask: [u8; 4],
    /// Bytes of payload.
    pub payload_len: u64,
}

/// The bytes break RFC 6455 5.2 or 5.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The header at the front of `bytes` and how many bytes it takes; none when more are needed.
/// `deflate` says whether compressed messages were agreed to.
pub fn parse_header(bytes: &[u8], deflate: bool) -> Result<Option<(Header, usize)>, Malformed> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    // RFC 6455 5.2: reserved bits need an extension that gives them meaning.
    if first & 0x30 != 0 {
        return Err(Malformed);
    }
    let fin = first & 0x80 != 0;
    let opcode = Opcode::parse(first & 0x0f).ok_or(Malformed)?;
    // RFC 7692 6: on the first frame of a message, and never on a control frame.
    let compressed = first & 0x40 != 0;
    if compressed && !(deflate && matches!(opcode, Opcode::Text | Opcode::Binary)) {
        return Err(Malformed);
    }
    // RFC 6455 5.5: control frames are not fragmented.
    if opcode.is_control() && !fin {
        return Err(Malformed);
    }
    let Some(&second) = bytes.get(1) else {
        return Ok(None);
    };
    let short_len = second & 0x7f;
    // RFC 6455 5.1: a server closes on an unmasked frame. 5.5: control payloads are 125 at most.
    if second & 0x80 == 0 || (opcode.is_control() && usize::from(short_len) > CONTROL_BYTES_MAX) {
        return Err(Malformed);
    }
    let Some((payload_len, mask_at)) = parse_len(short_len, bytes)? else {
        return Ok(None);
    };
    let Some(&mask) = bytes.get(mask_at..).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    Ok(Some((
        Header {
            fin,
            opcode,
            compressed,
            mask,
            payload_len,
        },
        mask_at + mask.len(),
    )))
}

/// The payload length and where the mask begins; none when more bytes are needed.
///
/// RFC 6455 5.2: the shortest of the three forms is the only right one, and the 64-bit form has its
/// highest bit clear.
fn parse_len(short_len: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let long = bytes.get(2..).unwrap_or_default();
    let (payload_len, mask_at, least) = match short_len {
        126 => match long.first_chunk() {
            Some(&len) => (u64::from(u16::from_be_bytes(len)), 4, 126),
            None => return Ok(None),
        },
        127 => match long.first_chunk() {
            Some(&len) => (u64::from_be_bytes(len), 10, 1 << 16),
            None => return Ok(None),
        },
        _ => (u64::from(short_len), 2, 0),
    };
    if payload_len < least || payload_len >> 63 != 0 {
        return Err(Malformed);
    }
    Ok(Some((payload_len, mask_at)))
}

/// Bytes of the frame of ours whose header is at the front of `bytes`; none when it is cut short.
pub fn server_frame_bytes(bytes: &[u8]) -> Option<u64> {
    let (payload_len, header_len) = parse_len(*bytes.get(1)?, bytes).ok()??;
    Some(payload_len + header_len as u64)
}

/// Writes the header of an unmasked, unfragmented frame to the front of `out` and says how many
/// bytes it takes.
pub fn emit_header(
    opcode: Opcode,
    payload_len: usize,
    out: &mut [u8; SERVER_HEADER_BYTES_MAX],
) -> usize {
    let [first, second, long @ ..] = out;
    *first = 0x80 | opcode as u8;
    if payload_len <= CONTROL_BYTES_MAX {
        *second = u8::try_from(payload_len).unwrap_or(0);
        return 2;
    }
    if let (Ok(len), [a, b, ..]) = (u16::try_from(payload_len), &mut *long) {
        *second = 126;
        [*a, *b] = len.to_be_bytes();
        return 4;
    }
    *second = 127;
    *long = (payload_len as u64).to_be_bytes();
    SERVER_HEADER_BYTES_MAX
}

/// Appends a whole unmasked frame to `out`, which grows by at most the payload and
/// [`SERVER_HEADER_BYTES_MAX`]. A control payload over [`CONTROL_BYTES_MAX`] is a caller's mistake.
pub fn append_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX);
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let len = emit_header(opcode, payload.len(), &mut header);
    out.extend(header.iter().take(len));
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn parse(head: &[u8], deflate: bool) -> Result<Option<(Header, usize)>, Malformed> {
        parse_header(&[head, &MASK].concat(), deflate)
    }

    #[test]
    fn lengths_at_the_borders_of_each_form() {
        for (len, header_len) in [
            (0, 2),
            (1, 2),
            (125, 2),
            (126, 4),
            (65_535, 4),
            (65_536, 10),
            (1 << 33, 10),
        ] {
            let mut out = [0; SERVER_HEADER_BYTES_MAX];
            assert_eq!(emit_header(Opcode::Text, len, &mut out), header_len);
            assert_eq!(out[0], 0x81);
            out[1] |= 0x80;
            let header = Header {
                fin: true,
                opcode: Opcode::Text,
                compressed: false,
                mask: MASK,
                payload_len: len as u64,
            };
            let whole = [&out[..header_len], &MASK].concat();
            assert_eq!(
                parse_header(&whole, false),
                Ok(Some((header, header_len + 4)))
            );
            for short in 0..whole.len() {
                assert_eq!(
                    parse_header(&whole[..short], true),
                    Ok(None),
                    "{len} cut at {short}"
                );
            }
        }
    }

    /// RFC 6455 5.1, 5.2, 5.5: each rule broken alone.
    #[test]
    fn malformed_headers_are_refused() {
        for (name, head) in [
            ("RSV1", &[0xc1, 0x80][..]),
            ("RSV2", &[0xa1, 0x80]),
            ("RSV3", &[0x91, 0x80]),
            ("reserved data opcode", &[0x83, 0x80]),
            ("reserved control opcode", &[0x8b, 0x80]),
            ("fragmented ping", &[0x09, 0x80]),
            ("unmasked", &[0x81, 0x00]),
            ("long ping", &[0x89, 0xfe, 0, 126]),
            ("17 in 16 bits", &[0x81, 0xfe, 0, 17]),
            (
                "65535 in 64 bits",
                &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            ),
            ("top bit", &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(parse(head, false), Err(Malformed), "{name}");
            let compressed = parse(head, true).map(|header| header.unwrap().0.compressed);
            let wanted = if name == "RSV1" {
                Ok(true)
            } else {
                Err(Malformed)
            };
            assert_eq!(compressed, wanted, "{name} with compression");
        }
        // RFC 7692 6.1: not on a later frame, nor on a control frame.
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca] {
            assert_eq!(parse(&[first, 0x80], true), Err(Malformed), "{first:x}");
        }
    }

    /// The unmasked examples of RFC 6455 5.7.
    #[test]
    fn emits_the_examples_of_the_rfc() {
        let mut out = Vec::new();
        append_frame(&mut out, Opcode::Text, b"Hello");
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        out.clear();
        append_frame(&mut out, Opcode::Binary, &[7; 256]);
        assert_eq!(out[..4], [0x82, 0x7e, 0x01, 0x00]);
        out.clear();
        append_frame(&mut out, Opcode::Binary, &[7; 65_536]);
        assert_eq!(out[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(out.len(), 65_546);
    }
}
