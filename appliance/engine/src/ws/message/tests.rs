//! Any cut of a client's byte stream into segments and fragments decodes to the same messages; each
//! rule of RFC 6455 fails as it should; no chunk is ever lost.

use super::*;
use crate::ws::deflate::tests::peer_deflates;
use crate::ws::frame::{SERVER_HEADER_BYTES_MAX, emit_header};
use proptest::prelude::*;

const MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(Failure),
}

/// A client frame, with a mask made of the payload's length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, u8::try_from(payload.len() % 256).unwrap()];
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let header_len = emit_header(Opcode::Text, payload.len(), &mut header);
    header[0] = first;
    header[1] |= 0x80;
    let mut masked = payload.to_vec();
    unmask(&mut masked, mask);
    [&header[..header_len], &mask, &masked].concat()
}

/// Decodes segment by segment, without compression.
fn decode(
    decoder: &mut Decoder,
    chunks: &mut Chunks,
    segments: impl IntoIterator<Item = Vec<u8>>,
) -> Vec<Seen> {
    decode_with(decoder, chunks, segments, None)
}

fn decode_with(
    decoder: &mut Decoder,
    chunks: &mut Chunks,
    segments: impl IntoIterator<Item = Vec<u8>>,
    mut inflater: Option<Inflater>,
) -> Vec<Seen> {
    let mut scratch = Vec::with_capacity(MAX);
    let mut seen = Vec::new();
    for mut segment in segments {
        let mut input = segment.as_mut_slice();
        loop {
            seen.push(
                match decoder.receive(&mut input, chunks, MAX, &mut scratch, inflater.as_mut()) {
                    Received::NeedMore => break,
                    Received::Text(text) => Seen::Text(String::from_utf8(text.to_vec()).unwrap()),
                    Received::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                    Received::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                    Received::Pong(bytes) => Seen::Pong(bytes.to_vec()),
                    Received::Close { code, reason } => {
                        Seen::Close(code, String::from_utf8(reason.to_vec()).unwrap())
                    }
                    Received::Failed(failure) => Seen::Failed(failure),
                },
            );
        }
        assert!(input.is_empty(), "NeedMore leaves nothing behind");
        assert!(decoder.held() <= MAX + 125);
        assert_eq!(scratch.capacity(), MAX, "scratch never grows");
    }
    seen
}

/// Decodes once as one segment and once byte by byte: the result must be the same.
fn both_ways(stream: &[u8]) -> Vec<Seen> {
    let mut chunks = Chunks::new(16);
    let mut decoder = Decoder::default();
    let whole = decode(&mut decoder, &mut chunks, [stream.to_vec()]);
    decoder.clear(&mut chunks);
    let bytes = decode(
        &mut decoder,
        &mut chunks,
        stream.iter().map(|byte| vec![*byte]),
    );
    decoder.clear(&mut chunks);
    assert_eq!(chunks.used(), 0);
    assert_eq!(whole, bytes);
    whole
}

fn fails(stream: &[u8], failure: Failure) {
    assert_eq!(
        both_ways(stream).last(),
        Some(&Seen::Failed(failure)),
        "{stream:x?}"
    );
}

/// One message or control frame that a client may send.
fn any_seen() -> impl Strategy<Value = Seen> {
    let small = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => ".{0,60}".prop_map(Seen::Text),
        1 => prop::collection::vec(any::<char>(), 0..1000)
            .prop_map(|chars| Seen::Text(chars.into_iter().collect())),
        2 => prop::collection::vec(any::<u8>(), 0..MAX).prop_map(Seen::Binary),
        1 => small().prop_map(Seen::Ping),
        1 => small().prop_map(Seen::Pong),
    ]
}

