//! Which connections a user has on this core, so that a backend can reach them without a look at every
//! player.
//!
//! An index leads from the user to one of its connections, and the records of the others hang on that one
//! in a list through their [`Bearer`](super::player::Bearer)s. A connection is in it from the connect
//! command that names its user until it leaves (`Sessions::leave`); the anonymous never are.
//!
//! Memory: the index, taken at start ([`Index`]), and eight bytes in the bearer. Bound: a place for every
//! player, so it cannot be full.

use siphasher::sip::SipHasher24;

use crate::memory::index::Index;
use crate::memory::slab::NONE;
use crate::session::Sessions;
use crate::session::player::Player;
use crate::units::ConnId;

/// The other connections of the same user: slots, or `NONE` at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peers {
    previous: u32,
    next: u32,
}

/// First connection of every user.
#[derive(Debug)]
pub(super) struct Users {
    first: Index,
    /// Users may choose their names.
    key: [u64; 2],
}

impl Users {
    pub(super) fn new(players_max: u32, key: [u64; 2]) -> Users {
        Users {
            first: Index::new(players_max),
            key,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.first.bytes()
    }

    fn hash(&self, user: &str) -> u32 {
        let hash = SipHasher24::new_with_keys(self.key[0], self.key[1]).hash(user.as_bytes());
        // The lower half of 64 bits fits.
        u32::try_from(hash & 0xffff_ffff).unwrap_or(0)
    }
}

impl Sessions {
    /// The user's first connection: a slot, or `NONE`.
    pub(super) fn first_of(&self, user: &str) -> u32 {
        let holds = |slot: u32| {
            let player = self.players.get(slot as usize).and_then(Option::as_ref);
            player.is_some_and(|player| player.user() == user)
        };
        let hash = self.users.hash(user);
        self.users.first.find(hash, holds).unwrap_or(NONE)
    }

    /// The user's next connection after that in `slot`.
    pub(super) fn next_of(&self, slot: u32) -> u32 {
        self.peers(slot).map_or(NONE, |peers| peers.next)
    }

    /// Lists the connection under its user.
    pub(super) fn list(&mut self, id: ConnId) {
        let user = self.user(id);
        if user.is_empty() {
            return;
        }
        let (first, hash) = (self.first_of(user), self.users.hash(user));
        let mut peers = Peers {
            previous: first,
            next: NONE,
        };
        if first == NONE {
            let listed = self.users.first.insert(hash, id.slot);
            debug_assert!(listed, "the index has a place for every player");
        } else {
            // Behind the first one, which stays where the index leads.
            peers.next = self.next_of(first);
            self.change(first, |first| first.next = id.slot);
            self.change(peers.next, |next| next.previous = id.slot);
        }
        if let Some(bearer) = self.player(id).and_then(|player| player.bearer.as_mut()) {
            bearer.peers = Some(peers);
        }
    }

    /// The connection is no longer its user's.
    pub(super) fn unlist(&mut self, id: ConnId) {
        let bearer = self.player(id).and_then(|player| player.bearer.as_mut());
        let Some(peers) = bearer.and_then(|bearer| bearer.peers.take()) else {
            return;
        };
        let Peers { previous, next } = peers;
        if previous == NONE {
            let hash = self.users.hash(self.user(id));
            self.users.first.remove(hash, id.slot);
            if next != NONE {
                self.users.first.insert(hash, next);
            }
        }
        self.change(previous, |previous| previous.next = next);
        self.change(next, |next| next.previous = previous);
    }

    fn peers(&self, slot: u32) -> Option<Peers> {
        let player: &Player = self.players.get(slot as usize)?.as_ref()?;
        player.bearer.as_ref()?.peers
    }

    fn change(&mut self, slot: u32, change: impl FnOnce(&mut Peers)) {
        let player = self.players.get_mut(slot as usize).and_then(Option::as_mut);
        let bearer = player.and_then(|player| player.bearer.as_mut());
        if let Some(peers) = bearer.and_then(|bearer| bearer.peers.as_mut()) {
            change(peers);
        }
    }
}
