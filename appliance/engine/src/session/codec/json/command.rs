//! From a text message to commands.
//!
//! Strict where a mistake could be taken for something else (two bodies, a repeated field, a number
//! out of range, an array for an object: all [`BadCommand`]); lenient as Centrifugo is where that
//! keeps clients working (unknown fields beside a known body are skipped, `null` is "not given").

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting of a command. What a player publishes is parsed by every other player: some
/// parsers (Python's) fail on deep nesting, so it ends here. The default limit of `serde_json`, so
/// that the admin API accepts as much.
pub const DEPTH_MAX: usize = 128;

/// The line is not a command: disconnect 3501.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCommand;

/// One command.
#[derive(Debug)]
pub struct Command<'a> {
    /// Repeated in the reply; 0 for the two that have none, `Pong` and `Send`.
    pub id: u32,
    /// What is asked.
    pub body: Body<'a>,
}

/// What is asked.
#[derive(Debug)]
pub enum Body<'a> {
    /// The answer to our ping: an empty object.
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
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        pub struct $name<'a> { $($(#[$attribute])* pub $field: $type,)* }
    };
}

request! {
    /// See [`Body::Connect`].
    Connect {
        /// The JWT; none or empty when the client has none.
        #[serde(borrow, deserialize_with = "optional_text")]
        token: Option<Cow<'a, str>>,
        /// For the application.
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        /// Map from server-side subscription to its position.
        #[serde(borrow)]
        subs: Option<&'a RawValue>,
        /// The SDK's name.
        #[serde(borrow, deserialize_with = "text")]
        name: Cow<'a, str>,
        /// The SDK's version.
        #[serde(borrow, deserialize_with = "text")]
        version: Cow<'a, str>,
        /// Map of emulated HTTP headers.
        #[serde(borrow)]
        headers: Option<&'a RawValue>,
    }
}

request! {
    /// See [`Body::Subscribe`].
    Subscribe {
        /// The hunt.
        #[serde(borrow, deserialize_with = "text")]
        channel: Cow<'a, str>,
        /// The subscription's JWT, or empty.
        #[serde(borrow, deserialize_with = "text")]
        token: Cow<'a, str>,
        /// Whether the events after `epoch`, `offset` are asked for.
        #[serde(deserialize_with = "or_default")]
        recover: bool,
        /// The epoch of the log that `offset` belongs to; empty when unknown.
        #[serde(borrow, deserialize_with = "text")]
        epoch: Cow<'a, str>,
        /// The last event the player has.
        #[serde(deserialize_with = "or_default")]
        offset: u64,
        /// For the application.
        #[serde(borrow)]
        data: Option<&'a RawValue>,
        /// Whether the player wants its position kept.
        #[serde(deserialize_with = "or_default")]
        positioned: bool,
        /// Whether the player wants to recover after a reconnect.
        #[serde(deserialize_with = "or_default")]
        recoverable: bool,
        /// Whether the player wants to hear of others coming and going.
        #[serde(deserialize_with = "or_default")]
        join_leave: bool,
        /// Kind of delta compression offered, or empty.
        #[serde(borrow, deserialize_with = "text")]
        delta: Cow<'a, str>,
        /// Whether a tags filter (`tf`) is asked for.
        #[serde(rename = "tf", deserialize_with = "is_given")]
        has_filter: bool,
        /// Bit 0: takes numeric channel ids. Bit 1: rather error 112 than an unrecovered success.
        #[serde(deserialize_with = "or_default")]
        flag: u64,
        /// 0 for a stream; map and shared-poll subscriptions have others.
        #[serde(rename = "type", deserialize_with = "or_default")]
        kind: i32,
    }
}

request! {
    /// See [`Body::Unsubscribe`].
    Unsubscribe {
        /// The hunt.
        #[serde(borrow, deserialize_with = "text")]
        channel: Cow<'a, str>,
    }
}

/// See [`Body::Publish`].
#[derive(Debug, serde::Deserialize)]
pub struct Publish<'a> {
    /// The hunt.
    #[serde(borrow, default, deserialize_with = "text")]
    pub channel: Cow<'a, str>,
    /// The payload: valid JSON, as written by the client.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

request! {
    /// See [`Body::Presence`].
    Presence {
        /// The hunt.
        #[serde(borrow, deserialize_with = "text")]
        channel: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::PresenceStats`].
    PresenceStats {
        /// The hunt.
        #[serde(borrow, deserialize_with = "text")]
        channel: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::History`].
    History {
        /// The hunt.
        #[serde(borrow, deserialize_with = "text")]
        channel: Cow<'a, str>,
        /// Events wanted at most: 0 for the position only, -1 for as many as there may be.
        #[serde(deserialize_with = "or_default")]
        limit: i32,
        /// Where to begin; the event at it is not included.
        #[serde(borrow)]
        since: Option<Since<'a>>,
        /// Newest first.
        #[serde(deserialize_with = "or_default")]
        reverse: bool,
    }
}

