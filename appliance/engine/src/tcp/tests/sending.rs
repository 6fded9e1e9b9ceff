//! Data to the peer: windows, loss, timers (RFC 5681, 6298, 6582, 6928; RFC 9293 section 3.8.6).

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::tcp::Sent;
use crate::units::Micros;
use crate::wire::segment::Options;
use crate::wire::seq::Seq;

const START: Seq = Seq(ISS.0 + 1);

fn ack(peer: &mut Peer, bytes: u32) {
    peer.send(ACK, START, peer.theirs + bytes, b"");
}

#[test]
fn the_initial_window_is_ten_segments_and_grows() {
    let mut peer = Peer::open();
    peer.place(30_000);
    let first = peer.see();
    assert_eq!(first.len(), 10);
    let bytes: Vec<u8> = first.iter().flat_map(|one| one.payload.clone()).collect();
    assert!(bytes == stream(0, 10_000), "{} bytes", bytes.len());
    ack(&mut peer, 2_000);
    // Two acknowledged, two more by slow start (RFC 3465 section 2.2).
    assert_eq!(peer.see().len(), 4);
}

#[test]
fn several_runs_share_a_segment() {
    let mut peer = Peer::open();
    for _ in 0..3 {
        peer.place(100);
    }
    let one = peer.see_one();
    assert_eq!(one.payload, stream(0, 300));
    assert!(one.segment.flags.psh);
}

#[test]
fn never_more_than_the_window() {
    let mut peer = Peer::new();
    peer.window = 3_000;
    peer.connect(Options {
        mss: Some(1000),
        ..Options::default()
    });
    peer.place(10_000);
    assert_eq!(
        peer.see()
            .iter()
            .map(|one| one.payload.len())
            .sum::<usize>(),
        3_000
    );
    let id = peer.id.unwrap();
    assert_eq!(peer.tcp.sendable(id), 0);
    ack(&mut peer, 1_000);
    assert_eq!(peer.see_one().payload, stream(3_000, 4_000));
}

#[test]
fn a_timeout_sends_the_same_bytes_again_and_backs_off() {
    let mut peer = Peer::open_plain();
    peer.place(1_500);
    assert_eq!(peer.see().len(), 2);
    let again = peer.wait(7_000);
    // From the second timeout on in smaller segments: it may be a black hole.
    assert_eq!(again[0].1.payload, stream(0, 1_000));
    let again = again
        .iter()
        .filter(|(_, one)| one.segment.seq == peer.theirs);
    let again: Vec<_> = again.collect();
    assert!(
        again
            .iter()
            .all(|(_, one)| stream(0, 1_000).starts_with(&one.payload))
    );
    let at: Vec<u64> = again.iter().map(|(at, _)| *at).collect();
    // The handshake took no time: RTO 200 ms, then twice as long each time.
    assert_eq!(at.len(), 5, "{at:?}");
    assert!(
        at.windows(3)
            .all(|t| (t[2] - t[1]).abs_diff((t[1] - t[0]) * 2) < 8),
        "{at:?}"
    );
    ack(&mut peer, 1_000);
    assert_eq!(peer.see_one().payload, stream(1_000, 1_500));
    ack(&mut peer, 1_500);
    assert!(peer.wait(3_000).is_empty());
    assert_eq!(peer.count(Metric::TcpTimeouts), 5);
}

#[test]
fn a_peer_that_stays_silent_is_given_up() {
    let mut peer = Peer::open();
    peer.place(10);
    peer.wait(400_000);
    assert_eq!(peer.closed, [crate::tcp::CloseReason::TimedOut]);
    peer.assert_empty();
}

#[test]
fn three_duplicates_resend_without_the_timer() {
    let mut peer = Peer::open_plain();
    peer.place(8_000);
    assert_eq!(peer.see().len(), 8);
    for _ in 0..2 {
        ack(&mut peer, 0);
        peer.see_nothing();
    }
    ack(&mut peer, 0);
    assert_eq!(peer.see_one().payload, stream(0, 1_000));
    // A partial acknowledgment shows the next hole (RFC 6582).
    ack(&mut peer, 3_000);
    assert_eq!(peer.see_one().payload, stream(3_000, 4_000));
    ack(&mut peer, 8_000);
    peer.see_nothing();
    assert_eq!(peer.count(Metric::TcpTimeouts), 0);
    assert_eq!(peer.count(Metric::TcpRetransmits), 2);
}

