//! A data core and a journal core on an in-memory NIC, and players with a TCP stack of their own
//! (smoltcp's) on the other end of its wire. Time is a number; a millisecond passes at a time.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses its part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "tests: numbers are small and known"
)]

use std::collections::VecDeque;

use engine::cores::data::{DataCore, Parts};
use engine::cores::mailbox::{self, Mailbox};
use engine::hunt::Hunts;
use engine::hunt::log::Logs;
use engine::hunt::publication::ClientInfo;
use engine::journal::memory_store::MemoryStore;
use engine::journal::{self, Durability, JournalCore, Retention, Rule};
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use engine::metrics::histogram;
use engine::port::memory::MemoryPort;
use engine::protobuf::delimited;
use engine::ring::broadcast::{Movement, RECORD_BYTES_MAX, Record};
use engine::ring::bytes::{Reader, Writer, ring};
use engine::ring::submit::{Presence, Publish, SUBMISSION_BYTES_MAX, Submission, Tell, Told, Want};
use engine::session::rules::{
    ChannelRules, Claims, Rules, ServerSubscription, SubscriptionClaims, TokenError, Verify,
};
use engine::session::{Sessions, Submit};
use engine::tcp::{self, Tcp};
use engine::units::Micros;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

/// Ethernet header of what players send.
const UP: [u8; 14] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];

