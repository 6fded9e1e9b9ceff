//! Players: what the bytes of a connection mean, from the upgrade request to the close frame.
//!
//! Below stands TCP (bytes in order, per connection), above the submit ring to the journal core;
//! beside it the hunts of this core. The client protocol is Centrifugo's
//! (`docs/protocol.md` says how much of it).
//!
//! Rules that always hold:
//! - commands of a connection are answered strictly in order. A command that needs the journal is
//!   `pending`; commands behind it that do not are `held` until it is answered, and the TCP window
//!   shrinks by what is held;
//! - a reply is whole frames in the player's `private` chain; the order of a connection's bytes is
//!   decided when they are placed into the TCP stream ([`serve`]);
//! - whatever a player does wrong ends at most its own connection, and moves a counter.
//!
//! Bounds: one record a connection; private bytes and held commands come from one pool per core
//! (empty: the connection that needed one is cut, `session_chunks_full`); at most
//! [`player::PENDING_MAX`] pending commands a connection.

pub mod codec;
pub mod codes;
pub mod rules;
pub mod permission;
pub mod player;
pub mod terms;
mod input;
mod command;
mod connect;
mod subscribe;
mod stand;
mod publish;
mod refresh;
mod answer;
mod recover;
mod presence;
mod position;
mod users;
mod tell;
mod serve;
mod echo;
mod deadline;

use std::collections::VecDeque;

use crate::hunt::Hunts;
use crate::memory::chunk::{Chunks, Full};
use crate::memory::queue::SlotQueue;
use crate::memory::slab::{NONE, Slab};
use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::metrics::histogram::Recorder;
use crate::ring::bytes::Writer;
use crate::ring::submit::{SUBMISSION_BYTES_MAX, Submission, Want};
use crate::session::codec::{Message, Protocol, Push, Pushed, Reply};
use crate::session::codes::Disconnect;
use crate::session::player::{ClientId, Flags, Phase, Player};
use crate::session::recover::Page;
use crate::session::rules::{Rules, Verify};
use crate::session::subscribe::{Extras, Wanted};
use crate::session::users::Users;
use crate::tcp::Tcp;
use crate::timer::Wheel;
use crate::units::{ConnId, Micros};
use crate::ws::deflate::{Deflater, Inflater, SHARED_WINDOW_BITS, WINDOW_BITS_MIN};
use crate::ws::{close, frame};

/// [`crate::tcp::Source`] tag of a player's private chain; every other tag is a stream's slot.
pub const PRIVATE: u32 = NONE;

/// Time a closing connection has to take its last bytes and end.
const CLOSE_TIMEOUT: Micros = Micros::from_secs(5);

/// Submissions of one core that may be unanswered: more are refused with "too many requests".
const PENDING_SUBMISSIONS_MAX: u32 = 16_384;

/// The submit ring's writing end with its scratch buffer.
#[derive(Debug)]
pub struct Submit {
    writer: Writer,
    scratch: Vec<u8>,
    /// Something was submitted since the flag was last cleared: the journal's doorbell is due.
    pub wrote: bool,
}

impl Submit {
    /// Takes the writing end.
    pub fn new(writer: Writer) -> Submit {
        Submit {
            writer,
            scratch: vec![0; SUBMISSION_BYTES_MAX],
            wrote: false,
        }
    }

    /// Submits; false when the ring is full.
    pub fn submit(&mut self, submission: &Submission<'_>) -> bool {
        let Ok(record) = postcard::to_slice(submission, &mut self.scratch) else {
            return false;
        };
        let done = self.writer.push(record).is_ok();
        self.wrote |= done;
        done
    }

    /// How full the ring is, in percent.
    pub fn fill_percent(&self) -> u64 {
        self.writer.fill_percent()
    }
}

/// What a session reaches of the rest of its core.
#[derive(Debug)]
pub struct Road<'a> {
    /// Now.
    pub now: Micros,
    /// The layer below.
    pub tcp: &'a mut Tcp,
    /// The hunts of this core.
    pub hunts: &'a mut Hunts,
    /// The way to the journal.
    pub submit: &'a mut Submit,
}

