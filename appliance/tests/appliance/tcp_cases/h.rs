//! The handshake: what a SYN gets, what its options do, and what is not even looked at.

use std::time::Instant;

use super::conn::{Conn, PATIENCE, ms};
use super::net::{CLOSED_PORT, Net, SERVER};
use super::peer::{FULL, Offer, PLAIN, Peer};
use super::segment::{
    ACK, CWR, ECE, FIN, IP, Opt, PSH, RESERVED, RST, SYN, Seg, packet, seal_ip, seal_tcp,
};
use super::{Outcome, holds, ws};

/// What a silence has to last.
const SILENCE: std::time::Duration = ms(400);

/// RFC 9293 3.10.7.2.
pub fn h01(net: &Net) -> Outcome {
    let conn = Conn::open(net, &FULL)?;
    let mss = conn.syn_ack.mss();
    ensure!(mss.is_some(), "no MSS: {}", conn.syn_ack);
    conn.abort();
    Ok(format!("MSS {}", mss.unwrap_or(0)))
}

/// RFC 7323 2.2, 3.2; RFC 2018 2.
pub fn h02(net: &Net) -> Outcome {
    let mut granted = (0, 0, 0);
    for bits in 0..8 {
        let offer = Offer {
            scale: (bits & 1 != 0).then_some(7),
            sack: bits & 2 != 0,
            ts: bits & 4 != 0,
            ..PLAIN
        };
        let conn = Conn::open(net, &offer)?;
        let answer = &conn.syn_ack;
        let (scale, sack, ts) = (answer.scale(), answer.sack_ok(), answer.ts());
        ensure!(
            scale.is_none() || offer.scale.is_some(),
            "window scale: {answer}"
        );
        ensure!(!sack || offer.sack, "SACK permitted: {answer}");
        ensure!(ts.is_none() || offer.ts, "timestamps: {answer}");
        // RFC 7323 3.2: the SYN's value comes back.
        ensure!(
            ts.is_none_or(|(_, echo)| echo == 0x7000_0000),
            "echo: {answer}"
        );
        granted.0 += u32::from(scale.is_some());
        granted.1 += u32::from(sack);
        granted.2 += u32::from(ts.is_some());
        conn.abort();
    }
    let (scale, sack, ts) = granted;
    Ok(format!(
        "granted of 4 offers: scale {scale}, SACK {sack}, timestamps {ts}"
    ))
}

/// The longest payload of segments while `length` bytes are echoed.
fn longest(net: &Net, offer: &Offer, length: usize) -> Result<(u32, usize), String> {
    let mut conn = Conn::echo(net, offer)?;
    let message = ws::pattern(length);
    conn.put(&ws::message(&message));
    let (mut longest, mut header) = (0, 20);
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some((_, echo)) = conn.next_frame() {
            ensure!(echo == message, "wrong echo");
            conn.abort();
            return Ok((longest, header));
        }
        let left = until.saturating_duration_since(Instant::now());
        let seg = conn.pump(left)?.ok_or("no echo")?;
        longest = longest.max(seg.len());
        header = header.max(seg.header_len());
    }
}

/// RFC 9293 3.7.1, MUST-15.
pub fn h03(net: &Net) -> Outcome {
    let offer = Offer { mss: None, ..PLAIN };
    let (longest, _) = longest(net, &offer, 3000)?;
    ensure!(longest <= 536, "{longest} bytes in a segment");
    Ok(format!("{longest} bytes"))
}

