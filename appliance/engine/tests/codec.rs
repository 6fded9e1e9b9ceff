//! Our codec of Protocol Buffers against another one ([`schema`]): what it writes we read and what we
//! write it reads, field by field; and any bytes at all are commands or a refusal.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod schema;

use std::collections::BTreeMap;

use engine::hunt::publication::{self, ClientInfo};
use engine::protobuf::append_delimited;
use engine::session::codec::{
    BadCommand, Body, Command, ConnectResult, Message, Protocol, Push, Pushed, Reply, Subscribe,
    SubscribeResult, append, append_sub, is_pong, take_command,
};
use engine::session::codes::{Error, Unsubscribe};
use proptest::prelude::*;
use prost::Message as _;

fn take<'a>(message: &mut &'a [u8]) -> Result<Command<'a>, BadCommand> {
    take_command(Protocol::Protobuf, message)
}

fn only(message: &[u8]) -> Result<Command<'_>, BadCommand> {
    let mut rest = message;
    let command = take(&mut rest)?;
    assert!(rest.is_empty());
    Ok(command)
}

/// One value for every kind of field; each message takes those it has.
#[derive(Debug, Clone)]
struct Parts {
    id: u32,
    text: [String; 3],
    data: Vec<u8>,
    number: u64,
    signed: i32,
    flags: [bool; 4],
    /// Fields of no number of ours, by an encoder of a later version.
    unknown: Vec<u8>,
}

fn unknown() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        (100u32..1 << 29, any::<u64>()).prop_map(|(number, value)| {
            let mut out = Vec::new();
            prost::encoding::uint64::encode(number, &value, &mut out);
            out
        }),
        (100u32..1 << 29, any::<Vec<u8>>()).prop_map(|(number, value)| {
            let mut out = Vec::new();
            prost::encoding::bytes::encode(number, &value, &mut out);
            out
        }),
        any::<(u64, u32)>().prop_map(|(eight, four)| {
            let mut out = Vec::new();
            prost::encoding::fixed64::encode(101, &eight, &mut out);
            prost::encoding::fixed32::encode(102, &four, &mut out);
            out
        }),
    ];
    prop::collection::vec(field, 0..3).prop_map(|fields| fields.concat())
}

fn parts() -> impl Strategy<Value = Parts> {
    (
        1u32..,
        any::<[String; 3]>(),
        any::<(Vec<u8>, u64, i32)>(),
        any::<[bool; 4]>(),
        unknown(),
    )
        .prop_map(|(id, text, (data, number, signed), flags, unknown)| Parts {
            id,
            text,
            data,
            number,
            signed,
            flags,
            unknown,
        })
}

impl Parts {
    fn subscribe(&self) -> schema::SubscribeRequest {
        let [channel, token, epoch] = self.text.clone();
        let [recover, positioned, recoverable, join_leave] = self.flags;
        schema::SubscribeRequest {
            channel,
            token,
            recover,
            epoch,
            offset: self.number,
            data: self.data.clone(),
            positioned,
            recoverable,
            join_leave,
            delta: "fossil".to_owned(),
            tf: recover.then_some(schema::Empty {}),
            flag: self.number / 2,
            kind: self.signed,
        }
    }

    fn connect(&self) -> schema::ConnectRequest {
        let [token, name, version] = self.text.clone();
        let sub = self.subscribe();
        let other = schema::SubscribeRequest::default();
        schema::ConnectRequest {
            token: token.clone(),
            data: self.data.clone(),
            subs: BTreeMap::from([(token, sub), (name.clone(), other)]),
            name,
            version,
            headers: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            flag: self.signed.into(),
        }
    }

