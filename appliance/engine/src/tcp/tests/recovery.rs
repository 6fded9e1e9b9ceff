//! Losses found and repaired: SACK (RFC 2018, 2883, 6675), RACK-TLP (RFC 8985), proportional rate
//! reduction (RFC 6937), needless repairs taken back (RFC 3522, 3708, 4015), bundling, ECN (RFC
//! 3168), pacing.

use super::peer::*;
use crate::metrics::catalog::Metric;
use crate::tcp::Config;
use crate::units::Micros;
use crate::wire::segment::{Flags, Options};

/// A peer with SACK at the other end of a path of 40 ms.
fn far() -> Peer {
    far_with(config())
}

fn far_with(config: Config) -> Peer {
    let mut peer = Peer::with(config);
    let options = Options {
        mss: Some(1000),
        sack_permitted: true,
        ..Options::default()
    };
    peer.connect_after(40, options);
    peer
}

/// The same with timestamps; segments hold 988 bytes.
fn far_with_timestamps() -> Peer {
    let mut peer = Peer::new();
    peer.timestamp = Some(7);
    let options = Options {
        mss: Some(1012),
        sack_permitted: true,
        timestamps: Some((7, 0)),
        ..Options::default()
    };
    peer.connect_after(40, options);
    peer
}

fn unbundled() -> Peer {
    far_with(Config {
        bundling: false,
        ..config()
    })
}

fn wait(peer: &mut Peer, ms: u64) {
    peer.now = peer.now + Micros::from_millis(ms);
}

/// First and last byte of each segment that came, counted from the first one sent to the peer.
fn runs(peer: &Peer, seen: &[Seen]) -> Vec<(i32, i32)> {
    let run = |one: &Seen| {
        let from = one.segment.seq.since(peer.theirs);
        (from, from + one.payload.len() as i32)
    };
    seen.iter().map(run).collect()
}

#[track_caller]
fn see_runs(peer: &mut Peer, expected: &[(i32, i32)]) {
    let seen = peer.see();
    assert_eq!(runs(peer, &seen), expected);
}

#[test]
fn rfc8985_6_2_a_hole_is_lost_a_quarter_round_trip_after_what_came_behind_it() {
    let mut peer = far();
    for _ in 0..3 {
        peer.place(1_000);
        peer.see_one();
        wait(&mut peer, 1);
    }
    wait(&mut peer, 38);
    peer.sack(0, &[(1_000, 2_000)]);
    see_runs(&mut peer, &[]);
    let repaired = peer.wait(20);
    assert_eq!(repaired.len(), 1);
    assert!((8..=11).contains(&repaired[0].0), "{}", repaired[0].0);
    assert_eq!(repaired[0].1.payload, stream(0, 1_000));
    assert_eq!(peer.count(Metric::TcpFastRetransmits), 1);
    peer.sack(3_000, &[]);
    assert!(peer.wait(500).is_empty());
    assert_eq!(peer.count(Metric::TcpTimeouts), 0);
}

#[test]
fn rfc6675_5_two_holes_are_filled_at_once_and_nothing_that_arrived_goes_again() {
    let mut peer = far();
    peer.place(8_000);
    assert_eq!(peer.see().len(), 8);
    wait(&mut peer, 40);
    peer.sack(0, &[(1_000, 2_000)]);
    peer.sack(0, &[(1_000, 3_000)]);
    see_runs(&mut peer, &[]);
    // Three segments beyond the first hole: no more doubt.
    peer.sack(0, &[(4_000, 6_000), (1_000, 3_000)]);
    see_runs(&mut peer, &[(0, 1_000), (3_000, 4_000)]);
    wait(&mut peer, 40);
    peer.sack(8_000, &[]);
    assert!(peer.wait(500).is_empty());
    assert_eq!(peer.count(Metric::TcpRetransmits), 2);
    assert_eq!(peer.count(Metric::TcpTimeouts), 0);
}

#[test]
fn rfc8985_6_2_a_lost_retransmission_is_found_without_the_timer() {
    let mut peer = far();
    peer.place(6_000);
    assert_eq!(peer.see().len(), 6);
    wait(&mut peer, 40);
    peer.sack(0, &[(1_000, 4_000)]);
    see_runs(&mut peer, &[(0, 1_000)]);
    wait(&mut peer, 1);
    peer.place(2_000);
    assert!(!peer.see().is_empty());
    wait(&mut peer, 41);
    // What was sent after the repair has arrived, the repair has not.
    peer.sack(0, &[(1_000, 7_000)]);
    let again = peer.see();
    assert_eq!(runs(&peer, &again)[0], (0, 1_000));
    assert_eq!(peer.count(Metric::TcpTimeouts), 0);
}

