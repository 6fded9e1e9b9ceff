//! Runs the cases against one server and writes down what came of them.

use std::env;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;
use super::net::Net;
use super::peer::take_trace;
use super::table::{CASES, Case, Level, Noise};

/// Quiet cases at the same time: they wait most of the time, but what they measure must not wait for
/// a CPU.
const SIDE_BY_SIDE: usize = 12;

/// Lines of the wire shown of a case that failed.
const TRACE_LINES: usize = 60;

/// A case that ran.
pub struct Ran {
    pub case: &'static Case,
    pub outcome: Outcome,
    pub took: Duration,
    trace: Vec<String>,
}

impl Ran {
    /// Whether it failed, and that counts.
    pub fn failed(&self) -> bool {
        self.outcome.is_err() && self.case.level != Level::Info
    }

    fn word(&self) -> &'static str {
        match (self.case.level, &self.outcome) {
            (Level::Info, Ok(_)) => "info",
            (_, Ok(_)) => "ok",
            (_, Err(_)) => "FAILED",
        }
    }

    /// What it says: one line.
    pub fn line(&self) -> String {
        let Case {
            id,
            level,
            rfc,
            text,
            ..
        } = self.case;
        let (Ok(said) | Err(said)) = &self.outcome;
        let seconds = self.took.as_secs_f32();
        let (level, word) = (level.name(), self.word());
        format!("{id} {level:6} {word:6} {seconds:5.1} s  {rfc}: {text} -> {said}")
    }
}

/// The cases that `TCP_CASES` names ("H01,S" takes one and a letter), or all but the slow ones.
fn chosen() -> Vec<&'static Case> {
    let named = env::var("TCP_CASES").unwrap_or_default();
    let chosen = |case: &&Case| {
        let mut names = named.split(',').filter(|name| !name.is_empty());
        let listed =
            names.any(|name| case.id == name || (name.len() == 1 && case.id.starts_with(name)));
        match case.noise {
            Noise::Slow => named.contains(case.id),
            _ => listed || named.is_empty(),
        }
    };
    CASES.iter().filter(chosen).collect()
}

/// Runs the chosen cases; gives them in the order of the table.
pub fn run(net: &Net) -> Vec<Ran> {
    let chosen = chosen();
    let (quiet, loud): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|c| c.noise == Noise::Quiet);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = quiet.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ran = run_one(case, net);
            done.lock().unwrap().push(ran);
        }
    };
    thread::scope(|scope| (0..SIDE_BY_SIDE).for_each(|_| _ = scope.spawn(work)));
    let mut all = done.into_inner().unwrap();
    for case in loud {
        all.push(run_one(case, net));
    }
    let place = |ran: &Ran| CASES.iter().position(|case| case.id == ran.case.id);
    all.sort_by_key(place);
    all
}

/// On a thread of its own, so that its trace is its own.
fn run_one(case: &'static Case, net: &Net) -> Ran {
    let work = || {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(net)));
        let outcome = outcome.unwrap_or_else(|_| Err("panicked".to_owned()));
        Ran {
            case,
            outcome,
            took: start.elapsed(),
            trace: take_trace(TRACE_LINES),
        }
    };
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Prints one line a case, and the wire of those that failed.
pub fn print(name: &str, all: &[Ran]) {
    for ran in all {
        println!("{name:8} {}", ran.line());
    }
    let trace = env::var_os("TCP_TRACE").is_some();
    for ran in all.iter().filter(|ran| ran.failed() || trace) {
        println!("\n{name} {}, the end of the wire:", ran.line());
        ran.trace.iter().for_each(|line| println!("  {line}"));
    }
    let failed = all.iter().filter(|ran| ran.failed()).count();
    println!("{name}: {} cases, {failed} failed\n", all.len());
}

/// What the page says about a case on one server.
fn cell(ran: &Ran) -> String {
    match (&ran.outcome, ran.case.level) {
        (Ok(said) | Err(said), Level::Info) => said.clone(),
        (Ok(said), _) if said.is_empty() => "holds".to_owned(),
        (Ok(said), _) => format!("holds: {said}"),
        (Err(said), _) => format!("fails: {said}"),
    }
}

/// The page of a whole run.
pub fn page(ours: &[Ran], linux: &[Ran]) -> String {
    let mut page = String::from(
        "# Black-box TCP cases\n\nA raw-packet peer against the appliance on AF_XDP over a veth, and \
         against a WebSocket echo on the kernel's TCP. MUST, SHOULD and ROB (robustness) fail the \
         test; INFO is measured. Written by `UPDATE_DOCS=1 cargo test --release -p cluecast --test \
         appliance tcp_cases`; do not edit. `TCP_CASES=H01,S` runs some, `TCP_CASES=C12` the slow \
         one, `TCP_TRACE=1` shows the wire.\n\nA figure is what one run saw; the test compares the words \
         before it.\n\n| case | level | RFC | what must happen | cluecast | Linux |\n|---|---|---|---|---|---|\n",
    );
    for case in CASES {
        let Case {
            id,
            level,
            rfc,
            text,
            ..
        } = case;
        let level = level.name();
        let said = |all: &[Ran]| {
            let ran = all.iter().find(|ran| ran.case.id == *id);
            ran.map_or("runs only when named".to_owned(), cell)
        };
        let (ours, linux) = (said(ours), said(linux));
        let _ = writeln!(
            page,
            "| {id} | {level} | {rfc} | {text} | {ours} | {linux} |"
        );
    }
    page
}

/// The parts of a page that are the same in every run: the words before the first colon of what a
/// server did, nothing of what INFO measured.
fn words(page: &str) -> Vec<String> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let last = if line.contains("| INFO |") {
            4
        } else {
            cells.len()
        };
        let stable = cells[..last.min(cells.len())].iter().enumerate();
        let word = |(index, cell): (usize, &&str)| match index {
            0..=3 => (*cell).to_owned(),
            _ => cell
                .split([':', '|'])
                .next()
                .unwrap_or("")
                .trim()
                .to_owned(),
        };
        stable.map(word).collect::<Vec<_>>().join(" | ")
    };
    page.lines()
        .filter(|line| line.starts_with("| "))
        .map(row)
        .collect()
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tcp-cases.md")
}

/// Writes the page to `docs/`.
pub fn write_page(page: &str) {
    std::fs::write(file(), page).unwrap();
}

/// Compares the page with the one in `docs/`.
pub fn compare_page(page: &str) {
    let there = std::fs::read_to_string(file()).unwrap_or_default();
    let (fresh, there) = (words(page), words(&there));
    let remedy = "docs/tcp-cases.md is not fresh; UPDATE_DOCS=1 writes it";
    assert_eq!(fresh, there, "{remedy}");
}
