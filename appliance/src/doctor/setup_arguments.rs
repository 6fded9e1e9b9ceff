//! What a configuration asks of hugepage-setup and nic-setup, as their arguments.

use std::path::PathBuf;

use xdp_prog::error::Error;
use xdp_prog::steering::rx_queues;

use super::{Subject, list, nic};
use crate::config::Config;
use crate::plan::Plan;

/// `--pages 36 --node 0`: the node of the interface, if it has one.
pub fn pages(config: &Config) -> Result<String, Error> {
    let interface = &config.game.interface;
    let plan = Plan::new(config, rx_queues(interface)?);
    let subject = Subject {
        root: PathBuf::from("/"),
        config: Some(config),
    };
    let node = nic::numa_node(&subject, interface);
    let node = node.map_or(String::new(), |node| format!(" --node {node}"));
    Ok(format!("--pages {}{node}", plan.huge_pages(config)))
}

/// `eth1 --queues 2 --cpus 2,3`: CPUs only if every queue has one.
pub fn nic(config: &Config) -> String {
    let game = &config.game;
    let mut line = game.interface.clone();
    let queues = usize::from(game.queues);
    if queues > 0 {
        line.push_str(&format!(" --queues {queues}"));
    }
    if !game.cpus.is_empty() {
        let count = if queues == 0 { game.cpus.len() } else { queues };
        let cpus = &game.cpus[..count.min(game.cpus.len())];
        line.push_str(&format!(" --cpus {}", list(cpus)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_follow_the_configuration() {
        let mut config = Config::default();
        config.game.interface = "eth1".to_owned();
        assert_eq!(nic(&config), "eth1");
        config.game.cpus = vec![2, 3];
        assert_eq!(nic(&config), "eth1 --cpus 2,3");
        config.game.queues = 1;
        assert_eq!(nic(&config), "eth1 --queues 1 --cpus 2");
        // Loopback has one queue: 64 MiB of hunt log and 4096 frames of 4 KiB.
        config.game.interface = "lo".to_owned();
        assert_eq!(pages(&config).unwrap(), "--pages 40");
    }
}