#[test]
fn rfc8985_6_2_reordering_widens_the_window() {
    let mut peer = far();
    peer.place(5_000);
    assert_eq!(peer.see().len(), 5);
    wait(&mut peer, 40);
    peer.sack(0, &[(1_000, 2_000)]);
    // The first was only late.
    peer.sack(2_000, &[]);
    peer.sack(5_000, &[]);
    // Now even three segments behind a hole leave it a quarter of a round trip.
    peer.place(5_000);
    assert_eq!(peer.see().len(), 5);
    wait(&mut peer, 40);
    peer.sack(5_000, &[(6_000, 9_000)]);
    see_runs(&mut peer, &[]);
    let repaired = peer.wait(20);
    assert_eq!(repaired[0].1.payload, stream(5_000, 6_000));
    assert!((8..=11).contains(&repaired[0].0), "{}", repaired[0].0);
}

#[test]
fn rfc8985_7_a_lost_tail_is_probed_and_repaired_by_the_probe() {
    let mut peer = far();
    peer.place(300);
    peer.see_one();
    let probe = peer.wait(250);
    assert_eq!(probe.len(), 1);
    // Two round trips and a delayed ACK.
    assert!((124..=128).contains(&probe[0].0), "{}", probe[0].0);
    assert_eq!(probe[0].1.payload, stream(0, 300));
    assert_eq!(peer.count(Metric::TcpTailProbes), 1);
    peer.sack(300, &[]);
    // The peer goes on: the probe has repaired a loss (section 7.4.2).
    peer.place(300);
    peer.see_one();
    peer.sack(600, &[]);
    assert!(peer.wait(500).is_empty());
    assert_eq!(peer.count(Metric::TcpTimeouts), 0);
    assert_eq!(peer.count(Metric::TcpTailProbesNeedless), 0);
}

#[test]
fn rfc8985_7_the_whole_small_tail_goes_into_the_probe() {
    let mut peer = unbundled();
    for _ in 0..3 {
        peer.place(300);
        peer.see_one();
        wait(&mut peer, 5);
    }
    let probe = peer.wait(200);
    assert_eq!(probe.len(), 1);
    assert_eq!(probe[0].1.payload, stream(0, 900));
}

#[test]
fn rfc8985_7_a_needless_probe_is_known_by_dsack_and_the_next_one_is_later() {
    let mut peer = far();
    peer.place(300);
    peer.see_one();
    assert_eq!(peer.wait(150).len(), 1);
    peer.sack(300, &[]);
    peer.sack(300, &[(0, 300)]);
    assert_eq!(peer.count(Metric::TcpTailProbesNeedless), 1);
    peer.place(300);
    peer.see_one();
    // 45 ms for the delayed ACK have become 90.
    let probe = peer.wait(300);
    assert!(probe[0].0 >= 168, "{}", probe[0].0);
}

#[test]
fn rfc8985_7_3_new_data_is_the_better_probe() {
    let mut peer = far();
    peer.window = 3_000;
    peer.sack(0, &[]);
    peer.place(2_500);
    assert_eq!(peer.see().len(), 3);
    peer.place(400);
    let next = peer.see_one();
    assert_eq!(runs(&peer, &[next]), [(2_500, 2_900)]);
    // Nothing unsent: the tail goes again.
    let probe = peer.wait(100);
    assert_eq!(runs(&peer, &[probe[0].1.clone()]), [(2_000, 2_900)]);
}

#[test]
fn rfc3522_a_late_acknowledgement_takes_the_timeout_back() {
    let mut peer = far_with_timestamps();
    peer.place(9 * 988);
    let sent = peer.see();
    assert_eq!(sent.len(), 9);
    let (value, _) = sent[0].segment.options.timestamps.unwrap();
    // The path stops for 400 ms: a probe, then a timeout.
    let again = peer.wait(400);
    assert!(!again.is_empty());
    assert_eq!(peer.count(Metric::TcpTimeouts), 1);
    // The acknowledgement of the originals, held up.
    peer.echo = value;
    peer.sack(4 * 988, &[]);
    peer.sack(9 * 988, &[]);
    assert_eq!(peer.count(Metric::TcpUndone), 1);
    assert!(peer.see().is_empty());
    // The window is what it was.
    peer.place(20 * 988);
    assert!(peer.see().len() >= 10);
}

