//! Sending: what the server sends into windows of all kinds, and how it mends what is lost.

use std::time::{Duration, Instant};

use super::conn::{Conn, PATIENCE, ms};
use super::net::Net;
use super::peer::{FULL, Offer, PLAIN, SACK};
use super::segment::{ACK, Seg, icmp_error};
use super::{Outcome, holds, ws};

/// The shortest retransmission timeout there is, less some slack: what comes sooner did not wait for
/// it. Linux has 200 ms, RFC 6298 a second.
const BEFORE_RTO: Duration = ms(150);

/// Segments of a flight do not leave a longer gap between them, and it ends before any timeout.
const FLIGHT_GAP: Duration = ms(40);

/// Growing enough to be called exponential, with room for a late timer.
fn grows(gaps: &[u128]) -> bool {
    gaps.windows(2).all(|two| two[1] * 10 >= two[0] * 15)
}

/// Waits for the echo of `payload` and ends the connection.
fn finish(mut conn: Conn<'_>, payload: &[u8]) -> Result<(), String> {
    conn.acks = true;
    conn.window = 65_535;
    conn.ack();
    conn.echoed(payload, Duration::from_secs(10))?;
    conn.abort();
    Ok(())
}

/// An upgraded connection that lets the first flight of an echo of `length` bytes come in without
/// acknowledging it; the flight's new segments in order.
fn first_flight<'n>(
    net: &'n Net,
    offer: &Offer,
    payload: &[u8],
) -> Result<(Conn<'n>, Vec<Seg>), String> {
    let mut conn = Conn::echo(net, offer)?;
    conn.drain(ms(60))?;
    conn.acks = false;
    conn.put(&ws::message(payload));
    let (mut flight, mut next) = (Vec::new(), conn.rcv);
    let mut patience = PATIENCE;
    while let Some(seg) = conn.peek(patience)? {
        // Retransmissions (a probe for a lost tail) are not part of it.
        if seg.seq == next && seg.len() > 0 {
            next = seg.end();
            flight.push(seg);
            patience = FLIGHT_GAP;
        }
    }
    ensure!(!flight.is_empty(), "nothing was sent");
    Ok((conn, flight))
}

/// RFC 6928 2.
pub fn s01(net: &Net) -> Outcome {
    let payload = ws::pattern(60_000);
    let (mut conn, flight) = first_flight(net, &PLAIN, &payload)?;
    let bytes: u32 = flight.iter().map(Seg::len).sum();
    // Ten, one for the acknowledged answer to the upgrade, one that probes for a lost tail.
    ensure!(
        bytes <= 12 * 1460,
        "{bytes} bytes in {} segments",
        flight.len()
    );
    flight.iter().for_each(|seg| conn.take(seg));
    finish(conn, &payload)?;
    Ok(format!("{bytes} bytes in {} segments", flight.len()))
}

/// RFC 9293 3.8.6.
pub fn s02(net: &Net) -> Outcome {
    let offer = Offer {
        window: 3000,
        ..PLAIN
    };
    let mut conn = Conn::echo(net, &offer)?;
    let payload = ws::pattern(30_000);
    conn.put(&ws::message(&payload));
    let mut edge = conn.rcv.wrapping_add(3000);
    let mut most = 0;
    loop {
        if let Some((_, echo)) = conn.next_frame() {
            ensure!(echo == payload, "wrong echo");
            break;
        }
        let seg = conn.pump(PATIENCE)?.ok_or("no echo")?;
        let beyond = seg.end().wrapping_sub(edge).cast_signed();
        ensure!(beyond <= 0, "{beyond} bytes beyond the window: {seg}");
        most = most.max(3000 + beyond);
        edge = conn.rcv.wrapping_add(3000);
    }
    conn.abort();
    Ok(format!("at most {most} of 3000"))
}

