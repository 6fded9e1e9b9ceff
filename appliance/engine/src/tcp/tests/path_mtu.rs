//! Path MTU: RFC 1191 and 8201, believed as RFC 5927 says, and black holes (RFC 4821).

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::wire::icmp::TooBig;
use crate::wire::segment::{Flow, Options};
use crate::wire::seq::Seq;

const START: Seq = Seq(ISS.0 + 1);

fn open(mss: u16, v6: bool, timestamps: bool) -> Peer {
    let mut peer = Peer::new();
    if v6 {
        peer.remote = "[2001:db8::9]:4000".parse().unwrap();
    }
    peer.timestamp = timestamps.then_some(1);
    peer.connect(Options {
        mss: Some(mss),
        sack_permitted: true,
        timestamps: timestamps.then_some((1, 0)),
        ..Options::default()
    });
    peer
}

/// A report about the segment at `seq`; whether the core knows the flow.
fn report(peer: &mut Peer, seq: Seq, mtu: u32) -> bool {
    let local = if peer.remote.is_ipv4() {
        "10.0.0.1:8000"
    } else {
        "[2001:db8::1]:8000"
    };
    peer.tcp.on_too_big(&TooBig {
        flow: Flow {
            local: local.parse().unwrap(),
            remote: peer.remote.into(),
        },
        seq,
        mtu,
    })
}

fn sizes(seen: &[Seen]) -> Vec<usize> {
    seen.iter().map(|one| one.payload.len()).collect()
}

/// RFC 1191 section 6.5 (case S13): what is in flight goes again, smaller, at once, and no window
/// shrinks.
#[test]
fn a_report_about_a_segment_in_flight_makes_all_smaller() {
    for (v6, timestamps, mtu, size) in [
        (false, false, 1400, 1360),
        (false, true, 1400, 1348),
        (true, false, 1400, 1340),
        (true, true, 1280, 1208),
        // RFC 1191 section 3 allows 68; less than 552 is not gone along with.
        (false, false, 296, 512),
        (false, false, 68, 512),
    ] {
        let mut peer = open(1460, v6, timestamps);
        peer.place(4_000);
        let sent = peer.see();
        let theirs = peer.theirs;
        assert!(report(
            &mut peer,
            theirs + sent[0].payload.len() as u32,
            mtu
        ));
        let again = peer.see();
        let bytes: Vec<u8> = again.iter().flat_map(|one| one.payload.clone()).collect();
        assert!(bytes == stream(0, 4_000), "{:?}", sizes(&again));
        assert_eq!(*sizes(&again).iter().max().unwrap(), size);
        assert_eq!(peer.count(Metric::TcpPathMtuLowered), 1);
        peer.send(ACK, START, theirs + 4_000, b"");
        peer.place(3_000);
        assert_eq!(peer.see()[0].payload.len(), size);
    }
}

/// RFC 5927 section 4.1 and 7, RFC 8201 section 4.
#[test]
fn a_report_that_cannot_be_true_changes_nothing() {
    let mut peer = open(1460, false, false);
    let theirs = peer.theirs;
    let ignored = |peer: &mut Peer, seq, mtu| {
        let before = peer.count(Metric::TcpPathMtuIgnored);
        assert!(report(peer, seq, mtu));
        assert_eq!(peer.count(Metric::TcpPathMtuIgnored), before + 1);
        peer.see_nothing();
    };
    // Nothing in flight.
    ignored(&mut peer, theirs, 600);
    peer.place(4_000);
    peer.see();
    ignored(&mut peer, theirs - 1, 600);
    ignored(&mut peer, theirs + 4_000, 600);
    // No smaller, or impossible; 0 is what routers older than RFC 1191 say.
    for mtu in [1500, 9000, 67, 0] {
        ignored(&mut peer, theirs, mtu);
    }
    peer.send(ACK, START, theirs + 1_460, b"");
    ignored(&mut peer, theirs, 600);
    let mut peer = open(1400, true, false);
    peer.place(4_000);
    peer.see();
    let theirs = peer.theirs;
    ignored(&mut peer, theirs, 1279);
    assert_eq!(peer.count(Metric::TcpPathMtuLowered), 0);
}