/// The players' NIC, without Ethernet.
#[derive(Default)]
struct Nic {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Rx(Vec<u8>);
struct Tx<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Nic {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Rx(packet), Tx(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

/// One player: what it has received and not yet been looked at.
pub struct Player {
    handle: SocketHandle,
    bytes: Vec<u8>,
    upgraded: bool,
    /// The head of the response to the upgrade.
    response: String,
    /// Text messages, one JSON value each (several in one frame are split).
    pub inbox: VecDeque<String>,
    /// Code of the close frame.
    pub closed: Option<u16>,
    pub pings: usize,
    /// Answers pings.
    pub answers_pings: bool,
    /// Reads its socket.
    pub reads: bool,
    /// Frames are kept as they come, first byte and payload, instead of being understood.
    pub frames: Option<Vec<(u8, Vec<u8>)>>,
}

/// Sizes a test may change.
pub struct Setup {
    pub rules: Rules,
    pub players_max: u32,
    pub half_open_max: u32,
    /// Data cores in the circle; all but one are only mailboxes.
    pub cores: u8,
    pub chunks: u32,
    pub submit_ring_bytes: usize,
    pub log_bytes: usize,
    pub history_size: u32,
    pub subscriptions_max: u32,
    /// Shortest payload that the journal compresses.
    pub compress_from: Option<usize>,
}

impl Default for Setup {
    fn default() -> Setup {
        let channel = ChannelRules {
            history: true,
            force_recovery: true,
            allow_subscribe_for_client: true,
            allow_subscribe_for_anonymous: true,
            allow_publish_for_client: true,
            allow_publish_for_anonymous: true,
            ..ChannelRules::default()
        };
        Setup {
            rules: Rules {
                version: "cluecast test",
                path: "/connection/websocket".to_owned(),
                echo: false,
                compression: false,
                compression_bytes_min: 100,
                allowed_origins: Vec::new(),
                anonymous: true,
                disallow_anonymous_connection_tokens: false,
                personal_channel: None,
                ping_interval: Micros::from_secs(25),
                pong_timeout: Micros::from_secs(8),
                handshake_timeout: Micros::from_secs(5),
                connect_timeout: Micros::from_secs(5),
                message_bytes_max: 65_536,
                echo_message_bytes_max: 65_536,
                channels_max: 4,
                lag_bytes_max: 200_000,
                positions_per_s: 10,
                namespaces: vec![(
                    "closed".to_owned(),
                    ChannelRules {
                        allow_subscribe_for_client: false,
                        allow_publish_for_client: false,
                        ..channel.clone()
                    },
                )],
                default: channel,
            },
            players_max: 64,
            half_open_max: 64,
            cores: 1,
            chunks: 512,
            submit_ring_bytes: 1 << 20,
            log_bytes: 1 << 20,
            history_size: 1000,
            subscriptions_max: 256,
            compress_from: None,
        }
    }
}

pub struct World {
    pub core: DataCore<MemoryPort>,
    pub journal: JournalCore<MemoryStore>,
    /// The journal does its turns.
    pub journal_works: bool,
    pub counters: Counters,
    /// The other cores' ends of the circle.
    pub neighbours: Vec<Mailbox>,
    pub now: Micros,
    submit: Writer,
    answers: Reader,
    /// A second data core is only its rings: what it submits, and whose movements it heard of.
    pub other_submit: Writer,
    other_broadcast: Reader,
    pub other_heard: Vec<(Movement, String)>,
    iface: Interface,
    nic: Nic,
    sockets: SocketSet<'static>,
    pub players: Vec<Player>,
    /// Called around each turn of the data core: the allocation counter's switch.
    pub around_turn: fn(bool),
    next_port: u16,
    /// Frames from players with this probability in percent are lost.
    pub loss_percent: u64,
    random: u64,
}

fn connection_claims(token: &str) -> Result<Claims, TokenError> {
    match token {
        "good" => Ok(Claims {
            user: "ann".to_owned(),
            info: b"{\"n\":1}".to_vec(),
            ..Claims::default()
        }),
        "short" => Ok(Claims {
            user: "bob".to_owned(),
            ttl_s: Some(3),
            ..Claims::default()
        }),
        "old" => Err(TokenError::Expired),
        "lapsed" => Err(TokenError::Lapsed),
        _ if token.starts_with("user=") => Ok(Claims {
            user: says(token, "user").unwrap_or_default().to_owned(),
            ttl_s: says(token, "ttl").map(|ttl| ttl.parse().unwrap()),
            info: says(token, "info").unwrap_or_default().into(),
            subscriptions: says(token, "subs")
                .into_iter()
                .flat_map(|names| names.split(','))
                .map(|channel| ServerSubscription {
                    channel: channel.to_owned(),
                    info: says(token, "chan_info").unwrap_or_default().into(),
                    data: says(token, "data").unwrap_or_default().into(),
                    ..ServerSubscription::default()
                })
                .collect(),
        }),
        _ => Err(TokenError::Invalid),
    }
}

fn subscription_claims(token: &str) -> Result<SubscriptionClaims, TokenError> {
    match token {
        "old" => Err(TokenError::Expired),
        "lapsed" => Err(TokenError::Lapsed),
        _ if token.starts_with("user=") => Ok(SubscriptionClaims {
            user: says(token, "user").unwrap_or_default().to_owned(),
            channel: says(token, "channel").unwrap_or_default().to_owned(),
            client: says(token, "client").unwrap_or_default().to_owned(),
            ttl_s: says(token, "ttl").map(|ttl| ttl.parse().unwrap()),
            info: says(token, "info").unwrap_or_default().into(),
            data: says(token, "data").unwrap_or_default().into(),
            ..SubscriptionClaims::default()
        }),
        _ => Err(TokenError::Invalid),
    }
}

/// What a token of the form `key=value;key=value` says.
fn says<'a>(token: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = token.split(';').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(name, value)| (name == key).then_some(value))
}

impl World {
    pub fn new() -> World {
        World::with(Setup::default())
    }

