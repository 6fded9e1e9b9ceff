//! The command mounts the kernel's own hugetlbfs, in a mount namespace that ends with the test; the
//! pool of pages is a fake one. Needs root.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::Command;

use tempfile::TempDir;

/// Runs `script` in a mount namespace of its own: `setup ARGUMENT...` is the command, `$dir` a mount
/// point that does not exist. Gives what it printed, both streams.
fn shell(script: &str) -> String {
    let root = TempDir::new().unwrap();
    let pool = root.path().join("sys/kernel/mm/hugepages/hugepages-2048kB");
    fs::create_dir_all(&pool).unwrap();
    for (file, pages) in [("nr", "4"), ("free", "4"), ("surplus", "0")] {
        fs::write(pool.join(format!("{file}_hugepages")), pages).unwrap();
    }
    let setup = format!(
        "exec 2>&1; set -e; dir={0}/a/pages; setup() {{ {1} --root {0} --record {0}/record --pages 4 \
         \"$@\"; }}; ours() {{ setup --mount \"$dir\" --owner nobody \"$@\"; }}\n{script}",
        root.path().display(),
        env!("CARGO_BIN_EXE_hugepage-setup"),
    );
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &setup])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(root.path().to_str().unwrap(), "");
    assert!(output.status.success(), "{text} (needs root)");
    text
}

#[test]
fn the_mount_has_the_owner_and_the_page_size_and_goes_with_undo() {
    let text = shell(
        "ours; stat -f -c '%T %S' $dir; stat -c '%U %a' $dir; ours --check; ours
         ours --undo; if [ -e $dir ]; then echo stays; fi; ours --undo",
    );
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let owner = format!("{}:{}", nobody.uid, nobody.gid);
    let wanted = format!(
        "huge pages of 2 MiB: 4, before 4\n\
         hugetlbfs on /a/pages, owner {owner}\n\
         hugetlbfs 2097152\n\
         nobody 700\n\
         host: total 4, free 4, surplus 0\n\
         /a/pages: hugetlbfs, owner {owner}\n\
         huge pages of 2 MiB: 4, before 4\n\
         /a/pages is unmounted\n\
         nothing to do\n"
    );
    assert_eq!(text, wanted);
}

#[test]
fn a_dry_run_prints_what_the_mount_command_would_do() {
    // The printed lines are run by a shell; the check then finds what was asked for.
    let text = shell(
        "if ours --check; then exit 1; fi; lines=$(ours --dry-run); eval \"$lines\"; ours --check
         umount $dir",
    );
    assert!(text.contains("/a/pages: no hugetlbfs\n"), "{text}");
    assert!(text.contains("/a/pages: hugetlbfs, owner "), "{text}");
}

#[test]
fn the_mount_of_somebody_else_is_refused() {
    let text = shell(
        "mkdir -p $dir; mount -t hugetlbfs none $dir; if ours; then exit 1; fi; ours --undo
         stat -f -c %T $dir; umount $dir",
    );
    assert!(text.contains("belongs to 0:0, not to nobody"), "{text}");
    assert!(text.ends_with("hugetlbfs\n"), "{text}");
}

#[test]
fn a_mount_in_use_stays_and_says_how_to_find_the_user() {
    let text = shell(
        "ours >/dev/null; cd $dir; if ours --undo; then exit 1; fi; cd /; ours --undo; stat -f -c %T \
         ${dir%/*}",
    );
    assert!(text.contains("fuser -vm"), "{text}");
    assert!(!text.ends_with("hugetlbfs\n"), "{text}");
}

#[test]
fn an_owner_that_is_not_there_is_named() {
    let text = shell("if setup --mount $dir --owner nobody:nogroups; then exit 1; fi");
    assert!(text.contains("there is no group nogroups here"), "{text}");
}
