//! The run itself: a heap of things that happen at moments, worked off in order of time.
//!
//! All that happens in one instant happens before the server takes its turn, as frames that wait in a
//! receive ring do. Nothing here draws a number of its own: paths and clients have generators forked
//! from the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;

use crate::metrics::counters::Counters;
use crate::port::RECEIVE_BATCH;
use crate::sim::baseline::Baseline;
use crate::sim::checks::{Counts, Ledger, Patience};
use crate::sim::client::{Client, Ending, Plan};
use crate::sim::path::{Fate, Path};
use crate::sim::random::Random;
use crate::sim::scenario::{Engine, Scenario};
use crate::sim::server::{App, Ours, SERVER, address};
use crate::sim::trace;
use crate::tcp::{CloseReason, Usage};
use crate::units::Micros;
use crate::wire::parse::parse;
use crate::wire::segment::{Flags, Flow, Link, Options, Segment};
use crate::wire::seq::Seq;

/// Time between two audits.
const AUDIT_EVERY: Micros = Micros::from_secs(1);

/// What happens at most before a run has run away: a thousand connections need a tenth.
const HAPPENINGS_MAX: u64 = 30_000_000;

/// Times one instant is gone through before it is taken for endless.
const ROUNDS_MAX: u32 = 10_000;

/// How long a server keeps a peer whose window stays closed: the default of `tcp::Config`.
const PERSIST: Micros = Micros::from_secs(60);

/// How long a peer has to be unheard of before it may be given up (RFC 1122 section 4.2.3.5), and
/// how long it has to finish after we have.
const GIVE_UP: Micros = Micros::from_secs(100);
const FIN_WAIT: Micros = Micros::from_secs(60);

/// How long the server may take to send what is left once it has finished.
const CLOSING_MAX: Micros = Micros::from_secs(120);

/// A vanished player has to be gone by then: ten timeouts of a minute, and some.
const VANISHED_MAX: Micros = Micros::from_secs(900);

/// How long clients hold an ACK back at most.
const ACK_DELAY: Micros = Micros::from_millis(40);

/// A look at what was received, when the application holds it back.
const LOOK_AFTER: Micros = Micros::from_millis(30);

/// What a run showed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// From the moment an event is written to the moment the client has read its last byte.
    pub latencies: Vec<Micros>,
    /// Sum over all connections.
    pub counts: Counts,
    /// Virtual time it took.
    pub took: Micros,
    /// Things that happened.
    pub happenings: u64,
    /// The server's counters.
    pub counters: Counters,
}

/// What broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, after the start of the run.
    pub at: Micros,
    /// Of which connection.
    pub client: Option<u32>,
    /// What.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, micros) = (self.at.0 / 1_000_000, self.at.0 % 1_000_000);
        write!(f, "at {seconds}.{micros:06} s")?;
        if let Some(client) = self.client {
            write!(f, ", client {client}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Runs `scenario`; `trace` gets a line a frame.
pub fn run<'a>(
    scenario: &'a Scenario,
    trace: Option<&'a mut (dyn Write + 'a)>,
) -> Result<Outcome, Violation> {
    World::new(scenario, trace).run()
}

#[derive(Debug)]
enum What {
    ToServer(u32, Vec<u8>),
    ToClient(u32, Vec<u8>),
    Client(u32),
    Server,
    /// The server's application writes an event.
    Event(u32),
    /// It looks at what came.
    Look(u32),
    /// The client vanishes, or the server aborts.
    End(u32),
    /// A vanished client must be gone.
    Gone(u32),
    Audit,
}

#[derive(Debug)]
struct Happening {
    at: Micros,
    order: u64,
    what: What,
}

