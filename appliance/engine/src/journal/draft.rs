//! One turn's submissions in order: the batch they make, and the answers they will get.
//!
//! Ordering happens here, once: an event gets its offset and its place among the answers.
//! Nothing is told to anybody until the batch is committed. Bounded by [`SUBMISSIONS_MAX`],
//! [`READS_MAX`] and [`BYTES_MAX`]; what is over them waits in the submit rings.

use std::ops::Range;

use crate::hunt::publication::Publication;
use crate::journal::hunts::{Hunts, Purpose};
use crate::journal::keys::{KEEP, KEY_BYTES_MAX, Keys};
use crate::journal::pages::Query;
use crate::journal::path::Wanted;
use crate::journal::path::tails::Tails;
use crate::journal::record::{EventRecord, emit};
use crate::journal::retain::Retention;
use crate::journal::store::{Batch, PathPart};
use crate::path::{self, Place, Point, USER_BYTES_MAX};
use crate::ring::broadcast::{HuntNumber, Refusal};
use crate::ring::submit::{
    EVENT_BYTES_MAX, Enter, HUNT_NAME_BYTES_MAX, History, Part, Path, Positions, Presence, Publish,
    Submission, Subscribe, Tell, Told, Want,
};
use crate::units::Micros;
use crate::ws::deflate::Deflater;

/// Submissions of one batch: enough to share a sync of a millisecond at 200,000 events/s.
const SUBMISSIONS_MAX: usize = 256;

/// Submissions of one batch that read the store, or list who is present: what an event may have to wait behind. Smaller
/// spreads a recovery storm over more syncs, larger delays events in it.
const READS_MAX: usize = 32;

/// Bytes of publications, client infos and points after which a batch is full.
const BYTES_MAX: usize = 1 << 20;

/// What is to be told after the commit, and to whom.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Index of the source, which is the index of its sink.
    pub(super) source: usize,
    /// The asker's number.
    pub(super) token: u64,
    pub(super) what: What,
}

/// See [`Step`].
#[derive(Debug, Clone)]
pub(super) enum What {
    /// An event of the batch; its publication lies in [`Draft::publications`].
    Event {
        hunt: HuntNumber,
        offset: u64,
        stamp_us: u64,
        publication: Range<usize>,
        /// Where in [`Draft::deflated`] its compressed payload is; empty when it has none.
        deflated: Range<usize>,
    },
    /// An event of this batch or an earlier one, published again.
    Repeat { hunt: HuntNumber, offset: u64 },
    /// A subscribe; `after` when the player may recover.
    Subscribe {
        hunt: HuntNumber,
        after: Option<u64>,
    },
    /// A page of history.
    History { hunt: HuntNumber, query: Query },
    /// Who is there; nobody when the hunt is not known.
    Presence {
        hunt: Option<HuntNumber>,
        want: Want,
    },
    /// Somebody came; its info lies in [`Draft::infos`].
    Enter {
        hunt: HuntNumber,
        conn: u64,
        part: Part,
        info: Range<usize>,
    },
    /// To be passed on to every data core; the submission's `Tell` lies in [`Draft::infos`].
    Tell {
        tell: Range<usize>,
        /// The hunt of a subscribe.
        hunt: Option<HuntNumber>,
    },
    /// A history was dropped; none when there was none.
    RemoveHistory,
    /// Hunts that have subscribers, from a number on.
    Channels { from: HuntNumber },
    /// Somebody went.
    Leave { hunt: HuntNumber, conn: u64 },
    /// Points of a path are in the batch; whether they are answered.
    Positions { points: u64, answered: bool },
    /// Points that nobody waits for were not written.
    PositionsLost { points: u64 },
    /// A page of a path; the user's id lies in [`Draft::infos`].
    Path { user: Range<usize>, wanted: Wanted },
    /// A refusal.
    Refused(Refusal),
}

