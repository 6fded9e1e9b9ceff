//! The relations between values: what each key may be, given the others and what the engine carries.
//!
//! Every rule says why it exists, and its message says what to do. All rules are tried, so that one
//! look at the output mends the whole file.

use std::collections::HashSet;
use std::net::SocketAddr;

use engine::memory::chunk::CHUNK_BYTES;
use engine::ring::broadcast::PAGE_BYTES_MAX;
use engine::ring::submit::{EVENT_BYTES_MAX, SUBMISSION_BYTES_MAX};

use crate::auth::keys::Static;
use crate::control::demo;

use super::{Admin, ChannelRules, Client, Config, Debugging, Fault, Game, Statsd, TcpSettings};

/// Highest rate of a player's positions: more is no walk.
const POSITIONS_PER_S_MAX: u32 = 1_000;

/// Queues one appliance serves at most: the journal answers 64 cores, and one is control.
pub const QUEUES_MAX: u16 = 63;

/// UMEM frames a queue: below, one receive batch each way and the fill ring do not fit; above, the
/// memory of one queue passes 1 GiB.
const FRAMES: std::ops::RangeInclusive<u32> = 256..=1 << 18;

/// Handshakes kept on a data core: more take hundreds of MiB, where SYN cookies take none.
const HALF_OPEN: std::ops::RangeInclusive<u32> = 1..=1 << 20;

/// Segment sizes that make sense: every network carries the least (RFC 9293 section 3.7.1), and a
/// frame holds no more than the most.
const MSS: std::ops::RangeInclusive<u16> = 536..=1460;

/// Shortest persist timeout: below it a player whose application pauses for a moment is cut.
const PERSIST_TIMEOUT_S_MIN: u32 = 5;

/// A connect command with a token of usual size must fit a message.
const MESSAGE_BYTES_MIN: usize = 1024;

/// Longest message to echo: the longest that conformance suites send. Above, one copy of it holds up
/// the core's players for too long even on a test network.
const ECHO_BYTES_MAX: usize = 16 << 20;

/// Shortest StatsD interval: below it the agent sees mostly our packets.
const STATSD_INTERVAL_MS_MIN: u32 = 100;

/// Everything that is wrong with `config`; lines are not filled in.
pub fn check(config: &Config) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    game(&config.game, &mut faults);
    tcp(config.tcp, &mut faults);
    memory(config, &mut faults);
    client(&config.client, &mut faults);
    admission(config, &mut faults);
    debug(&config.debug, &mut faults);
    demo(config, &mut faults);
    namespaces(config, &mut faults);
    cpus(config, &mut faults);
    if config.journal.path.as_os_str().is_empty() {
        faults.add(
            "journal.path",
            "is empty; name the directory of the database",
        );
    }
    faults.at_least_one("journal.hunts_max", config.journal.hunts_max.into());
    faults.at_least_one("journal.path_ttl_s", config.journal.path_ttl_s);
    faults.at_least_one("journal.path_points_max", config.journal.path_points_max);
    if config.client.positions_per_s > POSITIONS_PER_S_MAX {
        let message = format!("is above {POSITIONS_PER_S_MAX}; give at most that");
        faults.add("client.positions_per_s", message);
    }
    admin(&config.admin, &config.game.listen, &mut faults);
    if let Some(settings) = &config.statsd {
        statsd(settings, &mut faults);
    }
    faults.0
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault {
            line: None,
            key: key.into(),
            message: message.into(),
        });
    }

    fn at_least_one(&mut self, key: &str, value: u64) {
        if value == 0 {
            self.add(key, "is 0; give at least 1");
        }
    }
}

