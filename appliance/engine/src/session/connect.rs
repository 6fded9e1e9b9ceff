//! The connect command, and what comes with it: the hunts that we subscribe the player to.
//!
//! Those are named by its token (`channels`, `subs`), its personal hunt, and what it names itself in
//! `subs` (where it stands in them after a reconnect; a unidirectional client's way to subscribe). The
//! reply tells of all of them, so it waits until the journal has answered for each; commands behind it
//! are held meanwhile, and nothing of their logs is placed. With none, the reply is made at once.

use crate::metrics::catalog::Metric;
use crate::session::codec::{self, Connect, ConnectResult, Protocol, Push, Pushed, Reply, Subs};
use crate::session::codes::{Disconnect, Error};
use crate::session::permission::{self, Denied, Granted};
use crate::session::player::{Bearer, ClientId, Flags, Phase};
use crate::session::refresh::expiry;
use crate::session::rules::{Claims, ServerSubscription};
use crate::session::stand::Stand;
use crate::session::subscribe::{Extras, Found, Wanted, at_top, result, subscribe_submission};
use crate::session::{Purpose, Road, Sessions};
use crate::units::{ConnId, Micros};

/// Bytes of the reply's `subs` from which on it takes no further publications; they follow as pushes.
const SUBS_BYTES_MAX: usize = 64 * 1024;

/// A connect whose reply waits for the journal.
#[derive(Debug)]
pub struct Connecting {
    /// The command.
    number: u32,
    ttl_s: Option<u32>,
    /// Subscriptions not answered yet.
    waiting: usize,
    /// The reply's `subs` so far ([`codec::append_sub`]).
    subs: Vec<u8>,
}

/// A subscription that we make.
struct ServerSide {
    channel: String,
    epoch: String,
    wanted: Wanted,
    extras: Box<Extras>,
}

impl ServerSide {
    fn new(channel: &str, granted: &Granted<'_>, from_token: bool) -> ServerSide {
        let mut extras = Extras::new(Micros(0), granted).unwrap_or_default();
        extras.terms.server_side = true;
        extras.terms.from_token = from_token;
        ServerSide {
            channel: channel.to_owned(),
            epoch: String::new(),
            wanted: Wanted::new(granted),
            extras,
        }
    }
}

/// SDKs, by the name they connect with, that can compare a channel's number in Protocol Buffers. The one
/// for JavaScript offers it (`subscribe.flag`) and then drops every push, because it takes the number
/// for an object and compares identities (centrifuge 5.8.0); it gets names, as does whoever has a name
/// of its own. In JSON numbers are numbers.
const INTEGER_SDKS: [&str; 6] = ["python", "swift", "java", "dart", "go", "csharp"];

impl Sessions {
    pub(super) fn on_connect(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        connect: &Connect<'_>,
    ) {
        if self.draining {
            return self.disconnect(road, id, Disconnect::Shutdown);
        }
        let token = (!connect.token.is_empty()).then(|| (self.verify.connection)(&connect.token));
        if let Err(denied) = permission::may_connect(&self.rules, token.as_ref()) {
            return self.deny_connect(road, id, number, denied);
        }
        let claims = token.and_then(Result::ok).unwrap_or_default();
        let server_side = match self.server_side(&claims, &connect.subs) {
            Ok(server_side) => server_side,
            Err(denied) => return self.deny_connect(road, id, number, denied),
        };
        let ttl_s = claims.ttl_s;
        let connecting = Connecting {
            number,
            ttl_s,
            waiting: server_side.len(),
            subs: Vec::new(),
        };
        let Some(player) = self.player(id) else {
            return;
        };
        let takes_numbers =
            player.protocol() == Protocol::Json || INTEGER_SDKS.contains(&connect.name.as_ref());
        player.flags.set(Flags::TAKES_NUMBERS, takes_numbers);
        player.bearer = bearer(road.now, claims.user, claims.info, ttl_s);
        self.list(id);
        if server_side.is_empty() {
            return self.finish_connect(road, id, connecting);
        }
        let Some(player) = self.player(id) else {
            return;
        };
        player.phase = Phase::Connecting;
        player.bearer.get_or_insert_default().connecting = Some(Box::new(connecting));
        for subscription in server_side {
            self.subscribe_by_server(road, id, number, subscription);
        }
    }

