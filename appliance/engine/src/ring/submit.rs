//! What a core asks of the journal core.
//!
//! `token` belongs to the asker and comes back in the answer ([`super::broadcast::Record`]). The
//! journal answers every submission of one ring in the order it was made.

use serde::{Deserialize, Serialize};

use crate::path::Place;
use crate::ring::broadcast::HuntNumber;

/// Longest hunt name in bytes, as in Centrifugo (`channel.max_length`).
pub const HUNT_NAME_BYTES_MAX: usize = 255;

/// First byte of the name of a hunt that nobody may subscribe to without a token, as in Centrifugo.
pub const PRIVATE_PREFIX: char = '$';

/// The namespace of `hunt`: what stands before the first `:`, without a [`PRIVATE_PREFIX`]; none when
/// there is no `:`.
pub fn namespace(hunt: &str) -> Option<&str> {
    let name = hunt.strip_prefix(PRIVATE_PREFIX).unwrap_or(hunt);
    name.split_once(':').map(|(namespace, _)| namespace)
}

/// Longest event payload in bytes: a publish above it is refused as "bad request".
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Longest `ClientInfo` in bytes that presence keeps and announces: what one subscription may cost the
/// journal core. Who has a longer one is not let into a hunt that has presence or join/leave.
pub const INFO_BYTES_MAX: usize = 16 * 1024;

/// Longest encoded submission: payload, tags, sender info, names and their prefixes.
pub const SUBMISSION_BYTES_MAX: usize = EVENT_BYTES_MAX + 32 * 1024;

/// One request to the journal core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Submission<'a> {
    /// Append an event to a hunt; answered by `Published` after it is as durable as configured.
    #[serde(borrow)]
    Publish(Publish<'a>),
    /// The hunt's position, and what a returning player missed; answered by `Subscribed`.
    #[serde(borrow)]
    Subscribe(Subscribe<'a>),
    /// A page of a hunt's history; answered by `History`.
    #[serde(borrow)]
    History(History<'a>),
    /// Who is there; answered by `Presence`.
    #[serde(borrow)]
    Presence(Presence<'a>),
    /// A player of the asking core has subscribed, and others are to know; not answered.
    #[serde(borrow)]
    Enter(Enter<'a>),
    /// It is not subscribed any more; not answered. Of one who never entered it changes nothing.
    Leave {
        /// The hunt.
        hunt: HuntNumber,
        /// See [`Enter::conn`].
        conn: u64,
    },
    /// Do something to a user's connections, wherever they are; relayed to every data core, and answered
    /// by `Done` behind that. It reaches the connections that are there at its place in the order.
    #[serde(borrow)]
    Tell(Tell<'a>),
    /// Drop a hunt's history; position and epoch stay. Answered by `Done` when it is as durable as an
    /// event would be.
    RemoveHistory {
        /// The asker's own number for this request.
        token: u64,
        /// Name of the hunt; it is not created.
        hunt: &'a str,
    },
    /// Hunts that have subscribers, some at a time; answered by `Channels`.
    Channels {
        /// The asker's own number for this request.
        token: u64,
        /// Where to go on: 0, then what the last answer said.
        from: HuntNumber,
    },
    /// A player has been somewhere; answered by `Done` when it is as durable as an event would be, if an
    /// answer is wanted.
    #[serde(borrow)]
    Positions(Positions<'a>),
    /// A page of a user's path; answered by `Path`.
    #[serde(borrow)]
    Path(Path<'a>),
}

/// See [`Submission::Positions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Positions<'a> {
    /// The asker's own number for this request; none when nobody waits for an answer.
    pub token: Option<u64>,
    /// Whose path it is; never empty.
    pub user: &'a str,
    /// At most [`crate::path::POINTS_MAX`] points ([`crate::path::Point::list`]).
    #[serde(with = "serde_bytes")]
    pub points: &'a [u8],
}

/// See [`Submission::Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Path<'a> {
    /// The asker's own number for this request.
    pub token: u64,
    /// Whose path it is.
    pub user: &'a str,
    /// The first place of it that is wanted.
    pub from: Place,
    /// The first place behind it that is not.
    pub end: Place,
    /// Points wanted at most; no more than [`crate::path::PAGE_POINTS_MAX`] come.
    pub limit: usize,
}

/// See [`Submission::Publish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Publish<'a> {
    /// The asker's own number for this request.
    pub token: u64,
    /// Name of the hunt; created if it does not exist.
    pub hunt: &'a str,
    /// The payload: one valid, compact JSON value of at most [`EVENT_BYTES_MAX`] bytes.
    #[serde(with = "serde_bytes")]
    pub data: &'a [u8],
    /// Tags (`hunt::publication::append_tag`), or empty.
    #[serde(with = "serde_bytes")]
    pub tags: &'a [u8],
    /// The publishing player (`hunt::publication::ClientInfo`), or empty when a backend published.
    #[serde(with = "serde_bytes")]
    pub info: &'a [u8],
    /// A repeat of the same non-empty key on the same hunt within five minutes appends nothing and
    /// is answered with the first one's position.
    pub idempotency_key: &'a str,
    /// Goes to those who are there and into no history; the event gets no offset.
    pub skip_history: bool,
    /// When the publish reached us, in microseconds of the caller's monotonic clock.
    pub stamp_us: u64,
}

/// See [`Submission::Subscribe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subscribe<'a> {
    /// The asker's own number for this request.
    pub token: u64,
    /// Name of the hunt; created if it does not exist.
    pub hunt: &'a str,
    /// Whether the player asks for what it missed after (`epoch`, `offset`).
    pub recover: bool,
    /// The epoch the player knows; empty matches any.
    pub epoch: &'a str,
    /// The last offset the player has.
    pub offset: u64,
}

/// See [`Submission::History`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History<'a> {
    /// The asker's own number for this request.
    pub token: u64,
    /// Name of the hunt.
    pub hunt: &'a str,
    /// Events wanted at most: 0 asks for the position only, -1 for as many as one page holds.
    pub limit: i64,
    /// Start after this position (`epoch`, `offset`); none starts at the oldest (or newest) event.
    pub since: Option<(&'a str, u64)>,
    /// Newest first.
    pub reverse: bool,
    /// Bytes of encoded events wanted at most, but for one event; 0 for as many as one page holds.
    pub bytes_max: usize,
}

/// See [`Submission::Presence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Presence<'a> {
    /// The asker's own number for this request.
    pub token: u64,
    /// Name of the hunt; it is not created.
    pub hunt: &'a str,
    /// How much of it.
    pub want: Want,
}

/// How much is asked of who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Want {
    /// How many they are.
    #[default]
    Numbers,
    /// Who, if one record holds them all; else the answer is "limit exceeded".
    Page,
    /// Who, in as many records as it takes.
    Everybody,
}

/// See [`Submission::Enter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Enter<'a> {
    /// The hunt's number, from its `Subscribed`.
    pub hunt: HuntNumber,
    /// The player's connection (`units::ConnId`), unique on its core.
    pub conn: u64,
    /// How it takes part.
    pub part: Part,
    /// Who it is: an encoded `ClientInfo` of at most [`INFO_BYTES_MAX`] bytes.
    #[serde(with = "serde_bytes")]
    pub info: &'a [u8],
}

