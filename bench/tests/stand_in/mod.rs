//! A stand-in for the appliance; see the header of `swarm.rs`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::spawn;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What it does wrong, to one event or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Drop,
    Duplicate,
    Swap,
    Corrupt,
    WrongHunt,
    Disconnect,
    AckOtherOffset,
    LastEventToAllButOne,
    RefusePublish,
    RefuseUpgrade,
    SlowPublish,
    SplitWrites,
    JoinedMessages,
    Pings,
}

/// The event that a fault strikes.
const STRUCK: u64 = 20;

#[derive(Default)]
struct Hunt {
    top: u64,
    players: Vec<TcpStream>,
    held: Option<Vec<u8>>,
}

struct Inner {
    fault: Fault,
    hunts: Mutex<BTreeMap<String, Hunt>>,
    pongs: AtomicU64,
}

/// A running stand-in; its threads end with the test process.
pub(crate) struct StandIn {
    pub(crate) game: SocketAddr,
    pub(crate) admin: SocketAddr,
    inner: Arc<Inner>,
}

impl StandIn {
    pub(crate) fn open(fault: Fault) -> StandIn {
        let inner = Arc::new(Inner {
            fault,
            hunts: Mutex::default(),
            pongs: AtomicU64::new(0),
        });
        let listen = |serve: fn(&Inner, TcpStream) -> Option<()>| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let inner = Arc::clone(&inner);
            spawn(move || {
                for stream in listener.incoming().flatten() {
                    let inner = Arc::clone(&inner);
                    spawn(move || serve(&inner, stream));
                }
            });
            address
        };
        StandIn {
            game: listen(Inner::join),
            admin: listen(Inner::publish),
            inner,
        }
    }

    pub(crate) fn pongs(&self) -> u64 {
        self.inner.pongs.load(Relaxed)
    }
}

impl Inner {
    /// The player's handshake: upgrade, connect and subscribe; `None` when it breaks off.
    fn join(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let head = read_head(&mut reader)?;
        if self.fault == Fault::RefuseUpgrade {
            (&stream)
                .write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
                .ok()?;
            return None;
        }
        let key = head
            .iter()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "))?;
        let accept = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = STANDARD.encode(Sha1::digest(accept));
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        (&stream).write_all(answer.as_bytes()).ok()?;
        let join = String::from_utf8(read_frame(&mut reader)?).ok()?;
        let (connect, subscribe) = join.split_once('\n')?;
        let connect: serde_json::Value = serde_json::from_str(connect).ok()?;
        let subscribe: serde_json::Value = serde_json::from_str(subscribe).ok()?;
        assert!(connect["connect"].is_object());
        let channel = subscribe["subscribe"]["channel"].as_str()?;
        let mut hunts = self.hunts.lock().unwrap();
        let hunt = hunts.entry(channel.to_owned()).or_default();
        let top = hunt.top;
        let reply = format!(
            r#"{{"id":1,"connect":{{"client":"c","version":"x","ping":25,"pong":true}}}}
{{"id":2,"subscribe":{{"recoverable":true,"epoch":"abcd","offset":{top},"positioned":true}}}}"#
        );
        (&stream).write_all(&frame(&reply)).ok()?;
        hunt.players.push(stream);
        drop(hunts);
        if self.fault == Fault::Pings {
            while let Some(pong) = read_frame(&mut reader) {
                assert_eq!(pong, b"{}");
                self.pongs.fetch_add(1, Relaxed);
            }
        }
        Some(())
    }

