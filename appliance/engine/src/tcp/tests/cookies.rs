//! SYN floods: the bounded table of handshakes and the cookies beyond it (RFC 4987 section 3.6, with
//! the options as Linux keeps them).

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::tcp::Verdict;
use crate::units::Micros;
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

/// A core whose table of four handshakes is full.
fn flooded() -> Peer {
    let mut peer = Peer::new();
    // A cookie's period begins.
    peer.now = Micros::from_secs(64 * 3);
    for port in 1..=4 {
        peer.remote.set_port(port);
        peer.send(SYN, ISS, Seq(0), b"");
    }
    assert_eq!(peer.see().len(), 4);
    peer.remote.set_port(5_000);
    peer
}

/// A SYN that is answered with a cookie; gives the SYN-ACK.
fn ask(peer: &mut Peer, options: Options) -> Seen {
    let sent = peer.count(Metric::TcpCookiesSent);
    peer.send_with(SYN, ISS, Seq(0), b"", options);
    assert_eq!(peer.count(Metric::TcpCookiesSent), sent + 1);
    let answer = peer.see_one();
    assert!(answer.segment.flags.syn && answer.segment.flags.ack);
    assert_eq!(answer.segment.ack, ISS + 1);
    peer.theirs = answer.segment.seq + 1;
    answer
}

/// The ACK of it, with the timestamp echoed.
fn complete(peer: &mut Peer, answer: &Seen, payload: &[u8]) -> Verdict {
    let echo = answer.segment.options.timestamps.map(|(value, _)| value);
    let options = Options {
        timestamps: echo.map(|echo| (78, echo)),
        ..Options::default()
    };
    peer.send_with(ACK, ISS + 1, peer.theirs, payload, options)
}

#[test]
fn all_options_survive_through_the_timestamp() {
    let mut peer = flooded();
    let answer = ask(&mut peer, everything());
    let offered = answer.segment.options;
    assert_eq!(offered.window_scale, Some(0));
    assert!(offered.sack_permitted);
    assert_eq!(offered.mss, Some(1460));
    // Nothing is kept.
    assert_eq!((peer.tcp.count(), peer.tcp.conns.count()), (4, 0));
    peer.window = 100;
    complete(&mut peer, &answer, b"GET");
    assert_eq!((peer.opened, &peer.received[..]), (1, &b"GET"[..]));
    assert_eq!(peer.count(Metric::TcpCookiesAccepted), 1);
    assert_eq!(peer.count(Metric::TcpOpened), 1);
    // A window of 100 << 7, and an MSS of 1380, the next below 1400, less the timestamp.
    peer.place(12_800);
    let sent = peer.see();
    assert_eq!(sent[0].payload.len(), 1_380 - 12);
    assert_eq!(sent[0].segment.options.timestamps.unwrap().1, 78);
    assert!(sent.iter().map(|one| one.payload.len()).sum::<usize>() > 10_000);
    // SACK.
    let timestamps = Some((79, 0));
    let options = Options {
        timestamps,
        ..Options::default()
    };
    peer.send_with(ACK, ISS + 14, peer.theirs, b"late", options);
    let ack = peer.see().remove(0).segment;
    assert_eq!(ack.options.sacks[0], Some((ISS + 14, ISS + 18)));
}

#[test]
fn every_scale_and_its_absence_come_back() {
    for window_scale in (0..=14).map(Some).chain([None]) {
        for sack_permitted in [false, true] {
            let mut peer = flooded();
            let offered = Options {
                window_scale,
                sack_permitted,
                ..everything()
            };
            let answer = ask(&mut peer, offered);
            complete(&mut peer, &answer, b"");
            let conn = peer.tcp.conns.get(peer.id.unwrap()).unwrap();
            assert_eq!((conn.snd_scale, conn.sack), (window_scale, sack_permitted));
        }
    }
}

