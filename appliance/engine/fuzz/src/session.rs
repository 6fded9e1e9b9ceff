//! Any bytes as messages of one connected player, through its session, with a journal that answers what it
//! is asked.
//!
//! Whatever comes, what goes out is the upgrade's answer and then whole frames of the player's protocol,
//! the close frame last; and a connection that is gone has given back all it took. There is no TCP below:
//! nothing is ever placed, so all that goes out is found in the player's private chain.

use std::cell::RefCell;

use engine::hunt::Hunts;
use engine::hunt::log::Logs;
use engine::hunt::publication::Publication;
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::metrics::histogram;
use engine::protobuf::{Fields, append_filled, take_delimited};
use engine::ring::broadcast::{HistoryPage, PresencePage, Published, Record, Refusal, Subscribed};
use engine::ring::bytes::{Reader, ring};
use engine::ring::submit::{SUBMISSION_BYTES_MAX, Submission};
use engine::session::codec::Protocol;
use engine::session::rules::{ChannelRules, Rules, Verify};
use engine::session::{PRIVATE, Road, Sessions, Submit};
use engine::tcp::{self, Source, Tcp};
use engine::units::{ConnId, Micros};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

struct Core {
    sessions: Sessions,
    tcp: Tcp,
    hunts: Hunts,
    submit: Submit,
    submitted: Reader,
    counters: Counters,
    generation: u32,
    now: Micros,
}

thread_local! {
    /// Made once: its tables are large. Every run gives back what it took, which is checked.
    static CORE: RefCell<Core> = RefCell::new(Core::new());
}

/// A player of `protocol` sends `data` as one message, and again when the journal has answered.
pub fn run(protocol: Protocol, data: &[u8]) {
    CORE.with_borrow_mut(|core| core.run(protocol, data));
}

fn rules() -> Rules {
    Rules {
        version: "fuzz",
        path: "/connection/websocket".to_owned(),
        anonymous: true,
        ping_interval: Micros::from_secs(25),
        pong_timeout: Micros::from_secs(8),
        handshake_timeout: Micros::from_secs(5),
        connect_timeout: Micros::from_secs(5),
        message_bytes_max: 65_536,
        echo_message_bytes_max: 65_536,
        channels_max: 8,
        lag_bytes_max: u64::MAX,
        default: ChannelRules {
            history: true,
            force_recovery: true,
            allow_subscribe_for_client: true,
            allow_subscribe_for_anonymous: true,
            allow_publish_for_client: true,
            allow_publish_for_anonymous: true,
            ..ChannelRules::default()
        },
        ..Rules::default()
    }
}

impl Core {
    fn new() -> Core {
        let counters = Counters::default();
        let (writer, submitted) = ring(1 << 18, SUBMISSION_BYTES_MAX);
        let log = Box::leak(vec![0; 1 << 14].into_boxed_slice());
        Core {
            sessions: Sessions::new(
                1,
                256,
                rules(),
                Verify::nothing(),
                counters.clone(),
                histogram::recorder().0,
                7,
            ),
            tcp: Tcp::new(tcp::Config::default(), counters.clone()),
            hunts: Hunts::new(Logs::new(log, 32, 4096), 16, 32, 16),
            submit: Submit::new(writer),
            submitted,
            counters,
            generation: 0,
            now: Micros::from_secs(1),
        }
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Sessions, &mut Road<'_>) -> R) -> R {
        let mut road = Road {
            now: self.now,
            tcp: &mut self.tcp,
            hunts: &mut self.hunts,
            submit: &mut self.submit,
        };
        act(&mut self.sessions, &mut road)
    }

