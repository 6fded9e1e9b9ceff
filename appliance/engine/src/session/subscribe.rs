//! Into a hunt and out of it again, whoever wants it.
//!
//! The journal says where a hunt stands and what the player missed ([`super::stand`]); [`Sessions::enter`] puts
//! a cursor at the end of the hunt's log, and [`result`] is what the player is told about it. When the
//! hunt is known here already and nothing was missed, the journal is not asked.

use crate::hunt::Hunt;
use crate::hunt::encode::{Variant, channel_id};
use crate::protobuf::delimited;
use crate::ring::broadcast::HuntNumber;
use crate::ring::submit::{self, Part, Submission};
use crate::session::codec::{Message, Push, Pushed, Reply, Subscribe, SubscribeResult};
use crate::session::codes::{Disconnect, Error, Unsubscribe};
use crate::session::permission::{self, Granted, Wish};
use crate::session::player::{ClientId, Flags, Player};
use crate::session::refresh::expiry;
use crate::session::stand::Stand;
use crate::session::terms::{Behind, Terms};
use crate::session::{Purpose, Road, Sessions};
use crate::units::{ConnId, Micros};

/// `subscribe.flag` bit: the client takes numeric channel ids.
const FLAG_NUMBERED: u64 = 1;

/// `subscribe.flag` bit: answer error 112 instead of an unrecovered success.
const FLAG_REJECT_UNRECOVERED: u64 = 2;

/// What a subscription will be once the journal has said where the hunt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// What was missed after `offset` is asked for.
    pub(super) recover: bool,
    pub(super) offset: u64,
    /// Rather no subscription than one with a gap.
    pub(super) reject_unrecovered: bool,
    /// Pushes carry the hunt's number.
    pub(super) numbered: bool,
    pub(super) recoverable: bool,
    pub(super) positioned: bool,
    /// What was missed is told in pages alone.
    pub(super) in_pages: bool,
    /// The hunt of which the first page of what was missed is asked for.
    pub(super) page_of: Option<HuntNumber>,
    /// How others hear of it, and it of them.
    pub(super) part: Part,
}

impl Wanted {
    pub(super) fn new(granted: &Granted<'_>) -> Wanted {
        Wanted {
            recoverable: granted.recoverable,
            positioned: granted.positioned,
            part: Part {
                listed: granted.presence,
                announced: granted.join_leave,
                told: granted.push_join_leave,
            },
            ..Wanted::default()
        }
    }

    /// Which bytes of events it takes.
    pub(super) fn variant(&self, player: &Player) -> Variant {
        player
            .variant()
            .and_if(self.numbered, Variant::NUMBERED)
            .and_if(self.part.told, Variant::JOINS)
    }

    /// Takes over from where the player wants to go on.
    pub(super) fn recover(&mut self, ask: &Subscribe<'_>) {
        self.recover = ask.recover && self.recoverable;
        self.offset = ask.offset;
    }
}

/// What else there is to a subscription that is not everybody's.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) ttl_s: Option<u32>,
    /// For the reply.
    pub(super) data: Box<[u8]>,
    pub(super) terms: Terms,
}

impl Extras {
    /// Of a subscription that the player makes; none when there is nothing.
    pub(super) fn new(now: Micros, granted: &Granted<'_>) -> Option<Box<Extras>> {
        let extras = Extras {
            ttl_s: granted.ttl_s,
            data: granted.data.into(),
            terms: Terms {
                expires: expiry(now, granted.ttl_s),
                info: granted.info.into(),
                ..Terms::default()
            },
        };
        let is_ordinary = extras.data.is_empty() && extras.terms.are_ordinary();
        (!is_ordinary).then(|| Box::new(extras))
    }
}

/// What the journal found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found<'a> {
    /// All that was missed can be had.
    pub(super) recovered: bool,
    /// Where it begins in the log of the hunt.
    pub(super) position: Option<u64>,
    /// If it is not there, the first of it: encoded publications, each behind its length, oldest first.
    pub(super) publications: &'a [u8],
}

