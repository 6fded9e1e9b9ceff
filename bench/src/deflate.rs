//! What compression saves and costs: payloads like a game's, through the engine's own functions, and
//! through every level and window of the library under them, which is how theirs were chosen.
//!
//! The data are of a seed: clues with an id, a time, a place and a sentence of a small vocabulary; long
//! payloads are boards of many clues. Times are the best of [`ROUNDS`] passes over [`PAYLOADS`] payloads,
//! so a busy machine spoils fewer of them.

use std::fmt::Write;
use std::time::Instant;

use engine::ws::deflate::{Deflater, Inflater, SHARED_WINDOW_BITS, append_frame};
use engine::ws::frame::{self, Opcode};
use zlib_rs::{Deflate, DeflateFlush};

use crate::dice::Dice;

/// Lengths of the payloads, roughly: a clue, a clue with more in it, a scoreboard, a map.
const LENGTHS: &[usize] = &[200, 512, 2_048, 16_384];

/// Payloads of each length.
const PAYLOADS: usize = 200;

/// Passes over them.
const ROUNDS: usize = 9;

/// What stands around an event's data in a player's frame.
const PREFIX: &[u8] = br#"{"push":{"channel":"finals:munich","pub":{"data":"#;
const SUFFIX: &[u8] = br#","offset":12345}}}"#;

/// The tables.
pub fn run() -> String {
    let mut text = String::from(
        "| data, bytes | frame | compressed frame | saved | to compress, us | a frame of it, us | to inflate, us |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for &length in LENGTHS {
        row(&mut text, &payloads(length));
    }
    text += "\nLevels of zlib, each as bytes left and microseconds, for windows of 512 bytes, 4 KiB and 32 KiB:\n\n\
             | data, bytes | level | 512 bytes | 4 KiB | 32 KiB |\n|---|---|---|---|---|\n";
    for &length in LENGTHS {
        let payloads = payloads(length);
        for level in [1, 2, 3, 4, 6, 9] {
            let _ = write!(text, "| {} | {level} |", mean(&payloads));
            for window_bits in [9, SHARED_WINDOW_BITS, 15] {
                let (bytes, us) = zlib(&payloads, level, window_bits);
                let percent = 100.0 * bytes as f64 / sum(&payloads) as f64;
                let _ = write!(text, " {percent:.1} %, {us:.1} |");
            }
            text.push('\n');
        }
    }
    text
}

fn row(text: &mut String, payloads: &[Vec<u8>]) {
    let mut deflater = Deflater::new(SHARED_WINDOW_BITS);
    let mut inflater = Inflater::new(65_536);
    let mut out = Vec::with_capacity(200_000);
    let mut plain = 0;
    for payload in payloads {
        out.clear();
        frame::append_frame(&mut out, Opcode::Text, &[PREFIX, payload, SUFFIX].concat());
        plain += out.len();
    }
    let mut ready = Vec::new();
    for payload in payloads {
        let mut deflated = Vec::new();
        // What does not get shorter counts as it is; with these data there is none.
        if deflater.data(payload, &mut deflated) {
            ready.push(deflated);
        }
    }
    let compress_us = best_us(payloads.len(), || {
        for payload in payloads {
            out.clear();
            std::hint::black_box(deflater.data(payload, &mut out));
        }
    });
    let frame_us = best_us(ready.len(), || {
        for deflated in &ready {
            out.clear();
            append_frame(&mut out, Opcode::Text, PREFIX, deflated, SUFFIX);
            std::hint::black_box(&out);
        }
    });
    let inflate_us = best_us(ready.len(), || {
        for deflated in &ready {
            std::hint::black_box(inflater.receive(deflated, 65_536).is_ok());
        }
    });
    let mut compressed = 0;
    for deflated in &ready {
        out.clear();
        append_frame(&mut out, Opcode::Text, PREFIX, deflated, SUFFIX);
        compressed += out.len();
    }
    let count = payloads.len();
    let saved = 100.0 * (1.0 - compressed as f64 / plain as f64);
    let _ = writeln!(
        text,
        "| {} | {} | {} | {saved:.0} % | {compress_us:.1} | {frame_us:.2} | {inflate_us:.1} |",
        mean(payloads),
        plain / count,
        compressed / ready.len().max(1),
    );
}

/// Bytes of all payloads compressed, and microseconds for one.
fn zlib(payloads: &[Vec<u8>], level: i32, window_bits: u8) -> (u64, f64) {
    let mut deflate = Deflate::new(level, false, window_bits);
    let mut out = vec![0; 100_000];
    let mut bytes = 0;
    let us = best_us(payloads.len(), || {
        bytes = 0;
        for payload in payloads {
            deflate.reset();
            let status = deflate.compress(payload, &mut out, DeflateFlush::SyncFlush);
            assert!(status.is_ok(), "room for all of it");
            bytes += deflate.total_out();
        }
    });
    (bytes, us)
}

/// The best of [`ROUNDS`] times, for one of the `count` things that `pass` does.
fn best_us(count: usize, mut pass: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        pass();
        start.elapsed().as_secs_f64() * 1e6 / count.max(1) as f64
    };
    (0..ROUNDS).map(once).fold(f64::MAX, f64::min)
}

fn sum(payloads: &[Vec<u8>]) -> usize {
    payloads.iter().map(Vec::len).sum()
}

fn mean(payloads: &[Vec<u8>]) -> usize {
    sum(payloads) / payloads.len().max(1)
}

fn payloads(length: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(42);
    (0..PAYLOADS).map(|_| payload(length, &mut dice)).collect()
}

/// A clue, or as many as fit `length`.
fn payload(length: usize, dice: &mut Dice) -> Vec<u8> {
    let mut text = clue(dice);
    if length <= text.len() * 2 {
        return text.into_bytes();
    }
    text.insert_str(0, r#"{"type":"board","clues":["#);
    while text.len() * 10 < length * 9 {
        text.push(',');
        text += &clue(dice);
    }
    text += "]}";
    text.into_bytes()
}

fn clue(dice: &mut Dice) -> String {
    const WORDS: &[&str] = &[
        "bridge", "river", "north", "gate", "tower", "under", "the", "old", "look", "behind",
        "statue", "market", "clock", "seven", "steps", "stone", "lamp", "harbour", "garden", "key",
    ];
    let words: Vec<&str> = (0..8).map(|_| WORDS[dice.index(WORDS.len())]).collect();
    format!(
        r#"{{"type":"clue","id":"{:016x}","t":{},"pos":{{"lat":48.{:06},"lon":11.{:06}}},"radius_m":{},"points":{},"text":"{}"}}"#,
        dice.draw(),
        1_764_000_000_000 + dice.below(100_000_000),
        dice.below(1_000_000),
        dice.below(1_000_000),
        dice.below(500),
        dice.below(100),
        words.join(" "),
    )
}