impl PartialEq for Happening {
    fn eq(&self, other: &Happening) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Happening {}

impl PartialOrd for Happening {
    fn partial_cmp(&self, other: &Happening) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Happening {
    fn cmp(&self, other: &Happening) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

enum Server {
    Ours(Box<Ours>),
    Baseline(Box<Baseline>),
}

/// One connection with everything around it.
struct Line {
    client: Client,
    up: Path,
    down: Path,
    ledger: Ledger,
    /// What the heap has for the client.
    wake_at: Micros,
    events_left: u64,
    /// When the server finished.
    finishing_at: Micros,
    started: bool,
    /// Given up by one side: streams need not be whole, time does not count.
    abandoned: bool,
    done: bool,
}

struct World<'a> {
    scenario: &'a Scenario,
    start: Micros,
    now: Micros,
    heap: BinaryHeap<Reverse<Happening>>,
    order: u64,
    server: Server,
    server_at: Micros,
    server_due: bool,
    apps: Vec<App>,
    lines: Vec<Line>,
    undone: usize,
    /// Frames the server has received since its last turn.
    frames_waiting: usize,
    /// Clients that something has reached the server from since its last turn.
    heard: Vec<u32>,
    frames: Vec<Vec<u8>>,
    trace: Option<&'a mut (dyn Write + 'a)>,
    outcome: Outcome,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, trace: Option<&'a mut (dyn Write + 'a)>) -> World<'a> {
        let mut random = Random::new(scenario.seed ^ 0x5eed);
        let start = start(scenario);
        let counters = Counters::default();
        let server = match scenario.engine {
            Engine::Ours => {
                let tcp = scenario.tcp.clone();
                let ours = Ours::new(tcp, scenario.tx_frames, counters.clone());
                Server::Ours(Box::new(ours))
            }
            Engine::Smoltcp => {
                let baseline = Baseline::new(scenario.plans.len(), random.bits());
                Server::Baseline(Box::new(baseline))
            }
        };
        let mut world = World {
            scenario,
            start,
            now: start,
            heap: BinaryHeap::new(),
            order: 0,
            server,
            server_at: Micros::NEVER,
            server_due: false,
            apps: Vec::new(),
            lines: Vec::new(),
            undone: scenario.plans.len(),
            frames_waiting: 0,
            heard: Vec::new(),
            frames: Vec::new(),
            trace,
            outcome: Outcome {
                counters,
                ..Outcome::default()
            },
        };
        for (index, plan) in (0..).zip(&scenario.plans) {
            world.apps.push(App::new(index, plan.filling));
            world.lines.push(line(plan, index, start, &mut random));
            let wakes = start + plan.start;
            world.put(wakes, What::Client(index));
            world.lines[index as usize].wake_at = wakes;
            if let Ending::Vanishes(at) | Ending::Aborts(at) = plan.ending {
                world.put(start + at, What::End(index));
            }
        }
        world.put(start + AUDIT_EVERY, What::Audit);
        world
    }

    fn put(&mut self, at: Micros, what: What) {
        self.order += 1;
        let order = self.order;
        self.heap.push(Reverse(Happening { at, order, what }));
    }

    fn violation(&self, client: Option<u32>, what: String) -> Violation {
        Violation {
            at: self.now.since(self.start),
            client,
            what,
        }
    }

    fn run(mut self) -> Result<Outcome, Violation> {
        let mut rounds = 0;
        while self.undone > 0 {
            let Some(Reverse(first)) = self.heap.peek() else {
                return Err(self.violation(None, "nothing will ever happen again".to_owned()));
            };
            rounds = if first.at == self.now { rounds + 1 } else { 0 };
            self.now = first.at;
            if rounds > ROUNDS_MAX || self.outcome.happenings > HAPPENINGS_MAX {
                return Err(self.violation(None, "it runs in circles".to_owned()));
            }
            if self.now.since(self.start) > self.scenario.limit {
                self.forget_lost_fins();
                let unfinished = self.lines.iter().position(|line| !line.done);
                if unfinished.is_none() {
                    break;
                }
                let client = unfinished.and_then(|index| u32::try_from(index).ok());
                return Err(self.violation(client, "not finished in time".to_owned()));
            }
            self.instant()?;
        }
        self.settle()?;
        for line in &self.lines {
            add(&mut self.outcome.counts, &line.ledger.counts);
        }
        self.outcome.took = self.now.since(self.start);
        Ok(self.outcome)
    }

    /// smoltcp 0.14 stops its timer when all its bytes are acknowledged: a FIN that was lost with the last
    /// of them, when those arrived by another segment, is never sent again. Such clients, silent ever
    /// since, are hung up on.
    fn forget_lost_fins(&mut self) {
        for index in 0..self.lines.len() {
            let (line, app) = (&mut self.lines[index], &self.apps[index]);
            let whole_up = app.received == line.client.plan.up_bytes && !app.finished;
            let whole_down = line.client.arrived() == line.client.plan.down_bytes();
            let silent = self.now.since(line.ledger.answered_at) >= GIVE_UP;
            let forgot = line.client.is_foreign() && whole_up && whole_down && silent;
            if forgot && !line.done {
                line.client.silent = true;
                if let Server::Ours(ours) = &mut self.server {
                    ours.abort(&mut self.apps[index]);
                }
                self.finish(index);
            }
        }
    }

    /// Everything that is due now, then the server's turn.
    fn instant(&mut self) -> Result<(), Violation> {
        while let Some(Reverse(next)) = self.heap.peek()
            && next.at <= self.now
            && let Some(Reverse(Happening { what, .. })) = self.heap.pop()
        {
            self.outcome.happenings += 1;
            self.on(what)?;
            if self.frames_waiting == RECEIVE_BATCH {
                self.server_turn()?;
            }
        }
        // What the applications answer at once goes out at once.
        while self.server_due {
            self.server_due = false;
            self.server_turn()?;
        }
        Ok(())
    }

    fn on(&mut self, what: What) -> Result<(), Violation> {
        match what {
            What::ToServer(index, frame) => self.reach_server(index, &frame),
            What::ToClient(index, frame) => {
                let line = &mut self.lines[index as usize];
                if !line.client.silent {
                    if let Ok(segment) = parse(&frame) {
                        line.ledger.on_client_receives(self.now, &segment);
                    }
                    line.client.receive(self.now, &frame);
                }
                return self.client_turn(index);
            }
            What::Client(index) => {
                if self.lines[index as usize].wake_at <= self.now {
                    self.lines[index as usize].wake_at = Micros::NEVER;
                    return self.client_turn(index);
                }
            }
            What::Server => {
                if self.server_at <= self.now {
                    self.server_at = Micros::NEVER;
                    self.server_due = true;
                }
            }
            What::Event(index) => self.event(index),
            What::Look(index) => {
                if let Server::Ours(ours) = &mut self.server {
                    ours.look(&mut self.apps[index as usize]);
                    self.server_due = true;
                }
            }
            What::End(index) => self.end(index),
            What::Gone(index) => return self.gone(index),
            What::Audit => {
                self.put(self.now + AUDIT_EVERY, What::Audit);
                return self.audit();
            }
        }
        Ok(())
    }

    fn reach_server(&mut self, index: u32, frame: &[u8]) {
        self.server_due = true;
        self.heard.push(index);
        self.frames_waiting += 1;
        let line = &mut self.lines[index as usize];
        if let Ok(segment) = parse(frame) {
            line.ledger.on_server_receives(self.now, &segment);
        }
        match &mut self.server {
            Server::Ours(ours) => ours.receive(self.now, frame, &mut self.apps),
            Server::Baseline(baseline) => baseline.receive(self.now, frame),
        }
    }

    fn server_turn(&mut self) -> Result<(), Violation> {
        let now = self.now;
        let mut frames = std::mem::take(&mut self.frames);
        match &mut self.server {
            Server::Ours(ours) => ours.turn(now, &mut self.apps, &mut frames),
            Server::Baseline(baseline) => baseline.turn(now, &mut self.apps, &mut frames),
        }
        for frame in frames.drain(..) {
            self.leave_server(frame)?;
        }
        self.frames = frames;
        self.frames_waiting = 0;
        let at = match &self.server {
            Server::Ours(ours) => ours.poll_at(now),
            Server::Baseline(baseline) => baseline.poll_at(),
        };
        // A deadline of this tick is met with the next.
        let at = at.max(now + Micros(20));
        if at < self.server_at {
            self.server_at = at;
            self.put(at, What::Server);
        }
        for index in std::mem::take(&mut self.heard) {
            self.after_turn(index as usize)?;
        }
        Ok(())
    }

    /// Looks at one connection's application after something happened to it.
    fn after_turn(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let client = u32::try_from(index).ok();
        let (line, app) = (&mut self.lines[index], &mut self.apps[index]);
        if let Some(complaint) = app.complaint.take() {
            return Err(self.violation(client, complaint));
        }
        if line.done {
            return Ok(());
        }
        line.ledger
            .up
            .on_arrived(now, app.received + u64::from(app.opened));
        let plan = &line.client.plan;
        let (Some(client), false) = (client, line.started || !app.opened) else {
            return self.close_if_due(index);
        };
        line.started = true;
        app.written = plan.bulk;
        let first = now + Micros(u64::from(client) * 997 % plan.event_every.0.max(1));
        let (events, down) = (line.events_left, plan.down_bytes());
        if app.written > 0 {
            line.ledger
                .on_owed(now, i64::try_from(app.written).unwrap_or(0));
            line.ledger.down.want(now, app.written);
        }
        debug_assert!(down >= app.written);
        self.touch(client);
        if events > 0 {
            self.put(first, What::Event(client));
        }
        Ok(())
    }

    fn touch(&mut self, client: u32) {
        self.server_due = true;
        match &mut self.server {
            Server::Ours(ours) => ours.touch(client),
            Server::Baseline(baseline) => baseline.touch(client),
        }
    }

    /// Finishes the server's side when the plan says so, and counts the connection done when both
    /// sides are.
    fn close_if_due(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let (line, app) = (&mut self.lines[index], &mut self.apps[index]);
        let client = u32::try_from(index).unwrap_or(0);
        let plan = &line.client.plan;
        let said_all = app.opened && app.written == plan.down_bytes();
        let heard_all = app.received == plan.up_bytes;
        let may_finish = match plan.ending {
            Ending::ServerCloses => heard_all || app.finished,
            Ending::BothClose => true,
            _ => app.finished,
        };
        if said_all && may_finish && !app.finishing {
            app.finishing = true;
            line.finishing_at = now;
            let owed = i64::try_from(app.written + 1).unwrap_or(0);
            line.ledger.on_owed(now, owed);
            self.touch(client);
        }
        let app = &mut self.apps[index];
        if app.backlog > 0 && !app.looking {
            app.looking = true;
            self.put(now + LOOK_AFTER, What::Look(client));
        }
        self.check_closed(index)
    }

    fn check_closed(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let (line, app) = (&mut self.lines[index], &mut self.apps[index]);
        let client = u32::try_from(index).ok();
        let Some(reason) = app.closed else {
            return Ok(());
        };
        let plan = &line.client.plan;
        let whole_up = app.received == plan.up_bytes && app.finished;
        let whole_down = line.client.arrived() == plan.down_bytes();
        let whole = whole_up && whole_down;
        let unheard = now.since(line.ledger.answered_at) >= GIVE_UP;
        let waited = line
            .ledger
            .fin_acked_at
            .is_some_and(|at| now.since(at) >= FIN_WAIT);
        let closes_long = app.finishing && now.since(line.finishing_at) >= CLOSING_MAX;
        let vanished = matches!(plan.ending, Ending::Vanishes(_));
        // Whose window takes no segment worth sending for a minute is cut, whatever it reads meanwhile
        // (`tcp.persist_timeout_s`).
        let reads_slowly = plan.reading.bytes > 0 && now.since(self.start) >= PERSIST;
        match reason {
            CloseReason::Finished if whole => {
                // Or its FIN was heard, the answer lost, and TIME-WAIT over when it asked again.
                if line.client.is_done() || line.client.is_closed() {
                    self.finish(index);
                }
                Ok(())
            }
            // Its last ACK was lost, and its TIME-WAIT is over.
            CloseReason::Reset if whole => {
                self.finish(index);
                Ok(())
            }
            CloseReason::TimedOut
                if unheard || (waited || closes_long || reads_slowly) && !vanished =>
            {
                line.abandoned = true;
                line.client.silent = true;
                self.finish(index);
                Ok(())
            }
            _ if line.abandoned => {
                self.finish(index);
                Ok(())
            }
            reason => {
                let (up, down) = (plan.up_bytes, plan.down_bytes());
                let arrived = line.client.arrived();
                let what = format!(
                    "closed ({reason:?}) with {} of {up} bytes up (FIN: {}) and {arrived} of {down} \
                     bytes down; answered {} ms ago",
                    app.received,
                    app.finished,
                    now.since(line.ledger.answered_at).0 / 1_000
                );
                Err(self.violation(client, what))
            }
        }
    }

    fn finish(&mut self, index: usize) {
        let line = &mut self.lines[index];
        if !line.done {
            line.done = true;
            self.undone -= 1;
        }
    }

    /// The server's application writes an event.
    fn event(&mut self, index: u32) {
        let now = self.now;
        let (line, app) = (
            &mut self.lines[index as usize],
            &mut self.apps[index as usize],
        );
        if app.closed.is_some() || app.finishing || line.events_left == 0 || line.done {
            return;
        }
        let plan = &line.client.plan;
        line.events_left -= 1;
        app.written += plan.event_bytes;
        line.ledger
            .on_owed(now, i64::try_from(app.written).unwrap_or(0));
        line.ledger.down.want(now, app.written);
        let (left, next) = (line.events_left, now + plan.event_every);
        line.client.events.push_back((app.written, now));
        self.touch(index);
        if left > 0 {
            self.put(next, What::Event(index));
        }
    }

    fn end(&mut self, index: u32) {
        let place = index as usize;
        if self.lines[place].done || self.apps[place].closed.is_some() {
            return;
        }
        self.lines[place].abandoned = true;
        match (&mut self.server, self.lines[place].client.plan.ending) {
            (Server::Ours(_), Ending::Aborts(_)) if self.apps[place].id.is_none() => {
                // Not open yet: there is nothing to abort.
                self.lines[place].abandoned = false;
                self.put(self.now + AUDIT_EVERY, What::End(index));
            }
            (Server::Ours(ours), Ending::Aborts(_)) => {
                ours.abort(&mut self.apps[place]);
                self.apps[place].closed = Some(CloseReason::Reset);
                self.server_due = true;
                self.lines[place].events_left = 0;
                self.finish(place);
            }
            _ => {
                self.lines[place].client.silent = true;
                self.put(self.now + VANISHED_MAX, What::Gone(index));
            }
        }
    }

    /// A vanished client has been given up by now, if there was anything to tell it.
    fn gone(&mut self, index: u32) -> Result<(), Violation> {
        let place = index as usize;
        if self.lines[place].done {
            return Ok(());
        }
        let app = &mut self.apps[place];
        if let (Server::Ours(ours), Some(id)) = (&mut self.server, app.id) {
            let owed = ours.tcp.outstanding(id);
            if owed > 0 {
                let what = format!("kept for {VANISHED_MAX:?} with {owed} bytes unacknowledged");
                return Err(self.violation(Some(index), what));
            }
            ours.abort(app);
        }
        self.server_due = true;
        self.finish(place);
        Ok(())
    }

    fn client_turn(&mut self, index: u32) -> Result<(), Violation> {
        let now = self.now;
        let mut frames = std::mem::take(&mut self.frames);
        let line = &mut self.lines[index as usize];
        line.client.turn(now, &mut frames);
        if let Some(complaint) = line.client.complaint() {
            return Err(self.violation(Some(index), complaint));
        }
        if !line.abandoned {
            let arrived = line.client.arrived();
            line.ledger.down.on_arrived(now, arrived);
            line.ledger.down.on_room(now, line.client.is_full());
            line.ledger.up.want(now, line.client.up_written() + 1);
        }
        while let Some(&(end, written_at)) = line.client.events.front()
            && end <= line.client.read
        {
            line.client.events.pop_front();
            self.outcome.latencies.push(now.since(written_at));
        }
        let at = line.client.poll_at(now);
        if at < line.wake_at {
            line.wake_at = at;
            self.put(at, What::Client(index));
        }
        for frame in frames.drain(..) {
            self.leave_client(index, frame);
        }
        self.frames = frames;
        self.after_turn(index as usize)
    }

    fn leave_client(&mut self, index: u32, mut frame: Vec<u8>) {
        let now = self.now;
        let line = &mut self.lines[index as usize];
        if let Ok(segment) = parse(&frame) {
            line.ledger.on_client_sends(now, &segment);
        }
        let before = self.trace.is_some().then(|| frame.clone());
        let fate = line.up.put(now, &mut frame);
        account(&mut line.ledger, now, fate);
        if let (Some(before), Some(trace)) = (before, &mut self.trace) {
            let origins = line.ledger.origins(false);
            let since = now.since(self.start);
            let text = trace::line(since, index, false, &before, origins, (self.start, fate));
            let _ = writeln!(trace, "{text}");
        }
        self.travel(fate, frame, |frame| What::ToServer(index, frame));
    }

    fn leave_server(&mut self, mut frame: Vec<u8>) -> Result<(), Violation> {
        let now = self.now;
        let segment = match parse(&frame) {
            Ok(segment) => segment,
            Err(drop) => {
                let what = format!("a frame that cannot be parsed: {drop:?}");
                return Err(self.violation(None, what));
            }
        };
        // Read from the receiving side: local is the client.
        let Some(index) = crate::sim::server::client_at(segment.flow.local.into())
            .filter(|&index| (index as usize) < self.lines.len())
        else {
            return Err(self.violation(None, format!("a frame to nobody: {:?}", segment.flow)));
        };
        let line = &mut self.lines[index as usize];
        let payload = &frame[segment.payload_at.clone()];
        let checked = if self.scenario.engine == Engine::Ours && !line.abandoned {
            line.ledger.on_server_sends(now, &segment, payload)
        } else {
            line.ledger.counts.frames_down += 1;
            Ok(())
        };
        let before = self.trace.is_some().then(|| frame.clone());
        let fate = line.down.put(now, &mut frame);
        account(&mut line.ledger, now, fate);
        if let (Some(before), Some(trace)) = (before, &mut self.trace) {
            let origins = line.ledger.origins(true);
            let since = now.since(self.start);
            let text = trace::line(since, index, true, &before, origins, (self.start, fate));
            let _ = writeln!(trace, "{text}");
        }
        checked.map_err(|what| self.violation(Some(index), what))?;
        self.travel(fate, frame, |frame| What::ToClient(index, frame));
        Ok(())
    }

    fn travel(&mut self, fate: Fate, frame: Vec<u8>, to: impl Fn(Vec<u8>) -> What) {
        if let Fate::Arrives { at, again, .. } = fate {
            if let Some(again) = again {
                self.put(again, to(frame.clone()));
            }
            self.put(at, to(frame));
        }
    }

    fn audit(&mut self) -> Result<(), Violation> {
        let (now, start) = (self.now, self.start);
        for index in 0..self.lines.len() {
            self.after_turn(index)?;
            let line = &self.lines[index];
            if line.done || line.abandoned || self.scenario.engine == Engine::Smoltcp {
                continue;
            }
            let plan = &line.client.plan;
            let outage = |since| {
                let up = plan.up.outage_in(start, since, now);
                up.max(plan.down.outage_in(start, since, now))
            };
            let audited = line.ledger.audit(now, outage);
            let refused = line.ledger.handshake_lost() || line.client.is_closed();
            if audited.is_err() && !self.apps[index].opened && refused {
                // The server has forgotten the handshake, as it may; or, with cookies, did not know
                // it by a segment that was not the first, and said so.
                self.lines[index].abandoned = true;
                self.lines[index].client.silent = true;
                self.finish(index);
                continue;
            }
            audited.map_err(|what| self.violation(u32::try_from(index).ok(), what))?;
            let spare = 400 + self.now.since(start).0 / 1_000_000;
            let work = line.ledger.check_work(spare);
            work.map_err(|what| self.violation(u32::try_from(index).ok(), what))?;
        }
        Ok(())
    }

    /// All connections are done: lets TIME-WAIT run out, then nothing may be left.
    fn settle(&mut self) -> Result<(), Violation> {
        if self.scenario.engine == Engine::Smoltcp {
            return Ok(());
        }
        let until = self.now + Micros::from_secs(3_600);
        if let Server::Ours(ours) = &mut self.server {
            // A frame that was still under way may have opened what was given up.
            let abandoned = self.lines.iter().zip(&mut self.apps);
            for (_, app) in abandoned.filter(|(line, app)| line.abandoned && app.closed.is_none()) {
                ours.abort(app);
            }
        }
        self.server_due = true;
        self.instant()?;
        while let Some(Reverse(next)) = self.heap.peek() {
            self.now = next.at;
            let idle = match &self.server {
                Server::Ours(ours) => ours.tcp.poll_at() == Micros::NEVER && !ours.tcp.has_ready(),
                Server::Baseline(_) => true,
            };
            if idle || self.now > until {
                break;
            }
            self.instant()?;
        }
        let Server::Ours(ours) = &self.server else {
            return Ok(());
        };
        let usage = ours.tcp.usage();
        if usage != Usage::default() {
            return Err(self.violation(None, format!("left at the end: {usage:?}")));
        }
        Ok(())
    }
}

