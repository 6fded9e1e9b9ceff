//! What a backend does to the connections of a user: subscribe, unsubscribe, disconnect, refresh.
//!
//! Comes from the server API by way of the journal, so that it has a place in the order of events, and is
//! done to those who are there at that place; who connects later is not reached, which is for the backend
//! to see to (its tokens). All connections of a user on this core are dealt with at once: a user has a
//! few, and each costs what a command of its own would.
//!
//! A subscription begins at that place too, because the journal says where the hunt stands there; only one
//! that is to start in the past asks the journal for that first, as a player's own would. One that cannot be made (no room, or the player has as many as it may) is
//! dropped and moves `session_told_in_vain`.

use crate::metrics::catalog::Metric;
use crate::protobuf::delimited;
use crate::ring::broadcast::{Relay, Stand};
use crate::ring::submit::{ByServer, Tell, Told};
use crate::session;
use crate::session::codec::{Push, Pushed};
use crate::session::codes::{Disconnect, Unsubscribe};
use crate::session::permission;
use crate::session::player::{ClientId, Phase};
use crate::session::refresh::expiry;
use crate::session::rules::ServerSubscription;
use crate::session::subscribe::{Extras, Found, Wanted, result, subscribe_submission};
use crate::session::{Purpose, Road, Sessions};
use crate::units::ConnId;

impl Sessions {
    /// Does what a backend wants to those connections of a user that are meant.
    pub(super) fn on_tell(&mut self, road: &mut Road<'_>, relay: &Relay<'_>) {
        let Relay { tell, stand } = relay;
        let mut slot = self.first_of(tell.user);
        while let Some(Some(player)) = self.players.get(slot as usize) {
            let id = player.id(slot);
            let is_there = player.user() == tell.user
                && matches!(player.phase, Phase::Connecting | Phase::Connected);
            // It may be gone afterwards.
            slot = self.next_of(slot);
            if is_there && self.is_meant(id, tell) {
                self.counters.inc(Metric::SessionTold);
                self.tell(road, id, &tell.what, stand.as_ref());
            }
        }
    }

    fn is_meant(&self, id: ConnId, tell: &Tell<'_>) -> bool {
        let (mut client, mut session) = ([0; ClientId::TEXT_BYTES], [0; ClientId::TEXT_BYTES]);
        let client = self.client_id(id).text(&mut client);
        let session = self.session_id(id).text(&mut session);
        let is_spared = match tell.what {
            Told::Disconnect { spared, .. } => {
                delimited(spared).any(|spared| spared == client.as_bytes())
            }
            _ => false,
        };
        !is_spared
            && (tell.client.is_empty() || tell.client == client)
            && (tell.session.is_empty() || tell.session == session)
    }

    fn tell(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        what: &Told<'_>,
        stand: Option<&Stand<'_>>,
    ) {
        match *what {
            Told::Disconnect { code, reason, .. } => {
                self.tell_disconnect(road, id, code, reason);
                self.close(road, id, code, reason);
            }
            Told::Unsubscribe { hunt } => {
                if let Some(slot) = self.subscribed_to(road, id, hunt) {
                    self.unsubscribe_because(road, id, slot, Unsubscribe::Server);
                }
            }
            Told::Refresh { ttl_s, info } => self.refresh_by_server(road, id, ttl_s, info),
            Told::Subscribe(ref by) => {
                if let Some(stand) = stand {
                    self.subscribe_later(road, id, by, stand);
                }
            }
        }
    }

    fn refresh_by_server(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        ttl_s: Option<u32>,
        info: &[u8],
    ) {
        if ttl_s == Some(0) {
            return self.disconnect(road, id, Disconnect::ConnectionExpired);
        }
        let Some(player) = self.player(id) else {
            return;
        };
        let is_connected = player.phase == Phase::Connected;
        let bearer = player.bearer.get_or_insert_default();
        bearer.expires = expiry(road.now, ttl_s);
        if !info.is_empty() {
            bearer.info = info.into();
        }
        let due = player.due();
        self.wheel.schedule(id.slot, due);
        if is_connected {
            let push = Push {
                channel: "",
                id: 0,
                body: Pushed::Refresh { ttl_s },
            };
            self.push(road, id, push);
        }
    }

