//! From a client's byte stream to whole messages (RFC 6455 5.4 to 5.6, 8.1; RFC 7692 6.2).
//!
//! Stands between `tcp` (in-order bytes in a frame of the port, writable) and `session`. A message
//! that lies whole and unfragmented in the input is unmasked where it lies and handed on as a slice
//! of it: no copy. Anything else is unmasked piece by piece into chunks of the core's pool
//! and copied into the caller's scratch buffer when it is whole. A compressed message is inflated then,
//! into the memory of the core's inflater, which is lent for connections that agreed to it.
//!
//! Memory: [`Decoder`] is plain data for the connection's record. What it gathers is bounded by
//! `message_bytes_max` for the message and 125 bytes for a control frame between its fragments; when
//! the pool is empty the answer is [`Failure::NoMemory`]. Give it back with [`Decoder::clear`].
//!
//! Invariants: every byte of the input is looked at once; after `Close` or `Failed` nothing is held
//! and all further input is dropped; text is checked as it comes, so wrong text fails at its first
//! wrong byte and not at the end of the message; compressed text, which cannot, is checked when inflated.

use crate::memory::chunk::{Chunks, Gather};
use crate::ws::close;
use crate::ws::deflate::{Inflater, Unreadable};
use crate::ws::frame::{CLIENT_HEADER_BYTES_MAX, Header, Opcode, parse_header};
use crate::ws::mask::{advanced, unmask};
use crate::ws::utf8::Utf8;

#[cfg(test)]
mod tests;

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// The input is used up.
    NeedMore,
    /// A whole text message, unmasked, valid UTF-8.
    Text(&'a mut [u8]),
    /// A whole binary message, unmasked.
    Binary(&'a mut [u8]),
    /// A ping; answer with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer closes; answer with the same code.
    Close {
        /// A valid code, if any was sent.
        code: Option<u16>,
        /// Valid UTF-8 of at most 123 bytes.
        reason: &'a [u8],
    },
    /// The stream is of no more use; close with [`Failure::code`].
    Failed(Failure),
}

/// Why a stream failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A frame breaks RFC 6455.
    Protocol,
    /// Text or a close reason is not UTF-8.
    Utf8,
    /// The message is longer than the limit. Said at its header, before its payload comes.
    TooBig,
    /// A compressed message is no deflate stream.
    Corrupt,
    /// A compressed message would be longer than the limit. Said before more than that is inflated.
    Bomb,
    /// The chunk pool is empty. Our fault, not the peer's.
    NoMemory,
}

impl Failure {
    /// The code to close with.
    pub const fn code(self) -> u16 {
        match self {
            Failure::Protocol => close::PROTOCOL_ERROR,
            Failure::Utf8 | Failure::Corrupt => close::INVALID_PAYLOAD,
            Failure::TooBig | Failure::Bomb => close::MESSAGE_TOO_BIG,
            Failure::NoMemory => close::INTERNAL_ERROR,
        }
    }
}

/// A frame whose payload is still coming.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: u32,
    /// Turned so that its first byte fits the next byte of payload.
    mask: [u8; 4],
    opcode: Opcode,
    fin: bool,
}

/// Where in the stream we are.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// In a header, of which these bytes have come; one fewer than the longest is never whole.
    Header {
        bytes: [u8; CLIENT_HEADER_BYTES_MAX - 1],
        len: u8,
    },
    /// In a payload.
    Payload(Frame),
    /// Behind a close frame or a failure.
    Ended,
}

const BEFORE_HEADER: Stage = Stage::Header {
    bytes: [0; CLIENT_HEADER_BYTES_MAX - 1],
    len: 0,
};

/// The reading state of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    stage: Stage,
    /// Unmasked fragments of the message that is coming in.
    message: Gather,
    /// Unmasked beginning of a control frame; apart, because it may stand between fragments.
    control: Gather,
    utf8: Utf8,
    /// Text or Binary while a message is coming in.
    kind: Option<Opcode>,
    /// It is compressed.
    compressed: bool,
}

// Part of every player's record (docs/memory.md).
const _: () = assert!(size_of::<Decoder>() <= 40);

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder {
            stage: BEFORE_HEADER,
            message: Gather::default(),
            control: Gather::default(),
            utf8: Utf8::default(),
            kind: None,
            compressed: false,
        }
    }
}

