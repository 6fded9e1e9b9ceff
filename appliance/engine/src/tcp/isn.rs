//! Initial sequence numbers (RFC 6528) and timestamp offsets: not to be guessed from outside.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher24;

use crate::units::Micros;
use crate::wire::segment::Flow;
use crate::wire::seq::Seq;

/// ISN of a connection opened now: a clock of 4 us plus a keyed hash of both ends (RFC 6528
/// section 3).
pub(super) fn initial_sequence(secret: [u64; 2], flow: &Flow, now: Micros) -> Seq {
    Seq(low(now.0 / 4).wrapping_add(low(keyed_hash(secret, flow))))
}

/// Where the connection's timestamp clock starts, so that it does not tell how long we have been up
/// (RFC 7323 section 5.4).
pub(super) fn timestamp_offset(secret: [u64; 2], flow: &Flow) -> u32 {
    low(keyed_hash(secret, flow) >> 32)
}

/// The timestamp clock: milliseconds (RFC 7323 section 5.4).
pub(super) fn timestamp(now: Micros, offset: u32) -> u32 {
    low(now.0 / 1_000).wrapping_add(offset)
}

fn keyed_hash(secret: [u64; 2], flow: &Flow) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(secret[0], secret[1]);
    flow.hash(&mut hasher);
    hasher.finish()
}

/// The low half.
pub(super) fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn differs_by_flow_and_secret_and_rises_with_time() {
        let flow = |port| Flow {
            local: "10.0.0.1:80".parse().unwrap(),
            remote: SocketAddr::from(([10, 0, 0, 2], port)).into(),
        };
        let isn = |secret, port, now| initial_sequence(secret, &flow(port), Micros(now));
        assert_ne!(isn([1, 2], 5, 0), isn([1, 2], 6, 0));
        assert_ne!(isn([1, 2], 5, 0), isn([1, 3], 5, 0));
        assert_eq!(
            isn([1, 2], 5, 4_000_000).since(isn([1, 2], 5, 0)),
            1_000_000
        );
    }
}
