//! What goes out is read by another library (miniz_oxide) that knows nothing of ours; what comes in is
//! also what that library wrote; bombs, cut streams and noise are refused.

use super::*;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use proptest::prelude::*;

/// Takes a frame apart: first byte and payload.
fn open(frame: &[u8]) -> (u8, &[u8]) {
    let (len, at) = match frame[1] {
        126 => (u16::from_be_bytes([frame[2], frame[3]]).into(), 4),
        127 => (
            usize::try_from(u64::from_be_bytes(*frame[2..].first_chunk().unwrap())).unwrap(),
            10,
        ),
        len => (len.into(), 2),
    };
    assert_eq!(frame.len(), at + len, "one whole frame");
    (frame[0], &frame[at..])
}

/// Inflates as RFC 7692 7.2.2 says, into a circle of `window` bytes: a distance beyond it finds other
/// bytes than were meant.
fn peer_inflates(payload: &[u8], window: usize) -> Vec<u8> {
    let input = [payload, &FLUSH_MARK].concat();
    let (mut state, mut circle) = (DecompressorOxide::new(), vec![0; window]);
    let (mut taken, mut at, mut message) = (0, 0, Vec::new());
    loop {
        let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
        let (status, used, given) = decompress(&mut state, &input[taken..], &mut circle, at, flags);
        message.extend_from_slice(&circle[at..at + given]);
        (taken, at) = (taken + used, (at + given) % window);
        match status {
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput if taken == input.len() => return message,
            other => panic!("{other:?} at {taken} of {}", input.len()),
        }
    }
}

/// Deflates as RFC 7692 7.2.1 says, with the largest window.
pub(in crate::ws) fn peer_deflates(message: &[u8]) -> Vec<u8> {
    let mut state = CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0));
    let mut out = vec![0; message.len() * 2 + 100];
    let (_, taken, given) = compress(&mut state, message, &mut out, TDEFLFlush::Sync);
    assert_eq!(taken, message.len());
    out.truncate(given);
    assert!(out.ends_with(&FLUSH_MARK));
    out.truncate(given - FLUSH_MARK.len());
    out
}

fn inflate(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    Inflater::new(1 << 20)
        .receive(payload, bytes_max)
        .map(|message| message.to_vec())
}

/// Text that repeats itself at many distances: words of a small language, drawn by `seed`.
fn text(len: usize, mut seed: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.extend_from_slice(format!("word{:x} ", (seed >> 33) % 3_000).as_bytes());
    }
    text.truncate(len);
    text
}

/// Around the borders of stored blocks and of the window, and between.
fn any_len() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => Just(0),
        3 => 1usize..300,
        2 => 4_000usize..5_000,
        1 => 65_530usize..65_541,
        1 => 131_065usize..131_076,
        1 => 0usize..200_000,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// RFC 7692 7.2.1: the same compressed bytes in any surroundings inflate to the whole message, at
    /// a peer with the window that was agreed on.
    #[test]
    fn a_frame_inflates_to_its_message(
        (prefix, suffix) in (any_len(), any_len()), len in 30usize..150_000, seed in any::<u64>(),
        window_bits in prop_oneof![Just(WINDOW_BITS_MIN), Just(SHARED_WINDOW_BITS), Just(WINDOW_BITS_MAX)],
    ) {
        let (prefix, data, suffix) =
            (text(prefix, seed ^ 1), text(len, seed), text(suffix, seed ^ 2));
        let mut deflated = b"before".to_vec();
        if !Deflater::new(window_bits).data(&data, &mut deflated) {
            // So few bytes may not get shorter.
            prop_assert!(len < 200);
            prop_assert_eq!(deflated, b"before");
            return Ok(());
        }
        let deflated = &deflated[6..];
        prop_assert!(deflated.len() + GAIN_BYTES_MIN <= data.len());
        let mut out = Vec::new();
        append_frame(&mut out, Opcode::Text, &prefix, deflated, &suffix);
        let (first, payload) = open(&out);
        prop_assert_eq!(first, 0xc1);
        let whole = [prefix, data, suffix].concat();
        prop_assert!(peer_inflates(payload, 1 << window_bits) == whole);
        // And our own reader agrees.
        prop_assert!(inflate(payload, 1 << 20) == Ok(whole));
    }

    #[test]
    fn what_a_peer_compresses_is_read(len in any_len(), seed in any::<u64>()) {
        let message = text(len, seed);
        let payload = peer_deflates(&message);
        prop_assert!(inflate(&payload, len) == Ok(message));
        if len > 0 {
            prop_assert_eq!(inflate(&payload, len - 1), Err(Unreadable::TooBig));
        }
    }

    /// Neither panics nor gives more than asked for; the inflater works as before afterwards.
    #[test]
    fn noise_does_no_harm(
        noise in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(),
        byte in any::<u8>(), limit in 0usize..2_000,
    ) {
        let mut inflater = Inflater::new(1_000);
        let mut damaged = peer_deflates(&text(900, 7));
        let index = at.index(damaged.len());
        damaged[index] = byte;
        for payload in [noise, damaged] {
            if let Ok(message) = inflater.receive(&payload, limit) {
                prop_assert!(message.len() <= limit.min(1_000));
            }
        }
        let good = peer_deflates(b"good");
        prop_assert_eq!(inflater.receive(&good, 4), Ok(&mut b"good".to_vec()[..]));
    }
}

