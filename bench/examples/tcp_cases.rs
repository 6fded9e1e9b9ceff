//! The black-box TCP cases against the kernel's TCP alone: tries the cases themselves, without the
//! appliance. Needs root. `TCP_CASES` and `TCP_TRACE` as in `docs/tcp-cases.md`;
//! `TCP_SYSCTL="net.ipv4.tcp_sack=0"` spoils the kernel, so that cases must fail.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a test program that may panic and speak"
)]

#[path = "../../xdp-prog/tests/world/mod.rs"]
mod world;

#[path = "../../appliance/tests/appliance/tcp_cases/mod.rs"]
mod tcp_cases;

use tcp_cases::linux;
use tcp_cases::run;

fn main() {
    let world = world::World::new();
    let net = linux::open(&world);
    let all = run::run(&net);
    run::print("Linux", &all);
    if all.iter().any(run::Ran::failed) {
        drop(net);
        drop(world);
        std::process::exit(1);
    }
}
