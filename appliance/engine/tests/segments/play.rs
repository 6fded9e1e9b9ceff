//! Plays one case against a `Tcp` of its own: virtual time, a raw peer, an application.
//!
//! Every segment that the engine sends has to be expected by the script. A step that is not an
//! expectation lets the time before it pass first; what is sent in between, and was not expected, fails
//! the case. Bytes are checked without being written: byte n of either stream is [`byte`] of n.

use std::collections::VecDeque;

use engine::metrics::catalog::{ALL, METRICS};
use engine::metrics::counters::Counters;
use engine::port::Port;
use engine::port::memory::MemoryPort;
use engine::tcp::{Algorithm, CloseReason, Config, Receipt, Sent, Source, Tcp, Usage, Verdict};
use engine::units::{ConnId, Micros};
use engine::wire::emit::{Header, emit};
use engine::wire::icmp::TooBig;
use engine::wire::parse::parse;
use engine::wire::segment::{Endpoint, Flags, Flow, Link, Options, Segment};
use engine::wire::seq::Seq;

use super::parse::{Action, Case, Shape, Step, Written};
use super::show::{self, Base, time};

/// How much earlier or later than written a segment may come: a tick of the timer wheel and some.
const TOLERANCE: Micros = Micros::from_millis(2);

/// When every case begins: far from zero, so that nothing rests on it.
const START: Micros = Micros::from_secs(1_000);

/// Frames of the port, both ways.
const FRAMES: usize = 512;

/// The peer's first sequence number: soon wraps.
const ISS: Seq = Seq(0xffff_ff00);

/// The peer's first timestamp.
const FIRST_TIMESTAMP: u32 = 0xffff_fff0;

/// Byte `position` of both streams.
fn byte(position: u64) -> u8 {
    (position * 31 % 253) as u8
}

/// A client and its connection.
#[derive(Debug)]
struct Peer {
    remote: Endpoint,
    local: Endpoint,
    iss: Seq,
    /// The engine's.
    their_iss: Option<Seq>,
    /// The engine's first timestamp, and its last.
    their_first: Option<u32>,
    their_last: u32,
    /// What was on the SYN: later segments have timestamps too.
    timestamps: bool,
    window: u16,
    id: Option<ConnId>,
    opened: bool,
    finished: bool,
    closed: Option<CloseReason>,
    /// Bytes handed up, and how many of them the script has asked about.
    received: u64,
    read: u64,
    placed: u64,
}

/// A segment that the engine has sent.
#[derive(Debug)]
struct Seen {
    at: Micros,
    segment: Segment,
    payload: Vec<u8>,
}

struct Play {
    tcp: Tcp,
    port: MemoryPort,
    counters: Counters,
    now: Micros,
    /// From when the next step counts.
    base: Micros,
    peers: Vec<Peer>,
    current: usize,
    seen: VecDeque<Seen>,
    log: Vec<String>,
}

/// Plays `case`; what fails is told with its line, what was expected, what came, and all before.
pub(crate) fn play(case: &Case) -> Result<(), String> {
    let head = || format!("{}: {}", case.line, case.title);
    let mut play = Play::new(&case.settings).map_err(|wrong| format!("{}\n    {wrong}", head()))?;
    for (index, step) in case.steps.iter().enumerate() {
        let joined = case.steps.get(index + 1).is_some_and(|next| next.joined);
        if let Err(wrong) = play.step(step, joined) {
            let log = play.log.join("\n        ");
            let (line, text) = (step.line, &step.text);
            return Err(format!(
                "{}\n    line {line}: {text}\n    {wrong}\n    so far:\n        {log}",
                head()
            ));
        }
    }
    play.nothing_left().map_err(|wrong| {
        let log = play.log.join("\n        ");
        format!(
            "{}\n    at the end: {wrong}\n    so far:\n        {log}",
            head()
        )
    })
}

