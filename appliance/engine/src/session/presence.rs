//! Who else is there: a player's own coming and going, told to the journal, and its questions.
//!
//! A subscription that others are to know of is entered right after it began, in `Sessions::enter`; its
//! end is put on a list wherever it comes from (`hunt::attendance`) and told each turn while the submit
//! ring has room. So the journal hears of both in their order, and of the end for certain.
//!
//! A list longer than a page (`ring::broadcast::PAGE_BYTES_MAX`, some 10,000 players) is not for
//! players: error 106. One for which the pool of private chunks has no room now: error 111.

use crate::hunt::publication::ClientInfo;
use crate::metrics::catalog::Metric;
use crate::ring::broadcast::PresencePage;
use crate::ring::submit::{Enter, INFO_BYTES_MAX, Part, Presence, Submission, Want};
use crate::session::codec::{Message, Reply};
use crate::session::codes::{Disconnect, Error};
use crate::session::permission;
use crate::session::player::ClientId;
use crate::session::{Purpose, Road, Sessions};
use crate::units::ConnId;

impl Sessions {
    /// Lets the journal know of the player's newest subscription, to the hunt in `slot`; `chan_info` is
    /// what others see of it besides. The subscription is no good without: the caller takes it back.
    pub(super) fn announce(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        slot: u32,
        part: Part,
        chan_info: &[u8],
    ) -> Result<(), Error> {
        if part.is_none() {
            return Ok(());
        }
        self.tell_departures(road);
        if !road.hunts.attendance.has_room() {
            self.counters.inc(Metric::RingSubmitFull);
            return Err(Error::TooManyRequests);
        }
        let client = self.client_id(id);
        let Some(Some(player)) = self.players.get(id.slot as usize) else {
            return Err(Error::Internal);
        };
        let mut text = [0; ClientId::TEXT_BYTES];
        self.out.clear();
        ClientInfo {
            user: player.user(),
            client: client.text(&mut text),
            conn_info: player.info(),
            chan_info,
        }
        .append(&mut self.out);
        if self.out.len() > INFO_BYTES_MAX {
            return Err(Error::LimitExceeded);
        }
        let enter = Enter {
            hunt: road.hunts.hunt(slot).number,
            conn: id.to_bits(),
            part,
            info: &self.out,
        };
        if !road.submit.submit(&Submission::Enter(enter)) {
            self.counters.inc(Metric::RingSubmitFull);
            return Err(Error::TooManyRequests);
        }
        road.hunts.attendance.enter(player.subscriptions);
        Ok(())
    }

    /// Tells the journal who has left since the last call, as far as the submit ring has room.
    pub fn tell_departures(&self, road: &mut Road<'_>) {
        while let Some(departure) = road.hunts.attendance.leaving() {
            let leave = Submission::Leave {
                hunt: departure.hunt,
                conn: departure.conn.to_bits(),
            };
            if !road.submit.submit(&leave) {
                return self.counters.inc(Metric::SessionLeavesWaited);
            }
            road.hunts.attendance.left();
        }
    }

    /// Presence and presence_stats.
    pub(super) fn on_presence(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        channel: &str,
        want: Want,
    ) {
        if channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let subscribed = self.subscribed_to(road, id, channel).is_some();
        let user = self.user(id);
        if let Err(error) = permission::may_presence(&self.rules, channel, user, subscribed) {
            return self.refuse(road, id, number, error);
        }
        let Some(token) = self.ask(road, id, number, Purpose::Presence(want)) else {
            return;
        };
        let ask = Presence {
            token,
            hunt: channel,
            want,
        };
        if !road.submit.submit(&Submission::Presence(ask)) {
            self.withdraw(road, id, number, token);
        }
    }

    /// The journal's answer.
    pub(super) fn on_present(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        want: Want,
        page: &PresencePage<'_>,
    ) {
        let reply = match want {
            Want::Numbers => Reply::PresenceStats {
                num_clients: page.num_clients,
                num_users: page.num_users,
            },
            Want::Page | Want::Everybody => Reply::Presence {
                entries: page.entries,
            },
        };
        self.compose(id, &Message::Reply(number, reply));
        let bytes = self.framed.len();
        if !self.has_room_for(bytes) {
            return self.refuse(road, id, number, Error::TooManyRequests);
        }
        if let Some(player) = self.player(id) {
            player.expect(bytes);
        }
        self.queue_framed(road, id);
    }
}