/// RFC 9293 3.8.6.1, MUST-36 and 37.
pub fn s03(net: &Net) -> Outcome {
    let mut conn = Conn::echo(net, &PLAIN)?;
    conn.drain(ms(60))?;
    conn.window = 0;
    conn.ack();
    let payload = ws::pattern(5000);
    conn.put(&ws::message(&payload));
    conn.acks = false;
    let start = Instant::now();
    let (mut last, mut gaps) = (start, Vec::new());
    while let Some((at, seg)) = conn
        .peer
        .receive_at(ms(8000).saturating_sub(start.elapsed()))?
    {
        ensure!(seg.len() <= 1, "data into a closed window: {seg}");
        // The ACKs of the message are not probes.
        if seg.len() == 1 || seg.seq != conn.rcv {
            gaps.push(at.duration_since(last).as_millis());
            last = at;
        }
        conn.una = seg.ack;
        conn.ack();
    }
    ensure!(gaps.len() >= 3, "probes after {gaps:?} ms in 8 s");
    ensure!(grows(&gaps[1..]), "probes after {gaps:?} ms");
    finish(conn, &payload)?;
    Ok(format!("after {gaps:?} ms"))
}

/// RFC 9293 3.8.6, SHLD-15 and MUST-34.
pub fn s04(net: &Net) -> Outcome {
    let offer = Offer {
        window: 4000,
        ..PLAIN
    };
    let payload = ws::pattern(20_000);
    let (mut conn, flight) = first_flight(net, &offer, &payload)?;
    let sent = flight.last().ok_or("nothing was sent")?.end();
    // The first segment is taken, and the right edge goes back by 3000.
    conn.take(&flight[0]);
    conn.window = 1000_u16.saturating_sub(flight[0].len() as u16).max(200);
    conn.ack();
    let until = Instant::now() + ms(1500);
    while let Some(seg) = conn.peek(until.saturating_duration_since(Instant::now()))? {
        let new = seg.end().wrapping_sub(sent).cast_signed();
        ensure!(
            new <= 0,
            "{new} new bytes beyond a window that shrank: {seg}"
        );
    }
    flight.iter().for_each(|seg| conn.take(seg));
    finish(conn, &payload)?;
    holds()
}

/// RFC 6298 5.4 to 5.6.
pub fn s05(net: &Net) -> Outcome {
    let mut conn = Conn::echo(net, &PLAIN)?;
    conn.drain(ms(60))?;
    let payload = ws::pattern(100);
    conn.put(&ws::message(&payload));
    conn.acks = false;
    let mut times: Vec<Instant> = Vec::new();
    let mut first: Option<Seg> = None;
    let until = Instant::now() + ms(8000);
    while let Some((at, seg)) = conn
        .peer
        .receive_at(until.saturating_duration_since(Instant::now()))?
    {
        if seg.len() == 0 {
            continue;
        }
        let first = first.get_or_insert_with(|| seg.clone());
        let same = seg.seq == first.seq && seg.payload == first.payload;
        ensure!(same, "other bytes: {seg}");
        times.push(at);
    }
    let gaps: Vec<u128> = times
        .windows(2)
        .map(|two| two[1].duration_since(two[0]).as_millis())
        .collect();
    // The first may be a probe for a lost tail (RFC 8985 7), which is not part of the backoff.
    ensure!(gaps.len() >= 4, "sent again after {gaps:?} ms in 8 s");
    ensure!(grows(&gaps[1..]), "sent again after {gaps:?} ms");
    finish(conn, &payload)?;
    Ok(format!("after {gaps:?} ms"))
}

/// Takes a flight of which the segments in `lost` did not come, as a receiver with SACK does; gives
/// what is sent again or anew within `BEFORE_RTO` of the last of it.
fn lose(
    conn: &mut Conn<'_>,
    flight: &[Seg],
    lost: &[usize],
    wanted: &[u32],
) -> Result<(Vec<Seg>, Duration), String> {
    conn.acks = true;
    for (index, seg) in flight.iter().enumerate() {
        if !lost.contains(&index) {
            conn.take(seg);
        }
    }
    let start = Instant::now();
    let mut again = Vec::new();
    while !wanted
        .iter()
        .all(|seq| again.iter().any(|seg: &Seg| seg.seq == *seq))
    {
        let left = BEFORE_RTO.saturating_sub(start.elapsed());
        let Some(seg) = conn.pump(left)? else {
            return Err(format!(
                "not sent again in {BEFORE_RTO:?}, lost were {lost:?}"
            ));
        };
        again.push(seg);
    }
    Ok((again, start.elapsed()))
}

