//! What a run consists of, all of it drawn from one seed.
//!
//! A seed first picks a kind (the names below), then everything the kind leaves open. The kinds are
//! the faults a path can have, one at a time, so that a failing seed says at once what it is about;
//! `chaos` mixes them and `crowd` has a thousand connections and more. `mobile` is the link that the
//! latency figures are made on; it is not drawn but named.

use crate::sim::client::{Ending, Kind, Plan, Reading};
use crate::sim::foreign::Settings;
use crate::sim::path::{Burst, Faults, Outage};
use crate::sim::random::Random;
use crate::sim::receiver::Habits;
use crate::sim::server::{Filling, SERVER};
use crate::tcp::{Algorithm, Config};
use crate::units::Micros;

/// The kinds, each with how often it is drawn.
const KINDS: &[(&str, u64)] = &[
    ("calm", 4),
    ("loss", 16),
    ("burst", 10),
    ("reorder", 10),
    ("duplicate", 5),
    ("corrupt", 5),
    ("narrow", 10),
    ("cut", 8),
    ("pause", 6),
    ("slow-reader", 8),
    ("stalled-reader", 6),
    ("vanish", 3),
    ("abort", 3),
    ("wrap", 5),
    ("chaos", 12),
    ("crowd", 1),
    ("black-hole", 3),
    ("marks", 4),
    ("cookies", 4),
    ("small-pools", 3),
    ("mobile", 0),
];

/// Names that [`Scenario::named`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name)
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Ours.
    Ours,
    /// smoltcp's sockets, for comparison.
    Smoltcp,
}

/// A run, before it is run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its kind.
    pub name: &'static str,
    /// What it was made from.
    pub seed: u64,
    /// Server under test.
    pub engine: Engine,
    /// Settings of ours.
    pub tcp: Config,
    /// Frames the server's port takes at once.
    pub tx_frames: usize,
    /// Bytes before the wrap of its sequence numbers at which the first connection starts.
    pub wrap_in: Option<u32>,
    /// The connections.
    pub plans: Vec<Plan>,
    /// Virtual time after which the run has failed.
    pub limit: Micros,
}

impl Scenario {
    /// The scenario of `seed`.
    pub fn from_seed(seed: u64) -> Scenario {
        let mut random = Random::new(seed);
        let total = KINDS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = random.below(total);
        for &(name, weight) in KINDS {
            if drawn < weight {
                return build(name, seed, &mut random);
            }
            drawn -= weight;
        }
        build("calm", seed, &mut random)
    }

    /// The scenario of kind `name` and `seed`; none when there is no such kind.
    pub fn named(name: &str, seed: u64) -> Option<Scenario> {
        let (name, _) = KINDS.iter().find(|(known, _)| *known == name)?;
        Some(build(name, seed, &mut Random::new(seed)))
    }

    /// `clients` players on a lossy mobile link: 20 ms and up to 10 more each way, 20 events of 200
    /// bytes a second for `seconds`.
    pub fn mobile(seed: u64, clients: u32, seconds: u64, loss_ppm: u64) -> Scenario {
        let mut random = Random::new(seed);
        let mut scenario = empty("mobile", seed, &mut random, clients);
        scenario.tcp.congestion = Algorithm::Cubic;
        scenario.tcp.rack_tlp = true;
        scenario.tcp.bundling = true;
        scenario.tcp.receive_window = 65_535;
        scenario.tx_frames = 256;
        scenario.limit = Micros::from_secs(seconds + 600);
        for _ in 0..clients {
            let faults = Faults {
                loss_ppm,
                delay: Micros::from_millis(15),
                jitter: Micros::from_millis(10),
                keeps_order: true,
                ..Faults::default()
            };
            let mut plan = plan(&mut random, &faults, &faults);
            // A client with all that phones' stacks have.
            plan.kind = Kind::Own(Habits {
                mss: 1_460,
                buffer: 65_535,
                scale: Some(2),
                sack: true,
                dsack: true,
                timestamp: Some(random.word()),
                iss: random.word(),
                ack_every: 2,
                ecn: false,
                renege_ppm: 0,
            });
            plan.start = Micros(random.below(50_000));
            plan.bulk = 0;
            plan.events = seconds * 20;
            plan.event_bytes = 200;
            plan.event_every = Micros::from_millis(50);
            plan.up_bytes = 0;
            plan.reading = Reading::default();
            plan.ending = Ending::ClientCloses;
            scenario.plans.push(plan);
        }
        scenario
    }
}

