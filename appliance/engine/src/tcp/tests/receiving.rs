//! Data from the peer: RFC 9293 section 3.10.7.4, RFC 5681 section 4.2, RFC 2018, RFC 7323.

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::units::Micros;
use crate::wire::segment::Options;
use crate::wire::seq::Seq;

const START: Seq = Seq(ISS.0 + 1);

#[test]
fn a_lone_segment_is_acknowledged_late_and_two_at_once() {
    let mut peer = Peer::open();
    peer.send(ACK, START, peer.theirs, b"one");
    peer.see_nothing();
    let late = peer.wait(60);
    assert_eq!(late.len(), 1);
    assert!((39..=42).contains(&late[0].0), "{}", late[0].0);
    assert_eq!(late[0].1.segment.ack, START + 3);

    peer.send(ACK, START + 3, peer.theirs, b"two");
    peer.send(ACK, START + 6, peer.theirs, b"three");
    assert_eq!(peer.see_one().segment.ack, START + 11);
    assert!(peer.wait(100).is_empty());
    assert_eq!(peer.received, b"onetwothree");
}

#[test]
fn data_carries_the_acknowledgment() {
    let mut peer = Peer::open();
    peer.send(ACK, START, peer.theirs, b"one");
    peer.place(10);
    assert_eq!(peer.see_one().segment.ack, START + 3);
    peer.send(ACK, START + 3, peer.theirs + 10, b"");
    assert!(peer.wait(100).is_empty());
}

#[test]
fn early_data_waits_and_is_reported() {
    let mut peer = Peer::open();
    peer.send(ACK, START + 2, peer.theirs, b"cd");
    let ack = peer.see_one().segment;
    assert_eq!(ack.ack, START);
    assert_eq!(ack.options.sacks[0], Some((START + 2, START + 4)));
    peer.send(ACK, START + 6, peer.theirs, b"gh");
    let ack = peer.see_one().segment;
    assert_eq!(ack.options.sacks[0], Some((START + 6, START + 8)));
    assert_eq!(ack.options.sacks[1], Some((START + 2, START + 4)));
    assert!(peer.received.is_empty());
    peer.send(ACK, START, peer.theirs, b"ab");
    assert_eq!(peer.see_one().segment.ack, START + 4);
    peer.send(ACK, START + 4, peer.theirs, b"ef");
    let ack = peer.see_one().segment;
    assert_eq!((ack.ack, ack.options.sacks[0]), (START + 8, None));
    assert_eq!(peer.received, b"abcdefgh");
}

#[test]
fn duplicates_and_overlaps_are_taken_once() {
    let mut peer = Peer::open();
    peer.send(ACK, START, peer.theirs, b"abcd");
    peer.send(ACK, START, peer.theirs, b"abcd");
    assert_eq!(peer.see_one().segment.ack, START + 4);
    assert_eq!(peer.count(Metric::TcpDuplicates), 1);
    peer.send(ACK, START + 2, peer.theirs, b"cdef");
    peer.send(ACK, START + 8, peer.theirs, b"ij");
    peer.send(ACK, START + 5, peer.theirs, b"fghijkl");
    peer.send(ACK, START + 10, peer.theirs, b"kl");
    assert_eq!(peer.received, b"abcdefghijkl");
}

#[test]
fn single_bytes_backwards_give_the_stream() {
    let mut peer = Peer::open();
    let text: Vec<u8> = (0..250).collect();
    for at in (0..250u32).rev() {
        peer.send(
            ACK,
            START + at,
            peer.theirs,
            &text[at as usize..=at as usize],
        );
    }
    assert_eq!(peer.received, text);
    assert_eq!(peer.see_one().segment.ack, START + 250);
}

#[test]
fn what_lies_outside_the_window_is_not_taken() {
    let mut peer = Peer::open();
    peer.send(ACK, START + 65_535, peer.theirs, b"x");
    assert_eq!(peer.see_one().segment.ack, START);
    peer.send(ACK, START - 5, peer.theirs, b"old");
    assert_eq!(peer.see_one().segment.ack, START);
    // Across the right edge: only what was offered.
    peer.send(ACK, START + 65_533, peer.theirs, b"abcd");
    let sacks = peer.see_one().segment.options.sacks;
    assert_eq!(sacks[0], Some((START + 65_533, START + 65_535)));
    assert!(peer.received.is_empty());
}

#[test]
fn a_backlog_closes_the_window_and_its_end_opens_it() {
    let mut peer = Peer::open();
    let id = peer.id.unwrap();
    peer.tcp.set_backlog(id, 65_535);
    peer.send(ACK, START, peer.theirs, &[0; 1000]);
    peer.send(ACK, START + 1000, peer.theirs, &[0; 1000]);
    // What was offered before stands.
    assert_eq!(peer.see_one().segment.window, 63_535);
    peer.tcp.set_backlog(id, 0);
    assert_eq!(peer.see_one().segment.window, 65_535);
}

#[test]
fn data_without_an_ack_bit_is_ignored() {
    let mut peer = Peer::open();
    let none = crate::wire::segment::Flags::default();
    peer.send(none, START, Seq(0), b"x");
    assert!(peer.received.is_empty());
}

