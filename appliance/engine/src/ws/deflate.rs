//! permessage-deflate (RFC 7692) without context takeover: every message is a deflate stream of its own.
//!
//! Both directions forget what came before, so no connection owns a compressor: a core has one of each
//! and lends it for a message. Up: [`Inflater`] between the bytes of a compressed message and
//! [`crate::ws::message`]. Down: [`Deflater::data`] compresses what many will be sent, once, and
//! [`append_frame`] makes the frame of each kind of connection around the same compressed bytes:
//!
//! ```text
//! frame header, RSV1 | stored block: prefix | compressed data | stored block: suffix | 00
//! ```
//!
//! Deflate blocks of different makers may follow each other as long as each begins at a byte: a stored
//! block ends at one, and the compressed data are ended by a sync flush, whose empty stored block lacks
//! its lengths here. The suffix's lengths take their place, or the end of the message does, where RFC
//! 7692 7.2.1 removes exactly these four bytes.
//!
//! Window: nothing here is ever compressed with distances above 4 KiB ([`SHARED_WINDOW_BITS`]), so one
//! copy serves everyone whose window is that or larger.
//!
//! Memory: 50 KiB and the longest message for an inflater, taken in `new`; some 200 KiB and a message
//! for a deflater, which grows with the longest it has seen. Else no call allocates as long as the caller's
//! buffers have the capacity that it names.
//!
//! Invariants: an inflated message is never longer than the limit, however long it claims to be, and
//! the work spent on it is bounded by its input and the limit.
//!
//! Not here: who negotiates (`upgrade`), what is worth compressing (`session`, `journal`).

use std::fmt;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, emit_header};

#[cfg(test)]
pub(super) mod tests;

/// Window of what is compressed for many, as a power of two. With 4 KiB game events of 16 KiB come out
/// within half a percent of what 32 KiB give (docs/compression.md), and the clients that ask for a
/// smaller window than the largest ask for this one (Python's `websockets`).
pub const SHARED_WINDOW_BITS: u8 = 12;

/// The smallest window that is agreed to. RFC 7692 has 8 as well, which zlib cannot keep to.
pub const WINDOW_BITS_MIN: u8 = 9;

/// The largest window there is, and what a client may use.
pub const WINDOW_BITS_MAX: u8 = 15;

/// Bytes by which compressed data has to be shorter to be worth a compressed frame: the lengths of two
/// stored blocks.
pub const GAIN_BYTES_MIN: usize = 10;

/// Level of zlib. 1 is three times as fast and saves half as much; above 2 the time grows by a
/// quarter to the double for 1 % of the bytes (docs/compression.md).
const LEVEL: i32 = 2;

/// What a sync flush ends with and RFC 7692 7.2.1 removes: the lengths of an empty stored block.
const FLUSH_MARK: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Stored block that is not the last, or not yet anything: three bits, then the rest of a byte.
const STORED: u8 = 0x00;

/// Behind a message: its mark, and an empty last block. A stream that then has not ended was cut.
const END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// Longest stored block (RFC 1951 3.2.4).
const STORED_BYTES_MAX: usize = 65_535;

/// Streams one after another in a message, each ended by a block that says it is the last. RFC 7692
/// 7.2.3.4 has one, of a peer that cannot flush otherwise; each costs as much as a message.
const STREAMS_MAX: usize = 8;

/// What was agreed in the upgrade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Agreed {
    /// Nothing: a compressed message breaks the protocol.
    #[default]
    No,
    /// Both ways, but with a window smaller than [`SHARED_WINDOW_BITS`] towards the client: it cannot
    /// be sent what is compressed for many.
    Narrow,
    /// Both ways.
    Shared,
}

/// Why a message could not be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// No deflate stream, or one that was cut.
    Corrupt,
    /// Longer than the limit.
    TooBig,
}

/// What was inflated, or deflated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages; those that failed do not count.
    pub messages: u64,
    /// Bytes of them before.
    pub bytes_in: u64,
    /// Bytes of them after.
    pub bytes_out: u64,
}

/// Reads compressed messages.
pub struct Inflater {
    inflate: Inflate,
    totals: Totals,
    /// The message; one byte more than the longest, which tells that there was more.
    message: Vec<u8>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

impl Inflater {
    /// For messages of at most `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Inflater {
        Inflater {
            inflate: Inflate::new(false, WINDOW_BITS_MAX),
            totals: Totals::default(),
            message: vec![0; message_bytes_max.saturating_add(1)],
        }
    }

    /// The message whose frames' payloads were `payload`; no longer than `bytes_max`, nor than this
    /// inflater's own limit.
    pub fn receive(&mut self, payload: &[u8], bytes_max: usize) -> Result<&mut [u8], Unreadable> {
        let room = bytes_max.saturating_add(1).min(self.message.len());
        let out = self.message.get_mut(..room).unwrap_or_default();
        // RFC 7692 7.2.3.6 asks for one byte in an empty message; a zlib that has nothing to flush gives
        // none.
        let len = match payload.is_empty() {
            true => 0,
            false => inflate_all(&mut self.inflate, payload, out)?,
        };
        if len >= room {
            return Err(Unreadable::TooBig);
        }
        self.totals.messages += 1;
        self.totals.bytes_in += payload.len() as u64;
        self.totals.bytes_out += len as u64;
        Ok(out.get_mut(..len).unwrap_or_default())
    }