    /// Every command there is.
    fn commands(&self) -> Vec<schema::Command> {
        let [channel, token, epoch] = self.text.clone();
        let with = |set: &dyn Fn(&mut schema::Command)| {
            let mut command = schema::Command {
                id: self.id,
                ..schema::Command::default()
            };
            set(&mut command);
            command
        };
        let about = Some(schema::ChannelRequest {
            channel: channel.clone(),
        });
        let data = self.data.clone();
        let publish = schema::PublishRequest {
            channel: channel.clone(),
            data: data.clone(),
        };
        let history = schema::HistoryRequest {
            channel: channel.clone(),
            limit: self.signed,
            since: self.flags[0].then_some(schema::StreamPosition {
                offset: self.number,
                epoch,
            }),
            reverse: self.flags[1],
        };
        let rpc = schema::RpcRequest {
            data: data.clone(),
            method: channel.clone(),
        };
        let refresh = schema::RefreshRequest {
            token: token.clone(),
        };
        let sub_refresh = schema::SubRefreshRequest { channel, token };
        let send = schema::SendRequest { data };
        vec![
            with(&|command| command.connect = Some(self.connect())),
            with(&|command| command.subscribe = Some(self.subscribe())),
            with(&|command| command.unsubscribe = about.clone()),
            with(&|command| command.publish = Some(publish.clone())),
            with(&|command| command.presence = about.clone()),
            with(&|command| command.presence_stats = about.clone()),
            with(&|command| command.history = Some(history.clone())),
            with(&|command| command.ping = Some(schema::Empty {})),
            with(&|command| command.send = Some(send.clone())),
            with(&|command| command.rpc = Some(rpc.clone())),
            with(&|command| command.refresh = Some(refresh.clone())),
            with(&|command| command.sub_refresh = Some(sub_refresh.clone())),
        ]
    }
}

fn subscribe_again(subscribe: &Subscribe<'_>) -> schema::SubscribeRequest {
    schema::SubscribeRequest {
        channel: subscribe.channel.to_string(),
        token: subscribe.token.to_string(),
        recover: subscribe.recover,
        epoch: subscribe.epoch.to_string(),
        offset: subscribe.offset,
        data: subscribe.data.to_vec(),
        positioned: subscribe.positioned,
        recoverable: subscribe.recoverable,
        join_leave: subscribe.join_leave,
        delta: subscribe.delta.to_string(),
        tf: subscribe.has_filter.then_some(schema::Empty {}),
        flag: subscribe.flag,
        kind: subscribe.kind,
    }
}

/// The other implementation's form of what we read; the fields that we skip are left empty.
fn again(command: &Command<'_>) -> schema::Command {
    let mut out = schema::Command {
        id: command.id,
        ..schema::Command::default()
    };
    let about = |channel: &str| {
        Some(schema::ChannelRequest {
            channel: channel.to_owned(),
        })
    };
    match &command.body {
        Body::Pong => {}
        Body::Ping => out.ping = Some(schema::Empty {}),
        Body::Connect(connect) => {
            let mut subs = BTreeMap::new();
            connect.subs.for_each(|sub| {
                let channel = sub.channel.to_string();
                let sub = subscribe_again(sub);
                subs.insert(channel, sub);
            });
            out.connect = Some(schema::ConnectRequest {
                token: connect.token.to_string(),
                data: connect.data.to_vec(),
                subs,
                name: connect.name.to_string(),
                version: connect.version.to_string(),
                ..schema::ConnectRequest::default()
            });
        }
        Body::Subscribe(subscribe) => out.subscribe = Some(subscribe_again(subscribe)),
        Body::Unsubscribe(request) => out.unsubscribe = about(&request.channel),
        Body::Presence(request) => out.presence = about(&request.channel),
        Body::PresenceStats(request) => out.presence_stats = about(&request.channel),
        Body::Publish(publish) => {
            out.publish = Some(schema::PublishRequest {
                channel: publish.channel.to_string(),
                data: publish.data.to_vec(),
            });
        }
        Body::History(history) => {
            let since = history.since.as_ref().map(|since| schema::StreamPosition {
                offset: since.offset,
                epoch: since.epoch.to_string(),
            });
            out.history = Some(schema::HistoryRequest {
                channel: history.channel.to_string(),
                limit: history.limit,
                since,
                reverse: history.reverse,
            });
        }
        Body::Send(send) => {
            out.send = Some(schema::SendRequest {
                data: send.data.to_vec(),
            })
        }
        Body::Rpc(rpc) => {
            out.rpc = Some(schema::RpcRequest {
                data: rpc.data.to_vec(),
                method: rpc.method.to_string(),
            });
        }
        Body::Refresh(refresh) => {
            out.refresh = Some(schema::RefreshRequest {
                token: refresh.token.to_string(),
            });
        }
        Body::SubRefresh(request) => {
            out.sub_refresh = Some(schema::SubRefreshRequest {
                channel: request.channel.to_string(),
                token: request.token.to_string(),
            });
        }
    }
    out
}

