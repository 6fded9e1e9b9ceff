//! The file format: the reference is complete and true, and refusals name line, key and remedy.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const REFERENCE: &str = include_str!("default.toml");

/// The least that is accepted.
const LEAST: &str = r#"
[game]
interface = "eth1"
listen = ["10.0.0.1:8000"]
[client]
anonymous = true
[admin]
api_key = "k"
"#;

/// The reference with every optional key switched on.
fn reference_with_all_keys() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    REFERENCE.lines().map(on).collect::<Vec<_>>().join("\n")
}

/// One key of the reference: table, key, value, meaning, and whether it is off by default.
#[derive(Debug)]
struct Entry {
    table: String,
    key: String,
    value: String,
    meaning: String,
    off: bool,
}

/// The tables (with their meaning) and the keys of the reference, read line by line.
fn reference_entries() -> (Vec<(String, String)>, Vec<Entry>) {
    let (mut tables, mut entries) = (Vec::new(), Vec::new());
    let (mut table, mut prose) = (String::new(), Vec::<String>::new());
    for line in REFERENCE.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            prose.push(text.to_owned());
            continue;
        }
        let meaning = std::mem::take(&mut prose).join(" ");
        let off = line.starts_with('#');
        let line = line.trim_start_matches('#');
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
            tables.push((table.clone(), meaning));
        } else if let Some((key, value)) = line.split_once(" = ") {
            let (key, value) = (key.to_owned(), value.to_owned());
            entries.push(Entry {
                table: table.clone(),
                key,
                value,
                meaning,
                off,
            });
        }
    }
    (tables, entries)
}

/// The keys that the code knows in `table`, as its refusal of an unknown key lists them.
fn known_keys(table: &str) -> BTreeSet<String> {
    let header = match table {
        "" => String::new(),
        "namespace" => "[[namespace]]".to_owned(),
        table => format!("[{table}]"),
    };
    let fault = Config::parse_shape(&format!("{header}\nno_such_key = 1\n")).unwrap_err();
    let listed = fault.message.split("expected").nth(1).unwrap();
    listed
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn faults(text: &str) -> Vec<Fault> {
    Config::parse(text).unwrap_err()
}

/// `LEAST` with `key = value` set in `[table]`.
fn with(table: &str, line: &str) -> String {
    let header = format!("[{table}]\n");
    if LEAST.contains(&header) {
        LEAST.replace(&header, &format!("{header}{line}\n"))
    } else {
        format!("{LEAST}{header}{line}\n")
    }
}

#[test]
fn the_reference_holds_every_key_and_no_other() {
    let (tables, entries) = reference_entries();
    let names: BTreeSet<_> = tables.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, known_keys(""), "tables");
    for table in names {
        let documented: BTreeSet<_> = entries
            .iter()
            .filter(|e| e.table == table)
            .map(|e| e.key.clone())
            .collect();
        assert_eq!(documented, known_keys(&table), "keys of [{table}]");
    }
}

#[test]
fn the_reference_explains_every_key() {
    let (tables, entries) = reference_entries();
    for (table, meaning) in tables {
        assert!(!meaning.is_empty(), "[{table}] is not explained");
    }
    for entry in entries {
        assert!(
            !entry.meaning.is_empty(),
            "{}.{} is not explained",
            entry.table,
            entry.key
        );
    }
}

#[test]
fn the_reference_shows_the_defaults() {
    let mut shown = Config::parse_shape(REFERENCE).unwrap();
    assert_eq!(shown.game.interface, "eth1");
    shown.game.interface.clear();
    shown.game.listen.clear();
    assert_eq!(shown, Config::default());

    let all = Config::parse_shape(&reference_with_all_keys()).unwrap();
    assert_eq!(all.statsd, Some(Statsd::default()));
    assert_eq!(
        all.namespace[0].rules(ChannelRules::default()),
        ChannelRules::default()
    );
    assert!(all.namespace[0].force_recovery.is_some());
    assert_eq!(all.journal.cpu, Some(1));
}

#[test]
fn the_reference_has_no_secret() {
    let keys: Vec<_> = faults(REFERENCE)
        .into_iter()
        .map(|fault| fault.key)
        .collect();
    assert_eq!(keys, ["client.token_hmac_secret", "admin.api_key"]);
}