    /// The hunts that we subscribe a new player to.
    fn server_side(&self, claims: &Claims, subs: &Subs<'_>) -> Result<Vec<ServerSide>, Denied> {
        let mut all: Vec<ServerSide> = Vec::new();
        let personal = permission::personal(&self.rules, &claims.user);
        let from_token = |subscription: &ServerSubscription| {
            let granted = permission::by_server(&self.rules, subscription)?;
            Ok::<_, Error>(ServerSide::new(&subscription.channel, &granted, true))
        };
        for subscription in &claims.subscriptions {
            all.push(from_token(subscription)?);
        }
        if let Some(personal) = personal
            && !all.iter().any(|known| known.channel == personal.channel)
        {
            let granted = permission::by_server(&self.rules, &personal)?;
            all.push(ServerSide::new(&personal.channel, &granted, false));
        }
        let channels_max = usize::from(self.channels_max());
        let mut denied = None;
        subs.for_each(|ask| {
            if denied.is_some() || all.len() > channels_max {
                return;
            }
            let known = all.iter().position(|known| known.channel == *ask.channel);
            let place = known.or_else(|| {
                let user = &claims.user;
                match permission::wished_at_connect(&self.rules, &ask.channel, user) {
                    Ok(granted) => all.push(ServerSide::new(&ask.channel, &granted?, false)),
                    Err(disconnect) => denied = Some(Denied::from(disconnect)),
                }
                denied.is_none().then(|| all.len() - 1)
            });
            if let Some(subscription) = place.and_then(|place| all.get_mut(place)) {
                subscription.wanted.recover(ask);
                subscription.epoch = ask.epoch.clone().into_owned();
            }
        });
        match denied {
            Some(denied) => Err(denied),
            None if all.len() > channels_max => Err(Disconnect::ChannelLimit.into()),
            None => Ok(all),
        }
    }

    fn subscribe_by_server(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        subscription: ServerSide,
    ) {
        let is_connecting =
            |player: &crate::session::player::Player| player.phase == Phase::Connecting;
        if !self.peek(id).is_some_and(is_connecting) {
            return;
        }
        let ServerSide {
            channel,
            epoch,
            wanted,
            extras,
        } = subscription;
        if let Some(slot) = at_top(road, &channel, &epoch, &wanted) {
            let found = Found {
                recovered: wanted.recover,
                ..Found::default()
            };
            return self.enter_by_server(road, id, slot, &wanted, extras, found);
        }
        let submission = |token| subscribe_submission(token, &channel, &epoch, &wanted);
        let Some(token) = self.note(id, number, Purpose::ServerSide(wanted, extras)) else {
            return self.refuse_connect(road, id, number, Error::TooManyRequests);
        };
        if !road.submit.submit(&submission(token)) {
            self.counters.inc(Metric::RingSubmitFull);
            self.pending.remove(ConnId::from_bits(token));
            self.refuse_connect(road, id, number, Error::TooManyRequests);
        }
    }

    /// The journal's answer to `subscribe_by_server`.
    pub(super) fn on_server_side(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        (wanted, extras): (Wanted, Box<Extras>),
        stand: Stand<'_>,
    ) {
        let player = self
            .peek(id)
            .filter(|player| player.phase == Phase::Connecting);
        let bearer = player.and_then(|player| player.bearer.as_ref());
        let Some(connecting) = bearer.and_then(|bearer| bearer.connecting.as_ref()) else {
            return;
        };
        let number = connecting.number;
        match stand {
            Ok((slot, found)) => {
                self.enter_by_server(road, id, slot, &wanted, extras, found);
                self.resume(road, id);
            }
            Err(error) => self.refuse_connect(road, id, number, error),
        }
    }

    /// Subscribes and notes it for the reply, which goes out with the last one.
    fn enter_by_server(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        slot: u32,
        wanted: &Wanted,
        mut extras: Box<Extras>,
        mut found: Found<'_>,
    ) {
        let protocol = self.protocol(id);
        let bearer = self.player(id).and_then(|player| player.bearer.as_mut());
        let Some(mut connecting) = bearer.and_then(|bearer| bearer.connecting.take()) else {
            return;
        };
        if connecting.subs.len() + found.publications.len() > SUBS_BYTES_MAX {
            found.publications = &[];
        }
        let terms = std::mem::take(&mut extras.terms);
        if let Err(error) = self.enter(road, id, slot, wanted, Some(terms), found) {
            return self.refuse_connect(road, id, connecting.number, error);
        }
        let hunt = road.hunts.hunt(slot);
        let result = result(hunt, wanted, Some(&extras), found);
        codec::append_sub(protocol, &mut connecting.subs, &hunt.name, &result);
        connecting.waiting -= 1;
        let is_last = connecting.waiting == 0;
        let Some(player) = self.player(id) else {
            return;
        };
        player.subscription_count += 1;
        if is_last {
            return self.finish_connect(road, id, *connecting);
        }
        player.bearer.get_or_insert_default().connecting = Some(connecting);
    }

