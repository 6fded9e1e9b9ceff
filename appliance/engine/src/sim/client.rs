//! A client in a run: one of the two stacks, and the application that reads, writes and closes on it
//! as its plan says.

use std::collections::VecDeque;

use crate::sim::foreign::{Foreign, Settings};
use crate::sim::path::Faults;
use crate::sim::random::Random;
use crate::sim::receiver::{Habits, Receiver};
use crate::sim::server::{Filling, SERVER, address};
use crate::units::Micros;
use crate::wire::parse::parse;
use crate::wire::segment::{Flow, Link};

/// The client's end of the wire.
const LINK: Link = Link {
    peer_mac: [2, 0, 0, 0, 0, 2],
    local_mac: [2, 0, 0, 0, 0, 1],
    vlan: None,
};

/// Ethernet header of what smoltcp sends.
const UP: [u8; 14] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];

/// Which stack.
#[derive(Debug, Clone)]
pub enum Kind {
    /// smoltcp's.
    Foreign(Settings),
    /// Our own test client.
    Own(Habits),
}

/// When and how much a client reads.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Bytes at a time; 0 means all there is, at once.
    pub bytes: u64,
    /// Time between two reads.
    pub every: Micros,
    /// Reads nothing in these times, counted from the start of the run.
    pub stalls: Vec<(Micros, Micros)>,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client closes once it has everything.
    ClientCloses,
    /// The server closes once it has everything and has said everything.
    ServerCloses,
    /// Both close as soon as they have said everything.
    BothClose,
    /// The client is gone from this moment on.
    Vanishes(Micros),
    /// The server resets at this moment.
    Aborts(Micros),
}

/// One connection of a scenario. Times count from the start of the run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Stack.
    pub kind: Kind,
    /// First SYN.
    pub start: Micros,
    /// Client to server.
    pub up: Faults,
    /// Server to client.
    pub down: Faults,
    /// Bytes the server writes when the connection opens.
    pub bulk: u64,
    /// Events it writes afterwards, their size and the time between two.
    pub events: u64,
    /// Bytes of an event.
    pub event_bytes: u64,
    /// Time between two events.
    pub event_every: Micros,
    /// Bytes the client writes in all, each time, and the time between two.
    pub up_bytes: u64,
    /// Bytes each time.
    pub up_chunk: u64,
    /// Time between two writes.
    pub up_every: Micros,
    /// How the client reads.
    pub reading: Reading,
    /// How the server fills the connection.
    pub filling: Filling,
    /// How it ends.
    pub ending: Ending,
}

impl Plan {
    /// Bytes the server writes in all.
    pub fn down_bytes(&self) -> u64 {
        self.bulk + self.events * self.event_bytes
    }

    /// Bytes the client buffers.
    pub fn buffer(&self) -> u64 {
        match &self.kind {
            Kind::Foreign(settings) => u64::from(settings.buffer),
            Kind::Own(habits) => u64::from(habits.buffer),
        }
    }
}

#[derive(Debug)]
enum Stack {
    Foreign(Box<Foreign>),
    Own(Box<Receiver>),
}

/// A client that is running.
#[derive(Debug)]
pub(super) struct Client {
    stack: Stack,
    pub(super) plan: Plan,
    start: Micros,
    connected: bool,
    /// Bytes read and written by the application.
    pub(super) read: u64,
    written: u64,
    write_at: Micros,
    read_at: Micros,
    closing: bool,
    /// Neither sends nor receives any more.
    pub(super) silent: bool,
    /// Where events end and when they were written.
    pub(super) events: VecDeque<(u64, Micros)>,
}

impl Client {
    pub(super) fn new(plan: &Plan, index: u32, start: Micros, random: Random) -> Client {
        let local = address(index);
        let stack = match &plan.kind {
            Kind::Foreign(settings) => {
                Stack::Foreign(Box::new(Foreign::new(settings, local, SERVER, index)))
            }
            Kind::Own(habits) => {
                let flow = Flow {
                    local: local.into(),
                    remote: SERVER.into(),
                };
                let receiver = Receiver::new(habits.clone(), flow, LINK, index, random);
                Stack::Own(Box::new(receiver))
            }
        };
        Client {
            stack,
            plan: plan.clone(),
            start,
            connected: false,
            read: 0,
            written: 0,
            write_at: Micros(0),
            read_at: Micros(0),
            closing: false,
            silent: false,
            events: VecDeque::new(),
        }
    }

    pub(super) fn receive(&mut self, now: Micros, frame: &[u8]) {
        match &mut self.stack {
            Stack::Foreign(foreign) => foreign.receive(frame.get(UP.len()..).unwrap_or_default()),
            Stack::Own(receiver) => {
                if let Ok(segment) = parse(frame) {
                    receiver.receive(now, frame, &segment);
                }
            }
        }
    }

    /// The stack's turn and the application's; `out` gets frames.
    pub(super) fn turn(&mut self, now: Micros, out: &mut Vec<Vec<u8>>) {
        if self.silent {
            return;
        }
        if !self.connected && now >= self.start + self.plan.start {
            self.connected = true;
            match &mut self.stack {
                Stack::Foreign(foreign) => foreign.connect(),
                Stack::Own(receiver) => receiver.connect(now),
            }
        }
        if !self.connected {
            return;
        }
        self.stack_turn(now, out);
        if self.application(now) {
            self.stack_turn(now, out);
        }
    }