#[test]
fn the_page_is_fresh() {
    let (tables, entries) = reference_entries();
    let mut page = String::from(
        "# Configuration\n\nMade from `appliance/src/config/default.toml`, which can be copied and \
         edited; do not edit this page.\n`cluecast check-config FILE` checks a file and says what \
         it comes to in memory.\n",
    );
    for (table, meaning) in tables {
        page +=
            &format!("\n## {table}\n\n{meaning}\n\n| key | default | meaning |\n|---|---|---|\n");
        for entry in entries.iter().filter(|entry| entry.table == table) {
            let required = entry.meaning.starts_with("Required.");
            let default = match (required, entry.off && table != "statsd") {
                (true, _) => String::new(),
                (false, true) => "not set".to_owned(),
                (false, false) => format!("`{}`", entry.value),
            };
            let meaning = entry.meaning.replace('|', "\\|");
            page += &format!("| `{}` | {default} | {meaning} |\n", entry.key);
        }
    }
    crate::docs::assert_page("config.md", &page);
}

#[test]
fn the_least_file_is_accepted() {
    let config = Config::parse(LEAST).unwrap();
    assert_eq!(config.client.ping_interval_s, 25);
    assert_eq!(config.statsd, None);
}

#[test]
fn an_unknown_key_is_refused_with_line_and_key() {
    let text = with("client", "pong = 3");
    let line = text.lines().position(|l| l == "pong = 3").unwrap() + 1;
    let fault = &faults(&text)[0];
    assert_eq!(
        (fault.line, fault.key.as_str()),
        (Some(line), "client.pong")
    );
    assert!(
        fault
            .message
            .starts_with("unknown field `pong`, expected one of `anonymous`")
    );
    assert!(fault.message.contains("docs/config.md"));
}

#[test]
fn keys_of_other_servers_and_versions_are_unknown() {
    for line in ["delta_publish = true", "allow_publish = true"] {
        assert!(
            faults(&with("channel", line))[0]
                .message
                .starts_with("unknown field")
        );
    }
}

#[test]
fn a_wrong_type_is_refused_with_line_and_key() {
    let text = with("client", "ping_interval_s = \"soon\"");
    let fault = &faults(&text)[0];
    assert_eq!(
        (fault.line, fault.key.as_str()),
        (Some(6), "client.ping_interval_s")
    );
    let fault = &faults(&with("game", "queues = -1"))[0];
    assert_eq!((fault.line, fault.key.as_str()), (Some(3), "game.queues"));
    let fault = &faults(&with("game", "poll = \"lazy\""))[0];
    assert!(fault.message.contains("`adaptive`"), "{}", fault.message);
}

#[test]
fn text_that_is_not_toml_is_refused_with_the_line() {
    let fault = &faults("[game]\ninterface =\n")[0];
    assert_eq!((fault.line, fault.key.as_str()), (Some(2), ""));
}

