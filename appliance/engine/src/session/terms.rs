//! The terms of a subscription where they are not everybody's: what a token or an operator said of it.
//!
//! A subscription is a cursor (`hunt::Subscription`) and most are nothing else. One that expires, was
//! made by us, shows others something or is still being told its past has terms
//! besides, in a list that hangs on its player's [`Bearer`](super::player::Bearer): whoever has none
//! pays nothing for it, and the expiry shares the player's one timer.
//!
//! The list is as long as such subscriptions are, so at most `channels_max`. An entry goes with its
//! subscription: every way out of a hunt goes through [`Player::drop_terms`] or drops the whole list.

use crate::session::player::Player;
use crate::units::Micros;

/// See the file's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Slot of the hunt on this core; it stays while the player is subscribed.
    pub hunt: u32,
    /// When the subscription ends unless its token is refreshed, the time for that included; `NEVER`
    /// without expiry.
    pub expires: Micros,
    /// `chan_info`: compact JSON that others see about it, or empty.
    pub info: Box<[u8]>,
    /// We made it, not the player: its end is a disconnect when it expires.
    pub server_side: bool,
    /// The connection token brings it.
    pub from_token: bool,
    /// It is still being told what it missed.
    pub behind: Option<Behind>,
}

/// How far a subscription is with what it missed (`recover`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// Offset of the last event told.
    pub reached: u64,
    /// Offset of the last event that is to be told so; the next one is the first of the hunt's log.
    pub until: u64,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            hunt: crate::memory::slab::NONE,
            expires: Micros::NEVER,
            info: Box::default(),
            server_side: false,
            from_token: false,
            behind: None,
        }
    }
}

impl Terms {
    /// Whether there is nothing to keep.
    pub fn are_ordinary(&self) -> bool {
        let ordinary = Terms {
            hunt: self.hunt,
            ..Terms::default()
        };
        *self == ordinary
    }
}

impl Player {
    /// Terms of the subscription to the hunt in slot `hunt`, if it has any.
    pub fn terms(&self, hunt: u32) -> Option<&Terms> {
        let mut all = self.bearer.as_ref()?.terms.iter();
        all.find(|terms| terms.hunt == hunt)
    }

    /// The same, to change.
    pub fn terms_mut(&mut self, hunt: u32) -> Option<&mut Terms> {
        let mut all = self.bearer.as_mut()?.terms.iter_mut();
        all.find(|terms| terms.hunt == hunt)
    }

    /// Keeps the terms of a new subscription, if there is anything to keep.
    pub fn keep_terms(&mut self, terms: Terms) {
        debug_assert!(self.terms(terms.hunt).is_none(), "one subscription a hunt");
        if !terms.are_ordinary() {
            self.bearer.get_or_insert_default().terms.push(terms);
        }
    }

    /// The subscription to the hunt in slot `hunt` is over.
    pub fn drop_terms(&mut self, hunt: u32) -> Option<Terms> {
        let all = &mut self.bearer.as_mut()?.terms;
        let index = all.iter().position(|terms| terms.hunt == hunt)?;
        Some(all.swap_remove(index))
    }

    /// When the first subscription expires; `NEVER` when none does.
    pub fn first_expiry(&self) -> Micros {
        let all = self.bearer.iter().flat_map(|bearer| &bearer.terms);
        let first = all.map(|terms| terms.expires).min();
        first.unwrap_or(Micros::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ConnId;

    #[test]
    fn only_what_is_not_ordinary_is_kept() {
        let id = ConnId {
            slot: 0,
            generation: 1,
        };
        let mut player = Player::new(id, Micros(5));
        player.keep_terms(Terms {
            hunt: 3,
            ..Terms::default()
        });
        assert!(player.bearer.is_none());
        let later = Terms {
            hunt: 3,
            expires: Micros(9),
            ..Terms::default()
        };
        player.keep_terms(later.clone());
        player.keep_terms(Terms {
            hunt: 4,
            expires: Micros(2),
            ..Terms::default()
        });
        assert_eq!(
            (player.first_expiry(), player.due()),
            (Micros(2), Micros(2))
        );
        assert!(player.drop_terms(4).is_some() && player.drop_terms(4).is_none());
        assert_eq!((player.due(), player.terms(3)), (Micros(5), Some(&later)));
        player.drop_terms(3);
        assert_eq!(player.first_expiry(), Micros::NEVER);
    }
}
