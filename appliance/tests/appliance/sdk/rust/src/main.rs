//! `tokio-player URL TOKEN json|protobuf HUNT`: connects and subscribes; says what happens, one JSON value
//! a line. Takes lines `["publish", HUNT, DATA]` and `["rpc", METHOD, DATA]` and says `{"code": C}` for
//! each, 0 when it went well. Ends with its input.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio_centrifuge::client::{Client, RequestError};
use tokio_centrifuge::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let [url, token, protocol, hunt] = arguments();
    let config = match protocol.as_str() {
        "json" => Config::new().use_json(),
        "protobuf" => Config::new().use_protobuf(),
        other => panic!("{other} is no protocol"),
    };
    let client = Client::new(&url, config.with_token(token));
    client.on_connecting(|_| say(&json!("connecting")));
    client.on_connected(|_| say(&json!("connected")));
    client.on_disconnected(|_| say(&json!("disconnected")));
    let subscription = client.new_subscription(&hunt);
    subscription.on_subscribed(|_| say(&json!("subscribed")));
    subscription.on_publication(|event| {
        let data: Value = serde_json::from_slice(&event.data).expect("events are JSON");
        say(&json!([event.offset, data]));
    });
    subscription.subscribe();
    client.connect();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some([kind, name, data]) = command(&mut lines).await {
        let name = name.as_str().expect("a name");
        let data = data.to_string().into_bytes();
        let done = match kind.as_str() {
            Some("publish") => match client.get_subscription(name) {
                Some(subscription) => subscription.publish(data).await,
                None => client.publish(name, data).await,
            },
            _ => client.rpc(name, data).await.map(drop),
        };
        say(&json!({"code": match done {
            Ok(()) => 0,
            Err(RequestError::ErrorResponse(error)) => i64::from(error.code),
            Err(other) => panic!("{other:?}"),
        }}));
    }
}

fn arguments() -> [String; 4] {
    let given: Vec<String> = std::env::args().skip(1).collect();
    given.try_into().expect("URL TOKEN json|protobuf HUNT")
}

async fn command(lines: &mut Lines<BufReader<Stdin>>) -> Option<[Value; 3]> {
    let line = lines.next_line().await.expect("input is readable")?;
    Some(serde_json::from_str(&line).expect("a command"))
}

fn say(what: &Value) {
    println!("{what}");
}
