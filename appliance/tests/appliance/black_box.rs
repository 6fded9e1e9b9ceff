//! The black-box TCP cases against the appliance on AF_XDP and, in the same run, against the kernel's
//! TCP; what both did is in `docs/tcp-cases.md`.

use std::env;
use std::thread;

use crate::running::{Appliance, SETTINGS, Settings, directory, metric};
use crate::tcp_cases::linux;
use crate::tcp_cases::net::Net;
use crate::tcp_cases::run::{self, Ran};
use crate::world::{World, enter};

/// The cases against a fresh appliance.
fn ours() -> Vec<Ran> {
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        tables: "[debug]\necho = true",
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let name = world.appliance.clone();
    let census = move || {
        let name = name.clone();
        let ask = move || {
            enter(&name);
            metric("tcp_connections")
        };
        thread::spawn(ask).join().unwrap()
    };
    let net = Net::open(&world, Some(Box::new(census)));
    run::run(&net)
}

/// The same against the kernel.
fn theirs() -> Vec<Ran> {
    let world = World::new();
    run::run(&linux::open(&world))
}

#[test]
fn tcp_cases() {
    let ours = ours();
    run::print("cluecast", &ours);
    let linux = theirs();
    run::print("Linux", &linux);
    if env::var_os("UPDATE_DOCS").is_some() {
        run::write_page(&run::page(&ours, &linux));
    }
    let failed = |all: &[Ran]| -> Vec<&str> {
        let failed = all.iter().filter(|ran| ran.failed());
        failed.map(|ran| ran.case.id).collect()
    };
    assert_eq!(
        failed(&linux),
        [""; 0],
        "Linux fails: a mistake of the case"
    );
    assert_eq!(failed(&ours), [""; 0], "the appliance fails");
    if env::var_os("TCP_CASES").is_none() {
        run::compare_page(&run::page(&ours, &linux));
    }
}