/// What ordering needs to know and to change.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) hunts: &'a mut Hunts,
    pub(super) keys: &'a mut Keys,
    pub(super) retention: &'a Retention,
    pub(super) tails: &'a mut Tails,
    pub(super) deflater: &'a mut Deflater,
    /// Whether the store takes writes.
    pub(super) healthy: bool,
    pub(super) now: Micros,
    pub(super) wall_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) steps: Vec<Step>,
    pub(super) publications: Vec<u8>,
    pub(super) deflated: Vec<u8>,
    /// Client infos of those who came, and what is passed on.
    pub(super) infos: Vec<u8>,
    pub(super) batch: Batch,
    /// Hunts with an event in the batch.
    pub(super) touched: Vec<HuntNumber>,
    /// Hunts whose history the batch drops, with what was their oldest event and its time.
    pub(super) removed: Vec<(HuntNumber, u64, Option<u64>)>,
    /// Keys remembered for events of the batch.
    pub(super) keys: usize,
    /// Keys forgotten to make room.
    pub(super) keys_forgotten: u64,
    /// Points refused because they say no place and time that could be.
    pub(super) positions_invalid: u64,
    /// Bytes of points.
    positions: usize,
    reads: usize,
}

impl Draft {
    /// Starts over.
    pub(super) fn clear(&mut self) {
        self.steps.clear();
        self.publications.clear();
        self.deflated.clear();
        self.infos.clear();
        self.batch.clear();
        self.touched.clear();
        self.removed.clear();
        (self.keys, self.keys_forgotten, self.reads) = (0, 0, 0);
        (self.positions, self.positions_invalid) = (0, 0);
    }

    /// Whether no more submissions may be taken.
    pub(super) fn is_full(&self) -> bool {
        self.steps.len() >= SUBMISSIONS_MAX
            || self.reads >= READS_MAX
            || self.publications.len() + self.infos.len() + self.positions >= BYTES_MAX
    }

    /// Gives a submission its place.
    pub(super) fn add(
        &mut self,
        source: usize,
        submission: &Submission<'_>,
        order: &mut Order<'_>,
    ) {
        let (token, what) = match submission {
            Submission::Publish(publish) => (publish.token, self.publish(publish, order)),
            Submission::Subscribe(ask) => (ask.token, self.subscribe(ask, order)),
            Submission::History(ask) => (ask.token, self.history(ask, order)),
            Submission::Presence(ask) => (ask.token, Ok(self.presence(ask, order))),
            Submission::Enter(enter) => (0, Ok(self.enter(enter))),
            &Submission::Leave { hunt, conn } => (0, Ok(What::Leave { hunt, conn })),
            Submission::Tell(tell) => (tell.token, self.tell(tell, order)),
            &Submission::RemoveHistory { token, hunt } => (token, self.remove_history(hunt, order)),
            &Submission::Channels { token, from } => {
                self.reads += 1;
                (token, Ok(What::Channels { from }))
            }
            Submission::Positions(positions) => {
                let what = self.positions(positions, order);
                (positions.token.unwrap_or(0), Ok(what))
            }
            Submission::Path(ask) => (ask.token, self.path(ask, order)),
        };
        let what = what.unwrap_or_else(What::Refused);
        self.steps.push(Step {
            source,
            token,
            what,
        });
    }

    fn publish(&mut self, publish: &Publish<'_>, order: &mut Order<'_>) -> Result<What, Refusal> {
        if publish.data.is_empty()
            || publish.data.len() > EVENT_BYTES_MAX
            || publish.idempotency_key.len() > KEY_BYTES_MAX
        {
            return Err(Refusal::BadRequest);
        }
        let hunt = open(publish.hunt, Purpose::Publish, order)?;
        let key = publish.idempotency_key;
        if !key.is_empty()
            && let Some(offset) = order.keys.find(hunt, key)
        {
            return Ok(What::Repeat { hunt, offset });
        }
        if !order.healthy {
            return Err(Refusal::Unavailable);
        }
        let offset = match publish.skip_history {
            true => 0,
            false => self.advance(hunt, order),
        };
        if !key.is_empty() {
            self.keys_forgotten += order.keys.insert(hunt, key, offset, order.now + KEEP);
            self.keys += 1;
        }
        let start = self.publications.len();
        let Publish {
            data, info, tags, ..
        } = *publish;
        Publication {
            data,
            info,
            offset,
            tags,
        }
        .append(&mut self.publications);
        let publication = start..self.publications.len();
        if offset != 0 {
            self.keep(hunt, publish, publication.clone(), order);
        }
        Ok(What::Event {
            hunt,
            offset,
            stamp_us: publish.stamp_us,
            publication,
            deflated: self.deflate(hunt, data, order),
        })
    }

