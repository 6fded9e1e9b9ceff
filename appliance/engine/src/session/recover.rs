//! What a returning player missed, read from the journal in pages: the subscribe reply holds the first
//! ([`super::stand`]), the others follow as ordinary pushes.
//!
//! Order: the subscription's cursor stands behind the last event that the journal knew when it answered
//! ([`Behind::until`]), and nothing of the hunt's log is placed for it ([`super::serve`]) before the
//! pages have reached that event. So the player sees each event once, in order, with no seam. When the
//! log has lost bytes behind the cursor by then, the cursor goes to its end and the pages go on.
//!
//! Memory: a page goes into the player's private chain, and the next is asked for when little of that
//! is left; one page a player at a time. Pages on their way have their room in the chunk pool set
//! apart, and a quarter of the pool is never theirs; who finds no room waits in a queue, at most one
//! entry a player (`session_recovery_put_off`). A gap that the journal cannot close any more, because
//! events were removed meanwhile, ends the subscription with "insufficient state": the SDK subscribes
//! again and hears that it has to start afresh.

use crate::hunt::publication::Publication;
use crate::memory::chunk::CHUNK_BYTES;
use crate::metrics::catalog::Metric;
use crate::protobuf::delimited;
use crate::ring::broadcast::{HistoryPage, HuntNumber, Record, Refusal};
use crate::ring::submit::{self, Submission};
use crate::session::codes::Unsubscribe;
use crate::session::player::{Flags, Paging, Phase};
use crate::session::terms::Behind;
use crate::session::{Pending, Purpose, Road, Sessions};
use crate::units::ConnId;

/// Room set apart for a page on its way: a third is for what JSON and the hunt's name add.
const PAGE_CHUNKS: usize = 96;

/// Events of a page at most: bounds what their frames add to it.
const PAGE_EVENTS: i64 = 100;

/// Pages of one core that are on their way at once: so many stand before an event that is new.
const PAGES_MAX: usize = 8;

/// Unacknowledged private bytes from which on a player gets no further page: enough to keep a path
/// busy until the next one is here.
const UNACKED_BYTES_MAX: usize = 32 * 1024;

/// The page that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    slot: u32,
    number: HuntNumber,
    reached: u64,
}

impl Sessions {
    /// Room for a page. Half of what a player may be behind at most, or a page would make it a slow one.
    fn page_chunks(&self) -> usize {
        let lag = usize::try_from(self.rules.lag_bytes_max / 2).unwrap_or(usize::MAX);
        let most = (lag / CHUNK_BYTES).min(self.chunks.capacity() / 4);
        PAGE_CHUNKS.min(most).max(1)
    }

