//! Prebuilt TCP segments over IPv4: most of a frame and of its checksums is made once, each copy only
//! adds what varies (RFC 1071 2: the sum can be taken in any order).

use std::net::SocketAddrV4;

/// Begin of the TCP header in a frame without IP options.
const TCP_AT: usize = 34;
/// Where every frame comes from: a locally administered address that nobody has.
const SOURCE_MAC: [u8; 6] = [0x02, 0xba, 0xad, 0xf1, 0x00, 0xd5];

pub(super) const FLAG_SYN: u8 = 0x02;
pub(super) const FLAG_RST: u8 = 0x04;
pub(super) const FLAG_PSH_ACK: u8 = 0x18;

/// What differs between two copies.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    pub(super) source: u32,
    pub(super) port: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// Value of the timestamp option, if the template has one.
    pub(super) timestamp: u32,
}

/// A frame in which the [`Fields`] and the checksums are zero.
#[derive(Debug)]
pub(super) struct Template {
    frame: Vec<u8>,
    ip_sum: u32,
    tcp_sum: u32,
    timestamp_at: Option<usize>,
}

impl Template {
    /// A segment to `to`; `options` is a multiple of four bytes, and a timestamp option in it begins
    /// with kind 8, length 10.
    pub(super) fn new(
        mac: [u8; 6],
        to: SocketAddrV4,
        flags: u8,
        options: &[u8],
        payload: &[u8],
    ) -> Template {
        let tcp_bytes = 20 + options.len() + payload.len();
        let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
        let mut frame = [&mac[..], &SOURCE_MAC, &[0x08, 0x00]].concat();
        frame.extend([0x45, 0]);
        frame.extend(length(20 + tcp_bytes));
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0]);
        frame.extend(to.ip().octets());
        frame.extend([0, 0]);
        frame.extend(to.port().to_be_bytes());
        let words = u8::try_from((20 + options.len()) / 4).unwrap_or(0);
        frame.extend([
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            words << 4,
            flags,
            0xfa,
            0xf0,
            0,
            0,
            0,
            0,
        ]);
        frame.extend_from_slice(options);
        frame.extend_from_slice(payload);
        let timestamp = options.windows(2).position(|pair| pair == [8, 10]);
        Template {
            ip_sum: sum(&frame[14..TCP_AT]),
            // With the pseudo-header: destination, protocol and length (RFC 9293 3.1).
            tcp_sum: sum(&frame[TCP_AT..]) + sum(&to.ip().octets()) + 6 + sum(&length(tcp_bytes)),
            timestamp_at: timestamp.map(|at| TCP_AT + 20 + at + 2),
            frame,
        }
    }

    /// A copy into `out` with `fields` in their places.
    pub(super) fn stamp(&self, fields: Fields, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.frame);
        out[26..30].copy_from_slice(&fields.source.to_be_bytes());
        out[TCP_AT..TCP_AT + 2].copy_from_slice(&fields.port.to_be_bytes());
        out[TCP_AT + 4..TCP_AT + 8].copy_from_slice(&fields.seq.to_be_bytes());
        out[TCP_AT + 8..TCP_AT + 12].copy_from_slice(&fields.ack.to_be_bytes());
        let mut tcp_sum = self.tcp_sum + halves(fields.source) + u32::from(fields.port);
        tcp_sum += halves(fields.seq) + halves(fields.ack);
        if let Some(at) = self.timestamp_at {
            out[at..at + 4].copy_from_slice(&fields.timestamp.to_be_bytes());
            tcp_sum += halves_at(at, fields.timestamp);
        }
        out[24..26].copy_from_slice(&complement(self.ip_sum + halves(fields.source)));
        out[TCP_AT + 16..TCP_AT + 18].copy_from_slice(&complement(tcp_sum));
    }
}

/// The two words of a number at an even place, added.
fn halves(number: u32) -> u32 {
    (number >> 16) + (number & 0xffff)
}

/// The same at any place: at an odd one, a number's bytes belong to the other halves of the words.
fn halves_at(at: usize, number: u32) -> u32 {
    if at.is_multiple_of(2) {
        return halves(number);
    }
    let bytes = number.to_be_bytes();
    sum(&[0, bytes[0], bytes[1], bytes[2], bytes[3], 0])
}

/// The sum of RFC 1071 of fewer than 64 KiB, not yet folded.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|word| {
        u32::from(u16::from_be_bytes([
            word[0],
            word.get(1).copied().unwrap_or(0),
        ]))
    });
    words.sum()
}

fn complement(mut sum: u32) -> [u8; 2] {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    [high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_right_for_any_fields() {
        let to = "10.9.0.1:8000".parse().unwrap();
        let timestamps: [&[u8]; 3] = [
            &[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0],
            &[1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[],
        ];
        for (options, payload) in timestamps.into_iter().zip([&b"odd"[..], b"", b"four"]) {
            let template = Template::new([2; 6], to, FLAG_PSH_ACK, options, payload);
            for number in [0, 1, 0xffff_ffff, 0x1234_5678, 0xffff_0000] {
                let fields = Fields {
                    source: number,
                    port: 0xfedc,
                    seq: !number,
                    ack: number.rotate_left(9),
                    timestamp: number.rotate_left(3),
                };
                let mut frame = Vec::new();
                template.stamp(fields, &mut frame);
                let tcp = &frame[TCP_AT..];
                let length = u32::try_from(tcp.len()).unwrap();
                assert_eq!(complement(sum(&frame[14..34])), [0, 0]);
                assert_eq!(
                    complement(sum(&frame[26..34]) + 6 + length + sum(tcp)),
                    [0, 0]
                );
                assert_eq!(frame[38..42], (!number).to_be_bytes());
            }
        }
    }
}