    fn stack_turn(&mut self, now: Micros, out: &mut Vec<Vec<u8>>) {
        match &mut self.stack {
            Stack::Foreign(foreign) => {
                let first = out.len();
                foreign.turn(now, out);
                for packet in &mut out[first..] {
                    *packet = [&UP[..], packet].concat();
                }
            }
            Stack::Own(receiver) => receiver.turn(now, out),
        }
    }

    /// Reads, writes and closes; true when the stack may have something to send.
    fn application(&mut self, now: Micros) -> bool {
        let mut done = self.read(now);
        if self.is_open() && self.written < self.plan.up_bytes && now >= self.write_at {
            let bytes = self.plan.up_chunk.min(self.plan.up_bytes - self.written);
            self.written += bytes;
            self.write_at = now + self.plan.up_every;
            match &mut self.stack {
                Stack::Foreign(foreign) => foreign.write(bytes),
                Stack::Own(receiver) => receiver.write(bytes),
            }
            done = true;
        }
        let has_said_all = self.is_open() && self.written == self.plan.up_bytes;
        let may_close = match self.plan.ending {
            Ending::ClientCloses => self.read == self.plan.down_bytes() || self.has_finished(),
            Ending::BothClose => true,
            _ => self.has_finished(),
        };
        if has_said_all && may_close && !self.closing {
            self.closing = true;
            match &mut self.stack {
                Stack::Foreign(foreign) => foreign.close(),
                Stack::Own(receiver) => receiver.close(),
            }
            done = true;
        }
        done
    }

    fn read(&mut self, now: Micros) -> bool {
        if now < self.read_at || self.stalled_until(now).is_some() {
            return false;
        }
        let bytes = match self.plan.reading.bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        let count = match &mut self.stack {
            Stack::Foreign(foreign) => foreign.read(bytes),
            Stack::Own(receiver) => receiver.read(bytes),
        };
        self.read += count;
        if count > 0 && self.plan.reading.bytes > 0 {
            self.read_at = now + self.plan.reading.every;
        }
        count > 0
    }

    fn stalled_until(&self, now: Micros) -> Option<Micros> {
        let since = now.since(self.start);
        let stalls = &self.plan.reading.stalls;
        let stall = stalls
            .iter()
            .find(|(from, to)| *from <= since && since < *to);
        stall.map(|&(_, to)| self.start + to)
    }

    /// When `turn` has to be called at the latest.
    pub(super) fn poll_at(&mut self, now: Micros) -> Micros {
        if self.silent {
            return Micros::NEVER;
        }
        if !self.connected {
            return self.start + self.plan.start;
        }
        let mut at = match &mut self.stack {
            Stack::Foreign(foreign) => foreign.poll_at(now),
            Stack::Own(receiver) => receiver.poll_at(),
        };
        // smoltcp says "now" also when only an answer will help.
        if at <= now {
            at = now + Micros::from_millis(1);
        }
        if self.is_open() && self.written < self.plan.up_bytes {
            at = at.min(self.write_at.max(now + Micros(1)));
        }
        if self.arrived() > self.read {
            let ready = self.stalled_until(now).unwrap_or(self.read_at);
            at = at.min(ready.max(now + Micros(1)));
        }
        at
    }

    pub(super) fn arrived(&self) -> u64 {
        match &self.stack {
            Stack::Foreign(foreign) => foreign.arrived(),
            Stack::Own(receiver) => receiver.arrived(),
        }
    }

    /// Room in the receive buffer is less than what a careful sender waits for: a segment, or half
    /// the buffer (RFC 9293 section 3.8.6.2.1).
    pub(super) fn is_full(&self) -> bool {
        let room = match &self.stack {
            Stack::Foreign(foreign) => foreign.room(),
            Stack::Own(receiver) => receiver.room(),
        };
        room < self.plan.buffer() / 2
    }

    /// Bytes the application has written.
    pub(super) fn up_written(&self) -> u64 {
        self.written
    }

    pub(super) fn is_open(&self) -> bool {
        match &self.stack {
            Stack::Foreign(foreign) => foreign.is_open(),
            Stack::Own(receiver) => receiver.is_open(),
        }
    }

    /// Whether it is a stack that we did not write.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.stack, Stack::Foreign(_))
    }

    fn has_finished(&self) -> bool {
        match &self.stack {
            Stack::Foreign(foreign) => foreign.has_finished(),
            Stack::Own(receiver) => receiver.has_finished(),
        }
    }

    /// Everything was said, heard and acknowledged.
    pub(super) fn is_done(&self) -> bool {
        let acknowledged = match &self.stack {
            Stack::Foreign(foreign) => foreign.is_acknowledged(),
            Stack::Own(receiver) => receiver.is_acknowledged(),
        };
        self.closing && acknowledged && self.has_finished()
    }

    /// Whether the server has reset the connection, or everything is over.
    pub(super) fn is_closed(&self) -> bool {
        match &self.stack {
            Stack::Foreign(foreign) => foreign.is_closed(),
            Stack::Own(receiver) => receiver.was_reset(),
        }
    }

    /// What is wrong as the client sees it.
    pub(super) fn complaint(&mut self) -> Option<String> {
        match &mut self.stack {
            Stack::Foreign(foreign) => foreign.complaint(),
            Stack::Own(receiver) => receiver.complaint(),
        }
    }
}
