//! Closing: FINs in all orders, TIME-WAIT, and what comes too late.

use std::env;
use std::time::{Duration, Instant};

use super::conn::{Conn, PATIENCE, ms};
use super::net::Net;
use super::peer::{FULL, PLAIN};
use super::segment::{ACK, FIN, PSH, RST, SYN};
use super::{Outcome, holds, ws};

/// Pure ACKs in TIME-WAIT may be limited to one in this time.
const BETWEEN_ACKS: Duration = ms(600);

/// An upgraded connection with nothing on its way.
fn quiet(net: &Net) -> Result<Conn<'_>, String> {
    let mut conn = Conn::echo(net, &FULL)?;
    conn.drain(ms(60))?;
    Ok(conn)
}

/// A WebSocket close, up to the server's FIN, which is acknowledged.
fn closed_by_server(net: &Net) -> Result<Conn<'_>, String> {
    let mut conn = quiet(net)?;
    conn.put(&ws::close());
    let (first, payload) = conn.frame(PATIENCE)?;
    ensure!(first == 0x88, "not a close frame: {first:x}");
    ensure!(payload[..2] == [0x03, 0xe8], "another code: {payload:?}");
    conn.wait_fin(PATIENCE)?;
    Ok(conn)
}

/// The server in TIME-WAIT.
fn time_wait(net: &Net) -> Result<Conn<'_>, String> {
    let mut conn = closed_by_server(net)?;
    conn.fin();
    conn.all_acked_finished(PATIENCE)?;
    Ok(conn)
}

impl Conn<'_> {
    /// As `all_acked`, also when the server has finished.
    fn all_acked_finished(&mut self, within: Duration) -> Result<(), String> {
        let until = Instant::now() + within;
        while self.una != self.nxt {
            let left = until.saturating_duration_since(Instant::now());
            if self.reset {
                return Err("reset, expected an ACK of everything".to_owned());
            }
            self.pump(left)?.ok_or("no ACK of everything came")?;
        }
        Ok(())
    }
}

/// RFC 9293 3.6, 3.10.7.4.
pub fn c01(net: &Net) -> Outcome {
    let mut conn = quiet(net)?;
    conn.fin();
    conn.wait_fin(PATIENCE)?;
    conn.all_acked_finished(PATIENCE)?;
    conn.drain(ms(100))?;
    conn.peer
        .expect_reset(&conn.data(0, b"anybody there?"), PATIENCE)?;
    holds()
}

/// RFC 6455 7.1.1, RFC 9293 3.6.
pub fn c02(net: &Net) -> Outcome {
    closed_by_server(net)?.abort();
    holds()
}

/// RFC 6298, RFC 9293 3.6.
pub fn c03(net: &Net) -> Outcome {
    let mut conn = quiet(net)?;
    conn.acks = false;
    conn.put(&ws::close());
    let mut times: Vec<Instant> = Vec::new();
    let until = Instant::now() + ms(8000);
    while let Some((at, seg)) = conn
        .peer
        .receive_at(until.saturating_duration_since(Instant::now()))?
    {
        // The close frame is acknowledged, the FIN is not.
        if seg.len() > 0 && times.is_empty() {
            conn.ack_with(seg.end(), &[]);
        }
        if seg.has(FIN) {
            times.push(at);
        }
    }
    conn.abort();
    let gaps: Vec<u128> = times
        .windows(2)
        .map(|two| two[1].duration_since(two[0]).as_millis())
        .collect();
    ensure!(gaps.len() >= 3, "FIN sent again after {gaps:?} ms in 8 s");
    // The first may be a probe for a lost tail (RFC 8985 7).
    let grows = gaps[1..].windows(2).all(|two| two[1] * 10 >= two[0] * 15);
    ensure!(grows, "FIN sent again after {gaps:?} ms");
    Ok(format!("after {gaps:?} ms"))
}

/// RFC 9293 3.6, figure 13.
pub fn c04(net: &Net) -> Outcome {
    let mut conn = quiet(net)?;
    conn.acks = false;
    conn.put(&ws::close());
    conn.wait_fin(PATIENCE)?;
    let fin_at = conn.rcv.wrapping_sub(1);
    // Our FIN crossed theirs.
    let mut fin = conn.seg(ACK | FIN);
    fin.ack = fin_at;
    conn.send(&fin);
    conn.nxt = conn.nxt.wrapping_add(1);
    let start = Instant::now();
    let (mut acked, mut again) = (false, false);
    while !(acked && again) {
        let left = ms(4000).saturating_sub(start.elapsed());
        let seg = conn.pump(left)?;
        let seg = seg.ok_or(format!(
            "our FIN acknowledged: {acked}, theirs repeated: {again}"
        ))?;
        acked |= seg.ack == conn.nxt;
        again |= seg.has(FIN) && seg.ack == conn.nxt;
        ensure!(!seg.has(RST), "reset in CLOSING");
    }
    conn.ack();
    conn.drain(ms(100))?;
    let late = conn.peek(ms(1500))?;
    ensure!(late.is_none(), "FIN acknowledged, but {}", late.ok_or("")?);
    holds()
}

/// RFC 9293 3.10.7.4, eighth.
pub fn c05(net: &Net) -> Outcome {
    let mut conn = time_wait(net)?;
    for _ in 0..2 {
        conn.drain(BETWEEN_ACKS)?;
        let mut fin = conn.seg(ACK | FIN);
        fin.seq = conn.nxt.wrapping_sub(1);
        conn.send(&fin);
        let answer = conn.peer.expect("an ACK of the repeated FIN", ms(1000))?;
        let right = answer.is(ACK) && answer.ack == conn.nxt;
        ensure!(right, "the repeated FIN got {answer}");
    }
    holds()
}