fn config(settings: &[(String, String)]) -> Result<Config, String> {
    let mut config = Config {
        listen: vec![
            "10.0.0.1:8000".parse().unwrap(),
            "[2001:db8::1]:8000".parse().unwrap(),
        ],
        connections_max: 8,
        half_open_max: 4,
        time_wait_max: 2,
        pieces: 128,
        // It would blur what the other rules do: `set bundling on` where it is the subject.
        bundling: false,
        ..Config::default()
    };
    for (key, value) in settings {
        let number = || {
            value
                .replace('_', "")
                .parse()
                .map_err(|_| format!("{key} is no number: {value}"))
        };
        match (key.as_str(), value.as_str()) {
            ("connections_max", _) => config.connections_max = number()?,
            ("half_open_max", _) => config.half_open_max = number()?,
            ("time_wait_max", _) => config.time_wait_max = number()?,
            ("receive_window", _) => config.receive_window = number()?,
            ("pieces", _) => config.pieces = number()?,
            ("congestion", "cubic") => config.congestion = Algorithm::Cubic,
            ("congestion", "newreno") => config.congestion = Algorithm::NewReno,
            ("rack_tlp", "on") => config.rack_tlp = true,
            ("rack_tlp", "off") => config.rack_tlp = false,
            ("bundling", "on") => config.bundling = true,
            _ => return Err(format!("`set {key} {value}` is no setting")),
        }
    }
    Ok(config)
}

impl Peer {
    fn new(number: u16, v6: bool) -> Peer {
        let (local, remote) = if v6 {
            ("[2001:db8::1]:8000", "[2001:db8::9]:40000")
        } else {
            ("10.0.0.1:8000", "192.0.2.7:40000")
        };
        let mut remote: std::net::SocketAddr = remote.parse().unwrap();
        remote.set_port(40_000 + number);
        Peer {
            remote: remote.into(),
            local: local.parse().unwrap(),
            iss: ISS,
            their_iss: None,
            their_first: None,
            their_last: 0,
            timestamps: false,
            window: 65_535,
            id: None,
            opened: false,
            finished: false,
            closed: None,
            received: 0,
            read: 0,
            placed: 0,
        }
    }

    /// As the engine sees it.
    fn flow(&self) -> Flow {
        Flow {
            local: self.local,
            remote: self.remote,
        }
    }

    fn clock(&self, now: Micros) -> u32 {
        FIRST_TIMESTAMP.wrapping_add((now.since(START).0 / 1_000) as u32)
    }

    /// The base of what this peer sends.
    fn base_in(&self) -> Base {
        Base {
            seq: self.iss,
            ack: self.their_iss.unwrap_or_default(),
            timestamp: FIRST_TIMESTAMP,
            echo: self.their_first.unwrap_or(0),
        }
    }

    /// The base of what the engine sends.
    fn base_out(&self) -> Base {
        Base {
            seq: self.their_iss.unwrap_or_default(),
            ack: self.iss,
            timestamp: self.their_first.unwrap_or(0),
            echo: FIRST_TIMESTAMP,
        }
    }
}

fn moved(base: Seq, by: i64) -> Seq {
    base + (by as u32)
}

impl Play {
    fn new(settings: &[(String, String)]) -> Result<Play, String> {
        let counters = Counters::default();
        Ok(Play {
            tcp: Tcp::new(config(settings)?, counters.clone()),
            port: MemoryPort::new(FRAMES),
            counters,
            now: START,
            base: START,
            peers: vec![Peer::new(0, false)],
            current: 0,
            seen: VecDeque::new(),
            log: Vec::new(),
        })
    }

    fn peer(&mut self) -> &mut Peer {
        &mut self.peers[self.current]
    }

    fn step(&mut self, step: &Step, joined: bool) -> Result<(), String> {
        let at = self.base + step.from;
        if let Action::Out(shape) = &step.action {
            return self.expect_run(shape, at, step.to.map(|to| self.base + to));
        }
        self.pass_until(at);
        if at > self.base || matches!(step.action, Action::Nothing | Action::In(_)) {
            self.nothing_left()?;
        }
        self.base = at;
        self.act(&step.action, joined)
    }

