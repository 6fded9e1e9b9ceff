//! What players are told.

use std::collections::BTreeMap;

use engine::hunt::publication::{self, ClientInfo};
use engine::protobuf::append_delimited;
use engine::session::codec::{
    ConnectResult, Message, Protocol, Push, Pushed, Reply, SubscribeResult, append, append_sub,
};
use engine::session::codes::{Error, Unsubscribe};
use proptest::prelude::*;
use prost::Message as _;

use crate::{Parts, parts, schema};

proptest! {
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
fn a_ping_is_one_zero_byte() {
    let mut out = Vec::new();
    append(Protocol::Protobuf, &mut out, &Message::Ping);
    assert_eq!(out, [0]);
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
        append_delimited(&mut entries, info);
        append_delimited(&mut entries, b"\x12\x06nobody");
        entries.leak()
    };
    let nobody = schema::ClientInfo {
        client: "nobody".to_owned(),
        ..schema::ClientInfo::default()
    };
    let presence = BTreeMap::from([
        ("nobody".to_owned(), nobody),
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
