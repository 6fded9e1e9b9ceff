//! From replies and pushes to Protocol Buffers.

use crate::hunt::publication::ClientInfo;
use crate::protobuf::{
    append_bytes, append_bytes_always, append_filled, append_message, append_number, delimited,
};
use crate::session::codec::message::{
    ConnectResult, Message, Push, Pushed, Reply, SubscribeResult,
};
use crate::session::codes::{Error, Unsubscribe};

/// Appends one reply behind its length, or a bare push, which stands alone in its frame, without.
pub(in crate::session::codec) fn append(out: &mut Vec<u8>, message: &Message<'_>) {
    match message {
        Message::Ping => append_filled(out, |_| ()),
        Message::Reply(id, reply) => append_filled(out, |out| {
            append_number(out, 1, u64::from(*id));
            append_reply(out, reply);
        }),
        Message::Push(push) => append_filled(out, |out| {
            append_message(out, 4, |out| append_push(out, push));
        }),
        Message::BarePush(push) => append_push(out, push),
    }
}

/// Appends an entry of the map of subscribe results in a connect result.
pub(in crate::session::codec) fn append_sub(
    out: &mut Vec<u8>,
    channel: &str,
    result: &SubscribeResult<'_>,
) {
    append_message(out, 6, |entry| {
        append_bytes(entry, 1, channel.as_bytes());
        append_message(entry, 2, |out| subscribe_result(out, result));
    });
}

fn append_reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    match *reply {
        Reply::Error(error) => append_message(out, 2, |out| error_result(out, error)),
        Reply::Connect(result) => append_message(out, 5, |out| connect_result(out, &result)),
        Reply::Subscribe(result) => append_message(out, 6, |out| subscribe_result(out, &result)),
        Reply::Unsubscribe => append_bytes_always(out, 7, &[]),
        Reply::Publish => append_bytes_always(out, 8, &[]),
        Reply::Presence { entries } => append_message(out, 9, |out| presence(out, entries)),
        Reply::PresenceStats {
            num_clients,
            num_users,
        } => append_message(out, 10, |out| {
            append_number(out, 1, u64::from(num_clients));
            append_number(out, 2, u64::from(num_users));
        }),
        Reply::History {
            publications,
            epoch,
            offset,
        } => append_message(out, 11, |out| {
            append_list(out, 1, publications);
            append_bytes(out, 2, epoch.as_bytes());
            append_number(out, 3, offset);
        }),
        Reply::Rpc { data } => append_message(out, 13, |out| append_bytes(out, 1, data)),
        Reply::Refresh {
            client,
            version,
            ttl_s,
        } => append_message(out, 14, |out| {
            append_bytes(out, 1, client.as_bytes());
            append_bytes(out, 2, version.as_bytes());
            expiry(out, 3, ttl_s);
        }),
        Reply::SubRefresh { ttl_s } => append_message(out, 15, |out| expiry(out, 1, ttl_s)),
    }
}

fn error_result(out: &mut Vec<u8>, error: Error) {
    append_number(out, 1, u64::from(error.code()));
    append_bytes(out, 2, error.message().as_bytes());
    append_flag(out, 3, error.is_temporary());
}

fn connect_result(out: &mut Vec<u8>, result: &ConnectResult<'_>) {
    append_bytes(out, 1, result.client.as_bytes());
    append_bytes(out, 2, result.version.as_bytes());
    expiry(out, 3, result.ttl_s);
    append_bytes(out, 5, result.data);
    out.extend_from_slice(result.subs);
    append_number(out, 7, u64::from(result.ping_s));
    append_flag(out, 8, result.pong);
    append_bytes(out, 9, result.session.as_bytes());
    append_bytes(out, 10, result.node.as_bytes());
    append_number(out, 11, result.time_ms);
}

fn subscribe_result(out: &mut Vec<u8>, result: &SubscribeResult<'_>) {
    expiry(out, 1, result.ttl_s);
    append_flag(out, 3, result.recoverable);
    append_bytes(out, 6, result.epoch.as_bytes());
    append_list(out, 7, result.publications);
    append_flag(out, 8, result.recovered);
    append_number(out, 9, result.offset);
    append_flag(out, 10, result.positioned);
    append_bytes(out, 11, result.data);
    append_flag(out, 12, result.was_recovering);
    append_number(out, 14, result.id);
}

/// Entries of a map from client id to `ClientInfo`.
fn presence(out: &mut Vec<u8>, entries: &[u8]) {
    for info in delimited(entries) {
        let client = ClientInfo::parse(info).unwrap_or_default().client;
        append_message(out, 1, |entry| {
            append_bytes(entry, 1, client.as_bytes());
            append_bytes_always(entry, 2, info);
        });
    }
}

fn append_push(out: &mut Vec<u8>, push: &Push<'_>) {
    append_number(out, 1, push.id);
    append_bytes(out, 2, push.channel.as_bytes());
    match push.body {
        Pushed::Publication(body) => append_bytes_always(out, 4, body),
        Pushed::Join(info) => append_message(out, 5, |out| append_bytes_always(out, 1, info)),
        Pushed::Leave(info) => append_message(out, 6, |out| append_bytes_always(out, 1, info)),
        Pushed::Unsubscribe(why) => append_message(out, 7, |out| unsubscribe(out, why)),
        Pushed::Message(data) => append_message(out, 8, |out| append_bytes(out, 1, data)),
        Pushed::Subscribe {
            recoverable,
            epoch,
            offset,
            positioned,
            data,
        } => append_message(out, 9, |out| {
            append_flag(out, 1, recoverable);
            append_bytes(out, 4, epoch.as_bytes());
            append_number(out, 5, offset);
            append_flag(out, 6, positioned);
            append_bytes(out, 7, data);
        }),
        Pushed::Connect(result) => append_message(out, 10, |out| connect_result(out, &result)),
        Pushed::Disconnect { code, reason } => append_message(out, 11, |out| {
            append_number(out, 1, u64::from(code));
            append_bytes(out, 2, reason.as_bytes());
        }),
        Pushed::Refresh { ttl_s } => append_message(out, 12, |out| expiry(out, 1, ttl_s)),
    }
}

fn unsubscribe(out: &mut Vec<u8>, why: Unsubscribe) {
    append_number(out, 2, u64::from(why.code()));
    append_bytes(out, 3, why.reason().as_bytes());
}

/// `expires` as field `number`, and `ttl` as the next.
fn expiry(out: &mut Vec<u8>, number: u32, ttl_s: Option<u32>) {
    append_flag(out, number, ttl_s.is_some());
    append_number(out, number + 1, u64::from(ttl_s.unwrap_or(0)));
}

fn append_flag(out: &mut Vec<u8>, number: u32, flag: bool) {
    append_number(out, number, u64::from(flag));
}

fn append_list(out: &mut Vec<u8>, number: u32, list: &[u8]) {
    for body in delimited(list) {
        append_bytes_always(out, number, body);
    }
}