#[test]
fn without_timestamps_only_the_mss_survives_and_nothing_else_is_offered() {
    for (asked, sent) in [
        (None, 536),
        (Some(47), 88),
        (Some(100), 88),
        (Some(535), 256),
        (Some(536), 536),
        (Some(1_299), 1_220),
        (Some(1_459), 1_440),
        (Some(9_000), 1_460),
    ] {
        let mut peer = flooded();
        let offered = Options {
            mss: asked,
            timestamps: None,
            ..everything()
        };
        let answer = ask(&mut peer, offered);
        let expected = Options {
            mss: Some(1460),
            ..Options::default()
        };
        assert_eq!(answer.segment.options, expected);
        complete(&mut peer, &answer, b"");
        peer.place(2_000);
        assert_eq!(peer.see()[0].payload.len(), sent, "{asked:?}");
    }
}

/// RFC 3168 section 6.1.1: agreed to in the SYN-ACK, so it has to be known when the ACK comes.
#[test]
fn ecn_survives_with_timestamps_and_is_not_agreed_to_without() {
    let asked = Flags {
        ece: true,
        cwr: true,
        ..SYN
    };
    for timestamps in [Some((77, 0)), None] {
        let mut peer = flooded();
        let offered = Options {
            timestamps,
            ..everything()
        };
        peer.send_with(asked, ISS, Seq(0), b"", offered);
        let answer = peer.see_one();
        peer.theirs = answer.segment.seq + 1;
        assert_eq!(answer.segment.flags.ece, timestamps.is_some());
        assert!(!answer.segment.flags.cwr);
        complete(&mut peer, &answer, b"");
        let conn = peer.tcp.conns.get(peer.id.unwrap()).unwrap();
        assert_eq!(conn.ecn.agreed, timestamps.is_some());
    }
}

/// "The oldest gives way" would let a flood push out everybody.
#[test]
fn who_is_in_the_table_stays_there() {
    let mut peer = Peer::new();
    peer.send(SYN, ISS, Seq(0), b"");
    let first = peer.see_one().segment;
    let player = peer.remote;
    for port in 1..=20_000 {
        peer.remote.set_port(port);
        peer.send(SYN, ISS, Seq(0), b"");
        if port % 100 == 0 {
            peer.see();
        }
    }
    assert_eq!((peer.tcp.half_open_count(), peer.tcp.count()), (4, 4));
    assert_eq!(peer.count(Metric::TcpCookiesSent), 20_000 - 3);
    peer.remote = player;
    peer.send(ACK, ISS + 1, first.seq + 1, b"");
    assert_eq!(peer.opened, 1);
    // The others time out, and there is room again.
    peer.wait(64_000);
    assert_eq!(peer.tcp.half_open_count(), 0);
    assert_eq!(peer.count(Metric::TcpSynTimedOut), 3);
}

#[test]
fn answers_wait_in_a_bounded_queue_and_those_beyond_it_are_counted() {
    let mut peer = flooded();
    for port in 10_000..11_000 {
        peer.remote.set_port(port);
        peer.send(SYN, ISS, Seq(0), b"");
    }
    assert_eq!(peer.count(Metric::TcpRepliesDropped), 1_000 - 512);
    let mut answers = 0;
    for _ in 0..10 {
        answers += peer.see().len();
    }
    assert_eq!(answers, 512);
}

