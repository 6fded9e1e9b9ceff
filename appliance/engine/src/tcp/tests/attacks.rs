//! Blind attackers (RFC 5961) and nonsense.

use proptest::prelude::*;

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::tcp::CloseReason;
use crate::tcp::conn::Conn;
use crate::units::Micros;
use crate::wire::segment::{Flags, Options};
use crate::wire::seq::Seq;

const START: Seq = Seq(ISS.0 + 1);

#[test]
fn only_the_exact_reset_is_believed() {
    let mut peer = Peer::open();
    peer.send(RST, START + 70_000, Seq(0), b"");
    peer.see_nothing();
    peer.send(RST, START + 10, Seq(0), b"");
    let challenge = peer.see_one().segment;
    assert_eq!((challenge.seq, challenge.ack), (peer.theirs, START));
    assert!(peer.closed.is_empty());
    peer.send(RST, START, Seq(0), b"");
    assert_eq!(peer.closed, [CloseReason::Reset]);
    peer.see_nothing();
    peer.send(ACK, START, peer.theirs, b"x");
    assert!(peer.see_one().segment.flags.rst);
    peer.assert_empty();
}

#[test]
fn a_syn_is_challenged() {
    let mut peer = Peer::open();
    for seq in [START + 5, START + 100_000] {
        peer.send(SYN, seq, Seq(0), b"");
        assert_eq!(peer.see_one().segment.ack, START);
        peer.now = peer.now + Micros::from_secs(1);
    }
    peer.send(ACK, START, peer.theirs, b"alive");
    assert_eq!(peer.received, b"alive");
}

#[test]
fn challenges_are_few() {
    let mut peer = Peer::open();
    let mut seen = 0;
    for _ in 0..400 {
        peer.send(RST, START + 10, Seq(0), b"");
        peer.now = peer.now + Micros(1000);
        seen += peer.see().len();
    }
    assert_eq!(seen, 1);
    assert_eq!(peer.count(Metric::TcpChallengeAcks), 1);
}

#[test]
fn impossible_acknowledgments_change_nothing() {
    let mut peer = Peer::open();
    peer.place(100);
    peer.see();
    peer.send(ACK, START, peer.theirs + 500, b"x");
    assert_eq!(peer.see_one().segment.ack, START);
    peer.now = peer.now + Micros::from_secs(1);
    peer.send(ACK, START, peer.theirs - 100_000, b"x");
    assert!(peer.received.is_empty());
}

#[test]
fn the_way_back_follows_only_acceptable_segments() {
    let mut peer = Peer::open();
    peer.link.local_mac = [6; 6];
    peer.send(RST, START + 80_000, Seq(0), b"");
    peer.send(ACK, START - 9, peer.theirs, b"old");
    assert_eq!(peer.see_one().segment.link.local_mac, link().local_mac);
    peer.link.vlan = Some(5);
    peer.send(ACK, START, peer.theirs, b"ab");
    assert_eq!(peer.wait(50)[0].1.segment.link, peer.link_seen());
}

/// Case R13, RFC 5961 section 5.2: an acknowledgment from further back than the largest window.
#[test]
fn an_ancient_acknowledgment_is_answered_and_its_data_dropped() {
    let mut peer = Peer::open();
    peer.send(ACK, START, peer.theirs - 60_001, b"x");
    assert_eq!(peer.see_one().segment.ack, START);
    assert!(peer.received.is_empty());
    assert_eq!(peer.count(Metric::TcpChallengeAcks), 1);
    // As far back as that, it is only old.
    peer.send(ACK, START, peer.theirs - 60_000, b"x");
    assert_eq!(peer.received, b"x");
}

/// Two ends that disagree about their numbers must not answer each other's ACKs for ever.
#[test]
fn acks_outside_the_window_are_answered_rarely_and_data_always() {
    let mut peer = Peer::open();
    let mut seen = 0;
    for _ in 0..100 {
        peer.send(ACK, START - 1, peer.theirs, b"");
        peer.now = peer.now + Micros::from_millis(1);
        seen += peer.see().len();
    }
    assert_eq!(seen, 1);
    // A keepalive, which looks like that, has its answer.
    peer.now = peer.now + Micros::from_secs(1);
    peer.send(ACK, START - 1, peer.theirs, b"");
    assert_eq!(peer.see_one().segment.ack, START);
    // Cases R05 and R09: data is answered each time, or its sender would wait.
    for _ in 0..3 {
        peer.send(ACK, START - 5, peer.theirs, b"old");
        assert_eq!(peer.see_one().segment.ack, START);
    }
}

