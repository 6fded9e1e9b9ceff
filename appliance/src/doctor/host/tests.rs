//! Each colour of each check, on a made-up machine.

use std::fs;

use tempfile::TempDir;

use super::super::Color;
use super::*;
use crate::config::Config;

/// A machine with these files below its root.
pub(in crate::doctor) fn machine(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (file, text) in files {
        let file = root.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    root
}

pub(in crate::doctor) fn subject<'a>(root: &TempDir, config: Option<&'a Config>) -> Subject<'a> {
    Subject {
        root: root.path().to_owned(),
        config,
    }
}

/// The check of a machine that has one file.
fn with(file: &str, text: &str, check: fn(&Subject<'_>) -> Finding) -> Finding {
    check(&subject(&machine(&[(file, text)]), None))
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
fn kernels() {
    let of = |release| with("proc/sys/kernel/osrelease", release, kernel);
    is(&of("6.12.9-amd64\n"), Color::Green, "6.12.9-amd64");
    is(&of("6.3.0"), Color::Green, "6.3.0");
    is(&of("6.1.0-37-amd64"), Color::Yellow, "backports");
    is(&of("5.10.0"), Color::Red, "5.11");
    is(&of("new"), Color::Yellow, "new");
    is(&af_xdp(true), Color::Green, "");
    is(&af_xdp(false), Color::Red, "CONFIG_XDP_SOCKETS");
    let of = |value| with("proc/sys/net/core/bpf_jit_enable", value, jit);
    is(&of("1\n"), Color::Green, "on");
    is(&of("0\n"), Color::Yellow, "bpf_jit_enable=1");
}

/// `/proc/self/status` of a process with these capabilities.
fn status(effective: u64) -> TempDir {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let lines = text.lines().map(|line| match line.split_once(":\t") {
        Some(("CapEff", _)) => format!("CapEff:\t{effective:016x}\n"),
        _ => format!("{line}\n"),
    });
    machine(&[("proc/self/status", &lines.collect::<String>())])
}

#[test]
fn rights() {
    let all: u64 = CAPABILITIES.iter().map(Capability::bitmask).sum();
    is(
        &capabilities(&subject(&status(all), None)),
        Color::Green,
        "",
    );
    let less = all & !Capability::CAP_BPF.bitmask();
    let found = capabilities(&subject(&status(less), None));
    is(&found, Color::Red, "CAP_BPF");
    assert!(!found.found.contains("CAP_NET_RAW"));
    is(
        &capabilities(&subject(&status(0), None)),
        Color::Red,
        "sudo",
    );

    let mut config = Config::default();
    config.game.frames = 4096;
    let limited = |caps, limit| memlock(&subject(&status(caps), Some(&config)), limit);
    is(&limited(all, 0), Color::Green, "without limit");
    is(&limited(0, RLIM_INFINITY), Color::Green, "without limit");
    is(&limited(0, 16 << 20), Color::Green, "16 MiB");
    is(&limited(0, (16 << 20) - 1), Color::Red, "LimitMEMLOCK");
}

#[test]
fn pinned_cpus_are_there_and_isolated() {
    let of = |isolated: &str, cpus: &[usize], journal| {
        let mut config = Config::default();
        config.game.cpus = cpus.to_vec();
        config.journal.cpu = journal;
        let root = machine(&[
            ("sys/devices/system/cpu/isolated", isolated),
            ("sys/devices/system/cpu/online", "0-5\n"),
        ]);
        super::isolated(&subject(&root, Some(&config)))
    };
    is(&of("2-4\n", &[2, 3], Some(4)), Color::Green, "2,3,4");
    is(
        &of("2-3\n", &[2, 3], Some(4)),
        Color::Yellow,
        "4 is not isolated",
    );
    is(
        &of("\n", &[2, 3], None),
        Color::Yellow,
        "isolcpus=managed_irq,domain,2,3",
    );
    is(
        &of("2-7\n", &[2, 6], None),
        Color::Red,
        "there are 0,1,2,3,4,5",
    );
    is(&of("", &[], None), Color::Yellow, "game.cpus");
}

#[test]
fn what_runs_on_the_cpus() {
    let of = |value| {
        let root = machine(&[
            ("sys/devices/system/cpu/online", "0-1"),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "performance",
            ),
            (
                "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
                value,
            ),
        ]);
        governor(&subject(&root, None))
    };
    is(&of("performance\n"), Color::Green, "performance");
    is(&of("powersave\n"), Color::Yellow, "governor powersave");
    is(&with("a", "", governor), Color::Green, "virtual machine");
    is(
        &with("proc/77/comm", "bash\n", irqbalance),
        Color::Green,
        "",
    );
    is(
        &with("proc/77/comm", "irqbalance\n", irqbalance),
        Color::Yellow,
        "disable --now",
    );
    let file = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    is(&with(file, "tsc\n", clock), Color::Green, "tsc");
    is(&with(file, "hpet\n", clock), Color::Yellow, "hpet");
    let file = "sys/devices/system/cpu/vulnerabilities/retbleed";
    is(
        &with(file, "Mitigation: IBRS\n", mitigations),
        Color::Green,
        "",
    );
    is(
        &with(file, "Vulnerable: no microcode\n", mitigations),
        Color::Yellow,
        "retbleed",
    );
}

#[test]
fn the_admin_port_wants_a_firewall_unless_it_is_local() {
    let root = machine(&[]);
    let mut config = Config::default();
    let of = |config: &Config, filters| firewall(&subject(&root, Some(config)), filters);
    is(&of(&config, Some(false)), Color::Green, "this host only");
    config.admin.listen = "10.0.0.1:9000".parse().unwrap();
    is(&of(&config, Some(true)), Color::Green, "there is one");
    is(&of(&config, Some(false)), Color::Yellow, "tcp dport 9000");
    is(&of(&config, None), Color::Yellow, "cannot be seen");
}
