//! The machine: kernel, rights, memory, CPUs, clock, firewall.

use std::fs;
use std::process::Command;

use caps::Capability;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use procfs::{FromRead, process::Status};

use super::{Finding, Subject, green, list, red, yellow};

/// The oldest kernel that works: preferred busy polling and need-wakeup are there.
const KERNEL_MIN: (u32, u32) = (5, 11);
/// The oldest kernel that was tried and that tells what its drivers can do.
const KERNEL_GOOD: (u32, u32) = (6, 3);

/// What the appliance needs until it serves; afterwards it drops them all.
const CAPABILITIES: [Capability; 6] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_SYS_NICE,
];

/// All checks of the machine, in order.
pub(super) fn checks(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![
        kernel(subject),
        af_xdp(xdp_prog::diagnose::has_af_xdp()),
        jit(subject),
        capabilities(subject),
    ];
    findings.extend([
        memlock(
            subject,
            getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |limit| limit.0),
        ),
        isolated(subject),
        governor(subject),
        irqbalance(subject),
        clock(subject),
        mitigations(subject),
        firewall(subject, filters_input()),
    ]);
    findings
}

fn kernel(subject: &Subject<'_>) -> Finding {
    let release = subject
        .read("proc/sys/kernel/osrelease")
        .unwrap_or_default();
    let mut parts = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let Some(version) = parts.next().zip(parts.next()) else {
        let found = format!("cannot read the kernel's version: {release:?}");
        return yellow("kernel", found, "mount /proc");
    };
    let mend = "apt install -t bookworm-backports linux-image-amd64, and reboot";
    if version < KERNEL_MIN {
        let found = format!("Linux {release}: 5.11 is the oldest that works");
        return red("kernel", found, mend);
    }
    if version < KERNEL_GOOD {
        let found = format!("Linux {release}: works, but does not say what drivers can do (6.3)");
        return yellow("kernel", found, mend);
    }
    green("kernel", format!("Linux {release}"))
}

fn af_xdp(there: bool) -> Finding {
    if there {
        return green("AF_XDP", "the kernel has it");
    }
    red(
        "AF_XDP",
        "this kernel is built without it",
        "take a kernel with CONFIG_XDP_SOCKETS=y, as Debian's is",
    )
}

fn jit(subject: &Subject<'_>) -> Finding {
    match subject.number("proc/sys/net/core/bpf_jit_enable") {
        Some(0) => yellow(
            "BPF JIT",
            "off: the steering program is interpreted, for every frame",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        _ => green("BPF JIT", "on"),
    }
}

fn capabilities(subject: &Subject<'_>) -> Finding {
    let status = Status::from_file(subject.root.join("proc/self/status"));
    let held = status.map_or(0, |status| status.capeff);
    let missing = CAPABILITIES.iter().filter(|cap| held & cap.bitmask() == 0);
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    if missing.is_empty() {
        return green("capabilities", "this user has those that the start needs");
    }
    red(
        "capabilities",
        format!("this user lacks {}", missing.join(", ")),
        "sudo cluecast doctor; the service has them: systemctl start cluecast",
    )
}

fn memlock(subject: &Subject<'_>, limit: u64) -> Finding {
    let status = Status::from_file(subject.root.join("proc/self/status"));
    let held = status.map_or(0, |status| status.capeff);
    if held & Capability::CAP_IPC_LOCK.bitmask() != 0 || limit == RLIM_INFINITY {
        return green("locked memory", "without limit");
    }
    let frames = subject
        .config
        .map_or(0, |config| u64::from(config.game.frames) * 4096);
    let found = format!("{} MiB at most", limit >> 20);
    if limit >= frames && frames > 0 {
        return green("locked memory", found);
    }
    red(
        "locked memory",
        format!("{found}: too little for the frames of a queue"),
        "ulimit -l unlimited, or run the service (LimitMEMLOCK=infinity)",
    )
}

fn isolated(subject: &Subject<'_>) -> Finding {
    let pinned = subject.pinned();
    let isolated = subject.cpus("sys/devices/system/cpu/isolated");
    let online = subject.cpus("sys/devices/system/cpu/online");
    let gone: Vec<usize> = missing(&pinned, &online);
    if !gone.is_empty() {
        return red(
            "CPUs",
            format!("CPU {} of the configuration is not here", list(&gone)),
            format!("game.cpus, journal.cpu: there are {}", list(&online)),
        );
    }
    if pinned.is_empty() {
        return yellow(
            "CPUs",
            "the data cores are not pinned: the scheduler moves them, with their caches",
            "game.cpus = [...] in the configuration",
        );
    }
    let open = missing(&pinned, &isolated);
    if open.is_empty() {
        return green("CPUs", format!("{} are isolated", list(&pinned)));
    }
    let cpus = list(&pinned);
    yellow(
        "CPUs",
        format!(
            "{} is not isolated: other processes and timers interrupt it",
            list(&open)
        ),
        format!(
            "isolcpus=managed_irq,domain,{cpus} nohz_full={cpus} rcu_nocbs={cpus} in \
             GRUB_CMDLINE_LINUX of /etc/default/grub; update-grub; reboot"
        ),
    )
}

fn missing(wanted: &[usize], there: &[usize]) -> Vec<usize> {
    let missing = wanted.iter().filter(|number| !there.contains(number));
    missing.copied().collect()
}

fn governor(subject: &Subject<'_>) -> Finding {
    let mut cpus = subject.pinned();
    if cpus.is_empty() {
        cpus = subject.cpus("sys/devices/system/cpu/online");
    }
    let of = |cpu: &usize| {
        subject.read(&format!(
            "sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"
        ))
    };
    let governors: Vec<String> = cpus.iter().filter_map(of).collect();
    if governors.is_empty() {
        return green(
            "CPU frequency",
            "not chosen here (a virtual machine, or fixed)",
        );
    }
    match governors.iter().find(|governor| *governor != "performance") {
        None => green("CPU frequency", "performance"),
        Some(other) => yellow(
            "CPU frequency",
            format!("governor {other}: a core that was idle takes up to a millisecond to be fast"),
            "cpupower frequency-set -g performance, or nic-setup with --cpus",
        ),
    }
}

fn irqbalance(subject: &Subject<'_>) -> Finding {
    let entries = fs::read_dir(subject.root.join("proc"))
        .into_iter()
        .flatten()
        .flatten();
    let runs = entries.into_iter().any(|entry| {
        fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm == "irqbalance\n")
    });
    if !runs {
        return green("irqbalance", "does not run");
    }
    yellow(
        "irqbalance",
        "runs, and moves the queues' interrupts away from their cores",
        "systemctl disable --now irqbalance, or nic-setup",
    )
}

