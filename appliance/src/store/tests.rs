//! The store on a real disk: reopened, trimmed, killed, refused.

mod paths;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use engine::hunt::publication::append_list_json;
use engine::journal::{Config, JournalCore, PathRule, Retention, Rule};
use engine::metrics::counters::Counters;
use engine::ring::broadcast::{RECORD_BYTES_MAX, Record};
use engine::ring::bytes::{Reader, Writer, ring};
use engine::ring::submit::{History, Publish, SUBMISSION_BYTES_MAX, Submission};

use super::*;

const FSYNC: Options = Options {
    durability: Durability::Fsync,
    memtable_huge_pages: false,
};
const WAL: Options = Options {
    durability: Durability::Wal,
    memtable_huge_pages: false,
};

fn store(path: &Path) -> RocksStore {
    RocksStore::open(path, FSYNC).unwrap()
}

/// Writes events `offsets` with the offset as value, and the row `top`.
fn append(store: &mut RocksStore, key: HuntKey, offsets: Range<u64>) {
    let mut batch = Batch::default();
    for offset in offsets.clone() {
        batch.event(key, offset, |out| {
            out.extend_from_slice(&offset.to_be_bytes())
        });
    }
    batch.hunt(&format!("hunt{key}"), |out| {
        out.extend_from_slice(&offsets.end.to_be_bytes())
    });
    store.commit(&batch, false).unwrap();
}

fn read(
    store: &mut RocksStore,
    key: HuntKey,
    offsets: Range<u64>,
    direction: Direction,
) -> Vec<u64> {
    let mut found = Vec::new();
    let mut visit = |offset: u64, value: &[u8]| {
        assert_eq!(value, offset.to_be_bytes());
        found.push(offset);
        true
    };
    store.read(key, offsets, direction, &mut visit).unwrap();
    found
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = store(dir.path());
    assert!(first.is_tail_certain());
    assert_eq!(first.journal().unwrap(), None);
    let mut batch = Batch::default();
    batch.journal(|out| out.extend_from_slice(b"era"));
    first.commit(&batch, true).unwrap();
    for key in [0, 1, 256, u32::MAX] {
        append(&mut first, key, 1..11);
    }
    drop(first);

    let mut second = store(dir.path());
    assert_eq!(second.journal().unwrap().as_deref(), Some(&b"era"[..]));
    let mut rows = Vec::new();
    second
        .hunts(&mut |name, row| rows.push((name.to_owned(), row.to_vec())))
        .unwrap();
    let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["hunt0", "hunt1", "hunt256", "hunt4294967295"]);
    for key in [0, 1, 256, u32::MAX] {
        assert_eq!(
            read(&mut second, key, 1..11, Direction::Forward),
            (1..11).collect::<Vec<_>>()
        );
        assert_eq!(read(&mut second, key, 4..7, Direction::Forward), [4, 5, 6]);
        assert_eq!(read(&mut second, key, 4..7, Direction::Backward), [6, 5, 4]);
        assert_eq!(
            read(&mut second, key, 9..u64::MAX, Direction::Forward),
            [9, 10]
        );
        assert_eq!(
            read(&mut second, key, 9..u64::MAX, Direction::Backward),
            [10, 9]
        );
        assert_eq!(
            read(&mut second, key, 20..30, Direction::Backward),
            [0u64; 0]
        );
        assert_eq!(read(&mut second, key, 5..5, Direction::Forward), [0u64; 0]);
    }
    assert_eq!(
        read(&mut second, 2, 0..u64::MAX, Direction::Forward),
        [0u64; 0]
    );
    let mut seen = 0;
    second
        .read(0, 1..11, Direction::Forward, &mut |_, _| {
            seen += 1;
            seen < 3
        })
        .unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn trimmed_is_gone_one_by_one_and_as_a_range() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = store(dir.path());
    append(&mut first, 1, 1..501);
    append(&mut first, 2, 1..501);
    for offsets in [1..11, 11..401] {
        let mut batch = Batch::default();
        batch.trim(1, offsets);
        first.commit(&batch, false).unwrap();
    }
    assert_eq!(
        read(&mut first, 1, 1..501, Direction::Forward),
        (401..501).collect::<Vec<_>>()
    );
    drop(first);
    let mut second = store(dir.path());
    assert_eq!(
        read(&mut second, 1, 1..501, Direction::Forward),
        (401..501).collect::<Vec<_>>()
    );
    assert_eq!(read(&mut second, 2, 1..501, Direction::Forward).len(), 500);
}

