//! The kernel's pools of 2 MiB pages: how many there are in total.
//!
//! A page taken beyond the pool ("surplus" to the kernel: the pool shrank while the page was in use)
//! leaves with the process that has it, so it does not count as kept.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use procfs::{FromRead, Meminfo};

use crate::Answer;
use crate::record::Record;

/// The pool of the whole host.
const HOST: &str = "sys/kernel/mm/hugepages/hugepages-2048kB";
/// One folder for each NUMA node.
const NODES: &str = "sys/devices/system/node";
/// The pool of one node, below its folder.
const IN_NODE: &str = "hugepages/hugepages-2048kB";
/// Taking a 1 moves pages together, so that whole huge pages become free.
const COMPACT: &str = "proc/sys/vm/compact_memory";
/// How much memory is left.
const MEMORY: &str = "proc/meminfo";
/// Bytes of a huge page.
const PAGE_BYTES: u64 = 2 << 20;

/// How a number gets into a file of the kernel; tests put a kernel of their own here.
pub(crate) type Writer<'a> = &'a mut dyn FnMut(&Path, u64) -> io::Result<()>;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Pages {
    root: PathBuf,
    pools: Vec<Pool>,
    wanted: u64,
}

/// A pool that is written to by itself: a node's, or the host's where there is only one node.
#[derive(Debug)]
struct Pool {
    /// `None` is the host's.
    node: Option<u32>,
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

impl Pages {
    /// `pages` over the NUMA nodes `only`, or over all if it is empty.
    pub(crate) fn new(root: &Path, pages: u64, only: &[u32]) -> anyhow::Result<Pages> {
        let host = root.join(HOST);
        ensure!(
            host.is_dir(),
            "no huge pages of 2 MiB here: {} is missing; a kernel with CONFIG_HUGETLBFS and a mounted \
             /sys are needed",
            host.display()
        );
        let mut nodes = nodes(root)?;
        for node in only {
            ensure!(
                nodes.contains_key(node),
                "there is no NUMA node {node} with memory; there are: {:?}",
                nodes.keys()
            );
        }
        let single = nodes.len() < 2;
        nodes.retain(|node, _| only.is_empty() || only.contains(node));
        let count = nodes.len() as u64;
        let pools = if single {
            vec![Pool {
                node: None,
                directory: host,
                wanted: pages,
            }]
        } else {
            let spread = nodes.into_iter().zip(0..);
            let pool = |((node, directory), index)| Pool {
                node: Some(node),
                directory,
                wanted: pages / count + u64::from(index < pages % count),
            };
            spread.map(pool).collect()
        };
        Ok(Pages {
            root: root.to_owned(),
            pools,
            wanted: pages,
        })
    }

    /// Whether the pools keep as many as asked.
    pub(crate) fn check(&self, answer: &mut Answer) -> anyhow::Result<()> {
        let wanted = self.wanted;
        for pool in &self.pools {
            let count = pool.count()?;
            answer.lines.push(format!(
                "{}: total {}, free {}, surplus {}",
                pool.name(),
                count.total,
                count.free,
                count.surplus
            ));
        }
        let kept = self.sum()?.kept();
        if kept < wanted {
            answer.enough = false;
            answer
                .warnings
                .push(format!("the pool keeps {kept} of {wanted} pages needed"));
        }
        Ok(())
    }

    /// The writes that `init` would do.
    pub(crate) fn dry_run(&self, answer: &mut Answer) -> anyhow::Result<()> {
        for pool in self.pending()? {
            let file = pool.file();
            answer
                .lines
                .push(format!("echo {} > {}", pool.wanted, file.display()));
        }
        Ok(())
    }

    /// Makes it so.
    pub(crate) fn init(
        &self,
        record: &mut Record,
        write: Writer<'_>,
        answer: &mut Answer,
    ) -> anyhow::Result<()> {
        let wanted = self.wanted;
        let before = self.sum()?;
        self.note(record)?;
        self.apply(write)?;
        let mut after = self.sum()?;
        if after.kept() < wanted {
            let compacted = match write(&self.root.join(COMPACT), 1) {
                Ok(()) => "also after compaction".to_owned(),
                Err(error) => format!("compaction failed: {error}"),
            };
            self.apply(write)?;
            after = self.sum()?;
            if after.kept() < wanted {
                bail!(self.too_few(&before, &after, &compacted));
            }
        }
        if after.total > wanted {
            answer.warnings.push(format!(
                "{} more than the {wanted} asked for are in use; the kernel frees them with the process \
                 that has them",
                after.total - wanted
            ));
        }
        answer.lines.push(format!(
            "huge pages of 2 MiB: {}, before {}",
            after.total, before.total
        ));
        Ok(())
    }

