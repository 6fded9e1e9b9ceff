//! What is checked of one connection while a run goes on, from outside: every frame that leaves the
//! server, every frame that reaches it, what the client has received.
//!
//! Two bounds hold all that has to do with time, and only `R` and `B` enter them. `R` is the longest
//! round trip the paths allow (propagation, jitter, reordering, full queues, delayed ACK). `B` is the
//! longest timeout that RFC 6298 can make of samples up to `R` (and up to a pause, which is a sample
//! too): SRTT + 4 RTTVAR <= 5 R, at least the initial second; plus three times the largest longer
//! sample there could have been of late (see [`Patience::on_sample`]).
//!
//! * **Silence.** While the server owes bytes, it sends something at the latest `B * 2^k` (60 s at
//!   most) after the last acknowledgement or transmission, k being the times it has sent since the
//!   last new acknowledgement: each timeout doubles (section 5.5).
//! * **Progress.** While bytes are owed, the other end gets the next one after at most
//!   `2 R + 100 ms` when nothing was lost; each frame lost since the oldest unacknowledged byte was
//!   first sent may cost one more timeout, each twice as long as the one before; time in which the
//!   path was cut or the reader's buffer full does not count, and what the timers had backed off to
//!   by its end (as long as the obstruction itself, 60 s at most) comes on top.

use std::collections::VecDeque;

use crate::sim::content::Content;
use crate::sim::trace::Origins;
use crate::units::Micros;
use crate::wire::emit::options_bytes;
use crate::wire::segment::Segment;
use crate::wire::seq::Seq;

/// The longest timeout (RFC 6298 section 2.5).
const RTO_MAX: Micros = Micros::from_secs(60);

/// The timeout before the first sample (section 2.1).
const RTO_INITIAL: Micros = Micros::from_secs(1);

/// Retransmissions of a SYN at the least before it is given up.
const SYN_TIMEOUTS_MAX: usize = 4;

/// What timers may be late: a tick of the wheel each side, and a turn.
const SLACK: Micros = Micros::from_millis(5);

/// Acknowledgements after which a spike has left the estimate: RTTVAR loses a quarter with each sample,
/// but there may be one a round trip only, and none from what was sent twice.
const SPIKE_AGE_MAX: u32 = 400;

/// Frames of one connection in one instant: twice the largest window in full segments, and room.
const BURST_MAX: u32 = 2_000;

/// How long things may take on a connection's paths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// `R`.
    pub(super) round: Micros,
    /// `B`, without spikes.
    timeout: Micros,
    /// The largest sample above `R` of late, and how many acknowledgements ago.
    spike: Micros,
    spike_age: u32,
}

impl Patience {
    /// For paths with round trips up to `round` that pause for `pause` at most.
    pub(super) fn new(round: Micros, pause: Micros) -> Patience {
        let timeout = Micros(5 * (round.0 + pause.0)).max(RTO_INITIAL);
        Patience {
            round,
            timeout: timeout.min(RTO_MAX),
            spike: Micros(0),
            spike_age: 0,
        }
    }

    /// A lost ACK that is repeated for a retransmission echoes the first transmission's timestamp (RFC
    /// 7323 section 4.3 keeps TS.Recent for what is below the window), so a sample can be as long as
    /// the stall was.
    fn on_sample(&mut self, sample: Micros) {
        self.spike_age += 1;
        if sample > self.spike || self.spike_age > SPIKE_AGE_MAX {
            self.spike = if sample > self.round {
                sample
            } else {
                Micros(0)
            };
            self.spike_age = 0;
        }
    }

    fn timeout(&self) -> Micros {
        Micros(self.timeout.0 + 3 * self.spike.0).min(RTO_MAX)
    }

    fn backed_off(&self, times: u32) -> Micros {
        Micros(self.timeout().0 << times.min(10)).min(RTO_MAX)
    }

    /// Longest time without progress after `losses` lost frames and `obstructed` time; `before` was
    /// obstructed before that, and the sender has not heard yet that it is over.
    fn stall(&self, losses: usize, obstructed: Micros, before: Micros) -> Micros {
        let mut total = 2 * self.round.0 + 100_000;
        let losses = u32::try_from(losses).unwrap_or(u32::MAX);
        let obstructions = Micros(obstructed.0 + before.0);
        if losses > 0 || obstructions.0 > 0 {
            total += self.timeout().0;
        }
        for times in 0..losses.min(1_000) {
            total += self.backed_off(times).0;
        }
        if obstructions.0 > 0 {
            let backed_off = Micros(self.timeout().0 + 2 * obstructions.0).min(RTO_MAX);
            total += obstructed.0 + backed_off.0;
        }
        Micros(total)
    }
}

