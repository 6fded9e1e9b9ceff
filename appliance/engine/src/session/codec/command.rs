//! What players ask, whichever way it was written.
//!
//! Everything is borrowed from the message; text is owned only where JSON had it with escapes. What a
//! client leaves out is zero or empty. The attributes of serde are how JSON writes the fields
//! ([`super::json`]); their numbers in Protocol Buffers are in [`super::protobuf`].

use std::borrow::Cow;

use super::json::command as json;
use super::protobuf::command as protobuf;

/// The bytes are not a command: disconnect 3501.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCommand;

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// Repeated in the reply; 0 for the two that have none, `Pong` and `Send`.
    pub id: u32,
    /// What is asked.
    pub body: Body<'a>,
}

impl<'a> Command<'a> {
    /// A command with `body`, or without one a pong.
    pub(super) fn new(id: u32, body: Option<Body<'a>>) -> Result<Command<'a>, BadCommand> {
        match (id, body.unwrap_or(Body::Pong)) {
            // Without an id there is no reply to write: only these two need none.
            (0, body @ (Body::Pong | Body::Send(_))) => Ok(Command { id, body }),
            (0, _) | (_, Body::Pong) => Err(BadCommand),
            (id, body) => Ok(Command { id, body }),
        }
    }
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The answer to our ping: an empty command.
    Pong,
    /// Must come first.
    Connect(Connect<'a>),
    /// Follow a hunt.
    Subscribe(Subscribe<'a>),
    /// Leave a hunt.
    Unsubscribe(Unsubscribe<'a>),
    /// Publish to a hunt.
    Publish(Publish<'a>),
    /// Who is subscribed to a hunt.
    Presence(Presence<'a>),
    /// How many are subscribed to a hunt.
    PresenceStats(PresenceStats<'a>),
    /// A hunt's past events.
    History(History<'a>),
    /// Of the old protocol; no client of today sends it.
    Ping,
    /// A message to the application; no reply.
    Send(Send<'a>),
    /// A call to the application.
    Rpc(Rpc<'a>),
    /// A new token for the connection.
    Refresh(Refresh<'a>),
    /// A new token for a subscription.
    SubRefresh(SubRefresh<'a>),
}

macro_rules! request {
    ($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default, PartialEq, Eq, serde::Deserialize)]
        #[serde(default)]
        pub struct $name<'a> { $($(#[$attribute])* pub $field: $type,)* }
    };
}

request! {
    /// See [`Body::Connect`].
    Connect {
        /// The JWT, or empty.
        #[serde(borrow, deserialize_with = "json::text")]
        token: Cow<'a, str>,
        /// For the application: JSON, or whatever a client of Protocol Buffers wrote; or empty.
        #[serde(borrow, deserialize_with = "json::payload")]
        data: &'a [u8],
        /// Where the player stands in its server-side subscriptions.
        #[serde(borrow, deserialize_with = "json::subs")]
        subs: Subs<'a>,
        /// The SDK's name.
        #[serde(borrow, deserialize_with = "json::text")]
        name: Cow<'a, str>,
        /// The SDK's version.
        #[serde(borrow, deserialize_with = "json::text")]
        version: Cow<'a, str>,
    }
}

/// A map from hunt to [`Subscribe`], still as it was written; it was found well-formed when the command
/// was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Subs<'a>(pub(super) SubsForm<'a>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubsForm<'a> {
    #[default]
    None,
    /// A JSON object.
    Json(&'a str),
    /// The whole connect request, whose fields of one number are the entries.
    Protobuf(&'a [u8]),
}

impl Subs<'_> {
    /// Calls `take` with each entry in turn, the hunt's name in `channel`. A name may come twice.
    pub fn for_each(&self, mut take: impl FnMut(&Subscribe<'_>)) {
        // Both were read before without an error.
        match self.0 {
            SubsForm::None => {}
            SubsForm::Json(object) => _ = json::each_sub(object, &mut take),
            SubsForm::Protobuf(connect) => _ = protobuf::each_sub(connect, &mut take),
        }
    }
}

request! {
    /// See [`Body::Subscribe`].
    Subscribe {
        /// The hunt.
        #[serde(borrow, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
        /// The subscription's JWT, or empty.
        #[serde(borrow, deserialize_with = "json::text")]
        token: Cow<'a, str>,
        /// Whether the events after `epoch`, `offset` are asked for.
        #[serde(deserialize_with = "json::or_default")]
        recover: bool,
        /// The epoch of the log that `offset` belongs to; empty when unknown.
        #[serde(borrow, deserialize_with = "json::text")]
        epoch: Cow<'a, str>,
        /// The last event the player has.
        #[serde(deserialize_with = "json::or_default")]
        offset: u64,
        /// For the application, see [`Connect::data`].
        #[serde(borrow, deserialize_with = "json::payload")]
        data: &'a [u8],
        /// Whether the player wants its position kept.
        #[serde(deserialize_with = "json::or_default")]
        positioned: bool,
        /// Whether the player wants to recover after a reconnect.
        #[serde(deserialize_with = "json::or_default")]
        recoverable: bool,
        /// Whether the player wants to hear of others coming and going.
        #[serde(deserialize_with = "json::or_default")]
        join_leave: bool,
        /// Kind of delta compression offered, or empty.
        #[serde(borrow, deserialize_with = "json::text")]
        delta: Cow<'a, str>,
        /// Whether a tags filter (`tf`) is asked for.
        #[serde(rename = "tf", deserialize_with = "json::is_given")]
        has_filter: bool,
        /// Bit 0: takes numeric channel ids. Bit 1: rather error 112 than an unrecovered success.
        #[serde(deserialize_with = "json::or_default")]
        flag: u64,
        /// 0 for a stream; map and shared-poll subscriptions have others.
        #[serde(rename = "type", deserialize_with = "json::or_default")]
        kind: i32,
    }
}

request! {
    /// See [`Body::Unsubscribe`].
    Unsubscribe {
        /// The hunt.
        #[serde(borrow, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::Publish`].
    Publish {
        /// The hunt.
        #[serde(borrow, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
        /// The payload: JSON as written by the client, or whatever a client of Protocol Buffers wrote;
        /// or empty. See [`super::append_line`].
        #[serde(borrow, deserialize_with = "json::payload_or_null")]
        data: &'a [u8],
    }
}

request! {
    /// See [`Body::Presence`].
    Presence {
        /// The hunt.
        #[serde(borrow, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::PresenceStats`].
    PresenceStats {
        /// The hunt.
        #[serde(borrow, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::History`].
    History {
        /// The hunt.
        #[serde(borrow, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
        /// Events wanted at most: 0 for the position only, -1 for as many as there may be.
        #[serde(deserialize_with = "json::or_default")]
        limit: i32,
        /// Where to begin; the event at it is not included.
        #[serde(borrow, deserialize_with = "json::object")]
        since: Option<Since<'a>>,
        /// Newest first.
        #[serde(deserialize_with = "json::or_default")]
        reverse: bool,
    }
}

request! {
    /// A place in a hunt's log.
    Since {
        /// The event.
        #[serde(deserialize_with = "json::or_default")]
        offset: u64,
        /// The epoch of the log.
        #[serde(borrow, deserialize_with = "json::text")]
        epoch: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::Send`].
    Send {
        /// The message, see [`Connect::data`].
        #[serde(borrow, deserialize_with = "json::payload")]
        data: &'a [u8],
    }
}

request! {
    /// See [`Body::Rpc`].
    Rpc {
        /// Its argument, see [`Connect::data`].
        #[serde(borrow, deserialize_with = "json::payload")]
        data: &'a [u8],
        /// The method, or empty.
        #[serde(borrow, deserialize_with = "json::text")]
        method: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::Refresh`].
    Refresh {
        /// The new JWT.
        #[serde(borrow, deserialize_with = "json::text")]
        token: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::SubRefresh`].
    SubRefresh {
        /// The hunt.
        #[serde(borrow, deserialize_with = "json::text")]
        channel: Cow<'a, str>,
        /// The new JWT.
        #[serde(borrow, deserialize_with = "json::text")]
        token: Cow<'a, str>,
    }
}