fn empty(name: &'static str, seed: u64, random: &mut Random, clients: u32) -> Scenario {
    let receive_window = u32::try_from(random.between(4_096, 150_000)).unwrap_or(0);
    let algorithm = random.pick(&[Algorithm::Cubic, Algorithm::Cubic, Algorithm::NewReno]);
    Scenario {
        name,
        seed,
        engine: Engine::Ours,
        tcp: Config {
            listen: vec![SERVER],
            connections_max: clients + 8,
            half_open_max: clients + 8,
            time_wait_max: clients + 8,
            receive_window,
            // Enough for each: a piece that finds no buffer would be one more fault.
            pieces: (clients * 130).min(20_000),
            secret: [random.bits(), random.bits()],
            congestion: algorithm,
            rack_tlp: random.hit(850_000),
            bundling: random.hit(750_000),
            ..Config::default()
        },
        tx_frames: random.pick(&[1, 2, 5, 32, 256, 256]),
        wrap_in: None,
        plans: Vec::new(),
        limit: Micros::from_secs(7_200),
    }
}

fn build(name: &'static str, seed: u64, random: &mut Random) -> Scenario {
    let clients = match name {
        "crowd" => random.between(1_000, 2_500),
        "cookies" => random.between(3, 40),
        "small-pools" => random.between(1, 4),
        "mobile" => return Scenario::mobile(seed, 200, 30, 30_000),
        _ => random.pick(&[1, 1, 1, 2, 3, 8]),
    };
    let clients = u32::try_from(clients).unwrap_or(1);
    let mut scenario = empty(name, seed, random, clients);
    if name == "cookies" {
        // Nearly all handshakes find the records taken.
        scenario.tcp.half_open_max = 1;
    }
    if name == "small-pools" {
        // Nodes of segments in flight are shared by the records there may be: few of both.
        scenario.tcp.connections_max = clients;
    }
    if name == "wrap" || random.hit(300_000) {
        scenario.wrap_in = Some(u32::try_from(random.below(60_000)).unwrap_or(0));
    }
    for _ in 0..clients {
        let mut up = delays(random);
        let mut down = Faults {
            delay: up.delay,
            ..delays(random)
        };
        let mut plan = plan(random, &up, &down);
        for (faults, other) in [(&mut up, true), (&mut down, false)] {
            // A fault in one direction alone shows what the other hides.
            if random.hit(750_000) || other {
                spoil(name, random, faults);
            }
        }
        if matches!(name, "cut" | "pause") || name == "chaos" && random.hit(200_000) {
            let outages = outages(random, name == "pause");
            up.outages.clone_from(&outages);
            down.outages = outages;
        }
        // The server's hole to find; the clients do not look for one.
        up.mtu = 0;
        plan.up = up;
        plan.down = down;
        if name == "crowd" {
            shrink(random, &mut plan);
        }
        behave(name, random, &mut plan);
        scenario.plans.push(plan);
    }
    scenario
}

/// A healthy path: 0.1 to 150 ms, a little jitter.
fn delays(random: &mut Random) -> Faults {
    let delay = random.pick(&[100, 1_000, 5_000, 20_000, 20_000, 50_000, 150_000]);
    Faults {
        delay: Micros(delay + random.below(delay)),
        jitter: Micros(random.below(delay / 2)),
        keeps_order: true,
        ..Faults::default()
    }
}

