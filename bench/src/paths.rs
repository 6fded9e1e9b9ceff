//! What a point of a player's path costs on disk: [`walk`](crate::walk)s of many people, cut into blocks as
//! the journal cuts them, and written in every way that was thought of; which is how the one that the
//! engine has ([`engine::path::block`]) was chosen.
//!
//! The bytes are those of a block's value, head included. A key stands beside each: some 0.3 bytes a point
//! more, measured with RocksDB around it by the store's own bench. Dictionaries are trained on other
//! people's walks than those they are tried on.

use std::fmt::Write;
use std::time::Instant;

use engine::path::block::{self, Head, Placed};
use engine::path::{Place, Point};
use engine::protobuf::append_varint;

use crate::walk::{Phone, Walk};

/// People of a kind.
const PEOPLE: u64 = 20;

/// Points of each.
const POINTS: usize = 2_000;

/// zstd's level.
const LEVEL: i32 = 3;

/// Bytes of points that make a block.
const BLOCK_BYTES: usize = 4_096;

/// Bytes of a dictionary.
const DICTIONARY_BYTES: usize = 16 << 10;

/// Passes that times are the best of.
const ROUNDS: usize = 5;

/// The phones of the first table, half of the people each.
const PHONES: [Phone; 2] = [
    Phone {
        decimals: 7,
        tells_speed: false,
    },
    Phone {
        decimals: 6,
        tells_speed: false,
    },
];

/// A point that owns what it says.
#[derive(Debug, Clone)]
struct Said {
    time_ms: u64,
    lat_e7: i32,
    lon_e7: i32,
    extra: Vec<u8>,
}

impl Said {
    fn point(&self) -> Point<'_> {
        Point {
            time_ms: self.time_ms,
            lat_e7: self.lat_e7,
            lon_e7: self.lon_e7,
            extra: &self.extra,
        }
    }
}

type Encoder = fn(&[Said]) -> Vec<u8>;

/// Ways to write a block, before zstd.
const WAYS: [(&str, Encoder); 4] = [
    ("points as they are in the tail", plain),
    ("columns of deltas, varints", |block| columns(block, 1)),
    ("columns of deltas of deltas, varints", |block| {
        columns(block, 2)
    }),
    ("columns of distances from a filter, Rice codes", chosen),
];

/// The tables.
pub fn run() -> String {
    let (mix, others) = (
        blocks(&PHONES, 1, BLOCK_BYTES),
        blocks(&PHONES, 1_001, BLOCK_BYTES),
    );
    let points: usize = mix.iter().map(Vec::len).sum();
    let mut text = format!(
        "{} blocks of {:.0} points; bytes a point.\n\n\
         | block | as it is | zstd {LEVEL} | zstd {LEVEL} with dictionary |\n|---|---|---|---|\n",
        mix.len(),
        points as f64 / mix.len() as f64,
    );
    for (name, way) in WAYS {
        let bodies: Vec<_> = mix.iter().map(|block| way(block)).collect();
        let trained = dictionary(others.iter().map(|block| way(block)));
        let head = heads(&mix);
        let each = |bytes: usize| (bytes + head) as f64 / points as f64;
        let bare = bodies.iter().map(Vec::len).sum();
        let zstd = bodies.iter().map(|body| compress(body, &[]).len()).sum();
        let with = bodies
            .iter()
            .map(|body| compress(body, &trained).len())
            .sum();
        let _ = writeln!(
            text,
            "| {name} | {:.2} | {:.2} | {:.2} |",
            each(bare),
            each(zstd),
            each(with)
        );
    }
    by_phone(&mut text);
    by_size(&mut text);
    times(&mut text, &mix);
    text
}

/// The chosen way for each phone, beside what the noise alone costs.
fn by_phone(text: &mut String) {
    *text += "\n| phone | bytes a point | noise alone: time, latitude, longitude, accuracy |\n|---|---|---|\n";
    let phone = |decimals, tells_speed| Phone {
        decimals,
        tells_speed,
    };
    for phone in [
        phone(7, false),
        phone(6, false),
        phone(7, true),
        phone(6, true),
    ] {
        let blocks = blocks(&[phone], 1, BLOCK_BYTES);
        let [time, lat, lon, accuracy] = Walk::entropy_bits(phone);
        let noise = (time + lat + lon + accuracy) / 8.0;
        let more = if phone.tells_speed {
            ", speed and heading"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "| {} decimals, accuracy{more} | {:.2} | {time:.1} + {lat:.1} + {lon:.1} + {accuracy:.1} bits = {noise:.2} bytes |",
            phone.decimals,
            bytes_a_point(&blocks),
        );
    }
}

/// The chosen way for longer and shorter blocks.
fn by_size(text: &mut String) {
    *text += "\n| bytes of points in a block | bytes a point |\n|---|---|\n";
    for bytes in [1 << 10, 2 << 10, BLOCK_BYTES, 8 << 10, 16 << 10] {
        let blocks = blocks(&PHONES, 1, bytes);
        let _ = writeln!(text, "| {bytes} | {:.2} |", bytes_a_point(&blocks));
    }
}

