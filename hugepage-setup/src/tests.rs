//! The command against a fake /sys in a temporary folder, with a fake kernel behind the files.

use tempfile::TempDir;

use super::*;

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
    let root = root.path().to_str().unwrap();
    Options::parse_from([&["hugepage-setup", "--root", root], arguments].concat())
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
    read(&root.path().join(below).join("nr_hugepages")).unwrap()
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
        assert_eq!(answer.text, "huge pages of 2 MiB: 7, before 12");
        assert!(answer.enough && answer.warning.is_none());

        let (answer, writes) = done(&root, &["--pages", "7"]);
        assert_eq!(writes, []);
        assert_eq!(answer.text, "huge pages of 2 MiB: 7, before 7");
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
    assert_eq!(answer.text, "huge pages of 2 MiB: 8, before 0");
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
    assert_eq!(answer.unwrap().text, "huge pages of 2 MiB: 10, before 0");
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
    assert_eq!(answer.text, "huge pages of 2 MiB: 6, before 8");
    assert!(
        answer
            .warning
            .unwrap()
            .starts_with("2 more than the 4 asked for are in use")
    );

    let (answer, _) = done(&root, &["--pages", "5", "--check"]);
    assert!(
        !answer.enough,
        "the surplus goes with the process that has it"
    );
    // The total is right already; without this write it would not stay so.
    let answer = run(&command(&root, &["--pages", "6"]), kernel).unwrap();
    assert!(answer.warning.is_none());
    assert!(done(&root, &["--pages", "6", "--check"]).0.enough);
}

#[test]
fn check_counts_over_all_nodes_and_writes_nothing() {
    let root = host(2, 5);
    let (answer, writes) = done(&root, &["--pages", "10", "--check"]);
    assert_eq!((answer.enough, writes), (true, vec![]));
    assert_eq!(
        answer.text,
        "node0: total 5, free 5, surplus 0\nnode1: total 5, free 5, surplus 0"
    );
    assert!(answer.warning.is_none());

    let (answer, writes) = done(&root, &["--pages", "11", "--check"]);
    assert_eq!((answer.enough, writes), (false, vec![]));
    assert_eq!(
        answer.warning.unwrap(),
        "the pool keeps 10 of 11 pages needed"
    );
}

#[test]
fn a_dry_run_prints_the_writes_and_does_none() {
    let root = host(2, 2);
    let (answer, writes) = done(&root, &["--pages", "5", "--dry-run"]);
    let file = root.path().join(node(0)).join("nr_hugepages");
    assert_eq!(
        answer.text,
        format!("echo 3 > {}", file.display()),
        "node1 has its two"
    );
    assert_eq!(writes, []);
    assert_eq!([0, 1].map(|number| total(&root, &node(number))), [2, 2]);
    assert_eq!(
        done(&root, &["--pages", "4", "--dry-run"]).0.text,
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
