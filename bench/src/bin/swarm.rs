//! `swarm`: the command line of [`bench::swarm`].

use clap::Parser;

#[allow(
    clippy::print_stdout,
    reason = "the report is what this program is for"
)]
fn main() -> anyhow::Result<std::process::ExitCode> {
    let options = bench::swarm::Options::parse();
    let outcome = bench::swarm::run(&options)?;
    if let Some(file) = &options.json {
        std::fs::write(file, outcome.json)?;
    }
    if let Some(file) = &options.latencies {
        std::fs::write(file, outcome.latencies)?;
    }
    print!("{}", outcome.table);
    Ok(u8::from(!outcome.held).into())
}
