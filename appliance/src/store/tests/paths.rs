//! Players' paths on a real disk: walks come back as they were, over a restart; another layout is refused;
//! and what they cost beside events (`make bench`).

use std::time::Duration;

use bench::walk::{Phone, Walk};
use engine::metrics::catalog::Metric;
use engine::path::{Place, Point};
use engine::ring::submit::{self, Positions};

use super::*;

const WALL_MS: u64 = 1_700_000_000_000;

const PHONES: [Phone; 2] = [
    Phone {
        decimals: 7,
        tells_speed: false,
    },
    Phone {
        decimals: 6,
        tells_speed: false,
    },
];

/// A journal whose clock stands behind all points.
struct Rig {
    core: JournalCore<RocksStore>,
    submit: Writer,
    sink: Reader,
    counters: Counters,
    now: Micros,
}

impl Rig {
    fn open(path: &Path, options: Options) -> Rig {
        let default = Rule {
            history_size: 1_000,
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
            hunts_max: 1_000,
            retention,
        };
        let (submit, source) = ring(8 << 20, SUBMISSION_BYTES_MAX);
        let (writer, sink) = ring(8 << 20, RECORD_BYTES_MAX);
        let store = RocksStore::open(path, options).unwrap();
        let counters = Counters::default();
        let (sources, sinks) = (vec![source], vec![writer]);
        let cells = counters.clone();
        let core = JournalCore::open(store, config, sources, sinks, 0, cells, 1).unwrap();
        Rig {
            core,
            submit,
            sink,
            counters,
            now: Micros(1),
        }
    }

    fn turn(&mut self) -> bool {
        self.now = self.now + Micros(10);
        self.core.turn(self.now, WALL_MS + 1_000_000).busy
    }

    /// Turns until there is nothing to do; nobody reads the answers.
    fn run(&mut self) {
        while self.turn() {
            while self.sink.pop().is_some() {}
        }
    }

    /// The whole path of a user.
    fn path(&mut self, user: &str) -> Vec<Said> {
        let (mut all, mut from) = (Vec::new(), Place::at(0));
        loop {
            let ask = submit::Path {
                token: 7,
                user,
                from,
                end: Place::at(u64::MAX),
                limit: 300,
            };
            self.submit.push(&encoded(&Submission::Path(ask))).unwrap();
            let next = loop {
                self.turn();
                let Some(bytes) = self.sink.pop() else {
                    continue;
                };
                match postcard::from_bytes(bytes).unwrap() {
                    Record::Path(page) => {
                        all.extend(Point::list(page.points).map(said));
                        break page.next;
                    }
                    other => panic!("{other:?}"),
                }
            };
            match next {
                Some(next) => from = next,
                None => return all,
            }
        }
    }
}

/// Time, latitude, longitude, the rest.
type Said = (u64, i32, i32, Vec<u8>);

fn said(point: Point<'_>) -> Said {
    (
        point.time_ms,
        point.lat_e7,
        point.lon_e7,
        point.extra.to_vec(),
    )
}

fn encoded(submission: &Submission<'_>) -> Vec<u8> {
    encoded_in(submission, SUBMISSION_BYTES_MAX)
}

fn encoded_in(submission: &Submission<'_>, room: usize) -> Vec<u8> {
    let mut room = vec![0; room];
    postcard::to_slice(submission, &mut room).unwrap().to_vec()
}

fn positions(user: &str, points: &[u8], room: usize) -> Vec<u8> {
    let token = None;
    let positions = Positions {
        token,
        user,
        points,
    };
    encoded_in(&Submission::Positions(positions), room)
}

#[test]
fn walks_come_back_as_they_were_in_four_bytes_a_point() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path(), WAL);
    let mut wanted: Vec<(String, Vec<Said>)> = Vec::new();
    let (mut list, mut extra) = (Vec::new(), Vec::new());
    for (seed, phone) in (0..20).zip(PHONES.iter().cycle()) {
        let mut walk = Walk::new(seed, *phone, WALL_MS);
        let user = format!("player-{seed}");
        let mut path = Vec::new();
        for _ in 0..600 {
            let point = walk.next(&mut extra);
            list.clear();
            point.append(&mut list);
            path.push(said(point));
            rig.submit.push(&positions(&user, &list, 400)).unwrap();
            rig.run();
        }
        path.sort_by_key(|said| said.0);
        wanted.push((user, path));
    }
    let count = |metric| rig.counters.get(metric);
    let (points, blocks) = (count(Metric::PathBlockPoints), count(Metric::PathBlocks));
    assert!(
        points > 20 * 450 && blocks > 20 * 3,
        "{points} points in {blocks} blocks"
    );
    let bytes = count(Metric::PathBytesPacked) as f64 / points as f64;
    assert!((3.0..=4.0).contains(&bytes), "{bytes} bytes a point");
    for (user, path) in &wanted {
        assert_eq!(rig.path(user), *path);
    }
    drop(rig);
    let mut rig = Rig::open(dir.path(), WAL);
    for (user, path) in &wanted {
        assert_eq!(rig.path(user), *path);
    }
    assert_eq!(rig.counters.get(Metric::PathBlocksDamaged), 0);
}

#[test]
fn an_older_layout_is_refused_by_its_format() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let families = ["events", "hunts", "paths", "meta"];
    let db = DB::open_cf(&options, dir.path(), families).unwrap();
    db.put_cf(db.cf_handle("meta").unwrap(), "format", "2")
        .unwrap();
    drop(db);
    let error = RocksStore::open(dir.path(), FSYNC).unwrap_err();
    let wanted = "has format 2, this program knows format 3; use the program that wrote it";
    assert!(error.to_string().contains(wanted), "{error}");
}