/// What we should have read of `command`: the hunt of an entry is its key, and some fields are skipped.
fn as_read(command: &schema::Command) -> schema::Command {
    let mut command = command.clone();
    if let Some(connect) = &mut command.connect {
        connect.headers.clear();
        connect.flag = 0;
        for (channel, sub) in &mut connect.subs {
            sub.channel.clone_from(channel);
        }
    }
    command
}

proptest! {
    /// Any run of commands in one message, and fields of a later version between ours.
    #[test]
    fn what_another_writes_we_read(all in prop::collection::vec(parts(), 1..3)) {
        let commands: Vec<_> = all.iter().flat_map(Parts::commands).collect();
        let mut message = Vec::new();
        for command in &commands {
            append_delimited(&mut message, &[&all[0].unknown, &command.encode_to_vec()[..]].concat());
        }
        let mut rest = &message[..];
        for command in &commands {
            let read = take(&mut rest).unwrap();
            prop_assert_eq!(again(&read), as_read(command));
        }
        prop_assert!(rest.is_empty());
    }

    /// Unknown fields inside of a request.
    #[test]
    fn later_fields_of_a_request_are_skipped(parts in parts()) {
        let subscribe = parts.subscribe().encode_to_vec();
        let body = [&parts.unknown, &subscribe[..], &parts.unknown[..]].concat();
        let mut command = Vec::new();
        prost::encoding::uint32::encode(1, &parts.id, &mut command);
        prost::encoding::bytes::encode(5, &body, &mut command);
        let mut message = Vec::new();
        append_delimited(&mut message, &command);
        let wanted = schema::Command {
            id: parts.id, subscribe: Some(parts.subscribe()), ..schema::Command::default()
        };
        prop_assert_eq!(again(&only(&message).unwrap()), wanted);
    }

    #[test]
    fn a_strangers_bytes_are_commands_or_refused(
        noise: Vec<u8>, parts in parts(), which: prop::sample::Index, at: prop::sample::Index,
        cut in 0usize..20,
    ) {
        let commands = parts.commands();
        let mut message = commands[which.index(commands.len())].encode_length_delimited_to_vec();
        let at = at.index(message.len() + 1);
        message.splice(at..(at + cut).min(message.len()), noise.iter().copied());
        for message in [noise, message] {
            let mut rest = &message[..];
            while !rest.is_empty() && take(&mut rest).is_ok() {}
        }
    }

    /// Whatever is cut off, the last command is refused: half of one is never taken for a whole.
    #[test]
    fn half_a_command_is_none(parts in parts(), cut: prop::sample::Index) {
        for command in parts.commands() {
            let whole = command.encode_length_delimited_to_vec();
            prop_assert_eq!(only(&whole[..cut.index(whole.len())]), Err(BadCommand));
        }
    }

    #[test]
    fn what_we_write_another_reads(parts in parts()) {
        let (info, body, list) = parts.encoded();
        for (reply, wanted) in replies(&parts, &info, &list) {
            let mut out = b"before".to_vec();
            append(Protocol::Protobuf, &mut out, &Message::Reply(parts.id, reply));
            let read = schema::Reply::decode_length_delimited(&out[6..]).unwrap();
            prop_assert_eq!(read, schema::Reply { id: parts.id, ..wanted });
        }
        for (body, wanted) in pushes(&parts, &info, &body, &list) {
            let push = Push { channel: &parts.text[0], id: parts.number >> 1, body };
            let wanted = schema::Push {
                channel: parts.text[0].clone(), id: (parts.number >> 1).cast_signed(), ..wanted
            };
            let mut out = Vec::new();
            append(Protocol::Protobuf, &mut out, &Message::BarePush(push));
            prop_assert_eq!(&schema::Push::decode(&out[..]).unwrap(), &wanted);
            out.clear();
            append(Protocol::Protobuf, &mut out, &Message::Push(push));
            let read = schema::Reply::decode_length_delimited(&out[..]).unwrap();
            prop_assert_eq!(read, schema::Reply { push: Some(wanted), ..schema::Reply::default() });
        }
    }
}

