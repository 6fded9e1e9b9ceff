//! `storm`: the command line of [`bench::storm`].

use clap::Parser;

#[allow(
    clippy::print_stdout,
    reason = "the report is what this program is for"
)]
fn main() -> anyhow::Result<std::process::ExitCode> {
    let options = bench::storm::Options::parse();
    let outcome = bench::storm::run(&options)?;
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string(&outcome.report)?)?;
    }
    print!("{}", outcome.table);
    Ok(u8::from(!outcome.held).into())
}