/// RFC 5681 3.2, RFC 6675 5.
pub fn s06(net: &Net) -> Outcome {
    let payload = ws::pattern(13_000);
    let (mut conn, flight) = first_flight(net, &SACK, &payload)?;
    ensure!(
        flight.len() >= 8,
        "only {} segments in flight",
        flight.len()
    );
    let hole = flight[2].seq;
    let (_, took) = lose(&mut conn, &flight, &[2], &[hole])?;
    finish(conn, &payload)?;
    Ok(format!("after {} ms", took.as_millis()))
}

/// RFC 6675 5, RFC 8985.
pub fn s07(net: &Net) -> Outcome {
    let payload = ws::pattern(13_000);
    let (mut conn, flight) = first_flight(net, &SACK, &payload)?;
    ensure!(
        flight.len() >= 8,
        "only {} segments in flight",
        flight.len()
    );
    let holes = [flight[2].seq, flight[5].seq];
    let (again, took) = lose(&mut conn, &flight, &[2, 5], &holes)?;
    // The last one may be a probe for a lost tail (RFC 8985 7) that crossed our ACKs.
    let known = &flight[..flight.len() - 1];
    let known = |seg: &&Seg| seg.len() > 0 && known.iter().any(|known| known.seq == seg.seq);
    let mut needless = again.iter().filter(known);
    let needless = needless.find(|seg| !holes.contains(&seg.seq));
    if let Some(seg) = needless {
        return Err(format!("sent again although it was SACKed: {seg}"));
    }
    finish(conn, &payload)?;
    Ok(format!("after {} ms", took.as_millis()))
}

/// RFC 2018 8.
pub fn s08(net: &Net) -> Outcome {
    let payload = ws::pattern(13_000);
    let (mut conn, flight) = first_flight(net, &SACK, &payload)?;
    ensure!(
        flight.len() >= 8,
        "only {} segments in flight",
        flight.len()
    );
    let (hole, end) = (flight[2].seq, flight[flight.len() - 1].end());
    conn.take(&flight[0]);
    conn.take(&flight[1]);
    conn.ack();
    for seg in &flight[3..] {
        conn.ack_with(hole, &[(flight[3].seq, seg.end())]);
    }
    // Everything that was SACKed is dropped now; the hole is all that is taken.
    let mut seen = false;
    let until = Instant::now() + ms(6000);
    while !seen {
        let left = until.saturating_duration_since(Instant::now());
        let seg = conn.peek(left)?;
        let seg = seg.ok_or("data that was SACKed and dropped is never sent again")?;
        seen = seg.len() > 0 && seg.seq == flight[3].seq;
        if !seen && seg.seq == hole {
            conn.ack_with(flight[3].seq, &[]);
        }
    }
    ensure!(conn.rcv == hole && end != hole, "a mistake of this case");
    // From here on an ordinary receiver, which has to get everything.
    conn.sack = false;
    conn.take(&flight[2]);
    finish(conn, &payload)?;
    holds()
}

/// RFC 2018 4, RFC 5961.
pub fn s09(net: &Net) -> Outcome {
    let payload = ws::pattern(13_000);
    let (mut conn, flight) = first_flight(net, &SACK, &payload)?;
    ensure!(
        flight.len() >= 4,
        "only {} segments in flight",
        flight.len()
    );
    let (una, end) = (conn.rcv, flight[flight.len() - 1].end());
    for blocks in [
        vec![(end.wrapping_add(1000), end.wrapping_add(3000))],
        vec![(end, una)],
        vec![(una.wrapping_sub(5000), una.wrapping_sub(3000))],
        vec![(una.wrapping_sub(100), una.wrapping_add(100))],
        vec![(una, una)],
        vec![(una, end.wrapping_add(1))],
        vec![(una.wrapping_add(1460), end), (una.wrapping_add(2000), end)],
        vec![(0, u32::MAX), (1 << 31, 0)],
    ] {
        conn.ack_with(una, &blocks);
    }
    conn.drain(ms(100))?;
    flight.iter().for_each(|seg| conn.take(seg));
    conn.acks = true;
    conn.ack();
    conn.echoed(&payload, Duration::from_secs(10))?;
    conn.lives("nonsense SACK blocks")?;
    conn.abort();
    holds()
}