/// The oracle's writer: `seen` as frames, data messages compressed by another library if `deflated`, cut
/// at `cuts`, with a control frame between
/// two fragments now and then, which then comes before its message in `expected`.
fn write(
    seen: &Seen,
    deflated: bool,
    cuts: &[usize],
    stream: &mut Vec<u8>,
    expected: &mut Vec<Seen>,
) {
    let (opcode, payload) = match seen {
        Seen::Text(text) => (1, text.as_bytes()),
        Seen::Binary(bytes) => (2, &bytes[..]),
        Seen::Ping(bytes) => (9, &bytes[..]),
        Seen::Pong(bytes) => (10, &bytes[..]),
        Seen::Close(..) | Seen::Failed(_) => unreachable!(),
    };
    let cuts = if opcode > 2 { &[] } else { cuts };
    let compressed = peer_deflates(payload);
    // What does not get shorter may pass the limit.
    let (mut rest, mut opcode) = match deflated && opcode <= 2 && compressed.len() <= MAX {
        true => (&compressed[..], 0x40 | opcode),
        false => (payload, opcode),
    };
    for &cut in cuts {
        let (now, later) = rest.split_at(cut.min(rest.len()));
        stream.extend(frame(opcode, now));
        if cut % 3 == 0 {
            stream.extend(frame(0x89, &now[..now.len().min(125)]));
            expected.push(Seen::Ping(now[..now.len().min(125)].to_vec()));
        }
        (rest, opcode) = (later, 0);
    }
    stream.extend(frame(0x80 | opcode, rest));
    expected.push(seen.clone());
}

proptest! {
    #[test]
    fn any_segments_and_fragments_decode_to_the_same(
        messages in prop::collection::vec(
            (any_seen(), any::<bool>(), prop::collection::vec(0usize..700, 0..5)), 1..12,
        ),
        agreed: bool,
        close in prop::option::of((3000u16..5000, ".{0,30}")),
        cuts in prop::collection::vec(1usize..400, 0..60),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (seen, deflated, fragments) in &messages {
            write(seen, *deflated && agreed, fragments, &mut stream, &mut expected);
        }
        if let Some((code, reason)) = close {
            stream.extend(frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat()));
            expected.push(Seen::Close(Some(code), reason));
            stream.extend(frame(0x81, b"behind the close frame nothing is read"));
        }
        let mut segments = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            segments.push(now.to_vec());
            rest = later;
        }
        segments.push(rest.to_vec());

        let mut chunks = Chunks::new(16);
        let mut decoder = Decoder::default();
        let inflater = agreed.then(|| Inflater::new(MAX));
        prop_assert_eq!(decode_with(&mut decoder, &mut chunks, segments, inflater), expected);
        prop_assert_eq!(chunks.used(), 0, "nothing is held between messages");
    }

    /// Garbage, bare or as damage in a good stream, with a pool that runs empty: an answer, no
    /// panic, at most one failure and nothing after it, every chunk back.
    #[test]
    fn garbage_ends_in_order(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        good in prop::collection::vec(
            (any_seen(), any::<bool>(), prop::collection::vec(0usize..700, 0..5)), 0..4,
        ),
        at in any::<prop::sample::Index>(), segment in 1usize..200, pool in 0u32..6,
    ) {
        let mut stream = Vec::new();
        for (seen, deflated, fragments) in &good {
            write(seen, *deflated, fragments, &mut stream, &mut Vec::new());
        }
        let at = at.index(stream.len() + 1);
        stream.splice(at..(at + noise.len() / 2).min(stream.len()), noise);
        let mut chunks = Chunks::new(pool);
        let mut decoder = Decoder::default();
        let segments = stream.chunks(segment).map(<[u8]>::to_vec);
        let inflater = Some(Inflater::new(MAX));
        let seen = decode_with(&mut decoder, &mut chunks, segments, inflater);
        let end = seen.iter().position(|s| matches!(s, Seen::Failed(_) | Seen::Close(..)));
        prop_assert!(end.is_none_or(|end| end + 1 == seen.len()));
        if end.is_some() {
            prop_assert_eq!(chunks.used(), 0, "an ended stream holds nothing");
        }
        decoder.clear(&mut chunks);
        prop_assert_eq!(chunks.used(), 0);
    }
}

#[test]
fn a_whole_message_is_handed_on_where_it_lies() {
    let mut stream = [frame(0x81, b"{}"), frame(0x82, b"next")].concat();
    let place = stream[6..].as_ptr();
    let mut input = stream.as_mut_slice();
    let mut chunks = Chunks::new(0);
    let mut scratch = Vec::new();
    let mut decoder = Decoder::default();
    match decoder.receive(&mut input, &mut chunks, MAX, &mut scratch, None) {
        Received::Text(text) => {
            assert_eq!(text, b"{}");
            assert_eq!(text.as_ptr(), place);
        }
        other => panic!("{other:?}"),
    }
    let next = decoder.receive(&mut input, &mut chunks, MAX, &mut scratch, None);
    assert_eq!(next, Received::Binary(&mut b"next".to_owned()));
}

