//! Where a subscription to be stands: what the journal says of its hunt, and where what the player
//! missed is.
//!
//! The journal answers from what it keeps in memory: the hunt's last offset, and whether all that follows
//! the player's is kept as far as numbers tell. Whether it is too old as well, the events say. Mostly the
//! hunt's log still holds them, and the cursor goes back to the first; else the reply waits for the first
//! page of them, and holds it.
//!
//! A page's answer has no place among the events. So the hunt is opened as soon as the journal has said
//! where it stands, and what of the page this core has not met as an event is left out of it.

use crate::hunt::publication::Publication;
use crate::metrics::catalog::Metric;
use crate::protobuf::take_delimited;
use crate::ring::broadcast::{HistoryPage, Record};
use crate::session::answer::error_of;
use crate::session::codes::Error;
use crate::session::player::Phase;
use crate::session::subscribe::{Found, Wanted};
use crate::session::{Pending, Purpose, Road, Sessions};
use crate::units::{ConnId, Micros};

/// What is known of a subscription to be.
pub(super) type Stand<'a> = Result<(u32, Found<'a>), Error>;

/// An answer of the journal, looked at.
enum Look<'a> {
    /// Enough is known.
    Enough(Stand<'a>),
    /// Only the first page of what was missed of the hunt in this slot will tell.
    Page(u32),
}

impl Sessions {
    /// The journal's answer about a subscription to be.
    pub(super) fn on_stand(
        &mut self,
        road: &mut Road<'_>,
        mut pending: Pending,
        record: &Record<'_>,
    ) {
        let id = pending.conn;
        let is_there = self
            .peek(id)
            .is_some_and(|player| player.phase != Phase::Closing);
        let page_of = pending.purpose.wanted().and_then(|wanted| wanted.page_of);
        if let Some(slot) = page_of.and_then(|hunt| road.hunts.numbered(hunt)) {
            road.hunts.let_go(slot);
        }
        let hunt = match record {
            Record::Subscribed(answer) => Some(answer.hunt),
            _ => page_of,
        };
        let mut stand = Err(Error::Internal);
        if is_there && let Some(wanted) = pending.purpose.wanted() {
            match self.look(road, id, wanted, record) {
                Look::Enough(enough) => stand = enough,
                Look::Page(slot) => {
                    wanted.page_of = hunt;
                    match self.ask_first_page(road, slot, pending) {
                        None => return road.hunts.hold(slot),
                        Some(refused) => pending = refused,
                    }
                    stand = Err(Error::TooManyRequests);
                }
            }
        }
        self.on_stood(road, pending, stand);
        // Nobody may have come of it.
        if let Some(slot) = hunt.and_then(|hunt| road.hunts.numbered(hunt)) {
            road.hunts.close_if_empty(slot);
        }
    }

    fn on_stood(&mut self, road: &mut Road<'_>, pending: Pending, stand: Stand<'_>) {
        let (id, number) = (pending.conn, pending.command);
        match pending.purpose {
            Purpose::Subscribe(wanted, extras) => {
                let Some(player) = self.player(id) else {
                    return;
                };
                player.pending -= 1;
                if player.phase != Phase::Closing {
                    self.on_subscribed(road, id, number, (wanted, extras), stand);
                    self.resume(road, id);
                }
            }
            Purpose::ServerSide(wanted, extras) => {
                self.on_server_side(road, id, (wanted, extras), stand);
            }
            Purpose::Later(wanted, extras) => self.on_later(road, id, (wanted, extras), stand),
            _ => {}
        }
    }

