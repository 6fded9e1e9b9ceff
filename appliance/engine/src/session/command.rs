//! Commands of the client protocol, one after another, in the order they came.

use crate::hunt::publication::ClientInfo;
use crate::memory::slab::NONE;
use crate::metrics::catalog::Metric;
use crate::ring::submit::{self, EVENT_BYTES_MAX, Submission};
use crate::session::codec::{
    self, Body, Command, Connect, ConnectResult, NotJson, Publish, Reply, Subscribe,
};
use crate::session::codes::{Disconnect, Error};
use crate::session::player::{Bearer, ClientId, Flags, PENDING_MAX, Phase};
use crate::session::rules::{NameError, TokenError};
use crate::session::{Pending, Purpose, Road, Sessions};
use crate::units::{ConnId, Micros};

/// `subscribe.flag` bit: the client takes numeric channel ids.
const FLAG_NUMBERED: u64 = 1;

/// `subscribe.flag` bit: answer error 112 instead of an unrecovered success.
const FLAG_REJECT_UNRECOVERED: u64 = 2;

/// Time past a token's expiry before the connection is closed, for the refresh to arrive
/// (Centrifugo's `expired_close_delay`).
pub(super) const EXPIRED_CLOSE_DELAY: Micros = Micros::from_secs(25);

impl Sessions {
    /// A whole message: one or more commands.
    pub(super) fn on_message(&mut self, road: &mut Road<'_>, id: ConnId, message: &[u8]) {
        self.counters.inc(Metric::WsMessagesIn);
        let Some(player) = self.player(id) else {
            return;
        };
        let protocol = player.protocol();
        match player.phase {
            Phase::Closing | Phase::Refused => {}
            // Most messages of a hunt's evening; needs no turn among those that wait.
            Phase::Connected if codec::is_pong(protocol, message) => {
                self.counters.inc(Metric::SessionCommands);
                self.on_pong(road, id);
            }
            _ if !player.held.is_empty() => self.hold(road, id, message),
            _ => self.run(road, id, message),
        }
    }