    fn run(&mut self, protocol: Protocol, data: &[u8]) {
        self.generation = self.generation.wrapping_add(1);
        let id = ConnId {
            slot: 0,
            generation: self.generation,
        };
        self.with(|sessions, road| sessions.on_open(road, id));
        let query = match protocol {
            Protocol::Json => "",
            Protocol::Protobuf => "?format=protobuf",
        };
        let mut request = format!(
            "GET /connection/websocket{query} HTTP/1.1\r\nHost: game\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        )
        .into_bytes();
        self.with(|sessions, road| sessions.on_data(road, id, &mut request));
        let connect: &[u8] = match protocol {
            Protocol::Json => br#"{"id":1,"connect":{}}"#,
            // A command of four bytes: its number, and an empty connect.
            Protocol::Protobuf => &[4, 1 << 3, 1, 4 << 3 | 2, 0],
        };
        self.send(id, connect);
        for _ in 0..2 {
            self.send(id, data);
            self.answer();
            while let Some(touched) = self.sessions.next_touched() {
                self.with(|sessions, road| sessions.serve(road, touched));
            }
        }
        let said = self.said(id);
        let frames = check(protocol, &said);
        assert!(frames >= 1 || said.is_empty(), "the connect is answered");
        self.with(|sessions, road| sessions.on_closed(road, id));
        self.answer();
        while self.sessions.next_touched().is_some() {}
        assert_eq!((self.sessions.count(), self.sessions.chunks_used()), (0, 0));
        assert_eq!(self.hunts.count(), 0);
        assert_eq!(self.counters.get(Metric::SessionPlayers), 0);
    }

    /// Sends `payload` as one binary frame; nothing when it is too long for one.
    fn send(&mut self, id: ConnId, payload: &[u8]) {
        let mut frame = vec![0x82];
        match u16::try_from(payload.len()) {
            Ok(length @ 0..=125) => frame.push(0x80 | length.to_be_bytes()[1]),
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => return,
        }
        frame.extend(MASK);
        let masked = payload.iter().zip(MASK.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        self.with(|sessions, road| sessions.on_data(road, id, &mut frame));
    }

    /// The journal's answers, in order: every fourth is a refusal.
    fn answer(&mut self) {
        let mut missed = Vec::new();
        for offset in [4, 5] {
            let publication = Publication {
                data: b"[1]",
                offset,
                ..Publication::default()
            };
            append_filled(&mut missed, |out| publication.append(out));
        }
        while let Some(record) = self.submitted.pop() {
            let submission = record.to_vec();
            let submission: Submission<'_> =
                postcard::from_bytes(&submission).expect("sessions write submissions");
            let refused = |token| Record::Refused {
                token,
                refusal: Refusal::Unavailable,
            };
            let record = match &submission {
                Submission::Publish(publish) if publish.data.len() % 4 == 3 => {
                    refused(publish.token)
                }
                Submission::Publish(publish) => Record::Published(Published {
                    token: publish.token,
                    offset: 1,
                    epoch: "e",
                }),
                Submission::Subscribe(wish) if wish.offset % 4 == 3 => refused(wish.token),
                Submission::Subscribe(wish) => Record::Subscribed(Subscribed {
                    token: wish.token,
                    hunt: number(wish.hunt),
                    name: wish.hunt,
                    epoch: "e",
                    top: 5,
                    recoverable: wish.recover,
                    history_ttl_ms: 60_000,
                }),
                Submission::History(history) => Record::History(HistoryPage {
                    token: history.token,
                    epoch: "e",
                    top: 5,
                    publications: if history.bytes_max > 0 { &missed } else { b"" },
                }),
                Submission::Presence(ask) => Record::Presence(PresencePage {
                    token: ask.token,
                    entries: b"\x03\x0a\x01u",
                    num_clients: 1,
                    num_users: 1,
                    more: false,
                }),
                // Not answered, or not asked by players.
                _ => continue,
            };
            self.with(|sessions, road| sessions.on_record(road, &record));
        }
    }

    /// All that the player was told.
    fn said(&self, id: ConnId) -> Vec<u8> {
        let mut said = Vec::new();
        for step in [256, 1] {
            loop {
                let source = Source {
                    tag: PRIVATE,
                    position: said.len() as u64,
                };
                let mut piece = [0; 256];
                let piece = &mut piece[..step];
                if !self.sessions.read(&self.hunts, id, source, piece) {
                    break;
                }
                said.extend_from_slice(piece);
            }
        }
        said
    }
}

/// A number for a hunt, always the same (FNV-1a).
fn number(hunt: &str) -> u32 {
    hunt.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Checks what a player was told; gives the frames behind the upgrade's answer.
fn check(protocol: Protocol, said: &[u8]) -> usize {
    let Some(end) = said.windows(4).position(|four| four == b"\r\n\r\n") else {
        // Cut, and so already forgotten.
        assert!(said.is_empty());
        return 0;
    };
    assert!(said.starts_with(b"HTTP/1.1 101 "));
    let mut rest = &said[end + 4..];
    let mut frames = 0;
    while let Some((&[first, second], after)) = rest.split_first_chunk() {
        let (length, after) = match second {
            126 => {
                let (length, after) = after.split_first_chunk().expect("a whole header");
                (usize::from(u16::from_be_bytes(*length)), after)
            }
            127 => {
                let (length, after) = after.split_first_chunk().expect("a whole header");
                (u64::from_be_bytes(*length) as usize, after)
            }
            short => (usize::from(short), after),
        };
        let (payload, after) = after.split_at(length);
        rest = after;
        frames += 1;
        match (first, protocol) {
            (0x88, _) => assert!(
                rest.is_empty() && length >= 2,
                "the close frame is the last"
            ),
            (0x81, Protocol::Json) => {
                let value: serde_json::Value =
                    serde_json::from_slice(payload).expect("a message is JSON");
                assert!(value.is_object() && !payload.contains(&b'\n'));
            }
            (0x82, Protocol::Protobuf) => {
                let mut messages = payload;
                let message = take_delimited(&mut messages).expect("a message has a length");
                assert!(messages.is_empty() && Fields::new(message).all(|field| field.is_ok()));
            }
            _ => panic!("a frame {first:x} for {protocol:?}"),
        }
    }
    assert!(rest.is_empty());
    frames
}