    fn act(&mut self, action: &Action, joined: bool) -> Result<(), String> {
        match action {
            Action::In(shape) => self.send_run(shape, joined)?,
            Action::Connect {
                round_trip,
                window,
                options,
            } => {
                self.connect(*round_trip, *window, options)?;
            }
            Action::Place(length) => self.place(*length)?,
            Action::Finish => {
                let id = self.id()?;
                self.note("finish".to_owned());
                self.tcp.finish(id);
                self.turn_unless(joined);
            }
            Action::Abort => {
                let id = self.id()?;
                self.note("abort".to_owned());
                self.tcp.abort(id);
                self.turn_unless(joined);
            }
            Action::Backlog(bytes) => {
                let id = self.id()?;
                self.note(format!("backlog {bytes}"));
                self.tcp.set_backlog(id, *bytes);
                self.turn_unless(joined);
            }
            Action::Room(frames) => self.port.limit_tx(frames.unwrap_or(FRAMES)),
            Action::TooBig(seq, mtu) => {
                let base = self.peer().base_out();
                let report = TooBig {
                    flow: self.peer().flow(),
                    seq: moved(base.seq, *seq),
                    mtu: *mtu,
                };
                self.note(format!("too_big {seq} mtu {mtu}"));
                if !self.tcp.on_too_big(&report) {
                    self.tcp.ignore_too_big();
                }
                self.turn_unless(joined);
            }
            Action::Peer(number, v6) => self.choose(*number, *v6),
            Action::Renumber(by) => {
                let peer = self.peer();
                let placed = Peer::new(0, false);
                *peer = Peer {
                    iss: moved(peer.iss, *by),
                    remote: peer.remote,
                    local: peer.local,
                    ..placed
                };
            }
            Action::Out(_) | Action::Nothing => {}
            _ => self.check(action)?,
        }
        Ok(())
    }

    /// The steps that only look.
    fn check(&mut self, action: &Action) -> Result<(), String> {
        let id = self.peer().id;
        let is = match action {
            Action::Opened => {
                return told(
                    std::mem::take(&mut self.peer().opened),
                    "the connection is not opened",
                );
            }
            Action::Finished => {
                return told(
                    std::mem::take(&mut self.peer().finished),
                    "the peer's FIN was not told",
                );
            }
            Action::Closed(reason) => {
                let closed = self.peer().closed.take();
                return same(Some(*reason), closed, "closed");
            }
            Action::Read(length) => {
                let peer = self.peer();
                let new = peer.received - peer.read;
                peer.read = peer.received;
                return same(*length as u64, new, "new bytes handed up");
            }
            Action::Empty => {
                same(0, self.tcp.count(), "connections")?;
                same(0, self.tcp.time_wait_count(), "records in TIME-WAIT")?;
                same(Micros::NEVER, self.tcp.poll_at(), "the next deadline")?;
                return same(Usage::default(), self.tcp.usage(), "in use");
            }
            Action::Connections(count) => return same(*count, self.tcp.count(), "connections"),
            Action::TimeWait(count) => {
                return same(*count, self.tcp.time_wait_count(), "records in TIME-WAIT");
            }
            Action::Pieces(count) => return same(*count, self.tcp.usage().pieces, "pieces"),
            Action::Outstanding(bytes) => {
                (*bytes, id.map(|id| self.tcp.outstanding(id)), "outstanding")
            }
            Action::Sendable(bytes) => (*bytes, id.map(|id| self.tcp.sendable(id)), "sendable"),
            Action::Count(name, count) => {
                let index = METRICS.iter().position(|metric| metric.name == name);
                let index = index.ok_or_else(|| format!("there is no metric `{name}`"))?;
                return same(*count, self.counters.get(ALL[index]), name);
            }
            _ => return Ok(()),
        };
        let (expected, got, what) = is;
        same(Some(expected), got, what)
    }

    fn note(&mut self, what: String) {
        let at = time(self.now.since(START));
        self.log.push(format!("{at}   {what}"));
    }

    fn id(&mut self) -> Result<ConnId, String> {
        self.peer()
            .id
            .ok_or_else(|| "the connection was never opened".to_owned())
    }

    fn choose(&mut self, number: u16, v6: bool) {
        let peer = Peer::new(number, v6);
        let same = |other: &Peer| other.remote == peer.remote;
        self.current = self.peers.iter().position(same).unwrap_or_else(|| {
            self.peers.push(peer);
            self.peers.len() - 1
        });
    }

    fn place(&mut self, length: u32) -> Result<(), String> {
        let id = self.id()?;
        let position = self.peer().placed;
        if !self.tcp.place(id, Source { tag: 0, position }, length) {
            return Err("the connection takes no more".to_owned());
        }
        self.note(format!("place {length}"));
        self.peer().placed += u64::from(length);
        self.send_now(id);
        self.collect();
        Ok(())
    }

    fn send_now(&mut self, id: ConnId) -> Sent {
        let mut read = |source: Source, out: &mut [u8]| {
            for (position, out) in (source.position..).zip(out) {
                *out = byte(position);
            }
            true
        };
        self.tcp.send(self.now, id, &mut self.port, &mut read)
    }

    fn turn_unless(&mut self, joined: bool) {
        if !joined {
            self.turn();
        }
    }