/// RFC 8985 7.
pub fn s10(net: &Net) -> Outcome {
    let mut conn = Conn::echo(net, &SACK)?;
    conn.drain(ms(60))?;
    let payload = ws::pattern(7000);
    let end = conn
        .rcv
        .wrapping_add(ws::unmasked(0x82, &payload).len() as u32);
    conn.put(&ws::message(&payload));
    // All but the last segment are acknowledged as they come.
    let mut lost = None;
    loop {
        let seg = conn.peer.receive_at(PATIENCE)?;
        let (at, seg) = seg.ok_or("never sent again")?;
        match lost {
            _ if seg.len() == 0 || seg.end() != end => conn.take(&seg),
            None => lost = Some(at),
            Some(lost) => {
                conn.abort();
                let took = at.duration_since(lost).as_millis();
                return Ok(format!("after {took} ms"));
            }
        }
    }
}

/// RFC 3465 2.2.
pub fn s11(net: &Net) -> Outcome {
    let payload = ws::pattern(60_000);
    let (mut conn, flight) = first_flight(net, &PLAIN, &payload)?;
    let una = conn.rcv;
    for byte in 1..=100 {
        conn.ack_with(una.wrapping_add(byte), &[]);
    }
    let end = flight[flight.len() - 1].end();
    let segs = conn.drain(ms(30))?;
    let new: u32 = segs
        .iter()
        .filter(|seg| seg.end().wrapping_sub(end).cast_signed() > 0)
        .map(Seg::len)
        .sum();
    conn.abort();
    Ok(format!("100 one-byte ACKs let {new} bytes out"))
}

/// RFC 9293 3.7.4.
pub fn s12(net: &Net) -> Outcome {
    let mut conn = Conn::echo(net, &PLAIN)?;
    conn.drain(ms(60))?;
    conn.acks = false;
    conn.put(&ws::message(b"first"));
    let first = conn.peer.expect("the first echo", PATIENCE)?;
    conn.put(&ws::message(b"second"));
    let start = Instant::now();
    let mut waited = "second echo does not come";
    while let Some(seg) = conn.peek(ms(100).saturating_sub(start.elapsed()))? {
        if seg.len() > 0 && seg.seq != first.seq {
            waited = "second echo comes at once (no Nagle)";
            break;
        }
    }
    conn.abort();
    Ok(waited.to_owned())
}

/// An ICMP error about `seg`, from a router.
fn icmp(conn: &Conn<'_>, seg: &Seg, kind: u8, code: u8, mtu: u16) {
    let router = [10, 78, 0, 1];
    let error = icmp_error(router, seg.from.0, kind, code, mtu, &seg.packet());
    let what = format!("ICMP {kind}/{code} mtu {mtu} about {seg}");
    conn.peer.send_packet(&error, &what);
}

/// The longest segment that is sent again, from `seq` on, within two seconds.
fn sent_again(conn: &mut Conn<'_>, seq: u32) -> Result<Option<u32>, String> {
    let start = Instant::now();
    while let Some(seg) = conn.peek(ms(2000).saturating_sub(start.elapsed()))? {
        if seg.len() > 0 && seg.seq == seq {
            return Ok(Some(seg.len()));
        }
    }
    Ok(None)
}

/// RFC 1191 6.3, RFC 8201, RFC 5927 7.
pub fn s13(net: &Net) -> Outcome {
    let payload = ws::pattern(9000);
    let (mut conn, flight) = first_flight(net, &PLAIN, &payload)?;
    ensure!(
        flight[0].dont_fragment,
        "DF is not set: path MTU cannot be found"
    );
    icmp(&conn, &flight[0], 3, 4, 1000);
    let again = sent_again(&mut conn, flight[0].seq)?;
    ensure!(
        again.is_some_and(|len| len <= 960),
        "MTU 1000: sent again with {again:?} bytes"
    );
    conn.acks = true;
    conn.ack();
    conn.echoed(&payload, Duration::from_secs(10))?;
    conn.drain(ms(30))?;
    conn.put(&ws::message(&payload));
    let longest = conn.drain(ms(50))?.iter().map(Seg::len).max();
    ensure!(longest <= Some(960), "later segments of {longest:?} bytes");
    conn.abort();

    let (mut conn, flight) = first_flight(net, &PLAIN, &payload)?;
    let mut forged = flight[0].clone();
    forged.seq = forged.seq.wrapping_add(1_000_000);
    icmp(&conn, &forged, 3, 4, 600);
    let again = sent_again(&mut conn, flight[0].seq)?;
    ensure!(
        again == Some(1460),
        "forged ICMP: sent again with {again:?} bytes"
    );
    finish(conn, &payload)?;
    Ok(format!("{} bytes after MTU 1000", longest.unwrap_or(0)))
}