    /// What was inflated since this was last asked.
    pub fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }
}

/// Inflates `payload` to the front of `out` until `out` is full; gives the bytes there.
fn inflate_all(
    inflate: &mut Inflate,
    mut payload: &[u8],
    out: &mut [u8],
) -> Result<usize, Unreadable> {
    let mut len = 0;
    for _ in 0..STREAMS_MAX {
        inflate.reset(false);
        let (ended, taken) = inflate_some(inflate, payload, out, &mut len)?;
        if len >= out.len() {
            return Ok(len);
        }
        if !ended {
            let given = len;
            let (ended, taken) = inflate_some(inflate, &END, out, &mut len)?;
            // An end that is taken for data shows that the message was cut.
            let is_whole = ended && taken == END.len() && len == given;
            // Full before the end is too long, whatever comes.
            return match is_whole || len >= out.len() {
                true => Ok(len),
                false => Err(Unreadable::Corrupt),
            };
        }
        payload = payload.get(taken..).unwrap_or_default();
    }
    Err(Unreadable::Corrupt)
}

/// Inflates `input` to `out` from `len` on, and moves `len`; whether the stream ended, and the bytes
/// taken.
fn inflate_some(
    inflate: &mut Inflate,
    input: &[u8],
    out: &mut [u8],
    len: &mut usize,
) -> Result<(bool, usize), Unreadable> {
    let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let (taken, given) = (inflate.total_in(), inflate.total_out());
    let room = out.get_mut(*len..).unwrap_or_default();
    let status = inflate.decompress(input, room, InflateFlush::SyncFlush);
    let status = status.map_err(|_| Unreadable::Corrupt)?;
    *len += count(inflate.total_out() - given);
    Ok((
        status == Status::StreamEnd,
        count(inflate.total_in() - taken),
    ))
}

/// Compresses messages.
pub struct Deflater {
    deflate: Deflate,
    window_bits: u8,
    /// What comes out, before it is known to be worth it.
    room: Vec<u8>,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

impl Deflater {
    /// With distances of at most 2^`window_bits`, from [`WINDOW_BITS_MIN`] to [`WINDOW_BITS_MAX`].
    pub fn new(window_bits: u8) -> Deflater {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        Deflater {
            deflate: Deflate::new(LEVEL, false, window_bits),
            window_bits,
            room: Vec::new(),
        }
    }

    /// Appends `data`, compressed, to `out`, which needs room for as many bytes as `data` has. False,
    /// and nothing appended, when that would not be [`GAIN_BYTES_MIN`] bytes shorter.
    ///
    /// What it appends is for [`append_frame`]: blocks that begin at a byte, and the beginning of a
    /// stored block.
    #[must_use = "data that does not get shorter is sent as it is"]
    pub fn data(&mut self, data: &[u8], out: &mut Vec<u8>) -> bool {
        // Room for the worst, with much to spare: a stream that is left before its end is not forgotten
        // by a reset (zlib-rs 0.6.8 keeps its place in the buffer, and panics some streams later).
        let most = data.len() + data.len() / 8 + 1_024;
        if self.room.len() < most {
            self.room.resize(most, 0);
        }
        self.deflate.reset();
        let status = self
            .deflate
            .compress(data, &mut self.room, DeflateFlush::SyncFlush);
        let len = usize::try_from(self.deflate.total_out()).unwrap_or(usize::MAX);
        if status != Ok(Status::Ok) || len >= self.room.len() {
            // Never seen. Allocates.
            *self = Deflater::new(self.window_bits);
            return false;
        }
        let deflated = self.room.get(..len).unwrap_or_default();
        let deflated = deflated.strip_suffix(&FLUSH_MARK).unwrap_or_default();
        let gains = !deflated.is_empty() && deflated.len() + GAIN_BYTES_MIN <= data.len();
        if gains {
            out.extend_from_slice(deflated);
        }
        gains
    }
}

/// Appends a whole frame whose message is `prefix`, the data that [`Deflater::data`] made `deflated` of,
/// and `suffix`. `out` grows by the three, [`SERVER_HEADER_BYTES_MAX`], and 5 bytes for each 65,535 of
/// `prefix` and of `suffix`, begun ones included.
pub fn append_frame(
    out: &mut Vec<u8>,
    opcode: Opcode,
    prefix: &[u8],
    deflated: &[u8],
    suffix: &[u8],
) {
    let payload_len = stored_len(prefix.len()) + deflated.len() + stored_len(suffix.len());
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let header_len = emit_header(opcode, payload_len, &mut header);
    // RFC 7692 6: the message is compressed.
    header[0] |= 0x40;
    out.extend(header.iter().take(header_len));
    for piece in prefix.chunks(STORED_BYTES_MAX) {
        out.push(STORED);
        append_stored(out, piece);
    }
    out.extend_from_slice(deflated);
    // Each block's first byte stands before it already; the last one is for the mark's block.
    for piece in suffix.chunks(STORED_BYTES_MAX) {
        append_stored(out, piece);
        out.push(STORED);
    }
}

/// Bytes that `len` bytes take in stored blocks.
fn stored_len(len: usize) -> usize {
    len + 5 * len.div_ceil(STORED_BYTES_MAX)
}

/// A stored block behind its first byte (RFC 1951 3.2.4): the length, its complement, the bytes.
fn append_stored(out: &mut Vec<u8>, piece: &[u8]) {
    let len = u16::try_from(piece.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(piece);
}