#[test]
fn pings_and_pongs_are_one_zero_byte() {
    let mut out = Vec::new();
    append(Protocol::Protobuf, &mut out, &Message::Ping);
    assert_eq!(out, [0]);
    assert!(is_pong(Protocol::Protobuf, &out));
    assert!(!is_pong(Protocol::Protobuf, b"") && !is_pong(Protocol::Protobuf, b"{}"));
    let pong = Command {
        id: 0,
        body: Body::Pong,
    };
    assert_eq!(only(&[0]).unwrap(), pong);
    // Written out in full.
    assert_eq!(only(&[2, 0x08, 0]).unwrap(), pong);
}

#[test]
fn what_is_not_a_command() {
    let key = |number: u8, wire_type: u8| number << 3 | wire_type;
    for (message, why) in [
        (&b""[..], "no command"),
        (b"\x05\x08\x01", "cut short"),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "an absurd length",
        ),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "no length"),
        (b"{}", "JSON"),
        (&[2, key(1, 0), 5], "an id without a body"),
        (&[2, key(5, 2), 0], "a body without an id"),
        (&[2, key(11, 2), 0], "a ping without an id"),
        (&[3, 0xa2, 1, 0], "only something unknown"),
        (&[6, key(1, 0), 1, key(5, 2), 0, key(6, 2), 0], "two bodies"),
        (
            &[6, key(1, 0), 1, key(5, 2), 0, key(5, 2), 0],
            "a body twice",
        ),
        (
            &[8, key(1, 0), 0x80, 0x80, 0x80, 0x80, 0x10, key(5, 2), 0],
            "an id of 33 bits",
        ),
        (&[4, key(1, 0), 1, key(5, 0), 0], "a body that is a number"),
        (&[4, key(1, 2), 0, key(5, 2), 0], "an id that is text"),
        (
            &[7, key(1, 0), 1, key(6, 2), 3, key(1, 2), 1, 0xff],
            "not UTF-8",
        ),
        (
            &[6, key(1, 0), 1, key(6, 2), 2, key(1, 0), 1],
            "a channel that is a number",
        ),
        (
            &[6, key(1, 0), 1, key(6, 2), 2, key(1, 2), 9],
            "a channel cut short",
        ),
        (&[5, key(1, 0), 1, key(9, 3), key(9, 4), 0], "a group"),
        (
            &[7, key(1, 0), 1, key(4, 2), 3, key(3, 2), 1, 0xff],
            "a broken subscription",
        ),
    ] {
        let mut rest = message;
        assert_eq!(take(&mut rest), Err(BadCommand), "{why}");
    }
}

impl Parts {
    /// A `ClientInfo`, a `Publication` with it, and a list of that one and an empty one.
    fn encoded(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (mut info, mut tags) = (Vec::new(), Vec::new());
        let client_info = ClientInfo {
            user: &self.text[0],
            client: &self.text[1],
            conn_info: &self.data,
            chan_info: b"1",
        };
        client_info.append(&mut info);
        publication::append_tag(&mut tags, &self.text[2], &self.text[0]);
        let publication = publication::Publication {
            data: &self.data,
            info: &info,
            offset: self.number,
            tags: &tags,
        };
        let (mut body, mut list) = (Vec::new(), Vec::new());
        publication.append(&mut body);
        append_delimited(&mut list, &body);
        append_delimited(&mut list, &[]);
        (info, body, list)
    }

    fn info(&self) -> schema::ClientInfo {
        schema::ClientInfo {
            user: self.text[0].clone(),
            client: self.text[1].clone(),
            conn_info: self.data.clone(),
            chan_info: b"1".to_vec(),
        }
    }

    fn publication(&self) -> schema::Publication {
        schema::Publication {
            data: self.data.clone(),
            info: Some(self.info()),
            offset: self.number,
            tags: BTreeMap::from([(self.text[2].clone(), self.text[0].clone())]),
        }
    }

    fn publications(&self) -> Vec<schema::Publication> {
        vec![self.publication(), schema::Publication::default()]
    }