    /// Compresses a payload, if its hunt has that and it gets shorter.
    fn deflate(&mut self, hunt: HuntNumber, data: &[u8], order: &mut Order<'_>) -> Range<usize> {
        let start = self.deflated.len();
        let least = order.hunts.get(hunt).rule.compress_from;
        if least.is_some_and(|least| data.len() >= least) {
            self.deflated.reserve(data.len());
            let _ = order.deflater.data(data, &mut self.deflated);
        }
        start..self.deflated.len()
    }

    /// Gives an event of the hunt its offset.
    fn advance(&mut self, number: HuntNumber, order: &mut Order<'_>) -> u64 {
        let offset = order.hunts.advance(number);
        self.touch(number, order);
        offset
    }

    /// The hunt's row goes into the batch.
    fn touch(&mut self, number: HuntNumber, order: &mut Order<'_>) {
        if !std::mem::replace(&mut order.hunts.get_mut(number).dirty, true) {
            self.touched.push(number);
        }
    }

    /// All of a message's points or none.
    fn positions(&mut self, positions: &Positions<'_>, order: &mut Order<'_>) -> What {
        let Positions {
            token,
            user,
            points: list,
        } = *positions;
        let time = |point: &Point<'_>| match point.time_ms {
            0 => order.wall_ms,
            time_ms => time_ms,
        };
        let rule = order.retention.paths;
        let points = Point::list(list).count() as u64;
        let good = Point::list(list).all(|point| rule.takes(time(&point), order.wall_ms));
        let refused = |refusal, points| match token {
            Some(_) => What::Refused(refusal),
            None => What::PositionsLost { points },
        };
        if !good || !(1..=USER_BYTES_MAX).contains(&user.len()) {
            self.positions_invalid += points;
            return refused(Refusal::BadRequest, 0);
        }
        if !order.healthy {
            return refused(Refusal::Unavailable, points);
        }
        let arrival = order.tails.take(user, points, list.len());
        let key = |key: &mut Vec<u8>| path::append_row_key(user, arrival, key);
        self.batch.path(PathPart::Tails, key, |row| {
            for point in Point::list(list) {
                let time_ms = time(&point);
                Point { time_ms, ..point }.append(row);
            }
        });
        self.positions += list.len();
        What::Positions {
            points,
            answered: token.is_some(),
        }
    }

    fn path(&mut self, ask: &Path<'_>, order: &Order<'_>) -> Result<What, Refusal> {
        if ask.user.len() > USER_BYTES_MAX || ask.limit == 0 {
            return Err(Refusal::BadRequest);
        }
        self.reads += 1;
        let start = self.infos.len();
        self.infos.extend_from_slice(ask.user.as_bytes());
        let first = Place::at(order.retention.paths.first_ms(order.wall_ms));
        Ok(What::Path {
            user: start..self.infos.len(),
            wanted: Wanted {
                from: ask.from.max(first),
                end: ask.end,
                limit: ask.limit,
            },
        })
    }

    fn tell(&mut self, tell: &Tell<'_>, order: &mut Order<'_>) -> Result<What, Refusal> {
        let hunt = match tell.what {
            Told::Subscribe(by_server) => Some(open(by_server.hunt, Purpose::Ask, order)?),
            _ => None,
        };
        let start = self.infos.len();
        emit(tell, &mut self.infos);
        let tell = start..self.infos.len();
        Ok(What::Tell { tell, hunt })
    }

    /// Drops all that is kept up to here. A later event of the same batch stays, an earlier one goes.
    fn remove_history(&mut self, name: &str, order: &mut Order<'_>) -> Result<What, Refusal> {
        let Some(number) = order.hunts.find(name) else {
            return Ok(What::RemoveHistory);
        };
        if !order.healthy {
            return Err(Refusal::Unavailable);
        }
        let hunt = order.hunts.get_mut(number);
        if let Some(key) = hunt.key
            && hunt.first <= hunt.top
        {
            self.batch.trim(key, hunt.first..hunt.top + 1);
            self.removed.push((number, hunt.first, hunt.first_wall_ms));
            (hunt.first, hunt.first_wall_ms) = (hunt.top + 1, None);
            self.touch(number, order);
        }
        Ok(What::RemoveHistory)
    }

    /// Puts an event that has its offset into the batch, if its hunt keeps any.
    fn keep(
        &mut self,
        number: HuntNumber,
        publish: &Publish<'_>,
        publication: Range<usize>,
        order: &mut Order<'_>,
    ) {
        let hunt = order.hunts.get_mut(number);
        let offset = hunt.top;
        let Some(key) = hunt.key.filter(|_| hunt.rule.keeps()) else {
            if hunt.first == offset {
                hunt.first = offset + 1;
            }
            return;
        };
        let record = EventRecord {
            wall_ms: order.wall_ms,
            idempotency_key: publish.idempotency_key,
            publication: &self.publications[publication],
        };
        self.batch.event(key, offset, |out| emit(&record, out));
        if hunt.first == offset {
            hunt.first_wall_ms = Some(order.wall_ms);
        }
    }

    fn subscribe(&mut self, ask: &Subscribe<'_>, order: &mut Order<'_>) -> Result<What, Refusal> {
        let number = open(ask.hunt, Purpose::Ask, order)?;
        let hunt = order.hunts.get(number);
        let known = ask.epoch.is_empty() || *ask.epoch == *hunt.epoch;
        let after = (ask.recover && known).then_some(ask.offset);
        Ok(What::Subscribe {
            hunt: number,
            after,
        })
    }

    fn history(&mut self, ask: &History<'_>, order: &mut Order<'_>) -> Result<What, Refusal> {
        let number = open(ask.hunt, Purpose::Ask, order)?;
        let hunt = order.hunts.get(number);
        if ask
            .since
            .is_some_and(|(epoch, _)| !epoch.is_empty() && *epoch != *hunt.epoch)
        {
            return Err(Refusal::UnrecoverablePosition);
        }
        let limit = Query::limit(ask.limit);
        self.reads += usize::from(limit > 0);
        let since = ask.since.map(|(_, offset)| offset);
        Ok(What::History {
            hunt: number,
            query: Query {
                limit,
                since,
                reverse: ask.reverse,
                bytes_max: Query::bytes_max(ask.bytes_max),
            },
        })
    }

    /// The hunt is not made if nobody has used it: a question brings nobody there.
    fn presence(&mut self, ask: &Presence<'_>, order: &mut Order<'_>) -> What {
        self.reads += usize::from(ask.want != Want::Numbers);
        What::Presence {
            hunt: order.hunts.find(ask.hunt),
            want: ask.want,
        }
    }

    fn enter(&mut self, enter: &Enter<'_>) -> What {
        let start = self.infos.len();
        self.infos.extend_from_slice(enter.info);
        What::Enter {
            hunt: enter.hunt,
            conn: enter.conn,
            part: enter.part,
            info: start..self.infos.len(),
        }
    }
}

/// The hunt called `name`, made if it is new and its name is one a player could use.
fn open(name: &str, to: Purpose, order: &mut Order<'_>) -> Result<HuntNumber, Refusal> {
    if name.is_empty() || name.len() > HUNT_NAME_BYTES_MAX || !name.is_ascii() {
        return Err(Refusal::BadRequest);
    }
    let rule = || order.retention.rule(name);
    order
        .hunts
        .open(name, to, rule)
        .ok_or(Refusal::LimitExceeded)
}
