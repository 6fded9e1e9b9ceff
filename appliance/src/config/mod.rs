//! The configuration file: what may be said, and what holds when nothing is said.
//!
//! Read once at start by `cli`, then shared read-only. Two gates: the shape (TOML, known keys, right
//! types) here, the relations between values in [`check`]. A `Config` that came out of [`Config::load`]
//! has passed both, so the rest of the program never doubts it. A refusal names file, line, key and
//! remedy, and names all bad values at once.
//!
//! `default.toml` is the reference: a test keeps its keys and values equal to the defaults here, and
//! `docs/config.md` is made from it.
//!
//! Not here: what exists on this machine (interface, queues, CPUs). `start` finds that out.

pub mod channel;
pub mod check;
mod defaults;
pub mod fault;
mod locate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use engine::ring::submit;
use serde::Deserialize;

pub use channel::{ChannelRules, Namespace};
pub use fault::{ConfigError, Fault};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Interface and data cores.
    pub game: Game,
    /// How segments are sent to players.
    pub tcp: TcpSettings,
    /// What a player's connection may do.
    pub client: Client,
    /// Rules of hunts without a namespace.
    pub channel: ChannelRules,
    /// Namespaces; what they do not say comes from `channel`.
    pub namespace: Vec<Namespace>,
    /// Where events are kept.
    pub journal: Journal,
    /// Admin API.
    pub admin: Admin,
    /// StatsD exporter; none sends nothing.
    pub statsd: Option<Statsd>,
    /// Logging.
    pub log: Log,
    /// Endpoints of tests.
    pub debug: Debugging,
}

/// `[game]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Game {
    /// Network interface of the players' traffic; never empty.
    pub interface: String,
    /// Addresses taken from the kernel; never empty, no wildcard.
    pub listen: Vec<SocketAddr>,
    /// RX queues served; 0 means all the interface has.
    pub queues: u16,
    /// How a data core waits.
    pub poll: Poll,
    /// CPU of each data core; empty pins none.
    pub cpus: Vec<usize>,
    /// How the XDP program is attached.
    pub xdp_mode: XdpMode,
    /// How sockets are bound.
    pub zero_copy: ZeroCopy,
    /// UMEM frames (4 KiB) a queue; a power of two.
    pub frames: u32,
    /// Connections a data core.
    pub players_max: u32,
    /// Half-open handshakes a data core.
    pub half_open_max: u32,
    /// MiB of hunt log a data core.
    pub hunt_log_mib: u32,
    /// Private chunks (1 KiB) a data core.
    pub private_chunks: u32,
    /// Hunts with subscribers.
    pub hunts_max: u32,
}

/// How a data core waits for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// Spins, then sleeps in poll(2).
    Adaptive,
    /// Spins.
    Busy,
}

/// How the XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// Native, then generic.
    Auto,
    /// Native or refuse.
    Native,
    /// Generic.
    Generic,
}

/// How AF_XDP sockets are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// Zero-copy, then copy.
    Auto,
    /// Zero-copy or refuse.
    Require,
    /// Copy.
    Off,
}

/// `[tcp]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpSettings {
    /// Congestion control.
    pub congestion: Congestion,
    /// Most bytes of a segment either way.
    pub mss_max: u16,
    /// Seconds a player may keep its window closed.
    pub persist_timeout_s: u32,
}

/// What decides how much may be in flight to a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// RFC 9438.
    Cubic,
    /// RFC 5681 and 6582.
    NewReno,
}