    fn look<'a>(
        &self,
        road: &mut Road<'_>,
        id: ConnId,
        wanted: &Wanted,
        record: &Record<'a>,
    ) -> Look<'a> {
        let enough = match record {
            Record::Subscribed(answer) => {
                let opened = road
                    .hunts
                    .open(answer.hunt, answer.name, answer.epoch, answer.top);
                let Ok(slot) = opened else {
                    return Look::Enough(Err(Error::LimitExceeded));
                };
                let recovered = wanted.recover && answer.recoverable;
                let mut position = None;
                if recovered && wanted.offset < answer.top {
                    let ttl = Micros::from_millis(answer.history_ttl_ms);
                    position = self.in_log(road, id, wanted, slot, ttl);
                    if position.is_none() && !wanted.in_pages {
                        return Look::Page(slot);
                    }
                }
                let found = Found {
                    position,
                    ..self.found(wanted, recovered, &[])
                };
                Ok((slot, found))
            }
            Record::History(page) => self.first_page(road, wanted, page),
            Record::Refused { refusal, .. } => Err(error_of(*refusal)),
            _ => Err(Error::Internal),
        };
        Look::Enough(enough)
    }

    /// Where in the hunt's log what was missed begins. Half of what a player may be behind at most, or it
    /// would be slow from the start.
    fn in_log(
        &self,
        road: &Road<'_>,
        id: ConnId,
        wanted: &Wanted,
        slot: u32,
        ttl: Micros,
    ) -> Option<u64> {
        let variant = wanted.variant(self.peek(id)?);
        let missed = road
            .hunts
            .missed(slot, variant, wanted.offset, road.now, ttl)?;
        if missed.bytes > self.rules.lag_bytes_max / 2 {
            return None;
        }
        self.counters.inc(Metric::SessionRecoveredFromLog);
        Some(missed.position)
    }

    /// What the first page tells.
    fn first_page<'a>(
        &self,
        road: &Road<'_>,
        wanted: &Wanted,
        page: &HistoryPage<'a>,
    ) -> Stand<'a> {
        let hunt = wanted.page_of.and_then(|hunt| road.hunts.numbered(hunt));
        // It is held.
        let slot = hunt.ok_or(Error::Internal)?;
        let top = road.hunts.hunt(slot).top;
        let publications = missed(page.publications, wanted.offset, top);
        let recovered = wanted.offset == top || !publications.is_empty();
        Ok((slot, self.found(wanted, recovered, publications)))
    }

    /// What was found, counted. What would leave the others no room is left for later pages.
    fn found<'a>(&self, wanted: &Wanted, recovered: bool, publications: &'a [u8]) -> Found<'a> {
        if wanted.recover {
            self.counters.inc(match recovered {
                true => Metric::SessionRecovered,
                false => Metric::SessionNotRecovered,
            });
        }
        let has_room = self.has_room_for(publications.len());
        Found {
            recovered,
            position: None,
            publications: if has_room { publications } else { &[] },
        }
    }
}

/// The events of `list` that follow `after` without a gap, up to `top`.
fn missed(list: &[u8], after: u64, top: u64) -> &[u8] {
    let (mut rest, mut reached) = (list, after);
    let mut length = 0;
    while let Ok(body) = take_delimited(&mut rest) {
        let offset = Publication::parse(body).map(|publication| publication.offset);
        if offset != Ok(reached + 1) || reached >= top {
            break;
        }
        reached += 1;
        length = list.len() - rest.len();
    }
    list.get(..length).unwrap_or_default()
}

impl Purpose {
    /// What a subscription to be will be.
    pub(super) fn wanted(&mut self) -> Option<&mut Wanted> {
        match self {
            Purpose::Subscribe(wanted, _)
            | Purpose::ServerSide(wanted, _)
            | Purpose::Later(wanted, _) => Some(wanted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::append_filled;

    #[test]
    fn a_page_ends_at_a_gap_and_at_what_this_core_has_not_met() {
        let mut list = Vec::new();
        let mut ends = vec![0];
        for offset in [4, 5, 6, 8] {
            let publication = Publication {
                data: b"1",
                offset,
                ..Publication::default()
            };
            append_filled(&mut list, |out| publication.append(out));
            ends.push(list.len());
        }
        for (after, top, count) in [(3, 9, 3), (3, 5, 2), (3, 3, 0), (4, 9, 0), (2, 9, 0)] {
            assert_eq!(
                missed(&list, after, top).len(),
                ends[count],
                "{after} {top}"
            );
        }
    }
}
