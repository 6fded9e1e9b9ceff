//! The server API over HTTP: keys, bodies, errors, options, health.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use ureq::http::StatusCode;

use crate::player::{Player, dial};
use crate::running::{
    ADMIN, API_KEY, Appliance, SETTINGS, api, directory, eventually, history, metric, publish,
};
use crate::world::{LISTEN, World};

/// An HTTP request as it is; status and body of the answer.
fn request(path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, String) {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build();
    let mut request = ureq::Agent::new_with_config(config).post(format!("{ADMIN}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body).unwrap();
    (answer.status(), answer.body_mut().read_to_string().unwrap())
}

fn error_code(method: &str, body: &Value) -> Value {
    api(method, body).unwrap()["error"]["code"].clone()
}

#[test]
fn only_who_has_the_key_is_served() {
    let (_world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let body = r#"{"channel":"hunt","data":1}"#;
    let bearer = format!("apikey {API_KEY}");
    let status = |path: &str, headers: &[(&str, &str)]| request(path, headers, body).0.as_u16();
    assert_eq!(status("/api/publish", &[]), 401);
    assert_eq!(status("/api/publish", &[("X-API-Key", "")]), 401);
    assert_eq!(status("/api/publish", &[("X-API-Key", "keys")]), 401);
    assert_eq!(
        status("/api/publish", &[("Authorization", "apikey other")]),
        401
    );
    assert_eq!(status("/api/publish?api_key=other", &[]), 401);
    assert_eq!(status("/api", &[]), 401);
    assert_eq!(
        (metric("api_unauthorized"), history("hunt").1.len()),
        (6, 0)
    );
    assert_eq!(status("/api/publish", &[("X-API-Key", API_KEY)]), 200);
    assert_eq!(status("/api/publish", &[("Authorization", &bearer)]), 200);
    assert_eq!(status(&format!("/api/publish?api_key={API_KEY}"), &[]), 200);
    assert_eq!(history("hunt").1.len(), 3);
}

#[test]
fn what_is_no_request_gets_an_http_status() {
    let (_world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let key = [("X-API-Key", API_KEY)];
    for body in [
        "not json",
        "{\"channel\":7}",
        "[]",
        "{\"channel\":\"hunt\",\"data\":",
    ] {
        let (status, text) = request("/api/publish", &key, body);
        assert_eq!(status, 400, "{body}");
        assert!(text.starts_with("bad request: "), "{text}");
    }
    // Refused by its announced length, before it is sent.
    let mut stream = TcpStream::connect("127.0.0.1:9000").unwrap();
    let head = format!(
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\n\
         Content-Length: 2000000\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(request("/elsewhere", &key, "{}").0, 404);
    let get = ureq::get(format!("{ADMIN}/api/publish"))
        .call()
        .unwrap_err();
    assert!(matches!(get, ureq::Error::StatusCode(405)), "{get}");
    assert_eq!(metric("api_errors"), 4);
    assert_eq!(history("hunt").1, []);
}

#[test]
fn what_cannot_be_done_gets_its_code() {
    let (_world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let cases = [
        ("publish", json!({"channel": "", "data": 1}), 107),
        ("publish", json!({"channel": "hunt"}), 107),
        ("publish", json!({"channel": "hunt", "b64data": "***"}), 107),
        (
            "publish",
            json!({"channel": "hunt", "data": "x".repeat(70_000)}),
            107,
        ),
        ("publish", json!({"channel": "nowhere:1", "data": 1}), 102),
        (
            "publish",
            json!({"channel": "hunt", "data": 1, "version": 7}),
            108,
        ),
        ("broadcast", json!({"channels": [], "data": 1}), 107),
        ("history", json!({"channel": ""}), 107),
        ("history", json!({"channel": "nowhere:1"}), 102),
        ("presence", json!({"channel": "hunt"}), 108),
        ("fly", json!({}), 104),
    ];
    for (method, body, code) in &cases {
        assert_eq!(error_code(method, body), *code, "{method}");
    }
    assert_eq!(metric("api_errors"), u64::try_from(cases.len()).unwrap());
    publish("hunt", &json!(1));
    let other = json!({"channel": "hunt", "limit": 1, "since": {"offset": 1, "epoch": "other"}});
    assert_eq!(error_code("history", &other), 112);
}

#[test]
fn options_of_a_publish_arrive() {
    let (world, directory) = (World::new(), directory());
    let appliance = Appliance::start(&directory, SETTINGS);
    let mut player = Player::join_hunt(&world, "hunt");
    let body = json!({"channel": "hunt", "b64data": "eyJhIjogMX0=", "tags": {"kind": "clue"}});
    assert_eq!(api("publish", &body).unwrap()["result"]["offset"], 1);
    assert_eq!(player.event().data, json!({"a": 1}));
    let page = api("history", &json!({"channel": "hunt", "limit": 1})).unwrap();
    assert_eq!(
        page["result"]["publications"][0]["tags"],
        json!({"kind": "clue"}),
        "{page}"
    );

    // Said twice, done once; the key is still known after a restart.
    let twice = json!({"channel": "hunt", "data": 2, "idempotency_key": "k"});
    let first = api("publish", &twice).unwrap();
    assert_eq!(first["result"]["offset"], 2, "{first}");
    assert_eq!(api("publish", &twice).unwrap(), first);
    appliance.kill9();
    let _appliance = Appliance::start(&directory, SETTINGS);
    assert_eq!(api("publish", &twice).unwrap(), first);
    assert_eq!(publish("hunt", &json!(3)), 3);
    assert_eq!(metric("journal_idempotent_repeats"), 1);
}

#[test]
fn history_comes_in_pages_both_ways() {
    let (_world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    (1..=5).for_each(|number| _ = publish("hunt", &json!(number)));
    let (epoch, all) = history("hunt");
    assert_eq!(all.len(), 5);
    let page = |mut body: Value| {
        body["channel"] = json!("hunt");
        let answer = api("history", &body).unwrap();
        assert_eq!(answer["result"]["offset"], 5, "{answer}");
        let events = answer["result"]["publications"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["offset"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(page(json!({})), [0; 0], "the position alone");
    assert_eq!(page(json!({"limit": 2})), [1, 2]);
    assert_eq!(page(json!({"limit": 2, "reverse": true})), [5, 4]);
    let since = |offset: u64| json!({"offset": offset, "epoch": epoch});
    assert_eq!(page(json!({"limit": 2, "since": since(2)})), [3, 4]);
    assert_eq!(
        page(json!({"limit": -1, "since": since(2), "reverse": true})),
        [1]
    );
}

#[test]
fn a_batch_is_done_in_order() {
    let (_world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let commands = json!({"commands": [
        {"publish": {"channel": "hunt", "data": 1}},
        {"publish": {"channel": "nowhere:1", "data": 1}},
        {"history": {"channel": "hunt", "limit": 9}},
    ]});
    let answer = api("batch", &commands).unwrap();
    let replies = &answer["replies"];
    assert_eq!(replies[0]["publish"]["offset"], 1, "{answer}");
    assert_eq!(replies[1]["error"]["code"], 102, "{answer}");
    assert_eq!(
        replies[2]["history"]["publications"][0]["data"], 1,
        "{answer}"
    );
}

#[test]
fn while_it_drains_it_is_not_healthy_and_still_publishes() {
    let (world, directory) = (World::new(), directory());
    let mut appliance = Appliance::start(&directory, SETTINGS);
    // Upgraded and silent: it does not answer the close frame, so the drain takes its time.
    let silent = Player::upgrade(dial(&world, LISTEN));
    appliance.terminate();
    eventually("it is draining", || health() == 503);
    assert_eq!(publish("hunt", &json!(1)), 1);
    assert_eq!(appliance.wait().code(), Some(0));
    drop(silent);
}

fn health() -> u16 {
    match ureq::get(format!("{ADMIN}/health")).call() {
        Ok(answer) => answer.status().as_u16(),
        Err(ureq::Error::StatusCode(code)) => code,
        Err(error) => panic!("{error}"),
    }
}