impl Decoder {
    /// Takes bytes from the front of `input` up to the end of the next message or control frame.
    /// Call until it answers `NeedMore`.
    ///
    /// `scratch` needs room for `message_bytes_max` bytes, and for 125; with less it grows. The inflater
    /// is there exactly when compression was agreed to; its limit is at least `message_bytes_max`, which
    /// holds for a message as it comes and as it is inflated.
    pub fn receive<'r, 'a: 'r>(
        &mut self,
        input: &mut &'a mut [u8],
        chunks: &mut Chunks,
        message_bytes_max: usize,
        scratch: &'r mut Vec<u8>,
        inflater: Option<&'r mut Inflater>,
    ) -> Received<'r> {
        let received = match self.advance(input, chunks, message_bytes_max, scratch, inflater) {
            Ok(received) => received,
            Err(failure) => Received::Failed(failure),
        };
        if matches!(received, Received::Close { .. } | Received::Failed(_)) {
            self.clear(chunks);
            self.stage = Stage::Ended;
        }
        received
    }

    /// Gives back every chunk and begins anew.
    pub fn clear(&mut self, chunks: &mut Chunks) {
        chunks.discard(&mut self.message);
        chunks.discard(&mut self.control);
        *self = Decoder::default();
    }

    /// Bytes waiting in the chunk pool.
    pub fn held(&self) -> usize {
        self.message.len() + self.control.len()
    }

    fn advance<'r, 'a: 'r>(
        &mut self,
        input: &mut &'a mut [u8],
        chunks: &mut Chunks,
        message_bytes_max: usize,
        scratch: &'r mut Vec<u8>,
        inflater: Option<&'r mut Inflater>,
    ) -> Result<Received<'r>, Failure> {
        loop {
            if let Stage::Header { .. } = self.stage {
                let Some(header) = self.receive_header(input, inflater.is_some())? else {
                    return Ok(Received::NeedMore);
                };
                let frame = self.begin(header, message_bytes_max)?;
                // Whole in the input: no copy. A fragment is never handed on alone.
                let alone = frame.fin && frame.opcode != Opcode::Continuation;
                if alone && let Some(payload) = input.split_off_mut(..frame.left as usize) {
                    unmask(payload, frame.mask);
                    return match frame.opcode.is_control() {
                        true => finish_control(frame.opcode, payload),
                        false => self.finish(payload, false, message_bytes_max, inflater),
                    };
                }
                self.stage = Stage::Payload(frame);
            }
            let Stage::Payload(frame) = &mut self.stage else {
                *input = &mut [];
                return Ok(Received::NeedMore);
            };
            let (opcode, fin) = (frame.opcode, frame.fin);
            let checked = self.kind == Some(Opcode::Text) && !self.compressed;
            let left = gather(
                frame,
                input,
                chunks,
                if opcode.is_control() {
                    &mut self.control
                } else {
                    &mut self.message
                },
                (checked && !opcode.is_control()).then_some(&mut self.utf8),
            )?;
            if left > 0 {
                return Ok(Received::NeedMore);
            }
            self.stage = BEFORE_HEADER;
            if opcode.is_control() {
                chunks.take_all(&mut self.control, scratch);
                return finish_control(opcode, scratch);
            }
            if fin {
                chunks.take_all(&mut self.message, scratch);
                return self.finish(scratch, true, message_bytes_max, inflater);
            }
        }
    }

    /// The next header, if it is whole; else what came of it is kept.
    fn receive_header(
        &mut self,
        input: &mut &mut [u8],
        deflate: bool,
    ) -> Result<Option<Header>, Failure> {
        let Stage::Header { bytes, len } = &mut self.stage else {
            return Ok(None);
        };
        if *len == 0
            && let Some((header, header_len)) =
                parse_header(input, deflate).map_err(|_| Failure::Protocol)?
        {
            return Ok(input.split_off_mut(..header_len).map(|_| header));
        }
        let mut whole = [0; CLIENT_HEADER_BYTES_MAX];
        for (place, byte) in whole.iter_mut().zip(bytes.iter()) {
            *place = *byte;
        }
        while let Some(byte) = input.split_off_first_mut() {
            let at = usize::from(*len);
            if let Some(place) = whole.get_mut(at) {
                *place = *byte;
            }
            let so_far = whole.get(..=at).unwrap_or_default();
            if let Some((header, _)) =
                parse_header(so_far, deflate).map_err(|_| Failure::Protocol)?
            {
                self.stage = BEFORE_HEADER;
                return Ok(Some(header));
            }
            if let Some(place) = bytes.get_mut(at) {
                *place = *byte;
            }
            *len += 1;
        }
        Ok(None)
    }

    /// A frame begins: is it allowed here, and does its message stay within the limit?
    fn begin(&mut self, header: Header, message_bytes_max: usize) -> Result<Frame, Failure> {
        let Header {
            fin,
            opcode,
            compressed,
            mask,
            payload_len,
        } = header;
        if !opcode.is_control() {
            // RFC 6455 5.4: a continuation needs a message that has begun, and a new message needs
            // that the one before has ended.
            if (opcode == Opcode::Continuation) != self.kind.is_some() {
                return Err(Failure::Protocol);
            }
            if payload_len.saturating_add(self.message.len() as u64) > message_bytes_max as u64 {
                return Err(Failure::TooBig);
            }
            // RFC 7692 6: the first frame speaks for its message.
            if self.kind.is_none() {
                (self.kind, self.compressed) = (Some(opcode), compressed);
            }
        }
        let left = u32::try_from(payload_len).map_err(|_| Failure::TooBig)?;
        Ok(Frame {
            left,
            mask,
            opcode,
            fin,
        })
    }

    /// The payload of the message that has begun is whole.
    fn finish<'r>(
        &mut self,
        payload: &'r mut [u8],
        gathered: bool,
        message_bytes_max: usize,
        inflater: Option<&'r mut Inflater>,
    ) -> Result<Received<'r>, Failure> {
        let is_text = self.kind.take() == Some(Opcode::Text);
        let (message, checked) = match inflater {
            Some(inflater) if self.compressed => {
                let inflated = inflater.receive(payload, message_bytes_max);
                let message = inflated.map_err(|unreadable| match unreadable {
                    Unreadable::Corrupt => Failure::Corrupt,
                    Unreadable::TooBig => Failure::Bomb,
                })?;
                (message, false)
            }
            _ => (payload, gathered),
        };
        if !is_text {
            return Ok(Received::Binary(message));
        }
        // What was gathered has been checked piece by piece; a cut character may be left.
        let valid = match checked {
            true => self.utf8.is_complete(),
            false => simdutf8::basic::from_utf8(message).is_ok(),
        };
        if valid {
            Ok(Received::Text(message))
        } else {
            Err(Failure::Utf8)
        }
    }
}

