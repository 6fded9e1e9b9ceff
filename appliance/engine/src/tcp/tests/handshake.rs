//! RFC 9293 section 3.5, RFC 7323, RFC 2018, RFC 6528: from SYN to ESTABLISHED.

use std::net::Ipv4Addr;

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::tcp::Verdict;
use crate::units::Micros;
use crate::wire::checksum;
use crate::wire::segment::{Flags, Options};
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

/// Cases H07 and H08, RFC 9293 section 3.10.7.2.
#[test]
fn listen_answers_a_syn_ack_with_a_reset_and_a_bare_fin_with_nothing() {
    let mut peer = Peer::new();
    let syn_ack = Flags { ack: true, ..SYN };
    assert_eq!(peer.send(syn_ack, ISS, Seq(77), b""), Verdict::Unknown);
    let reset = peer.see_one().segment;
    assert!(reset.flags.rst && !reset.flags.ack);
    assert_eq!(reset.seq, Seq(77));
    let bare_fin = Flags { ack: false, ..FIN };
    for payload in [&b""[..], b"data"] {
        assert_eq!(peer.send(bare_fin, ISS, Seq(0), payload), Verdict::Done);
        peer.see_nothing();
    }
    assert_eq!(peer.send(RST, ISS, Seq(77), b""), Verdict::Done);
    peer.see_nothing();
}

/// Case H14: payload in the SYN is not acknowledged, so it comes again.
#[test]
fn data_in_the_syn_is_not_taken_early() {
    let mut peer = Peer::new();
    peer.send(SYN, ISS, Seq(0), b"GET");
    let answer = peer.see_one().segment;
    assert_eq!(answer.ack, ISS + 1);
    peer.send(ACK, ISS + 1, answer.seq + 1, b"GET");
    assert_eq!(peer.received, b"GET");
}

/// A frame of the peer's with raw TCP options, and both checksums right.
fn raw_options(peer: &Peer, flags: u8, ack: Seq, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let words = options.len().div_ceil(4);
    let total = 40 + words * 4 + payload.len();
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend(u16::try_from(total).unwrap().to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 7, 10, 0, 0, 1]);
    let sum = !checksum::fold(checksum::sum(&frame[14..]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let seq = if flags & 2 != 0 { ISS } else { ISS + 1 };
    let mut tcp = peer.remote.port().to_be_bytes().to_vec();
    tcp.extend(8000_u16.to_be_bytes());
    tcp.extend(seq.0.to_be_bytes());
    tcp.extend(ack.0.to_be_bytes());
    tcp.extend([u8::try_from(5 + words).unwrap() << 4, flags, 0x80, 0]);
    tcp.extend([0; 4]);
    tcp.extend(options);
    tcp.resize(20 + words * 4, 0);
    tcp.extend(payload);
    let (from, to) = (Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(10, 0, 0, 1));
    let pseudo = checksum::pseudo_header(from.into(), to.into(), tcp.len());
    let sum = !checksum::fold(checksum::add(pseudo, checksum::sum(&tcp)));
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    frame.extend(tcp);
    frame
}

/// Cases H15, H16 and H19: RFC 9293 section 3.1 (MUST-6, MUST-7), RFC 7323 section 2.3.
#[test]
fn strange_options_do_no_harm() {
    for (options, mss, scale) in [
        // Unknown ones, before and behind a known one.
        (&[254, 4, 1, 2, 2, 4, 3, 232, 30, 2, 1, 1][..], 1_000, None),
        // Shift 15 counts as 14.
        (&[2, 4, 3, 232, 1, 3, 3, 15], 1_000, Some(14)),
        // Lengths of 0, of 1, and past the end; an MSS of the wrong length.
        (&[2, 4, 3, 232, 8, 0, 0, 0], 1_000, None),
        (&[2, 4, 3, 232, 8, 1, 0, 0], 1_000, None),
        (&[2, 4, 3, 232, 8, 40, 0, 0], 1_000, None),
        (&[2, 3, 232, 1], 536, None),
        (&[254, 0, 0, 0, 2, 4, 3, 232], 536, None),
        // Nothing but the end of the list.
        (&[0, 2, 4, 3], 536, None),
    ] {
        let mut peer = Peer::new();
        peer.deliver(&raw_options(&peer, 2, Seq(0), options, b""));
        let answer = peer.see_one().segment;
        assert!(answer.flags.syn, "{options:?}");
        let ack = answer.seq + 1;
        // And on data: illegal, then unknown.
        peer.deliver(&raw_options(&peer, 0x10, ack, &[254, 0, 1, 1], b"GET"));
        assert_eq!(peer.received, b"GET");
        peer.deliver(&raw_options(&peer, 0x10, ack, &[254, 4, 9, 9], b"GET /"));
        assert_eq!(peer.received, b"GET /");
        let conn = peer.tcp.conns.get(peer.id.unwrap()).unwrap();
        assert_eq!((conn.mss, conn.snd_scale), (mss, scale), "{options:?}");
    }
}

/// Case R19, RFC 9293 section 3.8.5 (MUST-30, MUST-31): urgent data is data.
#[test]
fn urgent_bytes_stay_in_line() {
    let mut peer = Peer::new();
    peer.deliver(&raw_options(&peer, 2, Seq(0), &[], b""));
    let ack = peer.see_one().segment.seq + 1;
    let mut frame = raw_options(&peer, 0x30, ack, &[], b"abc");
    // The urgent pointer, and the checksum changed by as much.
    frame[53] = 2;
    let sum = u16::from_be_bytes([frame[50], frame[51]]);
    let sum = !checksum::fold(checksum::add(
        checksum::sum(&(!sum).to_be_bytes()),
        checksum::sum(&[0, 2]),
    ));
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    peer.deliver(&frame);
    assert_eq!(peer.received, b"abc");
}
