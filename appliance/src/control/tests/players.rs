//! What is done to players and hunts, as the journal hears of it; errors as HTTP statuses; batches at once.

use engine::protobuf::delimited;
use engine::ring::broadcast::ChannelsPage;
use engine::ring::submit::{ByServer, Overrides, Tell, Told};
use engine::session::rules::TTL_S_MAX;

use super::backend::Script;
use super::*;
use crate::clock;

/// Takes what is told, checks it, and says that it is done.
fn telling(check: impl Fn(&Tell<'_>) + Send + 'static) -> Script {
    Box::new(move |submission, say| {
        let Submission::Tell(tell) = submission else {
            panic!("{submission:?}");
        };
        check(&tell);
        say(Record::Done { token: tell.token });
    })
}

fn done() -> Value {
    json!({"result": {}})
}

fn refused(code: u16, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

/// Seconds since 1970, so many from now.
fn from_now(seconds: u64) -> u64 {
    clock::wall_ms() / 1000 + seconds
}

#[test]
fn a_subscribe_says_all_that_was_asked() {
    let backend = Backend::start(telling(|tell| {
        assert_eq!((tell.user, tell.client, tell.session), ("42", "c", "s"));
        let Told::Subscribe(by_server) = tell.what else {
            panic!("{tell:?}");
        };
        let ttl_s = by_server.ttl_s.unwrap();
        assert!((58..=60).contains(&ttl_s), "{ttl_s}");
        let wanted = ByServer {
            hunt: "hunt",
            info: br#"{"a":1}"#,
            data: b"[1]",
            ttl_s: Some(ttl_s),
            since: Some(("e", 7)),
            overrides: Overrides {
                presence: Some(true),
                force_recovery: Some(false),
                ..Overrides::default()
            },
        };
        assert_eq!(by_server, wanted);
    }));
    let body = json!({
        "user": "42", "channel": "hunt", "client": "c", "session": "s",
        "info": {"a": 1}, "b64data": "WzFd", "expire_at": from_now(60),
        "recover_since": {"offset": 7, "epoch": "e"},
        "override": {"presence": {"value": true}, "force_recovery": {"value": false}},
    });
    assert_eq!(backend.call("subscribe", &body), done());
}

#[test]
fn who_is_unsubscribed_and_disconnected() {
    let backend = Backend::start(telling(|tell| match tell.what {
        Told::Unsubscribe { hunt } => assert_eq!((tell.user, hunt), ("42", "hunt")),
        Told::Disconnect {
            code,
            reason,
            spared,
        } => {
            let spared: Vec<_> = delimited(spared).collect();
            match tell.user {
                "42" => {
                    assert_eq!((code, reason), (3503, "force disconnect"));
                    assert!(spared.is_empty());
                }
                _ => {
                    assert_eq!((code, reason), (4001, "out"));
                    assert_eq!(spared, [b"a", b"b"]);
                }
            }
        }
        _ => panic!("{tell:?}"),
    }));
    let body = json!({"user": "42", "channel": "hunt"});
    assert_eq!(backend.call("unsubscribe", &body), done());
    assert_eq!(backend.call("disconnect", &json!({"user": "42"})), done());
    let reason = json!({"code": 4001, "reason": "out"});
    let body = json!({"user": "7", "whitelist": ["a", "b"], "disconnect": reason});
    assert_eq!(backend.call("disconnect", &body), done());
}

#[test]
fn a_refresh_moves_the_expiry() {
    let backend = Backend::start(telling(|tell| {
        let Told::Refresh { ttl_s, info } = tell.what else {
            panic!("{tell:?}");
        };
        let info = std::str::from_utf8(info).unwrap();
        match tell.user {
            "never" => assert_eq!((ttl_s, info), (None, "")),
            "over" | "past" => assert_eq!(ttl_s, Some(0)),
            "late" => assert_eq!(ttl_s, Some(TTL_S_MAX)),
            "soon" => {
                assert!((8..=10).contains(&ttl_s.unwrap()));
                assert_eq!(info, r#"{"a":1}"#);
            }
            user => panic!("{user}"),
        }
    }));
    let bodies = [
        json!({"user": "never"}),
        json!({"user": "over", "expired": true, "expire_at": from_now(60)}),
        json!({"user": "past", "expire_at": 17}),
        json!({"user": "late", "expire_at": from_now(1 << 40)}),
        json!({"user": "soon", "expire_at": from_now(10), "info": {"a": 1}}),
    ];
    for body in bodies {
        assert_eq!(backend.call("refresh", &body), done(), "{body}");
    }
}

#[test]
fn what_is_wrong_with_it_is_said() {
    let backend = Backend::start(deaf());
    let user = |rest: Value| {
        let mut body = json!({"user": "42"});
        let fields = body.as_object_mut().unwrap();
        fields.extend(rest.as_object().unwrap().clone());
        body
    };
    let bad = [
        ("subscribe", json!({"channel": "hunt"})),
        ("subscribe", user(json!({}))),
        (
            "subscribe",
            user(json!({"channel": "hunt", "expire_at": 17})),
        ),
        (
            "subscribe",
            user(json!({"channel": "hunt", "b64info": "ew=="})),
        ),
        (
            "subscribe",
            user(json!({"channel": "hunt", "data": "x".repeat(65_535)})),
        ),
        ("unsubscribe", json!({"channel": "hunt"})),
        ("unsubscribe", user(json!({}))),
        ("disconnect", json!({})),
        ("disconnect", user(json!({"disconnect": {"code": 1000}}))),
        (
            "disconnect",
            user(json!({"disconnect": {"code": 4000, "reason": "x".repeat(124)}})),
        ),
        ("refresh", json!({"expired": true})),
    ];
    for (method, body) in bad {
        let answer = backend.call(method, &body);
        assert_eq!(answer, refused(107, "bad request"), "{method} {body}");
    }
    for method in ["subscribe", "unsubscribe"] {
        let answer = backend.call(method, &user(json!({"channel": "nowhere:1"})));
        assert_eq!(answer, refused(102, "unknown channel"));
    }
}

#[test]
fn a_history_is_removed_or_not() {
    let backend = Backend::start(Box::new(|submission, say| {
        let Submission::RemoveHistory { token, hunt } = submission else {
            panic!("{submission:?}");
        };
        let refusal = Refusal::Unavailable;
        say(match hunt {
            "hunt" => Record::Done { token },
            _ => Record::Refused { token, refusal },
        });
    }));
    let remove = |hunt: &str| backend.call("history_remove", &json!({"channel": hunt}));
    assert_eq!(remove("hunt"), done());
    assert_eq!(remove("broken"), refused(100, "internal server error"));
}

#[test]
fn channels_come_together_from_their_pages() {
    let backend = Backend::start(Box::new(|submission, say| {
        let Submission::Channels { token, from } = submission else {
            panic!("{submission:?}");
        };
        let mut entries = Vec::new();
        let next = match from {
            0 => {
                ChannelsPage::append(&mut entries, "chat:a/b", 3);
                Some(2048)
            }
            2048 => Some(4096),
            _ => {
                ChannelsPage::append(&mut entries, "chat:c", 1);
                ChannelsPage::append(&mut entries, "hunt", 70_000);
                None
            }
        };
        let entries = &entries;
        say(Record::Channels(ChannelsPage {
            token,
            entries,
            next,
        }));
    }));
    let ask = |body: Value| backend.call("channels", &body)["result"]["channels"].clone();
    let chats = json!({"chat:a/b": {"num_clients": 3}, "chat:c": {"num_clients": 1}});
    assert_eq!(ask(json!({"pattern": "chat:*"})), chats);
    assert_eq!(ask(json!({"pattern": "c"})), json!({}));
    assert_eq!(ask(json!({}))["hunt"]["num_clients"], 70_000);
    assert_eq!(ask(json!({})).as_object().unwrap().len(), 3);
}

#[test]
fn errors_become_http_statuses_where_that_is_asked() {
    let refusals = [
        ("full", Refusal::Busy, 429, 111),
        ("broken", Refusal::Unavailable, 500, 100),
        ("old", Refusal::UnrecoverablePosition, 416, 112),
    ];
    let backend = Backend::start(Box::new(move |submission, say| {
        let Submission::History(asked) = submission else {
            panic!("{submission:?}");
        };
        let token = asked.token;
        let (_, refusal, ..) = refusals.into_iter().find(|r| r.0 == asked.hunt).unwrap();
        say(Record::Refused { token, refusal });
    }));
    let ask = |mode: &str, method: &str, body: Value| {
        let headers = [("X-API-Key", API_KEY), ("X-Centrifugo-Error-Mode", mode)];
        let (status, text) = backend.post(&format!("/api/{method}"), &headers, &body.to_string());
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let hunt = |hunt: &str| json!({"channel": hunt});
    let mut cases = vec![
        ("history", hunt("nowhere:1"), 404, 102),
        ("fly", json!({}), 404, 104),
        ("history", json!({}), 400, 107),
        ("rpc", json!({"method": "a"}), 400, 108),
    ];
    cases.extend(refusals.map(|(name, _, status, code)| ("history", hunt(name), status, code)));
    for (method, body, status, code) in cases {
        let (got, answer) = ask("transport", method, body.clone());
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{body}");
        assert!(answer["message"].is_string() && answer["error"].is_null());
        let (got, answer) = ask("other", method, body);
        assert_eq!((got, &answer["error"]["code"]), (200, &json!(code)));
    }
    // Inside a batch they stay where they are.
    let batch = json!({"commands": [{"fly": {}}]});
    let (status, answer) = ask("transport", "batch", batch);
    assert_eq!(status, 200);
    assert_eq!(answer["replies"][0]["error"]["code"], 104);
}

#[test]
fn a_parallel_batch_is_answered_in_order() {
    // The journal answers only when it has heard of all.
    let mut heard = Vec::new();
    let backend = Backend::start(Box::new(move |submission, say| {
        let Submission::Publish(publish) = submission else {
            panic!("{submission:?}");
        };
        heard.push((publish.token, publish.data.len() as u64));
        if heard.len() == 3 {
            heard
                .drain(..)
                .rev()
                .for_each(|(token, n)| say(published(token, n)));
        }
    }));
    let publish = |data: u64| json!({"publish": {"channel": "hunt", "data": data}});
    let commands = [publish(1), publish(22), json!({"fly": {}}), publish(333)];
    let answer = backend.call("batch", &json!({"commands": commands, "parallel": true}));
    let wanted = json!({"replies": [
        {"publish": {"offset": 1, "epoch": "e"}},
        {"publish": {"offset": 2, "epoch": "e"}},
        {"error": {"code": 104, "message": "method not found"}},
        {"publish": {"offset": 3, "epoch": "e"}},
    ]});
    assert_eq!(answer, wanted);
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    use std::io::{Read, Write};
    let backend = Backend::start(deaf());
    let mut stream = backend.dial();
    let request = format!(
        "POST /api/info HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let mut answers = String::new();
    for number in 1..=3 {
        stream.write_all(request.as_bytes()).unwrap();
        while answers.matches("\"uptime\"").count() < number || !answers.ends_with("}]}}") {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "closed after {answers}");
            answers.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    }
}