    /// What the data core does in its turn.
    fn turn(&mut self) {
        while let Some((id, reason)) = self.tcp.on_timers(self.now) {
            self.note(format!("closed: {reason:?}"));
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == Some(id)) {
                peer.closed = Some(reason);
            }
        }
        self.tcp.send_replies(&mut self.port);
        while let Some(id) = self.tcp.next_ready() {
            if self.send_now(id) == Sent::NoRoom {
                break;
            }
        }
        self.collect();
    }

    /// Takes what the engine has sent.
    fn collect(&mut self) {
        self.port.flush();
        let mut frame = Vec::new();
        while self.port.take_sent(&mut frame) {
            let segment = parse(&frame).expect("the engine sends what parses");
            let payload = frame[segment.payload_at.clone()].to_vec();
            let to = segment.flow.local;
            let at = self.now;
            let Some(peer) = self.peers.iter_mut().find(|peer| peer.remote == to) else {
                panic!("a segment to {to}");
            };
            if segment.flags.syn {
                peer.their_iss.get_or_insert(segment.seq);
            }
            if let Some((value, _)) = segment.options.timestamps {
                peer.their_first.get_or_insert(value);
                peer.their_last = value;
            }
            let text = show::segment(&segment, peer.base_out());
            self.log.push(format!("{} > {text}", time(at.since(START))));
            self.seen.push_back(Seen {
                at,
                segment,
                payload,
            });
        }
    }

    /// Lets time pass up to `until`, or until something is sent and `stop` is set.
    fn pass(&mut self, until: Micros, stop: bool) {
        while !stop || self.seen.is_empty() {
            let next = self.tcp.poll_at().max(self.now + Micros(1)).min(until);
            if next <= self.now {
                return;
            }
            self.now = next;
            self.turn();
        }
    }

    fn pass_until(&mut self, until: Micros) {
        self.pass(until, false);
    }

    fn nothing_left(&self) -> Result<(), String> {
        match self.seen.front() {
            None => Ok(()),
            Some(seen) => Err(format!(
                "expected: nothing before it\n    got:      {}",
                self.tell(seen)
            )),
        }
    }

    fn tell(&self, seen: &Seen) -> String {
        let to = seen.segment.flow.local;
        let peer = self.peers.iter().find(|peer| peer.remote == to);
        let base = peer.map_or_else(|| self.peers[0].base_out(), Peer::base_out);
        let text = show::segment(&seen.segment, base);
        let late = seen.at.since(self.base);
        format!("+{} > {text}", time(late))
    }

    fn connect(
        &mut self,
        round_trip: Micros,
        window: u16,
        options: &Written,
    ) -> Result<(), String> {
        let syn = Shape {
            flags: Flags {
                syn: true,
                ..Flags::default()
            },
            window: Some(window),
            options: Some(options.clone()),
            ..Shape::default()
        };
        self.send_run(&syn, false)?;
        let answer = Shape {
            flags: Flags {
                syn: true,
                ack: true,
                ..Flags::default()
            },
            ack: Some(1),
            options: Some(Written {
                any: true,
                ..Written::default()
            }),
            ..Shape::default()
        };
        self.expect_run(&answer, self.base, None)?;
        self.base = self.base + round_trip;
        self.pass_until(self.base);
        let ack = Shape {
            flags: Flags {
                ack: true,
                ..Flags::default()
            },
            from: 1,
            to: 1,
            ack: Some(1),
            ..Shape::default()
        };
        self.send_run(&ack, false)?;
        told(
            std::mem::take(&mut self.peer().opened),
            "the handshake does not open the connection",
        )
    }
}

// What the peer sends.
impl Play {
    fn send_run(&mut self, shape: &Shape, joined: bool) -> Result<(), String> {
        let step = i64::from(shape.step.unwrap_or(u32::MAX)).max(1);
        let mut from = shape.from;
        loop {
            let to = shape.to.min(from + step);
            let last = to == shape.to;
            let part = Shape {
                from,
                to,
                ..shape.clone()
            };
            self.send(&part)?;
            // A run is one batch.
            self.turn_unless(joined || !last);
            if last {
                return Ok(());
            }
            from = to;
        }
    }