    /// Subscribes a player that is connected already.
    fn subscribe_later(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        by: &ByServer<'_>,
        stand: &Stand<'_>,
    ) {
        if self.subscribed_to(road, id, by.hunt).is_some() {
            return;
        }
        let subscription = ServerSubscription {
            channel: by.hunt.to_owned(),
            info: by.info.to_owned(),
            data: by.data.to_owned(),
            overrides: by.overrides,
        };
        // A namespace that was there when the backend asked.
        let Ok(mut granted) = permission::by_server(&self.rules, &subscription) else {
            return;
        };
        granted.ttl_s = by.ttl_s;
        let mut wanted = Wanted::new(&granted);
        let mut extras = Extras::new(road.now, &granted).unwrap_or_default();
        extras.terms.server_side = true;
        let (epoch, offset) = by.since.unwrap_or_default();
        wanted.recover = by.since.is_some() && wanted.recoverable;
        wanted.offset = offset;
        // The push that tells of it holds no events.
        wanted.in_pages = true;
        let is_at_top = offset == stand.top && (epoch.is_empty() || epoch == stand.epoch);
        if !wanted.recover || is_at_top {
            let opened = road.hunts.open(stand.hunt, by.hunt, stand.epoch, stand.top);
            return match opened {
                Ok(slot) => {
                    let found = Found {
                        recovered: wanted.recover,
                        ..Found::default()
                    };
                    self.enter_later(road, id, slot, &wanted, extras, found);
                }
                Err(_) => self.counters.inc(Metric::SessionToldInVain),
            };
        }
        let Some(token) = self.note(id, 0, Purpose::Later(wanted, extras)) else {
            return self.counters.inc(Metric::SessionToldInVain);
        };
        if !road
            .submit
            .submit(&subscribe_submission(token, by.hunt, epoch, &wanted))
        {
            self.counters.inc(Metric::RingSubmitFull);
            self.counters.inc(Metric::SessionToldInVain);
            self.pending.remove(ConnId::from_bits(token));
        }
    }

    /// The journal's answer to `subscribe_later`.
    pub(super) fn on_later(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        (wanted, extras): (Wanted, Box<Extras>),
        stand: session::stand::Stand<'_>,
    ) {
        if self.peek(id).is_none() {
            return;
        }
        match stand {
            Ok((slot, found)) => self.enter_later(road, id, slot, &wanted, extras, found),
            Err(_) => self.counters.inc(Metric::SessionToldInVain),
        }
    }

    /// Subscribes and says so. What is recovered follows in pages.
    fn enter_later(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        slot: u32,
        wanted: &Wanted,
        mut extras: Box<Extras>,
        found: Found<'_>,
    ) {
        let terms = std::mem::take(&mut extras.terms);
        let channels_max = self.channels_max();
        let player = self.player(id);
        let has_room = player.is_some_and(|player| {
            let is_there = matches!(player.phase, Phase::Connecting | Phase::Connected);
            is_there && player.subscription_count < channels_max
        });
        if !has_room
            || self
                .enter(road, id, slot, wanted, Some(terms), found)
                .is_err()
        {
            road.hunts.close_if_empty(slot);
            return self.counters.inc(Metric::SessionToldInVain);
        }
        if let Some(player) = self.player(id) {
            player.subscription_count += 1;
        }
        let hunt = road.hunts.hunt(slot);
        let result = result(hunt, wanted, Some(&extras), found);
        let push = Push {
            channel: &hunt.name,
            id: 0,
            body: Pushed::Subscribe {
                recoverable: result.recoverable,
                epoch: result.epoch,
                offset: result.offset,
                positioned: result.positioned,
                data: result.data,
            },
        };
        self.compose(id, &self.pushed(id, push));
        self.queue_framed(road, id);
        self.catch_up(road, id);
    }
}