    /// What there was in the pools that are about to change, unless an earlier run noted it.
    fn note(&self, record: &mut Record) -> anyhow::Result<()> {
        let mut fresh = false;
        for pool in self.pending()? {
            let kept = pool.count()?.kept();
            fresh |= !record.pools.contains_key(&pool.directory);
            record.pools.entry(pool.directory.clone()).or_insert(kept);
        }
        if fresh { record.save() } else { Ok(()) }
    }

    /// Says whether memory is full or in pieces, as far as the kernel tells: the remedies differ.
    fn too_few(&self, before: &Count, after: &Count, compacted: &str) -> String {
        let wanted = self.wanted;
        let missing = (wanted - after.kept()) * PAGE_BYTES;
        let available = Meminfo::from_file(self.root.join(MEMORY));
        let cause = match available.ok().and_then(|memory| memory.mem_available) {
            Some(bytes) if bytes >= missing => format!(
                "{} MiB are available, but in pieces smaller than 2 MiB: memory is too fragmented. Stop \
                 what can be stopped and run this again",
                bytes >> 20
            ),
            Some(bytes) => format!(
                "{} MiB are available and {} MiB are missing: memory is full. Ask for fewer pages (smaller \
                 game.frames or game.hunt_log_mib), or stop what else uses it",
                bytes >> 20,
                missing >> 20
            ),
            None => "memory is full or too fragmented".to_owned(),
        };
        let each = |pool: &Pool| match pool.node {
            Some(node) => format!("{node}:{}", pool.wanted),
            None => pool.wanted.to_string(),
        };
        let line: Vec<String> = self.pools.iter().map(each).collect();
        format!(
            "the kernel gave {} of {wanted} pages ({compacted}). {cause}; or reserve them before anything \
             else runs: `hugepages={}` on the kernel command line (GRUB_CMDLINE_LINUX in \
             /etc/default/grub, update-grub) and reboot. The pool had {} before and keeps what it got",
            after.kept(),
            line.join(","),
            before.total,
        )
    }

    fn apply(&self, write: Writer<'_>) -> anyhow::Result<()> {
        for pool in self.pending()? {
            write_to(&pool.file(), pool.wanted, write)?;
        }
        Ok(())
    }

    /// The pools that are not yet as wanted.
    fn pending(&self) -> anyhow::Result<Vec<&Pool>> {
        let mut pending = Vec::new();
        for pool in &self.pools {
            if pool.count()?.kept() != pool.wanted {
                pending.push(pool);
            }
        }
        Ok(pending)
    }

    fn sum(&self) -> anyhow::Result<Count> {
        let mut sum = Count::default();
        for pool in &self.pools {
            let count = pool.count()?;
            sum.total += count.total;
            sum.free += count.free;
            sum.surplus += count.surplus;
        }
        Ok(sum)
    }
}

/// Gives the pools the sizes they had.
pub(crate) fn fini(record: &Record, write: Writer<'_>, answer: &mut Answer) -> anyhow::Result<()> {
    for (directory, pages) in &record.pools {
        let file = directory.join("nr_hugepages");
        write_to(&file, *pages, write)?;
        let total = read(&file)?;
        answer
            .lines
            .push(format!("{}: {total} pages", directory.display()));
        if total > *pages {
            answer.warnings.push(format!(
                "{} pages are in use; the kernel frees them with the process that has them",
                total - pages
            ));
        }
    }
    Ok(())
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

impl Pool {
    fn name(&self) -> String {
        self.node
            .map_or("host".to_owned(), |node| format!("node{node}"))
    }

    fn file(&self) -> PathBuf {
        self.directory.join("nr_hugepages")
    }

    fn count(&self) -> anyhow::Result<Count> {
        Ok(Count {
            total: read(&self.file())?,
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

fn write_to(file: &Path, value: u64, write: Writer<'_>) -> anyhow::Result<()> {
    write(file, value).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "; run as root; in a container /sys must be writable"
            }
            _ => "",
        };
        let file = file.display();
        anyhow!("cannot write {value} to {file}: {error}{remedy}")
    })
}

fn read(file: &Path) -> anyhow::Result<u64> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let number = text.trim().parse();
    number.with_context(|| format!("{} holds no number: {text:?}", file.display()))
}

/// Never creates the file: what is missing in /sys is not there.
pub(crate) fn write(file: &Path, value: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(file)?;
    file.write_all(value.to_string().as_bytes())
}
