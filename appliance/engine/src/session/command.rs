//! Commands of the client protocol, one after another, in the order they came.

use crate::metrics::catalog::Metric;
use crate::ring::submit::Want;
use crate::session::codec::{self, Body, Command, Reply};
use crate::session::codes::{Disconnect, Error};
use crate::session::permission::Denied;
use crate::session::player::{Flags, PENDING_MAX, Phase, Player};
use crate::session::{Pending, Purpose, Road, Sessions};
use crate::units::ConnId;

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
            _ if player.flags.has(Flags::UNIDIRECTIONAL) => self.on_uni_message(road, id, message),
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
            if has_to_wait(player, &command) {
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
        let waits = player.pending > 0 || player.phase == Phase::Connecting;
        if player.generation != id.generation || waits || player.held.is_empty() {
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
            Body::History(history) => self.on_history(road, id, number, history),
            Body::SubRefresh(refresh) => self.on_sub_refresh(road, id, number, refresh),
            Body::Presence(ask) => self.on_presence(road, id, number, &ask.channel, Want::Page),
            Body::PresenceStats(ask) => {
                self.on_presence(road, id, number, &ask.channel, Want::Numbers);
            }
            Body::Rpc(rpc) => self.on_rpc(road, id, number, rpc),
            Body::Send(send) => self.on_send(road, id, send),
            Body::Ping | Body::Connect(_) => self.disconnect(road, id, Disconnect::BadRequest),
        }
    }

    /// Answers a command with an error.
    pub(super) fn refuse(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, error: Error) {
        self.counters.inc(Metric::SessionErrors);
        self.reply(road, id, number, Reply::Error(error));
    }

    /// Turns a command down.
    pub(super) fn deny(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, denied: Denied) {
        match denied {
            Denied::Error(error) => self.refuse(road, id, number, error),
            Denied::Disconnect(reason) => self.disconnect(road, id, reason),
        }
    }

    /// Notes a command that waits for the journal; refuses it when too many wait.
    pub(super) fn ask(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        purpose: Purpose,
    ) -> Option<u64> {
        let Some(token) = self.note(id, number, purpose) else {
            self.refuse(road, id, number, Error::TooManyRequests);
            return None;
        };
        let player = self.player(id)?;
        player.pending += 1;
        Some(token)
    }

    /// Gives a submission its token; none when too many are unanswered.
    pub(super) fn note(&mut self, id: ConnId, number: u32, purpose: Purpose) -> Option<u64> {
        let entry = self.pending.insert(Pending {
            conn: id,
            command: number,
            purpose,
        });
        if entry.is_err() {
            self.counters.inc(Metric::RingSubmitFull);
        }
        entry.ok().map(ConnId::to_bits)
    }

    /// The ring was full: the command is refused, and may be tried again.
    pub(super) fn withdraw(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, token: u64) {
        self.counters.inc(Metric::RingSubmitFull);
        self.pending.remove(ConnId::from_bits(token));
        if let Some(player) = self.player(id) {
            player.pending -= 1;
        }
        self.refuse(road, id, number, Error::TooManyRequests);
    }
}

/// Whether what came before the command has to be answered first.
fn has_to_wait(player: &Player, command: &Command<'_>) -> bool {
    match command.body {
        _ if player.phase == Phase::Connecting => true,
        Body::Pong => false,
        Body::Subscribe(_) | Body::Publish(_) => player.pending >= PENDING_MAX,
        _ => player.pending > 0,
    }
}
