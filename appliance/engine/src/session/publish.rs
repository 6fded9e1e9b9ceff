//! Publishing and reading back: the commands about a hunt's events that need no subscription.

use crate::hunt::publication::ClientInfo;
use crate::ring::broadcast::HistoryPage;
use crate::ring::submit::{self, EVENT_BYTES_MAX, Submission};
use crate::session::codec::{self, History, Message, NotJson, Publish, Reply};
use crate::session::codes::{Disconnect, Error};
use crate::session::permission;
use crate::session::player::ClientId;
use crate::session::{Purpose, Road, Sessions};
use crate::units::ConnId;

impl Sessions {
    pub(super) fn on_publish(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        event: &Publish<'_>,
    ) {
        if event.channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let subscribed = self.subscribed_to(road, id, &event.channel);
        let (user, is_subscribed) = (self.user(id), subscribed.is_some());
        let may = permission::may_publish(&self.rules, &event.channel, user, is_subscribed);
        if let Err(error) = may {
            return self.refuse(road, id, number, error);
        }
        if event.data.len() > EVENT_BYTES_MAX {
            return self.refuse(road, id, number, Error::BadRequest);
        }
        self.framed.clear();
        match codec::append_line(&mut self.framed, event.data) {
            Ok(()) => self.submit_publish(road, id, number, &event.channel, subscribed),
            Err(NotJson) => self.refuse(road, id, number, Error::BadRequest),
        }
    }

    /// Hands a publish that is allowed, with its data in `framed`, to the journal. `subscribed` is the
    /// slot of the hunt if the player is subscribed to it.
    fn submit_publish(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        hunt: &str,
        subscribed: Option<u32>,
    ) {
        let Some(token) = self.ask(road, id, number, Purpose::Publish) else {
            return;
        };
        let mut info = std::mem::take(&mut self.out);
        let data = std::mem::take(&mut self.framed);
        info.clear();
        self.append_client_info(id, subscribed, &mut info);
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

    /// Appends who the player is in the hunt in slot `hunt`, for others to see.
    pub(super) fn append_client_info(&self, id: ConnId, hunt: Option<u32>, out: &mut Vec<u8>) {
        let Some(player) = self.peek(id) else {
            return;
        };
        let mut buffer = [0; ClientId::TEXT_BYTES];
        let terms = hunt.and_then(|hunt| player.terms(hunt));
        let client_info = ClientInfo {
            user: player.user(),
            client: self.client_id(id).text(&mut buffer),
            conn_info: player.info(),
            chan_info: terms.map_or(&[], |terms| &terms.info),
        };
        client_info.append(out);
    }

    pub(super) fn on_history(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        ask: &History<'_>,
    ) {
        if ask.channel.is_empty() {
            return self.disconnect(road, id, Disconnect::BadRequest);
        }
        let subscribed = self.subscribed_to(road, id, &ask.channel).is_some();
        let user = self.user(id);
        let may = permission::may_history(&self.rules, &ask.channel, user, subscribed);
        if let Err(error) = may {
            return self.refuse(road, id, number, error);
        }
        let Some(token) = self.ask(road, id, number, Purpose::History) else {
            return;
        };
        let since = ask.since.as_ref();
        let submission = Submission::History(submit::History {
            token,
            hunt: &ask.channel,
            limit: ask.limit.into(),
            since: since.map(|since| (&*since.epoch, since.offset)),
            reverse: ask.reverse,
            ..submit::History::default()
        });
        if !road.submit.submit(&submission) {
            self.withdraw(road, id, number, token);
        }
    }

    /// The page that `on_history` asked for. It is refused for now when it would leave the others no
    /// room in the private chunk pool.
    pub(super) fn on_history_page(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        number: u32,
        page: &HistoryPage<'_>,
    ) {
        let reply = Reply::History {
            publications: page.publications,
            epoch: page.epoch,
            offset: page.top,
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