impl Sessions {
    pub(super) fn on_subscribe(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        ask: &Subscribe<'_>,
    ) {
        if ask.channel.is_empty() || !matches!(ask.delta.as_ref(), "" | "fossil") {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        if ask.kind != 0 {
            // Map subscriptions are not supported (docs/protocol.md).
            return self.refuse(road, id, number, Error::NotAvailable);
        }
        if ask.has_filter {
            return self.refuse(road, id, number, Error::BadRequest);
        }
        let token = (!ask.token.is_empty()).then(|| (self.verify.subscription)(&ask.token));
        let mut client = [0; ClientId::TEXT_BYTES];
        let wish = Wish {
            channel: &ask.channel,
            user: self.user(id),
            client: self.client_id(id).text(&mut client),
            recoverable: ask.recoverable,
            positioned: ask.positioned,
            join_leave: ask.join_leave,
        };
        let granted = match permission::may_subscribe(&self.rules, &wish, token.as_ref()) {
            Ok(granted) => granted,
            Err(denied) => return self.deny(road, id, number, denied),
        };
        let mut wanted = Wanted::new(&granted);
        wanted.recover(ask);
        let takes_numbers = |player: &mut Player| player.flags.has(Flags::TAKES_NUMBERS);
        wanted.numbered =
            ask.flag & FLAG_NUMBERED != 0 && self.player(id).is_some_and(takes_numbers);
        wanted.reject_unrecovered = ask.flag & FLAG_REJECT_UNRECOVERED != 0;
        let extras = Extras::new(road.now, &granted);
        self.subscribe(road, id, number, ask, wanted, extras);
    }

    /// A subscribe that is allowed.
    fn subscribe(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        ask: &Subscribe<'_>,
        wanted: Wanted,
        extras: Option<Box<Extras>>,
    ) {
        let channels_max = self.channels_max();
        let Some(player) = self.player(id) else {
            return;
        };
        if player.subscription_count >= channels_max {
            return self.refuse(road, id, number, Error::LimitExceeded);
        }
        let nothing_pending = player.pending == 0;
        if self.subscribed_to(road, id, &ask.channel).is_some() {
            return self.refuse(road, id, number, Error::AlreadySubscribed);
        }
        if nothing_pending && let Some(slot) = at_top(road, &ask.channel, &ask.epoch, &wanted) {
            if let Some(player) = self.player(id) {
                player.subscription_count += 1;
            }
            let found = Found {
                recovered: wanted.recover,
                ..Found::default()
            };
            return self.enter_and_reply(road, id, number, slot, &wanted, extras, found);
        }
        let purpose = Purpose::Subscribe(wanted, extras);
        let Some(token) = self.ask(road, id, number, purpose) else {
            return;
        };
        let submission = subscribe_submission(token, &ask.channel, &ask.epoch, &wanted);
        if !road.submit.submit(&submission) {
            self.withdraw(road, id, number, token);
        } else if let Some(player) = self.player(id) {
            player.subscription_count += 1;
        }
    }

    /// The journal's answer to `subscribe`.
    pub(super) fn on_subscribed(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        (wanted, extras): (Wanted, Option<Box<Extras>>),
        stand: Stand<'_>,
    ) {
        let (slot, found) = match stand {
            Ok(stand) => stand,
            Err(error) => {
                self.forget_subscription(id);
                return self.refuse(road, id, number, error);
            }
        };
        if wanted.recover && !found.recovered && wanted.reject_unrecovered {
            self.forget_subscription(id);
            return self.refuse(road, id, number, Error::UnrecoverablePosition);
        }
        self.enter_and_reply(road, id, number, slot, &wanted, extras, found);
    }

    pub(super) fn forget_subscription(&mut self, id: ConnId) {
        if let Some(player) = self.player(id) {
            player.subscription_count -= 1;
        }
    }

    /// Subscribes, and says so or why not.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a part of the one answer"
    )]
    fn enter_and_reply(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        slot: u32,
        wanted: &Wanted,
        mut extras: Option<Box<Extras>>,
        found: Found<'_>,
    ) {
        let terms = extras
            .as_mut()
            .map(|extras| std::mem::take(&mut extras.terms));
        if let Err(error) = self.enter(road, id, slot, wanted, terms, found) {
            self.forget_subscription(id);
            return self.refuse(road, id, number, error);
        }
        let result = result(road.hunts.hunt(slot), wanted, extras.as_deref(), found);
        self.compose(id, &Message::Reply(number, Reply::Subscribe(result)));
        self.queue_framed(road, id);
        self.catch_up(road, id);
    }

    /// Subscribes from the end of the hunt's log on, or from where in it the first missed event is. The
    /// reply is placed before any event, because private bytes go first; if what was missed is neither in
    /// it nor in the log, the events wait for that.
    pub(super) fn enter(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        slot: u32,
        wanted: &Wanted,
        terms: Option<Terms>,
        found: Found<'_>,
    ) -> Result<(), Error> {
        let Some(player) = self.player(id) else {
            return Err(Error::Internal);
        };
        let hunts = &mut *road.hunts;
        if hunts.subscription(slot, player.subscriptions).is_some() {
            return Err(Error::AlreadySubscribed);
        }
        let variant = wanted.variant(player);
        if !hunts.subscribe(slot, id, variant, &mut player.subscriptions) {
            return Err(Error::LimitExceeded);
        }
        let chan_info = terms.as_ref().map_or(&[][..], |terms| &terms.info);
        if let Err(error) = self.announce(road, id, slot, wanted.part, chan_info) {
            self.take_back(road, id, slot);
            return Err(error);
        }
        let (hunts, Some(player)) = (&mut *road.hunts, self.player(id)) else {
            return Err(Error::Internal);
        };
        let until = hunts.hunt(slot).top;
        let count = delimited(found.publications).count() as u64;
        let reached = wanted.offset.saturating_add(count);
        let mut is_behind = wanted.recover && found.recovered && reached < until;
        if is_behind
            && let Some(position) = found.position
            && let Some(subscription) = hunts.subscriptions.at(player.subscriptions)
        {
            subscription.cursor = position;
            is_behind = false;
        }
        if terms.is_none() && !is_behind {
            return Ok(());
        }
        player.flags.set(Flags::BEHIND, is_behind);
        player.keep_terms(Terms {
            hunt: slot,
            behind: is_behind.then_some(Behind { reached, until }),
            ..terms.unwrap_or_default()
        });
        let due = player.due();
        self.wheel.schedule(id.slot, due);
        Ok(())
    }

    /// The subscription just made is not to be.
    fn take_back(&mut self, road: &mut Road<'_>, id: ConnId, slot: u32) {
        if let Some(player) = self.player(id) {
            road.hunts.unsubscribe(slot, &mut player.subscriptions);
        }
    }

    pub(super) fn on_unsubscribe(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        channel: &str,
    ) {
        if channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        if let Some(slot) = road.hunts.find(channel) {
            self.quit(road, id, slot);
        }
        self.reply(road, id, number, Reply::Unsubscribe);
    }

    /// Ends the subscription to the hunt in `slot` because of `why`: the player is told, and if it did
    /// not make the subscription itself, it has to connect anew to get another.
    pub(super) fn end_subscription(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        slot: u32,
        why: Unsubscribe,
    ) {
        let terms = self.peek(id).and_then(|player| player.terms(slot));
        if terms.is_some_and(|terms| terms.server_side) {
            return self.disconnect(
                road,
                id,
                match why {
                    Unsubscribe::Expired => Disconnect::SubscriptionExpired,
                    _ => Disconnect::InsufficientState,
                },
            );
        }
        self.unsubscribe_because(road, id, slot, why);
    }

    /// Ends the subscription to the hunt in `slot`, whoever made it, and tells the player.
    pub(super) fn unsubscribe_because(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        slot: u32,
        why: Unsubscribe,
    ) {
        // The name goes with the last subscriber.
        let push = Push {
            channel: &road.hunts.hunt(slot).name,
            id: 0,
            body: Pushed::Unsubscribe(why),
        };
        self.compose(id, &self.pushed(id, push));
        if self.quit(road, id, slot) {
            self.queue_framed(road, id);
        }
    }

    /// Takes the player out of the hunt in `slot`; false when it was not in it.
    pub(super) fn quit(&mut self, road: &mut Road<'_>, id: ConnId, slot: u32) -> bool {
        let Some(player) = self.player(id) else {
            return false;
        };
        if !road.hunts.unsubscribe(slot, &mut player.subscriptions) {
            return false;
        }
        player.subscription_count -= 1;
        player.drop_terms(slot);
        true
    }

    /// The slot of the hunt called `channel`, if the player is subscribed to it.
    pub(super) fn subscribed_to(
        &self,
        road: &mut Road<'_>,
        id: ConnId,
        channel: &str,
    ) -> Option<u32> {
        let first = self.peek(id)?.subscriptions;
        let slot = road.hunts.find(channel)?;
        road.hunts.subscription(slot, first).map(|_| slot)
    }

    /// Subscriptions a player may have. The count is 16 bits; nobody has a use for as many.
    pub(super) fn channels_max(&self) -> u16 {
        u16::try_from(self.rules.channels_max).unwrap_or(u16::MAX)
    }
}