/// What a pending submission was for.
#[derive(Debug)]
enum Purpose {
    /// A subscribe command; the extras of one that has any.
    Subscribe(Wanted, Option<Box<Extras>>),
    Publish,
    /// Positions.
    Rpc,
    History,
    /// Presence and presence_stats.
    Presence(Want),
    /// A subscription that comes with the connect command.
    ServerSide(Wanted, Box<Extras>),
    /// A subscription that a backend makes.
    Later(Wanted, Box<Extras>),
    /// What a player missed.
    Page(Page),
}

/// What waits for the journal.
#[derive(Debug)]
struct Pending {
    conn: ConnId,
    command: u32,
    purpose: Purpose,
}

/// All players of one core.
pub struct Sessions {
    players: Vec<Option<Player>>,
    /// Players in it.
    count: usize,
    /// Private chunk pool; also read by `serve` while sending.
    chunks: Chunks,
    rules: Rules,
    verify: Verify,
    pending: Slab<Pending>,
    /// Pages on their way from the journal to players that missed something.
    pages_asked: usize,
    /// Players that wait for room to ask for such a page.
    waiting: VecDeque<ConnId>,
    /// Subscriptions to be (their `pending`) that wait for it with the first.
    first_pages: VecDeque<u64>,
    /// Players that have bytes for their connection and are to be served.
    touched: SlotQueue,
    wheel: Wheel,
    users: Users,
    /// Reply under construction.
    out: Vec<u8>,
    /// The same as a WebSocket frame.
    framed: Vec<u8>,
    /// A message put together from pieces.
    scratch: Vec<u8>,
    /// For compressed messages, when they are agreed to; away while one is read.
    inflater: Option<Inflater>,
    /// For echoes: with the shared window, and with the smallest.
    deflaters: Option<[Deflater; 2]>,
    counters: Counters,
    latency: Recorder,
    random: u64,
    /// Key of the client ids.
    client_key: [u64; 2],
    draining: bool,
    drain_next: usize,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Room for `players_max` players and `chunks` private chunks. `seed` feeds client ids and the
    /// spread of pings.
    pub fn new(
        players_max: u32,
        chunks: u32,
        rules: Rules,
        verify: Verify,
        counters: Counters,
        latency: Recorder,
        seed: u64,
    ) -> Sessions {
        let (command_bytes, message_bytes) = (rules.message_bytes_max, rules.longest_message());
        let inflater = rules.compression.then(|| Inflater::new(message_bytes));
        let windows = [SHARED_WINDOW_BITS, WINDOW_BITS_MIN];
        let echoes = rules.compression && rules.echo;
        Sessions {
            players: (0..players_max).map(|_| None).collect(),
            count: 0,
            chunks: Chunks::new(chunks),
            rules,
            verify,
            pending: Slab::new(PENDING_SUBMISSIONS_MAX),
            pages_asked: 0,
            waiting: VecDeque::new(),
            first_pages: VecDeque::new(),
            touched: SlotQueue::new(players_max),
            wheel: Wheel::new(players_max),
            users: Users::new([seed.rotate_left(32), seed]),
            out: Vec::with_capacity(command_bytes),
            framed: Vec::with_capacity(message_bytes),
            scratch: Vec::with_capacity(message_bytes),
            inflater,
            deflaters: echoes.then(|| windows.map(Deflater::new)),
            counters,
            latency,
            random: seed,
            client_key: [seed, !seed],
            draining: false,
            drain_next: 0,
        }
    }

