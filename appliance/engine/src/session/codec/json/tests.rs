//! The wire samples of the protocol, each rule of what is a command, and noise.

use std::borrow::Cow;

use proptest::prelude::*;

use crate::hunt::publication::{ClientInfo, Publication};
use crate::protobuf::append_filled;
use crate::session::codec::*;
use crate::session::codes::{Error, Unsubscribe as Why};

/// The commands of a message up to the first that is bad.
fn commands(message: &[u8]) -> Vec<Result<Command<'_>, BadCommand>> {
    let (mut rest, mut commands) = (message, Vec::new());
    loop {
        let command = take_command(Protocol::Json, &mut rest);
        let ends = command.is_err() || rest.is_empty();
        commands.push(command);
        if ends {
            return commands;
        }
    }
}

/// The only command of a message.
fn command(message: &str) -> Command<'_> {
    let mut commands = commands(message.as_bytes());
    assert_eq!(commands.len(), 1, "{message}");
    commands.remove(0).unwrap_or_else(|_| panic!("{message}"))
}

fn is_bad(message: &[u8]) -> bool {
    commands(message)[0].is_err()
}

fn text(message: &Message<'_>) -> String {
    let mut out = Vec::new();
    append(Protocol::Json, &mut out, message);
    String::from_utf8(out).unwrap()
}

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn connect_and_subscribe_in_one_frame() {
    let message = concat!(
        r#"{"id":1,"connect":{"token":"eyJ","name":"js"}}"#,
        "\n",
        r#"{"id":2,"subscribe":{"channel":"hunt:42","flag":1,"recover":true,"epoch":"kqZx","offset":17}}"#,
    );
    for message in [message.to_owned(), format!("{message}\n")] {
        let all = commands(message.as_bytes());
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            all.iter().map(|command| command.id).collect::<Vec<_>>(),
            [1, 2]
        );
        let Body::Connect(connect) = &all[0].body else {
            panic!("{all:?}")
        };
        assert_eq!(connect.token, "eyJ");
        assert_eq!(connect.name, "js");
        let Body::Subscribe(subscribe) = &all[1].body else {
            panic!("{all:?}")
        };
        assert!(matches!(subscribe.channel, Cow::Borrowed("hunt:42")));
        assert!(subscribe.recover && !subscribe.recoverable && !subscribe.has_filter);
        assert_eq!(
            (&*subscribe.epoch, subscribe.offset, subscribe.flag),
            ("kqZx", 17, 1)
        );
        assert_eq!((&*subscribe.delta, subscribe.kind), ("", 0));
    }
}

