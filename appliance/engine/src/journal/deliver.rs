//! The answers to a draft, placed in the rings in order, each as soon as its ring has room.
//!
//! A step whose ring is full waits, and with it every later one: that is what keeps the order of all
//! rings the journal's order. Its encoded record is kept, so waiting costs a comparison a turn.

use crate::hunt::counts::Counts;
use crate::journal::draft::{Draft, Step, What};
use crate::journal::hunts::Hunts;
use crate::journal::pages::Pages;
use crate::journal::path;
use crate::journal::presence::{Client, Presence, Verdict};
use crate::journal::record::parse;
use crate::journal::sinks::Sinks;
use crate::journal::store::{Store, StoreError};
use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::ring::broadcast::{
    ChannelsPage, Event, HistoryPage, HuntNumber, Moved, Movement, PathPage, PresencePage,
    Published, RECORD_BYTES_MAX, Record, Refusal, Relay, Stand, Subscribed,
};
use crate::ring::bytes::Full;
use crate::ring::submit::{HUNT_NAME_BYTES_MAX, Tell, Want};
use crate::units::Micros;

/// Longest encoded `Published`: three numbers and an epoch.
const ANSWER_BYTES_MAX: usize = 64;

/// Hunts looked at for one page of channels: what events may have to wait behind, some 50 microseconds.
const HUNTS_LOOKED_AT: u32 = 2_048;

// A page of them fits a record, whatever they are called.
const _: () = assert!(
    HUNTS_LOOKED_AT as usize * (HUNT_NAME_BYTES_MAX + 8) <= crate::ring::broadcast::PAGE_BYTES_MAX
);

/// Where the delivery of a draft is.
#[derive(Debug)]
pub(super) struct Delivery {
    next: usize,
    /// The next step's record is made and waits for room.
    waits: bool,
    record: Vec<u8>,
    record_len: usize,
    answer: [u8; ANSWER_BYTES_MAX],
    answer_len: usize,
    pages: Pages,
    /// A page of those present, of hunts, or of a path.
    present: Vec<u8>,
    /// The step has one more page: of those behind so many.
    listed: Option<usize>,
}

/// What delivering needs to know and to change.
#[derive(Debug)]
pub(super) struct Road<'a, S> {
    pub(super) store: &'a mut S,
    pub(super) hunts: &'a mut Hunts,
    pub(super) subscribers: &'a [Counts],
    pub(super) sinks: &'a mut Sinks,
    pub(super) presence: &'a mut Presence,
    pub(super) counters: &'a Counters,
    pub(super) now: Micros,
    pub(super) wall_ms: u64,
}

impl Delivery {
    pub(super) fn new() -> Delivery {
        Delivery {
            next: 0,
            waits: false,
            record: vec![0; RECORD_BYTES_MAX],
            record_len: 0,
            answer: [0; ANSWER_BYTES_MAX],
            answer_len: 0,
            pages: Pages::default(),
            present: Vec::new(),
            listed: None,
        }
    }

    /// Whether everything of `draft` is in the rings.
    pub(super) fn is_done(&self, draft: &Draft) -> bool {
        self.next >= draft.steps.len()
    }

    /// Whether a step waits for room.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Prepares for a new draft.
    pub(super) fn restart(&mut self) {
        self.next = 0;
    }

    /// Goes on until all is delivered or a ring is full; answers how many steps were done.
    pub(super) fn step<S: Store>(&mut self, draft: &Draft, road: &mut Road<'_, S>) -> usize {
        let start = self.next;
        while let Some(step) = draft.steps.get(self.next) {
            if !self.waits {
                self.encode(step, draft, road);
            }
            if self.place(step, road).is_err() {
                if !std::mem::replace(&mut self.waits, true) {
                    road.counters.inc(Metric::RingBroadcastStalls);
                }
                break;
            }
            self.waits = false;
            self.next += usize::from(self.listed.is_none());
        }
        self.pages.clear();
        self.next - start
    }

    fn place<S>(&self, step: &Step, road: &mut Road<'_, S>) -> Result<(), Full> {
        let record = &self.record[..self.record_len];
        match step.what {
            What::Event { .. } | What::Tell { .. } => {
                road.sinks
                    .event(record, step.source, &self.answer[..self.answer_len])
            }
            What::Enter { .. } | What::Leave { .. } if record.is_empty() => Ok(()),
            What::PositionsLost { .. } | What::Positions { .. } if record.is_empty() => Ok(()),
            What::Enter { .. } | What::Leave { .. } => road.sinks.tell_all(record),
            _ => road.sinks.answer(step.source, record),
        }
    }

