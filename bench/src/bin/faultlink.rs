//! `faultlink`: the command line of [`bench::faultlink`].

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let options = bench::faultlink::Options::parse();
    bench::faultlink::run(&options, &mut std::io::stdout().lock())
}
