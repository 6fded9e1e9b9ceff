//! One line a frame: when, which client, direction, what is in it and what becomes of it.

use std::fmt::Write as _;

use crate::sim::path::Fate;
use crate::units::Micros;
use crate::wire::parse::parse;
use crate::wire::seq::Seq;

/// The numbers that sequence numbers are shown against.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Origins {
    /// The sender's initial sequence number and the other's.
    pub(super) iss: Option<Seq>,
    pub(super) irs: Option<Seq>,
}

/// The line for a frame sent at `now` after the start of the run.
pub(super) fn line(
    since_start: Micros,
    client: u32,
    down: bool,
    frame: &[u8],
    origins: Origins,
    (start, fate): (Micros, Fate),
) -> String {
    let mut text = String::new();
    let arrow = if down { "<-" } else { "->" };
    let (seconds, micros) = (since_start.0 / 1_000_000, since_start.0 % 1_000_000);
    // Writing to a string cannot fail.
    let _ = write!(text, "{seconds:4}.{micros:06} c{client:<4} {arrow} ");
    match parse(frame) {
        Err(drop) => {
            let _ = write!(text, "{} bytes ({drop:?})", frame.len());
        }
        Ok(segment) => {
            let flags = segment.flags;
            let letters = [
                (flags.syn, 'S'),
                (flags.fin, 'F'),
                (flags.rst, 'R'),
                (flags.psh, 'P'),
                (flags.ack, '.'),
            ];
            text.extend(
                letters
                    .iter()
                    .filter(|(set, _)| *set)
                    .map(|(_, letter)| *letter),
            );
            let relative = |seq: Seq, base: Option<Seq>| match base {
                Some(base) => i64::from(seq.since(base)),
                None => i64::from(seq.0),
            };
            let seq = relative(segment.seq, origins.iss);
            let end = seq + i64::try_from(segment.payload_at.len()).unwrap_or(0);
            let _ = write!(text, " {seq}:{end}");
            if flags.ack {
                let _ = write!(text, " ack {}", relative(segment.ack, origins.irs));
            }
            let _ = write!(text, " win {}", segment.window);
            if let Some((value, echo)) = segment.options.timestamps {
                let _ = write!(text, " ts {value} {echo}");
            }
            for (from, to) in segment.options.sacks.iter().flatten() {
                let (from, to) = (relative(*from, origins.irs), relative(*to, origins.irs));
                let _ = write!(text, " sack {from}:{to}");
            }
        }
    }
    match fate {
        Fate::Lost(why) => {
            let _ = write!(text, "  LOST {why:?}");
        }
        Fate::Arrives {
            at,
            damaged,
            late,
            again,
        } => {
            let takes = at.since(start + since_start).0;
            let _ = write!(text, "  +{}.{:03} ms", takes / 1_000, takes % 1_000);
            for (is, word) in [
                (damaged, " DAMAGED"),
                (late, " LATE"),
                (again.is_some(), " TWICE"),
            ] {
                if is {
                    text.push_str(word);
                }
            }
        }
    }
    text
}
