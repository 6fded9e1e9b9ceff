//! Whether an interface is one that must not be touched: changing its queues resets the link, and a
//! host whose only way in goes down cannot be mended from afar.
//!
//! Refused: the interface of a default route in any table, or of an ssh session's local address. Of a
//! bridge, bond or VLAN that carries those, every interface below it.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use serde::Deserialize;

/// Where sshd listens, besides what SSH_CONNECTION says, which does not survive sudo.
const SSH_PORT: u16 = 22;

/// Fails with the reason if `interface` must not be touched.
pub(crate) fn check(interface: &str) -> anyhow::Result<()> {
    let means = "changing its queues can cut you off; use the console, or --force";
    for device in default_routes()? {
        if carries(&device, interface) {
            bail!("{interface} carries the default route (over {device}): {means}");
        }
    }
    for (device, address) in sessions() {
        if carries(&device, interface) {
            bail!("{interface} carries an ssh session (to {address} on {device}): {means}");
        }
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
    dev: Option<String>,
    #[serde(default)]
    nexthops: Vec<NextHop>,
}

#[derive(Debug, Deserialize)]
struct NextHop {
    dev: String,
}

/// Interfaces of all default routes, in all tables.
fn default_routes() -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let output = Command::new("ip")
            .args(["-j", family, "route", "show", "table", "all"])
            .output()
            .context("cannot run `ip`; is iproute2 installed?")?;
        // Nothing at all is what `ip` prints where there is no route.
        if output.stdout.trim_ascii().is_empty() {
            continue;
        }
        found.extend(defaults(&output.stdout)?);
    }
    Ok(found)
}

fn defaults(json: &[u8]) -> anyhow::Result<Vec<String>> {
    let routes: Vec<Route> = serde_json::from_slice(json).context("what `ip -j route` printed")?;
    let defaults = routes.into_iter().filter(|route| route.dst == "default");
    let devices = defaults.flat_map(|route| {
        let hops = route.nexthops.into_iter().map(|hop| hop.dev);
        route.dev.into_iter().chain(hops)
    });
    Ok(devices.collect())
}

/// Interface and local address of each established connection to sshd.
fn sessions() -> Vec<(String, IpAddr)> {
    // "client-address client-port server-address server-port"
    let ssh = std::env::var("SSH_CONNECTION").unwrap_or_default();
    let ours = ssh.split(' ').nth(3).and_then(|port| port.parse().ok());
    let ports = [Some(SSH_PORT), ours];
    let connections = [tcp(), tcp6()].into_iter().flatten().flatten();
    let local = |entry: TcpNetEntry| {
        let port = Some(entry.local_address.port());
        let counts = entry.state == TcpState::Established && ports.contains(&port);
        counts.then(|| entry.local_address.ip().to_canonical())
    };
    let addresses: Vec<IpAddr> = connections.filter_map(local).collect();
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let named = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address
            .as_sockaddr_in()
            .map(|address| IpAddr::V4(address.ip()));
        let v6 = address
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()));
        Some((interface.interface_name, v4.or(v6)?))
    });
    named
        .filter(|(_, address)| addresses.contains(address))
        .collect()
}

/// Whether frames of `device` go over `interface`: it is the same, or below it.
fn carries(device: &str, interface: &str) -> bool {
    if device == interface {
        return true;
    }
    let directory = Path::new("/sys/class/net").join(device);
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let lower = names.filter_map(|name| name.strip_prefix("lower_").map(str::to_owned));
    lower.into_iter().any(|lower| carries(&lower, interface))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_of_all_shapes_are_found() {
        let json = br#"[{"dst":"default","gateway":"10.0.0.1","dev":"eth0","flags":[]},
            {"dst":"10.0.0.0/24","dev":"eth1"},{"type":"local","dst":"127.0.0.1","dev":"lo"},
            {"dst":"default","nexthops":[{"dev":"eth2","weight":1},{"dev":"eth3"}]},
            {"type":"unreachable","dst":"default"}]"#;
        assert_eq!(defaults(json).unwrap(), ["eth0", "eth2", "eth3"]);
        assert!(defaults(b"[]").unwrap().is_empty());
    }
}