#[test]
fn all_bad_values_are_named_at_once() {
    let text = "[game]\ninterface = \"e\"\nlisten = [\"10.0.0.1:8000\"]\nframes = 1000\n\
                [client]\nanonymous = true\npong_timeout_s = 25\n[admin]\ninsecure = true\n";
    let found: Vec<_> = faults(text).into_iter().map(|f| (f.line, f.key)).collect();
    let expected = [(Some(4), "game.frames"), (Some(7), "client.pong_timeout_s")];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn a_line_inside_an_array_of_tables_is_found() {
    let text = format!(
        "{LEAST}[[namespace]]\nname = \"a\"\n[[namespace]]\n\nname = \"a\"\nforce_push_join_leave = true"
    );
    let found: Vec<_> = faults(&text).into_iter().map(|f| (f.line, f.key)).collect();
    let first = LEAST.lines().count();
    assert_eq!(
        found,
        [
            (Some(first + 5), "namespace[1].name".to_owned()),
            (
                Some(first + 6),
                "namespace[1].force_push_join_leave".to_owned()
            ),
        ]
    );
}

/// One bad value each: the table, the line, the key that must be named.
const BAD_LINES: &[(&str, &str, &str)] = &[
    ("game", "queues = 64", "game.queues"),
    ("game", "frames = 128", "game.frames"),
    ("game", "players_max = 0", "game.players_max"),
    ("game", "half_open_max = 0", "game.half_open_max"),
    ("game", "half_open_max = 2000000", "game.half_open_max"),
    ("game", "hunts_max = 0", "game.hunts_max"),
    ("game", "hunt_log_mib = 0", "game.hunt_log_mib"),
    ("game", "private_chunks = 1000", "game.private_chunks"),
    ("game", "queues = 2\ncpus = [1]", "game.cpus"),
    ("tcp", "mss_max = 535", "tcp.mss_max"),
    ("tcp", "mss_max = 1461", "tcp.mss_max"),
    ("tcp", "persist_timeout_s = 4", "tcp.persist_timeout_s"),
    ("tcp", "congestion = \"bbr\"", "tcp.congestion"),
    ("game", "cpus = [1, 1]", "game.cpus"),
    (
        "client",
        "allowed_origins = [\"\"]",
        "client.allowed_origins",
    ),
    ("client", "ping_interval_s = 8", "client.pong_timeout_s"),
    ("client", "pong_timeout_s = 0", "client.pong_timeout_s"),
    (
        "client",
        "handshake_timeout_s = 0",
        "client.handshake_timeout_s",
    ),
    (
        "client",
        "connect_timeout_s = 0",
        "client.connect_timeout_s",
    ),
    ("client", "channels_max = 0", "client.channels_max"),
    (
        "client",
        "message_bytes_max = 65537",
        "client.message_bytes_max",
    ),
    (
        "client",
        "message_bytes_max = 100",
        "client.message_bytes_max",
    ),
    ("client", "lag_bytes_max = 1000", "client.lag_bytes_max"),
    (
        "debug",
        "echo_message_bytes_max = 16777217",
        "debug.echo_message_bytes_max",
    ),
    (
        "debug",
        "echo = true\necho_message_bytes_max = 16777216",
        "game.private_chunks",
    ),
    ("debug", "demo = true", "debug.demo"),
    ("client", "lag_bytes_max = 100000000", "game.hunt_log_mib"),
    ("channel", "history_size = 0", "channel.force_recovery"),
    ("channel", "history_ttl_s = 0", "channel.force_recovery"),
    (
        "channel",
        "history_size = 0\nforce_recovery = false\nallow_recovery = true",
        "channel.allow_recovery",
    ),
    (
        "channel",
        "history_size = 0\nforce_recovery = false\nforce_positioning = true",
        "channel.force_positioning",
    ),
    (
        "channel",
        "history_size = 0\nforce_recovery = false\nallow_positioning = true",
        "channel.allow_positioning",
    ),
    (
        "channel",
        "history_size = 0\nforce_recovery = false\nallow_history_for_client = true",
        "channel.allow_history_for_client",
    ),
    (
        "channel",
        "history_size = 0\nforce_recovery = false\nallow_history_for_subscriber = true",
        "channel.allow_history_for_subscriber",
    ),
    (
        "channel",
        "force_push_join_leave = true",
        "channel.force_push_join_leave",
    ),
    (
        "channel",
        "allow_presence_for_client = true",
        "channel.allow_presence_for_client",
    ),
    (
        "channel",
        "allow_presence_for_subscriber = true",
        "channel.allow_presence_for_subscriber",
    ),
    (
        "channel",
        "allow_publish_for_anonymous = true",
        "channel.allow_publish_for_anonymous",
    ),
    (
        "channel",
        "allow_history_for_anonymous = true",
        "channel.allow_history_for_anonymous",
    ),
    (
        "channel",
        "presence = true\nallow_presence_for_anonymous = true",
        "channel.allow_presence_for_anonymous",
    ),
    (
        "client",
        "user_personal_channel = true\nuser_personal_channel_namespace = \"none\"",
        "client.user_personal_channel_namespace",
    ),
    (
        "[namespace]",
        "name = \"a\"\nhistory_size = 0",
        "namespace[0].force_recovery",
    ),
    ("journal", "path = \"\"", "journal.path"),
    ("journal", "hunts_max = 0", "journal.hunts_max"),
    ("journal", "path_ttl_s = 0", "journal.path_ttl_s"),
    ("journal", "path_points_max = 0", "journal.path_points_max"),
    ("client", "positions_per_s = 1001", "client.positions_per_s"),
    ("admin", "insecure = true", "admin.insecure"),
    ("admin", "listen = \"10.0.0.1:8000\"", "admin.listen"),
    ("statsd", "address = \"127.0.0.1:0\"", "statsd.address"),
    ("statsd", "interval_ms = 99", "statsd.interval_ms"),
    ("statsd", "prefix = \"a|b\"", "statsd.prefix"),
    ("statsd", "tags = [\"a b\"]", "statsd.tags"),
    (
        "statsd",
        "tags = [\"a:b\"]\ndogstatsd = false",
        "statsd.tags",
    ),
    ("[namespace]", "name = \"a:b\"", "namespace[0].name"),
    ("[namespace]", "", "namespace[0].name"),
];

#[test]
fn every_rule_refuses() {
    for (table, line, key) in BAD_LINES {
        let text = with(table, line);
        let keys: Vec<_> = faults(&text).into_iter().map(|fault| fault.key).collect();
        assert!(keys.iter().any(|k| k == key), "{line}: {keys:?}");
        assert!(
            keys.iter().all(|k| k == *key || k == "game.hunt_log_mib"),
            "{line}: {keys:?}"
        );
    }
}

#[test]
fn every_rule_on_what_is_required_refuses() {
    for (from, to, key) in [
        ("\"eth1\"", "\"\"", "game.interface"),
        ("\"eth1\"", "\"a/b\"", "game.interface"),
        ("\"eth1\"", "\"sixteen-letters-\"", "game.interface"),
        ("\"10.0.0.1:8000\"", "", "game.listen"),
        ("10.0.0.1:8000", "0.0.0.0:8000", "game.listen"),
        ("10.0.0.1:8000", "[::]:8000", "game.listen"),
        ("10.0.0.1:8000", "10.0.0.1:0", "game.listen"),
        (
            "\"10.0.0.1:8000\"",
            "\"10.0.0.1:8000\", \"10.0.0.1:8000\"",
            "game.listen",
        ),
        (
            "anonymous = true",
            "anonymous = false",
            "client.token_hmac_secret",
        ),
        ("api_key = \"k\"", "", "admin.api_key"),
    ] {
        let keys: Vec<_> = faults(&LEAST.replace(from, to))
            .into_iter()
            .map(|fault| fault.key)
            .collect();
        assert_eq!(keys, [key], "{from} -> {to}");
    }
    let text = with("game", "cpus = [1, 2]") + "[journal]\ncpu = 2\n";
    assert_eq!(faults(&text)[0].key, "journal.cpu");
}

#[test]
fn a_namespace_says_only_what_differs() {
    let text = format!(
        "{LEAST}[channel]\nhistory_size = 7\n[[namespace]]\nname = \"finals\"\nallow_publish_for_client = true\n"
    );
    let config = Config::parse(&text).unwrap();
    let finals = config.channel_rules("finals:42:x").unwrap();
    assert!(finals.allow_publish_for_client);
    assert_eq!(finals.history_size, 7);
    assert!(
        !config
            .channel_rules("final")
            .unwrap()
            .allow_publish_for_client
    );
    assert_eq!(config.channel_rules("other:42"), None);
    assert_eq!(config.channel_rules(":42"), None);
}

/// What does not fit together is named once, where it can be mended.
#[test]
fn a_namespace_is_not_blamed_for_what_it_inherits() {
    let namespace =
        "[[namespace]]\nname = \"a\"\n[[namespace]]\nname = \"b\"\nforce_recovery = true\n";
    let text = format!("{LEAST}[channel]\nhistory_size = 0\n{namespace}");
    let keys: Vec<_> = faults(&text).into_iter().map(|f| f.key).collect();
    assert_eq!(keys, ["channel.force_recovery"]);
    let text = text.replace(
        "history_size = 0",
        "history_size = 0\nforce_recovery = false",
    );
    let keys: Vec<_> = faults(&text).into_iter().map(|f| f.key).collect();
    assert_eq!(keys, ["namespace[1].force_recovery"]);
    let text = text.replace("\nforce_recovery = true", "");
    assert!(!Config::parse(&text).unwrap().channel.keeps_history());
}

#[test]
fn a_refusal_reads_well() {
    let file = std::env::temp_dir().join(format!("cluecast-config-{}.toml", std::process::id()));
    std::fs::write(&file, with("client", "pong_timeout_s = 25")).unwrap();
    let message = Config::load(&file).unwrap_err().to_string();
    std::fs::remove_file(&file).unwrap();
    let expected = format!(
        "{}:6: client.pong_timeout_s: is not less than client.ping_interval_s (25); lower it",
        file.display()
    );
    assert_eq!(message, expected);
    let message = Config::load(Path::new("/no/such/file.toml"))
        .unwrap_err()
        .to_string();
    assert!(message.starts_with("/no/such/file.toml: cannot read the configuration: No such file"));
}

#[test]
fn secrets_do_not_show() {
    let config = Config::parse(&LEAST.replace("\"k\"", "\"hush-hush\"")).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(config.admin.api_key.expose(), "hush-hush");
}
