//! Each colour of each check, for a made-up driver.

use xdp_prog::diagnose::Xdp;

use super::super::Color;
use super::super::host::tests::{machine, subject};
use super::*;

fn config() -> Config {
    let mut config = Config::default();
    config.game.interface = "eth1".to_owned();
    config
}

fn able(native: bool, zero_copy: bool) -> Abilities {
    Abilities {
        driver: "ice".to_owned(),
        xdp: Some(Xdp {
            native,
            zero_copy,
            zero_copy_segments_max: if zero_copy { 8 } else { 0 },
        }),
    }
}

#[track_caller]
fn is(finding: &Finding, color: Color, words: &str) {
    assert_eq!(finding.color, color, "{finding:?}");
    let text = format!(
        "{} {}",
        finding.found,
        finding.mend.as_deref().unwrap_or("")
    );
    assert!(text.contains(words), "{words}: {text}");
    assert_eq!(finding.mend.is_none(), color == Color::Green, "{finding:?}");
}

#[test]
fn what_the_driver_can_do_against_what_is_asked_for() {
    let mut config = config();
    let silent = Abilities {
        driver: "ice".to_owned(),
        xdp: None,
    };
    is(
        &driver(&config, &able(true, true)),
        Color::Green,
        "ice, native XDP",
    );
    is(
        &driver(&config, &able(false, false)),
        Color::Yellow,
        "generic",
    );
    is(&driver(&config, &silent), Color::Yellow, "6.3");
    is(
        &zero_copy(&config, &able(true, true)),
        Color::Green,
        "8 descriptors",
    );
    is(
        &zero_copy(&config, &able(true, false)),
        Color::Yellow,
        "copy mode",
    );
    is(&zero_copy(&config, &silent), Color::Yellow, "copy mode");
    config.game.xdp_mode = XdpMode::Native;
    config.game.zero_copy = ZeroCopy::Require;
    is(
        &driver(&config, &able(false, false)),
        Color::Red,
        "game.xdp_mode",
    );
    is(
        &zero_copy(&config, &able(true, false)),
        Color::Red,
        "requires",
    );
    is(
        &zero_copy(&config, &silent),
        Color::Yellow,
        "this kernel knows",
    );
    config.game.zero_copy = ZeroCopy::Off;
    is(
        &zero_copy(&config, &able(true, false)),
        Color::Green,
        "switched off",
    );
}

#[test]
fn every_queue_has_a_core_and_every_core_a_cpu() {
    let of = |wanted: u16, there: u32, cpus: &[usize]| {
        let mut config = config();
        config.game.queues = wanted;
        config.game.cpus = cpus.to_vec();
        queues(&config, there, &Plan::new(&config, there))
    };
    is(&of(0, 2, &[]), Color::Green, "2, each");
    is(&of(2, 2, &[2, 3]), Color::Green, "2, each");
    is(&of(1, 2, &[2]), Color::Red, "get no answer");
    is(&of(4, 2, &[]), Color::Red, "combined 4");
    is(&of(0, 4, &[2, 3]), Color::Yellow, "4 data cores and 2 CPUs");
}

#[test]
fn huge_pages_are_enough_in_use_or_missing() {
    let of = |total: &str, free: &str| {
        let pool = "sys/kernel/mm/hugepages/hugepages-2048kB";
        let root = machine(&[
            (&format!("{pool}/nr_hugepages"), total),
            (&format!("{pool}/free_hugepages"), free),
        ]);
        let config = config();
        huge_pages(&subject(&root, None), &config, &Plan::new(&config, 2))
    };
    // Two cores of 64 MiB of hunt log and 4096 frames of 4 KiB.
    is(&of("80\n", "80\n"), Color::Green, "80 of 2 MiB");
    is(&of("80\n", "79\n"), Color::Yellow, "runs already");
    is(&of("79\n", "79\n"), Color::Yellow, "hugepage-setup $(");
}

#[test]
fn data_cores_are_where_the_nic_is() {
    let of = |node: &str, cpus: &[usize]| {
        let root = machine(&[
            ("sys/class/net/eth1/device/numa_node", node),
            ("sys/devices/system/node/node1/cpulist", "8-15\n"),
        ]);
        let mut config = config();
        config.game.cpus = cpus.to_vec();
        numa(&subject(&root, None), &config)
    };
    is(&of("1\n", &[8, 9]), Color::Green, "node 1");
    is(&of("1\n", &[7, 8]), Color::Yellow, "CPU 7 is not on node 1");
    is(&of("-1\n", &[7, 8]), Color::Green, "no node");
}