    fn ttl_s(&self) -> Option<u32> {
        self.flags[0].then_some(self.id)
    }

    fn ttl(&self) -> u32 {
        self.ttl_s().unwrap_or(0)
    }

    fn subscribe_result<'a>(
        &'a self,
        list: &'a [u8],
    ) -> (SubscribeResult<'a>, schema::SubscribeResult) {
        let [expires, recoverable, recovered, positioned] = self.flags;
        let result = SubscribeResult {
            ttl_s: self.ttl_s(),
            recoverable,
            epoch: &self.text[1],
            publications: list,
            recovered,
            offset: self.number,
            positioned,
            data: &self.data,
            was_recovering: recovered,
            id: self.number / 2,
            ..SubscribeResult::default()
        };
        let wanted = schema::SubscribeResult {
            expires,
            ttl: self.ttl(),
            recoverable,
            epoch: self.text[1].clone(),
            publications: self.publications(),
            recovered,
            offset: self.number,
            positioned,
            data: self.data.clone(),
            was_recovering: recovered,
            delta: false,
            id: (self.number / 2).cast_signed(),
        };
        (result, wanted)
    }

    fn connect_result<'a>(&'a self, subs: &'a [u8]) -> ConnectResult<'a> {
        ConnectResult {
            client: &self.text[0],
            version: &self.text[1],
            ttl_s: self.ttl_s(),
            data: &self.data,
            subs,
            ping_s: self.id,
            pong: self.flags[1],
            session: &self.text[2],
            node: &self.text[0],
            time_ms: self.number / 2,
        }
    }

    /// What a connect result with the subscription `sub` is for the other.
    fn connect_wanted(&self, sub: Option<schema::SubscribeResult>) -> schema::ConnectResult {
        schema::ConnectResult {
            client: self.text[0].clone(),
            version: self.text[1].clone(),
            expires: self.flags[0],
            ttl: self.ttl(),
            data: self.data.clone(),
            subs: sub
                .into_iter()
                .map(|sub| (self.text[2].clone(), sub))
                .collect(),
            ping: self.id,
            pong: self.flags[1],
            session: self.text[2].clone(),
            node: self.text[0].clone(),
            time: (self.number / 2).cast_signed(),
        }
    }
}

/// Every reply but the connect's, which stands among the pushes too, and what the other reads.
fn replies<'a>(
    parts: &'a Parts,
    info: &'a [u8],
    list: &'a [u8],
) -> Vec<(Reply<'a>, schema::Reply)> {
    let empty = schema::Reply::default;
    let (subscribe, wanted) = parts.subscribe_result(list);
    let entries: &'a [u8] = {
        let mut entries = Vec::new();
        for part in [parts.text[1].as_bytes(), info, b"nobody", b""] {
            append_delimited(&mut entries, part);
        }
        entries.leak()
    };
    let presence = BTreeMap::from([
        ("nobody".to_owned(), schema::ClientInfo::default()),
        (parts.text[1].clone(), parts.info()),
    ]);
    let stats = schema::PresenceStatsResult {
        num_clients: parts.id,
        num_users: parts.id / 2,
    };
    let error = schema::Error {
        code: 111,
        message: "too many requests".to_owned(),
        temporary: true,
    };
    let history = schema::HistoryResult {
        publications: parts.publications(),
        epoch: parts.text[0].clone(),
        offset: parts.number,
    };
    let refresh = schema::RefreshResult {
        client: parts.text[0].clone(),
        version: parts.text[1].clone(),
        expires: parts.flags[0],
        ttl: parts.ttl(),
    };
    let expiry = schema::Expiry {
        expires: parts.flags[0],
        ttl: parts.ttl(),
    };
    let rpc = schema::RpcResult {
        data: parts.data.clone(),
    };
    vec![
        (
            Reply::Error(Error::TooManyRequests),
            schema::Reply {
                error: Some(error),
                ..empty()
            },
        ),
        (
            Reply::Subscribe(subscribe),
            schema::Reply {
                subscribe: Some(wanted),
                ..empty()
            },
        ),
        (
            Reply::Unsubscribe,
            schema::Reply {
                unsubscribe: Some(schema::Empty {}),
                ..empty()
            },
        ),
        (
            Reply::Publish,
            schema::Reply {
                publish: Some(schema::Empty {}),
                ..empty()
            },
        ),
        (
            Reply::Presence { entries },
            schema::Reply {
                presence: Some(schema::PresenceResult { presence }),
                ..empty()
            },
        ),
        (
            Reply::PresenceStats {
                num_clients: parts.id,
                num_users: parts.id / 2,
            },
            schema::Reply {
                presence_stats: Some(stats),
                ..empty()
            },
        ),
        (
            Reply::History {
                publications: list,
                epoch: &parts.text[0],
                offset: parts.number,
            },
            schema::Reply {
                history: Some(history),
                ..empty()
            },
        ),
        (
            Reply::Rpc { data: &parts.data },
            schema::Reply {
                rpc: Some(rpc),
                ..empty()
            },
        ),
        (
            Reply::Refresh {
                client: &parts.text[0],
                version: &parts.text[1],
                ttl_s: parts.ttl_s(),
            },
            schema::Reply {
                refresh: Some(refresh),
                ..empty()
            },
        ),
        (
            Reply::SubRefresh {
                ttl_s: parts.ttl_s(),
            },
            schema::Reply {
                sub_refresh: Some(expiry),
                ..empty()
            },
        ),
    ]
}

