//! A data core: one NIC queue, its connections, and everything between a frame and an event.
//!
//! [`DataCore::turn`] is the road, once up and once down. It never blocks, and after warm-up it
//! allocates only when a player connects or opens a hunt. The thread around it (pinning, sleeping,
//! doorbells) is the appliance's.

use crate::cores::mailbox::Mailbox;
use crate::hunt::{Hunts, Taken};
use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::port::{FRAME_BYTES_MAX, Port, PortStats, RECEIVE_BATCH};
use crate::ring::broadcast::Record;
use crate::ring::bytes::Reader;
use crate::session::{Road, Sessions, Submit};
use crate::tcp::{Receipt, Sent, Source, Tcp, Verdict};
use crate::units::{ConnId, Micros};
use crate::wire::icmp;
use crate::wire::parse::{Drop, parse};

/// Broadcast records taken a turn: keeps received frames from waiting behind a burst of events.
const FOLLOW_BATCH: usize = 256;

/// Frames received a turn at most: a receive ring of the default size (`game.frames`). What has
/// arrived is taken before anything is sent and before a timer fires. With less, a core that is
/// behind sends more than it takes in: the acknowledgements of what it sends overflow its receive
/// ring, and those that do not lie there until retransmission timers fire for want of them. With more,
/// a flood keeps players waiting: this many frames take about half a millisecond.
const RECEIVE_BUDGET: usize = 2048;

/// Of these, frames after which new events are taken in between: frames of a crowd that connects cost ten
/// times as much as others, and an event is not to wait for all of them.
const RECEIVE_SLICE: usize = 256;

/// Commands may fill the submit ring so far before receiving pauses for the journal to read them.
const SUBMIT_FILL_PERCENT_MAX: u64 = 50;

/// Connections served a turn, and frames sent, and as many for the walks alone: so long does what arrives
/// wait for its turn.
const EMIT_BATCH: usize = 256;

/// How soon a core looks again when something waits for room in the port or in the submit ring: what
/// has left them wakes nobody.
const RETRY_PERIOD: Micros = Micros(200);

/// Time between two refreshes of the gauges.
const GAUGE_PERIOD: Micros = Micros::from_millis(100);

/// What a turn did, for the thread that decides whether to sleep and whom to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Something was received, followed or sent.
    pub busy: bool,
    /// The journal has submissions to read.
    pub submitted: bool,
    /// The right-hand neighbour has frames to read.
    pub handed_over: bool,
    /// When the next turn is due at the latest: a timer, or another try to send.
    pub poll_at: Micros,
}

/// One data core.
#[derive(Debug)]
pub struct DataCore<P: Port> {
    port: P,
    tcp: Tcp,
    sessions: Sessions,
    hunts: Hunts,
    submit: Submit,
    broadcast: Reader,
    mailbox: Mailbox,
    frame: Vec<u8>,
    counters: Counters,
    port_stats: PortStats,
    gauges_at: Micros,
}

/// The parts of a data core, each made by whoever knows its settings.
#[derive(Debug)]
pub struct Parts<P: Port> {
    /// NIC side.
    pub port: P,
    /// Transport.
    pub tcp: Tcp,
    /// Players.
    pub sessions: Sessions,
    /// Hunts.
    pub hunts: Hunts,
    /// To the journal.
    pub submit: Submit,
    /// From the journal.
    pub broadcast: Reader,
    /// To and from the neighbours.
    pub mailbox: Mailbox,
    /// Where all of them count.
    pub counters: Counters,
}

impl<P: Port> DataCore<P> {
    /// Puts the parts together.
    pub fn new(parts: Parts<P>) -> DataCore<P> {
        let Parts {
            port,
            tcp,
            sessions,
            hunts,
            submit,
            broadcast,
            mailbox,
            counters,
        } = parts;
        DataCore {
            port,
            tcp,
            sessions,
            hunts,
            submit,
            broadcast,
            mailbox,
            frame: Vec::with_capacity(FRAME_BYTES_MAX),
            counters,
            port_stats: PortStats::default(),
            gauges_at: Micros(0),
        }
    }

    /// The port, for the thread that sleeps on it.
    pub fn port(&mut self) -> &mut P {
        &mut self.port
    }

    /// Address space that TCP has reserved and not used, and the size of one record of it.
    pub fn untouched(&self) -> (usize, usize) {
        self.tcp.untouched()
    }

