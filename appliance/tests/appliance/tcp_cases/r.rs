//! Receiving: what the server takes, drops and acknowledges of what a connection's peer, or somebody
//! who pretends to be it, sends.

use std::time::{Duration, Instant};

use super::conn::{Conn, PATIENCE, ms};
use super::net::Net;
use super::peer::{FULL, Offer, PLAIN, SACK};
use super::random::Random;
use super::segment::{ACK, Opt, PSH, RST, SYN, Seg, URG};
use super::{Outcome, holds, ws};

/// Pure ACKs may be limited to one in this time (RFC 5961 7), and so must attempts to see one.
const BETWEEN_CHALLENGES: Duration = ms(600);

/// What "at once" may take: less than any delayed ACK.
const AT_ONCE: Duration = ms(25);

/// An upgraded connection with nothing on its way.
fn quiet<'n>(net: &'n Net, offer: &Offer) -> Result<Conn<'n>, String> {
    let mut conn = Conn::echo(net, offer)?;
    conn.drain(ms(60))?;
    Ok(conn)
}

/// Sends segments and waits for an ACK of exactly RCV.NXT as it was, the sign of a segment that was
/// not taken.
fn expect_ack(conn: &Conn<'_>, seg: &Seg, what: &str) -> Result<Seg, String> {
    conn.send(seg);
    let answer = conn.peer.expect(what, ms(1000))?;
    let right = answer.is(ACK) && answer.len() == 0 && answer.ack == conn.nxt;
    if right {
        Ok(answer)
    } else {
        Err(format!("expected {what} with ACK={}: {answer}", conn.nxt))
    }
}

/// The offered window behind the last ACK, in bytes.
fn offered(conn: &Conn<'_>, ack: &Seg) -> u32 {
    u32::from(ack.window) << conn.syn_ack.scale().unwrap_or(0)
}

/// RFC 9293 3.8.6.3, RFC 5681 4.2.
pub fn r01(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let message = ws::message(b"alone");
    let sent = Instant::now();
    conn.put(&message[..3]);
    conn.all_acked(ms(500))?;
    let took = sent.elapsed().as_millis();
    conn.put(&message[3..]);
    conn.echoed(b"alone", PATIENCE)?;
    conn.abort();
    Ok(format!("after {took} ms"))
}

/// RFC 5681 4.2, RFC 9293 SHLD-18.
pub fn r02(net: &Net) -> Outcome {
    let mut conn = quiet(net, &SACK)?;
    let message = ws::message(&ws::pattern(40_000));
    let mut acked = 0;
    let pairs = message.chunks(2 * 1460);
    let count = pairs.len() - 1;
    for pair in pairs.take(count) {
        conn.put(pair);
        acked += usize::from(conn.all_acked(AT_ONCE).is_ok());
        conn.all_acked(PATIENCE)?;
    }
    conn.abort();
    ensure!(
        acked + 2 >= count,
        "{acked} of {count} pairs were acknowledged at once"
    );
    Ok(format!("{acked} of {count} pairs"))
}

/// RFC 5681 4.2, RFC 2018 3 and 4.
pub fn r03(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let (mut fastest, mut blocks_right) = (PATIENCE, true);
    for _ in 0..3 {
        let message = ws::message(b"out of order");
        let late = conn.data(5, &message[5..]);
        let sent = Instant::now();
        let answer = expect_ack(&conn, &late, "a duplicate ACK")?;
        fastest = fastest.min(sent.elapsed());
        blocks_right &= answer.sack() == [(late.seq, late.end())];
        ensure!(blocks_right, "SACK blocks: {answer}");
        conn.send(&conn.data(0, &message[..5]));
        conn.nxt = late.end();
        conn.echoed(b"out of order", PATIENCE)?;
        conn.all_acked(PATIENCE)?;
        conn.drain(ms(60))?;
    }
    ensure!(fastest < AT_ONCE, "the duplicate ACK took {fastest:?}");
    conn.abort();
    holds()
}

