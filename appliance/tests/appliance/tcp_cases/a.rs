//! Attacks: floods, noise and half-done work from many sides. Each runs alone; the witnesses are
//! clients on the player's kernel, which retransmit what a flood makes the server drop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::conn::{Conn, PATIENCE, ms};
use super::net::Net;
use super::peer::{FULL, PLAIN, Peer, note};
use super::random::Random;
use super::segment::{ACK, FIN, IP, PSH, RST, SYN, Seg, packet, seal_ip, seal_tcp};
use super::{Outcome, ws};

/// A client on the kernel's TCP.
struct Witness(TcpStream);

impl Witness {
    fn join(net: &Net) -> Result<Witness, String> {
        let stream = net
            .dial(PATIENCE)
            .map_err(|e| format!("no connection: {e}"))?;
        let mut witness = Witness(stream);
        witness.write(ws::REQUEST)?;
        let mut answer = vec![0; 4];
        while !answer.ends_with(b"\r\n\r\n") {
            answer.extend(witness.read(1)?);
        }
        if answer[4..].starts_with(b"HTTP/1.1 101") {
            Ok(witness)
        } else {
            Err(format!(
                "not upgraded: {}",
                String::from_utf8_lossy(&answer)
            ))
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0
            .write_all(bytes)
            .map_err(|e| format!("cannot write: {e}"))
    }

    fn read(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; count];
        let read = self.0.read_exact(&mut bytes);
        read.map_err(|e| format!("cannot read: {e}"))?;
        Ok(bytes)
    }

    /// Asks, and gives how long the echo took.
    fn ask(&mut self, when: &str) -> Result<Duration, String> {
        let start = Instant::now();
        let payload = ws::pattern(100);
        let all = |witness: &mut Witness| {
            witness.write(&ws::message(&payload))?;
            let echo = witness.read(102)?;
            if echo[2..] == payload {
                Ok(())
            } else {
                Err("wrong echo".to_owned())
            }
        };
        all(self).map_err(|error| format!("{when}: {error}"))?;
        Ok(start.elapsed())
    }
}

/// An old connection works while `attack` runs, new ones are made meanwhile, and both work after it;
/// gives the slowest echo.
fn witnessed(net: &Net, attack: impl FnOnce() + Send) -> Result<Duration, String> {
    let mut old = Witness::join(net)?;
    old.ask("before")?;
    let mut slowest = Duration::ZERO;
    let mut new = Vec::new();
    thread::scope(|scope| {
        let attack = scope.spawn(attack);
        while !attack.is_finished() {
            slowest = slowest.max(old.ask("an old connection meanwhile")?);
            if new.len() < 5 {
                let mut witness = Witness::join(net).map_err(|e| format!("meanwhile: {e}"))?;
                slowest = slowest.max(witness.ask("a new connection meanwhile")?);
                new.push(witness);
            }
            thread::sleep(ms(20));
        }
        Ok::<(), String>(())
    })?;
    for witness in new.iter_mut().chain([&mut old]) {
        witness.ask("afterwards")?;
    }
    Witness::join(net)?.ask("a new connection afterwards")?;
    Ok(slowest)
}

fn slowest(slowest: Duration) -> Outcome {
    Ok(format!("slowest echo {} ms", slowest.as_millis()))
}

/// RFC 4987.
pub fn a01(net: &Net) -> Outcome {
    const SYNS: u32 = 40_000;
    let flood = || {
        let peer = Peer::new(net);
        let mut random = Random(1);
        for _ in 0..SYNS {
            let mut syn = peer.seg(SYN, random.u32(), 0);
            let [a, b, c, d] = random.u32().to_be_bytes();
            syn.from = (
                [20 + a % 100, b, c, d],
                1024 + u16::from(a) * 200 + u16::from(b),
            );
            syn.options = FULL.options(random.u32());
            net.send(&syn.packet());
        }
    };
    slowest(witnessed(net, flood)?)
}

/// RFC 5961.
pub fn a02(net: &Net) -> Outcome {
    let mut target = Conn::echo(net, &FULL)?;
    target.drain(ms(60))?;
    let mut random = Random(2);
    let kinds = [
        RST,
        RST | ACK,
        SYN,
        SYN | ACK,
        FIN | ACK,
        PSH | ACK,
        ACK,
        FIN,
    ];
    for flags in kinds.into_iter().cycle().take(40_000) {
        let mut seg = target.peer.seg(flags, random.u32(), random.u32());
        if flags & PSH != 0 {
            seg.payload = b"blind".to_vec();
        }
        net.send(&seg.packet());
    }
    target.acks = false;
    target.drain(ms(100))?;
    target.acks = true;
    target.lives("a blind flood")?;
    target.abort();
    Ok("40,000 segments".to_owned())
}

