//! One player: a socket, where it stands in the handshake, and which offset it wants next.
//!
//! From the crowd (readiness) to the judge (what arrived). Owns its socket and the bytes of a frame
//! that is cut off; everything else is read in place from the crowd's one buffer.
//!
//! Invariants: `next` only rises; an offset below it is a duplicate unless it is in `missing`.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::clock::now_ns;
use super::judge::Judge;
use super::wire::{self, Frame, Upgrade};

/// Where a player stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The SYN is out.
    Connecting,
    /// The upgrade request is out.
    Upgrading,
    /// The connect and subscribe commands are out.
    Joining,
    /// Subscribed.
    Live,
    /// The connection is over.
    Gone,
}

/// One player.
#[derive(Debug)]
pub(crate) struct Player {
    stream: Option<TcpStream>,
    state: State,
    hunt: usize,
    /// The offset that must come next; 0 while unknown.
    next: u64,
    /// Begin of a frame whose end has not come.
    rest: Vec<u8>,
    /// Offsets that were jumped over and may still come out of order.
    missing: BTreeSet<u64>,
    mask: u32,
}

impl Player {
    /// A player whose `connect` is under way.
    pub(crate) fn new(stream: TcpStream, hunt: usize, mask: u32) -> Player {
        let (state, rest) = (State::Connecting, Vec::new());
        Player {
            stream: Some(stream),
            state,
            hunt,
            next: 0,
            rest,
            missing: BTreeSet::new(),
            mask,
        }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The hunt it follows.
    pub(crate) fn hunt(&self) -> usize {
        self.hunt
    }

    /// Events it was jumped over and never got.
    pub(crate) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// The socket can be written for the first time: the TCP handshake ended, well or badly.
    pub(crate) fn on_connected(&mut self, request: &[u8], judge: &mut Judge) {
        let error = self
            .stream
            .as_ref()
            .and_then(|stream| stream.take_error().ok().flatten());
        if let Some(error) = error {
            return self.leave(judge, &format!("connect: {error}"));
        }
        self.state = State::Upgrading;
        self.send(request, judge);
    }

    /// Reads all there is.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], join: &[u8], judge: &mut Judge) {
        while let Some(stream) = &mut self.stream {
            let kept = self.rest.len();
            if kept == buffer.len() {
                return self.leave(judge, "a frame larger than the read buffer");
            }
            buffer[..kept].copy_from_slice(&self.rest);
            let room = buffer.len() - kept;
            let read = match stream.read(&mut buffer[kept..]) {
                Ok(0) => return self.leave(judge, "closed without a close frame"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.leave(judge, &format!("read: {error}")),
            };
            judge.tally.reads += 1;
            let bytes = &buffer[..kept + read];
            let taken = self.take(bytes, now_ns(), join, judge);
            self.rest.clear();
            self.rest.extend_from_slice(&bytes[taken..]);
            // A short read emptied the socket; what comes later raises a new edge.
            if read < room {
                return;
            }
        }
    }

    /// Takes every complete frame of `bytes` and says how many bytes that were.
    fn take(&mut self, bytes: &[u8], now_ns: u64, join: &[u8], judge: &mut Judge) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.stream.is_some() {
            let ahead = &bytes[at..];
            if self.state == State::Live
                && let Some((event, length)) = judge.ledger.recall(self.hunt, self.next, ahead)
            {
                self.next += 1;
                judge.deliver(event, now_ns);
                at += length;
                continue;
            }
            if self.state == State::Upgrading {
                match wire::parse_upgrade(ahead) {
                    Upgrade::Wait => break,
                    Upgrade::Refused => {
                        self.leave(judge, &first_line("upgrade refused", ahead));
                    }
                    Upgrade::Accepted(length) => {
                        at += length;
                        // Some servers subscribe by the URL alone.
                        if join.is_empty() {
                            self.state = State::Live;
                        } else {
                            self.state = State::Joining;
                            self.send_frame(1, join, judge);
                        }
                    }
                }
                continue;
            }
            match wire::parse(ahead) {
                Ok(Some((frame, length))) => {
                    self.on_frame(frame, &ahead[..length], now_ns, judge);
                    at += length;
                }
                Ok(None) => break,
                Err(wire::BadFrame) => self.leave(judge, "a frame that breaks RFC 6455"),
            }
        }
        at
    }

