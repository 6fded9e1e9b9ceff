//! The client protocol's bytes: what players ask and what they are told.
//!
//! Stands between `ws` (whole messages) and the session, which judges what is asked. There is one model
//! of commands ([`Command`]) and one of what goes out ([`Message`]), and two ways to write both: JSON and
//! Protocol Buffers. A codec knows its wire and nothing else: it reads borrowed from the message and
//! appends to a buffer of the caller. Names, numbers and what may be left out are Centrifugo's
//! (`docs/protocol.md`), so that its SDKs work unmodified.
//!
//! Payloads (`data`, `conn_info`) are JSON in both: a hunt's events are the same for everyone. What will
//! reach other players goes through [`append_line`] first, whoever sent it.
//!
//! Pushes of live events, joins and leaves are not made here: a data core makes each once for everybody
//! who takes the same form (`hunt::encode`).
#![deny(clippy::indexing_slicing)]

mod command;
mod message;
mod payload;
mod json;
mod protobuf;

pub use command::{
    BadCommand, Body, Command, Connect, History, Presence, PresenceStats, Publish, Refresh, Rpc,
    Send, Since, SubRefresh, Subs, Subscribe, Unsubscribe,
};
pub use message::{ConnectResult, Message, Push, Pushed, Reply, SubscribeResult};
pub use payload::{DEPTH_MAX, NotJson, append_line};

pub use crate::ws::upgrade::Protocol;

use crate::ws::frame::Opcode;

/// Takes the first command off the front of `message`: what is left begins with the next one, and is
/// empty behind the last. A message without a command is a bad one.
pub fn take_command<'a>(
    protocol: Protocol,
    message: &mut &'a [u8],
) -> Result<Command<'a>, BadCommand> {
    match protocol {
        Protocol::Json => json::take_command(message),
        Protocol::Protobuf => protobuf::take_command(message),
    }
}

/// The connect request that a unidirectional client sends: no command around it, alone in its message.
pub fn parse_connect(protocol: Protocol, message: &[u8]) -> Result<Connect<'_>, BadCommand> {
    match protocol {
        Protocol::Json => json::parse_connect(message),
        Protocol::Protobuf => protobuf::parse_connect(message),
    }
}

/// Whether the message is a lone pong, the one command that comes all the time.
#[inline]
pub fn is_pong(protocol: Protocol, message: &[u8]) -> bool {
    match protocol {
        Protocol::Json => matches!(message, b"{}" | b"{}\n"),
        Protocol::Protobuf => matches!(message, [0]),
    }
}

/// What goes between two messages' worth of commands when they are kept as one.
pub const fn separator(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Json => b"\n",
        Protocol::Protobuf => b"",
    }
}

/// Whether `commands` end where a command ends, so that more may be put behind them: half a command must
/// not become a whole one by what follows. In JSON the separator sees to that.
pub fn is_whole(protocol: Protocol, commands: &[u8]) -> bool {
    match protocol {
        Protocol::Json => !commands.is_empty(),
        Protocol::Protobuf => protobuf::is_whole(commands),
    }
}

/// Appends what goes out, ready for a frame of [`opcode`]. What is zero or empty is left out, except
/// where the protocol says "always".
pub fn append(protocol: Protocol, out: &mut Vec<u8>, message: &Message<'_>) {
    match protocol {
        Protocol::Json => json::append(out, message),
        Protocol::Protobuf => protobuf::append(out, message),
    }
}

/// Appends one entry of [`ConnectResult::subs`].
pub fn append_sub(
    protocol: Protocol,
    out: &mut Vec<u8>,
    channel: &str,
    result: &SubscribeResult<'_>,
) {
    match protocol {
        Protocol::Json => json::append_sub(out, channel, result),
        Protocol::Protobuf => protobuf::append_sub(out, channel, result),
    }
}

/// The kind of frame that carries the protocol's messages to players. What comes from them is read as
/// their protocol, whatever the frame.
pub const fn opcode(protocol: Protocol) -> Opcode {
    match protocol {
        Protocol::Json => Opcode::Text,
        Protocol::Protobuf => Opcode::Binary,
    }
}
