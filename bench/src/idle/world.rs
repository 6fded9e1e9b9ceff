//! One data core and one journal core around an in-memory NIC, and the players' end of its wire.
//!
//! Time is a number. Sizes that grow with the players are those the appliance derives from
//! `players_max`; the others are small and the same in every world.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use engine::cores::data::{DataCore, Parts};
use engine::cores::mailbox;
use engine::hunt::Hunts;
use engine::hunt::log::Logs;
use engine::journal::memory_store::MemoryStore;
use engine::journal::{self, Durability, JournalCore, Retention, Rule};
use engine::metrics::counters::Counters;
use engine::metrics::histogram;
use engine::port::Port as _;
use engine::port::memory::MemoryPort;
use engine::ring::broadcast::RECORD_BYTES_MAX;
use engine::ring::bytes::{Writer, ring};
use engine::ring::submit::{Publish, SUBMISSION_BYTES_MAX, Submission};
use engine::session::rules::{ChannelRules, Rules, Verify};
use engine::session::{Sessions, Submit};
use engine::tcp::{self, Tcp};
use engine::units::Micros;

use crate::idle::client::{self, Clients};

/// Frames of the NIC each way.
const FRAMES: usize = 4096;

const PING_INTERVAL: Micros = Micros::from_secs(25);

/// What an event says: 200 bytes are a usual clue.
const EVENT_BYTES: usize = 200;

/// How long one event took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Time {
    /// In turns that sent it.
    pub(super) sending: Duration,
    /// In turns that took the acknowledgements.
    pub(super) acknowledging: Duration,
    /// The longest of these turns: what everyone else waits for at worst.
    pub(super) longest_turn: Duration,
}

impl Time {
    /// The best of both, and the longest turn of all.
    pub(super) fn and(self, other: Time) -> Time {
        Time {
            sending: self.sending.min(other.sending),
            acknowledging: self.acknowledging.min(other.acknowledging),
            longest_turn: self.longest_turn.max(other.longest_turn),
        }
    }
}

pub(super) struct World {
    pub(super) core: DataCore<MemoryPort>,
    journal: JournalCore<MemoryStore>,
    control: Writer,
    clients: Clients,
    now: Micros,
    frame: Vec<u8>,
}

impl World {
    pub(super) fn new(clients: Clients) -> anyhow::Result<World> {
        let players = clients.count();
        let counters = Counters::default();
        let (submit_in, submit_out) = ring(1 << 20, SUBMISSION_BYTES_MAX);
        let (broadcast_in, broadcast_out) = ring(8 << 20, RECORD_BYTES_MAX);
        let (control, control_out) = ring(1 << 20, SUBMISSION_BYTES_MAX);
        let (answers_in, _) = ring(8 << 20, RECORD_BYTES_MAX);
        let journal = JournalCore::open(
            MemoryStore::default(),
            journal_config(),
            vec![submit_out, control_out],
            vec![broadcast_in, answers_in],
            1,
            Counters::default(),
            7,
        )?;
        let log = Box::leak(vec![0; 1 << 20].into_boxed_slice());
        let core = DataCore::new(Parts {
            port: MemoryPort::new(FRAMES),
            tcp: Tcp::new(
                tcp::Config {
                    listen: vec![client::SERVER],
                    connections_max: players,
                    half_open_max: 4096,
                    time_wait_max: players / 4,
                    ..tcp::Config::default()
                },
                counters.clone(),
            ),
            sessions: Sessions::new(
                players,
                4096,
                rules(),
                Verify::nothing(),
                counters.clone(),
                histogram::recorder().0,
                3,
            ),
            // The appliance leaves address space for four a player; the memory is used as they come.
            hunts: Hunts::new(Logs::new(log, 16, 400_000), 16, 16, players),
            submit: Submit::new(submit_in),
            broadcast: broadcast_out,
            mailbox: mailbox::circle(1).pop().context("a core has a mailbox")?,
            counters,
        });
        Ok(World {
            core,
            journal,
            control,
            clients,
            now: Micros::from_secs(1_000),
            frame: Vec::new(),
        })
    }