/// `[client]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// Connect without a token.
    pub anonymous: bool,
    /// Tokens without a user are refused.
    pub disallow_anonymous_connection_tokens: bool,
    /// Secret of HS256, HS384 and HS512; empty accepts none of them.
    pub token_hmac_secret: Secret,
    /// Public key of RS256, RS384 and RS512 as PEM text; empty accepts none of them.
    pub token_rsa_public_key: String,
    /// Public key of ES256 or ES384 as PEM text; empty accepts neither.
    pub token_ecdsa_public_key: String,
    /// Public key of EdDSA as PEM text; empty does not accept it.
    pub token_ed25519_public_key: String,
    /// Keys that tokens name by `kid` (JSON Web Key Set).
    pub token_jwks_file: Option<PathBuf>,
    /// What `aud` has to hold; empty takes any.
    pub token_audience: String,
    /// What `iss` has to be; empty takes any.
    pub token_issuer: String,
    /// Users are subscribed to `#user`.
    pub user_personal_channel: bool,
    /// In this namespace; empty in none.
    pub user_personal_channel_namespace: String,
    /// Globs of accepted origins; empty asks for the same host.
    pub allowed_origins: Vec<String>,
    /// Seconds between pings.
    pub ping_interval_s: u32,
    /// Seconds to the pong; less than `ping_interval_s`.
    pub pong_timeout_s: u32,
    /// Seconds to the complete upgrade request.
    pub handshake_timeout_s: u32,
    /// Seconds from the upgrade to the connect command.
    pub connect_timeout_s: u32,
    /// Longest message from a player.
    pub message_bytes_max: usize,
    /// Subscriptions a player.
    pub channels_max: u32,
    /// Unsent bytes before a player is slow.
    pub lag_bytes_max: usize,
    /// permessage-deflate is agreed to.
    pub compression: bool,
    /// Shortest message compressed.
    pub compression_bytes_min: usize,
    /// Points of its path a player may send a second.
    pub positions_per_s: u32,
}

/// `[journal]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// Directory of the database.
    pub path: PathBuf,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// CPU; none pins nowhere.
    pub cpu: Option<usize>,
    /// Hunts known at most.
    pub hunts_max: u32,
    /// Seconds that points of a path are kept.
    pub path_ttl_s: u64,
    /// Points kept of a path.
    pub path_points_max: u64,
}

/// What an acknowledged publish survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A crash of the host.
    Fsync,
    /// A crash of the process.
    Wal,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Kernel socket of API, health and metrics.
    pub listen: SocketAddr,
    /// Key of the API; never empty unless `insecure`.
    pub api_key: Secret,
    /// Answer without a key.
    pub insecure: bool,
}

/// `[statsd]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Statsd {
    /// The agent.
    pub address: SocketAddr,
    /// Milliseconds between reports.
    pub interval_ms: u32,
    /// Before every name.
    pub prefix: String,
    /// `key:value`, on every metric.
    pub tags: Vec<String>,
    /// Tags in DogStatsD's format.
    pub dogstatsd: bool,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Least severe level written.
    pub level: Level,
}

/// `[debug]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Debugging {
    /// `/debug/echo` sends every message back.
    pub echo: bool,
    /// Longest message it takes.
    pub echo_message_bytes_max: usize,
    /// The admin API serves the demo page.
    pub demo: bool,
}

/// Severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is worse than it should be.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// A value that never shows in logs or errors.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "(none)"
        } else {
            "(hidden)"
        })
    }
}

impl Config {
    /// Reads and checks `file`.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        Config::parse(&text).map_err(|faults| ConfigError::Refused {
            file: file.to_owned(),
            faults,
        })
    }

    /// Reads and checks `text`.
    pub fn parse(text: &str) -> Result<Config, Vec<Fault>> {
        let config = Config::parse_shape(text).map_err(|fault| vec![fault])?;
        let mut faults = check::check(&config);
        if faults.is_empty() {
            return Ok(config);
        }
        for fault in &mut faults {
            fault.line = locate::line_of_key(text, &fault.key);
        }
        Err(faults)
    }

    /// Reads `text` without looking at relations between values.
    fn parse_shape(text: &str) -> Result<Config, Fault> {
        let fault = |error: &toml::de::Error, key: String| {
            let line = error
                .span()
                .map(|span| locate::line_of_byte(text, span.start));
            let remedy = if error.message().starts_with("unknown field") {
                "; remove it, or see docs/config.md for the keys there are"
            } else {
                ""
            };
            Fault {
                line,
                key,
                message: format!("{}{remedy}", error.message()),
            }
        };
        let document =
            toml::Deserializer::parse(text).map_err(|error| fault(&error, String::new()))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            let key = if path == "." { String::new() } else { path };
            fault(error.inner(), key)
        })
    }

    /// The rules of `hunt`; none when its namespace is not configured (error 102).
    pub fn channel_rules(&self, hunt: &str) -> Option<ChannelRules> {
        let Some(name) = submit::namespace(hunt) else {
            return Some(self.channel);
        };
        let namespace = self.namespace.iter().find(|n| n.name == name)?;
        Some(namespace.rules(self.channel))
    }
}
