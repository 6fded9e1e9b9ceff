//! Where a publish turns into events going out: the hunts that have subscribers on this core.
//!
//! From the broadcast ring a core learns of events ([`Hunts::on_event`]) and of subscriptions. A hunt has
//! a *stream* for each variant of its events that somebody here takes: [`encode`] makes the variant's
//! bytes, once; the [`log`] keeps them, `subscribers` who wants them, [`fanout`] walks those and lets each
//! connection take what it has room for. [`publication`] is what an event is before it has bytes.
//!
//! Owned by one data core. A hunt and its streams are here from the first subscriber to some time after the
//! last ([`linger`]): who comes back finds in the log what it missed ([`missed`]). A
//! stream's slot is then reused as late as possible and its log goes on where it was, because segments in
//! flight may still name its bytes.

pub mod attendance;
pub mod counts;
pub mod encode;
pub mod fanout;
pub mod log;
pub mod publication;
mod subscribers;
pub mod linger;
mod missed;

pub use subscribers::{Subscription, Subscriptions};

use std::collections::{HashMap, VecDeque};

use crate::hunt::attendance::Attendance;
use crate::hunt::counts::Counts;
use crate::hunt::encode::{Address, Encoder, Variant};
use crate::hunt::fanout::Walks;
use crate::hunt::linger::Lingering;
use crate::hunt::log::Logs;
use crate::hunt::publication::Publication;
use crate::ring::broadcast::{Event, HuntNumber, Moved};
use crate::ring::submit::EVENT_BYTES_MAX;
use crate::units::Micros;

/// Publish stamps kept per hunt for the latency of the newest events.
pub const STAMPS: usize = 64;

/// Room for a frame before the encoder has to grow: the largest event, with names, info and tags of sizes
/// that people use.
const FRAME_BYTES: usize = EVENT_BYTES_MAX + 8192;

/// No more hunts fit on this core (`hunts_max`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyHunts;

/// One hunt with subscribers.
#[derive(Debug, Default)]
pub struct Hunt {
    /// Its name.
    pub name: Box<str>,
    /// Its epoch.
    pub epoch: Box<str>,
    /// The journal's number for it.
    pub number: HuntNumber,
    /// Offset of the newest event that has one.
    pub top: u64,
    /// Events that came since the process began with it: those without an offset count too.
    pub seen: u64,
    stamps: Vec<u64>,
    /// Its streams, one a variant that somebody takes.
    streams: Vec<u32>,
    /// Subscriptions to be that count on it to stay.
    holds: u32,
    /// Its subscriptions.
    takers: u32,
}

impl Hunt {
    fn address(&self) -> Address<'_> {
        Address {
            name: &self.name,
            number: self.number,
        }
    }
}

/// One variant of a hunt's events, and who takes it.
#[derive(Debug, Default)]
struct Stream {
    /// Slot of the hunt.
    hunt: u32,
    variant: Variant,
    /// Subscriptions in the order of their connection's slot.
    subscribers: Vec<u32>,
    /// Since when it has none; none when it has some, or is free.
    idle_since: Option<Micros>,
    /// It is on the queue of those that linger.
    is_queued: bool,
}

/// All hunts of one core, their logs and their subscriptions.
#[derive(Debug)]
pub struct Hunts {
    /// The bytes, one log a stream.
    pub logs: Logs,
    /// Who subscribed to what.
    pub subscriptions: Subscriptions,
    /// Who of them is known to be present.
    pub attendance: Attendance,
    counts: Counts,
    /// Walks that are due, one a stream.
    pub walks: Walks,
    encoder: Encoder,
    hunts: Vec<Hunt>,
    streams: Vec<Stream>,
    by_number: HashMap<HuntNumber, u32>,
    by_name: HashMap<Box<str>, u32>,
    /// Hunts that have a subscriber.
    taken: usize,
    free: VecDeque<u32>,
    free_streams: VecDeque<u32>,
    lingering: Lingering,
}

/// For whom an event was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Its hunt is not known here.
    No,
    /// For those who may come back.
    Later,
    /// For subscribers.
    Now,
}

