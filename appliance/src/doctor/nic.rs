//! The game interface: driver, queues, memory beside it, and what nic-setup says.

use std::process::Command;

use xdp_prog::diagnose::{Abilities, abilities};
use xdp_prog::steering::rx_queues;

use super::{Finding, Subject, green, list, red, yellow};
use crate::config::{Config, XdpMode, ZeroCopy};
use crate::plan::Plan;

/// All checks of the interface, in order; only the first if it is not there.
pub(super) fn checks(subject: &Subject<'_>, config: &Config) -> Vec<Finding> {
    let interface = &config.game.interface;
    let found = abilities(interface).and_then(|found| Ok((found, rx_queues(interface)?)));
    let (found, queues) = match found {
        Ok(found) => found,
        Err(error) => {
            let mend = "ip -br link shows those there are: game.interface";
            return vec![red("interface", error.to_string(), mend)];
        }
    };
    let plan = Plan::new(config, queues);
    vec![
        driver(config, &found),
        zero_copy(config, &found),
        self::queues(config, queues, &plan),
        huge_pages(subject, config, &plan),
        numa(subject, config),
        setup(config, &found.driver),
    ]
}

fn driver(config: &Config, found: &Abilities) -> Finding {
    let (interface, driver) = (&config.game.interface, &found.driver);
    match found.xdp {
        None => yellow(
            "driver",
            format!("{interface}: {driver}; this kernel does not say what it can (6.3)"),
            "start it and read the log: native or generic XDP",
        ),
        Some(xdp) if xdp.native => green("driver", format!("{interface}: {driver}, native XDP")),
        Some(_) if config.game.xdp_mode == XdpMode::Native => red(
            "driver",
            format!("{interface}: {driver} has no native XDP, and game.xdp_mode asks for it"),
            "game.xdp_mode = \"auto\", or another NIC (nic-configs has a list)",
        ),
        Some(_) => yellow(
            "driver",
            format!(
                "{interface}: {driver} has no native XDP now: generic mode, a copy a frame more"
            ),
            "another NIC, or ethtool -K INTERFACE lro off rx-gro-hw off if it should have it",
        ),
    }
}

fn zero_copy(config: &Config, found: &Abilities) -> Finding {
    let xdp = found.xdp.filter(|xdp| xdp.zero_copy);
    match (xdp, config.game.zero_copy) {
        (_, ZeroCopy::Off) => green("zero-copy", "switched off by game.zero_copy"),
        (Some(xdp), _) => {
            let segments = xdp.zero_copy_segments_max.max(1);
            green(
                "zero-copy",
                format!("the driver has it, {segments} descriptors a frame at most"),
            )
        }
        (None, ZeroCopy::Require) if found.xdp.is_some() => red(
            "zero-copy",
            format!("{} has none, and game.zero_copy requires it", found.driver),
            "game.zero_copy = \"auto\"",
        ),
        (None, _) => yellow(
            "zero-copy",
            format!(
                "{} has none that this kernel knows of: copy mode",
                found.driver
            ),
            "a newer kernel or another NIC; it works without",
        ),
    }
}

fn queues(config: &Config, queues: u32, plan: &Plan) -> Finding {
    let interface = &config.game.interface;
    let cores = plan.data.len();
    let wanted = u32::from(config.game.queues);
    let command = format!("nic-setup $(cluecast setup-arguments nic --config FILE) # {interface}");
    if wanted > queues {
        return red(
            "queues",
            format!("{interface} has {queues} and game.queues says {wanted}"),
            format!("ethtool -L {interface} combined {wanted}, or game.queues = 0"),
        );
    }
    if cores < queues as usize {
        return red(
            "queues",
            format!(
                "{interface} has {queues} and {cores} of them have a data core: the players of the others \
                 get no answer"
            ),
            command,
        );
    }
    let cpus = config.game.cpus.len();
    if cpus > 0 && cpus < cores {
        return yellow(
            "queues",
            format!("{cores} data cores and {cpus} CPUs: the last are not pinned"),
            format!("game.cpus needs {cores}; or fewer queues: {command}"),
        );
    }
    green("queues", format!("{queues}, each with a data core"))
}

fn huge_pages(subject: &Subject<'_>, config: &Config, plan: &Plan) -> Finding {
    let needed = plan.huge_pages(config);
    let pool = "sys/kernel/mm/hugepages/hugepages-2048kB";
    let count = |file| {
        subject
            .number(&format!("{pool}/{file}_hugepages"))
            .unwrap_or(0)
    };
    let (total, free) = (count("nr"), count("free"));
    let found = format!("{needed} of 2 MiB are needed; {total} there, {free} free");
    if free >= needed {
        return green("huge pages", found);
    }
    if total >= needed {
        // A running appliance has them, which is as it should be.
        let found = format!("{found}: right if an appliance runs already");
        return yellow(
            "huge pages",
            found,
            "grep -l hugepage /proc/*/smaps shows who has them",
        );
    }
    yellow(
        "huge pages",
        format!("{found}: ordinary pages instead, slower"),
        "hugepage-setup $(cluecast setup-arguments pages --config FILE)",
    )
}

/// NIC, data cores and memory on one node.
fn numa(subject: &Subject<'_>, config: &Config) -> Finding {
    let Some(node) = numa_node(subject, &config.game.interface) else {
        return green("NUMA", "the interface belongs to no node");
    };
    let near = subject.cpus(&format!("sys/devices/system/node/node{node}/cpulist"));
    let far: Vec<usize> = config
        .game
        .cpus
        .iter()
        .copied()
        .filter(|cpu| !near.contains(cpu))
        .collect();
    if far.is_empty() {
        return green(
            "NUMA",
            format!("interface and data cores are on node {node}"),
        );
    }
    yellow(
        "NUMA",
        format!(
            "CPU {} is not on node {node}, where the interface is",
            list(&far)
        ),
        format!("game.cpus out of {}", list(&near)),
    )
}

/// The node of an interface's device; `None` for virtual ones and without NUMA.
pub(super) fn numa_node(subject: &Subject<'_>, interface: &str) -> Option<u64> {
    // -1 is no node.
    subject.number(&format!("sys/class/net/{interface}/device/numa_node"))
}

/// The NIC's settings are nic-setup's business.
fn setup(config: &Config, driver: &str) -> Finding {
    let interface = &config.game.interface;
    let cpus = list(&config.game.cpus);
    let mut command = Command::new("nic-setup");
    command.args([interface, "--check"]);
    if !cpus.is_empty() {
        command.args(["--cpus", &cpus]);
    }
    let Ok(output) = command.output() else {
        return yellow(
            "NIC settings",
            "not examined: nic-setup is not installed",
            "install the package, or make nic-setup found by PATH",
        );
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let differ = text.lines().filter(|line| line.contains(" should be "));
    let short = differ.map(|line| line.split(" (why: ").next().unwrap_or(line));
    let short: Vec<&str> = short.collect();
    if output.status.success() {
        return green("NIC settings", format!("as the profile of {driver} says"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let found = if short.is_empty() {
        said.trim().to_owned()
    } else {
        short.join("; ")
    };
    yellow(
        "NIC settings",
        found,
        "nic-setup $(cluecast setup-arguments nic --config FILE)",
    )
}

#[cfg(test)]
pub(super) mod tests;
