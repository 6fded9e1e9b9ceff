//! FIN in every state (RFC 9293 section 3.6).

use super::peer::*;
use crate::tcp::CloseReason;
use crate::units::Micros;
use crate::wire::segment::Options;
use crate::wire::seq::Seq;

const START: Seq = Seq(ISS.0 + 1);

#[test]
fn the_peer_closes_first() {
    let mut peer = Peer::open();
    peer.send(FIN, START, peer.theirs, b"bye");
    assert!(peer.finished);
    assert_eq!(peer.received, b"bye");
    assert_eq!(peer.see_one().segment.ack, START + 4);
    // We may still send in CLOSE-WAIT.
    peer.place(10);
    assert_eq!(peer.see_one().payload.len(), 10);
    peer.tcp.finish(peer.id.unwrap());
    peer.send(ACK, START + 4, peer.theirs + 10, b"");
    let fin = peer.see_one().segment;
    assert!(fin.flags.fin);
    assert_eq!(fin.seq, peer.theirs + 10);
    peer.send(ACK, START + 4, peer.theirs + 11, b"");
    assert_eq!(peer.closed, [CloseReason::Finished]);
    peer.assert_empty();
}

#[test]
fn we_close_first_and_wait() {
    let mut peer = Peer::open();
    peer.place(10);
    peer.tcp.finish(peer.id.unwrap());
    let fin = peer.see_one();
    assert!(fin.segment.flags.fin);
    assert_eq!(fin.payload.len(), 10);
    peer.send(ACK, START, peer.theirs + 11, b"");
    // Data still comes in FIN-WAIT-2.
    peer.send(ACK, START, peer.theirs + 11, b"late");
    assert_eq!(peer.received, b"late");
    peer.send(FIN, START + 4, peer.theirs + 11, b"");
    assert_eq!(peer.closed, [CloseReason::Finished]);
    assert_eq!(peer.see_one().segment.ack, START + 5);
    assert_eq!((peer.tcp.count(), peer.tcp.time_wait_count()), (0, 1));
    // The peer did not get the ACK; a RST changes nothing (RFC 1337).
    peer.send(RST, START + 5, Seq(0), b"");
    peer.send(FIN, START + 4, peer.theirs + 11, b"");
    assert_eq!(peer.see_one().segment.ack, START + 5);
    peer.wait(60_010);
    assert_eq!(peer.tcp.time_wait_count(), 0);
    peer.assert_empty();
    assert_eq!(peer.closed.len(), 1);
}

#[test]
fn both_close_at_once() {
    let mut peer = Peer::open();
    peer.tcp.finish(peer.id.unwrap());
    assert!(peer.see_one().segment.flags.fin);
    peer.send(FIN, START, peer.theirs, b"");
    assert!(peer.finished && peer.closed.is_empty());
    assert_eq!(peer.see_one().segment.ack, START + 1);
    peer.send(ACK, START + 1, peer.theirs + 1, b"");
    assert_eq!(peer.closed, [CloseReason::Finished]);
    assert_eq!(peer.tcp.time_wait_count(), 1);
}

#[test]
fn a_fin_that_acknowledges_ours_ends_it() {
    let mut peer = Peer::open();
    peer.tcp.finish(peer.id.unwrap());
    peer.see();
    peer.send(FIN, START, peer.theirs + 1, b"");
    assert_eq!(peer.closed, [CloseReason::Finished]);
    assert_eq!(peer.see_one().segment.ack, START + 1);
}

#[test]
fn a_lost_fin_is_sent_again() {
    for both in [false, true] {
        let mut peer = Peer::open();
        peer.tcp.finish(peer.id.unwrap());
        assert!(peer.see_one().segment.flags.fin);
        if both {
            // CLOSING.
            peer.send(FIN, START, peer.theirs, b"");
            peer.see();
        }
        let again = peer.wait(1_000);
        assert!(again.len() >= 2);
        assert!(again.iter().all(|(_, one)| one.segment.flags.fin));
        assert!(again.iter().all(|(_, one)| one.segment.seq == peer.theirs));
    }
}

#[test]
fn an_early_fin_waits_for_the_hole() {
    let mut peer = Peer::open();
    peer.send(FIN, START + 2, peer.theirs, b"cd");
    assert!(!peer.finished);
    peer.see();
    peer.send(ACK, START, peer.theirs, b"ab");
    assert!(peer.finished);
    assert_eq!(peer.received, b"abcd");
    assert_eq!(peer.see_one().segment.ack, START + 5);
}

#[test]
fn a_peer_that_never_finishes_is_forgotten() {
    let mut peer = Peer::open();
    peer.tcp.finish(peer.id.unwrap());
    peer.see();
    peer.send(ACK, START, peer.theirs + 1, b"");
    peer.wait(60_010);
    assert_eq!(peer.closed, [CloseReason::TimedOut]);
    peer.assert_empty();
}

