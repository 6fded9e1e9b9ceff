//! SYN cookies (RFC 4987 section 3.6): a handshake that leaves nothing behind.
//!
//! With the table of handshakes full, everything that has to be remembered of a SYN travels in the
//! SYN-ACK and comes back with the ACK: the MSS in our initial sequence number, window scale,
//! SACK-permitted and ECN in the low bits of our timestamp, as Linux does, if the peer has timestamps;
//! a peer without them gets a plain connection. The sequence number is a keyed hash of both ends, the
//! peer's initial sequence number and a counter of 64 s, plus the index of the MSS: whoever did not
//! see it has to try 2^28 ACKs for one connection, and only while cookies are in use.
//!
//! The hash does not cover the timestamp: a peer that alters the options it offered alters only what
//! it gets itself.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher24;

use crate::tcp::handshake::{MSS_MIN, Offer};
use crate::tcp::isn::low;
use crate::units::Micros;
use crate::wire::segment::{Flow, Segment};
use crate::wire::seq::Seq;

/// How long a value of the counter lasts. A cookie lives one to two of them; shorter loses slow
/// handshakes, longer gives whoever tries numbers more time.
const PERIOD: Micros = Micros::from_secs(64);

/// The MSS values that a cookie can name: the nearest one below the peer's is taken. The smallest
/// is the least we ever agree to; 1220 is IPv6's minimum, 1300 to 1380 are tunnels and mobile
/// networks, 1440 and 1460 Ethernet.
const MSS_TABLE: [u16; 8] = [MSS_MIN, 256, 536, 1220, 1300, 1380, 1440, 1460];

/// Low bits of the timestamp: four for the window scale, one for SACK-permitted, one for ECN.
const TIMESTAMP_BITS: u32 = 6;
const SCALE_MASK: u32 = 0x0f;
const SCALE_NONE: u32 = 0x0f;
const SACK_BIT: u32 = 0x10;
const ECN_BIT: u32 = 0x20;
const _: () = assert!(SCALE_MASK + SACK_BIT + ECN_BIT == (1 << TIMESTAMP_BITS) - 1);

/// The initial sequence number that says what `offer` was.
pub(super) fn issue(secret: [u64; 2], now: Micros, flow: &Flow, irs: Seq, offer: &Offer) -> Seq {
    let below = MSS_TABLE.iter().rposition(|&mss| mss <= offer.mss);
    // Eight values.
    let index = u32::try_from(below.unwrap_or(0)).unwrap_or(0);
    hash(secret, now.0 / PERIOD.0, flow, irs) + index
}

/// The timestamp to send with it: `clock` with its low bits replaced, never ahead of it.
pub(super) fn issue_timestamp(clock: u32, offer: &Offer) -> u32 {
    let scale = offer.window_scale.map_or(SCALE_NONE, u32::from);
    let sack = if offer.sack { SACK_BIT } else { 0 };
    let ecn = if offer.ecn { ECN_BIT } else { 0 };
    let bits = scale & SCALE_MASK | sack | ecn;
    let value = clock >> TIMESTAMP_BITS << TIMESTAMP_BITS | bits;
    if Seq(value).after(Seq(clock)) {
        value.wrapping_sub(1 << TIMESTAMP_BITS)
    } else {
        value
    }
}

/// Whether cookies sent at `last` may still come back.
pub(super) fn in_use(last: Option<Micros>, now: Micros) -> bool {
    last.is_some_and(|last| now.since(last).0 < 2 * PERIOD.0)
}

/// The offer that `segment`, the ACK of a cookie, brings back; none when it is not one of ours, or
/// too old.
pub(super) fn check(secret: [u64; 2], now: Micros, segment: &Segment) -> Option<Offer> {
    let (irs, cookie) = (segment.seq - 1, segment.ack - 1);
    let period = now.0 / PERIOD.0;
    let mss = [Some(period), period.checked_sub(1)]
        .into_iter()
        .flatten()
        .find_map(|period| {
            let index = cookie
                .0
                .wrapping_sub(hash(secret, period, &segment.flow, irs).0);
            MSS_TABLE.get(index as usize)
        })?;
    let mut offer = Offer {
        mss: *mss,
        window_scale: None,
        sack: false,
        timestamps: None,
        ecn: false,
    };
    if let Some((value, echo)) = segment.options.timestamps {
        let scale = echo & SCALE_MASK;
        offer.timestamps = Some(value);
        offer.sack = echo & SACK_BIT != 0;
        offer.ecn = echo & ECN_BIT != 0;
        // At most 14: four bits and the one value that means none.
        offer.window_scale = u8::try_from(scale).ok().filter(|_| scale != SCALE_NONE);
    }
    Some(offer)
}

fn hash(secret: [u64; 2], period: u64, flow: &Flow, irs: Seq) -> Seq {
    // Another key than the one of ordinary sequence numbers, which anybody may collect.
    let mut hasher = SipHasher24::new_with_keys(!secret[0], secret[1].rotate_left(32));
    (period, flow, irs).hash(&mut hasher);
    Seq(low(hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timestamp_is_never_ahead_of_the_clock_and_hardly_behind() {
        for clock in [0, 1, 63, 64, 1_000_003, u32::MAX - 5, u32::MAX] {
            for (window_scale, sack) in [(None, true), (Some(14), false), (Some(0), true)] {
                let offer = Offer {
                    mss: 1460,
                    window_scale,
                    sack,
                    timestamps: Some(1),
                    ecn: sack,
                };
                let behind = clock.wrapping_sub(issue_timestamp(clock, &offer));
                assert!(behind < 64, "{clock}: {behind}");
            }
        }
    }

    #[test]
    fn the_table_rises() {
        assert!(MSS_TABLE.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