#[test]
fn a_healed_store_has_what_it_had_and_takes_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    append(&mut store, 1, 1..3);
    store.heal().unwrap();
    append(&mut store, 1, 3..5);
    assert_eq!(read(&mut store, 1, 1..9, Direction::Forward), [1, 2, 3, 4]);
}

#[test]
fn huge_pages_that_are_not_there_are_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        memtable_huge_pages: true,
        ..FSYNC
    };
    let mut store = RocksStore::open(dir.path(), options).unwrap();
    append(&mut store, 1, 1..1000);
    assert_eq!(read(&mut store, 1, 1..1000, Direction::Forward).len(), 999);
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = store(dir.path());
    let error = RocksStore::open(dir.path(), FSYNC).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[test]
fn somebody_elses_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("holiday.jpg"), "x").unwrap();
    let error = RocksStore::open(dir.path(), FSYNC).unwrap_err();
    assert!(
        error.to_string().contains("holds the file holiday.jpg"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let dir = tempfile::tempdir().unwrap();
    DB::open_default(dir.path())
        .unwrap()
        .put("their", "key")
        .unwrap();
    let error = RocksStore::open(dir.path(), FSYNC).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let mut db = DB::open_default(dir.path()).unwrap();
    db.create_cf("theirs", &rocksdb::Options::default())
        .unwrap();
    drop(db);
    let error = RocksStore::open(dir.path(), FSYNC).unwrap_err();
    assert!(
        error.to_string().contains("column family \"theirs\""),
        "{error}"
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    let error = RocksStore::open(file.path(), FSYNC).unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    let db = first.db().unwrap();
    db.put_cf(db.cf_handle(META).unwrap(), layout::META_FORMAT, "999")
        .unwrap();
    drop(first);
    let error = RocksStore::open(dir.path(), FSYNC).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has format 999, this program knows format 3"),
        "{error}"
    );
}

#[test]
fn damage_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(dir.path()));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("MANIFEST")
        {
            std::fs::write(path, "not a manifest").unwrap();
        }
    }
    let error = RocksStore::open(dir.path(), FSYNC).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

/// The log is cut or damaged as a crash of the host would; what synced writers have said is kept
/// or its loss is noticed.
#[test]
fn a_damaged_log_is_noticed_and_a_torn_end_is_not() {
    let log = |dir: &Path| {
        let files = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.max_by_key(|path| std::fs::metadata(path).unwrap().len())
            .unwrap()
    };
    let write = |options| {
        let dir = tempfile::tempdir().unwrap();
        let mut store = RocksStore::open(dir.path(), options).unwrap();
        for offset in 1..101 {
            append(&mut store, 1, offset..offset + 1);
        }
        // Without its destructor the database is left as a crash leaves it, but for its lock.
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    };
    for options in [FSYNC, WAL] {
        let dir = write(options);
        let path = log(dir.path());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
        let mut store = RocksStore::open(dir.path(), options).unwrap();
        let events = read(&mut store, 1, 1..200, Direction::Forward);
        assert_eq!(
            events,
            (1..100).collect::<Vec<_>>(),
            "the torn one is gone, no other"
        );
        let mut top = 0;
        store
            .hunts(&mut |_, row| top = u64::from_be_bytes(row.try_into().unwrap()))
            .unwrap();
        assert_eq!(top, 100, "the row is as old as the events");
    }
    for options in [FSYNC, WAL] {
        let dir = write(options);
        let path = log(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8].fill(0xaa);
        std::fs::write(&path, bytes).unwrap();
        let opened = RocksStore::open(dir.path(), options);
        match options.durability {
            Durability::Fsync => assert!(matches!(opened.unwrap_err(), OpenError::Damaged { .. })),
            Durability::Wal => {
                let events = read(&mut opened.unwrap(), 1, 1..200, Direction::Forward);
                assert!((1..90).contains(&events.len()));
                assert!(events.iter().copied().eq(1..=events.len() as u64));
            }
        }
    }
}