fn line(plan: &Plan, index: u32, start: Micros, random: &mut Random) -> Line {
    let round = plan.up.delay_max() + plan.down.delay_max() + ACK_DELAY + LOOK_AFTER;
    let outages = plan.up.outages.iter().chain(&plan.down.outages);
    let pauses = outages.filter(|outage| outage.holds);
    let pause = pauses.map(|outage| outage.until.since(outage.from)).max();
    let patience = Patience::new(round, pause.unwrap_or_default());
    Line {
        client: Client::new(plan, index, start, random.fork()),
        up: Path::new(plan.up.clone(), random.fork(), start),
        down: Path::new(plan.down.clone(), random.fork(), start),
        ledger: Ledger::new(start, index, patience),
        wake_at: Micros::NEVER,
        events_left: plan.events,
        finishing_at: Micros::NEVER,
        started: false,
        abandoned: false,
        done: false,
    }
}

fn account(ledger: &mut Ledger, now: Micros, fate: Fate) {
    match fate {
        Fate::Lost(_) | Fate::Arrives { damaged: true, .. } => {
            ledger.counts.lost += 1;
            ledger.on_lost(now);
        }
        // What comes late may as well be lost: PAWS drops it if something newer was in order (RFC 7323
        // section 5.3), and smoltcp drops data whose acknowledgment is old.
        Fate::Arrives { late: true, .. } => ledger.on_lost(now),
        Fate::Arrives { again, .. } => ledger.counts.faults += u64::from(again.is_some()),
    }
}

