//! Who is in which hunt, on all data cores together.
//!
//! Between `Submission::Enter` and `Leave` of a subscription lies its entry here; the table changes when
//! the submission's place in the order comes, so an answer or an announcement agrees with every other one
//! before it. Nothing here is stored: a process that begins knows of nobody, and has no players either.
//!
//! A data core tells of every end of a subscription, however its connection ended, and of none twice
//! (`hunt::attendance`): an entry lives exactly as long as its subscription. So the bound is that of the
//! data cores' subscriptions, each with a `ClientInfo` of at most
//! [`INFO_BYTES_MAX`](crate::ring::submit::INFO_BYTES_MAX) bytes. A hunt without entries costs nothing.
//!
//! Announcements cost as many pushes as there are players who are told. Past [`PUSHES_PER_S`] of a hunt
//! they are dropped, which moves `presence_pushes_dropped`; who is listed stays exact.

use std::collections::hash_map::Entry as Slot;

use ahash::{AHashMap, RandomState};

use crate::hunt::publication::ClientInfo;
use crate::protobuf;
use crate::ring::broadcast::{HuntNumber, PAGE_BYTES_MAX};
use crate::ring::submit::Part;
use crate::units::Micros;

/// Join and leave pushes a hunt may cost in a second, counted as announcements times players told. With
/// 10,000 players told that is five announcements in two seconds, with 100 it is 250 a second; with
/// the burst, 200 players can come at once and all hear of all. More takes from the events: at 100,000
/// and 1,500 players told, on two cores shared with the clients, the 99th percentile of another hunt's
/// events was 102 ms instead of the 25 ms of as many players who come unannounced. Less leaves games of a
/// few hundred players without announcements when a round begins.
const PUSHES_PER_S: u64 = 25_000;

/// Time one push takes at that rate.
const PUSH_PERIOD_US: u64 = 1_000_000 / PUSHES_PER_S;

/// How far announcements may run ahead of the rate: a second's worth at once.
const BURST_US: u64 = 1_000_000;

/// Bytes in front of an entry of a page: its length, at most.
const LENGTH_BYTES_MAX: usize = 5;

/// A connection: the ring it was told of by, and its id on that core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) source: usize,
    pub(super) conn: u64,
}

#[derive(Debug)]
struct Entry {
    part: Part,
    /// An encoded `ClientInfo`.
    info: Box<[u8]>,
}

impl Entry {
    fn user(&self) -> &str {
        let info = ClientInfo::parse(&self.info);
        debug_assert!(info.is_ok(), "client infos are written by us");
        info.map_or("", |info| info.user)
    }
}

/// The entries of one hunt.
#[derive(Debug)]
struct Table {
    clients: AHashMap<Client, Entry>,
    /// Users listed, with the number of their clients.
    users: AHashMap<Box<str>, u32>,
    /// Clients listed.
    listed: u32,
    /// Clients that are told.
    told: u64,
    /// When the pushes so far would have ended at the rate allowed, in microseconds.
    paid_until: u64,
}

/// Whether a coming or going is to be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To all data cores.
    Announce,
    /// Nobody is to know, or nobody would listen.
    Silent,
    /// The hunt's pushes are used up.
    Dropped,
}

/// The entries of all hunts.
#[derive(Debug)]
pub(super) struct Presence {
    hunts: AHashMap<HuntNumber, Table>,
    entries: u64,
    /// From a seed, so that the order of a page is the same in the same simulation.
    hasher: RandomState,
}

impl Presence {
    pub(super) fn new(seed: u64) -> Presence {
        Presence {
            hunts: AHashMap::new(),
            entries: 0,
            hasher: RandomState::with_seeds(seed, !seed, seed.rotate_left(21), 7),
        }
    }

    /// Entries of all hunts.
    pub(super) fn count(&self) -> u64 {
        self.entries
    }