#[test]
fn a_tail_is_in_doubt_after_unsynced_writes_and_a_new_start_of_the_host() {
    let run = |line: Option<&str>| {
        let dir = tempfile::tempdir().unwrap();
        let mut first = store(dir.path());
        append(&mut first, 1, 1..2);
        drop(first);
        if let Some(line) = line {
            let db = open::open(dir.path(), FSYNC).unwrap();
            db.put_cf(db.cf_handle(META).unwrap(), META_RUN, line)
                .unwrap();
        }
        let mut second = store(dir.path());
        let certain = second.is_tail_certain();
        second.commit(&Batch::default(), true).unwrap();
        assert!(
            second.is_tail_certain(),
            "said once, then taken as the truth"
        );
        certain
    };
    assert!(run(None), "closed");
    assert!(run(Some("fsync another-boot")));
    assert!(
        run(Some(&open::run_line(Durability::Wal, &open::boot_id()))),
        "only the process died"
    );
    assert!(!run(Some("wal another-boot")));
}

// ---- kill -9 -----------------------------------------------------------------------------------

const CHILD_DIR: &str = "CLUECAST_STORE_TEST_DIR";
const CHILD_DURABILITY: &str = "CLUECAST_STORE_TEST_DURABILITY";

struct Journal {
    core: JournalCore<RocksStore>,
    submit: Writer,
    sink: Reader,
    now: Micros,
}

impl Journal {
    fn open(path: &Path, options: Options) -> Journal {
        let default = Rule {
            history_size: 1_000_000,
            history_ttl_ms: u64::MAX,
            compress_from: None,
        };
        let retention = Retention {
            default,
            namespaces: vec![],
            paths: PathRule::default(),
        };
        let config = Config {
            durability: options.durability,
            hunts_max: 10,
            retention,
        };
        let (submit, source) = ring(1 << 20, SUBMISSION_BYTES_MAX);
        let (writer, sink) = ring(4 << 20, RECORD_BYTES_MAX);
        let store = RocksStore::open(path, options).unwrap();
        let counters = Counters::default();
        let core = JournalCore::open(store, config, vec![source], vec![writer], 0, counters, 1);
        Journal {
            core: core.unwrap(),
            submit,
            sink,
            now: Micros(1),
        }
    }

    fn submit(&mut self, submission: &Submission<'_>) {
        let mut bytes = [0; 1000];
        self.submit
            .push(postcard::to_slice(submission, &mut bytes).unwrap())
            .unwrap();
    }

    fn publish(&mut self, token: u64) {
        let data = format!("{{\"token\":{token}}}");
        let publish = Publish {
            token,
            hunt: "h",
            data: data.as_bytes(),
            ..Publish::default()
        };
        self.submit(&Submission::Publish(publish));
    }

    fn turn(&mut self) {
        self.core.turn(self.now, 1);
    }

    /// The whole history: `data` of each offset from 1 on.
    fn history(&mut self) -> Vec<u64> {
        let mut tokens = Vec::new();
        loop {
            let since = Some(("", tokens.len() as u64));
            let ask = History {
                token: 0,
                hunt: "h",
                limit: -1,
                since,
                reverse: false,
                ..History::default()
            };
            self.submit(&Submission::History(ask));
            self.turn();
            let Record::History(page) = postcard::from_bytes(self.sink.pop().unwrap()).unwrap()
            else {
                panic!("no page")
            };
            let mut text = Vec::new();
            append_list_json(&mut text, page.publications);
            let list: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
            for publication in &list {
                assert_eq!(
                    publication["offset"].as_u64(),
                    Some(tokens.len() as u64 + 1)
                );
                tokens.push(publication["data"]["token"].as_u64().unwrap());
            }
            if list.is_empty() {
                assert_eq!(
                    page.top,
                    tokens.len() as u64,
                    "the position is that of the last event"
                );
                return tokens;
            }
        }
    }
}

