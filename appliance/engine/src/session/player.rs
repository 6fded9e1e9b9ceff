//! One connection above TCP: from the upgrade request to the close frame.
//!
//! Fixed-size record but for the user's name and info, which are made once by the connect command.
//! What a player holds of the chunk pool (`input`, `held`, `private`, the decoder) is given back in
//! `Sessions::release`, the only way a record goes.

use crate::memory::chunk::Chain;
use crate::memory::slab::NONE;
use crate::session::codes::Disconnect;
use crate::units::{ConnId, Micros};
use crate::ws::message::Decoder;

/// Commands of one player that may wait for the journal at once.
pub const PENDING_MAX: u8 = 16;

/// Unacknowledged echo bytes from which on no further message is read: a window's worth, so that a
/// reader that keeps up never waits. More only fills the pool.
pub const ECHO_BYTES_MAX: usize = 65_536;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the upgrade request.
    Request,
    /// Upgraded; waiting for the connect command.
    Upgraded,
    /// Connect was accepted.
    Connected,
    /// Every message is sent back (`session::echo`).
    Echo,
    /// The last bytes are queued; nothing more is read.
    Closing,
}

/// One connection's session.
#[derive(Debug)]
pub struct Player {
    /// Its connection.
    pub conn: ConnId,
    /// How far it has come.
    pub phase: Phase,
    /// Has bytes for its connection and is on the list of those to serve.
    pub touched: bool,
    /// A ping is unanswered.
    pub awaits_pong: bool,
    /// FIN was asked for.
    pub finished: bool,
    /// Commands waiting for the journal.
    pub pending: u8,
    /// Subscriptions held and asked for.
    pub subscription_count: u32,
    /// First subscription, or `NONE`.
    pub subscriptions: u32,
    /// What the decoder is in the middle of.
    pub decoder: Decoder,
    /// The unfinished upgrade request.
    pub input: Chain,
    /// Commands that wait because an earlier one waits for the journal; in `Phase::Echo` the bytes
    /// that wait for room.
    pub held: Chain,
    /// Replies: from the first byte not acknowledged to the last one not yet placed.
    pub private: Chain,
    /// Stream position in `private` up to which bytes were placed into the TCP stream.
    pub placed: u32,
    /// When the next deadline of this phase is.
    pub deadline: Micros,
    /// When the connection expires; `NEVER` without expiry.
    pub expires: Micros,
    /// Random id that other players see, as text (UUID form).
    pub client: [u8; 36],
    /// The user's id; empty means anonymous.
    pub user: Box<str>,
    /// JSON others see about the player, or empty.
    pub info: Box<[u8]>,
    /// Why it is being closed, if by us.
    pub reason: Option<Disconnect>,
}

impl Player {
    /// A session for a connection just opened.
    pub fn new(conn: ConnId, deadline: Micros) -> Player {
        Player {
            conn,
            phase: Phase::Request,
            touched: false,
            awaits_pong: false,
            finished: false,
            pending: 0,
            subscription_count: 0,
            subscriptions: NONE,
            decoder: Decoder::default(),
            input: Chain::default(),
            held: Chain::default(),
            private: Chain::default(),
            placed: 0,
            deadline,
            expires: Micros::NEVER,
            client: [b'0'; 36],
            user: "".into(),
            info: Box::default(),
            reason: None,
        }
    }

    /// Whether what it sends is looked at now.
    pub fn reads(&self) -> bool {
        match self.phase {
            Phase::Request | Phase::Upgraded | Phase::Connected => true,
            Phase::Echo => self.private.len() <= ECHO_BYTES_MAX,
            Phase::Closing => false,
        }
    }

    /// Reply bytes not yet placed into the TCP stream.
    pub fn unplaced(&self) -> u32 {
        self.private.end().wrapping_sub(self.placed)
    }
}