    /// A subscription began.
    pub(super) fn enter(
        &mut self,
        hunt: HuntNumber,
        client: Client,
        part: Part,
        info: &[u8],
        now: Micros,
    ) -> Verdict {
        let again = self.remove(hunt, client);
        debug_assert!(again.is_none(), "a subscription begins once");
        let hasher = &self.hasher;
        let table = self.hunts.entry(hunt).or_insert_with(|| Table {
            clients: AHashMap::with_hasher(hasher.clone()),
            users: AHashMap::with_hasher(hasher.clone()),
            listed: 0,
            told: 0,
            paid_until: 0,
        });
        let entry = Entry {
            part,
            info: info.into(),
        };
        table.told += u64::from(part.told);
        if part.listed {
            table.listed += 1;
            match table.users.get_mut(entry.user()) {
                Some(clients) => *clients += 1,
                None => _ = table.users.insert(entry.user().into(), 1),
            }
        }
        table.clients.insert(client, entry);
        self.entries += 1;
        table.judge(part, now)
    }

    /// A subscription ended. Gives who it was of, if that is known here, and whether to say so.
    pub(super) fn leave(
        &mut self,
        hunt: HuntNumber,
        client: Client,
        now: Micros,
    ) -> Option<(Verdict, Box<[u8]>)> {
        let entry = self.remove(hunt, client)?;
        let verdict = match self.hunts.get_mut(&hunt) {
            Some(table) => table.judge(entry.part, now),
            // It was the last.
            None => Verdict::Silent,
        };
        Some((verdict, entry.info))
    }

    fn remove(&mut self, hunt: HuntNumber, client: Client) -> Option<Entry> {
        let Slot::Occupied(mut slot) = self.hunts.entry(hunt) else {
            return None;
        };
        let table = slot.get_mut();
        let entry = table.clients.remove(&client)?;
        self.entries -= 1;
        table.told -= u64::from(entry.part.told);
        if entry.part.listed {
            table.listed -= 1;
            if let Some(clients) = table.users.get_mut(entry.user()) {
                *clients -= 1;
                if *clients == 0 {
                    table.users.remove(entry.user());
                }
            }
        }
        if table.clients.is_empty() {
            slot.remove();
        }
        Some(entry)
    }

    /// How many clients and users are in the hunt.
    pub(super) fn stats(&self, hunt: HuntNumber) -> (u32, u32) {
        let Some(table) = self.hunts.get(&hunt) else {
            return (0, 0);
        };
        let users = u32::try_from(table.users.len()).unwrap_or(u32::MAX);
        (table.listed, users)
    }

    /// Appends those listed in the hunt behind the first `skip` to an empty page, as many as fit.
    /// Gives how many are behind that now; none when it was the last page. Between two pages nothing
    /// may enter or leave.
    pub(super) fn page(&self, hunt: HuntNumber, skip: usize, page: &mut Vec<u8>) -> Option<usize> {
        let table = self.hunts.get(&hunt)?;
        let listed = table.clients.values().filter(|entry| entry.part.listed);
        for (index, entry) in listed.enumerate().skip(skip) {
            if page.len() + LENGTH_BYTES_MAX + entry.info.len() > PAGE_BYTES_MAX {
                return Some(index);
            }
            protobuf::append_delimited(page, &entry.info);
        }
        None
    }
}

impl Table {
    /// Whether an announcement is worth its pushes, which it then has cost.
    fn judge(&mut self, part: Part, now: Micros) -> Verdict {
        if !part.announced || self.told == 0 {
            return Verdict::Silent;
        }
        // One announcement always fits the burst.
        let cost_us = (self.told * PUSH_PERIOD_US).min(BURST_US);
        let paid_until = self.paid_until.max(now.0) + cost_us;
        if paid_until > now.0 + BURST_US {
            return Verdict::Dropped;
        }
        self.paid_until = paid_until;
        Verdict::Announce
    }
}

#[cfg(test)]
mod tests;
