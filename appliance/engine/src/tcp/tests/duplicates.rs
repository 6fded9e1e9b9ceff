//! What comes twice is told: DSACK (RFC 2883), and the order of SACK blocks (RFC 2018 section 4).

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::wire::segment::Options;
use crate::wire::seq::Seq;

const START: Seq = Seq(ISS.0 + 1);

/// SACK blocks of the one segment that came, relative to the start.
#[track_caller]
fn blocks(peer: &mut Peer) -> Vec<(i32, i32)> {
    let ack = peer.see_one().segment;
    let blocks = ack.options.sacks.iter().flatten();
    blocks
        .map(|(from, to)| (from.since(START), to.since(START)))
        .collect()
}

fn data(peer: &mut Peer, at: u32, text: &[u8]) {
    peer.send(ACK, START + at, peer.theirs, text);
}

/// RFC 2883 section 4.1: example 1, the first time and the second.
#[test]
fn a_full_duplicate_is_told_once_and_at_once() {
    let mut peer = Peer::open();
    data(&mut peer, 0, b"abcd");
    data(&mut peer, 0, b"abcd");
    assert_eq!(blocks(&mut peer), [(0, 4)]);
    assert_eq!(peer.received, b"abcd");
    // RFC 2883 section 4: only the first ACK says it.
    data(&mut peer, 4, b"ef");
    data(&mut peer, 6, b"gh");
    assert_eq!(blocks(&mut peer), []);
    data(&mut peer, 2, b"cde");
    assert_eq!(blocks(&mut peer), [(2, 5)]);
    assert_eq!(peer.received, b"abcdefgh");
}

/// RFC 2883 section 4.2.1: a segment with old and new bytes.
#[test]
fn a_partial_duplicate_is_told_at_once_and_the_new_part_taken() {
    let mut peer = Peer::open();
    data(&mut peer, 0, b"abcd");
    peer.wait(60);
    data(&mut peer, 2, b"cdef");
    let ack = peer.see_one().segment;
    assert_eq!(ack.ack, START + 6);
    assert_eq!(ack.options.sacks[0], Some((START + 2, START + 4)));
    assert_eq!(peer.received, b"abcdef");
}

/// RFC 2883 section 4.1: a duplicate above the hole is followed by the block it lies in.
#[test]
fn a_duplicate_that_waits_is_followed_by_its_block() {
    let mut peer = Peer::open();
    data(&mut peer, 4, b"efgh");
    assert_eq!(blocks(&mut peer), [(4, 8)]);
    data(&mut peer, 12, b"mn");
    assert_eq!(blocks(&mut peer), [(12, 14), (4, 8)]);
    data(&mut peer, 4, b"ef");
    assert_eq!(blocks(&mut peer), [(4, 6), (4, 8), (12, 14)]);
    // RFC 2883 section 4.2.2: partly new.
    data(&mut peer, 6, b"ghij");
    assert_eq!(blocks(&mut peer), [(6, 8), (4, 10), (12, 14)]);
    // Below the hole and above it.
    data(&mut peer, 0, b"ab");
    assert_eq!(blocks(&mut peer), [(4, 10), (12, 14)]);
    data(&mut peer, 0, b"ab");
    assert_eq!(blocks(&mut peer), [(0, 2), (4, 10), (12, 14)]);
    data(&mut peer, 2, b"cd");
    data(&mut peer, 10, b"kl");
    peer.see();
    assert_eq!(peer.received, b"abcdefghijklmn");
}

/// Data that waits to go out does not swallow what only a bare ACK can carry.
#[test]
fn an_ack_with_blocks_goes_before_data() {
    let mut peer = Peer::open();
    data(&mut peer, 0, b"ab");
    data(&mut peer, 0, b"ab");
    peer.place(10);
    let seen = peer.see();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].payload.is_empty());
    assert_eq!(seen[0].segment.options.sacks[0], Some((START, START + 2)));
    assert_eq!(seen[1].payload, stream(0, 10));
}

#[test]
fn nothing_is_told_without_sack() {
    let mut peer = Peer::new();
    peer.connect(Options::default());
    data(&mut peer, 0, b"abcd");
    data(&mut peer, 0, b"abcd");
    assert_eq!(blocks(&mut peer), []);
    data(&mut peer, 8, b"ij");
    assert_eq!(blocks(&mut peer), []);
    assert_eq!(peer.count(Metric::TcpDuplicates), 1);
}

/// RFC 2018 section 4 (case R04): the block that changed last, then the ones told before it.
#[test]
fn three_holes_are_told_the_latest_first() {
    let mut peer = Peer::open();
    for (at, expected) in [
        (10, vec![(10, 12)]),
        (30, vec![(30, 32), (10, 12)]),
        (20, vec![(20, 22), (30, 32), (10, 12)]),
        (40, vec![(40, 42), (20, 22), (30, 32)]),
        (12, vec![(10, 14), (40, 42), (20, 22)]),
    ] {
        data(&mut peer, at, b"xx");
        assert_eq!(blocks(&mut peer), expected);
    }
}