/// RFC 6298 5, RFC 1122 4.2.3.1.
pub fn h04(net: &Net) -> Outcome {
    let conn = Conn::half_open(Peer::new(net), &FULL)?;
    let (mut last, mut gaps) = (Instant::now(), Vec::new());
    let until = last + ms(8000);
    while let Some((at, seg)) = conn
        .peer
        .receive_at(until.saturating_duration_since(Instant::now()))?
    {
        ensure!(seg.is(SYN | ACK), "not a SYN+ACK: {seg}");
        ensure!(seg.seq == conn.irs, "another ISN: {seg}");
        gaps.push(at.duration_since(last).as_millis());
        last = at;
    }
    ensure!(gaps.len() >= 2, "repeated after {gaps:?} ms in 8 s");
    let grows = gaps.windows(2).all(|two| two[1] * 10 >= two[0] * 15);
    ensure!(grows, "intervals {gaps:?} ms");
    conn.abort();
    Ok(format!("after {gaps:?} ms"))
}

/// RFC 9293 3.10.7.4.
pub fn h05(net: &Net) -> Outcome {
    let mut conn = Conn::half_open(Peer::new(net), &FULL)?;
    let mut syn = conn.peer.seg(SYN, conn.iss, 0);
    syn.window = FULL.window;
    syn.options = FULL.options(0x7000_0000);
    conn.send(&syn);
    let again = conn.peek(ms(600))?;
    if let Some(again) = &again {
        ensure!(
            again.seq == conn.irs || again.is(ACK),
            "another ISN: {again}"
        );
    }
    conn.ack();
    conn.upgrade()?;
    conn.lives("two SYNs")?;
    conn.abort();
    Ok(again.map_or("no second SYN+ACK".to_owned(), |_| {
        "SYN+ACK again".to_owned()
    }))
}

/// RFC 9293 3.10.7.2.
pub fn h06(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    peer.expect_reset(&peer.seg(ACK, 1000, 77_777), PATIENCE)?;
    holds()
}

/// RFC 9293 3.10.7.2.
pub fn h07(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    peer.expect_reset(&peer.seg(SYN | ACK, 1000, 88_888), PATIENCE)?;
    holds()
}

/// RFC 9293 3.10.7.2.
pub fn h08(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    for (what, flags) in [
        ("RST", RST),
        ("RST+ACK", RST | ACK),
        ("FIN", FIN),
        ("PSH", PSH),
        ("no flag", 0),
    ] {
        let mut seg = peer.seg(flags, 5000, 0);
        if flags & RST == 0 {
            seg.payload = b"data".to_vec();
        }
        peer.send(&seg);
        peer.silence(SILENCE, what)?;
    }
    holds()
}

/// RFC 9293 3.10.7.2.
pub fn h09(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    peer.send(&peer.seg(SYN | FIN, 1000, 0));
    let answer = peer.receive(ms(1000))?;
    Ok(match answer {
        None => "dropped".to_owned(),
        Some(seg) if seg.is(SYN | ACK) => {
            format!(
                "SYN+ACK of SYN{}",
                if seg.ack == 1001 { "" } else { " and FIN" }
            )
        }
        Some(seg) => seg.to_string(),
    })
}

/// RFC 9293 3.10.7.1.
pub fn h10(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    let mut syn = peer.seg(SYN, 1000, 0);
    syn.to.1 = CLOSED_PORT;
    peer.send(&syn);
    let answer = peer.expect("RST+ACK", PATIENCE)?;
    let right = answer.is(RST | ACK) && answer.seq == 0 && answer.ack == 1001;
    ensure!(right, "SYN got {answer}");
    let mut ack = peer.seg(ACK, 1000, 4711);
    ack.to.1 = CLOSED_PORT;
    peer.expect_reset(&ack, PATIENCE)?;
    let mut rst = peer.seg(RST, 1000, 0);
    rst.to.1 = CLOSED_PORT;
    peer.send(&rst);
    peer.silence(SILENCE, "RST")?;
    holds()
}

/// RFC 9293 3.10.7.4.
pub fn h11(net: &Net) -> Outcome {
    let mut conn = Conn::half_open(Peer::new(net), &FULL)?;
    let mut wrong = conn.seg(ACK);
    wrong.ack = conn.rcv.wrapping_add(1000);
    conn.peer.expect_reset(&wrong, PATIENCE)?;
    conn.ack();
    conn.upgrade()?;
    conn.lives("a wrong ACK in SYN-RECEIVED")?;
    conn.abort();
    holds()
}

