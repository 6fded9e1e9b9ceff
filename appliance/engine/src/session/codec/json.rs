//! The JSON codec: a text message holds one or more commands, one a line; a reply is one object.
//!
//! Reading borrows from the message. It allocates only where the wire's form is not the value's:
//! a string with escapes, or values nested inside raw JSON (the parser's stack). A pong, the one
//! command that comes all the time, is recognised by [`is_pong`] without parsing.
//!
//! Writing appends to the caller's buffer, never a newline, and leaves out what is zero or empty,
//! except where the protocol says "always". Raw JSON parts (`&[u8]`) are trusted to be JSON.

mod command;
mod reply;
#[cfg(test)]
mod tests;

pub use command::{
    BadCommand, Body, Command, Commands, Connect, DEPTH_MAX, History, Presence, PresenceStats,
    Publish, Refresh, Rpc, Send, Since, SubRefresh, Subscribe, Unsubscribe, commands, is_pong,
};
pub use reply::{
    ConnectResult, PING, PING_FRAME, SubscribeResult, append_publications, connect_reply,
    error_reply, history_reply, presence_reply, presence_stats_reply, publish_reply, refresh_reply,
    sub_refresh_reply, subscribe_reply, unsubscribe_push, unsubscribe_reply,
};