fn game(game: &Game, faults: &mut Faults) {
    if game.interface.is_empty() {
        faults.add(
            "game.interface",
            "is required; name the players' network interface",
        );
    }
    // IFNAMSIZ is 16 with the terminating zero.
    if game.interface.len() > 15 || game.interface.contains(['/', ' ', '\0']) {
        faults.add("game.interface", "is not an interface name; see `ip link`");
    }
    if game.listen.is_empty() {
        faults.add(
            "game.listen",
            "is required; list the players' addresses, \"10.0.0.1:8000\"",
        );
    }
    let mut seen = HashSet::new();
    for address in &game.listen {
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            let message = format!("{address}: give a whole unicast address and a port above 0");
            faults.add("game.listen", message);
        }
        if !seen.insert(address) {
            faults.add(
                "game.listen",
                format!("{address} is there twice; remove one"),
            );
        }
    }
    if game.queues > QUEUES_MAX {
        faults.add(
            "game.queues",
            format!("is above {QUEUES_MAX}; give fewer, or 0 for all"),
        );
    }
    if !game.frames.is_power_of_two() || !FRAMES.contains(&game.frames) {
        let message = format!(
            "is not a power of two from {} to {}; try 4096",
            FRAMES.start(),
            FRAMES.end()
        );
        faults.add("game.frames", message);
    }
    faults.at_least_one("game.players_max", game.players_max.into());
    if !HALF_OPEN.contains(&game.half_open_max) {
        let message = format!(
            "is not from {} to {}; try 4096",
            HALF_OPEN.start(),
            HALF_OPEN.end()
        );
        faults.add("game.half_open_max", message);
    }
    faults.at_least_one("game.hunt_log_mib", game.hunt_log_mib.into());
    faults.at_least_one("game.hunts_max", game.hunts_max.into());
}

fn tcp(tcp: TcpSettings, faults: &mut Faults) {
    if !MSS.contains(&tcp.mss_max) {
        let message = format!("is not from {} to {}; try 1460", MSS.start(), MSS.end());
        faults.add("tcp.mss_max", message);
    }
    if tcp.persist_timeout_s < PERSIST_TIMEOUT_S_MIN {
        let message = format!("is below {PERSIST_TIMEOUT_S_MIN}; give more");
        faults.add("tcp.persist_timeout_s", message);
    }
}

/// What one player may need at once must fit what all players share.
fn memory(config: &Config, faults: &mut Faults) {
    let lag = config.client.lag_bytes_max;
    let log = u64::from(config.game.hunt_log_mib) << 20;
    if lag as u64 > log {
        let message = format!("holds less than client.lag_bytes_max ({lag} bytes); raise it");
        faults.add("game.hunt_log_mib", message);
    }
    // The longest event travels as a frame of at most one submission's size.
    if lag < SUBMISSION_BYTES_MAX {
        let message =
            format!("is less than one event can be; give at least {SUBMISSION_BYTES_MAX}");
        faults.add("client.lag_bytes_max", message);
    }
    // A recovery leaves a quarter of the pool to others.
    let debug = &config.debug;
    let message = match debug.echo {
        true => config
            .client
            .message_bytes_max
            .max(debug.echo_message_bytes_max),
        false => config.client.message_bytes_max,
    };
    let page_and_message = PAGE_BYTES_MAX + message;
    let chunks_min = (page_and_message.div_ceil(CHUNK_BYTES) + 2) * 4 / 3;
    if (config.game.private_chunks as usize) < chunks_min {
        let message =
            format!("cannot hold one recovery reply and one message; give at least {chunks_min}");
        faults.add("game.private_chunks", message);
    }
}

fn client(client: &Client, faults: &mut Faults) {
    if client.allowed_origins.iter().any(String::is_empty) {
        faults.add("client.allowed_origins", "has an empty entry; remove it");
    }
    faults.at_least_one("client.ping_interval_s", client.ping_interval_s.into());
    faults.at_least_one("client.pong_timeout_s", client.pong_timeout_s.into());
    faults.at_least_one(
        "client.handshake_timeout_s",
        client.handshake_timeout_s.into(),
    );
    faults.at_least_one("client.connect_timeout_s", client.connect_timeout_s.into());
    faults.at_least_one("client.channels_max", client.channels_max.into());
    // At most one ping is outstanding, so its answer must be due before the next one.
    if client.pong_timeout_s >= client.ping_interval_s {
        let message = format!(
            "is not less than client.ping_interval_s ({}); lower it",
            client.ping_interval_s
        );
        faults.add("client.pong_timeout_s", message);
    }
    let bytes = client.message_bytes_max;
    if !(MESSAGE_BYTES_MIN..=EVENT_BYTES_MAX).contains(&bytes) {
        let message = format!(
            "is not from {MESSAGE_BYTES_MIN} to {EVENT_BYTES_MAX}, what the rings carry; change it"
        );
        faults.add("client.message_bytes_max", message);
    }
}

