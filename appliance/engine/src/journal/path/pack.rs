//! A tail that is long enough becomes a block.
//!
//! Runs behind the answers of a turn, [`PACKS_PER_TURN`] tails at a time: each is read (its newest rows
//! are in memory), put in the order of its places, written in columns ([`crate::path::block`]) and
//! compressed by the store. The block and the deletion of the tail are one batch. That batch is not
//! synced: a crash that loses it leaves the tail, which was.
//!
//! Points that are further apart than [`SPAN_MS_MAX`] come into several blocks.

use crate::journal::path::tails::Tails;
use crate::journal::path::{SPAN_MS_MAX, for_each_of_tail};
use crate::journal::store::{Batch, PathPart, Store, StoreError};
use crate::metrics::catalog::Metric;
use crate::metrics::counters::Counters;
use crate::path::block::{self, Head, POINTS_MAX, Placed};
use crate::path::{Place, Point};
use crate::units::Micros;

/// Bytes of a tail that are made a block: what zstd sees at once. A block of less costs more a point
/// (2 KiB: a tenth), one of more is read whole for a single point of it.
pub(in crate::journal) const TAIL_BYTES: usize = 4 << 10;

/// Tails read a turn: some 200 microseconds each that the next turn's events wait for. At 100,000 points
/// a second there are 800 of them a second, and more turns than that.
const PACKS_PER_TURN: usize = 2;

/// Time to wait after the store has failed.
const RETRY_PERIOD: Micros = Micros::from_secs(1);

/// Reads tails and writes blocks. Keeps its memory.
#[derive(Debug, Default)]
pub(in crate::journal) struct Packer {
    due: Micros,
    batch: Batch,
    /// Keys of the tail's rows, one behind the other, and where each ends.
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    points: Vec<(Place, Said)>,
    extras: Vec<u8>,
    body: Vec<u8>,
    packed: Vec<u8>,
}

/// A point whose other fields lie in [`Packer::extras`].
#[derive(Debug, Clone)]
struct Said {
    lat_e7: i32,
    lon_e7: i32,
    extra: std::ops::Range<usize>,
}

impl Packer {
    /// Looks at a few tails that are to be read; answers how many.
    pub(in crate::journal) fn step<S: Store>(
        &mut self,
        store: &mut S,
        tails: &mut Tails,
        counters: &Counters,
        now: Micros,
    ) -> Result<u64, StoreError> {
        if now < self.due {
            return Ok(0);
        }
        let mut done = 0;
        for _ in 0..PACKS_PER_TURN {
            let Some((place, user)) = tails.next() else {
                break;
            };
            done += 1;
            match self.pack(store, user, counters) {
                Ok(bytes) => tails.set(place, Some(bytes)),
                Err(error) => {
                    tails.set(place, None);
                    self.due = now + RETRY_PERIOD;
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Makes blocks of `user`'s tail if it is long enough; answers how many bytes it has then.
    fn pack<S: Store>(
        &mut self,
        store: &mut S,
        user: &str,
        counters: &Counters,
    ) -> Result<usize, StoreError> {
        let bytes = self.read(store, user)?;
        if bytes < TAIL_BYTES {
            return Ok(bytes);
        }
        self.batch.clear();
        let mut start = 0;
        for &end in &self.key_ends {
            self.batch
                .drop_path(PathPart::Tails, &self.keys[start..end]);
            start = end;
        }
        let mut points = std::mem::take(&mut self.points);
        points.sort_unstable_by_key(|point| point.0);
        let (mut blocks, mut packed) = (0, 0);
        for piece in pieces(&points) {
            packed += self.add_block(store, user, piece)?;
            blocks += 1;
        }
        store.commit(&self.batch, false)?;
        counters.add(Metric::PathBlocks, blocks);
        counters.add(Metric::PathBlockPoints, points.len() as u64);
        counters.add(Metric::PathBytesRaw, bytes as u64);
        counters.add(Metric::PathBytesPacked, packed as u64);
        self.points = points;
        Ok(0)
    }

    /// Reads `user`'s tail; answers its bytes.
    fn read<S: Store>(&mut self, store: &S, user: &str) -> Result<usize, StoreError> {
        self.keys.clear();
        self.key_ends.clear();
        self.points.clear();
        self.extras.clear();
        let (mut bytes, mut row) = (0, Vec::new());
        for_each_of_tail(store, user, &mut |key, place, point| {
            if row != key {
                row.clear();
                row.extend_from_slice(key);
                self.keys.extend_from_slice(key);
                self.key_ends.push(self.keys.len());
            }
            bytes += point.list_bytes();
            let start = self.extras.len();
            self.extras.extend_from_slice(point.extra);
            let Point { lat_e7, lon_e7, .. } = point;
            let extra = start..self.extras.len();
            let said = Said {
                lat_e7,
                lon_e7,
                extra,
            };
            self.points.push((place, said));
        })?;
        Ok(bytes)
    }

    /// Puts a block of `points` into the batch; answers the bytes of its value.
    fn add_block<S: Store>(
        &mut self,
        store: &mut S,
        user: &str,
        points: &[(Place, Said)],
    ) -> Result<usize, StoreError> {
        let placed = |&(place, ref said): &(Place, Said)| Placed {
            place,
            point: Point {
                time_ms: place.time_ms,
                lat_e7: said.lat_e7,
                lon_e7: said.lon_e7,
                extra: &self.extras[said.extra.clone()],
            },
        };
        let points: Vec<Placed<'_>> = points.iter().map(placed).collect();
        let Some(last) = points.last().map(|placed| placed.place) else {
            return Ok(0);
        };
        self.body.clear();
        self.packed.clear();
        Head::of(&points).append(&mut self.packed);
        block::encode(&points, &mut self.body);
        store.pack(&self.body, &mut self.packed)?;
        let key = |key: &mut Vec<u8>| last.append_key(user, key);
        self.batch.path(PathPart::Blocks, key, |value| {
            value.extend_from_slice(&self.packed);
        });
        Ok(self.packed.len())
    }
}

/// Cuts points in the order of their places into runs that a block may have.
fn pieces(points: &[(Place, Said)]) -> impl Iterator<Item = &[(Place, Said)]> {
    let mut rest = points;
    std::iter::from_fn(move || {
        let first_ms = rest.first()?.0.time_ms;
        let fits = |point: &(Place, Said)| point.0.time_ms - first_ms <= SPAN_MS_MAX;
        let end = rest.iter().take(POINTS_MAX).position(|point| !fits(point));
        let (piece, behind) = rest.split_at(end.unwrap_or(rest.len().min(POINTS_MAX)));
        rest = behind;
        Some(piece)
    })
}