/// Random changes to a segment's header, with right checksums.
fn mutate(random: &mut Random, seg: &Seg) -> Vec<u8> {
    let mut tcp = seg.tcp();
    for _ in 0..=random.below(4) {
        // Not the ports: it would be another connection.
        let at = 4 + random.below(tcp.len() - 4);
        tcp[at] = random.byte();
    }
    if random.below(3) == 0 {
        tcp.truncate(20 + random.below(tcp.len() - 19));
    }
    seal_tcp(&mut tcp, seg.from.0, seg.to.0);
    packet(seg.from.0, seg.to.0, 6, 0, &[], &tcp)
}

/// Changed headers on connections that may break, beside one that may not.
pub fn a03(net: &Net) -> Outcome {
    let fuzz = || {
        let mut random = Random(3);
        for _ in 0..40 {
            let Ok(conn) = Conn::echo(net, &FULL) else {
                continue;
            };
            for _ in 0..500 {
                let seg = conn.data(random.u32() % 3000, &ws::message(b"fuzz"));
                net.send(&mutate(&mut random, &seg));
            }
            note("500 changed segments");
            conn.abort();
        }
    };
    slowest(witnessed(net, fuzz)?)
}

/// One frame of noise.
fn noise(random: &mut Random, peer: &Peer<'_>) -> Vec<u8> {
    let syn = peer.seg(SYN, 1000, 0);
    let mut frame = peer.net.frame(&syn.packet());
    match random.below(7) {
        // Random bytes behind the addresses.
        0 => {
            let count = random.below(1486);
            frame.truncate(14);
            frame.extend(random.bytes(count));
        }
        // Runts.
        1 => frame.truncate(14 + random.below(40)),
        // VLAN tags, one or many.
        2 => {
            let tags = 1 + random.below(4);
            for _ in 0..tags {
                frame.splice(12..12, [0x81, 0x00, random.byte() & 0x0f, random.byte()]);
            }
            frame.truncate(14 + random.below(frame.len() - 13));
        }
        // Bad ARP.
        3 => {
            frame.truncate(12);
            frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            let count = random.below(40);
            frame.extend(random.bytes(count));
        }
        // An IPv4 header changed, with and without a right checksum.
        4 | 5 => {
            frame[14 + random.below(IP)] = random.byte();
            if random.below(2) == 0 && frame[14] & 15 >= 5 {
                seal_ip(&mut frame[14..]);
            }
        }
        // IPv6 and other types.
        _ => {
            frame.truncate(12);
            frame.extend([[0x86, 0xdd], [0x08, 0x00], [0x88, 0xa8], [0, 46]][random.below(4)]);
            let count = random.below(200);
            frame.extend(random.bytes(count));
        }
    }
    frame
}

/// Noise below TCP.
pub fn a04(net: &Net) -> Outcome {
    let fuzz = || {
        let mut random = Random(4);
        let peer = Peer::new(net);
        for _ in 0..30_000 {
            net.send_frame(&noise(&mut random, &peer));
        }
        // Which may have opened one.
        net.send(&peer.seg(RST, 1001, 0).packet());
    };
    slowest(witnessed(net, fuzz)?)
}

/// Connections that never get anywhere.
pub fn a05(net: &Net) -> Outcome {
    let mut silent = Vec::new();
    for index in 0..600 {
        let mut conn = Conn::open(net, &PLAIN).map_err(|e| format!("connection {index}: {e}"))?;
        if index % 2 == 0 {
            conn.put(&ws::REQUEST[..ws::REQUEST.len() / 2]);
        }
        silent.push(conn);
    }
    let took = witnessed(net, || ())?;
    silent.into_iter().for_each(Conn::abort);
    slowest(took)
}

/// Handshakes that end in the middle of something.
pub fn a06(net: &Net) -> Outcome {
    let before = net.census.as_ref().map(|census| census());
    let mut random = Random(6);
    let message = ws::message(&ws::pattern(500));
    for index in 0..2000 {
        let peer = Peer::new(net);
        let mut conn = Conn::half_open(peer, &FULL).map_err(|e| format!("{index}: {e}"))?;
        let stage = random.below(4);
        if stage >= 1 {
            conn.ack();
        }
        if stage >= 2 {
            let cut = 1 + random.below(ws::REQUEST.len());
            conn.put(&ws::REQUEST[..cut]);
        }
        if stage >= 3 {
            let cut = random.below(message.len());
            conn.put(&message[..cut]);
        }
        conn.abort();
    }
    let slow = witnessed(net, || ())?;
    if let (Some(census), Some(before)) = (&net.census, before) {
        let start = Instant::now();
        // The witnesses' own may still be closing.
        while census() > before + 3 {
            let left = census() - before;
            ensure!(start.elapsed() < ms(10_000), "{left} connections are left");
            thread::sleep(ms(50));
        }
    }
    slowest(slow)
}
