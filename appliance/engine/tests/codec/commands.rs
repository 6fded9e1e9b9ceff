//! What players ask.

use std::collections::BTreeMap;

use engine::protobuf::append_delimited;
use engine::session::codec::{
    BadCommand, Body, Command, Protocol, Subscribe, is_pong, take_command,
};
use proptest::prelude::*;
use prost::Message as _;

use crate::{Parts, parts, schema};

fn take<'a>(message: &mut &'a [u8]) -> Result<Command<'a>, BadCommand> {
    take_command(Protocol::Protobuf, message)
}

fn only(message: &[u8]) -> Result<Command<'_>, BadCommand> {
    let mut rest = message;
    let command = take(&mut rest)?;
    assert!(rest.is_empty());
    Ok(command)
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
}

#[test]
fn a_pong_is_one_zero_byte() {
    assert!(is_pong(Protocol::Protobuf, &[0]));
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
