//! The player's side of RFC 6455 and of the handshake before it: bytes in place, nothing owned.
//!
//! It does not reassemble fragments: an appliance never fragments what it sends, so a fragment is
//! an error here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// All players send the same key; what is checked is that the answer belongs to it.
const KEY: &str = "c3dhcm0gb2YgcGxheWVycw==";
/// Where players of the Centrifugo protocol connect.
pub(crate) const PATH: &str = "/connection/websocket";
/// RFC 6455 1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// One complete frame from the appliance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// A ping that wants a pong with the same bytes.
    Ping(&'a [u8]),
    /// A pong; nobody asked.
    Pong,
    /// The close frame with its code; 1005 if it had none (RFC 6455 7.1.5).
    Close(u16),
}

/// The bytes break RFC 6455, or are legal and still never sent by an appliance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadFrame;

/// The first frame in `bytes` and its length on the wire; `None` while it is incomplete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, BadFrame> {
    let [first, second, ..] = *bytes else {
        return Ok(None);
    };
    // RFC 6455 5.1: a server masks nothing.
    if second & 0x80 != 0 {
        return Err(BadFrame);
    }
    let (payload_at, payload_bytes): (usize, _) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, usize::from(u16::from_be_bytes([length[0], length[1]]))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).map(<[u8; 8]>::try_from) {
            Some(Ok(length)) => (
                10,
                usize::try_from(u64::from_be_bytes(length)).map_err(|_| BadFrame)?,
            ),
            _ => return Ok(None),
        },
        short => (2, usize::from(short)),
    };
    let end = payload_at.checked_add(payload_bytes).ok_or(BadFrame)?;
    let Some(payload) = bytes.get(payload_at..end) else {
        return Ok(None);
    };
    let frame = match first {
        0x81 => Frame::Text(payload),
        0x88 => Frame::Close(match payload {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => 1005,
        }),
        0x89 => Frame::Ping(payload),
        0x8a => Frame::Pong,
        _ => return Err(BadFrame),
    };
    Ok(Some((frame, end)))
}

/// A masked client frame (RFC 6455 5.3) of `payload`, appended to `out`.
pub(crate) fn emit(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => out.push(0x80 | short),
        (_, Ok(long)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&long.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}

/// The upgrade request for `path`.
pub(crate) fn upgrade_request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// What became of the upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// The answer is incomplete.
    Wait,
    /// Accepted; frames begin at this byte.
    Accepted(usize),
    /// Another status than 101, or the wrong answer to our key.
    Refused,
}

/// Judges the answer to [`upgrade_request`].
pub(crate) fn parse_upgrade(bytes: &[u8]) -> Upgrade {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Upgrade::Wait,
        Err(_) => return Upgrade::Refused,
    };
    let accept = STANDARD.encode(Sha1::digest(format!("{KEY}{KEY_SUFFIX}")));
    let accepted = response.code == Some(101)
        && response.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("sec-websocket-accept")
                && header.value == accept.as_bytes()
        });
    if accepted {
        Upgrade::Accepted(length)
    } else {
        Upgrade::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length_and_every_cut() {
        for size in [0_usize, 2, 125, 126, 300, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match size {
                0..126 => bytes.push(u8::try_from(size).unwrap()),
                126..65_536 => {
                    bytes.push(126);
                    bytes.extend(u16::try_from(size).unwrap().to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend((size as u64).to_be_bytes());
                }
            }
            bytes.extend(std::iter::repeat_n(b'x', size));
            for cut in (0..bytes.len()).step_by(1 + size / 97) {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{size} cut at {cut}");
            }
            let Ok(Some((Frame::Text(text), length))) = parse(&bytes) else {
                panic!("{size}")
            };
            assert_eq!((text.len(), length), (size, bytes.len()));
        }
    }

    #[test]
    fn masked_fragmented_and_unknown_frames_are_bad() {
        assert_eq!(parse(&[0x81, 0x82, 1, 2, 3, 4, 5, 6]), Err(BadFrame));
        assert_eq!(parse(&[0x01, 0x00]), Err(BadFrame));
        assert_eq!(parse(&[0x83, 0x00]), Err(BadFrame));
        assert_eq!(parse(&[0xc1, 0x00]), Err(BadFrame));
    }

    #[test]
    fn close_code() {
        assert_eq!(
            parse(&[0x88, 2, 0x0b, 0xb9]),
            Ok(Some((Frame::Close(3001), 4)))
        );
        assert_eq!(parse(&[0x88, 0]), Ok(Some((Frame::Close(1005), 2))));
    }

    #[test]
    fn emitted_frame_unmasks_to_its_payload() {
        for size in [0_usize, 2, 125, 126, 70_000] {
            let payload: Vec<u8> = (0..size)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            let mut frame = Vec::new();
            emit(1, &payload, [1, 2, 3, 4], &mut frame);
            let body = &frame[frame.len() - size..];
            let clear: Vec<u8> = body
                .iter()
                .zip([1, 2, 3, 4].iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            assert_eq!(clear, payload);
            assert_eq!(frame[1] & 0x80, 0x80);
        }
    }

    #[test]
    fn upgrade_answers() {
        let accept = STANDARD.encode(Sha1::digest(format!("{KEY}{KEY_SUFFIX}")));
        let good = format!("HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
        assert_eq!(
            parse_upgrade(good.as_bytes()),
            Upgrade::Accepted(good.len())
        );
        assert_eq!(
            parse_upgrade(&good.as_bytes()[..good.len() - 1]),
            Upgrade::Wait
        );
        assert_eq!(
            parse_upgrade(b"HTTP/1.1 503 Busy\r\n\r\n"),
            Upgrade::Refused
        );
        let wrong = good.replace(&accept, "AAAA");
        assert_eq!(parse_upgrade(wrong.as_bytes()), Upgrade::Refused);
    }
}
