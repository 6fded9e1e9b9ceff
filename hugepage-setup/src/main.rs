//! `hugepage-setup --pages N`: the host's pool of 2 MiB huge pages has N pages in total afterwards.
//!
//! It stands before the road: the appliance maps its frames and its replay memory on these pages.
//! The kernel owns the pool; here are only the writes to it. Invariants: `--check` and `--dry-run`
//! write nothing; a second run with the same number writes nothing; the answer is read back from
//! the kernel, never taken from what was asked.
//!
//! A page taken beyond the pool ("surplus" to the kernel: the pool shrank while the page was in use)
//! leaves with the process that has it, so it does not count as kept.
//!
//! It does not mount hugetlbfs, touch other page sizes, or make the number survive a reboot.
//! Read first: `Documentation/admin-guide/mm/hugetlbpage.rst` of the kernel.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Parser;

/// The pool of the whole host.
const HOST: &str = "sys/kernel/mm/hugepages/hugepages-2048kB";
/// One folder for each NUMA node.
const NODES: &str = "sys/devices/system/node";
/// The pool of one node, below its folder.
const IN_NODE: &str = "hugepages/hugepages-2048kB";
/// Taking a 1 moves pages together, so that whole huge pages become free.
const COMPACT: &str = "proc/sys/vm/compact_memory";

/// Makes the host's pool of 2 MiB huge pages exactly N pages.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Pages of 2 MiB in the pool of the whole host; spread evenly over its NUMA nodes.
    #[arg(long, value_name = "N")]
    pages: u64,
    /// Change nothing: print total and free, fail unless the pool keeps at least N pages.
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Change nothing: print the writes that would be done.
    #[arg(long)]
    dry_run: bool,
    /// Where /sys and /proc are, for tests.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// What a run says, and whether there are as many pages as asked.
#[derive(Debug)]
struct Answer {
    text: String,
    warning: Option<String>,
    enough: bool,
}

/// How a number gets into a file of the kernel; tests put a kernel of their own here.
type Writer<'a> = &'a mut dyn FnMut(&Path, u64) -> io::Result<()>;

