//! `nic-setup INTERFACE`: the NIC is set as its driver's profile says, and what was there is put back
//! with `--undo`.
//!
//! It stands before the road: what the NIC does with a frame before the XDP program sees it. A profile
//! (`profiles/<driver>.toml`, with `profiles/common.toml` below it) declares values and why; `stages`
//! turns it into settings that can be read and changed; here they are compared, shown, done and undone.
//! What is printed by `--dry-run` is what is run: the program has no other way to the NIC than those
//! commands (ethtool, ip, systemctl) and writes to files of the kernel.
//!
//! Invariants: `--check` and `--dry-run` change nothing; everything that can change is on disk before
//! the first change (`record`); a second run changes nothing; what is reported was read back. An
//! interface that carries the default route or an ssh session is refused (`guard`).

mod action;
mod ethtool;
mod guard;
mod host;
mod profile;
mod record;
mod setting;
mod stages;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::ensure;
use clap::{CommandFactory, Parser};
use clap_mangen::Man;

use crate::profile::Profile;
use crate::record::Record;
use crate::setting::{Now, Setting};
use crate::stages::{STAGES, Target};

/// Sets a NIC as its driver's profile says.
#[derive(Debug, Parser)]
#[command(name = "nic-setup", version)]
struct Options {
    /// The interface that receives the players' traffic.
    #[arg(required_unless_present = "man")]
    interface: Option<String>,
    /// CPUs of the data cores, in the order of the queues: "2,3" or "2-5". Without them interrupts,
    /// send queues and CPU frequency stay as they are.
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    cpus: Option<CpuList>,
    /// Queues, one for each data core; without it as many as --cpus, or as there are.
    #[arg(long, value_name = "N")]
    queues: Option<u32>,
    /// Change nothing: print what differs, fail if anything does.
    #[arg(long, conflicts_with_all = ["dry_run", "undo"])]
    check: bool,
    /// Change nothing: print the commands that would be run, and why.
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Put back what the first run found.
    #[arg(long)]
    undo: bool,
    /// Also touch an interface that carries the default route or an ssh session.
    #[arg(long)]
    force: bool,
    /// With --dry-run, ask nothing of the interface: print every command of this driver's profile.
    #[arg(long, value_name = "DRIVER", requires = "dry_run")]
    driver: Option<String>,
    /// A profile of your own instead of the driver's.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print the manual page, for packages.
    #[arg(long, exclusive = true, hide = true)]
    man: bool,
    /// Where what was there before is kept until `--undo`; by default in /run, by interface.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// CPUs in the order of the queues.
#[derive(Debug, Clone)]
struct CpuList(Vec<usize>);

#[allow(clippy::print_stdout, reason = "the answer to a command")]
fn main() -> ExitCode {
    let options = Options::parse();
    if options.man {
        return manual();
    }
    match run(&options, &mut |line| println!("{line}")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nic-setup: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The manual page in troff, on standard output.
fn manual() -> ExitCode {
    let page = Man::new(Options::command()).section("8");
    match page.render(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether everything is as asked.
fn run(options: &Options, say: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    let interface = options.interface.as_deref().unwrap_or_default();
    let record = options.record.clone();
    let record =
        record.unwrap_or_else(|| PathBuf::from(format!("/run/cluecast-nic-{interface}.json")));
    if !(options.check || options.dry_run || options.force) {
        guard::check(interface)?;
    }
    if options.undo {
        return undo(&record, say);
    }
    let driver = match &options.driver {
        Some(driver) => driver.clone(),
        None => ethtool::driver(interface)?,
    };
    let profile = match &options.profile {
        Some(file) => Profile::read(file)?,
        None => Profile::of(&driver)?,
    };
    let target = Target {
        interface: interface.to_owned(),
        blind: options.driver.is_some(),
        cpus: options.cpus.clone().map_or(Vec::new(), |list| list.0),
        queues: options.queues,
    };
    if options.check {
        check(&target, &profile, say)
    } else if options.dry_run {
        dry_run(&target, &profile, say)
    } else {
        init(&target, &profile, &record, say)
    }
}

fn check(target: &Target, profile: &Profile, say: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    let mut good = true;
    for setting in settings(target, profile)? {
        if let Some(line) = setting.difference() {
            good &= !setting.is_pending();
            say(&line);
        }
    }
    Ok(good)
}

fn dry_run(target: &Target, profile: &Profile, say: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    say(&format!("# {}: tried: {}", profile.driver, profile.tried));
    for note in &profile.notes {
        say(&format!("# {note}"));
    }
    let mut last_why = String::new();
    for setting in settings(target, profile)? {
        let Some(wanted) = setting.wanted.as_ref().filter(|_| setting.is_pending()) else {
            continue;
        };
        if setting.why != last_why {
            say(&format!("# {}", setting.why));
            last_why.clone_from(&setting.why);
        }
        for action in setting.actions(wanted) {
            say(&action.to_string());
        }
    }
    Ok(true)
}

/// Stage by stage: a change of queues moves interrupts and hash tables.
fn init(
    target: &Target,
    profile: &Profile,
    record: &Path,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<bool> {
    let mut record = Record::read(record, &target.interface)?;
    record.note(&settings(target, profile)?)?;
    for stage in STAGES {
        let settings = stage(target, profile)?;
        record.note(&settings)?;
        for setting in settings {
            let Some(wanted) = setting.wanted.as_ref().filter(|_| setting.is_pending()) else {
                continue;
            };
            for action in setting.actions(wanted) {
                say(&action.to_string());
                // A driver that refuses one thing should still have the others; the check at the end
                // finds what was not taken.
                if let Err(error) = action.run() {
                    say(&format!("{}: {error:#}", setting.name));
                }
            }
        }
    }
    check(target, profile, say)
}

fn undo(file: &Path, say: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    let record = Record::read(file, "")?;
    if record.is_empty() {
        say("nothing to undo");
        return Ok(true);
    }
    let good = record.undo(say)?;
    if good {
        record.remove()?;
    }
    Ok(good)
}

fn settings(target: &Target, profile: &Profile) -> anyhow::Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for stage in STAGES {
        settings.extend(stage(target, profile)?);
    }
    // A setting that the driver does not have cannot be wrong, but a profile should know its driver.
    let has = |setting: &Setting| !matches!(setting.now, Now::Missing(_));
    ensure!(
        target.blind || settings.iter().any(has),
        "none of the profile's settings can be read: is {} there, and is ethtool installed?",
        target.interface
    );
    Ok(settings)
}

/// "2,4-6" as 2, 4, 5, 6.
fn cpus(text: &str) -> Result<CpuList, String> {
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|e| e.to_string());
        let (first, last) = (number(first)?, number(last)?);
        if last < first || last - first > 4096 {
            return Err(format!("{part} is not a range of CPUs"));
        }
        list.extend(first..=last);
    }
    Ok(CpuList(list))
}

#[cfg(test)]
mod tests;