#[test]
fn a_number_that_was_not_sent_opens_nothing() {
    let mut peer = flooded();
    let answer = ask(&mut peer, everything());
    let cookie = answer.segment.seq;
    let refused = |peer: &mut Peer, seq, ack| {
        assert_eq!(peer.send(ACK, seq, ack, b""), Verdict::Unknown);
        let reset = peer.see_one().segment;
        assert!(reset.flags.rst);
        assert_eq!(reset.seq, ack);
    };
    refused(&mut peer, ISS + 1, cookie + 9);
    refused(&mut peer, ISS + 1, cookie - 8);
    refused(&mut peer, ISS + 2, cookie + 1);
    peer.remote.set_port(5_001);
    refused(&mut peer, ISS + 1, cookie + 1);
    assert_eq!((peer.opened, peer.tcp.conns.count()), (0, 0));
    // A SYN-ACK and a RST with the right number are not the ACK either.
    peer.remote.set_port(5_000);
    let syn_ack = crate::wire::segment::Flags { ack: true, ..SYN };
    assert_eq!(
        peer.send(syn_ack, ISS + 1, cookie + 1, b""),
        Verdict::Unknown
    );
    peer.see();
    peer.send(RST, ISS + 1, cookie + 1, b"");
    assert_eq!(peer.opened, 0);
    complete(&mut peer, &answer, b"");
    assert_eq!(peer.opened, 1);
}

#[test]
fn a_cookie_lives_one_to_two_periods_and_only_while_cookies_are_sent() {
    let open = |wait_s: u64, again: bool| {
        let mut peer = flooded();
        let answer = ask(&mut peer, everything());
        peer.now = peer.now + Micros::from_secs(wait_s);
        if again {
            // Keeps the table full, and cookies in use.
            for port in 1..=6 {
                peer.remote.set_port(port);
                peer.send(SYN, ISS, Seq(0), b"");
            }
            peer.see();
            peer.remote.set_port(5_000);
            peer.send(SYN, ISS, Seq(0), b"");
            peer.see();
            peer.theirs = answer.segment.seq + 1;
        }
        complete(&mut peer, &answer, b"") != Verdict::Unknown
    };
    assert!(open(0, false) && open(63, false) && open(127, false));
    assert!(!open(128, false));
    assert!(open(127, true));
    assert!(!open(128, true));
}

/// A number that is right is not taken by a core that has sent no cookie lately: whoever tries numbers
/// has to wait for a flood. (The ACK goes round the cores, and the one that sent it takes it.)
#[test]
fn a_core_that_sends_no_cookies_takes_none() {
    let mut sender = flooded();
    let mut idle = Peer::new();
    let mut earlier = flooded();
    ask(&mut earlier, everything());
    sender.now = sender.now + Micros::from_secs(128);
    for port in 1..=4 {
        sender.remote.set_port(port);
        sender.send(SYN, ISS, Seq(0), b"");
    }
    sender.remote.set_port(5_000);
    sender.see();
    let answer = ask(&mut sender, everything());
    for other in [&mut idle, &mut earlier] {
        other.now = sender.now;
        other.remote = sender.remote;
        other.theirs = sender.theirs;
        assert_eq!(complete(other, &answer, b""), Verdict::Unknown);
        assert_eq!(other.opened, 0);
    }
    complete(&mut sender, &answer, b"");
    assert_eq!(sender.opened, 1);
}

/// The bare ACK was lost, as in H13.
#[test]
fn the_request_opens_when_the_ack_before_it_was_lost() {
    let mut peer = flooded();
    let answer = ask(&mut peer, everything());
    complete(&mut peer, &answer, b"GET / HTTP/1.1");
    assert_eq!(peer.received, b"GET / HTTP/1.1");
    // And a repeated SYN-ACK is not to be had, but a repeated SYN is as good as the first.
    let mut peer = flooded();
    ask(&mut peer, everything());
    let answer = ask(&mut peer, everything());
    complete(&mut peer, &answer, b"");
    assert_eq!(peer.opened, 1);
}

#[test]
fn a_full_table_of_players_sends_no_cookies() {
    let mut peer = flooded();
    for port in 11..=18 {
        peer.remote.set_port(port);
        peer.opened = 0;
        let answer = ask(&mut peer, everything());
        complete(&mut peer, &answer, b"");
        assert_eq!(peer.opened, 1);
    }
    peer.remote.set_port(19);
    peer.send(SYN, ISS, Seq(0), b"");
    peer.see_nothing();
    assert_eq!(peer.count(Metric::TcpSynDropped), 1);
}