    /// Whether `bytes` more leave the others a quarter of the pool: everyone's pings and replies need
    /// it, and this can wait.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let needed = bytes.div_ceil(CHUNK_BYTES);
        let kept = self.pages_asked * self.page_chunks() + self.chunks.capacity() / 4;
        let free = self.chunks.capacity() - self.chunks.used();
        needed == 0 || free >= needed + kept
    }

    /// Whether a page may be asked for now.
    fn may_ask(&self) -> bool {
        self.pages_asked < PAGES_MAX && self.has_room_for(self.page_chunks() * CHUNK_BYTES)
    }

    /// Asks for the next page of what the player is behind with, if it can take one.
    pub(super) fn catch_up(&mut self, road: &mut Road<'_>, id: ConnId) {
        let may_ask = self.may_ask();
        let Some(player) = self.player(id) else {
            return;
        };
        if !player.flags.has(Flags::BEHIND) || player.phase != Phase::Connected {
            return;
        }
        let may_take = player.private.len() <= UNACKED_BYTES_MAX;
        let Some(bearer) = &mut player.bearer else {
            return;
        };
        let behind = bearer.terms.iter().find_map(|terms| {
            let behind = terms.behind?;
            Some((terms.hunt, behind))
        });
        let Some((slot, Behind { reached, .. })) = behind else {
            bearer.paging = Paging::Idle;
            return player.flags.clear(Flags::BEHIND);
        };
        if bearer.paging != Paging::Idle || !may_take {
            return;
        }
        if !may_ask || !self.ask_page(road, id, slot, reached) {
            self.put_off(id);
        }
    }

    /// Asks for the first page of what `pending` missed of the hunt in `slot`; gives it back when that
    /// cannot be.
    pub(super) fn ask_first_page(
        &mut self,
        road: &mut Road<'_>,
        slot: u32,
        pending: Pending,
    ) -> Option<Pending> {
        let token = match self.pending.insert(pending) {
            Ok(token) => token.to_bits(),
            Err(pending) => return Some(pending),
        };
        if !self.may_ask() {
            self.counters.inc(Metric::SessionRecoveryPutOff);
            self.first_pages.push_back(token);
            return None;
        }
        if self.submit_first_page(road, slot, token) {
            return None;
        }
        self.counters.inc(Metric::RingSubmitFull);
        self.pending.remove(ConnId::from_bits(token))
    }

    fn submit_first_page(&mut self, road: &mut Road<'_>, slot: u32, token: u64) -> bool {
        let pending = self.pending.get_mut(ConnId::from_bits(token));
        let Some(wanted) = pending.and_then(|pending| pending.purpose.wanted()) else {
            return false;
        };
        let reached = wanted.offset;
        self.submit_page(road, slot, token, reached)
    }

    fn submit_page(&mut self, road: &mut Road<'_>, slot: u32, token: u64, reached: u64) -> bool {
        let hunt = road.hunts.hunt(slot);
        let submission = Submission::History(submit::History {
            token,
            hunt: &hunt.name,
            limit: PAGE_EVENTS,
            since: Some((&hunt.epoch, reached)),
            bytes_max: self.page_chunks() * CHUNK_BYTES / 3 * 2,
            ..submit::History::default()
        });
        let is_asked = road.submit.submit(&submission);
        self.pages_asked += usize::from(is_asked);
        is_asked
    }

    fn ask_page(&mut self, road: &mut Road<'_>, id: ConnId, slot: u32, reached: u64) -> bool {
        let number = road.hunts.hunt(slot).number;
        let purpose = Purpose::Page(Page {
            slot,
            number,
            reached,
        });
        let Some(token) = self.note(id, 0, purpose) else {
            return false;
        };
        if !self.submit_page(road, slot, token, reached) {
            self.pending.remove(ConnId::from_bits(token));
            return false;
        }
        self.set_paging(id, Paging::Asked(token));
        true
    }

    fn set_paging(&mut self, id: ConnId, paging: Paging) {
        if let Some(player) = self.player(id)
            && let Some(bearer) = &mut player.bearer
        {
            bearer.paging = paging;
        }
    }

    fn put_off(&mut self, id: ConnId) {
        self.counters.inc(Metric::SessionRecoveryPutOff);
        self.set_paging(id, Paging::Waits);
        if self.waiting.len() >= self.players.len() {
            // Those who have gone need not wait.
            let mut waiting = std::mem::take(&mut self.waiting);
            waiting.retain(|&id| self.peek(id).is_some());
            self.waiting = waiting;
        }
        self.waiting.push_back(id);
    }

    /// Asks for pages that had to wait, as far as there is room now. Who has begun goes first: it holds
    /// memory.
    pub(super) fn catch_up_waiting(&mut self, road: &mut Road<'_>) {
        for _ in 0..self.waiting.len() {
            if !self.may_ask() {
                return;
            }
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            let bearer = self.player(id).and_then(|player| player.bearer.as_mut());
            if let Some(bearer) = bearer
                && bearer.paging == Paging::Waits
            {
                bearer.paging = Paging::Idle;
                self.catch_up(road, id);
            }
        }
    }

    /// Asks for first pages that had to wait, likewise.
    pub(super) fn ask_waiting_first_pages(&mut self, road: &mut Road<'_>) {
        for _ in 0..self.first_pages.len() {
            if !self.may_ask() {
                return;
            }
            let Some(token) = self.first_pages.pop_front() else {
                return;
            };
            let pending = self.pending.get_mut(ConnId::from_bits(token));
            let wanted = pending.and_then(|pending| pending.purpose.wanted().copied());
            let hunt = wanted.and_then(|wanted| wanted.page_of);
            let slot = hunt.and_then(|hunt| road.hunts.numbered(hunt));
            if slot.is_some_and(|slot| self.submit_first_page(road, slot, token)) {
                continue;
            }
            if let Some(pending) = self.pending.remove(ConnId::from_bits(token)) {
                let refusal = Refusal::Busy;
                self.on_stand(road, pending, &Record::Refused { token, refusal });
            }
        }
    }

    /// The journal's answer to `ask_page`.
    pub(super) fn on_page(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        token: u64,
        page: Page,
        answer: &Record<'_>,
    ) {
        self.pages_asked -= 1;
        let Some(player) = self.player(id) else {
            return;
        };
        let Some(bearer) = &mut player.bearer else {
            return;
        };
        if bearer.paging == Paging::Asked(token) {
            bearer.paging = Paging::Idle;
        }
        // The subscription may be over, and another one in its place.
        let behind = player.terms(page.slot).and_then(|terms| terms.behind);
        let is_same = road.hunts.hunt(page.slot).number == page.number;
        let behind = behind.filter(|behind| is_same && behind.reached == page.reached);
        if let Some(behind) = behind
            && player.phase == Phase::Connected
        {
            let reached = match answer {
                Record::History(answer) => self.queue_page(road, id, page.slot, behind, answer),
                _ => None,
            };
            match reached {
                Some(reached) => self.on_reached(road, id, page.slot, reached),
                None => {
                    let why = Unsubscribe::InsufficientState;
                    self.end_subscription(road, id, page.slot, why);
                }
            }
        }
        self.touch(id);
        self.catch_up(road, id);
    }

    /// Queues the pushes of a page; gives the offset they reach, or none when there is a gap.
    fn queue_page(
        &mut self,
        road: &mut Road<'_>,
        id: ConnId,
        slot: u32,
        behind: Behind,
        answer: &HistoryPage<'_>,
    ) -> Option<u64> {
        let first = self.peek(id)?.subscriptions;
        let subscription = road.hunts.subscription(slot, first)?;
        let stream = road.hunts.subscriptions.at(subscription)?.stream;
        let mut reached = behind.reached;
        self.framed.clear();
        for body in delimited(answer.publications) {
            let publication = Publication::parse(body).ok()?;
            if publication.offset > behind.until {
                break;
            }
            if publication.offset != reached + 1 {
                return None;
            }
            let frame = road.hunts.frame(stream, &publication);
            self.framed.extend_from_slice(frame);
            reached = publication.offset;
        }
        if reached == behind.reached {
            return None;
        }
        self.counters.inc(Metric::SessionRecoveryPages);
        self.queue_framed(road, id);
        Some(reached)
    }

    /// Pages have come so far; when that is all, the hunt's log goes on.
    fn on_reached(&mut self, road: &mut Road<'_>, id: ConnId, slot: u32, reached: u64) {
        let Some(player) = self.player(id) else {
            return;
        };
        let first = player.subscriptions;
        let Some(terms) = player.terms_mut(slot) else {
            return;
        };
        let Some(Behind { mut until, .. }) = terms.behind else {
            return;
        };
        let (seen, top) = (road.hunts.hunt(slot).seen, road.hunts.hunt(slot).top);
        let subscription = road.hunts.subscription(slot, first);
        if reached == until
            && let Some(subscription) = subscription
            && let Some(subscription) = road.hunts.subscriptions.at(subscription)
            && subscription.cursor < road.hunts.logs.first(subscription.stream)
        {
            subscription.cursor = road.hunts.logs.head(subscription.stream);
            subscription.seen = seen;
            until = top;
        }
        terms.behind = (reached < until).then_some(Behind { reached, until });
        if terms.are_ordinary() {
            player.drop_terms(slot);
        }
    }
}
