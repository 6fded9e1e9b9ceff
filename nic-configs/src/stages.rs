//! From the lines of a profile to settings, stage by stage in the order in which they are done: first
//! who would undo our work (irqbalance), then what resets the NIC (private flags, queues, rings), then
//! what a reset loses.

use std::hash::Hasher;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use siphasher::sip::SipHasher13;

use crate::profile::{Line, Profile, Section};
use crate::setting::{Now, Place, Setting};
use crate::{ethtool, host};

/// What is to be set.
#[derive(Debug)]
pub(crate) struct Target {
    /// The interface.
    pub(crate) interface: String,
    /// Nothing is asked of it.
    pub(crate) blind: bool,
    /// CPUs of the data cores, in the order of the queues; may be empty.
    pub(crate) cpus: Vec<usize>,
    /// Queues asked for.
    pub(crate) queues: Option<u32>,
}

/// The settings of one stage.
type Stage = fn(&Target, &Profile) -> anyhow::Result<Vec<Setting>>;

/// All stages, in order.
pub(crate) const STAGES: [Stage; 11] = [
    host_settings,
    private,
    channels,
    rings,
    |target, profile| Ok(plain(target, "features", "-K", &profile.features)),
    pause,
    |target, profile| Ok(plain(target, "hash", "-N", &profile.hash)),
    rss,
    |target, profile| Ok(plain(target, "coalesce", "-C", &profile.coalesce)),
    napi,
    cpus,
];

impl Target {
    /// Queues asked for, or given by the CPUs.
    fn queues(&self) -> Option<u32> {
        let cpus = u32::try_from(self.cpus.len())
            .ok()
            .filter(|count| *count > 0);
        self.queues.or(cpus)
    }

    /// Queues asked for, or those there are.
    fn queues_or_now(&self) -> Option<u32> {
        let now = |key| match ethtool::read("-L", &self.interface, key) {
            Now::Value(count) if !self.blind => count.parse().ok(),
            _ => None,
        };
        self.queues()
            .or_else(|| now("combined"))
            .or_else(|| now("rx"))
    }

    fn setting(&self, name: String, line: &Line, wanted: Option<String>, place: Place) -> Setting {
        Setting {
            name,
            why: line.why.clone(),
            wanted,
            now: if self.blind {
                Now::Unknown
            } else {
                place.read()
            },
            place,
        }
    }

    fn ethtool(&self, option: &str, key: &str) -> Place {
        Place::Ethtool {
            option: option.to_owned(),
            interface: self.interface.clone(),
            key: key.to_owned(),
        }
    }
}

/// Keys and values as `ethtool` has them.
fn plain(target: &Target, stage: &str, option: &str, section: &Section) -> Vec<Setting> {
    let setting = |(key, line): (&String, &Line)| {
        let wanted = Some(line.value.text());
        target.setting(
            format!("{stage} {key}"),
            line,
            wanted,
            target.ethtool(option, key),
        )
    };
    section.iter().map(setting).collect()
}

fn private(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let section = &profile.private;
    Ok(plain(target, "private", "--set-priv-flags", section))
}

/// `irqbalance` and `mtu`.
fn host_settings(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for (key, line) in &profile.host {
        let place = match &**key {
            "irqbalance" => Place::Unit("irqbalance.service".to_owned()),
            "mtu" => Place::Mtu(target.interface.clone()),
            _ => anyhow::bail!("host.{key} is not known; there are irqbalance and mtu"),
        };
        let wanted = Some(line.value.text());
        let mut setting = target.setting(format!("host {key}"), line, wanted, place);
        // A smaller MTU has its reason, such as a tunnel.
        if let (Place::Mtu(_), Now::Value(now)) = (&setting.place, &setting.now)
            && now.parse::<u64>().ok() < line.value.number()
        {
            setting.wanted = Some(now.clone());
        }
        settings.push(setting);
    }
    Ok(settings)
}

/// The value is "queues": as many as data cores.
fn channels(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for (key, line) in &profile.channels {
        let queues = target.queues();
        if let Some(queues) = queues
            && let Some(most) =
                ethtool::most("-L", &target.interface, key).filter(|_| !target.blind)
        {
            let half = line.limit.as_deref() == Some("half");
            let limit = if half { most / 2 } else { most };
            let because = if half {
                " once XDP has its own half"
            } else {
                ""
            };
            ensure!(
                queues <= limit,
                "{queues} queues are asked for, and {} has {limit}{because}: fewer --cpus or --queues",
                target.interface
            );
        }
        let wanted = queues.map(|queues| queues.to_string());
        let place = target.ethtool("-L", key);
        settings.push(target.setting(format!("channels {key}"), line, wanted, place));
    }
    Ok(settings)
}

/// One setting for all: a driver that was told one of them may answer the question for the other with
/// what holds until the link is back.
fn pause(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let Some(line) = profile.pause.values().next() else {
        return Ok(Vec::new());
    };
    let keys: Vec<&str> = profile.pause.keys().map(String::as_str).collect();
    let values: Vec<String> = profile
        .pause
        .values()
        .map(|line| line.value.text())
        .collect();
    let mut whys: Vec<&str> = profile.pause.values().map(|line| &*line.why).collect();
    whys.dedup();
    let place = target.ethtool("-A", &keys.join(" "));
    let name = format!("pause {}", keys.join(" "));
    let mut setting = target.setting(name, line, Some(values.join(" ")), place);
    setting.why = whys.join("; ");
    Ok(vec![setting])
}