/// Not a test of its own: the process that is killed. Prints "offset token" for each acknowledged
/// publish, eight publishes a batch.
#[test]
fn publish_until_killed() {
    let Ok(path) = std::env::var(CHILD_DIR) else {
        return;
    };
    let wal = std::env::var(CHILD_DURABILITY).is_ok_and(|durability| durability == "wal");
    let mut journal = Journal::open(Path::new(&path), if wal { WAL } else { FSYNC });
    let first = journal.history().len() as u64 * 1000;
    let mut out = std::io::stdout();
    for batch in 0.. {
        for n in 0..8 {
            journal.publish(first + batch * 8 + n);
        }
        journal.turn();
        while let Some(bytes) = journal.sink.pop() {
            let Record::Published(published) = postcard::from_bytes(bytes).unwrap() else {
                panic!()
            };
            writeln!(out, "ack {} {}", published.offset, published.token).unwrap();
        }
        out.flush().unwrap();
    }
}

fn spawn(path: &Path, durability: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "store::tests::publish_until_killed",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD_DIR, path)
        .env(CHILD_DURABILITY, durability)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the writer five times in the middle of its work, each time later.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    for (durability, options) in [("fsync", FSYNC), ("wal", WAL)] {
        let dir = tempfile::tempdir().unwrap();
        let mut acked = Vec::new();
        for round in 1..=5 {
            let mut child = spawn(dir.path(), durability);
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut count = 0;
            for line in lines.by_ref() {
                let line = line.unwrap();
                let Some(ack) = line.strip_prefix("ack ") else {
                    continue;
                };
                let (offset, token) = ack.split_once(' ').unwrap();
                acked.push((
                    offset.parse::<u64>().unwrap(),
                    token.parse::<u64>().unwrap(),
                ));
                count += 1;
                if count == round * 333 {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(count >= round * 333, "the writer died by itself");
        }
        let history = Journal::open(dir.path(), options).history();
        for (offset, token) in &acked {
            assert_eq!(
                history.get(usize::try_from(*offset).unwrap() - 1),
                Some(token)
            );
        }
        let mut tokens = history.clone();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), history.len(), "nothing is there twice");
        assert!(history.len() >= acked.len() && acked.len() >= 15 * 333);
    }
}

// ---- a disk that refuses -----------------------------------------------------------------------

const FULL_DIR: &str = "CLUECAST_STORE_TEST_FULL_DIR";

/// Not a test of its own: publishes until the kernel refuses longer files, then is let go on.
/// Prints each acknowledged token.
#[test]
fn publish_past_the_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok(path) = std::env::var(FULL_DIR) else {
        return;
    };
    let mut journal = Journal::open(Path::new(&path), FSYNC);
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 100_000, hard).unwrap();
    let mut refused = 0;
    for token in 0..10_000 {
        journal.publish(token);
        journal.turn();
        match postcard::from_bytes(journal.sink.pop().unwrap()).unwrap() {
            Record::Published(published) => println!("ack {}", published.token),
            Record::Refused { .. } => refused += 1,
            other => panic!("{other:?}"),
        }
        if refused == 100 {
            setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
            journal.now = journal.now + Micros::from_secs(2);
        }
    }
    assert!((100..200).contains(&refused), "{refused}");
}

#[test]
fn a_full_disk_is_refused_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "store::tests::publish_past_the_file_limit",
            "--exact",
            "--nocapture",
        ])
        .env(FULL_DIR, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let acked: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("ack ")?.parse().ok())
        .collect();
    assert!(
        acked.len() > 9000 && acked.last() == Some(&9999),
        "{}",
        acked.len()
    );
    assert_eq!(
        Journal::open(dir.path(), FSYNC).history(),
        acked,
        "all of it, and nothing refused"
    );
}
