//! The server API against a journal that the test plays: what it is asked, what becomes of its
//! answers, and what a real one does not do on request: be full, silent, late or gone.
//!
//! The whole appliance is asked in `tests/appliance/api.rs`.

mod backend;
mod path;
mod players;

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use engine::hunt::publication::{ClientInfo, Publication, append_tag};
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::protobuf::append_delimited;
use engine::ring::broadcast::{HistoryPage, PresencePage, Record, Refusal};
use engine::ring::bytes::{Writer, ring};
use engine::ring::submit::{Presence, Publish, SUBMISSION_BYTES_MAX, Submission, Want};
use engine::session::codes::Error;
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::{Event, JournalClient};
use crate::cores::Stage;
use crate::doorbell::Doorbell;
use backend::{API_KEY, Backend, answer_of, deaf, published, runtime, willing};

#[test]
fn a_publish_is_answered_with_its_place() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let backend = Backend::start(Box::new(move |submission, say| {
        let Submission::Publish(publish) = submission else {
            panic!("{submission:?}");
        };
        assert!(publish.info.is_empty() && publish.stamp_us > 0);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut tags = Vec::new();
        append_tag(&mut tags, "k", "v");
        assert!(publish.tags.is_empty() || publish.tags == tags);
        ears.lock().unwrap().push([
            publish.hunt.to_owned(),
            text(publish.data),
            publish.skip_history.to_string(),
            publish.idempotency_key.to_owned(),
        ]);
        say(published(publish.token, 41));
    }));
    let body = r#"{"channel":"hunt","data":{ "a" : "b c"},"tags":{"k":"v"},"delta":true,"skip_history":true,"idempotency_key":"once"}"#;
    let key = [("X-API-Key", API_KEY)];
    let (status, text) = backend.post("/api/publish", &key, body);
    let wanted = json!({"result": {"offset": 41, "epoch": "e"}});
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), wanted);
    // The older way, and the payload in base64: {"a": 1}.
    let body = r#"{"method":"publish","params":{"channel":"hunt","b64data":"eyJhIjogMX0="}}"#;
    assert_eq!(backend.post("/api", &key, body), (200, text));
    // Payloads keep their bytes.
    let first = ["hunt", r#"{ "a" : "b c"}"#, "true", "once"];
    let second = ["hunt", r#"{"a": 1}"#, "false", ""];
    assert_eq!(*heard.lock().unwrap(), [first, second]);
    let counts = [Metric::ApiRequests, Metric::ApiErrors].map(|metric| backend.count(metric));
    assert_eq!(counts, [2, 0]);
}

#[test]
fn there_is_no_demo_unless_it_is_asked_for() {
    let backend = Backend::start(Box::new(|submission, _| panic!("{submission:?}")));
    assert_eq!(backend.post("/demo/player", &[], "").0, 404);
    assert_eq!(backend.post("/demo", &[], "").0, 404);
}

#[test]
fn a_broadcast_is_answered_in_the_order_of_its_channels() {
    // The journal answers the last first, and has no room for one.
    let mut heard = Vec::new();
    let backend = Backend::start(Box::new(move |submission, say| {
        let Submission::Publish(Publish { token, hunt, .. }) = submission else {
            panic!("{submission:?}");
        };
        heard.push((token, hunt.to_owned()));
        if heard.len() < 3 {
            return;
        }
        for (token, hunt) in heard.drain(..).rev() {
            let refusal = Refusal::LimitExceeded;
            say(match hunt.strip_prefix("chat:") {
                Some(number) => published(token, number.parse().unwrap()),
                None => Record::Refused { token, refusal },
            });
        }
    }));
    let channels = ["chat:7", "full", "nowhere:1", "chat:9"];
    let answer = backend.call("broadcast", &json!({"channels": channels, "data": 1}));
    let wanted = json!({"result": {"responses": [
        {"result": {"offset": 7, "epoch": "e"}},
        {"error": {"code": 106, "message": "limit exceeded"}},
        {"error": {"code": 102, "message": "unknown channel"}},
        {"result": {"offset": 9, "epoch": "e"}},
    ]}});
    assert_eq!(answer, wanted);
}

#[test]
fn history_asks_for_what_was_asked() {
    let backend = Backend::start(Box::new(|submission, say| {
        let Submission::History(asked) = submission else {
            panic!("{submission:?}");
        };
        let token = asked.token;
        if asked.since.is_some_and(|(epoch, _)| epoch != "e") {
            let refusal = Refusal::UnrecoverablePosition;
            return say(Record::Refused { token, refusal });
        }
        let since = asked.since.map(|(_, offset)| offset);
        let echo = json!([asked.hunt, asked.limit, since, asked.reverse]).to_string();
        let mut publications = Vec::new();
        for (offset, data) in [(1, echo.as_bytes()), (2, b"2")] {
            let mut body = Vec::new();
            let (info, tags) = (&[][..], &[][..]);
            let publication = Publication {
                data,
                info,
                offset,
                tags,
            };
            publication.append(&mut body);
            append_delimited(&mut publications, &body);
        }
        say(Record::History(HistoryPage {
            token,
            epoch: "e",
            top: 5,
            publications: &publications,
        }));
    }));
    let ask = |body: Value| backend.call("history", &body);
    let since = json!({"offset": 3, "epoch": "e"});
    let body = json!({"channel": "hunt", "limit": 2, "since": since, "reverse": true});
    let echoed = json!({"offset": 1, "data": ["hunt", 2, 3, true]});
    let publications = json!([echoed, {"offset": 2, "data": 2}]);
    let wanted = json!({"result": {"publications": publications, "offset": 5, "epoch": "e"}});
    assert_eq!(ask(body), wanted);
    let heard = |answer: Value| answer["result"]["publications"][0]["data"].clone();
    let least = ask(json!({"channel": "hunt"}));
    assert_eq!(heard(least), json!(["hunt", 0, null, false]));
    let all = ask(json!({"channel": "hunt", "limit": -1}));
    assert_eq!(heard(all), json!(["hunt", -1, null, false]));
    let other = json!({"channel": "hunt", "since": {"offset": 3, "epoch": "other"}});
    let wanted = json!({"error": {"code": 112, "message": "unrecoverable position"}});
    assert_eq!(ask(other), wanted);
}

#[test]
fn info_sums_over_data_cores() {
    let backend = Backend::start(deaf());
    let mut answer = backend.call("info", &json!({}));
    let node = answer["result"]["nodes"][0].as_object_mut().unwrap();
    assert!(node.remove("uptime").unwrap().as_u64().unwrap() < 60);
    assert_eq!(node.remove("version").unwrap(), env!("CARGO_PKG_VERSION"));
    let wanted = json!({
        "uid": "node", "name": "cluecast",
        "num_clients": 14, "num_users": 6, "num_channels": 4, "num_subs": 18,
    });
    assert_eq!(json!(node), wanted);
}

#[test]
fn only_the_key_opens() {
    let backend = Backend::start(willing());
    let body = r#"{"channel":"hunt","data":1}"#;
    let status = |path: &str, headers: &[(&str, &str)]| backend.post(path, headers, body);
    let wrong: [(&str, &[(&str, &str)]); 7] = [
        ("/api/publish", &[]),
        ("/api/publish", &[("X-API-Key", "")]),
        ("/api/publish", &[("X-API-Key", "a+b/c")]),
        ("/api/publish", &[("Authorization", "apikey A+b/c=")]),
        ("/api/publish", &[("Authorization", "Bearer a+b/c=")]),
        ("/api/publish?api_key=", &[]),
        // Strangers are not told that this is no call.
        ("/api", &[]),
    ];
    for (path, headers) in wrong {
        let refused = (401, "unauthorized".to_owned());
        assert_eq!(status(path, headers), refused, "{path} {headers:?}");
    }
    assert_eq!(backend.count(Metric::ApiUnauthorized), 7);
    let right: [(&str, &[(&str, &str)]); 4] = [
        ("/api/publish", &[("x-api-key", API_KEY)]),
        ("/api/publish", &[("Authorization", "apikey a+b/c=")]),
        ("/api/publish", &[("Authorization", "ApiKey a+b/c=")]),
        ("/api/publish?x=1&api_key=a%2Bb%2Fc%3D", &[]),
    ];
    for (number, (path, headers)) in (1..).zip(right) {
        let (code, text) = status(path, headers);
        assert_eq!(code, 200, "{path} {headers:?}");
        // The journal heard of nobody else.
        assert!(text.contains(&format!(r#""offset":{number}"#)), "{text}");
    }
    assert_eq!(backend.count(Metric::ApiUnauthorized), 7);
}

#[test]
fn what_is_no_request_gets_an_http_status() {
    let backend = Backend::start(deaf());
    let key = [("X-API-Key", API_KEY)];
    let bodies = [
        "not json",
        "[]",
        "{\"channel\":7}",
        "{\"channel\":\"hunt\",",
        "{} {}",
    ];
    for body in bodies {
        let (status, text) = backend.post("/api/publish", &key, body);
        assert_eq!(status, 400, "{body}");
        assert!(text.starts_with("bad request: "), "{text}");
    }
    assert_eq!(backend.post("/api", &key, "{}").0, 400);
    let counts = [Metric::ApiRequests, Metric::ApiErrors].map(|metric| backend.count(metric));
    assert_eq!(counts, [6, 6]);
    let longest = " ".repeat((1 << 20) - 2) + "{}";
    assert_eq!(backend.post("/api/info", &key, &longest).0, 200);
    // One byte more is refused before it is sent.
    let unsent = backend.post_part((1 << 20) + 1, "");
    assert_eq!(answer_of(unsent).0, 413);
    assert_eq!(backend.post("/elsewhere", &key, "{}").0, 404);
    assert_eq!(backend.get("/api/publish").0, 405);
}

#[test]
fn what_cannot_be_done_gets_its_code() {
    let backend = Backend::start(deaf());
    let large = "x".repeat(65_535);
    let tags = json!({"k": "x".repeat(40_000)});
    let cases = [
        (102, "publish", json!({"channel": "nowhere:1", "data": 1})),
        (102, "history", json!({"channel": "nowhere:1"})),
        (104, "fly", json!({})),
        (107, "publish", json!({"data": 1})),
        (107, "publish", json!({"channel": "hunt"})),
        (107, "publish", json!({"channel": "hunt", "data": large})),
        (
            107,
            "publish",
            json!({"channel": "hunt", "data": large[2..], "tags": tags}),
        ),
        (
            107,
            "publish",
            json!({"channel": "hunt", "b64data": "ew=="}),
        ),
        (107, "broadcast", json!({"data": 1})),
        (
            108,
            "publish",
            json!({"channel": "hunt", "data": 1, "version": 3}),
        ),
        (102, "history_remove", json!({"channel": "nowhere:1"})),
        (102, "presence_stats", json!({"channel": "nowhere:1"})),
        (107, "history_remove", json!({})),
        (107, "channels", json!({"pattern": "["})),
        (108, "history", json!({"channel": "brief:1"})),
        (108, "history_remove", json!({"channel": "brief:1"})),
        (
            108,
            "rpc",
            json!({"method": "getCurrentGame", "params": {}}),
        ),
        (108, "presence", json!({"channel": "hunt"})),
    ];
    for (number, (code, method, body)) in (1..).zip(cases) {
        let message = match code {
            102 => "unknown channel",
            104 => "method not found",
            107 => "bad request",
            _ => "not available",
        };
        let wanted = json!({"error": {"code": code, "message": message}});
        assert_eq!(backend.call(method, &body), wanted, "case {number}");
        assert_eq!(backend.count(Metric::ApiErrors), number);
    }
}

#[test]
fn presence_comes_together_from_its_pages() {
    let backend = Backend::start(Box::new(|submission, say| {
        let Submission::Presence(Presence { token, hunt, want }) = submission else {
            panic!("{submission:?}");
        };
        assert_eq!(hunt, "seen:h");
        let (last, users) = if want == Want::Everybody {
            (2, 3)
        } else {
            (0, 4)
        };
        for page in 0..=last {
            let mut entries = Vec::new();
            if want == Want::Everybody {
                let mut info = Vec::new();
                let who = ClientInfo {
                    user: "u\"",
                    client: ["a", "b", "c"][page],
                    conn_info: b"{}",
                    chan_info: if page == 2 { b"[1]" } else { b"" },
                };
                who.append(&mut info);
                append_delimited(&mut entries, &info);
            }
            say(Record::Presence(PresencePage {
                token,
                entries: &entries,
                num_clients: 9,
                num_users: users,
                more: page < last,
            }));
        }
    }));
    let ask = |method| backend.call(method, &json!({"channel": "seen:h"}));
    let who = |client| json!({"user": "u\"", "client": client, "conn_info": {}});
    let mut last = who("c");
    last["chan_info"] = json!([1]);
    let present = json!({"a": who("a"), "b": who("b"), "c": last});
    assert_eq!(ask("presence"), json!({"result": {"presence": present}}));
    let numbers = json!({"num_clients": 9, "num_users": 4});
    assert_eq!(ask("presence_stats"), json!({"result": numbers}));
}

#[test]
fn a_batch_answers_each_command() {
    let backend = Backend::start(willing());
    let batch = json!({"commands": [
        {"publish": {"channel": "hunt", "data": 1}},
        {"publish": {"channel": "nowhere:1", "data": 1}},
        {"publish": {"channel": 7}},
        {},
        {"batch": {"commands": []}},
        {"publish": {"channel": "hunt", "data": 1}},
    ]});
    let answer = backend.call("batch", &batch);
    let replies = answer["replies"].as_array().unwrap();
    let said = |reply: &Value| {
        let offset = reply["publish"]["offset"].as_u64();
        offset.or(reply["error"]["code"].as_u64())
    };
    let said: Vec<_> = replies.iter().filter_map(said).collect();
    // A command that cannot be read does not hide that one before it is done.
    assert_eq!(said, [1, 102, 107, 107, 104, 2]);
}

#[test]
fn a_full_ring_is_said_at_once() {
    let (begin, begins) = mpsc::channel();
    let fill = |writer: &mut Writer| writer.push(&[0xff; SUBMISSION_BYTES_MAX]).unwrap();
    let backend = Backend::start_after(willing(), begins, fill);
    let event = json!({"channel": "hunt", "data": 1});
    let wanted = json!({"error": {"code": 111, "message": "too many requests"}});
    assert_eq!(backend.call("publish", &event), wanted);
    let gauges = [Metric::RingSubmitFull, Metric::RingSubmitFill].map(|m| backend.count(m));
    assert_eq!(gauges, [1, 100]);
    // The journal reads on: what was refused left nothing behind.
    drop(begin);
    let start = Instant::now();
    while backend.call("publish", &event) == wanted {
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(backend.call("publish", &event)["result"]["offset"], 2);
}

#[test]
fn a_late_answer_disturbs_nobody() {
    let mut late = None;
    let backend = Backend::start(Box::new(move |submission, say| {
        let Submission::Publish(Publish { token, .. }) = submission else {
            panic!("{submission:?}");
        };
        match late.replace(token) {
            None => (),
            Some(first) => {
                say(published(first, 1));
                say(published(token, 2));
            }
        }
    }));
    let event = json!({"channel": "hunt", "data": 1});
    let start = Instant::now();
    let wanted = json!({"error": {"code": 100, "message": "internal server error"}});
    assert_eq!(backend.call("publish", &event), wanted);
    let waited = start.elapsed().as_secs();
    assert!((5..14).contains(&waited), "{waited} s");
    assert_eq!(backend.call("publish", &event)["result"]["offset"], 2);
}

#[test]
fn whoever_gives_up_leaves_room_for_others() {
    let (writer, reader) = ring(1 << 20, SUBMISSION_BYTES_MAX);
    let counters = Counters::default();
    let client = JournalClient::new(writer, Doorbell::new().unwrap(), counters.clone());
    let event = Event {
        hunt: "hunt",
        data: "1",
        ..Event::default()
    };
    runtime().block_on(async {
        let mut asked = join_all((0..4096).map(|_| client.publish(event)));
        assert!((&mut asked).now_or_never().is_none());
        let refused = client.publish(event).now_or_never();
        assert_eq!(refused, Some(Err(Error::TooManyRequests)));
        assert_eq!(counters.get(Metric::RingSubmitFull), 1);
        // As when the backends' connections break.
        drop(asked);
        assert_eq!(client.publish(event).now_or_never(), None);
        // A journal that has ended is not waited for.
        drop(reader);
        let gone = client.publish(event).now_or_never();
        assert_eq!(gone, Some(Err(Error::Internal)));
    });
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let backend = Backend::start(deaf());
    assert_eq!(answer_of(backend.post_part(2, "{")).0, 408);
}

#[test]
fn health_is_for_load_balancers() {
    let backend = Backend::start(deaf());
    assert_eq!(backend.get("/health").0, 200);
    let (_, journal) = &backend.api.sources.cores()[1];
    journal.set(Metric::JournalHealthy, 0);
    let (status, text) = backend.get("/health");
    assert!(
        status == 503 && text.ends_with("the journal takes no writes"),
        "{text}"
    );
    journal.set(Metric::JournalHealthy, 1);
    assert_eq!(backend.get("/health").0, 200);
    backend.api.life.advance(Stage::Drain);
    let (status, text) = backend.get("/health");
    assert!(status == 503 && text.ends_with("draining"), "{text}");
}

#[test]
fn metrics_are_for_prometheus() {
    let backend = Backend::start(deaf());
    backend.call("fly", &json!({}));
    let (status, text) = backend.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("\r\ncontent-type: text/plain; version=0.0.4\r\n"));
    assert!(text.contains("\ncluecast_api_errors{core=\"control\"} 1\n"));
}
