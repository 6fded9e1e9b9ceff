//! What the kernel says about the appliance's process: CPU time and memory, from /proc.

use anyhow::Context;
use serde::Serialize;

/// CPU and memory of one process at one moment.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Sample {
    /// User time since it started.
    pub(crate) user_us: u64,
    /// System time since it started.
    pub(crate) system_us: u64,
    /// Resident ordinary pages.
    pub(crate) rss_bytes: u64,
    /// Huge pages mapped from hugetlbfs; the kernel does not count them as resident.
    pub(crate) hugetlb_bytes: u64,
    /// What the kernel keeps for each TCP socket of its network namespace, buffers not counted.
    pub(crate) socket_bytes: u64,
    /// Time that the server's CPU was not idle, if one was named.
    pub(crate) cpu_busy_us: u64,
}

/// Slabs of which a TCP socket that a process holds takes one object each.
const SOCKET_SLABS: [&str; 4] = ["TCP", "sock_inode_cache", "filp", "dentry"];

/// Reads the sample of `pid`, and of the CPU that it runs on. CPU time comes in clock ticks, usually 10 ms each.
pub(crate) fn sample(pid: u32, cpu: Option<usize>) -> anyhow::Result<Sample> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
    };
    let tick_us = 1_000_000 / ticks_per_second()?;
    let (user, system) = parse_stat(&read("stat")?).context("parse /proc/PID/stat")?;
    let status = read("status")?;
    Ok(Sample {
        user_us: user * tick_us,
        system_us: system * tick_us,
        rss_bytes: parse_kib(&status, "VmRSS:") * 1_024,
        hugetlb_bytes: parse_kib(&status, "HugetlbPages:") * 1_024,
        socket_bytes: parse_sockets(&read("net/sockstat")?)
            * parse_slabs(&std::fs::read_to_string("/proc/slabinfo").unwrap_or_default()),
        cpu_busy_us: tick_us
            * cpu.map_or(Ok(0), |cpu| {
                let stat = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
                parse_busy(&stat, cpu).with_context(|| format!("there is no CPU {cpu}"))
            })?,
    })
}

fn ticks_per_second() -> anyhow::Result<u64> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
    Ok(u64::try_from(ticks)?)
}

/// utime and stime: fields 14 and 15 (proc(5)); the name in field 2 may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn parse_kib(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Ticks of a CPU in user, nice, system, irq and softirq: all but idle, iowait and steal (proc(5)).
fn parse_busy(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let ticks: Vec<u64> = line
        .split(' ')
        .map_while(|tick| tick.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

/// TCP sockets in use.
fn parse_sockets(sockstat: &str) -> u64 {
    let tcp = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP: inuse "));
    tcp.and_then(|line| line.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// Bytes of one object of each of [`SOCKET_SLABS`] (slabinfo(5)); root alone may know.
fn parse_slabs(slabinfo: &str) -> u64 {
    let object = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let is_ours = SOCKET_SLABS.contains(&fields.next()?);
        is_ours.then(|| fields.nth(2)?.parse::<u64>().ok())?
    };
    slabinfo.lines().filter_map(object).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_an_awkward_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 123 45 0 0 20 0 3 0 99";
        assert_eq!(parse_stat(stat), Some((123, 45)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_cpu_is_busy_when_it_is_neither_idle_nor_waiting() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 400 500 6 7 800 0 0\ncpu10 7 0\n";
        assert_eq!(parse_busy(stat, 1), Some(19));
        assert_eq!(parse_busy(stat, 2), None);
        assert_eq!(parse_busy(stat, 10), None);
    }

    #[test]
    fn sockets_and_what_one_takes() {
        let sockstat = "sockets: used 46\nTCP: inuse 12 orphan 0 tw 0 alloc 3 mem 33\n";
        assert_eq!(parse_sockets(sockstat), 12);
        let slabs =
            "TCP    78 130 2368 13 8 : x\nTCPv6  1 1 9000 1 : x\nfilp 2014 2163 192 21 1 : x\n";
        assert_eq!(parse_slabs(slabs), 2368 + 192);
    }

    #[test]
    fn own_process_has_memory() {
        let own = sample(std::process::id(), Some(0)).unwrap();
        assert!(own.rss_bytes > 100_000 && own.cpu_busy_us > 0);
    }
}