    /// Runs the commands of `message` until one has to wait; that one and the rest are held.
    fn run(&mut self, road: &mut Road<'_>, id: ConnId, message: &[u8]) {
        let protocol = self.protocol(id);
        let mut rest = message;
        loop {
            let from_here = rest;
            let Ok(command) = codec::take_command(protocol, &mut rest) else {
                return self.disconnect(road, id, Disconnect::BadRequest);
            };
            let Some(player) = self.player(id) else {
                return;
            };
            let waits = match command.body {
                Body::Pong => false,
                Body::Subscribe(_) | Body::Publish(_) => player.pending >= PENDING_MAX,
                _ => player.pending > 0,
            };
            if waits {
                return self.hold(road, id, from_here);
            }
            self.dispatch(road, id, &command);
            match self.player(id) {
                Some(player) if !matches!(player.phase, Phase::Closing | Phase::Refused) => {}
                _ => return,
            }
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Keeps commands for later; the peer's window shrinks by as much.
    fn hold(&mut self, road: &mut Road<'_>, id: ConnId, commands: &[u8]) {
        let held_max = self.rules.message_bytes_max * 2;
        let protocol = self.protocol(id);
        let separator = codec::separator(protocol);
        // A separator may also stand behind the last command of a message.
        let commands = commands.strip_suffix(separator).unwrap_or(commands);
        if !codec::is_whole(protocol, commands) {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let Some(Some(player)) = self.players.get_mut(id.slot as usize) else {
            return;
        };
        if player.held.len() + commands.len() >= held_max {
            return self.disconnect(road, id, Disconnect::TooManyRequests);
        }
        let between = if player.held.is_empty() {
            &[]
        } else {
            separator
        };
        let stored = self.chunks.gather(&mut player.held, between);
        if stored
            .and_then(|()| self.chunks.gather(&mut player.held, commands))
            .is_err()
        {
            self.counters.inc(Metric::SessionChunksFull);
            return self.cut(road, id);
        }
        let held = u32::try_from(player.held.len()).unwrap_or(u32::MAX);
        road.tcp.set_backlog(id, held);
    }

    /// Runs what was held, once nothing is pending any more.
    pub(super) fn resume(&mut self, road: &mut Road<'_>, id: ConnId) {
        let Some(Some(player)) = self.players.get_mut(id.slot as usize) else {
            return;
        };
        if player.generation != id.generation || player.pending > 0 || player.held.is_empty() {
            return;
        }
        let mut commands = std::mem::take(&mut self.scratch);
        self.chunks.take_all(&mut player.held, &mut commands);
        road.tcp.set_backlog(id, 0);
        self.run(road, id, &commands);
        self.scratch = commands;
    }

    fn dispatch(&mut self, road: &mut Road<'_>, id: ConnId, command: &Command<'_>) {
        self.counters.inc(Metric::SessionCommands);
        let Some(player) = self.player(id) else {
            return;
        };
        match (&command.body, player.phase) {
            (Body::Connect(connect), Phase::Upgraded) => {
                return self.on_connect(road, id, command.id, connect);
            }
            (Body::Connect(_), _) | (_, Phase::Upgraded) => {
                return self.disconnect(road, id, Disconnect::BadRequest);
            }
            _ => {}
        }
        let number = command.id;
        match &command.body {
            Body::Pong => self.on_pong(road, id),
            Body::Subscribe(subscribe) => self.on_subscribe(road, id, number, subscribe),
            Body::Unsubscribe(unsubscribe) => {
                self.on_unsubscribe(road, id, number, &unsubscribe.channel);
            }
            Body::Publish(publish) => self.on_publish(road, id, number, publish),
            Body::Refresh(refresh) => self.on_refresh(road, id, number, &refresh.token),
            Body::Presence(presence) => self.on_unavailable(road, id, number, &presence.channel),
            Body::PresenceStats(stats) => self.on_unavailable(road, id, number, &stats.channel),
            Body::History(history) => self.on_unavailable(road, id, number, &history.channel),
            Body::SubRefresh(refresh) => self.on_unavailable(road, id, number, &refresh.channel),
            Body::Rpc(_) => self.refuse(road, id, number, Error::NotAvailable),
            Body::Send(_) => self.disconnect(road, id, Disconnect::NotAvailable),
            Body::Ping | Body::Connect(_) => self.disconnect(road, id, Disconnect::BadRequest),
        }
    }

    /// A command about a hunt that is not supported (docs/protocol.md).
    fn on_unavailable(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, channel: &str) {
        if channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let error = match self.rules.channel(channel) {
            Ok(_) => Error::NotAvailable,
            Err(error) => name_error(error),
        };
        self.refuse(road, id, number, error);
    }

    /// Answers a command with an error.
    pub(super) fn refuse(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, error: Error) {
        self.counters.inc(Metric::SessionErrors);
        self.reply(road, id, number, Reply::Error(error));
    }

    /// Answers a connect with an error: the client reads it and closes. What it sent behind the connect
    /// is no mistake of its, so it is dropped in silence.
    fn refuse_connect(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, error: Error) {
        if let Some(player) = self.player(id) {
            player.phase = Phase::Refused;
        }
        self.refuse(road, id, number, error);
    }

    fn on_connect(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, connect: &Connect<'_>) {
        if self.draining {
            return self.disconnect(road, id, Disconnect::Shutdown);
        }
        let claims = match &*connect.token {
            "" if self.rules.anonymous => crate::session::rules::Claims::default(),
            "" => return self.disconnect(road, id, Disconnect::BadRequest),
            token => match (self.verify.connection)(token) {
                Ok(claims) => claims,
                Err(TokenError::Expired) => {
                    return self.refuse_connect(road, id, number, Error::TokenExpired);
                }
                Err(TokenError::Lapsed) => return self.refuse(road, id, number, Error::Expired),
                Err(TokenError::Invalid) => {
                    return self.disconnect(road, id, Disconnect::InvalidToken);
                }
            },
        };
        let client = self.client_id(id);
        let jitter = self.random() % (self.rules.ping_interval.0 / 2 + 1);
        let first_ping = road.now + Micros(self.rules.ping_interval.0 / 2 + jitter);
        let Some(player) = self.player(id) else {
            return;
        };
        let message_pings = !player.flags.has(Flags::FRAME_PINGS);
        player.phase = Phase::Connected;
        player.bearer = bearer(road.now, claims.user, claims.info, claims.ttl_s);
        player.deadline = first_ping.into();
        self.wheel.schedule(id.slot, first_ping);
        let players = self.counters.get(Metric::SessionPlayers);
        self.counters.set(Metric::SessionPlayers, players + 1);
        let mut text = [0; ClientId::TEXT_BYTES];
        let interval_s = self.rules.ping_interval.0 / 1_000_000;
        let result = ConnectResult {
            client: client.text(&mut text),
            version: self.rules.version,
            ttl_s: claims.ttl_s,
            // Of pings that are frames only the client's WebSocket knows.
            ping_s: match message_pings {
                true => u32::try_from(interval_s).unwrap_or(u32::MAX),
                false => 0,
            },
            pong: message_pings,
            ..ConnectResult::default()
        };
        self.reply(road, id, number, Reply::Connect(result));
    }

    fn on_refresh(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, token: &str) {
        let claims = match (self.verify.connection)(token) {
            Ok(claims) => claims,
            Err(TokenError::Lapsed) => return self.refuse(road, id, number, Error::Expired),
            Err(TokenError::Expired) => {
                return self.disconnect(road, id, Disconnect::ConnectionExpired);
            }
            Err(TokenError::Invalid) => return self.disconnect(road, id, Disconnect::InvalidToken),
        };
        let version = self.rules.version;
        let Some(player) = self.player(id) else {
            return;
        };
        if *player.user() != *claims.user {
            return self.disconnect(road, id, Disconnect::InvalidToken);
        }
        let expires = expiry(road.now, claims.ttl_s);
        match &mut player.bearer {
            Some(bearer) => bearer.expires = expires,
            None => player.bearer = bearer(road.now, claims.user, Vec::new(), claims.ttl_s),
        }
        let mut client = [0; ClientId::TEXT_BYTES];
        let client = self.client_id(id).text(&mut client);
        let reply = Reply::Refresh {
            client,
            version,
            ttl_s: claims.ttl_s,
        };
        self.reply(road, id, number, reply);
    }

    fn on_subscribe(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, wish: &Subscribe<'_>) {
        if wish.channel.is_empty() || !matches!(wish.delta.as_ref(), "" | "fossil") {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let rules = match self.rules.channel(&wish.channel) {
            Ok(rules) => rules.clone(),
            Err(error) => return self.refuse(road, id, number, name_error(error)),
        };
        if wish.kind != 0 || !wish.token.is_empty() {
            // Map subscriptions and subscription tokens are not supported (docs/protocol.md).
            return self.refuse(road, id, number, Error::NotAvailable);
        }
        if wish.has_filter {
            return self.refuse(road, id, number, Error::BadRequest);
        }
        if !rules.allow_subscribe_for_client || wish.channel.starts_with('$') {
            return self.refuse(road, id, number, Error::PermissionDenied);
        }
        // The count is 16 bits; nobody has a use for as many.
        let channels_max = self.rules.channels_max.min(u16::MAX.into());
        let Some(player) = self.player(id) else {
            return;
        };
        if u32::from(player.subscription_count) >= channels_max {
            return self.refuse(road, id, number, Error::LimitExceeded);
        }
        let (first, nothing_pending) = (player.subscriptions, player.pending == 0);
        let slot = road.hunts.find(&wish.channel);
        if slot.is_some_and(|slot| road.hunts.subscription(slot, first).is_some()) {
            return self.refuse(road, id, number, Error::AlreadySubscribed);
        }
        let recoverable = rules.history && (rules.force_recovery || wish.recoverable);
        let recover = wish.recover && recoverable;
        let numbered = wish.flag & FLAG_NUMBERED != 0;
        if let Some(slot) = slot
            && nothing_pending
            && (!recover || at_top(road, slot, wish))
        {
            let done = Subscribed {
                recoverable,
                recover,
                offset: wish.offset,
                recovered: recover,
                numbered,
            };
            return self.on_subscribed_here(road, id, number, slot, done);
        }
        let purpose = Purpose::Subscribe {
            recover,
            offset: wish.offset,
            recoverable,
            reject_unrecovered: wish.flag & FLAG_REJECT_UNRECOVERED != 0,
            numbered,
        };
        let Some(token) = self.ask(road, id, number, purpose) else {
            return;
        };
        let submission = Submission::Subscribe(submit::Subscribe {
            token,
            hunt: &wish.channel,
            recover,
            epoch: &wish.epoch,
            offset: wish.offset,
        });
        if !road.submit.submit(&submission) {
            self.withdraw(road, id, number, token);
        } else if let Some(player) = self.player(id) {
            player.subscription_count += 1;
        }
    }

    /// The hunt is known here and nothing was missed: no need to ask the journal.
    fn on_subscribed_here(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        slot: u32,
        done: Subscribed,
    ) {
        if let Some(player) = self.player(id) {
            player.subscription_count += 1;
        }
        self.enter(road, id, number, slot, done, &[]);
    }

    fn on_unsubscribe(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, channel: &str) {
        if channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let slot = road.hunts.find(channel);
        let Some(player) = self.player(id) else {
            return;
        };
        if let Some(slot) = slot
            && road.hunts.unsubscribe(slot, &mut player.subscriptions)
        {
            player.subscription_count -= 1;
            player.drop_terms(slot);
        }
        self.reply(road, id, number, Reply::Unsubscribe);
    }

    fn on_publish(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, event: &Publish<'_>) {
        if event.channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let (anyone, subscribers) = match self.rules.channel(&event.channel) {
            Err(error) => return self.refuse(road, id, number, name_error(error)),
            Ok(rules) => (
                rules.allow_publish_for_client,
                rules.allow_publish_for_subscriber,
            ),
        };
        let allowed = anyone || subscribers && self.is_subscribed(road, id, &event.channel);
        if !allowed {
            return self.refuse(road, id, number, Error::PermissionDenied);
        }
        if event.data.len() > EVENT_BYTES_MAX {
            return self.refuse(road, id, number, Error::BadRequest);
        }
        self.framed.clear();
        match codec::append_compact(&mut self.framed, event.data) {
            Ok(()) => self.submit_publish(road, id, number, &event.channel),
            Err(NotJson) => self.refuse(road, id, number, Error::BadRequest),
        }
    }

    /// Hands a publish that is allowed, with its data in `framed`, to the journal.
    fn submit_publish(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, hunt: &str) {
        let Some(token) = self.ask(road, id, number, Purpose::Publish) else {
            return;
        };
        let mut info = std::mem::take(&mut self.out);
        let data = std::mem::take(&mut self.framed);
        info.clear();
        let client = self.client_id(id);
        if let Some(player) = self.player(id) {
            let mut buffer = [0; ClientId::TEXT_BYTES];
            let client_info = ClientInfo {
                user: player.user(),
                client: client.text(&mut buffer),
                conn_info: player.info(),
                chan_info: &[],
            };
            client_info.append(&mut info);
        }
        let submission = Submission::Publish(submit::Publish {
            token,
            hunt,
            data: &data,
            tags: &[],
            info: &info,
            idempotency_key: "",
            skip_history: false,
            stamp_us: road.now.0,
        });
        let submitted = road.submit.submit(&submission);
        self.out = info;
        self.framed = data;
        if !submitted {
            self.withdraw(road, id, number, token);
        }
    }

    fn is_subscribed(&mut self, road: &mut Road<'_>, id: ConnId, channel: &str) -> bool {
        let first = self.player(id).map_or(NONE, |player| player.subscriptions);
        let slot = road.hunts.find(channel);
        slot.is_some_and(|slot| road.hunts.subscription(slot, first).is_some())
    }

    /// Notes a command that waits for the journal; refuses it when too many wait.
    fn ask(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        purpose: Purpose,
    ) -> Option<u64> {
        let Ok(entry) = self.pending.insert(Pending {
            conn: id,
            command: number,
            purpose,
        }) else {
            self.counters.inc(Metric::RingSubmitFull);
            self.refuse(road, id, number, Error::TooManyRequests);
            return None;
        };
        let player = self.player(id)?;
        player.pending += 1;
        Some(entry.to_bits())
    }

    /// The ring was full: the command is refused, and may be tried again.
    fn withdraw(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, token: u64) {
        self.counters.inc(Metric::RingSubmitFull);
        self.pending.remove(ConnId::from_bits(token));
        if let Some(player) = self.player(id) {
            player.pending -= 1;
        }
        self.refuse(road, id, number, Error::TooManyRequests);
    }
}

/// What a successful subscribe tells the player.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscribed {
    pub(super) recoverable: bool,
    pub(super) recover: bool,
    /// The offset the player asked to recover from.
    pub(super) offset: u64,
    pub(super) recovered: bool,
    /// Pushes carry the hunt's number.
    pub(super) numbered: bool,
}

/// What is worth keeping of a token: nothing for most of the anonymous.
fn bearer(now: Micros, user: String, info: Vec<u8>, ttl_s: Option<u32>) -> Option<Box<Bearer>> {
    let known = !user.is_empty() || !info.is_empty() || ttl_s.is_some();
    known.then(|| {
        Box::new(Bearer {
            user: user.into(),
            info: info.into(),
            expires: expiry(now, ttl_s),
            terms: Vec::new(),
        })
    })
}

fn expiry(now: Micros, ttl_s: Option<u32>) -> Micros {
    match ttl_s {
        Some(ttl_s) => now + Micros::from_secs(u64::from(ttl_s)) + EXPIRED_CLOSE_DELAY,
        None => Micros::NEVER,
    }
}

fn at_top(road: &Road<'_>, slot: u32, wish: &Subscribe<'_>) -> bool {
    let hunt = road.hunts.hunt(slot);
    wish.offset == hunt.top && (wish.epoch.is_empty() || *wish.epoch == *hunt.epoch)
}

fn name_error(error: NameError) -> Error {
    match error {
        NameError::Malformed => Error::BadRequest,
        NameError::UnknownNamespace => Error::UnknownChannel,
    }
}