/// What `name` does to a direction.
fn spoil(name: &str, random: &mut Random, faults: &mut Faults) {
    let percent = |random: &mut Random, most| random.between(1, most) * 10_000;
    match name {
        "loss" | "crowd" => faults.loss_ppm = percent(random, 12),
        "burst" => {
            faults.burst = Some(Burst {
                enter_ppm: random.between(2_000, 30_000),
                leave_ppm: random.between(100_000, 600_000),
                loss_ppm: random.pick(&[500_000, 900_000, 1_000_000]),
            });
        }
        "reorder" => {
            faults.keeps_order = random.hit(500_000);
            faults.reorder_ppm = percent(random, 30);
            faults.reorder_by = Micros(random.between(500, 60_000));
        }
        "duplicate" => faults.duplicate_ppm = percent(random, 40),
        "marks" => {
            faults.mark_ppm = percent(random, 20);
            faults.loss_ppm = percent(random, 3);
        }
        "cookies" => faults.loss_ppm = percent(random, 8),
        "small-pools" => {
            faults.loss_ppm = percent(random, 6);
            faults.reorder_ppm = percent(random, 10);
            faults.reorder_by = Micros::from_millis(10);
        }
        "corrupt" => faults.corrupt_ppm = percent(random, 10),
        "narrow" => {
            faults.bytes_per_second = random.between(10_000, 1_000_000);
            faults.queue_bytes = random.between(5_000, 60_000);
        }
        "wrap" => {
            faults.loss_ppm = percent(random, 5);
            faults.reorder_ppm = percent(random, 5);
            faults.reorder_by = Micros::from_millis(20);
        }
        "black-hole" => faults.mtu = usize::try_from(random.between(1_200, 1_450)).unwrap_or(0),
        "chaos" => {
            let faulty = [
                "loss",
                "burst",
                "reorder",
                "duplicate",
                "corrupt",
                "narrow",
                "marks",
            ];
            for one in faulty {
                if random.hit(350_000) {
                    spoil(one, random, faults);
                }
            }
            faults.loss_ppm = faults.loss_ppm.min(50_000);
        }
        _ => {}
    }
}

fn outages(random: &mut Random, holds: bool) -> Vec<Outage> {
    let mut from = random.between(20, 2_000);
    let mut outages = Vec::new();
    for _ in 0..random.between(1, 3) {
        let most = random.pick(&[300, 1_000, 8_000]);
        let until = from + random.between(50, most);
        outages.push(Outage {
            from: Micros::from_millis(from),
            until: Micros::from_millis(until),
            holds,
        });
        from = until + random.between(100, 4_000);
    }
    outages
}

/// Two kinds of client, loads from a few events to a few hundred kilobytes.
fn plan(random: &mut Random, up: &Faults, down: &Faults) -> Plan {
    let buffer = random.pick(&[4_096, 16_384, 65_535, 65_535, 200_000]);
    let kind = if random.hit(500_000) {
        Kind::Own(habits(random, buffer))
    } else {
        Kind::Foreign(Settings {
            buffer: buffer.min(65_535),
            timestamps: random.hit(500_000),
            ack_delay: random.pick(&[None, Some(Micros::from_millis(10))]),
            mtu: random.pick(&[1_500, 1_500, 1_400, 576]),
            seed: random.bits(),
        })
    };
    let small = random.hit(600_000);
    Plan {
        kind,
        start: Micros(random.below(100_000)),
        up: up.clone(),
        down: down.clone(),
        bulk: if small { 0 } else { random.below(150_000) },
        events: random.between(1, 80),
        event_bytes: random.pick(&[1, 60, 200, 200, 200, 1_000, 3_000]),
        event_every: Micros(random.pick(&[1_000, 10_000, 50_000, 50_000, 300_000])),
        // Never nothing: a client whose last ACK of the handshake is lost would not be heard of again.
        up_bytes: random.pick(&[100, 300, 3_000, 20_000, 60_000]),
        up_chunk: random.pick(&[1, 100, 700, 5_000]).max(30),
        up_every: Micros(random.pick(&[500, 10_000, 70_000])),
        reading: Reading::default(),
        filling: Filling {
            run: random.pick(&[200, 1_000, 10_000, 1 << 40, 1 << 40]),
            greedy: random.hit(500_000),
            lazy: random.hit(300_000),
        },
        ending: random.pick(&[
            Ending::ClientCloses,
            Ending::ClientCloses,
            Ending::ServerCloses,
            Ending::BothClose,
        ]),
    }
}

