//! `peers`: the command line of [`bench::peers`].

use std::fs::OpenOptions;
use std::io::Write;

use clap::Parser;

#[allow(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<std::process::ExitCode> {
    let options = bench::peers::Options::parse();
    let comparison = bench::peers::run(&options)?;
    if let Some(file) = &options.json {
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(file, "{}", comparison.json)?;
    }
    print!("{}", comparison.table);
    Ok(u8::from(!comparison.held).into())
}