/// As many as asked for, or as the driver has.
fn rings(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let mut settings = plain(target, "rings", "-G", &profile.rings);
    for (setting, key) in settings.iter_mut().zip(profile.rings.keys()) {
        if target.blind {
            continue;
        }
        let most = ethtool::most("-G", &target.interface, key);
        let asked = setting.wanted.as_ref().and_then(|text| text.parse().ok());
        if let (Some(most), Some(asked)) = (most, asked) {
            setting.wanted = Some(most.min(asked).to_string());
        }
    }
    Ok(settings)
}

/// `equal`: the table; `hkey`: the key, the same for this machine at every start.
fn rss(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let mut settings = plain(target, "rss", "-X", &profile.rss);
    for (setting, key) in settings.iter_mut().zip(profile.rss.keys()) {
        setting.wanted = match &**key {
            "equal" => target
                .queues_or_now()
                .map(|queues| format!("equal {queues}")),
            "hkey" if target.blind => Some("KEY-OF-THIS-MACHINE".to_owned()),
            "hkey" => match &setting.now {
                Now::Value(now) => Some(machine_key(now.split(':').count())?),
                _ => None,
            },
            _ => anyhow::bail!("rss.{key} is not known; there are equal and hkey"),
        };
    }
    Ok(settings)
}

/// `bytes` bytes made of the machine's id: the same at every start, so that a connection stays on its
/// core, and not known outside, so that nobody can aim at one queue.
fn machine_key(bytes: usize) -> anyhow::Result<String> {
    let id = std::fs::read("/etc/machine-id").context(
        "cannot read /etc/machine-id, from which the hash key is made: systemd-machine-id-setup",
    )?;
    Ok(key_of(&id, bytes))
}

fn key_of(id: &[u8], bytes: usize) -> String {
    let mut key = Vec::new();
    for index in 0..bytes {
        let mut hasher = SipHasher13::new();
        hasher.write(b"cluecast rss");
        hasher.write(id);
        hasher.write_usize(index / 8);
        let block = hasher.finish().to_le_bytes();
        key.push(format!("{:02x}", block[index % 8]));
    }
    key.join(":")
}

/// Files of the interface that hold for the NAPI instances of all its queues.
fn napi(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let setting = |(key, line): (&String, &Line)| {
        let place = Place::File(format!("/sys/class/net/{}/{key}", target.interface).into());
        target.setting(format!("napi {key}"), line, Some(line.value.text()), place)
    };
    Ok(profile.napi.iter().map(setting).collect())
}

/// `irq`, `xps`, `governor`: what goes by the CPUs of the data cores. The queues beyond them are only
/// remembered: they lose their setting when the number of queues goes down.
fn cpus(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for (key, line) in &profile.cpus {
        let mut add = |name: String, wanted: Option<String>, place: Place| {
            settings.push(target.setting(name, line, wanted, place));
        };
        match &**key {
            "irq" => {
                let pattern = line.pattern.as_deref();
                let pattern = pattern.context("cpus.irq needs the drivers' names: pattern")?;
                let files = interrupt_files(target, pattern);
                if files.is_empty() && !target.cpus.is_empty() {
                    // Not a file that can be read, which is what makes it say that.
                    let file = format!("/proc/irq/*{pattern}*");
                    add(
                        "irq".to_owned(),
                        Some(line.value.text()),
                        Place::File(file.into()),
                    );
                }
                for (queue, file) in files {
                    let cpu = target.cpus.get(queue as usize).map(ToString::to_string);
                    add(format!("irq of queue {queue}"), cpu, Place::File(file));
                }
            }
            "xps" => {
                let directory = format!("/sys/class/net/{}/queues", target.interface);
                let queues = match target.blind {
                    true => (0..target.cpus.len()).collect(),
                    false => host::numbered(&directory, "tx-"),
                };
                for queue in queues {
                    let mask = target.cpus.get(queue).map(|cpu| host::mask_of(*cpu));
                    let place = Place::Mask(format!("{directory}/tx-{queue}/xps_cpus").into());
                    add(format!("xps of queue {queue}"), mask, place);
                }
            }
            "governor" => {
                for cpu in &target.cpus {
                    let directory = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq");
                    let place = Place::File(format!("{directory}/scaling_governor").into());
                    add(
                        format!("governor of CPU {cpu}"),
                        Some(line.value.text()),
                        place,
                    );
                }
            }
            _ => anyhow::bail!("cpus.{key} is not known; there are irq, xps and governor"),
        }
    }
    Ok(settings)
}

fn interrupt_files(target: &Target, pattern: &str) -> Vec<(u32, PathBuf)> {
    let file =
        |number: &dyn std::fmt::Display| format!("/proc/irq/{number}/smp_affinity_list").into();
    if target.blind {
        let queues = 0..target.queues().unwrap_or(0);
        let first = pattern.split('|').next().unwrap_or(pattern);
        let name = |queue: u32| first.replace("{queue}", &queue.to_string());
        return queues
            .map(|queue| {
                (
                    queue,
                    file(&format!("IRQ-OF-{}", name(queue).trim_matches('-'))),
                )
            })
            .collect();
    }
    let found = host::interrupts(&target.interface, pattern);
    found
        .iter()
        .map(|(queue, number)| (*queue, file(number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_key_is_this_machines_and_as_long_as_the_drivers() {
        let key = key_of(b"one", 52);
        assert_eq!(key, key_of(b"one", 52));
        assert_ne!(key, key_of(b"two", 52));
        assert_eq!(key.split(':').count(), 52);
        assert_eq!(key_of(b"one", 40), key[..119]);
        let bytes: std::collections::BTreeSet<&str> = key.split(':').collect();
        assert!(
            bytes.len() > 30,
            "a key with few different bytes spreads badly: {key}"
        );
    }
}