#[test]
fn a_report_about_another_flow_is_somebody_elses() {
    let mut peer = open(1460, false, false);
    peer.place(4_000);
    peer.see();
    peer.remote.set_port(9);
    let theirs = peer.theirs;
    assert!(!report(&mut peer, theirs, 600));
    peer.see_nothing();
}

/// A peer with small segments is not affected, nor is one after TIME-WAIT.
#[test]
fn segments_that_are_small_already_stay() {
    let mut peer = open(500, false, false);
    peer.place(4_000);
    peer.see();
    let theirs = peer.theirs;
    report(&mut peer, theirs, 68);
    assert_eq!(peer.count(Metric::TcpPathMtuIgnored), 1);
}

/// Acknowledges like a path that drops packets above `mtu` bytes and tells nobody.
fn black_hole(peer: &mut Peer, mtu: usize, span_ms: u64) -> u32 {
    let headers = if peer.remote.is_ipv4() { 40 } else { 60 };
    let mut got = 0;
    for _ in 0..span_ms {
        for (_, one) in peer.wait(1) {
            if one.payload.len() + headers <= mtu && one.segment.seq == peer.theirs + got {
                got += one.payload.len() as u32;
                peer.send(ACK, START, peer.theirs + got, b"");
            }
        }
    }
    got
}

#[test]
fn a_black_hole_is_found_after_two_timeouts() {
    for (v6, mtu, size, span_ms) in [
        (false, 1_400, 1_240, 3_000),
        (true, 1_400, 1_220, 3_000),
        (false, 600, 536, 9_000),
    ] {
        let mut peer = open(1460, v6, false);
        peer.place(8_000);
        peer.see();
        assert_eq!(black_hole(&mut peer, mtu, span_ms), 8_000, "{mtu}");
        assert_eq!(peer.count(Metric::TcpBlackHoles), 1);
        // It is remembered.
        peer.theirs = peer.theirs + 8_000;
        peer.place(4_000);
        assert_eq!(peer.see()[0].payload.len(), size);
    }
}

#[test]
fn a_path_that_was_dead_is_as_wide_as_before() {
    let mut peer = open(1460, false, false);
    peer.place(8_000);
    peer.see();
    // Three timeouts: 200, 600, 1400 ms. Then the path is back.
    let again = peer.wait(1_500);
    assert_eq!(
        again.iter().map(|(_, one)| one.payload.len()).max(),
        Some(1460)
    );
    assert_eq!(again.last().unwrap().1.payload.len(), 1240);
    peer.send(ACK, START, peer.theirs + 8_000, b"");
    assert_eq!(peer.count(Metric::TcpBlackHoles), 0);
    peer.place(8_000);
    assert_eq!(peer.see()[0].payload.len(), 1460);
}

/// Timeouts of small segments say nothing about large ones.
#[test]
fn small_segments_show_no_black_hole() {
    let mut peer = open(1460, false, false);
    peer.place(300);
    peer.see();
    peer.wait(700);
    peer.send(ACK, START, peer.theirs + 300, b"");
    peer.place(3_000);
    assert_eq!(peer.see()[0].payload.len(), 1460);
    assert_eq!(peer.count(Metric::TcpBlackHoles), 0);
}

/// `mss_max` holds for what we announce and for what we send.
#[test]
fn the_configured_limit_holds_both_ways() {
    let mut config = config();
    config.mss_max = 1_200;
    let mut peer = Peer::with(config);
    let answer = peer.connect(Options {
        mss: Some(1460),
        ..Options::default()
    });
    assert_eq!(answer.segment.options.mss, Some(1_200));
    peer.place(3_000);
    assert_eq!(peer.see()[0].payload.len(), 1_200);
}