/// Players that each send a point a second.
const PLAYERS: u64 = 100_000;

/// Events a second beside their points.
const EVENTS_PER_S: u64 = 100_000;

const BENCH_S: u64 = 8;

/// Submissions in the order they come in: events of 200 bytes to 100 hunts and, by turns with them,
/// `walks`' points.
fn traffic(walks: &mut [Walk]) -> Vec<Vec<u8>> {
    let data = format!("\"{}\"", "x".repeat(198));
    let (mut list, mut extra) = (Vec::new(), Vec::new());
    let mut all = Vec::new();
    for number in 0..EVENTS_PER_S * BENCH_S {
        let hunt = format!("hunt-{}", number % 100);
        let publish = Publish {
            token: number,
            hunt: &hunt,
            data: data.as_bytes(),
            ..Publish::default()
        };
        all.push(encoded_in(&Submission::Publish(publish), 400));
        if !walks.is_empty() {
            let player = usize::try_from(number).unwrap() % walks.len();
            list.clear();
            walks[player].next(&mut extra).append(&mut list);
            all.push(positions(&format!("player-{player}"), &list, 400));
        }
    }
    all
}

/// What a run of `traffic` did to the journal's thread.
struct Load {
    seconds: f64,
    busy: f64,
    /// Microseconds of turns, in order.
    turns: Vec<u64>,
}

impl Load {
    fn row(&self, name: &str, count: usize) {
        let at = |percent: usize| self.turns[(self.turns.len() - 1) * percent / 100];
        println!(
            "| {name} | {:.0} | {:.0} % | {} / {} / {} |",
            count as f64 / self.seconds,
            100.0 * self.busy / self.seconds,
            at(50),
            at(99),
            at(100),
        );
    }
}

/// Submits `traffic` at `per_s`, or as fast as it goes.
fn load(rig: &mut Rig, traffic: &[Vec<u8>], per_s: Option<u64>) -> Load {
    let start = Instant::now();
    let (mut next, mut busy, mut turns) = (0, Duration::ZERO, Vec::new());
    while next < traffic.len() {
        let due = match per_s {
            Some(per_s) => {
                let us = u128::from(per_s) * start.elapsed().as_micros();
                usize::try_from(us / 1_000_000).unwrap()
            }
            None => usize::MAX,
        };
        while next < due.min(traffic.len()) && rig.submit.push(&traffic[next]).is_ok() {
            next += 1;
        }
        let turn = Instant::now();
        rig.now = Micros(u64::try_from(start.elapsed().as_micros()).unwrap() + 1_000_000);
        let worked = rig.core.turn(rig.now, WALL_MS + 1_000_000).busy;
        if worked {
            busy += turn.elapsed();
            turns.push(u64::try_from(turn.elapsed().as_micros()).unwrap());
        }
        while rig.sink.pop().is_some() {}
    }
    rig.run();
    turns.sort_unstable();
    Load {
        seconds: start.elapsed().as_secs_f64(),
        busy: busy.as_secs_f64(),
        turns,
    }
}

/// Every player has sent something, so that tails fill one after the other, as they do with players who
/// came one after the other.
fn fill(rig: &mut Rig, walks: &mut [Walk]) {
    let (mut list, mut extra) = (Vec::new(), Vec::new());
    for part in 0..2 {
        for (player, walk) in walks.iter_mut().enumerate() {
            list.clear();
            // Up to 124 points in two messages: as many as a tail has before it becomes a block.
            for _ in 0..(player * 7 % 124 + part) / 2 {
                walk.next(&mut extra).append(&mut list);
            }
            let message = positions(&format!("player-{player}"), &list, 8_000);
            while !list.is_empty() && rig.submit.push(&message).is_err() {
                rig.turn();
            }
        }
    }
    rig.run();
}

#[test]
#[ignore = "a measurement: make bench"]
fn points_beside_events() {
    let mut walks: Vec<Walk> = (0..PLAYERS)
        .map(|seed| Walk::new(seed, PHONES[usize::try_from(seed % 2).unwrap()], WALL_MS))
        .collect();
    println!("| journal core, wal | submissions/s | core busy | turn p50 / p99 / max, us |");
    println!("|---|---|---|---|");
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut rig = Rig::open(dir.path(), WAL);
    let events = traffic(&mut []);
    let paced = load(&mut rig, &events, Some(EVENTS_PER_S));
    paced.row("100,000 events/s of 200 B", events.len());
    drop(rig);
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut rig = Rig::open(dir.path(), WAL);
    fill(&mut rig, &mut walks);
    let both = traffic(&mut walks);
    let before = rig.counters.get(Metric::PathBlocks);
    let paced = load(&mut rig, &both, Some(EVENTS_PER_S + PLAYERS));
    paced.row("and 100,000 points/s of 100,000 players", both.len());
    let blocks = (rig.counters.get(Metric::PathBlocks) - before) as f64 / paced.seconds;
    let most = load(&mut rig, &both, None);
    most.row("both, as fast as it goes", both.len());
    let count = |metric| rig.counters.get(metric) as f64;
    let points = count(Metric::PathBlockPoints);
    let bytes = count(Metric::PathBytesPacked) / points;
    let store = rig.core.into_store();
    let db = store.db().unwrap();
    let family = db.cf_handle(layout::PATH_BLOCKS).unwrap();
    db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
    let files = db.property_int_value_cf(family, "rocksdb.total-sst-files-size");
    let files = files.unwrap().unwrap() as f64 / points;
    println!(
        "\n{blocks:.0} blocks/s; {bytes:.2} bytes a point, {files:.2} in RocksDB's files with their keys"
    );
    assert!(paced.seconds < 1.1 * BENCH_S as f64, "not kept up with");
}