/// Every push, and what the other reads.
fn pushes<'a>(
    parts: &'a Parts,
    info: &'a [u8],
    body: &'a [u8],
    list: &'a [u8],
) -> Vec<(Pushed<'a>, schema::Push)> {
    let empty = schema::Push::default;
    let about = || {
        Some(schema::About {
            info: Some(parts.info()),
        })
    };
    let (sub, wanted_sub) = parts.subscribe_result(list);
    let subs: &'a [u8] = {
        let mut subs = Vec::new();
        append_sub(Protocol::Protobuf, &mut subs, &parts.text[2], &sub);
        subs.leak()
    };
    let unsubscribe = schema::Unsubscribe {
        code: 2500,
        reason: "insufficient state".to_owned(),
    };
    let subscribe = schema::Subscribe {
        recoverable: parts.flags[0],
        epoch: parts.text[0].clone(),
        offset: parts.number,
        positioned: parts.flags[1],
        data: parts.data.clone(),
    };
    let disconnect = schema::Disconnect {
        code: 3001,
        reason: parts.text[1].clone(),
        reconnect: false,
    };
    let expiry = schema::Expiry {
        expires: parts.flags[0],
        ttl: parts.ttl(),
    };
    let message = schema::RpcResult {
        data: parts.data.clone(),
    };
    let connected = parts.connect_wanted(Some(wanted_sub));
    vec![
        (
            Pushed::Publication(body),
            schema::Push {
                publication: Some(parts.publication()),
                ..empty()
            },
        ),
        (
            Pushed::Join(info),
            schema::Push {
                join: about(),
                ..empty()
            },
        ),
        (
            Pushed::Leave(info),
            schema::Push {
                leave: about(),
                ..empty()
            },
        ),
        (
            Pushed::Unsubscribe(Unsubscribe::InsufficientState),
            schema::Push {
                unsubscribe: Some(unsubscribe),
                ..empty()
            },
        ),
        (
            Pushed::Subscribe {
                recoverable: parts.flags[0],
                epoch: &parts.text[0],
                offset: parts.number,
                positioned: parts.flags[1],
                data: &parts.data,
            },
            schema::Push {
                subscribe: Some(subscribe),
                ..empty()
            },
        ),
        (
            Pushed::Message(&parts.data),
            schema::Push {
                message: Some(message),
                ..empty()
            },
        ),
        (
            Pushed::Connect(parts.connect_result(subs)),
            schema::Push {
                connect: Some(connected),
                ..empty()
            },
        ),
        (
            Pushed::Disconnect {
                code: 3001,
                reason: &parts.text[1],
            },
            schema::Push {
                disconnect: Some(disconnect),
                ..empty()
            },
        ),
        (
            Pushed::Refresh {
                ttl_s: parts.ttl_s(),
            },
            schema::Push {
                refresh: Some(expiry),
                ..empty()
            },
        ),
    ]
}