/// How one direction gets on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    arrived: u64,
    wanted: u64,
    since: Micros,
    /// Since when the reader has had no room, and the time without before that.
    full_since: Option<Micros>,
    full: Micros,
    /// The same before `since`, until the sender hears of the progress.
    full_before: Micros,
}

impl Progress {
    pub(super) fn new(now: Micros) -> Progress {
        Progress {
            arrived: 0,
            wanted: 0,
            since: now,
            full_since: None,
            full: Micros(0),
            full_before: Micros(0),
        }
    }

    pub(super) fn want(&mut self, now: Micros, wanted: u64) {
        if self.arrived >= self.wanted && wanted > self.wanted {
            self.restart(now);
        }
        self.wanted = wanted;
    }

    fn restart(&mut self, now: Micros) {
        self.since = now;
        self.full_before = self.full_before + self.full(now);
        self.full = Micros(0);
        self.full_since = self.full_since.map(|_| now);
    }

    pub(super) fn on_arrived(&mut self, now: Micros, arrived: u64) {
        if arrived > self.arrived {
            self.arrived = arrived;
            self.restart(now);
        }
    }

    pub(super) fn on_room(&mut self, now: Micros, is_full: bool) {
        match (self.full_since, is_full) {
            (None, true) => self.full_since = Some(now),
            (Some(since), false) => {
                self.full = self.full + now.since(since);
                self.full_since = None;
            }
            _ => {}
        }
    }

    /// The sender has heard of progress: its timers start from the beginning.
    fn on_acked(&mut self) {
        self.full_before = Micros(0);
    }

    fn full(&self, now: Micros) -> Micros {
        let going_on = self.full_since.map_or(Micros(0), |since| now.since(since));
        self.full + going_on
    }

    /// An error when it has taken too long. `outage` gives the outage time since a moment.
    fn check(
        &self,
        now: Micros,
        what: &str,
        patience: &Patience,
        losses: usize,
        outage: impl Fn(Micros) -> Micros,
    ) -> Result<(), String> {
        if self.arrived >= self.wanted {
            return Ok(());
        }
        let obstructed = self.full(now) + outage(self.since);
        let allowed = patience.stall(losses, obstructed, self.full_before);
        let stall = now.since(self.since);
        if stall <= allowed {
            return Ok(());
        }
        Err(format!(
            "{what} stalls: byte {} of {} has been owed for {} ms; {losses} lost frames and {} ms of \
             obstruction allow {} ms",
            self.arrived,
            self.wanted,
            stall.0 / 1_000,
            obstructed.0 / 1_000,
            allowed.0 / 1_000,
        ))
    }
}

/// What was lost in either direction and may still be felt by the sender of one.
#[derive(Debug, Default)]
struct Losses {
    /// End and first transmission of segments not acknowledged.
    segments: VecDeque<(i64, Micros)>,
    /// After the last byte (or FIN) sent.
    sent: i64,
    /// When frames were lost.
    at: VecDeque<Micros>,
}

impl Losses {
    fn on_sent(&mut self, now: Micros, end: i64) {
        if end > self.sent {
            self.sent = end;
            self.segments.push_back((end, now));
        }
    }

    /// The sender has heard of `ack`: what was lost before the oldest segment it still waits for
    /// left, and one round trip before, has been felt.
    ///
    /// Gives how long ago the first segment that was acknowledged now had left: no sample of the round
    /// trip can be larger.
    fn on_acked(&mut self, now: Micros, ack: i64, round: Micros, progress: &Progress) -> Micros {
        let mut sample = Micros(0);
        while let Some(&(end, at)) = self.segments.front()
            && end <= ack
        {
            sample = sample.max(now.since(at));
            self.segments.pop_front();
        }
        let oldest = self.segments.front().map_or(now, |&(_, at)| at);
        let oldest = oldest.min(progress.since);
        let felt = Micros(oldest.0.saturating_sub(round.0));
        while self.at.front().is_some_and(|&at| at < felt) {
            self.at.pop_front();
        }
        sample
    }
}

