//! What happens to players by the clock: late requests, pings, missing pongs, expiry, draining.

use crate::memory::slab::NONE;
use crate::metrics::catalog::Metric;
use crate::session::codec::Message;
use crate::session::codes::Disconnect;
use crate::session::player::{Flags, Phase, Player};
use crate::session::{Road, Sessions};
use crate::units::{ConnId, Micros};
use crate::ws::frame::{self, Opcode};

/// Players disconnected a turn while draining: spreads the close frames and, a little, the
/// reconnects that follow.
const DRAIN_A_TURN: usize = 64;

/// Records looked at for them, most of which may be empty.
const DRAIN_LOOK: usize = 4096;

impl Sessions {
    /// Acts on every deadline that has passed.
    pub fn on_timers(&mut self, road: &mut Road<'_>) {
        while let Some(slot) = self.wheel.expire(road.now) {
            let Some(Some(player)) = self.players.get(slot as usize) else {
                continue;
            };
            let (id, deadline) = (player.id(slot), player.due());
            if deadline <= road.now {
                self.on_deadline(road, id);
            } else {
                self.wheel.schedule(slot, deadline);
            }
        }
        if !self.waiting.is_empty() {
            self.catch_up_waiting(road);
        }
        if !self.first_pages.is_empty() {
            self.ask_waiting_first_pages(road);
        }
        if self.draining {
            self.drain_some(road);
        }
    }

    /// When `on_timers` has to be called at the latest.
    pub fn poll_at(&self) -> Micros {
        if self.draining {
            Micros(0)
        } else {
            self.wheel.poll_at()
        }
    }

    fn on_deadline(&mut self, road: &mut Road<'_>, id: ConnId) {
        let Some(player) = self.player(id) else {
            return;
        };
        match player.phase {
            Phase::Request => {
                self.counters.inc(Metric::WsHandshakeTimeouts);
                self.cut(road, id);
            }
            Phase::Upgraded | Phase::Refused => self.disconnect(road, id, Disconnect::Stale),
            // The journal is to blame.
            Phase::Connecting => self.disconnect(road, id, Disconnect::Internal),
            Phase::Closing => self.cut(road, id),
            // Has no deadline.
            Phase::Echo => {}
            Phase::Connected if player.expires() <= road.now => {
                self.disconnect(road, id, Disconnect::ConnectionExpired);
            }
            Phase::Connected if player.first_expiry() <= road.now => {
                self.expire_subscriptions(road, id);
            }
            Phase::Connected if player.awaits_pong => {
                self.disconnect(road, id, Disconnect::NoPong);
            }
            Phase::Connected => self.ping(road, id),
        }
    }

    fn ping(&mut self, road: &mut Road<'_>, id: ConnId) {
        let (interval, timeout) = (self.rules.ping_interval, self.rules.pong_timeout);
        let Some(player) = self.player(id) else {
            return;
        };
        let answers = !player.flags.has(Flags::UNIDIRECTIONAL);
        let deadline = road.now + if answers { timeout } else { interval };
        player.awaits_pong = answers;
        player.deadline = deadline.into();
        let (due, flags) = (player.due(), player.flags);
        self.wheel.schedule(id.slot, due);
        self.framed.clear();
        if flags.has(Flags::FRAME_PINGS) {
            frame::append_frame(&mut self.framed, Opcode::Ping, &[]);
        } else if flags.has(Flags::UNIDIRECTIONAL) && flags.has(Flags::PROTOBUF) {
            // A push without anything in it.
            frame::append_frame(&mut self.framed, Opcode::Binary, &[]);
        } else {
            self.compose(id, &Message::Ping);
        }
        self.queue_framed(road, id);
    }

    /// A pong of WebSocket's: may come unasked (RFC 6455 5.5.3).
    pub(super) fn on_frame_pong(&mut self, road: &mut Road<'_>, id: ConnId) {
        let answers =
            |player: &mut Player| player.flags.has(Flags::FRAME_PINGS) && player.awaits_pong;
        if self.player(id).is_some_and(answers) {
            self.on_pong(road, id);
        }
    }

    /// The player answered a ping; one that was not asked for is a bad request.
    pub(super) fn on_pong(&mut self, road: &mut Road<'_>, id: ConnId) {
        let rest = Micros(
            self.rules
                .ping_interval
                .0
                .saturating_sub(self.rules.pong_timeout.0),
        );
        let Some(player) = self.player(id) else {
            return;
        };
        if !player.awaits_pong {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        player.awaits_pong = false;
        // The pong deadline was the ping's moment plus the pong timeout.
        player.deadline = (Micros::from(player.deadline) + rest).into();
        let due = player.due();
        self.wheel.schedule(id.slot, due);
    }

    /// Begins to tell all players to reconnect elsewhere; new ones are turned away.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    fn drain_some(&mut self, road: &mut Road<'_>) {
        let mut told = 0;
        for _ in 0..DRAIN_LOOK.min(self.players.len()) {
            if told == DRAIN_A_TURN {
                return;
            }
            let slot = self.drain_next;
            self.drain_next = (slot + 1) % self.players.len();
            if let Some(player) = &self.players[slot]
                && player.phase != Phase::Closing
            {
                told += 1;
                // A core has fewer than 2^32 players.
                let id = player.id(u32::try_from(slot).unwrap_or(NONE));
                self.disconnect(road, id, Disconnect::Shutdown);
            }
        }
    }
}
