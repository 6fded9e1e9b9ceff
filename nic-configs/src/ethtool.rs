//! What `ethtool` prints, and the commands that change it. By its command line and not by netlink, so
//! that everything done here can be done by hand, in the same words.
//!
//! Formats: ethtool 6.1 (Debian 12). "n/a" is what the driver does not have; "[fixed]" what cannot be
//! changed.

use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::action::Action;
use crate::setting::Now;

/// The driver of `interface`.
pub(crate) fn driver(interface: &str) -> anyhow::Result<String> {
    let text = print(&["-i", interface]).map_err(anyhow::Error::msg)?;
    let driver = value(&text, "driver").context("ethtool -i names no driver")?;
    ensure!(!driver.is_empty(), "{interface} has no driver");
    Ok(driver)
}

/// What `ethtool`'s setting of `key` is.
pub(crate) fn read(option: &str, interface: &str, key: &str) -> Now {
    let text = match option {
        "-N" => print(&["-n", interface, "rx-flow-hash", key]),
        "--set-priv-flags" => print(&["--show-priv-flags", interface]),
        _ => print(&[&option.to_lowercase(), interface]),
    };
    let text = match text {
        Ok(text) => text,
        Err(said) => return Now::Missing(said),
    };
    let found = match (option, key) {
        ("-L" | "-G", key) => second_block(&text).and_then(|text| value(text, key)),
        ("-C", "adaptive-rx") => adaptive(&text, 0),
        ("-C", "adaptive-tx") => adaptive(&text, 1),
        ("-A", keys) => pause(&text, keys),
        ("-N", _) => fields(&text),
        ("-X", "equal") => table(&text),
        ("-X", "hkey") => hash_key(&text),
        _ => value(&text, key),
    };
    match found {
        None => Now::Missing(format!("the driver has no {key}")),
        Some(found) => match found.split_once(" [fixed]") {
            Some((fixed, _)) => Now::Fixed(fixed.to_owned()),
            // "off [requested on]": what holds is what counts.
            None => Now::Value(found.split(" [").next().unwrap_or(&found).to_owned()),
        },
    }
}

/// The most that `ethtool` says the driver takes, of rings and channels.
pub(crate) fn most(option: &str, interface: &str, key: &str) -> Option<u32> {
    let text = print(&[&option.to_lowercase(), interface]).ok()?;
    let first = &text[..text.find(CURRENT)?];
    value(first, key)?.parse().ok()
}

/// What makes `key` be `value`.
pub(crate) fn actions(option: &str, interface: &str, key: &str, value: &str) -> Vec<Action> {
    let plain = |rest: &str| Action::command(&format!("ethtool {option} {interface} {rest}"));
    match (option, key) {
        ("-N", _) => vec![plain(&format!("rx-flow-hash {key} {value}"))],
        // The value is "equal 4" or "weight 1 2 3".
        ("-X", "equal") => vec![plain(value)],
        ("-A", keys) => {
            let pairs = keys.split(' ').zip(value.split(' '));
            let words: Vec<String> = pairs.map(|(key, value)| format!("{key} {value}")).collect();
            vec![plain(&words.join(" "))]
        }
        ("-L", _) => {
            let mut actions = Vec::new();
            // Drivers refuse to take away a queue that somebody's hash table names.
            if let Now::Value(table) = read("-X", interface, "equal")
                && table != format!("equal {value}")
            {
                actions.push(Action::command(&format!("ethtool -X {interface} default")));
            }
            actions.push(plain(&format!("{key} {value}")));
            actions
        }
        _ => vec![plain(&format!("{key} {value}"))],
    }
}

/// Between the limits and the values of `-l` and `-g`.
const CURRENT: &str = "Current hardware settings:";

fn print(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ethtool").args(arguments).output();
    let output = output.map_err(|error| format!("ethtool cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().replace('\n', "; ");
    Err(format!("ethtool {}: {said}", arguments.join(" ")))
}

fn second_block(text: &str) -> Option<&str> {
    Some(&text[text.find(CURRENT)? + CURRENT.len()..])
}

/// What stands behind `key:`, in lines such as `Combined:  16`, unless it is "n/a".
fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
    })?;
    (line != "n/a").then(|| line.to_owned())
}

/// "off off" for the keys "rx tx"; none if the driver lacks one.
fn pause(text: &str, keys: &str) -> Option<String> {
    let one = |key: &str| match key {
        "autoneg" => value(text, "autonegotiate"),
        key => value(text, key),
    };
    let values: Option<Vec<String>> = keys.split(' ').map(one).collect();
    Some(values?.join(" "))
}

/// `Adaptive RX: off  TX: n/a`.
fn adaptive(text: &str, column: usize) -> Option<String> {
    let line = value(text, "adaptive rx")?;
    let (rx, tx) = line.split_once("TX:")?;
    let word = [rx, tx][column].trim();
    (word != "n/a").then(|| word.to_owned())
}

/// The letters of `ethtool -N ... rx-flow-hash` for what `-n` says in words; none if it hashes nothing,
/// which is what drivers say that cannot be asked.
fn fields(text: &str) -> Option<String> {
    let letters = [
        ("L2DA", 'm'),
        ("VLAN tag", 'v'),
        ("L3 proto", 't'),
        ("IP SA", 's'),
        ("IP DA", 'd'),
        ("L4 bytes 0 & 1", 'f'),
        ("L4 bytes 2 & 3", 'n'),
    ];
    let has = |words: &str| text.lines().any(|line| line.trim().starts_with(words));
    let letters = letters.into_iter().filter(|(words, _)| has(words));
    let found: String = letters.map(|(_, letter)| letter).collect();
    (!found.is_empty()).then_some(found)
}

/// The table of `-x` as the argument of `-X` that makes it: "equal 4", or "weight 10 20" if each queue
/// has one run. Other tables no argument makes: "default" comes nearest.
fn table(text: &str) -> Option<String> {
    let rows = text.lines().filter_map(|line| {
        let (index, row) = line.split_once(':')?;
        index.trim().parse::<u32>().ok()?;
        Some(row)
    });
    let queues = rows.flat_map(str::split_whitespace);
    let queues: Vec<usize> = queues.map(str::parse).collect::<Result<_, _>>().ok()?;
    let count = queues.iter().max()? + 1;
    if (0..)
        .zip(&queues)
        .all(|(index, queue)| index % count == *queue)
    {
        return Some(format!("equal {count}"));
    }
    if !queues.is_sorted() {
        return Some("default".to_owned());
    }
    let mut text = "weight".to_owned();
    for queue in 0..count {
        let weight = queues.iter().filter(|found| **found == queue).count();
        let _ = write!(text, " {weight}");
    }
    Some(text)
}

/// `RSS hash key:` is followed by a line of bytes, or by why there is none.
fn hash_key(text: &str) -> Option<String> {
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("RSS hash key"));
    let key = lines.nth(1)?.trim();
    let is_byte = |byte: &str| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok();
    key.split(':').all(is_byte).then(|| key.to_owned())
}

#[cfg(test)]
mod tests;
