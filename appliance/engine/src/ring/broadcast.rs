//! What the journal core tells the other cores, in the journal's order.
//!
//! Every data core gets every `Event`; an answer goes only to the core that asked. A ring's order
//! is the journal's order: when a core meets `Subscribed { top, .. }` it has met every event of that
//! hunt up to `top` and none after, so the subscription's cursor is simply the end of its log. It carries
//! no events: ten thousand of these may stand before an event that is new.

use serde::{Deserialize, Serialize};

use crate::path::Place;
use crate::protobuf;
use crate::ring::submit::Tell;

/// Events one history page carries at most (Centrifugo's `history_max_publication_limit`, there 300).
pub const PAGE_EVENTS_MAX: usize = 1000;

/// Bytes of encoded events one history page carries at most; past it the page is cut short. Bounds what
/// one request can make the journal read.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Longest encoded record.
pub const RECORD_BYTES_MAX: usize = PAGE_BYTES_MAX + 4096;

/// Dense number of a hunt, given by the journal when the hunt is first used in this process.
pub type HuntNumber = u32;

/// One record of the broadcast ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// An event that is as durable as configured.
    #[serde(borrow)]
    Event(Event<'a>),
    /// Answer to a publish.
    #[serde(borrow)]
    Published(Published<'a>),
    /// Answer to a subscribe.
    #[serde(borrow)]
    Subscribed(Subscribed<'a>),
    /// Answer to a history request.
    #[serde(borrow)]
    History(HistoryPage<'a>),
    /// Answer to a presence request, or a part of it.
    #[serde(borrow)]
    Presence(PresencePage<'a>),
    /// Somebody came or went; for every data core.
    #[serde(borrow)]
    Movement(Moved<'a>),
    /// Something is done to a user's connections; for every data core.
    #[serde(borrow)]
    Tell(Relay<'a>),
    /// Answer to what needs no other: it is done.
    Done {
        /// Token of the submission.
        token: u64,
    },
    /// Answer to a channels request.
    #[serde(borrow)]
    Channels(ChannelsPage<'a>),
    /// Answer to a path request.
    #[serde(borrow)]
    Path(PathPage<'a>),
    /// The submission with this token failed.
    Refused {
        /// Token of the submission.
        token: u64,
        /// What was wrong.
        refusal: Refusal,
    },
}

/// Why the journal refused a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The store failed or cannot keep up; the caller may try again (error 100, temporary).
    Unavailable,
    /// The hunt's name or the payload is not acceptable (error 107).
    BadRequest,
    /// `since` names another epoch (error 112).
    UnrecoverablePosition,
    /// No more hunts fit, or the answer does not fit a page (error 106).
    LimitExceeded,
    /// The answer is long and the asker has not read earlier ones; it may ask again (error 111).
    Busy,
}

/// See [`Record::Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// The hunt it belongs to.
    pub hunt: HuntNumber,
    /// `stamp_us` of the publish, for the publish-to-wire latency.
    pub stamp_us: u64,
    /// The publication (`hunt::publication`).
    #[serde(with = "serde_bytes")]
    pub publication: &'a [u8],
    /// Its payload deflated (`ws::deflate`), or empty.
    #[serde(with = "serde_bytes")]
    pub deflated: &'a [u8],
}

/// See [`Record::Published`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published<'a> {
    /// Token of the submission.
    pub token: u64,
    /// Offset of the event; 0 when it went into no history.
    pub offset: u64,
    /// Epoch of the hunt.
    pub epoch: &'a str,
}

/// See [`Record::Subscribed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed<'a> {
    /// Token of the submission.
    pub token: u64,
    /// The hunt's number.
    pub hunt: HuntNumber,
    /// The hunt's name.
    pub name: &'a str,
    /// The hunt's epoch.
    pub epoch: &'a str,
    /// Offset of the hunt's last event at this place in the ring; 0 when it has none.
    pub top: u64,
    /// Whether `recover` was asked and all that was missed up to `top` is kept, but for what is too old.
    pub recoverable: bool,
    /// Events are too old from this age on, in milliseconds.
    pub history_ttl_ms: u64,
}

/// See [`Record::History`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage<'a> {
    /// Token of the submission.
    pub token: u64,
    /// The hunt's epoch.
    pub epoch: &'a str,
    /// Offset of the hunt's last event.
    pub top: u64,
    /// A list of publications (`hunt::publication`).
    #[serde(with = "serde_bytes")]
    pub publications: &'a [u8],
}

/// See [`Record::Presence`]. A list longer than [`PAGE_BYTES_MAX`] comes as several, one behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresencePage<'a> {
    /// Token of the submission.
    pub token: u64,
    /// Who is there: encoded `ClientInfo`s, each behind its length
    /// ([`crate::protobuf::append_delimited`]), in no order; empty when only numbers were asked.
    #[serde(with = "serde_bytes")]
    pub entries: &'a [u8],
    /// Connections there, also those of other pages.
    pub num_clients: u32,
    /// Users among them; the anonymous are one.
    pub num_users: u32,
    /// More of the list comes in a further record.
    pub more: bool,
}

/// See [`Record::Movement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved<'a> {
    /// The hunt.
    pub hunt: HuntNumber,
    /// Which way.
    pub movement: Movement,
    /// Who: an encoded `ClientInfo`.
    #[serde(with = "serde_bytes")]
    pub who: &'a [u8],
}

/// Somebody came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Movement {
    /// Subscribed.
    Join,
    /// Left.
    Leave,
}

/// See [`Record::Tell`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay<'a> {
    /// What is done, and to whom.
    #[serde(borrow)]
    pub tell: Tell<'a>,
    /// Where the hunt of a subscribe stands at this place in the ring; none for what is no subscribe.
    #[serde(borrow)]
    pub stand: Option<Stand<'a>>,
}

/// Where a hunt stands; see [`Subscribed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand<'a> {
    /// The hunt's number.
    pub hunt: HuntNumber,
    /// The hunt's epoch.
    pub epoch: &'a str,
    /// Offset of the hunt's last event.
    pub top: u64,
}

/// See [`Record::Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPage<'a> {
    /// Token of the submission.
    pub token: u64,
    /// The points in order ([`crate::path::Point::list`]).
    #[serde(with = "serde_bytes")]
    pub points: &'a [u8],
    /// Where to go on; none when that was all.
    pub next: Option<Place>,
}

/// See [`Record::Channels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelsPage<'a> {
    /// Token of the submission.
    pub token: u64,
    /// For each hunt its subscribers on all data cores (four bytes, little-endian) and its name, behind
    /// the length of both ([`crate::protobuf::append_delimited`]).
    #[serde(with = "serde_bytes")]
    pub entries: &'a [u8],
    /// Where to go on; none when that was all.
    pub next: Option<HuntNumber>,
}

impl<'a> ChannelsPage<'a> {
    /// The hunts of the page with their subscribers.
    pub fn hunts(&self) -> impl Iterator<Item = (&'a str, u32)> {
        protobuf::delimited(self.entries).filter_map(|entry| {
            let (count, name) = entry.split_first_chunk()?;
            let name = std::str::from_utf8(name).ok()?;
            Some((name, u32::from_le_bytes(*count)))
        })
    }

    /// Adds a hunt to a page under construction.
    pub fn append(entries: &mut Vec<u8>, name: &str, subscribers: u32) {
        protobuf::append_filled(entries, |entry| {
            entry.extend_from_slice(&subscribers.to_le_bytes());
            entry.extend_from_slice(name.as_bytes());
        });
    }
}