fn clock(subject: &Subject<'_>) -> Finding {
    let file = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    match subject.read(file).as_deref() {
        None => yellow("clock", "cannot be read", "mount /sys"),
        // Read without a system call.
        Some(
            source @ ("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter"),
        ) => green("clock", source),
        Some(source) => yellow(
            "clock",
            format!("{source}: each look at it is a system call or slower"),
            format!("echo tsc > /{file}; if it is refused, see dmesg on tsc"),
        ),
    }
}

fn mitigations(subject: &Subject<'_>) -> Finding {
    let directory = subject.root.join("sys/devices/system/cpu/vulnerabilities");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let open = entries.filter_map(|entry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let name = entry.file_name().into_string().ok()?;
        text.starts_with("Vulnerable").then_some(name)
    });
    let mut open: Vec<String> = open.collect();
    open.sort_unstable();
    if open.is_empty() {
        return green(
            "mitigations",
            "nothing is open; they cost little here, at one system call a batch",
        );
    }
    yellow(
        "mitigations",
        format!("the CPU is vulnerable to {}", open.join(", ")),
        "apt install amd64-microcode or intel-microcode, and reboot; or this is meant so \
         (mitigations=off on a host that runs nothing else)",
    )
}

/// Whether the kernel filters what comes in; `None` if it cannot be told.
fn filters_input() -> Option<bool> {
    let output = Command::new("nft").args(["list", "ruleset"]).output();
    if let Ok(output) = output
        && output.status.success()
    {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines().skip_while(|line| !line.contains("hook input"));
        // A chain without rules and with the policy to accept filters nothing.
        let head = lines.next();
        let has_rules = lines.next().is_some_and(|line| line.trim() != "}");
        return Some(head.is_some_and(|head| has_rules || head.contains("policy drop")));
    }
    let output = Command::new("iptables")
        .args(["-S", "INPUT"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output
        .status
        .success()
        .then(|| text.lines().any(|line| line != "-P INPUT ACCEPT"))
}

/// The players' port is open in any case: XDP takes its frames before any firewall. The admin port is
/// the kernel's.
fn firewall(subject: &Subject<'_>, filters: Option<bool>) -> Finding {
    let Some(config) = subject.config else {
        return green("firewall", "nothing to examine without a configuration");
    };
    let admin = config.admin.listen;
    let players = "the players' port is open past any firewall (XDP comes first)";
    if admin.ip().is_loopback() {
        return green(
            "firewall",
            format!("the admin port is for this host only; {players}"),
        );
    }
    let mend = format!(
        "admin.listen = \"127.0.0.1:{0}\", or nft add rule inet filter input tcp dport {0} ip saddr != \
         YOUR-NETWORK drop",
        admin.port()
    );
    match filters {
        Some(true) => green(
            "firewall",
            format!("there is one before {admin}; {players}"),
        ),
        Some(false) => yellow(
            "firewall",
            format!("none: whoever reaches {admin} can try keys; {players}"),
            mend,
        ),
        None => yellow(
            "firewall",
            format!(
                "cannot be seen (nft and iptables are missing, or rights); {admin} is open to others; {players}"
            ),
            mend,
        ),
    }
}

#[cfg(test)]
pub(super) mod tests;