/// RFC 9293 3.6.1 MAY-2, RFC 6191.
pub fn c06(net: &Net) -> Outcome {
    let mut conn = time_wait(net)?;
    conn.drain(BETWEEN_ACKS)?;
    let mut syn = conn.peer.seg(SYN, conn.nxt.wrapping_add(1000), 0);
    syn.options = FULL.options(conn.ts_now().wrapping_add(1000));
    conn.send(&syn);
    let answer = conn.peek(ms(1000))?;
    conn.abort();
    Ok(match answer {
        Some(seg) if seg.is(SYN | ACK) => "SYN+ACK: a new connection".to_owned(),
        Some(seg) if seg.is(ACK) => "ACK: the old one stays".to_owned(),
        Some(seg) => seg.to_string(),
        None => "no answer".to_owned(),
    })
}

/// RFC 1337.
pub fn c07(net: &Net) -> Outcome {
    let mut conn = time_wait(net)?;
    conn.drain(BETWEEN_ACKS)?;
    conn.send(&conn.seg(RST));
    conn.drain(ms(100))?;
    let mut fin = conn.seg(ACK | FIN);
    fin.seq = conn.nxt.wrapping_sub(1);
    conn.send(&fin);
    Ok(match conn.peek(ms(1000))? {
        Some(seg) if seg.has(RST) => "assassinated".to_owned(),
        Some(_) => "TIME-WAIT stays".to_owned(),
        None => "no answer".to_owned(),
    })
}

/// RFC 9293 3.10.7.4.
pub fn c08(net: &Net) -> Outcome {
    let mut conn = quiet(net)?;
    let message = ws::message(b"before the end");
    let mut fin = conn.data(0, &[]);
    fin.seq = conn.nxt.wrapping_add(message.len() as u32);
    fin.flags = ACK | FIN;
    conn.send(&fin);
    conn.drain(ms(300))?;
    ensure!(
        !conn.finished,
        "the server closed before the hole was filled"
    );
    ensure!(conn.una == conn.nxt, "FIN acknowledged beyond a hole");
    conn.put(&message);
    conn.nxt = conn.nxt.wrapping_add(1);
    conn.echoed(b"before the end", PATIENCE)?;
    conn.wait_fin(PATIENCE)?;
    conn.all_acked_finished(PATIENCE)?;
    holds()
}

/// RFC 9293 3.10.7.4.
pub fn c09(net: &Net) -> Outcome {
    let mut conn = quiet(net)?;
    let mut last = conn.data(0, &ws::message(b"the last"));
    last.flags = ACK | FIN | PSH;
    conn.send(&last);
    conn.nxt = last.end().wrapping_add(1);
    conn.echoed(b"the last", PATIENCE)?;
    conn.wait_fin(PATIENCE)?;
    conn.all_acked_finished(PATIENCE)?;
    holds()
}

/// RFC 9293 3.10.7.4.
pub fn c10(net: &Net) -> Outcome {
    let mut conn = quiet(net)?;
    conn.acks = false;
    conn.fin();
    let end = conn.nxt;
    conn.send(&conn.data(0, &ws::message(b"too late")));
    let mut fin = conn.seg(ACK | FIN);
    fin.seq = end.wrapping_sub(1);
    conn.send(&fin);
    // A FIN in another place is not a second one.
    fin.seq = end.wrapping_add(5);
    conn.send(&fin);
    let start = Instant::now();
    while let Some(seg) = conn.peek(ms(1000).saturating_sub(start.elapsed()))? {
        let beyond = seg.has(ACK) && seg.ack.wrapping_sub(end).cast_signed() > 0;
        ensure!(!beyond, "more than one FIN acknowledged: {seg}");
        ensure!(seg.len() == 0, "an echo of what came after FIN: {seg}");
        if !seg.has(RST) {
            conn.take(&seg);
        }
    }
    ensure!(conn.una == end, "FIN was not acknowledged");
    ensure!(conn.finished, "the server did not close");
    conn.ack();
    holds()
}

/// RFC 9112 9.6.
pub fn c11(net: &Net) -> Outcome {
    let mut seen = Vec::new();
    for request in [
        &b"BREW /coffee HTCPCP/1.0\r\n\r\n"[..],
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut conn = Conn::open(net, &PLAIN)?;
        conn.put(request);
        let start = Instant::now();
        while !conn.finished && !conn.reset {
            let left = PATIENCE.saturating_sub(start.elapsed());
            conn.pump(left)?.ok_or("neither answered nor ended")?;
        }
        let text = String::from_utf8_lossy(&conn.stream).into_owned();
        ensure!(text.starts_with("HTTP/1.1 4"), "not an answer: {text:?}");
        seen.push(text[9..12].to_owned());
        conn.abort();
    }
    Ok(seen.join(", "))
}

/// RFC 9293 3.6.
pub fn c12(net: &Net) -> Outcome {
    let conn = closed_by_server(net)?;
    let span = env::var("TCP_CASES_FIN_WAIT_S")
        .ok()
        .and_then(|text| text.parse().ok());
    let span = Duration::from_secs(span.unwrap_or(70));
    let start = Instant::now();
    if let Some(seg) = conn.peek(span)? {
        let after = start.elapsed().as_secs();
        ensure!(seg.has(RST), "after {after} s: {seg}");
        return Ok(format!("dropped with a RST after {after} s"));
    }
    conn.send(&conn.data(0, b"still there?"));
    let state = match conn.peek(ms(1000))? {
        Some(seg) if seg.has(RST) => "dropped in silence",
        _ => "still there",
    };
    Ok(format!("after {} s: {state}", span.as_secs()))
}
