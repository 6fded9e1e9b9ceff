//! RFC 9293 section 3.5, RFC 7323, RFC 2018, RFC 6528: from SYN to ESTABLISHED.

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::tcp::Verdict;
use crate::units::Micros;
use crate::wire::segment::Options;
use crate::wire::seq::Seq;

fn everything() -> Options {
    Options {
        mss: Some(1400),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some((77, 0)),
        ..Options::default()
    }
}

#[test]
fn options_are_answered_only_when_offered() {
    let mut peer = Peer::new();
    let answer = peer.connect(everything()).segment;
    assert_eq!(answer.options.mss, Some(1460));
    assert_eq!(answer.options.window_scale, Some(0));
    assert!(answer.options.sack_permitted);
    assert_eq!(answer.options.timestamps.map(|(_, echo)| echo), Some(77));

    let mut peer = Peer::new();
    let answer = peer.connect(Options::default()).segment;
    assert_eq!(
        answer.options,
        Options {
            mss: Some(1460),
            ..Options::default()
        }
    );
    // Without the option a segment holds at most 536 bytes (section 3.7.1).
    peer.place(600);
    assert_eq!(peer.see()[0].payload.len(), 536);
}

#[test]
fn ipv6_has_its_own_sizes() {
    let mut peer = Peer::new();
    peer.remote = "[2001:db8::9]:4000".parse().unwrap();
    assert_eq!(
        peer.connect(Options::default()).segment.options.mss,
        Some(1440)
    );
    peer.place(2000);
    assert_eq!(peer.see()[0].payload.len(), 1220);
}

#[test]
fn a_tiny_mss_is_not_obeyed_and_a_small_one_is() {
    for (asked, sent) in [(0, 88), (47, 88), (100, 100), (536, 536)] {
        let mut peer = Peer::new();
        peer.connect(Options {
            mss: Some(asked),
            ..Options::default()
        });
        peer.place(700);
        assert_eq!(peer.see()[0].payload.len(), sent);
    }
}

#[test]
fn the_windows_of_syn_and_ack_are_scaled_as_they_should() {
    let mut peer = Peer::new();
    peer.window = 100;
    peer.connect(Options {
        mss: Some(1400),
        window_scale: Some(3),
        ..Options::default()
    });
    // 100 << 3 from the ACK.
    peer.place(5_000);
    let sent: usize = peer.see().iter().map(|one| one.payload.len()).sum();
    assert_eq!(sent, 800);
}

#[test]
fn a_repeated_syn_gets_the_same_answer_and_a_lost_one_is_repeated() {
    let mut peer = Peer::new();
    peer.send(SYN, ISS, Seq(0), b"");
    let first = peer.see_one().segment;
    peer.now = peer.now + Micros::from_millis(300);
    peer.send(SYN, ISS, Seq(0), b"");
    assert_eq!(peer.see_one().segment.seq, first.seq);
    assert_eq!(peer.tcp.count(), 1);

    let again = peer.wait(60_000);
    let at: Vec<u64> = again.iter().map(|(at, _)| *at).collect();
    assert_eq!(again.len(), 5, "{at:?}");
    assert!(again.iter().all(|(_, one)| one.segment.seq == first.seq));
    assert!(
        at.windows(3).all(|t| t[2] - t[1] > (t[1] - t[0]) * 3 / 2),
        "{at:?}"
    );
    peer.wait(60_000);
    peer.assert_empty();
    assert_eq!((peer.opened, peer.closed.len()), (0, 0));
}

#[test]
fn segments_to_nobody_are_answered_as_listen_does() {
    let mut peer = Peer::new();
    assert_eq!(peer.send(RST, Seq(5), Seq(0), b""), Verdict::Done);
    let no_flags = crate::wire::segment::Flags::default();
    assert_eq!(peer.send(no_flags, Seq(5), Seq(0), b"data"), Verdict::Done);
    peer.see_nothing();
    assert_eq!(peer.send(ACK, Seq(5), Seq(900), b""), Verdict::Unknown);
    let reset = peer.see_one().segment;
    assert!(reset.flags.rst && !reset.flags.ack);
    assert_eq!(reset.seq, Seq(900));
}

#[test]
fn a_wrong_acknowledgment_is_refused_and_the_right_one_still_opens() {
    let mut peer = Peer::new();
    peer.send(SYN, ISS, Seq(0), b"");
    let answer = peer.see_one().segment;
    peer.send(ACK, ISS + 1, answer.seq + 9, b"");
    let reset = peer.see_one().segment;
    assert!(reset.flags.rst);
    assert_eq!(reset.seq, answer.seq + 9);
    assert_eq!(peer.opened, 0);
    // The ACK of the handshake may carry the request.
    peer.send(ACK, ISS + 1, answer.seq + 1, b"GET");
    assert_eq!((peer.opened, &peer.received[..]), (1, &b"GET"[..]));
}

#[test]
fn a_reset_ends_a_half_open_connection() {
    let mut peer = Peer::new();
    peer.send(SYN, ISS, Seq(0), b"");
    let answer = peer.see_one().segment;
    peer.send(RST, ISS + 1, Seq(0), b"");
    peer.assert_empty();
    peer.send(ACK, ISS + 1, answer.seq + 1, b"");
    assert!(peer.see_one().segment.flags.rst);
    assert!(peer.closed.is_empty());
}

#[test]
fn handshakes_take_no_players_record_and_a_full_table_of_players_drops_syns() {
    let mut peer = Peer::new();
    for port in 1..=4 {
        peer.remote.set_port(port);
        peer.send(SYN, ISS, Seq(0), b"");
    }
    peer.see();
    assert_eq!((peer.tcp.count(), peer.tcp.conns.count()), (4, 0));
    for port in 11..=18 {
        peer.remote.set_port(port);
        peer.opened = 0;
        peer.connect(Options::default());
    }
    peer.remote.set_port(19);
    peer.send(SYN, ISS, Seq(0), b"");
    peer.see_nothing();
    assert_eq!(peer.count(Metric::TcpSynDropped), 1);
}

/// A handshake that began while there was room and ends when there is none is told so.
#[test]
fn the_last_ack_of_one_too_many_is_refused() {
    let mut peer = Peer::new();
    peer.remote.set_port(9);
    peer.send(SYN, ISS, Seq(0), b"");
    let late = peer.see_one().segment.seq;
    for port in 11..=18 {
        peer.remote.set_port(port);
        peer.opened = 0;
        peer.connect(Options::default());
    }
    peer.remote.set_port(9);
    peer.send(ACK, ISS + 1, late + 1, b"");
    assert!(peer.see_one().segment.flags.rst);
    assert_eq!((peer.tcp.half_open_count(), peer.tcp.conns.count()), (0, 8));
}

#[test]
fn initial_sequence_numbers_of_flows_have_no_pattern() {
    let mut peer = Peer::new();
    let mut isns = Vec::new();
    for port in 1..=4 {
        peer.remote.set_port(port);
        peer.send(SYN, ISS, Seq(0), b"");
        isns.push(peer.see_one().segment.seq);
    }
    let steps: Vec<i32> = isns.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(steps[0] != steps[1] && steps[1] != steps[2], "{steps:?}");
}

#[test]
fn strangers_ports_are_left_alone() {
    let mut config = config();
    config.listen = vec!["10.0.0.1:9".parse().unwrap()];
    let mut peer = Peer::with(config);
    assert_eq!(peer.send(SYN, ISS, Seq(0), b""), Verdict::Done);
    assert_eq!(peer.count(Metric::WireNotOurs), 1);
    peer.see_nothing();
}