    fn send(&mut self, shape: &Shape) -> Result<(), String> {
        let now = self.now;
        let options = self.options(shape);
        if let Some(window) = shape.window {
            self.peer().window = window;
        }
        let peer = self.peer();
        let window = peer.window;
        let base = peer.base_in();
        let header = Header {
            link: Link {
                peer_mac: [2, 0, 0, 0, 0, 1],
                local_mac: [2, 0, 0, 0, 0, 2],
                vlan: None,
            },
            flow: Flow {
                local: peer.remote,
                remote: peer.local,
            },
            seq: moved(base.seq, shape.from),
            ack: moved(base.ack, shape.ack.unwrap_or(0)),
            flags: shape.flags,
            window,
            options,
        };
        let length = (shape.to - shape.from) as usize;
        let mut frame = vec![0; 120 + length];
        let length = emit(&mut frame, &header, length, |out| {
            // Byte 0 of the stream has the number after the SYN.
            for (at, out) in (shape.from - i64::from(!shape.flags.syn)..).zip(out) {
                *out = byte(at.max(0) as u64);
            }
            true
        });
        frame.truncate(length);
        let segment =
            parse(&frame).map_err(|drop| format!("the line makes no segment: {drop:?}"))?;
        let text = show::segment(&segment, base);
        self.log
            .push(format!("{} < {text}", time(now.since(START))));
        match self.tcp.receive(now, &frame, &segment) {
            Verdict::Flow(receipt) => self.take(&frame, &receipt)?,
            Verdict::Unknown => self.tcp.refuse(&segment),
            Verdict::Done => {}
        }
        Ok(())
    }

    fn options(&mut self, shape: &Shape) -> Options {
        let now = self.now;
        let peer = self.peer();
        let base = peer.base_in();
        let written = shape.options.clone().unwrap_or_default();
        if shape.flags.syn {
            peer.timestamps = written.timestamps.is_some();
        }
        let timestamps = match written.timestamps {
            None if peer.timestamps && !written.no_timestamps && !shape.flags.rst => {
                Some((None, None))
            }
            other => other,
        };
        let timestamps = timestamps.map(|(value, echo)| {
            let value = value.map_or(peer.clock(now), |value| {
                FIRST_TIMESTAMP.wrapping_add(value as u32)
            });
            let echo = echo.map_or(peer.their_last, |echo| base.echo.wrapping_add(echo as u32));
            (value, if shape.flags.ack { echo } else { 0 })
        });
        let mut options = Options {
            mss: written.mss,
            window_scale: written.scale,
            sack_permitted: written.sack_permitted,
            timestamps,
            ..Options::default()
        };
        for (place, (from, to)) in options.sacks.iter_mut().zip(&written.sacks) {
            *place = Some((moved(base.ack, *from), moved(base.ack, *to)));
        }
        options
    }

    /// What the engine hands up.
    fn take(&mut self, frame: &[u8], receipt: &Receipt) -> Result<(), String> {
        let mut bytes = frame[receipt.data.clone()].to_vec();
        let mut buffer = [0; 700];
        let mut more = receipt.reassembled;
        while more {
            let count = self.tcp.take_reassembled(receipt.id, &mut buffer);
            bytes.extend_from_slice(&buffer[..count]);
            more = count > 0;
        }
        let peer = self.peer();
        if receipt.opened {
            peer.opened = true;
            peer.id = Some(receipt.id);
        }
        let right = (peer.received..)
            .zip(&bytes)
            .all(|(at, got)| byte(at) == *got);
        peer.received += bytes.len() as u64;
        peer.finished |= receipt.finished;
        peer.closed = receipt.closed.or(peer.closed);
        told(right, "the bytes handed up are not those that were sent")
    }
}

// What is expected of the engine.
impl Play {
    fn expect_run(
        &mut self,
        shape: &Shape,
        from: Micros,
        to: Option<Micros>,
    ) -> Result<(), String> {
        let early = Micros(from.0 - TOLERANCE.0.min(from.0));
        let (early, late) = match to {
            Some(to) => (from, to),
            None => (early, from + TOLERANCE),
        };
        let step = i64::from(shape.step.unwrap_or(u32::MAX)).max(1);
        let mut at = shape.from;
        loop {
            let end = shape.to.min(at + step);
            let part = Shape {
                from: at,
                to: end,
                ..shape.clone()
            };
            let seen = self.expect(&part, early, late)?;
            at = end;
            if at == shape.to {
                self.base = seen;
                return Ok(());
            }
        }
    }