    /// Memory of what grows with the number of players: which part, and bytes (docs/memory.md).
    pub fn memory(&self) -> Vec<(&'static str, usize)> {
        let mut parts = self.tcp.memory().to_vec();
        parts.extend(self.sessions.memory());
        parts.extend(self.hunts.memory());
        parts
    }

    /// Connections open or half open.
    pub fn connections(&self) -> usize {
        self.tcp.count()
    }

    /// Players' records and private chunks in use.
    pub fn sessions_held(&self) -> (usize, usize) {
        (self.sessions.count(), self.sessions.chunks_used())
    }

    /// Subscriptions that the journal knows as present.
    pub fn attendance(&self) -> usize {
        self.hunts.attendance.count()
    }

    /// Tells all players to reconnect elsewhere and takes no new ones.
    pub fn drain(&mut self) {
        self.sessions.drain();
    }

    /// One round: frames up to submissions, broadcast records down to frames, timers.
    pub fn turn(&mut self, now: Micros) -> Turn {
        self.port.complete();
        let received = self.receive(now);
        let visited = self.receive_handed_over(now);
        let followed = self.follow(now);
        self.on_timers(now);
        let sent = self.emit(now);
        self.port.flush();
        let departures_wait = self.tell_departures(now);
        self.tick(now);
        let waits = self.sessions.has_touched()
            || self.tcp.has_ready()
            || self.port.has_unsent()
            || departures_wait;
        let retry_at = if waits {
            now + RETRY_PERIOD
        } else {
            Micros::NEVER
        };
        Turn {
            busy: received + visited + followed + sent > 0 || !self.hunts.walks.is_idle(),
            submitted: std::mem::take(&mut self.submit.wrote),
            handed_over: std::mem::take(&mut self.mailbox.wrote),
            poll_at: self
                .tcp
                .poll_at()
                .min(self.sessions.poll_at())
                .min(retry_at),
        }
    }

    fn road(&mut self, now: Micros) -> (&mut Sessions, Road<'_>) {
        let DataCore {
            tcp,
            hunts,
            submit,
            sessions,
            ..
        } = self;
        (
            sessions,
            Road {
                now,
                tcp,
                hunts,
                submit,
            },
        )
    }

    /// Takes what has arrived, as far as there is room for what it makes of it.
    fn receive(&mut self, now: Micros) -> usize {
        let mut count = 0;
        loop {
            let batch = self.receive_batch(now);
            count += batch;
            if count % RECEIVE_SLICE == 0 && batch > 0 {
                self.follow(now);
                self.emit_walks(now);
                self.port.flush();
            }
            if batch < RECEIVE_BATCH || count >= RECEIVE_BUDGET || !self.has_room_for_answers() {
                return count;
            }
        }
    }

    /// Whether a further batch may be all SYNs or all commands.
    fn has_room_for_answers(&self) -> bool {
        self.tcp.reply_room() >= RECEIVE_BATCH
            && self.submit.fill_percent() < SUBMIT_FILL_PERCENT_MAX
    }

    fn receive_batch(&mut self, now: Micros) -> usize {
        let count = self.port.receive();
        for index in 0..count {
            let DataCore {
                port,
                tcp,
                sessions,
                hunts,
                submit,
                mailbox,
                counters,
                ..
            } = self;
            let road = &mut Road {
                now,
                tcp,
                hunts,
                submit,
            };
            on_frame(port.rx(index), 0, road, sessions, mailbox, counters);
        }
        self.port.release();
        self.counters.add(Metric::PortRxFrames, count as u64);
        count
    }

    fn receive_handed_over(&mut self, now: Micros) -> usize {
        let mut count = 0;
        let mut frame = std::mem::take(&mut self.frame);
        while count < EMIT_BATCH
            && let Some(visited) = self.mailbox.receive(&mut frame)
        {
            let DataCore {
                tcp,
                sessions,
                hunts,
                submit,
                mailbox,
                counters,
                ..
            } = self;
            let road = &mut Road {
                now,
                tcp,
                hunts,
                submit,
            };
            on_frame(&mut frame, visited, road, sessions, mailbox, counters);
            count += 1;
        }
        self.frame = frame;
        count
    }