    pub fn with(setup: Setup) -> World {
        let counters = Counters::default();
        let (submit_in, submit_out) = ring(setup.submit_ring_bytes, SUBMISSION_BYTES_MAX);
        let (broadcast_in, broadcast_out) = ring(8 << 20, RECORD_BYTES_MAX);
        let (control_in, control_out) = ring(1 << 20, SUBMISSION_BYTES_MAX);
        let (answers_in, answers_out) = ring(2 << 20, RECORD_BYTES_MAX);
        let (other_submit, other_out) = ring(1 << 20, SUBMISSION_BYTES_MAX);
        let (other_in, other_broadcast) = ring(8 << 20, RECORD_BYTES_MAX);
        let rule = Rule {
            history_size: setup.history_size,
            history_ttl_ms: 86_400_000,
            compress_from: setup.compress_from,
        };
        let mut journal = JournalCore::open(
            MemoryStore::default(),
            journal::Config {
                durability: Durability::Fsync,
                hunts_max: 100,
                retention: Retention {
                    default: rule,
                    namespaces: Vec::new(),
                    paths: journal::PathRule::default(),
                },
            },
            vec![submit_out, other_out, control_out],
            vec![broadcast_in, other_in, answers_in],
            2,
            Counters::default(),
            7,
        )
        .unwrap();
        let (recorder, _) = histogram::recorder();
        let verify = Verify {
            connection: Box::new(connection_claims),
            subscription: Box::new(subscription_claims),
        };
        let mut neighbours = mailbox::circle(setup.cores);
        let mailbox = neighbours.remove(0);
        let log = Box::leak(vec![0; setup.log_bytes].into_boxed_slice());
        let mut hunts = Hunts::new(Logs::new(log, 16, 400_000), 16, 16, setup.subscriptions_max);
        hunts.count_in(journal.count_subscribers().remove(0));
        let core = DataCore::new(Parts {
            port: MemoryPort::new(4096),
            tcp: Tcp::new(
                tcp::Config {
                    listen: vec!["10.0.0.1:8000".parse().unwrap()],
                    connections_max: setup.players_max,
                    half_open_max: setup.half_open_max,
                    time_wait_max: setup.players_max / 4,
                    ..tcp::Config::default()
                },
                counters.clone(),
            ),
            sessions: Sessions::new(
                setup.players_max,
                setup.chunks,
                setup.rules,
                verify,
                counters.clone(),
                recorder,
                3,
            ),
            hunts,
            submit: Submit::new(submit_in),
            broadcast: broadcast_out,
            mailbox,
            counters: counters.clone(),
        });
        let mut nic = Nic::default();
        let mut iface = Interface::new(Config::new(HardwareAddress::Ip), &mut nic, Instant::ZERO);
        iface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24))
                .unwrap();
        });
        World {
            core,
            journal,
            journal_works: true,
            counters,
            neighbours,
            now: Micros::from_secs(1_000),
            submit: control_in,
            answers: answers_out,
            other_submit,
            other_broadcast,
            other_heard: Vec::new(),
            iface,
            nic,
            sockets: SocketSet::new(Vec::new()),
            players: Vec::new(),
            around_turn: |_| (),
            next_port: 40_000,
            loss_percent: 0,
            random: 1,
        }
    }

    pub fn count(&self, metric: Metric) -> u64 {
        self.counters.get(metric)
    }

    fn is_lost(&mut self) -> bool {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) % 100 < self.loss_percent
    }

    /// One millisecond of which the core knows nothing: what the players send waits in its port.
    pub fn step_players(&mut self) {
        self.now = self.now + Micros::from_millis(1);
        let time = Instant::from_micros(self.now.0.cast_signed());
        self.iface.poll(time, &mut self.nic, &mut self.sockets);
        for packet in std::mem::take(&mut self.nic.sent) {
            if !self.is_lost() {
                let frame = [&UP[..], &packet].concat();
                self.core.port().inject(&frame);
            }
        }
    }

    /// One millisecond.
    pub fn step(&mut self) {
        self.step_players();
        (self.around_turn)(true);
        self.core.turn(self.now);
        (self.around_turn)(false);
        if self.journal_works {
            self.journal.turn(self.now, self.now.0 / 1000);
        }
        while let Some(record) = self.other_broadcast.pop() {
            if let Ok(Record::Movement(moved)) = postcard::from_bytes(record) {
                let who = ClientInfo::parse(moved.who).unwrap();
                self.other_heard
                    .push((moved.movement, who.client.to_owned()));
            }
        }
        let mut frame = Vec::new();
        while self.core.port().take_sent(&mut frame) {
            if !self.is_lost() {
                self.nic.received.push_back(frame[14..].to_vec());
            }
        }
        for index in 0..self.players.len() {
            self.read(index);
        }
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    /// Opens a TCP connection; sends nothing on it.
    pub fn dial(&mut self) -> usize {
        let buffer = |bytes| SocketBuffer::new(vec![0; bytes]);
        let mut socket = Socket::new(buffer(32_768), buffer(32_768));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let handle = self.sockets.add(socket);
        self.next_port += 1;
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        let peer = (IpAddress::v4(10, 0, 0, 1), 8000);
        socket
            .connect(self.iface.context(), peer, self.next_port)
            .unwrap();
        self.players.push(Player {
            handle,
            bytes: Vec::new(),
            upgraded: false,
            response: String::new(),
            inbox: VecDeque::new(),
            closed: None,
            pings: 0,
            answers_pings: true,
            reads: true,
            frames: None,
        });
        self.run(3);
        self.players.len() - 1
    }

    /// Dials and upgrades.
    pub fn upgrade(&mut self) -> usize {
        let player = self.dial();
        self.send_bytes(player, UPGRADE);
        self.run(3);
        assert!(self.players[player].upgraded, "{:?}", self.text(player));
        player
    }

    /// Upgrades at the echo endpoint; what comes is kept in `frames`.
    pub fn echo(&mut self) -> usize {
        self.upgrade_at("/debug/echo", "")
    }

    /// Upgrades at `target` with more lines in the request; what comes is kept in `frames`.
    pub fn upgrade_at(&mut self, target: &str, lines: &str) -> usize {
        let player = self.dial();
        self.players[player].frames = Some(Vec::new());
        let request = String::from_utf8(UPGRADE.to_vec()).unwrap();
        let request = request.replace("/connection/websocket", target);
        let request = request.replace("Host:", &format!("{lines}Host:"));
        self.send_bytes(player, request.as_bytes());
        self.run(3);
        player
    }

    /// Upgrades at `path` with an offer of `extension`; what comes is kept in `frames`. The response is
    /// given back.
    pub fn offer_extension(&mut self, path: &str, extension: &str) -> (usize, String) {
        let player = self.dial();
        self.players[player].frames = Some(Vec::new());
        let request = String::from_utf8(UPGRADE.to_vec()).unwrap();
        let head = request.strip_suffix("\r\n").unwrap();
        let head = head.replace("/connection/websocket", path);
        let request = format!("{head}Sec-WebSocket-Extensions: {extension}\r\n\r\n");
        self.send_bytes(player, request.as_bytes());
        self.run(3);
        let response = self.players[player].response.clone();
        (player, response)
    }

    /// What came on a connection that keeps frames since the last call.
    pub fn frames(&mut self, player: usize) -> Vec<(u8, Vec<u8>)> {
        std::mem::take(self.players[player].frames.as_mut().unwrap())
    }

    /// Upgrades and connects anonymously.
    pub fn connect(&mut self) -> usize {
        let player = self.upgrade();
        let reply = self.ask(player, r#"{"id":1,"connect":{}}"#);
        assert!(reply.contains("\"connect\""), "{reply}");
        player
    }

    pub fn subscribe(&mut self, player: usize, hunt: &str) -> String {
        self.ask(
            player,
            &format!(r#"{{"id":2,"subscribe":{{"channel":"{hunt}"}}}}"#),
        )
    }

    /// Sends a command and waits for the next message.
    pub fn ask(&mut self, player: usize, command: &str) -> String {
        self.send_text(player, command);
        for _ in 0..200 {
            self.step();
            if let Some(reply) = self.players[player].inbox.pop_front() {
                return reply;
            }
            if let Some(code) = self.players[player].closed {
                return format!("closed {code}");
            }
        }
        "nothing".to_owned()
    }

    pub fn send_text(&mut self, player: usize, text: &str) {
        self.send_frame(player, 0x81, text.as_bytes());
    }

    /// A masked frame with this first byte.
    pub fn send_frame(&mut self, player: usize, first: u8, payload: &[u8]) {
        self.send_bytes(player, &masked(first, payload));
    }

    /// Offers bytes to the player's socket once; gives how many it took.
    pub fn offer(&mut self, player: usize, bytes: &[u8]) -> usize {
        let handle = self.players[player].handle;
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        socket.send_slice(bytes).unwrap()
    }

    pub fn send_bytes(&mut self, player: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let handle = self.players[player].handle;
            let socket = self.sockets.get_mut::<Socket<'_>>(handle);
            let Ok(sent) = socket.send_slice(rest) else {
                return;
            };
            rest = &rest[sent..];
            if !rest.is_empty() {
                self.step();
            }
        }
    }

    /// Closes the player's socket.
    pub fn hang_up(&mut self, player: usize) {
        let handle = self.players[player].handle;
        self.sockets.get_mut::<Socket<'_>>(handle).close();
    }

    /// Resets the player's socket.
    pub fn reset(&mut self, player: usize) {
        let handle = self.players[player].handle;
        self.sockets.get_mut::<Socket<'_>>(handle).abort();
    }

    pub fn is_open(&mut self, player: usize) -> bool {
        let handle = self.players[player].handle;
        self.sockets.get_mut::<Socket<'_>>(handle).may_recv()
    }

    /// What was received and is not a frame yet.
    pub fn text(&self, player: usize) -> String {
        String::from_utf8_lossy(&self.players[player].bytes).into_owned()
    }

    fn read(&mut self, index: usize) {
        let player = &mut self.players[index];
        if !player.reads {
            return;
        }
        let socket = self.sockets.get_mut::<Socket<'_>>(player.handle);
        while socket.can_recv() {
            socket
                .recv(|data| (data.len(), player.bytes.extend_from_slice(data)))
                .unwrap();
        }
        let mut pongs = 0;
        if !player.upgraded {
            let text = String::from_utf8_lossy(&player.bytes).into_owned();
            let Some(end) = text.find("\r\n\r\n") else {
                return;
            };
            if !text.starts_with("HTTP/1.1 101") {
                return;
            }
            player.upgraded = true;
            player.response = text[..end].to_owned();
            player.bytes.drain(..end + 4);
        }
        while let Some((first, payload, used)) = frame(&player.bytes) {
            player.bytes.drain(..used);
            if let Some(frames) = &mut player.frames {
                frames.push((first, payload));
                continue;
            }
            match first {
                0x81 => {
                    for line in String::from_utf8(payload).unwrap().lines() {
                        if line == "{}" {
                            player.pings += 1;
                            pongs += usize::from(player.answers_pings);
                        } else {
                            player.inbox.push_back(line.to_owned());
                        }
                    }
                }
                0x88 => {
                    player.closed = Some(u16::from_be_bytes([payload[0], payload[1]]));
                    socket.close();
                }
                other => panic!("frame {other:x}"),
            }
        }
        for _ in 0..pongs {
            self.send_text(index, "{}");
        }
    }

    /// Publishes as a backend does; the answer is dropped.
    pub fn publish(&mut self, hunt: &str, data: &str) {
        let publish = Publish {
            token: 1,
            hunt,
            data: data.as_bytes(),
            stamp_us: self.now.0,
            ..Publish::default()
        };
        let mut scratch = vec![0; SUBMISSION_BYTES_MAX];
        let record = postcard::to_slice(&Submission::Publish(publish), &mut scratch).unwrap();
        self.submit.push(record).unwrap();
        while let Some(answer) = self.answers.pop() {
            let answer = postcard::from_bytes::<Record<'_>>(answer).unwrap();
            let wanted = matches!(answer, Record::Published(_) | Record::Done { .. });
            assert!(wanted, "{answer:?}");
        }
    }

    /// Who is in `hunt`, as the journal says: client ids in order, and the number of users.
    pub fn present(&mut self, hunt: &str) -> (Vec<String>, u32) {
        let ask = Presence {
            token: 2,
            hunt,
            want: Want::Everybody,
        };
        let mut scratch = vec![0; SUBMISSION_BYTES_MAX];
        let record = postcard::to_slice(&Submission::Presence(ask), &mut scratch).unwrap();
        self.submit.push(record).unwrap();
        let (mut clients, mut going) = (Vec::new(), true);
        while going {
            self.journal.turn(self.now, self.now.0 / 1000);
            while let Some(answer) = self.answers.pop() {
                match postcard::from_bytes::<Record<'_>>(answer).unwrap() {
                    Record::Presence(page) => {
                        let infos = delimited(page.entries).map(ClientInfo::parse);
                        clients.extend(infos.map(|info| info.unwrap().client.to_owned()));
                        going = page.more;
                        if !going {
                            assert_eq!(clients.len(), page.num_clients as usize);
                            clients.sort();
                            return (clients, page.num_users);
                        }
                    }
                    other => assert!(matches!(other, Record::Published(_)), "{other:?}"),
                }
            }
        }
        unreachable!()
    }

    /// Upgrades and connects with `token`; the reply.
    pub fn connect_with(&mut self, token: &str) -> (usize, String) {
        let player = self.upgrade();
        let command = format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#);
        let reply = self.ask(player, &command);
        (player, reply)
    }

    /// Does something to a user's connections, as a backend does it.
    #[allow(dead_code, reason = "not every file of tests has a backend")]
    pub fn tell(&mut self, user: &str, what: Told<'_>) {
        self.tell_one(user, "", "", what);
    }

    #[allow(dead_code, reason = "not every file of tests has a backend")]
    pub fn tell_one(&mut self, user: &str, client: &str, session: &str, what: Told<'_>) {
        let tell = Submission::Tell(Tell {
            token: 1,
            user,
            client,
            session,
            what,
        });
        self.ask_journal(&tell);
    }

    fn ask_journal(&mut self, submission: &Submission<'_>) {
        let mut scratch = vec![0; SUBMISSION_BYTES_MAX];
        let record = postcard::to_slice(submission, &mut scratch).unwrap();
        self.submit.push(record).unwrap();
    }

    /// The hunts that are listened to, with their subscribers.
    #[allow(dead_code, reason = "not every file of tests has a backend")]
    pub fn channels(&mut self) -> Vec<(String, u32)> {
        let ask = Submission::Channels { token: 2, from: 0 };
        self.ask_journal(&ask);
        self.run(2);
        let mut hunts = Vec::new();
        while let Some(answer) = self.answers.pop() {
            if let Record::Channels(page) = postcard::from_bytes(answer).unwrap() {
                assert_eq!((page.token, page.next), (2, None));
                hunts.extend(page.hunts().map(|(name, count)| (name.to_owned(), count)));
            }
        }
        hunts.sort();
        hunts
    }

    /// Offsets of the publications in a player's inbox, which is emptied.
    pub fn offsets(&mut self, player: usize) -> Vec<u64> {
        let messages: Vec<String> = self.players[player].inbox.drain(..).collect();
        messages
            .iter()
            .flat_map(|message| offsets_in(message))
            .collect()
    }
}

