//! Which segment is next.
//!
//! Offsets from the sequence number that the appliance expects are chosen near it, at the window's
//! middle and ends, behind it and at the far side of the circle, and at random. None is one that the
//! player's own progress could turn into the expected number meanwhile: a player's shortest frame is
//! six bytes long, and no message of it here is longer than [`PROGRESS_BYTES`] in all.

use super::flows::{Flow, Flows};
use super::options::{Kind, Options};
use super::segment::{FLAG_PSH_ACK, FLAG_RST, FLAG_SYN, Fields, Template};
use crate::dice::Dice;

/// What players may send between two looks at their connections.
const PROGRESS_BYTES: u32 = 4_096;

/// See the file's header; 2^31 is the far side, as the most negative difference. No two differ by one:
/// where a SYN inside begins a handshake of its own (on another core, which does not know the
/// connection), an RST at the next number would match that.
const OFFSETS: [i32; 12] = [
    1,
    3,
    5,
    16_381,
    32_749,
    65_521,
    -1,
    -3,
    -1_021,
    -65_521,
    1_000_003,
    i32::MIN,
];

/// MSS 1460, SACK, timestamps, window scale 7: what Linux sends.
const SYN_OPTIONS: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// Padding and timestamps.
const DATA_OPTIONS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
/// A whole frame that would end the connection: a masked close with 1000 (RFC 6455 5.5.1).
const DATA: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// See the file's header.
#[derive(Debug)]
pub(super) struct Attack {
    kinds: Vec<Kind>,
    syn: Template,
    rst: Template,
    syn_inside: Template,
    data: Template,
    dice: Dice,
    turn: usize,
}

impl Attack {
    pub(super) fn new(options: &Options) -> Attack {
        let template = |flags, tcp_options: &[u8], payload: &[u8]| {
            Template::new(options.mac, options.to, flags, tcp_options, payload)
        };
        Attack {
            kinds: options.kind.clone(),
            syn: template(FLAG_SYN, &SYN_OPTIONS, b""),
            rst: template(FLAG_RST, b"", b""),
            syn_inside: template(FLAG_SYN, &SYN_OPTIONS, b""),
            data: template(FLAG_PSH_ACK, &DATA_OPTIONS, &DATA),
            dice: Dice::new(options.seed),
            turn: 0,
        }
    }

    /// Writes the next segment; its kind, or `None` while no connection was seen that it needs.
    pub(super) fn next(&mut self, flows: &Flows, out: &mut Vec<u8>) -> Option<Kind> {
        self.turn += 1;
        let kind = *self.kinds.get(self.turn % self.kinds.len().max(1))?;
        if kind == Kind::Syn {
            let [address, numbers] = [self.dice.draw(), self.dice.draw()];
            let fields = Fields {
                source: any_source(low(address)),
                // Any port but 0.
                port: 1 + u16::try_from(address >> 32 & 0xffff)
                    .unwrap_or(0)
                    .min(0xfffe),
                seq: low(numbers),
                ack: 0,
                timestamp: low(numbers >> 32),
            };
            self.syn.stamp(fields, out);
            return Some(kind);
        }
        let flow = flows.get(self.turn / self.kinds.len())?;
        let template = match kind {
            Kind::Rst => &self.rst,
            Kind::SynInside => &self.syn_inside,
            _ => &self.data,
        };
        template.stamp(miss(&mut self.dice, flow), out);
        Some(kind)
    }
}

/// Numbers for `flow` that are wrong in the ways that the file's header names.
fn miss(dice: &mut Dice, flow: Flow) -> Fields {
    let offset = match OFFSETS.get(dice.index(2 * OFFSETS.len())) {
        Some(offset) => offset.cast_unsigned(),
        None => PROGRESS_BYTES + low(dice.below(u64::from(u32::MAX - PROGRESS_BYTES))),
    };
    // RFC 5961 5.2 accepts what was sent or is at most a window old; a quarter of the circle ahead
    // and behind is neither.
    let quarter = 1 << 30;
    let away = quarter + low(dice.below(2 * u64::from(quarter)));
    Fields {
        source: flow.address,
        port: flow.port,
        seq: flow.rcv_nxt.wrapping_add(offset),
        ack: flow.snd_nxt.wrapping_add(away),
        timestamp: low(dice.draw()),
    }
}

/// The lower half.
fn low(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}

/// An address that a host can have: what is reserved (0, 127, 224 and above) is moved below.
fn any_source(address: u32) -> u32 {
    match address >> 24 {
        0 | 127 | 224.. => (address & 0x00ff_ffff) | 0x0b00_0000,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn never_the_expected_number_nor_an_acceptable_acknowledgement() {
        let flow = Flow {
            address: 1,
            port: 2,
            rcv_nxt: 0xffff_fff0,
            snd_nxt: 77,
        };
        let mut dice = Dice::new(3);
        for _ in 0..200_000 {
            let fields = miss(&mut dice, flow);
            let ahead = fields.seq.wrapping_sub(flow.rcv_nxt);
            assert!(
                (1..6).contains(&ahead) || ahead >= PROGRESS_BYTES,
                "{ahead}"
            );
            let ack = fields.ack.wrapping_sub(flow.snd_nxt);
            assert!((1 << 30..3 << 30).contains(&ack), "{ack}");
        }
    }

    #[test]
    fn injection_waits_for_a_connection() {
        let line = "flood if --to 10.9.0.1:8000 --mac 02:00:00:00:00:01 --kind rst,syn";
        let options = Options::parse_from(line.split(' '));
        let mut attack = Attack::new(&options);
        let mut out = Vec::new();
        let kinds = [(); 4].map(|()| attack.next(&Flows::default(), &mut out));
        assert_eq!(
            kinds
                .iter()
                .filter(|kind| **kind == Some(Kind::Syn))
                .count(),
            2
        );
        assert_eq!(kinds.iter().filter(|kind| kind.is_none()).count(), 2);
    }
}
