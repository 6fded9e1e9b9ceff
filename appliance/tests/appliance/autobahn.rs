//! The Autobahn fuzzing client against `/debug/echo`, from the players' namespace, judged strictly: every
//! case of sections 1 to 7, 9 and 10, and of 12 and 13 (permessage-deflate) some in every run of the tests
//! and all in `make autobahn`. By `kosoku` in every run, by the original in `make autobahn` too; both must
//! give the tables of `docs/autobahn.md` and `docs/autobahn-deflate.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::json;

use crate::running::{Appliance, SETTINGS, Settings, directory, metric};
use crate::world::{LISTEN, World};

/// Cases that are run: number and subject of the section, how many, and globs of them. A case more or
/// fewer fails the test.
type Section = (u32, &'static str, usize, &'static [&'static str]);

/// What one run is, and the page that it comes to.
#[derive(Debug, Clone, Copy)]
struct Suite {
    name: &'static str,
    sections: &'static [Section],
    page: &'static str,
    head: &'static str,
    foot: &'static str,
}

const EVERY_RUN: Suite = Suite {
    name: "every run",
    sections: &[
        (1, "framing", 16, &["1.*"]),
        (2, "ping and pong", 11, &["2.*"]),
        (3, "reserved bits", 7, &["3.*"]),
        (4, "opcodes", 10, &["4.*"]),
        (5, "fragmentation", 20, &["5.*"]),
        (6, "UTF-8", 145, &["6.*"]),
        (7, "closing handshake", 37, &["7.*"]),
        (
            9,
            "limits and performance: messages of 16 MiB, frames and writes of 64 bytes",
            54,
            &["9.*"],
        ),
        (10, "a message in several TCP segments", 1, &["10.*"]),
        (
            12,
            "compression of five kinds of data, 2 of 18 sizes",
            10,
            &["12.*.3", "12.*.11"],
        ),
        (
            13,
            "seven ways to offer compression, 2 of 18 sizes",
            14,
            &["13.*.3", "13.*.5"],
        ),
    ],
    page: "autobahn.md",
    head: "`make test` compares this table with what `kosoku` 0.1.0 finds (a Python 3 runner of Autobahn's own \
           case files), `make autobahn` also with what the original finds (autobahntestsuite 25.10.1 on PyPy).",
    foot: "RFC 6455 leaves open whether a close overtakes the message before it, and what close codes past 4999 \
           come to. There is no section 8 and no section 11. All cases of 12 and 13 take minutes: \
           `make autobahn`.",
};

const DEFLATE: Suite = Suite {
    name: "deflate",
    sections: &[
        (
            12,
            "compression of five kinds of data, 18 sizes of message and fragment",
            90,
            &["12.*"],
        ),
        (
            13,
            "seven ways to offer compression, the same sizes",
            126,
            &["13.*"],
        ),
    ],
    page: "autobahn-deflate.md",
    head: "`make autobahn` compares this table with what `kosoku` 0.1.0 and the original (autobahntestsuite \
           25.10.1 on PyPy) find.",
    foot: "A case is a thousand messages of 16 bytes to 128 KiB, each sent compressed and echoed compressed, in one \
           frame or in fragments down to 256 bytes. In section 13 the client also asks for a server without \
           context, and for windows of 512 bytes and 32 KiB.",
};

/// Cases for which the suite itself knows no other verdict than INFORMATIONAL: a close right behind a
/// message, and codes past 4999.
const INFORMATIONAL: &[&str] = &["7.1.6", "7.13.1", "7.13.2"];

/// What a case came to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
    reportfile: String,
}

impl Verdict {
    /// Whether both halves, the messages and the close, are `word`.
    fn is(&self, word: &str) -> bool {
        self.behavior == word && self.behavior_close == word
    }
}

#[derive(Debug, Clone, Copy)]
enum Engine {
    Kosoku,
    Original,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Engine::Kosoku => "kosoku",
            Engine::Original => "wstest",
        }
    }

    /// The command that runs `suite` and leaves its reports in `reports`.
    fn command(self, suite: &Suite, reports: &Path) -> Command {
        let globs = suite.sections.iter().flat_map(|(.., globs)| *globs);
        let target = format!("{LISTEN}/debug/echo");
        let mut command = Command::new(installed(self));
        match self {
            Engine::Kosoku => {
                globs.for_each(|glob| _ = command.args(["--include", glob]));
                command.arg("--outdir").arg(reports).arg(target);
            }
            Engine::Original => {
                let spec = reports.join("spec.json");
                let what = json!({
                    "outdir": reports,
                    "servers": [{"agent": "cluecast", "url": format!("ws://{target}")}],
                    "cases": globs.collect::<Vec<_>>(),
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                });
                fs::write(&spec, what.to_string()).unwrap();
                command
                    .args(["--mode", "fuzzingclient", "--spec"])
                    .arg(spec);
            }
        }
        command
    }
}

#[test]
fn strict() {
    run(Engine::Kosoku, &EVERY_RUN);
}

#[test]
#[ignore = "make autobahn runs it: it unpacks 205 MB the first time"]
fn strict_by_the_original() {
    run(Engine::Original, &EVERY_RUN);
}

#[test]
#[ignore = "make autobahn runs it: it takes minutes"]
fn strict_deflate() {
    run(Engine::Kosoku, &DEFLATE);
}