    /// Memory for players: which part, and bytes.
    pub fn memory(&self) -> [(&'static str, usize); 4] {
        let players = self.players.capacity() * size_of::<Option<Player>>();
        [
            ("session: player record", players),
            ("session: timers", self.wheel.bytes()),
            ("session: index of users", self.users.bytes()),
            ("session: queue of those to serve", self.touched.bytes()),
        ]
    }

    /// Connections that have a session.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Private chunks in use.
    pub fn chunks_used(&self) -> usize {
        self.chunks.used()
    }

    /// The latency recorder, to tick it.
    pub fn latency(&mut self) -> &mut Recorder {
        &mut self.latency
    }

    fn player(&mut self, id: ConnId) -> Option<&mut Player> {
        let player = self.players.get_mut(id.slot as usize)?.as_mut()?;
        (player.generation == id.generation).then_some(player)
    }

    /// The player, to look at.
    fn peek(&self, id: ConnId) -> Option<&Player> {
        let player = self.players.get(id.slot as usize)?.as_ref()?;
        (player.generation == id.generation).then_some(player)
    }

    /// The user's id; empty means anonymous.
    fn user(&self, id: ConnId) -> &str {
        self.peek(id).map_or("", Player::user)
    }

    fn client_id(&self, id: ConnId) -> ClientId {
        ClientId::new(self.client_key, id)
    }

    /// The id that names a connection to the server API alone.
    fn session_id(&self, id: ConnId) -> ClientId {
        let [one, two] = self.client_key;
        ClientId::new([two, one], id)
    }

    /// A number for jitter, never for keys or names (SplitMix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A TCP connection was opened.
    pub fn on_open(&mut self, road: &mut Road<'_>, id: ConnId) {
        let deadline = road.now + self.rules.handshake_timeout;
        if let Some(place) = self.players.get_mut(id.slot as usize) {
            debug_assert!(
                place.is_none(),
                "TCP reuses a slot only after telling that it closed"
            );
            *place = Some(Player::new(id, deadline));
            self.count += 1;
            self.wheel.schedule(id.slot, deadline);
        }
    }

    /// The peer sent FIN: it will send no more, so the player is gone.
    pub fn on_finished(&mut self, road: &mut Road<'_>, id: ConnId) {
        let Some(player) = self.player(id) else {
            return;
        };
        if player.phase != Phase::Closing {
            self.begin_closing(road, id);
            self.touch(id);
        }
    }

    /// The connection is gone; its id means nothing any more.
    pub fn on_closed(&mut self, road: &mut Road<'_>, id: ConnId) {
        self.release(road, id);
    }

    /// Cuts the connection with a RST.
    fn cut(&mut self, road: &mut Road<'_>, id: ConnId) {
        road.tcp.abort(id);
        self.release(road, id);
    }

    /// Cuts a connection whose unsent bytes are gone from the log.
    pub fn cut_slow(&mut self, road: &mut Road<'_>, id: ConnId) {
        // Who is being closed was counted under the reason for that; what it was sent before it left its
        // hunts may be overwritten before the close frame's time is up.
        let is_closing = |player: &mut Player| player.phase == Phase::Closing;
        if !self.player(id).is_some_and(is_closing) {
            self.counters.inc(Metric::SessionSlow);
        }
        self.cut(road, id);
    }

    fn release(&mut self, road: &mut Road<'_>, id: ConnId) {
        if self.player(id).is_none() {
            return;
        }
        self.leave(road, id);
        let Some(mut player) = self.players[id.slot as usize].take() else {
            return;
        };
        self.count -= 1;
        player.decoder.clear(&mut self.chunks);
        self.chunks.discard(&mut player.held);
        self.chunks.clear(&mut player.private);
        self.wheel.cancel(id.slot);
    }

    /// Ends what a player takes part in: subscriptions, presence in the player count.
    fn leave(&mut self, road: &mut Road<'_>, id: ConnId) {
        self.unlist(id);
        let Some(player) = self.player(id) else {
            return;
        };
        road.hunts.unsubscribe_all(&mut player.subscriptions);
        player.subscription_count = 0;
        if let Some(bearer) = &mut player.bearer {
            bearer.terms.clear();
            bearer.connecting = None;
        }
        if player.phase == Phase::Connected {
            let players = self.counters.get(Metric::SessionPlayers);
            self.counters
                .set(Metric::SessionPlayers, players.saturating_sub(1));
        }
    }

    /// Nothing more is read or fanned out; what is queued goes out, then FIN.
    fn begin_closing(&mut self, road: &mut Road<'_>, id: ConnId) {
        self.leave(road, id);
        let deadline = road.now + CLOSE_TIMEOUT;
        let Some(player) = self.player(id) else {
            return;
        };
        player.phase = Phase::Closing;
        player.deadline = deadline.into();
        let mut held = std::mem::take(&mut player.held);
        self.chunks.discard(&mut held);
        self.wheel.schedule(id.slot, deadline);
    }

    /// Closes with a disconnect code of the client protocol.
    fn disconnect(&mut self, road: &mut Road<'_>, id: ConnId, reason: Disconnect) {
        let metric = match reason {
            Disconnect::BadRequest => Some(Metric::SessionBadCommands),
            Disconnect::InvalidToken => Some(Metric::SessionBadTokens),
            Disconnect::Stale => Some(Metric::SessionStale),
            Disconnect::NoPong => Some(Metric::SessionNoPong),
            Disconnect::Slow => Some(Metric::SessionSlow),
            Disconnect::Shutdown => Some(Metric::SessionDrained),
            _ => None,
        };
        if let Some(metric) = metric {
            self.counters.inc(metric);
        }
        self.tell_disconnect(road, id, reason.code(), reason.reason());
        self.close(road, id, reason.code(), reason.reason());
    }

    /// Unidirectional clients may know nothing of close frames.
    fn tell_disconnect(&mut self, road: &mut Road<'_>, id: ConnId, code: u16, reason: &str) {
        let is_told = |player: &Player| {
            player.flags.has(Flags::UNIDIRECTIONAL) && player.phase != Phase::Closing
        };
        if self.peek(id).is_some_and(is_told) {
            let body = Pushed::Disconnect { code, reason };
            let (channel, number) = ("", 0);
            self.push(
                road,
                id,
                Push {
                    channel,
                    id: number,
                    body,
                },
            );
        }
    }

    /// Closes with a WebSocket close frame.
    fn close(&mut self, road: &mut Road<'_>, id: ConnId, code: u16, reason: &str) {
        let Some(player) = self.player(id) else {
            return;
        };
        match player.phase {
            Phase::Closing => return,
            Phase::Request => return self.cut(road, id),
            Phase::Upgraded
            | Phase::Connecting
            | Phase::Refused
            | Phase::Connected
            | Phase::Echo => {}
        }
        self.begin_closing(road, id);
        self.framed.clear();
        close::append_close(&mut self.framed, code, reason);
        self.queue_framed(road, id);
    }

    /// Queues the frame in `framed` as private bytes; cuts the connection when the pool is empty.
    fn queue_framed(&mut self, road: &mut Road<'_>, id: ConnId) {
        let Some(player) = self.players[id.slot as usize].as_mut() else {
            return;
        };
        match self.chunks.append(&mut player.private, &self.framed) {
            Ok(()) => self.touch(id),
            Err(Full) => {
                self.counters.inc(Metric::SessionChunksFull);
                self.cut(road, id);
            }
        }
    }

    /// Writes `message` into `framed`, in the player's protocol and as a whole frame.
    fn compose(&mut self, id: ConnId, message: &Message<'_>) {
        let protocol = self.protocol(id);
        self.compose_in(protocol, message);
    }

    fn compose_in(&mut self, protocol: Protocol, message: &Message<'_>) {
        self.out.clear();
        codec::append(protocol, &mut self.out, message);
        self.framed.clear();
        frame::append_frame(&mut self.framed, codec::opcode(protocol), &self.out);
    }

    /// Tells the player something.
    fn say(&mut self, road: &mut Road<'_>, id: ConnId, message: &Message<'_>) {
        self.compose(id, message);
        self.queue_framed(road, id);
    }

    /// Answers the command `number`.
    fn reply(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, reply: Reply<'_>) {
        self.say(road, id, &Message::Reply(number, reply));
    }

    /// Tells the player what it did not ask for.
    fn push(&mut self, road: &mut Road<'_>, id: ConnId, push: Push<'_>) {
        self.say(road, id, &self.pushed(id, push));
    }

    /// The push as this player takes it.
    fn pushed<'a>(&self, id: ConnId, push: Push<'a>) -> Message<'a> {
        let is_bare = |player: &Player| player.flags.has(Flags::UNIDIRECTIONAL);
        match self.peek(id).is_some_and(is_bare) {
            true => Message::BarePush(push),
            false => Message::Push(push),
        }
    }

    /// How the player's messages are written.
    fn protocol(&mut self, id: ConnId) -> Protocol {
        let protocol = self.player(id).map(|player| player.protocol());
        protocol.unwrap_or(Protocol::Json)
    }

    /// Puts the player on the list of those to serve.
    fn touch(&mut self, id: ConnId) {
        if self.player(id).is_some() {
            self.touched.push(id.slot);
        }
    }

    /// Whether `next_touched` may have someone.
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The next player that has something to send.
    pub fn next_touched(&mut self) -> Option<ConnId> {
        while let Some(slot) = self.touched.pop() {
            if let Some(Some(player)) = self.players.get(slot as usize) {
                return Some(player.id(slot));
            }
        }
        None
    }
}