/// The books of one connection. Positions are bytes of a stream, 0 the first after SYN.
#[derive(Debug)]
pub(super) struct Ledger {
    content: Content,
    patience: Patience,
    iss: Option<Seq>,
    irs: Option<Seq>,
    /// What the server has numbered its SYN with until one was acknowledged: cookies differ by time.
    offered: Vec<Seq>,
    /// When the server's SYN left first, until it is acknowledged: the first sample.
    syn_at: Option<Micros>,
    /// From the client's SYN.
    mss: u32,
    scale: u8,
    /// From the server's.
    our_scale: u8,

    /// The rightmost edge that reached the server.
    edge: i64,
    /// After the last byte sent, acknowledged; where FIN is.
    sent: i64,
    acked: i64,
    fin_at: Option<i64>,
    losses_down: Losses,
    losses_up: Losses,
    /// Last acknowledgment and window edge of the server; bytes and FIN the client has sent.
    ack: i64,
    our_edge: i64,
    client_sent: i64,
    /// When the server's window was last too small for a segment.
    pinched_at: Micros,

    owed: i64,
    /// Since when the server has been silent, and how often it had spoken without an answer.
    silent_since: Micros,
    rounds: u32,
    instant: (Micros, u32),

    /// From the server, and to it.
    pub(super) down: Progress,
    pub(super) up: Progress,
    /// When the client acknowledged something new, or else since when it had nothing to acknowledge.
    pub(super) answered_at: Micros,
    /// When the server's FIN was acknowledged.
    pub(super) fin_acked_at: Option<Micros>,
    pub(super) counts: Counts,
}

/// What was sent and lost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Frames from servers.
    pub frames_down: u64,
    /// Frames from clients.
    pub frames_up: u64,
    /// Segments with new bytes.
    pub segments: u64,
    /// Segments with nothing new.
    pub resent: u64,
    /// Frames that did not arrive whole, in order and once: what recovery has to cope with.
    pub faults: u64,
    /// Frames lost or damaged.
    pub lost: u64,
}

impl Ledger {
    pub(super) fn new(now: Micros, client: u32, patience: Patience) -> Ledger {
        Ledger {
            content: Content::down(client),
            patience,
            iss: None,
            irs: None,
            offered: Vec::new(),
            syn_at: None,
            mss: 536,
            scale: 0,
            our_scale: 0,
            edge: 0,
            sent: 0,
            acked: 0,
            fin_at: None,
            losses_down: Losses::default(),
            losses_up: Losses::default(),
            ack: 0,
            our_edge: i64::MIN,
            client_sent: 0,
            pinched_at: Micros(0),
            owed: 0,
            silent_since: now,
            rounds: 0,
            instant: (now, 0),
            down: Progress::new(now),
            up: Progress::new(now),
            answered_at: now,
            fin_acked_at: None,
            counts: Counts::default(),
        }
    }

    /// The server's application owes the client `bytes` in all (FIN counts as one).
    pub(super) fn on_owed(&mut self, now: Micros, bytes: i64) {
        if self.owed <= self.acked {
            self.silent_since = now;
            self.answered_at = now;
            self.rounds = 0;
        }
        self.owed = bytes;
    }

    /// What a trace shows sequence numbers against, seen from the sender.
    pub(super) fn origins(&self, down: bool) -> Origins {
        if down {
            Origins {
                iss: self.iss,
                irs: self.irs,
            }
        } else {
            Origins {
                iss: self.irs,
                irs: self.iss,
            }
        }
    }

    /// A frame did not arrive whole and in time.
    pub(super) fn on_lost(&mut self, now: Micros) {
        self.losses_down.at.push_back(now);
        self.losses_up.at.push_back(now);
        self.counts.faults += 1;
    }

    /// The client sends this.
    pub(super) fn on_client_sends(&mut self, now: Micros, segment: &Segment) {
        self.counts.frames_up += 1;
        if segment.flags.syn {
            self.irs.get_or_insert(segment.seq);
        }
        if let Some(irs) = self.irs {
            let end = i64::from(segment.seq.since(irs)) + i64::from(segment.sequence_length()) - 1;
            self.client_sent = self.client_sent.max(end);
            self.losses_up.on_sent(now, end);
        }
    }

    /// This has reached the client.
    pub(super) fn on_client_receives(&mut self, now: Micros, segment: &Segment) {
        if let Some(irs) = self.irs {
            let ack = i64::from(segment.ack.since(irs + 1));
            self.losses_up
                .on_acked(now, ack, self.patience.round, &self.up);
        }
    }

