//! `flood`: the command line of [`bench::flood`]; prints what was sent as one line of JSON.

use clap::Parser;

#[allow(
    clippy::print_stdout,
    reason = "the report is what this program is for"
)]
fn main() -> anyhow::Result<()> {
    let report = bench::flood::run(&bench::flood::Options::parse())?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