/// RFC 2018 4.
pub fn r04(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let payload = ws::pattern(60);
    let message = ws::message(&payload);
    let piece = |conn: &Conn<'_>, n: u32| {
        let start = n as usize * 10;
        conn.data(n * 10, &message[start..start + 10])
    };
    let mut expected = Vec::new();
    // The last one grows a block that was there.
    for n in [3, 1, 5] {
        let seg = piece(&conn, n);
        expected.insert(0, (seg.seq, seg.end()));
        let answer = expect_ack(&conn, &seg, "a duplicate ACK")?;
        ensure!(answer.sack() == expected, "expected {expected:?}: {answer}");
    }
    let seg = piece(&conn, 2);
    let answer = expect_ack(&conn, &seg, "a duplicate ACK")?;
    let grown = (conn.nxt.wrapping_add(10), conn.nxt.wrapping_add(40));
    ensure!(
        answer.sack().first() == Some(&grown),
        "expected {grown:?} first: {answer}"
    );
    conn.put(&message);
    conn.echoed(&payload, PATIENCE)?;
    conn.abort();
    holds()
}

/// RFC 9293 3.10.7.4, RFC 2883 4.
pub fn r05(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let message = ws::message(b"once");
    let first = conn.data(0, &message[..6]);
    conn.put(&message[..6]);
    conn.all_acked(PATIENCE)?;
    let sent = Instant::now();
    let answer = expect_ack(&conn, &first, "an ACK of a duplicate")?;
    let took = sent.elapsed();
    let duplicate = (first.seq, first.end());
    let told = answer.sack().first() == Some(&duplicate);
    conn.put(&message[6..]);
    conn.echoed(b"once", PATIENCE)?;
    conn.lives("a duplicate")?;
    ensure!(told, "no DSACK of {duplicate:?}: {answer}");
    conn.abort();
    Ok(format!("after {} ms, with DSACK", took.as_millis()))
}

/// Ranges of the message, sent in this order, that overlap in every way there is: over the front, over
/// the back, inside, around, the same, across two.
const OVERLAPS: [(usize, usize); 11] = [
    (20, 40),
    (30, 50),
    (15, 25),
    (25, 35),
    (20, 40),
    (60, 70),
    (55, 75),
    (45, 60),
    (80, 90),
    (10, 85),
    (5, 12),
];

/// Sends `OVERLAPS` of `message`, each in the words of `version`, and then all of it.
fn overlap(
    conn: &mut Conn<'_>,
    message: &[u8],
    version: impl Fn(usize, u8) -> u8,
) -> Result<(), String> {
    for (index, (start, end)) in OVERLAPS.iter().enumerate() {
        let bytes: Vec<u8> = message[*start..*end]
            .iter()
            .map(|byte| version(index, *byte))
            .collect();
        conn.send(&conn.data(*start as u32, &bytes));
    }
    conn.drain(ms(20))?;
    let whole = conn.data(0, message);
    conn.send(&whole);
    conn.nxt = whole.end();
    Ok(())
}

/// RFC 9293 3.10.7.4.
pub fn r06(net: &Net) -> Outcome {
    for offer in [FULL, PLAIN] {
        let mut conn = quiet(net, &offer)?;
        let payload = ws::pattern(94);
        overlap(&mut conn, &ws::message(&payload), |_, byte| byte)?;
        conn.echoed(&payload, PATIENCE)?;
        conn.lives("overlapping segments")?;
        conn.abort();
    }
    holds()
}

/// RFC 9293 3.10.7.4.
pub fn r07(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let payload = ws::pattern(94);
    let message = ws::message(&payload);
    // All overlaps begin behind the frame's header but the last one, which stays as it is.
    let other = |index: usize, byte: u8| {
        if index == 10 {
            byte
        } else {
            byte ^ (index as u8)
        }
    };
    overlap(&mut conn, &message, other)?;
    let (first, echo) = conn.frame(PATIENCE)?;
    ensure!(
        first == 0x82 && echo.len() == payload.len(),
        "{} bytes came back",
        echo.len()
    );
    conn.lives("segments that contradict each other")?;
    conn.abort();
    let changed = echo.iter().zip(&payload).filter(|(a, b)| a != b).count();
    Ok(format!("{changed} of 94 bytes in an earlier version"))
}

/// RFC 9293 3.4.
pub fn r08(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let message = ws::message(b"begins early");
    conn.put(&message[..8]);
    conn.all_acked(PATIENCE)?;
    let mut seg = conn.data(0, &message[3..]);
    seg.seq = conn.nxt.wrapping_sub(5);
    conn.send(&seg);
    conn.nxt = seg.end();
    conn.echoed(b"begins early", PATIENCE)?;
    conn.abort();
    holds()
}

