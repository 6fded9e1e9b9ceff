//! From results to JSON.

use crate::hunt::publication::Publication;
use crate::protobuf;
use crate::session::codes::{Error, Unsubscribe};

/// The server's ping, an empty reply.
pub const PING: &[u8] = b"{}";

/// [`PING`] as a whole WebSocket text frame.
pub const PING_FRAME: &[u8] = b"\x81\x02{}";

/// What an accepted connect tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectResult<'a> {
    /// Id of the connection, unique in the world.
    pub client: &'a str,
    /// Ours.
    pub version: &'a str,
    /// Seconds until the client must have refreshed its token; none when it need not.
    pub ttl_s: Option<u32>,
    /// Seconds between our pings; 0 when we send none.
    pub ping_s: u32,
    /// Whether the client must answer them.
    pub pong: bool,
}

/// What an accepted subscribe tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscribeResult<'a> {
    /// Whether the client may recover after a reconnect.
    pub recoverable: bool,
    /// Whether `epoch` and `offset` mean something.
    pub positioned: bool,
    /// Epoch of the hunt's log.
    pub epoch: &'a str,
    /// Where the client stands: with `recovered` the offset it asked from, else the newest event.
    pub offset: u64,
    /// Whether recovery was asked for.
    pub was_recovering: bool,
    /// Whether `publications` is all the client missed.
    pub recovered: bool,
    /// A list of publications (`hunt::publication`), oldest first.
    pub publications: &'a [u8],
}

/// Appends an error reply.
pub fn error_reply(out: &mut Vec<u8>, id: u32, error: Error) {
    reply(out, id, "error", |body| {
        body.number("code", u64::from(error.code()));
        body.text("message", error.message());
        body.flag("temporary", error.is_temporary());
    });
}

/// Appends the reply to a connect.
pub fn connect_reply(out: &mut Vec<u8>, id: u32, result: &ConnectResult<'_>) {
    reply(out, id, "connect", |body| {
        body.text("client", result.client);
        body.text("version", result.version);
        expiry(body, result.ttl_s);
        body.number("ping", u64::from(result.ping_s));
        body.flag("pong", result.pong);
    });
}

/// Appends the reply to a subscribe.
pub fn subscribe_reply(out: &mut Vec<u8>, id: u32, result: &SubscribeResult<'_>) {
    reply(out, id, "subscribe", |body| {
        body.flag("recoverable", result.recoverable);
        body.text("epoch", result.epoch);
        if !result.publications.is_empty() {
            body.publications(result.publications);
        }
        body.flag("recovered", result.recovered);
        body.number("offset", result.offset);
        body.flag("positioned", result.positioned);
        body.flag("was_recovering", result.was_recovering);
    });
}

/// Appends the reply to an unsubscribe.
pub fn unsubscribe_reply(out: &mut Vec<u8>, id: u32) {
    reply(out, id, "unsubscribe", |_| {});
}

/// Appends the reply to a publish.
pub fn publish_reply(out: &mut Vec<u8>, id: u32) {
    reply(out, id, "publish", |_| {});
}

/// Appends the reply to a presence; `entries` are members `"client id":ClientInfo` joined by
/// commas, without braces.
pub fn presence_reply(out: &mut Vec<u8>, id: u32, entries: &[u8]) {
    reply(out, id, "presence", |body| {
        body.object("presence", |presence| {
            presence.out.extend_from_slice(entries)
        });
    });
}

/// Appends the reply to a presence_stats.
pub fn presence_stats_reply(out: &mut Vec<u8>, id: u32, client_count: u32, user_count: u32) {
    reply(out, id, "presence_stats", |body| {
        body.number_always("num_clients", u64::from(client_count));
        body.number_always("num_users", u64::from(user_count));
    });
}

/// Appends the reply to a history; `publications` is a list of them (`hunt::publication`), `offset` that of
/// the newest event.
pub fn history_reply(out: &mut Vec<u8>, id: u32, publications: &[u8], epoch: &str, offset: u64) {
    reply(out, id, "history", |body| {
        body.publications(publications);
        body.text_always("epoch", epoch);
        body.number_always("offset", offset);
    });
}

/// Appends the reply to a refresh.
pub fn refresh_reply(out: &mut Vec<u8>, id: u32, client: &str, version: &str, ttl_s: Option<u32>) {
    reply(out, id, "refresh", |body| {
        body.text("client", client);
        body.text("version", version);
        expiry(body, ttl_s);
    });
}

/// Appends the reply to a sub_refresh.
pub fn sub_refresh_reply(out: &mut Vec<u8>, id: u32, ttl_s: Option<u32>) {
    reply(out, id, "sub_refresh", |body| expiry(body, ttl_s));
}

/// Appends the push that ends a subscription.
pub fn unsubscribe_push(out: &mut Vec<u8>, channel: &str, why: Unsubscribe) {
    object(out, |push| {
        push.object("push", |push| {
            push.text("channel", channel);
            push.object("unsubscribe", |body| {
                body.number("code", u64::from(why.code()));
                body.text("reason", why.reason());
            });
        });
    });
}

/// Appends a list of publications (`hunt::publication`) as a JSON array.
pub fn append_publications(out: &mut Vec<u8>, list: &[u8]) {
    out.push(b'[');
    for (index, body) in protobuf::delimited(list).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let publication = Publication::parse(body);
        debug_assert!(publication.is_ok(), "publications are written by us");
        publication.unwrap_or_default().append_json(out);
    }
    out.push(b']');
}

fn expiry(body: &mut Object<'_>, ttl_s: Option<u32>) {
    body.flag("expires", ttl_s.is_some());
    body.number("ttl", u64::from(ttl_s.unwrap_or(0)));
}

fn reply(out: &mut Vec<u8>, id: u32, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
    object(out, |reply| {
        reply.number("id", u64::from(id));
        reply.object(name, fill);
    });
}

fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object {
        out,
        is_empty: true,
    });
    out.push(b'}');
}

/// An object under construction. Names are ours and need no escapes.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(name);
        object(self.out, fill);
    }

    fn publications(&mut self, list: &[u8]) {
        self.key("publications");
        append_publications(self.out, list);
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text_always(name, text);
        }
    }

    fn text_always(&mut self, name: &str, text: &str) {
        self.key(name);
        // Writing text to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *self.out, text);
    }

    fn number(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.number_always(name, number);
        }
    }

    fn number_always(&mut self, name: &str, number: u64) {
        self.key(name);
        // Writing a number to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *self.out, &number);
    }

    fn flag(&mut self, name: &str, flag: bool) {
        if flag {
            self.key(name);
            self.out.extend_from_slice(b"true");
        }
    }
}