    /// Every player dials, upgrades, connects and subscribes, one after another.
    pub(super) fn connect_all(&mut self) -> anyhow::Result<()> {
        let connect = client::text(r#"{"id":1,"connect":{}}"#);
        let subscribe = client::text(r#"{"id":2,"subscribe":{"channel":"hunt"}}"#);
        for player in 0..self.clients.count() {
            self.ask(player, true, &[], "")?;
            self.ask(player, false, client::UPGRADE, "101 Switching")?;
            self.ask(player, false, &connect, r#""connect":{"#)?;
            self.ask(player, false, &subscribe, r#""subscribe":{"#)?;
            self.send(player, false, &[])?;
            self.turn();
        }
        Ok(())
    }

    /// Time passes until everyone was pinged and has answered, and TCP has nothing more to say.
    pub(super) fn rest(&mut self) -> anyhow::Result<()> {
        let pong = client::text("{}");
        let mut pings = 0;
        let until = self.now + PING_INTERVAL + Micros::from_secs(1);
        while self.now < until {
            self.now = self.now + Micros::from_millis(5);
            self.turn();
            while self.core.port().take_sent(&mut self.frame) {
                let arrived = self.clients.take(&self.frame)?;
                if arrived.payload_at.is_empty() {
                    continue;
                }
                pings += 1;
                self.send(arrived.player, false, &pong)?;
            }
            self.turn();
        }
        ensure!(pings == self.clients.count(), "{pings} pings");
        Ok(())
    }

    /// One event to every player, and their acknowledgements; the time of the core's turns alone.
    pub(super) fn event_to_all(&mut self) -> anyhow::Result<Time> {
        let data = format!("\"{}\"", "x".repeat(EVENT_BYTES - 2));
        let publish = Publish {
            hunt: "hunt",
            data: data.as_bytes(),
            stamp_us: self.now.0,
            ..Publish::default()
        };
        let mut scratch = vec![0; SUBMISSION_BYTES_MAX];
        let record = postcard::to_slice(&Submission::Publish(publish), &mut scratch)?;
        ensure!(self.control.push(record).is_ok(), "the submit ring is full");
        self.journal.turn(self.now, self.now.0 / 1000);
        let mut time = Time::default();
        let mut delivered = 0;
        let mut receivers = Vec::with_capacity(FRAMES);
        loop {
            time.sending += self.timed_turn(&mut time.longest_turn).0;
            while self.core.port().take_sent(&mut self.frame) {
                let arrived = self.clients.take(&self.frame)?;
                ensure!(arrived.payload_at.len() > EVENT_BYTES, "an event is whole");
                receivers.push(arrived.player);
            }
            // The NIC takes as many at once, and nothing waits when the last of them are in.
            if receivers.len() + 1024 > FRAMES || delivered + receivers.len() == self.count() {
                delivered += receivers.len();
                for player in receivers.drain(..) {
                    self.send(player, false, &[])?;
                }
                time.acknowledging += self.take_acknowledgements(&mut time.longest_turn);
            }
            if delivered == self.count() {
                return Ok(time);
            }
        }
    }

    /// Turns until nothing is received any more. Turns in which frames are also sent do both, so
    /// the walk is kept back by a NIC that takes none.
    fn take_acknowledgements(&mut self, longest: &mut Duration) -> Duration {
        let mut span = Duration::ZERO;
        self.core.port().limit_tx(0);
        loop {
            let (turn, received) = self.timed_turn(longest);
            span += turn;
            if received == 0 {
                break;
            }
        }
        self.core.port().limit_tx(FRAMES);
        span
    }

    fn timed_turn(&mut self, longest: &mut Duration) -> (Duration, u64) {
        self.now = self.now + Micros(50);
        let before = self.core.port().stats().rx_frames;
        let start = cpu_time();
        self.core.turn(self.now);
        let span = cpu_time().saturating_sub(start);
        *longest = span.max(*longest);
        (span, self.core.port().stats().rx_frames - before)
    }

    fn count(&self) -> usize {
        self.clients.count() as usize
    }

    /// Sends and expects one segment with `answer` in it.
    fn ask(&mut self, player: u32, syn: bool, payload: &[u8], answer: &str) -> anyhow::Result<()> {
        self.send(player, syn, payload)?;
        // The journal is asked about a hunt that nobody is subscribed to yet.
        for _ in 0..3 {
            self.turn();
            if self.core.port().take_sent(&mut self.frame) {
                let arrived = self.clients.take(&self.frame)?;
                ensure!(arrived.player == player, "an answer to someone else");
                let text = String::from_utf8_lossy(&self.frame[arrived.payload_at]);
                ensure!(text.contains(answer), "{answer} was expected, not {text}");
                return Ok(());
            }
        }
        anyhow::bail!("no answer to player {player}")
    }

    fn send(&mut self, player: u32, syn: bool, payload: &[u8]) -> anyhow::Result<()> {
        self.clients.clock = u32::try_from(self.now.0 / 1000)?;
        self.clients.segment(player, syn, payload, &mut self.frame);
        ensure!(self.core.port().inject(&self.frame), "the NIC is full");
        Ok(())
    }

    fn turn(&mut self) {
        self.now = self.now + Micros(10);
        self.core.turn(self.now);
        self.journal.turn(self.now, self.now.0 / 1000);
    }
}

/// Time this thread has had on a CPU: whoever else uses the machine does not count.
fn cpu_time() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID);
    now.map_or(Duration::ZERO, Duration::from)
}

fn journal_config() -> journal::Config {
    journal::Config {
        durability: Durability::Fsync,
        hunts_max: 100,
        retention: Retention {
            default: Rule {
                history_size: 10,
                history_ttl_ms: 1000,
                compress_from: None,
            },
            namespaces: Vec::new(),
            paths: journal::PathRule::default(),
        },
    }
}

/// The appliance's defaults, with anonymous players.
fn rules() -> Rules {
    Rules {
        compression_bytes_min: 256,
        version: "idle",
        path: "/connection/websocket".to_owned(),
        anonymous: true,
        ping_interval: PING_INTERVAL,
        pong_timeout: Micros::from_secs(8),
        handshake_timeout: Micros::from_secs(5),
        connect_timeout: Micros::from_secs(5),
        message_bytes_max: 65_536,
        echo_message_bytes_max: 65_536,
        channels_max: 128,
        lag_bytes_max: 200_000,
        default: ChannelRules {
            history: true,
            force_recovery: true,
            allow_subscribe_for_client: true,
            allow_subscribe_for_anonymous: true,
            ..ChannelRules::default()
        },
        ..Rules::default()
    }
}