    /// Accepts the player.
    fn finish_connect(&mut self, road: &mut Road<'_>, id: ConnId, connecting: Connecting) {
        let client = self.client_id(id);
        let jitter = self.random() % (self.rules.ping_interval.0 / 2 + 1);
        let first_ping = road.now + Micros(self.rules.ping_interval.0 / 2 + jitter);
        let Some(player) = self.player(id) else {
            return;
        };
        let flags = player.flags;
        player.phase = Phase::Connected;
        player.deadline = first_ping.into();
        let due = player.due();
        self.wheel.schedule(id.slot, due);
        let players = self.counters.get(Metric::SessionPlayers);
        self.counters.set(Metric::SessionPlayers, players + 1);
        let message_pings = !flags.has(Flags::FRAME_PINGS);
        let (mut text, mut session) = ([0; ClientId::TEXT_BYTES], [0; ClientId::TEXT_BYTES]);
        let interval_s = self.rules.ping_interval.0 / 1_000_000;
        let result = ConnectResult {
            client: client.text(&mut text),
            version: self.rules.version,
            ttl_s: connecting.ttl_s,
            subs: &connecting.subs,
            // Of pings that are frames only the client's WebSocket knows.
            ping_s: match message_pings {
                true => u32::try_from(interval_s).unwrap_or(u32::MAX),
                false => 0,
            },
            // As in Centrifugo, for those who have no commands to name themselves with.
            session: match flags.has(Flags::UNIDIRECTIONAL) {
                true => self.session_id(id).text(&mut session),
                false => "",
            },
            pong: message_pings && !flags.has(Flags::UNIDIRECTIONAL),
            ..ConnectResult::default()
        };
        if flags.has(Flags::UNIDIRECTIONAL) {
            let push = Push {
                channel: "",
                id: 0,
                body: Pushed::Connect(result),
            };
            self.push(road, id, push);
        } else {
            self.reply(road, id, connecting.number, Reply::Connect(result));
        }
        self.catch_up(road, id);
    }

    fn deny_connect(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, denied: Denied) {
        match denied {
            Denied::Error(error) => self.refuse_connect(road, id, number, error),
            Denied::Disconnect(reason) => self.disconnect(road, id, reason),
        }
    }

    /// Answers a connect with an error: the client reads it and closes. What it sent behind the connect
    /// is no mistake of its, so it is dropped in silence. A unidirectional client gets no replies, so it
    /// is disconnected instead.
    fn refuse_connect(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, error: Error) {
        self.leave(road, id);
        let Some(player) = self.player(id) else {
            return;
        };
        if player.flags.has(Flags::UNIDIRECTIONAL) {
            self.counters.inc(Metric::SessionErrors);
            return self.disconnect(road, id, disconnect_for(error));
        }
        player.phase = Phase::Refused;
        let mut held = std::mem::take(&mut player.held);
        self.chunks.discard(&mut held);
        self.refuse(road, id, number, error);
    }

    /// A message of a unidirectional client: only the first one is looked at, a bare connect request.
    pub(super) fn on_uni_message(&mut self, road: &mut Road<'_>, id: ConnId, message: &[u8]) {
        let protocol = self.protocol(id);
        self.on_uni_connect(road, id, protocol, message);
    }

    /// A bare connect request.
    pub(super) fn on_uni_connect(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        protocol: Protocol,
        request: &[u8],
    ) {
        if !self
            .peek(id)
            .is_some_and(|player| player.phase == Phase::Upgraded)
        {
            return;
        }
        self.counters.inc(Metric::SessionCommands);
        match codec::parse_connect(protocol, request) {
            Ok(connect) => self.on_connect(road, id, 0, &connect),
            Err(codec::BadCommand) => self.disconnect(road, id, Disconnect::BadRequest),
        }
    }
}

/// How a unidirectional client is told what others are told by an error reply to connect: it comes back
/// where they would.
fn disconnect_for(error: Error) -> Disconnect {
    match error {
        Error::TokenExpired | Error::Expired => Disconnect::ConnectionExpired,
        Error::TooManyRequests => Disconnect::TooManyRequests,
        error if error.is_temporary() => Disconnect::Internal,
        _ => Disconnect::BadRequest,
    }
}

/// What is worth keeping of a token: nothing for most of the anonymous.
fn bearer(now: Micros, user: String, info: Vec<u8>, ttl_s: Option<u32>) -> Option<Box<Bearer>> {
    let known = !user.is_empty() || !info.is_empty() || ttl_s.is_some();
    known.then(|| {
        Box::new(Bearer {
            user: user.into(),
            info: info.into(),
            expires: expiry(now, ttl_s),
            ..Bearer::default()
        })
    })
}