/// RFC 9293 3.10.7.4, RFC 5961 3.
pub fn h12(net: &Net) -> Outcome {
    let conn = Conn::half_open(Peer::new(net), &FULL)?;
    conn.send(&conn.seg(RST));
    conn.peer.silence(ms(200), "RST")?;
    conn.peer.expect_reset(&conn.seg(ACK), PATIENCE)?;
    holds()
}

/// RFC 9293 3.10.7.4.
pub fn h13(net: &Net) -> Outcome {
    let mut conn = Conn::half_open(Peer::new(net), &FULL)?;
    conn.upgrade()?;
    conn.lives("a handshake ended by data")?;
    conn.abort();
    holds()
}

/// RFC 9293 3.10.7.2.
pub fn h14(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    let mut syn = peer.seg(SYN, 1000, 0);
    syn.options = PLAIN.options(0);
    syn.payload = ws::REQUEST.to_vec();
    peer.send(&syn);
    let syn_ack = peer.expect("SYN+ACK", PATIENCE)?;
    let taken = syn_ack.ack != 1001;
    let mut request = peer.seg(ACK, syn_ack.ack, syn_ack.seq.wrapping_add(1));
    if !taken {
        request.payload = ws::REQUEST.to_vec();
    }
    peer.send(&request);
    let mut answers = Vec::new();
    while let Some(seg) = peer.receive(ms(500))? {
        if seg.seq == syn_ack.seq.wrapping_add(1 + answers.len() as u32) {
            answers.extend(seg.payload);
        }
        let mut ack = peer.seg(ACK, request.end(), 0);
        ack.ack = syn_ack.seq.wrapping_add(1 + answers.len() as u32);
        peer.send(&ack);
    }
    peer.send(&peer.seg(RST, request.end(), 0));
    let once = answers.starts_with(b"HTTP/1.1 101 ") && answers.ends_with(b"\r\n\r\n");
    let taken = if taken {
        "acknowledged"
    } else {
        "left to be sent again"
    };
    Ok(format!(
        "{taken}; {}",
        if once {
            "served once"
        } else {
            "not served once"
        }
    ))
}

/// RFC 9293 3.1, MUST-6.
pub fn h15(net: &Net) -> Outcome {
    let unknown = vec![
        Opt::Raw(vec![253, 4, 1, 2]),
        Opt::Raw(vec![77, 6, 1, 2, 3, 4]),
    ];
    let mut conn = Conn::echo(
        net,
        &Offer {
            extra: unknown.clone(),
            ..FULL
        },
    )?;
    let message = ws::message(b"with options");
    let mut seg = conn.data(0, &message);
    seg.options.extend(unknown);
    conn.send(&seg);
    conn.nxt = seg.end();
    conn.echoed(b"with options", PATIENCE)?;
    conn.abort();
    holds()
}

/// RFC 9293 3.1, MUST-7.
pub fn h16(net: &Net) -> Outcome {
    let illegal: [&[u8]; 5] = [
        &[253, 0, 0, 0],
        &[253, 1, 0, 0],
        &[253, 40, 0, 0],
        &[2, 40, 0, 0],
        &[8, 4, 1, 1],
    ];
    for option in illegal {
        let peer = Peer::new(net);
        let mut syn = peer.seg(SYN, 1000, 0);
        syn.options = vec![Opt::Raw(option.to_vec())];
        peer.send(&syn);
        if let Some(answer) = peer.receive(ms(100))? {
            let mut rst = peer.seg(RST, 1001, 0);
            rst.ack = answer.seq.wrapping_add(1);
            peer.send(&rst);
        }
    }
    let mut conn = Conn::echo(net, &PLAIN)?;
    for option in illegal {
        let mut seg = conn.seg(ACK);
        seg.options = vec![Opt::Raw(option.to_vec())];
        conn.send(&seg);
        let message = ws::message(option);
        let mut seg = conn.data(0, &message);
        seg.options = vec![Opt::Raw(option.to_vec())];
        conn.send(&seg);
        // Once more, if the segment was dropped; a duplicate, if it was not.
        conn.put(&message);
        conn.echoed(option, PATIENCE)?;
    }
    conn.lives("illegal option lengths")?;
    conn.abort();
    holds()
}

