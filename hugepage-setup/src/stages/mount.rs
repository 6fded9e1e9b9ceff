//! hugetlbfs at a directory, owned by the appliance's user, so that it can map pages from files there
//! without being root.
//!
//! A mount of somebody else's at the same place is refused, not changed: other programs may rely on its
//! owner. `noexec` is not set: the kernel would then refuse executable mappings, which nobody makes,
//! but `nosuid` and `nodev` cost nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount, umount};
use nix::unistd::{Group, User};
use procfs::process::Process;

use crate::Answer;
use crate::record::{Mounted, Record};

/// The owner and nobody else: what lies on the pages are the players' data.
const MODE: u32 = 0o700;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Mount {
    directory: PathBuf,
    owner: String,
    uid: u32,
    gid: u32,
}

impl Mount {
    /// `owner` is `USER` or `USER:GROUP`, both known to this host.
    pub(crate) fn new(directory: &Path, owner: &str) -> anyhow::Result<Mount> {
        let (user, group) = match owner.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (owner, None),
        };
        let found = User::from_name(user)
            .with_context(|| format!("cannot look for the user {user}"))?
            .with_context(|| format!("there is no user {user} here: --owner"))?;
        let gid = match group {
            None => found.gid,
            Some(group) => {
                Group::from_name(group)
                    .with_context(|| format!("cannot look for the group {group}"))?
                    .with_context(|| format!("there is no group {group} here: --owner"))?
                    .gid
            }
        };
        Ok(Mount {
            directory: directory.to_owned(),
            owner: owner.to_owned(),
            uid: found.uid.as_raw(),
            gid: gid.as_raw(),
        })
    }

    /// Whether it is there.
    pub(crate) fn check(&self, answer: &mut Answer) -> anyhow::Result<()> {
        let directory = self.directory.display();
        if !is_hugetlbfs(&self.directory)? {
            answer.enough = false;
            answer.lines.push(format!("{directory}: no hugetlbfs"));
            return Ok(());
        }
        let (uid, gid) = owner_of(&self.directory)?;
        answer
            .lines
            .push(format!("{directory}: hugetlbfs, owner {uid}:{gid}"));
        if (uid, gid) != (self.uid, self.gid) {
            answer.enough = false;
            answer.warnings.push(format!(
                "{directory} belongs to {uid}:{gid} and not to {} ({}:{})",
                self.owner, self.uid, self.gid
            ));
        }
        Ok(())
    }

    /// The commands that `init` stands for.
    pub(crate) fn dry_run(&self, answer: &mut Answer) -> anyhow::Result<()> {
        let directory = self.directory.display();
        if is_hugetlbfs(&self.directory)? {
            return Ok(());
        }
        if !self.directory.exists() {
            answer.lines.push(format!("mkdir -p {directory}"));
        }
        answer.lines.push(format!(
            "mount -t hugetlbfs -o nosuid,nodev,{} hugetlbfs {directory}",
            self.data()
        ));
        Ok(())
    }

    /// Mounts unless it is there with the right owner.
    pub(crate) fn init(&self, record: &mut Record, answer: &mut Answer) -> anyhow::Result<()> {
        let directory = self.directory.display();
        if is_hugetlbfs(&self.directory)? {
            let (uid, gid) = owner_of(&self.directory)?;
            if (uid, gid) == (self.uid, self.gid) {
                return Ok(());
            }
            bail!(
                "{directory} is a hugetlbfs already and belongs to {uid}:{gid}, not to {}: --undo \
                 first if it is ours, or take another directory",
                self.owner
            );
        }
        let made = !self.directory.exists();
        record.mount = Some(Mounted {
            directory: self.directory.clone(),
            made,
        });
        record.save()?;
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {directory}; run as root"))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let (kind, data) = ("hugetlbfs", self.data());
        mount(Some(kind), &self.directory, Some(kind), flags, Some(&*data)).with_context(|| {
            format!(
                "cannot mount hugetlbfs on {directory}; CAP_SYS_ADMIN and a kernel with \
                 CONFIG_HUGETLBFS are needed"
            )
        })?;
        let (uid, gid) = owner_of(&self.directory)?;
        answer
            .lines
            .push(format!("hugetlbfs on {directory}, owner {uid}:{gid}"));
        Ok(())
    }

    fn data(&self) -> String {
        let (uid, gid) = (self.uid, self.gid);
        format!("pagesize=2M,uid={uid},gid={gid},mode={MODE:04o}")
    }
}

/// Unmounts what `record` says we mounted.
pub(crate) fn fini(record: &Record, answer: &mut Answer) -> anyhow::Result<()> {
    let Some(Mounted { directory, made }) = &record.mount else {
        return Ok(());
    };
    let name = directory.display();
    if is_hugetlbfs(directory)? {
        umount(directory).with_context(|| {
            format!("cannot unmount {name}; whoever uses it has to end first: fuser -vm {name}")
        })?;
        answer.lines.push(format!("{name} is unmounted"));
    }
    if *made && directory.exists() {
        // Somebody's files in it are somebody's.
        if let Err(error) = fs::remove_dir(directory) {
            answer.warnings.push(format!("{name} stays: {error}"));
        }
    }
    Ok(())
}

/// Whether the topmost mount at `directory`, in the mount namespace of this process, is a hugetlbfs.
fn is_hugetlbfs(directory: &Path) -> anyhow::Result<bool> {
    let Ok(directory) = directory.canonicalize() else {
        return Ok(false);
    };
    let mounts = Process::myself()
        .and_then(|this| this.mountinfo())
        .context("cannot read /proc/self/mountinfo")?;
    let top = mounts
        .into_iter()
        .rfind(|mount| mount.mount_point == directory);
    Ok(top.is_some_and(|mount| mount.fs_type == "hugetlbfs"))
}

fn owner_of(directory: &Path) -> anyhow::Result<(u32, u32)> {
    let metadata = fs::metadata(directory)
        .with_context(|| format!("cannot look at {}", directory.display()))?;
    Ok((metadata.uid(), metadata.gid()))
}
