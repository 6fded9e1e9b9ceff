//! `tokio-fanout`: the command line of [`bench::fanout`].

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    bench::fanout::run(bench::fanout::Options::parse()).await
}