/// RFC 6455 5.1, 5.2, 5.5: a bad header fails the stream, after what was good before it.
#[test]
fn bad_headers_fail_the_stream() {
    for first in [0xc1, 0xa1, 0x91, 0x83, 0x8b, 0x8f, 0x09, 0x08] {
        let stream = [frame(0x81, b"good"), frame(first, b"bad")].concat();
        let seen = both_ways(&stream);
        assert_eq!(
            seen,
            [Seen::Text("good".into()), Seen::Failed(Failure::Protocol)]
        );
    }
    fails(&[0x81, 0x02, b'{', b'}'], Failure::Protocol);
    fails(&frame(0x89, &[0; 126]), Failure::Protocol);
}

/// RFC 6455 5.4: fragments of two messages never mix.
#[test]
fn bad_continuations_fail_the_stream() {
    fails(&frame(0x80, b"no beginning"), Failure::Protocol);
    fails(&frame(0x00, b"no beginning"), Failure::Protocol);
    fails(
        &[frame(0x01, b"a"), frame(0x81, b"b")].concat(),
        Failure::Protocol,
    );
    fails(
        &[frame(0x02, b"a"), frame(0x02, b"b")].concat(),
        Failure::Protocol,
    );
    fails(
        &[frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")].concat(),
        Failure::Protocol,
    );
    let empty = [frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")].concat();
    assert_eq!(both_ways(&empty), [Seen::Text(String::new())]);
}

/// RFC 6455 8.1: invalid text fails at once, also when its message would go on.
#[test]
fn text_is_checked_over_borders_and_early() {
    fails(&frame(0x81, b"\xff"), Failure::Utf8);
    fails(&frame(0x81, "ä".as_bytes()[..1].as_ref()), Failure::Utf8);
    fails(
        &[frame(0x01, b"\xce"), frame(0x00, b"\xce")].concat(),
        Failure::Utf8,
    );
    let split = [
        frame(0x01, b"\xf0\x9f"),
        frame(0x00, b"\xa6"),
        frame(0x80, b"\x8a!"),
    ]
    .concat();
    assert_eq!(both_ways(&split), [Seen::Text("🦊!".into())]);
    fails(
        &[frame(0x01, b"\xf0\x9f"), frame(0x80, b"\xa6")].concat(),
        Failure::Utf8,
    );

    let mut long = frame(0x81, &[b"ok\xff".as_slice(), &[b'x'; 1000]].concat());
    long.truncate(100);
    let mut chunks = Chunks::new(4);
    let seen = decode(&mut Decoder::default(), &mut chunks, [long]);
    assert_eq!(seen, [Seen::Failed(Failure::Utf8)]);
    assert_eq!(chunks.used(), 0);
    // Binary carries anything, also after text.
    let binary = [
        frame(0x81, b"t"),
        frame(0x02, b"\xff"),
        frame(0x80, b"\xff"),
    ]
    .concat();
    assert_eq!(both_ways(&binary)[1], Seen::Binary(vec![0xff, 0xff]));
}

/// The limit counts the message, not the frame, and is known from the header.
#[test]
fn too_big_is_said_before_the_payload_comes() {
    assert_eq!(
        both_ways(&frame(0x82, &[7; MAX])),
        [Seen::Binary(vec![7; MAX])]
    );
    fails(&frame(0x82, &[7; MAX + 1])[..8], Failure::TooBig);
    let second = [
        frame(0x02, &[7; MAX - 1]),
        frame(0x00, &[7]),
        frame(0x80, &[7; 2]),
    ]
    .concat();
    fails(&second, Failure::TooBig);
    let huge = [
        0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4,
    ];
    fails(&huge, Failure::TooBig);
}

/// RFC 6455 5.5.1, 7.4: what a close frame may say.
#[test]
fn close_frames() {
    assert_eq!(
        both_ways(&frame(0x88, b"")),
        [Seen::Close(None, String::new())]
    );
    let normal = frame(0x88, b"\x03\xe8bye");
    assert_eq!(both_ways(&normal), [Seen::Close(Some(1000), "bye".into())]);
    fails(&frame(0x88, b"\x03"), Failure::Protocol);
    fails(&frame(0x88, b"\x03\xed"), Failure::Protocol);
    fails(&frame(0x88, b"\x03\xe8\xff"), Failure::Utf8);
    let amid = [
        frame(0x01, b"begun"),
        frame(0x88, b"\x0b\xb8"),
        frame(0x80, b"late"),
    ]
    .concat();
    assert_eq!(both_ways(&amid), [Seen::Close(Some(3000), String::new())]);
}

#[test]
fn an_empty_pool_fails_the_stream_only_when_it_is_needed() {
    let mut chunks = Chunks::new(0);
    let whole = decode(
        &mut Decoder::default(),
        &mut chunks,
        [frame(0x81, b"whole")],
    );
    assert_eq!(whole, [Seen::Text("whole".into())]);
    let cut = decode(
        &mut Decoder::default(),
        &mut chunks,
        [frame(0x81, b"cut")[..7].to_vec()],
    );
    assert_eq!(cut, [Seen::Failed(Failure::NoMemory)]);
}

/// RFC 7692 6: RSV1 belongs to the first frame of a message, and speaks for all of it; a control frame
/// between has none.
#[test]
fn a_compressed_message_in_fragments() {
    let payload = peer_deflates("Ünterwegs, unterwegs, unterwegs".as_bytes());
    let (first, second) = payload.split_at(7);
    let stream = |first_byte: u8, second_byte: u8| {
        let [a, b] = [frame(first_byte, first), frame(second_byte, second)];
        [a, frame(0x89, b"?"), b, frame(0x81, b"plain")].concat()
    };
    let read = |stream: &[u8], step: usize| {
        let segments = stream.chunks(step).map(<[u8]>::to_vec);
        let (mut decoder, mut chunks) = (Decoder::default(), Chunks::new(4));
        decode_with(
            &mut decoder,
            &mut chunks,
            segments,
            Some(Inflater::new(MAX)),
        )
    };
    for step in [1, 5, 1_000] {
        let seen = read(&stream(0x41, 0x80), step);
        let text = |text: &str| Seen::Text(text.to_owned());
        let wanted = [text("Ünterwegs, unterwegs, unterwegs"), text("plain")];
        assert_eq!(seen, [&[Seen::Ping(b"?".to_vec())], &wanted[..]].concat());
        let seen = read(&stream(0x41, 0xc0), step);
        assert_eq!(seen.last(), Some(&Seen::Failed(Failure::Protocol)));
        // A compressed message is none without the bit.
        let seen = read(&stream(0x01, 0x80), step);
        assert_eq!(seen.last(), Some(&Seen::Failed(Failure::Utf8)));
    }
}

#[test]
fn what_a_compressed_message_must_not_be() {
    let read = |payload: &[u8]| {
        let (mut decoder, mut chunks) = (Decoder::default(), Chunks::new(4));
        let stream = [frame(0xc1, payload)];
        decode_with(&mut decoder, &mut chunks, stream, Some(Inflater::new(MAX)))
    };
    assert_eq!(
        read(&peer_deflates(&[b'x'; MAX])),
        [Seen::Text("x".repeat(MAX))]
    );
    let failed = |failure| [Seen::Failed(failure)];
    assert_eq!(
        read(&peer_deflates(&[b'x'; MAX + 1])),
        failed(Failure::Bomb)
    );
    assert_eq!(
        read(&peer_deflates(b"wrong \xff text")),
        failed(Failure::Utf8)
    );
    assert_eq!(read(b"\xff\xff"), failed(Failure::Corrupt));
}

#[test]
fn each_failure_has_its_close_code() {
    use Failure::{Bomb, Corrupt, NoMemory, Protocol, TooBig, Utf8};
    let codes = [Protocol, Utf8, Corrupt, TooBig, Bomb, NoMemory].map(Failure::code);
    assert_eq!(codes, [1002, 1007, 1007, 1009, 1009, 1011]);
}
