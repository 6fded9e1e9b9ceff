//! New tokens for old, and what happens when none comes in time.

use crate::metrics::catalog::Metric;
use crate::session::codec::{Reply, SubRefresh};
use crate::session::codes::{Disconnect, Unsubscribe};
use crate::session::permission::{self, Wish};
use crate::session::player::{ClientId, Player};
use crate::session::rules::Claims;
use crate::session::terms::Terms;
use crate::session::{Road, Sessions};
use crate::units::{ConnId, Micros};

/// Time past the expiry of a token before what it granted is ended, for the refresh to arrive
/// (Centrifugo's `expired_close_delay` and `expired_sub_close_delay`).
const EXPIRED_CLOSE_DELAY: Micros = Micros::from_secs(25);

/// When what lives for `ttl_s` more ends; `NEVER` when it does not.
pub(super) fn expiry(now: Micros, ttl_s: Option<u32>) -> Micros {
    match ttl_s {
        Some(ttl_s) => now + Micros::from_secs(u64::from(ttl_s)) + EXPIRED_CLOSE_DELAY,
        None => Micros::NEVER,
    }
}

impl Sessions {
    pub(super) fn on_refresh(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, token: &str) {
        if token.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let token = (self.verify.connection)(token);
        let claims = match permission::may_refresh(self.user(id), &token) {
            Ok(claims) => claims,
            Err(denied) => return self.deny(road, id, number, denied),
        };
        if !self.has_same_subscriptions(road, id, claims) {
            return self.disconnect(road, id, Disconnect::InsufficientState);
        }
        let (client, version) = (self.client_id(id), self.rules.version);
        let Some(player) = self.player(id) else {
            return;
        };
        let expires = expiry(road.now, claims.ttl_s);
        if player.bearer.is_some() || expires != Micros::NEVER {
            let bearer = player.bearer.get_or_insert_default();
            bearer.expires = expires;
            bearer.info = claims.info.as_slice().into();
        }
        let due = player.due();
        self.wheel.schedule(id.slot, due);
        let mut text = [0; ClientId::TEXT_BYTES];
        let reply = Reply::Refresh {
            client: client.text(&mut text),
            version,
            ttl_s: claims.ttl_s,
        };
        self.reply(road, id, number, reply);
    }

    /// Whether a new token subscribes its bearer to the same hunts as the one before.
    fn has_same_subscriptions(&self, road: &mut Road<'_>, id: ConnId, claims: &Claims) -> bool {
        let from_token = |player: &Player| {
            let terms = player.bearer.iter().flat_map(|bearer| &bearer.terms);
            terms.filter(|terms| terms.from_token).count()
        };
        let count = self.peek(id).map_or(0, from_token);
        let is_held = |channel: &str| {
            let slot = self.subscribed_to(road, id, channel);
            let terms = slot.and_then(|slot| self.peek(id)?.terms(slot));
            terms.is_some_and(|terms| terms.from_token)
        };
        let mut names = claims.subscriptions.iter().map(|wanted| &*wanted.channel);
        claims.subscriptions.len() == count && names.all(is_held)
    }

    pub(super) fn on_sub_refresh(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        ask: &SubRefresh<'_>,
    ) {
        if ask.channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        if let Err(error) = self.rules.channel(&ask.channel) {
            return self.refuse(road, id, number, error.into());
        }
        let slot = self.subscribed_to(road, id, &ask.channel);
        let token = (!ask.token.is_empty()).then(|| (self.verify.subscription)(&ask.token));
        let mut client = [0; ClientId::TEXT_BYTES];
        let wish = Wish {
            channel: &ask.channel,
            user: self.user(id),
            client: self.client_id(id).text(&mut client),
            ..Wish::default()
        };
        let subscribed = slot.is_some();
        let may = permission::may_refresh_subscription(&wish, subscribed, token.as_ref());
        let claims = match may {
            Ok(claims) => claims,
            Err(denied) => return self.deny(road, id, number, denied),
        };
        if let (Some(hunt), Some(player)) = (slot, self.player(id)) {
            let terms = player.drop_terms(hunt).unwrap_or_default();
            player.keep_terms(Terms {
                hunt,
                expires: expiry(road.now, claims.ttl_s),
                info: claims.info.as_slice().into(),
                ..terms
            });
            let due = player.due();
            self.wheel.schedule(id.slot, due);
        }
        let ttl_s = claims.ttl_s;
        self.reply(road, id, number, Reply::SubRefresh { ttl_s });
    }

    /// Ends the subscriptions whose time is over; false when there was none.
    pub(super) fn expire_subscriptions(&mut self, road: &mut Road<'_>, id: ConnId) -> bool {
        let mut found = false;
        loop {
            let is_over = |terms: &&Terms| terms.expires <= road.now;
            let terms = self.peek(id).and_then(|player| player.bearer.as_ref());
            let over = terms.and_then(|bearer| bearer.terms.iter().find(is_over));
            let Some(slot) = over.map(|terms| terms.hunt) else {
                break;
            };
            found = true;
            self.counters.inc(Metric::SessionSubscriptionsExpired);
            self.end_subscription(road, id, slot, Unsubscribe::Expired);
        }
        if found && let Some(player) = self.player(id) {
            let due = player.due();
            self.wheel.schedule(id.slot, due);
        }
        found
    }
}