impl Hunts {
    /// Room for `hunts_max` hunts with `streams_max` streams and `subscriptions_max` subscriptions, with
    /// logs for as many streams in `logs`.
    pub fn new(logs: Logs, hunts_max: u32, streams_max: u32, subscriptions_max: u32) -> Hunts {
        let count = hunts_max as usize;
        let hunt = |_| Hunt {
            stamps: vec![0; STAMPS],
            ..Hunt::default()
        };
        Hunts {
            logs,
            subscriptions: Subscriptions::new(subscriptions_max),
            attendance: Attendance::new(subscriptions_max),
            counts: Counts::default(),
            walks: Walks::new(streams_max as usize),
            encoder: Encoder::new(FRAME_BYTES),
            hunts: (0..hunts_max).map(hunt).collect(),
            streams: (0..streams_max).map(|_| Stream::default()).collect(),
            by_number: HashMap::with_capacity(count * 2),
            by_name: HashMap::with_capacity(count * 2),
            taken: 0,
            free: (0..hunts_max).collect(),
            free_streams: (0..streams_max).collect(),
            lingering: Lingering::new(streams_max as usize),
        }
    }

    /// Counts subscribers in `counts` from now on: nobody has subscribed yet.
    pub fn count_in(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// Memory for subscriptions: which part, and bytes.
    pub fn memory(&self) -> [(&'static str, usize); 2] {
        let listed = |stream: &Stream| stream.subscribers.capacity() * size_of::<u32>();
        [
            ("hunt: subscription record", self.subscriptions.bytes()),
            (
                "hunt: list of subscribers",
                self.streams.iter().map(listed).sum(),
            ),
        ]
    }

    /// Hunts that have a subscriber.
    pub fn count(&self) -> usize {
        self.taken
    }

    /// The slot of the hunt called `name`, if it is known here.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The slot of the hunt with the journal's number `number`, if it is known here.
    pub fn numbered(&self, number: HuntNumber) -> Option<u32> {
        self.by_number.get(&number).copied()
    }

    /// The hunt in `slot`.
    pub fn hunt(&self, slot: u32) -> &Hunt {
        &self.hunts[slot as usize]
    }

    /// The slot of the hunt that `stream` is of.
    #[inline]
    pub fn hunt_of(&self, stream: u32) -> u32 {
        self.streams[stream as usize].hunt
    }

    /// Makes the hunt known here, with `top` as the last event before those to come.
    pub fn open(
        &mut self,
        number: HuntNumber,
        name: &str,
        epoch: &str,
        top: u64,
    ) -> Result<u32, TooManyHunts> {
        if let Some(&slot) = self.by_number.get(&number) {
            return Ok(slot);
        }
        while self.free.is_empty() && self.end_linger() {}
        let slot = self.free.pop_front().ok_or(TooManyHunts)?;
        let hunt = &mut self.hunts[slot as usize];
        hunt.name = name.into();
        hunt.epoch = epoch.into();
        hunt.number = number;
        hunt.top = top;
        self.by_number.insert(number, slot);
        self.by_name.insert(name.into(), slot);
        Ok(slot)
    }

    /// Takes an event of the broadcast ring: encodes it for each stream.
    pub fn on_event(&mut self, event: &Event<'_>) -> Taken {
        let Some(&slot) = self.by_number.get(&event.hunt) else {
            return Taken::No;
        };
        let Ok(publication) = Publication::parse(event.publication) else {
            debug_assert!(false, "the journal's publications parse");
            return Taken::No;
        };
        let hunt = &mut self.hunts[slot as usize];
        if publication.offset != 0 {
            debug_assert_eq!(
                publication.offset,
                hunt.top + 1,
                "the journal skips no offset"
            );
            hunt.top = publication.offset;
        }
        hunt.seen += 1;
        let index = stamp_index(hunt.seen);
        hunt.stamps[index] = event.stamp_us;
        for &stream in &hunt.streams {
            let variant = self.streams[stream as usize].variant;
            let frame = self
                .encoder
                .event(variant, hunt.address(), &publication, event.deflated);
            match publication.offset {
                0 => self.logs.append(stream, frame),
                offset => self
                    .logs
                    .append_event(stream, frame, offset, event.stamp_us),
            }
            self.walks.request(stream);
        }
        match hunt.takers {
            0 => Taken::Later,
            _ => Taken::Now,
        }
    }

    /// The frame of an event of the past, as `stream` has it. It goes into no log.
    pub fn frame(&mut self, stream: u32, publication: &Publication<'_>) -> &[u8] {
        let Stream { hunt, variant, .. } = &self.streams[stream as usize];
        let address = self.hunts[*hunt as usize].address();
        self.encoder.event(*variant, address, publication, &[])
    }

    /// Somebody joined or left a hunt: tells those who want to know.
    pub fn on_movement(&mut self, moved: &Moved<'_>) {
        let Some(&slot) = self.by_number.get(&moved.hunt) else {
            return;
        };
        let hunt = &self.hunts[slot as usize];
        for &stream in &hunt.streams {
            let variant = self.streams[stream as usize].variant;
            if variant.has(Variant::JOINS) {
                let frame =
                    self.encoder
                        .movement(variant, hunt.address(), moved.movement, moved.who);
                self.logs.append(stream, frame);
                self.walks.request(stream);
            }
        }
    }

    /// When the `nth` event of the hunt in `slot` (see [`Hunt::seen`]) was published; the oldest one
    /// still known when it is too long ago.
    pub fn stamp(&self, slot: u32, nth: u64) -> Micros {
        let hunt = &self.hunts[slot as usize];
        let nth = nth.max((hunt.seen + 1).saturating_sub(STAMPS as u64));
        Micros(hunt.stamps[stamp_index(nth)])
    }

    /// The hunt in `slot` stays, whoever leaves it.
    pub fn hold(&mut self, slot: u32) {
        self.hunts[slot as usize].holds += 1;
    }

    /// Takes one [`hold`](Hunts::hold) back.
    pub fn let_go(&mut self, slot: u32) {
        self.hunts[slot as usize].holds -= 1;
    }

    /// Forgets the hunt if nobody is subscribed to it, or is about to be.
    pub fn close_if_empty(&mut self, slot: u32) {
        let hunt = &mut self.hunts[slot as usize];
        if hunt.streams.is_empty()
            && hunt.holds == 0
            && self.by_number.remove(&hunt.number).is_some()
        {
            self.by_name.remove(&hunt.name);
            self.free.push_back(slot);
        }
    }

    /// The stream of the hunt in `slot` that has `variant`; made if need be.
    fn open_stream(&mut self, slot: u32, variant: Variant) -> Option<u32> {
        let hunt = &self.hunts[slot as usize];
        let found = hunt.streams.iter().copied();
        let mut found = found.filter(|&stream| self.streams[stream as usize].variant == variant);
        if let Some(stream) = found.next() {
            return Some(stream);
        }
        self.hold(slot);
        while self.free_streams.is_empty() && self.end_linger() {}
        self.let_go(slot);
        let stream = self.free_streams.pop_front()?;
        self.hunts[slot as usize].streams.push(stream);
        let place = &mut self.streams[stream as usize];
        (place.hunt, place.variant) = (slot, variant);
        self.logs.forget_offsets(stream);
        Some(stream)
    }

    /// Forgets a stream that nobody takes, and its hunt if that was the last.
    fn close_stream(&mut self, stream: u32) {
        let slot = self.streams[stream as usize].hunt;
        self.streams[stream as usize].idle_since = None;
        let streams = &mut self.hunts[slot as usize].streams;
        if let Some(place) = streams.iter().position(|&other| other == stream) {
            streams.swap_remove(place);
            self.free_streams.push_back(stream);
        }
        self.close_if_empty(slot);
    }
}

fn stamp_index(nth: u64) -> usize {
    // A remainder of 64 fits a usize.
    usize::try_from(nth % STAMPS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::log::BLOCK_BYTES;
    use crate::memory::slab::NONE;
    use crate::ring::broadcast::Movement;
    use crate::units::ConnId;

    fn hunts(hunts_max: u32, streams_max: u32) -> Hunts {
        let bytes = Box::leak(vec![0; 8 * BLOCK_BYTES].into_boxed_slice());
        let logs = Logs::new(bytes, streams_max as usize, 1000);
        Hunts::new(logs, hunts_max, streams_max, 4)
    }

    fn publish(hunts: &mut Hunts, hunt: HuntNumber, data: &str, offset: u64) -> bool {
        publish_to(hunts, hunt, data, offset) == Taken::Now
    }

    fn publish_to(hunts: &mut Hunts, hunt: HuntNumber, data: &str, offset: u64) -> Taken {
        let mut publication = Vec::new();
        let (data, empty) = (data.as_bytes(), Publication::default());
        Publication {
            data,
            offset,
            ..empty
        }
        .append(&mut publication);
        hunts.on_event(&Event {
            hunt,
            stamp_us: 0,
            publication: &publication,
            deflated: &[],
        })
    }

    fn log(hunts: &Hunts, stream: u32, from: u64) -> String {
        let mut out = vec![0; (hunts.logs.head(stream) - from) as usize];
        assert!(hunts.logs.read(stream, from, &mut out));
        String::from_utf8_lossy(&out).into_owned()
    }

    fn conn(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 1,
        }
    }

    #[test]
    fn bytes_in_flight_survive_the_reuse_of_their_slot() {
        let mut hunts = hunts(1, 1);
        let slot = hunts.open(1, "old", "e", 0).unwrap();
        let mut first = NONE;
        assert!(hunts.subscribe(slot, conn(0), Variant::PLAIN, &mut first));
        assert!(publish(&mut hunts, 1, "\"abc\"", 1));
        assert!(hunts.unsubscribe(slot, &mut first));
        assert_eq!(publish_to(&mut hunts, 1, "2", 2), Taken::Later);
        let kept = hunts.logs.head(0);
        assert_eq!(hunts.open(2, "new", "e", 5), Ok(slot));
        assert!(hunts.subscribe(slot, conn(0), Variant::PLAIN, &mut first));
        assert!(publish(&mut hunts, 2, "\"def\"", 6));
        assert_eq!(publish_to(&mut hunts, 1, "3", 3), Taken::No);
        let all = log(&hunts, 0, 0);
        assert!(all.contains("abc") && all.contains("def"), "{all}");
        assert!(!log(&hunts, 0, kept).contains("abc"));
    }

    #[test]
    fn each_variant_has_a_stream_while_somebody_takes_it() {
        let mut hunts = hunts(2, 2);
        let slot = hunts.open(7, "h", "e", 0).unwrap();
        let (mut a, mut b, mut c) = (NONE, NONE, NONE);
        let joins = Variant::NUMBERED.and(Variant::JOINS);
        assert!(hunts.subscribe(slot, conn(0), Variant::PLAIN, &mut a));
        assert!(hunts.subscribe(slot, conn(1), joins, &mut b));
        assert!(
            !hunts.subscribe(slot, conn(2), Variant::PROTOBUF, &mut c),
            "no stream is free"
        );
        assert!(publish(&mut hunts, 7, "1", 1));
        hunts.on_movement(&Moved {
            hunt: 7,
            movement: Movement::Join,
            who: b"",
        });
        assert!(
            log(&hunts, 0, 0).ends_with(r#"{"push":{"channel":"h","pub":{"data":1,"offset":1}}}"#)
        );
        let numbered = log(&hunts, 1, 0);
        assert!(
            numbered.contains(r#"{"push":{"id":8,"pub":{"data":1,"offset":1}}}"#),
            "{numbered}"
        );
        assert!(numbered.ends_with(r#"{"push":{"id":8,"join":{"info":{"user":"","client":""}}}}"#));

        assert!(hunts.unsubscribe(slot, &mut a));
        assert!(
            hunts.subscribe(slot, conn(2), Variant::PROTOBUF, &mut c),
            "a stream came free"
        );
        hunts.unsubscribe_all(&mut b);
        hunts.unsubscribe_all(&mut c);
        assert_eq!((hunts.count(), hunts.subscriptions.count()), (0, 0));
    }

    #[test]
    fn an_event_without_an_offset_moves_no_position() {
        let mut hunts = hunts(1, 1);
        let slot = hunts.open(1, "h", "e", 3).unwrap();
        let mut first = NONE;
        assert!(hunts.subscribe(slot, conn(0), Variant::PLAIN, &mut first));
        assert!(publish(&mut hunts, 1, "1", 0));
        assert!(publish(&mut hunts, 1, "2", 4));
        assert_eq!((hunts.hunt(slot).top, hunts.hunt(slot).seen), (4, 2));
    }
}