#[allow(clippy::print_stdout, reason = "the answer to a command")]
fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options, &mut write) {
        Ok(answer) => {
            println!("{}", answer.text);
            if let Some(warning) = answer.warning {
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

fn run(options: &Options, write: Writer<'_>) -> anyhow::Result<Answer> {
    let pools = pools(&options.root, options.pages)?;
    if options.check {
        check(&pools, options.pages)
    } else if options.dry_run {
        dry_run(&pools)
    } else {
        set(&pools, options, write)
    }
}

/// A pool that is written to by itself: a node's, or the host's where there is only one node.
#[derive(Debug)]
struct Pool {
    name: String,
    directory: PathBuf,
    wanted: u64,
}

/// Pages of one or more pools.
#[derive(Debug, Default)]
struct Count {
    total: u64,
    free: u64,
    surplus: u64,
}

fn pools(root: &Path, pages: u64) -> anyhow::Result<Vec<Pool>> {
    let host = root.join(HOST);
    ensure!(
        host.is_dir(),
        "no huge pages of 2 MiB here: {} is missing; a kernel with CONFIG_HUGETLBFS and a mounted \
         /sys are needed",
        host.display()
    );
    let nodes = nodes(root)?;
    if nodes.len() < 2 {
        return Ok(vec![Pool {
            name: "host".to_owned(),
            directory: host,
            wanted: pages,
        }]);
    }
    let count = nodes.len() as u64;
    let spread = nodes
        .into_iter()
        .zip(0..)
        .map(|((node, directory), index)| Pool {
            name: format!("node{node}"),
            directory,
            wanted: pages / count + u64::from(index < pages % count),
        });
    Ok(spread.collect())
}

/// The nodes that have memory, by number: only these have a pool.
fn nodes(root: &Path) -> anyhow::Result<BTreeMap<u32, PathBuf>> {
    let directory = root.join(NODES);
    let entries = match fs::read_dir(&directory) {
        // A kernel without NUMA.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.with_context(|| format!("cannot list {}", directory.display()))?,
    };
    let mut nodes = BTreeMap::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("node")?.parse().ok());
        let pool = entry.path().join(IN_NODE);
        if let Some(number) = number
            && pool.is_dir()
        {
            nodes.insert(number, pool);
        }
    }
    Ok(nodes)
}

fn check(pools: &[Pool], pages: u64) -> anyhow::Result<Answer> {
    let mut lines = Vec::new();
    for pool in pools {
        let count = pool.count()?;
        lines.push(format!(
            "{}: total {}, free {}, surplus {}",
            pool.name, count.total, count.free, count.surplus
        ));
    }
    let kept = sum(pools)?.kept();
    Ok(Answer {
        text: lines.join("\n"),
        warning: (kept < pages).then(|| format!("the pool keeps {kept} of {pages} pages needed")),
        enough: kept >= pages,
    })
}

fn dry_run(pools: &[Pool]) -> anyhow::Result<Answer> {
    let writes = pending(pools)?;
    let mut lines: Vec<String> = writes
        .iter()
        .map(|(file, value)| format!("echo {value} > {}", file.display()))
        .collect();
    if lines.is_empty() {
        lines.push("nothing to do".to_owned());
    }
    Ok(Answer {
        text: lines.join("\n"),
        warning: None,
        enough: true,
    })
}

fn set(pools: &[Pool], options: &Options, write: Writer<'_>) -> anyhow::Result<Answer> {
    let pages = options.pages;
    let before = sum(pools)?;
    apply(pools, write)?;
    let mut after = sum(pools)?;
    if after.kept() < pages {
        let compacted = match write(&options.root.join(COMPACT), 1) {
            Ok(()) => "also after compaction".to_owned(),
            Err(error) => format!("compaction failed: {error}"),
        };
        apply(pools, write)?;
        after = sum(pools)?;
        if after.kept() < pages {
            bail!(
                "the kernel gave {} of {pages} pages ({compacted}): memory is full or too \
                 fragmented. Reserve at boot (`hugepages={pages}` on the kernel command line), or \
                 reboot and run this first. The pool had {} before and keeps what it got",
                after.kept(),
                before.total,
            );
        }
    }
    let warning = (after.total > pages).then(|| {
        format!(
            "{} more than the {pages} asked for are in use; the kernel frees them with the process \
             that has them",
            after.total - pages
        )
    });
    Ok(Answer {
        text: format!(
            "huge pages of 2 MiB: {}, before {}",
            after.total, before.total
        ),
        warning,
        enough: true,
    })
}

fn apply(pools: &[Pool], write: Writer<'_>) -> anyhow::Result<()> {
    for (file, value) in pending(pools)? {
        write(&file, value).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    "; run as root; in a container /sys must be writable"
                }
                _ => "",
            };
            let file = file.display();
            anyhow!("cannot write {value} to {file}: {error}{remedy}")
        })?;
    }
    Ok(())
}

/// The writes that are still to be done.
fn pending(pools: &[Pool]) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut writes = Vec::new();
    for pool in pools {
        if pool.count()?.kept() != pool.wanted {
            writes.push((pool.directory.join("nr_hugepages"), pool.wanted));
        }
    }
    Ok(writes)
}

fn sum(pools: &[Pool]) -> anyhow::Result<Count> {
    let mut sum = Count::default();
    for pool in pools {
        let count = pool.count()?;
        sum.total += count.total;
        sum.free += count.free;
        sum.surplus += count.surplus;
    }
    Ok(sum)
}

impl Pool {
    fn count(&self) -> anyhow::Result<Count> {
        Ok(Count {
            total: read(&self.directory.join("nr_hugepages"))?,
            free: read(&self.directory.join("free_hugepages"))?,
            surplus: read(&self.directory.join("surplus_hugepages"))?,
        })
    }
}

impl Count {
    fn kept(&self) -> u64 {
        self.total.saturating_sub(self.surplus)
    }
}

fn read(file: &Path) -> anyhow::Result<u64> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let number = text.trim().parse();
    number.with_context(|| format!("{} holds no number: {text:?}", file.display()))
}

/// Never creates the file: what is missing in /sys is not there.
fn write(file: &Path, value: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(file)?;
    file.write_all(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests;