/// RFC 5927 5.2, RFC 6633, RFC 1122 4.2.3.9.
pub fn s14(net: &Net) -> Outcome {
    let payload = ws::pattern(5000);
    let (conn, flight) = first_flight(net, &PLAIN, &payload)?;
    for (kind, code) in [
        (3, 0),
        (3, 1),
        (3, 2),
        (3, 3),
        (4, 0),
        (11, 0),
        (11, 1),
        (12, 0),
    ] {
        icmp(&conn, &flight[0], kind, code, 0);
    }
    finish(conn, &payload)?;
    let mut conn = Conn::echo(net, &PLAIN)?;
    let mut idle = flight[0].clone();
    (idle.to, idle.seq) = (conn.peer.address, conn.rcv);
    for code in 0..4 {
        icmp(&conn, &idle, 3, code, 0);
    }
    conn.lives("ICMP errors")?;
    conn.abort();
    holds()
}

/// RFC 9293 3.8.6.2.1.
pub fn s15(net: &Net) -> Outcome {
    let mut conn = Conn::echo(net, &PLAIN)?;
    conn.drain(ms(60))?;
    conn.window = 0;
    conn.ack();
    let payload = ws::pattern(3000);
    conn.put(&ws::message(&payload));
    conn.acks = false;
    let mut tiny = 0;
    for step in 1..=40 {
        let until = Instant::now() + ms(50);
        while let Some(seg) = conn.peek(until.saturating_duration_since(Instant::now()))? {
            tiny += u32::from(seg.len() > 0 && seg.len() < 200);
        }
        conn.window = step * 10;
        conn.ack();
    }
    // 40 steps in 2 s; probes and the override timer (RFC 9293 3.8.6.2.1: 0.1 to 1 s) may send some.
    ensure!(tiny <= 12, "{tiny} tiny segments in 2 s");
    finish(conn, &payload)?;
    Ok(format!("{tiny} tiny segments in 2 s"))
}

/// How much is taken from who does not read.
pub fn s16(net: &Net) -> Outcome {
    const MOST: usize = 24 << 20;
    let mut conn = Conn::echo(net, &FULL)?;
    conn.drain(ms(60))?;
    conn.window = 0;
    conn.ack();
    conn.acks = false;
    let message = ws::message(&ws::pattern(1380));
    let scale = conn.syn_ack.scale().unwrap_or(0);
    let start = conn.nxt;
    let mut edge = conn.nxt.wrapping_add(u32::from(conn.syn_ack.window));
    let mut quiet_since = Instant::now();
    let taken = |conn: &Conn<'_>| conn.nxt.wrapping_sub(start) as usize;
    while quiet_since.elapsed() < ms(1500) && taken(&conn) < MOST && !conn.reset {
        let length = message.len() as u32;
        while edge.wrapping_sub(conn.nxt).cast_signed() >= length.cast_signed() {
            let seg = conn.data(0, &message);
            conn.peer.net.send(&seg.packet());
            conn.nxt = seg.end();
            quiet_since = Instant::now();
        }
        if let Some(seg) = conn.pump(ms(20))?
            && seg.has(ACK)
        {
            edge = seg.ack.wrapping_add(u32::from(seg.window) << scale);
            conn.window = 0;
            conn.ack();
        }
    }
    let took = taken(&conn) >> 10;
    let reset = conn.reset;
    conn.abort();
    ensure!(took < MOST >> 10, "{took} KiB and no end");
    Conn::echo(net, &FULL)?.lives("a reader that stopped")?;
    let end = if reset { "reset" } else { "window closed" };
    Ok(format!("{took} KiB, then {end}"))
}