    fn encode<S: Store>(&mut self, step: &Step, draft: &Draft, road: &mut Road<'_, S>) {
        match &step.what {
            What::Event {
                hunt: number,
                offset,
                stamp_us,
                publication,
                deflated,
            } => {
                let hunt = road.hunts.get_mut(*number);
                let (offset, stamp_us) = (*offset, *stamp_us);
                hunt.told = hunt.told.max(offset);
                self.set(&Record::Event(Event {
                    hunt: *number,
                    stamp_us,
                    publication: &draft.publications[publication.clone()],
                    deflated: &draft.deflated[deflated.clone()],
                }));
                let answer = Published {
                    token: step.token,
                    offset,
                    epoch: &hunt.epoch,
                };
                self.answer_len = emit(&Record::Published(answer), &mut self.answer);
                road.counters.inc(Metric::JournalEvents);
            }
            What::Repeat { hunt, offset } => {
                let hunt = road.hunts.get(*hunt);
                if *offset > hunt.told {
                    // The first one was in a batch that failed.
                    return self.refuse(step.token, Refusal::Unavailable, road.counters);
                }
                road.counters.inc(Metric::JournalDuplicates);
                let answer = Published {
                    token: step.token,
                    offset: *offset,
                    epoch: &hunt.epoch,
                };
                self.set(&Record::Published(answer));
            }
            &What::Subscribe { hunt, after } => self.subscribe(step.token, hunt, after, road),
            What::History { .. } | What::Path { .. } => {
                if self.read(step, draft, road).is_err() {
                    road.counters.inc(Metric::JournalStoreErrors);
                    self.pages.clear();
                    self.refuse(step.token, Refusal::Unavailable, road.counters);
                }
            }
            &What::Presence { hunt, want } => self.presence(step, hunt, want, road),
            What::Enter { .. } | What::Leave { .. } => self.movement(step, draft, road),
            What::Tell { tell, hunt } => {
                self.relay(step.token, &draft.infos[tell.clone()], *hunt, road);
            }
            What::RemoveHistory => self.set(&Record::Done { token: step.token }),
            &What::Positions { points, answered } => {
                road.counters.add(Metric::PathPoints, points);
                self.record_len = 0;
                if answered {
                    self.set(&Record::Done { token: step.token });
                }
            }
            &What::PositionsLost { points } => {
                road.counters.add(Metric::PathPointsLost, points);
                self.record_len = 0;
            }
            What::Channels { from } => self.channels(step.token, *from, road),
            What::Refused(refusal) => self.refuse(step.token, *refusal, road.counters),
        }
    }

    /// Changes who is present, and makes the announcement if there is to be one.
    fn movement<S>(&mut self, step: &Step, draft: &Draft, road: &mut Road<'_, S>) {
        let source = step.source;
        self.record_len = 0;
        let verdict = match step.what {
            What::Enter {
                hunt,
                conn,
                part,
                ref info,
            } => {
                road.counters.inc(Metric::PresenceJoins);
                let client = Client { source, conn };
                let info = &draft.infos[info.clone()];
                let verdict = road.presence.enter(hunt, client, part, info, road.now);
                self.announce(verdict, hunt, Movement::Join, info);
                verdict
            }
            What::Leave { hunt, conn } => {
                let client = Client { source, conn };
                let Some((verdict, info)) = road.presence.leave(hunt, client, road.now) else {
                    return;
                };
                road.counters.inc(Metric::PresenceLeaves);
                self.announce(verdict, hunt, Movement::Leave, &info);
                verdict
            }
            _ => return,
        };
        if verdict == Verdict::Dropped {
            road.counters.inc(Metric::PresencePushesDropped);
        }
    }

    fn announce(&mut self, verdict: Verdict, hunt: HuntNumber, movement: Movement, who: &[u8]) {
        if verdict == Verdict::Announce {
            self.set(&Record::Movement(Moved {
                hunt,
                movement,
                who,
            }));
        }
    }

    /// Makes the answer, or the next part of one.
    fn presence<S>(
        &mut self,
        step: &Step,
        hunt: Option<HuntNumber>,
        want: Want,
        road: &mut Road<'_, S>,
    ) {
        let more = self.listed.take();
        let lists = want != Want::Numbers;
        if lists && more.is_none() && road.sinks.is_busy(step.source) {
            return self.refuse(step.token, Refusal::Busy, road.counters);
        }
        self.present.clear();
        let (mut num_clients, mut num_users) = (0, 0);
        if let Some(hunt) = hunt {
            (num_clients, num_users) = road.presence.stats(hunt);
            if lists {
                let page = &mut self.present;
                self.listed = road.presence.page(hunt, more.unwrap_or(0), page);
            }
        }
        if want == Want::Page && self.listed.take().is_some() {
            return self.refuse(step.token, Refusal::LimitExceeded, road.counters);
        }
        let answer = PresencePage {
            token: step.token,
            entries: &self.present,
            num_clients,
            num_users,
            more: self.listed.is_some(),
        };
        self.record_len = emit(&Record::Presence(answer), &mut self.record);
    }