/// RFC 9293 3.10.7.4, first.
pub fn r09(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let window = offered(&conn, &conn.syn_ack).max(1 << 21);
    for offset in [window + 100_000, 0_u32.wrapping_sub(50_000)] {
        let seg = conn.data(offset, b"out of the window");
        expect_ack(&conn, &seg, "an ACK of RCV.NXT")?;
        conn.drain(BETWEEN_CHALLENGES)?;
    }
    conn.lives("segments outside the window")?;
    conn.abort();
    holds()
}

/// RFC 9293 3.10.7.4.
pub fn r10(net: &Net) -> Outcome {
    let mut conn = quiet(net, &SACK)?;
    conn.put(&ws::message(b"ask")[..3]);
    let ack = conn.pump(PATIENCE)?.ok_or("no ACK")?;
    let edge = offered(&conn, &ack);
    let seg = conn.data(edge - 100, &[0; 200]);
    let across = expect_ack(&conn, &seg, "an ACK")?;
    let beyond = conn.data(edge + 300, &[0; 200]);
    let answer = expect_ack(&conn, &beyond, "an ACK")?;
    let taken = |seq: u32| {
        let held = |(start, end): &(u32, u32)| seq.wrapping_sub(*start) < end.wrapping_sub(*start);
        answer.sack().iter().any(held)
    };
    ensure!(
        !taken(beyond.seq),
        "a segment beyond the window was taken: {answer}"
    );
    conn.abort();
    let taken = match across.sack().first() {
        None => "all of it was dropped".to_owned(),
        Some((start, end)) => format!("{} of 200 bytes taken", end.wrapping_sub(*start)),
    };
    Ok(format!("100 bytes inside, 100 outside: {taken}"))
}

/// RFC 9293 3.10.7.4, fifth.
pub fn r11(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let message = ws::message(b"acknowledged");
    let mut seg = conn.data(0, &message);
    seg.flags = PSH;
    conn.send(&seg);
    conn.drain(ms(300))?;
    ensure!(
        conn.una == conn.nxt && conn.next_frame().is_none(),
        "it was taken"
    );
    conn.put(&message);
    conn.echoed(b"acknowledged", PATIENCE)?;
    conn.abort();
    holds()
}

/// RFC 9293 3.10.7.4, fifth.
pub fn r12(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let message = ws::message(b"foretold");
    let mut seg = conn.data(0, &message);
    seg.ack = conn.rcv.wrapping_add(10_000);
    expect_ack(&conn, &seg, "an ACK")?;
    conn.drain(ms(100))?;
    ensure!(conn.next_frame().is_none(), "the payload was taken");
    conn.put(&message);
    conn.echoed(b"foretold", PATIENCE)?;
    conn.abort();
    holds()
}

/// RFC 5961 5.
pub fn r13(net: &Net) -> Outcome {
    let mut conn = quiet(net, &PLAIN)?;
    let message = ws::message(b"too old");
    let mut seg = conn.data(0, &message);
    seg.ack = conn.rcv.wrapping_sub(200_000);
    expect_ack(&conn, &seg, "an ACK")?;
    conn.drain(ms(100))?;
    ensure!(conn.next_frame().is_none(), "the payload was taken");
    conn.put(&message);
    conn.echoed(b"too old", PATIENCE)?;
    conn.abort();
    holds()
}

/// RFC 5961 4.
pub fn r14(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    for (what, offset) in [
        ("a SYN at RCV.NXT", 0),
        ("a SYN in the window", 10),
        ("a SYN outside the window", 0_u32.wrapping_sub(100_000)),
        ("the old SYN", conn.iss.wrapping_sub(conn.nxt)),
    ] {
        let mut syn = conn.peer.seg(SYN, conn.nxt.wrapping_add(offset), 0);
        syn.options = FULL.options(conn.ts_now());
        expect_ack(&conn, &syn, &format!("a challenge ACK for {what}"))?;
        conn.drain(BETWEEN_CHALLENGES)?;
        conn.lives(what)?;
        conn.drain(BETWEEN_CHALLENGES)?;
    }
    conn.abort();
    holds()
}

/// RFC 5961 3.
pub fn r15(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    for offset in [1, 1000] {
        let mut rst = conn.seg(RST);
        rst.seq = conn.nxt.wrapping_add(offset);
        expect_ack(&conn, &rst, "a challenge ACK")?;
        conn.drain(BETWEEN_CHALLENGES)?;
    }
    conn.lives("a RST in the window")?;
    conn.abort();
    holds()
}

