//! From replies and pushes to JSON.

use crate::hunt::publication::{self, ClientInfo, Publication, append_info_json, append_json_text};
use crate::protobuf::delimited;
use crate::session::codec::message::{
    ConnectResult, Message, Push, Pushed, Reply, SubscribeResult,
};
use crate::session::codes::{Error, Unsubscribe};

/// Appends one object.
pub(in crate::session::codec) fn append(out: &mut Vec<u8>, message: &Message<'_>) {
    object(out, |body| match message {
        Message::Ping => {}
        Message::Reply(id, reply) => {
            body.number("id", u64::from(*id));
            append_reply(body, reply);
        }
        Message::Push(push) => body.object("push", |body| append_push(body, push)),
        Message::BarePush(push) => append_push(body, push),
    });
}

/// Appends a member of a map of subscribe results, a comma in front of it.
pub(in crate::session::codec) fn append_sub(
    out: &mut Vec<u8>,
    channel: &str,
    result: &SubscribeResult<'_>,
) {
    out.push(b',');
    append_json_text(out, channel);
    out.push(b':');
    object(out, |body| subscribe_result(body, result));
}

fn append_reply(out: &mut Object<'_>, reply: &Reply<'_>) {
    match *reply {
        Reply::Error(error) => out.object("error", |body| error_result(body, error)),
        Reply::Connect(result) => out.object("connect", |body| connect_result(body, &result)),
        Reply::Subscribe(result) => out.object("subscribe", |body| subscribe_result(body, &result)),
        Reply::Unsubscribe => out.object("unsubscribe", |_| ()),
        Reply::Publish => out.object("publish", |_| ()),
        Reply::Presence { entries } => out.object("presence", |body| {
            body.object("presence", |body| presence(body, entries));
        }),
        Reply::PresenceStats {
            num_clients,
            num_users,
        } => out.object("presence_stats", |body| {
            body.number_always("num_clients", u64::from(num_clients));
            body.number_always("num_users", u64::from(num_users));
        }),
        Reply::History {
            publications,
            epoch,
            offset,
        } => out.object("history", |body| {
            body.publications("publications", publications);
            body.text_always("epoch", epoch);
            body.number_always("offset", offset);
        }),
        Reply::Rpc { data } => out.object("rpc", |body| body.payload("data", data)),
        Reply::Refresh {
            client,
            version,
            ttl_s,
        } => out.object("refresh", |body| {
            body.text("client", client);
            body.text("version", version);
            expiry(body, ttl_s);
        }),
        Reply::SubRefresh { ttl_s } => out.object("sub_refresh", |body| expiry(body, ttl_s)),
    }
}

fn error_result(body: &mut Object<'_>, error: Error) {
    body.number("code", u64::from(error.code()));
    body.text("message", error.message());
    body.flag("temporary", error.is_temporary());
}

fn connect_result(body: &mut Object<'_>, result: &ConnectResult<'_>) {
    body.text("client", result.client);
    body.text("version", result.version);
    expiry(body, result.ttl_s);
    body.payload("data", result.data);
    // A comma stands in front of each entry.
    if let Some(entries) = result.subs.get(1..) {
        body.object("subs", |subs| subs.out.extend_from_slice(entries));
    }
    body.number("ping", u64::from(result.ping_s));
    body.flag("pong", result.pong);
    body.text("session", result.session);
    body.text("node", result.node);
    body.number("time", result.time_ms);
}

fn subscribe_result(body: &mut Object<'_>, result: &SubscribeResult<'_>) {
    expiry(body, result.ttl_s);
    body.flag("recoverable", result.recoverable);
    body.text("epoch", result.epoch);
    if !result.publications.is_empty() {
        body.publications("publications", result.publications);
    }
    body.flag("recovered", result.recovered);
    body.number("offset", result.offset);
    body.flag("positioned", result.positioned);
    body.payload("data", result.data);
    body.flag("was_recovering", result.was_recovering);
    body.number("id", result.id);
}

/// Members `"client id":ClientInfo`.
fn presence(body: &mut Object<'_>, entries: &[u8]) {
    for info in delimited(entries) {
        let info = ClientInfo::parse(info).unwrap_or_default();
        body.key(info.client);
        info.append_json(body.out);
    }
}

fn append_push(out: &mut Object<'_>, push: &Push<'_>) {
    out.number("id", push.id);
    out.text("channel", push.channel);
    match push.body {
        Pushed::Publication(body) => {
            out.key("pub");
            append_publication(out.out, body);
        }
        Pushed::Join(info) => out.object("join", |body| body.info(info)),
        Pushed::Leave(info) => out.object("leave", |body| body.info(info)),
        Pushed::Unsubscribe(why) => out.object("unsubscribe", |body| unsubscribe(body, why)),
        Pushed::Message(data) => out.object("message", |body| body.payload("data", data)),
        Pushed::Subscribe {
            recoverable,
            epoch,
            offset,
            positioned,
            data,
        } => out.object("subscribe", |body| {
            body.flag("recoverable", recoverable);
            body.text("epoch", epoch);
            body.number("offset", offset);
            body.flag("positioned", positioned);
            body.payload("data", data);
        }),
        Pushed::Connect(result) => out.object("connect", |body| connect_result(body, &result)),
        Pushed::Disconnect { code, reason } => out.object("disconnect", |body| {
            body.number("code", u64::from(code));
            body.text("reason", reason);
        }),
        Pushed::Refresh { ttl_s } => out.object("refresh", |body| expiry(body, ttl_s)),
    }
}

fn unsubscribe(body: &mut Object<'_>, why: Unsubscribe) {
    body.number("code", u64::from(why.code()));
    body.text("reason", why.reason());
}

fn expiry(body: &mut Object<'_>, ttl_s: Option<u32>) {
    body.flag("expires", ttl_s.is_some());
    body.number("ttl", u64::from(ttl_s.unwrap_or(0)));
}

/// Appends an encoded publication as JSON.
fn append_publication(out: &mut Vec<u8>, body: &[u8]) {
    let parsed = Publication::parse(body);
    debug_assert!(parsed.is_ok(), "publications are written by us");
    let null = Publication {
        data: b"null",
        ..Publication::default()
    };
    parsed.unwrap_or(null).append_json(out);
}

fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object {
        out,
        is_empty: true,
    });
    out.push(b'}');
}

/// An object under construction. Names are ours and need no escapes, but for client ids, which are ours
/// too.
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

    /// A list of encoded publications, also an empty one.
    fn publications(&mut self, name: &str, publications: &[u8]) {
        self.key(name);
        publication::append_list_json(self.out, publications);
    }

    fn info(&mut self, info: &[u8]) {
        self.key("info");
        append_info_json(self.out, info);
    }

    fn payload(&mut self, name: &str, json: &[u8]) {
        if !json.is_empty() {
            self.key(name);
            self.out.extend_from_slice(json);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text_always(name, text);
        }
    }

    fn text_always(&mut self, name: &str, text: &str) {
        self.key(name);
        append_json_text(self.out, text);
    }

    fn number(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.number_always(name, number);
        }
    }

    fn number_always(&mut self, name: &str, number: u64) {
        self.key(name);
        publication::append_decimal(self.out, number);
    }

    fn flag(&mut self, name: &str, flag: bool) {
        if flag {
            self.key(name);
            self.out.extend_from_slice(b"true");
        }
    }
}