/// Who may come in, and where to.
fn admission(config: &Config, faults: &mut Faults) {
    let client = &config.client;
    let keys = [
        client.token_hmac_secret.expose(),
        &client.token_rsa_public_key,
        &client.token_ecdsa_public_key,
        &client.token_ed25519_public_key,
    ];
    let no_keys = keys.iter().all(|key| key.is_empty()) && client.token_jwks_file.is_none();
    if no_keys && !client.anonymous {
        let message = "is empty, there is no other key for tokens, and client.anonymous is false, so \
                       nobody could connect; set one";
        faults.add("client.token_hmac_secret", message);
    }
    if let Err(bad) = Static::parse(client) {
        for (key, message) in bad {
            faults.add(key, message);
        }
    }
    let personal = &client.user_personal_channel_namespace;
    if !personal.is_empty() && !config.namespace.iter().any(|n| n.name == *personal) {
        let message =
            format!("{personal:?} is not the name of a [[namespace]]; add it, or name another");
        faults.add("client.user_personal_channel_namespace", message);
    }
    if !personal.is_empty() && !client.user_personal_channel {
        let message = "is set, but client.user_personal_channel is false; set it to true";
        faults.add("client.user_personal_channel_namespace", message);
    }
}

fn debug(debug: &Debugging, faults: &mut Faults) {
    if !(MESSAGE_BYTES_MIN..=ECHO_BYTES_MAX).contains(&debug.echo_message_bytes_max) {
        let message = format!("is not from {MESSAGE_BYTES_MIN} to {ECHO_BYTES_MAX}; change it");
        faults.add("debug.echo_message_bytes_max", message);
    }
}

/// The page could not do what it is for, and a browser would not say why.
fn demo(config: &Config, faults: &mut Faults) {
    if !config.debug.demo {
        return;
    }
    let may_play = |rules: ChannelRules| {
        let publish = rules.allow_publish_for_client || rules.allow_publish_for_subscriber;
        publish && rules.allow_subscribe_for_client
    };
    let hunt = format!("{}:hunt", demo::NAMESPACE);
    if !config.channel_rules(&hunt).is_some_and(may_play) {
        let message =
            "needs a [[namespace]] named \"demo\" with allow_publish_for_subscriber = true";
        faults.add("debug.demo", message);
    }
    if config.client.token_hmac_secret.is_empty() {
        let message = "needs client.token_hmac_secret, with which it signs its players' tokens";
        faults.add("debug.demo", message);
    }
    if config.client.allowed_origins.is_empty() {
        let message =
            "needs the page's origin, such as \"http://10.0.0.1:9000\", in client.allowed_origins";
        faults.add("debug.demo", message);
    }
}