/// How a subscriber takes part in a hunt's coming and going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// It is listed among those present.
    pub listed: bool,
    /// Its coming and going is announced.
    pub announced: bool,
    /// It is told of others'.
    pub told: bool,
}

impl Part {
    /// Whether the journal need not know of it.
    pub fn is_none(self) -> bool {
        self == Part::default()
    }
}

/// See [`Submission::Tell`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tell<'a> {
    /// The asker's own number for this request.
    pub token: u64,
    /// Whose connections; never empty, so never the anonymous.
    pub user: &'a str,
    /// Only the connection with this client id, unless empty.
    pub client: &'a str,
    /// Only the connection with this session id, unless empty.
    pub session: &'a str,
    /// What.
    #[serde(borrow)]
    pub what: Told<'a>,
}

/// What is done to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told<'a> {
    /// It is subscribed by us; one that is subscribed already is left as it is.
    #[serde(borrow)]
    Subscribe(ByServer<'a>),
    /// It is taken out of a hunt, whoever put it there.
    Unsubscribe {
        /// Name of the hunt.
        hunt: &'a str,
    },
    /// It is closed.
    Disconnect {
        /// Code of the close frame; one that may be sent.
        code: u16,
        /// Its words; they fit a close frame.
        reason: &'a str,
        /// Client ids that are spared, each behind its length ([`crate::protobuf::append_delimited`]).
        #[serde(with = "serde_bytes")]
        spared: &'a [u8],
    },
    /// It expires at another time.
    Refresh {
        /// Seconds until then; none when it does not expire any more, 0 when it is over.
        ttl_s: Option<u32>,
        /// Compact JSON that others see about the player from now on; empty leaves it.
        #[serde(with = "serde_bytes")]
        info: &'a [u8],
    },
}

/// See [`Told::Subscribe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ByServer<'a> {
    /// Name of the hunt.
    pub hunt: &'a str,
    /// Compact JSON that others see about the subscription, or empty.
    #[serde(with = "serde_bytes")]
    pub info: &'a [u8],
    /// Compact JSON for the player, or empty.
    #[serde(with = "serde_bytes")]
    pub data: &'a [u8],
    /// Seconds until the subscription expires; none when it does not.
    pub ttl_s: Option<u32>,
    /// Start after this position (`epoch`, `offset`) instead of now, if all since then is kept.
    pub since: Option<(&'a str, u64)>,
    /// In place of the namespace's rules.
    pub overrides: Overrides,
}

/// What an operator says of one subscription in place of the namespace's rules
/// (`session::rules::ChannelRules`); none leaves the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overrides {
    /// Its player is listed among those present.
    pub presence: Option<bool>,
    /// Its coming and going is announced.
    pub join_leave: Option<bool>,
    /// It is told of others' coming and going.
    pub force_push_join_leave: Option<bool>,
    /// It may be recovered.
    pub force_recovery: Option<bool>,
    /// It has a position.
    pub force_positioning: Option<bool>,
}
