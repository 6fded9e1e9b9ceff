//! Nobody holds a connection for ever: closed windows (RFC 9293 section 3.8.6.1, RFC 6429), peers
//! that answer but acknowledge nothing (RFC 9293 section 3.8.3), and closing that does not end.

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::tcp::CloseReason;
use crate::units::Micros;
use crate::wire::seq::Seq;

const START: Seq = Seq(ISS.0 + 1);

/// Lets `span_ms` pass with a peer that answers everything as `answer` says; gives what came last.
fn answering(peer: &mut Peer, span_ms: u64, answer: impl Fn(&mut Peer, &Seen)) -> Option<Seen> {
    let mut last = None;
    for _ in 0..span_ms {
        for (_, one) in peer.wait(1) {
            if !one.segment.flags.rst && !one.payload.is_empty() {
                answer(peer, &one);
            }
            last = Some(one);
        }
        if !peer.closed.is_empty() {
            break;
        }
    }
    last
}

fn closed_window(bytes: u32) -> Peer {
    let mut peer = Peer::open();
    peer.window = 0;
    peer.send(ACK, START, peer.theirs, b"");
    peer.place(bytes);
    peer
}

#[test]
fn a_window_that_stays_closed_ends_the_connection() {
    let mut peer = closed_window(100);
    let start = peer.now;
    let last = answering(&mut peer, 130_000, |peer, _| {
        peer.send(ACK, START, peer.theirs, b"");
    });
    assert_eq!(peer.closed, [CloseReason::TimedOut]);
    let took = peer.now.since(start);
    // Looked at with each probe, and the probes get rarer.
    assert!((60..125).contains(&(took.0 / 1_000_000)), "{took:?}");
    assert_eq!(peer.count(Metric::TcpPersistTimedOut), 1);
    let reset = last.unwrap().segment;
    assert!(reset.flags.rst);
    assert_eq!((reset.seq, reset.ack), (peer.theirs, START));
    peer.assert_empty();
}

/// A peer that takes every probe but never offers more is no better.
#[test]
fn a_window_of_single_bytes_is_a_closed_one() {
    let mut peer = closed_window(1_000);
    answering(&mut peer, 130_000, |peer, one| {
        let end = one.segment.seq + one.payload.len() as u32;
        peer.send(ACK, START, end, b"");
    });
    assert_eq!(peer.closed, [CloseReason::TimedOut]);
    assert_eq!(peer.count(Metric::TcpPersistTimedOut), 1);
    peer.assert_empty();
}

#[test]
fn a_window_that_opens_now_and_then_is_waited_for() {
    let mut peer = closed_window(20_000);
    let mut got = 0;
    for _ in 0..5 {
        answering(&mut peer, 45_000, |peer, _| {
            peer.send(ACK, START, peer.theirs, b"");
        });
        peer.window = 2_000;
        peer.send(ACK, START, peer.theirs, b"");
        let seen = peer.see();
        got = seen.iter().map(|one| one.payload.len()).sum::<usize>();
        assert!(peer.closed.is_empty());
        peer.theirs = peer.theirs + got as u32;
        peer.window = 0;
        peer.send(ACK, START, peer.theirs, b"");
    }
    assert_eq!(got, 2_000);
    assert!(peer.closed.is_empty());
}

/// A phone that was away with a closed window comes back to a connection that waits.
#[test]
fn silence_is_no_stall() {
    let mut peer = closed_window(100);
    answering(&mut peer, 10_000, |peer, _| {
        peer.send(ACK, START, peer.theirs, b"");
    });
    peer.wait(150_000);
    assert!(peer.closed.is_empty());
    peer.window = 5_000;
    peer.send(ACK, START, peer.theirs, b"");
    assert_eq!(peer.see_one().payload, stream(0, 100));
    peer.send(ACK, START, peer.theirs + 100, b"");
    // It starts over when the window closes again.
    peer.window = 0;
    peer.send(ACK, START, peer.theirs + 100, b"");
    peer.place(100);
    answering(&mut peer, 40_000, |peer, _| {
        peer.send(ACK, START, peer.theirs + 100, b"");
    });
    assert!(peer.closed.is_empty());
}

/// The window closes over data in flight, which the peer then does not take (RFC 9293 section 3.8.6).
#[test]
fn a_window_that_shrinks_over_what_is_in_flight_is_a_closed_one() {
    let mut peer = Peer::open();
    peer.place(3_000);
    assert_eq!(peer.see().len(), 3);
    peer.window = 0;
    answering(&mut peer, 200_000, |peer, _| {
        peer.send(ACK, START, peer.theirs, b"");
    });
    assert_eq!(peer.count(Metric::TcpPersistTimedOut), 1);
    peer.assert_empty();
}

#[test]
fn a_peer_that_answers_but_acknowledges_nothing_is_given_up() {
    let mut peer = Peer::open();
    peer.place(500);
    let start = peer.now;
    answering(&mut peer, 1_000_000, |peer, _| {
        peer.send(ACK, START, peer.theirs, b"");
    });
    assert_eq!(peer.closed, [CloseReason::TimedOut]);
    // RFC 9293 section 3.8.3: R2 is 100 seconds or more.
    assert!(peer.now.since(start) > Micros::from_secs(100));
    peer.assert_empty();
}

/// FIN-WAIT-1 and LAST-ACK: whoever reads a byte at a time does not keep a closed connection.
#[test]
fn closing_ends_even_if_the_peer_takes_its_time() {
    for peer_first in [false, true] {
        let mut peer = Peer::open();
        let mut next = START;
        if peer_first {
            peer.send(FIN, START, peer.theirs, b"");
            next = START + 1;
            peer.see();
        }
        peer.place(9_000);
        peer.see();
        peer.tcp.finish(peer.id.unwrap());
        peer.see();
        let start = peer.now;
        let mut acked = 0;
        while peer.closed.is_empty() {
            acked += 1;
            peer.send(ACK, next, peer.theirs + acked, b"");
            peer.wait(150);
        }
        assert_eq!(peer.closed, [CloseReason::TimedOut]);
        let took_s = peer.now.since(start).0 / 1_000_000;
        assert!((119..122).contains(&took_s), "{took_s}");
        assert_eq!(peer.count(Metric::TcpClosingTimedOut), 1);
        peer.assert_empty();
    }
}

/// CLOSING: the peer's FIN came, ours is never acknowledged.
#[test]
fn both_closing_ends_without_the_last_ack() {
    let mut peer = Peer::open();
    peer.tcp.finish(peer.id.unwrap());
    peer.see();
    peer.send(FIN, START, peer.theirs, b"");
    let start = peer.now;
    while peer.closed.is_empty() {
        // It says something, so it is not silent.
        peer.send(ACK, START + 1, peer.theirs, b"");
        peer.wait(100);
    }
    let took_s = peer.now.since(start).0 / 1_000_000;
    assert!((119..122).contains(&took_s), "{took_s}");
    assert_eq!(peer.closed, [CloseReason::TimedOut]);
    peer.assert_empty();
}