fn habits(random: &mut Random, buffer: u32) -> Habits {
    // Half of them about to wrap.
    let near_wrap = |random: &mut Random, span: u32| match random.hit(500_000) {
        true => u32::MAX - random.word() % span,
        false => random.word(),
    };
    Habits {
        mss: random.pick(&[1_460, 1_460, 1_360, 536, 216]),
        buffer,
        scale: random.pick(&[None, Some(0), Some(2), Some(7)]),
        sack: random.hit(850_000),
        dsack: random.hit(700_000),
        timestamp: random.hit(700_000).then(|| near_wrap(random, 20_000)),
        iss: near_wrap(random, 50_000),
        ack_every: random.pick(&[1, 2, 2, 2]),
        ecn: random.hit(500_000),
        renege_ppm: 0,
    }
}

/// Loads for a thousand connections.
fn shrink(random: &mut Random, plan: &mut Plan) {
    plan.start = Micros(random.below(3_000_000));
    plan.bulk = 0;
    plan.events = random.between(1, 10);
    plan.event_bytes = plan.event_bytes.min(300);
    plan.event_every = Micros(random.pick(&[50_000, 300_000]));
    plan.up_bytes = random.pick(&[50, 100, 600]);
    if let Kind::Foreign(settings) = &mut plan.kind {
        settings.buffer = 4_096;
    }
}

/// What `name` makes applications do.
fn behave(name: &str, random: &mut Random, plan: &mut Plan) {
    let moment = |random: &mut Random| Micros::from_millis(random.between(300, 3_000));
    match name {
        "slow-reader" => {
            plan.bulk += random.between(10_000, 80_000);
            plan.reading.bytes = random.between(100, 4_000);
            plan.reading.every = Micros::from_millis(random.between(2, 60));
        }
        "stalled-reader" => {
            let from = random.below(1_000);
            let most = random.pick(&[500, 3_000, 40_000]);
            let until = from + random.between(100, most);
            plan.bulk += random.between(10_000, 200_000);
            plan.reading.stalls = vec![(Micros::from_millis(from), Micros::from_millis(until))];
        }
        "vanish" => plan.ending = Ending::Vanishes(moment(random)),
        "abort" => plan.ending = Ending::Aborts(moment(random)),
        "chaos" if random.hit(200_000) => behave("stalled-reader", random, plan),
        "chaos" if random.hit(200_000) => behave("slow-reader", random, plan),
        "black-hole" => {
            plan.bulk += 20_000;
            // A peer whose window our lost segments fill does not take our ACKs, which are numbered behind
            // them (RFC 9293 section 3.10.7.4): its stream would wait for the hole to be found.
            plan.up_bytes = plan.up_bytes.min(1_000);
        }
        // Small segments and a deep window: as many in flight as can be.
        "small-pools" => {
            plan.bulk += 150_000;
            plan.filling.greedy = true;
            plan.kind = Kind::Own(Habits {
                mss: 216,
                scale: Some(2),
                ..habits(random, 200_000)
            });
        }
        "cookies" => {
            plan.start = Micros(random.below(20_000));
            plan.bulk = plan.bulk.min(20_000);
        }
        _ => {}
    }
}
