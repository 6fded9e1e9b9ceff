//! The journal's answers to commands that waited for it.

use crate::hunt::encode::{Variant, channel_id};
use crate::memory::chunk::CHUNK_BYTES;
use crate::metrics::catalog::Metric;
use crate::ring::broadcast::{self, Record, Refusal};
use crate::session::codec::{Message, Reply, SubscribeResult};
use crate::session::codes::Error;
use crate::session::command::Subscribed;
use crate::session::player::{Flags, Phase};
use crate::session::{Pending, Purpose, Road, Sessions};
use crate::units::ConnId;

impl Sessions {
    /// Takes an answer of the broadcast ring; events are not for here. The hunt's name comes from
    /// the answer, because the player's command is long gone.
    pub fn on_record(&mut self, road: &mut Road<'_>, record: &Record<'_>) {
        let token = match record {
            Record::Subscribed(answer) => answer.token,
            Record::Published(answer) => answer.token,
            Record::History(answer) => answer.token,
            Record::Refused { token, .. } => *token,
            Record::Event(_) => return,
        };
        let Some(pending) = self.pending.remove(ConnId::from_bits(token)) else {
            return;
        };
        let id = pending.conn;
        let Some(player) = self.player(id) else {
            return;
        };
        player.pending -= 1;
        if player.phase == Phase::Closing {
            return;
        }
        match (record, pending.purpose) {
            (Record::Subscribed(answer), Purpose::Subscribe { .. }) => {
                self.on_subscribed(road, &pending, answer);
            }
            (Record::Published(_), Purpose::Publish) => {
                self.reply(road, id, pending.command, Reply::Publish);
            }
            (Record::Refused { refusal, .. }, purpose) => {
                if matches!(purpose, Purpose::Subscribe { .. }) {
                    self.forget_subscription(id);
                }
                self.refuse(road, id, pending.command, error_of(*refusal));
            }
            _ => self.refuse(road, id, pending.command, Error::Internal),
        }
        self.resume(road, id);
    }

    fn forget_subscription(&mut self, id: ConnId) {
        if let Some(player) = self.player(id) {
            player.subscription_count -= 1;
        }
    }

    fn on_subscribed(
        &mut self,
        road: &mut Road<'_>,
        pending: &Pending,
        answer: &broadcast::Subscribed<'_>,
    ) {
        let Purpose::Subscribe {
            recover,
            offset,
            recoverable,
            reject_unrecovered,
            numbered,
        } = pending.purpose
        else {
            return;
        };
        let id = pending.conn;
        if recover {
            self.counters.inc(match answer.recovered {
                true => Metric::SessionRecovered,
                false => Metric::SessionNotRecovered,
            });
        }
        if recover && !answer.recovered && reject_unrecovered {
            self.forget_subscription(id);
            return self.refuse(road, id, pending.command, Error::UnrecoverablePosition);
        }
        if !self.has_room_for(answer.publications) {
            self.counters.inc(Metric::SessionRecoveryPutOff);
            self.forget_subscription(id);
            return self.refuse(road, id, pending.command, Error::TooManyRequests);
        }
        let opened = road
            .hunts
            .open(answer.hunt, answer.name, answer.epoch, answer.top);
        let Ok(slot) = opened else {
            self.forget_subscription(id);
            return self.refuse(road, id, pending.command, Error::LimitExceeded);
        };
        let Some(player) = self.player(id) else {
            return;
        };
        if road
            .hunts
            .subscription(slot, player.subscriptions)
            .is_some()
        {
            self.forget_subscription(id);
            return self.refuse(road, id, pending.command, Error::AlreadySubscribed);
        }
        let done = Subscribed {
            recoverable,
            recover,
            offset,
            recovered: answer.recovered,
            numbered,
        };
        self.enter(road, id, pending.command, slot, done, answer.publications);
    }

    /// Whether a reply with `publications` leaves the others a quarter of the pool: everyone's pings
    /// and replies need it, and a recovery can be asked for again.
    fn has_room_for(&self, publications: &[u8]) -> bool {
        let needed = publications.len().div_ceil(CHUNK_BYTES);
        let free = self.chunks.capacity() - self.chunks.used();
        needed == 0 || free >= needed + self.chunks.capacity() / 4
    }

    /// Subscribes from the end of the hunt's log on, and says so: the reply is placed before any
    /// event, because private bytes go first.
    pub(super) fn enter(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        slot: u32,
        done: Subscribed,
        publications: &[u8],
    ) {
        let Some(player) = self.player(id) else {
            return;
        };
        let variant = Variant::PLAIN
            .and_if(player.flags.has(Flags::PROTOBUF), Variant::PROTOBUF)
            .and_if(done.numbered, Variant::NUMBERED);
        if !road
            .hunts
            .subscribe(slot, id, variant, &mut player.subscriptions)
        {
            self.forget_subscription(id);
            road.hunts.close_if_empty(slot);
            return self.refuse(road, id, number, Error::LimitExceeded);
        }
        let hunt = road.hunts.hunt(slot);
        let recovered = done.recover && done.recovered;
        let result = SubscribeResult {
            recoverable: done.recoverable,
            positioned: done.recoverable,
            epoch: if done.recoverable { &hunt.epoch } else { "" },
            // A recovered player advances from the offset it asked with as it takes the events.
            offset: match (done.recoverable, recovered) {
                (false, _) => 0,
                (true, true) => done.offset,
                (true, false) => hunt.top,
            },
            was_recovering: done.recover,
            recovered,
            publications,
            id: match variant.has(Variant::NUMBERED) {
                true => channel_id(hunt.number),
                false => 0,
            },
            ..SubscribeResult::default()
        };
        self.compose(id, &Message::Reply(number, Reply::Subscribe(result)));
        self.queue_framed(road, id);
    }
}

fn error_of(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unavailable => Error::Internal,
        Refusal::BadRequest => Error::BadRequest,
        Refusal::UnrecoverablePosition => Error::UnrecoverablePosition,
        Refusal::LimitExceeded => Error::LimitExceeded,
    }
}
