//! What an idle player costs in memory, and what an event to all of them costs in time: the engine
//! itself (TCP, WebSocket, sessions, hunts) on its in-memory NIC, with players that are scripted
//! segments and keep nothing but three numbers each.
//!
//! How it measures: two worlds of different size are built, filled with connected and subscribed
//! players and left alone for longer than a ping takes to come round. What one world has more than
//! the other, divided by the players it has more, is what a player costs; whatever does not depend
//! on the number of players (rings, hunt logs, the NIC's frames) drops out. That is done three times:
//! with what the engine says it reserved, part by part; with the bytes the allocator handed out; and
//! with the resident memory the kernel counts. The largest of the three is held against the budget.
//! Address space that was reserved and never used (for what a connection remembers of losses, while its
//! path loses something) is no memory; it is printed apart.
//!
//! What it does not do: heap of the allocator's own making (size classes) shows in the resident
//! memory only, and a player's token with name and info costs what they are long; these players are
//! anonymous.

mod client;
mod world;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::idle::world::World;

/// The most an idle connection may cost, everything included.
pub const BUDGET_BYTES: f64 = 512.0;

/// Players of the small world: enough to be past the first page of every table.
const SMALL: u32 = 1_000;

/// Events sent to everyone.
const EVENTS: usize = 5;

/// What was found.
#[derive(Debug)]
pub struct Outcome {
    /// For people.
    pub table: String,
    /// The budget was kept.
    pub held: bool,
}

/// Memory of the process at one moment, in bytes.
#[derive(Debug, Clone, Copy)]
struct Held {
    allocated: usize,
    resident: usize,
}

impl Held {
    fn now(allocated: fn() -> usize) -> anyhow::Result<Held> {
        let statm = std::fs::read_to_string("/proc/self/statm").context("reading own memory")?;
        let pages = statm
            .split(' ')
            .nth(1)
            .context("statm has no second field")?;
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?;
        let page = usize::try_from(page.context("no page size")?)?;
        Ok(Held {
            allocated: allocated(),
            resident: pages.parse::<usize>()? * page,
        })
    }

    fn since(self, before: Held) -> Held {
        Held {
            allocated: self.allocated.saturating_sub(before.allocated),
            resident: self.resident.saturating_sub(before.resident),
        }
    }
}

/// A world full of idle players, and what it took.
fn idle(players: u32, allocated: fn() -> usize) -> anyhow::Result<(World, Held)> {
    // The clients' own numbers are taken and touched before.
    let clients = client::Clients::new(players);
    let before = Held::now(allocated)?;
    let mut world = World::new(clients)?;
    world.connect_all()?;
    world.rest()?;
    let held = Held::now(allocated)?.since(before);
    ensure!(
        world.core.connections() == players as usize,
        "{} of {players} connections are left",
        world.core.connections()
    );
    Ok((world, held))
}

/// Measures with `players` players; `allocated` gives the bytes the allocator has handed out.
pub fn run(players: u32, allocated: fn() -> usize) -> anyhow::Result<Outcome> {
    ensure!(players > SMALL, "needs more than {SMALL} players");
    let (small, held_small) = idle(SMALL, allocated)?;
    let (mut large, held_large) = idle(players, allocated)?;
    let more = f64::from(players - SMALL);
    // Exact: far below 2^53.
    let each = |large: usize, small: usize| (large as f64 - small as f64) / more;

    let mut table = format!("{players} idle players, one hunt each\n\n");
    let mut sum = 0.0;
    for ((name, large), (_, small)) in large.core.memory().into_iter().zip(small.core.memory()) {
        let bytes = each(large, small);
        sum += bytes;
        if bytes > 0.0 {
            writeln!(table, "  {name:<44}{bytes:>8.1} B")?;
        }
    }
    let (untouched_large, record) = large.core.untouched();
    let untouched = each(untouched_large, small.core.untouched().0);
    let by_allocator = each(held_large.allocated, held_small.allocated) - untouched;
    let by_kernel = each(held_large.resident, held_small.resident);
    writeln!(table, "  {:<44}{sum:>8.1} B\n", "sum of the parts")?;
    writeln!(table, "a player, by the allocator {by_allocator:>27.1} B")?;
    writeln!(table, "a player, by resident memory {by_kernel:>25.1} B")?;
    writeln!(table, "reserved and untouched {untouched:>31.1} B")?;
    writeln!(table, "on top for a minute after a loss {record:>19} B")?;
    let most = sum.max(by_allocator).max(by_kernel);
    let held = most <= BUDGET_BYTES;
    let verdict = if held { "held" } else { "EXCEEDED" };
    writeln!(table, "budget {BUDGET_BYTES:>47.1} B  {verdict}\n")?;

    let mut time = large.event_to_all()?;
    for _ in 1..EVENTS {
        time = time.and(large.event_to_all()?);
    }
    let nanos = |span: Duration| span.as_nanos() as f64 / f64::from(players);
    writeln!(
        table,
        "one event to all of them (the best of {EVENTS}): {:.0} ns a segment sent, {:.0} ns an \
         acknowledgement taken; longest turn {:.0} us",
        nanos(time.sending),
        nanos(time.acknowledging),
        time.longest_turn.as_secs_f64() * 1e6,
    )?;
    Ok(Outcome { table, held })
}