#[test]
fn old_timestamps_are_refused_and_the_right_one_is_echoed() {
    let mut peer = Peer::new();
    let offered = Options {
        timestamps: Some((1000, 0)),
        mss: Some(1000),
        ..Options::default()
    };
    peer.timestamp = Some(1001);
    peer.connect(offered);
    let send = |peer: &mut Peer, timestamp, at: u32, text: &[u8]| {
        peer.timestamp = Some(timestamp);
        peer.send(ACK, START + at, peer.theirs, text);
        peer.see()
            .pop()
            .map(|one| one.segment.options.timestamps.unwrap().1)
    };
    // PAWS (RFC 7323 section 5.3).
    assert_eq!(send(&mut peer, 900, 0, b"old"), Some(1001));
    assert!(peer.received.is_empty());
    // An early segment does not move what is echoed; the one that fills the hole does.
    assert_eq!(send(&mut peer, 1010, 2, b"cd"), Some(1001));
    assert_eq!(send(&mut peer, 1005, 0, b"ab"), Some(1005));
    assert_eq!(peer.received, b"abcd");
}

#[test]
fn too_many_pieces_are_dropped_and_come_again() {
    let mut peer = Peer::open();
    for n in 0..100u32 {
        peer.send(ACK, START + 1 + 2 * n, peer.theirs, b"x");
    }
    assert_eq!(peer.count(Metric::TcpOutOfOrderDropped), 36);
    peer.now = peer.now + Micros(1);
    for n in 0..201u32 {
        peer.send(ACK, START + n, peer.theirs, b"x");
    }
    assert_eq!(peer.received.len(), 201);
}

/// A peer that has filled the window numbers its ACKs with the window's right edge.
#[test]
fn an_ack_at_the_right_edge_counts() {
    let mut peer = Peer::open();
    peer.place(100);
    peer.see();
    peer.send(ACK, START + 65_535, peer.theirs + 100, b"");
    assert_eq!(peer.tcp.outstanding(peer.id.unwrap()), 0);
    peer.see_nothing();
    // One further is outside.
    peer.place(100);
    peer.see();
    peer.send(ACK, START + 65_536, peer.theirs + 200, b"");
    assert_eq!(peer.tcp.outstanding(peer.id.unwrap()), 100);
}

/// Section 3.8.6: with our window closed, ACKs are still taken.
#[test]
fn a_closed_window_takes_acknowledgments() {
    let mut peer = Peer::open();
    let id = peer.id.unwrap();
    peer.tcp.set_backlog(id, 65_535);
    for n in 0..65 {
        peer.send(ACK, START + n * 1_000, peer.theirs, &[0; 1000]);
    }
    peer.send(ACK, START + 65_000, peer.theirs, &[0; 535]);
    let closed = peer.see().pop().unwrap().segment;
    assert_eq!((closed.ack, closed.window), (START + 65_535, 0));
    peer.place(100);
    peer.see();
    peer.send(ACK, START + 65_535, peer.theirs + 100, b"");
    assert_eq!(peer.tcp.outstanding(id), 0);
    peer.send(RST, START + 65_535, Seq(0), b"");
    assert_eq!(peer.closed, [crate::tcp::CloseReason::Reset]);
}

/// RFC 7323 section 4.3 (case R21): what is echoed is the timestamp of the segment that moved the left
/// edge, not of one that came early or twice.
#[test]
fn the_echo_follows_the_left_edge() {
    let mut peer = Peer::new();
    peer.timestamp = Some(100);
    peer.connect(Options {
        mss: Some(1000),
        sack_permitted: true,
        timestamps: Some((100, 0)),
        ..Options::default()
    });
    let mut send = |timestamp, at: u32, text: &[u8]| {
        peer.timestamp = Some(timestamp);
        peer.send(ACK, START + at, peer.theirs, text);
        let seen = peer.see().pop();
        seen.map(|one| one.segment.options.timestamps.unwrap().1)
    };
    assert_eq!(send(105, 4, b"ef"), Some(100));
    assert_eq!(send(106, 6, b"gh"), Some(100));
    assert_eq!(send(103, 0, b"ab"), Some(103));
    assert_eq!(send(104, 2, b"cd"), Some(104));
    // A duplicate, sent again later: below the window, so it does not count (R2 comes before R3).
    assert_eq!(send(109, 0, b"ab"), Some(104));
}

/// RFC 7323 section 5.3 R1 (case R20): PAWS does not hold for a RST.
#[test]
fn a_reset_with_an_old_timestamp_is_believed() {
    let mut peer = Peer::new();
    peer.timestamp = Some(1_000);
    peer.connect(Options {
        timestamps: Some((1_000, 0)),
        ..Options::default()
    });
    peer.timestamp = Some(500);
    peer.send(ACK, START, peer.theirs, b"x");
    assert!(peer.received.is_empty());
    peer.send(RST, START, Seq(0), b"");
    assert_eq!(peer.closed, [crate::tcp::CloseReason::Reset]);
}

/// Case R22, RFC 7323 section 3.2: without the agreed timestamp, taken as Linux does.
#[test]
fn a_segment_without_its_timestamp_is_taken() {
    let mut peer = Peer::new();
    peer.timestamp = Some(1_000);
    peer.connect(Options {
        timestamps: Some((1_000, 0)),
        ..Options::default()
    });
    peer.timestamp = None;
    peer.send(ACK, START, peer.theirs, b"x");
    assert_eq!(peer.received, b"x");
}