/// A whole control frame.
fn finish_control(opcode: Opcode, payload: &mut [u8]) -> Result<Received<'_>, Failure> {
    match opcode {
        Opcode::Ping => Ok(Received::Ping(payload)),
        Opcode::Pong => Ok(Received::Pong(payload)),
        _ => {
            let (code, reason) = close::parse(payload).map_err(|malformed| match malformed {
                close::Malformed::Protocol => Failure::Protocol,
                close::Malformed::Utf8 => Failure::Utf8,
            })?;
            Ok(Received::Close { code, reason })
        }
    }
}

/// Unmasks what has come of a frame's payload, checks it and puts it into `gathered`; says how many
/// bytes are still to come.
fn gather(
    frame: &mut Frame,
    input: &mut &mut [u8],
    chunks: &mut Chunks,
    gathered: &mut Gather,
    text: Option<&mut Utf8>,
) -> Result<u32, Failure> {
    let here = u32::try_from(input.len())
        .unwrap_or(u32::MAX)
        .min(frame.left);
    let piece = input.split_off_mut(..here as usize).unwrap_or_default();
    unmask(piece, frame.mask);
    if let Some(utf8) = text {
        utf8.receive(piece).map_err(|_| Failure::Utf8)?;
    }
    chunks
        .gather(gathered, piece)
        .map_err(|_| Failure::NoMemory)?;
    frame.mask = advanced(frame.mask, piece.len());
    frame.left -= here;
    Ok(frame.left)
}
