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
}

/// Reads the sample of `pid`. CPU time comes in clock ticks, usually 10 ms each.
pub(crate) fn sample(pid: u32) -> anyhow::Result<Sample> {
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
    fn own_process_has_memory() {
        let own = sample(std::process::id()).unwrap();
        assert!(own.rss_bytes > 100_000);
    }
}