#[test]
fn rfc3708_dsack_takes_a_needless_repair_back() {
    let mut peer = unbundled();
    peer.place(10_000);
    assert_eq!(peer.see().len(), 10);
    wait(&mut peer, 40);
    peer.sack(0, &[(1_000, 4_000)]);
    see_runs(&mut peer, &[(0, 1_000)]);
    // It was late, and the repair arrived as well.
    peer.sack(10_000, &[]);
    peer.sack(10_000, &[(0, 1_000)]);
    assert_eq!(peer.count(Metric::TcpUndone), 1);
    assert_eq!(peer.count(Metric::TcpDsacksIn), 1);
    peer.place(20_000);
    assert!(peer.see().len() >= 10);
}

#[test]
fn rfc2018_8_what_was_reported_and_is_gone_goes_again() {
    let mut peer = far();
    peer.place(5_000);
    assert_eq!(peer.see().len(), 5);
    wait(&mut peer, 40);
    peer.sack(0, &[(1_000, 5_000)]);
    see_runs(&mut peer, &[(0, 1_000)]);
    wait(&mut peer, 40);
    // The peer has thrown away all but the first.
    peer.sack(1_000, &[]);
    let mut have = 1_000;
    for _ in 0..3_000 {
        for (_, one) in peer.wait(1) {
            let (from, to) = runs(&peer, &[one])[0];
            if from <= have && to > have {
                have = to;
                peer.sack(have as u32, &[]);
            }
        }
    }
    assert_eq!(have, 5_000);
}

#[test]
fn nonsense_blocks_mean_nothing() {
    let mut peer = far();
    peer.place(4_000);
    assert_eq!(peer.see().len(), 4);
    wait(&mut peer, 40);
    // Beyond what was sent, upside down, below SND.UNA, empty, half the sequence space.
    peer.sack(0, &[(4_000, 90_000), (3_000, 1_000), (0, 0)]);
    peer.sack(
        0,
        &[(0, 1 << 31), (u32::MAX - 9_000, u32::MAX - 8_000), (5, 5)],
    );
    see_runs(&mut peer, &[]);
    assert_eq!(peer.count(Metric::TcpFastRetransmits), 0);
    peer.sack(4_000, &[]);
    assert!(peer.wait(500).is_empty());
}

#[test]
fn rfc6937_in_recovery_less_goes_in_than_comes_out() {
    let mut peer = far();
    for round in 0..2 {
        peer.place(10_000);
        peer.see();
        wait(&mut peer, 40);
        peer.sack((round + 1) * 10_000, &[]);
    }
    let una = 20_000;
    peer.place(100_000);
    let flight = peer.wait(39).len() + peer.see().len();
    assert!(flight >= 12);
    wait(&mut peer, 1);
    let mut sent = 0;
    for segment in 1..flight as u32 {
        peer.sack(una, &[(una + 1_000, una + (segment + 1) * 1_000)]);
        sent += peer.see().len();
    }
    // CUBIC leaves seven tenths.
    assert!(
        sent >= flight / 2 && sent <= flight * 8 / 10 + 2,
        "{sent} of {flight}"
    );
}

#[test]
fn rfc3042_two_duplicates_let_new_data_out() {
    let mut peer = Peer::open_plain();
    peer.place(20_000);
    assert_eq!(peer.see().len(), 10);
    for _ in 0..2 {
        peer.sack(0, &[]);
        assert!(peer.see_one().segment.seq.since(peer.theirs) >= 10_000);
    }
    peer.sack(0, &[]);
    see_runs(&mut peer, &[(0, 1_000)]);
}

#[test]
fn small_lost_segments_go_again_as_one() {
    let mut peer = unbundled();
    for _ in 0..8 {
        peer.place(100);
        peer.see_one();
        wait(&mut peer, 10);
    }
    // A blackout: probe and timeout, the first of which already holds everything.
    let again = peer.wait(1_000);
    assert_eq!(again[0].1.payload, stream(0, 800));
}

