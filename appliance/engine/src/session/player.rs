//! One connection above TCP: from the upgrade request to the close frame.
//!
//! Fixed-size record but for the name and info that a token brings, which are made once by the connect
//! command; an idle anonymous player owns no heap. What a player holds of the chunk pool (`held`,
//! `private`, the decoder) is given back in `Sessions::release`, the only way a record goes.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::hunt::encode::Variant;
use crate::memory::chunk::{Chain, Gather};
use crate::memory::slab::NONE;
use crate::session::codec::Protocol;
use crate::session::connect::Connecting;
use crate::session::position::Pace;
use crate::session::terms::Terms;
use crate::session::users::Peers;
use crate::units::{ConnId, Micros, Moment};
use crate::ws::deflate::Agreed;
use crate::ws::message::Decoder;

/// Commands of one player that may wait for the journal at once.
pub const PENDING_MAX: u8 = 16;

/// Unacknowledged echo bytes from which on no further message is read: a window's worth, so that a
/// reader that keeps up never waits. More only fills the pool.
pub const ECHO_BYTES_MAX: usize = 65_536;

/// A reply from so many bytes on must not make its player look slow: shorter ones are well below
/// `client.lag_bytes_max`.
const LONG_REPLY_BYTES: usize = 64 * 1024;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the upgrade request.
    Request,
    /// Upgraded; waiting for the connect command.
    Upgraded,
    /// Connect is accepted, and its reply waits for what it has to tell; the deadline is that of an
    /// upgraded one.
    Connecting,
    /// Connect was refused; what else comes is dropped, and the deadline is that of an upgraded one.
    Refused,
    /// Connect was accepted.
    Connected,
    /// Every message is sent back (`session::echo`).
    Echo,
    /// The last bytes are queued; nothing more is read.
    Closing,
}

/// What was agreed at the upgrade, and how far the end has come: yes or no, in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// Messages are Protocol Buffers, not JSON.
    pub const PROTOBUF: Flags = Flags(1);
    /// Pings are WebSocket's own, not messages.
    pub const FRAME_PINGS: Flags = Flags(2);
    /// FIN was asked for.
    pub const FINISHED: Flags = Flags(4);
    /// Compressed messages were agreed to.
    pub const DEFLATE: Flags = Flags(8);
    /// With too small a window for what is compressed for many.
    pub const DEFLATE_NARROW: Flags = Flags(16);
    /// It gets bare pushes and is not listened to.
    pub const UNIDIRECTIONAL: Flags = Flags(32);
    /// A subscription of it is still being told what it missed.
    pub const BEHIND: Flags = Flags(64);
    /// Its SDK can tell hunts by number, if it says so.
    pub const TAKES_NUMBERS: Flags = Flags(128);

    /// Whether `flag` is set.
    pub fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    /// Sets `flag` if `when`; never takes one back.
    pub fn set(&mut self, flag: Flags, when: bool) {
        if when {
            self.0 |= flag.0;
        }
    }

    /// Takes `flag` back.
    pub fn clear(&mut self, flag: Flags) {
        self.0 &= !flag.0;
    }
}

/// What is known of a player besides what everyone has: what its token says, and the terms of its
/// subscriptions.
#[derive(Debug)]
pub struct Bearer {
    /// The user's id.
    pub user: Box<str>,
    /// JSON that others see about the player, or empty.
    pub info: Box<[u8]>,
    /// When the connection expires; `NEVER` without expiry.
    pub expires: Micros,
    /// Its user's other connections, while it is listed.
    pub peers: Option<Peers>,
    /// Of its subscriptions that have any.
    pub terms: Vec<Terms>,
    /// Where the next page of what it missed is.
    pub paging: Paging,
    /// The reply to its connect, in the making.
    pub connecting: Option<Box<Connecting>>,
    /// Bytes of a long reply that it asked for and may not have taken yet: it is not slow for them.
    pub long_reply: u32,
    /// How fast it sends positions.
    pub pace: Pace,
}

/// The next page of what a player missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// Not asked for.
    Idle,
    /// Not asked for until there is room.
    Waits,
    /// Asked of the journal by the submission with this token.
    Asked(u64),
}

impl Default for Bearer {
    fn default() -> Bearer {
        Bearer {
            user: Box::default(),
            info: Box::default(),
            expires: Micros::NEVER,
            peers: None,
            terms: Vec::new(),
            paging: Paging::Idle,
            connecting: None,
            long_reply: 0,
            pace: Pace::default(),
        }
    }
}

/// The id of a connection that other players see: a UUID that says nothing to them. Not kept, but made
/// from the connection and a key whenever it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// Length of the text form.
    pub const TEXT_BYTES: usize = 36;

    /// The id of connection `id`: a UUID of version 8 (RFC 9562 section 5.8), as random as the key.
    pub fn new(key: [u64; 2], id: ConnId) -> ClientId {
        let mut hasher = SipHasher24::new_with_keys(key[0], key[1]);
        hasher.write_u64(id.to_bits());
        ClientId::from_random(hasher.finish128().as_bytes())
    }

    fn from_random(mut bytes: [u8; 16]) -> ClientId {
        bytes[6] = 0x80 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        ClientId(bytes)
    }

    /// The text form (RFC 9562 section 4), written to `buffer`.
    pub fn text(self, buffer: &mut [u8; ClientId::TEXT_BYTES]) -> &str {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        *buffer = [b'-'; ClientId::TEXT_BYTES];
        let places = (0..ClientId::TEXT_BYTES).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (place, nibble) in places.zip(nibbles) {
            buffer[place] = HEX[usize::from(nibble)];
        }
        std::str::from_utf8(buffer).unwrap_or("")
    }
}

