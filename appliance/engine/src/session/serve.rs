//! Filling a connection's TCP stream: replies first, then what its hunts' logs hold beyond its
//! cursors.
//!
//! Bytes are placed only while TCP could send some of them now, and always up to the end of a frame,
//! so that bytes of two sources never mix inside a frame. Whoever has no window keeps its cursors
//! where they are and takes one longer run later; but when TCP holds nothing at all, it is given
//! something, because only who has bytes to send asks whether a closed window has opened.

use crate::memory::slab::NONE;
use crate::metrics::catalog::Metric;
use crate::session::codes::Disconnect;
use crate::session::player::{Flags, Phase};
use crate::session::{PRIVATE, Road, Sessions};
use crate::tcp::Source;
use crate::units::ConnId;

impl Sessions {
    /// Places what the player can take now. The caller then lets TCP send.
    pub fn serve(&mut self, road: &mut Road<'_>, id: ConnId) {
        self.place_private(road, id);
        let Some(player) = self.player(id) else {
            return;
        };
        if player.phase == Phase::Closing {
            if player.unplaced() == 0 && !player.flags.has(Flags::FINISHED) {
                player.flags.set(Flags::FINISHED, true);
                road.tcp.finish(id);
            }
            return;
        }
        if player.phase == Phase::Echo || player.phase == Phase::Connecting {
            // The one's bound is on what is read, not on what is behind; the other has not been told
            // yet what it is subscribed to.
            return;
        }
        if player.unplaced() > 0 {
            return self.judge_lag(road, id);
        }
        let (mut index, is_behind) = (player.subscriptions, player.flags.has(Flags::BEHIND));
        while index != NONE {
            let Some(subscription) = road.hunts.subscriptions.at(index) else {
                return;
            };
            let (stream, next) = (subscription.stream, subscription.next);
            let has_news = subscription.cursor != road.hunts.logs.head(stream);
            let waits = is_behind && self.is_told_its_past(road, id, stream);
            if has_news && !waits && !self.place_run(road, id, index) {
                return self.judge_lag(road, id);
            }
            index = next;
        }
    }

    /// Copies bytes that TCP wants to send; false when they are no longer kept.
    pub fn read(
        &self,
        hunts: &crate::hunt::Hunts,
        id: ConnId,
        source: Source,
        out: &mut [u8],
    ) -> bool {
        if source.tag != PRIVATE {
            return hunts.logs.read(source.tag, source.position, out);
        }
        let Some(Some(player)) = self.players.get(id.slot as usize) else {
            return false;
        };
        // Private positions are 32 bits; TCP carries them in 64.
        let position = u32::try_from(source.position & 0xffff_ffff).unwrap_or(0);
        self.chunks.read(&player.private, position, out)
    }

    /// Acknowledgements came: frees the replies they cover, and serves the player if it waits.
    pub fn on_acked(&mut self, road: &mut Road<'_>, id: ConnId) {
        let Some(Some(player)) = self.players.get_mut(id.slot as usize) else {
            return;
        };
        if player.generation != id.generation {
            return;
        }
        if !player.private.is_empty() {
            let kept = road.tcp.first_unacked(id, PRIVATE);
            let kept = kept.map_or(player.placed, |position| {
                u32::try_from(position & 0xffff_ffff).unwrap_or(0)
            });
            self.chunks.drop_to(&mut player.private, kept);
            if player.private.is_empty()
                && let Some(bearer) = &mut player.bearer
            {
                bearer.long_reply = 0;
            }
        }
        if player.phase == Phase::Echo {
            self.resume_echo(road, id);
        }
        let Some(player) = self.player(id) else {
            return;
        };
        let is_behind = player.flags.has(Flags::BEHIND);
        if player.unplaced() > 0 || Self::has_news(road, player.subscriptions) {
            self.touch(id);
        }
        if is_behind {
            self.catch_up(road, id);
        }
    }

