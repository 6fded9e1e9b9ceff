//! Settings that are files of the kernel or units of systemd, and where they lie.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setting::Now;

/// What a file holds, without its line end.
pub(crate) fn file(file: &Path) -> Now {
    match fs::read_to_string(file) {
        Ok(text) => Now::Value(text.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Now::Missing(format!("there is no {}", file.display()))
        }
        Err(error) => Now::Missing(format!("{}: {error}", file.display())),
    }
}

/// What a file holds that is a mask of CPUs, as one number in hexadecimal.
pub(crate) fn mask(name: &Path) -> Now {
    match file(name) {
        Now::Value(text) => Now::Value(plain_mask(&text)),
        other => other,
    }
}

/// "0000,00000004" as "4"; the groups of more than 32 CPUs stay.
fn plain_mask(text: &str) -> String {
    let plain = text.trim_start_matches(['0', ',']);
    if plain.is_empty() {
        "0".to_owned()
    } else {
        plain.to_owned()
    }
}

/// The mask of one CPU, in groups of 32 as the kernel prints and takes them.
pub(crate) fn mask_of(cpu: usize) -> String {
    let mut text = format!("{:x}", 1_u32 << (cpu % 32));
    for _ in 0..cpu / 32 {
        text.push_str(",00000000");
    }
    text
}

/// "active" or "inactive"; missing where systemd or the unit is.
pub(crate) fn unit(unit: &str) -> Now {
    let Ok(output) = Command::new("systemctl")
        .args(["show", "--property=LoadState,ActiveState", unit])
        .output()
    else {
        return Now::Missing("there is no systemctl".to_owned());
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    match (value("LoadState="), value("ActiveState=")) {
        (Some("loaded"), Some(state)) => Now::Value(state.to_owned()),
        _ => Now::Missing(format!("there is no unit {unit}")),
    }
}

/// Interrupts of an interface's device, as queue and number, for those whose name fits `pattern`, in
/// which `{queue}` stands for the number of the queue and `|` separates alternatives.
pub(crate) fn interrupts(interface: &str, pattern: &str) -> Vec<(u32, u32)> {
    let device = PathBuf::from(format!("/sys/class/net/{interface}/device"));
    // A virtio device has its interrupts one floor up, at the PCI device.
    let own = [device.join("msi_irqs"), device.join("../msi_irqs")];
    let Some(list) = own
        .iter()
        .find_map(|directory| fs::read_dir(directory).ok())
    else {
        return Vec::new();
    };
    let numbers = list
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .collect::<Vec<_>>();
    let text = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    let mut found: Vec<(u32, u32)> = text
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.trim_start().split_once(':')?;
            let number: u32 = number.parse().ok()?;
            let name = rest.split_whitespace().last()?;
            let queue = queue_in(name, pattern)?;
            numbers.contains(&number).then_some((queue, number))
        })
        .collect();
    found.sort_unstable();
    found
}

/// The number where `pattern` has `{queue}`: 3 for "ice-eth1-TxRx-3" and "TxRx-{queue}".
fn queue_in(name: &str, patterns: &str) -> Option<u32> {
    patterns
        .split('|')
        .find_map(|pattern| queue_by(name, pattern))
}

fn queue_by(name: &str, pattern: &str) -> Option<u32> {
    let (before, after) = pattern.split_once("{queue}")?;
    let rest = &name[name.find(before)? + before.len()..];
    let end = rest
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(rest.len());
    if !rest[end..].starts_with(after) {
        return None;
    }
    rest[..end].parse().ok()
}

/// Numbers N for which `directory` has an entry `<prefix>N`.
pub(crate) fn numbered(directory: &str, prefix: &str) -> Vec<usize> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut numbers: Vec<usize> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix(prefix)?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_written_as_the_kernel_reads_them() {
        for (cpu, mask) in [(0, "1"), (5, "20"), (31, "80000000"), (33, "2,00000000")] {
            assert_eq!(mask_of(cpu), mask);
        }
        for (text, plain) in [
            ("00000000,00000004", "4"),
            ("0", "0"),
            ("2,00000000", "2,00000000"),
        ] {
            assert_eq!(plain_mask(text), plain);
        }
    }

    #[test]
    fn interrupts_are_known_by_the_names_their_drivers_give() {
        for (name, pattern, queue) in [
            ("eth1-TxRx-0", "-TxRx-{queue}", Some(0)),
            ("ice-enp1s0f0-TxRx-12", "-TxRx-{queue}", Some(12)),
            ("eth1", "-TxRx-{queue}", None),
            ("mlx5_comp3@pci:0000:01:00.0", "mlx5_comp{queue}@", Some(3)),
            ("mlx5_async0@pci:0000:01:00.0", "mlx5_comp{queue}@", None),
            ("virtio2-input.1", "-input.{queue}", Some(1)),
            ("virtio2-output.1", "-input.{queue}", None),
            (
                "eth0-tx-1",
                "-TxRx-{queue}|-rx-{queue}|-tx-{queue}",
                Some(1),
            ),
            ("eth0", "-TxRx-{queue}|-rx-{queue}|-tx-{queue}", None),
        ] {
            assert_eq!(queue_in(name, pattern), queue, "{name}");
        }
    }
}
