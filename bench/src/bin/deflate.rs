//! `deflate`: the tables of docs/compression.md, as this machine has them ([`bench::deflate`]).

#[allow(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]
fn main() {
    print!("{}", bench::deflate::run());
}