/// What is wrong with `rules`: the key, and why.
fn rules(rules: &ChannelRules) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    let mut needs = |keys: &[(&'static str, bool)], there: bool, message: &'static str| {
        if !there {
            let on = keys.iter().filter(|(_, on)| *on);
            found.extend(on.map(|(key, _)| (*key, message)));
        }
    };
    needs(
        &[
            ("force_recovery", rules.force_recovery),
            ("allow_recovery", rules.allow_recovery),
            ("force_positioning", rules.force_positioning),
            ("allow_positioning", rules.allow_positioning),
            ("allow_history_for_client", rules.allow_history_for_client),
            (
                "allow_history_for_subscriber",
                rules.allow_history_for_subscriber,
            ),
        ],
        rules.keeps_history(),
        "is true, but there is no history; set it to false, or history_size and history_ttl_s above 0",
    );
    needs(
        &[("force_push_join_leave", rules.force_push_join_leave)],
        rules.join_leave,
        "is true, but nothing is announced; set join_leave = true, or this to false",
    );
    // Those who may see who is present may also ask for joins and leaves.
    needs(
        &[
            ("allow_presence_for_client", rules.allow_presence_for_client),
            (
                "allow_presence_for_subscriber",
                rules.allow_presence_for_subscriber,
            ),
        ],
        rules.presence || rules.join_leave,
        "is true, but nobody is known to be there; set presence = true, or this to false",
    );
    // By itself the anonymous' key does nothing. Not so for subscribing, where it is on by default.
    let alone = "is true, but is nothing without the same key _for_client or _for_subscriber; set one of them";
    needs(
        &[(
            "allow_publish_for_anonymous",
            rules.allow_publish_for_anonymous,
        )],
        rules.allow_publish_for_client || rules.allow_publish_for_subscriber,
        alone,
    );
    needs(
        &[(
            "allow_history_for_anonymous",
            rules.allow_history_for_anonymous,
        )],
        rules.allow_history_for_client || rules.allow_history_for_subscriber,
        alone,
    );
    needs(
        &[(
            "allow_presence_for_anonymous",
            rules.allow_presence_for_anonymous,
        )],
        rules.allow_presence_for_client || rules.allow_presence_for_subscriber,
        alone,
    );
    found
}

fn namespaces(config: &Config, faults: &mut Faults) {
    let common = rules(&config.channel);
    for (key, message) in &common {
        faults.add(format!("channel.{key}"), *message);
    }
    let mut seen = HashSet::new();
    for (index, namespace) in config.namespace.iter().enumerate() {
        let key = format!("namespace[{index}].name");
        let name = namespace.name.as_str();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            let message = format!("{name:?} is not a name of letters, digits, '-', '_', '.'");
            faults.add(key.clone(), message);
        }
        if !seen.insert(name) {
            faults.add(key, format!("{name:?} is there twice; join the two"));
        }
        // What is wrong in [channel] is not repeated for those who inherit it.
        let own = rules(&namespace.rules(config.channel));
        for (key, message) in own.into_iter().filter(|fault| !common.contains(fault)) {
            faults.add(format!("namespace[{index}].{key}"), message);
        }
    }
}

fn cpus(config: &Config, faults: &mut Faults) {
    let cpus = &config.game.cpus;
    let queues = usize::from(config.game.queues);
    if !cpus.is_empty() && queues != 0 && cpus.len() != queues {
        let message = format!(
            "lists {} CPUs for {queues} queues; give one a queue",
            cpus.len()
        );
        faults.add("game.cpus", message);
    }
    let mut seen = HashSet::new();
    for cpu in cpus {
        if !seen.insert(*cpu) {
            faults.add(
                "game.cpus",
                format!("has CPU {cpu} twice; give each core its own"),
            );
        }
    }
    if let Some(cpu) = config.journal.cpu
        && seen.contains(&cpu)
    {
        let message = format!("CPU {cpu} belongs to a data core (game.cpus); take another");
        faults.add("journal.cpu", message);
    }
}

fn admin(admin: &Admin, game: &[SocketAddr], faults: &mut Faults) {
    if admin.api_key.is_empty() && !admin.insecure {
        let message = "is required; make one, for example with `openssl rand -hex 32`";
        faults.add("admin.api_key", message);
    }
    if !admin.api_key.is_empty() && admin.insecure {
        faults.add(
            "admin.insecure",
            "is true, but admin.api_key is set; remove one of them",
        );
    }
    // The XDP program takes that address away from the kernel, so nobody could reach the API.
    if game.contains(&admin.listen) {
        faults.add("admin.listen", "is one of game.listen; take another port");
    }
}

fn statsd(statsd: &Statsd, faults: &mut Faults) {
    if statsd.address.port() == 0 {
        faults.add(
            "statsd.address",
            "has port 0; agents usually listen on 8125",
        );
    }
    if statsd.interval_ms < STATSD_INTERVAL_MS_MIN {
        let message = format!("is below {STATSD_INTERVAL_MS_MIN}; give more");
        faults.add("statsd.interval_ms", message);
    }
    // These bytes separate the parts of a StatsD line.
    let special = |c: char| c.is_control() || c.is_whitespace() || "|@#,".contains(c);
    if statsd.prefix.contains(|c| special(c) || c == ':') {
        faults.add(
            "statsd.prefix",
            "holds a character that ends a name; use letters and dots",
        );
    }
    if statsd
        .tags
        .iter()
        .any(|tag| tag.is_empty() || tag.contains(special))
    {
        faults.add(
            "statsd.tags",
            "needs entries like \"env:prod\", without spaces or any of |@#,",
        );
    }
    if !statsd.tags.is_empty() && !statsd.dogstatsd {
        faults.add(
            "statsd.tags",
            "needs statsd.dogstatsd = true; plain StatsD has no tags",
        );
    }
}
