//! The JSON codec: a text message holds one or more commands, one a line; a reply is one object.
//!
//! Reading borrows from the message. It allocates only where the wire's form is not the value's:
//! a string with escapes, or values nested inside raw JSON (the parser's stack).
//!
//! Writing appends to the caller's buffer, never a newline.

pub(super) mod command;
mod message;
#[cfg(test)]
mod tests;

pub(super) use command::{parse_connect, take_command};
pub(super) use message::{append, append_sub};
