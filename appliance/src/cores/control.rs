//! The thread of the control core: a single-threaded runtime for everything on kernel sockets.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::serve::ListenerExt;
use engine::metrics::counters::Counters;
use engine::metrics::histogram::Collector;
use engine::ring::bytes::{Reader, Writer};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};

use crate::auth::jwks::KeyFile;
use crate::clock;
use crate::config::{Config, Statsd};
use crate::control::api::{Api, router};
use crate::control::client::JournalClient;
use crate::cores::{Life, Pulse, Stage};
use crate::doorbell::Doorbell;
use crate::export::statsd::Exporter;
use crate::export::{Sources, Verdicts};

/// How often latencies are taken over from the data cores.
const COLLECT_PERIOD: Duration = Duration::from_millis(500);

/// How often the end is looked for.
const LIFE_PERIOD: Duration = Duration::from_millis(20);

/// Time that requests under way have at the end.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// What the control core is made of.
pub struct Parts {
    /// The admin socket, bound.
    pub listener: TcpListener,
    /// Keys for tokens that may change.
    pub key_file: Option<KeyFile>,
    /// To the journal.
    pub submit: Writer,
    /// From the journal.
    pub answers: Reader,
    /// Our own bell.
    pub bell: Doorbell,
    /// The journal's bell.
    pub journal: Doorbell,
    /// Cells of all cores by name.
    pub counters: Vec<(String, Counters)>,
    /// Our own cells, also in `counters`.
    pub own: Counters,
    /// Latency of the data cores.
    pub collectors: Vec<Collector>,
    /// Verdicts of the XDP program.
    pub verdicts: Verdicts,
    /// Life of the appliance.
    pub life: Life,
}

/// Serves until the appliance stops; `pulses` are those of the other cores.
pub fn run(config: &Config, parts: Parts, pulses: Vec<Pulse>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::spawn(watch(pulses, parts.life.clone()));
        serve(config, parts).await
    })
}

async fn serve(config: &Config, parts: Parts) -> Result<()> {
    let Parts {
        listener,
        key_file,
        submit,
        answers,
        bell,
        journal,
        counters,
        own,
        collectors,
        ..
    } = parts;
    let (verdicts, life) = (parts.verdicts, parts.life);
    let sources = Arc::new(Sources::new(counters, collectors, verdicts));
    let client = JournalClient::new(submit, journal, own.clone());
    tokio::spawn(client.clone().pump(answers, bell));
    tokio::spawn(collect(sources.clone()));
    if let Some(settings) = &config.statsd {
        let exporter = Exporter::open(settings)
            .with_context(|| format!("statsd.address: cannot reach {}", settings.address))?;
        tokio::spawn(report(exporter, settings.clone(), sources.clone()));
    }
    if let Some(file) = key_file {
        tokio::spawn(file.follow(own.clone()));
    }
    tokio::spawn(on_signal(life.clone())?);
    let api = Api {
        journal: client,
        config: config.clone(),
        sources,
        counters: own,
        life: life.clone(),
        started: Instant::now(),
        node: format!("{:016x}", clock::wall_ms()),
    };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
        // Publishers wait for small answers. A socket that is gone already needs no option.
        let _ = stream.set_nodelay(true);
    });
    let server = axum::serve(listener, router(Arc::new(api)))
        .with_graceful_shutdown(until(life.clone(), Stage::Stop));
    let end = async {
        until(life, Stage::Stop).await;
        sleep(FINISH_MAX).await;
    };
    tokio::select! {
        done = server.into_future() => done.context("the admin API ended"),
        () = end => Ok(()),
    }
}

/// Drains on SIGTERM or SIGINT; a second one ends the process as the kernel does it.
fn on_signal(life: Life) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        life.advance(Stage::Drain);
        // Asked twice: whoever asks is out of patience.
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("asked twice: stopping at once");
        std::process::exit(130);
    })
}

/// Tells systemd's watchdog that all cores turn. If one does not, it is told nothing any more, and ends
/// and restarts us. Cores end one by one while draining, which has a bound of its own.
async fn watch(pulses: Vec<Pulse>, life: Life) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Twice in the time that is allowed, and once more.
    let mut ticks = interval(period / 3);
    loop {
        ticks.tick().await;
        let still = pulses.iter().filter(|pulse| !pulse.take());
        let still: Vec<&str> = still.map(Pulse::name).collect();
        if still.is_empty() || life.stage() > Stage::Run {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("{} did not turn for {:?}", still.join(", "), period / 3);
        }
    }
}

async fn until(life: Life, stage: Stage) {
    let mut ticks = interval(LIFE_PERIOD);
    while life.stage() < stage {
        ticks.tick().await;
    }
}

async fn collect(sources: Arc<Sources>) {
    let mut ticks = interval(COLLECT_PERIOD);
    loop {
        ticks.tick().await;
        sources.collect();
    }
}

async fn report(mut exporter: Exporter, settings: Statsd, sources: Arc<Sources>) {
    let mut ticks = interval(Duration::from_millis(settings.interval_ms.into()));
    loop {
        ticks.tick().await;
        exporter.report(&sources);
    }
}