/// RFC 9293 3.7.1, MUST-16; options count (RFC 6691 2).
pub fn h17(net: &Net) -> Outcome {
    let mut seen = Vec::new();
    for (mss, offer) in [(100, PLAIN), (536, PLAIN), (100, FULL), (536, FULL)] {
        let offer = Offer {
            mss: Some(mss),
            ..offer
        };
        let (longest, header) = longest(net, &offer, 2000)?;
        let most = u32::from(mss) + 20 - header as u32;
        ensure!(
            longest <= most,
            "MSS {mss}: {longest} bytes behind {header}"
        );
        seen.push(longest);
    }
    Ok(format!("{seen:?} bytes"))
}

/// CVE-2019-11479.
pub fn h18(net: &Net) -> Outcome {
    let mut seen = Vec::new();
    for mss in [0, 1, 8, 47] {
        let offer = Offer {
            mss: Some(mss),
            ..PLAIN
        };
        let Ok(mut conn) = Conn::echo(net, &offer) else {
            seen.push(format!("{mss}: refused"));
            continue;
        };
        let message = ws::pattern(1000);
        conn.put(&ws::message(&message));
        let segs = conn.drain(ms(300))?;
        let count = segs.iter().filter(|seg| seg.len() > 0).count();
        ensure!(conn.next_frame().is_some(), "MSS {mss}: no echo");
        // A thousand bytes, 24 a segment at least.
        ensure!(count <= 42, "MSS {mss}: {count} segments for 1000 bytes");
        let longest = segs.iter().map(Seg::len).max().unwrap_or(0);
        seen.push(format!("{mss}: {longest}"));
        conn.abort();
    }
    Conn::echo(net, &FULL)?.lives("tiny MSS")?;
    Ok(format!("bytes a segment: {}", seen.join(", ")))
}

/// The most in flight when everything is acknowledged at once, round after round.
fn flight(conn: &mut Conn<'_>, length: usize) -> Result<u32, String> {
    let message = ws::pattern(length);
    conn.put(&ws::message(&message));
    conn.acks = false;
    let mut most = 0;
    let until = Instant::now() + PATIENCE;
    loop {
        let acked = conn.rcv;
        conn.drain(ms(30))?;
        most = most.max(conn.rcv.wrapping_sub(acked));
        conn.ack();
        if let Some((_, echo)) = conn.next_frame() {
            ensure!(echo == message, "wrong echo");
            return Ok(most);
        }
        ensure!(Instant::now() < until, "no echo");
    }
}

/// RFC 7323 2.3.
pub fn h19(net: &Net) -> Outcome {
    let mut seen = Vec::new();
    for scale in [14, 15] {
        let offer = Offer {
            scale: Some(scale),
            ..PLAIN
        };
        let mut conn = Conn::half_open(Peer::new(net), &offer)?;
        conn.window = 1;
        conn.ack();
        conn.upgrade()?;
        let most = flight(&mut conn, 60_000)?;
        ensure!(most <= 1 << 14, "scale {scale}: {most} bytes in flight");
        ensure!(most > 1 << 13, "scale {scale}: only {most} bytes in flight");
        seen.push(most);
        conn.abort();
    }
    Ok(format!("in flight at most {seen:?} bytes"))
}