#[test]
fn thin_streams_on_lossy_paths_repair_losses_with_the_next_event() {
    let mut peer = far();
    // Nothing was lost yet: nothing goes twice.
    for event in 0..3u32 {
        peer.place(200);
        assert_eq!(peer.see_one().payload.len(), 200);
        wait(&mut peer, 30);
        peer.sack(event * 200, &[]);
    }
    peer.sack(600, &[]);
    // A loss, repaired by a probe.
    peer.place(200);
    peer.see_one();
    peer.wait(200);
    peer.sack(800, &[]);
    peer.place(200);
    peer.see_one();
    wait(&mut peer, 20);
    peer.sack(1_000, &[]);
    // From now on an event takes along what is unacknowledged before it.
    peer.place(200);
    peer.see_one();
    wait(&mut peer, 50);
    peer.place(200);
    see_runs(&mut peer, &[(1_000, 1_400)]);
    wait(&mut peer, 50);
    peer.place(200);
    see_runs(&mut peer, &[(1_000, 1_600)]);
    assert_eq!(peer.count(Metric::TcpBundles), 2);
    // As far as a segment goes.
    wait(&mut peer, 50);
    peer.place(500);
    see_runs(&mut peer, &[(1_600, 2_100)]);
    // The duplicates that this makes are nobody's fault.
    let before = peer.count(Metric::TcpDsacksIn);
    peer.sack(2_100, &[(1_000, 1_200)]);
    assert_eq!(peer.count(Metric::TcpDsacksIn), before);
    assert!(peer.wait(300).is_empty());
}

#[test]
fn rfc3168_a_mark_is_echoed_until_it_was_answered() {
    let mut peer = Peer::new();
    let setup = Flags {
        ece: true,
        cwr: true,
        ..SYN
    };
    let answer = peer.connect_with(setup, Options::default());
    assert!(answer.segment.flags.ece && !answer.segment.flags.cwr);
    assert!(!answer.segment.flags.ect);
    let start = ISS + 1;
    let marked = Flags { ce: true, ..ACK };
    peer.send(marked, start, peer.theirs, b"one");
    peer.send(ACK, start + 3, peer.theirs, b"two");
    assert!(peer.see_one().segment.flags.ece);
    peer.place(100);
    let data = peer.see_one();
    assert!(data.segment.flags.ece && data.segment.flags.ect);
    let reduced = Flags { cwr: true, ..ACK };
    peer.send(reduced, start + 6, peer.theirs + 100, b"three");
    peer.send(ACK, start + 11, peer.theirs + 100, b"four");
    assert!(!peer.see_one().segment.flags.ece);
    assert_eq!(peer.count(Metric::TcpEcnMarks), 1);
}

#[test]
fn rfc3168_an_echo_shrinks_the_window_once_a_round_trip() {
    let mut peer = Peer::new();
    let setup = Flags {
        ece: true,
        cwr: true,
        ..SYN
    };
    let options = Options {
        mss: Some(1000),
        ..Options::default()
    };
    peer.connect_with(setup, options);
    peer.place(60_000);
    assert_eq!(peer.see().len(), 10);
    let echo = Flags { ece: true, ..ACK };
    let start = ISS + 1;
    peer.send(echo, start, peer.theirs + 1_000, b"");
    peer.send(echo, start, peer.theirs + 2_000, b"");
    // Seven tenths of ten segments, of which eight are in flight.
    peer.see_nothing();
    peer.send(echo, start, peer.theirs + 5_000, b"");
    let next = peer.see();
    assert!(next[0].segment.flags.cwr && !next[1].segment.flags.cwr);
    assert_eq!(peer.count(Metric::TcpEcnReductions), 1);
    // Without the agreement of the handshake it means nothing.
    let mut other = Peer::open();
    other.place(60_000);
    other.see();
    other.send(echo, start, other.theirs + 1_000, b"");
    assert_eq!(other.count(Metric::TcpEcnReductions), 0);
    assert!(!other.see().is_empty());
}

#[test]
fn more_than_ten_segments_do_not_leave_at_once() {
    let mut peer = far();
    let mut una = 0;
    for _ in 0..3 {
        peer.place(40_000);
        let sent: usize = peer.wait(39).len() + peer.see().len();
        wait(&mut peer, 1);
        una += sent as u32 * 1_000;
        peer.sack(una, &[]);
    }
    peer.place(15_000);
    let mut bursts = vec![peer.see().len()];
    let first = bursts[0];
    assert_eq!(first, 10);
    for _ in 0..40 {
        wait(&mut peer, 1);
        bursts.push(peer.see().len());
    }
    assert!(bursts.iter().all(|&burst| burst <= 10), "{bursts:?}");
    assert!(bursts.iter().sum::<usize>() >= 15, "{bursts:?}");
    // An idle millisecond between two bursts, at the least.
    assert_eq!(bursts[1], 0, "{bursts:?}");
}

