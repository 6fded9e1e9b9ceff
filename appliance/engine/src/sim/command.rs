//! `simulate`: what the command line asks for, done and told. The output is the caller's, so that the
//! binary, the tests and the soak share it.

use std::io::{self, Write};

use crate::sim::report::{Latency, compare, table};
use crate::sim::scenario::{Engine, Scenario, names};
use crate::sim::world::{Outcome, run};
use crate::units::Micros;

/// Clients and seconds of a comparison.
const COMPARED: (u32, u64) = (200, 60);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// First seed.
    pub seed: u64,
    /// How many; each is the one before plus one.
    pub seeds: u64,
    /// Kind of scenario; none lets the seed choose.
    pub scenario: Option<String>,
    /// Print every frame.
    pub trace: bool,
    /// Server.
    pub engine: Engine,
    /// RACK-TLP.
    pub rack_tlp: bool,
    /// Print the table that compares instead.
    pub compare: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            seeds: 1,
            scenario: None,
            trace: false,
            engine: Engine::Ours,
            rack_tlp: true,
            compare: false,
        }
    }
}

impl Options {
    /// The scenario of `seed`; none when the kind is unknown.
    pub fn scenario(&self, seed: u64) -> Option<Scenario> {
        let mut scenario = match &self.scenario {
            Some(name) => Scenario::named(name, seed)?,
            None => Scenario::from_seed(seed),
        };
        scenario.engine = self.engine;
        scenario.tcp.rack_tlp &= self.rack_tlp;
        Some(scenario)
    }

    /// The command that runs `seed` again, and nothing else.
    pub fn replay(&self, seed: u64) -> String {
        let mut text = format!("cluecast simulate --seed {seed}");
        if let Some(name) = &self.scenario {
            text.push_str(" --scenario ");
            text.push_str(name);
        }
        if self.engine == Engine::Smoltcp {
            text.push_str(" --engine smoltcp");
        }
        if !self.rack_tlp {
            text.push_str(" --no-rack");
        }
        text + " --trace"
    }
}

/// Runs what `options` ask for; the number of seeds that failed.
pub fn simulate(options: &Options, out: &mut dyn Write) -> io::Result<u64> {
    if options.compare {
        return compared(options, out);
    }
    let (mut failed, mut latencies) = (0, Vec::new());
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let Some(scenario) = options.scenario(seed) else {
            let known: Vec<&str> = names().collect();
            writeln!(out, "no such scenario; there are: {}", known.join(", "))?;
            return Ok(1);
        };
        let trace: Option<&mut dyn Write> = if options.trace { Some(&mut *out) } else { None };
        match run(&scenario, trace) {
            Ok(outcome) => {
                if options.seeds == 1 {
                    tell(&scenario, &outcome, out)?;
                }
                latencies.extend(outcome.latencies);
            }
            Err(violation) => {
                failed += 1;
                writeln!(out, "seed {seed} ({}): {violation}", scenario.name)?;
                writeln!(out, "  replay: {}", options.replay(seed))?;
            }
        }
    }
    if options.seeds > 1 {
        let latency = Latency::of(&latencies);
        writeln!(out, "{} seeds, {failed} failed; {latency}", options.seeds)?;
    }
    Ok(failed)
}

fn tell(scenario: &Scenario, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let counts = &outcome.counts;
    writeln!(
        out,
        "seed {} ({}): {} connections, {} s of virtual time",
        scenario.seed,
        scenario.name,
        scenario.plans.len(),
        outcome.took.0 / Micros::from_secs(1).0
    )?;
    writeln!(
        out,
        "  {} frames down, {} up; {} lost or damaged, {} other faults; {} segments, {} sent again",
        counts.frames_down,
        counts.frames_up,
        counts.lost,
        counts.faults - counts.lost,
        counts.segments,
        counts.resent
    )?;
    writeln!(out, "  {}", Latency::of(&outcome.latencies))
}

fn compared(options: &Options, out: &mut dyn Write) -> io::Result<u64> {
    let (clients, seconds) = COMPARED;
    writeln!(
        out,
        "{clients} players, {seconds} s, 20 events/s of 200 B, 15 to 25 ms and 3 % loss each way, \
         seed {}",
        options.seed
    )?;
    match compare(options.seed, clients, seconds) {
        Ok(rows) => {
            write!(out, "{}", table(&rows))?;
            Ok(0)
        }
        Err(violation) => {
            writeln!(out, "{violation}")?;
            Ok(1)
        }
    }
}