/// RFC 7323 2.2.
pub fn h20(net: &Net) -> Outcome {
    let offer = Offer {
        scale: Some(7),
        window: 2000,
        ..PLAIN
    };
    let mut conn = Conn::half_open(Peer::new(net), &offer)?;
    // 2048 bytes.
    conn.window = 16;
    conn.ack();
    conn.upgrade()?;
    let most = flight(&mut conn, 10_000)?;
    ensure!(most <= 2048, "{most} bytes in flight");
    ensure!(most > 16, "only {most} bytes in flight");
    conn.abort();
    Ok(format!("{most} bytes in flight"))
}

/// RFC 6528 3.
pub fn h21(net: &Net) -> Outcome {
    let mut numbers = Vec::new();
    for _ in 0..16 {
        let conn = Conn::open(net, &FULL)?;
        numbers.push(conn.irs);
        conn.abort();
    }
    let steps: Vec<i32> = numbers
        .windows(2)
        .map(|two| two[1].wrapping_sub(two[0]).cast_signed())
        .collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    ensure!(sorted.len() == 16, "repeated: {numbers:?}");
    // Of 15 random steps, hardly any two are within a 65536th of each other.
    let close = steps
        .windows(2)
        .filter(|two| two[1].wrapping_sub(two[0]).unsigned_abs() < 1 << 16)
        .count();
    ensure!(close <= 1, "steps {steps:?}");
    let ups = steps.iter().filter(|step| **step > 0).count();
    ensure!(
        (1..15).contains(&ups),
        "all steps in one direction: {steps:?}"
    );
    holds()
}

/// RFC 9293 3.1, MUST-3.
pub fn h22(net: &Net) -> Outcome {
    let spoiled = |seg: &Seg, zero: bool| {
        let mut packet = seg.packet();
        if zero {
            packet[IP + 16..IP + 18].fill(0);
        } else {
            packet[IP + 17] ^= 0x10;
        }
        packet
    };
    let peer = Peer::new(net);
    for zero in [false, true] {
        let mut syn = peer.seg(SYN, 1000, 0);
        syn.options = PLAIN.options(0);
        peer.send_packet(&spoiled(&syn, zero), "SYN with a wrong checksum");
        peer.silence(SILENCE, "a SYN with a wrong checksum")?;
    }
    let mut conn = Conn::echo(net, &FULL)?;
    conn.drain(ms(100))?;
    for zero in [false, true] {
        let data = conn.data(0, &ws::message(b"wrong"));
        conn.peer
            .send_packet(&spoiled(&data, zero), "data with a wrong checksum");
        conn.peer.silence(SILENCE, "data with a wrong checksum")?;
        let rst = conn.seg(RST);
        conn.peer
            .send_packet(&spoiled(&rst, zero), "RST with a wrong checksum");
    }
    conn.lives("wrong checksums")?;
    conn.abort();
    holds()
}

/// RFC 1122 3.2.1.2.
pub fn h23(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    let mut syn = peer.seg(SYN, 1000, 0).packet();
    syn[11] ^= 1;
    peer.send_packet(&syn, "SYN with a wrong IPv4 checksum");
    peer.silence(SILENCE, "a SYN with a wrong IPv4 checksum")?;
    let mut conn = Conn::echo(net, &FULL)?;
    let mut rst = conn.seg(RST).packet();
    rst[11] ^= 1;
    conn.peer
        .send_packet(&rst, "RST with a wrong IPv4 checksum");
    conn.lives("a RST with a wrong IPv4 checksum")?;
    conn.abort();
    holds()
}

