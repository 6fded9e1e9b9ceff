//! TCP segments in IPv4 packets as the raw peer writes and reads them. Written apart from the
//! engine's `wire`, so that the two share no mistake; builds what is well formed, and the cases spoil
//! the bytes afterwards. RFC 791, RFC 9293 3.1, RFC 7323, RFC 2018.

use std::fmt;

pub const FIN: u16 = 0x01;
pub const SYN: u16 = 0x02;
pub const RST: u16 = 0x04;
pub const PSH: u16 = 0x08;
pub const ACK: u16 = 0x10;
pub const URG: u16 = 0x20;
pub const ECE: u16 = 0x40;
pub const CWR: u16 = 0x80;
/// The four bits that RFC 9293 3.1 reserves.
pub const RESERVED: u16 = 0xf00;

/// Bytes of an IPv4 header without options.
pub const IP: usize = 20;

/// A TCP option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opt {
    Nop,
    Mss(u16),
    Scale(u8),
    SackOk,
    Sack(Vec<(u32, u32)>),
    Ts(u32, u32),
    /// Anything, as it stands on the wire.
    Raw(Vec<u8>),
}

/// A TCP segment with its addresses.
#[derive(Debug, Clone)]
pub struct Seg {
    pub from: ([u8; 4], u16),
    pub to: ([u8; 4], u16),
    pub seq: u32,
    pub ack: u32,
    /// The twelve bits behind the data offset.
    pub flags: u16,
    pub window: u16,
    pub urgent: u16,
    pub options: Vec<Opt>,
    pub payload: Vec<u8>,
    /// A router must not fragment it.
    pub dont_fragment: bool,
}

impl Seg {
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// These of the six classic flags and no other.
    pub fn is(&self, flags: u16) -> bool {
        self.flags & 0x3f & !PSH == flags & !PSH
    }

    /// Payload bytes.
    pub fn len(&self) -> u32 {
        self.payload.len() as u32
    }

    /// Sequence number behind the payload.
    pub fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len())
    }

    pub fn mss(&self) -> Option<u16> {
        self.options.iter().find_map(|option| match option {
            Opt::Mss(mss) => Some(*mss),
            _ => None,
        })
    }

    pub fn scale(&self) -> Option<u8> {
        self.options.iter().find_map(|option| match option {
            Opt::Scale(scale) => Some(*scale),
            _ => None,
        })
    }

    pub fn ts(&self) -> Option<(u32, u32)> {
        self.options.iter().find_map(|option| match option {
            Opt::Ts(value, echo) => Some((*value, *echo)),
            _ => None,
        })
    }

    pub fn sack_ok(&self) -> bool {
        self.options.contains(&Opt::SackOk)
    }

    /// SACK blocks, none without the option.
    pub fn sack(&self) -> Vec<(u32, u32)> {
        let blocks = self.options.iter().find_map(|option| match option {
            Opt::Sack(blocks) => Some(blocks.clone()),
            _ => None,
        });
        blocks.unwrap_or_default()
    }

    /// Bytes of the TCP header.
    pub fn header_len(&self) -> usize {
        20 + emit_options(&self.options).len()
    }

    /// The TCP segment with a right checksum.
    pub fn tcp(&self) -> Vec<u8> {
        let options = emit_options(&self.options);
        let mut tcp = Vec::new();
        tcp.extend(self.from.1.to_be_bytes());
        tcp.extend(self.to.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let words = (5 + options.len() / 4) as u16;
        tcp.extend((words << 12 | self.flags).to_be_bytes());
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urgent.to_be_bytes());
        tcp.extend(options);
        tcp.extend(&self.payload);
        seal_tcp(&mut tcp, self.from.0, self.to.0);
        tcp
    }

    /// The IPv4 packet.
    pub fn packet(&self) -> Vec<u8> {
        let bits = if self.dont_fragment { 0x4000 } else { 0 };
        packet(self.from.0, self.to.0, 6, bits, &[], &self.tcp())
    }

    /// Reads a packet; an error says what is wrong with it.
    pub fn parse(packet: &[u8]) -> Result<Seg, String> {
        let header = usize::from(packet[0] & 15) * 4;
        let total = usize::from(be16(&packet[2..]));
        let well_formed = packet[0] >> 4 == 4 && header >= IP && total <= packet.len();
        if !well_formed || total < header + 20 {
            return Err(format!("bad IPv4 header {:x?}", &packet[..IP]));
        }
        if sum(&packet[..header]) != 0xffff {
            return Err("bad IPv4 checksum".to_owned());
        }
        let tcp = &packet[header..total];
        let (from, to) = (four(&packet[12..]), four(&packet[16..]));
        if sum(&[&pseudo(from, to, 6, tcp.len()), tcp].concat()) != 0xffff {
            return Err("bad TCP checksum".to_owned());
        }
        let data = usize::from(tcp[12] >> 4) * 4;
        if data < 20 || data > tcp.len() {
            return Err(format!("bad data offset {data}"));
        }
        Ok(Seg {
            from: (from, be16(tcp)),
            to: (to, be16(&tcp[2..])),
            seq: be32(&tcp[4..]),
            ack: be32(&tcp[8..]),
            flags: be16(&tcp[12..]) & 0xfff,
            window: be16(&tcp[14..]),
            urgent: be16(&tcp[18..]),
            options: parse_options(&tcp[20..data])?,
            payload: tcp[data..].to_vec(),
            dont_fragment: packet[6] & 0x40 != 0,
        })
    }
}