    /// Passes on what is done to a user's connections.
    fn relay<S>(
        &mut self,
        token: u64,
        tell: &[u8],
        hunt: Option<HuntNumber>,
        road: &mut Road<'_, S>,
    ) {
        let Some(tell) = parse::<Tell<'_>>(tell) else {
            debug_assert!(false, "the draft wrote it");
            return self.refuse(token, Refusal::Unavailable, road.counters);
        };
        let stand = hunt.map(|number| {
            let hunt = road.hunts.get(number);
            Stand {
                hunt: number,
                epoch: &hunt.epoch,
                top: hunt.told,
            }
        });
        self.set(&Record::Tell(Relay { tell, stand }));
        self.answer_len = emit(&Record::Done { token }, &mut self.answer);
    }

    /// Looks at a bounded number of hunts for subscribers.
    fn channels<S>(&mut self, token: u64, from: HuntNumber, road: &mut Road<'_, S>) {
        self.present.clear();
        let count = HuntNumber::try_from(road.hunts.count()).unwrap_or(HuntNumber::MAX);
        let end = count.min(from.saturating_add(HUNTS_LOOKED_AT));
        for number in from..end {
            let here = |table: &Counts| table.get(number);
            let subscribers = road
                .subscribers
                .iter()
                .map(here)
                .fold(0, u32::saturating_add);
            if subscribers > 0 {
                let name = &road.hunts.get(number).name;
                ChannelsPage::append(&mut self.present, name, subscribers);
            }
        }
        let answer = ChannelsPage {
            token,
            entries: &self.present,
            next: (end < count).then_some(end),
        };
        self.record_len = emit(&Record::Channels(answer), &mut self.record);
    }

    /// Says where a hunt stands. What was missed, the asker has or asks for.
    fn subscribe<S>(
        &mut self,
        token: u64,
        number: HuntNumber,
        after: Option<u64>,
        road: &Road<'_, S>,
    ) {
        let hunt = road.hunts.get(number);
        self.set(&Record::Subscribed(Subscribed {
            token,
            hunt: number,
            name: &hunt.name,
            epoch: &hunt.epoch,
            top: hunt.told,
            recoverable: after.is_some_and(|after| hunt.keeps_what_follows(after)),
            history_ttl_ms: hunt.rule.history_ttl_ms,
        }));
    }

    /// Answers a step that reads the store.
    fn read<S: Store>(
        &mut self,
        step: &Step,
        draft: &Draft,
        road: &mut Road<'_, S>,
    ) -> Result<(), StoreError> {
        let token = step.token;
        match step.what {
            What::History {
                hunt: number,
                query,
            } => {
                let hunt = road.hunts.get(number);
                road.counters.inc(Metric::JournalReads);
                self.pages
                    .history(road.store, number, hunt, query, road.wall_ms)?;
                let (epoch, top, publications) = (&*hunt.epoch, hunt.told, self.pages.page());
                let answer = HistoryPage {
                    token,
                    epoch,
                    top,
                    publications,
                };
                self.record_len = emit(&Record::History(answer), &mut self.record);
            }
            What::Path { ref user, wanted } => {
                road.counters.inc(Metric::JournalReads);
                // Was a `str` when it came.
                let user = std::str::from_utf8(&draft.infos[user.clone()]).unwrap_or_default();
                let found = path::read(road.store, user, wanted, &mut self.present)?;
                let next = found.next;
                road.counters.add(Metric::PathBlocksDamaged, found.damaged);
                let points = &self.present;
                let answer = PathPage {
                    token,
                    points,
                    next,
                };
                self.record_len = emit(&Record::Path(answer), &mut self.record);
            }
            _ => {}
        }
        Ok(())
    }

    fn refuse(&mut self, token: u64, refusal: Refusal, counters: &Counters) {
        counters.inc(Metric::JournalRefused);
        self.set(&Record::Refused { token, refusal });
    }

    fn set(&mut self, record: &Record<'_>) {
        self.record_len = emit(record, &mut self.record);
    }
}

/// Writes `record` into `out`, which the bounds of submissions and pages make large enough.
fn emit(record: &Record<'_>, out: &mut [u8]) -> usize {
    let written = postcard::to_slice(record, out);
    debug_assert!(written.is_ok(), "a record is longer than its bound");
    written.map_or(0, |bytes| bytes.len())
}