/// RFC 7692 7.2.3.1 to 7.2.3.6.
#[test]
fn the_examples_of_the_rfc() {
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        // A stored block.
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        // BFINAL.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        // Two blocks.
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        assert_eq!(inflate(payload, 5), Ok(b"Hello".to_vec()), "{payload:x?}");
    }
    assert_eq!(inflate(&[0x00], 5), Ok(Vec::new()));
    // RFC 7692 7.2.3.2: the second "Hello" of a context that was not to be kept.
    assert_eq!(
        inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], 5),
        Err(Unreadable::Corrupt)
    );
}

#[test]
fn a_cut_stream_is_corrupt() {
    let payload = peer_deflates(&text(1_000, 3));
    for end in 1..payload.len() {
        assert_eq!(
            inflate(&payload[..end], 5_000),
            Err(Unreadable::Corrupt),
            "cut at {end} of {}",
            payload.len()
        );
    }
    // RFC 1951 3.2.3: the block type that does not exist.
    assert_eq!(inflate(&[0x06], 10), Err(Unreadable::Corrupt));
}

/// 16 MiB of nothing in 16 KiB: no more than the limit is ever written.
#[test]
fn a_bomb_is_too_big() {
    let payload = peer_deflates(&vec![0; 16 << 20]);
    assert!(payload.len() < 17_000);
    let mut inflater = Inflater::new(65_536);
    assert_eq!(
        inflater.receive(&payload, usize::MAX),
        Err(Unreadable::TooBig)
    );
    assert_eq!(inflater.receive(&payload, 100), Err(Unreadable::TooBig));
    assert_eq!(inflater.message.len(), 65_537);
}

/// Each last block costs a reset, so a message of nothing else is refused.
#[test]
fn many_streams_in_a_message_are_refused() {
    // An empty last block of fixed codes (RFC 1951 3.2.6) takes two bytes.
    let streams = |count| [[0x03, 0x00].repeat(count), vec![0x00]].concat();
    assert_eq!(inflate(&streams(STREAMS_MAX - 1), 10), Ok(Vec::new()));
    assert_eq!(inflate(&streams(STREAMS_MAX), 10), Err(Unreadable::Corrupt));
}

/// One deflater and one inflater serve a core for good: messages that get shorter, and that do not, of all
/// lengths, one after another.
#[test]
fn a_long_life() {
    let mut deflaters = [WINDOW_BITS_MIN, SHARED_WINDOW_BITS].map(Deflater::new);
    let mut inflater = Inflater::new(100_000);
    let mut seed = 5u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 33
    };
    let (mut deflated, mut frame, mut shorter) = (Vec::new(), Vec::new(), 0);
    for n in 0..400 {
        let len = usize::try_from(draw() % 70_000).unwrap() >> (n % 5);
        // From noise to a few letters, in runs, so that many in a row are of a kind.
        let letters = [256, 256, 128, 40, 4][(n / 20) % 5];
        let message: Vec<u8> = (0..len)
            .map(|_| (draw() % letters).try_into().unwrap())
            .collect();
        for deflater in &mut deflaters {
            deflated.clear();
            if !deflater.data(&message, &mut deflated) {
                assert!(
                    deflated.is_empty() && (letters > 40 || len < 100),
                    "{letters} {len}"
                );
                continue;
            }
            shorter += 1;
            frame.clear();
            append_frame(&mut frame, Opcode::Binary, &[], &deflated, &[]);
            let (_, payload) = open(&frame);
            assert!(inflater.receive(payload, len) == Ok(&mut message.clone()[..]));
        }
    }
    assert!(shorter > 250, "{shorter}");
}

#[test]
fn what_does_not_get_shorter_is_left_alone() {
    let mut deflater = Deflater::new(SHARED_WINDOW_BITS);
    let mut out = Vec::new();
    assert!(!deflater.data(b"", &mut out));
    assert!(!deflater.data(b"{\"clue\":17}", &mut out));
    let mut seed = 1u64;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(5_000).collect();
    assert!(!deflater.data(&noise, &mut out));
    assert!(out.is_empty());
    // And the next one is none the worse.
    assert!(deflater.data(&text(500, 1), &mut out));
}