/// One connection's session. The first 32 bytes are all that an event to this player needs, and lie in
/// one cache line; the others are for its own commands and its deadlines.
#[derive(Debug)]
#[repr(C, align(32))]
pub struct Player {
    /// Replies: from the first byte not acknowledged to the last one not yet placed.
    pub private: Chain,
    /// Stream position in `private` up to which bytes were placed into the TCP stream.
    pub placed: u32,
    /// First subscription, or `NONE`.
    pub subscriptions: u32,
    /// Tells this connection from others that had the same slot.
    pub generation: u32,
    /// How far it has come.
    pub phase: Phase,
    /// A ping is unanswered.
    pub awaits_pong: bool,
    /// See there.
    pub flags: Flags,
    /// Commands waiting for the journal.
    pub pending: u8,
    /// Who it is; nobody in particular without a token.
    pub bearer: Option<Box<Bearer>>,
    /// When the next deadline of this phase is.
    pub deadline: Moment,
    /// Subscriptions held and asked for.
    pub subscription_count: u16,
    /// What waits for more: the unfinished upgrade request, later commands behind one that waits for
    /// the journal.
    pub held: Gather,
    /// What the decoder is in the middle of.
    pub decoder: Decoder,
}

// What a token costs besides its texts (docs/memory.md).
const _: () = assert!(size_of::<Bearer>() == 112);

// A player costs no more than this, also when the place is empty (docs/memory.md).
const _: () = assert!(size_of::<Option<Player>>() == 96);
const _: () = assert!(std::mem::offset_of!(Player, bearer) == 32);

impl Player {
    /// A session for a connection just opened.
    pub fn new(conn: ConnId, deadline: Micros) -> Player {
        Player {
            private: Chain::default(),
            placed: 0,
            subscriptions: NONE,
            generation: conn.generation,
            phase: Phase::Request,
            awaits_pong: false,
            flags: Flags::default(),
            pending: 0,
            bearer: None,
            deadline: deadline.into(),
            subscription_count: 0,
            held: Gather::default(),
            decoder: Decoder::default(),
        }
    }

    /// Its connection; `slot` is where it stands.
    pub fn id(&self, slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: self.generation,
        }
    }

    /// Which bytes of events it takes.
    pub fn variant(&self) -> Variant {
        let uni = self.flags.has(Flags::UNIDIRECTIONAL);
        let inflates_all = self.deflate() == Agreed::Shared;
        Variant::PLAIN
            .and_if(self.flags.has(Flags::PROTOBUF), Variant::PROTOBUF)
            .and_if(inflates_all, Variant::DEFLATE)
            .and_if(uni, Variant::UNIDIRECTIONAL)
    }

    /// How its messages are written.
    pub fn protocol(&self) -> Protocol {
        match self.flags.has(Flags::PROTOBUF) {
            true => Protocol::Protobuf,
            false => Protocol::Json,
        }
    }

    /// When the connection expires; `NEVER` without expiry.
    pub fn expires(&self) -> Micros {
        let bearer = self.bearer.as_ref();
        bearer.map_or(Micros::NEVER, |bearer| bearer.expires)
    }

    /// When the clock next has something to do with it.
    pub fn due(&self) -> Micros {
        let expiry = self.expires().min(self.first_expiry());
        Micros::from(self.deadline).min(expiry)
    }

    /// The user's id; empty means anonymous.
    pub fn user(&self) -> &str {
        self.bearer.as_ref().map_or("", |bearer| &bearer.user)
    }

    /// JSON that others see about the player, or empty.
    pub fn info(&self) -> &[u8] {
        self.bearer.as_ref().map_or(&[], |bearer| &bearer.info)
    }

    /// What was agreed about compression.
    pub fn deflate(&self) -> Agreed {
        match (
            self.flags.has(Flags::DEFLATE),
            self.flags.has(Flags::DEFLATE_NARROW),
        ) {
            (false, _) => Agreed::No,
            (true, false) => Agreed::Shared,
            (true, true) => Agreed::Narrow,
        }
    }

    /// Whether what it sends is looked at now.
    pub fn reads(&self) -> bool {
        match self.phase {
            Phase::Request
            | Phase::Upgraded
            | Phase::Connecting
            | Phase::Refused
            | Phase::Connected => true,
            Phase::Echo => self.private.len() <= ECHO_BYTES_MAX,
            Phase::Closing => false,
        }
    }

    /// A reply of `bytes` bytes is on its way.
    pub fn expect(&mut self, bytes: usize) {
        if bytes >= LONG_REPLY_BYTES {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let long_reply = &mut self.bearer.get_or_insert_default().long_reply;
            *long_reply = long_reply.saturating_add(bytes);
        }
    }

    /// See [`Bearer::long_reply`].
    pub fn long_reply(&self) -> u32 {
        self.bearer.as_ref().map_or(0, |bearer| bearer.long_reply)
    }

    /// Reply bytes not yet placed into the TCP stream.
    pub fn unplaced(&self) -> u32 {
        self.private.end().wrapping_sub(self.placed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_is_a_uuid_of_its_own() {
        let mut buffer = [0; ClientId::TEXT_BYTES];
        let id =
            ClientId::from_random(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes());
        assert_eq!(id.text(&mut buffer), "01234567-89ab-8def-bedc-ba9876543210");
        let id = |slot, generation| ClientId::new([1, 2], ConnId { slot, generation });
        assert_eq!(id(1, 1), id(1, 1));
        assert_ne!(id(1, 1), id(1, 3));
        assert_ne!(id(1, 1), id(2, 1));
        let elsewhere = ClientId::new(
            [1, 3],
            ConnId {
                slot: 1,
                generation: 1,
            },
        );
        assert_ne!(id(1, 1), elsewhere);
    }
}