#[test]
fn every_kind_of_command() {
    let channel = Cow::Borrowed("h");
    let token = Cow::Borrowed("t");
    let publish = |data| {
        Body::Publish(Publish {
            channel: Cow::Borrowed("h"),
            data,
        })
    };
    for (message, wanted) in [
        (
            r#"{"id":3,"unsubscribe":{"channel":"h"}}"#,
            Body::Unsubscribe(Unsubscribe {
                channel: channel.clone(),
            }),
        ),
        (
            r#"{"id":4,"publish":{"channel":"h","data":{"a": [1]}}}"#,
            publish(br#"{"a": [1]}"#),
        ),
        (
            r#"{"id":4,"publish":{"channel":"h","data":null}}"#,
            publish(b"null"),
        ),
        (r#"{"id":4,"publish":{"channel":"h"}}"#, publish(b"")),
        (
            r#"{"id":5,"presence":{"channel":"h"}}"#,
            Body::Presence(Presence {
                channel: channel.clone(),
            }),
        ),
        (
            r#"{"id":6,"presence_stats":{"channel":"h"}}"#,
            Body::PresenceStats(PresenceStats {
                channel: channel.clone(),
            }),
        ),
        (
            r#"{"id":7,"history":{"channel":"h","limit":-1,"since":{"offset":18446744073709551615,"epoch":"e"},"reverse":true}}"#,
            Body::History(History {
                channel: channel.clone(),
                limit: -1,
                since: Some(Since {
                    offset: u64::MAX,
                    epoch: Cow::Borrowed("e"),
                }),
                reverse: true,
            }),
        ),
        (
            r#"{"history":{"channel":"h","since":null,"limit":null},"id":7}"#,
            Body::History(History {
                channel: channel.clone(),
                ..History::default()
            }),
        ),
        (r#"{"id":8,"ping":{}}"#, Body::Ping),
        (
            r#"{"send":{"data":[1]}}"#,
            Body::Send(Send { data: b"[1]" }),
        ),
        (
            r#"{"id":9,"rpc":{"method":"m","data":""}}"#,
            Body::Rpc(Rpc {
                method: Cow::Borrowed("m"),
                data: b"\"\"",
            }),
        ),
        (
            r#"{"id":10,"refresh":{"token":"t"}}"#,
            Body::Refresh(Refresh {
                token: token.clone(),
            }),
        ),
        (
            r#"{"id":11,"sub_refresh":{"channel":"h","token":"t","track":[1]}}"#,
            Body::SubRefresh(SubRefresh { channel, token }),
        ),
    ] {
        assert_eq!(command(message).body, wanted);
    }
}

#[test]
fn what_the_session_must_judge_is_told() {
    let message = concat!(
        r#"{"id":1,"subscribe":{"channel":"h","tf":{"op":"eq"},"delta":"fossil","type":1,"#,
        r#""positioned":true,"recoverable":true,"join_leave":true,"token":null,"data":{}}}"#,
    );
    let Body::Subscribe(subscribe) = command(message).body else {
        panic!()
    };
    assert!(subscribe.has_filter && subscribe.positioned && subscribe.recoverable);
    assert!(subscribe.join_leave && subscribe.token.is_empty());
    assert_eq!((&*subscribe.delta, subscribe.kind), ("fossil", 1));
    assert_eq!(subscribe.data, b"{}");
    let message = concat!(
        r#"{"id":1,"connect":{"token":"","data":1,"headers":{"x":"y"},"subs":{"a":{},"#,
        r#""\u0062":{"recover":true,"epoch":"e","offset":7,"channel":"x"}, "c":null}}}"#,
    );
    let Body::Connect(connect) = command(message).body else {
        panic!()
    };
    assert_eq!((&*connect.token, connect.data), ("", &b"1"[..]));
    let mut subs = Vec::new();
    connect.subs.for_each(|sub| {
        subs.push((
            sub.channel.to_string(),
            sub.recover,
            sub.epoch.to_string(),
            sub.offset,
        ));
    });
    let sub = |channel: &str, recover, epoch: &str, offset| {
        (channel.to_owned(), recover, epoch.to_owned(), offset)
    };
    assert_eq!(
        subs,
        [
            sub("a", false, "", 0),
            sub("b", true, "e", 7),
            sub("c", false, "", 0)
        ]
    );
}

#[test]
fn escapes_are_read() {
    let Body::Unsubscribe(unsubscribe) =
        command(r#"{"id":1,"\u0075nsubscribe":{"channel":"\u00e4\n\"\\"}}"#).body
    else {
        panic!()
    };
    assert_eq!(unsubscribe.channel, "ä\n\"\\");
}

#[test]
fn pongs() {
    for message in ["{}", "{}\n", "{ }", r#"{"id":0}"#, r#"{"id":null}"#] {
        assert!(
            matches!(
                command(message),
                Command {
                    id: 0,
                    body: Body::Pong
                }
            ),
            "{message}"
        );
    }
    for (message, yes) in [
        ("{}", true),
        ("{}\n", true),
        ("", false),
        ("{}{}", false),
        ("{}\n\n", false),
    ] {
        assert_eq!(is_pong(Protocol::Json, message.as_bytes()), yes);
    }
}

#[test]
fn what_is_not_a_command() {
    for message in [
        "",
        "\n",
        "\n{}",
        " ",
        "null",
        "[]",
        "[1]",
        "{",
        "{}{}",
        "{} x",
        "\u{feff}{}",
        r#"{"id":1}"#,
        r#"{"id":1,"unknown":{}}"#,
        r#"{"unknown":{}}"#,
        r#"{"id":1,"connect":null}"#,
        r#"{"id":0,"connect":{}}"#,
        r#"{"connect":{}}"#,
        r#"{"ping":{}}"#,
        r#"{"id":1,"id":1,"connect":{}}"#,
        r#"{"id":null,"id":1,"connect":{}}"#,
        r#"{"id":1,"connect":{},"connect":{}}"#,
        r#"{"id":1,"connect":{},"subscribe":{"channel":"h"}}"#,
        r#"{"id":1,"connect":{"token":"a","token":"b"}}"#,
        r#"{"id":-1,"connect":{}}"#,
        r#"{"id":4294967296,"connect":{}}"#,
        r#"{"id":1.5,"connect":{}}"#,
        r#"{"id":1e0,"connect":{}}"#,
        r#"{"id":"1","connect":{}}"#,
        r#"{"id":1,"connect":[]}"#,
        r#"{"id":1,"connect":["token"]}"#,
        r#"{"id":1,"connect":"x"}"#,
        r#"{"id":1,"connect":{"token":5}}"#,
        r#"{"id":1,"subscribe":["h"]}"#,
        r#"{"id":1,"subscribe":{"channel":["h"]}}"#,
        r#"{"id":1,"subscribe":{"channel":"h","recover":1}}"#,
        r#"{"id":1,"subscribe":{"channel":"h","offset":-1}}"#,
        r#"{"id":1,"subscribe":{"channel":"h","offset":18446744073709551616}}"#,
        r#"{"id":1,"subscribe":{"channel":"h","offset":1e3}}"#,
        r#"{"id":1,"history":{"channel":"h","limit":2147483648}}"#,
        r#"{"id":1,"connect":{"subs":[]}}"#,
        r#"{"id":1,"connect":{"subs":{"a":[]}}}"#,
        r#"{"id":1,"connect":{"subs":{"a":{"offset":-1}}}}"#,
        r#"{"id":1,"connect":{"subs":{"a":1}}}"#,
        r#"{"id":1,"history":{"channel":"h","since":[1,"e"]}}"#,
        r#"{"id":1,"publish":{"channel":"h","data":}}"#,
        r#"{"id":1,"publish":{"channel":"h","data":{"a":01}}}"#,
        r#"{"id":1,"publish":{"channel":"h","data":'a'}}"#,
        "{\"id\":1,\"publish\":{\"channel\":\"h\",\"data\":\"tab\tinside\"}}",
        "{\"id\":1,\n\"connect\":{}}",
    ] {
        assert!(is_bad(message.as_bytes()), "{message}");
    }
}

#[test]
fn invalid_utf8_is_bad_wherever_it_stands() {
    for message in [
        &b"{\"id\":1,\"publish\":{\"channel\":\"h\",\"data\":\"\xff\"}}"[..],
        b"{\"id\":1,\"publish\":{\"channel\":\"\xc3\",\"data\":1}}",
        b"{\"id\":1,\"publish\":{\"channel\":\"\\n\xff\",\"data\":1}}",
        b"{\"id\":1,\"conn\xffect\":{}}",
        b"\xff",
    ] {
        assert!(is_bad(message), "{message:x?}");
    }
}

#[test]
fn nothing_is_read_behind_a_bad_command() {
    let good = r#"{"id":1,"connect":{}}"#;
    let message = format!("{good}\nbad\n{good}");
    let are_good = |message: &str| {
        let commands = commands(message.as_bytes());
        commands.iter().map(Result::is_ok).collect::<Vec<_>>()
    };
    assert_eq!(are_good(&message), [true, false]);
    assert_eq!(are_good(&format!("{good}\n\n")), [true, false]);
    assert_eq!(are_good(&"{}\n".repeat(10_000)), [true; 10_000]);
}

#[test]
fn depth_is_bounded_everywhere() {
    let nest = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let publish = |data: &str| format!(r#"{{"id":1,"publish":{{"channel":"h","data":{data}}}}}"#);
    let unknown = |data: &str| format!(r#"{{"id":1,"connect":{{"x":{data}}},"y":{data}}}"#);
    // Two levels are the command's own.
    for wrap in [publish, unknown] {
        let data = nest(DEPTH_MAX - 2);
        assert!(!is_bad(wrap(&data).as_bytes()));
    }
    for wrap in [publish, unknown] {
        assert!(is_bad(wrap(&nest(DEPTH_MAX - 1)).as_bytes()));
        assert!(is_bad(wrap(&nest(30_000)).as_bytes()));
        assert!(is_bad(wrap(&r#"{"a":"#.repeat(30_000)).as_bytes()));
    }
    // Brackets in strings do not nest, also behind escaped quotes.
    let string = format!(r#""\"{}\\\"""#, "[".repeat(1000));
    assert!(!is_bad(publish(&string).as_bytes()));
    // Side by side is not deep.
    assert!(!is_bad(
        publish(&format!("[{}[]]", "[],".repeat(20_000))).as_bytes()
    ));
}

proptest! {
    /// Noise, bare or inside a good message, ends in commands or in one refusal.
    #[test]
    fn noise_is_answered(
        noise in prop::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(),
        cut in 0usize..20,
    ) {
        let mut message = br#"{"id":2,"subscribe":{"channel":"h","flag":1,"offset":17}}"#.to_vec();
        let at = at.index(message.len() + 1);
        message.splice(at..(at + cut).min(message.len()), noise);
        let results: Vec<bool> = commands(&message).iter().map(Result::is_ok).collect();
        prop_assert!(!results.is_empty());
        prop_assert!(results[..results.len() - 1].iter().all(|ok| *ok));
    }

    /// Text of any kind comes back from a command as it was written.
    #[test]
    fn strings_survive(channel: String) {
        let written = serde_json::to_string(&channel).unwrap();
        let message = format!(r#"{{"id":1,"unsubscribe":{{"channel":{written}}}}}"#);
        match command(&message).body {
            Body::Unsubscribe(unsubscribe) => prop_assert_eq!(unsubscribe.channel, channel),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

/// The samples of the wire, byte for byte.
#[test]
fn replies_as_on_the_wire() {
    let connect = ConnectResult {
        client: "0c3f",
        version: "x",
        ttl_s: Some(3599),
        ping_s: 25,
        pong: true,
        ..ConnectResult::default()
    };
    assert_eq!(
        text(&Message::Reply(1, Reply::Connect(connect))),
        r#"{"id":1,"connect":{"client":"0c3f","version":"x","expires":true,"ttl":3599,"ping":25,"pong":true}}"#
    );
    let publications = encoded(|out| append_publication(out, br#"{"n":18}"#, 18));
    let subscribe = SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: "kqZx",
        offset: 17,
        was_recovering: true,
        recovered: true,
        publications: &publications,
        ..SubscribeResult::default()
    };
    assert_eq!(
        text(&Message::Reply(2, Reply::Subscribe(subscribe))),
        r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"kqZx","publications":[{"data":{"n":18},"offset":18}],"recovered":true,"offset":17,"positioned":true,"was_recovering":true}}"#
    );
    assert_eq!(
        text(&Message::Reply(3, Reply::Error(Error::PermissionDenied))),
        r#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#
    );
    assert_eq!(text(&Message::Ping), "{}");
}

fn append_publication(out: &mut Vec<u8>, data: &[u8], offset: u64) {
    append_filled(out, |out| {
        let publication = Publication {
            data,
            offset,
            ..Publication::default()
        };
        publication.append(out);
    });
}

#[test]
fn what_is_empty_is_left_out() {
    let bare = ConnectResult {
        client: "c",
        ..ConnectResult::default()
    };
    for (reply, wanted) in [
        (Reply::Connect(bare), r#"{"id":1,"connect":{"client":"c"}}"#),
        (
            Reply::Subscribe(SubscribeResult::default()),
            r#"{"id":1,"subscribe":{}}"#,
        ),
        (Reply::Unsubscribe, r#"{"id":1,"unsubscribe":{}}"#),
        (Reply::Publish, r#"{"id":1,"publish":{}}"#),
        (Reply::Rpc { data: b"" }, r#"{"id":1,"rpc":{}}"#),
        (
            Reply::SubRefresh { ttl_s: None },
            r#"{"id":1,"sub_refresh":{}}"#,
        ),
        (
            Reply::Error(Error::Internal),
            r#"{"id":1,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
        ),
    ] {
        assert_eq!(text(&Message::Reply(1, reply)), wanted);
    }
}

#[test]
fn what_is_full_is_all_there() {
    let result = SubscribeResult {
        ttl_s: Some(0),
        data: b"[1]",
        id: 9,
        ..SubscribeResult::default()
    };
    let subs = encoded(|out| {
        append_sub(Protocol::Json, out, "a\"b", &SubscribeResult::default());
        append_sub(Protocol::Json, out, "c", &result);
    });
    let connect = ConnectResult {
        client: "c",
        data: b"{}",
        subs: &subs,
        session: "s",
        node: "n",
        time_ms: 1_700_000_000_000,
        ..ConnectResult::default()
    };
    assert_eq!(
        text(&Message::Reply(1, Reply::Connect(connect))),
        concat!(
            r#"{"id":1,"connect":{"client":"c","data":{},"subs":{"a\"b":{},"#,
            r#""c":{"expires":true,"data":[1],"id":9}},"session":"s","node":"n","time":1700000000000}}"#
        )
    );
}

#[test]
fn what_is_always_there() {
    let two = encoded(|out| {
        append_publication(out, b"1", 0);
        append_publication(out, b"2", 3);
    });
    let info = encoded(|out| {
        let info = ClientInfo {
            user: "u",
            client: "c1",
            ..ClientInfo::default()
        };
        info.append(out);
    });
    let present = encoded(|out| {
        append_filled(out, |out| out.extend_from_slice(&info));
        append_filled(out, |_| ());
    });
    let history = |publications| Reply::History {
        publications,
        epoch: "",
        offset: 0,
    };
    for (reply, wanted) in [
        (
            history(b""),
            r#"{"id":1,"history":{"publications":[],"epoch":"","offset":0}}"#,
        ),
        (
            history(&two),
            r#"{"id":1,"history":{"publications":[{"data":1},{"data":2,"offset":3}],"epoch":"","offset":0}}"#,
        ),
        (
            Reply::Presence { entries: b"" },
            r#"{"id":1,"presence":{"presence":{}}}"#,
        ),
        (
            Reply::Presence { entries: &present },
            r#"{"id":1,"presence":{"presence":{"c1":{"user":"u","client":"c1"},"":{"user":"","client":""}}}}"#,
        ),
        (
            Reply::PresenceStats {
                num_clients: 0,
                num_users: 0,
            },
            r#"{"id":1,"presence_stats":{"num_clients":0,"num_users":0}}"#,
        ),
        (
            Reply::Refresh {
                client: "c",
                version: "v",
                ttl_s: Some(9),
            },
            r#"{"id":1,"refresh":{"client":"c","version":"v","expires":true,"ttl":9}}"#,
        ),
    ] {
        assert_eq!(text(&Message::Reply(1, reply)), wanted);
    }
}

#[test]
fn pushes() {
    let publication = encoded(|out| {
        let publication = Publication {
            data: b"1",
            offset: 5,
            ..Publication::default()
        };
        publication.append(out);
    });
    let subscribe = Pushed::Subscribe {
        recoverable: true,
        epoch: "e",
        offset: 3,
        positioned: true,
        data: b"[]",
    };
    for (body, wanted) in [
        (
            Pushed::Publication(&publication),
            r#""pub":{"data":1,"offset":5}"#,
        ),
        (
            Pushed::Join(b""),
            r#""join":{"info":{"user":"","client":""}}"#,
        ),
        (
            Pushed::Leave(b"\x0a\x01u"),
            r#""leave":{"info":{"user":"u","client":""}}"#,
        ),
        (
            Pushed::Unsubscribe(Why::InsufficientState),
            r#""unsubscribe":{"code":2500,"reason":"insufficient state"}"#,
        ),
        (Pushed::Message(b"{}"), r#""message":{"data":{}}"#),
        (
            subscribe,
            r#""subscribe":{"recoverable":true,"epoch":"e","offset":3,"positioned":true,"data":[]}"#,
        ),
        (
            Pushed::Disconnect {
                code: 3001,
                reason: "shutdown",
            },
            r#""disconnect":{"code":3001,"reason":"shutdown"}"#,
        ),
        (
            Pushed::Refresh { ttl_s: Some(7) },
            r#""refresh":{"expires":true,"ttl":7}"#,
        ),
        (Pushed::Connect(ConnectResult::default()), r#""connect":{}"#),
    ] {
        let push = |channel, id| Push { channel, id, body };
        for (push, fields) in [
            (push("h\n", 0), r#""channel":"h\n","#),
            (push("", 7), r#""id":7,"#),
            (push("", 0), ""),
        ] {
            assert_eq!(
                text(&Message::Push(push)),
                format!("{{\"push\":{{{fields}{wanted}}}}}")
            );
            assert_eq!(
                text(&Message::BarePush(push)),
                format!("{{{fields}{wanted}}}")
            );
        }
    }
}
