//! Segments as a script writes them, for failures.

use engine::units::Micros;
use engine::wire::segment::{Flags, Segment};
use engine::wire::seq::Seq;

/// Where the numbers of a connection are counted from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base {
    /// The SYN of the sender.
    pub(crate) seq: Seq,
    /// The SYN of the other side.
    pub(crate) ack: Seq,
    /// The sender's first timestamp, and the other side's.
    pub(crate) timestamp: u32,
    pub(crate) echo: u32,
}

/// A moment in seconds.
pub(crate) fn time(at: Micros) -> String {
    format!("{}.{:06}", at.0 / 1_000_000, at.0 % 1_000_000)
}

pub(crate) fn flags(flags: Flags) -> String {
    let letters = [
        (flags.syn, 'S'),
        (flags.fin, 'F'),
        (flags.rst, 'R'),
        (flags.psh, 'P'),
        (flags.ece, 'E'),
        (flags.cwr, 'W'),
        (flags.ack, '.'),
    ];
    let set: String = letters
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, letter)| letter)
        .collect();
    if set.is_empty() { "-".to_owned() } else { set }
}

/// `FLAGS FROM:TO ack N win N <options>`.
pub(crate) fn segment(segment: &Segment, base: Base) -> String {
    let from = relative(segment.seq, base.seq);
    let to = from + segment.payload_at.len() as i64;
    let marks = match segment.flags {
        Flags { ce: true, .. } => "ce ",
        Flags { ect: true, .. } => "ect ",
        _ => "",
    };
    let mut text = format!("{marks}{} {from}:{to}", flags(segment.flags));
    if segment.flags.ack {
        text += &format!(" ack {}", relative(segment.ack, base.ack));
    }
    text += &format!(" win {}", segment.window);
    let options = options(segment, base);
    if !options.is_empty() {
        text += &format!(" <{options}>");
    }
    text
}

fn options(segment: &Segment, base: Base) -> String {
    let options = &segment.options;
    let mut parts = Vec::new();
    parts.extend(options.mss.map(|mss| format!("mss {mss}")));
    parts.extend(options.window_scale.map(|shift| format!("wscale {shift}")));
    parts.extend(options.sack_permitted.then(|| "sackOK".to_owned()));
    if let Some((value, echo)) = options.timestamps {
        let value = i64::from(value.wrapping_sub(base.timestamp).cast_signed());
        let echo = i64::from(echo.wrapping_sub(base.echo).cast_signed());
        parts.push(format!("ts {value} {echo}"));
    }
    let blocks: Vec<String> = options
        .sacks
        .iter()
        .flatten()
        .map(|(from, to)| format!("{}:{}", relative(*from, base.ack), relative(*to, base.ack)))
        .collect();
    if !blocks.is_empty() {
        parts.push(format!("sack {}", blocks.join(" ")));
    }
    parts.join(",")
}

pub(crate) fn relative(seq: Seq, base: Seq) -> i64 {
    i64::from(seq.since(base))
}
