//! A running `cluecast` and the backend's way to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take that is expected to happen.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Signs the players' tokens. The makers of `centrifuge-python` sign theirs with it.
pub const SECRET: &str = "secret";

/// Where backends go, in the appliance's namespace.
pub const ADMIN: &str = "http://127.0.0.1:9000";

/// The key backends show.
pub const API_KEY: &str = "key";

/// What tests change in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `journal.durability`.
    pub durability: &'static str,
    /// Lines of `[client]`.
    pub client: &'static str,
    /// Lines of `[channel]`.
    pub channel: &'static str,
    /// `game.private_chunks`.
    pub private_chunks: u32,
    /// `game.players_max`.
    pub players_max: u32,
    /// Lines of `[game]`.
    pub game: &'static str,
    /// More tables.
    pub tables: &'static str,
}

/// Anonymous players, everything else as it comes.
pub const SETTINGS: Settings = Settings {
    durability: "wal",
    client: "anonymous = true",
    channel: "history_size = 1000000",
    private_chunks: 2048,
    players_max: 1000,
    game: "",
    tables: "",
};

/// A running appliance. It is killed when this is dropped, and its log shown if the test panics.
#[derive(Debug)]
pub struct Appliance {
    child: Child,
    log: PathBuf,
}

impl Appliance {
    /// Starts it in the caller's namespace, with its journal in `directory`; returns when it is
    /// healthy.
    pub fn start(directory: &TempDir, settings: Settings) -> Appliance {
        let config = directory.path().join("cluecast.toml");
        let log = directory.path().join("log");
        fs::write(&config, toml(directory.path(), settings)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cluecast"))
            .args(["run", "--config"])
            .arg(&config)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while ureq::get(format!("{ADMIN}/health")).call().is_err() {
            let ended = child.try_wait().unwrap();
            let text = || fs::read_to_string(&log).unwrap();
            assert!(ended.is_none(), "it did not start: {}", text());
            assert!(start.elapsed() < PATIENCE, "not healthy: {}", text());
            thread::sleep(Duration::from_millis(5));
        }
        Appliance { child, log }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Ends it as a power cut would end the process.
    pub fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to drain; `wait` waits for the end.
    pub fn terminate(&self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!(
                "the appliance's log:\n{}",
                lines[lines.len().saturating_sub(20)..].join("\n")
            );
        }
    }
}

fn toml(directory: &Path, settings: Settings) -> String {
    let Settings {
        durability,
        client,
        channel,
        private_chunks,
        players_max,
        game,
        tables,
    } = settings;
    let journal = directory.join("journal");
    format!(
        r#"
        [game]
        interface = "game"
        listen = ["10.9.0.1:8000", "[fd00:9::1]:8000"]
        frames = 1024
        players_max = {players_max}
        hunt_log_mib = 8
        private_chunks = {private_chunks}
        {game}
        [client]
        token_hmac_secret = "{SECRET}"
        {client}
        [channel]
        {channel}
        [[namespace]]
        name = "open"
        allow_publish_for_client = true
        allow_publish_for_anonymous = true
        [journal]
        path = "{}"
        durability = "{durability}"
        [admin]
        api_key = "{API_KEY}"
        {tables}
        "#,
        journal.display()
    )
}

/// Calls the server API; gives the whole answer, or an error when there is none.
pub fn api(method: &str, body: &Value) -> Result<Value, ureq::Error> {
    let mut answer = ureq::post(format!("{ADMIN}/api/{method}"))
        .header("X-API-Key", API_KEY)
        .content_type("application/json")
        .send(body.to_string())?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_string()?;
    Ok(serde_json::from_str(&text).expect("an answer is JSON"))
}

/// Publishes `data`; gives the offset it was acknowledged at.
pub fn publish(hunt: &str, data: &Value) -> u64 {
    let answer = api("publish", &json!({"channel": hunt, "data": data})).unwrap();
    answer["result"]["offset"]
        .as_u64()
        .unwrap_or_else(|| panic!("{answer}"))
}

/// Everything a hunt's history holds, page by page: epoch, and offset and data of each event.
pub fn history(hunt: &str) -> (String, Vec<(u64, Value)>) {
    let mut events = Vec::new();
    let mut body = json!({"channel": hunt, "limit": -1});
    loop {
        let answer = api("history", &body).unwrap();
        let page = answer["result"]["publications"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"));
        let epoch = answer["result"]["epoch"].as_str().unwrap().to_owned();
        let event = |event: &Value| (event["offset"].as_u64().unwrap(), event["data"].clone());
        events.extend(page.iter().map(event));
        let last = events.last().map_or(0, |event| event.0);
        if page.is_empty() || answer["result"]["offset"] == last {
            return (epoch, events);
        }
        body["since"] = json!({"offset": last, "epoch": epoch});
    }
}

/// A metric as `/metrics` has it now: the one with these labels, or the sum over all labels.
pub fn metric(name: &str) -> u64 {
    let text = ureq::get(format!("{ADMIN}/metrics")).call().unwrap();
    let text = text.into_body().read_to_string().unwrap();
    let full = format!("cluecast_{name}");
    let mut found = text.lines().filter_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        let labelled = key.starts_with(&format!("{full}{{"));
        (key == full || labelled).then(|| value.parse::<u64>().unwrap())
    });
    let first = found.next().unwrap_or_else(|| panic!("no metric {full}"));
    first + found.sum::<u64>()
}

/// Waits until `holds`; `what` is said if it never does.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A directory for one appliance's files, on a disk: the journal's syncs have to mean something.
pub fn directory() -> TempDir {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(parent).unwrap();
    TempDir::new_in(parent).unwrap()
}
