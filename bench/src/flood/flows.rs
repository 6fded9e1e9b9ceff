//! The connections of others, learned from the appliance's segments to them.
//!
//! Bound: [`FLOWS_MAX`]; connections beyond are left in peace.

use std::collections::HashMap;
use std::net::SocketAddrV4;

const FLOWS_MAX: usize = 10_000;

/// One connection, seen from the appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) address: u32,
    pub(super) port: u16,
    /// What the appliance expects next.
    pub(super) rcv_nxt: u32,
    /// What the appliance sends next.
    pub(super) snd_nxt: u32,
}

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: Vec<Flow>,
    places: HashMap<(u32, u16), usize>,
}

impl Flows {
    /// Looks at a frame; learns if it is a segment with an acknowledgement that `from` sent.
    pub(super) fn learn(&mut self, frame: &[u8], from: SocketAddrV4) {
        let Some(flow) = parse(frame, from) else {
            return;
        };
        match self.places.get(&(flow.address, flow.port)) {
            Some(place) => self.flows[*place] = flow,
            None if self.flows.len() < FLOWS_MAX => {
                self.places
                    .insert((flow.address, flow.port), self.flows.len());
                self.flows.push(flow);
            }
            None => {}
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// One of them, round about.
    pub(super) fn get(&self, turn: usize) -> Option<Flow> {
        self.flows.get(turn.checked_rem(self.flows.len())?).copied()
    }
}

fn parse(frame: &[u8], from: SocketAddrV4) -> Option<Flow> {
    let number = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
    let short = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let is_tcp = frame.get(12..15)? == [0x08, 0x00, 0x45] && *frame.get(23)? == 6;
    if !is_tcp || number(26)? != from.ip().to_bits() || short(34)? != from.port() {
        return None;
    }
    let flags = *frame.get(47)?;
    // An established connection: ACK, no SYN, no RST.
    if flags & 0x16 != 0x10 {
        return None;
    }
    let header_bytes = 20 + u32::from(frame.get(46)? >> 4) * 4;
    let payload_bytes = u32::from(short(16)?).checked_sub(header_bytes)?;
    Some(Flow {
        address: number(30)?,
        port: short(36)?,
        rcv_nxt: number(42)?,
        snd_nxt: number(38)?.wrapping_add(payload_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_from_the_appliance_only() {
        let from: SocketAddrV4 = "10.9.0.1:8000".parse().unwrap();
        let mut frame = vec![0; 12];
        frame.extend([
            8, 0, 0x45, 0, 0, 45, 0, 0, 0, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
        ]);
        frame.extend([
            0x1f, 0x40, 0x03, 0xe8, 0, 0, 0, 100, 0, 0, 0, 7, 0x50, 0x10, 9, 9, 0, 0, 0, 0,
        ]);
        frame.extend(b"hello");
        let mut flows = Flows::default();
        for cut in 0..54 {
            flows.learn(&frame[..cut], from);
        }
        flows.learn(&frame, "10.9.0.3:8000".parse().unwrap());
        flows.learn(&frame, "10.9.0.1:8001".parse().unwrap());
        let (rest, flags) = (frame.clone(), 47);
        for wrong in [0x02, 0x12, 0x14] {
            frame[flags] = wrong;
            flows.learn(&frame, from);
        }
        // A header that is cut off behind the acknowledgement is enough.
        assert!(flows.len() <= 1);
        flows.learn(&rest, from);
        let flow = Flow {
            address: 0x0a09_0002,
            port: 1_000,
            rcv_nxt: 7,
            snd_nxt: 105,
        };
        assert_eq!((flows.len(), flows.get(5)), (1, Some(flow)));
    }
}