    fn on_frame(&mut self, frame: Frame<'_>, whole: &[u8], now_ns: u64, judge: &mut Judge) {
        match frame {
            Frame::Ping(payload) => self.send_frame(10, payload, judge),
            Frame::Pong => {}
            Frame::Close(code) => {
                *judge.tally.close_codes.entry(code).or_default() += 1;
                self.leave(judge, &format!("closed with {code}"));
            }
            Frame::Text(text) => {
                let alone = memchr::memchr(b'\n', text).is_none();
                let whole = if alone { whole } else { &[] };
                for message in text.split(|byte| *byte == b'\n') {
                    self.on_message(message, whole, now_ns, judge);
                }
            }
        }
    }

    fn on_message(&mut self, message: &[u8], whole: &[u8], now_ns: u64, judge: &mut Judge) {
        if message == b"{}" {
            judge.tally.pings += 1;
            self.send_frame(1, b"{}", judge);
        } else if message.starts_with(br#"{"push":"#) {
            match judge.parse_push(self.hunt, message) {
                Some((offset, event)) => self.on_event(offset, event, whole, now_ns, judge),
                // Others who come and go are not what is measured.
                None if is_movement(message) => {}
                None => judge.on_corrupt(message),
            }
        } else if self.state == State::Joining {
            self.on_reply(message, judge);
        } else {
            judge.on_corrupt(message);
        }
    }

    fn on_event(
        &mut self,
        offset: u64,
        event: usize,
        whole: &[u8],
        now_ns: u64,
        judge: &mut Judge,
    ) {
        if !judge.ledger.learn(self.hunt, offset, event, whole) {
            return judge.on_corrupt(whole);
        }
        if self.next == 0 {
            self.next = offset;
        }
        if offset < self.next {
            if self.missing.remove(&offset) {
                judge.tally.out_of_order += 1;
                judge.deliver(event, now_ns);
            } else {
                judge.tally.duplicates += 1;
            }
            return;
        }
        if offset > self.next {
            self.missing.extend(self.next..offset);
        }
        self.next = offset + 1;
        judge.deliver(event, now_ns);
    }

    /// The reply to the connect (id 1) or the subscribe command (id 2).
    fn on_reply(&mut self, message: &[u8], judge: &mut Judge) {
        let reply: serde_json::Value = serde_json::from_slice(message).unwrap_or_default();
        if reply["id"] == 1 && reply["connect"].is_object() {
            return;
        }
        if reply["id"] == 2 && reply["subscribe"].is_object() {
            // A hunt without history gives no offset; then the first event tells.
            let subscribe = &reply["subscribe"];
            if subscribe["epoch"].is_string() {
                self.next = subscribe["offset"].as_u64().unwrap_or(0) + 1;
                judge.ledger.open(self.hunt, self.next);
            }
            self.state = State::Live;
            return;
        }
        self.leave(judge, &first_line("join refused", message));
    }

    fn send_frame(&mut self, opcode: u8, payload: &[u8], judge: &mut Judge) {
        self.mask = self
            .mask
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let mut frame = std::mem::take(&mut judge.frame);
        frame.clear();
        wire::emit(opcode, payload, self.mask.to_be_bytes(), &mut frame);
        self.send(&frame, judge);
        judge.frame = frame;
    }

    /// What a player sends is smaller than any socket buffer; if it does not fit, the appliance has
    /// stopped reading.
    fn send(&mut self, bytes: &[u8], judge: &mut Judge) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        match stream.write(bytes) {
            Ok(written) if written == bytes.len() => {}
            Ok(_) => self.leave(judge, "write: the socket is full"),
            Err(error) => self.leave(judge, &format!("write: {error}")),
        }
    }

    /// Closes the socket and counts why.
    pub(crate) fn leave(&mut self, judge: &mut Judge, why: &str) {
        if self.stream.take().is_some() {
            judge.on_leave(self.state == State::Live, why);
            self.state = State::Gone;
        }
    }
}

fn first_line(what: &str, bytes: &[u8]) -> String {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = &line[..line.len().min(200)];
    format!("{what}: {}", String::from_utf8_lossy(line))
}
/// Whether a push tells of somebody who came or went.
fn is_movement(push: &[u8]) -> bool {
    let push: Option<serde_json::Value> = serde_json::from_slice(push).ok();
    let push = push.as_ref().map(|push| &push["push"]);
    push.is_some_and(|push| push["join"].is_object() || push["leave"].is_object())
}