    /// This has reached the server.
    pub(super) fn on_server_receives(&mut self, now: Micros, segment: &Segment) {
        if segment.flags.syn {
            self.mss = u32::from(segment.options.mss.unwrap_or(536));
            self.scale = segment.options.window_scale.unwrap_or(0);
            self.edge = self.edge.max(i64::from(segment.window));
            return;
        }
        let (true, Some(iss)) = (segment.flags.ack, self.iss) else {
            return;
        };
        let known = self.offered.iter().find(|&&iss| iss + 1 == segment.ack);
        let iss = known.copied().unwrap_or(iss);
        self.iss = Some(iss);
        self.offered.clear();
        let ack = i64::from(segment.ack.since(iss + 1));
        let window = i64::from(u32::from(segment.window) << self.scale);
        self.edge = self.edge.max(ack + window);
        if let Some(syn_at) = self.syn_at.take() {
            self.patience.on_sample(now.since(syn_at));
        }
        let sent = self.sent + i64::from(self.fin_at.is_some());
        if ack <= self.acked || ack > sent {
            return;
        }
        self.acked = ack;
        if self.fin_at.is_some_and(|fin_at| ack > fin_at) {
            self.fin_acked_at.get_or_insert(now);
        }
        self.silent_since = now;
        self.answered_at = now;
        self.rounds = 0;
        let round = self.patience.round;
        let sample = self.losses_down.on_acked(now, ack, round, &self.down);
        self.patience.on_sample(sample);
        self.down.on_acked();
    }

    /// The server sends this.
    pub(super) fn on_server_sends(
        &mut self,
        now: Micros,
        segment: &Segment,
        payload: &[u8],
    ) -> Result<(), String> {
        self.counts.frames_down += 1;
        if self.instant.0 == now {
            self.instant.1 += 1;
            if self.instant.1 > BURST_MAX {
                return Err(format!("{BURST_MAX} frames in one instant"));
            }
        } else {
            self.instant = (now, 0);
        }
        if segment.flags.rst {
            return Ok(());
        }
        if segment.flags.syn {
            self.syn_at.get_or_insert(now);
            return self.on_server_syn(segment);
        }
        let Some(iss) = self.iss else {
            return Err("a segment before the SYN".to_owned());
        };
        let position = i64::from(segment.seq.since(iss + 1));
        self.check_acknowledgment(segment)?;
        if self.our_edge - self.ack < i64::from(self.mss) {
            self.pinched_at = now;
        }
        let length = i64::from(segment.sequence_length());
        if length == 0 {
            return Ok(());
        }
        self.check_position(segment, position, payload)?;
        self.check_silence(now)?;
        if now != self.silent_since {
            self.rounds += 1;
        }
        self.silent_since = now;
        let bytes_end = position + i64::try_from(payload.len()).unwrap_or(0);
        let end = position + length;
        if bytes_end > self.sent || segment.flags.fin && self.fin_at.is_none() {
            self.counts.segments += 1;
        } else {
            self.counts.resent += 1;
        }
        self.losses_down.on_sent(now, end);
        self.sent = self.sent.max(bytes_end);
        if segment.flags.fin {
            self.fin_at = Some(bytes_end);
        }
        Ok(())
    }

    fn on_server_syn(&mut self, segment: &Segment) -> Result<(), String> {
        if self.iss.is_some_and(|iss| iss != segment.seq) && self.acked > 0 {
            return Err("a second SYN with another number".to_owned());
        }
        self.offered.push(segment.seq);
        self.iss = Some(segment.seq);
        self.our_scale = segment.options.window_scale.unwrap_or(0);
        self.our_edge = i64::from(segment.window);
        Ok(())
    }