#[test]
fn a_closed_window_is_probed_ever_more_rarely_and_goes_on_when_it_opens() {
    let mut peer = Peer::open();
    peer.window = 0;
    ack(&mut peer, 0);
    peer.place(100);
    peer.see_nothing();
    let mut at = Vec::new();
    for _ in 0..20_000 {
        for (_, probe) in peer.wait(1) {
            assert_eq!(probe.payload, stream(0, 1));
            at.push(peer.now.0 / 1000);
            // The peer says: still closed.
            ack(&mut peer, 0);
        }
    }
    assert!((5..=8).contains(&at.len()), "{at:?}");
    assert!(
        at.windows(3).all(|t| t[2] - t[1] > (t[1] - t[0]) * 3 / 2),
        "{at:?}"
    );
    peer.window = 1_000;
    ack(&mut peer, 0);
    assert_eq!(peer.see_one().payload, stream(0, 100));
    ack(&mut peer, 100);
    assert!(peer.wait(2_000).is_empty());
    assert!(peer.closed.is_empty());
}

#[test]
fn a_window_opened_by_crumbs_gives_no_crumbs_but_all_data() {
    let mut peer = Peer::open();
    peer.window = 0;
    ack(&mut peer, 0);
    peer.place(3_000);
    let mut got = 0;
    let mut sizes = Vec::new();
    for step in 0..30_000u32 {
        if step % 50 == 0 {
            peer.window = 10;
            ack(&mut peer, got);
        }
        for (_, one) in peer.wait(1) {
            if one.segment.seq == peer.theirs + got {
                got += one.payload.len() as u32;
                sizes.push(one.payload.len());
            }
        }
        if step == 20_000 {
            // 400 crumbs were offered; the override timer takes one in 200 ms at most.
            assert!(sizes.len() <= 100, "{sizes:?}");
            peer.window = 5_000;
            ack(&mut peer, got);
        } else if step > 20_000 {
            peer.window = 5_000;
        }
    }
    assert_eq!(got, 3_000);
}

#[test]
fn a_lost_flight_is_repaired_after_a_timeout_without_sending_all_again() {
    let mut peer = Peer::open_plain();
    peer.place(5_000);
    assert_eq!(peer.see().len(), 5);
    // Only the first is missing; the peer acknowledges nothing new, so only the timer helps.
    let again = peer.wait(250);
    assert_eq!(again.len(), 1);
    ack(&mut peer, 5_000);
    assert!(peer.wait(1_000).is_empty());
    assert_eq!(peer.count(Metric::TcpRetransmits), 1);
}

#[test]
fn a_full_port_loses_nothing() {
    let mut peer = Peer::open();
    peer.place(5_000);
    peer.port.limit_tx(2);
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(peer.see().iter().flat_map(|one| one.payload.clone()));
    }
    assert!(bytes == stream(0, 5_000), "{} bytes", bytes.len());
}

#[test]
fn lost_bytes_are_reported() {
    let mut peer = Peer::open();
    peer.place(10);
    let id = peer.tcp.next_ready().unwrap();
    let sent = peer
        .tcp
        .send(peer.now, id, &mut peer.port, &mut |_, _| false);
    assert_eq!(sent, Sent::Lost);
    peer.see_nothing();
}

#[test]
fn what_is_not_acknowledged_is_known() {
    let mut peer = Peer::open();
    peer.place(100);
    peer.see();
    let id = peer.id.unwrap();
    assert_eq!(
        (peer.tcp.outstanding(id), peer.tcp.first_unacked(id, 0)),
        (100, Some(0))
    );
    ack(&mut peer, 60);
    assert_eq!(
        (peer.tcp.outstanding(id), peer.tcp.first_unacked(id, 0)),
        (40, Some(60))
    );
    ack(&mut peer, 100);
    assert_eq!(
        (peer.tcp.outstanding(id), peer.tcp.first_unacked(id, 0)),
        (0, None)
    );
}

#[test]
fn the_round_trip_sets_the_timer() {
    let mut peer = Peer::open();
    peer.place(10);
    peer.see();
    peer.now = peer.now + Micros::from_millis(300);
    peer.see();
    ack(&mut peer, 10);
    // Karn: the answer to a segment sent twice says nothing; the next one does.
    for n in 1..40u32 {
        peer.place(10);
        peer.see();
        peer.now = peer.now + Micros::from_millis(150);
        ack(&mut peer, 10 + 10 * n);
    }
    peer.place(10);
    peer.see();
    let again = peer.wait(400);
    assert!((195..=260).contains(&again[0].0), "{}", again[0].0);
}
