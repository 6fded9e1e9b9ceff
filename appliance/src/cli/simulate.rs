//! `cluecast simulate`: the engine's TCP in virtual time (engine::sim). Reads options, prints, and
//! fails when a seed does.

use std::io::{BufWriter, Write, stdout};

use clap::{Args, ValueEnum};
use engine::sim::Engine;
use engine::sim::command::{Options, simulate as run};

/// Options of `cluecast simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to run, one after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Kind of scenario, instead of the one the seed would choose.
    #[arg(long)]
    scenario: Option<String>,
    /// Print every frame.
    #[arg(long)]
    trace: bool,
    /// Server under test.
    #[arg(long, value_enum, default_value_t = Server::Ours)]
    engine: Server,
    /// Switch RACK-TLP off.
    #[arg(long)]
    no_rack: bool,
    /// Print latencies on a lossy mobile link: ours, ours without RACK-TLP, smoltcp's sockets.
    #[arg(long)]
    compare: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Server {
    /// The appliance's TCP.
    Ours,
    /// smoltcp's sockets, for comparison.
    Smoltcp,
}

/// Runs the seeds.
pub fn simulate(asked: &Simulate) -> anyhow::Result<()> {
    let options = Options {
        seed: asked.seed,
        seeds: asked.seeds,
        scenario: asked.scenario.clone(),
        trace: asked.trace,
        engine: match asked.engine {
            Server::Ours => Engine::Ours,
            Server::Smoltcp => Engine::Smoltcp,
        },
        rack_tlp: !asked.no_rack,
        compare: asked.compare,
    };
    let mut out = BufWriter::new(stdout().lock());
    let failed = run(&options, &mut out)?;
    out.flush()?;
    anyhow::ensure!(failed == 0, "{failed} failed");
    Ok(())
}