/// RFC 5961 3.
pub fn r16(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let window = offered(&conn, &conn.syn_ack).max(1 << 21);
    for offset in [
        window + 100_000,
        0_u32.wrapping_sub(1),
        0_u32.wrapping_sub(100_000),
    ] {
        let mut rst = conn.seg(RST);
        rst.seq = conn.nxt.wrapping_add(offset);
        conn.send(&rst);
        conn.peer.silence(ms(300), "a RST outside the window")?;
    }
    conn.lives("RSTs outside the window")?;
    conn.abort();
    holds()
}

/// RFC 9293 3.10.7.4, second; RFC 5961 3.
pub fn r17(net: &Net) -> Outcome {
    let conn = quiet(net, &FULL)?;
    conn.send(&conn.seg(RST));
    conn.peer.silence(ms(100), "the RST")?;
    conn.peer.expect_reset(&conn.data(0, b"later"), PATIENCE)?;
    conn.peer.expect_reset(&conn.seg(ACK), PATIENCE)?;
    holds()
}

/// RFC 5961 7.
pub fn r18(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    for index in 0..400 {
        let mut rst = conn.seg(RST);
        rst.seq = conn.nxt.wrapping_add(1 + index);
        conn.send(&rst);
    }
    let answers = conn.drain(ms(300))?.len();
    ensure!(answers <= 100, "{answers} challenge ACKs for 400 RSTs");
    ensure!(answers >= 1, "no challenge ACK");
    conn.lives("400 RSTs")?;
    conn.abort();
    Ok(format!("{answers} for 400"))
}

/// RFC 9293 3.8.5, MUST-30 and 31.
pub fn r19(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    for pointer in [1, 10, 3000] {
        let payload = ws::pattern(100);
        let message = ws::message(&payload);
        let mut seg = conn.data(0, &message);
        seg.flags |= URG;
        seg.urgent = pointer;
        conn.send(&seg);
        conn.nxt = seg.end();
        conn.echoed(&payload, PATIENCE)?;
    }
    conn.lives("urgent data")?;
    conn.abort();
    holds()
}

/// A segment's timestamps.
fn stamp(seg: &mut Seg, value: u32, echo: u32) {
    seg.options = vec![Opt::Nop, Opt::Nop, Opt::Ts(value, echo)];
}

/// RFC 7323 5.3, R1.
pub fn r20(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let recent = conn.ts_recent.ok_or("no timestamps")?;
    let message = ws::message(b"in time");
    let mut old = conn.data(0, &message);
    stamp(&mut old, conn.ts_now().wrapping_sub(100_000), recent);
    expect_ack(&conn, &old, "an ACK of an old segment")?;
    conn.drain(ms(100))?;
    ensure!(conn.next_frame().is_none(), "an old segment was taken");
    conn.put(&message);
    conn.echoed(b"in time", PATIENCE)?;
    conn.drain(ms(100))?;
    let mut rst = conn.seg(RST);
    stamp(&mut rst, conn.ts_now().wrapping_sub(100_000), recent);
    conn.send(&rst);
    conn.peer.silence(ms(100), "a RST with an old timestamp")?;
    conn.peer.expect_reset(&conn.seg(ACK), PATIENCE)?;
    holds()
}

/// RFC 7323 4.3.
pub fn r21(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let recent = conn.ts_recent.ok_or("no timestamps")?;
    let base = conn.ts_now().wrapping_add(1000);
    let message = ws::message(&ws::pattern(30));
    let echo_of = |conn: &mut Conn<'_>, offset: u32, after: u32| {
        let bytes = &message[offset as usize..offset as usize + 5];
        let mut seg = conn.data(0, bytes);
        seg.seq = conn.nxt.wrapping_add(offset);
        stamp(&mut seg, base.wrapping_add(after), recent);
        conn.send(&seg);
        let answer = conn.peer.expect("an ACK", PATIENCE)?;
        let (_, echo) = answer.ts().ok_or("no timestamps in an ACK")?;
        Ok::<u32, String>(echo.wrapping_sub(base))
    };
    let first = echo_of(&mut conn, 0, 1)?;
    ensure!(first == 1, "in order: +{first} instead of +1");
    let beyond = echo_of(&mut conn, 10, 3)?;
    ensure!(beyond == 1, "beyond a hole: +{beyond} instead of +1");
    let filled = echo_of(&mut conn, 5, 2)?;
    ensure!(filled == 2, "hole filled: +{filled} instead of +2");
    conn.abort();
    holds()
}

