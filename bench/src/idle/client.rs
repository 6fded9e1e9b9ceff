//! Players as scripted segments: an address made from the player's number, and where both streams are.
//!
//! They follow TCP as far as an undisturbed connection goes: no loss, no reordering, every segment
//! acknowledged by the next one they send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, ensure};
use engine::port::FRAME_BYTES_MAX;
use engine::wire::emit::{Header, emit};
use engine::wire::parse::parse;
use engine::wire::segment::{Flags, Flow, Link, Options};
use engine::wire::seq::Seq;

/// Where the game listens.
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 8000);

/// The players' one port; they differ by address.
const PORT: u16 = 40_000;

/// The first player's address, as a number: 11.0.0.0.
const FIRST_ADDRESS: u32 = 11 << 24;

/// Key with which payloads are masked.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(super) const UPGRADE: &[u8] =
    b"GET /connection/websocket HTTP/1.1\r\nHost: game\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

#[derive(Debug, Clone, Copy, Default)]
struct Client {
    /// Next sequence number to send.
    seq: Seq,
    /// Next sequence number expected.
    ack: Seq,
    /// The server's newest timestamp.
    echo: u32,
}

/// All players.
#[derive(Debug)]
pub(super) struct Clients {
    clients: Vec<Client>,
    /// Milliseconds; moved by the world.
    pub(super) clock: u32,
}

/// A segment from the server, for one of them.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) player: u32,
    pub(super) payload_at: std::ops::Range<usize>,
}

impl Clients {
    pub(super) fn new(count: u32) -> Clients {
        let client = |number: u32| Client {
            // Something other than zero, so that the memory is really there.
            seq: Seq(number.wrapping_mul(0x9e37_79b9) | 1),
            ..Client::default()
        };
        Clients {
            clients: (0..count).map(client).collect(),
            clock: 1,
        }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.clients.len()).unwrap_or(u32::MAX)
    }

    /// A segment of `player` with this payload, written to `frame`.
    pub(super) fn segment(&mut self, player: u32, syn: bool, payload: &[u8], frame: &mut Vec<u8>) {
        let client = &mut self.clients[player as usize];
        let address = Ipv4Addr::from_bits(FIRST_ADDRESS + player);
        let header = Header {
            link: Link {
                peer_mac: [2, 0, 0, 0, 0, 2],
                local_mac: [2, 0, 0, 0, 0, 1],
                vlan: None,
            },
            flow: Flow {
                local: SocketAddr::new(address.into(), PORT).into(),
                remote: SERVER.into(),
            },
            seq: client.seq,
            ack: client.ack,
            flags: Flags {
                syn,
                ack: !syn,
                psh: !payload.is_empty(),
                ..Flags::default()
            },
            window: u16::MAX,
            options: Options {
                mss: syn.then_some(1460),
                window_scale: syn.then_some(7),
                sack_permitted: syn,
                timestamps: Some((self.clock, client.echo)),
                ..Options::default()
            },
        };
        frame.resize(FRAME_BYTES_MAX, 0);
        let length = emit(frame, &header, payload.len(), |out| {
            out.copy_from_slice(payload);
            true
        });
        frame.truncate(length);
        // A payload is shorter than a frame.
        client.seq = client.seq + u32::try_from(payload.len()).unwrap_or(0) + u32::from(syn);
    }

    /// Takes a segment from the server; it must be the next one of its stream.
    pub(super) fn take(&mut self, frame: &[u8]) -> anyhow::Result<Arrived> {
        let segment = parse(frame)
            .ok()
            .context("the server sent what does not parse")?;
        let IpAddr::V4(to) = segment.flow.local.ip() else {
            anyhow::bail!("the server sent to a stranger");
        };
        let player = to.to_bits().wrapping_sub(FIRST_ADDRESS);
        let client = self
            .clients
            .get_mut(player as usize)
            .context("the server sent to a stranger")?;
        ensure!(!segment.flags.rst, "player {player} was reset");
        if segment.flags.syn {
            client.ack = segment.seq;
        }
        ensure!(
            segment.seq == client.ack,
            "player {player} was sent {:?}, expected {:?}",
            segment.seq,
            client.ack
        );
        client.ack = client.ack + segment.sequence_length();
        client.echo = segment.options.timestamps.map_or(0, |(value, _)| value);
        Ok(Arrived {
            player,
            payload_at: segment.payload_at,
        })
    }
}

/// A short masked text frame.
pub(super) fn text(payload: &str) -> Vec<u8> {
    // Every command here is shorter than 126 bytes.
    let mut frame = vec![0x81, 0x80 | u8::try_from(payload.len()).unwrap_or(0)];
    frame.extend_from_slice(&MASK);
    let masked = payload.bytes().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}