fn times(text: &mut String, blocks: &[Vec<Said>]) {
    let bodies: Vec<_> = blocks.iter().map(|block| chosen(block)).collect();
    let packed: Vec<_> = bodies.iter().map(|body| compress(body, &[])).collect();
    let each = |pass: &dyn Fn()| best_us(blocks.len(), pass);
    let encode = each(&|| {
        blocks
            .iter()
            .for_each(|block| _ = std::hint::black_box(chosen(block)))
    });
    let zstd = each(&|| {
        bodies
            .iter()
            .for_each(|body| _ = std::hint::black_box(compress(body, &[])))
    });
    let unzstd = each(&|| {
        packed
            .iter()
            .for_each(|packed| _ = std::hint::black_box(decompress(packed)))
    });
    let decode = each(&|| {
        for (block, body) in blocks.iter().zip(&bodies) {
            let points = placed(block);
            let last = points.last().map_or(Place::at(0), |placed| placed.place);
            let shown = block::decode(Head::of(&points), last, body, &mut |placed| {
                std::hint::black_box(placed);
                true
            });
            assert!(shown.is_ok(), "what was written is read");
        }
    });
    let _ = writeln!(
        text,
        "\nMicroseconds for a block: {encode:.1} to encode, {zstd:.1} for zstd; \
         {unzstd:.1} for zstd and {decode:.1} to decode."
    );
}

fn bytes_a_point(blocks: &[Vec<Said>]) -> f64 {
    let points: usize = blocks.iter().map(Vec::len).sum();
    let bodies: usize = blocks
        .iter()
        .map(|block| compress(&chosen(block), &[]).len())
        .sum();
    (bodies + heads(blocks)) as f64 / points as f64
}

/// People's points, cut where so many bytes of them have come together; what is left over stays a tail
/// and does not count.
fn blocks(phones: &[Phone], first_seed: u64, block_bytes: usize) -> Vec<Vec<Said>> {
    let mut blocks = Vec::new();
    for seed in first_seed..first_seed + PEOPLE {
        let phone = phones
            .iter()
            .cycle()
            .nth(usize::try_from(seed).unwrap_or(0));
        let Some(&phone) = phone else { continue };
        let mut walk = Walk::new(seed, phone, 1_700_000_000_000);
        let (mut block, mut list, mut extra) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..POINTS {
            let point = walk.next(&mut extra);
            point.append(&mut list);
            block.push(Said {
                time_ms: point.time_ms,
                lat_e7: point.lat_e7,
                lon_e7: point.lon_e7,
                extra: point.extra.to_vec(),
            });
            if list.len() >= block_bytes {
                list.clear();
                blocks.push(std::mem::take(&mut block));
            }
        }
    }
    blocks
}

/// A player's points in the order of their times, arrived one after the other.
fn placed(block: &[Said]) -> Vec<Placed<'_>> {
    let mut points: Vec<_> = (1_u64..)
        .zip(block)
        .map(|(arrival, said)| Placed {
            place: Place {
                time_ms: said.time_ms,
                arrival,
            },
            point: said.point(),
        })
        .collect();
    points.sort_by_key(|placed| placed.place);
    points
}

fn heads(blocks: &[Vec<Said>]) -> usize {
    let mut out = Vec::new();
    for block in blocks {
        Head::of(&placed(block)).append(&mut out);
    }
    out.len()
}

fn plain(block: &[Said]) -> Vec<u8> {
    let mut list = Vec::new();
    block.iter().for_each(|said| said.point().append(&mut list));
    list
}

fn chosen(block: &[Said]) -> Vec<u8> {
    let mut body = Vec::new();
    block::encode(&placed(block), &mut body);
    body
}

/// Differences of the `order`th degree as varints, column by column; what else points say as it is.
fn columns(block: &[Said], order: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let fields: [fn(&Said) -> i64; 3] = [
        |said| said.time_ms.cast_signed(),
        |said| i64::from(said.lat_e7),
        |said| i64::from(said.lon_e7),
    ];
    for field in fields {
        let mut values: Vec<i64> = block.iter().map(field).collect();
        for degree in 0..order {
            for at in (degree + 1..values.len()).rev() {
                values[at] -= values[at - 1];
            }
        }
        for value in values {
            append_varint(&mut out, ((value << 1) ^ (value >> 63)).cast_unsigned());
        }
    }
    for said in block {
        out.extend_from_slice(&said.extra);
        out.push(b'\n');
    }
    out
}

fn dictionary(samples: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let (mut all, mut sizes) = (Vec::new(), Vec::new());
    for sample in samples {
        all.extend_from_slice(&sample);
        sizes.push(sample.len());
    }
    let mut dictionary = vec![0; DICTIONARY_BYTES];
    let length = zstd_safe::train_from_buffer(&mut dictionary[..], &all, &sizes);
    dictionary.truncate(length.unwrap_or(0));
    dictionary
}

fn compress(body: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut out = vec![0; zstd_safe::compress_bound(body.len())];
    let mut context = zstd_safe::CCtx::create();
    let length = context.compress_using_dict(&mut out[..], body, dictionary, LEVEL);
    out.truncate(length.unwrap_or(0));
    assert!(!out.is_empty(), "there is room for it");
    out
}

fn decompress(packed: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 64 << 10];
    let length = zstd_safe::decompress(&mut out[..], packed);
    out.truncate(length.unwrap_or(0));
    out
}

/// The best of [`ROUNDS`] times, for one of the `count` things that `pass` does.
fn best_us(count: usize, pass: &dyn Fn()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        pass();
        start.elapsed().as_secs_f64() * 1e6 / count.max(1) as f64
    };
    (0..ROUNDS).map(once).fold(f64::MAX, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_four_bytes_at_most() {
        let bytes = bytes_a_point(&blocks(&PHONES, 1, BLOCK_BYTES));
        assert!((3.0..=4.0).contains(&bytes), "{bytes}");
    }
}
