//! One player: where its connection stands, and the offset it wants next, which outlives connections.
//!
//! From the crowd (readiness) to the tally (what was wrong). Owns its socket and the bytes of a frame
//! that is cut off. Invariant: `next` only rises.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::swarm::now_ns;
use crate::swarm::wire::{self, Frame, Upgrade};

/// The command number of the connect command; every subscribe command takes the other.
const CONNECT_ID: u64 = 1;
const SUBSCRIBE_ID: u64 = 2;

/// Where a player stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has no connection.
    Away,
    /// The SYN is out.
    Connecting,
    /// The upgrade request is out.
    Upgrading,
    /// The connect and subscribe commands are out.
    Joining,
    /// Connected, but the subscription was refused for now.
    Refused,
    /// Subscribed.
    Live,
}

/// What all players of a crowd saw together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Events that were jumped over.
    pub(super) missing: u64,
    /// Events that came again.
    pub(super) duplicates: u64,
    /// Events under another's offset, frames and messages that nobody should send.
    pub(super) corrupt: u64,
    /// Subscriptions whose reply says that it did not recover.
    pub(super) not_recovered: u64,
    /// Events that came in replies, and as pushes.
    pub(super) in_replies: u64,
    pub(super) in_pushes: u64,
    /// Error replies by code.
    pub(super) errors: BTreeMap<u32, u64>,
    /// Connections that ended and were not cut by us, by reason.
    pub(super) lost: BTreeMap<String, u64>,
    /// Due time and latency of every event, in nanoseconds, where they are kept.
    pub(super) latencies: Option<Vec<(u64, u64)>>,
}

/// One player.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) stream: Option<TcpStream>,
    pub(super) state: State,
    /// The offset that must come next; known from the first subscription on.
    pub(super) next: u64,
    epoch: Option<Box<str>>,
    /// Attempts in a row that failed.
    pub(super) attempts: u32,
    rest: Vec<u8>,
    mask: u32,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    id: u64,
    connect: Option<IgnoredAny>,
    subscribe: Option<Subscribed>,
    error: Option<Failure>,
    push: Option<Push>,
}

#[derive(Debug, Deserialize)]
struct Subscribed {
    epoch: Box<str>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    publications: Vec<Publication>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    code: u32,
}

#[derive(Debug, Deserialize)]
struct Push {
    #[serde(rename = "pub")]
    publication: Publication,
}

#[derive(Debug, Deserialize)]
struct Publication {
    data: Event,
    offset: u64,
}

#[derive(Debug, Deserialize)]
struct Event {
    n: u64,
    due: u64,
}

impl Player {
    /// A player that was never there.
    pub(super) fn new(mask: u32) -> Player {
        Player {
            stream: None,
            state: State::Away,
            next: 1,
            epoch: None,
            attempts: 0,
            rest: Vec::new(),
            mask,
        }
    }

    /// Its SYN is out on `stream`.
    pub(super) fn connect(&mut self, stream: TcpStream) {
        self.stream = Some(stream);
        self.rest.clear();
        self.state = State::Connecting;
    }

    /// Ends the connection with a RST, as a network that is gone does in the end.
    pub(super) fn cut(&mut self) -> anyhow::Result<()> {
        if let Some(stream) = self.stream.take() {
            let (l_onoff, l_linger) = (1, 0);
            setsockopt(&stream, sockopt::Linger, &linger { l_onoff, l_linger })?;
        }
        self.state = State::Away;
        Ok(())
    }

    /// The TCP handshake ended, well or badly.
    pub(super) fn on_connected(&mut self, request: &[u8], tally: &mut Tally) {
        let stream = self.stream.as_ref();
        match stream.and_then(|stream| stream.take_error().ok().flatten()) {
            Some(error) => self.leave(tally, format!("connect: {error}")),
            None => {
                self.state = State::Upgrading;
                self.send(request, tally);
            }
        }
    }

    /// Reads all there is.
    pub(super) fn receive(&mut self, buffer: &mut [u8], channel: &str, tally: &mut Tally) {
        while let Some(stream) = &mut self.stream {
            let kept = self.rest.len();
            buffer[..kept].copy_from_slice(&self.rest);
            let room = buffer.len() - kept;
            let read = match stream.read(&mut buffer[kept..]) {
                Ok(0) => return self.leave(tally, "closed without a close frame".into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.leave(tally, format!("read: {error}")),
            };
            let bytes = &buffer[..kept + read];
            let taken = self.take(bytes, channel, tally);
            self.rest.clear();
            self.rest.extend_from_slice(&bytes[taken..]);
            // A short read emptied the socket; what comes later raises a new edge.
            if read < room {
                return;
            }
        }
    }

    /// Takes every complete frame of `bytes` and says how many bytes that were.
    fn take(&mut self, bytes: &[u8], channel: &str, tally: &mut Tally) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.stream.is_some() {
            let ahead = &bytes[at..];
            if self.state == State::Upgrading {
                match wire::parse_upgrade(ahead) {
                    Upgrade::Wait => break,
                    Upgrade::Refused => self.leave(tally, "upgrade refused".into()),
                    Upgrade::Accepted(length) => {
                        at += length;
                        self.join(channel, tally);
                    }
                }
                continue;
            }
            match wire::parse(ahead) {
                Ok(Some((frame, length))) => {
                    self.on_frame(&frame, tally);
                    at += length;
                }
                Ok(None) => break,
                Err(wire::BadFrame) => {
                    tally.corrupt += 1;
                    self.leave(tally, "a frame that breaks RFC 6455".into());
                }
            }
        }
        at
    }