#[test]
#[ignore = "make autobahn runs it: it takes minutes"]
fn strict_deflate_by_the_original() {
    run(Engine::Original, &DEFLATE);
}

fn run(engine: Engine, suite: &Suite) {
    let folder = format!("{}-{}", suite.page, engine.name());
    let reports = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    _ = fs::remove_dir_all(&reports);
    fs::create_dir_all(&reports).unwrap();
    // From the host's network, before this thread goes into a namespace that has none.
    let mut command = engine.command(suite, &reports);
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        client: "anonymous = true\ncompression = true\ncompression_bytes_min = 1",
        private_chunks: 24_576,
        tables: "[debug]\necho = true\necho_message_bytes_max = 16777216",
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let output = world.as_player(move || command.output().unwrap());
    let output = output.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let index = fs::read_to_string(reports.join("index.json"));
    let index = index.unwrap_or_else(|_| panic!("no report: {said}{output:?}"));
    judge(engine, suite, &index, &reports);
    // A thousand messages a case; noise does not get shorter and goes back as it is.
    let [agreed, inflated, deflated] =
        ["ws_deflate_agreed", "ws_inflated", "ws_deflated"].map(metric);
    assert!(
        agreed > 0 && inflated >= 900 * agreed && deflated >= 300 * agreed,
        "{agreed} connections, {inflated} messages inflated, {deflated} echoes deflated"
    );
}

fn judge(engine: Engine, suite: &Suite, index: &str, reports: &Path) {
    let agents: BTreeMap<String, BTreeMap<String, Verdict>> = serde_json::from_str(index).unwrap();
    assert_eq!(agents.len(), 1, "one server");
    let cases = agents.into_values().next().unwrap();
    let page = page(suite, &cases);
    println!("{}, {}: {page}", engine.name(), suite.name);
    let expected = |case: &str| match INFORMATIONAL.contains(&case) {
        true => "INFORMATIONAL",
        false => "OK",
    };
    let wrong = cases
        .iter()
        .filter(|(case, verdict)| !verdict.is(expected(case)));
    let wrong: Vec<String> = wrong
        .map(|(case, verdict)| {
            let Verdict {
                behavior,
                behavior_close,
                reportfile,
            } = verdict;
            let file = reports.join(reportfile);
            format!(
                "{case}: {behavior}, close {behavior_close}, see {}",
                file.display()
            )
        })
        .collect();
    assert!(wrong.is_empty(), "not strict:\n{}", wrong.join("\n"));
    for (number, subject, count, _) in suite.sections {
        let found = section(&cases, *number).count();
        assert_eq!(found, *count, "cases of section {number}, {subject}");
    }
    let all: usize = suite.sections.iter().map(|(_, _, count, _)| count).sum();
    assert_eq!(cases.len(), all, "cases of other sections");
    let file = docs(suite.page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        page == there,
        "docs/{} is not fresh; UPDATE_DOCS=1 writes it",
        suite.page
    );
}

fn section(cases: &BTreeMap<String, Verdict>, number: u32) -> impl Iterator<Item = &Verdict> {
    let prefix = format!("{number}.");
    let of_it = cases
        .iter()
        .filter(move |(case, _)| case.starts_with(&prefix));
    of_it.map(|(_, verdict)| verdict)
}

/// The page that a run comes to; nothing in it differs from one good run to the next.
fn page(suite: &Suite, cases: &BTreeMap<String, Verdict>) -> String {
    let Suite { head, foot, .. } = suite;
    let mut page = format!(
        "# Autobahn: {}\n\nThe fuzzing client of the Autobahn test suite against `/debug/echo` on AF_XDP, from \
         another network namespace over a veth; `echo_message_bytes_max` is 16 MiB, `private_chunks` 24,576, \
         `compression` is on. Written by `UPDATE_DOCS=1`; do not edit. {head}\n\n\
         OK is strict: NON-STRICT counts as other, and so does a case whose close was not OK.\n\n\
         | section | cases | OK | informational | other |\n|---|---|---|---|---|\n",
        suite.name
    );
    for (number, subject, ..) in suite.sections {
        let count = |word| {
            section(cases, *number)
                .filter(|verdict| verdict.is(word))
                .count()
        };
        let all = section(cases, *number).count();
        let (ok, informational) = (count("OK"), count("INFORMATIONAL"));
        let other = all - ok - informational;
        let _ = writeln!(
            page,
            "| {number} {subject} | {all} | {ok} | {informational} | {other} |"
        );
    }
    let ok = cases.values().filter(|verdict| verdict.is("OK")).count();
    let _ = write!(page, "\n{ok} of {} cases are OK. ", cases.len());
    let known = INFORMATIONAL
        .iter()
        .filter(|case| cases.contains_key(**case));
    let known: Vec<&str> = known.copied().collect();
    if !known.is_empty() {
        let _ = write!(
            page,
            "The suite knows no other verdict than INFORMATIONAL for {}. ",
            known.join(", ")
        );
    }
    let _ = writeln!(page, "{foot}");
    page
}

fn docs(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page)
}

/// The engine's command; installs it the first time.
fn installed(engine: Engine) -> PathBuf {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/appliance/autobahn/install");
    let output = Command::new(install).arg(engine.name()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
