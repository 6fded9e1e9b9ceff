//! From a binary message to commands.
//!
//! As strict as JSON where a mistake could be taken for something else (two bodies, a number out of
//! range, text that is not UTF-8: all [`BadCommand`]). As the format wants it, the last of a repeated
//! field counts, and fields of other numbers are skipped.

use std::borrow::Cow;

use crate::protobuf::{Fields, Malformed, Value, take_delimited};
use crate::session::codec::command::{
    BadCommand, Body, Command, Connect, History, Presence, PresenceStats, Publish, Refresh, Rpc,
    Send, Since, SubRefresh, Subs, SubsForm, Subscribe, Unsubscribe,
};

impl From<Malformed> for BadCommand {
    fn from(Malformed: Malformed) -> BadCommand {
        BadCommand
    }
}

/// Takes the first command.
pub(in crate::session::codec) fn take_command<'a>(
    message: &mut &'a [u8],
) -> Result<Command<'a>, BadCommand> {
    let (mut id, mut body, mut unknown) = (0, None, false);
    for field in Fields::new(take_delimited(message)?) {
        let (number, value) = field?;
        if number == 1 {
            id = u32::try_from(value.number()?).map_err(|_| BadCommand)?;
            continue;
        }
        let next = parse_body(number, value)?;
        unknown |= next.is_none();
        if next.is_some() && std::mem::replace(&mut body, next).is_some() {
            return Err(BadCommand);
        }
    }
    if body.is_none() && unknown {
        return Err(BadCommand);
    }
    Command::new(id, body)
}

/// Whether there are commands, and the last is as long as it says.
pub(in crate::session::codec) fn is_whole(mut commands: &[u8]) -> bool {
    loop {
        if take_delimited(&mut commands).is_err() {
            return false;
        }
        if commands.is_empty() {
            return true;
        }
    }
}

/// Takes the whole message for a connect request.
pub(in crate::session::codec) fn parse_connect(message: &[u8]) -> Result<Connect<'_>, BadCommand> {
    Ok(connect(message)?)
}

/// The body that field `number` of a command is; none for other numbers.
fn parse_body(number: u32, value: Value<'_>) -> Result<Option<Body<'_>>, Malformed> {
    Ok(Some(match number {
        4 => Body::Connect(connect(value.bytes()?)?),
        5 => Body::Subscribe(message(value)?),
        6 => Body::Unsubscribe(message(value)?),
        7 => Body::Publish(message(value)?),
        8 => Body::Presence(message(value)?),
        9 => Body::PresenceStats(message(value)?),
        10 => Body::History(message(value)?),
        11 => message(value).map(|Nothing| Body::Ping)?,
        12 => Body::Send(message(value)?),
        13 => Body::Rpc(message(value)?),
        14 => Body::Refresh(message(value)?),
        15 => Body::SubRefresh(message(value)?),
        _ => return Ok(None),
    }))
}

/// A message that is read field by field; numbers it does not know are skipped.
trait Request<'a>: Default {
    fn set(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed>;
}

fn message<'a, R: Request<'a>>(value: Value<'a>) -> Result<R, Malformed> {
    let mut request = R::default();
    for field in Fields::new(value.bytes()?) {
        let (number, value) = field?;
        request.set(number, value)?;
    }
    Ok(request)
}

/// Which number is which field, and how it is read.
macro_rules! fields {
    ($name:ident { $($number:literal => $field:ident: $read:ident,)* }) => {
        impl<'a> Request<'a> for $name<'a> {
            fn set(&mut self, number: u32, value: Value<'a>) -> Result<(), Malformed> {
                match number {
                    $($number => self.$field = $read(value)?,)*
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

// 3, the entries of `subs`, is read by `each_sub`.
fields! { Connect { 1 => token: text, 2 => data: bytes, 4 => name: text, 5 => version: text, } }
fields! { Subscribe {
    1 => channel: text,
    2 => token: text,
    3 => recover: flag,
    6 => epoch: text,
    7 => offset: number,
    8 => data: bytes,
    9 => positioned: flag,
    10 => recoverable: flag,
    11 => join_leave: flag,
    12 => delta: text,
    13 => has_filter: is_given,
    14 => flag: number,
    15 => kind: signed,
} }
fields! { Unsubscribe { 1 => channel: text, } }
fields! { Publish { 1 => channel: text, 2 => data: bytes, } }
fields! { Presence { 1 => channel: text, } }
fields! { PresenceStats { 1 => channel: text, } }
fields! { History { 1 => channel: text, 7 => limit: signed, 8 => since: optional, 9 => reverse: flag, } }
fields! { Since { 1 => offset: number, 2 => epoch: text, } }
fields! { Send { 1 => data: bytes, } }
fields! { Rpc { 1 => data: bytes, 2 => method: text, } }
fields! { Refresh { 1 => token: text, } }
fields! { SubRefresh { 1 => channel: text, 2 => token: text, } }

/// A message without fields of ours.
#[derive(Default)]
struct Nothing;

impl Request<'_> for Nothing {
    fn set(&mut self, _: u32, _: Value<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}

fn connect(bytes: &[u8]) -> Result<Connect<'_>, Malformed> {
    let mut connect: Connect<'_> = message(Value::Bytes(bytes))?;
    let mut count = 0;
    each_sub(bytes, &mut |_| count += 1)?;
    if count > 0 {
        connect.subs = Subs(SubsForm::Protobuf(bytes));
    }
    Ok(connect)
}

/// Reads the entries of `subs` in a connect request one after another.
pub(in crate::session::codec) fn each_sub<'a>(
    connect: &'a [u8],
    take: &mut dyn FnMut(&Subscribe<'a>),
) -> Result<(), Malformed> {
    for field in Fields::new(connect) {
        if let (3, value) = field? {
            let entry: Entry<'a> = message(value)?;
            take(&Subscribe {
                channel: entry.channel,
                ..entry.subscribe
            });
        }
    }
    Ok(())
}

/// One entry of a map of subscribe requests.
#[derive(Default)]
struct Entry<'a> {
    channel: Cow<'a, str>,
    subscribe: Subscribe<'a>,
}

fields! { Entry { 1 => channel: text, 2 => subscribe: message, } }

fn text(value: Value<'_>) -> Result<Cow<'_, str>, Malformed> {
    value.text().map(Cow::Borrowed)
}

fn bytes(value: Value<'_>) -> Result<&[u8], Malformed> {
    value.bytes()
}

fn number(value: Value<'_>) -> Result<u64, Malformed> {
    value.number()
}

fn flag(value: Value<'_>) -> Result<bool, Malformed> {
    value.number().map(|number| number != 0)
}

/// A 32-bit number, of which the wire has the 64-bit two's complement.
fn signed(value: Value<'_>) -> Result<i32, Malformed> {
    i32::try_from(value.number()?.cast_signed()).map_err(|_| Malformed)
}

fn is_given(value: Value<'_>) -> Result<bool, Malformed> {
    value.bytes().map(|_| true)
}

fn optional<'a, R: Request<'a>>(value: Value<'a>) -> Result<Option<R>, Malformed> {
    message(value).map(Some)
}