impl fmt::Display for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (SYN, 'S'),
            (FIN, 'F'),
            (RST, 'R'),
            (PSH, 'P'),
            (ACK, '.'),
            (URG, 'U'),
            (ECE, 'E'),
            (CWR, 'W'),
        ];
        let flags: String = names
            .iter()
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, name)| *name)
            .collect();
        let (seq, ack, window) = (self.seq, self.ack, self.window);
        write!(
            f,
            "{flags:4} seq {seq}+{} ack {ack} win {window}",
            self.len()
        )?;
        for option in &self.options {
            if *option != Opt::Nop {
                write!(f, " {option:?}")?;
            }
        }
        Ok(())
    }
}

/// An IPv4 packet with a right header checksum; `bits` are flags and fragment offset.
pub fn packet(
    from: [u8; 4],
    to: [u8; 4],
    protocol: u8,
    bits: u16,
    options: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let header = IP + options.len();
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + body.len()) as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(bits.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(options);
    seal_ip(&mut packet);
    packet.extend(body);
    packet
}

/// Writes the checksum of the header that `packet` begins with.
pub fn seal_ip(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let header = usize::from(packet[0] & 15) * 4;
    let checksum = !sum(&packet[..header.min(packet.len())]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Writes the checksum of a TCP segment.
pub fn seal_tcp(tcp: &mut [u8], from: [u8; 4], to: [u8; 4]) {
    tcp[16..18].fill(0);
    let checksum = !sum(&[&pseudo(from, to, 6, tcp.len()), &*tcp].concat());
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
}

/// An ICMP error about `original`: the header and eight bytes of it come back (RFC 792).
pub fn icmp_error(
    from: [u8; 4],
    to: [u8; 4],
    kind: u8,
    code: u8,
    mtu: u16,
    original: &[u8],
) -> Vec<u8> {
    let mut body = vec![kind, code, 0, 0, 0, 0];
    body.extend(mtu.to_be_bytes());
    body.extend(&original[..IP + 8]);
    let checksum = !sum(&body);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet(from, to, 1, 0, &[], &body)
}

fn pseudo(from: [u8; 4], to: [u8; 4], protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = [from, to].concat();
    bytes.extend([0, protocol]);
    bytes.extend((length as u16).to_be_bytes());
    bytes
}

/// The ones-complement sum of RFC 1071.
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn emit_options(options: &[Opt]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for option in options {
        match option {
            Opt::Nop => bytes.push(1),
            Opt::Mss(mss) => {
                bytes.extend([2, 4]);
                bytes.extend(mss.to_be_bytes());
            }
            Opt::Scale(scale) => bytes.extend([3, 3, *scale]),
            Opt::SackOk => bytes.extend([4, 2]),
            Opt::Sack(blocks) => {
                bytes.extend([5, 2 + 8 * blocks.len() as u8]);
                for (start, end) in blocks {
                    bytes.extend(start.to_be_bytes());
                    bytes.extend(end.to_be_bytes());
                }
            }
            Opt::Ts(value, echo) => {
                bytes.extend([8, 10]);
                bytes.extend(value.to_be_bytes());
                bytes.extend(echo.to_be_bytes());
            }
            Opt::Raw(raw) => bytes.extend(raw),
        }
    }
    // Ends with "end of options" and zeros.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn parse_options(mut bytes: &[u8]) -> Result<Vec<Opt>, String> {
    let mut options = Vec::new();
    while let [kind, rest @ ..] = bytes {
        match kind {
            0 => break,
            1 => {
                options.push(Opt::Nop);
                bytes = rest;
                continue;
            }
            _ => {}
        }
        let length = usize::from(*rest.first().unwrap_or(&0));
        if length < 2 || length > bytes.len() {
            return Err(format!("bad option {bytes:x?}"));
        }
        let (option, after) = bytes.split_at(length);
        let value = &option[2..];
        options.push(match (kind, value.len()) {
            (2, 2) => Opt::Mss(be16(value)),
            (3, 1) => Opt::Scale(value[0]),
            (4, 0) => Opt::SackOk,
            (5, 8 | 16 | 24 | 32) => {
                let blocks = value.chunks(8);
                Opt::Sack(blocks.map(|b| (be32(b), be32(&b[4..]))).collect())
            }
            (8, 8) => Opt::Ts(be32(value), be32(&value[4..])),
            _ => Opt::Raw(option.to_vec()),
        });
        bytes = after;
    }
    Ok(options)
}

pub fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

pub fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub fn four(bytes: &[u8]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}
