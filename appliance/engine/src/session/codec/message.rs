//! What players are told, whichever way it will be written.
//!
//! Publications and client infos come in the one form they have everywhere (`hunt::publication`); payloads
//! (`data`) are compact JSON or empty. What is zero or empty is left out on the wire.

use crate::session::codes::{Error, Unsubscribe};

/// One thing that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Are you there? An empty reply.
    Ping,
    /// The answer to the command of this number.
    Reply(u32, Reply<'a>),
    /// What was not asked for.
    Push(Push<'a>),
    /// A push as unidirectional connections get it: not inside a reply, alone in its frame.
    BarePush(Push<'a>),
}

/// The answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// It was refused.
    Error(Error),
    /// To a connect.
    Connect(ConnectResult<'a>),
    /// To a subscribe.
    Subscribe(SubscribeResult<'a>),
    /// To an unsubscribe.
    Unsubscribe,
    /// To a publish.
    Publish,
    /// To a presence.
    Presence {
        /// Encoded `ClientInfo`s, each behind its length ([`crate::protobuf::append_delimited`]). Their
        /// client ids are the keys of the map that goes out.
        entries: &'a [u8],
    },
    /// To a presence_stats.
    PresenceStats {
        /// Connections subscribed.
        num_clients: u32,
        /// Users among them.
        num_users: u32,
    },
    /// To a history.
    History {
        /// Encoded publications, each behind its length.
        publications: &'a [u8],
        /// Epoch of the hunt's log.
        epoch: &'a str,
        /// The newest event of the log, also when it is not in `publications`.
        offset: u64,
    },
    /// To an rpc.
    Rpc {
        /// What the method gave.
        data: &'a [u8],
    },
    /// To a refresh.
    Refresh {
        /// Id of the connection.
        client: &'a str,
        /// Ours.
        version: &'a str,
        /// Seconds until the next refresh; none when there need be none.
        ttl_s: Option<u32>,
    },
    /// To a sub_refresh.
    SubRefresh {
        /// Seconds until the next one; none when there need be none.
        ttl_s: Option<u32>,
    },
}

/// What an accepted connect tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectResult<'a> {
    /// Id of the connection, unique in the world.
    pub client: &'a str,
    /// Ours.
    pub version: &'a str,
    /// Seconds until the client must have refreshed its token; none when it need not.
    pub ttl_s: Option<u32>,
    /// For the application.
    pub data: &'a [u8],
    /// Server-side subscriptions, as [`super::append_sub`] wrote them one behind another in the same
    /// protocol.
    pub subs: &'a [u8],
    /// Seconds between our pings; 0 when we send none.
    pub ping_s: u32,
    /// Whether the client must answer them.
    pub pong: bool,
    /// Names the connection to the server API; not for other players.
    pub session: &'a str,
    /// Which appliance this is.
    pub node: &'a str,
    /// Our clock in milliseconds since 1970.
    pub time_ms: u64,
}

/// What an accepted subscribe tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscribeResult<'a> {
    /// Seconds until the client must have refreshed its subscription token; none when it need not.
    pub ttl_s: Option<u32>,
    /// Whether the client may recover after a reconnect.
    pub recoverable: bool,
    /// Epoch of the hunt's log.
    pub epoch: &'a str,
    /// Encoded publications, each behind its length, oldest first.
    pub publications: &'a [u8],
    /// Whether `publications` is all the client missed.
    pub recovered: bool,
    /// Where the client stands: with `recovered` the offset it asked from, else the newest event.
    pub offset: u64,
    /// Whether `epoch` and `offset` mean something.
    pub positioned: bool,
    /// For the application.
    pub data: &'a [u8],
    /// Whether recovery was asked for.
    pub was_recovering: bool,
    /// The number that stands for the hunt's name in pushes to this subscription; 0 when the name does.
    pub id: u64,
}

/// What was not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push<'a> {
    /// The hunt's name; empty when `id` stands for it, or when it is about no hunt.
    pub channel: &'a str,
    /// The hunt's number where that was agreed ([`SubscribeResult::id`]), or 0.
    pub id: u64,
    /// What it is.
    pub body: Pushed<'a>,
}

/// What is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed<'a> {
    /// An encoded publication.
    Publication(&'a [u8]),
    /// The encoded `ClientInfo` of one who came.
    Join(&'a [u8]),
    /// The encoded `ClientInfo` of one who left.
    Leave(&'a [u8]),
    /// The subscription is over.
    Unsubscribe(Unsubscribe),
    /// The connection was subscribed by us.
    Subscribe {
        /// Whether the client may recover after a reconnect.
        recoverable: bool,
        /// Epoch of the hunt's log.
        epoch: &'a str,
        /// The newest event.
        offset: u64,
        /// Whether `epoch` and `offset` mean something.
        positioned: bool,
        /// For the application.
        data: &'a [u8],
    },
    /// A message to this connection.
    Message(&'a [u8]),
    /// To a unidirectional connection: it is accepted.
    Connect(ConnectResult<'a>),
    /// To a unidirectional connection: it will be closed.
    Disconnect {
        /// Code of the close frame.
        code: u16,
        /// Its words.
        reason: &'a str,
    },
    /// The connection expires at another time from now on.
    Refresh {
        /// Seconds until then; none when it does not expire.
        ttl_s: Option<u32>,
    },
}
