//! Any bytes as the payload of a compressed message: never longer than the limit, and where another
//! library reads it too, the same; and any bytes as a message to compress, which comes back.

use engine::ws::deflate::{Deflater, Inflater, SHARED_WINDOW_BITS, append_frame};
use engine::ws::frame::Opcode;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

const MESSAGE_BYTES_MAX: usize = 10_000;

/// The first byte says how long the message may be, and where one to compress is cut in three.
pub fn run(data: &[u8]) {
    let (first, payload) = data.split_first().unwrap_or((&0, data));
    let limit = usize::from(*first) * 64;
    let mut inflater = Inflater::new(MESSAGE_BYTES_MAX);
    if let Ok(message) = inflater.receive(payload, limit) {
        assert!(message.len() <= limit.min(MESSAGE_BYTES_MAX));
        if let Some(theirs) = inflate(payload) {
            assert_eq!(message, theirs);
        }
    }
    round_trip(payload, usize::from(*first), &mut inflater);
}

/// What miniz_oxide makes of a message that is one stream up to the end; none when it is not.
fn inflate(payload: &[u8]) -> Option<Vec<u8>> {
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut out = vec![0; 20_000];
    let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = DecompressorOxide::new();
    let (status, taken, len) = decompress(&mut state, &input, &mut out, 0, flags);
    out.truncate(len);
    (status == TINFLStatus::NeedsMoreInput && taken == input.len()).then_some(out)
}

fn round_trip(message: &[u8], cut: usize, inflater: &mut Inflater) {
    let (prefix, rest) = message.split_at(cut.min(message.len()));
    let (data, suffix) = rest.split_at(rest.len() - (cut / 2).min(rest.len()));
    let mut deflated = Vec::new();
    if !Deflater::new(SHARED_WINDOW_BITS).data(data, &mut deflated) {
        assert!(deflated.is_empty());
        return;
    }
    let mut frame = Vec::new();
    append_frame(&mut frame, Opcode::Binary, prefix, &deflated, suffix);
    assert_eq!(frame[0], 0xc2);
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let back = inflater.receive(&frame[header..], MESSAGE_BYTES_MAX);
    if message.len() <= MESSAGE_BYTES_MAX {
        assert_eq!(back, Ok(&mut message.to_vec()[..]));
    }
}
