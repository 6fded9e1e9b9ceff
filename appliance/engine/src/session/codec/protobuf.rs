//! The codec of Protocol Buffers: a message is one or more commands, each behind its length as a varint;
//! so is a reply. The fields' numbers are Centrifugo's (`docs/protocol.md`).
//!
//! Reading borrows from the message and allocates nothing. What no field of ours is gets skipped.

pub(super) mod command;
mod message;

pub(super) use command::{is_whole, parse_connect, take_command};
pub(super) use message::{append, append_sub};
