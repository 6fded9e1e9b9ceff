//! The wire samples of the protocol, each rule of what is a command, and noise.

use std::borrow::Cow;

use super::*;
use crate::hunt::publication::Publication;
use crate::protobuf;
use crate::session::codes::{Error, Unsubscribe as Why};
use proptest::prelude::*;

/// The only command of a message.
fn command(message: &str) -> Command<'_> {
    let mut commands = commands(message.as_bytes());
    let command = commands
        .next()
        .unwrap()
        .unwrap_or_else(|_| panic!("{message}"));
    assert!(commands.next().is_none());
    command
}

fn is_bad(message: &[u8]) -> bool {
    commands(message).next().unwrap().is_err()
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn connect_and_subscribe_in_one_frame() {
    let message = concat!(
        r#"{"id":1,"connect":{"token":"eyJ","name":"js"}}"#,
        "\n",
        r#"{"id":2,"subscribe":{"channel":"hunt:42","flag":1,"recover":true,"epoch":"kqZx","offset":17}}"#,
    );
    for message in [message.to_owned(), format!("{message}\n")] {
        let all: Vec<_> = commands(message.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(
            all.iter().map(|command| command.id).collect::<Vec<_>>(),
            [1, 2]
        );
        let Body::Connect(connect) = &all[0].body else {
            panic!("{all:?}")
        };
        assert_eq!(connect.token.as_deref(), Some("eyJ"));
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
    for (message, wanted) in [
        (
            r#"{"id":3,"unsubscribe":{"channel":"h"}}"#,
            r#"Unsubscribe(Unsubscribe { channel: "h" })"#,
        ),
        (
            r#"{"id":4,"publish":{"channel":"h","data":{"a": [1]}}}"#,
            r#"Publish(Publish { channel: "h", data: RawValue({"a": [1]}) })"#,
        ),
        (
            r#"{"id":4,"publish":{"channel":"h","data":null}}"#,
            r#"Publish(Publish { channel: "h", data: RawValue(null) })"#,
        ),
        (
            r#"{"id":5,"presence":{"channel":"h"}}"#,
            r#"Presence(Presence { channel: "h" })"#,
        ),
        (
            r#"{"id":6,"presence_stats":{"channel":"h"}}"#,
            r#"PresenceStats(PresenceStats { channel: "h" })"#,
        ),
        (
            r#"{"id":7,"history":{"channel":"h","limit":-1,"since":{"offset":18446744073709551615,"epoch":"e"},"reverse":true}}"#,
            r#"History(History { channel: "h", limit: -1, since: Some(Since { offset: 18446744073709551615, epoch: "e" }), reverse: true })"#,
        ),
        (
            r#"{"history":{"channel":"h","since":null,"limit":null},"id":7}"#,
            r#"History(History { channel: "h", limit: 0, since: None, reverse: false })"#,
        ),
        (r#"{"id":8,"ping":{}}"#, "Ping"),
        (
            r#"{"send":{"data":[1]}}"#,
            "Send(Send { data: Some(RawValue([1])) })",
        ),
        (
            r#"{"id":9,"rpc":{"method":"m","data":""}}"#,
            r#"Rpc(Rpc { method: "m", data: Some(RawValue("")) })"#,
        ),
        (
            r#"{"id":10,"refresh":{"token":"t"}}"#,
            r#"Refresh(Refresh { token: "t" })"#,
        ),
        (
            r#"{"id":11,"sub_refresh":{"channel":"h","token":"t","track":[1]}}"#,
            r#"SubRefresh(SubRefresh { channel: "h", token: "t" })"#,
        ),
    ] {
        assert_eq!(format!("{:?}", command(message).body), wanted);
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
    assert_eq!(subscribe.data.unwrap().get(), "{}");
    let Body::Connect(connect) =
        command(r#"{"id":1,"connect":{"token":"","data":1,"subs":{"a":{}},"headers":{"x":"y"}}}"#)
            .body
    else {
        panic!()
    };
    assert_eq!(connect.token, None);
    assert_eq!(connect.subs.unwrap().get(), r#"{"a":{}}"#);
    assert_eq!(connect.headers.unwrap().get(), r#"{"x":"y"}"#);
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
    assert!(is_pong(b"{}") && is_pong(b"{}\n"));
    assert!(!is_pong(b"") && !is_pong(b"{}{}") && !is_pong(b"{}\n\n"));
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
        r#"{"id":1,"publish":{"channel":"h"}}"#,
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
    let ids: Vec<_> = commands(message.as_bytes())
        .map(|command| command.is_ok())
        .collect();
    assert_eq!(ids, [true, false]);
    let empty_line = format!("{good}\n\n");
    assert_eq!(
        commands(empty_line.as_bytes())
            .filter(Result::is_err)
            .count(),
        1
    );
    let many = "{}\n".repeat(10_000);
    assert_eq!(
        commands(many.as_bytes()).filter(Result::is_ok).count(),
        10_000
    );
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
        let results: Vec<bool> = commands(&message).map(|command| command.is_ok()).collect();
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
    };
    assert_eq!(
        text(|out| connect_reply(out, 1, &connect)),
        r#"{"id":1,"connect":{"client":"0c3f","version":"x","expires":true,"ttl":3599,"ping":25,"pong":true}}"#
    );
    let subscribe = SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: "kqZx",
        offset: 17,
        was_recovering: true,
        recovered: true,
        publications: &publications(&[r#"{"n":18}"#], 18),
    };
    assert_eq!(
        text(|out| subscribe_reply(out, 2, &subscribe)),
        r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"kqZx","publications":[{"data":{"n":18},"offset":18}],"recovered":true,"offset":17,"positioned":true,"was_recovering":true}}"#
    );
    assert_eq!(
        text(|out| error_reply(out, 3, Error::PermissionDenied)),
        r#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#
    );
    assert_eq!(PING, b"{}");
    let mut frame = Vec::new();
    crate::ws::frame::append_frame(&mut frame, crate::ws::frame::Opcode::Text, PING);
    assert_eq!(frame, PING_FRAME);
}

#[test]
fn what_is_empty_is_left_out() {
    let bare = ConnectResult {
        client: "c",
        version: "",
        ttl_s: None,
        ping_s: 0,
        pong: false,
    };
    for (written, wanted) in [
        (
            text(|out| connect_reply(out, 1, &bare)),
            r#"{"id":1,"connect":{"client":"c"}}"#,
        ),
        (
            text(|out| subscribe_reply(out, 2, &SubscribeResult::default())),
            r#"{"id":2,"subscribe":{}}"#,
        ),
        (
            text(|out| unsubscribe_reply(out, 3)),
            r#"{"id":3,"unsubscribe":{}}"#,
        ),
        (
            text(|out| publish_reply(out, 4)),
            r#"{"id":4,"publish":{}}"#,
        ),
        (
            text(|out| sub_refresh_reply(out, 5, None)),
            r#"{"id":5,"sub_refresh":{}}"#,
        ),
        (
            text(|out| error_reply(out, 6, Error::Internal)),
            r#"{"id":6,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
        ),
    ] {
        assert_eq!(written, wanted);
    }
}

/// A list of publications with these payloads, numbered from `offset` on if that is not 0.
fn publications(payloads: &[&str], offset: u64) -> Vec<u8> {
    let mut list = Vec::new();
    for (n, payload) in (0..).zip(payloads) {
        let publication = Publication {
            data: payload.as_bytes(),
            offset: if offset == 0 { 0 } else { offset + n },
            ..Publication::default()
        };
        protobuf::append_filled(&mut list, |out| publication.append(out));
    }
    list
}

#[test]
fn what_is_always_there() {
    for (written, wanted) in [
        (
            text(|out| history_reply(out, 1, b"", "", 0)),
            r#"{"id":1,"history":{"publications":[],"epoch":"","offset":0}}"#,
        ),
        (
            text(|out| history_reply(out, 1, &publications(&["1", "2"], 0), "e", 2)),
            r#"{"id":1,"history":{"publications":[{"data":1},{"data":2}],"epoch":"e","offset":2}}"#,
        ),
        (
            text(|out| presence_reply(out, 2, b"")),
            r#"{"id":2,"presence":{"presence":{}}}"#,
        ),
        (
            text(|out| presence_stats_reply(out, 3, 0, 0)),
            r#"{"id":3,"presence_stats":{"num_clients":0,"num_users":0}}"#,
        ),
        (
            text(|out| refresh_reply(out, 4, "c", "v", Some(9))),
            r#"{"id":4,"refresh":{"client":"c","version":"v","expires":true,"ttl":9}}"#,
        ),
        (
            text(|out| unsubscribe_push(out, "h\n", Why::InsufficientState)),
            r#"{"push":{"channel":"h\n","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
        ),
    ] {
        assert_eq!(written, wanted);
    }
}