/// RFC 9293 3.1.
pub fn h24(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    let syn = peer.seg(SYN, 1000, 0);
    let with_offset = |words: u8| {
        let mut tcp = syn.tcp();
        tcp[12] = words << 4;
        seal_tcp(&mut tcp, syn.from.0, syn.to.0);
        packet(syn.from.0, syn.to.0, 6, 0, &[], &tcp)
    };
    let with_length = |length: u16| {
        let mut packet = syn.packet();
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        seal_ip(&mut packet);
        packet
    };
    let with_header = |words: u8| {
        let mut packet = syn.packet();
        packet[0] = 0x40 | words;
        seal_ip(&mut packet);
        packet
    };
    for words in [0, 1, 4, 6, 15] {
        peer.send_packet(&with_offset(words), &format!("data offset {words}"));
    }
    for length in [0, 19, 20, 30, 39, 41, 400, 65_535] {
        peer.send_packet(&with_length(length), &format!("total length {length}"));
    }
    for words in [0, 4, 11, 15] {
        peer.send_packet(&with_header(words), &format!("header length {words}"));
    }
    for length in [1, 10, 19, 20, 21, 30, 39] {
        peer.send_packet(
            &syn.packet()[..length],
            &format!("the first {length} bytes"),
        );
    }
    peer.silence(ms(600), "a malformed segment")?;
    Conn::echo(net, &FULL)?.lives("malformed segments")?;
    holds()
}

/// RFC 9293 3.1, Rsrvd.
pub fn h25(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    let mut syn = peer.seg(SYN | RESERVED & 0xe00, 1000, 0);
    syn.options = PLAIN.options(0);
    peer.send(&syn);
    let answer = peer.expect("SYN+ACK", PATIENCE)?;
    ensure!(
        answer.is(SYN | ACK) && answer.ack == 1001,
        "SYN got {answer}"
    );
    ensure!(
        answer.flags & 0xe00 == 0,
        "reserved bits come back: {answer}"
    );
    peer.send(&peer.seg(RST, 1001, 0));
    let mut conn = Conn::echo(net, &FULL)?;
    let mut data = conn.data(0, &ws::message(b"reserved"));
    data.flags |= RESERVED;
    conn.send(&data);
    conn.nxt = data.end();
    conn.echoed(b"reserved", PATIENCE)?;
    conn.abort();
    holds()
}

/// RFC 3168 6.1.1.
pub fn h26(net: &Net) -> Outcome {
    let peer = Peer::new(net);
    let mut syn = peer.seg(SYN | ECE | CWR, 1000, 0);
    syn.options = PLAIN.options(0);
    peer.send(&syn);
    let answer = peer.expect("SYN+ACK", PATIENCE)?;
    ensure!(answer.has(SYN | ACK), "SYN got {answer}");
    ensure!(!answer.has(CWR), "CWR in the SYN+ACK: {answer}");
    peer.send(&peer.seg(RST, 1001, 0));
    let conn = Conn::open(net, &FULL)?;
    let plain = conn.syn_ack.flags & (ECE | CWR);
    ensure!(plain == 0, "ECN without an offer: {}", conn.syn_ack);
    conn.abort();
    Ok(if answer.has(ECE) {
        "ECN accepted"
    } else {
        "ECN declined"
    }
    .to_owned())
}

/// The broadcast address of the server's subnet.
const DIRECTED: [u8; 4] = [10, 9, 0, 255];

/// RFC 9293 3.10.7.2 MUST-57, RFC 1122 3.2.1.3.
pub fn h27(net: &Net) -> Outcome {
    let odd = [SERVER, [255; 4], [224, 0, 0, 5], [239, 1, 2, 3]];
    let peer = Peer::at(net, net.fresh(), &odd);
    for source in odd {
        let mut syn = peer.seg(SYN, 1000, 0);
        syn.from.0 = source;
        peer.send(&syn);
        if source == SERVER {
            // LAND: its port too.
            syn.from.1 = syn.to.1;
            peer.send(&syn);
        }
        let quiet = peer.receive_packet(SILENCE).is_none();
        ensure!(quiet, "a SYN from {source:?} was answered");
    }
    for (to, mac) in [
        (DIRECTED, [0xff; 6]),
        ([255; 4], [0xff; 6]),
        ([224, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1]),
    ] {
        let mut syn = peer.seg(SYN, 1000, 0);
        syn.to.0 = to;
        let mut frame = net.frame(&syn.packet());
        frame[..6].copy_from_slice(&mac);
        net.send_frame(&frame);
        peer.silence(SILENCE, &format!("a SYN to {to:?}"))?;
    }
    // Only who knows the prefix can tell that this is a broadcast address.
    let peer = Peer::at(net, net.fresh(), &[DIRECTED]);
    let mut syn = peer.seg(SYN, 1000, 0);
    syn.from.0 = DIRECTED;
    peer.send(&syn);
    let answer = match peer.receive_packet(SILENCE) {
        None => "dropped",
        Some(_) => "answered, to the MAC it came from",
    };
    (syn.flags, syn.seq) = (RST, 1001);
    peer.send(&syn);
    Ok(format!(
        "a SYN from the subnet's broadcast address is {answer}"
    ))
}