    fn follow(&mut self, now: Micros) -> usize {
        let mut count = 0;
        while count < FOLLOW_BATCH {
            let DataCore {
                tcp,
                sessions,
                hunts,
                submit,
                broadcast,
                counters,
                ..
            } = self;
            let Some(bytes) = broadcast.pop() else { break };
            count += 1;
            match postcard::from_bytes::<Record<'_>>(bytes) {
                Ok(Record::Event(event)) => match hunts.on_event(&event) {
                    Taken::No => {}
                    Taken::Later => counters.inc(Metric::HuntEventsKept),
                    Taken::Now => counters.inc(Metric::HuntEvents),
                },
                Ok(Record::Movement(moved)) => hunts.on_movement(&moved),
                Ok(record) => sessions.on_record(
                    &mut Road {
                        now,
                        tcp,
                        hunts,
                        submit,
                    },
                    &record,
                ),
                // Written by this process with the same library: cannot be.
                Err(_) => debug_assert!(false, "a broadcast record does not decode"),
            }
        }
        count
    }

    fn on_timers(&mut self, now: Micros) {
        let DataCore {
            tcp,
            sessions,
            hunts,
            submit,
            ..
        } = self;
        while let Some((id, _)) = tcp.on_timers(now) {
            sessions.on_closed(
                &mut Road {
                    now,
                    tcp,
                    hunts,
                    submit,
                },
                id,
            );
        }
        let (sessions, mut road) = self.road(now);
        sessions.on_timers(&mut road);
        self.hunts.on_timers(now);
    }

    /// Sends: what is new in the hunts first, so that a crowd that asks for something does not hold it up,
    /// nor it the crowd; then replies and touched players, and what TCP itself owes.
    fn emit(&mut self, now: Micros) -> usize {
        self.tcp.send_replies(&mut self.port);
        let count = self.emit_walks(now) + self.emit_others(now);
        if self.port.tx_room() == 0 && count > 0 {
            self.counters.inc(Metric::PortTxFull);
        }
        count
    }

    /// Serves those who have to be told what is new in a hunt.
    fn emit_walks(&mut self, now: Micros) -> usize {
        let room_least = self.port.tx_room().saturating_sub(EMIT_BATCH);
        let mut count = 0;
        while count < EMIT_BATCH && self.port.tx_room() > room_least {
            let Some(id) = self.next_of_walks() else {
                break;
            };
            let room = self.port.tx_room();
            count += 1;
            if !self.serve(now, id) {
                break;
            }
            self.hunts.walks.charge(room - self.port.tx_room());
        }
        count
    }

    /// Serves those who asked for something or whom TCP owes something.
    fn emit_others(&mut self, now: Micros) -> usize {
        let room_least = self.port.tx_room().saturating_sub(EMIT_BATCH);
        let mut count = 0;
        while count < EMIT_BATCH && self.port.tx_room() > room_least {
            let Some(id) = self.next() else { break };
            count += 1;
            if !self.serve(now, id) {
                break;
            }
        }
        count
    }

    /// The next connection that asked for something or that TCP owes something.
    fn next(&mut self) -> Option<ConnId> {
        let touched = self.sessions.next_touched();
        touched.or_else(|| self.tcp.next_ready())
    }

    /// The next connection that has to be told what is new in a hunt.
    fn next_of_walks(&mut self) -> Option<ConnId> {
        while let Some((hunt, index)) = self.hunts.walks.current() {
            match self.hunts.subscriber(hunt, index) {
                Some(subscription) => {
                    self.hunts.walks.advance();
                    if let Some(subscription) = self.hunts.subscriptions.at(subscription) {
                        return Some(subscription.conn);
                    }
                }
                None => self.hunts.walks.finish_round(),
            }
        }
        None
    }

    /// Fills and sends one connection's stream; false when the port is full.
    fn serve(&mut self, now: Micros, id: ConnId) -> bool {
        let (sessions, mut road) = self.road(now);
        sessions.serve(&mut road, id);
        let DataCore {
            port,
            tcp,
            sessions,
            hunts,
            ..
        } = self;
        let mut read = |source: Source, out: &mut [u8]| sessions.read(hunts, id, source, out);
        match tcp.send(now, id, port, &mut read) {
            Sent::Done => true,
            Sent::NoRoom => false,
            Sent::Lost => {
                let (sessions, mut road) = self.road(now);
                sessions.cut_slow(&mut road, id);
                true
            }
        }
    }

    /// Tells the journal who left; whether somebody must wait for room in the submit ring.
    fn tell_departures(&mut self, now: Micros) -> bool {
        let (sessions, mut road) = self.road(now);
        sessions.tell_departures(&mut road);
        road.hunts.attendance.leaving().is_some()
    }

    fn tick(&mut self, now: Micros) {
        self.sessions.latency().tick(now);
        if now < self.gauges_at {
            return;
        }
        self.gauges_at = now + GAUGE_PERIOD;
        let stats = self.port.stats();
        let before = std::mem::replace(&mut self.port_stats, stats);
        let counters = &self.counters;
        counters.add(Metric::PortTxFrames, stats.tx_frames - before.tx_frames);
        counters.add(Metric::PortRxDropped, stats.rx_dropped - before.rx_dropped);
        counters.add(Metric::PortTxInvalid, stats.tx_invalid - before.tx_invalid);
        counters.add(Metric::PortKicks, stats.kicks - before.kicks);
        counters.set(Metric::TcpConnections, self.tcp.count() as u64);
        counters.set(Metric::TcpTimeWait, self.tcp.time_wait_count().into());
        counters.set(Metric::TcpHalfOpen, self.tcp.half_open_count() as u64);
        counters.set(
            Metric::SessionSubscriptions,
            self.hunts.subscriptions.count() as u64,
        );
        counters.set(Metric::SessionHunts, self.hunts.count() as u64);
        counters.set(Metric::HuntLogBlocks, self.hunts.logs.used() as u64);
        counters.set(Metric::MemoryChunks, self.sessions.chunks_used() as u64);
        counters.set(Metric::RingSubmitFill, self.submit.fill_percent());
    }
}

