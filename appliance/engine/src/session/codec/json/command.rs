//! From a text message to commands.
//!
//! Strict where a mistake could be taken for something else (two bodies, a repeated field, a number
//! out of range, an array for an object: all [`BadCommand`]); lenient as Centrifugo is where that
//! keeps clients working (unknown fields beside a known body are skipped, `null` is "not given").

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;

use crate::session::codec::command::{
    BadCommand, Body, Command, Connect, Subs, SubsForm, Subscribe,
};
use crate::session::codec::payload::{DEPTH_MAX, is_deeper};

/// Takes the first line's command; at most one newline stands behind the last line.
pub(in crate::session::codec) fn take_command<'a>(
    message: &mut &'a [u8],
) -> Result<Command<'a>, BadCommand> {
    let end = message.iter().position(|&byte| byte == b'\n');
    let (line, rest) = message.split_at(end.unwrap_or(message.len()));
    *message = rest.get(1..).unwrap_or_default();
    parse(line)
}

/// Takes the whole message for a connect request; white space may stand around it.
pub(in crate::session::codec) fn parse_connect(message: &[u8]) -> Result<Connect<'_>, BadCommand> {
    if is_deeper(message, DEPTH_MAX) {
        return Err(BadCommand);
    }
    let Object(connect) =
        serde_json::from_slice::<Object<Connect<'_>>>(message).map_err(|_| BadCommand)?;
    Ok(connect)
}

fn parse(line: &[u8]) -> Result<Command<'_>, BadCommand> {
    if is_deeper(line, DEPTH_MAX) {
        return Err(BadCommand);
    }
    let Object(command) =
        serde_json::from_slice::<Object<Command<'_>>>(line).map_err(|_| BadCommand)?;
    Ok(command)
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
        if body.is_none() && unknown {
            return Err(A::Error::custom("an unknown command"));
        }
        Command::new(id.flatten().unwrap_or(0), body)
            .map_err(|BadCommand| A::Error::custom("id and body do not fit"))
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
pub(in crate::session::codec) fn or_default<'de, D: Deserializer<'de>, T>(
    deserializer: D,
) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An object, or none for `null`.
pub(in crate::session::codec) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Object(value)| value))
}

/// Whether there is a value, and not `null`.
pub(in crate::session::codec) fn is_given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<bool, D::Error> {
    Option::<IgnoredAny>::deserialize(deserializer).map(|value| value.is_some())
}

/// A value as it was written; empty for `null`.
pub(in crate::session::codec) fn payload<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<&'a [u8], D::Error> {
    let value = Option::<&RawValue>::deserialize(deserializer)?;
    Ok(value.map_or(&[], |value| value.get().as_bytes()))
}

/// A value as it was written, also `null`.
pub(in crate::session::codec) fn payload_or_null<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<&'a [u8], D::Error> {
    <&RawValue>::deserialize(deserializer).map(|value| value.get().as_bytes())
}

/// An object of subscribe requests; none for `null`.
pub(in crate::session::codec) fn subs<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Subs<'a>, D::Error> {
    let Some(object) = Option::<&RawValue>::deserialize(deserializer)? else {
        return Ok(Subs::default());
    };
    each_sub(object.get(), &mut |_| ()).map_err(D::Error::custom)?;
    Ok(Subs(SubsForm::Json(object.get())))
}

/// Reads an object of subscribe requests one after another.
pub(in crate::session::codec) fn each_sub(
    object: &str,
    take: &mut dyn FnMut(&Subscribe<'_>),
) -> Result<(), &'static str> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let read = EachSub(take).deserialize(&mut deserializer);
    read.map_err(|_| "not a map of subscribe requests")
}

struct EachSub<'t>(&'t mut dyn FnMut(&Subscribe<'_>));

impl<'de> DeserializeSeed<'de> for EachSub<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EachSub<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of subscribe requests")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(channel)) = map.next_key()? {
            let subscribe = given::<_, Subscribe<'_>>(&mut map)?.unwrap_or_default();
            (self.0)(&Subscribe {
                channel,
                ..subscribe
            });
        }
        Ok(())
    }
}

/// A string, borrowed unless it has escapes; empty for `null`.
pub(in crate::session::codec) fn text<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'a, str>, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow, deserialize_with = "text")] Cow<'a, str>);

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