/// RFC 9293 3.9.2.1.
pub fn h28(net: &Net) -> Outcome {
    let mut seen = Vec::new();
    for (name, options) in [
        ("NOPs", vec![1, 1, 1, 0]),
        ("record route", vec![7, 7, 4, 0, 0, 0, 0, 0]),
    ] {
        let peer = Peer::new(net);
        let mut syn = peer.seg(SYN, 1000, 0);
        syn.options = PLAIN.options(0);
        let packet = packet(syn.from.0, syn.to.0, 6, 0, &options, &syn.tcp());
        peer.send_packet(&packet, name);
        let answer = peer.receive(ms(500))?;
        let answer = match &answer {
            None => "dropped",
            Some(seg) if seg.is(SYN | ACK) => "SYN+ACK",
            Some(_) => "another answer",
        };
        peer.send(&peer.seg(RST, 1001, 0));
        seen.push(format!("{name}: {answer}"));
    }
    Ok(seen.join(", "))
}

/// A segment in fragments that begin at `cuts` (in units of eight bytes) and are `longer` bytes
/// longer than they need be.
fn fragments(seg: &Seg, cuts: &[usize], longer: usize) -> Vec<Vec<u8>> {
    let tcp = seg.tcp();
    let ends = cuts.iter().skip(1).copied().chain([tcp.len().div_ceil(8)]);
    let fragment = |(start, end): (&usize, usize)| {
        let (start, end) = (start * 8, (end * 8 + longer).min(tcp.len()));
        let more = if end < tcp.len() { 0x2000 } else { 0 };
        let bits = more | (start / 8) as u16;
        packet(seg.from.0, seg.to.0, 6, bits, &[], &tcp[start..end])
    };
    cuts.iter().zip(ends).map(fragment).collect()
}

/// RFC 791 3.2, RFC 1858, RFC 5722.
pub fn h29(net: &Net) -> Outcome {
    let mut seen = Vec::new();
    for (name, cuts, longer) in [
        ("two", vec![0, 3], 0),
        ("overlapping", vec![0, 2], 8),
        ("tiny first", vec![0, 1, 2], 0),
    ] {
        let peer = Peer::new(net);
        let mut syn = peer.seg(SYN, 1000, 0);
        syn.options = FULL.options(1);
        for fragment in fragments(&syn, &cuts, longer) {
            peer.send_packet(&fragment, name);
        }
        let answered = peer.receive(ms(300))?.is_some();
        peer.send(&peer.seg(RST, 1001, 0));
        seen.push(format!(
            "SYN {name}: {}",
            if answered { "taken" } else { "dropped" }
        ));
    }
    let mut conn = Conn::open(net, &FULL)?;
    let request = conn.data(0, ws::REQUEST);
    for fragment in fragments(&request, &[0, 5, 10], 0) {
        conn.peer.send_packet(&fragment, "request");
    }
    conn.drain(ms(300))?;
    let taken = !conn.stream.is_empty();
    seen.push(format!(
        "request: {}",
        if taken { "taken" } else { "dropped" }
    ));
    if !taken {
        conn.upgrade()?;
        conn.lives("fragments")?;
    }
    conn.abort();
    Ok(seen.join(", "))
}
