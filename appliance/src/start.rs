//! The order of start-up: what has to exist before what, and what is undone when a step fails.
//!
//! 1. the store is opened (a second appliance on the same directory stops here) and the admin socket
//!    is bound;
//! 2. rings, logs and records take their memory;
//! 3. the AF_XDP sockets are opened and filled, and only then
//! 4. the XDP program is attached and told of them: no frame is steered to a socket that is not ready;
//! 5. capabilities are dropped, and the threads start: journal, data cores, control.
//!
//! Whatever was made is owned by [`Appliance`]; dropping it detaches the program.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, ensure};
use engine::cores::data::{DataCore, Parts};
use engine::cores::mailbox::{self, Mailbox};
use engine::hunt::Hunts;
use engine::hunt::counts::Counts;
use engine::hunt::log::Logs;
use engine::journal::JournalCore;
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::metrics::histogram::{self, Collector, Recorder};
use engine::ring::broadcast::RECORD_BYTES_MAX;
use engine::ring::bytes::{Reader, Writer, ring};
use engine::ring::submit::SUBMISSION_BYTES_MAX;
use engine::session::rules::Verify;
use engine::session::{Sessions, Submit};
use engine::tcp::Tcp;
use xdp_prog::port::XskPort;
use xdp_prog::steering::{Steering, rx_queues};

use crate::auth::Tokens;
use crate::auth::jwks::KeyFile;
use crate::config::check::QUEUES_MAX;
use crate::config::{self, Config};
use crate::cores::{Life, Pulse, Stage, control, data, journal};
use crate::doorbell::Doorbell;
use crate::plan::{BROADCAST_RING_BYTES, DataPlan, Plan, SUBMIT_RING_BYTES};
use crate::store::RocksStore;
use crate::{clock, privileges, region, translate};

/// Encodings of a hunt that have room when every hunt is in use: players of one hunt mostly share two, and
/// most hunts have one.
const STREAMS_PER_HUNT: u32 = 2;

/// Bytes of stack for a core's thread: page buffers of a recovery live on the heap, so this is ample.
const STACK_BYTES: usize = 2 << 20;

/// A running appliance; `stop` says how it ends.
#[derive(Debug)]
pub struct Appliance {
    /// Attached as long as this lives.
    pub(crate) steering: Steering,
    pub(crate) life: Life,
    /// Of all cores, to wake them for a change of `life`.
    pub(crate) bells: Vec<Doorbell>,
    pub(crate) data: Vec<JoinHandle<()>>,
    pub(crate) journal: JoinHandle<()>,
    pub(crate) control: JoinHandle<Result<()>>,
}

/// What every core has one of, in the order of all lists: data cores, control, journal.
struct Cores {
    counters: Vec<Counters>,
    bells: Vec<Doorbell>,
    life: Life,
}

/// Random numbers of this run.
struct Secrets {
    /// The same on all data cores, so that each could answer for the other's flows.
    tcp: [u64; 2],
    seed: u64,
}

/// One data core's part of what is made for all of them at once.
struct Share {
    port: XskPort,
    /// Where it counts the subscribers of every hunt.
    table: Counts,
    submit: Writer,
    broadcast: Reader,
    mailbox: Mailbox,
    recorder: Recorder,
    verify: Verify,
    counters: Counters,
}

