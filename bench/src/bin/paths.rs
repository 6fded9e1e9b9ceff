//! `paths`: the tables of docs/positions.md, as this machine has them ([`bench::paths`]).

#[allow(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]
fn main() {
    print!("{}", bench::paths::run());
}