fn add(sum: &mut Counts, one: &Counts) {
    sum.frames_down += one.frames_down;
    sum.frames_up += one.frames_up;
    sum.segments += one.segments;
    sum.resent += one.resent;
    sum.faults += one.faults;
    sum.lost += one.lost;
}

/// When the run starts. The initial sequence number is a clock of 4 us plus a secret (RFC 6528), so a
/// connection's wrap is a matter of the time it begins: asked of a scratch engine, then waited for.
fn start(scenario: &Scenario) -> Micros {
    let base = Micros::from_secs(1_000);
    let (Some(wrap_in), Some(plan)) = (scenario.wrap_in, scenario.plans.first()) else {
        return base;
    };
    let config = crate::tcp::Config {
        connections_max: 1,
        pieces: 1,
        ..scenario.tcp.clone()
    };
    let opens = plan.start + plan.up.delay;
    let now = base + opens;
    let mut scratch = Ours::new(config, 1, Counters::default());
    let syn = Segment {
        link: Link {
            peer_mac: [2, 0, 0, 0, 0, 1],
            local_mac: [2, 0, 0, 0, 0, 2],
            vlan: None,
        },
        flow: Flow {
            local: SERVER.into(),
            remote: address(0).into(),
        },
        seq: Seq(0),
        ack: Seq(0),
        flags: Flags {
            syn: true,
            ..Flags::default()
        },
        window: 0,
        options: Options::default(),
        payload_at: 0..0,
    };
    scratch.tcp.receive(now, &[], &syn);
    let mut answers = Vec::new();
    scratch.turn(now, &mut [], &mut answers);
    let Some(answer) = answers.first().and_then(|frame| parse(frame).ok()) else {
        return base;
    };
    let ahead = (u32::MAX - wrap_in).wrapping_sub(answer.seq.0);
    base + Micros(u64::from(ahead) * 4)
}