/// One frame, from the wire to the session it belongs to.
fn on_frame(
    frame: &mut [u8],
    visited: u8,
    road: &mut Road<'_>,
    sessions: &mut Sessions,
    mailbox: &mut Mailbox,
    counters: &Counters,
) {
    let segment = match parse(frame) {
        Ok(segment) => segment,
        Err(Drop::NotTcp) => return on_icmp(frame, visited, road, mailbox, counters),
        Err(drop) => return counters.inc(drop.metric()),
    };
    match road.tcp.receive(road.now, frame, &segment) {
        Verdict::Flow(receipt) => on_receipt(frame, &receipt, road, sessions),
        Verdict::Unknown if visited + 1 < mailbox.cores => {
            hand_over(frame, visited, mailbox, counters);
        }
        Verdict::Unknown => road.tcp.refuse(&segment),
        Verdict::Done => {}
    }
}

/// One frame that is not TCP: a report about a segment of ours, or nothing.
fn on_icmp(
    frame: &[u8],
    visited: u8,
    road: &mut Road<'_>,
    mailbox: &mut Mailbox,
    counters: &Counters,
) {
    match icmp::parse(frame) {
        Err(drop) => counters.inc(drop.metric()),
        Ok(report) if road.tcp.on_too_big(&report) => {}
        Ok(_) if visited + 1 < mailbox.cores => hand_over(frame, visited, mailbox, counters),
        Ok(_) => road.tcp.ignore_too_big(),
    }
}

/// The flow may be another core's.
fn hand_over(frame: &[u8], visited: u8, mailbox: &mut Mailbox, counters: &Counters) {
    let done = mailbox.hand_over(visited, frame);
    counters.inc(match done {
        true => Metric::TcpHandedOver,
        false => Metric::TcpHandOverDropped,
    });
}

/// What a segment changed, told to its session in the order of the stream.
fn on_receipt(frame: &mut [u8], receipt: &Receipt, road: &mut Road<'_>, sessions: &mut Sessions) {
    let id = receipt.id;
    if receipt.opened {
        sessions.on_open(road, id);
    }
    if let Some(data) = frame.get_mut(receipt.data.clone())
        && !data.is_empty()
    {
        sessions.on_data(road, id, data);
    }
    if receipt.reassembled {
        let mut bytes = [0; FRAME_BYTES_MAX];
        loop {
            let count = road.tcp.take_reassembled(id, &mut bytes);
            if count == 0 {
                break;
            }
            sessions.on_data(road, id, &mut bytes[..count]);
        }
    }
    if receipt.closed.is_some() {
        return sessions.on_closed(road, id);
    }
    if receipt.acked {
        sessions.on_acked(road, id);
    }
    if receipt.finished {
        sessions.on_finished(road, id);
    }
}