/// What the player is told about its subscription.
pub(super) fn result<'a>(
    hunt: &'a Hunt,
    wanted: &Wanted,
    extras: Option<&'a Extras>,
    found: Found<'a>,
) -> SubscribeResult<'a> {
    let recovered = wanted.recover && found.recovered;
    SubscribeResult {
        ttl_s: extras.and_then(|extras| extras.ttl_s),
        recoverable: wanted.recoverable,
        positioned: wanted.positioned,
        epoch: if wanted.positioned { &hunt.epoch } else { "" },
        // A recovered player advances from the offset it asked with as it takes the events.
        offset: match (wanted.positioned, recovered) {
            (false, _) => 0,
            (true, true) => wanted.offset,
            (true, false) => hunt.top,
        },
        was_recovering: wanted.recover,
        recovered,
        publications: if recovered { found.publications } else { &[] },
        data: extras.map_or(&[], |extras| &extras.data),
        id: match wanted.numbered {
            true => channel_id(hunt.number),
            false => 0,
        },
    }
}

/// The slot of the hunt called `name` if it is known here and the player has all there is.
pub(super) fn at_top(road: &Road<'_>, name: &str, epoch: &str, wanted: &Wanted) -> Option<u32> {
    let slot = road.hunts.find(name)?;
    let hunt = road.hunts.hunt(slot);
    let is_at_top = wanted.offset == hunt.top && (epoch.is_empty() || *epoch == *hunt.epoch);
    (!wanted.recover || is_at_top).then_some(slot)
}

pub(super) fn subscribe_submission<'a>(
    token: u64,
    hunt: &'a str,
    epoch: &'a str,
    wanted: &Wanted,
) -> Submission<'a> {
    Submission::Subscribe(submit::Subscribe {
        token,
        hunt,
        recover: wanted.recover,
        epoch,
        offset: wanted.offset,
    })
}
