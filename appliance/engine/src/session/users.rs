//! Which connections a user has on this core, so that a backend can reach them without a look at every
//! player.
//!
//! A map leads from the hash of the user's name to one of its connections, and the others hang on that one in
//! a list through their [`Bearer`](super::player::Bearer)s. A connection is in it from the connect command
//! that names its user until it leaves (`Sessions::leave`); the anonymous never are. Should two names have the
//! same 64 bits, their connections share a list: whoever walks it looks at the name.
//!
//! Memory: 17 bytes of the map for each user, up to twice that by its doubling, and 12 in the bearer; it
//! grows when a user connects. Bound: the number of players.

use ahash::AHashMap;
use siphasher::sip::SipHasher24;

use crate::memory::slab::NONE;
use crate::metrics::catalog::Metric;
use crate::session::Sessions;
use crate::session::player::Player;
use crate::units::ConnId;

/// The other connections of the same user: slots, or `NONE` at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peers {
    previous: u32,
    next: u32,
}

/// The first connection, a slot, of every user by the hash of its name.
#[derive(Debug)]
pub(super) struct Users {
    first: AHashMap<u64, u32>,
    /// Users may choose their names.
    key: [u64; 2],
}

impl Users {
    pub(super) fn new(key: [u64; 2]) -> Users {
        Users {
            first: AHashMap::new(),
            key,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.first.capacity() * (size_of::<(u64, u32)>() + 1)
    }

    fn hash(&self, user: &str) -> u64 {
        SipHasher24::new_with_keys(self.key[0], self.key[1]).hash(user.as_bytes())
    }
}

impl Sessions {
    /// The first connection that may be the user's: a slot, or `NONE`.
    pub(super) fn first_of(&self, user: &str) -> u32 {
        let first = self.users.first.get(&self.users.hash(user));
        first.copied().unwrap_or(NONE)
    }

    /// The next one after that in `slot`.
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
            self.users.first.insert(hash, id.slot);
        } else {
            // Behind the first one, which stays where the map leads.
            peers.next = self.next_of(first);
            self.change(first, |first| first.next = id.slot);
            self.change(peers.next, |next| next.previous = id.slot);
        }
        if let Some(bearer) = self.player(id).and_then(|player| player.bearer.as_mut()) {
            bearer.peers = Some(peers);
        }
        self.count_users();
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
            match next {
                NONE => self.users.first.remove(&hash),
                next => self.users.first.insert(hash, next),
            };
        }
        self.change(previous, |previous| previous.next = next);
        self.change(next, |next| next.previous = previous);
        self.count_users();
    }

    fn count_users(&self) {
        let users = self.users.first.len() as u64;
        self.counters.set(Metric::SessionUsers, users);
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
