//! A player on kernel TCP that speaks the client protocol through a WebSocket library.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tungstenite::client::client;
use tungstenite::{Error, Message, WebSocket};

use crate::running::{PATIENCE, SECRET};
use crate::world::{LISTEN, World};

/// A connected player.
#[derive(Debug)]
pub struct Player {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    /// Messages that came while another one was waited for.
    messages: VecDeque<Value>,
}

/// One event as a player gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub offset: u64,
    pub data: Value,
}

/// A TCP connection from the players' namespace to the appliance.
pub fn dial(world: &World, address: &str) -> TcpStream {
    let address = address.parse().unwrap();
    let connect = move || TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    let stream = world.as_player(connect).join().unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A token for `user` that holds for an hour.
pub fn token(user: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let claims = json!({"sub": user, "exp": now.as_secs() + 3600});
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap()
}

impl Player {
    /// Upgrades; the protocol's `connect` is yet to be said.
    pub fn upgrade(stream: TcpStream) -> Player {
        let url = format!("ws://{LISTEN}/connection/websocket");
        let (socket, _) = client(url, stream).expect("the upgrade is accepted");
        Player {
            socket,
            last_id: 0,
            messages: VecDeque::new(),
        }
    }

    /// An anonymous player over IPv4, connected.
    pub fn join(world: &World) -> Player {
        let mut player = Player::upgrade(dial(world, LISTEN));
        let reply = player.command("connect", json!({}));
        assert!(reply["connect"]["client"].is_string(), "{reply}");
        player
    }

    /// An anonymous player, connected and subscribed to `hunt`.
    pub fn join_hunt(world: &World, hunt: &str) -> Player {
        let mut player = Player::join(world);
        player.subscribe(json!({"channel": hunt}));
        player
    }

    /// Sends one command and waits for its reply.
    pub fn command(&mut self, name: &str, body: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.send(json!({"id": id, name: body}).to_string());
        self.wait_for(|message| message["id"] == id)
    }

    /// Sends one command and waits for its reply; none when the appliance is gone.
    pub fn try_command(&mut self, name: &str, body: Value) -> Option<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let text = json!({"id": id, name: body}).to_string();
        self.socket.send(Message::text(text)).ok()?;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let replies = text
                        .lines()
                        .filter_map(|line| serde_json::from_str(line).ok());
                    let found = replies.into_iter().find(|reply: &Value| reply["id"] == id);
                    if found.is_some() {
                        return found;
                    }
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Subscribes; gives the result.
    pub fn subscribe(&mut self, request: Value) -> Value {
        let reply = self.command("subscribe", request);
        assert!(reply["subscribe"].is_object(), "{reply}");
        reply["subscribe"].clone()
    }

    /// Sends one text message.
    pub fn send(&mut self, text: String) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next event of any hunt.
    pub fn event(&mut self) -> Event {
        let message = self.wait_for(|message| message["push"]["pub"].is_object());
        let event = &message["push"]["pub"];
        Event {
            offset: event["offset"].as_u64().unwrap(),
            data: event["data"].clone(),
        }
    }

    /// The first message that is `wanted`; the others keep their place.
    fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(index) = self.messages.iter().position(&wanted) {
                return self.messages.remove(index).unwrap();
            }
            self.read().expect("a message, not the end");
        }
    }

    /// Fails if anything but a ping comes within `span`.
    pub fn hears_nothing(&mut self, span: Duration) {
        assert!(self.messages.is_empty(), "{:?}", self.messages);
        self.socket.get_ref().set_read_timeout(Some(span)).unwrap();
        match self.socket.read() {
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => (),
            other => panic!("{other:?}"),
        }
        self.socket
            .get_ref()
            .set_read_timeout(Some(PATIENCE))
            .unwrap();
    }

    /// The code the appliance closes with; what comes before it is skipped.
    pub fn closed(&mut self) -> u16 {
        loop {
            if let Err(code) = self.read() {
                return code;
            }
        }
    }

    /// The connection below, for what a library would not send.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    /// Takes one WebSocket message, which may hold several of the protocol's, and answers pings; an
    /// error is the close code.
    fn read(&mut self) -> Result<(), u16> {
        let text = match self.socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(frame)) => return Err(frame.map_or(1005, |f| f.code.into())),
            Ok(_) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        for line in text.lines() {
            match line {
                "{}" => self.send("{}".to_owned()),
                line => self
                    .messages
                    .push_back(serde_json::from_str(line).expect("JSON")),
            }
        }
        Ok(())
    }
}
