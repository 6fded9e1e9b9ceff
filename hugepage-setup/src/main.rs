//! `hugepage-setup`: the host has N huge pages of 2 MiB for the appliance, and hugetlbfs is mounted for
//! its user.
//!
//! It stands before the road: the appliance maps its frames and its replay memory on these pages. The
//! kernel owns pool and mount; here are only the requests, in two stages (`stages`), each of which can
//! be checked, done, shown without doing it, and undone. Invariants: `--check` and `--dry-run` change
//! nothing; a second run with the same arguments changes nothing; what is reported is read back from
//! the kernel, never taken from what was asked; what was there before is on disk (`record`) before the
//! first change.
//!
//! It does not touch other page sizes, and nothing here outlives a reboot: `cluecast-hugepages.service`
//! runs it at boot. Read first: `Documentation/admin-guide/mm/hugetlbpage.rst` of the kernel.

mod record;
mod stages;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_mangen::Man;

use crate::record::Record;
use crate::stages::mount::Mount;
use crate::stages::pages::{Pages, Writer, write};

/// Makes the host's pool of 2 MiB huge pages exactly N pages, and mounts hugetlbfs if asked to.
#[derive(Debug, Parser)]
#[command(name = "hugepage-setup", version)]
struct Options {
    /// Pages of 2 MiB in all; spread evenly over the NUMA nodes. `cluecast huge-pages --config FILE`
    /// prints what a configuration needs, as arguments for this command.
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pages: u64,
    /// Take them from this NUMA node only (the NIC's); may be given more than once. The pools of the
    /// other nodes stay as they are.
    #[arg(long, value_name = "NODE")]
    node: Vec<u32>,
    /// Also mount hugetlbfs here, with pages of 2 MiB; the directory is made if it is missing.
    #[arg(long, value_name = "DIR")]
    mount: Option<PathBuf>,
    /// Who owns the mount: USER or USER:GROUP; without a group, the user's own.
    #[arg(long, value_name = "OWNER", default_value = "root", requires = "mount")]
    owner: String,
    /// Change nothing: print what there is, fail unless it is at least what was asked for.
    #[arg(long, conflicts_with_all = ["dry_run", "undo"])]
    check: bool,
    /// Change nothing: print the commands that would do it.
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Put back what the first run found.
    #[arg(long)]
    undo: bool,
    /// Where what was there before is kept until `--undo`.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/cluecast-hugepages.json"
    )]
    record: PathBuf,
    /// Print the manual page, for packages.
    #[arg(long, exclusive = true, hide = true)]
    man: bool,
    /// Where /sys and /proc are, for tests.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// What a run says, and whether everything is as asked.
#[derive(Debug)]
struct Answer {
    lines: Vec<String>,
    warnings: Vec<String>,
    enough: bool,
}

impl Answer {
    fn good() -> Answer {
        Answer {
            lines: Vec::new(),
            warnings: Vec::new(),
            enough: true,
        }
    }

    fn text(&self) -> String {
        if self.lines.is_empty() {
            return "nothing to do".to_owned();
        }
        self.lines.join("\n")
    }
}

#[allow(clippy::print_stdout, reason = "the answer to a command")]
fn main() -> ExitCode {
    let options = Options::parse();
    if options.man {
        return manual();
    }
    match run(&options, &mut write) {
        Ok(answer) => {
            println!("{}", answer.text());
            for warning in &answer.warnings {
                eprintln!("hugepage-setup: {warning}");
            }
            ExitCode::from(u8::from(!answer.enough))
        }
        Err(error) => {
            eprintln!("hugepage-setup: {error:#}");
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

fn run(options: &Options, write: Writer<'_>) -> anyhow::Result<Answer> {
    let mut answer = Answer::good();
    if options.undo {
        undo(options, write, &mut answer)?;
        return Ok(answer);
    }
    let pages = Pages::new(&options.root, options.pages, &options.node)?;
    let mount = options.mount.as_ref();
    let mount = mount
        .map(|directory| Mount::new(directory, &options.owner))
        .transpose()?;
    if options.check {
        pages.check(&mut answer)?;
        mount.map_or(Ok(()), |mount| mount.check(&mut answer))?;
    } else if options.dry_run {
        pages.dry_run(&mut answer)?;
        mount.map_or(Ok(()), |mount| mount.dry_run(&mut answer))?;
    } else {
        let mut record = Record::read(&options.record)?;
        pages.init(&mut record, write, &mut answer)?;
        mount.map_or(Ok(()), |mount| mount.init(&mut record, &mut answer))?;
    }
    Ok(answer)
}

/// Backwards, so that nobody can still map what is about to go.
fn undo(options: &Options, write: Writer<'_>, answer: &mut Answer) -> anyhow::Result<()> {
    let record = Record::read(&options.record)?;
    stages::mount::fini(&record, answer)?;
    stages::pages::fini(&record, write, answer)?;
    record.remove()
}

#[cfg(test)]
mod tests;
