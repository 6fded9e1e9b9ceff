//! `swarm`, `flood` and `faultlink` on threads of the test, each in the namespace it belongs to.

use std::thread::{self, JoinHandle};

use clap::Parser;
use serde_json::Value;

use crate::running::API_KEY;
use crate::world::{LISTEN, World, enter};

/// What a swarm found.
#[derive(Debug)]
pub struct Crowd {
    pub held: bool,
    pub report: Value,
    pub table: String,
}

/// The admin API from the players' side, for which `admin.listen` has to be everywhere.
pub const EVERYWHERE: &str = "listen = \"0.0.0.0:9000\"";

/// Runs a swarm with `--check` in `namespace`.
pub fn swarm(namespace: &str, admin: &str, arguments: &str) -> JoinHandle<Crowd> {
    swarm_in("hunt", namespace, admin, arguments)
}

/// The same, in hunts whose names begin with `hunts`.
pub fn swarm_in(hunts: &str, namespace: &str, admin: &str, arguments: &str) -> JoinHandle<Crowd> {
    let line = format!(
        "swarm --game {LISTEN} --admin {admin} --api-key {API_KEY} --quiet --check --bytes 200 \
         --hunt-prefix {hunts} --spike-ms 0 --publishers 4 {arguments}"
    );
    let options = bench::swarm::Options::parse_from(line.split_whitespace());
    let namespace = namespace.to_owned();
    thread::spawn(move || {
        enter(&namespace);
        let outcome = bench::swarm::run(&options).unwrap();
        Crowd {
            held: outcome.held,
            report: serde_json::from_str(&outcome.json).unwrap(),
            table: outcome.table,
        }
    })
}

/// Attacks from the players' side.
pub fn flood(world: &World, arguments: &str) -> JoinHandle<bench::flood::Report> {
    let mac = world.address(&world.appliance, "game");
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    let line = format!("flood player --to {LISTEN} --mac {mac} {arguments}");
    let options = bench::flood::Options::parse_from(line.split_whitespace());
    world.as_player(move || bench::flood::run(&options).unwrap())
}
