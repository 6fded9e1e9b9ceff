//! Players' positions over AF_XDP, and their path as a backend reads it: page by page, as JSON and as
//! GeoJSON, over a restart, and after the process was killed.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use ureq::http::StatusCode;

use crate::player::{Player, dial, token};
use crate::running::{
    ADMIN, API_KEY, Appliance, SETTINGS, Settings, directory, eventually, metric,
};
use crate::world::{LISTEN, World};

/// Enough for what a test sends at once.
const FAST: Settings = Settings {
    client: "positions_per_s = 1000",
    ..SETTINGS
};

fn join(world: &World, user: &str) -> Player {
    let mut player = Player::upgrade(dial(world, LISTEN));
    let reply = player.command("connect", json!({"token": token(user)}));
    assert!(reply["connect"]["client"].is_string(), "{reply}");
    player
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn point(t: u64, number: u64) -> Value {
    json!({"lat": 59.5, "lon": 24.75, "t": t, "n": number})
}

/// Status, media type and body of `GET /api/players/{user}/path?{query}`.
fn get(user: &str, query: &str) -> (StatusCode, String, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent = ureq::Agent::new_with_config(config.build());
    let request = agent.get(format!("{ADMIN}/api/players/{user}/path?{query}"));
    let mut answer = request.header("X-API-Key", API_KEY).call().unwrap();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status(), kind, text)
}

fn page(user: &str, query: &str) -> Value {
    let (status, kind, text) = get(user, query);
    assert_eq!(
        (status.as_u16(), &*kind),
        (200, "application/json"),
        "{text}"
    );
    serde_json::from_str(&text).unwrap()
}

/// The whole path, in pages of `limit` points.
fn path(user: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(user, &format!("limit={limit}{cursor}"));
        let points = page["points"].as_array().unwrap();
        assert!(points.len() <= limit);
        all.extend(points.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn a_path_is_read_in_ranges_and_pages() {
    let (world, directory) = (World::new(), directory());
    let appliance = Appliance::start(&directory, FAST);
    let mut player = join(&world, "ann/1");
    let start = now_ms() - 60_000;
    let points: Vec<Value> = (0..1_050).map(|n| point(start + n * 10, n)).collect();
    for points in points.chunks(100) {
        let data = json!({"method": "position", "data": {"positions": points}});
        assert_eq!(player.command("rpc", data)["rpc"], json!({"data": {}}));
    }
    // The id in the address is percent-encoded.
    let user = "ann%2F1";
    assert_eq!(path(user, 1_000), points);
    assert_eq!(path(user, 333), points);
    let from_to = format!("from={}&to={}", start + 5_000, start + 5_020);
    let some = page(user, &from_to);
    assert_eq!(some, json!({"points": points[500..503]}));
    let first = page(user, &format!("{from_to}&limit=1"));
    let next = first["next"].as_str().unwrap();
    let second = page(user, &format!("to={}&limit=9&cursor={next}", start + 5_020));
    assert_eq!(second, json!({"points": points[501..503]}));
    assert_eq!(page("nobody", ""), json!({"points": []}));
    // Also after a restart, and nobody else has it.
    appliance.kill9();
    let _appliance = Appliance::start(&directory, FAST);
    assert_eq!(path(user, 1_000), points);
    assert_eq!(page("ann", ""), json!({"points": []}));
}

#[test]
fn a_path_is_drawn_and_bad_questions_are_refused() {
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let mut player = join(&world, "bob");
    let start = now_ms() - 1_000;
    player.send(
        json!({"send": {"data": {"positions": [
            {"lat": 1.5, "lon": 179.0, "t": start}, {"lat": 1.5, "lon": -179.0, "t": start + 10},
        ]}}})
        .to_string(),
    );
    eventually("two points", || {
        page("bob", "")["points"].as_array().unwrap().len() == 2
    });
    let (status, kind, text) = get("bob", "format=geojson");
    assert_eq!((status.as_u16(), &*kind), (200, "application/geo+json"));
    let drawn: Value = serde_json::from_str(&text).unwrap();
    let geometry = &drawn["features"][0]["geometry"];
    let cut = json!([[[179.0, 1.5], [180.0, 1.5]], [[-180.0, 1.5], [-179.0, 1.5]]]);
    assert_eq!(
        (&geometry["type"], &geometry["coordinates"]),
        (&json!("MultiLineString"), &cut)
    );

    let before = metric("api_errors");
    for query in [
        "limit=0",
        "limit=1001",
        "from=x",
        "to=-1",
        "cursor=x",
        "format=kml",
    ] {
        let (status, _, text) = get("bob", query);
        assert_eq!(status, 400, "{query}");
        assert!(text.starts_with("bad request: "), "{text}");
    }
    assert_eq!(get(&"x".repeat(256), "").0, 400, "no user has such an id");
    assert_eq!(metric("api_errors") - before, 7);
    let address = format!("{ADMIN}/api/players/bob/path");
    let stranger = ureq::get(&address).call().unwrap_err();
    assert!(
        matches!(stranger, ureq::Error::StatusCode(401)),
        "{stranger}"
    );
    let posted = ureq::post(&address)
        .header("X-API-Key", API_KEY)
        .send("{}")
        .unwrap_err();
    assert!(matches!(posted, ureq::Error::StatusCode(405)), "{posted}");
    // An rpc is told, the anonymous too.
    let bad = json!({"method": "position", "data": {"position": {"lat": 91, "lon": 0}}});
    assert_eq!(player.command("rpc", bad)["error"]["code"], 107);
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let (world, directory) = (World::new(), directory());
    let mut told: Vec<Value> = Vec::new();
    for round in 0..6_u64 {
        let appliance = Appliance::start(&directory, FAST);
        let mut player = join(&world, "ann");
        let start = now_ms();
        let walker = thread::spawn(move || {
            let mut told = Vec::new();
            for number in 0..900 {
                let at = point(start, round * 1_000 + number);
                let data = json!({"method": "position", "data": {"position": at}});
                match player.try_command("rpc", data) {
                    Some(reply) => assert!(reply["rpc"].is_object(), "{reply}"),
                    None => break,
                }
                told.push(at);
            }
            told
        });
        thread::sleep(Duration::from_millis(30 + round * 17));
        appliance.kill9();
        let new = walker.join().unwrap();
        assert!(!new.is_empty(), "round {round}");
        told.extend(new);
    }
    let _appliance = Appliance::start(&directory, FAST);
    let kept = path("ann", 1_000);
    let number = |point: &Value| point["n"].as_u64().unwrap();
    let numbers: Vec<u64> = kept.iter().map(number).collect();
    assert!(
        numbers.is_sorted_by(|one, next| one < next),
        "in order of arrival, none twice"
    );
    for point in &told {
        assert!(
            numbers.binary_search(&number(point)).is_ok(),
            "{point} was acknowledged"
        );
    }
}
