//! `tokio-centrifuge` (crates.io), a third client by other people than the other two. It knows neither
//! recovery nor token renewal, so after a cut it goes on with what is new.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_centrifuge::client::{Client, RequestError};
use tokio_centrifuge::config::Config;
use tokio_centrifuge::subscription::Subscription;

use super::scenarios::TABLES;
use crate::player::token;
use crate::running::{Appliance, PATIENCE, SETTINGS, Settings, api, directory, publish};
use crate::world::{LISTEN, World};

#[test]
fn json() {
    plays(Config::new().use_json());
}

#[test]
fn protobuf() {
    plays(Config::new().use_protobuf());
}

/// What happened, in order.
#[derive(Debug, PartialEq)]
enum Happened {
    Connected,
    Connecting,
    Subscribed,
    Event(u64, Value),
    Disconnected,
}

fn plays(config: Config) {
    let (world, directory) = (World::new(), directory());
    let tables = TABLES;
    let _appliance = Appliance::start(&directory, Settings { tables, ..SETTINGS });
    let client = client(&world, config.with_token(token("ada")));
    let (hunt, happened) = (client.new_subscription("full:hunt"), watch(&client));
    let events = subscribe(&hunt);
    client.connect();
    wait(&happened, &Happened::Connected);
    wait(&events, &Happened::Subscribed);

    for number in 1..=300 {
        publish("full:hunt", &json!({"n": number}));
    }
    expect(&events, 1, 300);

    // It publishes itself, and is told what it may not do.
    block(&client, &world, |client| async move {
        let mine = client.get_subscription("full:hunt").unwrap();
        mine.publish(br#"{"n":301}"#.to_vec()).await.unwrap();
        let refused = client.publish("quiet:hunt", b"{}".to_vec()).await;
        let code = |refused| match refused {
            Err(RequestError::ErrorResponse(error)) => error.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(refused), 103);
        let unknown = client.rpc("no such method", b"{}".to_vec()).await;
        assert_eq!(code(unknown.map(drop)), 104);
    });
    expect(&events, 301, 301);

    // A code below 3500 brings it back, and it subscribes again.
    let again = json!({"user": "ada", "disconnect": {"code": 3011, "reason": "again"}});
    api("disconnect", &again).unwrap();
    wait(&happened, &Happened::Connecting);
    wait(&happened, &Happened::Connected);
    wait(&events, &Happened::Subscribed);
    for number in 302..=400 {
        publish("full:hunt", &json!({"n": number}));
    }
    expect(&events, 302, 400);
    api("disconnect", &json!({"user": "ada"})).unwrap();
    wait(&happened, &Happened::Disconnected);
}

/// A client whose sockets are in the players' namespace.
fn client(world: &World, config: Config) -> Client {
    let (sender, made) = channel();
    world.as_player(move || {
        runtime().block_on(async {
            let url = format!("ws://{LISTEN}/connection/websocket");
            sender.send(Client::new(&url, config)).unwrap();
            // Its tasks run here until the test's process ends.
            std::future::pending::<()>().await;
        });
    });
    made.recv().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Waits for what `body` does with the client.
fn block<F: Future<Output = ()>>(
    client: &Client,
    world: &World,
    body: impl FnOnce(Client) -> F + Send + 'static,
) {
    let client = client.clone();
    let done = world.as_player(move || runtime().block_on(body(client)));
    done.join().unwrap();
}

fn watch(client: &Client) -> Receiver<Happened> {
    let (sender, happened) = channel();
    let [connected, connecting, disconnected] = [(); 3].map(|()| sender.clone());
    client.on_connected(move |_| _ = connected.send(Happened::Connected));
    client.on_connecting(move |_| _ = connecting.send(Happened::Connecting));
    client.on_disconnected(move |_| _ = disconnected.send(Happened::Disconnected));
    happened
}

fn subscribe(hunt: &Subscription) -> Receiver<Happened> {
    let (sender, events) = channel();
    let subscribed = sender.clone();
    hunt.on_subscribed(move |_| _ = subscribed.send(Happened::Subscribed));
    hunt.on_publication(move |event| {
        let data = serde_json::from_slice(&event.data).unwrap();
        _ = sender.send(Happened::Event(event.offset, data));
    });
    hunt.subscribe();
    events
}

/// Takes what happens until `wanted` does.
fn wait(happened: &Receiver<Happened>, wanted: &Happened) {
    while happened.recv_timeout(PATIENCE).expect("it happens") != *wanted {}
}

/// The events `first..=last` and no other, each once.
fn expect(events: &Receiver<Happened>, first: u64, last: u64) {
    for number in first..=last {
        let wanted = Happened::Event(number, json!({"n": number}));
        assert_eq!(events.recv_timeout(PATIENCE).unwrap(), wanted);
    }
    let more = events.recv_timeout(Duration::from_millis(50));
    assert!(more.is_err(), "{more:?}");
}