    /// One keep-alive connection of the admin API.
    fn publish(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        loop {
            let head = read_head(&mut reader)?;
            assert!(head[0].starts_with("post /api/publish "));
            assert!(head.iter().any(|line| line == "x-api-key: key"));
            let length = head
                .iter()
                .find_map(|line| line.strip_prefix("content-length: "))?;
            let mut body = vec![0; length.parse().ok()?];
            reader.read_exact(&mut body).ok()?;
            let offset = self.on_publish(&body);
            let result = if self.fault == Fault::RefusePublish && offset == STRUCK {
                r#"{"error":{"code":100,"message":"internal server error"}}"#.to_owned()
            } else {
                format!(r#"{{"result":{{"offset":{offset},"epoch":"abcd"}}}}"#)
            };
            let length = result.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{result}");
            (&stream).write_all(answer.as_bytes()).ok()?;
        }
    }

    /// Appends and delivers one event; the offset for the acknowledgement.
    fn on_publish(&self, body: &[u8]) -> u64 {
        let text = std::str::from_utf8(body).unwrap();
        let (channel, data) = text.split_once(r#","data":"#).unwrap();
        let channel = channel
            .strip_prefix(r#"{"channel":""#)
            .unwrap()
            .trim_end_matches('"');
        let data = &data[..data.len() - 1];
        let mut hunts = self.hunts.lock().unwrap();
        let hunt = hunts
            .get_mut(channel)
            .expect("an event for a hunt without players");
        if self.fault == Fault::SlowPublish {
            std::thread::sleep(Duration::from_millis(5));
        }
        hunt.top += 1;
        let offset = hunt.top;
        let push = |channel: &str, data: &str| {
            let publication = format!(r#"{{"data":{data},"offset":{offset}}}"#);
            format!(r#"{{"push":{{"channel":"{channel}","pub":{publication}}}}}"#)
        };
        let good = frame(&push(channel, data));
        let struck = offset == STRUCK;
        let (first, second) = match self.fault {
            Fault::Drop if struck => (None, None),
            Fault::RefusePublish if struck => (None, None),
            Fault::Duplicate if struck => (Some(good.clone()), Some(good)),
            Fault::Swap if struck => {
                hunt.held = Some(good);
                (None, None)
            }
            Fault::Corrupt if struck => {
                let data = data.replacen(r#""fill":""#, r#""fill":"!"#, 1);
                (Some(frame(&push(channel, &data))), None)
            }
            Fault::WrongHunt if struck => (Some(frame(&push("hunt:9", data))), None),
            Fault::Pings if struck => (Some(frame("{}")), Some(good)),
            Fault::JoinedMessages => {
                let both = format!("{}\n{{}}", push(channel, data));
                (Some(frame(&both)), None)
            }
            _ => (Some(good), hunt.held.take()),
        };
        let all = hunt.players.len();
        for (index, player) in hunt.players.iter().enumerate() {
            if self.fault == Fault::LastEventToAllButOne && offset == 280 && index == all - 1 {
                continue;
            }
            for bytes in [&first, &second].into_iter().flatten() {
                self.write(player, bytes);
            }
        }
        if self.fault == Fault::Disconnect && struck {
            let mut player = hunt.players.pop().unwrap();
            player.write_all(&[0x88, 2, 0x0b, 0xc0]).unwrap();
        }
        // Two events trade offsets in what the publisher is told.
        match self.fault {
            Fault::AckOtherOffset if struck => STRUCK + 1,
            Fault::AckOtherOffset if offset == STRUCK + 1 => STRUCK,
            _ => offset,
        }
    }

    fn write(&self, mut player: &TcpStream, bytes: &[u8]) {
        // A player that is gone is the swarm's to notice.
        if self.fault == Fault::SplitWrites {
            let (begin, end) = bytes.split_at(bytes.len() / 3);
            let _ = player.write_all(begin);
            std::thread::sleep(Duration::from_micros(20));
            let _ = player.write_all(end);
        } else {
            let _ = player.write_all(bytes);
        }
    }
}

/// The lines of a request's head, lower-cased but for the WebSocket key.
fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some(lines);
        }
        lines.push(match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
            None => line.to_lowercase(),
        });
    }
}

/// The payload of the next client frame, unmasked.
fn read_frame(reader: &mut impl Read) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    reader.read_exact(&mut head).ok()?;
    assert_eq!(head[0], 0x81, "a final text frame");
    assert_eq!(head[1] & 0x80, 0x80, "clients mask");
    let length = match head[1] & 0x7f {
        126 => {
            let mut long = [0; 2];
            reader.read_exact(&mut long).ok()?;
            usize::from(u16::from_be_bytes(long))
        }
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).ok()?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some(payload)
}

/// An unmasked text frame.
fn frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(short) if short < 126 => bytes.push(short),
        _ => {
            bytes.push(126);
            bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}
