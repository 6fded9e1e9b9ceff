//! The command against a fake /sys in a temporary folder, with a fake kernel behind the files.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use tempfile::TempDir;

use super::*;

const HOST: &str = "sys/kernel/mm/hugepages/hugepages-2048kB";
const NODES: &str = "sys/devices/system/node";
const IN_NODE: &str = "hugepages/hugepages-2048kB";
const COMPACT: &str = "proc/sys/vm/compact_memory";

/// A host with `nodes` NUMA nodes, `pages` free pages in each (in the host's pool if `nodes` is 0).
fn host(nodes: usize, pages: u64) -> TempDir {
    let root = TempDir::new().unwrap();
    pool(root.path(), HOST, pages);
    for node in 0..nodes {
        pool(root.path(), &format!("{NODES}/node{node}/{IN_NODE}"), pages);
    }
    fs::create_dir_all(root.path().join("proc/sys/vm")).unwrap();
    fs::write(root.path().join(COMPACT), "").unwrap();
    root
}

fn pool(root: &Path, below: &str, pages: u64) {
    let directory = root.join(below);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("nr_hugepages"), format!("{pages}\n")).unwrap();
    fs::write(directory.join("free_hugepages"), format!("{pages}\n")).unwrap();
    fs::write(directory.join("surplus_hugepages"), "0\n").unwrap();
}

fn command(root: &TempDir, arguments: &[&str]) -> Options {
    let record = root.path().join("record");
    let (root, record) = (root.path().to_str().unwrap(), record.to_str().unwrap());
    let fixed = ["hugepage-setup", "--root", root, "--record", record];
    Options::parse_from([&fixed, arguments].concat())
}

/// Runs the command; also the writes it did, relative to the root.
fn done(root: &TempDir, arguments: &[&str]) -> (Answer, Vec<(String, u64)>) {
    let mut writes = Vec::new();
    let answer = run(&command(root, arguments), &mut |file, value| {
        let below = file.strip_prefix(root.path()).unwrap();
        writes.push((below.to_str().unwrap().to_owned(), value));
        write(file, value)
    });
    (answer.unwrap(), writes)
}

fn total(root: &TempDir, below: &str) -> u64 {
    let file = root.path().join(below).join("nr_hugepages");
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn node(number: usize) -> String {
    format!("{NODES}/node{number}/{IN_NODE}")
}

#[test]
fn the_pool_gets_the_number_and_a_second_run_writes_nothing() {
    for nodes in [0, 1] {
        let root = host(nodes, 12);
        let (answer, writes) = done(&root, &["--pages", "7"]);
        assert_eq!(writes, [(format!("{HOST}/nr_hugepages"), 7)]);
        assert_eq!(total(&root, HOST), 7);
        assert_eq!(answer.text(), "huge pages of 2 MiB: 7, before 12");
        assert!(answer.enough && answer.warnings.is_empty());

        let (answer, writes) = done(&root, &["--pages", "7"]);
        assert_eq!(writes, []);
        assert_eq!(answer.text(), "huge pages of 2 MiB: 7, before 7");
    }
}

#[test]
fn pages_are_spread_and_the_first_nodes_take_the_remainder() {
    let root = host(3, 0);
    // A node without memory has no pool, and takes no share.
    fs::create_dir_all(root.path().join(NODES).join("node3")).unwrap();
    let (answer, _) = done(&root, &["--pages", "8"]);
    assert_eq!(
        [0, 1, 2].map(|number| total(&root, &node(number))),
        [3, 3, 2]
    );
    assert_eq!(total(&root, HOST), 0, "the kernel sums up by itself");
    assert_eq!(answer.text(), "huge pages of 2 MiB: 8, before 0");
}

#[test]
fn node_ten_comes_after_node_two() {
    let root = host(11, 0);
    done(&root, &["--pages", "3"]);
    assert_eq!(
        [2, 3, 10].map(|number| total(&root, &node(number))),
        [1, 0, 0]
    );
}

/// A kernel that has `before` pages, and `after` once memory was compacted.
fn fragmented(before: u64, after: u64) -> (anyhow::Result<Answer>, u64) {
    let root = host(0, 0);
    let mut room = before;
    let mut compactions = 0;
    let answer = run(&command(&root, &["--pages", "10"]), &mut |file, value| {
        if file.ends_with(COMPACT) {
            compactions += value;
            room = after;
            return Ok(());
        }
        write(file, value.min(room))
    });
    (answer, compactions)
}

#[test]
fn too_few_pages_are_asked_for_once_more_after_compaction() {
    let (answer, compactions) = fragmented(3, 10);
    assert_eq!(answer.unwrap().text(), "huge pages of 2 MiB: 10, before 0");
    assert_eq!(compactions, 1);

    let (answer, compactions) = fragmented(3, 5);
    let error = answer.unwrap_err().to_string();
    assert_eq!(compactions, 1);
    for part in [
        "gave 5 of 10",
        "after compaction",
        "fragmented",
        "`hugepages=10`",
        "reboot",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn pages_in_use_stay_with_a_warning() {
    let root = host(0, 8);
    // What the kernel does with six pages in use: they stay in the total and become surplus.
    let kernel = &mut |file: &Path, value: u64| {
        write(
            &file.with_file_name("surplus_hugepages"),
            6_u64.saturating_sub(value),
        )?;
        write(file, value.max(6))
    };
    let answer = run(&command(&root, &["--pages", "4"]), kernel).unwrap();
    assert!(answer.enough);
    assert_eq!(answer.text(), "huge pages of 2 MiB: 6, before 8");
    assert!(answer.warnings[0].starts_with("2 more than the 4 asked for are in use"));

    let (answer, _) = done(&root, &["--pages", "5", "--check"]);
    assert!(
        !answer.enough,
        "the surplus goes with the process that has it"
    );
    // The total is right already; without this write it would not stay so.
    let answer = run(&command(&root, &["--pages", "6"]), kernel).unwrap();
    assert!(answer.warnings.is_empty());
    assert!(done(&root, &["--pages", "6", "--check"]).0.enough);
}

#[test]
fn check_counts_over_all_nodes_and_writes_nothing() {
    let root = host(2, 5);
    let (answer, writes) = done(&root, &["--pages", "10", "--check"]);
    assert_eq!((answer.enough, writes), (true, vec![]));
    assert_eq!(
        answer.text(),
        "node0: total 5, free 5, surplus 0\nnode1: total 5, free 5, surplus 0"
    );
    assert!(answer.warnings.is_empty());

    let (answer, writes) = done(&root, &["--pages", "11", "--check"]);
    assert_eq!((answer.enough, writes), (false, vec![]));
    assert_eq!(answer.warnings[0], "the pool keeps 10 of 11 pages needed");
}

#[test]
fn a_dry_run_prints_the_writes_and_does_none() {
    let root = host(2, 2);
    let (answer, writes) = done(&root, &["--pages", "5", "--dry-run"]);
    let file = root.path().join(node(0)).join("nr_hugepages");
    assert_eq!(
        answer.text(),
        format!("echo 3 > {}", file.display()),
        "node1 has its two"
    );
    assert_eq!(writes, []);
    assert_eq!([0, 1].map(|number| total(&root, &node(number))), [2, 2]);
    assert_eq!(
        done(&root, &["--pages", "4", "--dry-run"]).0.text(),
        "nothing to do"
    );
}

#[test]
fn what_is_missing_or_forbidden_is_named() {
    let root = TempDir::new().unwrap();
    let error = run(&command(&root, &["--pages", "1"]), &mut write)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(HOST) && error.contains("CONFIG_HUGETLBFS"),
        "{error}"
    );

    let root = host(0, 0);
    let denied = &mut |_: &Path, _| Err(io::Error::from(ErrorKind::PermissionDenied));
    let error = run(&command(&root, &["--pages", "1"]), denied)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot write 1 to") && error.contains("run as root"),
        "{error}"
    );

    let missing = root.path().join(HOST).join("nothing");
    assert!(write(&missing, 1).is_err() && !missing.exists());
}

#[test]
fn pages_of_one_node_leave_the_others_alone() {
    let root = host(3, 5);
    let (_, writes) = done(&root, &["--pages", "9", "--node", "1"]);
    assert_eq!(writes, [(format!("{}/nr_hugepages", node(1)), 9)]);
    let (answer, _) = done(&root, &["--pages", "9", "--node", "1", "--check"]);
    assert_eq!(answer.text(), "node1: total 9, free 5, surplus 0");
    assert!(answer.enough);

    let error = run(&command(&root, &["--node", "7"]), &mut write);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("node 7") && error.contains("[0, 1, 2]"),
        "{error}"
    );
}