    fn join(&mut self, channel: &str, tally: &mut Tally) {
        let connect = serde_json::json!({ "id": CONNECT_ID, "connect": { "name": "storm" } });
        let text = format!("{connect}\n{}", self.subscribe_command(channel));
        self.state = State::Joining;
        self.send_frame(1, text.as_bytes(), tally);
    }

    /// Asks again for a subscription that was refused.
    pub(super) fn subscribe(&mut self, channel: &str, tally: &mut Tally) {
        let text = self.subscribe_command(channel);
        self.state = State::Joining;
        self.send_frame(1, text.as_bytes(), tally);
    }

    fn subscribe_command(&self, channel: &str) -> String {
        let mut ask = serde_json::json!({
            "channel": channel, "positioned": true, "recoverable": true
        });
        if let Some(epoch) = &self.epoch {
            ask["recover"] = true.into();
            ask["epoch"] = epoch.as_ref().into();
            ask["offset"] = (self.next - 1).into();
        }
        serde_json::json!({ "id": SUBSCRIBE_ID, "subscribe": ask }).to_string()
    }

    fn on_frame(&mut self, frame: &Frame<'_>, tally: &mut Tally) {
        match frame {
            Frame::Ping(payload) => self.send_frame(10, payload, tally),
            Frame::Pong => {}
            Frame::Close(code) => self.leave(tally, format!("closed with {code}")),
            Frame::Text(text) => {
                for message in text.split(|byte| *byte == b'\n') {
                    match message {
                        b"{}" => self.send_frame(1, b"{}", tally),
                        message => self.on_message(message, tally),
                    }
                }
            }
        }
    }

    fn on_message(&mut self, message: &[u8], tally: &mut Tally) {
        let Ok(message) = serde_json::from_slice::<Message>(message) else {
            tally.corrupt += 1;
            return;
        };
        if let Some(error) = message.error {
            *tally.errors.entry(error.code).or_default() += 1;
            match message.id {
                SUBSCRIBE_ID => self.state = State::Refused,
                _ => self.leave(tally, format!("connect: error {}", error.code)),
            }
        } else if let Some(push) = message.push {
            tally.in_pushes += 1;
            self.on_publication(&push.publication, tally);
        } else if let Some(subscribed) = message.subscribe {
            self.on_subscribed(subscribed, tally);
        } else if message.connect.is_none() {
            tally.corrupt += 1;
        }
    }

    fn on_subscribed(&mut self, subscribed: Subscribed, tally: &mut Tally) {
        self.state = State::Live;
        self.attempts = 0;
        if self.epoch.is_none() {
            self.next = subscribed.offset + 1;
        } else if !subscribed.recovered {
            tally.not_recovered += 1;
        }
        self.epoch = Some(subscribed.epoch);
        tally.in_replies += subscribed.publications.len() as u64;
        for publication in &subscribed.publications {
            self.on_publication(publication, tally);
        }
    }

    fn on_publication(&mut self, publication: &Publication, tally: &mut Tally) {
        let Publication { data, offset } = publication;
        if data.n != *offset {
            tally.corrupt += 1;
        }
        if *offset < self.next {
            tally.duplicates += 1;
            return;
        }
        tally.missing += offset - self.next;
        self.next = offset + 1;
        if let Some(latencies) = &mut tally.latencies {
            latencies.push((data.due, now_ns().saturating_sub(data.due)));
        }
    }

    fn send_frame(&mut self, opcode: u8, payload: &[u8], tally: &mut Tally) {
        self.mask = self
            .mask
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let mut frame = Vec::with_capacity(payload.len() + 16);
        wire::emit(opcode, payload, self.mask.to_be_bytes(), &mut frame);
        self.send(&frame, tally);
    }

    /// What a player sends is smaller than any socket buffer.
    fn send(&mut self, bytes: &[u8], tally: &mut Tally) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        match stream.write(bytes) {
            Ok(written) if written == bytes.len() => {}
            Ok(_) => self.leave(tally, "write: the socket is full".into()),
            Err(error) => self.leave(tally, format!("write: {error}")),
        }
    }

    fn leave(&mut self, tally: &mut Tally, why: String) {
        if self.stream.take().is_some() {
            *tally.lost.entry(why).or_default() += 1;
            self.state = State::Away;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(n: u64, offset: u64) -> Vec<u8> {
        let data = serde_json::json!({ "n": n, "due": 0 });
        let publication = serde_json::json!({ "data": data, "offset": offset });
        serde_json::json!({ "push": { "channel": "h", "pub": publication } })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn what_is_not_the_next_event_is_told() {
        let (mut player, mut tally) = (Player::new(1), Tally::default());
        let reply = br#"{"id":2,"subscribe":{"epoch":"e","offset":4}}"#;
        player.on_message(reply, &mut tally);
        assert_eq!((player.state, player.next), (State::Live, 5));
        for (n, offset) in [(5, 5), (5, 5), (8, 8), (1, 9)] {
            player.on_message(&push(n, offset), &mut tally);
        }
        assert_eq!((tally.duplicates, tally.missing, tally.corrupt), (1, 2, 1));
        assert_eq!((player.next, tally.not_recovered), (10, 0));
        player.on_message(reply, &mut tally);
        assert_eq!((player.next, tally.not_recovered), (10, 1));
        player.on_message(br#"{"id":2,"error":{"code":111}}"#, &mut tally);
        assert_eq!((player.state, tally.errors[&111]), (State::Refused, 1));
    }

    #[test]
    fn who_was_there_asks_from_where_it_stands() {
        let mut player = Player::new(1);
        assert!(!player.subscribe_command("h").contains("recover\""));
        (player.epoch, player.next) = (Some("e".into()), 7);
        let ask = player.subscribe_command("h");
        assert!(ask.contains(r#""offset":6"#) && ask.contains(r#""recover":true"#));
    }
}
