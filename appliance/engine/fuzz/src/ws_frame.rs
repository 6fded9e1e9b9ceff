//! Any bytes as a stream of WebSocket frames, cut anywhere, with compression agreed to or not: the same
//! messages come out however the stream is cut, and every chunk goes back to the pool.

use engine::memory::chunk::Chunks;
use engine::ws::deflate::Inflater;
use engine::ws::message::{Decoder, Received};

const MESSAGE_BYTES_MAX: usize = 3_000;

/// The first byte says where the stream is cut, and in its upper half that compression was agreed to.
pub fn run(data: &[u8]) {
    let (first, stream) = data.split_first().unwrap_or((&0, data));
    let deflate = *first >= 128;
    let whole = decode(stream, usize::MAX, deflate);
    let cut = decode(stream, usize::from(*first % 64) + 1, deflate);
    assert_eq!(whole, cut);
}

/// What comes out of `stream` in pieces of `step` bytes.
fn decode(stream: &[u8], step: usize, deflate: bool) -> Vec<String> {
    let mut chunks = Chunks::new(16);
    let mut decoder = Decoder::default();
    let mut scratch = Vec::new();
    let mut inflater = deflate.then(|| Inflater::new(MESSAGE_BYTES_MAX));
    let mut seen = Vec::new();
    for piece in stream.chunks(step) {
        let mut bytes = piece.to_vec();
        let mut input = &mut bytes[..];
        loop {
            let received = decoder.receive(
                &mut input,
                &mut chunks,
                MESSAGE_BYTES_MAX,
                &mut scratch,
                inflater.as_mut(),
            );
            if let Received::Text(text) = &received {
                assert!(std::str::from_utf8(text).is_ok());
            }
            match received {
                Received::NeedMore => break,
                other => seen.push(format!("{other:?}")),
            }
            if seen
                .last()
                .is_some_and(|last| last.starts_with("Close") || last.starts_with("Failed"))
            {
                assert_eq!(chunks.used(), 0);
                return seen;
            }
        }
        assert!(decoder.held() <= MESSAGE_BYTES_MAX + 125);
    }
    decoder.clear(&mut chunks);
    assert_eq!(chunks.used(), 0);
    seen
}