/// SYN-RECEIVED (RFC 9293 section 3.10.7.4, RFC 5961): the same care as later.
#[test]
fn a_half_open_connection_is_not_talked_out_of_it() {
    let mut peer = Peer::new();
    peer.timestamp = Some(50);
    peer.send(SYN, ISS, Seq(0), b"");
    let answer = peer.see_one().segment;
    let ack = answer.seq + 1;
    let challenged = |peer: &mut Peer, flags, seq| {
        peer.now = peer.now + Micros::from_millis(500);
        peer.send(flags, seq, ack, b"");
        // The SYN-ACK is repeated meanwhile.
        let mut seen = peer.see();
        seen.retain(|one| !one.segment.flags.syn);
        assert_eq!(seen.len(), 1);
        let seen = &seen[0].segment;
        assert!(!seen.flags.rst);
        assert_eq!((seen.seq, seen.ack), (ack, START));
        assert!(seen.options.timestamps.is_some());
    };
    // RST in the window, another SYN in it and outside, an ACK outside, one with an old timestamp.
    challenged(&mut peer, RST, START + 5);
    challenged(&mut peer, SYN, START + 500);
    challenged(&mut peer, SYN, START - 500);
    challenged(&mut peer, ACK, START - 500);
    peer.timestamp = Some(49);
    challenged(&mut peer, ACK, START);
    peer.timestamp = Some(51);
    // Not more often than connections are.
    for _ in 0..10 {
        peer.send(RST, START + 5, Seq(0), b"");
    }
    peer.see_nothing();
    peer.send(RST, START - 5, Seq(0), b"");
    peer.send(RST, START + 70_000, Seq(0), b"");
    // Data without an ACK is nothing.
    peer.send(Flags::default(), START, Seq(0), b"x");
    peer.see_nothing();
    peer.send(ACK, START, ack, b"GET");
    assert_eq!((peer.opened, &peer.received[..]), (1, &b"GET"[..]));
    assert_eq!(peer.tcp.half_open_count(), 0);
}

fn flags() -> impl Strategy<Value = Flags> {
    any::<[bool; 5]>().prop_map(|[ack, syn, fin, rst, psh]| Flags {
        ack,
        syn,
        fin: fin && !syn,
        rst,
        psh,
        ..Flags::default()
    })
}

proptest! {
    /// Random segments near the real numbers, with pauses, data and closes in between: nothing
    /// panics, nothing leaks, closed is told once.
    #[test]
    fn nonsense_leaks_nothing(
        steps in prop::collection::vec(
            (flags(), -3000i32..70_000, -2000i32..5000, 0usize..1200, any::<u16>(), 0u64..300, 0u8..20), 1..150
        )
    ) {
        let mut peer = Peer::new();
        peer.connect(Options { mss: Some(900), sack_permitted: true, timestamps: None, window_scale: Some(2), ..Options::default() });
        for (flags, seq, ack, length, window, pause_ms, deed) in steps {
            peer.window = window;
            let seq = START + seq.cast_unsigned();
            peer.send(flags, seq, peer.theirs + ack.cast_unsigned(), &vec![7; length]);
            if let Some(id) = peer.id {
                let open = |conn: &Conn| conn.state.sends() && !conn.finishing;
                if deed < 4 && peer.tcp.conns.get(id).is_some_and(open) && peer.tcp.sendable(id) > 0 {
                    peer.place(500);
                } else if deed == 4 {
                    peer.tcp.finish(id);
                }
            }
            peer.now = peer.now + Micros::from_millis(pause_ms);
            peer.see();
            prop_assert!(peer.closed.len() <= peer.opened as usize);
        }
        if let Some(id) = peer.id {
            peer.tcp.abort(id);
        }
        for _ in 0..200 {
            peer.now = peer.now + Micros::from_secs(2);
            peer.see();
        }
        peer.assert_empty();
    }
}
