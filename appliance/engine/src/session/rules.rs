//! What players may do: the configuration as the sessions see it, what tokens say, and the token
//! check that sessions are handed. What follows from rules and tokens together is
//! [`super::permission`]'s business.

pub use crate::ring::submit::Overrides;

use crate::ring::submit;
use crate::units::Micros;

/// Rules of the hunts of one namespace; the names are those of Centrifugo's options. Made from the
/// configuration, whose check refuses combinations that mean nothing. All false allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelRules {
    /// Events are kept for recovery and history (`history_size` and `history_ttl_s` above zero).
    pub history: bool,
    /// Every subscription is recoverable, whether the player asked or not.
    pub force_recovery: bool,
    /// A subscription is recoverable if the player asks.
    pub allow_recovery: bool,
    /// Every subscription has a position, whether the player asked or not.
    pub force_positioning: bool,
    /// A subscription has a position if the player asks.
    pub allow_positioning: bool,
    /// Who is subscribed is known and can be asked for.
    pub presence: bool,
    /// Who comes and goes is announced.
    pub join_leave: bool,
    /// Every subscriber is told, whether it asked or not.
    pub force_push_join_leave: bool,
    /// Players with a user id may subscribe without a token.
    pub allow_subscribe_for_client: bool,
    /// So may the anonymous.
    pub allow_subscribe_for_anonymous: bool,
    /// Users named behind the `#` of a hunt's name, and only they, may subscribe to it without a token.
    pub allow_user_limited_channels: bool,
    /// Players with a user id may publish.
    pub allow_publish_for_client: bool,
    /// They may publish to hunts they are subscribed to.
    pub allow_publish_for_subscriber: bool,
    /// The two before hold for the anonymous too.
    pub allow_publish_for_anonymous: bool,
    /// Players with a user id may read the history.
    pub allow_history_for_client: bool,
    /// They may read the history of hunts they are subscribed to.
    pub allow_history_for_subscriber: bool,
    /// The two before hold for the anonymous too.
    pub allow_history_for_anonymous: bool,
    /// Players with a user id may ask who is present.
    pub allow_presence_for_client: bool,
    /// They may ask it of hunts they are subscribed to.
    pub allow_presence_for_subscriber: bool,
    /// The two before hold for the anonymous too.
    pub allow_presence_for_anonymous: bool,
    /// Events are compressed for players that negotiated it.
    pub compression: bool,
}

/// A connection token that verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// The player's user id; empty means anonymous.
    pub user: String,
    /// Seconds until the connection expires, at most [`TTL_S_MAX`]; none when it does not.
    pub ttl_s: Option<u32>,
    /// Compact JSON that others see about the player (`conn_info`), or empty.
    pub info: Vec<u8>,
    /// Hunts the player is subscribed to by us; no name is there twice.
    pub subscriptions: Vec<ServerSubscription>,
}

/// One hunt that a connection token subscribes its bearer to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerSubscription {
    /// The hunt's name, as it stands in the token: not checked against any rule.
    pub channel: String,
    /// Compact JSON that others see about this subscription (`chan_info`), or empty.
    pub info: Vec<u8>,
    /// Compact JSON for the player, in the connect reply, or empty.
    pub data: Vec<u8>,
    /// In place of the namespace's rules.
    pub overrides: Overrides,
}

/// A subscription token that verified. Whether it is for this player and hunt is for
/// [`super::permission`] to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionClaims {
    /// The user it was made for; empty means anonymous.
    pub user: String,
    /// The hunt it is for; never empty.
    pub channel: String,
    /// The client id it is bound to; empty binds to none.
    pub client: String,
    /// Seconds until the subscription expires, at most [`TTL_S_MAX`]; none when it does not.
    pub ttl_s: Option<u32>,
    /// Compact JSON that others see about this subscription (`chan_info`), or empty.
    pub info: Vec<u8>,
    /// Compact JSON for the player, in the subscribe reply, or empty.
    pub data: Vec<u8>,
    /// In place of the namespace's rules.
    pub overrides: Overrides,
}

/// Longest time to live told to a player, in seconds: a year, as in Centrifugo, so that SDKs that
/// count milliseconds in 32 bits are not far off. What lasts longer is refreshed once a year.
pub const TTL_S_MAX: u32 = 365 * 24 * 60 * 60;

/// A token that did not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Right signature, past its `exp` or before its `nbf`: another one may be fetched.
    Expired,
    /// Right signature and still good, but what it grants is over (`expire_at` lies in the past).
    Lapsed,
    /// Anything else.
    Invalid,
}

/// A check of one kind of token against the wall clock.
pub type Check<T> = Box<dyn Fn(&str) -> Result<T, TokenError> + Send>;

/// Checks tokens. Handed in so that cryptography and the wall clock stay outside the engine.
pub struct Verify {
    /// Of connect and refresh.
    pub connection: Check<Claims>,
    /// Of subscribe and sub_refresh.
    pub subscription: Check<SubscriptionClaims>,
}

impl Verify {
    /// Accepts no token.
    pub fn nothing() -> Verify {
        Verify {
            connection: Box::new(|_| Err(TokenError::Invalid)),
            subscription: Box::new(|_| Err(TokenError::Invalid)),
        }
    }
}

impl std::fmt::Debug for Verify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verify").finish_non_exhaustive()
    }
}

/// Rules of all sessions of a core.
#[derive(Debug, Clone, Default)]
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
    /// Tokens without a user are not.
    pub disallow_anonymous_connection_tokens: bool,
    /// The prefix of the hunt that every user is subscribed to by us (`#` or `name:#`, the user id
    /// follows); none subscribes to nothing.
    pub personal_channel: Option<String>,
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
    /// Points of its path that a player may send a second, and ten times as many at once; 0 takes none.
    pub positions_per_s: u32,
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

    /// The rules that hold for the hunt called `name`. As in Centrifugo, an unknown namespace goes
    /// before a character that may not be.
    pub fn channel(&self, name: &str) -> Result<&ChannelRules, NameError> {
        if name.is_empty() || name.len() > submit::HUNT_NAME_BYTES_MAX {
            return Err(NameError::Malformed);
        }
        let rules = match submit::namespace(name) {
            None => &self.default,
            Some(namespace) => self
                .namespaces
                .iter()
                .find_map(|(known, rules)| (known == namespace).then_some(rules))
                .ok_or(NameError::UnknownNamespace)?,
        };
        if name.is_ascii() {
            Ok(rules)
        } else {
            Err(NameError::Malformed)
        }
    }
}
