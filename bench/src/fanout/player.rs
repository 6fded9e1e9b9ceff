//! One player's task: handshake, then whatever comes first of an event, a message and a ping.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::hunts::Hunts;

/// The protocol's code for a player that does not keep up.
const CLOSE_SLOW: u16 = 3008;
/// And for one whose command cannot be read.
const CLOSE_BAD_REQUEST: u16 = 3501;

type Socket = WebSocketStream<TcpStream>;

/// Why a task ends; the connection is over in each case.
enum End {
    Closed,
    With(u16),
}

impl From<Error> for End {
    fn from(_: Error) -> End {
        End::Closed
    }
}

/// Serves one connection until it ends; whatever goes wrong is the end of that player only.
pub(super) async fn serve(stream: TcpStream, hunts: Arc<Hunts>, ping_every: Duration) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    if let Err(End::With(code)) = talk(&mut socket, &hunts, ping_every).await {
        let reason = Utf8Bytes::from_static("");
        let frame = CloseFrame {
            code: code.into(),
            reason,
        };
        let _ = socket.close(Some(frame)).await;
    }
}

async fn talk(socket: &mut Socket, hunts: &Hunts, ping_every: Duration) -> Result<(), End> {
    let mut events: Option<Receiver<Utf8Bytes>> = None;
    let mut ping = interval_at(Instant::now() + ping_every, ping_every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = next(&mut events) => {
                let event = event.map_err(|_| End::With(CLOSE_SLOW))?;
                send(socket, event, &mut events).await?;
            }
            message = socket.next() => match message.ok_or(End::Closed)?? {
                Message::Text(text) => {
                    let replies = answer(&text, hunts, &mut events, ping_every)?;
                    if !replies.is_empty() {
                        socket.send(Message::text(replies)).await?;
                    }
                }
                Message::Close(_) => return Ok(()),
                // The library answers pings.
                _ => {}
            },
            _ = ping.tick() => socket.send(Message::text("{}")).await?,
        }
    }
}

/// The next event; for ever pending without a subscription.
async fn next(events: &mut Option<Receiver<Utf8Bytes>>) -> Result<Utf8Bytes, RecvError> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Writes `event` and what else has gathered, then flushes once.
async fn send(
    socket: &mut Socket,
    event: Utf8Bytes,
    events: &mut Option<Receiver<Utf8Bytes>>,
) -> Result<(), End> {
    socket.feed(Message::Text(event)).await?;
    while let Some(events) = events {
        match events.try_recv() {
            Ok(event) => socket.feed(Message::Text(event)).await?,
            Err(TryRecvError::Lagged(_)) => return Err(End::With(CLOSE_SLOW)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    Ok(socket.flush().await?)
}

/// The replies to the commands of one message, a line each.
fn answer(
    text: &str,
    hunts: &Hunts,
    events: &mut Option<Receiver<Utf8Bytes>>,
    ping_every: Duration,
) -> Result<String, End> {
    let mut replies = String::new();
    for line in text.lines().filter(|line| *line != "{}") {
        let command: Value =
            serde_json::from_str(line).map_err(|_| End::With(CLOSE_BAD_REQUEST))?;
        let id = &command["id"];
        let reply = if command["connect"].is_object() {
            let ping = ping_every.as_secs();
            json!({"id": id, "connect": {"client": "kernel", "ping": ping, "pong": true}})
        } else if let Some(name) = command["subscribe"]["channel"].as_str() {
            let (offset, receiver) = hunts.subscribe(name);
            *events = Some(receiver);
            json!({"id": id, "subscribe": {"epoch": "kernel", "offset": offset}})
        } else {
            return Err(End::With(CLOSE_BAD_REQUEST));
        };
        if !replies.is_empty() {
            replies.push('\n');
        }
        replies.push_str(&reply.to_string());
    }
    Ok(replies)
}
