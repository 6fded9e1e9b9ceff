//! Players on `centrifuge-python` and `centrifuge`, a backend on `cent`. Each player is cut off in the
//! middle of 1,000 events by dropping its packets, and has exactly 1 to 1,000 in the end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{installed, script};
use crate::player::token;
use crate::running::{
    ADMIN, API_KEY, Appliance, PATIENCE, SETTINGS, Settings, directory, eventually, metric,
};
use crate::world::{LISTEN, World, shell};

const EVENTS: u64 = 1000;
const HUNT: &str = "hunt";

#[test]
fn python_json() {
    is_cut_off_and_misses_nothing(python, "json");
}

#[test]
fn python_protobuf() {
    is_cut_off_and_misses_nothing(python, "protobuf");
}

#[test]
fn javascript_json() {
    is_cut_off_and_misses_nothing(javascript, "json");
}

#[test]
fn javascript_protobuf() {
    is_cut_off_and_misses_nothing(javascript, "protobuf");
}

fn python(sdk: &Path) -> Command {
    let mut command = Command::new(sdk.join("python/bin/python"));
    command.arg(script("py/player.py"));
    command
}

fn javascript(sdk: &Path) -> Command {
    let mut command = Command::new("node");
    command
        .arg(script("js/player.mjs"))
        .arg(sdk.join("node_modules"));
    command
}

fn is_cut_off_and_misses_nothing(sdk_player: impl Fn(&Path) -> Command, format: &str) {
    let sdk = installed();
    let (world, directory) = (World::new(), directory());
    let client = "ping_interval_s = 2\npong_timeout_s = 1";
    let _appliance = Appliance::start(&directory, Settings { client, ..SETTINGS });
    let mut player = sdk_player(&sdk);
    player
        .arg(format)
        .arg(format!("ws://{LISTEN}/connection/websocket"))
        .arg(token("ada"))
        .arg(HUNT);
    let mut player = Sdk::start(&world, player);
    player.wait_for("subscribed fresh");

    let publisher = publish(&sdk, 1, EVENTS);
    player.wait_for("event 300 300");
    cut(&world, "-A");
    // It finds out by itself, and so do we.
    player.wait_for("connecting");
    eventually("a player that does not answer is given up", || {
        metric("session_players") == 0
    });
    assert_eq!(metric("session_no_pong"), 1);
    assert_eq!(wait(publisher), EVENTS.to_string());
    assert!(
        player.events.len() < 1000,
        "some are yet to come: {}",
        player.events.len()
    );
    cut(&world, "-D");
    player.wait_for("subscribed recovered");
    player.wait_for(&format!("event {EVENTS} {EVENTS}"));
    player.take_what_comes(Duration::from_millis(300));
    let all: Vec<_> = (1..=EVENTS).map(|number| (number, number)).collect();
    assert!(player.events == all, "{:?}", player.events);
    assert_eq!(
        (metric("session_recovered"), metric("session_not_recovered")),
        (1, 0)
    );
}

/// Drops all packets between player and appliance (`-A`), or no longer (`-D`).
fn cut(world: &World, change: &str) {
    for (chain, port) in [("INPUT", "--sport"), ("OUTPUT", "--dport")] {
        let rule = format!("iptables {change} {chain} -p tcp {port} 8000 -j DROP");
        shell(&format!("ip netns exec {} {rule}", world.player));
    }
}

fn publish(sdk: &Path, first: u64, last: u64) -> Child {
    Command::new(sdk.join("python/bin/python"))
        .arg(script("py/publish.py"))
        .args([&format!("{ADMIN}/api"), API_KEY, HUNT])
        .args([first.to_string(), last.to_string()])
        .env("NO_PROXY", "*")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A running SDK player and what it has said.
struct Sdk {
    child: Child,
    lines: Receiver<String>,
    events: Vec<(u64, u64)>,
}

impl Sdk {
    fn start(world: &World, mut command: Command) -> Sdk {
        command.env("NO_PROXY", "*").stdout(Stdio::piped());
        let mut child = world
            .as_player(move || command.spawn().unwrap())
            .join()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Sdk {
            child,
            lines,
            events: Vec::new(),
        }
    }

    /// Takes lines until one starts with `wanted`.
    fn wait_for(&mut self, wanted: &str) {
        let start = Instant::now();
        while let Some(left) = PATIENCE.checked_sub(start.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if self.take(&line).starts_with(wanted) => return,
                Ok(_) => (),
                Err(_) => break,
            }
        }
        panic!("never: {wanted}");
    }

    fn take_what_comes(&mut self, span: Duration) {
        while let Ok(line) = self.lines.recv_timeout(span) {
            self.take(&line);
        }
    }

    fn take<'a>(&mut self, line: &'a str) -> &'a str {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["event", offset, number] => {
                self.events
                    .push((offset.parse().unwrap(), number.parse().unwrap()));
            }
            _ => println!("player: {line}"),
        }
        line
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