    /// The next segment has to be this one; gives when it came.
    fn expect(&mut self, shape: &Shape, early: Micros, late: Micros) -> Result<Micros, String> {
        self.pass(late, true);
        let Some(seen) = self.seen.pop_front() else {
            let wait = time(late.since(self.base));
            return Err(format!(
                "expected: this\n    got:      nothing up to +{wait}"
            ));
        };
        let peer = &self.peers[self.current];
        let mut wrong = Vec::new();
        if seen.segment.flow.local != peer.remote {
            wrong.push(format!("goes to {}", seen.segment.flow.local));
        }
        if seen.at < early || seen.at > late {
            let (from, to) = (time(early.since(self.base)), time(late.since(self.base)));
            wrong.push(format!("comes at another time than +{from} to +{to}"));
        }
        compare(shape, &seen, peer, &mut wrong);
        if wrong.is_empty() {
            return Ok(seen.at);
        }
        let expected = tell_shape(shape);
        let got = self.tell(&seen);
        let wrong = wrong.join("; ");
        Err(format!(
            "expected: {expected}\n    got:      {got}\n    wrong:    {wrong}"
        ))
    }
}

fn tell_shape(shape: &Shape) -> String {
    let ack = shape
        .ack
        .map_or_else(String::new, |ack| format!(" ack {ack}"));
    let window = shape
        .window
        .map_or_else(String::new, |window| format!(" win {window}"));
    format!(
        "> {} {}:{}{ack}{window}",
        show::flags(shape.flags),
        shape.from,
        shape.to
    )
}

/// What of `seen` is not as it is written.
fn compare(shape: &Shape, seen: &Seen, peer: &Peer, wrong: &mut Vec<String>) {
    let base = peer.base_out();
    let segment = &seen.segment;
    // Whether PSH is set matters only where it is written.
    let got = Flags {
        psh: segment.flags.psh && shape.flags.psh,
        ..segment.flags
    };
    if got != shape.flags {
        wrong.push("flags".to_owned());
    }
    let from = show::relative(segment.seq, base.seq);
    let to = from + seen.payload.len() as i64;
    if (from, to) != (shape.from, shape.to) {
        wrong.push(format!(
            "{from}:{to} instead of {}:{}",
            shape.from, shape.to
        ));
    }
    if let Some(ack) = shape.ack {
        let got = show::relative(segment.ack, base.ack);
        if got != ack || !segment.flags.ack {
            wrong.push(format!("ack {got} instead of {ack}"));
        }
    }
    if let Some(window) = shape.window.filter(|window| *window != segment.window) {
        wrong.push(format!("win {} instead of {window}", segment.window));
    }
    if let Some(what) = compare_options(shape, segment, base) {
        wrong.push(what);
    }
    let right = (from.max(1) - 1..)
        .zip(&seen.payload)
        .all(|(at, got)| byte(at as u64) == *got);
    if !right {
        wrong.push("its bytes are not those of this part of the stream".to_owned());
    }
}

/// Options: as written; timestamps count only where they are written.
fn compare_options(shape: &Shape, segment: &Segment, base: Base) -> Option<String> {
    let written = shape.options.clone().unwrap_or_default();
    if written.any {
        return None;
    }
    let options = &segment.options;
    let sacks: Vec<(i64, i64)> = options
        .sacks
        .iter()
        .flatten()
        .map(|(from, to)| {
            (
                show::relative(*from, base.ack),
                show::relative(*to, base.ack),
            )
        })
        .collect();
    let plain = (
        written.mss,
        written.scale,
        written.sack_permitted,
        &written.sacks,
    );
    let got = (
        options.mss,
        options.window_scale,
        options.sack_permitted,
        &sacks,
    );
    if plain != got {
        return Some("options".to_owned());
    }
    if written.no_timestamps && options.timestamps.is_some() {
        return Some("timestamps that should not be there".to_owned());
    }
    let (value, echo) = written.timestamps?;
    let Some((got_value, got_echo)) = options.timestamps else {
        return Some("no timestamps".to_owned());
    };
    let got_value = i64::from(got_value.wrapping_sub(base.timestamp).cast_signed());
    let got_echo = i64::from(got_echo.wrapping_sub(base.echo).cast_signed());
    let is =
        value.is_none_or(|value| value == got_value) && echo.is_none_or(|echo| echo == got_echo);
    (!is).then(|| "timestamps".to_owned())
}

fn told(is: bool, otherwise: &str) -> Result<(), String> {
    if is {
        Ok(())
    } else {
        Err(otherwise.to_owned())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(expected: T, got: T, what: &str) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!(
        "expected: {what} {expected:?}\n    got:      {got:?}"
    ))
}