request! {
    /// A place in a hunt's log.
    Since {
        /// The event.
        #[serde(deserialize_with = "or_default")]
        offset: u64,
        /// The epoch of the log.
        #[serde(borrow, deserialize_with = "text")]
        epoch: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::Send`].
    Send {
        /// The message.
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
}

request! {
    /// See [`Body::Rpc`].
    Rpc {
        /// The method, or empty.
        #[serde(borrow, deserialize_with = "text")]
        method: Cow<'a, str>,
        /// Its argument.
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
}

request! {
    /// See [`Body::Refresh`].
    Refresh {
        /// The new JWT.
        #[serde(borrow, deserialize_with = "text")]
        token: Cow<'a, str>,
    }
}

request! {
    /// See [`Body::SubRefresh`].
    SubRefresh {
        /// The hunt.
        #[serde(borrow, deserialize_with = "text")]
        channel: Cow<'a, str>,
        /// The new JWT.
        #[serde(borrow, deserialize_with = "text")]
        token: Cow<'a, str>,
    }
}

/// Whether the message is a lone pong.
#[inline]
pub fn is_pong(message: &[u8]) -> bool {
    matches!(message, b"{}" | b"{}\n")
}

/// The commands of a message, in order. Ends after the first that is bad: what follows it may be
/// anything.
#[derive(Debug, Clone)]
pub struct Commands<'a> {
    rest: Option<&'a [u8]>,
}

/// The commands of `message`: one a line, at most one newline behind the last. An empty message is
/// a bad command.
pub fn commands(message: &[u8]) -> Commands<'_> {
    Commands {
        rest: Some(message.strip_suffix(b"\n").unwrap_or(message)),
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, BadCommand>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let mut lines = rest.splitn(2, |byte| *byte == b'\n');
        let command = parse(lines.next().unwrap_or_default());
        if command.is_ok() {
            self.rest = lines.next();
        }
        Some(command)
    }
}

fn parse(line: &[u8]) -> Result<Command<'_>, BadCommand> {
    if is_pong(line) {
        return Ok(Command {
            id: 0,
            body: Body::Pong,
        });
    }
    if is_too_deep(line) {
        return Err(BadCommand);
    }
    let Object(command) =
        serde_json::from_slice::<Object<Command<'_>>>(line).map_err(|_| BadCommand)?;
    match (command.id, &command.body) {
        // Without an id there is no reply to write: only these two need none.
        (0, Body::Pong | Body::Send(_)) => Ok(command),
        (0, _) | (_, Body::Pong) => Err(BadCommand),
        _ => Ok(command),
    }
}

/// Whether brackets outside of strings nest deeper than [`DEPTH_MAX`].
fn is_too_deep(line: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in line {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Id,
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Presence,
    PresenceStats,
    History,
    Ping,
    Send,
    Rpc,
    Refresh,
    SubRefresh,
    #[serde(other)]
    Unknown,
}

impl<'de: 'a, 'a> Deserialize<'de> for Command<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Command<'a>, D::Error> {
        deserializer.deserialize_map(CommandVisitor)
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Command<'de>, A::Error> {
        let (mut id, mut body, mut unknown) = (None, None, false);
        while let Some(field) = map.next_key()? {
            let next = match field {
                Field::Id => match id.replace(map.next_value::<Option<u32>>()?) {
                    None => continue,
                    Some(_) => return Err(A::Error::duplicate_field("id")),
                },
                Field::Connect => given(&mut map)?.map(Body::Connect),
                Field::Subscribe => given(&mut map)?.map(Body::Subscribe),
                Field::Unsubscribe => given(&mut map)?.map(Body::Unsubscribe),
                Field::Publish => given(&mut map)?.map(Body::Publish),
                Field::Presence => given(&mut map)?.map(Body::Presence),
                Field::PresenceStats => given(&mut map)?.map(Body::PresenceStats),
                Field::History => given(&mut map)?.map(Body::History),
                Field::Ping => given::<_, Empty>(&mut map)?.map(|Empty {}| Body::Ping),
                Field::Send => given(&mut map)?.map(Body::Send),
                Field::Rpc => given(&mut map)?.map(Body::Rpc),
                Field::Refresh => given(&mut map)?.map(Body::Refresh),
                Field::SubRefresh => given(&mut map)?.map(Body::SubRefresh),
                Field::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    unknown = true;
                    None
                }
            };
            if next.is_some() && std::mem::replace(&mut body, next).is_some() {
                return Err(A::Error::custom("two bodies"));
            }
        }
        match body {
            None if unknown => Err(A::Error::custom("an unknown command")),
            body => Ok(Command {
                id: id.flatten().unwrap_or(0),
                body: body.unwrap_or(Body::Pong),
            }),
        }
    }
}

#[derive(serde::Deserialize)]
struct Empty {}

/// The next value as an object, or none when it is `null`.
fn given<'de, A: MapAccess<'de>, T: Deserialize<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
    Ok(map
        .next_value::<Option<Object<T>>>()?
        .map(|Object(value)| value))
}

/// A `T` from an object only: serde's structs may also be read from arrays.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        T::deserialize(AsMap(deserializer)).map(Object)
    }
}

struct AsMap<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AsMap<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// A value, or its default for `null`.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Whether there is a value, and not `null`.
fn is_given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::<IgnoredAny>::deserialize(deserializer).map(|value| value.is_some())
}

/// A string, borrowed unless it has escapes; empty for `null`.
fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, str>, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

fn optional_text<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    text(deserializer).map(|text| (!text.is_empty()).then_some(text))
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(""))
    }
}
