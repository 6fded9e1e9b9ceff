//! What players may do: the configuration as the sessions see it, and the token check they are
//! handed.

use crate::units::Micros;

/// Rules of the hunts of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRules {
    /// Players may subscribe.
    pub allow_subscribe: bool,
    /// Players may publish.
    pub allow_publish: bool,
    /// Players may publish to a hunt they are subscribed to.
    pub allow_publish_subscriber: bool,
    /// Every subscription is recoverable, whether the player asked or not.
    pub force_recovery: bool,
    /// Events are kept for recovery (`history_size` and `history_ttl_s` above zero).
    pub history: bool,
}

/// A token that verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// The player's user id; empty means anonymous.
    pub user: String,
    /// Seconds until the token expires; none when it does not.
    pub ttl_s: Option<u32>,
    /// JSON that others see about the player, or empty.
    pub info: Vec<u8>,
}

/// A token that did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Right signature, past its time.
    Expired,
    /// Anything else.
    Invalid,
}

/// Checks a connection token. Handed in so that cryptography stays outside the engine.
pub type Verify = Box<dyn Fn(&str) -> Result<Claims, TokenError> + Send>;

/// Rules of all sessions of a core.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Name and version told to players.
    pub version: &'static str,
    /// Path of the WebSocket endpoint.
    pub path: String,
    /// The echo endpoint exists (`ws::upgrade::ECHO_PATH`).
    pub echo: bool,
    /// permessage-deflate is agreed to when a client offers it.
    pub compression: bool,
    /// Shortest message that is compressed, in bytes.
    pub compression_bytes_min: usize,
    /// Globs of allowed `Origin` headers; empty: same host only.
    pub allowed_origins: Vec<String>,
    /// Connections without a token are accepted.
    pub anonymous: bool,
    /// Time between two pings, whole seconds.
    pub ping_interval: Micros,
    /// Time a player has to answer a ping.
    pub pong_timeout: Micros,
    /// Time for a complete upgrade request after the TCP handshake.
    pub handshake_timeout: Micros,
    /// Time for the connect command after the upgrade.
    pub connect_timeout: Micros,
    /// Longest message a player may send, in bytes.
    pub message_bytes_max: usize,
    /// Longest message that the echo endpoint takes, in bytes.
    pub echo_message_bytes_max: usize,
    /// Hunts a player may be subscribed to.
    pub channels_max: u32,
    /// Bytes a player may be behind before it is disconnected as slow.
    pub lag_bytes_max: u64,
    /// Rules of hunts without a namespace.
    pub default: ChannelRules,
    /// Rules of hunts called `name:...`.
    pub namespaces: Vec<(String, ChannelRules)>,
}

/// Why a hunt's name has no rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Empty, too long or not ASCII.
    Malformed,
    /// The namespace is not configured.
    UnknownNamespace,
}

impl Rules {
    /// Longest message that any endpoint takes.
    pub fn longest_message(&self) -> usize {
        match self.echo {
            true => self.message_bytes_max.max(self.echo_message_bytes_max),
            false => self.message_bytes_max,
        }
    }

    /// The rules that hold for the hunt called `name` (namespace: what stands before the first `:`).
    pub fn channel(&self, name: &str) -> Result<&ChannelRules, NameError> {
        if name.is_empty()
            || name.len() > crate::ring::submit::HUNT_NAME_BYTES_MAX
            || !name.is_ascii()
        {
            return Err(NameError::Malformed);
        }
        let Some((namespace, _)) = name.split_once(':') else {
            return Ok(&self.default);
        };
        let found = self.namespaces.iter().find(|(known, _)| known == namespace);
        found
            .map(|(_, rules)| rules)
            .ok_or(NameError::UnknownNamespace)
    }
}
