//! The little of WebSocket that the cases need (RFC 6455), from the client's side and, for the server
//! of comparison, from the other.

/// The upgrade to the echo endpoint.
pub const REQUEST: &[u8] =
    b"GET /debug/echo HTTP/1.1\r\nHost: game\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The answer to [`REQUEST`]: the key is always the same.
pub const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Masks every payload.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's binary message in one frame.
pub fn message(payload: &[u8]) -> Vec<u8> {
    masked(0x82, payload)
}

/// A client's close frame with code 1000.
pub fn close() -> Vec<u8> {
    masked(0x88, &[0x03, 0xe8])
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    frame.extend(length(payload.len()));
    frame[1] |= 0x80;
    frame.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's frame.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    frame.extend(length(payload.len()));
    frame.extend(payload);
    frame
}

fn length(length: usize) -> Vec<u8> {
    match length {
        0..=125 => vec![length as u8],
        126..=0xffff => [&[126], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[127], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

/// The frame that `bytes` begin with: first byte, payload (unmasked), length.
pub fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (at, length) = match second & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            (10, u64::from_be_bytes(length) as usize)
        }
        short => (2, usize::from(short)),
    };
    if second & 0x80 == 0 {
        let payload = bytes.get(at..at + length)?.to_vec();
        return Some((first, payload, at + length));
    }
    let mask: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    let masked = bytes.get(at + 4..at + 4 + length)?;
    let payload = masked.iter().zip(mask.iter().cycle());
    let payload = payload.map(|(byte, mask)| byte ^ mask).collect();
    Some((first, payload, at + 4 + length))
}

/// `length` bytes that show when they are in the wrong place.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}