    /// RFC 9293 section 3.8.6: a window never shrinks; nothing is acknowledged that was not sent.
    fn check_acknowledgment(&mut self, segment: &Segment) -> Result<(), String> {
        let Some(irs) = self.irs else {
            return Err("a segment to a client that sent none".to_owned());
        };
        let ack = i64::from(segment.ack.since(irs + 1));
        let edge = ack + i64::from(u32::from(segment.window) << self.our_scale);
        if ack < self.ack {
            return Err(format!(
                "its acknowledgment goes back from {} to {ack}",
                self.ack
            ));
        }
        if ack > self.client_sent {
            let sent = self.client_sent;
            return Err(format!(
                "it acknowledges {ack}, and the client has sent {sent}"
            ));
        }
        // Rounding to the scale may take a little away.
        if edge + (1 << self.our_scale) <= self.our_edge {
            return Err(format!(
                "its window shrinks from {} to {edge}",
                self.our_edge
            ));
        }
        for (from, to) in segment.options.sacks.iter().flatten() {
            let (from, to) = (i64::from(from.since(irs + 1)), i64::from(to.since(irs + 1)));
            if from >= to || to > self.client_sent {
                return Err(format!(
                    "a SACK block {from} to {to} of what was never sent"
                ));
            }
        }
        self.ack = ack;
        self.our_edge = self.our_edge.max(edge);
        Ok(())
    }

    /// The bytes are right, new ones follow the last, and all fits segment size and window.
    fn check_position(
        &self,
        segment: &Segment,
        position: i64,
        payload: &[u8],
    ) -> Result<(), String> {
        let bytes = i64::try_from(payload.len()).unwrap_or(0);
        let end = position + bytes;
        let size = payload.len() + options_bytes(&segment.options);
        if size > self.mss as usize {
            return Err(format!(
                "{size} bytes in a segment, and MSS is {}",
                self.mss
            ));
        }
        if position > self.sent + i64::from(self.fin_at.is_some()) || position < 0 {
            return Err(format!("bytes from {position} on, after {}", self.sent));
        }
        // A window probe is one byte beyond (RFC 9293 section 3.8.6.1).
        let is_probe = bytes == 1 && end == self.edge + 1;
        if bytes > 0 && end > self.edge && !is_probe {
            return Err(format!(
                "bytes {position} to {end}, and the window ends at {}",
                self.edge
            ));
        }
        if end > self.owed {
            return Err(format!("bytes up to {end}, and {} were written", self.owed));
        }
        if segment.flags.fin && self.fin_at.is_some_and(|at| at != end)
            || self.fin_at.is_some_and(|at| end > at)
        {
            return Err(format!("FIN moves or bytes follow it: {end}"));
        }
        let first = u64::try_from(position).unwrap_or(0);
        match self.content.difference(first, payload) {
            Some(at) => Err(format!("byte {at} is not what was written")),
            None => Ok(()),
        }
    }

    fn check_silence(&self, now: Micros) -> Result<(), String> {
        if self.owed <= self.acked || self.iss.is_none() {
            return Ok(());
        }
        let silence = now.since(self.silent_since);
        let allowed = self.patience.backed_off(self.rounds) + self.patience.round + SLACK;
        if silence <= allowed {
            return Ok(());
        }
        Err(format!(
            "the server is silent for {} ms with bytes owed from {} to {}; {} rounds without an \
             answer allow {} ms",
            silence.0 / 1_000,
            self.acked,
            self.owed,
            self.rounds,
            allowed.0 / 1_000
        ))
    }

    /// Everything that has to do with time. `outage` gives the outage time since a moment.
    pub(super) fn audit(
        &self,
        now: Micros,
        outage: impl Fn(Micros) -> Micros,
    ) -> Result<(), String> {
        self.check_silence(now)?;
        let losses = self.losses_down.at.len();
        self.down
            .check(now, "the stream down", &self.patience, losses, &outage)?;
        // The clients wait a second at least, and several after a SYN that was lost.
        let theirs = Patience {
            timeout: self.patience.timeout.max(Micros(8 * RTO_INITIAL.0)),
            ..self.patience
        };
        // smoltcp may sit out a timeout after a closed window, though it has heard that it is open.
        let pinched = self.pinched_at + self.patience.round >= self.up.since;
        let losses = self.losses_up.at.len() + usize::from(pinched);
        self.up
            .check(now, "the stream up", &theirs, losses, &outage)
    }

    /// Enough was lost that the server may have given the handshake up.
    pub(super) fn handshake_lost(&self) -> bool {
        self.losses_up.at.len() >= SYN_TIMEOUTS_MAX
    }

    /// Work stays in proportion: what was sent again answers something that went wrong.
    pub(super) fn check_work(&self, spare: u64) -> Result<(), String> {
        let counts = &self.counts;
        let allowed = 64 * counts.faults + spare;
        if counts.resent > allowed {
            return Err(format!(
                "{} segments sent again for {} faults of the path",
                counts.resent, counts.faults
            ));
        }
        Ok(())
    }
}
