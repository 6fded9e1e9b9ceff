//! The thread bodies: pin, then turn until told to stop. What a turn does is the engine's.

pub mod control;
pub mod data;
pub mod journal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// How far the appliance is in its life; every core looks at it once a turn.
#[derive(Debug, Clone, Default)]
pub struct Life {
    stage: Arc<AtomicU8>,
}

/// A stage of [`Life`]; only later ones follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Serving.
    Run = 0,
    /// Data cores send their players away and end; the journal goes on.
    Drain = 1,
    /// The journal answers what it has and ends.
    Stop = 2,
}

impl Life {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Run,
            1 => Stage::Drain,
            _ => Stage::Stop,
        }
    }

    /// Moves on to `stage`.
    pub fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::Relaxed);
    }
}

/// Whether a core still turns: it beats every turn, the watchdog asks every few seconds.
#[derive(Debug, Clone)]
pub struct Pulse {
    name: Arc<str>,
    beat: Arc<Beat>,
}

/// On a cache line of its own: a core writes it every turn.
#[derive(Debug)]
#[repr(align(64))]
struct Beat(AtomicBool);

impl Pulse {
    /// Of the core with this name.
    pub fn new(name: &str) -> Pulse {
        Pulse {
            name: name.into(),
            beat: Arc::new(Beat(AtomicBool::new(true))),
        }
    }

    /// Says that the core has come round.
    pub fn beat(&self) {
        self.beat.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has come round since this was asked last.
    pub fn take(&self) -> bool {
        self.beat.0.swap(false, Ordering::Relaxed)
    }

    /// The core's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Pins the calling thread to `cpu`, if one is configured; a CPU that does not exist is said and
/// ignored, because the appliance works without.
fn pin(cpu: Option<usize>, name: &str) {
    let Some(cpu) = cpu else { return };
    if core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        tracing::info!("{name} runs on CPU {cpu}");
    } else {
        tracing::warn!("{name} cannot be pinned to CPU {cpu}: no such CPU, or not allowed here");
    }
}