    /// Whether any hunt's log holds bytes beyond the player's cursor.
    fn has_news(road: &mut Road<'_>, mut index: u32) -> bool {
        while let Some(subscription) = road.hunts.subscriptions.at(index) {
            let (stream, cursor) = (subscription.stream, subscription.cursor);
            index = subscription.next;
            if cursor != road.hunts.logs.head(stream) {
                return true;
            }
        }
        false
    }

    /// Whether what the player missed of a stream's hunt goes before what the log holds.
    fn is_told_its_past(&self, road: &Road<'_>, id: ConnId, stream: u32) -> bool {
        let hunt = road.hunts.hunt_of(stream);
        let terms = self.peek(id).and_then(|player| player.terms(hunt));
        terms.is_some_and(|terms| terms.behind.is_some())
    }

    fn place_private(&mut self, road: &mut Road<'_>, id: ConnId) {
        let Some(player) = self.player(id) else {
            return;
        };
        let unplaced = player.unplaced();
        if unplaced > 0 && road.tcp.sendable(id) > 0 {
            let source = Source {
                tag: PRIVATE,
                position: u64::from(player.placed),
            };
            if road.tcp.place(id, source, unplaced) {
                player.placed = player.placed.wrapping_add(unplaced);
            }
        }
    }

    /// Places one subscription's run up to the end of its hunt's log; false when it has to wait.
    fn place_run(&mut self, road: &mut Road<'_>, id: ConnId, index: u32) -> bool {
        if road.tcp.sendable(id) == 0 {
            return false;
        }
        let Some(subscription) = road.hunts.subscriptions.at(index).copied() else {
            return false;
        };
        let head = road.hunts.logs.head(subscription.stream);
        let Ok(run) = u32::try_from(head - subscription.cursor) else {
            return false;
        };
        let source = Source {
            tag: subscription.stream,
            position: subscription.cursor,
        };
        if subscription.cursor < road.hunts.logs.first(subscription.stream)
            || !road.tcp.place(id, source, run)
        {
            return false;
        }
        let hunt = road.hunts.hunt_of(subscription.stream);
        let seen = road.hunts.hunt(hunt).seen;
        self.counters
            .add(Metric::HuntDeliveries, seen - subscription.seen);
        self.record_latency(road, hunt, subscription.seen, seen);
        if let Some(subscription) = road.hunts.subscriptions.at(index) {
            subscription.cursor = head;
            subscription.seen = seen;
        }
        true
    }

    fn record_latency(&mut self, road: &Road<'_>, hunt: u32, after: u64, seen: u64) {
        for nth in after + 1..=seen {
            let stamp = road.hunts.stamp(hunt, nth);
            self.latency.record(road.now.since(stamp), 1);
        }
    }

    /// Disconnects a player that cannot take bytes now and is too far behind.
    fn judge_lag(&mut self, road: &mut Road<'_>, id: ConnId) {
        let mut lag_bytes_max = self.rules.lag_bytes_max;
        let Some(player) = self.player(id) else {
            return;
        };
        let is_behind = player.flags.has(Flags::BEHIND);
        lag_bytes_max += u64::from(player.long_reply());
        let mut lag = u64::from(player.unplaced()) + u64::from(road.tcp.outstanding(id));
        let mut index = player.subscriptions;
        let mut lost = false;
        while let Some(subscription) = road.hunts.subscriptions.at(index).copied() {
            index = subscription.next;
            // What this one has to wait with is not its fault, and what the log loses comes as pages.
            if is_behind && self.is_told_its_past(road, id, subscription.stream) {
                continue;
            }
            lag += road.hunts.logs.head(subscription.stream) - subscription.cursor;
            lost |= subscription.cursor < road.hunts.logs.first(subscription.stream);
        }
        if lost || lag > lag_bytes_max {
            self.disconnect(road, id, Disconnect::Slow);
        }
    }
}