#[test]
fn without_a_number_four_gigabytes_are_asked_for() {
    let root = host(0, 0);
    let (answer, _) = done(&root, &["--dry-run"]);
    assert!(answer.text().starts_with("echo 2048 > "), "{answer:?}");
}

#[test]
fn undo_gives_back_what_the_first_run_found() {
    let root = host(2, 3);
    done(&root, &["--pages", "10"]);
    done(&root, &["--pages", "20"]);
    assert_eq!([0, 1].map(|number| total(&root, &node(number))), [10, 10]);
    let (_, writes) = done(&root, &["--undo"]);
    assert_eq!(writes.len(), 2);
    assert_eq!([0, 1].map(|number| total(&root, &node(number))), [3, 3]);

    let (answer, writes) = done(&root, &["--undo"]);
    assert_eq!(
        (answer.text(), writes),
        ("nothing to do".to_owned(), vec![])
    );
}

#[test]
fn what_was_there_is_on_disk_before_the_first_write() {
    let root = host(0, 4);
    let record = root.path().join("record");
    let crashing = &mut |_: &Path, _| {
        assert!(record.exists());
        Err(io::Error::from(ErrorKind::Interrupted))
    };
    run(&command(&root, &["--pages", "8"]), crashing).unwrap_err();
    // The write may have been done all the same.
    write(&root.path().join(HOST).join("nr_hugepages"), 8).unwrap();
    done(&root, &["--undo"]);
    assert_eq!(total(&root, HOST), 4);
}

#[test]
fn a_record_that_cannot_be_read_stops_everything() {
    let root = host(0, 4);
    fs::write(root.path().join("record"), "nonsense").unwrap();
    let error = run(&command(&root, &["--pages", "8"]), &mut write);
    assert!(format!("{:#}", error.unwrap_err()).contains("remove it"));
    assert_eq!(total(&root, HOST), 4);
}

#[test]
fn full_memory_and_memory_in_pieces_have_other_remedies() {
    for (available_kib, wanted) in [(20 * 2048, "too fragmented"), (4 * 2048, "fewer pages")] {
        let root = host(2, 0);
        let text = format!(
            "MemTotal: 100000 kB\nMemFree: 1 kB\nMemAvailable: {available_kib} kB\nBuffers: 0 kB\n\
             Cached: 0 kB\nSwapCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSwapTotal: 0 kB\n\
             SwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\n\
             Committed_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n"
        );
        fs::write(root.path().join("proc/meminfo"), text).unwrap();
        let error = run(&command(&root, &["--pages", "13"]), &mut |file, value| {
            write(file, value.min(1))
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(error.contains("`hugepages=0:7,1:6`"), "{error}");
    }
}