#[test]
fn every_segment_is_repaired_when_the_pool_of_records_is_empty() {
    let mut peer = far_with(Config {
        connections_max: 1,
        bundling: false,
        ..config()
    });
    peer.tcp.flights = crate::tcp::flight::Flights::new(1, 0);
    peer.place(8_000);
    assert_eq!(peer.see().len(), 8);
    assert!(peer.count(Metric::TcpFlightPoolFull) >= 7);
    let mut have = 0;
    for _ in 0..20_000 {
        for (_, one) in peer.wait(1) {
            let (from, to) = runs(&peer, &[one])[0];
            if from <= have && to > have {
                have = to;
                peer.sack(have as u32, &[]);
            }
        }
    }
    assert_eq!(have, 8_000);
}

/// What comes faster than an eighth of a round trip is repaired by SACK, not by bundling.
#[test]
fn a_fast_stream_takes_nothing_along() {
    let mut peer = far();
    peer.place(4_000);
    assert_eq!(peer.see().len(), 4);
    wait(&mut peer, 40);
    peer.sack(0, &[(1_000, 4_000)]);
    see_runs(&mut peer, &[(0, 1_000)]);
    wait(&mut peer, 40);
    peer.sack(4_000, &[]);
    peer.place(100);
    peer.see_one();
    wait(&mut peer, 2);
    peer.place(100);
    see_runs(&mut peer, &[(4_100, 4_200)]);
    wait(&mut peer, 10);
    peer.place(100);
    see_runs(&mut peer, &[(4_000, 4_300)]);
}

/// What RACK knows is measured in 71 minutes at most (RFC 8985 section 6.2): older is nothing.
#[test]
fn a_loss_before_a_long_silence_says_nothing_of_what_follows() {
    let mut peer = unbundled();
    peer.place(5_000);
    assert_eq!(peer.see().len(), 5);
    wait(&mut peer, 40);
    peer.sack(0, &[(1_000, 5_000)]);
    see_runs(&mut peer, &[(0, 1_000)]);
    wait(&mut peer, 40);
    peer.sack(5_000, &[]);
    see_runs(&mut peer, &[]);
    wait(&mut peer, 40 * 60_000);
    peer.place(3_000);
    assert_eq!(peer.see().len(), 3);
    wait(&mut peer, 40);
    // The one in the middle has arrived: the third was sent behind it.
    peer.sack(5_000, &[(6_000, 7_000)]);
    assert_eq!(peer.wait(20).len(), 1);
    assert_eq!(peer.count(Metric::TcpBytesLost), 2_000);
}

/// A peer without SACK may not make up more duplicates than segments (RFC 5681 section 3.2): each would
/// let one go.
#[test]
fn duplicates_that_are_made_up_let_nothing_go() {
    let mut peer = Peer::new();
    let options = Options {
        mss: Some(1000),
        ..Options::default()
    };
    peer.connect_after(40, options);
    let (seq, ack) = (ISS + 1, peer.theirs);
    let offer = |peer: &mut Peer, window| {
        peer.window = window;
        peer.send(ACK, seq, ack, b"");
    };
    offer(&mut peer, 10_000);
    peer.place(60_000);
    assert_eq!(peer.see().len(), 10);
    wait(&mut peer, 40);
    for _ in 0..60 {
        offer(&mut peer, 10_000);
        peer.see();
    }
    assert_eq!(peer.count(Metric::TcpFastRetransmits), 1);
    offer(&mut peer, 60_000);
    let (seen, burst) = (peer.see().len(), peer.wait(30).len());
    assert!(seen + burst <= 8, "{seen} {burst}");
}

/// RFC 6675 section 4, NextSeg: new data does not take the place of what is lost.
#[test]
fn small_news_does_not_overtake_a_repair_that_waits_for_room() {
    let mut peer = unbundled();
    peer.place(3_000);
    assert_eq!(peer.see().len(), 3);
    for _ in 0..10 {
        peer.place(400);
        peer.see_one();
    }
    wait(&mut peer, 40);
    for end in [3_400, 3_800, 4_200] {
        see_runs(&mut peer, &[]);
        peer.sack(0, &[(3_000, end)]);
    }
    see_runs(&mut peer, &[(0, 1_000)]);
    let mut sent = Vec::new();
    for end in [4_600, 5_000, 5_400, 5_800, 6_200, 6_600, 7_000] {
        peer.place(300);
        peer.sack(0, &[(3_000, end)]);
        let seen = peer.see();
        sent.extend(runs(&peer, &seen));
    }
    assert!(sent.len() >= 2, "{sent:?}");
    assert_eq!(sent[..2], [(1_000, 2_000), (2_000, 3_000)], "{sent:?}");
}
