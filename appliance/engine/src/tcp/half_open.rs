//! SYN-RECEIVED (RFC 9293 section 3.3.2): the table of handshakes that wait for their last ACK.
//!
//! A handshake is not a connection yet: it has a small record of its own here, so that a flood of
//! SYNs takes neither a player's slot nor any memory beyond this table. It is full or it is not; what
//! is in it stays until it completes, is reset or times out, and whoever finds it full is answered
//! without a record (see `cookies`). `handshake` decides; this file keeps.

use std::collections::HashMap;

use crate::memory::slab::Slab;
use crate::tcp::handshake::Offer;
use crate::timer::Wheel;
use crate::units::{ConnId, Micros};
use crate::wire::segment::{Flow, Link};
use crate::wire::seq::Seq;

/// What is known of a connection before it is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct HalfOpen {
    pub(super) flow: Flow,
    pub(super) link: Link,
    /// The peer's initial sequence number.
    pub(super) irs: Seq,
    /// Ours.
    pub(super) iss: Seq,
    pub(super) offer: Offer,
    /// When the SYN-ACK was sent first.
    pub(super) sent_at: Micros,
    /// How often it was repeated.
    pub(super) repeats: u8,
    /// When the next challenge ACK may be sent.
    pub(super) challenge_at: Micros,
}

/// The handshakes of one core. All memory is taken in `new`.
#[derive(Debug)]
pub(super) struct HalfOpens {
    records: Slab<HalfOpen>,
    by_flow: HashMap<Flow, u32, ahash::RandomState>,
    wheel: Wheel,
}

impl HalfOpens {
    pub(super) fn new(max: u32, hasher: ahash::RandomState) -> HalfOpens {
        HalfOpens {
            records: Slab::new(max),
            // Twice as many as are used: removed entries are swept up in place, without allocating.
            by_flow: HashMap::with_capacity_and_hasher(max as usize * 2, hasher),
            wheel: Wheel::new(max),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.records.count()
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.count() == self.records.capacity()
    }

    /// Keeps a handshake until it is removed, and says when to repeat its answer; false when full.
    pub(super) fn insert(&mut self, record: HalfOpen, repeat_at: Micros) -> bool {
        let Ok(ConnId { slot, .. }) = self.records.insert(record) else {
            return false;
        };
        self.by_flow.insert(record.flow, slot);
        self.wheel.schedule(slot, repeat_at);
        true
    }

    /// The handshake of `flow`.
    pub(super) fn find(&mut self, flow: &Flow) -> Option<&mut HalfOpen> {
        let slot = *self.by_flow.get(flow)?;
        self.records.at(slot).map(|(_, record)| record)
    }

    /// Forgets the handshake of `flow`.
    pub(super) fn remove(&mut self, flow: &Flow) {
        if let Some(slot) = self.by_flow.remove(flow)
            && let Some((id, _)) = self.records.at(slot)
        {
            self.records.remove(id);
            self.wheel.cancel(slot);
        }
    }

    /// A handshake whose answer is due again; ask until there is none.
    pub(super) fn expire(&mut self, now: Micros) -> Option<&mut HalfOpen> {
        let slot = self.wheel.expire(now)?;
        self.records.at(slot).map(|(_, record)| record)
    }

    /// When the answer to `flow` is due again.
    pub(super) fn schedule(&mut self, flow: &Flow, repeat_at: Micros) {
        if let Some(&slot) = self.by_flow.get(flow) {
            self.wheel.schedule(slot, repeat_at);
        }
    }

    pub(super) fn poll_at(&self) -> Micros {
        self.wheel.poll_at()
    }
}