/// Every `"offset":N` behind a `"data"` in a message.
pub fn offsets_in(message: &str) -> Vec<u64> {
    let value: serde_json::Value = serde_json::from_str(message).unwrap();
    let offset = |publication: &serde_json::Value| publication["offset"].as_u64();
    if let Some(publications) = value["subscribe"]["publications"].as_array() {
        return publications.iter().filter_map(offset).collect();
    }
    offset(&value["push"]["pub"]).into_iter().collect()
}

/// The payload of a compressed message (RFC 7692 7.2.1), by another library than ours.
pub fn deflated(message: &[u8]) -> Vec<u8> {
    use miniz_oxide::deflate::core;
    let flags = core::create_comp_flags_from_zip_params(6, -15, 0);
    let mut state = core::CompressorOxide::new(flags);
    let mut out = vec![0; message.len() * 2 + 100];
    let (_, _, len) = core::compress(&mut state, message, &mut out, core::TDEFLFlush::Sync);
    out.truncate(len - 4);
    out
}

/// A client's frame with this first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// First byte, payload and length of the first complete frame.
fn frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (at, length) = match second {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
        ),
        127 => (
            10,
            u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize,
        ),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(at..at + length)?.to_vec();
    Some((first, payload, at + length))
}

pub const UPGRADE: &[u8] =
    b"GET /connection/websocket HTTP/1.1\r\nHost: game\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