/// Starts everything `config` asks for; when it returns, players can connect.
pub fn start(config: &Config) -> Result<Appliance> {
    let interface = &config.game.interface;
    let queues = rx_queues(interface).context("game.interface")?;
    let plan = Plan::new(config, queues);
    let count = plan.data.len();
    ensure!(
        count <= usize::from(QUEUES_MAX),
        "{interface} has {queues} queues, {QUEUES_MAX} can be served: set game.queues"
    );
    let mebibytes = plan.memory_bytes(config) >> 20;
    tracing::info!("{interface}: {queues} queues, {count} data cores, {mebibytes} MiB");

    let (tokens, key_file) = Tokens::open(&config.client)?;
    let store = open_store(config)?;
    let listener = open_admin(config)?;

    let cores = Cores {
        counters: (0..count + 2).map(|_| Counters::default()).collect(),
        bells: (0..count + 2)
            .map(|_| Doorbell::new())
            .collect::<nix::Result<_>>()?,
        life: Life::default(),
    };
    let secrets = secrets()?;
    let submit_ring = |_| ring(SUBMIT_RING_BYTES, SUBMISSION_BYTES_MAX);
    let broadcast_ring = |_| ring(BROADCAST_RING_BYTES, RECORD_BYTES_MAX);
    let (mut submits, sources): (Vec<_>, _) = (0..=count).map(submit_ring).unzip();
    let (sinks, mut broadcasts): (_, Vec<_>) = (0..=count).map(broadcast_ring).unzip();
    let counters = cores.counters[count + 1].clone();
    let mut journal = JournalCore::open(
        store,
        translate::journal(config),
        sources,
        sinks,
        count,
        counters,
        secrets.seed,
    )
    .context("journal.path: cannot read the journal")?;

    let tables = journal.count_subscribers();
    let own_rings = submits
        .pop()
        .zip(broadcasts.pop())
        .context("control has rings")?;
    let (steering, ports) = open_ports(config, &plan, &cores.counters)?;
    let (recorders, collectors): (Vec<_>, _) =
        plan.data.iter().map(|_| histogram::recorder()).unzip();
    let mailboxes = mailbox::circle(u8::try_from(count).context("at most 64 queues")?);
    let mut data_cores = Vec::with_capacity(count);
    let rings = submits.into_iter().zip(broadcasts);
    let latency = mailboxes.into_iter().zip(recorders);
    let ports = ports.into_iter().zip(tables);
    for (index, (((port, table), rings), latency)) in ports.zip(rings).zip(latency).enumerate() {
        let (submit, broadcast) = rings;
        let (mailbox, recorder) = latency;
        let counters = cores.counters[index].clone();
        let share = Share {
            port,
            table,
            submit,
            broadcast,
            mailbox,
            recorder,
            verify: tokens.verify(),
            counters,
        };
        data_cores.push(data_core(config, &plan, &secrets, share)?);
    }
    let control = control_parts(
        &plan, &cores, &steering, listener, key_file, own_rings, collectors,
    )?;
    spawn(config, &plan, cores, steering, data_cores, journal, control)
}

/// The database, whose own threads never have capabilities.
fn open_store(config: &Config) -> Result<RocksStore> {
    let open = || RocksStore::open(&config.journal.path, translate::store(config));
    Ok(privileges::without(open)??)
}

/// The admin socket.
fn open_admin(config: &Config) -> Result<TcpListener> {
    let listen = config.admin.listen;
    TcpListener::bind(listen).with_context(|| format!("admin.listen: cannot bind {listen}"))
}

/// Sockets first, then the program that steers to them.
fn open_ports(
    config: &Config,
    plan: &Plan,
    counters: &[Counters],
) -> Result<(Steering, Vec<XskPort>)> {
    let interface = &config.game.interface;
    let open = |data: &DataPlan| XskPort::open(interface, data.queue, &translate::port(config));
    let ports: Vec<XskPort> = plan.data.iter().map(open).collect::<Result<_, _>>()?;
    let steering = Steering::attach(interface, &config.game.listen, translate::mode(config))?;
    let native = steering.is_native();
    for ((data, port), counters) in plan.data.iter().zip(&ports).zip(counters) {
        steering.register(data.queue, port)?;
        let zero_copy = port.is_zero_copy();
        counters.set(Metric::PortZerocopy, zero_copy.into());
        counters.set(Metric::PortNative, native.into());
        let copies = if zero_copy { "zero-copy" } else { "copy mode" };
        let mode = if native { "native" } else { "generic" };
        tracing::info!(
            "{}: queue {} of {interface}, {mode} XDP, {copies}",
            data.name,
            data.queue
        );
    }
    Ok((steering, ports))
}

