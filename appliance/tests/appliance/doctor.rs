//! `cluecast doctor` about a real interface, and what the two tools are told by a configuration.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::running::directory;
use crate::world::{World, shell};

fn cluecast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cluecast"))
        .args(arguments)
        .output()
        .unwrap()
}

/// The report, and the exit code.
fn doctor(config: &str) -> (Value, Option<i32>) {
    let output = cluecast(&["doctor", "--json", "--config", config]);
    let text = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (report, output.status.code())
}

fn color<'a>(report: &'a Value, check: &str) -> &'a str {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check}: {report}"));
    finding["color"].as_str().unwrap()
}

#[test]
fn the_doctor_sees_a_veth_as_it_is() {
    let world = World::new();
    let files = directory();
    let file = files.path().join("cluecast.toml");
    let name = file.to_str().unwrap();
    let write = |game: &str| {
        let text = format!(
            "[game]\ninterface = \"game\"\nlisten = [\"10.9.0.1:8000\"]\n{game}\n[client]\n\
             anonymous = true\n[journal]\npath = \"/nowhere\"\n[admin]\napi_key = \"key\"\n"
        );
        fs::write(&file, text).unwrap();
    };
    write("");
    let (report, code) = doctor(name);
    assert_eq!(color(&report, "configuration"), "green", "{report}");
    assert_eq!(color(&report, "driver"), "green", "{report}");
    assert_eq!(
        color(&report, "zero-copy"),
        "yellow",
        "a veth has none: {report}"
    );
    assert_eq!(color(&report, "queues"), "green", "{report}");
    assert_eq!((&report["color"], code), (&"yellow".into(), Some(1)));

    // A queue without a core loses its players.
    write("queues = 1");
    let (report, code) = doctor(name);
    assert_eq!(color(&report, "queues"), "red", "{report}");
    assert_eq!((&report["color"], code), (&"red".into(), Some(2)));
    // And the command that it names mends it.
    let arguments = cluecast(&["setup-arguments", "nic", "--config", name]);
    assert_eq!(
        String::from_utf8_lossy(&arguments.stdout),
        "game --queues 1\n"
    );
    shell("ethtool -L game rx 1 tx 1");
    assert_eq!(color(&doctor(name).0, "queues"), "green");

    write("zero_copy = \"require\"");
    assert_eq!(color(&doctor(name).0, "zero-copy"), "red");
    write("nonsense = 1");
    let (report, code) = doctor(name);
    assert_eq!((color(&report, "configuration"), code), ("red", Some(2)));
    shell(&format!("ip -n {} link delete game", world.appliance));
    write("");
    assert_eq!(color(&doctor(name).0, "interface"), "red");
}

#[test]
fn the_pages_asked_for_are_those_the_start_takes() {
    let _world = World::new();
    let files = directory();
    let file = files.path().join("cluecast.toml");
    fs::write(
        &file,
        "[game]\ninterface = \"game\"\nlisten = [\"10.9.0.1:8000\"]\nhunt_log_mib = 8\nframes = 1024\n\
         [client]\nanonymous = true\n[admin]\napi_key = \"key\"\n",
    )
    .unwrap();
    let output = cluecast(&[
        "setup-arguments",
        "pages",
        "--config",
        file.to_str().unwrap(),
    ]);
    // Two queues, each with 4 pages of hunt log and 2 of frames.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--pages 12\n");
}