/// RFC 7323 3.2.
pub fn r22(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let mut seg = conn.data(0, &ws::message(b"no timestamp"));
    seg.options.clear();
    conn.send(&seg);
    let end = seg.end();
    conn.drain(ms(300))?;
    let taken = !conn.stream.ends_with(b"\r\n\r\n");
    let answer = if taken { "taken" } else { "dropped" };
    let mut rst = conn.seg(RST);
    rst.seq = if taken { end } else { conn.nxt };
    conn.send(&rst);
    Ok(answer.to_owned())
}

/// Sends `bytes` in pieces, in the order of `order`, again and again until all are acknowledged.
fn scatter(
    conn: &mut Conn<'_>,
    bytes: &[u8],
    mut order: impl FnMut() -> Vec<(usize, usize)>,
) -> Result<usize, String> {
    let (start, end) = (conn.nxt, conn.nxt.wrapping_add(bytes.len() as u32));
    let mut rounds = 0;
    conn.una = start;
    while conn.una != end {
        ensure!(rounds < 40, "not taken after {rounds} rounds");
        rounds += 1;
        for (index, (from, to)) in order().into_iter().enumerate() {
            let acked = conn.una.wrapping_sub(start) as usize;
            if to > acked {
                conn.nxt = start;
                let seg = conn.data(from as u32, &bytes[from..to]);
                conn.send(&seg);
                conn.nxt = end;
            }
            if index % 16 == 15 {
                while conn.pump(Duration::ZERO)?.is_some() {}
            }
        }
        conn.nxt = end;
        conn.drain(ms(30))?;
    }
    Ok(rounds)
}

/// RFC 9293 3.10.7.4.
pub fn r23(net: &Net) -> Outcome {
    let backwards = |length: usize| move || (0..length).rev().map(|at| (at, at + 1)).collect();
    let mut conn = Conn::open(net, &FULL)?;
    let mut rounds = scatter(&mut conn, ws::REQUEST, backwards(ws::REQUEST.len()))?;
    conn.upgraded()?;
    for payload in [&b"backwards"[..], b"again"] {
        let message = ws::message(payload);
        rounds += scatter(&mut conn, &message, backwards(message.len()))?;
        conn.echoed(payload, PATIENCE)?;
    }
    conn.abort();
    Ok(format!("{rounds} rounds for 3 messages"))
}

/// RFC 9293 3.10.7.4.
pub fn r24(net: &Net) -> Outcome {
    let mut conn = quiet(net, &FULL)?;
    let mut random = Random(24);
    let payloads: Vec<Vec<u8>> = (0..30).map(|_| random.bytes(1000)).collect();
    let bytes: Vec<u8> = payloads
        .iter()
        .flat_map(|payload| ws::message(payload))
        .collect();
    let order = || {
        let (mut pieces, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let end = (at + 1 + random.below(1200)).min(bytes.len());
            pieces.push((at, end));
            if random.below(10) < 3 {
                pieces.push((at.saturating_sub(random.below(200)), end));
            }
            at = end;
        }
        random.shuffle(&mut pieces);
        pieces
    };
    let rounds = scatter(&mut conn, &bytes, order)?;
    for payload in &payloads {
        conn.echoed(payload, PATIENCE)?;
    }
    conn.abort();
    Ok(format!("{rounds} rounds"))
}

/// CVE-2018-5390.
pub fn r25(net: &Net) -> Outcome {
    let attacker = quiet(net, &PLAIN)?;
    let mut other = quiet(net, &PLAIN)?;
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        for index in 0..250 {
            let offset = 2 * (round * 250 + index) + 1;
            attacker.send(&attacker.data(offset, b"x"));
        }
        let start = Instant::now();
        other.ask(b"fast?")?;
        slowest = slowest.max(start.elapsed());
    }
    ensure!(slowest < ms(1000), "an echo took {slowest:?}");
    attacker.abort();
    other.abort();
    Ok(format!("slowest echo {} ms", slowest.as_millis()))
}