#[test]
fn time_wait_is_bounded_and_a_new_syn_takes_its_place() {
    let mut peer = Peer::new();
    for port in 1..=4 {
        peer.remote.set_port(port);
        peer.opened = 0;
        peer.connect(Options::default());
        peer.tcp.finish(peer.id.unwrap());
        peer.see();
        peer.send(FIN, START, peer.theirs + 1, b"");
        peer.see();
    }
    assert_eq!((peer.tcp.count(), peer.tcp.time_wait_count()), (0, 2));
    // RFC 9293 section 3.6.1: a SYN beyond the old window opens anew.
    peer.now = peer.now + Micros::from_secs(1);
    peer.send(SYN, START + 500, Seq(0), b"");
    assert!(peer.see_one().segment.flags.syn);
    assert_eq!((peer.tcp.count(), peer.tcp.time_wait_count()), (1, 1));
}

/// A connection in TIME-WAIT that had timestamps, which both sides finished.
fn waiting(timestamp: u32) -> Peer {
    let mut peer = Peer::new();
    peer.timestamp = Some(timestamp);
    peer.connect(Options {
        mss: Some(1000),
        timestamps: Some((timestamp, 0)),
        ..Options::default()
    });
    peer.tcp.finish(peer.id.unwrap());
    peer.see();
    peer.send(FIN, START, peer.theirs + 1, b"");
    peer.see();
    assert_eq!(peer.tcp.time_wait_count(), 1);
    peer
}

/// RFC 6191 section 2 (case C06): the timestamp decides, whatever the number.
#[test]
fn in_time_wait_a_later_timestamp_opens_anew() {
    let syn = |timestamp, seq| {
        let mut peer = waiting(1_000);
        let options = Options {
            timestamps: Some((timestamp, 0)),
            ..Options::default()
        };
        peer.send_with(SYN, seq, Seq(0), b"", options);
        peer.see_one().segment
    };
    assert!(syn(1_001, START - 9_000).flags.syn);
    assert!(syn(1_000, START + 9_000).flags.syn);
    for (timestamp, seq) in [
        (1_000, START - 9_000),
        (999, START + 9_000),
        (1_000, START + 1),
    ] {
        let answer = syn(timestamp, seq);
        assert!(!answer.flags.syn && answer.flags.ack);
        assert_eq!(answer.ack, START + 1);
    }
}

/// RFC 9293 section 3.10.7.4, MAY-2: the clock alone may lie behind what was sent fast.
#[test]
fn a_connection_that_opens_anew_begins_behind_the_old_ones_numbers() {
    let mut peer = Peer::open();
    let mut sent = 0;
    while sent < 1_000_000 {
        peer.place(9_000);
        peer.see();
        sent += 9_000;
        peer.send(ACK, START, peer.theirs + sent, b"");
    }
    peer.tcp.finish(peer.id.unwrap());
    peer.see();
    peer.send(FIN, START, peer.theirs + sent + 1, b"");
    peer.see();
    assert_eq!(peer.tcp.time_wait_count(), 1);
    peer.send(SYN, START + 500, Seq(0), b"");
    let answer = peer.see_one().segment;
    assert!(answer.flags.syn);
    assert!(answer.seq.after(peer.theirs + sent + 1));
}

/// Case C05: acknowledged each time, and the minute is not begun anew (docs/tcp.md).
#[test]
fn a_repeated_fin_is_acknowledged_and_prolongs_nothing() {
    let mut peer = waiting(1_000);
    for _ in 0..5 {
        peer.wait(10_000);
        peer.send(FIN, START, peer.theirs + 1, b"");
        assert_eq!(peer.see_one().segment.ack, START + 1);
    }
    peer.wait(10_010);
    peer.assert_empty();
}

/// Case C10 and section 3.10.7.4, seventh and eighth: after the peer's FIN nothing is text any more,
/// and the FIN counts once.
#[test]
fn after_the_fin_there_is_no_data_and_no_second_fin() {
    let mut peer = Peer::open();
    peer.send(FIN, START, peer.theirs, b"ab");
    assert_eq!(peer.see_one().segment.ack, START + 3);
    peer.send(FIN, START, peer.theirs, b"ab");
    assert_eq!(peer.see_one().segment.ack, START + 3);
    peer.send(ACK, START + 3, peer.theirs, b"more");
    assert_eq!(peer.see_one().segment.ack, START + 3);
    peer.send(FIN, START + 3, peer.theirs, b"");
    assert_eq!(peer.see_one().segment.ack, START + 3);
    assert_eq!(peer.received, b"ab");
    assert!(peer.closed.is_empty());
}

#[test]
fn abort_sends_a_reset_and_tells_nothing() {
    let mut peer = Peer::open();
    peer.tcp.abort(peer.id.unwrap());
    let reset = peer.see_one().segment;
    assert!(reset.flags.rst);
    assert_eq!((reset.seq, reset.ack), (peer.theirs, START));
    peer.assert_empty();
    assert!(peer.closed.is_empty());
}

/// The piece that fills the hole ends the connection: what waited behind it is still handed up.
#[test]
fn what_came_early_is_not_lost_with_the_last_segment() {
    let mut peer = Peer::open();
    peer.tcp.finish(peer.id.unwrap());
    peer.see();
    peer.send(FIN, START + 2, peer.theirs + 1, b"cd");
    peer.send(ACK, START, peer.theirs + 1, b"ab");
    assert_eq!(peer.received, b"abcd");
    assert_eq!(peer.closed, [CloseReason::Finished]);
    peer.assert_empty();
}
