//! `tokio-centrifuge` (crates.io), a third client by other people than the other two. It knows neither
//! recovery nor token renewal, so after a cut it goes on with what is new. `rust/` drives it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::installed;
use super::scenarios::TABLES;
use crate::player::token;
use crate::running::{Appliance, PATIENCE, SETTINGS, Settings, api, directory, publish};
use crate::world::{LISTEN, World};

#[test]
fn json() {
    plays("json");
}

#[test]
fn protobuf() {
    plays("protobuf");
}

fn plays(protocol: &str) {
    let program = installed().join("rust/release/tokio-player");
    let (world, directory) = (World::new(), directory());
    let tables = TABLES;
    let _appliance = Appliance::start(&directory, Settings { tables, ..SETTINGS });
    let mut command = Command::new(program);
    // It asks for no subprotocol: the address says which protocol is spoken.
    let url = format!("ws://{LISTEN}/connection/websocket?format={protocol}");
    command.args([&url, &token("ada"), protocol, "full:hunt"]);
    let mut player = Player::start(&world, command);
    player.wait(&json!("connected"));
    player.wait(&json!("subscribed"));

    for number in 1..=300 {
        publish("full:hunt", &json!({"n": number}));
    }
    player.expect(1, 300);

    // It publishes itself, and is told what it may not do.
    player.ask(&json!(["publish", "full:hunt", {"n": 301}]));
    let told = [player.next(), player.next()];
    assert!(told.contains(&json!({"code": 0})), "{told:?}");
    assert!(told.contains(&json!([301, {"n": 301}])), "{told:?}");
    player.ask(&json!(["publish", "quiet:hunt", {}]));
    assert_eq!(player.next(), json!({"code": 103}));
    player.ask(&json!(["rpc", "no such method", {}]));
    assert_eq!(player.next(), json!({"code": 104}));

    // A code below 3500 brings it back, and it subscribes again.
    let again = json!({"user": "ada", "disconnect": {"code": 3011, "reason": "again"}});
    api("disconnect", &again).unwrap();
    player.wait(&json!("connecting"));
    player.wait(&json!("connected"));
    player.wait(&json!("subscribed"));
    for number in 302..=400 {
        publish("full:hunt", &json!({"n": number}));
    }
    player.expect(302, 400);
    api("disconnect", &json!({"user": "ada"})).unwrap();
    player.wait(&json!("disconnected"));
}

/// The running program.
struct Player {
    child: Child,
    input: ChildStdin,
    says: Receiver<Value>,
}

impl Player {
    fn start(world: &World, mut command: Command) -> Player {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = world.as_player(move || command.spawn().unwrap()).join();
        let mut child = child.unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, says) = channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                let line = line.unwrap();
                println!("{line}");
                let said = serde_json::from_str(&line).unwrap();
                if sender.send(said).is_err() {
                    return;
                }
            }
        });
        Player { child, input, says }
    }

    fn ask(&mut self, command: &Value) {
        writeln!(self.input, "{command}").unwrap();
    }

    fn next(&self) -> Value {
        self.says.recv_timeout(PATIENCE).expect("it says something")
    }

    /// Takes what is said until it is `wanted`.
    fn wait(&self, wanted: &Value) {
        while self.next() != *wanted {}
    }

    /// The events `first..=last` and no other, each once.
    fn expect(&self, first: u64, last: u64) {
        for number in first..=last {
            assert_eq!(self.next(), json!([number, {"n": number}]));
        }
        let more = self.says.recv_timeout(Duration::from_millis(50));
        assert!(more.is_err(), "{more:?}");
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