fn data_core(
    config: &Config,
    plan: &Plan,
    secrets: &Secrets,
    share: Share,
) -> Result<DataCore<XskPort>> {
    let Share {
        port,
        table,
        submit,
        broadcast,
        mailbox,
        recorder,
        verify,
        counters,
    } = share;
    let hunts_max = config.game.hunts_max;
    let streams_max = hunts_max.saturating_mul(STREAMS_PER_HUNT);
    let region = region::map(plan.hunt_log_bytes, "hunt log")?;
    let window_bytes = config.client.lag_bytes_max;
    let logs = Logs::new(region, streams_max as usize, window_bytes);
    let mut hunts = Hunts::new(logs, hunts_max, streams_max, plan.subscriptions_max);
    hunts.count_in(table);
    Ok(DataCore::new(Parts {
        port,
        tcp: Tcp::new(translate::tcp(config, secrets.tcp), counters.clone()),
        sessions: Sessions::new(
            config.game.players_max,
            config.game.private_chunks,
            translate::rules(config),
            verify,
            counters.clone(),
            recorder,
            secrets.seed ^ clock::now().0,
        ),
        hunts,
        submit: Submit::new(submit),
        broadcast,
        mailbox,
        counters,
    }))
}

fn control_parts(
    plan: &Plan,
    cores: &Cores,
    steering: &Steering,
    listener: TcpListener,
    key_file: Option<KeyFile>,
    (submit, answers): (Writer, Reader),
    collectors: Vec<Collector>,
) -> Result<control::Parts> {
    let count = plan.data.len();
    let names = plan.data.iter().map(|data| data.name.clone());
    let names = names.chain(["control".to_owned(), "journal".to_owned()]);
    let reader = steering.reader()?;
    Ok(control::Parts {
        listener,
        key_file,
        submit,
        answers,
        bell: cores.bells[count].clone(),
        journal: cores.bells[count + 1].clone(),
        counters: names.zip(cores.counters.iter().cloned()).collect(),
        own: cores.counters[count].clone(),
        collectors,
        verdicts: Box::new(move || reader.read()),
        life: cores.life.clone(),
    })
}

fn spawn(
    config: &Config,
    plan: &Plan,
    cores: Cores,
    steering: Steering,
    data_cores: Vec<DataCore<XskPort>>,
    core: JournalCore<RocksStore>,
    parts: control::Parts,
) -> Result<Appliance> {
    privileges::drop_all()?;
    let Cores { bells, life, .. } = cores;
    let count = plan.data.len();
    let thread = |name: &str| Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let mut pulses = vec![Pulse::new("journal")];
    let around = journal::Surroundings {
        cpu: plan.journal_cpu,
        pulse: pulses[0].clone(),
        bell: bells[count + 1].clone(),
        readers: bells[..=count].to_vec(),
        life: life.clone(),
    };
    let journal = thread("journal").spawn(move || journal::run(core, &around))?;
    let mut data = Vec::with_capacity(count);
    for (index, (core, plan)) in data_cores.into_iter().zip(&plan.data).enumerate() {
        let pulse = Pulse::new(&plan.name);
        pulses.push(pulse.clone());
        let around = data::Surroundings {
            name: plan.name.clone(),
            pulse,
            cpu: plan.cpu,
            busy_poll: config.game.poll == config::Poll::Busy,
            bell: bells[index].clone(),
            neighbour: bells[(index + 1) % count].clone(),
            journal: bells[count + 1].clone(),
            life: life.clone(),
        };
        data.push(thread(&plan.name).spawn(move || data::run(core, &around))?);
    }
    let settings = config.clone();
    let ended = life.clone();
    let control = thread("control").spawn(move || {
        let done = control::run(&settings, parts, pulses);
        if let Err(error) = &done {
            // Without it nobody could publish, look or stop us: end in order, and say why.
            tracing::error!("control core: {error:#}; draining");
            ended.advance(Stage::Drain);
        }
        done
    })?;
    Ok(Appliance {
        steering,
        life,
        bells,
        data,
        journal,
        control,
    })
}

fn secrets() -> Result<Secrets> {
    let mut bytes = [[0; 8]; 3];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(bytes.as_flattened_mut()))
        .context("cannot read random numbers from /dev/urandom")?;
    let [one, two, seed] = bytes.map(u64::from_ne_bytes);
    Ok(Secrets {
        tcp: [one, two],
        seed,
    })
}
